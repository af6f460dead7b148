"""Servers that lose, alter, repeat, hold up or misdirect datagrams, or fall silent."""

from collections.abc import Callable, Iterable
from typing import Any

from attrs import define, evolve

from conformance.drivers.memory import EchoServer
from conformance.drivers.relay import RelayServer
from conformance.drivers.virtual import START, Emission
from stunroute import forward
from stunroute.address import Address
from stunroute.demux import Kind, classify
from stunroute.instant import Instant

from .model import Saboteur, Tamper, tampering

KINDS: tuple[Kind | None, ...] = (None, Kind.STUN, Kind.DTLS, Kind.RTP, Kind.RTCP)
"""None for all of them."""


def kind_of(emission: Emission) -> Kind:
    """What a datagram is, behind the leg's header if it has one."""
    return classify(payload_of(emission.data))


def payload_of(data: bytes) -> bytes:
    """Without the leg's header."""
    return data[forward.HEADER_LENGTH :] if data[:2] == _MAGIC else data


_MAGIC = forward.encode(Address.of("192.0.2.1", 1), Address.of("192.0.2.1", 1))[:2]


def _named(kind: Kind | None) -> str:
    return "all" if kind is None else kind.value


@define(slots=False)
class OfKind(Tamper):
    """Counts the datagrams of a kind, each way."""

    kind: Kind | None
    at: int = 0
    _said: int = 0
    _heard: int = 0

    def is_meant(self, emission: Emission) -> bool:
        return self.kind is None or kind_of(emission) is self.kind


@define(slots=False)
class Silent(OfKind):
    def said(self, said: Emission, now: Instant) -> Iterable[Emission]:
        self._said += self.is_meant(said)
        return () if self.is_meant(said) and self._said > self.at else (said,)


@define(slots=False)
class Deaf(OfKind):
    def heard(self, heard: Emission, server: Any, now: Instant) -> Iterable[Emission]:
        self._heard += self.is_meant(heard)
        return () if self.is_meant(heard) and self._heard > self.at else (heard,)


@define(slots=False)
class LosesOne(OfKind):
    def said(self, said: Emission, now: Instant) -> Iterable[Emission]:
        self._said += self.is_meant(said)
        return () if self.is_meant(said) and self._said == self.at + 1 else (said,)


@define(slots=False)
class MissesOne(OfKind):
    def heard(self, heard: Emission, server: Any, now: Instant) -> Iterable[Emission]:
        self._heard += self.is_meant(heard)
        return () if self.is_meant(heard) and self._heard == self.at + 1 else (heard,)


@define(slots=False)
class Repeats(OfKind):
    def said(self, said: Emission, now: Instant) -> Iterable[Emission]:
        return [said] * (self.at if self.is_meant(said) else 1)


@define(slots=False)
class HearsTwice(OfKind):
    def heard(self, heard: Emission, server: Any, now: Instant) -> Iterable[Emission]:
        return [heard] * (2 if self.is_meant(heard) else 1)


@define(slots=False)
class Echoes(OfKind):
    """``at``: 0 instead of hearing it, 1 besides, 2 but the first it has heard."""

    first: bytes = b""

    def heard(self, heard: Emission, server: Any, now: Instant) -> Iterable[Emission]:
        return () if self.at == 0 and self.is_meant(heard) else (heard,)

    def besides(self, heard: Emission, server: Any, now: Instant) -> Iterable[Emission]:
        self.first = self.first or heard.data
        if not self.is_meant(heard):
            return ()
        back = self.first if self.at == 2 else heard.data
        return (Emission(back, heard.destination, heard.source),)


@define(slots=False)
class Holds(OfKind):
    seconds: float = 0.0

    def delay(self, said: Emission) -> float:
        return self.seconds if self.is_meant(said) else 0.0


@define(slots=False)
class Alters(OfKind):
    """``change`` has the payload."""

    change: Callable[[bytes], bytes] = bytes

    def said(self, said: Emission, now: Instant) -> Iterable[Emission]:
        if not self.is_meant(said):
            return (said,)
        inner = payload_of(said.data)
        header = said.data[: len(said.data) - len(inner)]
        return (evolve(said, data=header + self.change(inner)),)


@define(slots=False)
class HearsAltered(OfKind):
    change: Callable[[bytes], bytes] = bytes

    def heard(self, heard: Emission, server: Any, now: Instant) -> Iterable[Emission]:
        if not self.is_meant(heard):
            return (heard,)
        inner = payload_of(heard.data)
        header = heard.data[: len(heard.data) - len(inner)]
        return (evolve(heard, data=header + self.change(inner)),)


@define(slots=False)
class Misdirects(OfKind):
    """``at``: 0 to whom it has heard first, 1 to whom it has heard last, 2 to everybody, 3 to all
    but the right one, 4 from another port, 5 to another port."""

    known: tuple[Address, ...] = ()
    last: Address | None = None

    def heard(self, heard: Emission, server: Any, now: Instant) -> Iterable[Emission]:
        if heard.source not in self.known:
            self.known = (*self.known, heard.source)[-16:]
        self.last = heard.source
        return (heard,)

    def said(self, said: Emission, now: Instant) -> Iterable[Emission]:
        if not self.is_meant(said) or self.last is None:
            return (said,)
        match self.at:
            case 0:
                to = [self.known[0]]
            case 1:
                to = [self.last]
            case 2:
                to = list(self.known)
            case 3:
                to = [each for each in self.known if each != said.destination]
            case 4:
                other = Address.of(said.source.ip, said.source.port + 1)
                return (evolve(said, source=other),)
            case _:
                to = [Address.of(said.destination.ip, said.destination.port + 1)]
        return [evolve(said, destination=each) for each in to]


@define(slots=False)
class Touchy(Tamper):
    """At the first datagram that our core lets go of for any reason: ``mood`` has it dead, hung up,
    or say something back."""

    mood: str
    dead: bool = False
    count: int = 0

    def heard(self, heard: Emission, server: Any, now: Instant) -> Iterable[Emission]:
        return () if self.dead else (heard,)

    def said(self, said: Emission, now: Instant) -> Iterable[Emission]:
        return () if self.dead else (said,)

    def besides(self, heard: Emission, server: Any, now: Instant) -> Iterable[Emission]:
        if not _has_dropped(server, self):
            return ()
        match self.mood:
            case "dead":
                self.dead = True
            case "hangs-up" if isinstance(server, EchoServer):
                server.endpoint.drain(0.0, now)
            case "forgets" if isinstance(server, RelayServer):
                server.restart()
            case "echoes":
                return (Emission(heard.data, heard.destination, heard.source),)
        return ()


def _has_dropped(server: Any, touchy: Touchy) -> bool:
    """Whether the core has let go of more than before."""
    drops = server.endpoint.drops if isinstance(server, EchoServer) else None
    if isinstance(server, RelayServer):
        drops = server.relay.counters.drops
    before, touchy.count = touchy.count, sum(drops.values()) if drops else 0
    return touchy.count > before


@define(slots=False)
class Clock(Tamper):
    """One that runs ``rate`` times as fast; 0 for one that never wakes anybody."""

    rate: float

    def clock(self, now: Instant) -> Instant:
        return START + (now - START) * self.rate if self.rate else now

    def wakes(self, due: Instant) -> Instant | None:
        return START + (due - START) / self.rate if self.rate else None


@define(slots=False)
class Naps(Tamper):
    """Hears nothing for some seconds after each datagram of a kind."""

    kind: Kind
    seconds: float
    until: Instant = 0.0

    def heard(self, heard: Emission, server: Any, now: Instant) -> Iterable[Emission]:
        if now < self.until:
            return ()
        if kind_of(heard) is self.kind:
            self.until = now + self.seconds
        return (heard,)


def flipped(at: int, bits: int = 1) -> Callable[[bytes], bytes]:
    """Turns bits of one octet, counted from the end where ``at`` is negative."""

    def change(data: bytes) -> bytes:
        place = at if at >= 0 else len(data) + at
        if not 0 <= place < len(data):
            return data
        return data[:place] + bytes((data[place] ^ bits,)) + data[place + 1 :]

    return change


def _per_kind() -> Iterable[Saboteur]:
    for kind in KINDS:
        name, many = _named(kind), 24 if kind is None else 8
        for count in range(many):
            silent, deaf = _make(Silent, kind, count), _make(Deaf, kind, count)
            loses, misses = _make(LosesOne, kind, count), _make(MissesOne, kind, count)
            what = f"{name}-after-{count}"
            yield tampering(f"silent/{what}", f"After {count} of {name} it says no more.", silent)
            yield tampering(f"deaf/{what}", f"After {count} of {name} it hears no more.", deaf)
            yield tampering(f"loses/{what}", f"After {count} of {name} it loses one.", loses)
            yield tampering(f"misses/{what}", f"After {count} of {name} one is lost.", misses)
        for times in (2, 5, 30):
            repeats = _make(Repeats, kind, times)
            yield tampering(
                f"repeats/{name}-{times}", f"It says {name} {times} times over.", repeats
            )
        yield tampering(f"hears/{name}-twice", f"It hears {name} twice.", _make(HearsTwice, kind))
        for at, how in enumerate(("only", "besides", "the-first")):
            echoes = _make(Echoes, kind, at)
            yield tampering(f"echoes/{name}-{how}", f"It sends {name} back: {how}.", echoes)
        ways = ("first", "last", "everybody", "others", "from-elsewhere", "elsewhere")
        for at, way in enumerate(ways):
            misdirects = _make(Misdirects, kind, at)
            yield tampering(f"misdirects/{name}-{way}", f"It sends {name}: {way}.", misdirects)
        for seconds in (0.2, 1.0, 4.0):
            holds = _make(Holds, kind, seconds=seconds)
            yield tampering(f"holds/{name}-{seconds:g}", f"It holds {name} up.", holds)


def _make(of: Callable[..., Tamper], *arguments: Any, **more: Any) -> Callable[[], Tamper]:
    return lambda: of(*arguments, **more)


def _altered() -> Iterable[Saboteur]:
    lengths = ((Kind.STUN, 24), (Kind.DTLS, 13), (Kind.RTP, 16), (Kind.RTCP, 16))
    for kind, octets in lengths:
        for at in (*range(octets), -1, -5):
            for bits in (0x01, 0x80):
                change = flipped(at, bits)
                made = _make(Alters, kind, change=change)
                name = f"alters/{_named(kind)}-{at}-{bits:02x}"
                yield tampering(name, f"It turns a bit of octet {at} of {kind.value}.", made)
    for each in (*KINDS, Kind.UNKNOWN):
        changes = (
            ("cut", lambda data: data[:-1]),
            ("longer", lambda data: data + b"\0"),
            ("twice-in-one", lambda data: data + data),
            ("cut-at-500", lambda data: data[:500]),
            ("cut-at-1000", lambda data: data[:1000]),
            ("empty", lambda data: b""),
        )
        for how, change in changes:
            said = _make(Alters, each, change=change)
            heard = _make(HearsAltered, each, change=change)
            what = f"{_named(each)}-{how}"
            yield tampering(f"alters/{what}", f"It sends {_named(each)} {how}.", said)
            yield tampering(f"hears/{what}", f"It reads {_named(each)} {how}.", heard)


def _moods() -> Iterable[Saboteur]:
    for mood in ("dead", "hangs-up", "forgets", "echoes"):
        does = f"It lets go of a datagram, and is {mood}."
        yield tampering(f"touchy/{mood}", does, _make(Touchy, mood))
    for rate in (0, 0.1, 0.5, 2, 10):
        does = f"Its clock runs at {rate} of the right rate."
        yield tampering(f"clock/{rate}", does, _make(Clock, rate))
    for kind in (Kind.STUN, Kind.DTLS, Kind.RTP, Kind.RTCP):
        for seconds in (0.1, 1.0, 10.0):
            does = f"After {kind.value} it hears nothing for a while."
            naps = _make(Naps, kind, seconds)
            yield tampering(f"naps/{_named(kind)}-{seconds:g}", does, naps)


SABOTEURS = (*_per_kind(), *_altered(), *_moods())
