"""Each kind of fault really happens, when the plan says so, and is over when it says so."""

from collections import Counter

import pytest

from conformance.sim import faults
from conformance.sim.dice import Dice
from conformance.sim.faults import Fault, UnknownFault
from conformance.sim.world import Settings, World

SOON = 0.0001
"""Seconds; more than a tick."""


def world_of(*kinds: Fault, seed: int = 3, **changes: object) -> World:
    values = {"sessions": 6, "kinds": kinds, "minutes": 0.5, **changes}
    return World(Settings(seed, **values))  # type: ignore[arg-type]


EVIDENCE: dict[Fault, tuple[str, ...]] = {
    Fault.LOSS: ("lost",),
    Fault.REORDER: ("reordered",),
    Fault.DUPLICATE: ("duplicated",),
    Fault.CORRUPT: ("corrupted",),
    Fault.MTU: ("too long",),
    Fault.BLACKOUT: ("cut",),
    Fault.SIGNALLING: ("signalling refused",),
}
"""What the network and signalling count."""


@pytest.mark.parametrize("kind", EVIDENCE)
def test_faults_of_the_network_happen(kind: Fault) -> None:
    seen = []
    for seed in range(8):
        report = world_of(kind, seed=seed, sessions=10).run()
        assert report.failure is None, report.failure
        assert report.faults[kind.value] >= 1
        seen += [name for name in EVIDENCE[kind] if report.faults[name]]
        if seen:
            break
    assert seen


def test_a_world_without_faults_has_none() -> None:
    report = world_of().run()
    assert report.failure is None
    assert report.kinds == ()
    assert not report.faults


def test_delay_shows_while_it_lasts() -> None:
    world = world_of(Fault.DELAY)
    links = [link for caller in world.callers for link in (caller.up, caller.down)]
    world.loop.run(world.plan.spells[0].begins + SOON)
    assert any(link.conditions.delay > link.usual.delay for link in links)
    world.loop.run(max(spell.ends for spell in world.plan.spells) + SOON)
    assert all(link.conditions == link.usual for link in links)


def test_the_leg_suffers_too() -> None:
    world = world_of(Fault.LEG)
    world.loop.run(world.plan.spells[0].begins + SOON)
    assert any(link.conditions != link.usual for link in world._legs.values())


def test_a_nat_gives_another_address_and_the_old_one_leads_nowhere() -> None:
    world = world_of(Fault.NAT)
    spell = world.plan.spells[0]
    world.loop.run(spell.begins - SOON)
    before = {caller.number: caller.outside for caller in world.some_callers(spell)}
    world.loop.run(spell.begins + SOON)
    for number, old in before.items():
        caller = world.callers[number]
        assert caller.outside != old
        assert world._behind[caller.outside] is caller
        assert world._behind.get(old) is not caller


def test_addresses_are_used_again() -> None:
    world = world_of(sessions=30)
    had: dict[bytes, set[int]] = {}
    for _ in range(20):
        for caller in world.callers:
            caller.move()
            had.setdefault(caller.outside, set()).add(caller.number)
    assert any(len(callers) > 1 for callers in had.values())
    assert len(world._behind) == sum(len(caller.outsides) for caller in world.callers)


@pytest.mark.parametrize("kind", [Fault.RELAY, Fault.WORKER])
def test_workers_die_and_come_back_empty(kind: Fault) -> None:
    world = world_of(kind)
    spell = world.plan.spells[0]
    worker = world.any_worker(spell)
    world.loop.run(spell.begins - SOON)
    before = worker.core
    world.loop.run(spell.begins + SOON)
    assert worker.core is None
    assert all((each.core is None) == (kind is Fault.RELAY) for each in worker.siblings)
    world.loop.run(spell.ends + SOON)
    assert worker.core is not None
    assert worker.core is not before


def test_transceivers_die_with_their_sessions() -> None:
    world = world_of(Fault.TRANSCEIVER)
    spell = world.plan.spells[0]
    host = world.any_host(spell)
    world.loop.run(spell.begins + SOON)
    assert host.core is None
    world.loop.run(spell.ends + SOON)
    assert host.core is not None
    report = world.run()
    assert report.failure is None


def test_a_drained_transceiver_takes_no_calls_and_goes() -> None:
    world = world_of(Fault.DRAIN)
    spell = world.plan.spells[0]
    host = world.any_host(spell)
    world.loop.run(spell.begins + SOON)
    assert host.draining
    world.loop.run(spell.begins + 0.9 * (spell.ends - spell.begins))
    assert host.core is None
    world.loop.run(spell.ends + SOON)
    assert host.core is not None
    assert not host.draining


def test_clocks_jump_forward_only() -> None:
    world = world_of(Fault.CLOCK)
    clocks = [each.clock for each in (*world.workers, *world.hosts, *world.callers)]
    before = [clock.offset for clock in clocks]
    world.loop.run(world.plan.spells[-1].ends + SOON)
    after = [clock.offset for clock in clocks]
    assert all(new >= old for old, new in zip(before, after, strict=True))
    assert before != after


@pytest.mark.parametrize(
    ("kind", "attribute", "well"),
    [
        (Fault.STORE_SLOW, "latency", 0.001),
        (Fault.STORE_STALE, "past", None),
        (Fault.STORE_LIES, "lies", 0.0),
        (Fault.STORE_GONE, "gone", False),
    ],
)
def test_the_store_misbehaves_for_a_while(kind: Fault, attribute: str, well: object) -> None:
    world = world_of(kind)
    assert getattr(world.store, attribute) == well
    world.loop.run(world.plan.spells[0].begins + SOON)
    assert getattr(world.store, attribute) != well
    world.loop.run(max(spell.ends for spell in world.plan.spells) + SOON)
    assert getattr(world.store, attribute) == well


def test_lies_of_the_store_are_told_and_refused() -> None:
    kinds = (Fault.STORE_LIES, Fault.STORE_STALE, Fault.WORKER, Fault.RELAY, Fault.BLACKOUT)
    told: Counter[str] = Counter()
    for seed in range(30):
        told += world_of(*kinds, seed=seed, sessions=8).run().faults
        if told["forged"] and told["lie"] and told["refused"]:
            return
    raise AssertionError(told)


# --- plans ----------------------------------------------------------------------------------------


def test_kinds_are_read_from_names() -> None:
    assert faults.parse("all") == tuple(Fault)
    assert faults.parse("none") == ()
    assert faults.parse("nat, relay,nat") == (Fault.NAT, Fault.RELAY)
    with pytest.raises(UnknownFault, match="'gremlins' is none of loss"):
        faults.parse("nat,gremlins")


def test_a_plan_keeps_to_its_kinds_and_its_time() -> None:
    plan = faults.draw((Fault.NAT, Fault.LOSS), 10.0, 50.0, Dice("plan"))
    assert plan.kinds == (Fault.NAT, Fault.LOSS)
    assert {spell.kind for spell in plan.spells} == {Fault.NAT, Fault.LOSS}
    assert all(10.0 <= spell.begins <= spell.ends <= 50.0 for spell in plan.spells)


def test_all_means_some_for_each_seed_and_all_of_them_in_the_end() -> None:
    plans = [faults.draw(tuple(Fault), 0.0, 9.0, Dice(str(seed))) for seed in range(40)]
    assert all(0 < len(plan.kinds) < len(Fault) for plan in plans)
    assert {kind for plan in plans for kind in plan.kinds} == set(Fault)


@pytest.mark.parametrize("kind", faults.NETWORK)
@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_conditions_are_such_that_a_link_can_have(kind: Fault, strength: float) -> None:
    values = faults.conditions(kind, strength, Dice("conditions"))
    for name, value in values.items():
        if name in ("to_bad", "to_good", "loss_good", "loss_bad", "reorder", "duplicate"):
            assert 0.0 <= value <= 1.0
    with pytest.raises(ValueError, match="no fault of a link"):
        faults.conditions(Fault.NAT, 1.0, Dice("conditions"))
