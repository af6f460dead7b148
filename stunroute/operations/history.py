"""What happened to a relay, told from one picture of it to the next.

A counter that grew says that something healed; it does not say so to whoever looks a minute later.
So successive pictures are compared and what they differ in is put into sentences, which are kept,
a bounded number of each sort, for the next person to open ``top``. Things that last, a flood of
one sort of packet or flows healing after a restart, are one sentence that grows and not one per
picture. Sans-IO: pictures in, sentences out, the time is the pictures' own.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping

from attrs import define, field, frozen

from stunroute.status import ConfigurationStatus, Happening, RelayStatus, StoreStatus, WorkerStatus
from stunroute.trace import Origin

from .picture import Change, between, is_same, made

FLOOD = 100.0
"""Packets per second that are let go of for one reason, from which on it is worth a sentence."""
SOCKET_ERRORS = 10.0
"""As ``FLOOD``, for errors of the sockets: one next hop that is gone makes 50 a second per call."""
BULK = 10
BULK_SHARE = 0.2
"""Flows that expire at once are told of from this many on, if they are this share of all."""
LAG = 0.1
"""Seconds that an event loop is held up before it is told; then again when it is twice as long."""
YOUNG = 60.0
"""Seconds for which the flows that checks make are told of: they are those of calls that outlived
the worker before. Later ones are of new calls, and nothing has happened."""
IN_USE = "closed"
"""The state of a breaker that lets the store be used."""
QUIET = 3.0
"""Seconds after which what has not happened again is over."""
PER_SORT = 20
SHOWN = 50
"""Sentences kept of one sort, so that many of one cannot push out the few of another, and given
out in all."""


@frozen(slots=True)
class Sort:
    """Something that may last: what is counted, in words that follow the count. ``rate`` is how
    much per second makes it worth telling; 0 tells of the first."""

    name: str
    one: str
    many: str
    rate: float = 0.0


HEALED = Sort("healed", "flow made again from the downlink", "flows made again from the downlink")
RESTORED = Sort("restored", "flow restored from the store", "flows restored from the store")
BY_SSRC = Sort(
    "by_ssrc",
    "packet of an unknown address found its flow by SSRC",
    "packets of unknown addresses found their flows by SSRC",
)
MOVED = Sort("moved", "flow moved to another session", "flows moved to other sessions")
UNSAID = Sort(
    "requests_lost",
    "change was not queued for the store",
    "changes were not queued for the store",
)
BY_CHECK = Sort(
    "by_check",
    "flow made by a check, after the start",
    "flows made by checks, after the start",
)
COUNTED = (HEALED, RESTORED, BY_SSRC, MOVED, UNSAID)
"""Sorts that bear the name of a counter of the core."""

FORGED = Sort(
    "refused",
    "value in the store did not authenticate",
    "values in the store did not authenticate",
)
UNWRITTEN = Sort(
    "lost", "change was never written to the store", "changes were never written to the store"
)
LATE = Sort(
    "timeouts", "exchange with the store took too long", "exchanges with the store took too long"
)
FAILED = Sort("errors", "exchange with the store failed", "exchanges with the store failed")
OF_STORE = (FORGED, UNWRITTEN, LATE, FAILED)
"""Sorts that bear the name of a count of the store."""


def _dropped(reason: str) -> Sort:
    return Sort(f"drop:{reason}", f"dropped: {reason}", f"dropped: {reason}", FLOOD)


def _by_kernel(role: str) -> Sort:
    return Sort(
        f"kernel:{role}",
        f"packet lost by the kernel: the {role} socket's buffer was full",
        f"packets lost by the kernel: the {role} socket's buffer was full",
    )


def _socket_errors(role: str) -> Sort:
    return Sort(
        f"errors:{role}",
        f"error of the {role} socket: somebody it sends to is gone",
        f"errors of the {role} socket: somebody it sends to is gone",
        SOCKET_ERRORS,
    )


@define(slots=True)
class Episode:
    """Something while it lasts. Times are those of pictures, ``peak`` is per second."""

    sort: Sort
    began: float
    last: float
    count: int = 0
    peak: float = 0.0

    def text(self, *, over: bool) -> str:
        words = self.sort.one if self.count == 1 else self.sort.many
        text = f"{self.count:,} {words}"
        seconds = max(1, round(self.last - self.began))
        if over and self.count > 1 and seconds > 1:
            text += f", within {duration(seconds)}"
        if self.sort.rate and self.count > 1:
            text += f", up to {self.peak:,.0f}/s"
        return text if over else f"{text}, going on"


def duration(seconds: float) -> str:
    """``seconds`` for people: 8 s, 3 min 20 s, 2 h 5 min, 4 d 3 h."""
    whole = max(0, round(seconds))
    for unit, large, small, name in ((86_400, "d", "h", 3600), (3600, "h", "min", 60)):
        if whole >= unit:
            rest = whole % unit // name
            return f"{whole // unit} {large}" + (f" {rest} {small}" if rest else "")
    if whole >= 60:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    return f"{whole} s"


@define(slots=True)
class History:
    """Feed it with pictures, oldest first."""

    _seen: dict[int, tuple[float, WorkerStatus]] = field(init=False, factory=dict)
    _lags: dict[int, float] = field(init=False, factory=dict)
    _first: bool = field(init=False, default=True)
    _episodes: dict[str, Episode] = field(init=False, factory=dict)
    _told: dict[str, deque[Happening]] = field(init=False, factory=dict)

    def observe(self, status: RelayStatus) -> list[Happening]:
        """What this picture brought to an end or showed as new, each once."""
        news: list[Happening] = []
        changes = []
        for worker in status.workers:
            at, old = self._seen.get(worker.worker, (worker.started, None))
            change = between(old, worker, status.at - at, status.at)
            changes.append(change)
            texts = (*self._of_worker(old, worker), *self._of_flows(old, change))
            news += [self._tell("worker", status.at, text) for text in texts]
        news += [
            self._tell("keys", status.at, text) for text in self._of_keys(status.workers, changes)
        ]
        news += self._ended(status.at)
        for sort, count, rate in _counted(changes):
            self._lasting(sort, count, rate, status.at)
        for worker in status.workers:
            self._seen[worker.worker] = status.at, worker
        self._first = False
        return news

    def happenings(self, others: Iterable[Happening] = ()) -> tuple[Happening, ...]:
        """The latest, oldest first, with ``others`` among them; what goes on stands last."""
        ended = [entry for told in self._told.values() for entry in told]
        ended = sorted([*ended, *others], key=lambda entry: entry.at)
        now = [
            Happening(episode.last, episode.text(over=False)) for episode in self._episodes.values()
        ]
        return (*ended, *sorted(now, key=lambda entry: entry.at))[-SHOWN:]

    def _tell(self, sort: str, at: float, text: str) -> Happening:
        happening = Happening(at, text)
        self._told.setdefault(sort, deque(maxlen=PER_SORT)).append(happening)
        return happening

    # What is told at once

    def _of_worker(self, old: WorkerStatus | None, new: WorkerStatus) -> Iterator[str]:
        name = f"worker {new.worker}"
        if old is not None and not is_same(old, new):
            if old.flows:
                flows, are = ("flow", "is") if old.flows == 1 else ("flows", "are")
                yield f"{name} is a new process; {old.flows:,} {flows} of the former {are} lost"
            self._lags.pop(new.worker, None)
            old = None
        if new.loop_lag < LAG:
            self._lags.pop(new.worker, None)
        elif new.loop_lag >= 2 * self._lags.get(new.worker, 0.0):
            self._lags[new.worker] = new.loop_lag
            yield f"{name} was held up for {new.loop_lag * 1000:,.0f} ms"
        yield from _of_breaker(old.store if old is not None else None, new.store, name)

    def _of_flows(self, old: WorkerStatus | None, change: Change) -> Iterator[str]:
        expired = change.counters.get("expired", 0)
        before = old.flows if old is not None else 0
        if expired >= BULK and expired >= before * BULK_SHARE:
            yield f"{expired:,} flows of worker {change.worker} expired: nobody sent for a while"

    def _of_keys(self, workers: tuple[WorkerStatus, ...], changes: list[Change]) -> Iterator[str]:
        known = _configurations(worker for _, worker in self._seen.values())
        present = _configurations(workers)
        if self._first or not workers:
            return
        for identifier in sorted(known.keys() - present.keys()):
            yield f"hint configuration {identifier} is gone"
        for identifier, entry in sorted(present.items()):
            yield from _of_configuration(known.get(identifier), entry)
            before = known[identifier].checks if identifier in known else 0
            counted = sum(change.checks.get(identifier, 0) for change in changes)
            if counted and not before:
                yield f"first check under hint configuration {identifier}"

    # What lasts

    def _lasting(self, sort: Sort, count: int, rate: float, now: float) -> None:
        episode = self._episodes.get(sort.name)
        if episode is None:
            if not count or rate < sort.rate:
                return
            episode = self._episodes[sort.name] = Episode(sort, now, now)
        if not count:
            return
        episode.count += count
        episode.peak = max(episode.peak, rate)
        if rate >= sort.rate / 2:
            episode.last = now

    def _ended(self, now: float) -> list[Happening]:
        over = [
            (name, episode)
            for name, episode in self._episodes.items()
            # A clock that was put back ends everything, rather than nothing until it caught up.
            if not 0 <= now - episode.last < QUIET
        ]
        for name, _ in over:
            del self._episodes[name]
        return [
            self._tell(name.partition(":")[0], episode.last, episode.text(over=True))
            for name, episode in over
        ]


def _counted(changes: list[Change]) -> Iterator[tuple[Sort, int, float]]:
    """All that may last, with how much of it there was and the rate per second."""
    counts: Counter[Sort] = Counter()
    rates: dict[Sort, float] = {}

    def add(sort: Sort, count: int, change: Change) -> None:
        counts[sort] += count
        # A picture that follows on another's heels would make a flood of a few packets.
        rates[sort] = rates.get(sort, 0.0) + count / max(change.seconds, 1.0)

    for change in changes:
        for sort in COUNTED:
            add(sort, change.counters.get(sort.name, 0), change)
        if change.age < YOUNG:
            add(BY_CHECK, made(change.counters)[Origin.CHECK], change)
        for sort in OF_STORE:
            add(sort, change.store.get(sort.name, 0), change)
        for reason, count in change.drops.items():
            add(_dropped(reason), count, change)
        for (role, _), count in change.kernel_drops.items():
            add(_by_kernel(role), count, change)
        for (role, _), count in change.socket_errors.items():
            add(_socket_errors(role), count, change)
    for sort, count in counts.items():
        yield sort, count, rates[sort]


def _of_breaker(old: StoreStatus | None, new: StoreStatus | None, name: str) -> Iterator[str]:
    """Trying again, and failing again, is no news."""
    if new is None:
        return
    failed, fails = old is not None and old.state != IN_USE, new.state != IN_USE
    if fails and not failed:
        why = f" ({new.last_error})" if new.last_error else ""
        yield f"{name}: the store fails{why}, and is left alone between tries"
    elif failed and not fails:
        yield f"{name}: the store is in use again"


def _configurations(workers: Iterable[WorkerStatus]) -> Mapping[str, ConfigurationStatus]:
    """By id; of several workers' the one that has seen most checks."""
    found: dict[str, ConfigurationStatus] = {}
    for worker in workers:
        for entry in worker.configurations:
            if entry.id not in found or found[entry.id].checks < entry.checks:
                found[entry.id] = entry
    return found


def _of_configuration(old: ConfigurationStatus | None, new: ConfigurationStatus) -> Iterator[str]:
    name = f"hint configuration {new.id}"
    if old is None:
        yield f"{name} is known now, {'read' if new.readable else 'not read yet'}"
        return
    if old.readable != new.readable:
        yield f"{name} is {'read now' if new.readable else 'read no more'}"
    if old.mintable != new.mintable:
        yield f"{name} {'may be minted under now' if new.mintable else 'is minted under no more'}"
