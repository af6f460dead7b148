"""Chunks that are out: acknowledged, found missing, given up."""

from collections.abc import Sequence

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from transceiver.config import SctpLimits
from transceiver.sctp.chunks import ForwardTsn, Sack
from transceiver.sctp.outstanding import MISSES, Acknowledged, Fate, Outstanding
from transceiver.sctp.sendqueue import SendQueue
from transceiver.sctp.serial import TSN_MASK

LIMITS = SctpLimits()
FIRST = TSN_MASK + 1 + 1000
SIZE = 100
"""Of each chunk here."""


@define
class Flow:
    """A queue and what is out of it; messages are of single chunks unless told otherwise."""

    queue: SendQueue = field(init=False, factory=lambda: SendQueue(LIMITS))
    outstanding: Outstanding = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.outstanding = Outstanding(FIRST, self.queue, partial=True)

    def queue_one(
        self,
        stream: int = 1,
        size: int = SIZE,
        *,
        ordered: bool = True,
        expires: float | None = None,
        retransmissions: int | None = None,
    ) -> None:
        self.queue.add(
            stream,
            51,
            bytes(size),
            ordered=ordered,
            expires=expires,
            retransmissions=retransmissions,
        )

    def send(self, chunks: int, now: float = 0.0) -> None:
        """Send as many chunks of what is queued; of single ones, if nothing is."""
        for _ in range(chunks):
            if self.queue.empty:
                self.queue_one()
            message = self.queue.peek(now)
            assert message is not None
            self.outstanding.add(message, self.queue.take(message, SIZE), now)

    def sack(
        self, cumulative: int, *gaps: tuple[int, int], now: float = 0.1, recovering: bool = False
    ) -> Acknowledged:
        """``cumulative`` counts chunks since the first."""
        seen = self.outstanding.receive(
            Sack((FIRST - 1 + cumulative) & TSN_MASK, 0, gaps), now, recovering=recovering
        )
        assert seen is not None
        return seen

    def lost(self, now: float = 0.1) -> list[int]:
        """Numbers of the chunks that are sent again now."""
        found = []
        while (item := self.outstanding.peek_lost(now)) is not None:
            self.outstanding.resend(item)
            found.append(item.tsn - FIRST + 1)
        return found

    def fates(self) -> str:
        return "".join(item.fate.name[1] for item in self.outstanding.sent)


def test_without_gaps_the_front_is_forgotten() -> None:
    flow = Flow()
    flow.send(5)
    assert (flow.outstanding.flight, len(flow.outstanding)) == (500, 5)
    assert flow.sack(3) == Acknowledged(300, 500, True, round_trip=0.1)
    assert (flow.outstanding.flight, len(flow.outstanding)) == (200, 2)
    assert flow.sack(5) == Acknowledged(200, 200, True)
    assert (flow.outstanding.flight, len(flow.outstanding), flow.queue.charged) == (0, 0, 0)


def test_the_same_again_says_nothing() -> None:
    flow = Flow()
    flow.send(5)
    flow.sack(3)
    assert flow.sack(3) == Acknowledged(0, 200)


def test_an_overtaken_sack_is_late() -> None:
    flow = Flow()
    flow.send(5)
    flow.sack(3)
    assert flow.sack(2, (2, 2)).late
    assert flow.fates() == "LL"


@pytest.mark.parametrize(
    "sack",
    [
        Sack((FIRST + 5) & TSN_MASK, 0),
        Sack((FIRST + 2) & TSN_MASK, 0, ((3, 3),)),
        Sack((FIRST - 1) & TSN_MASK, 0, ((2, 2), (3, 6))),
        Sack((FIRST - 1) & TSN_MASK, 0, ((2, 65535), (2, 2))),
        Sack((FIRST + 0x7FFF_0000) & TSN_MASK, 0),
    ],
)
def test_what_was_never_sent_cannot_be_acknowledged(sack: Sack) -> None:
    flow = Flow()
    flow.send(5)
    assert flow.outstanding.receive(sack, 0.1) is None
    assert (flow.outstanding.flight, flow.fates()) == (500, "LLLLL")


def test_gaps_mark_what_has_come_and_count_what_has_not() -> None:
    flow = Flow()
    flow.send(6)
    seen = flow.sack(1, (2, 2), (4, 4))
    assert (seen.size, seen.lost, flow.outstanding.flight) == (300, False, 300)
    assert flow.fates() == "LRLRL"
    # The last was sent after all that came: nothing is known of it.
    assert [item.misses for item in flow.outstanding.sent] == [1, 0, 1, 0, 0]


def test_three_reports_make_a_loss() -> None:
    """RFC 9260, 7.2.4: each of something sent later that has just come."""
    flow = Flow()
    flow.send(10)
    assert not flow.sack(0, (2, 2)).lost
    assert not flow.sack(0, (2, 3)).lost
    # Nothing new in it: no report.
    assert not flow.sack(0, (2, 3)).lost
    assert flow.sack(0, (2, 4)).lost
    assert flow.fates() == "O" + "R" * 3 + "L" * 6
    assert flow.outstanding.flight == 600
    assert flow.lost() == [1]
    assert flow.outstanding.flight == 700


def test_in_a_recovery_every_report_of_progress_counts() -> None:
    flow = Flow()
    flow.send(10)
    for end in range(3, 3 + MISSES):
        flow.sack(0, (3, end))
    assert flow.lost() == [1, 2]
    flow = Flow()
    flow.send(10)
    flow.sack(1, (2, 2), (9, 9))
    for cumulative in (3, 4):
        flow.sack(cumulative, (9 - cumulative + 1, 9 - cumulative + 1), recovering=True)
    assert flow.fates() == "OOOOOR"


def test_a_chunk_sent_again_is_missed_only_by_what_was_sent_after_it() -> None:
    flow = Flow()
    flow.send(10)
    for end in (2, 3, 4):
        flow.sack(0, (2, end))
    assert flow.lost() == [1]
    for end in (5, 6, 7, 8, 9, 10):
        assert not flow.sack(0, (2, end)).lost
    flow.send(3)
    assert [flow.sack(0, (2, end)).lost for end in (11, 12, 13)] == [False, False, True]
    assert flow.lost() == [1]


def test_what_is_found_to_have_come_is_not_sent_again() -> None:
    flow = Flow()
    flow.send(6)
    for end in (4, 5, 6):
        flow.sack(0, (4, end))
    assert flow.fates() == "OOORRR"
    assert flow.sack(1, (2, 2), (3, 5)).size == 200
    assert flow.lost() == [2]


def test_everything_may_be_lost() -> None:
    flow = Flow()
    flow.send(4)
    flow.sack(0, (2, 2))
    flow.outstanding.lose_all(1.0)
    assert (flow.outstanding.flight, flow.fates()) == (0, "OROO")
    assert flow.lost() == [1, 3, 4]
    flow.outstanding.lose_all(2.0)
    assert flow.lost() == [1, 3, 4]


def test_blocks_may_come_in_any_order_and_overlap() -> None:
    flow = Flow()
    flow.send(12)
    flow.sack(0, (9, 10), (2, 4), (3, 6), (4, 4))
    assert flow.fates() == "LRRRRRLLRRLL"


def test_a_peer_may_take_back_what_it_had_reported() -> None:
    """RFC 9260, 6.2: seen when the cumulative TSN comes to stand before it."""
    flow = Flow()
    flow.send(6)
    flow.sack(0, (2, 5))
    seen = flow.sack(1, (3, 3))
    assert seen.lost
    assert flow.fates() == "OORO" + "L"
    assert flow.lost() == [2, 3, 5]
    assert flow.sack(6).advanced
    assert flow.queue.charged == 0


def test_the_round_trip_is_measured_by_what_was_sent_once() -> None:
    """Karn's rule (RFC 9260, 6.3.1, C5)."""
    flow = Flow()
    flow.send(2, now=1.0)
    flow.outstanding.lose_all(2.0)
    flow.lost(2.0)
    assert flow.sack(2, now=2.1).round_trip is None
    flow.send(2, now=3.0)
    flow.send(1, now=3.5)
    assert flow.sack(4, now=3.7).round_trip == pytest.approx(0.7)
    # One at a time: the next is what is sent next.
    assert flow.sack(5, now=3.8).round_trip is None
    flow.send(2, now=4.0)
    assert flow.sack(5, (1, 2), now=4.3).round_trip == pytest.approx(0.3)


# --- giving up ------------------------------------------------------------------------------------


def test_attempts_are_counted() -> None:
    flow = Flow()
    flow.queue_one(retransmissions=1)
    flow.send(1)
    flow.outstanding.lose_all(1.0)
    assert flow.lost() == [1]
    flow.outstanding.lose_all(2.0)
    assert flow.lost() == []
    assert flow.outstanding.first_is is Fate.ABANDONED
    chunk, told = flow.outstanding.forward(100)
    assert chunk == ForwardTsn(FIRST & TSN_MASK, ((1, 0),))
    assert told == FIRST
    flow.sack(1)
    assert (len(flow.outstanding), flow.queue.charged) == (0, 0)


def test_time_counts_when_it_would_be_sent_again() -> None:
    flow = Flow()
    flow.queue_one(expires=1.0)
    flow.send(1)
    flow.outstanding.lose_all(0.9)
    assert flow.outstanding.peek_lost(1.0) is not None
    assert flow.outstanding.peek_lost(1.1) is None
    assert flow.outstanding.first_is is Fate.ABANDONED


def test_a_peer_that_does_not_understand_gets_everything() -> None:
    flow = Flow()
    flow.outstanding.partial = False
    flow.queue_one(retransmissions=0, expires=1.0)
    flow.send(1)
    for now in (1.0, 2.0, 3.0):
        flow.outstanding.lose_all(now)
        assert flow.lost(now) == [1]


def test_a_message_is_given_up_whole() -> None:
    """What has come of it, what is out, what is lost and what was never sent."""
    flow = Flow()
    flow.send(1)
    flow.queue_one(size=5 * SIZE, retransmissions=0)
    flow.send(4)
    flow.sack(0, (3, 3))
    assert flow.fates() == "LLRLL"
    flow.outstanding.lose_all(1.0)
    # The part that was never sent is one TSN more, which the peer never sees.
    assert flow.fates() == "O" + "BBBB" + "B"
    assert flow.outstanding.next_tsn == FIRST + 6
    assert (flow.queue.empty, flow.queue.stream(1).buffered) == (True, 0)
    assert flow.lost() == [1]
    flow.sack(1)
    chunk, _ = flow.outstanding.forward(100)
    assert chunk == ForwardTsn((FIRST + 5) & TSN_MASK, ((1, 1),))
    flow.sack(6)
    assert (len(flow.outstanding), flow.queue.charged) == (0, 0)
    assert flow.queue.stream(1).idle


def test_a_begun_message_can_be_given_up_between_its_chunks() -> None:
    flow = Flow()
    flow.queue_one(size=3 * SIZE)
    flow.send(1)
    message = flow.queue.peek(0.0)
    assert message is not None
    flow.sack(1)
    flow.outstanding.give_up(message)
    assert flow.fates() == "B"
    assert flow.outstanding.forward(100)[0] == ForwardTsn((FIRST + 1) & TSN_MASK, ((1, 0),))


def test_forward_names_ordered_messages_only_and_as_many_as_fit() -> None:
    flow = Flow()
    for stream in range(1, 6):
        flow.queue_one(stream, ordered=stream != 2, retransmissions=0)
        flow.queue_one(stream, ordered=stream != 2, retransmissions=0)
    flow.send(10)
    flow.outstanding.lose_all(1.0)
    chunk, told = flow.outstanding.forward(200)
    assert dict(chunk.streams) == {1: 1, 3: 1, 4: 1, 5: 1}
    assert told == FIRST + 9
    chunk, told = flow.outstanding.forward(8 + 4 * 2)
    # Five streams took turns: what the third of the ordered ones sent does not fit.
    assert dict(chunk.streams) == {1: 0, 3: 0}
    assert told == FIRST + 2
    assert len(chunk.encode()) == 16


# --- any story ------------------------------------------------------------------------------------

STEPS = st.one_of(
    st.tuples(st.just("send"), st.integers(1, 5)),
    st.tuples(st.just("arrive"), st.lists(st.integers(0, 40), max_size=8)),
    st.tuples(st.just("sack"), st.booleans()),
    st.tuples(st.just("lose")),
    st.tuples(st.just("resend"), st.integers(1, 5)),
)


@given(st.lists(STEPS, max_size=40), st.sampled_from((None, 0, 2)))
@settings(max_examples=100)
def test_the_books_are_always_in_order(
    story: Sequence[tuple[object, ...]], retransmissions: int | None
) -> None:
    """Whatever a truthful peer reports: what counts as in flight is in flight, what has come is not
    sent again, and in the end nothing is kept."""
    flow = Flow()
    arrived: set[int] = set()
    outstanding = flow.outstanding

    def report() -> None:
        cumulative = outstanding.cumulative
        if outstanding.first_is is Fate.ABANDONED:
            cumulative = outstanding.forward(500)[1]
        while cumulative + 1 in arrived:
            cumulative += 1
        gaps = tuple((tsn - cumulative, tsn - cumulative) for tsn in arrived if tsn > cumulative)
        assert outstanding.receive(Sack(cumulative & TSN_MASK, 0, gaps), 1.0) is not None
        arrived.difference_update([tsn for tsn in arrived if tsn <= cumulative])

    for step in story:
        match step:
            case ("send", int(count)):
                for _ in range(count):
                    flow.queue_one(size=2 * SIZE, retransmissions=retransmissions)
                flow.send(count)
            case ("arrive", list(offsets)):
                out = [item for item in outstanding.sent if item.chunk]
                arrived.update(out[offset].tsn for offset in offsets if offset < len(out))
            case ("sack", _):
                report()
            case ("lose",):
                outstanding.lose_all(1.0)
            case ("resend", int(count)):
                for _ in range(count):
                    item = outstanding.peek_lost(1.0)
                    if item is not None:
                        assert item.fate is Fate.LOST
                        outstanding.resend(item)
        flying = [item.size for item in outstanding.sent if item.fate is Fate.FLYING]
        assert outstanding.flight == sum(flying)
        tsns = [item.tsn for item in outstanding.sent]
        assert tsns == list(range(outstanding.cumulative + 1, outstanding.next_tsn))
        assert flow.queue.stream(1).unacknowledged == len(tsns)
    while not flow.queue.empty:
        flow.send(1)
    for _ in range(200):
        if not outstanding:
            break
        arrived.update(item.tsn for item in outstanding.sent if item.chunk)
        report()
    assert (len(outstanding), outstanding.flight, flow.queue.charged) == (0, 0, 0)
