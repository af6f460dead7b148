"""What the cores' targets have in common: playing an input, and promises that hold of every core.

A play is one input carried out from the beginning; it returns what the core said, and the same
input must make it say the same again. That is tried for one input in sixteen, which input has no
say in: it hangs on a checksum.
"""

import zlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from stunroute.instant import Instant

from .target import Run, insist

T = TypeVar("T")
OUTPUTS = 20_000
"""More than any core may have to say after one input."""
TIMEOUTS = 200
"""Timers that may be due at one instant."""
ROUNDS = 60
"""Turns after which a conversation that does not end by itself is left."""


class Timed(Protocol):
    """A core with a clock from outside."""

    def next_timeout(self) -> Instant | None: ...
    def handle_timeout(self, now: Instant) -> None: ...


class Conversation(Protocol):
    """A core and its peer: ``pending`` is on its way to the core, ``out`` on its way from it."""

    pending: deque[bytes]
    out: deque[bytes]

    def give(self, data: bytes, /) -> object:
        """To the core."""

    def arrive(self) -> None:
        """Let all that is ``out`` reach the peer."""


def played(play: Callable[[bytes], object]) -> Run:
    """A target that plays every input, and some twice."""

    def run(data: bytes) -> None:
        said = play(data)
        if zlib.crc32(data) & 15 == 0:
            insist(play(data) == said, "the same input makes it say the same")

    return run


def drained(fetch: Callable[[], T | None]) -> Iterator[T]:
    """Everything that a core has to say, which must come to an end."""
    for _ in range(OUTPUTS):
        one = fetch()
        if one is None:
            return
        yield one
    insist(False, "what a core has to say comes to an end")


def expire(core: Timed, now: Instant, say: Callable[[], object]) -> None:
    """Let everything that is due by ``now`` happen, calling ``say`` after each."""
    for _ in range(TIMEOUTS):
        due = core.next_timeout()
        if due is None or due > now:
            return
        core.handle_timeout(now)
        say()
    insist(False, "a timer that was served is not due any more")


def settle(scene: Conversation) -> None:
    """Let all that is under way arrive, and all that follows from it."""
    for _ in range(ROUNDS):
        if not scene.pending and not scene.out:
            return
        scene.arrive()
        while scene.pending:
            scene.give(scene.pending.popleft())


def patched(data: bytes, changes: bytes) -> bytes:
    """``data`` with octets altered: each three octets of ``changes`` are a place (16 bits) and what
    to flip there. A lone octet left over cuts that many off the end."""
    out = bytearray(data)
    for at in range(0, len(changes) - 2, 3):
        if out:
            place = int.from_bytes(changes[at : at + 2], "big") % len(out)
            out[place] ^= changes[at + 2]
    if len(changes) % 3 == 1 and changes[-1] < len(out):
        del out[len(out) - changes[-1] :]
    return bytes(out)
