"""The shared store, and a relay's adapter to it, in virtual time.

``Store`` does what the script in ``stunroute.store.client`` makes Redis do: of two entries the one
of the greater generation stays. ``StoreAdapter`` is ``stunroute.store.redis`` without asyncio:
changes gathered and written behind, look-ups asked at once, a breaker for each side, and above all
the same ``EntryCodec``, which binds each value to its client. What the store can make of that
codec's values, and what a thief of its key could, are the lies.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable

from attrs import define, field

from stunroute.address import Address
from stunroute.errors import DecodeError
from stunroute.instant import Instant
from stunroute.store.breaker import Breaker, BreakerConfig, Ticket
from stunroute.store.entry import GENERATION_OFFSET, LENGTH, SECOND, VERSION, Entry, EntryCodec

from .dice import Dice
from .loop import Clock, Loop
from .network import spoiled

TTL = 120.0
LOOKUP_TIMEOUT = 0.2
WRITE_INTERVAL = 0.05
WRITE_TIMEOUT = 1.0
BATCH = 100
CHANGES = 65_536
EPOCH = 1_800_000_000.0
"""The time of day at virtual time zero, in seconds since 1970."""
_BREAKER = BreakerConfig(failures=3, pause=0.5, longest_pause=10.0)


@define(slots=True, eq=False, repr=False)
class Store:
    """``latency`` in seconds each time; ``gone``: nothing is answered; ``past``: reads are answered
    from this; ``lies``: how likely an answer is one. ``faults`` counts what it did wrong."""

    loop: Loop
    dice: Dice
    faults: Counter[str] = field(factory=Counter)
    latency: float = 0.001
    gone: bool = False
    past: dict[bytes, tuple[bytes, Instant]] | None = None
    lies: float = 0.0
    values: dict[bytes, tuple[bytes, Instant]] = field(factory=dict)

    def read(self, name: bytes) -> bytes | None:
        held = (self.values if self.past is None else self.past).get(name)
        if self.past is not None and held != self.values.get(name):
            self.faults["stale"] += 1
        value = held[0] if held is not None and held[1] > self.loop.now else None
        return self._lie(value) if self.dice.happens(self.lies) else value

    def _lie(self, value: bytes | None) -> bytes | None:
        self.faults["lie"] += 1
        others = [held for held, _ in self.values.values()]
        match self.dice.below(4):
            case 0 if others:
                return self.dice.pick(others)
            case 1 if value is not None:
                return spoiled(value, self.dice)
            case 2:
                return self.dice.octets(LENGTH)
        return None

    def write(self, values: dict[bytes, bytes], latest: int) -> None:
        """All of them, but for those older than what is there."""
        for name, value in values.items():
            held = self.values.get(name)
            old = -1 if held is None or held[1] <= self.loop.now else _generation(held[0])
            if not _generation(value) < old <= latest:
                self.values[name] = value, self.loop.now + TTL

    def expire(self) -> None:
        """Let go of what nobody has renewed."""
        now = self.loop.now
        self.values = {name: held for name, held in self.values.items() if held[1] > now}


def _generation(value: bytes) -> int:
    if len(value) != LENGTH or value[0] != VERSION:
        return -1
    return int.from_bytes(value[GENERATION_OFFSET : GENERATION_OFFSET + 8], "big")


@define(slots=True, eq=False, repr=False)
class StoreAdapter:
    """One worker's. ``answer`` is given what was looked up; ``skew`` is how far the machine's time
    of day is off, in seconds. ``hops`` are next hops that a thief of the key would name."""

    store: Store
    clock: Clock
    codec: EntryCodec
    answer: Callable[[Address, Address | None, Instant | None], None]
    hops: tuple[Address, ...]
    skew: float = 0.0
    alive: bool = True
    _reading: Breaker = field(factory=lambda: Breaker(_BREAKER))
    _writing: Breaker = field(factory=lambda: Breaker(_BREAKER))
    _changes: OrderedDict[Address, Entry] = field(factory=OrderedDict)
    _flushes: bool = False
    _probes: bool = False

    @property
    def waiting(self) -> int:
        """Changes that are not written yet."""
        return len(self._changes)

    def lookup(self, client: Address) -> None:
        ticket = self._reading.attempt(self.clock.now) if self._reading.is_closed else None
        if ticket is None:
            self.answer(client, None, None)
        elif self.store.gone or self.store.latency > LOOKUP_TIMEOUT:
            self.store.faults["unanswered"] += 1
            self.clock.loop.after(LOOKUP_TIMEOUT, self._fail_read, ticket, client)
        else:
            self.clock.loop.after(self.store.latency, self._read, ticket, client)

    def record(self, client: Address, next_hop: Address, made: Instant) -> None:
        self._change(client, Entry(self._moment_of(made), next_hop))

    def forget(self, client: Address, next_hop: Address, made: Instant) -> None:
        self._change(client, Entry(self._moment_of(made), next_hop, released=True))

    # Time

    @property
    def _offset(self) -> int:
        """From the process's clock to its time of day, in microseconds."""
        wall = EPOCH + self.clock.loop.now + self.skew
        return round((wall - self.clock.now) * SECOND)

    def _moment(self) -> int:
        return self._moment_of(self.clock.now)

    def _moment_of(self, instant: Instant) -> int:
        return max(self._offset + round(instant * SECOND), 0)

    # Reading

    def _read(self, ticket: Ticket, client: Address) -> None:
        if not self.alive:
            return
        self._reading.succeeded(ticket)
        if self.store.lies and self.store.dice.happens(self.store.lies / 2):
            self.store.faults["forged"] += 1
            self.answer(client, self.store.dice.pick(self.hops), self.clock.now)
            return
        value = self.store.read(self.codec.name(client))
        entry = None
        if value is not None:
            try:
                entry = self.codec.decode_untrusted(client, value, self._moment())
            except DecodeError:
                self.store.faults["refused"] += 1
        if entry is None or entry.released:
            self.answer(client, None, None)
        else:
            self.answer(client, entry.next_hop, (entry.made - self._offset) / SECOND)

    def _fail_read(self, ticket: Ticket, client: Address) -> None:
        if not self.alive:
            return
        self._reading.failed(ticket, self.clock.now)
        self.answer(client, None, None)
        if not self._probes and not self._reading.is_closed:
            self._probe_later()

    def _probe_later(self) -> None:
        until = self._reading.retry_at()
        self._probes = until is not None
        if until is not None:
            self.clock.loop.at(until - self.clock.offset, self._probe)

    def _probe(self) -> None:
        """A read of no meaning, since no client is to wait for it."""
        ticket = self._reading.attempt(self.clock.now) if self.alive else None
        if ticket is None:
            self._probes = False
        elif self.store.gone:
            self._reading.failed(ticket, self.clock.now)
            self._probe_later()
        else:
            self._reading.succeeded(ticket)
            self._probes = False

    # Writing

    def _change(self, client: Address, entry: Entry) -> None:
        waiting = self._changes.get(client)
        if waiting is not None and waiting.generation > entry.generation:
            return
        if waiting is None and len(self._changes) >= CHANGES:
            self._changes.popitem(last=False)
        self._changes[client] = entry
        if not self._flushes:
            self._flushes = True
            self.clock.loop.after(WRITE_INTERVAL, self._flush)

    def _flush(self) -> None:
        """Write one batch, after as long as that takes."""
        if not self.alive:
            return
        ticket = self._writing.attempt(self.clock.now)
        if ticket is None:
            self.clock.loop.after(WRITE_INTERVAL, self._flush)
        elif self.store.gone or self.store.latency > WRITE_TIMEOUT:
            self.clock.loop.after(WRITE_TIMEOUT, self._fail_write, ticket)
        else:
            self.clock.loop.after(self.store.latency, self._write, ticket)

    def _write(self, ticket: Ticket) -> None:
        if not self.alive:
            return
        now = self._moment()
        size = min(BATCH, len(self._changes))
        batch = [self._changes.popitem(last=False) for _ in range(size)]
        codec = self.codec
        values = {codec.name(client): codec.encode(client, entry, now) for client, entry in batch}
        self.store.write(values, codec.latest(now))
        self._writing.succeeded(ticket)
        self._flush_again(0.0)

    def _fail_write(self, ticket: Ticket) -> None:
        if self.alive:
            self._writing.failed(ticket, self.clock.now)
            until = self._writing.retry_at()
            self._flush_again(0.0 if until is None else until - self.clock.now)

    def _flush_again(self, delay: float) -> None:
        self._flushes = bool(self._changes)
        if self._flushes:
            self.clock.loop.after(max(delay, WRITE_INTERVAL), self._flush)
