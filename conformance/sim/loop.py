"""Virtual time: one heap of what is to happen, and clocks that may differ from it.

Every instant is a whole number of 2^-20 s. So an instant, a process's clock and the difference
between them convert into one another without rounding, and a core that is woken for its deadline
finds that it is due.
"""

import heapq
from collections.abc import Callable
from math import ceil
from typing import Any

from attrs import define, field

from stunroute.instant import Instant

TICK = 1 / (1 << 20)
START: Instant = 1024.0
AT_ONCE = 20_000
"""Things that happen at one instant, at most: beyond it somebody's deadline does not move."""


class Stuck(Exception):
    """Time does not move any more."""


@define(slots=True, eq=False, repr=False)
class Loop:
    """``at`` says what is to happen, ``run`` lets it."""

    now: Instant = START
    happened: int = 0
    _heap: list[tuple[Instant, int, Callable[..., None], tuple[Any, ...]]] = field(factory=list)
    _turn: int = 0

    def at(self, when: Instant, act: Callable[..., None], *arguments: Any) -> None:
        """Call ``act`` at ``when``, or now if that is over. What is said first happens first."""
        when = max(ceil(when * (1 << 20)) * TICK, self.now)
        self._turn += 1
        heapq.heappush(self._heap, (when, self._turn, act, arguments))

    def after(self, seconds: float, act: Callable[..., None], *arguments: Any) -> None:
        self.at(self.now + seconds, act, *arguments)

    def run(self, until: Instant, stop: Callable[[], bool] | None = None) -> None:
        """Let happen what is to happen up to ``until``; ``stop`` is asked once per virtual second.
        Raises Stuck."""
        heap = self._heap
        next_look = self.now
        at_once = 0
        while heap and heap[0][0] <= until:
            when, _, act, arguments = heapq.heappop(heap)
            at_once = at_once + 1 if when == self.now else 0
            if at_once > AT_ONCE + len(heap):
                name = getattr(act, "__qualname__", "something")
                raise Stuck(f"{at_once} things happened at {when:.6f}, the last was {name}")
            self.now = when
            self.happened += 1
            act(*arguments)
            if stop is not None and when >= next_look:
                next_look = when + 1.0
                if stop():
                    return
        self.now = max(self.now, until)


@define(slots=True, eq=False, repr=False)
class Clock:
    """The monotonic clock of one process: virtual time and an ``offset`` of whole ticks."""

    loop: Loop
    offset: float = 0.0

    @property
    def now(self) -> Instant:
        return self.loop.now + self.offset

    def jump(self, seconds: float) -> None:
        """Go forward at once, as after a suspended machine wakes up."""
        self.offset += ceil(seconds * (1 << 20)) * TICK


@define(slots=True, eq=False, repr=False)
class Alarm:
    """Wakes a process at its core's deadline. It may ring too early, never too late."""

    clock: Clock
    serve: Callable[[], None]
    _due: Instant | None = None

    def want(self, deadline: Instant | None) -> None:
        """``deadline`` is by the process's clock; None: nothing is waited for."""
        if deadline is None:
            return
        loop = self.clock.loop
        at = max(deadline - self.clock.offset, loop.now)
        if self._due is None or at < self._due:
            self._due = at
            loop.at(at, self._ring, at)

    def silence(self) -> None:
        """Do not ring: the process is dead."""
        self._due = None

    def _ring(self, at: Instant) -> None:
        if at == self._due:
            self._due = None
            self.serve()
