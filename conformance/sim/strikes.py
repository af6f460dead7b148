"""What each kind of fault does to a world, and how it ends.

``faults`` says what happens when, and how hard, and knows no world; here is what that means for
one. What can be undone is undone when its spell is over.
"""

from typing import TYPE_CHECKING

from stunroute.directory import NodeState

from . import faults as plans
from .callers import Caller
from .dice import Dice
from .faults import Fault, Spell
from .network import Link
from .processes import Host, Worker

if TYPE_CHECKING:
    from .world import World


def strike(world: "World", spell: Spell) -> None:
    """Let one fault happen to a world."""
    match spell.kind:
        case Fault.LEG:
            kind = plans.NETWORK[spell.where // 11 % len(plans.NETWORK)]
            world.checks.leg_suspect |= kind is Fault.CORRUPT
            _spoil(world, spell, kind, world.some_legs(spell))
        case Fault.NAT:
            for caller in world.some_callers(spell):
                caller.move()
        case Fault.RELAY | Fault.WORKER:
            _kill_workers(world, spell)
        case Fault.TRANSCEIVER:
            host = world.any_host(spell)
            host.kill()
            world.until(spell, _start_host, world, host)
        case Fault.DRAIN:
            _drain(world, spell)
        case Fault.CLOCK:
            _jump(world, spell)
        case Fault.SIGNALLING:
            world.trouble_signalling(spell.strength * 0.8, 3.0 * (1.0 - spell.strength))
            world.until(spell, world.trouble_signalling, 0.0, 0.0)
        case kind if kind in plans.STORE:
            _spoil_store(world, spell)
        case kind:
            ways = [link for caller in world.some_callers(spell) for link in _ways(caller, spell)]
            _spoil(world, spell, kind, ways)


def _ways(caller: Caller, spell: Spell) -> list[Link]:
    return [[caller.up, caller.down], [caller.up], [caller.down]][spell.where // 5 % 3]


def _spoil(world: "World", spell: Spell, kind: Fault, links: list[Link]) -> None:
    dice = Dice(f"{world.scene.seed} {spell.where} {spell.begins}")
    values = plans.conditions(kind, spell.strength, dice)
    for link in links:
        link.change(values)
        world.until(spell, link.mend, tuple(values))


def _kill_workers(world: "World", spell: Spell) -> None:
    victim = world.any_worker(spell)
    whole = spell.kind is Fault.RELAY
    for worker in [victim, *(victim.siblings if whole else ())]:
        if worker.core is not None:
            worker.kill()
            world.until(spell, worker.start)


def _start_host(world: "World", host: Host) -> None:
    if host.core is None:
        host.start()
        world.mark(host.node, NodeState.ACTIVE)


def _drain(world: "World", spell: Spell) -> None:
    """Kubernetes takes a transceiver away: it drains, its node is given nothing more, it goes."""
    host = world.any_host(spell)
    if host.core is not None:
        world.mark(host.node, NodeState.DRAINING)
        host.drain(0.6 * (spell.ends - spell.begins))

    def go() -> None:
        world.mark(host.node, NodeState.DRAINED)
        host.kill()
        world.until(spell, _start_host, world, host)

    world.loop.at(spell.begins + 0.8 * (spell.ends - spell.begins), go)


def _jump(world: "World", spell: Spell) -> None:
    """A process's machine was suspended for up to a minute, mostly for less."""
    seconds = 60.0 * spell.strength**3
    processes: list[Worker | Host | Caller] = [*world.workers, *world.hosts, *world.callers]
    victim = processes[spell.where % len(processes)]
    victim.jump(seconds)
    if isinstance(victim, Worker) and victim.store is not None:
        victim.store.skew += 40.0 * (spell.strength - 0.5)


def _spoil_store(world: "World", spell: Spell) -> None:
    store = world.store
    world.checks.store_suspect = True
    match spell.kind:
        case Fault.STORE_SLOW:
            store.latency = 0.02 + 1.5 * spell.strength**2
            world.until(spell, setattr, store, "latency", 0.001)
        case Fault.STORE_STALE:
            store.past = dict(store.values)
            world.until(spell, setattr, store, "past", None)
        case Fault.STORE_LIES:
            store.lies = 0.2 + 0.8 * spell.strength
            world.until(spell, setattr, store, "lies", 0.0)
        case Fault.STORE_GONE:
            store.gone = True
            if spell.where % 2:
                store.values.clear()
            world.until(spell, setattr, store, "gone", False)
