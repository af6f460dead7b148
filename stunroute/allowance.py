"""So many in a second for each of very many, counted without making much of any of them.

Strangers choose the keys, so what is counted for must be bounded, and who comes in great numbers
must not make the others' counts forgotten: those that were used last are kept. An allowance is one
number, the moment up to which it is used.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from .instant import Instant

K = TypeVar("K", bound=Hashable)

_NEVER = float("-inf")
_HALF = 0.5  # of one: sums of fractions must not make one more or less


class Allowances(Generic[K]):
    """``rate`` a second and ``burst`` at once for each key, of which ``bound`` are remembered."""

    __slots__ = ("_bound", "_burst", "_rate", "_used")

    def __init__(self, rate: float, burst: float, bound: int) -> None:
        """``rate`` is greater than 0."""
        self._rate = rate
        self._burst = burst
        self._bound = bound
        # The one longest unused is in front.
        self._used: OrderedDict[K, Instant] = OrderedDict()

    def __len__(self) -> int:
        return len(self._used)

    def take(self, key: K, now: Instant) -> bool:
        """Take one of what ``key`` is allowed, if there is one."""
        used = after(self._used.get(key, _NEVER), now, self._rate, self._burst)
        if used is None:
            return False
        self._used[key] = used
        self._used.move_to_end(key)
        if len(self._used) > self._bound:
            self._used.popitem(last=False)
        return True


def after(used: Instant, now: Instant, rate: float, burst: float) -> Instant | None:
    """Up to when an allowance is used after one more, if it was used up to ``used`` before; None
    if there may not be one more."""
    begin = max(used, now)
    return None if (begin - now) * rate > burst - _HALF else begin + 1 / rate
