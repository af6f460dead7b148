"""An association from its owner's side and from the wire."""

import itertools
import random
import struct

import pytest
from attrs import evolve

from sctp_pair import (
    LIMITS,
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
from transceiver.sctp.causes import NoUserData, ProtocolViolation
from transceiver.sctp.chunks import (
    Abort,
    CookieAck,
    CookieEcho,
    Data,
    Error,
    Heartbeat,
    Init,
    InitAck,
    Sack,
    Shutdown,
    ShutdownComplete,
    Unknown,
)
from transceiver.sctp.events import (
    BufferedAmountLow,
    Closed,
    Dropped,
    MessageReceived,
    MessageTooLong,
)
from transceiver.sctp.sendqueue import SendQueueFull
from transceiver.sctp.states import State

# --- what is not believed -------------------------------------------------------------------------


def test_a_packet_that_is_none() -> None:
    pair = Pair.connected()
    a = pair.a.association
    good = to(a, Data(next_tsn(pair), 1, 0, 51, b"x", True, True))
    for data in (b"", bytes(11), good[:12], good[:-4], good[:12] + b"\0\3\0\2"):
        a.receive_packet(packet_sealed(data), pair.now)
    assert drops(pair.a) == [Drop.SCTP_MALFORMED] * 5


def packet_sealed(data: bytes) -> bytes:
    """With a checksum of zero, which was agreed upon."""
    return data[:8] + bytes(4) + data[12:] if len(data) >= 12 else data


def test_a_wrong_checksum() -> None:
    pair = Pair.connected()
    a = pair.a.association
    data = bytearray(to(a, Data(next_tsn(pair), 1, 0, 51, b"x", True, True)))
    data[-1] ^= 1
    a.receive_packet(bytes(data), pair.now)
    assert drops(pair.a) == [Drop.SCTP_CHECKSUM]


def test_other_ports() -> None:
    pair = Pair.connected()
    a = pair.a.association
    for ports in ((5001, 5000), (5000, 5001)):
        a.receive_packet(packet.encode(*ports, tag_of(a), [Heartbeat(b"x")]), pair.now)
    assert drops(pair.a) == [Drop.SCTP_PORT] * 2
    assert transmits(a) == []


def test_ports_are_those_of_the_descriptions() -> None:
    from sctp_pair import entropy_of
    from transceiver.sctp.association import Association

    a = Association(entropy=entropy_of("x"), limits=LIMITS, source_port=1234, destination_port=4321)
    a.connect(0.0)
    assert struct.unpack_from("!HH", transmits(a)[0]) == (1234, 4321)


def test_other_tags() -> None:
    """RFC 9260, 8.5: with its exceptions."""
    pair = Pair.connected()
    a, b = pair.a.association, pair.b.association
    wrong = tag_of(a) ^ 1
    for chunk in (
        Data(next_tsn(pair), 1, 0, 51, b"x", True, True),
        Sack(0, 0),
        Heartbeat(b"x"),
        Abort(),
        ShutdownComplete(),
    ):
        for tag in (wrong, tag_of(b), 0):
            a.receive_packet(to(a, chunk, tag=tag), pair.now)
            assert drops(pair.a) == [Drop.SCTP_TAG]
    # A reflected one bears the tag of its receiver's peer.
    a.receive_packet(to(a, Abort(reflected=True)), pair.now)
    a.receive_packet(to(a, Init(9, 1500, 1, 1, 1)), pair.now)
    assert drops(pair.a) == [Drop.SCTP_TAG] * 2
    assert a.state is State.ESTABLISHED
    a.receive_packet(to(a, Abort(reflected=True), tag=tag_of(b)), pair.now)
    assert a.state is State.CLOSED


def test_what_must_stand_alone() -> None:
    pair = Pair.connected()
    a = pair.a.association
    init = Init(9, 1500, 1, 1, 1)
    for found, tag in (
        ((init, init), 0),
        ((InitAck(9, 1500, 1, 1, 1), CookieAck()), None),
        ((ShutdownComplete(), ShutdownComplete()), None),
        ((Heartbeat(b"x"), init), None),
    ):
        a.receive_packet(to(a, *found, tag=tag), pair.now)
        assert drops(pair.a) == [Drop.SCTP_BUNDLED]
    assert a.state is State.ESTABLISHED


def test_what_is_not_known() -> None:
    """RFC 9260, 3.2: whether to go on and whether to say so stands in the type."""
    for kind, goes_on, reported in (
        (0x3F, False, False),
        (0x40, False, True),
        (0xBF, True, False),
        (0xFF, True, True),
    ):
        pair = Pair.connected()
        a = pair.a.association
        data = Data(next_tsn(pair), 1, 0, 51, b"x", True, True, immediate=True)
        a.receive_packet(to(a, Unknown(kind, 0, b"abc"), data), pair.now)
        found = events(a)
        assert (Dropped(Drop.SCTP_UNKNOWN_CHUNK)) in found
        assert any(isinstance(event, MessageReceived) for event in found) is goes_on
        said = [chunk for data in transmits(a) for chunk in chunks(data)]
        assert any(isinstance(chunk, Error) for chunk in said) is reported


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("state", [State.ESTABLISHED, State.SHUTDOWN_SENT])
def test_an_acknowledgement_of_what_was_never_sent_is_the_end(gaps: bool, state: State) -> None:
    """rfc9260/12.4/5: however it says so, and the peer hears why."""
    pair = in_state(state)
    a = pair.a.association
    peer = tag_of(pair.b.association)
    if state is State.ESTABLISHED:
        a.send(1, 51, b"hello", pair.now)
        transmits(a)
    out = a._block.outbound.outstanding.next_tsn
    sack = Sack((out - 2) & 0xFFFF_FFFF, 1000, ((2, 2),)) if gaps else Sack(out & 0xFFFF_FFFF, 1000)
    events(a)
    a.receive_packet(to(a, sack, Heartbeat(b"not read any more")), pair.now)
    (said,) = transmits(a)
    (abort,) = chunks(said)
    assert isinstance(abort, Abort)
    assert isinstance(abort.causes[0], ProtocolViolation)
    assert packet.decode_untrusted(said, accept_zero_checksum=False).tag == peer
    dropped, ended = events(a)
    assert dropped == Dropped(Drop.SCTP_ACK)
    assert isinstance(ended, Closed)
    assert not ended.by_peer


def test_a_shutdown_that_acknowledges_what_was_never_sent_is_let_go() -> None:
    pair = Pair.connected()
    a = pair.a.association
    out = a._block.outbound.outstanding.next_tsn
    a.receive_packet(to(a, Shutdown(out & 0xFFFF_FFFF)), pair.now)
    assert drops(pair.a) == [Drop.SCTP_ACK]
    assert a.state is State.ESTABLISHED


def test_data_without_a_payload_is_the_end() -> None:
    """RFC 9260, 6.2."""
    pair = Pair.connected()
    a = pair.a.association
    tsn = next_tsn(pair)
    a.receive_packet(to(a, Data(tsn, 1, 0, 51, b"", True, True)), pair.now)
    (said,) = transmits(a)
    assert chunks(said) == (Abort((NoUserData(tsn),)),)
    assert [type(event) for event in events(a)] == [Closed]


def test_more_control_chunks_than_are_answered() -> None:
    pair = Pair.connected()
    a = pair.a.association
    many = 3 * LIMITS.control_rate
    for number in range(many):
        a.receive_packet(to(a, Heartbeat(bytes([number]))), pair.now)
        transmits(a)
    for number in range(many):
        a.receive_packet(packet.encode(5000, 5000, 0, [Init(9, 1500, 1, 1, number)]), pair.now)
        a.receive_packet(to(a, CookieEcho(b"x")), pair.now)
        transmits(a)
    found = drops(pair.a)
    assert set(found) == {Drop.SCTP_RATE}
    assert len(found) == 3 * many - 2 * LIMITS.control_rate
    pair.now += 1
    a.receive_packet(to(a, Heartbeat(b"again")), pair.now)
    assert kinds(transmits(a)[0]) == ["HeartbeatAck"]


def test_control_chunks_that_nobody_fetches_are_bounded() -> None:
    pair = Pair.connected()
    a = pair.a.association
    for number in range(1000):
        a.receive_packet(to(a, Heartbeat(bytes(1000))), pair.now + number)
    assert set(drops(pair.a)) == {Drop.SCTP_RATE}
    assert len(transmits(a)) <= 64


def test_a_heartbeat_that_could_not_be_given_back() -> None:
    pair = Pair.connected()
    a = pair.a.association
    a.receive_packet(to(a, Heartbeat(bytes(4000))), pair.now)
    assert drops(pair.a) == [Drop.SCTP_UNEXPECTED]
    assert transmits(a) == []


def test_after_the_end() -> None:
    pair = in_state("ended")
    a = pair.a.association
    transmits(a)
    a.receive_packet(to(a, Heartbeat(b"x"), tag=4711), pair.now)
    assert drops(pair.a) == [Drop.SCTP_CLOSED]
    (said,) = transmits(a)
    assert packet.decode_untrusted(said, accept_zero_checksum=False).tag == 4711
    assert chunks(said) == (Abort(reflected=True),)
    for _ in range(1000):
        a.receive_packet(to(a, Heartbeat(b"x")), pair.now)
    assert len(transmits(a)) < 2 * LIMITS.control_rate


def test_drops_that_nobody_fetches_are_bounded() -> None:
    pair = Pair.connected(limits=evolve(LIMITS, events=10))
    for _ in range(100):
        pair.a.association.receive_packet(b"", pair.now)
    assert len(events(pair.a.association)) == 10


# --- sending and receiving ------------------------------------------------------------------------


def test_messages_of_all_sizes() -> None:
    pair = Pair.connected()
    sizes = (1, 2, 3, 4, 1162, 1163, 1164, 1165, 2326, 2327, 10_000, 262_144)
    for size in sizes:
        pair.a.association.send(1, 53, bytes([size % 251]) * size, pair.now)
    pair.run(10)
    assert [len(message) for message in pair.b.messages()] == list(sizes)
    assert all(len(data) <= LIMITS.packet for _, data in pair.a.sent)


def test_small_messages_share_packets() -> None:
    pair = Pair.connected()
    for _ in range(100):
        pair.a.association.send(1, 53, bytes(20), pair.now)
    pair.run(1)
    assert len(pair.b.messages()) == 100
    data = [data for _, data in pair.a.sent if "Data" in kinds(data)]
    assert len(data) == 4


def test_an_acknowledgement_travels_with_data() -> None:
    pair = Pair.connected()
    a, b = pair.a.association, pair.b.association
    for number in range(2):
        a.send(1, 51, b"ping", pair.now)
        pair.run(0.02)
        b.send(1, 51, b"pong", pair.now)
        pair.run(0.05)
        del number
    bundles = [kinds(data) for _, data in pair.b.sent]
    assert ["Sack", "Data"] in bundles


def test_no_packet_is_too_long_whatever_shares_it() -> None:
    """rfc9260/6.9/9 and rfc9260/6.10/1: data both ways, with acknowledgements among them, gaps,
    heartbeats and resets."""
    chance = random.Random(5)
    pair = Pair.connected(lambda data: [] if chance.random() < 0.1 else [0.01])
    for number in range(60):
        for side in (pair.a, pair.b):
            side.association.send(number % 5, 53, bytes(chance.randrange(1, 4000)), pair.now)
        pair.a.association.reset_streams([number % 5], pair.now)
        pair.run(0.03)
    pair.run(30)
    assert len(pair.a.messages()) == len(pair.b.messages()) == 60
    bundles = set()
    for side in (pair.a, pair.b):
        for _, data in side.sent:
            assert len(data) <= LIMITS.packet
            bundles.add(tuple(dict.fromkeys(kinds(data))))
    assert ("Sack", "Data") in bundles


def test_a_packet_is_acknowledged_once_whatever_is_in_it() -> None:
    """rfc9260/6.2/10; and at once where it brings nothing new (rfc9260/6.2/21)."""
    pair = Pair.connected()
    a = pair.a.association
    first = next_tsn(pair)

    def data(offset: int) -> Data:
        tsn = (first + offset) & 0xFFFF_FFFF
        return Data(tsn, 1, offset, 51, b"x", True, True, unordered=True)

    for offsets in ((0,), (1, 2, 5, 7), (0, 1), (7,), (5, 0, 9, 9)):
        a.receive_packet(to(a, *map(data, offsets)), pair.now)
        sent = transmits(a)
        assert [kinds(one) for one in sent] == [["Sack"]]


def test_what_there_is_no_room_for_is_said_at_once() -> None:
    """rfc9260/6.2/4 and rfc9260/6.2/5."""
    pair = Pair.connected(limits=evolve(LIMITS, events=1))
    a = pair.a.association
    first = next_tsn(pair)
    for offset in (0, 1, 2, 5):
        tsn = (first + offset) & 0xFFFF_FFFF
        a.receive_packet(to(a, Data(tsn, 1, offset, 51, b"x", True, True)), pair.now)
        (said,) = transmits(a) or [b""]
        if offset:
            assert chunks(said) == (Sack(first, 0),)


def test_a_message_that_is_too_long_is_let_go_and_told() -> None:
    pair = Pair.connected(other_limits=evolve(LIMITS, message=1000))
    for payload in (b"before", bytes(5000), b"after"):
        pair.a.association.send(1, 53, payload, pair.now)
    pair.run(1)
    assert pair.b.messages() == [b"before", b"after"]
    assert MessageTooLong(1) in pair.b.events
    assert Drop.SCTP_MESSAGE_TOO_LONG in pair.b.drops()


def test_an_empty_message_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="empty"):
        Pair.connected().a.association.send(1, 53, b"", 0.0)


def test_the_sender_feels_the_pressure() -> None:
    """A bound, an amount, and an event when it has fallen."""
    pair = Pair.connected(limits=evolve(LIMITS, send_buffer=300_000))
    a = pair.a.association
    a.set_threshold(1, 100_000)
    with pytest.raises(SendQueueFull):
        for _ in range(100):
            a.send(1, 53, bytes(20_000), pair.now)
    assert a.buffered_amount(1) == 280_000
    pair.run(0.02)
    assert 100_000 < a.buffered_amount(1) < 280_000
    assert pair.a.others() == []
    pair.run(10)
    assert pair.a.others() == [BufferedAmountLow(1)]
    assert a.buffered_amount(1) == 0
    assert len(pair.b.messages()) == 14


def test_a_receiver_that_does_not_fetch_stops_the_sender() -> None:
    """And nothing is lost by it: when it fetches, the rest comes, though the SACK that says so may
    be lost."""
    pair = Pair.connected(limits=evolve(LIMITS, receive_window=50_000, events=8))
    a = pair.a.association
    pair.b.fetching = False
    for number in range(60):
        a.send(1, 53, bytes([number]) * 5000, pair.now)
    pair.run(60)
    waiting = pair.b.association._block.transfer
    assert waiting is not None
    assert waiting.inbound._reassembly.used <= 60_000
    # It asks now and then whether there is room, and ever more rarely.
    late = [at for at, data in pair.a.sent if "Data" in kinds(data) and at > pair.now - 30]
    assert 2 <= len(late) <= 4
    window = a._block.outbound.congestion.window
    pair.b.fetching = True
    pair.fate = lambda data: [] if kinds(data) == ["Sack"] and pair.now < 61 else [0.01]
    pair.run(60)
    assert pair.b.messages() == [bytes([number]) * 5000 for number in range(60)]
    assert a._block.outbound.congestion.window >= window


def test_a_window_that_opens_is_told_at_once() -> None:
    pair = Pair.connected(limits=evolve(LIMITS, receive_window=20_000))
    pair.b.fetching = False
    for _ in range(20):
        pair.a.association.send(1, 53, bytes(4_000), pair.now)
    pair.run(5)
    before = len(pair.b.sent)
    while pair.b.association.next_event() is not None:
        pass
    assert pair.b.association.next_timeout() is not None
    assert pair.b.association.next_timeout() <= pair.now  # type: ignore[operator]
    pair.run(0.001)
    assert [kinds(data) for _, data in pair.b.sent[before:]] == [["Sack"]]


def test_a_lone_loss_is_repaired_before_the_timer() -> None:
    """RFC 9260, 7.2.4."""
    pair = Pair.connected()
    a = pair.a.association
    lost: list[bytes] = []

    def fate(data: bytes) -> list[float]:
        if "Data" in kinds(data) and len(data) > 1000 and not lost:
            lost.append(data)
            return []
        return [0.05]

    pair.fate = fate
    a.send(1, 53, bytes(20_000), pair.now)
    start = pair.now
    pair.run(10, until=lambda: len(pair.b.messages()) == 1)
    assert pair.now - start < LIMITS.rto_minimum
    assert a._block.outbound.congestion.threshold < 20_000


def test_a_lost_last_packet_is_repaired_by_the_timer() -> None:
    pair = Pair.connected()
    a = pair.a.association
    times: list[float] = []

    def fate(data: bytes) -> list[float]:
        if "Data" in kinds(data):
            times.append(pair.now)
            return [] if len(times) <= 3 else [0.01]
        return [0.01]

    pair.fate = fate
    a.send(1, 53, b"alone", pair.now)
    pair.run(10, until=lambda: pair.b.messages() == [b"alone"])
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert gaps == pytest.approx([0.5, 1.0, 2.0])


def test_it_goes_on_for_as_long_as_the_session_lives() -> None:
    pair = Pair.connected(lambda data: [])
    a = pair.a.association
    a.send(1, 53, b"patience", pair.now)
    pair.run(1000)
    assert a.state is State.ESTABLISHED
    pair.fate = lambda data: [0.01]
    pair.run(11)
    assert pair.b.messages() == [b"patience"]


def test_no_more_goes_at_once_than_four_packets_for_each_thing_that_came() -> None:
    pair = Pair.connected()
    a = pair.a.association
    a._block.outbound.congestion.window = 1_000_000
    a.send(1, 53, bytes(200_000), pair.now)
    assert len(transmits(a)) == 4
    assert len(transmits(a)) == 0
