"""RTP packets (RFC 3550) and their header extensions (RFC 8285).

SRTP leaves the header in the clear and its own library works on whole packets, so the header is
read and written here, away from any key. A packet is a plain record: padding and the alignment of
extensions are matters of the wire and are checked, counted and dropped while decoding, while an
extension block of a profile that nobody here knows is kept as it came.

::

     0                   1                   2                   3
    |V=2|P|X|  CC   |M|     PT      |       sequence number         |
    |                           timestamp                           |
    |                             SSRC                              |
    |                      CSRC * CC  ...                           |
    |       extension profile       |  length in 32-bit words       |  if X
    |                       extensions ...                          |
    |                         payload ...                           |
    |                           ... padding       | padding count   |  if P

All fields are in network byte order.
"""

from struct import Struct

from attrs import frozen

from stunroute.errors import DecodeError
from stunroute.instant import Entropy

HEADER_LENGTH = 12
"""Bytes of the fixed header."""

PLAIN = 0x80
"""The first octet of a packet that has the fixed header and nothing more: no CSRCs, no extensions,
no padding."""

ONE_BYTE = 0xBEDE
"""Extension profile of the one-byte form (RFC 8285 section 4.2)."""

TWO_BYTE = 0x1000
"""Extension profile of the two-byte form (section 4.3); its low four bits mean nothing here."""

_FIXED = Struct("!BBHII")
_BLOCK = Struct("!HH")


@frozen(slots=True)
class RtpPacket:
    """One RTP packet.

    ``payload_type`` 7 bits, ``sequence`` 16 bits, ``timestamp`` 32 bits in units of the media
    clock, ``ssrc`` 32 bits, ``csrcs`` up to 15 of 32 bits. ``extensions`` holds (identifier, value)
    in their order on the wire. ``padding`` counts the octets of padding, 0 to 255. A header
    extension of a profile other than RFC 8285's is in ``opaque_extension`` as (profile, value), its
    value a multiple of 4 octets.
    """

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    csrcs: tuple[int, ...] = ()
    extensions: tuple[tuple[int, bytes], ...] = ()
    payload: bytes = b""
    padding: int = 0
    opaque_extension: tuple[int, bytes] | None = None

    def extension(self, identifier: int) -> bytes | None:
        """The value of the first extension element of that identifier, or None."""
        for found, value in self.extensions:
            if found == identifier:
                return value
        return None


def initial_sequence(entropy: Entropy) -> int:
    """A random first sequence number in the lower half of its range.

    A receiver that misses every packet from the first up to the wrap cannot know that a wrap
    happened and computes a rollover counter that is one too small for good. Starting below 2**15
    puts the first wrap more than ten minutes of audio away (RFC 3711 section 3.3.1 is why).
    """
    return int.from_bytes(entropy(2), "big") & 0x7FFF


def peek_ssrc_untrusted(data: bytes) -> int:
    """The SSRC of an RTP packet, read without looking at the rest. Raises DecodeError."""
    if len(data) < HEADER_LENGTH:
        raise DecodeError("RTP packet shorter than its header")
    return int.from_bytes(data[8:12], "big")


def header_length_untrusted(data: bytes) -> int:
    """Octets of fixed header, CSRCs and extension block, all inside ``data``. Raises DecodeError.

    This much of an SRTP packet is in the clear.
    """
    if len(data) < HEADER_LENGTH:
        raise DecodeError("RTP packet shorter than its header")
    first = data[0]
    if first >> 6 != 2:
        raise DecodeError("RTP version is not 2")
    length = HEADER_LENGTH + 4 * (first & 0x0F)
    if first & 0x10:
        if len(data) < length + 4:
            raise DecodeError("RTP packet ends inside its extension header")
        length += 4 + 4 * int.from_bytes(data[length + 2 : length + 4], "big")
    if length > len(data):
        raise DecodeError("RTP packet ends inside its header")
    return length


def audio_untrusted(
    data: bytes,
) -> tuple[int, bool, int, int, int, bytes, tuple[tuple[int, bytes], ...]]:
    """Payload type, marker, sequence, timestamp, SSRC, payload and header extensions of an RTP
    packet (already unprotected): what a receiver of audio asks of it, without a record of all the
    rest. Raises DecodeError."""
    if len(data) >= HEADER_LENGTH and data[0] == PLAIN:
        _, second, sequence, timestamp, ssrc = _FIXED.unpack_from(data)
        return second & 0x7F, second > 0x7F, sequence, timestamp, ssrc, data[HEADER_LENGTH:], ()
    packet = decode_untrusted(data)
    return (
        packet.payload_type,
        packet.marker,
        packet.sequence,
        packet.timestamp,
        packet.ssrc,
        packet.payload,
        packet.extensions,
    )


def decode_untrusted(data: bytes) -> RtpPacket:
    """Decode an RTP packet (already unprotected). Raises DecodeError.

    RFC 3550 section 5.1 and appendix A.1: version, lengths and the padding count are checked.
    """
    start = header_length_untrusted(data)
    first, second, sequence, timestamp, ssrc = _FIXED.unpack_from(data)
    if not first & 0x3F:
        return RtpPacket(
            second & 0x7F, second > 0x7F, sequence, timestamp, ssrc, payload=data[HEADER_LENGTH:]
        )
    end, padding = len(data), 0
    if first & 0x20:
        padding = data[-1] if end > start else 0
        if not 0 < padding <= end - start:
            raise DecodeError("RTP padding count does not fit the packet")
        end -= padding
    at = HEADER_LENGTH + 4 * (first & 0x0F)
    csrcs = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(HEADER_LENGTH, at, 4))
    extensions: tuple[tuple[int, bytes], ...] = ()
    opaque: tuple[int, bytes] | None = None
    if first & 0x10:
        profile = int.from_bytes(data[at : at + 2], "big")
        block = data[at + 4 : start]
        if profile == ONE_BYTE:
            extensions = _one_byte_untrusted(block)
        elif profile & 0xFFF0 == TWO_BYTE:
            extensions = _two_byte_untrusted(block)
        else:
            opaque = profile, block
    return RtpPacket(
        second & 0x7F,
        second > 0x7F,
        sequence,
        timestamp,
        ssrc,
        csrcs,
        extensions,
        data[start:end],
        padding,
        opaque,
    )


def _one_byte_untrusted(block: bytes) -> tuple[tuple[int, bytes], ...]:
    """Elements of the one-byte form: identifier in the high four bits, length less one in the low.

    Identifier 15, and identifier 0 with a length, end the block: what follows cannot be read.
    """
    elements: list[tuple[int, bytes]] = []
    at, end = 0, len(block)
    while at < end:
        head = block[at]
        at += 1
        if not head:
            continue
        identifier = head >> 4
        if identifier in (0, 15):
            break
        after = at + (head & 0x0F) + 1
        if after > end:
            raise DecodeError("RTP extension element runs past its block")
        elements.append((identifier, block[at:after]))
        at = after
    return tuple(elements)


def _two_byte_untrusted(block: bytes) -> tuple[tuple[int, bytes], ...]:
    """Elements of the two-byte form: an octet of identifier, an octet of length. Identifier 0 is
    one octet of padding."""
    elements: list[tuple[int, bytes]] = []
    at, end = 0, len(block)
    while at < end:
        identifier = block[at]
        at += 1
        if not identifier:
            continue
        if at >= end or (after := at + 1 + block[at]) > end:
            raise DecodeError("RTP extension element runs past its block")
        elements.append((identifier, block[at + 1 : after]))
        at = after
    return tuple(elements)


def encode(packet: RtpPacket) -> bytes:
    """The packet's bytes. Raises ValueError for a field that does not fit its place on the wire.

    Extensions go in the one-byte form where all of them fit it, else in the two-byte form.
    """
    if not (
        0 <= packet.payload_type < 128
        and 0 <= packet.sequence < 65536
        and 0 <= packet.timestamp < 1 << 32
        and 0 <= packet.ssrc < 1 << 32
        and len(packet.csrcs) < 16
        and 0 <= packet.padding < 256
    ):
        raise ValueError("an RTP header field is out of its range")
    first = 0x80 | len(packet.csrcs)
    parts = [b""]
    parts.extend(csrc.to_bytes(4, "big") for csrc in packet.csrcs)
    if packet.opaque_extension is not None:
        if packet.extensions:
            raise ValueError("an RTP packet has one extension block")
        first |= 0x10
        parts.append(_block(*packet.opaque_extension))
    elif packet.extensions:
        first |= 0x10
        parts.append(encode_extensions(packet.extensions))
    parts.append(packet.payload)
    if packet.padding:
        first |= 0x20
        parts.append(bytes(packet.padding - 1) + bytes((packet.padding,)))
    parts[0] = _FIXED.pack(
        first,
        packet.payload_type | (0x80 if packet.marker else 0),
        packet.sequence,
        packet.timestamp,
        packet.ssrc,
    )
    return b"".join(parts)


def encode_audio(
    payload_type: int, marker: bool, sequence: int, timestamp: int, ssrc: int, payload: bytes
) -> bytes:
    """``encode`` for a packet with the fixed header alone, of fields that are known to fit."""
    second = payload_type | 0x80 if marker else payload_type
    return _FIXED.pack(PLAIN, second, sequence, timestamp, ssrc) + payload


def extended(packet: bytes, block: bytes) -> bytes:
    """A packet with the fixed header alone, with an extension block put into it."""
    return bytes((packet[0] | 0x10,)) + packet[1:HEADER_LENGTH] + block + packet[HEADER_LENGTH:]


def encode_extensions(extensions: tuple[tuple[int, bytes], ...]) -> bytes:
    """The block of header extensions, in the one-byte form where all of them fit it, else in the
    two-byte form. Raises ValueError for one that fits neither."""
    if all(0 < identifier < 15 and 0 < len(value) <= 16 for identifier, value in extensions):
        profile = ONE_BYTE
        body = b"".join(
            bytes((identifier << 4 | len(value) - 1,)) + value for identifier, value in extensions
        )
    elif all(0 < identifier < 256 and len(value) < 256 for identifier, value in extensions):
        profile = TWO_BYTE
        body = b"".join(bytes((identifier, len(value))) + value for identifier, value in extensions)
    else:
        raise ValueError("an RTP extension element fits neither form")
    return _block(profile, body + bytes(-len(body) % 4))


def _block(profile: int, body: bytes) -> bytes:
    if len(body) % 4 or len(body) > 4 * 65535 or not 0 <= profile < 65536:
        raise ValueError("an RTP extension block is not a multiple of 4 octets, or too long")
    return _BLOCK.pack(profile, len(body) // 4) + body
