"""Which tag a packet bears, and who reflects it (RFC 9260, 8.4 and 8.5)."""

import pytest

from sctp_pair import Pair, Side, events, transmits
from sctp_states import ENDED, in_state, tag_of, to
from transceiver.sctp import packet
from transceiver.sctp.chunks import Abort, Heartbeat, Init, ShutdownAck, ShutdownComplete
from transceiver.sctp.events import Connected
from transceiver.sctp.packet import Packet
from transceiver.sctp.states import State


def said(side: Side) -> list[Packet]:
    return [
        packet.decode_untrusted(data, accept_zero_checksum=True)
        for data in transmits(side.association)
    ]


def test_each_packet_bears_the_tag_that_its_receiver_has_told() -> None:
    """rfc9260/8.5/1, with rfc9260/8.5.1/1 and rfc9260/8.5.1/12: INIT alone bears none."""
    pair = Pair.make()
    pair.a.association.connect(0.0)
    for side in (pair.a, pair.b):
        side.association.send(1, 51, b"hello", 0.0)
    tags = {id(pair.a): tag_of(pair.b.association), id(pair.b): tag_of(pair.a.association)}
    pair.run(1)
    for side in (pair.a, pair.b):
        side.association.reset_streams([1], pair.now)
    pair.run(40)
    pair.a.association.shutdown(pair.now)
    pair.run(1)
    for side in (pair.a, pair.b):
        assert len(side.sent) > 5
        for _, data in side.sent:
            read = packet.decode_untrusted(data, accept_zero_checksum=True)
            expected = 0 if isinstance(read.chunks[0], Init) else tags[id(side)]
            assert read.tag == expected


@pytest.mark.parametrize("state", [State.SHUTDOWN_SENT, State.SHUTDOWN_ACK_SENT])
def test_the_last_packet_of_an_association_bears_the_peers_tag(state: State) -> None:
    """rfc9260/8.5.1/8."""
    pair = in_state(state)
    a = pair.a.association
    a.receive_packet(to(a, ShutdownAck()), pair.now)
    (last,) = said(pair.a)
    assert last.chunks == (ShutdownComplete(),)
    assert last.tag == tag_of(pair.b.association)


@pytest.mark.parametrize("state", [ENDED, State.CLOSED, State.COOKIE_WAIT, State.COOKIE_ECHOED])
def test_a_shutdown_ack_from_nowhere_gets_its_own_tag_back(state: State | str) -> None:
    """rfc9260/8.4/7, rfc9260/8.5.1/9."""
    pair = in_state(state)
    a = pair.a.association
    before = a.state
    a.receive_packet(to(a, ShutdownAck(), tag=4711), pair.now)
    (answer,) = said(pair.a)
    assert answer.chunks == (ShutdownComplete(reflected=True),)
    assert answer.tag == 4711
    assert a.state is before


def test_what_comes_from_nowhere_is_read_no_further() -> None:
    """rfc9260/8.4/11 and rfc9260/8.4/12."""
    pair = in_state(ENDED)
    a = pair.a.association
    events(a)
    a.receive_packet(to(a, Heartbeat(b"x"), ShutdownAck(), Heartbeat(b"y"), tag=4711), pair.now)
    (answer,) = said(pair.a)
    assert answer.chunks == (Abort(reflected=True),)
    assert answer.tag == 4711
    assert not any(isinstance(event, Connected) for event in events(a))


def test_an_abort_of_ours_bears_the_peers_tag() -> None:
    """rfc9260/8.5.1/4, rfc9260/9.1/1, rfc9260/9.1/2: alone, whatever waits to be sent."""
    pair = Pair.connected(lambda data: [])
    a = pair.a.association
    a.send(1, 51, b"never sent", pair.now)
    a.abort(pair.now, "enough")
    (last,) = said(pair.a)
    assert [type(chunk) for chunk in last.chunks] == [Abort]
    assert not last.chunks[0].reflected  # type: ignore[union-attr]
    assert last.tag == tag_of(pair.b.association)
