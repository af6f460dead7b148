"""Servers whose DTLS is off by an octet, a message or a check."""

import hmac
from collections.abc import Callable, Iterable
from typing import Any

from attrs import evolve

from conformance.case import Profile
from stunroute.errors import DecodeError
from transceiver import ice
from transceiver.dtls import client12, connection, handshake12, record, server12
from transceiver.dtls.connection import DtlsConnection, _Receiver
from transceiver.dtls.events import Failed
from transceiver.dtls.extensions import Extension, encode_block
from transceiver.dtls.flight import Flight, Protected, Sender
from transceiver.dtls.handshake12 import CONSUMED, Progress
from transceiver.dtls.identity import Fingerprint, Identity
from transceiver.dtls.keys import ChaChaProtection, GcmProtection, X25519Exchange
from transceiver.dtls.messages import HandshakeType, Message, encode_server_hello
from transceiver.dtls.parameters import SUITES, Alert
from transceiver.dtls.reassembly import Reassembly
from transceiver.dtls.record import ContentType, ReplayWindow

from .model import Saboteur, swapping
from .wire import flipped

_LENGTHS = {
    HandshakeType.CLIENT_HELLO: 110,
    HandshakeType.SERVER_HELLO: 70,
    HandshakeType.CERTIFICATE: 20,
    HandshakeType.SERVER_KEY_EXCHANGE: 44,
    HandshakeType.CERTIFICATE_REQUEST: 12,
    HandshakeType.SERVER_HELLO_DONE: 0,
    HandshakeType.CERTIFICATE_VERIFY: 12,
    HandshakeType.CLIENT_KEY_EXCHANGE: 6,
    HandshakeType.FINISHED: 12,
}
"""How far into each message bits are turned."""


def _told(type_: int) -> str:
    return HandshakeType(type_).name.lower().replace("_", "-")


def _body(type_: int, change: Callable[[bytes], bytes]) -> Callable[..., Message]:
    def of(honest: Any, kind: int, sequence: int, body: bytes) -> Message:
        made: Message = honest(kind, sequence, change(body) if kind == type_ else body)
        return made

    return of


def _header(type_: int, change: Callable[[bytes], bytes]) -> Callable[..., Message]:
    """The message's header, which is hashed as well."""

    def of(honest: Any, kind: int, sequence: int, body: bytes) -> Message:
        made: Message = honest(kind, sequence, body)
        return evolve(made, raw=change(made.raw)) if kind == type_ else made

    return of


def _messages() -> Iterable[Saboteur]:
    for type_, length in _LENGTHS.items():
        name = _told(type_)
        changes: dict[str, Callable[[bytes], bytes]] = {
            "cut": lambda body: body[:-1],
            "longer": lambda body: body + b"\0",
            "empty": lambda body: b"",
            "twice": lambda body: body * 2,
            "last": flipped(-1),
        }
        changes |= {str(at): flipped(at) for at in range(length)}
        changes |= {f"{at}-80": flipped(at, 0x80) for at in range(min(length, 2))}
        for what, change in changes.items():
            yield swapping(
                f"message/{name}-{what}",
                f"Its {name} is altered: {what}.",
                (Message, "of", _body(type_, change)),
            )
        for at in range(12):
            yield swapping(
                f"message/{name}-header-{at}",
                f"Octet {at} of the header of its {name} is altered.",
                (Message, "of", _header(type_, flipped(at))),
            )


def _record(content_type: int | None, how: str) -> Callable[..., bytes]:
    def encode(
        honest: Any, kind: int, number: int, fragment: bytes, version: int = record.DTLS_1_2
    ) -> bytes:
        if content_type is not None and kind != content_type:
            encoded: bytes = honest(kind, number, fragment, version)
            return encoded
        match how:
            case "lost":
                return b""
            case "old-version":
                version = record.DTLS_1_0
            case "tls-version":
                version = 0x0303
            case "other-type":
                kind ^= 1
            case "next-epoch":
                number += 1 << 48
            case "epoch-0":
                number &= record.MAXIMUM_SEQUENCE
            case "number-again":
                number &= 0xFFFF << 48
            case "number-skips":
                number += 1000
            case "cut":
                fragment = fragment[:-1]
            case "longer":
                fragment += b"\0"
            case "empty":
                fragment = b""
            case "spoilt":
                fragment = flipped(-1)(fragment)
            case "twice":
                return bytes(honest(kind, number, fragment, version)) * 2
        return bytes(honest(kind, number, fragment, version))

    return encode


def _records() -> Iterable[Saboteur]:
    hows = (
        *("lost", "old-version", "tls-version", "other-type", "next-epoch", "epoch-0"),
        *("number-again", "number-skips", "cut", "longer", "empty", "spoilt", "twice"),
    )
    for kind in (None, *ContentType):
        name = "any" if kind is None else kind.name.lower().replace("_", "-")
        for how in hows:
            does = f"Its records of {name} are {how}."
            yield swapping(f"record/{name}-{how}", does, (record, "encode", _record(kind, how)))


def _content(kind: int, change: Callable[[bytes], bytes]) -> Callable[..., bytes]:
    def sealed(honest: Any, sender: Sender, content_type: int, content: bytes) -> bytes:
        content = change(content) if content_type == kind else content
        return bytes(honest(sender, content_type, content))

    return sealed


def _alerts() -> Iterable[Saboteur]:
    changes: dict[str, Callable[[bytes], bytes]] = {
        "fatal": lambda content: b"\2" + content[1:],
        "warning": lambda content: b"\1" + content[1:],
        "close-notify": lambda content: content[:1] + b"\0",
        "internal-error": lambda content: content[:1] + b"\x50",
        "no-renegotiation": lambda content: content[:1] + b"\x64",
        "cut": lambda content: content[:1],
    }
    for how, change in changes.items():
        does = f"Whatever it means, its alerts are {how}."
        where = (Sender, "sealed", _content(ContentType.ALERT, change))
        yield swapping(f"alert/{how}", does, where)


def _packed(how: str) -> Callable[..., list[bytes]]:
    """A flight otherwise."""

    def pack(honest: Any, parts: Iterable[Any], sender: Sender, mtu: int) -> list[bytes]:
        flight = list(parts)
        match how.partition("-"):
            case ("backwards", _, _):
                flight.reverse()
            case ("without", _, at):
                del flight[int(at) : int(at) + 1]
            case ("double", _, at):
                flight[int(at) : int(at)] = flight[int(at) : int(at) + 1]
            case ("open", _, _):
                flight = [p.message if isinstance(p, Protected) else p for p in flight]
            case ("mtu", _, size):
                mtu = int(size)
            case ("apart", _, _):
                return [each for part in flight for each in honest([part], sender, mtu)]
            case ("datagrams", _, _):
                return list(reversed(honest(flight, sender, mtu)))
        return list(honest(flight, sender, mtu))

    return pack


def _flights() -> Iterable[Saboteur]:
    hows = (
        *("backwards", "open", "apart", "datagrams-backwards", "mtu-64", "mtu-100", "mtu-4000"),
        *(f"without-{at}" for at in range(6)),
        *(f"double-{at}" for at in range(6)),
    )
    for how in hows:
        yield swapping(
            f"flight/{how}", f"Its flights go out {how}.", (connection, "pack", _packed(how))
        )


def _constant(value: Any) -> Callable[..., Any]:
    return lambda honest, *arguments, **more: value


def _slow(honest: Any, receiver: _Receiver, data: bytes) -> None:
    """Past the short cut for application data."""
    return


def _opens_anything(honest: Any, protection: Any, kind: int, number: int, data: bytes) -> bytes:
    try:
        return bytes(honest(protection, kind, number, data))
    except DecodeError:
        return data[8:-16] or data


def _mends(honest: Any, protection: Any, kind: int, number: int, data: bytes) -> bytes:
    """Takes what one turned bit keeps from being authentic, as if there were no proof in it."""
    try:
        return bytes(honest(protection, kind, number, data))
    except DecodeError:
        if len(data) > _MENDED:
            raise
    for place in range(8 * len(data)):
        try:
            mended = flipped(place // 8, 1 << place % 8)(data)
            return bytes(honest(protection, kind, number, mended))
        except DecodeError:
            continue
    raise DecodeError("beyond mending")


_MENDED = 100


def _obeys(honest: Any, whole: DtlsConnection, received: Any, now: float) -> None:
    """What is not sealed, after there are keys."""
    if whole._receiver is None:
        honest(whole, received, now)
        return
    match received.content_type:
        case ContentType.ALERT if len(received.fragment) == 2:
            whole._receive_alert(received.fragment[0], received.fragment[1])
        case ContentType.APPLICATION_DATA:
            whole._receive_data(received.fragment)
        case ContentType.HANDSHAKE:
            whole._receive_fragments(received.fragment, now, authentic=True)


def _swallows(honest: Any, *arguments: Any) -> Any:
    try:
        return honest(*arguments)
    except DecodeError:
        return CONSUMED


def _answers_any_hello(honest: Any, machine: server12.Server12, message: Message) -> Any:
    """A hello that makes no sense gets the beginning of a flight as well."""
    try:
        return honest(machine, message)
    except DecodeError:
        if message.type != HandshakeType.CLIENT_HELLO:
            raise
    hello = encode_server_hello(bytes(32), SUITES[0].code, encode_block(_EXTENSIONS))
    flight = (
        Message.of(HandshakeType.SERVER_HELLO, message.sequence, hello),
        Message.of(HandshakeType.SERVER_HELLO_DONE, message.sequence + 1, b""),
    )
    return Progress(flight, timed=False, stay=True)


_EXTENSIONS = ((Extension.EXTENDED_MASTER_SECRET, b""),)


def _repeats_old(honest: Any, whole: DtlsConnection, fragment: Any, now: float, **how: Any) -> None:
    if whole._flight is not None:
        whole._transmit(whole._flight, now)


def _answers_hellos(honest: Any, whole: DtlsConnection, fragment: Any) -> bool:
    return False


def _ends(honest: Any, whole: DtlsConnection, *why: Any) -> None:
    """Without a word to the peer."""
    whole._end()
    whole._events.append(Failed("no"))


def _fails(honest: Any, whole: DtlsConnection, *why: Any) -> None:
    whole._fail("no")


def _when_up(then: Callable[..., None]) -> Callable[..., None]:
    """Only once the handshake is over."""

    def drop(honest: Any, whole: DtlsConnection, *why: Any) -> None:
        honest(whole, *why)
        if whole.stage is connection.Stage.ESTABLISHED:
            then(honest, whole, "no")

    return drop


def _warns(honest: Any, whole: DtlsConnection, drop: Any) -> None:
    """Whatever it cannot read is answered with a warning."""
    honest(whole, drop)
    if whole.stage is connection.Stage.ESTABLISHED:
        whole._alert(1, Alert.NO_RENEGOTIATION)


def _fails_in_the_clear(honest: Any, whole: DtlsConnection, *why: Any) -> None:
    whole._transmits.append(whole._sender.plain(ContentType.ALERT, b"\2\x28"))
    whole._end()


def _alerts_in_the_clear(honest: Any, whole: DtlsConnection, *why: Any) -> None:
    whole._transmits.append(whole._sender.plain(ContentType.ALERT, b"\2\x28"))
    honest(whole, *why)


def _takes_whole(honest: Any, reassembly: Reassembly, fragment: Any) -> Any:
    """Only what is in one piece."""
    return honest(reassembly, fragment) if fragment.whole else []


def _same_delay(seconds: float) -> Callable[..., float]:
    return lambda honest, flight: seconds


def _first_offered(honest: Any, extensions: Any, *, required: bool) -> Any:
    try:
        return honest(extensions, required=required)
    except DecodeError:
        return None


def _with_profile(honest: Any, extensions: Any, *, required: bool) -> Any:
    used = _first_offered(honest, extensions, required=False)
    return used or ((7, 1), b"")


_PLACES: dict[str, tuple[Any, str, Any]] = {
    "obeys-the-open": (DtlsConnection, "_receive_plain", _obeys),
    "hears-no-alert": (DtlsConnection, "_receive_alert", _constant(None)),
    "ends-at-any-alert": (DtlsConnection, "_receive_alert", _ends),
    "fails-at-any-alert": (DtlsConnection, "_receive_alert", _fails),
    "renegotiates": (DtlsConnection, "_renegotiates", _answers_hellos),
    "repeats-for-anything-old": (DtlsConnection, "_receive_old", _repeats_old),
    "repeats-for-nothing": (DtlsConnection, "_repeat", _constant(None)),
    "ends-at-a-mistake": (DtlsConnection, "_refuse", _ends),
    "fails-at-a-mistake": (DtlsConnection, "_refuse", _fails_in_the_clear),
    "alerts-at-a-mistake": (DtlsConnection, "_refuse", _alerts_in_the_clear),
    "ends-at-a-drop": (DtlsConnection, "_drop", _ends),
    "fails-at-a-drop": (DtlsConnection, "_drop", _fails),
    "alerts-at-a-drop": (DtlsConnection, "_drop", _alerts_in_the_clear),
    "ends-at-a-drop-later": (DtlsConnection, "_drop", _when_up(_ends)),
    "fails-at-a-drop-later": (DtlsConnection, "_drop", _when_up(_fails)),
    "warns-at-a-drop-later": (DtlsConnection, "_drop", _warns),
    "fails-in-the-clear": (DtlsConnection, "_fail", _fails_in_the_clear),
    "never-fails": (DtlsConnection, "_fail", _constant(None)),
    "never-ends": (DtlsConnection, "_end", _constant(None)),
    "no-alert": (DtlsConnection, "_alert", _constant(None)),
    "no-timer": (DtlsConnection, "handle_timeout", _constant(None)),
    "eager-timer": (Flight, "_delay", _same_delay(0.05)),
    "lazy-timer": (Flight, "_delay", _same_delay(30.0)),
    "repeats-at-once": (Flight, "may_repeat", _constant(True)),
    "repeats-never": (Flight, "may_repeat", _constant(False)),
    "only-whole-messages": (Reassembly, "add", _takes_whole),
    "keeps-no-fragment": (Reassembly, "add", _constant([])),
    "from-anywhere": (ice.IceLite, "is_validated", _constant(True)),
    "from-nowhere": (ice.IceLite, "is_validated", _constant(False)),
    "any-signature-as-server": (server12, "verifies", _constant(True)),
    "any-signature-as-client": (client12, "verifies", _constant(True)),
    "no-signature-as-server": (server12, "verifies", _constant(False)),
    "no-signature-as-client": (client12, "verifies", _constant(False)),
    "swallows-as-server": (server12.Server12, "receive_untrusted", _swallows),
    "answers-any-hello": (server12.Server12, "receive_untrusted", _answers_any_hello),
    "swallows-as-client": (client12.Client12, "receive_untrusted", _swallows),
    "signs-nothing": (Identity, "sign", _constant(b"\x30\x06\x02\x01\1\x02\x01\1")),
    "one-share": (X25519Exchange, "shared_untrusted", _constant(bytes(32))),
    "no-certificate": (handshake12, "find_fingerprint", _constant(None)),
    "any-certificate": (
        handshake12,
        "find_fingerprint",
        lambda honest, certificate, accepted: Fingerprint.of(certificate),
    ),
    "srtp-if-it-likes-as-server": (server12, "srtp_untrusted", _first_offered),
    "srtp-if-it-likes-as-client": (client12, "srtp_untrusted", _first_offered),
    "srtp-unasked": (server12, "srtp_untrusted", _with_profile),
    "no-extended-secret-as-server": (
        server12,
        "require_extended_master_secret_untrusted",
        _constant(None),
    ),
    "no-extended-secret-as-client": (
        client12,
        "require_extended_master_secret_untrusted",
        _constant(None),
    ),
}


def _checks() -> Iterable[Saboteur]:
    slow = (_Receiver, "take_data_untrusted", _slow)
    for name, place in _PLACES.items():
        yield swapping(f"secure/{name}", f"Its DTLS goes wrong: {name}.", place)
    windows = {"all-numbers": True, "no-numbers": False}
    for name, value in windows.items():
        window = (ReplayWindow, "admits", _constant(value))
        yield swapping(f"secure/admits-{name}", f"Its window admits {name}.", window, slow)
    opens = [
        (each, "open_untrusted", _opens_anything) for each in (GcmProtection, ChaChaProtection)
    ]
    does = "It takes records that do not authenticate."
    yield swapping("secure/opens-anything", does, *opens, slow)
    mends = [(each, "open_untrusted", _mends) for each in (GcmProtection, ChaChaProtection)]
    yield swapping("secure/mends-a-bit", "It takes records that are off by a bit.", *mends, slow)
    equal = (hmac, "compare_digest", _constant(True))
    yield swapping("secure/any-proof", "It takes any Finished, cookie or tag as good.", equal)


PROFILES = (Profile.DTLS,)
SABOTEURS = (*_messages(), *_records(), *_alerts(), *_flights(), *_checks())
