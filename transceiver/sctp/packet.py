"""The SCTP packet (RFC 9260 section 3).

::

     0             2             4                8                12
     +-------------+-------------+----------------+----------------+---------
     | source port | destination | verification   | checksum       | chunks
     |             | port        | tag            |                |
     +-------------+-------------+----------------+----------------+---------

All integers are big-endian except the checksum, a CRC32c over the packet with zeros in its place,
whose bytes go out lowest first (RFC 9260 appendix A). Inside DTLS it finds nothing that the tag of
the record has not found, so two peers may agree to leave it zero (RFC 9653). That agreement holds
for one direction: a sender leaves it out only when its receiver has said that it takes such
packets.

A packet is taken whole or not at all: of one in which any chunk cannot be read nothing is believed.
"""

from collections.abc import Iterable
from struct import Struct
from typing import Final

from attrs import define
from google_crc32c import value as _crc32c

from stunroute.errors import DecodeError

from .chunks import Chunk, Unknown
from .chunks import decode_untrusted as decode_chunk_untrusted

HEADER_LENGTH: Final = 12

_HEADER: Final = Struct("!HHII")
_CHECKSUM: Final = Struct("<I")
_NO_CHECKSUM: Final = bytes(4)


def room(limit: int) -> int:
    """Bytes of chunks in a packet of at most ``limit``: chunks are padded, so a whole number of
    fours."""
    return (limit & ~3) - HEADER_LENGTH


class ChecksumError(DecodeError):
    """The checksum is wrong, or missing where that was not agreed."""


# One for each packet: made in a third of the time that a frozen one takes.
@define(slots=True)
class Packet:
    """``tag`` is the verification tag. There is at least one chunk."""

    source_port: int
    destination_port: int
    tag: int
    chunks: tuple[Chunk, ...]


def checksum_matches(data: bytes) -> bool:
    """Whether the checksum in ``data``, which has a header, is that of the packet."""
    computed = _crc32c(data[:8] + _NO_CHECKSUM + data[HEADER_LENGTH:])
    return data[8:HEADER_LENGTH] == _CHECKSUM.pack(computed)


def decode_untrusted(data: bytes, *, accept_zero_checksum: bool) -> Packet:
    """The packet that ``data`` is. Chunks behind one that is unknown and says to stop (RFC 9260,
    3.2) are not there.

    Raises ``ChecksumError`` for a checksum that is wrong, or zero without being right unless
    ``accept_zero_checksum``; ``DecodeError`` for whatever else cannot be read."""
    size = len(data)
    if size < HEADER_LENGTH:
        raise DecodeError("shorter than the header of a packet")
    source, destination, tag, stated = _HEADER.unpack_from(data)
    if (stated or not accept_zero_checksum) and not checksum_matches(data):
        raise ChecksumError("a checksum that does not match")
    found: list[Chunk] = []
    offset = HEADER_LENGTH
    while offset < size:
        chunk, offset = decode_chunk_untrusted(data, offset)
        found.append(chunk)
        if chunk.__class__ is Unknown and chunk.stops:
            break
    if not found:
        raise DecodeError("a packet without a chunk")
    return Packet(source, destination, tag, tuple(found))


def assemble(
    source_port: int,
    destination_port: int,
    tag: int,
    parts: Iterable[bytes],
    *,
    checksum: bool = True,
) -> bytes:
    """A packet of chunks that are encoded, and padded, already. Without ``checksum`` its field is
    zero."""
    bare = b"".join((_HEADER.pack(source_port, destination_port, tag, 0), *parts))
    if not checksum:
        return bare
    return bare[:8] + _CHECKSUM.pack(_crc32c(bare)) + bare[HEADER_LENGTH:]


def encode(
    source_port: int,
    destination_port: int,
    tag: int,
    chunks: Iterable[Chunk],
    *,
    checksum: bool = True,
) -> bytes:
    """A packet of these chunks, as ``assemble`` makes it."""
    parts = [chunk.encode() for chunk in chunks]
    return assemble(source_port, destination_port, tag, parts, checksum=checksum)
