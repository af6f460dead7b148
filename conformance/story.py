"""What a packet says, in one line.

The same lines tell of a replay (``conformance replay --trace``) and of anybody's capture
(``conformance inspect``): which protocol, and of that the few things one looks for when a call
does not come up. Nothing is decrypted. Nothing is refused either: bytes that make no sense are
shown with the reason why they make none.

Traces are sent around, so they say no address unless told to: addresses become letters in the order
in which they appear, the same letter for the same address throughout. Randoms, cookies, keys and
payloads are not shown at all.
"""

from collections.abc import Callable
from typing import Any

from attrs import define, field, frozen

from stunroute import demux, stun
from stunroute.address import Address
from stunroute.errors import DecodeError
from transceiver.dtls import messages, record
from transceiver.dtls.extensions import Extension, decode_list_untrusted, decode_use_srtp_untrusted
from transceiver.keying import SrtpProfile
from transceiver.srtp import rtcp, rtp

from .capture import Packet

CONVERSATIONS = 4096
"""Pairs of addresses whose state is kept; the oldest goes."""
FRAGMENTS = 4096
"""Handshake fragments remembered per pair, to tell when one comes again."""
LARGEST_HELLO = 16384
"""Bytes of a ClientHello that are gathered from its fragments, to say what it offers."""
_UNIFIED_HEADER = range(0x20, 0x40)
"""First octets of a DTLS 1.3 record with the unified header (RFC 9147, 4)."""


@frozen(slots=True)
class Line:
    """One packet told. ``seconds`` count from the first packet; ``detail`` holds what ``text``
    says, by name, for programs. ``number`` is None for what is told between packets."""

    number: int | None
    seconds: float
    source: str
    destination: str
    kind: str
    text: str
    detail: dict[str, Any] = field(factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: one flat object."""
        told: dict[str, Any] = {"packet": self.number, "seconds": round(self.seconds, 9)}
        ways = {"from": self.source, "to": self.destination}
        return {**told, **ways, "kind": self.kind, "text": self.text, **self.detail}

    def __str__(self) -> str:
        way = f"{self.source} → {self.destination}" if self.source else "·"
        number = "-" if self.number is None else str(self.number)
        return f"{number:>5}  {self.seconds:>11.6f}  {way}  {self.text}"


@define(slots=True)
class _Conversation:
    """Two addresses: who of them began DTLS, and which fragments have been seen."""

    client: Address | None = None
    fragments: set[tuple[Address, int, int, int]] = field(factory=set)
    hello: dict[int, bytes] = field(factory=dict)
    """Fragments of a ClientHello under way by offset; a post-quantum one never fits a datagram."""
    secured: bool = False


@define(slots=True)
class Teller:
    """Tells packets one after another. ``show_addresses`` tells their addresses as well."""

    show_addresses: bool = False
    names: dict[Address, str] = field(factory=dict)
    """What addresses are called; more are given letters as they come."""
    _conversations: dict[frozenset[Address], _Conversation] = field(factory=dict)
    _secured: set[Address] = field(factory=set)
    """Ends of conversations with keys: what a client sends there from a new port is protected."""
    _start_ns: int | None = None
    _letters: int = 0

    def tell(self, packet: Packet) -> Line:
        """The line of one packet. Never raises, whatever is in it."""
        if self._start_ns is None:
            self._start_ns = packet.time_ns
        seconds = (packet.time_ns - self._start_ns) / 1e9
        if not packet.is_udp:
            source = self.name(packet.source) if packet.protocol is not None else ""
            destination = self.name(packet.destination) if packet.protocol is not None else ""
            kind = "fragment" if packet.fragment else "other"
            return Line(packet.number, seconds, source, destination, kind, packet.note)
        source, destination = self.name(packet.source), self.name(packet.destination)
        conversation = self._conversation(packet.source, packet.destination)
        ends = {packet.source, packet.destination}
        if conversation.secured and len(self._secured) < 2 * CONVERSATIONS:
            self._secured |= ends
        conversation.secured = conversation.secured or not self._secured.isdisjoint(ends)
        kind, text, detail = _tell(packet.payload, packet.source, conversation, self.name)
        return Line(packet.number, seconds, source, destination, kind, text, detail)

    def name(self, address: Address) -> str:
        """How this trace calls ``address``."""
        if self.show_addresses:
            return str(address)
        if address not in self.names:
            self.names[address] = _letter(self._letters)
            self._letters += 1
        return self.names[address]

    def _conversation(self, one: Address, other: Address) -> _Conversation:
        key = frozenset((one, other))
        found = self._conversations.get(key)
        if found is None:
            if len(self._conversations) >= CONVERSATIONS:
                del self._conversations[next(iter(self._conversations))]
            found = self._conversations[key] = _Conversation()
        return found


def describe(payload: bytes) -> str:
    """What one datagram says, without regard to those before it and without addresses."""
    nowhere = Address(bytes(16), 0)
    return _tell(payload, nowhere, _Conversation(), lambda _: "an address")[1]


def _letter(number: int) -> str:
    """A to Z, then A1 to Z1, and so on."""
    rounds, letter = divmod(number, 26)
    return chr(ord("A") + letter) + (str(rounds) if rounds else "")


_Told = tuple[str, str, dict[str, Any]]
_Name = Callable[[Address], str]


def _tell(payload: bytes, source: Address, conversation: _Conversation, name: _Name) -> _Told:
    kind = demux.classify(payload)
    try:
        match kind:
            case demux.Kind.STUN:
                text, detail = _stun_untrusted(payload, name)
            case demux.Kind.DTLS:
                text, detail = _dtls_untrusted(payload, source, conversation)
            case demux.Kind.RTP:
                text, detail = _rtp_untrusted(payload, conversation.secured)
            case demux.Kind.RTCP:
                text, detail = _rtcp_untrusted(payload, conversation.secured)
            case demux.Kind.TURN_CHANNEL if len(payload) >= 4:
                channel = int.from_bytes(payload[:2], "big")
                text, detail = f"TURN channel 0x{channel:04x}", {"channel": channel}
            case demux.Kind.EMPTY:
                return kind.value, "empty datagram", {"length": 0}
            case _:
                text, detail = f"{kind.name}, first octet {payload[0]}", {}
    except DecodeError as error:
        text, detail = f"not {kind.name}: {error}", {"malformed": str(error)}
    return kind.value, f"{text} ({len(payload)} bytes)", {**detail, "length": len(payload)}


# --- STUN ---------------------------------------------------------------------------------------

_QUIET = frozenset(
    {
        stun.Attribute.USERNAME,
        stun.Attribute.MESSAGE_INTEGRITY,
        stun.Attribute.FINGERPRINT,
        stun.Attribute.XOR_MAPPED_ADDRESS,
        stun.Attribute.MAPPED_ADDRESS,
        stun.Attribute.ERROR_CODE,
    }
)
"""Attributes that the line shows in another form, or that every message has."""


def _stun_untrusted(payload: bytes, name: _Name) -> tuple[str, dict[str, Any]]:
    message = stun.decode_untrusted(payload)
    method = _method(message.method)
    message_class = message.message_class.name.lower()
    detail: dict[str, Any] = {"method": method, "class": message_class}
    words = ["STUN", method, message_class]
    if (username := message.username) is not None:
        detail["username"] = _printable(username)
        words.append(detail["username"])
    if (error := message.error_code) is not None:
        detail["error"] = error[0]
        words.append(str(error[0]))
    mapped = message.xor_mapped_address or message.mapped_address
    if mapped is not None:
        detail["mapped"] = name(mapped)
        words.append(f"mapped {detail['mapped']}")
    named = [_attribute(kind) for kind, _ in message.attributes if kind not in _QUIET]
    detail["attributes"] = [_attribute(kind) for kind, _ in message.attributes]
    words += named
    if message.fingerprint_ok is False:
        detail["fingerprint"] = "wrong"
        words.append("with a wrong FINGERPRINT")
    if not message.has_integrity:
        detail["integrity"] = False
        words.append("unsigned")
    return " ".join(words), detail


def _method(method: int) -> str:
    try:
        return stun.Method(method).name.capitalize()
    except ValueError:
        return f"method 0x{method:03x}"


def _attribute(kind: int) -> str:
    try:
        return stun.Attribute(kind).name.replace("_", "-")
    except ValueError:
        return f"0x{kind:04x}"


def _printable(text: bytes) -> str:
    """Bytes of the network as one word for a terminal: what is not printable ASCII is escaped."""
    return "".join(chr(octet) if 32 < octet < 127 else f"\\x{octet:02x}" for octet in text)


# --- DTLS ---------------------------------------------------------------------------------------


def _dtls_untrusted(
    payload: bytes, source: Address, conversation: _Conversation
) -> tuple[str, dict[str, Any]]:
    if payload[0] in _UNIFIED_HEADER:
        epoch = payload[0] & 3
        return f"DTLS 1.3 encrypted, epoch {epoch} (low bits)", {"epoch": epoch}
    parts: list[str] = []
    shown: list[dict[str, Any]] = []
    at = 0
    while at < len(payload):
        try:
            found, at = record.decode_untrusted(payload, at)
        except DecodeError as error:
            if not parts:
                raise
            parts.append(f"then {len(payload) - at} bytes that are no record: {error}")
            break
        text, detail = _record(found, source, conversation)
        parts.append(text)
        shown.append({"epoch": found.epoch, "sequence": found.sequence, **detail})
    flights = {detail["flight"] for detail in shown if "flight" in detail}
    prefix = f"DTLS flight {min(flights)}" if flights else "DTLS"
    return f"{prefix}: {', '.join(parts)}", {"records": shown}


def _record(
    found: record.Record, source: Address, conversation: _Conversation
) -> tuple[str, dict[str, Any]]:
    try:
        content = record.ContentType(found.content_type)
    except ValueError:
        text = f"content type {found.content_type}, epoch {found.epoch}"
        return text, {"content": found.content_type}
    detail: dict[str, Any] = {"content": content.name.lower()}
    if found.epoch:
        if content is record.ContentType.APPLICATION_DATA:
            return f"application data, epoch {found.epoch}", detail
        if content is record.ContentType.HANDSHAKE:
            detail |= {"flight": _last_flight(source, conversation)} if conversation.client else {}
            return f"encrypted handshake, epoch {found.epoch}", detail
        return f"encrypted {content.name.lower().replace('_', ' ')}, epoch {found.epoch}", detail
    match content:
        case record.ContentType.ALERT:
            return _alert(found.fragment, detail)
        case record.ContentType.CHANGE_CIPHER_SPEC:
            conversation.secured = True
            return "ChangeCipherSpec", detail
        case record.ContentType.HANDSHAKE:
            return _handshake(found.fragment, source, conversation, detail)
        case _:
            return "application data in the clear", detail


def _last_flight(source: Address, conversation: _Conversation) -> int:
    return 5 if source == conversation.client else 6


def _alert(fragment: bytes, detail: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if len(fragment) != 2:
        return "malformed alert", detail
    level = {1: "warning", 2: "fatal"}.get(fragment[0], str(fragment[0]))
    name = _ALERTS.get(fragment[1], str(fragment[1]))
    return f"{level} alert {name}", {**detail, "level": level, "alert": name}


_ALERTS = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    22: "record_overflow",
    40: "handshake_failure",
    42: "bad_certificate",
    43: "unsupported_certificate",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation",
    109: "missing_extension",
    110: "unsupported_extension",
    116: "certificate_required",
    120: "no_application_protocol",
}
"""Descriptions of RFC 5246 (7.2.2) and RFC 8446 (6)."""


def _handshake(
    content: bytes, source: Address, conversation: _Conversation, detail: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    parts: list[str] = []
    told: list[dict[str, Any]] = []
    at = 0
    while at < len(content):
        try:
            fragment, at = messages.decode_fragment_untrusted(content, at)
        except DecodeError as error:
            parts.append(f"handshake cut: {error}")
            break
        text, message = _message(fragment, source, conversation)
        parts.append(text)
        told.append(message)
    detail["messages"] = told
    flights = [message["flight"] for message in told if message.get("flight")]
    if flights:
        detail["flight"] = min(flights)
    return ", ".join(parts) or "empty handshake record", detail


def _message(
    fragment: messages.Fragment, source: Address, conversation: _Conversation
) -> tuple[str, dict[str, Any]]:
    try:
        kind = messages.HandshakeType(fragment.type)
    except ValueError:
        return f"handshake type {fragment.type}", {"type": fragment.type}
    name = "".join(word.capitalize() for word in kind.name.split("_"))
    told: dict[str, Any] = {"type": name, "message": fragment.sequence}
    text = name
    whole = fragment.offset == 0 and fragment.final
    if not whole:
        end = fragment.offset + len(fragment.data)
        told["fragment"] = [fragment.offset, end, fragment.length]
        text += f" {fragment.offset}-{end}/{fragment.length}"
    if kind is messages.HandshakeType.CLIENT_HELLO:
        conversation.client = source
    if flight := _flight(kind, fragment, source, conversation):
        told["flight"] = flight
    key = (source, fragment.type, fragment.sequence, fragment.offset)
    if key in conversation.fragments:
        told["again"] = True
        text += " again"
    elif len(conversation.fragments) < FRAGMENTS:
        conversation.fragments.add(key)
    body = fragment.data if whole else _gathered(kind, fragment, conversation)
    if body is not None:
        try:
            extra, more = _hello_untrusted(kind, body)
        except DecodeError as error:
            extra, more = f" (malformed: {error})", {"malformed": str(error)}
        text += extra
        told |= more
    return text, told


def _gathered(
    kind: messages.HandshakeType, fragment: messages.Fragment, conversation: _Conversation
) -> bytes | None:
    """The ClientHello that this fragment completes."""
    if kind is not messages.HandshakeType.CLIENT_HELLO or fragment.length > LARGEST_HELLO:
        return None
    parts = conversation.hello
    if sum(map(len, parts.values())) + len(fragment.data) > LARGEST_HELLO:
        parts.clear()
    parts[fragment.offset] = fragment.data
    whole = b"".join(parts[offset] for offset in sorted(parts))
    if len(whole) != fragment.length:
        return None
    parts.clear()
    return whole


def _flight(
    kind: messages.HandshakeType,
    fragment: messages.Fragment,
    source: Address,
    conversation: _Conversation,
) -> int | None:
    """Which flight of RFC 6347, figure 1, the message belongs to. Only a hello tells by itself;
    the rest needs to know who is the client."""
    types = messages.HandshakeType
    match kind:
        case types.CLIENT_HELLO:
            return 3 if fragment.sequence else 1
        case types.HELLO_VERIFY_REQUEST:
            return 2
        case types.SERVER_HELLO | types.SERVER_KEY_EXCHANGE | types.SERVER_HELLO_DONE:
            return 4
        case types.CERTIFICATE_REQUEST:
            return 4
        case types.CLIENT_KEY_EXCHANGE | types.CERTIFICATE_VERIFY:
            return 5
        case types.CERTIFICATE if conversation.client is not None:
            return 5 if source == conversation.client else 4
        case _:
            return None


def _hello_untrusted(kind: messages.HandshakeType, body: bytes) -> tuple[str, dict[str, Any]]:
    """What the two hellos offer and choose."""
    match kind:
        case messages.HandshakeType.CLIENT_HELLO:
            client = messages.decode_client_hello_untrusted(body)
            told: dict[str, Any] = {"suites": len(client.cipher_suites)}
            words = []
            if client.cookie:
                told["cookie"] = True
                words.append("with cookie")
            versions = client.extensions.get(Extension.SUPPORTED_VERSIONS)
            if versions is not None:
                told["versions"] = [f"0x{v:04x}" for v in decode_list_untrusted(versions, 1)]
                words.append("versions " + "/".join(told["versions"]))
            extensions = client.extensions
        case messages.HandshakeType.SERVER_HELLO:
            server = messages.decode_server_hello_untrusted(body)
            told = {"suite": f"0x{server.cipher_suite:04x}"}
            words = [f"suite {told['suite']}"]
            extensions = server.extensions
        case _:
            return "", {}
    if (offered := extensions.get(Extension.USE_SRTP)) is not None:
        told["srtp"] = [_profile(code) for code in decode_use_srtp_untrusted(offered).profiles]
        words.append("use_srtp " + "/".join(told["srtp"]))
    return (f" ({', '.join(words)})" if words else ""), told


def _profile(code: int) -> str:
    try:
        return SrtpProfile(code).name
    except ValueError:
        return f"0x{code:04x}"


# --- media --------------------------------------------------------------------------------------


def _rtp_untrusted(payload: bytes, secured: bool) -> tuple[str, dict[str, Any]]:
    """Of a protected packet the header is clear, and where padding says otherwise it lies: only
    the header is read."""
    rtp.header_length_untrusted(payload)
    detail = {
        "ssrc": rtp.peek_ssrc_untrusted(payload),
        "sequence": int.from_bytes(payload[2:4], "big"),
        "timestamp": int.from_bytes(payload[4:8], "big"),
        "payload_type": payload[1] & 0x7F,
        "marker": bool(payload[1] & 0x80),
    }
    text = (
        f"{'SRTP' if secured else 'RTP'} ssrc=0x{detail['ssrc']:08x} seq={detail['sequence']} "
        f"pt={detail['payload_type']}{' marker' if detail['marker'] else ''}"
    )
    return text, detail


def _rtcp_untrusted(payload: bytes, secured: bool) -> tuple[str, dict[str, Any]]:
    """In the clear all packets of a compound; protected, only the first header is readable."""
    ssrc = rtcp.peek_ssrc_untrusted(payload)
    types = [payload[1]]
    if not secured:
        try:
            types = _rtcp_types_untrusted(payload)
        except DecodeError:
            secured = True
    names = [_rtcp_type(kind) for kind in types]
    text = f"{'SRTCP' if secured else 'RTCP'} {'+'.join(names)} ssrc=0x{ssrc:08x}"
    return text, {"types": names, "ssrc": ssrc}


def _rtcp_types_untrusted(payload: bytes) -> list[int]:
    """The packet types of a compound that fills the datagram exactly."""
    rtcp.decode_compound_untrusted(payload)
    types, at = [], 0
    while at + 4 <= len(payload):
        types.append(payload[at + 1])
        at += 4 + 4 * int.from_bytes(payload[at + 2 : at + 4], "big")
    return types


def _rtcp_type(kind: int) -> str:
    try:
        return rtcp.PacketType(kind).name
    except ValueError:
        return str(kind)
