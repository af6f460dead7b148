"""The 20 bytes every STUN message starts with (RFC 8489, 5), and the one look past them that a
relay needs.

::

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |0 0|          type             |        length, body only      |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |                   magic cookie 0x2112A442                     |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |                   transaction id, 96 bits                     |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

After them come attributes: type (16 bits), length (16, without padding), value, padding to a
multiple of four bytes. Type and length are read as one 32-bit word here, in the header and in
attributes alike, because one comparison of a word replaces two.
"""

import struct

from .registry import MAGIC_COOKIE, Attribute, MessageClass, Method

HEADER_LENGTH = 20
ATTRIBUTE_HEADER_LENGTH = 4
MAXIMUM_ATTRIBUTES = 64
"""Attributes read in one message. A check has about ten; a datagram that consists of thousands of
empty ones would otherwise buy a millisecond of our time. One more makes it malformed."""
MAXIMUM_USERNAME = 763
"""Bytes that a receiver takes (RFC 8489, 14.3: what RFC 5389 allowed). Two ufrags of ICE's full
length and their colon are 513."""

_USERNAME = int(Attribute.USERNAME)
_NOTHING_FOLLOWS = frozenset(
    {
        int(Attribute.MESSAGE_INTEGRITY),
        int(Attribute.MESSAGE_INTEGRITY_SHA256),
        int(Attribute.FINGERPRINT),
    }
)

_WORD = struct.Struct("!I")
_OPENING = struct.Struct("!II12xI")  # type and length, cookie, first attribute's type and length
_EMPTY_BINDING_REQUEST = 0x0001_0000 - HEADER_LENGTH  # plus the datagram's length: the first word


def encode_type(method: int, message_class: int) -> int:
    """The 14-bit message type: the class's two bits stand at 0x0100 and 0x0010, in the middle of
    the method's twelve. Raises ValueError for a method that has more."""
    if not 0 <= method <= 0xFFF:
        raise ValueError("a STUN method has twelve bits")
    return (
        (method & 0xF80) << 2
        | (method & 0x070) << 1
        | method & 0x00F
        | (message_class & 0b10) << 7
        | (message_class & 0b01) << 4
    )


def decode_type(message_type: int) -> tuple[int, MessageClass]:
    """Method and class out of a 14-bit message type; every value has a meaning."""
    method = (message_type & 0x3E00) >> 2 | (message_type & 0x00E0) >> 1 | message_type & 0x000F
    return method, MessageClass((message_type & 0x0100) >> 7 | (message_type & 0x0010) >> 4)


def encode_header(message_type: int, length: int, transaction_id: bytes) -> bytes:
    """``length`` counts the bytes after the header; ``transaction_id`` has 12."""
    return struct.pack("!HHI12s", message_type, length, MAGIC_COOKIE, transaction_id)


def peek_username_untrusted(data: bytes) -> bytes | None:
    """USERNAME of a Binding request, without building anything.

    This is all that a relay reads of most packets it routes by name. None for whatever is no
    Binding request with a sound header, or does not name anybody before its integrity. Attributes
    behind USERNAME are not looked at: the owner of the session will do that. Never raises. For
    every message that ``decode_untrusted`` accepts, both read the same USERNAME.
    """
    size = len(data)
    if size < HEADER_LENGTH + ATTRIBUTE_HEADER_LENGTH:
        return None
    opening, cookie, word = _OPENING.unpack_from(data)
    if opening != _EMPTY_BINDING_REQUEST + size or cookie != MAGIC_COOKIE or size & 3:
        return None
    start = HEADER_LENGTH + ATTRIBUTE_HEADER_LENGTH
    for _ in range(MAXIMUM_ATTRIBUTES):
        attribute, length = word >> 16, word & 0xFFFF
        if attribute == _USERNAME:
            end = start + length
            return data[start:end] if end <= size and length <= MAXIMUM_USERNAME else None
        if attribute in _NOTHING_FOLLOWS:
            return None
        start += (length + 7) & ~3
        if start > size:
            return None
        (word,) = _WORD.unpack_from(data, start - ATTRIBUTE_HEADER_LENGTH)
    return None


BINDING_REQUEST = encode_type(Method.BINDING, MessageClass.REQUEST)
"""The first 16 bits of a check."""
BINDING_SUCCESS = encode_type(Method.BINDING, MessageClass.SUCCESS)
"""The first 16 bits of the answer that accepts it."""
