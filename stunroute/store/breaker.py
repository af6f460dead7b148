"""Leaving something alone that does not work.

Asking a store that is gone costs a timeout each time, and for packets that wait it is worse than
no answer. After some failures in a row the breaker opens: nobody asks for a while, and then one
attempt shows whether it works again. The while doubles each time that it does not.

An attempt is reported by its ticket. Those that began before the state last changed are ignored,
because they tell of another time: a slow failure from before must not end the trial that is under
way.

::

                  failures in a row
      Closed ────────────────────────► Open ◄─────────┐
        ▲                               │ its time    │
        │            succeeded          ▼ is over     │ failed: twice as long
        └─────────────────────────── HalfOpen ────────┘
"""

from typing import TypeAlias

from attrs import define, frozen

from stunroute.instant import Instant


@frozen(slots=True)
class BreakerConfig:
    """``failures`` in a row open it, for ``pause`` seconds at first and ``longest_pause`` at
    most."""

    failures: int = 3
    pause: float = 0.5
    longest_pause: float = 10.0


@frozen(slots=True)
class Closed:
    """In use."""

    failures: int = 0


@frozen(slots=True)
class Open:
    """Left alone."""

    until: Instant
    pause: float


@frozen(slots=True)
class HalfOpen:
    """One attempt is under way, and no other is made."""

    pause: float


State: TypeAlias = Closed | Open | HalfOpen


@define(slots=True)
class Ticket:
    """The right to make one attempt. To be reported as succeeded or failed, whatever happens."""

    era: int


class Breaker:
    """Whoever wants to try asks ``attempt`` for a ticket and reports how it went."""

    __slots__ = ("_config", "_era", "_state")

    def __init__(self, config: BreakerConfig) -> None:
        self._config = config
        self._state: State = Closed()
        self._era = 0

    @property
    def state(self) -> State:
        return self._state

    @property
    def is_closed(self) -> bool:
        return isinstance(self._state, Closed)

    def attempt(self, now: Instant) -> Ticket | None:
        """None: do not try now."""
        match self._state:
            case Closed():
                return Ticket(self._era)
            case Open(until, pause) if now >= until:
                self._change(HalfOpen(pause))
                return Ticket(self._era)
            case Open() | HalfOpen():
                return None

    def succeeded(self, ticket: Ticket) -> None:
        if ticket.era != self._era:
            return
        match self._state:
            case Closed(failures):
                if failures:
                    self._state = Closed()
            case HalfOpen():
                self._change(Closed())
            case Open():
                """Nobody has a ticket of this era."""

    def failed(self, ticket: Ticket, now: Instant) -> None:
        if ticket.era != self._era:
            return
        match self._state:
            case Closed(failures):
                if failures + 1 < self._config.failures:
                    self._state = Closed(failures + 1)
                else:
                    self._open(self._config.pause, now)
            case HalfOpen(pause):
                self._open(min(2 * pause, self._config.longest_pause), now)
            case Open():
                """Nobody has a ticket of this era."""

    def retry_at(self) -> Instant | None:
        """When to try again; None if there is nothing to wait for."""
        return self._state.until if isinstance(self._state, Open) else None

    def _open(self, pause: float, now: Instant) -> None:
        self._change(Open(now + pause, pause))

    def _change(self, state: State) -> None:
        self._state = state
        self._era += 1
