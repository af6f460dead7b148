"""Is a worker well, and when is it to be started again: the supervisor's judgement, without its
processes.

These three decide on numbers alone, so that a test can hold them to every order of events, which
real processes show only by chance.
"""

from attrs import define, field

from stunroute.instant import Instant

BEAT = 1.0
"""Seconds between two questions to a worker."""
HUNG_AFTER = 5
"""Beats without an answer after which a worker counts as hung."""


@define(slots=True)
class Backoff:
    """How long to wait before a worker is started again: not at all after the first death, then
    ever longer while it dies young, so that one that cannot live makes no storm of processes.
    Durations are seconds."""

    first: float = 0.1
    longest: float = 5.0
    healthy_after: float = 30.0
    _next: float = field(init=False, default=0.0)
    _started: Instant = field(init=False, default=float("-inf"))

    def started(self, now: Instant) -> None:
        self._started = now

    def ended(self, now: Instant) -> float:
        """The worker has ended; the seconds to wait before the next is started."""
        if now - self._started >= self.healthy_after:
            self._next = 0.0
        delay = self._next
        self._next = min(max(self.first, 2 * delay), self.longest)
        return delay


@define(slots=True)
class Heartbeat:
    """Has a worker stopped answering?

    Beats are counted, not seconds: a supervisor that was itself held up (a suspended machine, a
    debugger) finds the clock far ahead and answers still unread, and must not blame its workers.
    """

    missed: int = field(init=False, default=0)
    _asked: bool = field(init=False, default=False)

    def beat(self) -> bool:
        """A beat has come. Whether the worker is to be asked; not while it owes an answer."""
        if self._asked:
            self.missed += 1
            return False
        self._asked = True
        return True

    def answered(self) -> None:
        self._asked = False
        self.missed = 0

    @property
    def is_hung(self) -> bool:
        return self.missed >= HUNG_AFTER


@define(slots=True)
class LoopLag:
    """The longest delay of an event loop within the last one to two ``window`` seconds. A window
    rather than "since last asked", so that several observers do not take it from one another."""

    window: float = 15.0
    _turned: Instant = field(init=False, default=float("-inf"))
    _current: float = field(init=False, default=0.0)
    _previous: float = field(init=False, default=0.0)

    def was_late(self, seconds: float, now: Instant) -> None:
        """A timer was called ``seconds`` after it was due."""
        self._turn(now)
        self._current = max(self._current, seconds)

    def longest(self, now: Instant) -> float:
        self._turn(now)
        return max(self._current, self._previous)

    def _turn(self, now: Instant) -> None:
        passed = now - self._turned
        if passed >= self.window:
            self._previous = self._current if passed < 2 * self.window else 0.0
            self._current = 0.0
            self._turned = now
