"""What the probes say of relays that go wrong: a case can only fail if they do."""

from collections.abc import Callable, Iterator

import pytest
from attrs import evolve

from conformance.case import Blocked, Unsupported
from conformance.cases.relay_routing import first_check
from conformance.client import seeded
from conformance.drivers.relay import INNER, NODES, PUBLIC, RelayDriver
from conformance.drivers.virtual import Emission, VirtualWire
from conformance.probe import hints
from conformance.probe.routing import (
    Returned,
    Routed,
    flow,
    known_source,
    need_nodes,
    release,
    route,
    route_each,
    route_none,
    rtp,
    send_back,
    silent_or_dead,
)
from conformance.relay_stage import RelayStage
from probing import Answering
from stunroute import forward
from stunroute.address import Address
from stunroute.hint import Hint, HintConfiguration, KeyRing
from stunroute.trace import Drop

ONE, OTHER = NODES[:2]
KEYRING = KeyRing((HintConfiguration.generate("0", seeded("probe")),))


def before(answer: Callable[[bytes, Address], list[Emission]]) -> RelayStage:
    wire = VirtualWire(Answering(answer), frozenset({PUBLIC, INNER}))
    for node in NODES:
        wire.adopt(node.address)
    return RelayStage(wire, seeded("case"), PUBLIC, NODES, KEYRING)


def good(data: bytes, source: Address) -> Emission:
    return Emission(forward.encode(source, PUBLIC) + data, INNER, ONE.address)


ELSEWHERE = Address.of("192.0.2.9", 9)


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (lambda data, source: [good(data, source)], Routed.DELIVERED),
        (lambda data, source: [], Routed.NOWHERE),
        (lambda data, source: [good(data, source)] * 2, Routed.TWICE),
        (lambda data, source: [good(data[:-1], source)], Routed.ALTERED),
        (lambda data, source: [good(data + b"x", source)], Routed.ALTERED),
        (lambda data, source: [good(data, ELSEWHERE)], Routed.ALTERED),
        (lambda data, source: [Emission(b"short", INNER, ONE.address)], Routed.ALTERED),
        (
            lambda data, source: [
                Emission(forward.encode(source, ELSEWHERE) + data, INNER, ONE.address)
            ],
            Routed.ALTERED,
        ),
        (
            lambda data, source: [evolve(good(data, source), destination=OTHER.address)],
            Routed.ELSEWHERE,
        ),
        (
            lambda data, source: [good(data, source), Emission(b"no", PUBLIC, source)],
            Routed.ANSWERED,
        ),
    ],
)
def test_what_becomes_of_a_packet(answer, seen: Routed) -> None:
    stage = before(answer)
    assert route(stage, b"\x80payload", stage.client(), ONE)[0] is seen
    several = route_each(stage, [b"\x80one", b"\x80two"], stage.client(), ONE)
    assert several[0] is seen


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (lambda data, source: [good(data, source)], Routed.DELIVERED),
        (lambda data, source: [], Routed.DEAD),
        (lambda data, source: [good(data[1:], source)], Routed.ALTERED),
        (
            lambda data, source: [evolve(good(data, source), destination=OTHER.address)],
            Routed.ELSEWHERE,
        ),
        (lambda data, source: [Emission(b"no", PUBLIC, source)], Routed.ANSWERED),
    ],
)
def test_what_becomes_of_packets_that_ought_to_go_nowhere(answer, seen: Routed) -> None:
    stage = before(answer)
    assert route_none(stage, [b"\x80one", b"\x80two"], stage.client(), ONE)[0] is seen


def test_silence_is_death_only_if_checks_are_lost_too() -> None:
    deaf = before(lambda data, source: [])
    assert silent_or_dead(deaf, (Routed.NOWHERE, ""), ONE)[0] is Routed.DEAD
    alive = before(lambda data, source: [good(data, source)])
    assert silent_or_dead(alive, (Routed.NOWHERE, ""), ONE)[0] is Routed.NOWHERE
    assert silent_or_dead(deaf, (Routed.ALTERED, ""), ONE)[0] is Routed.ALTERED


@pytest.fixture
def stage() -> Iterator[RelayStage]:
    with RelayDriver().stage(first_check) as made:
        yield made


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (lambda sent, other: [sent], Returned.DELIVERED),
        (lambda sent, other: [], Returned.NOWHERE),
        (lambda sent, other: [sent, sent], Returned.TWICE),
        (lambda sent, other: [evolve(sent, data=sent.data[:-1])], Returned.ALTERED),
        (lambda sent, other: [evolve(sent, source=INNER)], Returned.FOREIGN),
        (lambda sent, other: [evolve(sent, destination=other)], Returned.ELSEWHERE),
        (lambda sent, other: [evolve(sent, destination=ONE.address)], Returned.ELSEWHERE),
    ],
)
def test_what_becomes_of_a_nodes_packet(change, seen: Returned) -> None:
    def answer(data: bytes, source: Address) -> list[Emission]:
        if source != ONE.address:
            return [good(data, source)]
        sent = Emission(data[forward.HEADER_LENGTH :], PUBLIC, clients[0])
        return [sent] if data[38:40] == b"\x01\x01" else change(sent, clients[1])

    stage = before(answer)
    clients = [stage.client(), stage.client()]
    mine = flow(stage, stage.mint(ONE), clients[0])
    assert send_back(stage, rtp(stage), mine, clients[0])[0] is seen


def test_a_flow_that_cannot_be_made_blocks() -> None:
    with pytest.raises(Blocked):
        stage = before(lambda data, source: [])
        flow(stage, stage.mint(ONE), stage.client())
    with pytest.raises(Blocked):  # up, and never down
        stage = before(lambda data, source: [good(data, source)] if source.port > 5000 else [])
        flow(stage, stage.mint(ONE), stage.client())


def test_too_few_nodes_and_unknown_sources_are_unsupported(stage: RelayStage) -> None:
    with pytest.raises(Unsupported, match="next hops"):
        need_nodes(stage, len(NODES) + 1)
    client = stage.client()
    source = known_source(stage, client, ONE)
    assert route(stage, rtp(stage, source), stage.client(), ONE)[0] is Routed.DELIVERED


def test_a_release_ends_a_flow(stage: RelayStage) -> None:
    client = stage.client()
    release(stage, flow(stage, stage.mint(ONE), client))
    assert route_none(stage, [rtp(stage)], client, ONE)[0] is Routed.NOWHERE


class TestHints:
    def test_numbers_and_bodies_are_each_others(self) -> None:
        for number in (0, 35, 36, hints.BLOCK - 1, hints.BLOCK, 36**25 - 1):
            assert hints.number_of(hints.body_of(number)) == number
            assert len(hints.body_of(number)) == hints.BODY
        with pytest.raises(ValueError, match="25 digits"):
            hints.body_of(36**25)

    def test_a_sealed_hint_is_a_good_one_but_for_its_tail(self, stage: RelayStage) -> None:
        read = stage.keyring.decode_untrusted(hints.seal(stage, 1, 2, bytes(5)), 0.0)
        assert isinstance(read, Hint)
        assert (read.cluster, read.node) == (1, 2)
        for tail in (b"\0\0\0\0\1", b"\x80\0\0\0\0"):
            forged = hints.seal(stage, 1, 2, tail)
            assert stage.keyring.decode_untrusted(forged, 0.0) is Drop.HINT_FORGED

    def test_an_unknown_identifier_is_unknown(self, stage: RelayStage) -> None:
        assert hints.unknown_identifier(stage) == b"y"
        full = KeyRing(HintConfiguration.generate(each, seeded(each)) for each in hints.DIGITS[:-1])
        with pytest.raises(Unsupported):
            hints.unknown_identifier(evolve(stage, keyring=full))

    def test_a_renamed_session_has_the_password_of_its_name(self, stage: RelayStage) -> None:
        session, other = stage.mint(ONE), stage.mint(OTHER)
        assert hints.renamed(stage, session, other.ufrag).password == other.password
        assert hints.renamed(stage, session, b"y" + b"0" * 25).password == session.password
