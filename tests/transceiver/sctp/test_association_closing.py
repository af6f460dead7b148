"""How an association ends: in good order, at once, or by its peer."""

import pytest

from sctp_pair import (
    Pair,
    chunks,
    drops,
    events,
    kinds,
    transmits,
)
from sctp_states import in_state, next_tsn, tag_of, to
from stunroute.trace import Drop
from transceiver.sctp import packet
from transceiver.sctp.association import NotConnected
from transceiver.sctp.causes import NoUserData, ProtocolViolation, UserAbort
from transceiver.sctp.chunks import (
    Abort,
    Data,
    ForwardTsn,
    Sack,
    Shutdown,
)
from transceiver.sctp.events import (
    Closed,
    MessageReceived,
)
from transceiver.sctp.states import State


def test_closing_in_good_order() -> None:
    pair = Pair.connected()
    a, b = pair.a.association, pair.b.association
    for side in (a, b):
        side.send(1, 53, bytes(30_000), pair.now)
    a.shutdown(pair.now)
    with pytest.raises(NotConnected):
        a.send(1, 53, b"too late", pair.now)
    pair.run(5)
    assert [len(message) for message in pair.a.messages() + pair.b.messages()] == [30_000] * 2
    assert pair.a.others()[-1] == Closed("closed", False)
    assert pair.b.others()[-1] == Closed("closed", True)
    assert a.next_timeout() is None
    assert b.next_timeout() is None
    for side in (a, b):
        with pytest.raises(NotConnected):
            side.send(1, 53, b"too late", pair.now)


@pytest.mark.parametrize(
    "state",
    [State.SHUTDOWN_PENDING, State.SHUTDOWN_SENT, State.SHUTDOWN_RECEIVED, State.SHUTDOWN_ACK_SENT],
)
def test_nothing_new_is_taken_once_it_is_closing(state: State) -> None:
    """rfc9260/4/10, rfc9260/4/12, rfc9260/9.2/9."""
    pair = in_state(state)
    with pytest.raises(NotConnected):
        pair.a.association.send(1, 53, b"too late", pair.now)
    assert pair.a.association.buffered_amount(1) == 0


@pytest.mark.parametrize("last", ["DATA", "FORWARD TSN"])
def test_no_timer_stays_due_for_a_peer_that_ends_unacknowledged(last: str) -> None:
    """DATA whose acknowledgement may wait, then SHUTDOWN before that has gone: once it was due, no
    packet took it along, and ``next_timeout`` said "now" for as long as the peer kept silent. Found
    by fuzzing (``core.sctp--shutdown-unacknowledged.bin``)."""
    pair = in_state(State.ESTABLISHED)
    a = pair.a.association
    for number in range(2):  # the first packet of all is acknowledged at once
        data = Data((next_tsn(pair) + number) & 0xFFFF_FFFF, 1, number, 53, b"x", True, True)
        a.receive_packet(to(a, data), pair.now)
    outstanding = a._block.outbound.outstanding
    a.receive_packet(to(a, Shutdown(outstanding.cumulative & 0xFFFF_FFFF)), pair.now)
    if last == "FORWARD TSN":
        a.receive_packet(to(a, ForwardTsn((next_tsn(pair) + 5) & 0xFFFF_FFFF)), pair.now)
    assert a.state is State.SHUTDOWN_ACK_SENT
    times = []
    for _ in range(20):
        transmits(a)
        events(a)
        due = a.next_timeout()
        assert due is not None
        times.append(due)
        a.handle_timeout(due)
    assert times[-1] > pair.now + 5.0  # time goes on, from one SHUTDOWN ACK to the next


def test_what_is_under_way_goes_again_after_the_peer_wants_to_close() -> None:
    """rfc9260/4/11 and rfc9260/9.2/9: until it has come, and only then SHUTDOWN ACK."""
    pair = in_state(State.SHUTDOWN_RECEIVED)
    a = pair.a.association
    pair.a.sent.clear()
    pair.run(3)
    said = [kind for _, data in pair.a.sent for kind in kinds(data)]
    assert said.count("Data") >= 2
    assert "ShutdownAck" not in said
    out = a._block.outbound.outstanding.next_tsn - 1
    a.receive_packet(to(a, Sack(out & 0xFFFF_FFFF, 1000)), pair.now)
    assert "ShutdownAck" in [kind for data in transmits(a) for kind in kinds(data)]


def test_data_after_our_shutdown_is_answered_at_once() -> None:
    """rfc9260/4/9, rfc9260/9.2/10, rfc9260/9.2/11: with SHUTDOWN, and a SACK for what lies beyond a
    gap; and T2 begins again."""
    pair = in_state(State.SHUTDOWN_SENT)
    a = pair.a.association
    first = next_tsn(pair)
    for count, offset in enumerate((0, 2, 2, 3)):
        now = pair.now + count * 0.1
        a.receive_packet(
            to(a, Data((first + offset) & 0xFFFF_FFFF, 1, 0, 51, b"x", True, True)), now
        )
        (said,) = transmits(a)
        shutdown, sack = chunks(said)
        assert shutdown == Shutdown(first)
        assert isinstance(sack, Sack)
        assert sack.cumulative == first
        assert sack.gaps == ((), ((2, 2),), ((2, 2),), ((2, 3),))[count]
        assert a._block.state.timer.deadline == pytest.approx(  # type: ignore[union-attr]
            now + a._block.outbound.round_trip.timeout
        )


def test_both_may_close_at_once() -> None:
    pair = Pair.connected()
    for side in (pair.a, pair.b):
        side.association.shutdown(pair.now)
    pair.run(5)
    for side in (pair.a, pair.b):
        assert [type(event) for event in side.others()] == [Closed]
        assert side.association.state is State.CLOSED


@pytest.mark.parametrize("lost", ["Shutdown", "ShutdownAck", "ShutdownComplete"])
def test_every_packet_of_the_closing_may_be_lost(lost: str) -> None:
    pair = Pair.connected()
    left = 2

    def fate(data: bytes) -> list[float]:
        nonlocal left
        if kinds(data)[0] == lost and left:
            left -= 1
            return []
        return [0.01]

    pair.fate = fate
    pair.a.association.shutdown(pair.now)
    pair.run(20)
    for side in (pair.a, pair.b):
        assert side.association.state is State.CLOSED
        assert [type(event) for event in side.others()] == [Closed]


def test_the_owner_may_end_it_at_once() -> None:
    pair = Pair.connected()
    pair.a.association.abort(pair.now, "enough " * 100)
    pair.run(1)
    assert isinstance(pair.a.others()[-1], Closed)
    ended = pair.b.others()[-1]
    assert isinstance(ended, Closed)
    assert ended.by_peer
    assert ended.reason.startswith("the peer gave up: enough enough")
    assert len(ended.reason) < 250


@pytest.mark.parametrize(
    ("causes", "reason"),
    [
        ((), "the peer gave up"),
        ((UserAbort(""),), "the peer gave up with cause 12"),
        ((ProtocolViolation("bad"),), "the peer gave up: bad"),
        ((NoUserData(5),), "the peer gave up with cause 9"),
    ],
)
def test_why_the_peer_gave_up(causes: tuple, reason: str) -> None:  # type: ignore[type-arg]
    pair = Pair.connected()
    a = pair.a.association
    a.receive_packet(to(a, Abort(causes)), pair.now)
    assert events(a) == [Closed(reason, True)]
    assert transmits(a) == []


def test_an_abort_that_cannot_be_read_ends_nothing() -> None:
    """rfc9260/3.3.7/4."""
    pair = Pair.connected()
    a = pair.a.association
    bad = bytes.fromhex("06 00 0008 0001 0003")  # a cause shorter than its own header
    a.receive_packet(packet.assemble(5000, 5000, tag_of(a), [bad]), pair.now)
    assert drops(pair.a) == [Drop.SCTP_MALFORMED]
    assert transmits(a) == []
    assert a.state is State.ESTABLISHED


def test_messages_come_before_the_end() -> None:
    pair = Pair.connected()
    a = pair.a.association
    data = Data(next_tsn(pair), 1, 0, 51, b"last words", True, True)
    a.receive_packet(to(a, data, Abort()), pair.now)
    assert [type(event) for event in events(a)] == [MessageReceived, Closed]


def test_nothing_is_kept_after_the_end() -> None:
    pair = Pair.connected(lambda data: [])
    a = pair.a.association
    for _ in range(100):
        a.send(1, 53, bytes(10_000), pair.now)
    a.abort(pair.now)
    assert a._block.outbound.queue.charged == 0
    assert a.buffered_amount(1) == 0
    a.reset_streams([1], pair.now)
    a.connect(pair.now)
    a.shutdown(pair.now)
    a.abort(pair.now)
    assert [type(event) for event in events(a)] == [Closed]
