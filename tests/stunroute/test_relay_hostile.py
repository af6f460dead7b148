"""What a stranger, or a transceiver gone wrong, may write into addresses and headers."""

import pytest

from fleet import CLIENTS, PROXY, A, check, leg, relay, rtp
from stunroute.address import Address
from stunroute.allowance import TokenBucket
from stunroute.config import RelayConfig
from stunroute.flow import Flow
from stunroute.relay import Held
from stunroute.trace import Drop

NOWHERE = [
    Address.of("198.51.100.7", 0),
    Address.of("0.0.0.0", 4000),
    Address.of("255.255.255.255", 4000),
    Address.of("239.1.1.1", 4000),
    Address.of("::", 4000),
    Address.of("ff02::1", 4000),
]


@pytest.mark.parametrize("client", NOWHERE, ids=str)
class TestNowhere:
    """Its session's answers and media would each cost a system call that fails, and might go to
    more than one host."""

    def test_a_check_from_there_makes_no_flow(self, client: Address) -> None:
        core = relay()
        assert core.route_client(check(1), client, PROXY, 0.0) is Drop.NO_WAY_BACK
        assert core.flows == 0

    def test_nor_does_a_transceiver_s_packet(self, client: Address) -> None:
        core = relay()
        for payload in (rtp(1), b""):
            route = core.route_transceiver(leg(client, payload), A, 0.0)
            assert route is Drop.LEG_MALFORMED
        assert core.flows == 0


def stranger(number: int) -> Address:
    return Address.of(f"203.0.113.{number & 255}", 1000 + (number >> 8))


def test_who_has_a_call_cannot_use_up_what_others_need_to_rebind() -> None:
    core = relay(config=RelayConfig(by_ssrc_rate=100.0, by_source_rate=20.0))
    for client, ssrc in zip(CLIENTS[:2], (7, 8), strict=True):
        core.route_client(check(1), client, PROXY, 0.0)
        core.route_client(rtp(ssrc), client, PROXY, 0.0)
    routed = [core.route_client(rtp(7), stranger(n), PROXY, 0.0) for n in range(500)]
    assert sum(isinstance(route, Flow) for route in routed) == 20
    assert isinstance(core.route_client(rtp(8), CLIENTS[5], PROXY, 0.0), Flow)


class TestStrangersAndTheStore:
    """To ask it for somebody costs many times what a stranger's packet otherwise does."""

    def test_only_so_many_are_asked_for(self) -> None:
        core = relay(config=RelayConfig(store=True, lookup_rate=10.0))
        for number in range(50):
            route = core.route_client(rtp(9), stranger(number), PROXY, 0.0)
            assert route is (Held.HELD if number < 10 else Drop.NO_FLOW)
            core.restore(stranger(number), None, 0.0)  # it answers at once: the room is empty
        assert core.counters.held == 10
        assert core.route_client(rtp(9), stranger(50), PROXY, 0.15) is Held.HELD

    def test_a_client_that_waits_may_go_on(self) -> None:
        core = relay(config=RelayConfig(store=True, lookup_rate=1.0, waiting_packets=3))
        routes = [core.route_client(rtp(9), CLIENTS[0], PROXY, 0.0) for _ in range(4)]
        assert routes == [Held.HELD, Held.HELD, Held.HELD, Drop.NO_FLOW]

    def test_the_adapter_may_refuse_the_others_itself(self) -> None:
        core = relay(config=RelayConfig(store=True, lookup_rate=1.0))
        assert not core.refuses_strangers(0.0)
        core.route_client(rtp(9), CLIENTS[0], PROXY, 0.0)
        assert core.refuses_strangers(0.5)
        assert not core.refuses_strangers(1.1)
        assert relay().refuses_strangers(0.0)


@pytest.mark.parametrize(("rate", "burst"), [(0.0, 2.0), (0.0, 0.0), (3.0, 1.0), (0.5, 0.5)])
def test_a_bucket_says_beforehand_what_may_be_taken(rate: float, burst: float) -> None:
    bucket = TokenBucket(rate, burst)
    for step in range(30):
        expected = bucket.has_one(step / 10)
        assert bucket.take(step / 10) == expected
