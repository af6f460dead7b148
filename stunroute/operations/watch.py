"""What everybody who looks at the relay is shown: the picture that was taken last.

The supervisor takes one at every beat, once a second, because it wants to know whether its workers
live. Metrics, ``top`` and the history all use that one. If each asked for its own, whoever may read
metrics could make work for the packet path, and two of them would show different relays.
"""

import time
from typing import Protocol

from attrs import define, evolve, field

from stunroute.status import FlowStatus, Happening, RelayStatus

from .history import History


class Operated(Protocol):
    """A running relay: ``stunroute.udp.supervisor.Supervisor``."""

    async def flows(self, limit: int) -> list[FlowStatus]: ...

    @property
    def ready(self) -> bool: ...


@define(slots=True, eq=False)
class Watch:
    """``see`` is called with each picture."""

    _history: History = field(init=False, factory=History)
    _started: float = field(init=False, factory=time.time)
    _latest: RelayStatus | None = field(init=False, default=None)
    _seen_at: float = field(init=False, default=float("-inf"))

    def see(self, status: RelayStatus) -> list[Happening]:
        """Keep a picture and what it tells. Returns what has just happened."""
        news = self._history.observe(status)
        self._latest = evolve(
            status,
            started=status.started or self._started,
            happenings=self._history.happenings(status.happenings),
        )
        self._seen_at = time.monotonic()
        return news

    @property
    def latest(self) -> RelayStatus | None:
        """None before there is one."""
        return self._latest

    @property
    def age(self) -> float:
        """Seconds since the latest picture, infinite before there is one."""
        return time.monotonic() - self._seen_at
