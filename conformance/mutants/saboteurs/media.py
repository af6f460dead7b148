"""Servers whose RTP and RTCP are off by a field or a check, before and behind SRTP."""

from collections.abc import Callable, Iterable
from typing import Any

from conformance.case import Profile
from conformance.drivers.memory import EchoServer
from stunroute.demux import Kind
from stunroute.errors import DecodeError
from stunroute.trace import Drop
from transceiver.audio import AudioStream
from transceiver.events import AudioReceived, MessageReceived
from transceiver.session import Session
from transceiver.srtp import rtcp
from transceiver.srtp.protection import SrtpContext, SrtpError
from transceiver.srtp.statistics import SourceStatistics

from .model import Place, Saboteur, Tamper, swapping, swapping_afresh, tampering
from .wire import Alters, flipped

Change = Callable[[bytes], bytes]


def _changed(change: Change) -> Callable[..., bytes]:
    """Before it is protected."""
    return lambda honest, context, packet: bytes(honest(context, change(packet)))


def _after(change: Change) -> Callable[..., bytes]:
    return lambda honest, context, packet: change(bytes(honest(context, packet)))


def _open(honest: Any, context: SrtpContext, packet: bytes) -> bytes:
    return packet


def _numbered(honest: Any, context: SrtpContext, packet: bytes) -> bytes:
    """Numbers that jump."""
    number = int.from_bytes(packet[2:4], "big") * 7 & 0xFFFF
    return bytes(honest(context, packet[:2] + number.to_bytes(2, "big") + packet[4:]))


def _sent() -> Iterable[Saboteur]:
    changes: dict[str, Change] = {
        **{str(at): flipped(at) for at in range(16)},
        **{f"{at}-80": flipped(at, 0x80) for at in range(4)},
        "extension": lambda data: (
            bytes((data[0] | 0x10,)) + data[1:12] + b"\xbe\xde\0\1\x10\0\0\0" + data[12:]
        ),
        "source-list": lambda data: bytes((data[0] | 1,)) + data[1:12] + b"\0\0\0\1" + data[12:],
        "padding": lambda data: bytes((data[0] | 0x20,)) + data[1:] + b"\0\0\0\4",
        "no-payload": lambda data: data[:12],
        "longer": lambda data: data + b"\0",
        "cut": lambda data: data[:-1],
        "last": flipped(-1),
    }
    for name, change in changes.items():
        where = (SrtpContext, "protect_rtp", _changed(change))
        yield swapping(f"rtp/{name}", f"Its RTP is altered before it is sealed: {name}.", where)
    compound: dict[str, Change] = {
        **{str(at): flipped(at) for at in range(64)},
        **{f"{at}-80": flipped(at, 0x80) for at in range(64)},
        "first-only": lambda data: data[: 4 + 4 * int.from_bytes(data[2:4], "big")],
        "not-the-first": lambda data: data[4 + 4 * int.from_bytes(data[2:4], "big") :] or data,
        "twice": lambda data: data * 2,
        "longer": lambda data: data + bytes(4),
        "empty-report": lambda data: b"\x80\xc9\0\1" + data[4:8],
    }
    for name, change in compound.items():
        where = (SrtpContext, "protect_rtcp", _changed(change))
        yield swapping(f"rtcp/{name}", f"Its RTCP is altered before it is sealed: {name}.", where)
    for kind in ("rtp", "rtcp"):
        name = f"protect_{kind}"
        yield swapping(f"{kind}/open", f"It sends {kind} in the clear.", (SrtpContext, name, _open))
        for at in (-1, -4, -10, -14, -16, -20):
            for bits in (1, 0x80):
                where = (SrtpContext, name, _after(flipped(at, bits)))
                yield swapping(f"{kind}/sealed{at}-{bits:02x}", "The seal is off by a bit.", where)
    yield swapping(
        "rtp/jumps", "Its sequence numbers jump.", (SrtpContext, "protect_rtp", _numbered)
    )


def _nothing(honest: Any, *arguments: Any, **more: Any) -> None:
    return None


def _lenient(honest: Any, context: SrtpContext, data: bytes) -> bytes:
    try:
        return bytes(honest(context, data))
    except SrtpError:
        if len(data) < 28:
            raise
        return data[:-10]


_MENDED = 160
"""Octets of what is mended at most: each bit is tried."""


def _mends(honest: Any, context: SrtpContext, data: bytes) -> bytes:
    """Takes what one turned bit keeps from being authentic, as if there were no proof in it."""
    try:
        return bytes(honest(context, data))
    except SrtpError as error:
        if error.drop is not Drop.SRTP_AUTHENTICATION or len(data) > _MENDED:
            raise
    for place in range(8 * len(data)):
        try:
            return bytes(honest(context, flipped(place // 8, 1 << place % 8)(data)))
        except SrtpError:
            continue
    raise SrtpError(Drop.SRTP_AUTHENTICATION)


def _raw(honest: Any, context: SrtpContext, data: bytes) -> bytes:
    try:
        return bytes(honest(context, data))
    except SrtpError:
        if len(data) < 12:
            raise
        return data


def _stops() -> Callable[..., bytes]:
    """After one that did not open nothing opens."""
    stopped: set[int] = set()

    def unprotect(honest: Any, context: SrtpContext, data: bytes) -> bytes:
        if id(context) in stopped:
            raise SrtpError(Drop.SRTP_REFUSED)
        try:
            return bytes(honest(context, data))
        except SrtpError:
            stopped.add(id(context))
            raise

    return unprotect


def _refuses(is_odd: Callable[[bytes], bool]) -> Callable[..., bytes]:
    def unprotect(honest: Any, context: SrtpContext, data: bytes) -> bytes:
        if is_odd(data):
            raise SrtpError(Drop.SRTP_REFUSED)
        return bytes(honest(context, data))

    return unprotect


def _every(count: int) -> Callable[[bytes], bool]:
    return lambda data: int.from_bytes(data[2:4], "big") % count == 0


_ODD: dict[str, Callable[[bytes], bool]] = {
    "padding": lambda data: bool(data[0] & 0x20),
    "extensions": lambda data: bool(data[0] & 0x10),
    "source-lists": lambda data: bool(data[0] & 0x0F),
    "markers": lambda data: bool(data[1] & 0x80),
    "plain-headers": lambda data: data[0] == 0x80,
    "small-numbers": lambda data: data[2] < 0x80,
    "large-numbers": lambda data: data[2] >= 0x80,
    "even-numbers": _every(2),
    "short-ones": lambda data: len(data) < 60,
    "long-ones": lambda data: len(data) > 400,
    "very-long-ones": lambda data: len(data) > 1200,
    "everything": lambda data: True,
}


def _first_source_only() -> Callable[..., bytes]:
    known: dict[int, bytes] = {}

    def unprotect(honest: Any, context: SrtpContext, data: bytes) -> bytes:
        if known.setdefault(id(context), data[8:12]) != data[8:12]:
            raise SrtpError(Drop.SRTP_SOURCES)
        return bytes(honest(context, data))

    return unprotect


def _never_late() -> Callable[..., bytes]:
    """Whatever comes behind a later one is refused."""
    newest: dict[tuple[int, bytes], int] = {}

    def unprotect(honest: Any, context: SrtpContext, data: bytes) -> bytes:
        place, number = (id(context), data[8:12]), int.from_bytes(data[2:4], "big")
        if (number - newest.get(place, number - 1)) & 0xFFFF > 0x8000:
            raise SrtpError(Drop.SRTP_TOO_OLD)
        clear = bytes(honest(context, data))
        newest[place] = number
        return clear

    return unprotect


def _opened_twice() -> Callable[..., bytes]:
    opened: dict[bytes, bytes] = {}

    def unprotect(honest: Any, context: SrtpContext, data: bytes) -> bytes:
        if data not in opened:
            opened[data] = bytes(honest(context, data))
        return opened[data]

    return unprotect


def _received() -> Iterable[Saboteur]:
    others: dict[str, Callable[..., bytes]] = {
        "without-tag": _lenient,
        "as-it-is": _raw,
        "what-is-off-by-a-bit": _mends,
        **{f"no-{name}": _refuses(is_odd) for name, is_odd in _ODD.items()},
    }
    for kind in ("rtp", "rtcp"):
        name = f"unprotect_{kind}_untrusted"
        for how, other in others.items():
            yield swapping(
                f"{kind}/takes-{how}", f"It opens {kind}: {how}.", (SrtpContext, name, other)
            )
        for how, make in _REMEMBERING.items():
            yield swapping_afresh(
                f"{kind}/takes-{how}", f"It opens {kind}: {how}.", _placed(name, make)
            )
    yield swapping_afresh("rtp/takes-and-counts-twice", "It takes copies as new.", _copying)


_REMEMBERING = {
    "until-one-fails": _stops,
    "one-source": _first_source_only,
    "in-order": _never_late,
    "twice": _opened_twice,
}


def _placed(name: str, make: Callable[[], Callable[..., bytes]]) -> Callable[[], list[Place]]:
    return lambda: [(SrtpContext, name, make())]


def _copying() -> list[Place]:
    opens = (SrtpContext, "unprotect_rtp_untrusted", _opened_twice())
    return [opens, (SourceStatistics, "receive", _counted)]


def _counted(honest: Any, books: SourceStatistics, *packet: Any) -> Any:
    place = honest(books, *packet)
    return books.highest if place is None else place


def _fails(honest: Any, *arguments: Any) -> None:
    raise DecodeError("no")


def _any_kind(honest: Any, stream: AudioStream, data: bytes, now: float) -> Any:
    """Any payload type is audio."""
    kind = data[1] & 0x80 | (stream.payload_type & 0x7F)
    return honest(stream, data[:1] + bytes((kind,)) + data[2:], now)


def _soon(honest: Any, stream: AudioStream, now: float, factor: float) -> None:
    honest(stream, now, 0.01)


def _packetised(honest: Any, stream: AudioStream, *what: Any) -> bytes:
    """With a number that stays the same."""
    stream._sequence = 7
    return bytes(honest(stream, *what))


def _streams() -> Iterable[Saboteur]:
    places: dict[str, tuple[Any, str, Any]] = {
        "any-payload-type": (AudioStream, "receive_rtp_untrusted", _any_kind),
        "hears-no-rtcp": (AudioStream, "receive_rtcp_untrusted", _nothing),
        "reads-no-rtcp": (AudioStream, "receive_rtcp_untrusted", _fails),
        "reads-no-rtp": (AudioStream, "receive_rtp_untrusted", _fails),
        "takes-no-reports": (AudioStream, "_take_blocks", _nothing),
        "no-reports": (AudioStream, "_schedule", _nothing),
        "many-reports": (AudioStream, "_schedule", _soon),
        "forgets-nobody": (AudioStream, "_forget", _nothing),
        "one-number": (AudioStream, "packetise", _packetised),
        "no-consent-from-media": (Session, "_note_media", _nothing),
        "no-description": (rtcp, "_encode_chunk", lambda honest, chunk: b""),
    }
    for name, place in places.items():
        yield swapping(f"audio/{name}", f"Its audio goes wrong: {name}.", place)


# --- what the application does ------------------------------------------------------------------


def _applies(how: str) -> Callable[..., None]:
    def echo(honest: Any, server: EchoServer, now: float) -> None:
        endpoint = server.endpoint
        while (event := endpoint.next_event()) is not None:
            match event:
                case AudioReceived(payload=payload):
                    for _ in range({"mute": 0, "twice": 2}.get(how, 1)):
                        sound = b"\0" + payload if how == "altered" else payload
                        stamp = 0 if how == "stampless" else event.timestamp
                        marker = event.marker != (how == "marking")
                        endpoint.send_audio(event.call, sound, stamp, marker, now)
                case MessageReceived(message=message):
                    for _ in range({"mute": 0, "twice": 2}.get(how, 1)):
                        said = _otherwise(message, how)
                        endpoint.send_message(event.call, event.channel, said, now)

    return echo


def _otherwise(message: str | bytes, how: str) -> str | bytes:
    match how, message:
        case "turned", str():
            return message.encode()
        case "turned", bytes():
            return message.hex()
        case "altered", str():
            return message * 2 or "x"
        case "altered", bytes():
            return message * 2 or b"x"
    return message


def _applications() -> Iterable[Saboteur]:
    for how in ("mute", "twice", "altered", "stampless", "marking", "turned"):
        yield swapping(
            f"application/{how}", f"What it echoes is {how}.", (EchoServer, "echo", _applies(how))
        )


def _alterer(kind: Kind, change: Change) -> Callable[[], Tamper]:
    return lambda: Alters(kind, change=change)


def _tails() -> Iterable[Saboteur]:
    for kind in (Kind.RTP, Kind.RTCP):
        for at in (-4, -10, -14, -20):
            for bits in (1, 0x80):
                make = _alterer(kind, flipped(at, bits))
                name = f"alters/{kind.value}-tail{at}-{bits:02x}"
                yield tampering(name, f"It turns a bit of {kind.value} near its end.", make)


PROFILES = (Profile.SRTP,)
SABOTEURS = (*_sent(), *_received(), *_streams(), *_applications(), *_tails())
