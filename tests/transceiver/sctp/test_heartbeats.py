"""When an association asks how long the way is, and what it believes of the answers."""

import pytest
from attrs import evolve

from sctp_pair import LIMITS, Pair, chunks, kinds, prompt, transmits
from sctp_states import in_state, to
from stunroute.trace import Drop
from transceiver.sctp.chunks import CookieAck, Heartbeat, HeartbeatAck
from transceiver.sctp.states import State


def test_heartbeats_when_nothing_is_under_way() -> None:
    pair = Pair.connected()
    pair.run(3 * LIMITS.heartbeat_interval + 1)
    assert [kinds(data) for _, data in pair.a.sent] == [["Heartbeat"], ["HeartbeatAck"]] * 3 or [
        kinds(data) for _, data in pair.a.sent
    ] == [["HeartbeatAck"], ["Heartbeat"]] * 3
    assert pair.a.association._block.outbound.round_trip.smoothed == pytest.approx(0.02)


def test_a_heartbeat_that_overtakes_the_cookie_ack_is_answered_behind_it() -> None:
    """rfc9260/8.3/3."""
    pair = in_state(State.COOKIE_ECHOED)
    a = pair.a.association
    a.receive_packet(to(a, Heartbeat(b"early")), pair.now)
    assert transmits(a) == []
    a.receive_packet(to(a, CookieAck()), pair.now)
    (said,) = transmits(a)
    assert chunks(said)[0] == HeartbeatAck(b"early")


def test_only_the_answer_to_the_last_heartbeat_measures() -> None:
    pair = Pair.connected(lambda data: [])
    a = pair.a.association
    a.handle_timeout(pair.now + LIMITS.heartbeat_interval)
    (beat,) = chunks(transmits(a)[0])
    assert isinstance(beat, Heartbeat)
    now = pair.now + LIMITS.heartbeat_interval + 0.25
    a.receive_packet(to(a, HeartbeatAck(b"other")), now)
    a.receive_packet(to(a, HeartbeatAck(beat.info)), now)
    a.receive_packet(to(a, HeartbeatAck(beat.info)), now + 5)
    pair.settle()
    assert pair.a.drops() == [Drop.SCTP_UNEXPECTED] * 2
    assert a._block.outbound.round_trip.smoothed == pytest.approx(0.25)


def test_what_was_lost_goes_again_when_the_peer_is_heard_elsewhere() -> None:
    """One packet of it, and nothing where there was no loss."""
    pair = Pair.connected()
    a = pair.a.association
    a.send(1, 53, bytes(5000), pair.now)
    pair.fate = lambda data: []
    pair.settle()
    pair.a.sent.clear()
    a.retry(pair.now)
    pair.settle()
    assert pair.a.sent == []
    pair.run(20)
    before, due = pair.now, a.next_timeout()
    assert due is not None
    assert due > before + 2
    pair.fate = prompt
    pair.a.sent.clear()
    a.retry(before)
    pair.settle()
    assert [kinds(data) for _, data in pair.a.sent] == [["Heartbeat"], ["Data"]]
    pair.run(0.5)
    assert pair.b.messages() == [bytes(5000)]
    pair.a.sent.clear()
    a.retry(pair.now)
    pair.settle()
    assert pair.a.sent == []


def test_a_shut_window_is_not_asked_for_more_often() -> None:
    pair = Pair.connected(limits=evolve(LIMITS, receive_window=5000, events=2))
    a = pair.a.association
    pair.b.fetching = False
    for _ in range(10):
        a.send(1, 53, bytes(2000), pair.now)
    pair.run(30)
    pair.a.sent.clear()
    a.retry(pair.now)
    pair.settle()
    assert pair.a.sent == []


def test_a_heartbeat_measures_when_what_is_sent_again_cannot() -> None:
    """After losses in a row the wait for the next one is short again, though nothing new was sent
    whose acknowledgement would be unambiguous."""
    pair = Pair.connected()
    a = pair.a.association
    a.send(1, 53, b"measured", pair.now)
    pair.run(1)
    round_trip = a._block.outbound.round_trip
    usual = round_trip.timeout
    pair.fate = lambda data: []
    a.send(1, 53, bytes(500), pair.now)
    pair.run(5)
    again = [kinds(data) for _, data in pair.a.sent if "Heartbeat" in kinds(data)]
    assert again == [["Heartbeat", "Data"]] * len(again)
    assert len(again) >= 3
    assert round_trip.timeout >= 8 * usual
    pair.fate = prompt
    pair.run(10)
    assert pair.b.messages() == [b"measured", bytes(500)]
    assert round_trip.timeout == pytest.approx(usual, rel=0.2)
