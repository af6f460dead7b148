"""What ``top`` shows, before it is drawn: rates between two pictures, and the story so far.

The relay may be restarted while somebody looks; then the numbers begin again, and what had happened
before is known here alone. So this keeps it, and adds what only a looker-on can know: that nobody
answered for a while.
"""

from collections import Counter
from collections.abc import Mapping

from attrs import define, field

from stunroute.status import Happening, RelayStatus, StoreStatus, WorkerStatus
from stunroute.trace import Origin

from . import picture
from .history import duration
from .picture import Change

KEPT = 100
"""Happenings of former lives of the relay, and ours, that are kept."""


@define(slots=True)
class Model:
    """Feed it with ``arrived`` or ``failed``, about once a second."""

    status: RelayStatus | None = field(init=False, default=None)
    changes: dict[int, Change] = field(init=False, factory=dict)
    """By worker: what it did in the last interval. Empty before the second picture."""
    problem: str | None = field(init=False, default=None)
    """Why there is no fresh picture; None if there is."""
    lost_at: float = field(init=False, default=0.0)
    _own: list[Happening] = field(init=False, factory=list)

    def arrived(self, status: RelayStatus, now: float) -> None:
        """A picture came. ``now`` is the time of day."""
        old = self.status
        restarted = old is not None and old.started != status.started
        if self.problem is not None:
            silence = duration(now - self.lost_at)
            who = "the relay was restarted and answers" if restarted else "the relay answers again"
            self._note(now, f"{who}, after {silence}")
        elif restarted:
            self._note(now, "the relay was restarted")
        self.problem = None
        if old is not None and restarted:
            self._own = [*self._own, *old.happenings][-KEPT:]
        if old is None or restarted:
            self.changes = {}
        elif status.at != old.at:
            self.changes = _changes(old, status)
        self.status = status

    def failed(self, problem: str, now: float) -> None:
        """None came, because of ``problem``."""
        if self.problem is None:
            self.lost_at = now
            if self.status is not None:
                self._note(now, "the relay does not answer")
        self.problem = problem
        self.changes = {}

    def _note(self, now: float, text: str) -> None:
        self._own = [*self._own, Happening(now, text)][-KEPT:]

    @property
    def happenings(self) -> list[Happening]:
        """Newest first."""
        told = self.status.happenings if self.status is not None else ()
        return sorted([*told, *self._own], key=lambda entry: entry.at, reverse=True)

    # Sums over the workers

    def per_second(self, counter: str) -> float:
        return sum(change.per_second(counter) for change in self.changes.values())

    def kinds(self) -> dict[tuple[str, str], float]:
        """Packets per second."""
        found: dict[tuple[str, str], float] = {}
        for change in self.changes.values():
            for name, count in change.kinds.items():
                found[name] = found.get(name, 0.0) + change.rate(count)
        return found

    def drops(self) -> list[tuple[str, int, float]]:
        """Reason, packets since the workers' start, packets per second; what is most now first."""
        assert self.status is not None
        totals: Counter[str] = Counter()
        for worker in self.status.workers:
            totals.update(worker.drops)
        rates: Counter[str] = Counter()
        for change in self.changes.values():
            for reason, count in change.drops.items():
                rates[reason] += round(change.rate(count))
        rows = [(reason, count, float(rates[reason])) for reason, count in totals.items() if count]
        return sorted(rows, key=lambda row: (-row[2], -row[1], row[0]))

    def counters(self) -> Mapping[str, int]:
        assert self.status is not None
        totals: Counter[str] = Counter()
        for worker in self.status.workers:
            totals.update(worker.counters)
        return totals

    def made(self) -> list[tuple[Origin, int, float]]:
        """By what flows were made: how many, and how many per second now."""
        rates = dict.fromkeys(Origin, 0.0)
        for change in self.changes.values():
            for origin, count in picture.made(change.counters).items():
                rates[origin] += change.rate(count)
        totals = picture.made(self.counters())
        return [(origin, totals[origin], rates[origin]) for origin in Origin]

    def stores(self) -> list[tuple[WorkerStatus, StoreStatus]]:
        assert self.status is not None
        return [
            (worker, worker.store) for worker in self.status.workers if worker.store is not None
        ]


def _changes(old: RelayStatus, new: RelayStatus) -> dict[int, Change]:
    before = {worker.worker: worker for worker in old.workers}
    # A worker that is new has had less time than there was between the pictures; a rate over all
    # of that is too low, never too high.
    return {
        worker.worker: picture.between(before.get(worker.worker), worker, new.at - old.at, new.at)
        for worker in new.workers
    }
