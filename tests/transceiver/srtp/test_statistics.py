"""Reception and sending statistics of RFC 3550, by hand-made sequences and by a plain model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transceiver.srtp import SenderStatistics, SourceStatistics, rtcp
from transceiver.srtp.rtcp import ReportBlock, SenderReport

RATE = 48000


def fed(*sequences: int, **options: int) -> SourceStatistics:
    source = SourceStatistics(RATE, **options)
    for at, sequence in enumerate(sequences):
        source.receive(sequence & 0xFFFF, 960 * at & 0xFFFFFFFF, 0.02 * at, 100)
    return source


def test_nothing_received() -> None:
    source = SourceStatistics(RATE)
    assert (source.expected, source.lost, source.received, source.highest) == (0, 0, 0, None)
    assert source.report_block(1, 5.0) == ReportBlock(1, 0, 0, 0, 0, 0, 0)


def test_in_order_without_loss() -> None:
    source = fed(*range(100, 110))
    assert (source.expected, source.received, source.lost) == (10, 10, 0)
    assert source.octets == 1000
    assert source.jitter == pytest.approx(0.0, abs=1e-6)
    assert source.last_arrival == pytest.approx(0.18)


def test_loss_in_all_and_since_the_last_report() -> None:
    """A.3: cumulative over the session, fraction over the interval."""
    source = fed(1, 2, 3, 4, 7, 8)
    block = source.report_block(9, 1.0)
    assert (block.fraction_lost, block.cumulative_lost, block.highest_sequence) == (64, 2, 8)
    for sequence in (9, 10, 11, 12):
        source.receive(sequence, 0, 1.0, 10)
    block = source.report_block(9, 2.0)
    assert (block.fraction_lost, block.cumulative_lost, block.highest_sequence) == (0, 2, 12)


def test_everything_lost_but_one_stays_below_all() -> None:
    source = fed(1)
    source.report_block(9, 0.0)
    source.receive(2900, 0, 1.0, 10)
    assert source.report_block(9, 1.0).fraction_lost == 2898 * 256 // 2899


def test_late_packets_repair_the_loss() -> None:
    source = fed(1, 2, 5)
    assert source.lost == 2
    assert source.receive(4, 0, 1.0, 10) == 4
    assert source.receive(3, 0, 1.0, 10) == 3
    assert source.lost == 0
    assert source.highest == 5


def test_duplicates_are_counted_and_not_used() -> None:
    """Section 6.4.1: they count as received, so that the loss may fall below zero."""
    source = fed(1, 2, 3)
    for sequence in (3, 1, 2, 3):
        assert source.receive(sequence, 0, 1.0, 10) is None
    assert (source.duplicates, source.received, source.lost) == (4, 7, -4)
    block = source.report_block(9, 1.0)
    assert (block.fraction_lost, block.cumulative_lost) == (0, -4)


def test_rollover_in_and_out_of_order() -> None:
    source = SourceStatistics(RATE)
    order = (65533, 65535, 65536, 65537, 65534, 65538)
    got = [source.receive(index & 0xFFFF, 0, 0.0, 1) for index in order]
    assert got == list(order)
    assert (source.highest, source.lost) == (65538, 0)
    assert source.report_block(1, 0.0).highest_sequence == 65538


def test_before_the_first_and_across_the_wrap() -> None:
    source = SourceStatistics(RATE)
    assert source.receive(1, 0, 0.0, 1) == 1
    assert source.receive(65535, 0, 0.0, 1) == -1
    assert source.receive(0, 0, 0.0, 1) == 0
    assert source.receive(2, 0, 0.0, 1) == 2


def test_a_jump_is_believed_when_it_goes_on() -> None:
    """A.1: two in a row begin a new count; the extended number goes on upward."""
    source = fed(10, 11, 12)
    assert source.receive(40000, 0, 1.0, 1) is None
    assert source.receive(13, 0, 1.0, 1) == 13
    assert source.receive(40000, 0, 1.0, 1) is None
    assert source.receive(41000, 0, 1.0, 1) is None
    assert source.receive(41001, 0, 1.0, 1) == 41001
    assert (source.received, source.expected, source.lost) == (1, 1, 0)
    assert source.receive(20, 0, 1.0, 1) is None
    assert source.receive(21, 0, 1.0, 1) == 65536 + 21


@pytest.mark.parametrize(
    ("step", "taken"), [(2999, True), (3000, False), (-99, True), (-100, False)]
)
def test_limits_of_dropout_and_misorder(step: int, taken: bool) -> None:
    source = fed(30000)
    assert (source.receive(30000 + step, 0, 1.0, 1) is not None) is taken


def test_no_probation_by_default_and_as_asked() -> None:
    """A.1: what has authenticated needs none; a bare packet must be followed by its successor."""
    assert fed(5).received == 1
    source = SourceStatistics(RATE, probation=2)
    assert source.receive(5, 0, 0.0, 1) is None
    assert source.receive(9, 0, 0.0, 1) is None
    assert source.receive(10, 0, 0.0, 1) == 10
    assert source.receive(11, 0, 0.0, 1) == 11
    assert (source.expected, source.received) == (2, 2)


def test_jitter_by_hand() -> None:
    """A.8: a sixteenth of the change each time."""
    source = SourceStatistics(8000)
    source.receive(1, 0, 0.0, 1)
    source.receive(2, 160, 0.030, 1)  # 10 ms late: 80 units
    assert source.jitter == pytest.approx(5.0)
    source.receive(3, 320, 0.040, 1)  # 10 ms early against the one before
    assert source.jitter == pytest.approx(5.0 + (80 - 5.0) / 16)
    assert source.jitter_seconds == pytest.approx(source.jitter / 8000)
    assert source.report_block(1, 0.04).jitter == int(source.jitter)


def test_jitter_survives_the_wrap_of_the_timestamp() -> None:
    source = SourceStatistics(RATE)
    for at in range(10):
        source.receive(at, (0xFFFFFFFF - 960 * 5 + 960 * at) & 0xFFFFFFFF, 0.02 * at, 1)
    assert source.jitter == pytest.approx(0.0, abs=1e-6)


def test_jitter_beyond_its_field_is_clamped() -> None:
    source = SourceStatistics(RATE)
    source.receive(1, 0, 0.0, 1)
    source.receive(2, 0, 1e9, 1)
    assert source.report_block(1, 0.0).jitter == 0xFFFFFFFF


def test_cumulative_loss_is_clamped() -> None:
    source = SourceStatistics(RATE)
    for index in range(0, 2999 * 3000, 2999):
        source.receive(index & 0xFFFF, 0, 0.0, 1)
    assert source.lost > 0x7FFFFF
    assert source.report_block(1, 0.0).cumulative_lost == 0x7FFFFF


def test_last_sender_report_and_delay() -> None:
    """Section 6.4.1: LSR and DLSR."""
    source = fed(1)
    source.note_sender_report(SenderReport(1, 0x0001000280000000, 0, 0, 0), 10.0)
    block = source.report_block(1, 12.5)
    assert block.last_sender_report == 0x00028000
    assert block.delay_since_last == int(2.5 * 65536)


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=300),
    st.integers(0, 2**20),
    st.randoms(use_true_random=False),
)
def test_against_a_plain_model(losses: list[int], start: int, shuffle) -> None:  # type: ignore[no-untyped-def]
    """Whatever the losses and small reorderings, the counts are those of the indexes themselves."""
    sent = [start]
    for gap in losses:
        sent.append(sent[-1] + 1 + gap)
    arrived = list(sent)
    for at in range(1, len(arrived) - 1):
        if arrived[at + 1] - arrived[at] < 40 and shuffle.random() < 0.3:
            arrived[at], arrived[at + 1] = arrived[at + 1], arrived[at]
    source = SourceStatistics(RATE)
    offset = start - (start & 0xFFFF)
    for index in arrived:
        assert source.receive(index & 0xFFFF, 0, 0.0, 1) == index - offset
    assert source.highest == max(arrived) - offset
    assert source.expected == max(arrived) - start + 1
    assert source.received == len(arrived)
    assert source.duplicates == 0


# --- what we send ---------------------------------------------------------------------------------


def test_a_sender_report_says_what_left() -> None:
    sender = SenderStatistics(7, RATE)
    sender.sent(1000, 80, 10.0)
    sender.sent(1960, 60, 10.02)
    report = sender.sender_report(10.03)
    assert (report.ssrc, report.packet_count, report.octet_count) == (7, 2, 140)
    assert report.ntp == rtcp.ntp_from_instant(10.03)
    assert report.rtp_timestamp == 1960 + 480
    assert rtcp.decode_compound_untrusted(rtcp.encode(report)) == [report]


def test_a_sender_report_before_any_packet_and_past_the_wrap() -> None:
    sender = SenderStatistics(7, RATE)
    assert sender.sender_report(1.0).rtp_timestamp == 0
    sender.sent(0xFFFFFFFF, 1, 2.0)
    assert sender.sender_report(3.0).rtp_timestamp == RATE - 1
    sender.packets = sender.octets = 1 << 32
    assert rtcp.encode(sender.sender_report(4.0))


def block(last: int, delay: float, ssrc: int = 7, fraction: int = 0) -> ReportBlock:
    return ReportBlock(ssrc, fraction, 3, 0, 480, last, rtcp.delay_from_seconds(delay))


def test_round_trip_time() -> None:
    """Section 6.4.1: arrival less LSR less DLSR."""
    sender = SenderStatistics(7, RATE)
    last = rtcp.compact_ntp(sender.sender_report(100.0).ntp)
    assert sender.receive_report_block(block(last, 2.0, fraction=64), 102.08) == pytest.approx(
        0.08, abs=1e-4
    )
    assert sender.round_trip_time == pytest.approx(0.08, abs=1e-4)
    assert sender.remote_fraction_lost == 0.25
    assert sender.remote_lost == 3
    assert sender.remote_jitter_seconds == 0.01


def test_round_trip_time_refuses_nonsense() -> None:
    """A peer may claim anything; only what can be true is measured."""
    sender = SenderStatistics(7, RATE)
    last = rtcp.compact_ntp(sender.sender_report(100.0).ntp)
    assert sender.receive_report_block(block(last, 1.0, ssrc=8), 101.1) is None
    assert sender.remote_lost is None
    assert sender.receive_report_block(block(last + 1, 1.0), 101.1) is None
    assert sender.receive_report_block(block(last, 5.0), 101.1) is None
    assert sender.receive_report_block(block(0, 0.0), 101.1) is None
    assert sender.round_trip_time is None
    assert sender.receive_report_block(block(last, 1.01), 101.0) == 0.0


def test_zero_means_no_report_even_at_the_beginning_of_time() -> None:
    sender = SenderStatistics(7, RATE)
    assert rtcp.compact_ntp(sender.sender_report(0.0).ntp) == 0
    assert sender.receive_report_block(block(0, 0.0), 5.0) is None


def test_remembered_reports_are_bounded() -> None:
    sender = SenderStatistics(7, RATE)
    first = rtcp.compact_ntp(sender.sender_report(1.0).ntp)
    for at in range(2, 60):
        last = rtcp.compact_ntp(sender.sender_report(float(at)).ntp)
    assert sender.receive_report_block(block(first, 0.0), 60.0) is None
    assert sender.receive_report_block(block(last, 0.0), 60.0) == pytest.approx(1.0)


def test_both_ends_measure_each_other() -> None:
    sender, receiver = SenderStatistics(7, RATE), SourceStatistics(RATE)
    sender.sent(0, 10, 5.0)
    receiver.receive(0, 0, 5.03, 10)
    receiver.note_sender_report(sender.sender_report(6.0), 6.03)
    answer = rtcp.encode(rtcp.ReceiverReport(1, (receiver.report_block(7, 9.0),)))
    [report] = rtcp.decode_compound_untrusted(answer)
    assert isinstance(report, rtcp.ReceiverReport)
    assert sender.receive_report_block(report.reports[0], 9.04) == pytest.approx(0.07, abs=1e-4)
