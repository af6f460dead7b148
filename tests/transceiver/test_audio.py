"""Audio in the clear: books, reports, sources and their bound."""

import aiortc.rtp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pair import seeded
from stunroute.trace import Drop
from transceiver.audio import AudioStream, SourceForgotten, SourceLearned
from transceiver.config import SessionLimits
from transceiver.events import AudioReceived
from transceiver.srtp import rtcp, rtp
from transceiver.srtp.mid import NAMED

LIMITS = SessionLimits(remote_sources=3)


def stream() -> AudioStream:
    return AudioStream(
        call="rtc_1",
        codec="opus",
        payload_type=111,
        clock_rate=48000,
        ssrc=0x01020304,
        cname="us",
        entropy=seeded("audio"),
        limits=LIMITS,
    )


def packet(sequence: int, ssrc: int = 7, payload: bytes = b"voice", kind: int = 111) -> bytes:
    return rtp.encode(
        rtp.RtpPacket(kind, False, sequence & 0xFFFF, 960 * sequence, ssrc, payload=payload)
    )


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.integers(0, 2**40))))
def test_what_is_packetised_can_be_read_and_runs_on(frames: list[tuple[bytes, int]]) -> None:
    audio = stream()
    sent = [rtp.decode_untrusted(audio.packetise(p, t, False, 1.0)) for p, t in frames]
    for index, ((payload, timestamp), read) in enumerate(zip(frames, sent, strict=True)):
        assert (read.payload, read.ssrc, read.payload_type) == (payload, 0x01020304, 111)
        assert (read.sequence - sent[0].sequence) % 65536 == index
        assert (read.timestamp - sent[0].timestamp - timestamp + frames[0][1]) % 2**32 == 0


def test_the_extended_sequence_runs_over_a_wrap() -> None:
    audio = stream()
    frames = [audio.receive_rtp_untrusted(packet(n), n / 50) for n in range(65530, 65545)]
    assert all(isinstance(frame, AudioReceived) for frame in frames)
    assert [f.sequence for f in frames if isinstance(f, AudioReceived)] == list(range(65530, 65545))


def test_sources_are_learned_and_the_one_longest_silent_makes_room() -> None:
    audio = stream()
    for ssrc in (1, 2, 3, 1, 4):
        audio.receive_rtp_untrusted(packet(1, ssrc), 1.0)
    learned = [SourceLearned(1), SourceLearned(2), SourceLearned(3)]
    assert audio.changes == [*learned, SourceForgotten(2), SourceLearned(4)]


def test_a_source_that_says_bye_is_forgotten() -> None:
    audio = stream()
    audio.receive_rtp_untrusted(packet(1, 9), 1.0)
    bye = rtcp.encode_compound([rtcp.ReceiverReport(9), rtcp.Bye((9,))])
    audio.receive_rtcp_untrusted(bye, 2.0)
    assert audio.changes == [SourceLearned(9), SourceForgotten(9)]
    assert audio.current is None


def test_reports_of_nobody_we_know_and_packets_we_do_not_know_hinder_nothing() -> None:
    """rfc8843/9.2/8, rfc8843/9.2/9: what belongs to no section is taken in all the same, and APP
    of any name goes by."""
    audio = stream()
    block = rtcp.ReportBlock(0x01020304, 64, 5, 0, 480, 0, 0)
    application = rtcp.Unknown(rtcp.PacketType.APPLICATION, 3, b"\xde\xad\xbe\xefNAMEdata")
    stranger = rtcp.ReceiverReport(0xDEADBEEF, (block,))
    audio.receive_rtcp_untrusted(rtcp.encode_compound([application, stranger, application]), 1.0)
    assert (audio.sender.remote_lost, audio.sender.remote_jitter_seconds) == (5, 0.01)
    assert audio.changes == []
    assert audio.current is None


def test_what_is_no_audio_of_ours_says_why() -> None:
    audio = stream()
    assert audio.receive_rtp_untrusted(packet(1, kind=96), 1.0) is Drop.RTP_PAYLOAD_TYPE
    assert audio.receive_rtp_untrusted(packet(1, payload=b""), 1.0) is Drop.RTP_NO_PAYLOAD


def test_reports_are_spread_around_their_interval_and_say_what_was_sent() -> None:
    audio = stream()
    assert audio.next_report is None
    audio.start(10.0)
    assert audio.next_report == 10.0 + LIMITS.report_interval / 2
    quiet = rtcp.decode_compound_untrusted(audio.report(12.5))
    assert isinstance(quiet[0], rtcp.ReceiverReport)
    assert audio.next_report is not None
    assert 0.5 <= (audio.next_report - 12.5) / LIMITS.report_interval < 1.5
    audio.packetise(b"12345", 0, False, 13.0)
    busy = rtcp.decode_compound_untrusted(audio.report(17.5))
    assert isinstance(busy[0], rtcp.SenderReport)
    assert (busy[0].packet_count, busy[0].octet_count) == (1, 5)
    assert rtcp.is_compound(busy)
    last = rtcp.decode_compound_untrusted(audio.goodbye(18.0))
    assert last[-1] == rtcp.Bye((0x01020304,))


def test_missing_audio_is_asked_after_until_it_comes_or_may_be_meant() -> None:
    audio = stream()
    audio.start(10.0)
    assert audio.next_probe is None, "none ever came"
    audio.receive_rtp_untrusted(packet(1), 11.0)
    asked = []
    while (due := audio.next_probe) is not None:
        packets = rtcp.decode_compound_untrusted(audio.probe(due))
        assert rtcp.is_compound(packets)
        asked.append(due)
    assert asked == [11.0 + LIMITS.probe_interval * n for n in range(1, LIMITS.probes + 1)]
    assert audio.next_report == 10.0 + LIMITS.report_interval / 2, "reports keep their own time"
    audio.receive_rtp_untrusted(packet(2), 20.0)
    assert audio.next_probe == 20.0 + LIMITS.probe_interval


# --- the name of the section ----------------------------------------------------------------------


def heard_of(audio: AudioStream, highest: int, ssrc: int = 0x01020304) -> None:
    """The peer reports what it has of us."""
    block = rtcp.ReportBlock(ssrc, 0, 0, highest, 0, 0, 0)
    audio.receive_rtcp_untrusted(rtcp.encode(rtcp.ReceiverReport(7, (block,))), 1.0)


def sent(audio: AudioStream, count: int = 1) -> list[rtp.RtpPacket]:
    return [rtp.decode_untrusted(audio.packetise(b"x", 960, False, 1.0)) for _ in range(count)]


def test_packets_name_the_section_until_one_has_been_reported() -> None:
    audio = stream()
    audio.belongs_to("mic", 4)
    first, *_ = sent(audio, 3)
    heard_of(audio, first.sequence, ssrc=9)
    heard_of(audio, first.sequence - 1)
    (last,) = sent(audio)
    assert first.extensions == last.extensions == ((4, b"mic"),)
    assert last.payload == b"x"
    heard_of(audio, last.sequence)
    assert [packet.extensions for packet in sent(audio, 2)] == [(), ()]


def test_packets_name_it_so_often_where_nobody_reports() -> None:
    audio = stream()
    audio.belongs_to("mic", 4)
    named = [bool(packet.extensions) for packet in sent(audio, NAMED + 10)]
    assert named == [True] * NAMED + [False] * 10


def test_a_later_answer_begins_again_where_the_number_is_another() -> None:
    audio = stream()
    audio.belongs_to("mic", 4)
    heard_of(audio, sent(audio)[0].sequence)
    audio.belongs_to("mic", 4)
    assert not sent(audio)[0].extensions
    audio.belongs_to("mic", 5)
    named = sent(audio)[0]
    assert named.extensions == ((5, b"mic"),)
    heard_of(audio, named.sequence - 1)  # that is of a packet with the old number
    assert sent(audio)[0].extensions
    audio.belongs_to("mic", None)
    assert not sent(audio)[0].extensions


@pytest.mark.parametrize(("mid", "number"), [(None, None), ("mic", None), (None, 4)])
def test_what_was_not_agreed_on_is_not_said_and_not_heard(
    mid: str | None, number: int | None
) -> None:
    plain, audio = stream(), stream()
    audio.belongs_to(mid, number)
    for each in (plain, audio):
        each.start(0.0)
    assert sent(audio, 3) == sent(plain, 3)
    assert audio.report(5.0) == plain.report(5.0)
    elsewhere = rtp.RtpPacket(111, False, 1, 1, 7, extensions=((4, b"cam"),), payload=b"x")
    heard = audio.receive_rtp_untrusted(rtp.encode(elsewhere), 1.0)
    assert isinstance(heard, AudioReceived)


def test_every_report_names_the_section_and_aiortc_reads_it() -> None:
    audio = stream()
    audio.belongs_to("mic", 4)
    audio.start(0.0)
    heard_of(audio, sent(audio)[0].sequence)
    for made in (audio.report(5.0), audio.probe(6.0), audio.goodbye(7.0)):
        chunks = [
            (chunk.ssrc, chunk.items)
            for packet in rtcp.decode_compound_untrusted(made)
            if isinstance(packet, rtcp.SourceDescription)
            for chunk in packet.chunks
        ]
        assert chunks == [(0x01020304, ((rtcp.CNAME, b"us"), (rtcp.MID, b"mic")))]
        theirs = [
            [(each.ssrc, each.items) for each in packet.chunks]
            for packet in aiortc.rtp.RtcpPacket.parse(made)
            if isinstance(packet, aiortc.rtp.RtcpSdesPacket)
        ]
        assert theirs == [[(0x01020304, [(1, b"us"), (15, b"mic")])]]


def test_a_source_that_names_another_section_is_not_heard_until_it_names_ours() -> None:
    audio = stream()
    audio.belongs_to("mic", 4)
    said: list[object] = []
    for sequence, mid in enumerate((b"mic", b"cam", None, b"mic", None), 1):
        extensions = () if mid is None else ((4, mid),)
        data = rtp.RtpPacket(111, False, sequence, 1, 7, extensions=extensions, payload=b"x")
        heard = audio.receive_rtp_untrusted(rtp.encode(data), 1.0)
        said.append(heard.sequence if isinstance(heard, AudioReceived) else heard)
    assert said == [1, Drop.RTP_SECTION, Drop.RTP_SECTION, 4, 5]
    assert audio.changes == [SourceLearned(7), SourceForgotten(7), SourceLearned(7)]
    described = rtcp.SourceDescription((rtcp.Chunk(8, ((rtcp.MID, b"mic"),)),))
    strange = rtp.RtpPacket(111, False, 9, 1, 8, extensions=((4, b"cam"),), payload=b"x")
    assert audio.receive_rtp_untrusted(rtp.encode(strange), 1.0) is Drop.RTP_SECTION
    audio.receive_rtcp_untrusted(rtcp.encode(described), 1.0)
    assert isinstance(audio.receive_rtp_untrusted(packet(10, 8), 1.0), AudioReceived)
