"""What targets need to begin with, the same in every process: entropy, a date, a way to copy.

An input that fails must fail again from its file alone. So nothing is drawn or dated by the
machine, and a scene that takes long to set up is copied for each input and never used twice.
"""

import hashlib
from datetime import UTC, datetime
from typing import Generic, TypeVar

from attrs import define, field

from .recipe import recipe

NOT_BEFORE = datetime(2026, 1, 1, tzinfo=UTC)
T = TypeVar("T")


@define(slots=True)
class Stream:
    """An endless stream of bytes that depends on ``seed`` alone. It is an object and no closure,
    so that a copy of what draws from it goes on from where the original was."""

    seed: str
    _count: int = field(init=False, default=0)

    def __call__(self, length: int) -> bytes:
        self._count += 1
        return hashlib.shake_128(f"{self.seed}/{self._count}".encode()).digest(length)


class Master(Generic[T]):
    """An object that was brought into some state once, and copies of it (``recipe``). The original
    is not to be used any more."""

    __slots__ = ("copy",)

    def __init__(self, original: T) -> None:
        self.copy = recipe(original)
        """A copy. It shares with the others only what does not change."""
