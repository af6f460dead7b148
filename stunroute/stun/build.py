"""Writing STUN messages.

``build`` says anything, in the order that is asked for. The answer that an ICE agent gives to
nearly every check has a function of its own, because all of it but four fields is constant.
"""

import struct
from collections.abc import Iterable

from stunroute.address import Address

from .attributes import (
    encode_error_code,
    encode_uint32,
    encode_uint64,
    encode_username,
    encode_xor_address,
)
from .header import BINDING_SUCCESS, HEADER_LENGTH, encode_header, encode_type
from .integrity import SHA1_LENGTH, SHA256_LENGTH, IntegrityKey, checksum
from .message import Message
from .registry import Attribute, MessageClass, Method

_ATTRIBUTE = struct.Struct("!HH")
_LENGTH = struct.Struct("!H")
_WORD = struct.Struct("!I")
_INTEGRITY_HEADER = _ATTRIBUTE.pack(Attribute.MESSAGE_INTEGRITY, SHA1_LENGTH)
_INTEGRITY_SHA256_HEADER = _ATTRIBUTE.pack(Attribute.MESSAGE_INTEGRITY_SHA256, SHA256_LENGTH)
_FINGERPRINT_HEADER = _ATTRIBUTE.pack(Attribute.FINGERPRINT, 4)
_INTEGRITY_LENGTH = len(_INTEGRITY_HEADER) + SHA1_LENGTH
_INTEGRITY_SHA256_LENGTH = len(_INTEGRITY_SHA256_HEADER) + SHA256_LENGTH
_FINGERPRINT_LENGTH = len(_FINGERPRINT_HEADER) + 4
_MAXIMUM_BODY = 0xFFFF - _INTEGRITY_SHA256_LENGTH - _FINGERPRINT_LENGTH


def build(
    method: int,
    message_class: MessageClass,
    transaction_id: bytes,
    attributes: Iterable[tuple[int, bytes]] = (),
    *,
    integrity: IntegrityKey | None = None,
    sha256: bool = False,
    fingerprint: bool = True,
) -> bytes:
    """A message with these attributes, in this order.

    ``integrity`` signs it (MESSAGE-INTEGRITY, or with ``sha256`` MESSAGE-INTEGRITY-SHA256 in its
    place), ``fingerprint`` closes it. Values are given without padding; padding is zero. Raises
    ValueError when the transaction id is not 12 bytes or something does not fit its field.
    """
    if len(transaction_id) != 12:
        raise ValueError("a transaction id is 12 bytes")
    body = b"".join([_encode_attribute(type, value) for type, value in attributes])
    if len(body) > _MAXIMUM_BODY:
        raise ValueError("a STUN message is at most 65535 bytes")
    message = encode_header(encode_type(method, message_class), len(body), transaction_id) + body
    if integrity is not None:
        message = _sign_sha256(message, integrity) if sha256 else _sign(message, integrity)
    return _close(message) if fingerprint else message


def _encode_attribute(type: int, value: bytes) -> bytes:
    if not 0 <= type <= 0xFFFF or len(value) > _MAXIMUM_BODY:
        raise ValueError("an attribute has a type and a length of 16 bits")
    return _ATTRIBUTE.pack(type, len(value)) + value + bytes(-len(value) % 4)


def _announce(message: bytes, more: int) -> bytes:
    """The message, its length counting ``more`` bytes to come: hash and checksum both cover the
    length as it is after they have been added."""
    return message[:2] + _LENGTH.pack(len(message) - HEADER_LENGTH + more) + message[4:]


def _sign(message: bytes, key: IntegrityKey) -> bytes:
    message = _announce(message, _INTEGRITY_LENGTH)
    return message + _INTEGRITY_HEADER + key.sha1(message)


def _sign_sha256(message: bytes, key: IntegrityKey) -> bytes:
    message = _announce(message, _INTEGRITY_SHA256_LENGTH)
    return message + _INTEGRITY_SHA256_HEADER + key.sha256(message)


def _close(message: bytes) -> bytes:
    message = _announce(message, _FINGERPRINT_LENGTH)
    return message + _FINGERPRINT_HEADER + _WORD.pack(checksum(message))


# What an ICE agent says


def binding_request(
    transaction_id: bytes,
    username: bytes,
    priority: int,
    key: IntegrityKey,
    *,
    controlling: int | None = None,
    controlled: int | None = None,
    use_candidate: bool = False,
    attributes: Iterable[tuple[int, bytes]] = (),
) -> bytes:
    """A connectivity check (RFC 8445, 7.2.2): ``username`` is ``<receiver's ufrag>:<sender's>``,
    ``key`` the receiver's password, ``controlling`` or ``controlled`` the sender's tie-breaker.
    ``attributes`` stand before the integrity."""
    body = [
        (Attribute.USERNAME, encode_username(username)),
        (Attribute.PRIORITY, encode_uint32(priority)),
    ]
    if controlling is not None:
        body.append((Attribute.ICE_CONTROLLING, encode_uint64(controlling)))
    if controlled is not None:
        body.append((Attribute.ICE_CONTROLLED, encode_uint64(controlled)))
    if use_candidate:
        body.append((Attribute.USE_CANDIDATE, b""))
    return build(
        Method.BINDING, MessageClass.REQUEST, transaction_id, [*body, *attributes], integrity=key
    )


def binding_success(request: Message, mapped: Address, key: IntegrityKey) -> bytes:
    """The answer to a check: XOR-MAPPED-ADDRESS ``mapped``, integrity of the kind that the request
    bears (RFC 8489, 9.1.3), FINGERPRINT. The same bytes as ``build`` would give."""
    identity = request.raw[4:HEADER_LENGTH]  # cookie and transaction id
    address = encode_xor_address(mapped, identity[4:])
    if request.integrity_is_sha256:
        return build(
            Method.BINDING,
            MessageClass.SUCCESS,
            identity[4:],
            [(Attribute.XOR_MAPPED_ADDRESS, address)],
            integrity=key,
            sha256=True,
        )
    start, end, attribute = _SUCCESS[len(address)]
    body = identity + attribute + address
    message = end + body + _INTEGRITY_HEADER + key.sha1(start + body)
    return message + _FINGERPRINT_HEADER + _WORD.pack(checksum(message))


def _success_constants(size: int) -> tuple[bytes, bytes, bytes]:
    """For an address value of ``size`` bytes: the first four bytes of the message while it is
    signed, those while it is closed, and the attribute's header."""
    attribute = _ATTRIBUTE.pack(Attribute.XOR_MAPPED_ADDRESS, size)
    signed = len(attribute) + size + _INTEGRITY_LENGTH
    closed = signed + _FINGERPRINT_LENGTH
    return (
        _ATTRIBUTE.pack(BINDING_SUCCESS, signed),
        _ATTRIBUTE.pack(BINDING_SUCCESS, closed),
        attribute,
    )


_SUCCESS = {size: _success_constants(size) for size in (8, 20)}


def binding_error(
    request: Message,
    code: int,
    reason: str = "",
    key: IntegrityKey | None = None,
    attributes: Iterable[tuple[int, bytes]] = (),
) -> bytes:
    """The refusal of a request. Without ``reason`` the code's own phrase stands. ``key`` is None
    where the request was not authenticated: 400 and 401 are not signed (RFC 8489, 9.1.3).
    ``attributes`` follow ERROR-CODE, as UNKNOWN-ATTRIBUTES does in a 420."""
    return build(
        request.method,
        MessageClass.ERROR,
        request.transaction_id,
        [(Attribute.ERROR_CODE, encode_error_code(code, reason)), *attributes],
        integrity=key,
        sha256=request.integrity_is_sha256,
    )
