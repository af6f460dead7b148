"""How an association begins: from either side, again, and with what is left of earlier tries."""

import itertools

import pytest
from attrs import evolve

from sctp_pair import (
    LIMITS,
    Pair,
    Side,
    chunks,
    drops,
    events,
    kinds,
    make_association,
    transmits,
)
from sctp_states import in_state, next_tsn, tag_of, to
from stunroute.trace import Drop
from transceiver.sctp import packet
from transceiver.sctp.causes import (
    ProtocolViolation,
    StaleCookie,
)
from transceiver.sctp.chunks import (
    CookieEcho,
    Data,
    Error,
    Heartbeat,
    Init,
    InitAck,
    Sack,
)
from transceiver.sctp.cookie import NO_TIE
from transceiver.sctp.events import (
    BufferedAmountLow,
    Closed,
    Connected,
    Dropped,
    Restarted,
)
from transceiver.sctp.parameters import (
    ForwardTsnSupported,
    StateCookie,
)
from transceiver.sctp.states import State


def handshake_kinds(pair: Pair) -> list[list[str]]:
    sent = sorted(
        (at, index, data) for index, side in enumerate((pair.a, pair.b)) for at, data in side.sent
    )
    return [kinds(data) for _, _, data in sent]


# --- opening --------------------------------------------------------------------------------------


def test_four_packets_open_it() -> None:
    pair = Pair.make()
    pair.a.association.connect(0.0)
    pair.run(1)
    assert handshake_kinds(pair) == [["Init"], ["InitAck"], ["CookieEcho"], ["CookieAck"]]
    for side in (pair.a, pair.b):
        assert side.events == [Connected(LIMITS.streams, LIMITS.streams)]
        assert side.association.state is State.ESTABLISHED


def test_the_first_messages_travel_with_the_handshake() -> None:
    pair = Pair.make()
    for payload in (b"one", b"two"):
        pair.a.association.send(0, 51, payload, 0.0)
    pair.b.association.send(0, 51, b"three", 0.0)
    pair.a.association.connect(0.0)
    pair.run(1)
    assert handshake_kinds(pair)[2:4] == [
        ["CookieEcho", "Data", "Data"],
        ["CookieAck", "Sack", "Data"],
    ]
    assert pair.b.messages() == [b"one", b"two"]
    assert pair.a.messages() == [b"three"]


def test_nothing_but_the_cookie_goes_until_it_is_acknowledged() -> None:
    """rfc9260/5.1/7, rfc9260/6/1: whatever is to be sent, and whatever comes."""
    pair = Pair.make(lambda data: [])
    a = pair.a.association
    a.send(1, 51, b"before", 0.0)
    a.connect(0.0)
    assert [kinds(data) for data in transmits(a)] == [["Init"]]
    pair = in_state(State.COOKIE_ECHOED)
    a = pair.a.association
    a.send(1, 51, b"hello", pair.now)
    a.reset_streams([2], pair.now)
    for chunk in (
        Data(next_tsn(pair), 1, 0, 51, b"early", True, True),
        Heartbeat(b"x"),
        Sack(1, 1),
    ):
        a.receive_packet(to(a, chunk), pair.now)
        assert transmits(a) == []
    pair.a.sent.clear()
    pair.run(3)
    assert pair.a.sent
    assert {tuple(kinds(data)) for _, data in pair.a.sent} == {("CookieEcho", "Data")}


def test_both_may_begin() -> None:
    """RFC 9260, 5.2.1: they end up with one association and are told so once."""
    for delays in ((0.01, 0.01), (0.01, 0.3), (0.3, 0.01)):
        pair = Pair.make()
        sides = {"a": delays[0], "b": delays[1]}
        pair.fate = (
            lambda data, pair=pair, sides=sides: [  # type: ignore[misc]
                sides["a" if any(data is sent for _, sent in pair.a.sent[-1:]) else "b"]
            ]
        )
        for side in (pair.a, pair.b):
            side.association.connect(0.0)
            side.association.send(3, 51, side.name.encode(), 0.0)
        pair.run(5)
        for side, heard in ((pair.a, b"b"), (pair.b, b"a")):
            connected = [event for event in side.events if isinstance(event, Connected)]
            assert len(connected) == 1
            assert side.messages() == [heard]
            assert not side.drops() or set(side.drops()) <= {
                Drop.SCTP_UNEXPECTED,
                Drop.SCTP_DUPLICATE,
            }


def test_the_number_of_streams_is_what_both_can() -> None:
    pair = Pair.make(limits=LIMITS, other_limits=evolve(LIMITS, streams=16))
    a = pair.a.association
    a.send(15, 51, b"last", 0.0)
    a.send(16, 51, b"none such", 0.0)
    a.reset_streams([16], 0.0)
    a.connect(0.0)
    pair.run(1)
    assert pair.a.others() == [BufferedAmountLow(15), Connected(16, 16)]
    assert (a.outbound_streams, a.inbound_streams) == (16, 16)
    assert pair.b.messages() == [b"last"]
    for number in (-1, 16):
        with pytest.raises(ValueError, match="stream"):
            a.send(number, 51, b"x", pair.now)
        with pytest.raises(ValueError, match="stream"):
            a.reset_streams([number], pair.now)
    assert a.buffered_amount(16) == 0


@pytest.mark.parametrize("lost", ["Init", "InitAck", "CookieEcho", "CookieAck"])
def test_every_packet_of_the_handshake_may_be_lost(lost: str) -> None:
    """T1 has them sent again: after half a second, then after one and two."""
    pair = Pair.make()
    left = 3

    def fate(data: bytes) -> list[float]:
        nonlocal left
        if kinds(data)[0] == lost and left:
            left -= 1
            return []
        return [0.01]

    pair.fate = fate
    pair.a.association.send(0, 51, b"hello", 0.0)
    pair.a.association.connect(0.0)
    pair.run(10, until=lambda: pair.b.messages() == [b"hello"])
    repeated = "Init" if lost in ("Init", "InitAck") else "CookieEcho"
    pair.run(5)
    times = [at for at, data in pair.a.sent if kinds(data)[0] == repeated]
    assert [after - before for before, after in itertools.pairwise(times)] == (
        pytest.approx([0.5, 1.0, 2.0])
    )
    assert pair.b.messages() == [b"hello"]
    assert pair.a.association.state is State.ESTABLISHED


def test_without_a_bound_it_goes_on_trying() -> None:
    pair = Pair.make(lambda data: [])
    pair.a.association.connect(0.0)
    pair.run(600)
    assert pair.a.association.state is State.COOKIE_WAIT
    # Ten seconds between, at the most.
    assert 60 <= len(pair.a.sent) <= 70


def test_with_a_bound_it_gives_up() -> None:
    pair = Pair.make(lambda data: [], evolve(LIMITS, init_retransmissions=2))
    pair.a.association.connect(0.0)
    pair.run(600)
    assert len(pair.a.sent) == 3
    assert pair.a.events == [Closed("the peer does not answer", False)]


def test_a_cookie_that_stays_unanswered_is_given_up() -> None:
    """rfc9260/4/7 and rfc9260/4/8."""
    pair = Pair.make(
        lambda data: [] if kinds(data)[0] == "CookieEcho" else [0.01],
        evolve(LIMITS, init_retransmissions=2),
    )
    pair.a.association.connect(0.0)
    pair.run(600)
    assert [kinds(data)[0] for _, data in pair.a.sent] == ["Init"] + ["CookieEcho"] * 3
    assert pair.a.events == [Closed("the peer does not answer", False)]


def test_answering_an_init_leaves_no_trace() -> None:
    """RFC 9260, 5.1: whoever only sends INITs costs nothing."""
    side = make_association()
    fresh = make_association()
    for number in range(20):
        init = Init(number + 1, 100_000, 10, 10, number)
        side.receive_packet(packet.encode(5000, 5000, 0, [init]), 0.0)
        (answer,) = chunks(transmits(side)[0])
        assert isinstance(answer, InitAck)
    assert side.state is State.CLOSED
    assert side.next_timeout() is None
    assert side._block.transfer is None
    assert side._block.outbound.queue.charged == fresh._block.outbound.queue.charged


def test_a_stale_cookie_is_refused_and_its_peer_begins_again() -> None:
    pair = Pair.make()
    held: list[bytes] = []

    def fate(data: bytes) -> list[float]:
        if kinds(data)[0] == "CookieEcho" and not held:
            held.append(data)
            return [61.0]
        return [] if kinds(data)[0] == "CookieEcho" and pair.now < 61 else [0.01]

    pair.fate = fate
    pair.a.association.send(0, 51, b"hello", 0.0)
    pair.a.association.connect(0.0)
    pair.run(61.02)
    assert Drop.SCTP_COOKIE in pair.b.drops()
    stale = [chunks(data)[0] for _, data in pair.b.sent if kinds(data) == ["Error"]]
    assert stale
    assert isinstance(stale[0], Error)
    assert isinstance(stale[0].causes[0], StaleCookie)
    assert 900_000 < stale[0].causes[0].staleness < 1_100_000
    pair.run(20)
    assert pair.b.messages() == [b"hello"]
    assert pair.a.association.state is State.ESTABLISHED


def test_a_cookie_that_is_not_ours() -> None:
    pair = in_state(State.CLOSED)
    pair.a.association.receive_packet(to(pair.a.association, CookieEcho(bytes(67))), 0.0)
    assert drops(pair.a) == [Drop.SCTP_COOKIE]
    assert pair.a.association.state is State.CLOSED


def test_a_cookie_under_another_tag() -> None:
    a = make_association()
    a.receive_packet(packet.encode(5000, 5000, 0, [Init(7, 100_000, 10, 10, 8)]), 0.0)
    (answer,) = chunks(transmits(a)[0])
    assert isinstance(answer, InitAck)
    cookie = next(one.cookie for one in answer.parameters if isinstance(one, StateCookie))
    a.receive_packet(to(a, CookieEcho(cookie), tag=answer.tag ^ 1), 0.0)
    assert events(a) == [Dropped(Drop.SCTP_TAG)]
    a.receive_packet(to(a, CookieEcho(cookie), tag=answer.tag), 0.0)
    assert a.state is State.ESTABLISHED


def test_a_peer_that_lost_its_memory_is_recognised() -> None:
    """RFC 9260, 5.2.4.1."""
    pair = Pair.connected()
    a = pair.a.association
    a.send(1, 51, b"before", pair.now)
    pair.b = Side("b", make_association("reborn"))
    pair.b.association.connect(pair.now)
    pair.b.association.send(2, 51, b"afresh", pair.now)
    pair.run(5)
    assert pair.a.others() == [BufferedAmountLow(1), Restarted()]
    assert pair.a.messages() == [b"afresh"]
    assert pair.b.messages() == []
    a.send(1, 51, b"after", pair.now)
    pair.run(1)
    assert pair.b.messages() == [b"after"]


def test_after_a_restart_the_window_is_a_new_one() -> None:
    """rfc9260/5.2.4/6."""
    pair = Pair.connected()
    outbound = pair.a.association._block.outbound
    fresh = outbound.congestion.window
    outbound.congestion.lose(1)
    outbound.congestion.time_out()
    outbound.round_trip.measure(5.0)
    pair.b = Side("b", make_association("reborn"))
    pair.b.association.connect(pair.now)
    pair.run(1)
    assert Restarted() in pair.a.others()
    outbound = pair.a.association._block.outbound
    assert (outbound.congestion.window, outbound.congestion.recovering) == (fresh, False)
    assert outbound.round_trip.smoothed is None


def test_a_stale_cookie_changes_nothing_where_an_association_stands() -> None:
    """rfc9260/5.2.4/2."""
    pair = Pair.connected()
    cookie, tag = cookie_for(pair, Init(77, 100_000, 10, 10, 88))
    a = pair.a.association
    before = tag_of(a)
    a.receive_packet(to(a, CookieEcho(cookie), tag=tag), pair.now + LIMITS.cookie_lifetime + 1)
    said = [chunk for data in transmits(a) for chunk in chunks(data)]
    assert any(isinstance(one, Error) and isinstance(one.causes[0], StaleCookie) for one in said)
    assert (a.state, tag_of(a)) == (State.ESTABLISHED, before)


@pytest.mark.parametrize(
    "state", [State.CLOSED, State.COOKIE_WAIT, State.COOKIE_ECHOED, State.ESTABLISHED]
)
def test_what_an_init_is_answered_with(state: State) -> None:
    """rfc9260/5.2.1/1, rfc9260/5.2.1/6, rfc9260/5.2.1/12, rfc9260/5.2.2/6 to rfc9260/5.2.2/11: the
    tag that both sides began with, or a new one where all was settled; the cookie knows of the
    association that stands, if one does; and nothing changes."""
    pair = in_state(state)
    a = pair.a.association
    block = a._block
    before = (a.state, tag_of(a), block.outbound.tsn, block.tie)
    cookie, tag = cookie_for(pair, Init(77, 100_000, 10, 10, 88))
    assert (a.state, tag_of(a), block.outbound.tsn, block.tie) == before
    read = block.greeter.read_untrusted(cookie)
    assert read.own_tag == tag
    assert (read.own_tsn == block.outbound.tsn) is (state is not State.ESTABLISHED)
    assert (tag == tag_of(a)) is (state is not State.ESTABLISHED)
    known = state in (State.COOKIE_ECHOED, State.ESTABLISHED)
    assert read.tie == block.tie
    assert (read.tie != NO_TIE) is known
    if state is State.COOKIE_WAIT:
        assert a.next_timeout() is not None, "T1 goes on"


def test_an_init_alone_changes_nothing() -> None:
    """A restart is only believed when its COOKIE ECHO has come."""
    pair = Pair.connected()
    a = pair.a.association
    tag = tag_of(a)
    for number in range(5):
        a.receive_packet(packet.encode(5000, 5000, 0, [Init(9, 1500, 1, 1, number)]), pair.now)
    answers = [chunks(data)[0] for data in transmits(a)]
    assert len({answer.tag for answer in answers if isinstance(answer, InitAck)}) == 5
    assert tag_of(a) == tag
    a.send(1, 51, b"still here", pair.now)
    pair.run(1)
    assert pair.b.messages() == [b"still here"]


def test_a_restart_during_the_last_words_is_put_off() -> None:
    """RFC 9260, 5.2.4, action A: the peer hears that we are closing."""
    pair = in_state(State.SHUTDOWN_RECEIVED)
    a = pair.a.association
    a.receive_packet(packet.encode(5000, 5000, 0, [Init(9, 100_000, 5, 5, 1)]), pair.now)
    (answer,) = chunks(transmits(a)[-1])
    assert isinstance(answer, InitAck)
    cookie = next(one.cookie for one in answer.parameters if isinstance(one, StateCookie))
    out = a._block.outbound.outstanding.next_tsn - 1
    a.receive_packet(to(a, Sack(out & 0xFFFF_FFFF, 1000)), pair.now)
    assert a.state is State.SHUTDOWN_ACK_SENT
    transmits(a)
    a.receive_packet(to(a, CookieEcho(cookie), tag=answer.tag), pair.now)
    assert [kinds(data) for data in transmits(a)] == [["ShutdownAck", "Error"]]
    assert drops(pair.a) == [Drop.SCTP_COOKIE]
    assert a.state is State.SHUTDOWN_ACK_SENT


# --- the same again -------------------------------------------------------------------------------


def test_the_same_story_gives_the_same_bytes() -> None:
    def story() -> list[bytes]:
        pair = Pair.make(seed="again")
        pair.a.association.connect(0.0)
        for number in range(50):
            pair.a.association.send(number % 7, 53, bytes(number * 50 + 1), pair.now)
        pair.a.association.reset_streams([3, 1, 2], 0.0)
        pair.run(40)
        return [data for side in (pair.a, pair.b) for _, data in side.sent]

    assert story() == story()


def test_time_is_only_compared_with_itself() -> None:
    """The clock may begin anywhere."""
    pair = Pair.make()
    pair.now = 1e9
    pair.a.association.connect(pair.now)
    pair.a.association.send(1, 53, bytes(5000), pair.now)
    pair.run(1)
    assert [len(message) for message in pair.b.messages()] == [5000]
    assert ForwardTsnSupported() in chunks(pair.a.sent[0][1])[0].parameters  # type: ignore[union-attr]


# --- leftovers of the handshake -------------------------------------------------------------------


def cookie_for(pair: Pair, init: Init) -> tuple[bytes, int]:
    """The cookie, and the tag, with which ``a`` answers an INIT."""
    a = pair.a.association
    a.receive_packet(packet.encode(5000, 5000, 0, [init]), pair.now)
    read = packet.decode_untrusted(transmits(a)[-1], accept_zero_checksum=False)
    assert read.tag == init.tag
    (answer,) = read.chunks
    assert isinstance(answer, InitAck)
    cookie = next(one.cookie for one in answer.parameters if isinstance(one, StateCookie))
    return cookie, answer.tag


def test_a_cookie_that_comes_again_is_acknowledged_again() -> None:
    """RFC 9260, 5.2.4, action D: in any state, and however old it is."""
    pair = Pair.make()
    cookie, tag = cookie_for(pair, Init(77, 100_000, 10, 10, 88))
    a = pair.a.association
    for now in (0.0, 1.0, 100.0):
        a.receive_packet(to(a, CookieEcho(cookie), tag=tag), now)
        assert kinds(transmits(a)[0])[0] == "CookieAck"
    assert events(a) == [Connected(10, 10)]


def test_a_cookie_of_a_doubled_init_is_let_go() -> None:
    """The peer's INIT comes once more after all is settled: its cookie is in no row of the RFC's
    table, and nothing changes."""
    pair = Pair.connected()
    peer = tag_of(pair.b.association)
    cookie, tag = cookie_for(pair, Init(peer, 100_000, 10, 10, 88))
    a = pair.a.association
    before = tag_of(a)
    assert tag != before
    a.receive_packet(to(a, CookieEcho(cookie), Heartbeat(b"x"), tag=tag), pair.now)
    assert drops(pair.a) == [Drop.SCTP_COOKIE]
    assert transmits(a) == []
    assert tag_of(a) == before


def test_a_peer_that_began_twice_before_it_heard_is_a_restart() -> None:
    """Our tag from before we stood, with a new one of the peer."""
    pair = Pair.make()
    first, tag = cookie_for(pair, Init(77, 100_000, 10, 10, 88))
    second, same = cookie_for(pair, Init(78, 100_000, 10, 10, 99))
    assert same == tag
    a = pair.a.association
    a.receive_packet(to(a, CookieEcho(first), tag=tag), 0.0)
    a.receive_packet(to(a, CookieEcho(second), tag=tag), 0.0)
    assert events(a) == [Connected(10, 10), Restarted()]
    (data,) = transmits(a)
    assert packet.decode_untrusted(data, accept_zero_checksum=True).tag == 78


def test_complaints_during_the_handshake() -> None:
    pair = in_state(State.COOKIE_ECHOED)
    a = pair.a.association
    a.receive_packet(to(a, Error((ProtocolViolation("no"),))), pair.now)
    assert drops(pair.a) == [Drop.SCTP_UNEXPECTED]
    assert a.state is State.COOKIE_ECHOED


def test_a_peer_to_whom_every_cookie_is_stale_is_not_served_without_end() -> None:
    pair = in_state(State.COOKIE_ECHOED)
    a = pair.a.association
    answer = InitAck(9, 100_000, 10, 10, 1, (StateCookie(b"c"),))
    begun = 0
    for _ in range(1000):
        a.receive_packet(to(a, Error((StaleCookie(1),))), pair.now)
        begun += [kinds(data) for data in transmits(a)] == [["Init"]]
        a.receive_packet(to(a, answer), pair.now)
        transmits(a)
    assert begun <= 2 * LIMITS.control_rate
    assert Drop.SCTP_RATE in drops(pair.a)


def test_an_acknowledgement_with_many_gaps_gets_a_packet_to_itself() -> None:
    """Control chunks that wait go first; nothing is longer than a packet may be."""
    pair = Pair.connected()
    a = pair.a.association
    first = next_tsn(pair)
    for offset in range(1, 1200, 2):
        chunk = Data((first + offset) & 0xFFFF_FFFF, 1, 0, 51, b"x", True, True, unordered=True)
        a.receive_packet(to(a, chunk), pair.now)
    a.receive_packet(to(a, Heartbeat(bytes(300))), pair.now)
    sent = transmits(a)
    assert [kinds(data) for data in sent] == [["HeartbeatAck"], ["Sack"]]
    assert all(len(data) <= LIMITS.packet for data in sent)


def test_more_chunks_than_sequence_numbers_can_tell_apart_are_not_out_at_once() -> None:
    pair = Pair.connected(lambda data: [], evolve(LIMITS, send_buffer=1 << 30))
    a = pair.a.association
    outbound = a._block.outbound
    outbound.congestion.window = outbound._advertised = 1 << 40
    for _ in range(40_000):
        a.send(1, 53, b"x", pair.now)
    outbound._budget = 1 << 30
    transmits(a)
    # The last packet may have begun before the bound was reached.
    assert len(outbound.outstanding) == 0x7FFF


def test_only_one_acknowledgement_counts_in_a_packet() -> None:
    pair = Pair.connected(lambda data: [])
    a = pair.a.association
    a.send(1, 53, b"x", pair.now)
    transmits(a)
    out = (a._block.outbound.outstanding.next_tsn - 1) & 0xFFFF_FFFF
    a.receive_packet(to(a, Sack(out - 1 & 0xFFFF_FFFF, 1000), Sack(out, 1000)), pair.now)
    assert drops(pair.a) == [Drop.SCTP_BUNDLED]
    assert len(a._block.outbound.outstanding) == 1
