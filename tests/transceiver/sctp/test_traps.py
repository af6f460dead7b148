"""What other stacks were caught in, by number of the list of traps."""

from random import Random

import pytest
from attrs import evolve

from sctp_pair import LIMITS, Pair, chunks, entropy_of, events, kinds, transmits
from sctp_states import next_tsn, to
from stunroute.trace import Drop
from transceiver.sctp import Association, packet
from transceiver.sctp.chunks import CookieEcho, Init, InitAck
from transceiver.sctp.events import Closed, ResetDone, StreamsResetByPeer
from transceiver.sctp.parameters import (
    ForwardTsnSupported,
    Parameter,
    SupportedExtensions,
    ZeroChecksumAcceptable,
)
from transceiver.sctp.states import State


def checked(data: bytes) -> bool:
    """Whether the packet bears a checksum."""
    return data[8:12] != bytes(4)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("options", [{"retransmissions": 0}, {"lifetime": 0.2}], ids=str)
def test_giving_up_under_loss_ends_nothing(ordered: bool, options: dict[str, float]) -> None:
    """TRAPS, SCTP 1: one packet in ten lost, messages given up with FORWARD-TSN, and the
    association lives, goes on delivering, and finds no fault with the peer."""
    chance = Random(1)
    pair = Pair.connected(lambda data: [] if chance.random() < 0.1 else [0.02])
    for number in range(1500):
        for side in (pair.a, pair.b):
            side.association.send(
                1,
                53,
                number.to_bytes(2, "big") * Random(number).randint(1, 1500),
                pair.now,
                ordered=ordered,
                **options,  # type: ignore[arg-type]
            )
        pair.run(0.01)
    pair.run(5)
    pair.fate = lambda data: [0.02]
    for side in (pair.a, pair.b):
        assert side.association.state is State.ESTABLISHED
        assert any("ForwardTsn" in kinds(data) for _, data in side.sent)
        assert 1000 < len(side.messages()) < 1500
        assert not set(side.drops()) - {Drop.SCTP_DUPLICATE}
        side.association.send(1, 53, b"and on", pair.now)
    pair.run(1)
    for side in (pair.a, pair.b):
        assert side.messages()[-1] == b"and on"
        numbers = [int.from_bytes(message[:2], "big") for message in side.messages()[:-1]]
        assert len(set(numbers)) == len(numbers)
        if ordered:
            assert numbers == sorted(numbers)


def test_each_direction_is_reset_by_its_own_sender() -> None:
    """TRAPS, SCTP 1: a reset of what we send says nothing of what the peer sends; that goes on
    with its numbers, until it is reset too."""
    pair = Pair.connected()
    a, b = pair.a.association, pair.b.association
    for side in (a, b):
        side.send(1, 51, b"one", pair.now)
    pair.run(1)
    a.reset_streams([1], pair.now)
    pair.run(1)
    assert pair.a.events[-1] == ResetDone((1,), True)
    assert pair.b.events[-1] == StreamsResetByPeer((1,))
    b.send(1, 51, b"two", pair.now)
    a.send(1, 51, b"new", pair.now)
    pair.run(1)
    assert pair.a.messages() == [b"one", b"two"]
    assert pair.b.messages() == [b"one", b"new"]
    assert pair.a.drops() == pair.b.drops() == []


def test_a_stream_used_too_early_is_held_back() -> None:
    """TRAPS, SCTP 1: what is sent on a stream before the peer has answered its reset waits, even
    when that answer is long in coming."""
    pair = Pair.connected()
    a = pair.a.association
    a.send(1, 51, b"old", pair.now)
    pair.run(1)
    pair.fate = lambda data: [] if "ReConfig" in kinds(data) and pair.now < 5 else [0.01]
    a.reset_streams([1], pair.now)
    a.send(1, 51, b"new", pair.now)
    pair.run(3)
    assert pair.b.messages() == [b"old"]
    assert a.buffered_amount(1) == 3
    pair.run(10)
    assert pair.b.messages() == [b"old", b"new"]
    order = [type(event).__name__ for event in pair.b.events]
    assert order.index("StreamsResetByPeer") < order.index("MessageReceived", 1)


@pytest.mark.parametrize("size", [16_384, 16_385, 65_535, 65_536, 65_537, 262_144])
def test_long_messages(size: int) -> None:
    """TRAPS, SCTP 2: above 16 and 64 KiB too; where a message ends says its last fragment alone."""
    pair = Pair.connected()
    for side in (pair.a, pair.b):
        side.association.send(1, 53, bytes(size), pair.now)
        side.association.send(1, 53, b"next", pair.now)
    pair.run(10)
    for side in (pair.a, pair.b):
        assert [len(message) for message in side.messages()] == [size, 4]


@pytest.mark.parametrize("a_takes", [True, False])
@pytest.mark.parametrize("b_takes", [True, False])
def test_the_checksum_is_left_out_toward_who_takes_that_alone(a_takes: bool, b_takes: bool) -> None:
    """TRAPS, SCTP 3: each direction hangs on what its receiver has said. Never on packets with
    INIT, INIT ACK or COOKIE ECHO."""
    for both in (False, True):
        pair = Pair.make(zero=(a_takes, b_takes))
        pair.a.association.connect(0.0)
        if both:
            pair.b.association.connect(0.0)
        for side in (pair.a, pair.b):
            side.association.send(1, 51, b"early", 0.0)
        pair.run(1)
        for side in (pair.a, pair.b):
            side.association.send(1, 51, b"late", pair.now)
            side.association.reset_streams([1], pair.now)
        pair.run(1)
        pair.a.association.shutdown(pair.now)
        pair.run(1)
        for side, taken in ((pair.a, b_takes), (pair.b, a_takes)):
            assert not set(side.drops()) & {Drop.SCTP_CHECKSUM, Drop.SCTP_MALFORMED}
            assert side.messages() == [b"early", b"late"]
            opening = [
                checked(data)
                for _, data in side.sent
                if isinstance(chunks(data)[0], Init | InitAck | CookieEcho)
            ]
            assert opening
            assert all(opening)
            others = [
                checked(data)
                for _, data in side.sent
                if not isinstance(chunks(data)[0], Init | InitAck | CookieEcho)
                and kinds(data) != ["ShutdownComplete"]
            ]
            assert set(others) == {not taken}


def test_what_belongs_to_no_association_has_a_checksum() -> None:
    """TRAPS, SCTP 3: whoever gets it may have agreed to nothing."""
    pair = Pair.connected()
    a = pair.a.association
    a.receive_packet(packet.encode(5000, 5000, 0, [Init(9, 1500, 1, 1, 1)]), pair.now)
    a.abort(pair.now)
    a.receive_packet(to(a, Init(9, 1500, 1, 1, 1), tag=0), pair.now)
    sent = transmits(a)
    assert [kinds(data) for data in sent] == [["InitAck"], ["Abort"], ["Abort"]]
    assert all(checked(data) for data in sent)


def test_a_peer_that_may_not_leave_it_out() -> None:
    """TRAPS, SCTP 3: that the peer takes packets without does not mean that we do."""
    pair = Pair.connected(zero=(False, True))
    a = pair.a.association
    assert ZeroChecksumAcceptable() not in init_of(Pair.make(zero=(False, True))).parameters
    data = bytearray(to(a, *chunks(to(a, Init(9, 1500, 1, 1, 1), tag=0)), tag=0))
    data[8:12] = bytes(4)
    a.receive_packet(bytes(data), pair.now)
    assert [event.drop for event in events(a)] == [Drop.SCTP_CHECKSUM]  # type: ignore[union-attr]


def init_of(pair: Pair) -> Init:
    pair.a.association.connect(0.0)
    (found,) = chunks(transmits(pair.a.association)[0])
    assert isinstance(found, Init)
    return found


def test_a_flood_of_streams_is_bounded() -> None:
    """TRAPS, SCTP 1: stream numbers beyond what was agreed are named in an ERROR, not kept."""
    pair = Pair.connected(limits=evolve(LIMITS, streams=10))
    from transceiver.sctp.chunks import Data

    a = pair.a.association
    first = next_tsn(pair)
    for offset in range(100):
        data = Data((first + offset) & 0xFFFF_FFFF, 10 + offset, 0, 51, b"x", True, True)
        a.receive_packet(to(a, data), pair.now)
    found = events(a)
    assert [event.drop for event in found] == [Drop.SCTP_STREAM] * 100  # type: ignore[union-attr]
    said = [kind for data in transmits(a) for kind in kinds(data)]
    assert 0 < said.count("Error") <= 64
    assert not any(isinstance(event, Closed) for event in found)


VARIANTS = [
    (1024, 2048, (SupportedExtensions((0xC0, 0x82)),)),
    (65535, 65535, (ForwardTsnSupported(), SupportedExtensions((0x82, 0xC0)))),
    (65535, 2048, (SupportedExtensions((0x82,)),)),
    (1024, 1024, (SupportedExtensions((0x40, 0xC2, 0xC0, 0x82)),)),  # I-DATA among them
    (65535, 65535, (ZeroChecksumAcceptable(), ForwardTsnSupported())),
    (10, 65535, ()),
    (65535, 10, ()),
]
"""Streams out and in, and parameters, as clients of today send them."""


@pytest.mark.parametrize(("outbound", "inbound", "parameters"), VARIANTS)
def test_inits_of_the_field_are_answered(
    outbound: int, inbound: int, parameters: tuple[Parameter, ...]
) -> None:
    """TRAPS, facts measured: INITs range from 1024/2048 streams to 65535, with and without
    FORWARD-TSN as a parameter, zero checksum from one stack, I-DATA offered by one. We never
    ask for more streams than the peer takes (rfc9260/3.3.3/11)."""
    association = Association(entropy=entropy_of("us"), limits=LIMITS)
    init = Init(77, 100_000, outbound, inbound, 1, parameters)
    association.receive_packet(packet.encode(5000, 5000, 0, [init]), 0.0)
    answer = association.next_transmit()
    assert answer is not None
    read = packet.decode_untrusted(answer, accept_zero_checksum=False)
    assert read.tag == 77
    (ack,) = read.chunks
    assert isinstance(ack, InitAck)
    assert (ack.outbound, ack.inbound) == (min(1024, inbound), 1024)
