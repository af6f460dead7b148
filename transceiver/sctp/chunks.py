"""The chunks of an SCTP packet (RFC 9260 section 3.3, RFC 3758, RFC 6525).

Every chunk begins with type (1 byte), flags (1) and length (2), as ``tlv`` tells of them, and is
padded to a multiple of four bytes. What follows, by type (all integers big-endian)::

       0 DATA               TSN (4), stream (2), stream sequence (2), payload protocol (4), payload
       1 INIT, 2 INIT ACK   tag (4), window (4), outbound and inbound streams (2 each), TSN (4),
                            parameters
       3 SACK               cumulative TSN (4), window (4), number of gaps and duplicates (2 each),
                            gaps (from and to, 2 each, relative to the TSN), duplicates (4 each)
       4 HEARTBEAT, 5 ACK   one parameter of type 1, opaque
       6 ABORT, 9 ERROR     causes
       7 SHUTDOWN           cumulative TSN (4)
       8 SHUTDOWN ACK, 11 COOKIE ACK, 14 SHUTDOWN COMPLETE
      10 COOKIE ECHO        the cookie
     130 RE-CONFIG          parameters
     192 FORWARD-TSN        cumulative TSN (4), stream and stream sequence (2 each), repeated

``encode`` of a chunk gives it padded; ``decode_untrusted`` finds the one that starts at an offset.
Values are only checked for what would make them unreadable. What they mean, and whether they may
stand there, is the association's to say.

DATA and SACK come with every packet, so they are built from one ``struct`` call each and are
ordinary records in place of frozen ones, which take three times as long to make.
"""

from struct import Struct, pack, unpack_from
from typing import ClassVar, Final, TypeAlias

from attrs import define, field, frozen

from stunroute.errors import DecodeError

from . import causes, parameters
from .causes import Cause
from .parameters import Parameter
from .tlv import PADDING, element, row, walk_untrusted

HEADER_LENGTH: Final = 4
DATA_HEADER_LENGTH: Final = 16
"""Of a DATA chunk before its payload."""

_HEADER: Final = Struct("!BBH")
_DATA: Final = Struct("!BBHIHHI")
_INIT: Final = Struct("!IIHHI")
_SACK: Final = Struct("!BBHIIHH")
_SACK_VALUE: Final = Struct("!IIHH")
_TSN: Final = Struct("!I")
_PAIR: Final = Struct("!HH")

_DATA_TYPE: Final = 0
ENDING: Final = 1
BEGINNING: Final = 2
UNORDERED: Final = 4
IMMEDIATE: Final = 8
"""The flags of a DATA chunk."""
_FLAGS: Final = tuple(
    (
        bool(flags & BEGINNING),
        bool(flags & ENDING),
        bool(flags & UNORDERED),
        bool(flags & IMMEDIATE),
    )
    for flags in range(16)
)

_REFLECTED: Final = 1

_HEARTBEAT_INFO: Final = 1


def _chunk(kind: int, flags: int, value: bytes) -> bytes:
    length = len(value) + HEADER_LENGTH
    return _HEADER.pack(kind, flags, length) + value + PADDING[length & 3]


@define(slots=True)
class Data:
    """A message or a fragment of one. An empty ``payload`` decodes; it is a violation that the
    association answers (RFC 9260, 6.2)."""

    type: ClassVar[int] = _DATA_TYPE
    tsn: int
    stream: int
    ssn: int
    ppid: int
    payload: bytes = field(repr=False)
    beginning: bool
    ending: bool
    unordered: bool = False
    immediate: bool = False

    def encode(self) -> bytes:
        flags = (
            (ENDING if self.ending else 0)
            | (BEGINNING if self.beginning else 0)
            | (UNORDERED if self.unordered else 0)
            | (IMMEDIATE if self.immediate else 0)
        )
        return encode_data(flags, self.tsn, self.stream, self.ssn, self.ppid, self.payload)


def data_of(tsn: int, stream: int, ssn: int, ppid: int, flags: int, payload: bytes) -> Data:
    """The record of a DATA chunk with these ``flags``."""
    begins, ends, unordered, immediate = _FLAGS[flags & 15]
    return Data(tsn, stream, ssn, ppid, payload, begins, ends, unordered, immediate)


def encode_data(flags: int, tsn: int, stream: int, ssn: int, ppid: int, payload: bytes) -> bytes:
    """A DATA chunk without the record of it, for who makes one in every packet."""
    length = len(payload) + DATA_HEADER_LENGTH
    head = _DATA.pack(_DATA_TYPE, flags, length, tsn, stream, ssn, ppid)
    return head + payload + PADDING[length & 3]


@frozen(slots=True)
class Init:
    """``tag`` is what packets to the sender must carry, ``window`` the bytes that it has room for,
    ``outbound`` how many streams it wants to send on and ``inbound`` how many it takes, ``tsn``
    the first it will use."""

    type: ClassVar[int] = 1
    tag: int
    window: int
    outbound: int
    inbound: int
    tsn: int
    parameters: tuple[Parameter, ...] = ()

    def encode(self) -> bytes:
        return _encode_init(self)


@frozen(slots=True)
class InitAck:
    """Fields as those of ``Init``."""

    type: ClassVar[int] = 2
    tag: int
    window: int
    outbound: int
    inbound: int
    tsn: int
    parameters: tuple[Parameter, ...] = ()

    def encode(self) -> bytes:
        return _encode_init(self)


def _encode_init(chunk: Init | InitAck) -> bytes:
    head = _INIT.pack(chunk.tag, chunk.window, chunk.outbound, chunk.inbound, chunk.tsn)
    return _chunk(chunk.type, 0, head + parameters.encode(chunk.parameters))


@define(slots=True)
class Sack:
    """``gaps`` are blocks that came, as first and last offset from ``cumulative``, both included
    and at least 1; a peer's are not necessarily sorted, nor disjoint. ``duplicates`` are TSNs that
    came more than once."""

    type: ClassVar[int] = 3
    cumulative: int
    window: int
    gaps: tuple[tuple[int, int], ...] = ()
    duplicates: tuple[int, ...] = ()

    def encode(self) -> bytes:
        gaps, duplicates = self.gaps, self.duplicates
        length = 16 + 4 * (len(gaps) + len(duplicates))
        head = _SACK.pack(3, 0, length, self.cumulative, self.window, len(gaps), len(duplicates))
        if length == 16:
            return head
        blocks = b"".join(_PAIR.pack(start, end) for start, end in gaps)
        return head + blocks + pack(f"!{len(duplicates)}I", *duplicates)


@frozen(slots=True)
class Heartbeat:
    """``info`` is the sender's own, and comes back with the answer."""

    type: ClassVar[int] = 4
    info: bytes = field(repr=False)

    def encode(self) -> bytes:
        return _chunk(self.type, 0, row((element(_HEARTBEAT_INFO, self.info),)))


@frozen(slots=True)
class HeartbeatAck:
    type: ClassVar[int] = 5
    info: bytes = field(repr=False)

    def encode(self) -> bytes:
        return _chunk(self.type, 0, row((element(_HEARTBEAT_INFO, self.info),)))


@frozen(slots=True)
class Abort:
    """``reflected`` (the T bit): the packet's tag is the one that its receiver had sent, for the
    sender has no association and knows no other (RFC 9260, 8.5.1)."""

    type: ClassVar[int] = 6
    causes: tuple[Cause, ...] = ()
    reflected: bool = False

    def encode(self) -> bytes:
        value = causes.encode(self.causes)
        return _chunk(self.type, _REFLECTED if self.reflected else 0, value)


@frozen(slots=True)
class Shutdown:
    type: ClassVar[int] = 7
    cumulative: int

    def encode(self) -> bytes:
        return _chunk(self.type, 0, _TSN.pack(self.cumulative))


@frozen(slots=True)
class ShutdownAck:
    type: ClassVar[int] = 8

    def encode(self) -> bytes:
        return _chunk(self.type, 0, b"")


@frozen(slots=True)
class Error:
    type: ClassVar[int] = 9
    causes: tuple[Cause, ...]

    def encode(self) -> bytes:
        return _chunk(self.type, 0, causes.encode(self.causes))


@frozen(slots=True)
class CookieEcho:
    type: ClassVar[int] = 10
    cookie: bytes = field(repr=False)

    def encode(self) -> bytes:
        return _chunk(self.type, 0, self.cookie)


@frozen(slots=True)
class CookieAck:
    type: ClassVar[int] = 11

    def encode(self) -> bytes:
        return _chunk(self.type, 0, b"")


@frozen(slots=True)
class ShutdownComplete:
    """``reflected`` as in ``Abort``."""

    type: ClassVar[int] = 14
    reflected: bool = False

    def encode(self) -> bytes:
        return _chunk(self.type, _REFLECTED if self.reflected else 0, b"")


@frozen(slots=True)
class ReConfig:
    type: ClassVar[int] = 130
    parameters: tuple[Parameter, ...]

    def encode(self) -> bytes:
        return _chunk(self.type, 0, parameters.encode(self.parameters))


@frozen(slots=True)
class ForwardTsn:
    """The sender has given up what it sent up to ``cumulative``. ``streams`` names, for those whose
    ordered messages are concerned, stream and last stream sequence number given up."""

    type: ClassVar[int] = 192
    cumulative: int
    streams: tuple[tuple[int, int], ...] = ()

    def encode(self) -> bytes:
        skipped = b"".join(_PAIR.pack(stream, ssn) for stream, ssn in self.streams)
        return _chunk(self.type, 0, _TSN.pack(self.cumulative) + skipped)


@frozen(slots=True)
class Unknown:
    """A chunk that is not spoken here. The two upper bits of its type say what to do (RFC 9260,
    3.2)."""

    type: int
    flags: int
    value: bytes

    @property
    def stops(self) -> bool:
        """Whether what stands behind it in the packet is not to be read; then it was not."""
        return not self.type & 0x80

    @property
    def reports(self) -> bool:
        """Whether its sender wants to hear that it was not understood."""
        return bool(self.type & 0x40)

    def encode(self) -> bytes:
        return _chunk(self.type, self.flags, self.value)


Chunk: TypeAlias = (
    Data
    | Init
    | InitAck
    | Sack
    | Heartbeat
    | HeartbeatAck
    | Abort
    | Shutdown
    | ShutdownAck
    | Error
    | CookieEcho
    | CookieAck
    | ShutdownComplete
    | ReConfig
    | ForwardTsn
    | Unknown
)


# --- decoding -------------------------------------------------------------------------------------


def _sack_untrusted(value: bytes) -> Sack:
    if len(value) < 12:
        raise DecodeError("ends inside a SACK")
    cumulative, window, gap_count, duplicate_count = _SACK_VALUE.unpack_from(value)
    if not gap_count and not duplicate_count:
        return Sack(cumulative, window)
    middle = 12 + 4 * gap_count
    if len(value) < middle + 4 * duplicate_count:
        raise DecodeError("ends inside a SACK")
    gaps = tuple(_PAIR.iter_unpack(value[12:middle]))
    for start, end in gaps:
        if not 0 < start <= end:
            raise DecodeError("a gap that ends before it begins")
    return Sack(cumulative, window, gaps, unpack_from(f"!{duplicate_count}I", value, middle))


def _init_untrusted(kind: type[Init] | type[InitAck], value: bytes) -> Init | InitAck:
    if len(value) < _INIT.size:
        raise DecodeError("ends inside an INIT")
    tag, window, outbound, inbound, tsn = _INIT.unpack_from(value)
    found = parameters.decode_untrusted(value, _INIT.size)
    return kind(tag, window, outbound, inbound, tsn, found)


def _heartbeat_info_untrusted(value: bytes) -> bytes:
    for kind, info in walk_untrusted(value):
        if kind == _HEARTBEAT_INFO:
            return info
    raise DecodeError("a heartbeat without its parameter")


def _tsn_untrusted(value: bytes) -> int:
    if len(value) != _TSN.size:
        raise DecodeError("a chunk that is not of its length")
    tsn: int = _TSN.unpack(value)[0]
    return tsn


def _forward_untrusted(value: bytes) -> ForwardTsn:
    if len(value) < 4 or len(value) & 3:
        raise DecodeError("a chunk that is not of its length")
    return ForwardTsn(_TSN.unpack_from(value)[0], tuple(_PAIR.iter_unpack(value[4:])))


def _decode_untrusted(kind: int, flags: int, value: bytes) -> Chunk:
    match kind:
        case Init.type:
            return _init_untrusted(Init, value)
        case InitAck.type:
            return _init_untrusted(InitAck, value)
        case Heartbeat.type:
            return Heartbeat(_heartbeat_info_untrusted(value))
        case HeartbeatAck.type:
            return HeartbeatAck(_heartbeat_info_untrusted(value))
        case Abort.type:
            return Abort(causes.decode_untrusted(value), bool(flags & _REFLECTED))
        case Shutdown.type:
            return Shutdown(_tsn_untrusted(value))
        case ShutdownAck.type:
            return ShutdownAck()
        case Error.type:
            return Error(causes.decode_untrusted(value))
        case CookieEcho.type:
            return CookieEcho(value)
        case CookieAck.type:
            return CookieAck()
        case ShutdownComplete.type:
            return ShutdownComplete(bool(flags & _REFLECTED))
        case ReConfig.type:
            return ReConfig(parameters.decode_untrusted(value))
        case ForwardTsn.type:
            return _forward_untrusted(value)
        case _:
            return Unknown(kind, flags, value)


def decode_untrusted(data: bytes, offset: int) -> tuple[Chunk, int]:
    """The chunk that starts at ``offset``, and where the next one would: a multiple of four bytes
    further, so possibly behind the end. Raises ``DecodeError`` where no whole chunk stands there,
    or it cannot be read."""
    size = len(data)
    if size - offset < HEADER_LENGTH:
        raise DecodeError("ends inside the header of a chunk")
    kind, flags, length = _HEADER.unpack_from(data, offset)
    end = offset + length
    if length < HEADER_LENGTH or end > size:
        raise DecodeError("a chunk at odds with its length")
    following = end + (-length & 3)
    if kind == _DATA_TYPE:
        if length < DATA_HEADER_LENGTH:
            raise DecodeError("ends inside the header of a DATA chunk")
        _, _, _, tsn, stream, ssn, ppid = _DATA.unpack_from(data, offset)
        payload = data[offset + DATA_HEADER_LENGTH : end]
        return data_of(tsn, stream, ssn, ppid, flags, payload), following
    if kind == Sack.type:
        return _sack_untrusted(data[offset + HEADER_LENGTH : end]), following
    return _decode_untrusted(kind, flags, data[offset + HEADER_LENGTH : end]), following
