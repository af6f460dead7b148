"""What a fleet may have beyond a tier of IPv4 relays: that it comes, and how it is used."""

from collections.abc import Sequence
from typing import TypeVar

import pytest

from conformance.sim import layout
from conformance.sim.callers import Caller
from conformance.sim.dice import Dice
from conformance.sim.faults import Fault
from conformance.sim.layout import Feature, UnknownFeature
from conformance.sim.world import Settings, World
from stunroute.address import Address

T = TypeVar("T")


def world_of(seed: int, *features: Feature, **changes: object) -> World:
    values = {"sessions": 6, "kinds": (), "minutes": 0.4, **changes}
    return World(Settings(seed, features=features, **values))  # type: ignore[arg-type]


def first_world(*features: Feature, sites: int = 1, **changes: object) -> World:
    """Of the first seed that has a relay of ``sites`` public addresses, or an upstream one."""
    for seed in range(60):
        world = world_of(seed, *features, **changes)
        last = world.scene.relays[-1]
        if last.is_upstream if Feature.TIERS in features else len(last.publics) > sites:
            return world
    raise AssertionError(features)


def test_features_are_read_from_names() -> None:
    assert layout.parse("all") == tuple(Feature)
    assert layout.parse("none") == ()
    assert layout.parse("tiers, ipv6,tiers") == (Feature.TIERS, Feature.IPV6)
    with pytest.raises(UnknownFeature, match="'ipv5' is none of ipv6"):
        layout.parse("ipv5")


def test_without_features_a_fleet_has_one_ipv4_address_for_each_relay() -> None:
    for seed in range(20):
        world = world_of(seed)
        for site in world.scene.relays:
            assert len(site.publics) == 1
            assert site.publics[0].is_ipv4
            assert not site.is_upstream
        assert all(len(caller.ways) == 1 for caller in world.callers)


def test_no_two_relays_have_an_address_in_common() -> None:
    for seed in range(60):
        sites = world_of(seed, *Feature).scene.relays
        addresses = [each for site in sites for each in (*site.publics, *site.workers)]
        assert len(set(addresses)) == len(addresses)


def test_some_people_have_ipv6_and_are_reached_there() -> None:
    world = world_of(1, Feature.IPV6, sessions=12)
    families = {tuple(sorted(caller.outsides)) for caller in world.callers}
    assert len(families) >= 2
    report = world.run()
    assert report.failure is None, report.failure
    assert any(not client.is_ipv4 for client, _ in world.checks._used)
    assert all(client.is_ipv4 is proxy.is_ipv4 for client, proxy in world.checks._used)


def test_a_nat_gives_another_ipv6_address_too() -> None:
    world = world_of(1, Feature.IPV6, sessions=12)
    caller = next(each for each in world.callers if not each.relay.is_ipv4)
    before = dict(caller.outsides)
    caller.move()
    assert caller.outside != before[False]
    assert not caller.outside.is_ipv4
    assert caller.outsides.get(True) == before.get(True)
    assert world._behind[caller.outside] is caller
    assert world._behind.get(before[False]) is not caller


def test_people_turn_to_other_addresses_and_families() -> None:
    wanted = {"turns", "other addresses", "other families"}
    for seed in range(10):
        report = world_of(seed, *Feature, sessions=8).run()
        assert report.failure is None, report.failure
        wanted -= {name for name in wanted if report.events[name]}
        if not wanted:
            return
    raise AssertionError(wanted)


class Decided(Dice):
    """Dice of somebody who always wants the last address that there is."""

    def happens(self, probability: float) -> bool:
        return probability > 0.0

    def pick(self, choices: Sequence[T]) -> T:
        return choices[-1]


@pytest.mark.parametrize("turns", [True, False], ids=["in-mid-call", "with-an-ice-restart"])
def test_a_call_goes_on_where_its_client_changes_the_ip_version(
    turns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[int, bool]] = []
    echoed = World.echoed

    def hear(self: World, caller: Caller, payload: bytes) -> None:
        heard.append((caller.number, caller.outside.is_ipv4))
        echoed(self, caller, payload)

    monkeypatch.setattr(World, "echoed", hear)
    world = world_of(1, Feature.IPV6, sessions=12, minutes=1.0)
    caller = next(each for each in world.callers if len({a.is_ipv4 for a in each.ways}) == 2)
    caller.restless = False
    while caller.client is None or not caller.client.secured:
        world.loop.run(world.loop.now + 0.1)
    client, call, before = caller.client, caller.call, caller.client.server
    caller._whims = Decided("last")
    caller.ways = tuple(sorted(caller.ways, key=lambda each: each.is_ipv4 is not before.is_ipv4))
    if turns:
        caller._turn(caller.calls)
    else:
        caller._restart()
    world.loop.run(world.loop.now + 2.0)
    assert client.server is not None
    assert client.server.is_ipv4 is not before.is_ipv4
    heard.clear()
    world.loop.run(world.loop.now + 3.0)
    assert (caller.client, caller.call) == (client, call)
    assert (caller.number, not before.is_ipv4) in heard
    assert not client.closed
    assert caller.events["restarts"] == (0 if turns else 1)


def test_calls_go_through_two_relays() -> None:
    world = first_world(Feature.TIERS)
    report = world.run()
    assert report.failure is None, report.failure
    assert report.passed["headers between relays"]
    assert report.passed["addresses behind another"]
    assert report.recovered_living


def test_either_tier_may_be_killed() -> None:
    struck = set()
    for seed in range(30):
        world = world_of(seed, Feature.TIERS, kinds=(Fault.RELAY, Fault.WORKER))
        if world.scene.relays[-1].is_upstream:
            for spell in world.plan.spells:
                struck.add(world.any_worker(spell).site.is_upstream)
            report = world.run()
            assert report.failure is None, report.failure
        if len(struck) == 2:
            return
    raise AssertionError(struck)


def test_the_leg_between_two_relays_suffers_too() -> None:
    inner = Address.of("10.2.0.1", 4000)
    for seed in range(40):
        world = world_of(seed, Feature.TIERS, kinds=(Fault.LEG,))
        if world.scene.relays[-1].is_upstream:
            behind = {worker.inner for worker in world.workers} - {inner}
            for spell in world.plan.spells:
                world.some_legs(spell)
            if any(inner in way and behind & set(way) for way in world._legs):
                return
    raise AssertionError("no spell ever strikes between two relays")


def test_everybody_has_a_way() -> None:
    sites = world_of(0, Feature.IPV6).scene.relays
    for number in range(50):
        ways = layout.reachable((Feature.IPV6,), sites, sites[0], Dice(f"ways {number}"))
        assert ways
        assert set(ways) <= set(sites[0].publics)
