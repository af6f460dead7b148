"""The relay's core under other settings, in the middle of calls."""

import pytest

from fleet import (
    CLIENTS,
    CLUSTER,
    DIRECTORY,
    KEYRING,
    NODES,
    PROXY,
    A,
    B,
    C,
    check,
    leg,
    relay,
    rtp,
    success,
)
from stunroute.address import Address
from stunroute.config import RelayConfig
from stunroute.directory import NextHop, StaticDirectory
from stunroute.flow import Flow
from stunroute.relay import Relay, Release
from stunroute.trace import Drop

CLIENT, OTHER = CLIENTS[:2]


def fleet_without(*gone: Address) -> StaticDirectory:
    return StaticDirectory(
        {
            (CLUSTER, node): NextHop(address)
            for node, address in NODES.items()
            if address not in gone
        }
    )


def change(core: Relay, directory: StaticDirectory, now: float = 1.0) -> None:
    core.reconfigure(core.config, KEYRING, directory, now=now)


def contended(core: Relay) -> None:
    """A's call, and a session of B's that has answered and waits for A to let go."""
    assert isinstance(core.route_client(check(1), CLIENT, PROXY, 0.0), Flow)
    assert isinstance(core.route_client(check(2), CLIENT, PROXY, 0.0), Flow)
    assert not isinstance(core.route_transceiver(leg(CLIENT, success()), B, 0.0), Drop)


def test_flows_to_where_nobody_is_any_more_end() -> None:
    core = relay()
    for client, node in zip(CLIENTS, (1, 2, 1, 3), strict=False):
        core.route_client(check(node), client, PROXY, 0.0)
    change(core, fleet_without(A))
    assert {flow.next_hop for flow in core.some_flows(9)} == {B, C}
    assert core.flows == 2
    assert core.counters.released == 2
    assert core.route_client(rtp(1), CLIENTS[0], PROXY, 1.0) is Drop.NO_FLOW
    assert core.route_transceiver(leg(CLIENTS[0], rtp(1)), A, 1.0) is Drop.LEG_STRANGER


@pytest.mark.parametrize("ending", ["released", "expired"])
def test_who_has_left_takes_no_call_over(ending: str) -> None:
    """Its address may be somebody else's by now, and the client's packets would go there."""
    core = relay(config=RelayConfig(takeover_idle=1000.0))
    contended(core)
    change(core, fleet_without(B))
    if ending == "released":
        assert isinstance(core.route_transceiver(leg(CLIENT), A, 2.0), Release)
    else:
        for now in (31.0, 62.0):
            core.handle_timeout(now)
    assert core.flow(CLIENT) is None
    assert core.contender(CLIENT) is None
    assert core.route_client(rtp(1), CLIENT, PROXY, 63.0) is Drop.NO_FLOW
    assert not isinstance(core.route_transceiver(leg(CLIENT, rtp(1)), C, 63.0), Drop)


def test_the_same_fleet_is_not_looked_for_among_all_flows() -> None:
    """A million of them would hold the packets up for a second, at each change of keys."""
    core = relay()
    for client in CLIENTS:
        core.route_client(check(1), client, PROXY, 0.0)
    core._flows._flows = None  # type: ignore[assignment]
    change(core, DIRECTORY)
    change(core, fleet_without(B))


def test_a_next_hop_is_forgotten_with_its_last_flow() -> None:
    core = relay(config=RelayConfig(takeover_idle=0.0))
    hops = core._flows._next_hops
    core.route_client(check(1), CLIENT, PROXY, 0.0)
    core.route_client(check(1), OTHER, PROXY, 0.0)
    assert hops == {A: 2}
    contended(core)
    assert hops == {A: 1, B: 1}
    core.route_transceiver(leg(CLIENT), B, 0.0)
    assert hops == {A: 1}
    for now in (31.0, 62.0):
        core.handle_timeout(now)
    assert hops == {}
