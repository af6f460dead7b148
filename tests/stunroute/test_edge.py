"""Verification at the edge: whose checks cost a hash, and how many do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet import CLIENTS, KEYRING, PROXY, check, forged, leg, relay, rtp, success
from strategies import addresses
from stunroute.address import Address
from stunroute.config import RelayConfig, Verify
from stunroute.edge import Edge, network_of
from stunroute.flow import Flow
from stunroute.trace import Drop

CONFIG = RelayConfig(edge_rate=10.0, edge_burst=5.0, edge_networks=4)


def edge(config: RelayConfig = CONFIG) -> Edge:
    return Edge(config, KEYRING)


def client(network: int, host: int = 1, port: int = 1) -> Address:
    return Address.of(f"203.0.{network}.{host}", port)


def taken(made: Edge, who: Address, *, known: bool = False, now: float = 0.0) -> int:
    """How many checks of ``who`` may cost a hash at once."""
    return next(n for n in range(1000) if not made.may_verify(who, known, now))


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("203.0.113.77", "203.0.113.0"),
        ("2001:db8:0:12ff:1:2:3:4", "2001:db8:0:1200::"),
    ],
)
def test_networks(host: str, network: str) -> None:
    assert network_of(Address.of(host, 5000)) == Address.of(network, 0)


@given(addresses)
def test_a_network_is_its_own_network(address: Address) -> None:
    assert network_of(network_of(address)) == network_of(address)


class TestBuckets:
    def test_a_network_has_one_bucket_whatever_host_and_port(self) -> None:
        made = edge()
        assert taken(made, client(1, 1, 1)) == 5
        assert not made.may_verify(client(1, 2, 9), False, 0.0)
        assert taken(made, client(2)) == 5

    def test_it_fills_again(self) -> None:
        made = edge()
        taken(made, client(1))
        assert taken(made, client(1), now=0.3) == 3
        assert taken(made, client(1), now=100.0) == 5

    def test_a_verified_client_has_its_own(self) -> None:
        made = edge()
        taken(made, client(1, 1))
        assert taken(made, client(1, 7), known=True) == 5
        assert taken(made, client(1, 8), known=True) == 5

    def test_more_networks_than_are_counted_share_one(self) -> None:
        made = edge()
        assert [taken(made, client(n)) for n in range(4)] == [5] * 4
        assert taken(made, client(4)) == 5
        assert not made.may_verify(client(5), False, 0.0)

    def test_a_bucket_is_forgotten_only_when_it_is_full_again(self) -> None:
        """Otherwise whoever waits for the swap begins anew too early."""
        made = edge()
        total = sum(made.may_verify(client(1), False, step / 100) for step in range(1000))
        assert total <= 5 + 10 * 10

    @given(st.lists(st.tuples(st.integers(0, 255), st.floats(0, 10)), max_size=200))
    def test_memory_is_bounded(self, visits: list[tuple[int, float]]) -> None:
        made = edge()
        now = 0.0
        for network, pause in visits:
            now += pause
            made.may_verify(client(network), False, now)
            assert len(made._young) <= 4
            assert len(made._old) <= 4


class TestInTheRelay:
    def test_a_flood_of_forged_checks_is_cut_and_makes_nothing(self) -> None:
        core = relay(config=CONFIG)
        data = forged(1)
        for _ in range(20):
            core.route_client(data, CLIENTS[0], PROXY, 0.0)
        assert core.counters.drops == {Drop.EDGE_INTEGRITY: 5, Drop.EDGE_RATE: 15}
        assert core.flows == 0

    def test_a_live_call_behind_the_same_nat_goes_on(self) -> None:
        core = relay(config=CONFIG)
        victim, attacker = CLIENTS[:2]
        flow = core.route_client(check(1), victim, PROXY, 0.0)
        assert isinstance(flow, Flow)
        for _ in range(20):
            core.route_client(forged(1), attacker, PROXY, 0.0)
        assert core.counters.drops[Drop.EDGE_RATE] > 0
        assert core.route_client(check(1), victim, PROXY, 0.0) is flow
        assert core.route_client(rtp(1), victim, PROXY, 0.0) is flow
        down = core.route_transceiver(leg(victim, success()), flow.next_hop, 0.0)
        assert not isinstance(down, Drop)

    def test_who_does_not_verify_does_not_count(self) -> None:
        core = relay(config=RelayConfig(verify=Verify.OWNER, edge_rate=1.0, edge_burst=1.0))
        for _ in range(5):
            assert isinstance(core.route_client(check(1), CLIENTS[0], PROXY, 0.0), Flow)
