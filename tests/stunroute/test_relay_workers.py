"""A client whose NAT has rebound may come to a worker that has never seen its flow."""

import pytest

from fleet import CLIENTS, DIRECTORY, KEYRING, PROXY, A, B, check, relay, rtcp, rtp
from stunroute.address import Address
from stunroute.config import RelayConfig
from stunroute.flow import Flow
from stunroute.relay import Relay
from stunroute.trace import Drop

CLIENT, OTHER, THIRD = CLIENTS[:3]
CONFIG = RelayConfig()


def routed(core: Relay, data: bytes, client: Address = CLIENT, now: float = 0.0) -> Flow:
    route = core.route_client(data, client, PROXY, now)
    assert isinstance(route, Flow), route
    return route


def drop_of(core: Relay, data: bytes, client: Address = CLIENT, now: float = 0.0) -> Drop:
    route = core.route_client(data, client, PROXY, now)
    assert isinstance(route, Drop), route
    return route


def pair() -> tuple[Relay, Relay]:
    here, there = (
        Relay(CONFIG, KEYRING, DIRECTORY, proxies=[PROXY], shares_sources=True) for _ in range(2)
    )
    routed(here, check(1))
    routed(here, rtp(7))
    return here, there


def test_its_media_finds_its_session() -> None:
    here, there = pair()
    assert drop_of(there, rtp(7), OTHER) is Drop.NO_FLOW
    there.learn_sources(here.take_sources(), 0.0)
    assert routed(there, rtp(7), OTHER).next_hop == A
    assert routed(there, rtcp(7), OTHER).next_hop == A
    assert 7 in there.sources
    assert there.flows == 0
    assert there.counters.by_ssrc == 2
    assert here.take_sources() == {}


@pytest.mark.parametrize("first", ["here", "elsewhere"])
def test_a_source_of_owners_here_and_elsewhere_finds_nobody(first: str) -> None:
    """Found by the case relay/rebinding/source-of-two-owners, of a relay with three workers."""
    _, there = pair()
    routed(there, check(2), THIRD)
    if first == "elsewhere":
        there.learn_sources({7: A}, 0.0)
    routed(there, rtp(7), THIRD)
    if first == "here":
        assert routed(there, rtp(7), OTHER).next_hop == B
        there.learn_sources({7: A}, 0.0)
    assert drop_of(there, rtp(7), OTHER) is Drop.NO_FLOW
    assert routed(there, rtp(7), THIRD).next_hop == B


def test_a_source_of_two_owners_elsewhere_finds_nobody() -> None:
    _, there = pair()
    there.learn_sources({7: A}, 0.0)
    there.learn_sources({7: B}, 0.0)
    assert drop_of(there, rtp(7), OTHER) is Drop.NO_FLOW
    for now in (31.0, 62.0, 93.0):  # and one that is told anew is believed after a while
        while (due := there.next_timeout()) is not None and due <= now:
            there.handle_timeout(now)
        there.learn_sources({7: B}, now)
    assert routed(there, rtp(7), OTHER, now=93.0).next_hop == B


def test_an_owner_here_that_agrees_with_elsewhere_is_found() -> None:
    """A client that has rebound to another worker, and rebinds again."""
    _, there = pair()
    routed(there, check(1), THIRD)
    there.learn_sources({7: A}, 0.0)
    routed(there, rtp(7), THIRD)
    assert routed(there, rtp(7), OTHER).next_hop == A


def test_it_is_told_again_while_it_is_used_and_else_forgotten() -> None:
    here, there = pair()
    there.learn_sources(here.take_sources(), 0.0)
    for now in (31.0, 62.0, 93.0):
        for core in (here, there):
            core.handle_timeout(now)
        routed(here, rtp(7), now=now)
        there.learn_sources(here.take_sources(), now)
        assert routed(there, rtp(7), OTHER, now=now).next_hop == A
    for now in (124.0, 155.0, 186.0):
        while (due := there.next_timeout()) is not None and due <= now:
            there.handle_timeout(now)
    assert drop_of(there, rtp(7), OTHER, now=186.0) is Drop.NO_FLOW
    assert 7 not in there.sources
    assert there.next_timeout() is None


def test_nobody_outside_the_fleet_is_believed() -> None:
    _, there = pair()
    there.learn_sources({9: Address.of("192.0.2.99", 1)}, 0.0)
    assert drop_of(there, rtp(9), OTHER) is Drop.NO_FLOW


def test_it_is_bounded() -> None:
    config = RelayConfig(sources_elsewhere=3)
    core = Relay(config, KEYRING, DIRECTORY, proxies=[PROXY], shares_sources=True)
    core.learn_sources(dict.fromkeys(range(10), A), 0.0)
    assert sum(ssrc in core.sources for ssrc in range(10)) == 3
    routed(core, check(1))
    for ssrc in range(20, 30):
        routed(core, rtp(ssrc))
    assert len(core.take_sources()) == 3


def test_who_shares_with_nobody_gathers_nothing() -> None:
    core = relay()
    routed(core, check(1))
    routed(core, rtp(7))
    assert core.take_sources() == {}
