"""RTCP: round trips, aiortc as a second opinion, compound and reduced-size, hostile bytes."""

import re
from ast import literal_eval

import aiortc.rtp
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from corpus import corpus_path
from stunroute.errors import DecodeError
from transceiver.srtp import rtcp
from transceiver.srtp.rtcp import (
    Bye,
    Chunk,
    Feedback,
    Packet,
    ReceiverReport,
    ReportBlock,
    SenderReport,
    SourceDescription,
    Unknown,
)

words = st.integers(0, 2**32 - 1)
aligned = st.lists(st.binary(min_size=4, max_size=4), max_size=4).map(b"".join)
blocks = st.builds(
    ReportBlock,
    words,
    st.integers(0, 255),
    st.integers(-0x800000, 0x7FFFFF),
    words,
    words,
    words,
    words,
)
block_runs = st.lists(blocks, max_size=31).map(tuple)
chunks = st.builds(
    Chunk,
    words,
    st.lists(st.tuples(st.integers(1, 255), st.binary(max_size=255)), max_size=4).map(tuple),
)
packets: st.SearchStrategy[Packet] = st.one_of(
    st.builds(
        SenderReport,
        words,
        st.integers(0, 2**64 - 1),
        words,
        words,
        words,
        block_runs,
        aligned,
    ),
    st.builds(ReceiverReport, words, block_runs, aligned),
    st.builds(SourceDescription, st.lists(chunks, max_size=31).map(tuple)),
    st.builds(Bye, st.lists(words, max_size=31).map(tuple), st.none() | st.binary(max_size=255)),
    st.builds(Feedback, st.sampled_from([205, 206]), st.integers(0, 31), words, words, aligned),
    st.builds(
        Unknown,
        st.integers(0, 255).filter(lambda kind: kind not in (200, 201, 202, 203, 205, 206)),
        st.integers(0, 31),
        aligned,
    ),
)

BLOCK = ReportBlock(7, 3, -2, 70000, 40, 0x11112222, 65536)
REPORT = ReceiverReport(5, (BLOCK,))
NAMES = SourceDescription((Chunk(5, ((rtcp.CNAME, b"call"),)),))


@given(run=st.lists(packets, min_size=1, max_size=5))
def test_round_trip(run: list[Packet]) -> None:
    assert rtcp.decode_compound_untrusted(rtcp.encode_compound(run)) == run


def test_a_receiver_report_octet_by_octet() -> None:
    """RFC 3550 section 6.4.2."""
    assert rtcp.encode(REPORT).hex() == (
        "81c90007000000050000000703fffffe00011170000000281111222200010000"
    )


def test_a_sender_report_octet_by_octet() -> None:
    """RFC 3550 section 6.4.1."""
    report = SenderReport(1, 0x0000000280000000, 9, 10, 11)
    assert rtcp.encode(report).hex() == ("80c80006000000010000000280000000000000090000000a0000000b")


def test_a_source_description_octet_by_octet() -> None:
    """RFC 3550 section 6.5: each chunk ends in one to four zero octets."""
    for name, tail in ((b"a", "00"), (b"ab", "00000000"), (b"abc", "000000"), (b"abcd", "0000")):
        wire = rtcp.encode(SourceDescription((Chunk(1, ((1, name),)),)))
        assert wire[8:].hex() == f"01{len(name):02x}{name.hex()}{tail}"
        assert rtcp.decode_compound_untrusted(wire)[0].chunks[0].items == ((1, name),)  # type: ignore[union-attr]


def test_zeros_behind_a_source_description_are_let_pass() -> None:
    """aiortc writes them behind items of certain lengths."""
    [packet] = rtcp.decode_compound_untrusted(bytes.fromhex("81ca0003000000050101610000000000"))
    assert packet == SourceDescription((Chunk(5, ((1, b"a"),)),))


def test_a_goodbye_with_and_without_reason() -> None:
    """RFC 3550 section 6.6."""
    assert rtcp.encode(Bye((1, 2))).hex() == "82cb00020000000100000002"
    assert rtcp.encode(Bye((1,), b"over")).hex() == "81cb000300000001046f766572000000"
    assert rtcp.decode_compound_untrusted(bytes.fromhex("80cb0000")) == [Bye(())]


def test_compound_and_reduced_size() -> None:
    """RFC 3550 section 6.1 against RFC 5506: both decode, one of them is compound."""
    loss = Feedback(205, 1, 5, 7, bytes.fromhex("00010000"))
    full = rtcp.decode_compound_untrusted(rtcp.encode_compound([REPORT, NAMES, loss]))
    assert full == [REPORT, NAMES, loss]
    assert rtcp.is_compound(full)
    reduced = rtcp.decode_compound_untrusted(rtcp.encode(loss))
    assert reduced == [loss]
    assert not rtcp.is_compound(reduced)
    assert not rtcp.is_compound([REPORT])
    assert not rtcp.is_compound([NAMES, REPORT])
    assert not rtcp.is_compound([])


def test_extended_reports_and_applications_are_kept() -> None:
    """What is not understood hinders nothing beside it (RFC 3611, RFC 3550 section 6.7)."""
    extended = Unknown(
        rtcp.PacketType.EXTENDED_REPORT, 0, bytes.fromhex("0000000504000002") + bytes(8)
    )
    application = Unknown(rtcp.PacketType.APPLICATION, 3, b"\x00\x00\x00\x05NAMEdata")
    run: list[Packet] = [REPORT, extended, application, NAMES]
    assert rtcp.decode_compound_untrusted(rtcp.encode_compound(run)) == run


def test_padding_on_the_last_packet() -> None:
    """RFC 3550 section 6.4.1: the count is inside the length and covers itself."""
    padded = bytes.fromhex("a1c9000a") + rtcp.encode(REPORT)[4:] + bytes(11) + b"\x0c"
    assert rtcp.decode_compound_untrusted(rtcp.encode(NAMES) + padded) == [NAMES, REPORT]
    with pytest.raises(DecodeError, match="padding"):
        rtcp.decode_compound_untrusted(padded + rtcp.encode(NAMES))


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        ("", "header"),
        ("80c900", "header"),
        ("80c9000100000005" + "80c9", "header"),
        ("40c9000100000005", "version"),
        ("80c9000200000005", "past the datagram"),
        ("80c9ffff00000005", "past the datagram"),
        ("80c90000", "receiver report"),
        ("80c80005" + "00000000" * 5, "sender report"),
        ("81c9000100000005", "report blocks"),
        ("9fc80006" + "00000000" * 6, "report blocks"),
        ("81ca0000", "inside a chunk"),
        ("81ca000100000005", "inside a chunk"),
        ("81ca00020000000501040000", "past the packet"),
        ("81ca00020000000501016101", "past the packet"),
        ("81ca00020000000501026162", "no end"),
        ("80ca000100000001", "longer"),
        ("81ca0003000000050000000000000001", "longer"),
        ("82cb000100000005", "inside its sources"),
        ("81cb00020000000504616263", "goodbye reason"),
        ("81cd000100000005", "feedback"),
        ("81ce0000", "feedback"),
        ("a0c900020000000500000000", "padding"),
        ("a0c900020000000500000003", "padding"),
        ("a0c900020000000500000010", "padding"),
        ("a0c90002000000050000000c", "padding"),
        ("a0c900020000000500000008", "receiver report"),
        ("a0cc0000", "padding"),
    ],
)
def test_malformed(wire: str, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        rtcp.decode_compound_untrusted(bytes.fromhex(wire))


@pytest.mark.parametrize(
    "packet",
    [
        ReceiverReport(-1),
        ReceiverReport(1 << 32),
        ReceiverReport(1, (BLOCK,) * 32),
        ReceiverReport(1, (evolve(BLOCK, fraction_lost=256),)),
        ReceiverReport(1, (evolve(BLOCK, cumulative_lost=0x800000),)),
        ReceiverReport(1, (evolve(BLOCK, cumulative_lost=-0x800001),)),
        ReceiverReport(1, extension=b"abc"),
        SenderReport(1, 1 << 64, 0, 0, 0),
        SourceDescription((Chunk(1, ((0, b""),)),)),
        SourceDescription((Chunk(1, ((1, bytes(256)),)),)),
        Bye((1,), bytes(256)),
        Feedback(205, 32, 1, 1),
        Unknown(256, 0, b""),
        Unknown(204, 0, bytes(4 * 65536)),
    ],
)
def test_fields_out_of_range_raise(packet: Packet) -> None:
    with pytest.raises(ValueError):
        rtcp.encode_compound([packet])


@given(
    data=st.binary(max_size=120),
    head=st.sampled_from(["", "81c8", "81c90007", "81ca0004", "81cb0002", "a1ca0003", "80cf"]),
)
def test_noise_raises_only_decode_errors(data: bytes, head: str) -> None:
    try:
        run = rtcp.decode_compound_untrusted(bytes.fromhex(head) + data)
    except DecodeError:
        return
    assert rtcp.decode_compound_untrusted(rtcp.encode_compound(run)) == run


def test_peek_at_the_sender() -> None:
    assert rtcp.peek_ssrc_untrusted(rtcp.encode(REPORT)) == 5
    for length in range(8):
        with pytest.raises(DecodeError):
            rtcp.peek_ssrc_untrusted(rtcp.encode(REPORT)[:length])


# --- NTP ------------------------------------------------------------------------------------------


def test_ntp_of_a_monotonic_reading() -> None:
    """RFC 3550 section 4: elapsed time will do."""
    assert rtcp.ntp_from_instant(0.0) == 0
    assert rtcp.ntp_from_instant(2.5) == 0x0000000280000000
    assert rtcp.compact_ntp(rtcp.ntp_from_instant(65537.25)) == 0x00014000
    assert rtcp.ntp_from_instant(2.0**32 + 1.0) == 1 << 32
    assert rtcp.ntp_from_instant(-0.5) == 0xFFFFFFFF80000000


@given(now=st.floats(0, 1e7), later=st.floats(0, 1000))
def test_ntp_differences_are_times(now: float, later: float) -> None:
    difference = rtcp.ntp_from_instant(now + later) - rtcp.ntp_from_instant(now)
    assert difference / 2**32 == pytest.approx(later, abs=1e-6)


def test_delays() -> None:
    assert rtcp.delay_from_seconds(1.5) == 0x18000
    assert rtcp.seconds_from_delay(0x18000) == 1.5
    assert rtcp.delay_from_seconds(-1.0) == 0
    assert rtcp.delay_from_seconds(1e9) == 0xFFFFFFFF


# --- aiortc as a second opinion -------------------------------------------------------------------


def as_aiortc(block: ReportBlock) -> aiortc.rtp.RtcpReceiverInfo:
    return aiortc.rtp.RtcpReceiverInfo(
        ssrc=block.ssrc,
        fraction_lost=block.fraction_lost,
        packets_lost=block.cumulative_lost,
        highest_sequence=block.highest_sequence,
        jitter=block.jitter,
        lsr=block.last_sender_report,
        dlsr=block.delay_since_last,
    )


def translated(packet: Packet) -> object:
    """The same packet as aiortc holds it, where it knows the kind."""
    match packet:
        case SenderReport():
            info = aiortc.rtp.RtcpSenderInfo(
                packet.ntp, packet.rtp_timestamp, packet.packet_count, packet.octet_count
            )
            return aiortc.rtp.RtcpSrPacket(packet.ssrc, info, list(map(as_aiortc, packet.reports)))
        case ReceiverReport():
            return aiortc.rtp.RtcpRrPacket(packet.ssrc, list(map(as_aiortc, packet.reports)))
        case SourceDescription():
            return aiortc.rtp.RtcpSdesPacket(
                [
                    aiortc.rtp.RtcpSourceInfo(chunk.ssrc, list(chunk.items))
                    for chunk in packet.chunks
                ]
            )
        case Bye():
            return aiortc.rtp.RtcpByePacket(list(packet.ssrcs))
        case Feedback(packet_type=206):
            return aiortc.rtp.RtcpPsfbPacket(
                packet.format, packet.sender_ssrc, packet.media_ssrc, packet.control
            )
        case _:
            return None


@given(run=st.lists(packets, min_size=1, max_size=4))
def test_aiortc_and_we_read_and_write_the_same(run: list[Packet]) -> None:
    known = [
        evolve(packet, extension=b"")
        if isinstance(packet, SenderReport | ReceiverReport)
        else Bye(packet.ssrcs)
        if isinstance(packet, Bye)
        else packet
        for packet in run
        if translated(packet) is not None
        # It aligns only the last chunk of a description.
        and not (isinstance(packet, SourceDescription) and len(packet.chunks) > 1)
    ]
    if not known:
        return
    expected = list(map(translated, known))
    wire = rtcp.encode_compound(known)
    assert aiortc.rtp.RtcpPacket.parse(wire) == expected
    assert rtcp.decode_compound_untrusted(b"".join(map(bytes, expected))) == known  # type: ignore[arg-type]


def corpus_datagrams(folder: str) -> list[bytes]:
    """Raw files, and the byte literals of Go's fuzzing files."""
    found = []
    for path in sorted(corpus_path("fuzz", *folder.split("/")).rglob("*")):
        if not path.is_file():
            continue
        data = path.read_bytes()
        if data.startswith(b"go test fuzz"):
            found += [
                literal_eval("b" + text)
                for text in re.findall(r'\[\]byte\((".*")\)', data.decode("latin-1"))
            ]
        else:
            found.append(data)
    return found


@pytest.mark.corpus
@pytest.mark.parametrize(
    "folder",
    [
        "pion-rtcp",
        "libwebrtc-fuzz/rtcp-corpus",
        "aiortc-bins",
        "libsrtp-fuzz/corpus",
        "mediasoup-fuzz",
        "werift-rtp",
    ],
)
def test_fuzz_corpora_raise_only_decode_errors(folder: str) -> None:
    datagrams = corpus_datagrams(folder)
    assert datagrams
    for data in datagrams:
        try:
            run = rtcp.decode_compound_untrusted(data)
        except DecodeError:
            continue
        assert rtcp.decode_compound_untrusted(rtcp.encode_compound(run)) == run


@pytest.mark.corpus
@pytest.mark.parametrize(
    "name", ["bye", "bye_no_sources", "bye_padding", "psfb_pli", "rr", "rtpfb", "sdes", "sr"]
)
def test_aiortc_samples_mean_the_same(name: str) -> None:
    data = corpus_path("fuzz", "aiortc-bins", f"rtcp_{name}.bin").read_bytes()
    ours = rtcp.decode_compound_untrusted(data)
    theirs = aiortc.rtp.RtcpPacket.parse(data)
    if name == "rtpfb":
        assert isinstance(ours[0], Feedback)
        assert (ours[0].format, ours[0].media_ssrc) == (theirs[0].fmt, theirs[0].media_ssrc)
    else:
        assert [translated(packet) for packet in ours] == theirs


@pytest.mark.corpus
@pytest.mark.parametrize(
    "name",
    [
        "bye_invalid",
        "psfb_invalid",
        "rr_invalid",
        "rtpfb_invalid",
        "sdes_item_truncated",
        "sdes_source_truncated",
        "sr_invalid",
    ],
)
def test_aiortc_samples_that_are_malformed(name: str) -> None:
    data = corpus_path("fuzz", "aiortc-bins", f"rtcp_{name}.bin").read_bytes()
    with pytest.raises(DecodeError):
        rtcp.decode_compound_untrusted(data)
