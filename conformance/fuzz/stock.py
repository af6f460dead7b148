"""What targets need to begin with, the same in every process: entropy, a date, a way to copy.

An input that fails must fail again from its file alone. So nothing is drawn or dated by the
machine, and a scene that takes long to set up is copied for each input and never used twice.
"""

import copy
import gc
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from attrs import define, field

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


_OURS = ("stunroute", "transceiver", "conformance", "builtins", "collections")


@define(slots=True, init=False)
class Master(Generic[T]):
    """An object that was brought into some state once, and copies of it. Whatever in it is not ours
    (keys, ciphers, hashes, enumerations) does not change, and is shared."""

    _original: T
    _shared: dict[int, Any]

    def __init__(self, original: T) -> None:
        self._original = original
        self._shared = {id(one): one for one in _foreign(original)}

    def copy(self) -> T:
        return copy.deepcopy(self._original, dict(self._shared))


def _foreign(root: object) -> list[Any]:
    """The objects of other people's classes that can be reached through ours."""
    found: list[Any] = []
    seen: set[int] = set()
    waiting: list[Any] = [root]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type):
            continue
        seen.add(id(one))
        if type(one).__module__.partition(".")[0] not in _OURS:
            found.append(one)
            continue
        if isinstance(one, Callable) and not hasattr(one, "__dict__"):  # type: ignore[arg-type]
            continue
        waiting += gc.get_referents(one)
    return found
