"""The record layer of DTLS 1.2 (RFC 6347 section 4.1).

::

     0      1             3             5                    11          13
     +------+-------------+-------------+--------------------+-----------+----------
     | type | version     | epoch       | sequence number    | length    | fragment
     +------+-------------+-------------+--------------------+-----------+----------

All integers are big-endian. A datagram holds one or more whole records. Epoch and sequence number
always travel together here, as one 64-bit integer: that is how the AEAD nonce, the additional data
and the replay window want them.

Nothing in a record is to be believed before its tag has verified. So decoding only finds the
record's borders, and the replay window is asked twice: ``admits`` before the tag is looked at,
because it is cheap, and ``note`` after, because only an authentic number may move it.
"""

from enum import IntEnum
from struct import Struct

from attrs import define, field, frozen

from stunroute.errors import DecodeError

HEADER_LENGTH = 13
MAXIMUM_PLAINTEXT = 1 << 14
MAXIMUM_FRAGMENT = MAXIMUM_PLAINTEXT + 2048
"""Longest protected fragment that RFC 6347 allows."""
MAXIMUM_SEQUENCE = (1 << 48) - 1

DTLS_1_0 = 0xFEFF
DTLS_1_2 = 0xFEFD

_HEADER = Struct("!BHQH")


class ContentType(IntEnum):
    CHANGE_CIPHER_SPEC = 20
    ALERT = 21
    HANDSHAKE = 22
    APPLICATION_DATA = 23


_APPLICATION_DATA = int(ContentType.APPLICATION_DATA)


@frozen(slots=True)
class Record:
    """``number`` is the epoch (upper 16 bits) with the sequence number (lower 48)."""

    content_type: int
    version: int
    number: int
    fragment: bytes = field(repr=False)

    @property
    def epoch(self) -> int:
        return self.number >> 48

    @property
    def sequence(self) -> int:
        return self.number & MAXIMUM_SEQUENCE


def decode_untrusted(data: bytes, offset: int = 0) -> tuple[Record, int]:
    """The record that starts at ``offset``, and where it ends.

    Raises ``DecodeError`` where no whole record of a DTLS version stands there; what follows in
    the datagram cannot be found then. Any content type is taken, for the borders of a record do
    not depend on it; a DTLS 1.3 unified header fails on its version."""
    if len(data) - offset < HEADER_LENGTH:
        raise DecodeError("shorter than a record header")
    content_type, version, number, length = _HEADER.unpack_from(data, offset)
    if version != DTLS_1_2 and version != DTLS_1_0:
        raise DecodeError("not a version of DTLS")
    if length > MAXIMUM_FRAGMENT:
        raise DecodeError("longer than a record may be")
    start = offset + HEADER_LENGTH
    end = start + length
    if end > len(data):
        raise DecodeError("ends inside a record")
    return Record(content_type, version, number, data[start:end]), end


def peek_data_untrusted(data: bytes) -> int | None:
    """The number of the record where a datagram is one whole record of application data, of DTLS
    1.2 and epoch 1, as nearly all are in the end. The fragment stands behind the header."""
    if len(data) < HEADER_LENGTH:
        return None
    content_type, version, number, length = _HEADER.unpack_from(data)
    if (
        content_type != _APPLICATION_DATA
        or version != DTLS_1_2
        or number >> 48 != 1
        or length != len(data) - HEADER_LENGTH
        or length > MAXIMUM_FRAGMENT
    ):
        return None
    found: int = number
    return found


def encode(content_type: int, number: int, fragment: bytes, version: int = DTLS_1_2) -> bytes:
    """One record. ``number`` is epoch and sequence number as in ``Record``."""
    return _HEADER.pack(content_type, version, number, len(fragment)) + fragment


@define(slots=True)
class ReplayWindow:
    """The last 64 sequence numbers of one epoch (RFC 6347 section 4.1.2.6)."""

    _highest: int = field(default=-1, init=False)
    _seen: int = field(default=0, init=False)
    """Bit ``n`` is set if ``_highest - n`` has been seen."""

    def admits(self, sequence: int) -> bool:
        """Whether a record of that number may still be new."""
        behind = self._highest - sequence
        return behind < 0 or (behind < 64 and not self._seen >> behind & 1)

    def note(self, sequence: int) -> None:
        """The record of that number has authenticated."""
        ahead = sequence - self._highest
        if ahead > 0:
            kept = self._seen << ahead if ahead < 64 else 0
            self._seen = (kept | 1) & 0xFFFF_FFFF_FFFF_FFFF
            self._highest = sequence
        else:
            self._seen |= 1 << -ahead
