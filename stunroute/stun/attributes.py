"""Attribute values, to bytes and back.

Each kind of value is a pair of pure functions. Encoders are called by this project and raise
ValueError for a value that cannot be said; decoders read what a stranger sent and raise
DecodeError. All integers are big-endian, padding belongs to the message and is not seen here.

A transport address (RFC 8489, 14.1) is an octet to ignore, a family, a port, and 4 or 16 bytes:

::

    |    ignored    | family 1 or 2 |             port              |
    |                 address, 32 or 128 bits                       |

XOR-ed (14.2), the port is masked with the cookie's upper half and the address with the cookie
followed by the transaction id, so that no NAT finds its own address in the payload to rewrite.
"""

import struct
from collections.abc import Iterable

from attrs import frozen

from stunroute.address import Address
from stunroute.errors import DecodeError

from .header import MAXIMUM_USERNAME
from .registry import MAGIC_COOKIE, ErrorCode

MAXIMUM_TEXT_DECODED = 763
"""Bytes of SOFTWARE, REALM, NONCE or a reason phrase that a receiver takes (127 characters of UTF-8
at most six bytes each, as RFC 8489, 14.8 counts them)."""

_FAMILY_IPV4 = 1
_FAMILY_IPV6 = 2
_MAPPED = b"\x00" * 10 + b"\xff\xff"
_PORT_MASK = MAGIC_COOKIE >> 16
_COOKIE = MAGIC_COOKIE.to_bytes(4, "big")
_IPV4_ADDRESS = struct.Struct("!xBHI")
_IPV6_ADDRESS = struct.Struct("!xBH16s")
_UINT32 = struct.Struct("!I")
_UINT64 = struct.Struct("!Q")
_TWO_UINT16 = struct.Struct("!HH")


# Transport addresses


def encode_xor_address(address: Address, transaction_id: bytes) -> bytes:
    """Value of XOR-MAPPED-ADDRESS. An address that is IPv4 in any form is said as IPv4."""
    return _encode_address(address, _PORT_MASK, _COOKIE + transaction_id)


def encode_address(address: Address) -> bytes:
    """Value of MAPPED-ADDRESS, ALTERNATE-SERVER and their kind."""
    return _encode_address(address, 0, bytes(16))


def _encode_address(address: Address, port_mask: int, host_mask: bytes) -> bytes:
    port = address.port ^ port_mask
    if address.is_ipv4:
        host = int.from_bytes(address.packed, "big") ^ int.from_bytes(host_mask[:4], "big")
        return _IPV4_ADDRESS.pack(_FAMILY_IPV4, port, host)
    return _IPV6_ADDRESS.pack(_FAMILY_IPV6, port, _xor(address.host, host_mask))


def decode_xor_address_untrusted(value: bytes, transaction_id: bytes) -> Address:
    """XOR-MAPPED-ADDRESS. Raises DecodeError."""
    return _decode_address_untrusted(value, _PORT_MASK, _COOKIE + transaction_id)


def decode_address_untrusted(value: bytes) -> Address:
    """MAPPED-ADDRESS, ALTERNATE-SERVER and their kind. Raises DecodeError."""
    return _decode_address_untrusted(value, 0, bytes(16))


def _decode_address_untrusted(value: bytes, port_mask: int, host_mask: bytes) -> Address:
    # The first octet is ignored, as RFC 8489 asks: some old servers do not send zero.
    match len(value), value[1:2]:
        case 8, b"\x01":
            host = _MAPPED + _xor(value[4:], host_mask[:4])
        case 20, b"\x02":
            host = _xor(value[4:], host_mask)
        case _:
            raise DecodeError("address attribute: family and length do not agree")
    return Address(host, int.from_bytes(value[2:4], "big") ^ port_mask)


def _xor(left: bytes, right: bytes) -> bytes:
    mixed = int.from_bytes(left, "big") ^ int.from_bytes(right, "big")
    return mixed.to_bytes(len(left), "big")


# Integers and flags


def encode_uint32(value: int) -> bytes:
    """PRIORITY, LIFETIME, NOMINATION: 32 bits."""
    try:
        return _UINT32.pack(value)
    except struct.error as error:
        raise ValueError("not an unsigned number of 32 bits") from error


def encode_uint64(value: int) -> bytes:
    """The tie-breaker in ICE-CONTROLLING and ICE-CONTROLLED: 64 bits."""
    try:
        return _UINT64.pack(value)
    except struct.error as error:
        raise ValueError("not an unsigned number of 64 bits") from error


def decode_uint32_untrusted(value: bytes) -> int:
    """Raises DecodeError unless there are exactly 4 bytes."""
    if len(value) != 4:
        raise DecodeError("attribute is not 4 bytes long")
    return int.from_bytes(value, "big")


def decode_uint64_untrusted(value: bytes) -> int:
    """Raises DecodeError unless there are exactly 8 bytes."""
    if len(value) != 8:
        raise DecodeError("attribute is not 8 bytes long")
    return int.from_bytes(value, "big")


def decode_flag_untrusted(value: bytes) -> bool:
    """USE-CANDIDATE says all by being there (RFC 8445, 16.1). Raises DecodeError for content."""
    if value:
        raise DecodeError("flag attribute with content")
    return True


# Names and texts


def encode_username(value: bytes) -> bytes:
    """USERNAME, at most 763 bytes: those 508 that RFC 8489 lets a sender say would not hold two
    ufrags of ICE's full length. It is bytes all the way: see ``decode_username_untrusted``."""
    if len(value) > MAXIMUM_USERNAME:
        raise ValueError("USERNAME is longer than 763 bytes")
    return value


def decode_username_untrusted(value: bytes) -> bytes:
    """USERNAME as it came. Neither UTF-8 nor the ICE grammar is demanded: other people's ufrags
    hold ``_`` and ``-``, and spaces have been seen at the end. Raises DecodeError for length."""
    if len(value) > MAXIMUM_USERNAME:
        raise DecodeError("USERNAME is longer than 763 bytes")
    return value


def encode_text(value: str) -> bytes:
    """SOFTWARE, REALM, a reason phrase: fewer than 128 characters, in UTF-8."""
    if len(value) > 127:
        raise ValueError("text is longer than 127 characters")
    return value.encode()


def decode_text_untrusted(value: bytes) -> str:
    """Raises DecodeError when it is too long or no UTF-8."""
    if len(value) > MAXIMUM_TEXT_DECODED:
        raise DecodeError("text attribute is longer than 763 bytes")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise DecodeError("text attribute is not UTF-8") from None


def decode_opaque_untrusted(value: bytes) -> bytes:
    """NONCE: any bytes, at most 763. Raises DecodeError."""
    if len(value) > MAXIMUM_TEXT_DECODED:
        raise DecodeError("attribute is longer than 763 bytes")
    return value


def decode_userhash_untrusted(value: bytes) -> bytes:
    """USERHASH: 32 bytes. Raises DecodeError."""
    if len(value) != 32:
        raise DecodeError("USERHASH is not 32 bytes long")
    return value


# Errors


def encode_error_code(code: int, reason: str = "") -> bytes:
    """ERROR-CODE (RFC 8489, 14.8): 21 reserved bits, hundreds (3 bits), the rest (8 bits), and a
    phrase for people. Without ``reason`` a code of the registry gets its own."""
    if not 300 <= code <= 699:
        raise ValueError("an error code is 300 to 699")
    if not reason and code in set(ErrorCode):
        reason = ErrorCode(code).reason
    return bytes((0, 0, *divmod(code, 100))) + encode_text(reason)


def decode_error_code_untrusted(value: bytes) -> tuple[int, str]:
    """``(code, reason)``. Raises DecodeError."""
    if len(value) < 4:
        raise DecodeError("ERROR-CODE is shorter than 4 bytes")
    hundreds, rest = value[2] & 0b111, value[3]
    if not 3 <= hundreds <= 6 or rest > 99:
        raise DecodeError("ERROR-CODE is not between 300 and 699")
    return hundreds * 100 + rest, decode_text_untrusted(value[4:])


def encode_unknown_attributes(types: Iterable[int]) -> bytes:
    """UNKNOWN-ATTRIBUTES: 16 bits each."""
    return b"".join(type.to_bytes(2, "big") for type in types)


def decode_unknown_attributes_untrusted(value: bytes) -> tuple[int, ...]:
    """Raises DecodeError for half a type."""
    if len(value) % 2:
        raise DecodeError("UNKNOWN-ATTRIBUTES has an odd length")
    return struct.unpack(f"!{len(value) // 2}H", value)


# Password algorithms


@frozen(slots=True)
class Algorithm:
    """One entry of PASSWORD-ALGORITHMS; ``number`` as in ``PasswordAlgorithm``, or one to come."""

    number: int
    parameters: bytes = b""


def encode_password_algorithms(algorithms: Iterable[Algorithm]) -> bytes:
    """PASSWORD-ALGORITHMS, or with a single entry PASSWORD-ALGORITHM (RFC 8489, 14.11, 14.12)."""
    return b"".join(
        _TWO_UINT16.pack(algorithm.number, len(algorithm.parameters))
        + algorithm.parameters
        + bytes(-len(algorithm.parameters) % 4)
        for algorithm in algorithms
    )


def decode_password_algorithms_untrusted(value: bytes) -> tuple[Algorithm, ...]:
    """Raises DecodeError. The padding of the last entry may be missing: whether it is there is
    read differently by different people."""
    algorithms = []
    offset = 0
    while offset < len(value):
        if offset + 4 > len(value):
            raise DecodeError("password algorithm is cut short")
        number, length = _TWO_UINT16.unpack_from(value, offset)
        end = offset + 4 + length
        if end > len(value):
            raise DecodeError("password algorithm's parameters run past the attribute")
        algorithms.append(Algorithm(number, value[offset + 4 : end]))
        offset = end + -length % 4
    return tuple(algorithms)


def decode_password_algorithm_untrusted(value: bytes) -> Algorithm:
    """PASSWORD-ALGORITHM: exactly one. Raises DecodeError."""
    match decode_password_algorithms_untrusted(value):
        case (algorithm,):
            return algorithm
        case _:
            raise DecodeError("PASSWORD-ALGORITHM does not hold one algorithm")


# libwebrtc's own


@frozen(slots=True)
class NetworkCost:
    """NETWORK-COST: which of the sender's interfaces a check left by, and how dear it is (0 to
    999, higher is worse)."""

    network: int
    cost: int


def encode_network_cost(value: NetworkCost) -> bytes:
    """Two numbers of 16 bits."""
    return _TWO_UINT16.pack(value.network, value.cost)


def decode_network_cost_untrusted(value: bytes) -> NetworkCost:
    """Raises DecodeError unless there are exactly 4 bytes."""
    if len(value) != 4:
        raise DecodeError("NETWORK-COST is not 4 bytes long")
    return NetworkCost(*_TWO_UINT16.unpack(value))
