"""RTCP packets (RFC 3550 section 6), compound or reduced-size (RFC 5506).

Reports, source descriptions and goodbyes are decoded, because a session acts on them. Feedback
(RFC 4585: NACK, PLI, transport-wide congestion control and the rest) keeps its control information
as bytes, and every other packet type, known elsewhere or not (APP, XR), is kept whole: one unknown
packet in a compound says nothing against its neighbours.

A datagram is a run of packets, each::

    |V=2|P| count   |  packet type  |   length in 32-bit words - 1  |

The run is decoded or refused as one. Whether it begins with a report, as RFC 3550 asks, is a
question (``is_compound``) and no condition, since reduced-size RTCP is accepted.
"""

from collections.abc import Iterable
from enum import IntEnum
from struct import Struct
from typing import TypeAlias

from attrs import frozen

from stunroute.errors import DecodeError
from stunroute.instant import Instant


class PacketType(IntEnum):
    """RTCP packet types with a meaning here (IANA RTCP control packet types)."""

    SENDER_REPORT = 200
    RECEIVER_REPORT = 201
    SOURCE_DESCRIPTION = 202
    BYE = 203
    APPLICATION = 204
    TRANSPORT_FEEDBACK = 205
    PAYLOAD_FEEDBACK = 206
    EXTENDED_REPORT = 207


CNAME = 1
"""Source description item: the canonical name."""

MID = 15
"""Source description item: the section that a source belongs to (RFC 8843, 15.1)."""

_HEADER = Struct("!BBH")
_SENDER_INFO = Struct("!IQIII")
_REPORT = Struct("!IIIIII")
_FEEDBACK = Struct("!II")


@frozen(slots=True)
class ReportBlock:
    """Reception of one source (RFC 3550 section 6.4.1).

    ``fraction_lost`` in 1/256 since the report before; ``cumulative_lost`` signed, 24 bits;
    ``highest_sequence`` extended, 32 bits; ``jitter`` in units of the media clock;
    ``last_sender_report`` the middle 32 bits of an NTP timestamp, 0 if there was none;
    ``delay_since_last`` in 1/65536 s.
    """

    ssrc: int
    fraction_lost: int
    cumulative_lost: int
    highest_sequence: int
    jitter: int
    last_sender_report: int
    delay_since_last: int


@frozen(slots=True)
class SenderReport:
    """SR. ``ntp`` is a 64-bit NTP timestamp: seconds in the upper half, fraction in the lower.
    ``extension`` is what a profile appended, a multiple of 4 octets."""

    ssrc: int
    ntp: int
    rtp_timestamp: int
    packet_count: int
    octet_count: int
    reports: tuple[ReportBlock, ...] = ()
    extension: bytes = b""


@frozen(slots=True)
class ReceiverReport:
    """RR. ``extension`` as in the SR."""

    ssrc: int
    reports: tuple[ReportBlock, ...] = ()
    extension: bytes = b""


@frozen(slots=True)
class Chunk:
    """The items (type, value) that describe one source; values are UTF-8 by intent, kept as
    bytes."""

    ssrc: int
    items: tuple[tuple[int, bytes], ...]


@frozen(slots=True)
class SourceDescription:
    """SDES."""

    chunks: tuple[Chunk, ...]


@frozen(slots=True)
class Bye:
    """BYE. ``reason`` is None where none was given."""

    ssrcs: tuple[int, ...]
    reason: bytes | None = None


@frozen(slots=True)
class Feedback:
    """Feedback of RFC 4585 section 6.1: ``packet_type`` 205 (transport) or 206 (payload), its
    ``format`` (FMT, 5 bits), and the feedback control information as bytes."""

    packet_type: int
    format: int
    sender_ssrc: int
    media_ssrc: int
    control: bytes = b""


@frozen(slots=True)
class Unknown:
    """A packet of another type. ``count`` is the 5-bit field beside the version, ``body`` what
    follows the header, a multiple of 4 octets."""

    packet_type: int
    count: int
    body: bytes


Packet: TypeAlias = SenderReport | ReceiverReport | SourceDescription | Bye | Feedback | Unknown


def ntp_from_instant(now: Instant) -> int:
    """The 64-bit NTP form of a clock reading in seconds.

    RFC 3550 section 4 lets a sender without wall clock use its elapsed time, and receivers only
    take differences of it, so this is the monotonic reading itself, not a date.
    """
    seconds = int(now // 1)
    return (seconds & 0xFFFFFFFF) << 32 | int((now - seconds) * 4294967296.0) & 0xFFFFFFFF


def compact_ntp(ntp: int) -> int:
    """The middle 32 bits of a 64-bit NTP timestamp: 16 bits of seconds, 16 of fraction."""
    return ntp >> 16 & 0xFFFFFFFF


def delay_from_seconds(seconds: float) -> int:
    """A duration in 1/65536 s as DLSR carries it, between 0 and the largest that fits."""
    return min(max(int(seconds * 65536.0), 0), 0xFFFFFFFF)


def seconds_from_delay(delay: int) -> float:
    """The other way."""
    return delay / 65536.0


def is_compound(packets: Iterable[Packet]) -> bool:
    """Whether this is a compound packet by RFC 3550 section 6.1 (a report first, a CNAME in it),
    rather than a reduced-size one (RFC 5506)."""
    run = list(packets)
    return (
        bool(run)
        and isinstance(run[0], SenderReport | ReceiverReport)
        and any(
            kind == CNAME
            for packet in run
            if isinstance(packet, SourceDescription)
            for chunk in packet.chunks
            for kind, _ in chunk.items
        )
    )


def peek_ssrc_untrusted(data: bytes) -> int:
    """The SSRC of whoever sent this RTCP or SRTCP packet (its first 8 bytes are always in the
    clear, RFC 3711 section 3.4). Raises DecodeError."""
    if len(data) < 8:
        raise DecodeError("RTCP packet shorter than its header and sender")
    return int.from_bytes(data[4:8], "big")


def decode_compound_untrusted(data: bytes) -> list[Packet]:
    """Decode a datagram of RTCP (already unprotected) into its packets, at least one.

    Raises DecodeError if any of them is malformed: version, length (the run must end where the
    datagram does), padding (allowed on the last packet only), or its own content.
    """
    packets: list[Packet] = []
    at, end = 0, len(data)
    while at < end or not packets:
        if end - at < 4:
            raise DecodeError("RTCP packet shorter than its header")
        first, kind, words = _HEADER.unpack_from(data, at)
        if first >> 6 != 2:
            raise DecodeError("RTCP version is not 2")
        body = at + 4
        at = body + 4 * words
        if at > end:
            raise DecodeError("RTCP packet runs past the datagram")
        stop = at
        if first & 0x20:
            padding = data[at - 1]
            if at != end or not 0 < padding <= at - body or padding % 4:
                raise DecodeError("RTCP padding count does not fit the packet")
            stop -= padding
        packets.append(_decode_untrusted(kind, first & 0x1F, data[body:stop]))
    return packets


def _decode_untrusted(kind: int, count: int, body: bytes) -> Packet:
    match kind:
        case PacketType.SENDER_REPORT:
            if len(body) < 24:
                raise DecodeError("RTCP sender report too short")
            reports, extension = _reports_untrusted(body[24:], count)
            ssrc, ntp, timestamp, packet_count, octets = _SENDER_INFO.unpack_from(body)
            return SenderReport(ssrc, ntp, timestamp, packet_count, octets, reports, extension)
        case PacketType.RECEIVER_REPORT:
            if len(body) < 4:
                raise DecodeError("RTCP receiver report too short")
            reports, extension = _reports_untrusted(body[4:], count)
            return ReceiverReport(int.from_bytes(body[:4], "big"), reports, extension)
        case PacketType.SOURCE_DESCRIPTION:
            return _description_untrusted(body, count)
        case PacketType.BYE:
            return _bye_untrusted(body, count)
        case PacketType.TRANSPORT_FEEDBACK | PacketType.PAYLOAD_FEEDBACK:
            if len(body) < 8:
                raise DecodeError("RTCP feedback too short")
            sender, media = _FEEDBACK.unpack_from(body)
            return Feedback(kind, count, sender, media, body[8:])
        case _:
            return Unknown(kind, count, body)


def _reports_untrusted(data: bytes, count: int) -> tuple[tuple[ReportBlock, ...], bytes]:
    if len(data) < 24 * count:
        raise DecodeError("RTCP report blocks run past the packet")
    blocks = []
    for at in range(0, 24 * count, 24):
        ssrc, loss, highest, jitter, last, delay = _REPORT.unpack_from(data, at)
        lost = loss & 0xFFFFFF
        if lost & 0x800000:
            lost -= 0x1000000
        blocks.append(ReportBlock(ssrc, loss >> 24, lost, highest, jitter, last, delay))
    return tuple(blocks), data[24 * count :]


def _description_untrusted(body: bytes, count: int) -> SourceDescription:
    """Chunks end at a multiple of 4 octets. Zeros behind the last one are let pass: aiortc ends its
    items with two octets of zero where one is enough, which can spill into another word."""
    chunks: list[Chunk] = []
    at, end = 0, len(body)
    for _ in range(count):
        if end - at < 8:
            raise DecodeError("RTCP source description ends inside a chunk")
        ssrc = int.from_bytes(body[at : at + 4], "big")
        at += 4
        items: list[tuple[int, bytes]] = []
        while at < end and (kind := body[at]):
            if at + 1 >= end or (after := at + 2 + body[at + 1]) > end:
                raise DecodeError("RTCP source description item runs past the packet")
            items.append((kind, body[at + 2 : after]))
            at = after
        if at >= end:
            raise DecodeError("RTCP source description chunk has no end")
        at += 4 - at % 4
        chunks.append(Chunk(ssrc, tuple(items)))
    if any(body[at:]):
        raise DecodeError("RTCP source description longer than its chunks")
    return SourceDescription(tuple(chunks))


def _bye_untrusted(body: bytes, count: int) -> Bye:
    at = 4 * count
    if len(body) < at:
        raise DecodeError("RTCP goodbye ends inside its sources")
    ssrcs = tuple(int.from_bytes(body[i : i + 4], "big") for i in range(0, at, 4))
    if len(body) == at:
        return Bye(ssrcs)
    after = at + 1 + body[at]
    if after > len(body):
        raise DecodeError("RTCP goodbye reason runs past the packet")
    return Bye(ssrcs, body[at + 1 : after])


def encode_compound(packets: Iterable[Packet]) -> bytes:
    """The bytes of a run of packets, without padding. Raises ValueError for a field that does not
    fit its place on the wire."""
    return b"".join(map(encode, packets))


def encode(packet: Packet) -> bytes:
    """The bytes of one packet. Raises ValueError as ``encode_compound`` does."""
    match packet:
        case SenderReport():
            info = (
                _word(packet.ssrc)
                + _word(packet.ntp, 8)
                + _word(packet.rtp_timestamp)
                + _word(packet.packet_count)
                + _word(packet.octet_count)
            )
            body = info + _encode_reports(packet.reports) + packet.extension
            return _frame(PacketType.SENDER_REPORT, len(packet.reports), body)
        case ReceiverReport():
            body = _word(packet.ssrc) + _encode_reports(packet.reports) + packet.extension
            return _frame(PacketType.RECEIVER_REPORT, len(packet.reports), body)
        case SourceDescription():
            body = b"".join(map(_encode_chunk, packet.chunks))
            return _frame(PacketType.SOURCE_DESCRIPTION, len(packet.chunks), body)
        case Bye():
            body = b"".join(map(_word, packet.ssrcs))
            if packet.reason is not None:
                body += _word(len(packet.reason), 1) + packet.reason
                body += bytes(-len(body) % 4)
            return _frame(PacketType.BYE, len(packet.ssrcs), body)
        case Feedback():
            body = _word(packet.sender_ssrc) + _word(packet.media_ssrc) + packet.control
            return _frame(packet.packet_type, packet.format, body)
        case Unknown():
            return _frame(packet.packet_type, packet.count, packet.body)


def _word(value: int, size: int = 4) -> bytes:
    try:
        return value.to_bytes(size, "big")
    except OverflowError as error:
        raise ValueError("an RTCP field is out of its range") from error


def _encode_reports(reports: tuple[ReportBlock, ...]) -> bytes:
    if not all(
        0 <= block.fraction_lost < 256 and -0x800000 <= block.cumulative_lost < 0x800000
        for block in reports
    ):
        raise ValueError("an RTCP field is out of its range")
    return b"".join(
        _word(block.ssrc)
        + _word(block.fraction_lost << 24 | block.cumulative_lost & 0xFFFFFF)
        + _word(block.highest_sequence)
        + _word(block.jitter)
        + _word(block.last_sender_report)
        + _word(block.delay_since_last)
        for block in reports
    )


def _encode_chunk(chunk: Chunk) -> bytes:
    if any(not kind for kind, _ in chunk.items):
        raise ValueError("an RTCP source description item of type 0 ends the list")
    body = _word(chunk.ssrc) + b"".join(
        _word(kind, 1) + _word(len(value), 1) + value for kind, value in chunk.items
    )
    return body + bytes(4 - len(body) % 4)


def _frame(kind: int, count: int, body: bytes) -> bytes:
    if len(body) % 4 or len(body) > 4 * 65535 or not 0 <= count < 32 or not 0 <= kind < 256:
        raise ValueError("an RTCP packet does not fit its header")
    return _HEADER.pack(0x80 | count, kind, len(body) // 4) + body
