"""Chance, from a seed.

A simulation draws millions of numbers, so this is the cheapest generator that is good enough:
splitmix64. Whoever needs chance has dice of its own, named after it, so that one more draw here
changes nothing there.
"""

import hashlib
from collections.abc import Sequence
from math import log
from typing import TypeVar

_T = TypeVar("_T")
_MASK = (1 << 64) - 1
_UNIT = 1.0 / (1 << 53)


class Dice:
    """``name`` is the whole seed: equal names give equal draws."""

    __slots__ = ("_state",)

    def __init__(self, name: str) -> None:
        self._state = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")

    def bits(self) -> int:
        """64 of them."""
        self._state = state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        return state ^ (state >> 31)

    def unit(self) -> float:
        """From 0 up to, not including, 1."""
        return (self.bits() >> 11) * _UNIT

    def happens(self, probability: float) -> bool:
        return probability > 0.0 and self.unit() < probability

    def between(self, least: float, most: float) -> float:
        return least + (most - least) * self.unit()

    def waiting(self, mean: float) -> float:
        """A time between two events that know nothing of each other."""
        return -log(1.0 - self.unit()) * mean

    def below(self, limit: int) -> int:
        """An integer from 0 to ``limit`` - 1."""
        return self.bits() % limit

    def pick(self, choices: Sequence[_T]) -> _T:
        return choices[self.bits() % len(choices)]

    def octets(self, length: int) -> bytes:
        return b"".join(self.bits().to_bytes(8, "big") for _ in range(-(-length // 8)))[:length]
