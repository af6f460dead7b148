"""When DATA goes and when it does not."""

import pytest
from attrs import evolve

from transceiver.config import SctpLimits
from transceiver.sctp.chunks import Data, Sack, decode_untrusted
from transceiver.sctp.outbound import Outbound
from transceiver.sctp.serial import TSN_MASK

LIMITS = evolve(SctpLimits(), send_buffer=1 << 30)
TSN = 7_000
ROOM = 1176
"""Of a packet, for chunks."""


def outbound(window: int = 1_000_000) -> Outbound:
    subject = Outbound(LIMITS, TSN)
    subject.meet(window, forward_tsn=True, now=0.0)
    return subject


def send(subject: Outbound, size: int, stream: int = 1, **options: object) -> None:
    values: dict[str, object] = {"ordered": True, "expires": None, "retransmissions": None}
    subject.queue.add(stream, 51, bytes(size), **(values | options))  # type: ignore[arg-type]


def fill(subject: Outbound, now: float = 0.0, *, packets: int = 1000) -> list[list[Data]]:
    """The packets that go now."""
    subject.awaken()
    subject._budget = packets
    found = []
    while encoded := subject.fill(ROOM, now):
        decoded = [decode_untrusted(one, 0)[0] for one in encoded]
        assert sum(map(len, encoded)) <= ROOM
        found.append([one for one in decoded if isinstance(one, Data)])
    return found


def numbers(packets: list[list[Data]]) -> list[int]:
    """Which chunks, counted from one."""
    return [data.tsn - TSN + 1 for chunks in packets for data in chunks]


def sack(
    subject: Outbound,
    cumulative: int,
    *gaps: tuple[int, int],
    now: float = 0.1,
    window: int = 1_000_000,
) -> None:
    chunk = Sack((TSN + cumulative - 1) & TSN_MASK, window, gaps)
    assert subject.receive_sack(chunk, now) is None


def test_the_congestion_window_is_exceeded_by_one_packet_at_most() -> None:
    subject = outbound()
    send(subject, 100_000)
    assert len(fill(subject)) == 10
    assert subject.outstanding.flight == subject.congestion.window
    sack(subject, 1)
    assert subject.outstanding.flight < subject.congestion.window
    fill(subject)
    assert (
        subject.congestion.window
        <= subject.outstanding.flight
        < (subject.congestion.window + subject.congestion.packet)
    )


def test_the_peers_window_is_never_exceeded() -> None:
    subject = outbound(window=5_000)
    send(subject, 100_000)
    assert len(fill(subject)) == 4
    assert subject.outstanding.flight <= 5_000
    sack(subject, 2, window=5_000)
    assert len(fill(subject)) == 2
    # What is in flight counts against the window that is stated.
    sack(subject, 3, window=3 * ROOM)
    assert len(fill(subject)) == 0
    sack(subject, 6, window=0)
    assert len(fill(subject)) == 0


def test_a_shut_window_is_asked_after_a_timeout_and_ever_more_rarely() -> None:
    """RFC 9260, 6.1 rule A: one chunk, and nobody's congestion."""
    subject = outbound(window=0)
    send(subject, 100_000)
    assert fill(subject) == []
    times = []
    for _ in range(6):
        due = subject.deadline
        assert due is not None
        times.append(due)
        assert not subject.handle_timeout(due)
        assert numbers(fill(subject, due)) == [1]
        sack(subject, 0, now=due, window=0)
        assert fill(subject, due) == []
    assert times == pytest.approx([0.5, 1.5, 3.5, 7.5, 15.5, 25.5])
    assert subject.congestion.window == 10 * ROOM
    sack(subject, 1, now=30.0, window=0)
    # It was taken, and the window is still shut.
    assert fill(subject, 30.0) == []
    sack(subject, 1, now=31.0, window=1_000_000)
    assert len(fill(subject, 31.0)) > 1


def test_a_lost_chunk_goes_at_once_however_much_is_in_flight() -> None:
    """RFC 9260, 7.2.4, step 3: one packet, and the rest as the halved window allows."""
    subject = outbound()
    send(subject, 1_000_000)
    fill(subject)
    for last in (3, 4, 5):
        sack(subject, 0, (3, last))
    flight = subject.outstanding.flight
    # Two are lost, three have come; the window is half of ten packets.
    assert flight == 5 * ROOM == subject.congestion.window
    assert numbers(fill(subject)) == [1]
    sack(subject, 0, (3, 6))
    assert numbers(fill(subject)) == []
    sack(subject, 0, (3, 7))
    assert numbers(fill(subject)) == [2]


def test_after_a_timeout_one_packet_goes_until_it_is_acknowledged() -> None:
    """RFC 9260, 7.2.3."""
    subject = outbound()
    for _ in range(20):
        send(subject, 400)
    assert len(fill(subject)) == 10
    assert subject.handle_timeout(0.5)
    assert numbers(fill(subject, 0.5)) == [1, 2]
    assert fill(subject, 0.6) == []
    send(subject, 10)
    assert fill(subject, 0.6) == []
    sack(subject, 2, now=0.7)
    assert numbers(fill(subject, 0.7))[:2] == [3, 4]


def test_what_was_lost_goes_before_what_is_new() -> None:
    subject = outbound()
    send(subject, 5 * (ROOM - 16))
    fill(subject)
    subject.repeat(1.0)
    send(subject, 100)
    assert numbers(fill(subject, 1.0)) == [1, 2, 3, 4, 5, 6]


def test_messages_are_cut_where_they_must_be() -> None:
    subject = outbound()
    send(subject, 200)
    send(subject, 1_100, stream=2)
    send(subject, 3_000, stream=3)
    sizes = [[len(data.payload) for data in chunks] for chunks in fill(subject)]
    # The second fits whole into the next packet. What was left there was too little to begin the
    # third in.
    assert sizes == [[200], [1_100], [1_160], [1_160], [680]]


def test_flags_say_where_a_message_begins_and_ends() -> None:
    subject = outbound()
    send(subject, 2_500)
    send(subject, 10, ordered=False)
    flags = [
        (data.beginning, data.ending, data.unordered) for chunks in fill(subject) for data in chunks
    ]
    assert flags == [
        (True, False, False),
        (False, False, False),
        (False, True, False),
        (True, True, True),
    ]


@pytest.mark.parametrize("ordered", [True, False])
def test_what_the_fragments_of_a_message_have_in_common(ordered: bool) -> None:
    """rfc9260/3.3.1/5, rfc9260/3.3.1/7, rfc9260/3.3.1/8, rfc9260/3.3.1/13: everything but their
    numbers, which follow one another, whatever waits on other streams."""
    subject = outbound()
    subject.queue.stream(1).ssn = 9
    send(subject, 3_000, ordered=ordered)
    send(subject, 3_000, stream=2)
    fragments = [data for chunks in fill(subject) for data in chunks]
    first, rest = fragments[:3], fragments[3:]
    assert {data.stream for data in first} == {1}
    assert {data.stream for data in rest} == {2}
    assert {data.unordered for data in first} == {not ordered}
    assert {data.ppid for data in fragments} == {51}
    assert len({data.ssn for data in first}) == 1
    assert not ordered or first[0].ssn == 9
    assert [data.tsn - TSN for data in fragments] == list(range(len(fragments)))


def test_a_shutdown_takes_nothing_back() -> None:
    """rfc9260/3.3.8/2: it has no gaps to name, and that says nothing of them."""
    subject = outbound()
    send(subject, 6 * (ROOM - 16))
    fill(subject)
    sack(subject, 1, (2, 4))
    before = subject.outstanding.flight
    assert subject.receive_cumulative(TSN, 0.2) is None
    assert subject.outstanding.flight == before
    subject.repeat(0.3)
    assert numbers(fill(subject, 0.3)) == [2, 6]


def test_who_waits_asks_for_an_acknowledgement() -> None:
    """When a stream is about to be reset, or all about to end, or the window is full."""
    for reason in ("nothing", "reset", "end", "full"):
        subject = outbound()
        send(subject, 10)
        match reason:
            case "reset":
                subject.queue.hold(1)
            case "end":
                subject.hurry = True
            case "full":
                subject.congestion.window = 10
        ((data,),) = fill(subject)
        assert data.immediate is (reason != "nothing")


def test_t3_runs_while_anything_is_out_and_begins_again_with_progress() -> None:
    """RFC 9260, 6.3.2."""
    subject = outbound()
    assert subject.deadline is None
    send(subject, 3 * (ROOM - 16))
    fill(subject)
    assert subject.deadline == 0.5
    send(subject, 10)
    fill(subject, 0.2)
    assert subject.deadline == 0.5
    sack(subject, 1, now=0.3)
    assert subject.deadline == pytest.approx(0.3 + subject.round_trip.timeout)
    sack(subject, 1, (2, 2), now=0.4)
    assert subject.deadline == pytest.approx(0.3 + subject.round_trip.timeout)
    sack(subject, 4, now=0.5)
    assert subject.deadline is None


def test_t3_begins_again_where_the_first_of_all_goes_again_and_only_there() -> None:
    """rfc9260/6.1/24 and rfc9260/6.1/25."""
    subject = outbound()
    send(subject, 8 * (ROOM - 16))
    fill(subject)
    for last in (2, 3, 4):
        sack(subject, 0, (2, last), now=0.1)
    assert subject.deadline == 0.5
    timeout = subject.round_trip.timeout
    assert numbers(fill(subject, 0.3)) == [1]
    assert subject.deadline == pytest.approx(0.3 + timeout)
    subject = outbound()
    send(subject, 8 * (ROOM - 16))
    fill(subject)
    sack(subject, 1, now=0.1)
    deadline = subject.deadline
    # The second is still on its way for all we know; the third is missing.
    subject.outstanding.sent[0].misses = -10
    for last in (4, 5, 6):
        sack(subject, 1, (3, last - 1), now=0.2)
    assert numbers(fill(subject, 0.3)) == [3]
    assert subject.deadline == deadline


def test_what_is_acknowledged_counts_before_what_is_found_lost() -> None:
    """rfc9260/7.2.4/6: the window grows for the one, and then it is halved for the other."""
    subject = outbound()
    send(subject, 1_000_000)
    fill(subject)
    window = subject.congestion.window
    for last in (2, 3):
        sack(subject, 1, (2, last))
        fill(subject)
    grown = subject.congestion.window
    assert grown > window
    sack(subject, 2 - 1, (2, 4))
    assert subject.congestion.window == grown // 2


def test_a_rest_lets_the_window_shrink_once_for_each_timeout() -> None:
    subject = outbound()
    subject.congestion.window = 64 * ROOM
    send(subject, 10)
    fill(subject, 0.0)
    sack(subject, 1, now=0.1)
    timeout = subject.round_trip.timeout
    send(subject, 10)
    assert len(fill(subject, 2.5 * timeout)) == 1
    assert subject.congestion.window == 16 * ROOM
    assert subject.congestion.threshold == 64 * ROOM


def test_forward_tsn_is_repeated_now_and_then_and_with_t3() -> None:
    subject = outbound()
    send(subject, 10, retransmissions=0)
    send(subject, 10)
    fill(subject)
    subject.handle_timeout(0.5)
    first = subject.forward(ROOM, 0.5)
    assert first is not None
    assert first.cumulative == TSN
    assert subject.forward(ROOM, 0.5) is None
    assert subject.forward(20, 5.0) is None
    assert subject.forward(ROOM, 0.71) == first
    due = subject.deadline
    assert due is not None
    subject.handle_timeout(due)
    assert subject.forward(ROOM, due) == first
    sack(subject, 1, now=2.0)
    assert subject.forward(ROOM, 9.0) is None


def test_news_for_forward_tsn_do_not_wait() -> None:
    subject = outbound()
    for _ in range(2):
        send(subject, 10, retransmissions=0)
    fill(subject)
    subject.handle_timeout(0.5)
    first = subject.forward(ROOM, 0.5)
    assert first is not None
    send(subject, 10, retransmissions=0)
    fill(subject, 0.5)
    subject.outstanding.lose_all(0.5)
    second = subject.forward(ROOM, 0.5)
    assert second is not None
    assert second.cumulative == first.cumulative + 1


def test_a_message_whose_time_is_over_while_it_is_being_sent() -> None:
    subject = outbound(window=3_000)
    send(subject, 10_000, expires=1.0)
    send(subject, 10, stream=2)
    assert numbers(fill(subject)) == [1, 2]
    sack(subject, 2, now=1.1)
    packets = fill(subject, 1.1)
    # The third TSN is that of the last part, which is never sent.
    assert [(data.stream, data.tsn - TSN + 1) for data in packets[0]] == [(2, 4)]
    told = subject.forward(ROOM, 1.1)
    assert told is not None
    assert (told.cumulative, told.streams) == (TSN + 2, ((1, 0),))


def test_a_late_sack_says_nothing_of_the_window() -> None:
    subject = outbound(window=2_000)
    send(subject, 100_000)
    fill(subject)
    sack(subject, 1, window=50_000)
    sack(subject, 0, window=0)
    assert len(fill(subject)) > 0
