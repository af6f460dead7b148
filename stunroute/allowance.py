"""So many in a second: of one thing, or of each of very many.

A ``TokenBucket`` is for one. Of many, strangers choose the keys, so what is counted for must be
bounded, and who comes in great numbers must not make the others' counts forgotten: ``Allowances``
keep those that were used last. An allowance is one number, the moment up to which it is used, and
nothing much is made of any of them.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from .instant import Instant

K = TypeVar("K", bound=Hashable)

_NEVER = float("-inf")
_HALF = 0.5  # of one: sums of fractions must not make one more or less


class TokenBucket:
    """``rate`` tokens a second, ``burst`` at most, full at first."""

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._updated = _NEVER

    def take(self, now: Instant) -> bool:
        """Take a token if there is one. A clock that stands still gives none."""
        if now > self._updated:
            if self._updated != _NEVER:
                gained = (now - self._updated) * self._rate
                self._tokens = min(self._burst, self._tokens + gained)
            self._updated = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def has_one(self, now: Instant) -> bool:
        """Whether ``take`` would find one."""
        gained = (now - self._updated) * self._rate
        return self._tokens >= 1 or min(self._burst, self._tokens + gained) >= 1


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
