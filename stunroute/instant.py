"""Time and entropy are arguments.

No core reads a clock or a random device. Every verb that can depend on time takes a reading of
one monotonic clock, every constructor that needs randomness takes a source of it. Whoever feeds
the same packets, readings and entropy to a core gets the same bytes out of it, and that is all
that exact replay needs.
"""

from collections.abc import Callable
from typing import TypeAlias

Instant: TypeAlias = float
"""A reading of one monotonic clock, in seconds. Only differences of readings mean anything."""

Entropy: TypeAlias = Callable[[int], bytes]
"""``entropy(n)`` gives *n* unpredictable bytes. In production ``os.urandom``, in replay a log."""
