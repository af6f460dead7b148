"""Streams that begin again, seen from both sides, and from a peer that plays with it."""

import pytest

from sctp_pair import LIMITS, Pair, events, transmits
from sctp_states import next_tsn, to
from stunroute.trace import Drop
from transceiver.sctp.chunks import Data, ReConfig, Sack
from transceiver.sctp.events import Dropped, MessageReceived, ResetDone, StreamsResetByPeer
from transceiver.sctp.inbound import Inbound
from transceiver.sctp.outbound import Outbound
from transceiver.sctp.parameters import (
    AddIncomingStreams,
    AddOutgoingStreams,
    ForwardTsnSupported,
    IncomingReset,
    OutgoingReset,
    Parameter,
    ReconfigResponse,
    ResetResult,
    TsnReset,
)
from transceiver.sctp.reconfiguration import Reconfiguration
from transceiver.sctp.states import State

MASK = 0xFFFF_FFFF
OURS, THEIRS = 1000, 5000
"""The first request numbers of both sides."""


class Bench:
    """A ``Reconfiguration`` with its two directions, and no network."""

    def __init__(self, *, supported: bool = True) -> None:
        self.outbound = Outbound(LIMITS, OURS)
        self.outbound.meet(1_000_000, forward_tsn=True, now=0.0)
        self.inbound = Inbound(THEIRS, LIMITS)
        self.subject = Reconfiguration(LIMITS, OURS, THEIRS, supported=supported)

    def ask(self, *streams: int, now: float = 0.0) -> Parameter | None:
        """Wish for a reset; what is sent."""
        self.subject.want(streams, self.outbound)
        self.subject.advance(self.outbound, now)
        return self.sent()

    def sent(self) -> Parameter | None:
        chunk = self.subject.next_chunk()
        if chunk is None:
            return None
        (parameter,) = chunk.parameters
        return parameter

    def hear(self, *parameters: Parameter, now: float = 0.0) -> Drop | None:
        return self.subject.receive(ReConfig(parameters), self.inbound, self.outbound, now)

    def answer(self, result: ResetResult, number: int, now: float = 0.0) -> Drop | None:
        return self.hear(ReconfigResponse(number, result), now=now)

    def asked(self, request: Parameter) -> ResetResult | None:
        """The answer to a request of the peer."""
        self.hear(request)
        answer = self.sent()
        assert isinstance(answer, ReconfigResponse)
        return ResetResult(answer.result)

    def send(self, stream: int, payload: bytes = b"x") -> None:
        self.outbound.queue.add(
            stream, 51, payload, ordered=True, expires=None, retransmissions=None
        )
        self.outbound.awaken()
        self.outbound.fill(1000, 0.0)

    def acknowledge_all(self) -> None:
        last = self.outbound.outstanding.next_tsn - 1
        self.outbound.receive_sack(Sack(last & MASK, 1_000_000), 0.0)


# --- ours -----------------------------------------------------------------------------------------


def test_a_stream_at_rest_is_reset_at_once() -> None:
    bench = Bench()
    assert bench.ask(1, 2) == OutgoingReset(OURS, THEIRS - 1, OURS - 1, (1, 2))
    assert bench.sent() is None
    assert bench.answer(ResetResult.PERFORMED, OURS) is None
    assert list(bench.subject.happened) == [ResetDone((1, 2), True)]
    assert bench.subject.next_timeout() is None


@pytest.mark.parametrize("result", ResetResult)
def test_every_answer(result: ResetResult) -> None:
    bench = Bench()
    bench.send(1)
    bench.acknowledge_all()
    bench.ask(1)
    assert bench.outbound.queue.stream(1).ssn == 1
    assert bench.answer(result, OURS) is None
    done = list(bench.subject.happened)
    match result:
        case ResetResult.PERFORMED | ResetResult.NOTHING_TO_DO:
            assert done == [ResetDone((1,), True)]
            assert bench.outbound.queue.stream(1).ssn == 0
        case ResetResult.IN_PROGRESS:
            assert done == []
        case _:
            assert done == [ResetDone((1,), False)]
            assert bench.outbound.queue.stream(1).ssn == 1
            assert bench.outbound.queue.stream(1).held is None


def test_it_waits_for_everything_on_its_stream_and_nothing_else() -> None:
    bench = Bench()
    bench.send(1)
    bench.send(2)
    assert bench.ask(1) is None
    first = bench.outbound.outstanding.cumulative + 1
    bench.outbound.receive_sack(Sack(first & MASK, 1_000_000), 0.0)
    bench.subject.advance(bench.outbound, 0.0)
    # The last TSN is the last of all: what the other stream sent has still to come.
    assert bench.sent() == OutgoingReset(OURS, THEIRS - 1, (first + 1) & MASK, (1,))


def test_one_request_at_a_time() -> None:
    bench = Bench()
    assert bench.ask(1) is not None
    assert bench.ask(2, 3) is None
    assert bench.ask(2) is None
    bench.answer(ResetResult.PERFORMED, OURS)
    bench.subject.advance(bench.outbound, 0.0)
    assert bench.sent() == OutgoingReset(OURS + 1, THEIRS - 1, OURS - 1, (2, 3))


def test_very_many_streams_take_several_requests() -> None:
    bench = Bench()
    bench.subject.want(tuple(range(600)), bench.outbound)
    seen: list[int] = []
    for number in range(3):
        bench.subject.advance(bench.outbound, 0.0)
        request = bench.sent()
        assert isinstance(request, OutgoingReset)
        assert len(ReConfig((request,)).encode()) < LIMITS.packet - 100
        seen += request.streams
        bench.answer(ResetResult.PERFORMED, OURS + number)
    assert seen == list(range(600))


def test_an_unanswered_request_is_sent_again_as_it_was() -> None:
    bench = Bench()
    first = bench.ask(1)
    times = []
    for _ in range(4):
        due = bench.subject.next_timeout()
        assert due is not None
        bench.subject.handle_timeout(due)
        times.append(due)
        assert bench.sent() == first
    assert times == [0.5, 1.5, 3.5, 7.5]


def test_in_progress_is_asked_again_under_a_new_number() -> None:
    """Both kinds of peers understand that: those that wait for the same request to come again, and
    those that would answer it as before."""
    bench = Bench()
    bench.ask(1)
    bench.answer(ResetResult.IN_PROGRESS, OURS, now=1.0)
    assert bench.subject.next_timeout() == 1.5
    assert bench.sent() is None
    bench.subject.handle_timeout(1.5)
    assert bench.sent() == OutgoingReset(OURS + 1, THEIRS - 1, OURS - 1, (1,))
    assert bench.answer(ResetResult.PERFORMED, OURS) is Drop.SCTP_REQUEST
    assert bench.answer(ResetResult.PERFORMED, OURS + 1) is None
    assert list(bench.subject.happened) == [ResetDone((1,), True)]


def test_an_answer_that_comes_of_itself_after_in_progress_is_taken() -> None:
    bench = Bench()
    bench.ask(1)
    bench.answer(ResetResult.IN_PROGRESS, OURS)
    bench.answer(ResetResult.PERFORMED, OURS)
    assert list(bench.subject.happened) == [ResetDone((1,), True)]
    assert bench.ask(2) == OutgoingReset(OURS + 1, THEIRS - 1, OURS - 1, (2,))


def test_a_peer_that_does_not_know_the_procedure() -> None:
    bench = Bench(supported=False)
    assert bench.ask(1, 2) is None
    assert list(bench.subject.happened) == [ResetDone((1, 2), False)]
    bench.send(1)
    assert len(bench.outbound.outstanding) == 1


def test_answers_to_nothing() -> None:
    bench = Bench()
    assert bench.answer(ResetResult.PERFORMED, OURS) is Drop.SCTP_REQUEST
    bench.ask(1)
    assert bench.answer(ResetResult.PERFORMED, OURS - 1) is Drop.SCTP_REQUEST
    assert bench.answer(ResetResult.PERFORMED, OURS + 1) is Drop.SCTP_REQUEST
    assert not bench.subject.happened


# --- theirs ---------------------------------------------------------------------------------------


def request(number: int = THEIRS, last: int = THEIRS - 1, *streams: int) -> OutgoingReset:
    return OutgoingReset(number, 0, last, streams)


def test_a_request_in_time() -> None:
    bench = Bench()
    assert bench.asked(request(THEIRS, THEIRS - 1, 1, 2)) is ResetResult.PERFORMED
    assert list(bench.subject.happened) == [StreamsResetByPeer((1, 2))]


def test_the_same_request_again_is_answered_and_not_performed_again() -> None:
    bench = Bench()
    for _ in range(3):
        assert bench.asked(request(THEIRS, THEIRS - 1, 1)) is ResetResult.PERFORMED
    assert list(bench.subject.happened) == [StreamsResetByPeer((1,))]
    assert bench.asked(request(THEIRS + 1, THEIRS - 1, 1)) is ResetResult.PERFORMED
    assert list(bench.subject.happened) == [StreamsResetByPeer((1,))] * 2


@pytest.mark.parametrize("number", [THEIRS - 1, THEIRS + 1, THEIRS + 0x8000_0000, 0])
def test_a_request_out_of_sequence(number: int) -> None:
    bench = Bench()
    assert bench.hear(request(number, THEIRS - 1, 1)) is Drop.SCTP_REQUEST
    assert bench.sent() == ReconfigResponse(number, ResetResult.BAD_SEQUENCE_NUMBER)
    assert not bench.subject.happened
    assert bench.asked(request(THEIRS, THEIRS - 1, 1)) is ResetResult.PERFORMED


def test_streams_that_there_are_not() -> None:
    bench = Bench()
    bad = request(THEIRS, THEIRS - 1, 1, LIMITS.streams)
    assert bench.hear(bad) is Drop.SCTP_REQUEST
    assert bench.sent() == ReconfigResponse(THEIRS, ResetResult.WRONG_SSN)
    assert not bench.subject.happened


def test_a_request_that_comes_too_early_waits_for_its_data() -> None:
    """RFC 6525, 5.2.2, E2: and the answer goes out by itself."""
    bench = Bench()
    assert bench.asked(request(THEIRS, THEIRS, 1)) is ResetResult.IN_PROGRESS
    assert bench.asked(request(THEIRS, THEIRS, 1)) is ResetResult.IN_PROGRESS
    bench.subject.settle(bench.inbound)
    assert not bench.subject.happened
    bench.inbound.receive(Data(THEIRS, 1, 0, 51, b"x", True, True))
    bench.subject.settle(bench.inbound)
    assert list(bench.subject.happened) == [StreamsResetByPeer((1,))]
    assert bench.sent() == ReconfigResponse(THEIRS, ResetResult.PERFORMED)
    # Both kinds of peers may ask once more: by the same number, or by the next.
    assert bench.asked(request(THEIRS, THEIRS, 1)) is ResetResult.PERFORMED
    assert bench.asked(request(THEIRS + 1, THEIRS, 1)) is ResetResult.PERFORMED
    assert list(bench.subject.happened) == [StreamsResetByPeer((1,))]
    # After that it is another reset.
    assert bench.asked(request(THEIRS + 2, THEIRS, 1)) is ResetResult.PERFORMED
    assert list(bench.subject.happened) == [StreamsResetByPeer((1,))] * 2


def test_an_early_request_is_performed_when_it_comes_again_in_time() -> None:
    for again in (THEIRS, THEIRS + 1):
        bench = Bench()
        assert bench.asked(request(THEIRS, THEIRS, 1)) is ResetResult.IN_PROGRESS
        bench.inbound.receive(Data(THEIRS, 1, 0, 51, b"x", True, True))
        assert bench.asked(request(again, THEIRS, 1)) is ResetResult.PERFORMED
        bench.subject.settle(bench.inbound)
        assert list(bench.subject.happened) == [StreamsResetByPeer((1,))]
        assert bench.sent() is None


@pytest.mark.parametrize(
    "wish",
    [
        IncomingReset(THEIRS, (1,)),
        TsnReset(THEIRS),
        AddOutgoingStreams(THEIRS, 5),
        AddIncomingStreams(THEIRS, 5),
    ],
    ids=lambda wish: type(wish).__name__,
)
def test_what_is_denied(wish: Parameter) -> None:
    bench = Bench()
    assert bench.hear(wish) is Drop.SCTP_REQUEST
    assert bench.sent() == ReconfigResponse(THEIRS, ResetResult.DENIED)
    # It had its number all the same.
    assert bench.hear(wish) is None
    assert bench.sent() == ReconfigResponse(THEIRS, ResetResult.DENIED)
    assert bench.asked(request(THEIRS + 1, THEIRS - 1, 1)) is ResetResult.PERFORMED


def test_what_does_not_belong_there() -> None:
    bench = Bench()
    assert bench.hear(ForwardTsnSupported()) is Drop.SCTP_REQUEST
    good = request(THEIRS, THEIRS - 1, 1)
    assert bench.hear(good, good, good) is Drop.SCTP_REQUEST
    assert bench.sent() is None
    assert bench.hear() is None


def test_two_in_one_chunk_are_answered_in_one() -> None:
    bench = Bench()
    bench.ask(7)
    both = (request(THEIRS, THEIRS - 1, 1), ReconfigResponse(OURS, ResetResult.PERFORMED))
    assert bench.hear(*both) is None
    assert list(bench.subject.happened) == [StreamsResetByPeer((1,)), ResetDone((7,), True)]
    bench = Bench()
    bench.hear(request(THEIRS, THEIRS - 1, 1), request(THEIRS + 1, THEIRS - 1, 2))
    chunk = bench.subject.next_chunk()
    assert chunk is not None
    assert chunk.parameters == (
        ReconfigResponse(THEIRS, ResetResult.PERFORMED),
        ReconfigResponse(THEIRS + 1, ResetResult.PERFORMED),
    )


# --- between two associations ---------------------------------------------------------------------


def test_all_streams_at_once() -> None:
    """No stream named means all (RFC 6525, 4.1): every one begins again at zero."""
    pair = Pair.connected()
    a = pair.a.association
    for stream in (1, 2):
        pair.b.association.send(stream, 51, b"before", pair.now)
    pair.run(1)
    asked = OutgoingReset(next_request(pair), 0, (next_tsn(pair) - 1) & MASK, ())
    a.receive_packet(to(a, ReConfig((asked,))), pair.now)
    assert StreamsResetByPeer(()) in events(a)
    for stream in (1, 2):
        a.receive_packet(
            to(a, Data(next_tsn(pair) + stream - 1, stream, 0, 51, b"after", True, True)), pair.now
        )
    assert [event.payload for event in events(a) if isinstance(event, MessageReceived)] == [
        b"after",
        b"after",
    ]


def next_request(pair: Pair) -> int:
    """The request number that ``b`` would use next."""
    transfer = pair.b.association._block.transfer
    assert transfer is not None
    return transfer.reconfiguration.number


def test_both_reset_at_once() -> None:
    pair = Pair.connected()
    for side in (pair.a, pair.b):
        side.association.send(1, 51, b"last", pair.now)
        side.association.reset_streams([1], pair.now)
    pair.run(2)
    for side in (pair.a, pair.b):
        assert side.messages() == [b"last"]
        assert ResetDone((1,), True) in side.events
        assert StreamsResetByPeer((1,)) in side.events


def test_a_reset_does_not_wait_for_a_delayed_acknowledgement() -> None:
    """The last chunk asks to be acknowledged at once, where the wish is known by then."""
    pair = Pair.connected()
    start = pair.now
    pair.a.association.send(1, 51, b"last", pair.now)
    pair.run(0.5)
    pair.a.association.send(1, 51, b"last", pair.now)
    pair.a.association.reset_streams([1], pair.now)
    start = pair.now
    pair.run(2, until=lambda: ResetDone((1,), True) in pair.a.events)
    assert pair.now - start < LIMITS.delayed_ack


def test_a_wish_from_before_there_was_a_peer() -> None:
    pair = Pair.make()
    a = pair.a.association
    a.send(1, 51, b"before", 0.0)
    a.reset_streams([1], 0.0)
    a.send(1, 51, b"after", 0.0)
    a.connect(0.0)
    pair.run(2)
    told = [
        event.payload if isinstance(event, MessageReceived) else type(event).__name__
        for event in pair.b.events
    ]
    assert told == ["Connected", b"before", "StreamsResetByPeer", b"after"]


def test_a_reset_loop_is_bounded() -> None:
    """A peer that resets without end is answered so many times in a second, and no more events are
    made of it than that."""
    pair = Pair.connected()
    a = pair.a.association
    number, last = next_request(pair), (next_tsn(pair) - 1) & MASK
    for offset in range(2000):
        asked = OutgoingReset((number + offset) & MASK, 0, last, (1,))
        a.receive_packet(to(a, ReConfig((asked,))), pair.now)
        transmits(a)
    found = events(a)
    done = found.count(StreamsResetByPeer((1,)))
    assert done == 2 * LIMITS.control_rate
    assert found.count(Dropped(Drop.SCTP_RATE)) == 2000 - done


def test_closing_waits_for_what_is_held_behind_a_reset() -> None:
    pair = Pair.connected()
    a = pair.a.association
    a.reset_streams([1], pair.now)
    a.send(1, 51, b"next life", pair.now)
    a.shutdown(pair.now)
    pair.run(5)
    assert pair.b.messages(1) == [b"next life"]
    for side in (pair.a, pair.b):
        assert side.association.state is State.CLOSED
