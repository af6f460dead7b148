"""What the core keeps for a store and wants of it."""

import pytest

from fleet import CLIENTS, OTHER_PROXY, PROXY, A, B, check, dtls, indication, leg, relay, rtp
from stunroute import forward
from stunroute.address import Address, Transmit
from stunroute.config import RelayConfig
from stunroute.flow import Flow
from stunroute.relay import Held, Relay
from stunroute.trace import Drop
from stunroute.waiting import Forget, HeldPacket, Lookup, Remember, Request, WaitingRoom

CLIENT, OTHER, THIRD = CLIENTS[:3]
CONFIG = RelayConfig(store=True, waiting_clients=2, waiting_packets=2, waiting_time=0.25, changes=8)


def requests(core: Relay) -> list[Request]:
    found = []
    while (request := core.next_request()) is not None:
        found.append(request)
    return found


def test_a_packet_without_a_flow_waits_and_goes_when_the_store_has_answered() -> None:
    core = relay(config=CONFIG)
    assert core.route_client(dtls(), CLIENT, PROXY, 0.0) is Held.HELD
    assert core.route_client(rtp(1), CLIENT, OTHER_PROXY, 0.1) is Held.HELD
    assert requests(core) == [Lookup(CLIENT)]
    assert core.waiting == 1
    assert core.next_timeout() == 0.25
    assert core.restore(CLIENT, A, 0.2) == [
        Transmit(forward.encode(CLIENT, PROXY) + dtls(), A),
        Transmit(forward.encode(CLIENT, OTHER_PROXY) + rtp(1), A),
    ]
    assert isinstance(core.route_client(dtls(), CLIENT, PROXY, 0.2), Flow)
    assert (core.counters.held, core.counters.restored, core.counters.made) == (2, 1, 1)
    assert requests(core) == []  # the store need not be told what it said
    assert core.restore(CLIENT, B, 0.2) == []
    assert not core.counters.drops
    assert core.waiting == 0


def test_what_waits_is_bounded_per_client_and_in_clients() -> None:
    core = relay(config=CONFIG)
    for _ in range(2):
        assert core.route_client(dtls(), CLIENT, PROXY, 0.0) is Held.HELD
    assert core.route_client(dtls(), CLIENT, PROXY, 0.0) is Drop.NO_FLOW
    assert core.route_client(dtls(), OTHER, PROXY, 0.0) is Held.HELD
    assert core.route_client(dtls(), THIRD, PROXY, 0.0) is Drop.NO_FLOW
    assert requests(core) == [Lookup(CLIENT), Lookup(OTHER)]


def test_what_waits_too_long_is_dropped() -> None:
    core = relay(config=CONFIG)
    core.route_client(dtls(), CLIENT, PROXY, 0.0)
    core.route_client(dtls(), OTHER, PROXY, 0.1)
    core.handle_timeout(0.25)
    assert core.counters.drops[Drop.NO_FLOW] == 1
    assert core.next_timeout() == pytest.approx(0.35)
    assert core.restore(CLIENT, A, 0.3) == []
    assert len(core.restore(OTHER, A, 0.3)) == 1
    assert core.next_timeout() == pytest.approx(30.3)


@pytest.mark.parametrize("answer", [None, Address.of("203.0.113.66", 4000)])
def test_a_store_that_knows_nothing_or_lies_helps_nobody(answer: Address | None) -> None:
    core = relay(config=CONFIG)
    core.route_client(dtls(), CLIENT, PROXY, 0.0)
    assert core.restore(CLIENT, answer, 0.1) == []
    assert core.counters.drops[Drop.NO_FLOW] == 1
    assert core.flows == 0


@pytest.mark.parametrize("answer", [None, B])
def test_a_check_that_was_faster_is_right(answer: Address | None) -> None:
    core = relay(config=CONFIG)
    core.route_client(dtls(), CLIENT, PROXY, 0.0)
    core.route_client(check(1), CLIENT, PROXY, 0.05)
    assert [transmit.address for transmit in core.restore(CLIENT, answer, 0.1)] == [A]


def test_a_full_table_restores_nobody() -> None:
    core = relay(config=RelayConfig(store=True, flows=1))
    core.route_client(check(1), OTHER, PROXY, 0.0)
    core.route_client(dtls(), CLIENT, PROXY, 0.0)
    assert core.restore(CLIENT, A, 0.1) == []
    assert core.counters.drops[Drop.FLOWS_FULL] == 1


def test_stun_never_waits_and_strange_kinds_neither() -> None:
    core = relay(config=CONFIG)
    assert core.route_client(indication(), CLIENT, PROXY, 0.0) is Drop.NO_FLOW
    assert core.route_client(b"\x40turn", CLIENT, PROXY, 0.0) is Drop.NOT_OURS
    assert requests(core) == []


def test_the_store_hears_of_flows_made_moved_renewed_and_released() -> None:
    core = relay(config=CONFIG)
    core.route_client(check(1), CLIENT, PROXY, 0.0)
    core.route_client(check(2), CLIENT, PROXY, 1.0)
    core.route_transceiver(leg(CLIENT, b"\x01\x01"), B, 15.0)
    assert requests(core) == [Remember(CLIENT, A, 0.0), Remember(CLIENT, B, 15.0)]
    core.handle_timeout(30.0)
    core.route_client(dtls(), CLIENT, PROXY, 31.0)
    core.route_client(dtls(), CLIENT, PROXY, 31.0)
    assert requests(core) == [Remember(CLIENT, B, 15.0)]
    core.route_transceiver(leg(CLIENT), B, 32.0)
    assert requests(core) == [Forget(CLIENT, B, 15.0)]


@pytest.mark.parametrize("made", [-7.5, 0.0])
def test_a_restored_flow_is_as_old_as_the_store_says(made: float) -> None:
    """Else a relay that only repeats what it was told would override one that knows better."""
    core = relay(config=CONFIG)
    core.route_client(dtls(), CLIENT, PROXY, 0.0)
    core.restore(CLIENT, A, 0.0, made)
    core.handle_timeout(30.0)
    core.route_client(dtls(), CLIENT, PROXY, 31.0)
    core.route_transceiver(leg(CLIENT), A, 32.0)
    assert requests(core) == [Lookup(CLIENT), Remember(CLIENT, A, made), Forget(CLIENT, A, made)]


def test_a_restored_flow_is_not_of_the_future() -> None:
    core = relay(config=CONFIG)
    core.route_client(dtls(), CLIENT, PROXY, 0.0)
    core.restore(CLIENT, A, 0.1, 1e9)
    core.route_transceiver(leg(CLIENT), A, 0.2)
    assert requests(core) == [Lookup(CLIENT), Forget(CLIENT, A, 0.1)]


def test_the_queue_to_the_store_is_bounded() -> None:
    core = relay(config=RelayConfig(store=True, changes=1))
    for client in (CLIENT, OTHER):
        core.route_client(check(1), client, PROXY, 0.0)
    assert core.counters.requests_lost == 1
    assert requests(core) == [Remember(CLIENT, A, 0.0)]


def test_without_a_store_nothing_is_asked() -> None:
    core = relay()
    core.route_client(check(1), CLIENT, PROXY, 0.0)
    assert core.route_client(dtls(), OTHER, PROXY, 0.0) is Drop.NO_FLOW
    assert requests(core) == []
    assert core.restore(OTHER, A, 0.0) == []


def test_the_room_by_itself() -> None:
    room = WaitingRoom(CONFIG)
    assert room.next_timeout() is None
    assert room.take(CLIENT) == []
    packet = HeldPacket(b"x", PROXY)
    assert room.hold(CLIENT, packet, 0.0)
    assert CLIENT in room
    assert len(room) == 1
    assert room.expire(0.2) == []
    assert room.expire(0.25) == [(CLIENT, [packet])]
    assert CLIENT not in room
