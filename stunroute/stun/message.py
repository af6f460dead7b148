"""A received STUN message.

``decode_untrusted`` checks the structure of the whole message and nothing else; values are read
when somebody asks. What the structure amounts to (which attribute lies where, what integrity
covers) is a ``Layout``. A client's checks all share one, so layouts of messages that proved
authentic are kept, and recognised by comparing all attribute headers in one ``struct`` call. Only
who knows a password can put a layout there; to a stranger the cache does not exist. It changes
how fast a message is read, never what is read.
"""

import struct
from collections.abc import Callable
from functools import cached_property
from hmac import compare_digest
from typing import Generic, TypeVar, overload

from attrs import define, field

from stunroute.address import Address
from stunroute.errors import DecodeError

from . import attributes as values
from .header import ATTRIBUTE_HEADER_LENGTH, HEADER_LENGTH, MAXIMUM_ATTRIBUTES, decode_type
from .integrity import SHA256_LENGTH, SHA256_MINIMUM, IntegrityKey, checksum
from .registry import (
    COMPREHENSION_OPTIONAL,
    MAGIC_COOKIE,
    UNDERSTOOD,
    Attribute,
    MessageClass,
    attribute_name,
)

V = TypeVar("V")

MAXIMUM_LAYOUTS = 256
"""Layouts kept. When it is full it starts anew: the ones in use are back with the next checks."""

_USE_CANDIDATE = int(Attribute.USE_CANDIDATE)
_XOR_MAPPED_ADDRESS = int(Attribute.XOR_MAPPED_ADDRESS)
_INTEGRITY = int(Attribute.MESSAGE_INTEGRITY)
_INTEGRITY_SHA256 = int(Attribute.MESSAGE_INTEGRITY_SHA256)
_FINGERPRINT = int(Attribute.FINGERPRINT)
_FINGERPRINT_LENGTH = 8  # with its attribute header

# What is still read once an attribute of the key's type has gone by (RFC 8489, 14.5 and 14.6):
# the rest is not covered by the hash, so anybody on the way may have added it. FINGERPRINT is the
# last attribute by definition (14.7).
_READ_AFTER = {
    _INTEGRITY: frozenset({_INTEGRITY_SHA256, _FINGERPRINT}),
    _INTEGRITY_SHA256: frozenset({_FINGERPRINT}),
    _FINGERPRINT: frozenset[int](),
}

_WORD = struct.Struct("!I")
_OPENING = struct.Struct("!II")


@define(slots=True, eq=False)
class Layout:
    """Where the attributes of a message lie. True of every message with the same ``words`` behind
    the same first word."""

    opening: int
    """The first word: 14 bits of type, 16 of length."""
    words: tuple[int, ...]
    """Type and length of each attribute, as they stand in its header."""
    credible: dict[int, slice]
    """By type, the place of the value of the first of its kind: repeated ones are ignored (RFC
    8489, 14), and so is what follows the integrity."""
    kept: bool = False

    @cached_property
    def method_and_class(self) -> tuple[int, MessageClass]:
        return decode_type(self.opening >> 16)

    @cached_property
    def spans(self) -> tuple[tuple[int, slice], ...]:
        """Type and place of the value of every attribute, in order."""
        spans = []
        start = HEADER_LENGTH + ATTRIBUTE_HEADER_LENGTH
        for word in self.words:
            length = word & 0xFFFF
            spans.append((word >> 16, slice(start, start + length)))
            start += _padded(length) + ATTRIBUTE_HEADER_LENGTH
        return tuple(spans)

    @cached_property
    def unknown(self) -> tuple[int, ...]:
        return tuple(
            type
            for type in self.credible
            if type < COMPREHENSION_OPTIONAL and type not in UNDERSTOOD
        )

    @cached_property
    def covered_opening(self) -> bytes:
        """The first word as the integrity that decides covers it: its length ends with that
        integrity. Only for a layout that has one."""
        span = self.credible.get(_INTEGRITY_SHA256) or self.credible[_INTEGRITY]
        length: int = span.stop - HEADER_LENGTH
        return _WORD.pack(self.opening & 0xFFFF_0000 | length)

    @cached_property
    def closed(self) -> bool | None:
        """Does a FINGERPRINT of the right length end it? None without one."""
        span = self.credible.get(_FINGERPRINT)
        if span is None:
            return None
        closes: bool = span == self.spans[-1][1]
        return closes and self.words[-1] == _FINGERPRINT << 16 | 4

    @cached_property
    def headers(self) -> struct.Struct:
        """Reads ``words`` out of a message and steps over all else."""
        steps = (f"I{_padded(word & 0xFFFF)}x" for word in self.words)
        return struct.Struct(f"!{HEADER_LENGTH}x{''.join(steps)}")


_layouts: dict[int, Layout] = {}  # by opening


def _padded(length: int) -> int:
    return (length + 3) & ~3


def _walk_untrusted(data: bytes, opening: int) -> Layout:
    size = len(data)
    words: list[int] = []
    credible: dict[int, slice] = {}
    readable: frozenset[int] | None = None  # None: everything
    start = HEADER_LENGTH + ATTRIBUTE_HEADER_LENGTH
    while start <= size and len(words) < MAXIMUM_ATTRIBUTES:
        (word,) = _WORD.unpack_from(data, start - ATTRIBUTE_HEADER_LENGTH)
        words.append(word)
        type, length = word >> 16, word & 0xFFFF
        if type not in credible and (readable is None or type in readable):
            credible[type] = slice(start, start + length)
            readable = _READ_AFTER.get(type, readable)
        start += ((length + 3) & ~3) + ATTRIBUTE_HEADER_LENGTH
    if start <= size:
        raise DecodeError("too many attributes")
    if start - ATTRIBUTE_HEADER_LENGTH != size:
        raise DecodeError("attribute runs past the end of the message")
    return Layout(opening, tuple(words), credible)


def decode_untrusted(data: bytes) -> "Message":
    """Read one datagram as a STUN message (RFC 8489, 5 and 6.3).

    Raises DecodeError unless the header is sound, its length is the datagram's, and all
    attributes lie inside. What is in them, and whether it is acceptable, is asked later.
    """
    size = len(data) - HEADER_LENGTH
    if size < 0:
        raise DecodeError("shorter than a STUN header")
    opening, cookie = _OPENING.unpack_from(data)
    if opening >> 30:
        raise DecodeError("first two bits are not zero")
    if cookie != MAGIC_COOKIE:
        raise DecodeError("no magic cookie")
    if opening & 0xFFFF != size:
        raise DecodeError("length field is not the datagram's")
    if size & 3:
        raise DecodeError("length is not a multiple of four")
    layout = _layouts.get(opening)
    if layout is None or layout.headers.unpack_from(data) != layout.words:
        layout = _walk_untrusted(data, opening)
    return Message(data, layout)


def _keep(layout: Layout) -> None:
    if len(_layouts) >= MAXIMUM_LAYOUTS:
        for other in _layouts.values():
            other.kept = False
        _layouts.clear()
    _layouts[layout.opening] = layout
    layout.kept = True


class _Value(Generic[V]):
    """An attribute of a message, decoded when it is read."""

    __slots__ = ("_decode", "_type")

    def __init__(self, type: int, decode_untrusted: Callable[[bytes], V]) -> None:
        self._type = int(type)
        self._decode = decode_untrusted

    @overload
    def __get__(self, message: None, owner: type["Message"]) -> "_Value[V]": ...
    @overload
    def __get__(self, message: "Message", owner: type["Message"]) -> V | None: ...

    def __get__(self, message: "Message | None", owner: type["Message"]) -> "_Value[V] | V | None":
        if message is None:
            return self
        span = message._layout.credible.get(self._type)
        return None if span is None else self._decode(message.raw[span])


@define(slots=True, repr=False)
class Message:
    """A STUN message of sound structure; two are equal when their bytes are.

    Each attribute has a property: None when the message does not have it (or has it only behind
    its integrity), DecodeError when its value is malformed.
    """

    raw: bytes
    """The datagram."""
    _layout: Layout = field(eq=False)

    @property
    def method(self) -> int:
        """Twelve bits; ``Method.BINDING`` for ICE."""
        return self._layout.method_and_class[0]

    @property
    def message_class(self) -> MessageClass:
        return self._layout.method_and_class[1]

    @property
    def transaction_id(self) -> bytes:
        """12 bytes."""
        return self.raw[8:20]

    @property
    def attributes(self) -> tuple[tuple[int, bytes], ...]:
        """Type and value of each attribute in order, unknown, repeated and uncovered ones too."""
        raw = self.raw
        return tuple((type, raw[span]) for type, span in self._layout.spans)

    def unknown_comprehension_required(self) -> tuple[int, ...]:
        """Types that this package cannot read and the sender does not let us ignore, in order:
        the content of a 420 (RFC 8489, 6.3.1)."""
        return self._layout.unknown

    # Who is it from, and is it whole

    @property
    def has_integrity(self) -> bool:
        """Is there a MESSAGE-INTEGRITY or a MESSAGE-INTEGRITY-SHA256 to verify?"""
        credible = self._layout.credible
        return _INTEGRITY in credible or _INTEGRITY_SHA256 in credible

    @property
    def integrity_is_sha256(self) -> bool:
        """Is there a MESSAGE-INTEGRITY-SHA256? Then that decides, and the answer bears one."""
        return _INTEGRITY_SHA256 in self._layout.credible

    def verify_integrity(self, key: IntegrityKey, *, sha256_minimum: int = SHA256_LENGTH) -> bool:
        """Was this message signed with ``key``? (RFC 8489, 14.5 and 14.6.)

        MESSAGE-INTEGRITY-SHA256 decides where there is one, even beside the other (9.1.3), else
        MESSAGE-INTEGRITY; False when there is neither. ``sha256_minimum`` is the least number of
        bytes of the former that the usage accepts, 16 to 32; ICE does not allow truncation.
        """
        layout = self._layout
        if _INTEGRITY_SHA256 in layout.credible:
            authentic = self._verify_sha256(key, layout.credible[_INTEGRITY_SHA256], sha256_minimum)
        elif (span := layout.credible.get(_INTEGRITY)) is not None:
            raw = self.raw
            covered = layout.covered_opening + raw[4 : span.start - ATTRIBUTE_HEADER_LENGTH]
            authentic = compare_digest(key.sha1(covered), raw[span])
        else:
            return False
        if authentic and not layout.kept:
            _keep(layout)
        return authentic

    def _verify_sha256(self, key: IntegrityKey, span: slice, minimum: int) -> bool:
        size = span.stop - span.start
        if size % 4 or not max(minimum, SHA256_MINIMUM) <= size <= SHA256_LENGTH:
            return False
        opening = self._layout.covered_opening
        covered = opening + self.raw[4 : span.start - ATTRIBUTE_HEADER_LENGTH]
        return compare_digest(key.sha256(covered)[:size], self.raw[span])

    @property
    def fingerprint_ok(self) -> bool | None:
        """None without FINGERPRINT; False when it is wrong or not last (RFC 8489, 14.7)."""
        closed = self._layout.closed
        if not closed:
            return closed
        raw = self.raw
        claimed: int = _WORD.unpack_from(raw, len(raw) - _WORD.size)[0]
        return checksum(raw[:-_FINGERPRINT_LENGTH]) == claimed

    # Attributes of ICE (RFC 8445, 16.1)

    username = _Value(Attribute.USERNAME, values.decode_username_untrusted)
    """USERNAME: in a check ``<receiver's ufrag>:<sender's ufrag>``."""
    priority = _Value(Attribute.PRIORITY, values.decode_uint32_untrusted)
    """PRIORITY that a peer-reflexive candidate would get."""
    ice_controlling = _Value(Attribute.ICE_CONTROLLING, values.decode_uint64_untrusted)
    """ICE-CONTROLLING: the tie-breaker of a sender that means to control."""
    ice_controlled = _Value(Attribute.ICE_CONTROLLED, values.decode_uint64_untrusted)
    """ICE-CONTROLLED: the tie-breaker of a sender that means to be controlled."""
    nomination = _Value(Attribute.NOMINATION, values.decode_uint32_untrusted)
    """NOMINATION: a renominating sender's counter; the highest wins."""
    network_cost = _Value(Attribute.NETWORK_COST, values.decode_network_cost_untrusted)
    """NETWORK-COST."""

    @property
    def use_candidate(self) -> bool:
        """Is USE-CANDIDATE there?"""
        span = self._layout.credible.get(_USE_CANDIDATE)
        return span is not None and values.decode_flag_untrusted(self.raw[span])

    # Attributes of STUN (RFC 8489, 14)

    mapped_address = _Value(Attribute.MAPPED_ADDRESS, values.decode_address_untrusted)
    """MAPPED-ADDRESS."""
    alternate_server = _Value(Attribute.ALTERNATE_SERVER, values.decode_address_untrusted)
    """ALTERNATE-SERVER."""
    error_code = _Value(Attribute.ERROR_CODE, values.decode_error_code_untrusted)
    """ERROR-CODE: the code, 300 to 699, and the reason phrase."""
    unknown_attributes = _Value(
        Attribute.UNKNOWN_ATTRIBUTES, values.decode_unknown_attributes_untrusted
    )
    """UNKNOWN-ATTRIBUTES."""
    software = _Value(Attribute.SOFTWARE, values.decode_text_untrusted)
    """SOFTWARE."""
    realm = _Value(Attribute.REALM, values.decode_text_untrusted)
    """REALM."""
    nonce = _Value(Attribute.NONCE, values.decode_opaque_untrusted)
    """NONCE."""
    userhash = _Value(Attribute.USERHASH, values.decode_userhash_untrusted)
    """USERHASH: 32 bytes."""
    password_algorithm = _Value(
        Attribute.PASSWORD_ALGORITHM, values.decode_password_algorithm_untrusted
    )
    """PASSWORD-ALGORITHM."""
    password_algorithms = _Value(
        Attribute.PASSWORD_ALGORITHMS, values.decode_password_algorithms_untrusted
    )
    """PASSWORD-ALGORITHMS."""

    @property
    def xor_mapped_address(self) -> Address | None:
        """XOR-MAPPED-ADDRESS."""
        span = self._layout.credible.get(_XOR_MAPPED_ADDRESS)
        if span is None:
            return None
        return values.decode_xor_address_untrusted(self.raw[span], self.transaction_id)

    def value(self, type: int) -> bytes | None:
        """The value of any attribute, as it came."""
        span = self._layout.credible.get(type)
        return None if span is None else self.raw[span]

    def __repr__(self) -> str:
        # Names only: a value may be half of somebody's credentials.
        names = ", ".join(attribute_name(type) for type, _ in self._layout.spans)
        return (
            f"<STUN {self.message_class.name.lower()}, method {self.method:#05x}, "
            f"transaction {self.transaction_id.hex()}: {names}>"
        )
