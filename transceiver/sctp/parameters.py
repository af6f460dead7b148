"""Parameters of INIT, INIT ACK and RE-CONFIG.

A parameter is an element as in ``tlv``. The layouts of the values (all integers big-endian)::

         7 state cookie            RFC 9260, 3.3.3.1.1
         8 unrecognized parameter  the parameter, from its type on
        13 outgoing reset request  request (4), response (4), last TSN (4), streams (2 each)
        14 incoming reset request  request (4), streams (2 each)       RFC 6525, 4.1 to 4.6
        15 TSN reset request       request (4)
        16 response                response (4), result (4) [, TSN of the sender, of the receiver]
        17 add outgoing streams    request (4), count (2), reserved (2)
        18 add incoming streams    request (4), count (2), reserved (2)
    0x8001 zero checksum           error detection method (4)          RFC 9653
    0x8008 supported extensions    chunk types (1 each)                RFC 5061, 4.2.7
    0xC000 FORWARD-TSN supported                                       RFC 3758, 3.1

What RFC 9260 and its predecessor say about addresses is known by name only: over DTLS there are
none (RFC 8261 section 6). It must be known at all because the two upper bits of a type tell what
to do with one that is not, and those of the address types say to stop reading.
"""

from collections.abc import Iterable
from enum import IntEnum
from struct import Struct, unpack
from typing import ClassVar, Final, TypeAlias

from attrs import field, frozen

from stunroute.errors import DecodeError

from .tlv import REPORT_BIT, STOP_BIT, element, row, walk_untrusted

_U16: Final = Struct("!H")
_U32: Final = Struct("!I")
_TWO: Final = Struct("!II")
_THREE: Final = Struct("!III")
_FOUR: Final = Struct("!IIII")
_COUNT: Final = Struct("!IHH")

DTLS_ERROR_DETECTION: Final = 1
"""The error detection method by which DTLS makes up for the checksum (RFC 9653 section 6.1)."""

HOST_NAME: Final = 11
"""The type of the host name address parameter."""
_OVER_IP: Final = frozenset((5, 6, 9, HOST_NAME, 12))
"""IPv4 and IPv6 address, cookie preservative, host name, supported address types."""


class ResetResult(IntEnum):
    """RFC 6525, 4.4."""

    NOTHING_TO_DO = 0
    PERFORMED = 1
    DENIED = 2
    WRONG_SSN = 3
    ALREADY_IN_PROGRESS = 4
    BAD_SEQUENCE_NUMBER = 5
    IN_PROGRESS = 6


def _streams(streams: Iterable[int]) -> bytes:
    return b"".join(map(_U16.pack, streams))


@frozen(slots=True)
class StateCookie:
    type: ClassVar[int] = 7
    cookie: bytes = field(repr=False)

    def encode(self) -> bytes:
        return element(self.type, self.cookie)


@frozen(slots=True)
class UnrecognizedParameter:
    """``value`` is the whole parameter that the peer did not know, header included."""

    type: ClassVar[int] = 8
    value: bytes

    def encode(self) -> bytes:
        return element(self.type, self.value)


@frozen(slots=True)
class OutgoingReset:
    """The sender wants to reset its outgoing ``streams``, all of them where there are none named.
    ``request`` is this request's number, ``response`` that of the request it answers or the last
    one it has seen, ``last_tsn`` the last TSN the sender has given out."""

    type: ClassVar[int] = 13
    request: int
    response: int
    last_tsn: int
    streams: tuple[int, ...] = ()

    def encode(self) -> bytes:
        head = _THREE.pack(self.request, self.response, self.last_tsn)
        return element(self.type, head + _streams(self.streams))


@frozen(slots=True)
class IncomingReset:
    """The sender wants its peer to reset what the sender calls incoming ``streams``."""

    type: ClassVar[int] = 14
    request: int
    streams: tuple[int, ...] = ()

    def encode(self) -> bytes:
        return element(self.type, _U32.pack(self.request) + _streams(self.streams))


@frozen(slots=True)
class TsnReset:
    type: ClassVar[int] = 15
    request: int

    def encode(self) -> bytes:
        return element(self.type, _U32.pack(self.request))


@frozen(slots=True)
class ReconfigResponse:
    """``result`` is a ``ResetResult`` or a number that is not known. ``tsns`` are the next TSNs of
    the sender and of the receiver, after a TSN reset only."""

    type: ClassVar[int] = 16
    request: int
    result: int
    tsns: tuple[int, int] | None = None

    def encode(self) -> bytes:
        if self.tsns is None:
            return element(self.type, _TWO.pack(self.request, self.result))
        return element(self.type, _FOUR.pack(self.request, self.result, *self.tsns))


@frozen(slots=True)
class AddOutgoingStreams:
    type: ClassVar[int] = 17
    request: int
    count: int

    def encode(self) -> bytes:
        return element(self.type, _COUNT.pack(self.request, self.count, 0))


@frozen(slots=True)
class AddIncomingStreams:
    type: ClassVar[int] = 18
    request: int
    count: int

    def encode(self) -> bytes:
        return element(self.type, _COUNT.pack(self.request, self.count, 0))


@frozen(slots=True)
class ZeroChecksumAcceptable:
    """The sender takes packets without a checksum, for ``method`` detects what it would."""

    type: ClassVar[int] = 0x8001
    method: int = DTLS_ERROR_DETECTION

    def encode(self) -> bytes:
        return element(self.type, _U32.pack(self.method))


@frozen(slots=True)
class SupportedExtensions:
    """``types`` are those of the chunks beyond RFC 9260 that the sender understands."""

    type: ClassVar[int] = 0x8008
    types: tuple[int, ...]

    def encode(self) -> bytes:
        return element(self.type, bytes(self.types))


@frozen(slots=True)
class ForwardTsnSupported:
    type: ClassVar[int] = 0xC000

    def encode(self) -> bytes:
        return element(self.type, b"")


@frozen(slots=True)
class OverIp:
    """Known, and without a meaning where packets have no IP addresses."""

    type: int
    value: bytes

    def encode(self) -> bytes:
        return element(self.type, self.value)


@frozen(slots=True)
class UnknownParameter:
    type: int
    value: bytes

    @property
    def stops(self) -> bool:
        """Whether what stands behind it is not to be read; then it was not."""
        return not self.type & STOP_BIT

    @property
    def reports(self) -> bool:
        """Whether its sender wants to hear that it was not understood."""
        return bool(self.type & REPORT_BIT)

    def encode(self) -> bytes:
        return element(self.type, self.value)


Parameter: TypeAlias = (
    StateCookie
    | UnrecognizedParameter
    | OutgoingReset
    | IncomingReset
    | TsnReset
    | ReconfigResponse
    | AddOutgoingStreams
    | AddIncomingStreams
    | ZeroChecksumAcceptable
    | SupportedExtensions
    | ForwardTsnSupported
    | OverIp
    | UnknownParameter
)


def _integers_untrusted(layout: Struct, value: bytes) -> tuple[int, ...]:
    if len(value) != layout.size:
        raise DecodeError("a parameter that is not of its length")
    return layout.unpack(value)


def _request_untrusted(layout: Struct, value: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The integers that a reset request begins with, and the streams behind them."""
    rest = len(value) - layout.size
    if rest < 0 or rest & 1:
        raise DecodeError("a parameter that is not of its length")
    return layout.unpack_from(value), unpack(f"!{rest // 2}H", value[layout.size :])


def _response_untrusted(value: bytes) -> ReconfigResponse:
    if len(value) == _FOUR.size:
        request, result, ours, theirs = _FOUR.unpack(value)
        return ReconfigResponse(request, result, (ours, theirs))
    request, result = _integers_untrusted(_TWO, value)
    return ReconfigResponse(request, result)


def _decode_untrusted(kind: int, value: bytes) -> Parameter:
    match kind:
        case StateCookie.type:
            return StateCookie(value)
        case UnrecognizedParameter.type:
            return UnrecognizedParameter(value)
        case OutgoingReset.type:
            (request, response, last), streams = _request_untrusted(_THREE, value)
            return OutgoingReset(request, response, last, streams)
        case IncomingReset.type:
            (request,), streams = _request_untrusted(_U32, value)
            return IncomingReset(request, streams)
        case TsnReset.type:
            return TsnReset(*_integers_untrusted(_U32, value))
        case ReconfigResponse.type:
            return _response_untrusted(value)
        case AddOutgoingStreams.type:
            request, count, _ = _integers_untrusted(_COUNT, value)
            return AddOutgoingStreams(request, count)
        case AddIncomingStreams.type:
            request, count, _ = _integers_untrusted(_COUNT, value)
            return AddIncomingStreams(request, count)
        case ZeroChecksumAcceptable.type:
            return ZeroChecksumAcceptable(*_integers_untrusted(_U32, value))
        case SupportedExtensions.type:
            return SupportedExtensions(tuple(value))
        case ForwardTsnSupported.type:
            return ForwardTsnSupported()
        case _ if kind in _OVER_IP:
            return OverIp(kind, value)
        case _:
            return UnknownParameter(kind, value)


def decode_untrusted(data: bytes, offset: int = 0) -> tuple[Parameter, ...]:
    """The parameters from ``offset`` to the end of ``data``, in their order, up to and including
    one that is not known and says to stop there. Raises ``DecodeError``."""
    found: list[Parameter] = []
    for kind, value in walk_untrusted(data, offset):
        parameter = _decode_untrusted(kind, value)
        found.append(parameter)
        if isinstance(parameter, UnknownParameter) and parameter.stops:
            break
    return tuple(found)


def encode(parameters: Iterable[Parameter]) -> bytes:
    """One behind another; the last without its padding, which is the chunk's."""
    return row(parameter.encode() for parameter in parameters)
