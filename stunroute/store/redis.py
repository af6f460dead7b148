"""The shared store in Redis or Valkey: written behind, read on a miss, left alone when it fails.

The packets' loop never waits for it. A change is put into a dictionary, where a later one about
the same client replaces it, and goes out with the next batch; a look-up waits for the others of
its turn of the loop and goes out with them. Both are bounded in number, and in time by whoever
asked. What could not be written is written later, unless there is something newer to say; what
is lost nevertheless is said again when its flow renews, which an active flow does in each
``idle_timeout``. That is also what fills a store that came back empty: until then, a relay that
fails as well finds some of its clients by their next check or downlink packet only.

Reads and writes fail for different reasons (a full server still answers, a replica refuses to be
written to), so each has a circuit breaker. A look-up is never the attempt that shows whether the
store is back, since a client's packets would wait for it: that is done by a read of no meaning,
with time enough to find a new master and to connect to it.
"""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from importlib.util import find_spec
from typing import Any, Protocol, TypeVar

from attrs import asdict, define, frozen

from stunroute.address import Address
from stunroute.errors import ConfigError, DecodeError
from stunroute.instant import Instant
from stunroute.settings import StoreSettings
from stunroute.status import StoreStatus

from . import Answer, NoStore, Store
from .breaker import Breaker, BreakerConfig, Closed, HalfOpen, Open, State, Ticket
from .entry import SECOND, Entry, EntryCodec, Moment
from .url import parse

T = TypeVar("T")

PROBE_TIMEOUT = 5.0
"""Seconds for the attempt that shows whether the store is back: sentinels or nodes of a cluster
that are gone as well are asked one after the other."""
CLOSING_TIME = 1.0
"""Seconds that a graceful stop waits for changes to be written."""
READS = 4
"""Reads under way at once. One is enough as long as the server answers; what is looked up while all
of them are waited for goes out with the next."""
BREATH = 0.001
"""Seconds between two batches of one flush, so that a long one leaves most of the loop's time to
the packets."""
CLOCK_STEP = SECOND
"""A wall clock that moves by more was set, and stamps move with it. By less: it is the same clock,
and a flow's stamp must not change from one renewal to the next."""

_NOBODY = Address(bytes(16), 0)
_CODE = re.compile(r"[A-Z]{2,24}\b")
_SMOOTHING = 8
_STATES = ("closed", "half-open", "open")
_MISSING = "needs the redis package: pip install 'stunroute[store]'"


class Client(Protocol):
    """The library behind the store. Raises whatever it likes, DecodeError for answers that make no
    sense, and may be cancelled at any time."""

    async def read(self, names: Sequence[bytes]) -> list[bytes | None]:
        """The values that stand under ``names``, in their order."""
        ...

    async def write(self, values: dict[bytes, bytes], latest: int, ttl: int) -> int:
        """Write entries by name, to be kept for ``ttl`` milliseconds, except where one of a greater
        generation is that is not greater than ``latest``. Returns the number of exceptions."""
        ...

    async def aclose(self) -> None: ...


class _Clock:
    """The loop's clock and the wall's, of which only the second means anything to other relays."""

    __slots__ = ("_now", "_offset", "_wall")

    def __init__(self, now: Callable[[], Instant], wall: Callable[[], float]) -> None:
        self._now = now
        self._wall = wall
        self._offset = round(wall() * SECOND) - round(now() * SECOND)

    def moment(self) -> Moment:
        moment = round(self._wall() * SECOND)
        offset = moment - round(self._now() * SECOND)
        if abs(offset - self._offset) > CLOCK_STEP:
            self._offset = offset
        return moment

    def moment_of(self, instant: Instant) -> Moment:
        return max(self._offset + round(instant * SECOND), 0)

    def instant_of(self, moment: Moment) -> Instant:
        return (moment - self._offset) / SECOND


@define(slots=True)
class _Figures:
    """What ``StoreStatus`` tells, as it is counted."""

    lookups: int = 0
    hits: int = 0
    misses: int = 0
    unasked: int = 0
    timeouts: int = 0
    refused: int = 0
    written: int = 0
    stale: int = 0
    lost: int = 0
    errors: int = 0
    latency: float = 0.0
    last_error: str = ""


@frozen(slots=True)
class _Lookup:
    client: Address
    answer: Answer
    at: Instant


class _Side:
    """What reading and writing have in common: attempts, under a breaker."""

    def __init__(
        self,
        settings: StoreSettings,
        client: Client,
        codec: EntryCodec,
        clock: _Clock,
        figures: _Figures,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._settings = settings
        self._client = client
        self._codec = codec
        self._clock = clock
        self._figures = figures
        self.breaker = _breaker(settings)

    async def _try(self, ticket: Ticket, timeout: float, call: Awaitable[T]) -> T | None:
        """What ``call`` returns, or None if it failed or took too long."""
        started = self._loop.time()
        figures = self._figures
        try:
            async with asyncio.timeout(timeout):
                result = await call
        except Exception as error:
            # A server that lies makes the library raise what it has no name for.
            if isinstance(error, TimeoutError):
                figures.timeouts += 1
            else:
                figures.errors += 1
            figures.last_error = _name_of(error)
            self.breaker.failed(ticket, self._loop.time())
            return None
        took = self._loop.time() - started
        figures.latency += (took - figures.latency) / (_SMOOTHING if figures.latency else 1)
        self.breaker.succeeded(ticket)
        return result


class _Reader(_Side):
    """Look-ups: gathered in a turn of the loop, then asked together."""

    def __init__(self, *common: Any) -> None:
        super().__init__(*common)
        self._gathered: list[_Lookup] = []
        self._asking: asyncio.Handle | None = None
        self._under_way = 0
        self._reads = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Handle | None = None
        # Connect before somebody waits for it.
        ticket = self.breaker.attempt(self._loop.time())
        if ticket is not None:
            self._start(self._probe(ticket))

    def lookup(self, client: Address, answer: Answer) -> None:
        if not self.breaker.is_closed or self._under_way >= self._settings.lookups:
            self._figures.unasked += 1
            answer(client, None)
            return
        self._under_way += 1
        if self._asking is None:
            self._asking = self._loop.call_soon(self._ask)
        self._gathered.append(_Lookup(client, answer, self._loop.time()))

    def close(self) -> None:
        self._gathered.clear()
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _ask(self) -> None:
        """Ask for what is gathered, as far as there may be more reads."""
        self._asking = None
        while self._gathered and self._reads < READS:
            batch = self._gathered[: self._settings.batch]
            del self._gathered[: self._settings.batch]
            ticket = self.breaker.attempt(self._loop.time()) if self.breaker.is_closed else None
            if ticket is None:
                self._figures.unasked += len(batch)
                self._tell(batch, None)
            else:
                self._reads += 1
                self._start(self._read(ticket, batch))

    async def _read(self, ticket: Ticket, batch: list[_Lookup]) -> None:
        names = [self._codec.name(lookup.client) for lookup in batch]
        left = batch[0].at + self._settings.lookup_timeout - self._loop.time()
        try:
            values = await self._try(ticket, left, self._client.read(names))
        finally:
            self._reads -= 1
        self._probe_later()
        self._ask()
        self._tell(batch, values)

    def _tell(self, batch: list[_Lookup], values: Sequence[bytes | None] | None) -> None:
        self._under_way -= len(batch)
        now = self._clock.moment()
        for index, lookup in enumerate(batch):
            client = lookup.client
            entry = None if values is None else self._entry(client, values[index], now)
            if entry is None:
                lookup.answer(client, None)
            else:
                lookup.answer(client, entry.next_hop, self._clock.instant_of(entry.made))

    def _entry(self, client: Address, value: bytes | None, now: Moment) -> Entry | None:
        entry = None
        if value is not None:
            try:
                entry = self._codec.decode_untrusted(client, value, now)
            except DecodeError:
                self._figures.refused += 1
        if entry is None or entry.released:
            self._figures.misses += 1
            return None
        self._figures.hits += 1
        return entry

    def _probe_later(self) -> None:
        """Find out whether it works again, or at all: nobody may look anything up for long."""
        match self.breaker.state:
            case Open(until):
                at = until
            case Closed(failures) if failures:
                at = self._loop.time() + self._settings.pause
            case Closed() | HalfOpen():
                return
        if self._timer is None:
            self._timer = self._loop.call_at(at, self._probe_now)

    def _probe_now(self) -> None:
        self._timer = None
        # The loop may call early by its clock's resolution.
        ticket = self.breaker.attempt(max(self._loop.time(), self.breaker.retry_at() or 0))
        if ticket is not None:
            self._start(self._probe(ticket))

    async def _probe(self, ticket: Ticket) -> None:
        await self._try(ticket, PROBE_TIMEOUT, self._client.read([self._codec.name(_NOBODY)]))
        self._probe_later()


class _Writer(_Side):
    """Changes: the last one of each client, written in batches."""

    def __init__(self, *common: Any) -> None:
        super().__init__(*common)
        # Ordered, because a plain dictionary that is emptied from the front grows slow.
        self._changes: OrderedDict[Address, Entry] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._changes)

    def change(self, client: Address, entry: Entry) -> None:
        waiting = self._changes.get(client)
        if waiting is None:
            if len(self._changes) >= self._settings.changes:
                self._changes.popitem(last=False)
                self._figures.lost += 1
        elif waiting.generation > entry.generation:
            return
        self._changes[client] = entry
        if self._timer is None and self._flushing is None:
            self._flush_later(self._settings.write_interval)

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._flushing is not None:
            self._flushing.cancel()
        self._figures.lost += len(self._changes)
        self._changes.clear()

    async def finish(self) -> None:
        """Write what waits, once, and only to a store that is in use."""
        if self._timer is not None:
            self._timer.cancel()
        if self._flushing is not None:
            await self._flushing
        while self._changes and self.breaker.is_closed:
            ticket = self.breaker.attempt(self._loop.time())
            if ticket is None or not await self._write(ticket):
                return

    def _flush_later(self, delay: float) -> None:
        self._timer = self._loop.call_later(delay, self._flush_now)

    def _flush_now(self) -> None:
        self._timer = None
        self._flushing = self._loop.create_task(self._flush())

    async def _flush(self) -> None:
        """Write what there is; whatever comes in the meantime is written by the next flush."""
        delay = self._settings.write_interval
        for _ in range(-(-len(self._changes) // self._settings.batch)):
            # The loop may have called early by its clock's resolution.
            ticket = self.breaker.attempt(max(self._loop.time(), self.breaker.retry_at() or 0))
            if ticket is None or not await self._write(ticket):
                break
            await asyncio.sleep(BREATH)
        delay = max(delay, (self.breaker.retry_at() or 0) - self._loop.time())
        self._flushing = None
        if self._changes:
            self._flush_later(delay)

    async def _write(self, ticket: Ticket) -> bool:
        """Write one batch. What cannot be written waits again, before all others."""
        size = min(self._settings.batch, len(self._changes))
        batch = [self._changes.popitem(last=False) for _ in range(size)]
        now = self._clock.moment()
        codec = self._codec
        values = {codec.name(client): codec.encode(client, entry, now) for client, entry in batch}
        timeout = self._settings.write_timeout if self.breaker.is_closed else PROBE_TIMEOUT
        call = self._client.write(values, codec.latest(now), round(self._settings.ttl * 1000))
        stale: int | None = None
        try:
            stale = await self._try(ticket, timeout, call)
        finally:
            if stale is None:
                self._put_back(batch)
        if stale is None:
            return False
        self._figures.stale += stale
        self._figures.written += size - stale
        return True

    def _put_back(self, batch: list[tuple[Address, Entry]]) -> None:
        for client, entry in reversed(batch):
            waiting = self._changes.get(client)
            if self._closed or (waiting is None and len(self._changes) >= self._settings.changes):
                self._figures.lost += 1
            elif waiting is None or waiting.generation < entry.generation:
                self._changes[client] = entry
                self._changes.move_to_end(client, last=False)


class RedisStore:
    """A ``stunroute.store.Store``. To be made on the running loop whose time is the relay's."""

    def __init__(
        self, settings: StoreSettings, client: Client, *, wall: Callable[[], float] = time.time
    ) -> None:
        """``wall`` reads the time of day in seconds since 1970-01-01 UTC."""
        loop = asyncio.get_running_loop()
        codec = _codec(settings)
        self._client = client
        self._clock = _Clock(loop.time, wall)
        self._figures = _Figures()
        common = (settings, client, codec, self._clock, self._figures)
        self._reader = _Reader(*common)
        self._writer = _Writer(*common)
        self._closing: asyncio.Task[None] | None = None
        self._closed = False

    def lookup(self, client: Address, answer: Answer) -> None:
        if self._closed:
            return
        self._figures.lookups += 1
        self._reader.lookup(client, answer)

    def record(self, client: Address, next_hop: Address, made: Instant) -> None:
        if not self._closed:
            self._writer.change(client, Entry(self._clock.moment_of(made), next_hop))

    def forget(self, client: Address, next_hop: Address, made: Instant) -> None:
        if not self._closed:
            self._writer.change(client, Entry(self._clock.moment_of(made), next_hop, True))

    def close(self) -> None:
        """Leave unwritten what waits. The connections are closed on the loop, if it goes on."""
        if not self._closed:
            self._closed = True
            self._reader.close()
            self._writer.close()
            self._closing = asyncio.get_running_loop().create_task(self._disconnect())

    async def aclose(self) -> None:
        """Write what waits, for at most ``CLOSING_TIME``, and close the connections."""
        if not self._closed:
            try:
                async with asyncio.timeout(CLOSING_TIME):
                    await self._writer.finish()
            except TimeoutError:
                """What is left counts as lost."""
            self.close()
        if self._closing is not None:
            await self._closing

    def status(self) -> StoreStatus:
        """``state`` is that of the worse of the two breakers."""
        states = (self._reader.breaker.state, self._writer.breaker.state)
        worse = max(map(_badness, states))
        return StoreStatus(_STATES[worse], waiting=len(self._writer), **asdict(self._figures))

    async def _disconnect(self) -> None:
        try:
            async with asyncio.timeout(CLOSING_TIME):
                await self._client.aclose()
        except Exception:
            """A connection that cannot be closed in peace is closed with the process."""


def make_store(settings: StoreSettings | None) -> Store:
    """The store that ``settings`` name; none for None. To be called on the running loop. Raises
    ConfigError."""
    if settings is None:
        return NoStore()
    endpoint = parse(settings.url)
    try:
        from .client import RedisClient
    except ModuleNotFoundError:
        raise ConfigError("store", _MISSING) from None
    return RedisStore(settings, RedisClient(endpoint, _codec(settings).shard))


def check_store(settings: StoreSettings | None) -> None:
    """Raise the ConfigError of ``make_store`` without making anything, before there are workers to
    fail one after the other."""
    if settings is not None:
        parse(settings.url)
        if find_spec("redis") is None:
            raise ConfigError("store", _MISSING)


def _codec(settings: StoreSettings) -> EntryCodec:
    return EntryCodec(settings.key, settings.prefix, round(settings.ttl * SECOND))


def _breaker(settings: StoreSettings) -> Breaker:
    return Breaker(BreakerConfig(settings.failures, settings.pause, settings.longest_pause))


def _badness(state: State) -> int:
    match state:
        case Closed():
            return 0
        case HalfOpen():
            return 1
        case Open():
            return 2


def _name_of(error: Exception) -> str:
    """What kind of error, without what it says: that may come from the network or hold the URL. A
    server's own word for it (``OOM``, ``WRONGPASS``) is worth having."""
    code = _CODE.match(str(error))
    return f"{type(error).__name__} {code[0]}" if code else type(error).__name__
