"""Verification at the edge: whose checks cost a hash, and how many do."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from fleet import CLIENTS, KEYRING, PROXY, A, B, check, forged, leg, relay, rtp, success, ufrag
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


def taken(made: Edge, who: Address, *, now: float = 0.0) -> int:
    """How many checks of ``who`` may cost a hash at once."""
    return next(n for n in range(1000) if not made.may_verify(who, now))


def verified(who: Address) -> Flow:
    return Flow(who, PROXY, A, 0.0, 0.0, 0.0, verified=True)


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("203.0.113.77", "203.0.113.0"),
        ("2001:db8:0:12ff:1:2:3:4", "2001:db8:0:1200::"),
    ],
)
def test_networks(host: str, network: str) -> None:
    assert network_of(Address.of(host, 5000)).ljust(18, b"\0") == Address.of(network, 0)


@given(addresses)
def test_a_network_is_its_own_network(address: Address) -> None:
    assert network_of(network_of(address)) == network_of(address)


class TestBuckets:
    def test_a_network_has_one_bucket_whatever_host_and_port(self) -> None:
        made = edge()
        assert taken(made, client(1, 1, 1)) == 5
        assert not made.may_verify(client(1, 2, 9), 0.0)
        assert taken(made, client(2)) == 5

    def test_it_fills_again(self) -> None:
        made = edge()
        taken(made, client(1))
        assert taken(made, client(1), now=0.3) == 3
        assert taken(made, client(1), now=100.0) == 5

    def test_a_verified_client_has_its_own(self) -> None:
        made = edge()
        taken(made, client(1, 1))
        for host in (7, 8):
            flow = verified(client(1, host))
            assert [made.may_verify_again(flow, 0.0) for _ in range(7)] == [True] * 5 + [False] * 2
            assert [made.may_verify_again(flow, 0.31) for _ in range(4)] == [True] * 3 + [False]
            assert sum(made.may_verify_again(flow, 100.0) for _ in range(7)) == 5

    def test_verified_clients_do_not_crowd_one_another_out(self) -> None:
        """A relay has many more of them than it counts networks."""
        core = relay(config=CONFIG)
        callers = [client(n, 1, 5000) for n in range(100)]
        for now, caller in enumerate(callers):
            assert isinstance(core.route_client(check(1), caller, PROXY, float(now)), Flow)
        for caller in callers:
            assert isinstance(core.route_client(check(1), caller, PROXY, 100.0), Flow)
        assert core.counters.drops == {}

    def test_more_networks_than_are_counted_share_one(self) -> None:
        made = edge()
        assert [taken(made, client(n)) for n in range(4)] == [5] * 4
        assert taken(made, client(4)) == 5
        assert not made.may_verify(client(5), 0.0)

    def test_a_bucket_is_forgotten_only_when_it_is_full_again(self) -> None:
        """Otherwise whoever waits for the swap begins anew too early."""
        made = edge()
        total = sum(made.may_verify(client(1), step / 100) for step in range(1000))
        assert total <= 5 + 10 * 10

    @given(st.lists(st.tuples(st.integers(0, 255), st.floats(0, 10)), max_size=200))
    def test_memory_is_bounded(self, visits: list[tuple[int, float]]) -> None:
        made = edge()
        now = 0.0
        for network, pause in visits:
            now += pause
            made.may_verify(client(network), now)
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

    def test_forged_checks_from_its_own_address_do_not_cut_it_off(self) -> None:
        """Who knows no more than where a client is can forge that, and no hint."""
        core = relay(config=CONFIG)
        victim = CLIENTS[0]
        flow = core.route_client(check(1), victim, PROXY, 0.0)
        for name in (b"x", b"z" * 26, b"0" * 26, ufrag(7), ufrag(2)):
            for _ in range(20):
                core.route_client(check(1, name=name, password=b"x" * 32), victim, PROXY, 0.0)
        assert core.route_client(check(1), victim, PROXY, 0.0) is flow

    def test_a_flood_that_drowns_its_checks_does_not_make_it_look_gone(self) -> None:
        """Who knows a hint of its next hop, and has a session elsewhere, could else have both."""
        core = relay(config=CONFIG)
        victim = CLIENTS[0]
        core.route_client(check(1), victim, PROXY, 0.0)
        core.route_transceiver(leg(victim, success()), A, 0.0)
        for second in range(1, 40):
            for _ in range(20):
                core.route_client(forged(1), victim, PROXY, float(second))
            assert core.route_client(check(1), victim, PROXY, float(second)) is Drop.EDGE_RATE
            core.route_transceiver(leg(victim, rtp(1)), A, float(second))
            core.route_client(check(2), victim, PROXY, float(second))
            core.route_transceiver(leg(victim, success()), B, float(second))
            flow = core.flow(victim)
            assert flow is not None
            assert flow.next_hop == A, f"taken over after {second} s"

    def test_nor_does_one_after_a_restart_when_nothing_is_verified_yet(self) -> None:
        core = relay(config=CONFIG)
        victim = CLIENTS[0]
        core.route_transceiver(leg(victim, rtp(1)), A, 0.0)
        for second in range(1, 40):
            core.route_client(check(2), victim, PROXY, float(second))
            core.route_transceiver(leg(victim, success()), B, float(second))
            for _ in range(20):
                core.route_client(forged(1), victim, PROXY, float(second))
            assert core.route_client(check(1), victim, PROXY, float(second)) is Drop.EDGE_RATE
            core.route_transceiver(leg(victim, rtp(1)), A, float(second))
            flow = core.flow(victim)
            assert flow is not None
            assert flow.next_hop == A, f"taken over after {second} s"

    def test_a_verified_client_has_its_bound_too(self) -> None:
        core = relay(config=CONFIG)
        for _ in range(20):
            core.route_client(check(1), CLIENTS[0], PROXY, 0.0)
        assert core.counters.drops == {Drop.EDGE_RATE: 14}

    def test_who_does_not_verify_does_not_count(self) -> None:
        core = relay(config=RelayConfig(verify=Verify.OWNER, edge_rate=1.0, edge_burst=1.0))
        for _ in range(5):
            assert isinstance(core.route_client(check(1), CLIENTS[0], PROXY, 0.0), Flow)


SESSIONS = RelayConfig(session_rate=2.0, session_burst=3.0, sessions=2)


def somebody(number: int) -> Address:
    return Address.of(f"203.0.{number >> 8}.{number & 255}", 4000)


class TestSessions:
    """Whoever holds a session, or has recorded one of its checks, may send that from anywhere."""

    @pytest.mark.parametrize("verify", [Verify.EDGE, Verify.OWNER])
    def test_a_check_that_is_replayed_from_everywhere_does_not_fill_the_table(
        self, verify: Verify
    ) -> None:
        core = relay(config=evolve(SESSIONS, verify=verify))
        for number in range(100):
            core.route_client(check(1), somebody(number), PROXY, 0.0)
        assert core.flows == 3
        assert core.counters.drops == {Drop.SESSION_RATE: 97}
        assert isinstance(core.route_client(check(2), CLIENTS[0], PROXY, 0.0), Flow)
        assert isinstance(core.route_client(check(1), somebody(0), PROXY, 0.0), Flow)
        assert (
            sum(
                isinstance(core.route_client(check(1), somebody(200 + n), PROXY, 1.0), Flow)
                for n in range(10)
            )
            == 2
        )

    def test_nor_does_it_contend_for_every_call(self) -> None:
        core = relay(config=SESSIONS)
        for client in CLIENTS:
            name = ufrag(1)
            core.route_client(check(1, name=name), client, PROXY, 0.0)
        for _ in range(3):  # a contender that waits already costs nothing
            for client in CLIENTS:
                core.route_client(check(2), client, PROXY, 0.0)
        assert core.contenders == 3
        assert core.counters.drops == {Drop.SESSION_RATE: 9}

    def test_those_that_made_one_last_are_remembered(self) -> None:
        made = edge(SESSIONS)
        first, second, third = (ufrag(1) for _ in range(3))
        for _ in range(3):
            assert made.may_make(first, 0.0)
        assert made.may_make(second, 0.0)
        assert not made.may_make(first, 0.0)
        assert made.may_make(third, 0.0)
        assert len(made._makers) == 2
        assert made.may_make(first, 0.0)  # long unused when the third came

    def test_a_forged_check_takes_nothing_from_a_session(self) -> None:
        core = relay(config=SESSIONS)
        for number in range(20):
            core.route_client(forged(1), somebody(number), PROXY, 0.0)
        assert core.counters.drops == {Drop.EDGE_INTEGRITY: 20}
        assert isinstance(core.route_client(check(1), CLIENTS[0], PROXY, 0.0), Flow)
