"""What data channels say on their SCTP streams (RFC 8831 section 6.6, RFC 8832 section 5).

The payload protocol identifier of an SCTP message tells text from binary, and both from the
messages of DCEP, by which one side announces a channel and the other agrees::

     0x03 DATA_CHANNEL_OPEN  channel type (1), priority (2), reliability parameter (4),
                             length of label (2), of protocol (2), label, protocol
     0x02 DATA_CHANNEL_ACK

All integers are big-endian, label and protocol UTF-8. The channel type's upper bit is set for
unordered delivery; the others are 0 for reliable, 1 for so many retransmissions, 2 for so many
milliseconds.

SCTP has no empty messages, so those have identifiers of their own, and one byte that means nothing.
"""

from struct import Struct
from typing import ClassVar, Final, TypeAlias

from attrs import frozen

from stunroute.errors import DecodeError

_OPEN: Final = Struct("!BBHIHH")
_UNORDERED: Final = 0x80
_RELIABLE: Final = 0
_REXMIT: Final = 1
_TIMED: Final = 2
_LARGEST: Final = 0xFFFF_FFFF
"""Of what fits into the reliability parameter."""
_FILLER: Final = b"\0"


DCEP: Final = 50
TEXT: Final = 51
BINARY_PARTIAL: Final = 52
BINARY: Final = 53
TEXT_PARTIAL: Final = 54
TEXT_EMPTY: Final = 56
BINARY_EMPTY: Final = 57
"""Payload protocol identifiers. Plain numbers, for each message is compared with several."""

_WHOLE_TEXT: Final = (TEXT, TEXT_PARTIAL)
_WHOLE_BINARY: Final = (BINARY, BINARY_PARTIAL)


@frozen(slots=True)
class Open:
    """``lifetime`` in seconds (whole milliseconds on the wire) or ``retransmissions`` say how often
    a message is tried, at most one of them; None: until it has arrived."""

    type: ClassVar[int] = 3
    label: str
    protocol: str = ""
    ordered: bool = True
    lifetime: float | None = None
    retransmissions: int | None = None
    priority: int = 0

    def encode(self) -> bytes:
        """Label and protocol must not be longer than 65535 bytes."""
        kind, parameter = _RELIABLE, 0
        if self.retransmissions is not None:
            kind, parameter = _REXMIT, min(self.retransmissions, _LARGEST)
        elif self.lifetime is not None:
            kind, parameter = _TIMED, min(round(self.lifetime * 1000), _LARGEST)
        if not self.ordered:
            kind |= _UNORDERED
        label, protocol = to_utf8(self.label), to_utf8(self.protocol)
        lengths = len(label), len(protocol)
        return _OPEN.pack(self.type, kind, self.priority, parameter, *lengths) + label + protocol


@frozen(slots=True)
class Ack:
    type: ClassVar[int] = 2

    def encode(self) -> bytes:
        return bytes((self.type,))


DcepMessage: TypeAlias = Open | Ack


def to_utf8(text: str) -> bytes:
    """UTF-8; what has none (half of a surrogate pair) becomes a question mark."""
    return text.encode("utf-8", "replace")


def text_untrusted(data: bytes) -> str:
    """What a peer says is UTF-8. Raises ``DecodeError`` where it is not."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise DecodeError("text that is not UTF-8") from None


def decode_untrusted(data: bytes) -> DcepMessage:
    """A DCEP message. Raises ``DecodeError``."""
    if not data:
        raise DecodeError("an empty DCEP message")
    match data[0]:
        case Ack.type:
            return Ack()
        case Open.type:
            return _open_untrusted(data)
        case _:
            raise DecodeError("a DCEP message that is not known")


def _open_untrusted(data: bytes) -> Open:
    if len(data) < _OPEN.size:
        raise DecodeError("ends inside DATA_CHANNEL_OPEN")
    _, kind, priority, parameter, label_length, protocol_length = _OPEN.unpack_from(data)
    middle = _OPEN.size + label_length
    end = middle + protocol_length
    if end != len(data):
        raise DecodeError("lengths in DATA_CHANNEL_OPEN that are not those of its parts")
    lifetime = retransmissions = None
    match kind & ~_UNORDERED:
        case 0:
            pass
        case 1:
            retransmissions = parameter
        case 2:
            lifetime = parameter / 1000
        case _:
            raise DecodeError("a type of channel that is not known")
    return Open(
        label=text_untrusted(data[_OPEN.size : middle]),
        protocol=text_untrusted(data[middle:end]),
        ordered=not kind & _UNORDERED,
        lifetime=lifetime,
        retransmissions=retransmissions,
        priority=priority,
    )


def encode_user_message(message: str | bytes) -> tuple[int, bytes]:
    """Identifier and payload of a message of the application."""
    if isinstance(message, str):
        return (TEXT, to_utf8(message)) if message else (TEXT_EMPTY, _FILLER)
    return (BINARY, message) if message else (BINARY_EMPTY, _FILLER)


def decode_user_message_untrusted(ppid: int, payload: bytes) -> str | bytes | None:
    """The application's message, None if the identifier carries none. Raises ``DecodeError`` for
    text that is none.

    The identifiers for parts of messages are deprecated and nobody divides messages so any more;
    what comes with them is taken for a whole."""
    if ppid in _WHOLE_BINARY:
        return payload
    if ppid in _WHOLE_TEXT:
        return text_untrusted(payload)
    if ppid == TEXT_EMPTY:
        return ""
    return b"" if ppid == BINARY_EMPTY else None
