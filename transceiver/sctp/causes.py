"""Error causes, which ABORT and ERROR carry (RFC 9260 section 3.3.10).

A cause is an element as in ``tlv``; its type is called the cause code. The layouts of the values
(all integers big-endian)::

     1 invalid stream        stream (2), reserved (2)
     2 missing parameter     count (4), parameter types (2 each)
     3 stale cookie          staleness in microseconds (4)
     5 unresolvable address  the parameter with the address, from its type on
     6 unrecognized chunk    the chunk, from its type on
     8 unrecognized parameters
     9 no user data          TSN (4)
    11 restart with new addresses
    12 user-initiated abort  text
    13 protocol violation    text

A cause changes nothing here but what is told to a person, so one whose value is not of its layout
is no error: it comes as ``OtherCause``.
"""

from collections.abc import Iterable
from struct import Struct
from typing import ClassVar, Final, TypeAlias

from attrs import frozen

from .tlv import element, row, walk_untrusted

_U16: Final = Struct("!H")
_U32: Final = Struct("!I")


@frozen(slots=True)
class InvalidStream:
    code: ClassVar[int] = 1
    stream: int

    def encode(self) -> bytes:
        return element(self.code, _U16.pack(self.stream) + b"\0\0")


@frozen(slots=True)
class MissingParameters:
    code: ClassVar[int] = 2
    types: tuple[int, ...]

    def encode(self) -> bytes:
        types = b"".join(map(_U16.pack, self.types))
        return element(self.code, _U32.pack(len(self.types)) + types)


@frozen(slots=True)
class StaleCookie:
    """``staleness`` is by how many microseconds the cookie came too late."""

    code: ClassVar[int] = 3
    staleness: int

    def encode(self) -> bytes:
        return element(self.code, _U32.pack(self.staleness))


@frozen(slots=True)
class OutOfResource:
    code: ClassVar[int] = 4

    def encode(self) -> bytes:
        return element(self.code, b"")


@frozen(slots=True)
class UnresolvableAddress:
    """``address`` is the whole parameter that names an address nobody can send to."""

    code: ClassVar[int] = 5
    address: bytes

    def encode(self) -> bytes:
        return element(self.code, self.address)


@frozen(slots=True)
class UnrecognizedChunk:
    """``chunk`` is the whole of what was not known, header included, padding not."""

    code: ClassVar[int] = 6
    chunk: bytes

    def encode(self) -> bytes:
        return element(self.code, self.chunk)


@frozen(slots=True)
class InvalidMandatoryParameter:
    code: ClassVar[int] = 7

    def encode(self) -> bytes:
        return element(self.code, b"")


@frozen(slots=True)
class UnrecognizedParameters:
    """``parameters`` are the whole of what was not known, headers included."""

    code: ClassVar[int] = 8
    parameters: bytes

    def encode(self) -> bytes:
        return element(self.code, self.parameters)


@frozen(slots=True)
class NoUserData:
    """DATA without a payload."""

    code: ClassVar[int] = 9
    tsn: int

    def encode(self) -> bytes:
        return element(self.code, _U32.pack(self.tsn))


@frozen(slots=True)
class CookieWhileShuttingDown:
    code: ClassVar[int] = 10

    def encode(self) -> bytes:
        return element(self.code, b"")


@frozen(slots=True)
class RestartWithNewAddresses:
    code: ClassVar[int] = 11
    addresses: bytes

    def encode(self) -> bytes:
        return element(self.code, self.addresses)


@frozen(slots=True)
class UserAbort:
    """``text`` is the application's reason; what is no UTF-8 in it was replaced."""

    code: ClassVar[int] = 12
    text: str

    def encode(self) -> bytes:
        return element(self.code, self.text.encode("utf-8", "replace"))


@frozen(slots=True)
class ProtocolViolation:
    code: ClassVar[int] = 13
    text: str

    def encode(self) -> bytes:
        return element(self.code, self.text.encode("utf-8", "replace"))


@frozen(slots=True)
class OtherCause:
    """A code that means nothing here, or a value that is not of its layout."""

    code: int
    value: bytes

    def encode(self) -> bytes:
        return element(self.code, self.value)


Cause: TypeAlias = (
    InvalidStream
    | MissingParameters
    | StaleCookie
    | OutOfResource
    | UnresolvableAddress
    | UnrecognizedChunk
    | InvalidMandatoryParameter
    | UnrecognizedParameters
    | NoUserData
    | CookieWhileShuttingDown
    | RestartWithNewAddresses
    | UserAbort
    | ProtocolViolation
    | OtherCause
)


def _decode(code: int, value: bytes) -> Cause:
    match code, len(value):
        case InvalidStream.code, 4:
            return InvalidStream(_U16.unpack_from(value)[0])
        case MissingParameters.code, size if (
            size >= 4 and size == 4 + 2 * _U32.unpack_from(value)[0]
        ):
            return MissingParameters(tuple(kind for (kind,) in _U16.iter_unpack(value[4:])))
        case StaleCookie.code, 4:
            return StaleCookie(_U32.unpack(value)[0])
        case OutOfResource.code, 0:
            return OutOfResource()
        case UnresolvableAddress.code, _:
            return UnresolvableAddress(value)
        case UnrecognizedChunk.code, _:
            return UnrecognizedChunk(value)
        case InvalidMandatoryParameter.code, 0:
            return InvalidMandatoryParameter()
        case UnrecognizedParameters.code, _:
            return UnrecognizedParameters(value)
        case NoUserData.code, 4:
            return NoUserData(_U32.unpack(value)[0])
        case CookieWhileShuttingDown.code, 0:
            return CookieWhileShuttingDown()
        case RestartWithNewAddresses.code, _:
            return RestartWithNewAddresses(value)
        case UserAbort.code, _:
            return UserAbort(value.decode("utf-8", "replace"))
        case ProtocolViolation.code, _:
            return ProtocolViolation(value.decode("utf-8", "replace"))
        case _:
            return OtherCause(code, value)


def decode_untrusted(data: bytes) -> tuple[Cause, ...]:
    """The causes that fill ``data``, in their order. Raises ``DecodeError`` where one does not end
    before the data does."""
    return tuple(_decode(code, value) for code, value in walk_untrusted(data))


def encode(causes: Iterable[Cause]) -> bytes:
    """One behind another; the last without its padding, which is the chunk's."""
    return row(cause.encode() for cause in causes)
