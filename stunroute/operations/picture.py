"""Reading a picture of the relay: sums over its workers, and what happened between two pictures.

Counts are since a worker's start, so a worker that was replaced begins again at nothing. Whoever
subtracts them must know that, and so the one function that does is here.
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from attrs import frozen

from stunroute.status import SocketStatus, WorkerStatus
from stunroute.trace import Origin

K = TypeVar("K")

DIRECTIONS = ("uplink", "downlink")
KINDS = ("stun", "dtls", "rtp", "rtcp", "other")
UNSORTED = "other"
"""The kind of packets whose kind nobody looked at."""


def kinds(worker: WorkerStatus) -> dict[tuple[str, str], int]:
    """Packets by direction and kind, each pair there; they sum up to the packets forwarded."""
    found = {(direction, kind): 0 for direction in DIRECTIONS for kind in KINDS}
    found |= worker.kinds
    for direction in DIRECTIONS:
        known = sum(count for (way, _), count in worker.kinds.items() if way == direction)
        unsorted = worker.counters.get(f"{direction}_packets", 0) - known
        found[direction, UNSORTED] += max(0, unsorted)
    return found


def made(counters: Mapping[str, int]) -> dict[Origin, int]:
    """Flows made, by what made them."""
    others = {
        Origin.DOWNLINK: counters.get("healed", 0),
        Origin.STORE: counters.get("restored", 0),
        Origin.ANSWER: counters.get("answered", 0),
    }
    checks = counters.get("made", 0) - sum(others.values())
    return {Origin.CHECK: max(0, checks)} | others


def is_same(one: WorkerStatus, other: WorkerStatus) -> bool:
    """Whether both are of one process, so that the later's counts go on from the earlier's."""
    return (one.pid, one.started) == (other.pid, other.started)


@frozen(slots=True)
class Change:
    """What one worker did within ``seconds``, at the end of which it was ``age`` seconds old.
    ``kernel_drops`` and ``socket_errors`` are by the socket's role and address."""

    worker: int
    seconds: float
    age: float
    counters: Mapping[str, int]
    drops: Mapping[str, int]
    kinds: Mapping[tuple[str, str], int]
    kernel_drops: Mapping[tuple[str, str], int]
    socket_errors: Mapping[tuple[str, str], int]
    checks: Mapping[str, int]
    store: Mapping[str, int]

    def rate(self, count: int) -> float:
        return count / self.seconds if self.seconds > 0 else 0.0

    def per_second(self, counter: str) -> float:
        return self.rate(self.counters.get(counter, 0))

    @property
    def dropped(self) -> int:
        return sum(self.drops.values())

    @property
    def lost_by_kernel(self) -> int:
        return sum(self.kernel_drops.values())


STORE_COUNTS = (
    *("lookups", "hits", "misses", "unasked", "timeouts", "refused"),
    *("written", "stale", "lost", "errors"),
)


def between(old: WorkerStatus | None, new: WorkerStatus, seconds: float, at: float) -> Change:
    """What happened from ``old``, taken ``seconds`` before, to ``new``, taken at ``at``. Of a
    worker that was not there yet, or was another process, all that ``new`` counts is new."""
    before = old if old is not None and is_same(old, new) else None
    # The sockets outlive the worker, and so do the kernel's counts of what they lost.
    sockets = _by_name(old.sockets) if old is not None else {}
    own = _by_name(before.sockets) if before is not None else {}
    store = before.store if before is not None else None
    checks = {entry.id: entry.checks for entry in before.configurations} if before else {}
    return Change(
        worker=new.worker,
        seconds=seconds,
        age=at - new.started,
        counters=_grown(before.counters if before else {}, new.counters),
        drops=_grown(before.drops if before else {}, new.drops),
        kinds=_grown(kinds(before) if before else {}, kinds(new)),
        kernel_drops=_grown(
            {name: entry.kernel_drops for name, entry in sockets.items()},
            {name: entry.kernel_drops for name, entry in _by_name(new.sockets).items()},
        ),
        socket_errors=_grown(
            {name: entry.errors for name, entry in own.items()},
            {name: entry.errors for name, entry in _by_name(new.sockets).items()},
        ),
        checks=_grown(checks, {entry.id: entry.checks for entry in new.configurations}),
        store=_grown(_store_counts(store), _store_counts(new.store)),
    )


def _by_name(sockets: Iterable[SocketStatus]) -> dict[tuple[str, str], SocketStatus]:
    return {(entry.role, entry.address): entry for entry in sockets}


def _store_counts(store: object) -> dict[str, int]:
    return {} if store is None else {name: getattr(store, name) for name in STORE_COUNTS}


def _grown(before: Mapping[K, int], after: Mapping[K, int]) -> dict[K, int]:
    return {name: max(0, count - before.get(name, 0)) for name, count in after.items()}
