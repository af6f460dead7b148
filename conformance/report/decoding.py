"""A trail told: who stood where, and what each datagram says.

The words are those of ``conformance.story``. Added is what a report can know and a capture cannot:
which address is a client of ours, a node of ours or the other side, what the case calls a datagram,
and, with the trail's own key log, what is inside DTLS.
"""

from collections.abc import Iterable

from attrs import define, field, frozen

from conformance.capture import Packet
from conformance.case import Profile
from conformance.runner import Result
from conformance.story import Line, Teller
from conformance.trail import Crossing, Note
from stunroute import forward
from stunroute.address import Address
from stunroute.errors import DecodeError
from stunroute.instant import Instant
from transceiver.dtls.record import ContentType

from .files import numbered, ordered
from .opening import Opener, records, sctp
from .plain import one_line, plain

MOST_LANES = 3
"""Lanes of one side; further addresses share the last."""
MOST_TOLD = 400
"""Datagrams that are told; of the others only the number."""


@frozen(slots=True)
class Lane:
    """A vertical line: ``title`` is who it is, ``below`` its address."""

    title: str
    below: str


@frozen(slots=True)
class Told:
    """A datagram. ``at`` is seconds from the trail's beginning, ``source`` and ``destination`` are
    numbers of lanes, ``sent`` whether we sent it; ``label`` says in a few words what it is,
    ``series`` the same without what counts on from one to the next, ``text`` all of it, ``note``
    what the case calls it. ``number`` is that of the packet in the capture, None
    for what fits no capture; ``size`` in bytes, without UDP's header."""

    at: Instant
    source: int
    destination: int
    sent: bool
    label: str
    series: str
    text: str
    note: str
    size: int
    number: int | None


@frozen(slots=True)
class Remark:
    """A note between the datagrams: its first line, and what follows that."""

    at: Instant
    text: str
    body: str = ""


@frozen(slots=True)
class Account:
    """A trail in order. ``left_out`` datagrams are not told."""

    lanes: tuple[Lane, ...]
    rows: tuple[Told | Remark, ...]
    left_out: int = 0

    @property
    def datagrams(self) -> list[Told]:
        return [row for row in self.rows if isinstance(row, Told)]


def tell(result: Result) -> Account:
    """All that crossed, in words. Never raises, whatever the other side sent."""
    trail = result.trail
    entries = ordered(trail)
    crossings = [entry for entry in entries if isinstance(entry, Crossing)]
    is_relay = Profile.RELAY in result.case.profiles
    stage = _Sides.of(crossings, is_relay=is_relay)
    opener = Opener.of(trail.secrets, (each.data for each in crossings))
    reader = _Reader(opener, stage)
    numbers = numbered(trail)
    first = entries[0].at if entries else 0.0
    rows: list[Told | Remark] = []
    told = 0
    for index, entry in enumerate(entries):
        at = max(0.0, entry.at - first)
        if isinstance(entry, Note):
            head, _, body = plain(entry.text).strip().partition("\n")
            rows.append(Remark(at, head, body))
        elif told < MOST_TOLD:
            told += 1
            rows.append(reader.tell(entry, at, numbers.get(index)))
    return Account(stage.lanes, tuple(rows), len(crossings) - told + trail.left_out)


# --- who stands where -----------------------------------------------------------------------------


@define(slots=True)
class _Sides:
    """Which lane an address has. An address of the other side may also be one of ours (loopback
    has only one), so both are looked up apart."""

    lanes: tuple[Lane, ...] = ()
    nodes: frozenset[Address] = frozenset()
    _near: dict[Address, int] = field(factory=dict)
    _far: dict[Address, int] = field(factory=dict)

    @classmethod
    def of(cls, crossings: list[Crossing], *, is_relay: bool) -> "_Sides":
        nodes = _nodes(crossings) if is_relay else frozenset()
        near = list(dict.fromkeys(each.near for each in crossings))
        far = list(dict.fromkeys(each.far for each in crossings))
        clients = [address for address in near if address not in nodes]
        sides = cls(nodes=nodes)
        sides._add("client", clients, sides._near)
        if is_relay:
            sides._add("relay", far, sides._far, most=1)
            sides._add("node", [address for address in near if address in nodes], sides._near)
        else:
            sides._add("server", far, sides._far)
        return sides

    def near(self, address: Address) -> int:
        return self._near[address]

    def far(self, address: Address) -> int:
        return self._far[address]

    def _add(
        self, title: str, addresses: list[Address], into: dict[Address, int], most: int = MOST_LANES
    ) -> None:
        begin = len(self.lanes)
        made: list[Lane] = []
        for index, address in enumerate(addresses):
            if index < most:
                number = f" {index + 1}" if len(addresses) > 1 and most > 1 else ""
                made.append(Lane(f"{title}{number}", str(address)))
            elif most > 1:
                made[-1] = Lane(f"{title}s {most} to {index + 1}", f"{index + 2 - most} addresses")
            else:
                made[-1] = Lane(title, f"{index + 1} addresses" if index > 1 else made[-1].below)
            into[address] = begin + len(made) - 1
        if most == 1 and len(addresses) == 2:
            made[-1] = Lane(title, " and ".join(str(address) for address in addresses))
        self.lanes += tuple(made)


def _nodes(crossings: Iterable[Crossing]) -> frozenset[Address]:
    """Those of our sockets that speak to the relay's inner side: the leg's header tells, and who
    shares a far address with one of them is one as well."""
    crossings = list(crossings)
    inner = {each.far for each in crossings if _leg(each.data) is not None}
    inner -= {each.far for each in crossings if each.sent and _leg(each.data) is None}
    nodes = {each.near for each in crossings if _leg(each.data) is not None and not each.sent}
    nodes |= {each.near for each in crossings if each.far in inner}
    return frozenset(nodes)


def _leg(data: bytes) -> forward.Leg | None:
    try:
        return forward.decode_untrusted(data)
    except DecodeError:
        return None


# --- what they say --------------------------------------------------------------------------------


@define(slots=True)
class _Reader:
    """Tells datagrams one after another; the leg behind a relay is a conversation of its own."""

    opener: Opener
    sides: _Sides
    _outer: Teller = field(factory=lambda: Teller(show_addresses=True))
    _inner: Teller = field(factory=lambda: Teller(show_addresses=True))

    def tell(self, crossing: Crossing, at: Instant, number: int | None) -> Told:
        near, far = self.sides.near(crossing.near), self.sides.far(crossing.far)
        label, series, text = self._words(crossing)
        source, destination = (near, far) if crossing.sent else (far, near)
        return Told(
            at,
            source,
            destination,
            crossing.sent,
            label,
            series,
            one_line(text),
            one_line(crossing.note),
            len(crossing.data),
            number,
        )

    def _words(self, crossing: Crossing) -> tuple[str, str, str]:
        ends = (crossing.near, crossing.far) if crossing.sent else (crossing.far, crossing.near)
        if crossing.near not in self.sides.nodes:
            return self._payload(self._outer, crossing.data, *ends)
        leg = _leg(crossing.data)
        if leg is None:
            label = "no header of the leg"
            return label, label, label
        payload = crossing.data[forward.HEADER_LENGTH :]
        ways = (leg.proxy, leg.client) if crossing.sent else (leg.client, leg.proxy)
        if payload:
            label, series, text = self._payload(self._inner, payload, *ways)
        else:
            label = series = text = "releases the flow"
        way = "to" if crossing.sent else "from"
        return label, series, f"leg header, {way} {leg.client} by way of {leg.proxy}; {text}"

    def _payload(
        self, teller: Teller, data: bytes, source: Address, destination: Address
    ) -> tuple[str, str, str]:
        line = teller.tell(Packet(0, 0, source, destination, data))
        inside = self._inside(data)
        text = line.text.removesuffix(f" ({len(data)} bytes)")
        if inside:
            text += f"; opened: {', '.join(inside)}"
        return _label(line, inside), _series(line, inside), text

    def _inside(self, data: bytes) -> list[str]:
        """What the sealed records hold, where a key opens them."""
        if not self.opener.has_keys:
            return []
        found: list[str] = []
        for each in records(data):
            if each.epoch and (content := self.opener.open(each)) is not None:
                found += _content(each.content_type, content)
        return found


def _content(kind: int, content: bytes) -> list[str]:
    match kind:
        case ContentType.APPLICATION_DATA:
            return sctp(content)
        case ContentType.HANDSHAKE:
            return ["Finished"] if content[:1] == b"\x14" else [f"handshake {content[:1].hex()}"]
        case ContentType.ALERT if len(content) == 2:
            # In the clear an alert looks as it does here, so the story knows its name.
            packed = b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02" + content
            told = Teller().tell(Packet(0, 0, _NOBODY, _NOBODY, packed)).detail["records"][0]
            return [f"{told['level']} alert {told['alert']}"]
    return []


_NOBODY = Address(bytes(16), 0)


def _label(line: Line, inside: list[str]) -> str:
    """A few words of a line, for an arrow."""
    detail = line.detail
    if "malformed" in detail:
        return f"malformed {line.kind.upper()}"
    match line.kind:
        case "stun":
            words = [str(detail["method"]), str(detail["class"])]
            words += [str(detail["error"])] if "error" in detail else []
            return " ".join(words)
        case "dtls" if "records" in detail:
            names = _records(detail["records"], inside)
            if any(name.endswith(_AGAIN) for name in names):
                return "again: " + ", ".join(_once(name.removesuffix(_AGAIN) for name in names))
            return ", ".join(_once(names))
        case "rtp":
            name = line.text.partition(" ")[0]
            return f"{name} {detail['sequence']}, type {detail['payload_type']}"
        case "rtcp":
            return f"{line.text.partition(' ')[0]} {'+'.join(detail['types'])}"
    return line.text.removesuffix(f" ({line.detail['length']} bytes)")


def _series(line: Line, inside: list[str]) -> str:
    if line.kind == "rtp" and "sequence" in line.detail:
        return f"{line.text.partition(' ')[0]}, type {line.detail['payload_type']}"
    return _label(line, inside)


_AGAIN = " again"


def _records(told: list[dict[str, object]], inside: list[str]) -> list[str]:
    names: list[str] = []
    sealed = False
    for each in told:
        content = str(each["content"])
        if each["epoch"]:
            sealed = True
            names += [] if inside else [f"sealed {content.replace('_', ' ')}"]
        elif isinstance(messages := each.get("messages"), list):
            names += [_message(message) for message in messages] or ["empty handshake record"]
        elif "alert" in each:
            names.append(f"{each['level']} alert {each['alert']}")
        else:
            names.append({"change_cipher_spec": "ChangeCipherSpec"}.get(content, content))
    return names + (inside if sealed else [])


def _message(told: dict[str, object]) -> str:
    again = _AGAIN if told.get("again") else ""
    part = " (part)" if "fragment" in told else ""
    return f"{told['type']}{part}{again}"


def _once(words: Iterable[str]) -> list[str]:
    """Neighbours that say the same become one with a number."""
    out: list[tuple[str, int]] = []
    for word in words:
        if out and out[-1][0] == word:
            out[-1] = (word, out[-1][1] + 1)
        else:
            out.append((word, 1))
    return [word if count == 1 else f"{word} ×{count}" for word, count in out]
