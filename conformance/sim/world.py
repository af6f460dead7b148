"""The whole of it: everybody who takes part, what lies between them, and the course of a run.

A run has four parts. Calls come up while all is well. Then the plan's faults strike, and people
live their lives: they hang up, call again, restart ICE. When the last fault is over the world is
calm, and everybody must be back within their bound. At last all hang up, and nothing may be left.
"""

import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from struct import Struct
from typing import Any, Protocol

from attrs import define, field, frozen

from stunroute.address import Address
from stunroute.directory import NodeState
from stunroute.instant import Instant
from stunroute.trace import Drop
from transceiver.errors import AtCapacity, UnknownCall
from transceiver.events import EndReason

from . import faults as plans
from . import layout, recovery
from . import scene as scenes
from .callers import Caller, Refusal
from .checks import Checks, Violation
from .dice import Dice
from .faults import Fault, Plan, Spell
from .layout import Feature
from .loop import START, Clock, Loop, Stuck
from .network import Conditions, Link
from .processes import Host, Worker
from .recovery import Recovery
from .scene import Nodes, Scene
from .store import Store, StoreAdapter
from .strikes import strike

CALLING = 4.0
"""Seconds within which everybody makes a first call, before anything goes wrong."""
WARMING = 3.0
LINGER = 70.0
"""After everybody has hung up: the longest that a session outlives its client, with what it honours
after a restart; flows come on top."""
ROUND_TRIP = 0.05
"""Of signalling, while all is well."""
_STAMP = Struct(">d")


class Witness(Protocol):
    """Who is told of every datagram, and of what befalls whom; it must change nothing."""

    def datagram(
        self, at: Instant, source: Address, destination: Address, data: bytes, note: str
    ) -> None: ...
    def event(self, at: Instant, what: str) -> None: ...
    def secret(self, line: str) -> None: ...


@frozen(slots=True)
class Settings:
    """What a run is drawn from. ``minutes`` is how long the faults go on, None: as the seed says.
    ``pace``: seconds between a client's packets of audio. ``plain``: for measuring (see
    ``scene.draw``), without faults and with calls that last to the end. ``features``: what its
    fleet may have beyond a tier of IPv4 relays."""

    seed: int
    sessions: int = 5
    kinds: tuple[Fault, ...] = tuple(Fault)
    minutes: float | None = None
    pace: float = 1.0
    plain: bool = False
    features: tuple[Feature, ...] = tuple(Feature)


@frozen(slots=True)
class Failure:
    """``rule`` is that of ``checks``, ``exception`` or ``stuck``."""

    rule: str
    what: str
    at: Instant


@define(slots=True)
class Report:
    """What happened in a run. Durations are seconds of virtual time."""

    settings: Settings
    digest: str = ""
    failure: Failure | None = None
    kinds: tuple[str, ...] = ()
    seconds: float = 0.0
    session_seconds: float = 0.0
    packets: int = 0
    calls: int = 0
    faults: Counter[str] = field(factory=Counter)
    drops: Counter[str] = field(factory=Counter)
    events: Counter[str] = field(factory=Counter)
    passed: Counter[str] = field(factory=Counter)
    living: int = 0
    """Sessions that lived when the faults ended."""
    recovered_living: list[float] = field(factory=list)
    recovered_lost: list[float] = field(factory=list)
    recovered_messages: list[float] = field(factory=list)


@define(slots=True, eq=False, repr=False)
class World:
    """``run`` does it all. A ``processes.Wires`` and a ``callers.Exchange``."""

    settings: Settings
    witness: Witness | None = None
    scene: Scene = field(init=False)
    loop: Loop = field(init=False, factory=Loop)
    checks: Checks = field(init=False)
    plan: Plan = field(init=False)
    store: Store = field(init=False)
    directories: list[Nodes] = field(init=False, factory=list)
    """What relays know of nodes; those of a tier know the same."""
    workers: list[Worker] = field(init=False, factory=list)
    hosts: list[Host] = field(init=False, factory=list)
    callers: list[Caller] = field(init=False, factory=list)
    calm: bool = field(init=False, default=False)
    struck: Counter[str] = field(init=False, factory=Counter)
    packets: int = field(init=False, default=0)
    recovery: Recovery | None = field(init=False, default=None)
    _dice: Dice = field(init=False)
    _digest: Any = field(init=False, factory=lambda: blake2b(digest_size=16))
    _legs: dict[tuple[Address, Address], Link] = field(init=False, factory=dict)
    _behind: dict[Address, Caller] = field(init=False, factory=dict)
    """Who has an address of a NAT just now."""
    _given_up: dict[bool, list[Address]] = field(init=False, factory=dict)
    """By whether they are IPv4."""
    _faults_end: Instant = field(init=False, default=0.0)
    _refuses: float = field(init=False, default=0.0)
    _late: float = field(init=False, default=0.0)
    _by_inner: dict[Address, Worker] = field(init=False, factory=dict)
    _by_hop: dict[Address, Host] = field(init=False, factory=dict)
    _by_public: dict[Address, list[Worker]] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        settings = self.settings
        name = f"{settings.seed}"
        self._dice = Dice(f"{name} world")
        self.scene = scenes.draw(
            name,
            settings.sessions,
            plain=settings.plain,
            pace=settings.pace,
            features=settings.features,
        )
        self.checks = Checks(self.scene, self.loop)
        self.store = Store(self.loop, Dice(f"{name} store"), self.struck)
        minutes = settings.minutes
        lasts = self._dice.between(20.0, 45.0) if minutes is None else 60.0 * minutes
        begins = START + CALLING + WARMING
        kinds = () if settings.plain else settings.kinds
        self.plan = plans.draw(kinds, begins, begins + lasts, Dice(f"{name} faults"))
        self._faults_end = begins + lasts
        self._make_processes()
        self._make_callers()
        for spell in self.plan.spells:
            self.loop.at(spell.begins, self._strike, spell)

    # --- who takes part ---------------------------------------------------------------------------

    def _make_processes(self) -> None:
        scene = self.scene
        offsets = Dice(f"{scene.seed} clocks")
        tier = Nodes.of(scene.nodes)
        self.directories.append(tier)
        for site in scene.relays:
            directory = tier
            if site.is_upstream:
                directory = Nodes.of(site.hops)
                self.directories.append(directory)
            group = [
                Worker(
                    scene,
                    site,
                    address,
                    Clock(self.loop, float(offsets.below(100_000))),
                    directory,
                    self,
                    self.checks,
                    self._adapter,
                    {} if site.is_upstream else scene.upstream,
                )
                for address in site.workers
            ]
            for worker in group:
                worker.siblings.extend(each for each in group if each is not worker)
                self._by_inner[worker.inner] = worker
            self._by_public.update(dict.fromkeys(site.publics, group))
            self.workers.extend(group)
        for node, address in scene.nodes:
            clock = Clock(self.loop, float(offsets.below(100_000)))
            host = Host(scene, node, address, clock, self, self.checks)
            self._by_hop[address] = host
            self.hosts.append(host)

    def _adapter(self, worker: Worker) -> StoreAdapter:
        return StoreAdapter(
            self.store,
            worker.clock,
            self.scene.codec(worker.site),
            worker.found,
            tuple(address for _, address in worker.site.hops),
        )

    def _make_callers(self) -> None:
        scene, conditions = self.scene, self.scene.conditions
        for number in range(self.settings.sessions):
            name = f"{scene.seed} caller {number}"
            dice = Dice(name)
            caller = Caller(
                number,
                scene.seed,
                self._ways(number, dice),
                Clock(self.loop, float(dice.below(100_000))),
                self,
                Link(Dice(f"{name} up"), conditions, self.struck),
                Link(Dice(f"{name} down"), conditions, self.struck),
                scene.pace,
                dice,
                restless=not self.settings.plain,
            )
            self.callers.append(caller)
            self.loop.after(dice.unit() * CALLING, caller.dial)

    def _ways(self, number: int, dice: Dice) -> tuple[Address, ...]:
        """The public addresses that a caller may use."""
        scene, features = self.scene, self.settings.features
        home = dice.pick([site for site in scene.relays if not site.is_upstream])
        if not features or self.settings.plain:
            return home.publics
        dice = Dice(f"{scene.seed} ways {number}")
        return layout.reachable(features, scene.relays, home, dice)

    def mark(self, node: int, state: NodeState) -> None:
        """The operator tells all relays what a node may still be given."""
        for directory in self.directories:
            directory.mark(node, state)

    # --- what lies between ------------------------------------------------------------------------

    def _fly(
        self,
        link: Link,
        source: Address,
        destination: Address,
        data: bytes,
        land: Callable[..., None],
        *more: Any,
    ) -> None:
        self.packets += 1
        arrivals = link.carry(data, self.loop.now)
        if self.witness is not None:
            notes = "" if arrivals and arrivals[0][1] == data else "spoilt" if arrivals else "lost"
            self.witness.datagram(self.loop.now, source, destination, data, notes)
        for at, arrived in arrivals:
            self.loop.at(at, land, arrived, *more)

    def _leg(self, source: Address, destination: Address) -> Link:
        link = self._legs.get((source, destination))
        if link is None:
            conditions = Conditions(delay=0.0005)
            link = Link(Dice(f"{self.scene.seed} {source} {destination}"), conditions, self.struck)
            self._legs[source, destination] = link
        return link

    def _mark(self, data: bytes, who: Address) -> None:
        """Every arrival goes into the digest of the run."""
        self._digest.update(_STAMP.pack(self.loop.now) + who + data)

    def launch(self, caller: Caller, data: bytes, proxy: Address) -> None:
        source = caller.outsides[proxy.is_ipv4]
        self._fly(caller.up, source, proxy, data, self._at_port, source, proxy)

    def _at_port(self, data: bytes, source: Address, proxy: Address) -> None:
        group = self._by_public[proxy]
        if len(group) > 1:
            group = [worker for worker in group if worker.core is not None]
        if group:
            worker = _chosen(group, source)
            self._mark(data, worker.inner)
            worker.from_client(data, source, proxy)

    def way(self, source: Address, proxy: Address, node: int) -> Iterator[tuple[Worker, Address]]:
        """The relays between a client and a node, each with where it sends what is for the node,
        when all are up. The last may come back in the very instant in which the faults end."""
        worker: Worker | None = _chosen(self._by_public[proxy], source)
        while worker is not None:
            hop = dict(worker.site.hops)[node]
            yield worker, hop
            worker = self._by_inner.get(hop)

    def host_at(self, hop: Address) -> Host | None:
        """Whose inner address that is, None if it is a relay's."""
        return self._by_hop.get(hop)

    def on_leg(self, source: Address, destination: Address, data: bytes) -> None:
        leg = self._leg(source, destination)
        self._fly(leg, source, destination, data, self._at_inner, source, destination)

    def _at_inner(self, data: bytes, source: Address, destination: Address) -> None:
        self._mark(data, destination)
        host = self._by_hop.get(destination)
        if host is not None:
            host.receive(data, source)
        else:
            self._by_inner[destination].from_leg(data, source)

    def to_client(self, proxy: Address, client: Address, data: bytes) -> None:
        caller = self._behind.get(client)
        if caller is not None:
            self._fly(caller.down, proxy, client, data, self._at_nat, proxy, client)

    def _at_nat(self, data: bytes, proxy: Address, client: Address) -> None:
        caller = self._behind.get(client)
        if caller is not None:
            self._mark(data, client)
            caller.receive(data, proxy)

    def give_address(self, caller: Caller, ipv4: bool) -> None:
        """A NAT makes a new mapping: of a port of its own, or one that it has used before."""
        old = caller.outsides.get(ipv4)
        if old is not None and self._behind.get(old) is caller:
            del self._behind[old]
        given_up = self._given_up.setdefault(ipv4, [])
        if given_up and caller.dice.happens(0.3):
            fresh = given_up.pop(caller.dice.below(len(given_up)))
        else:
            fresh = self._unused(caller, ipv4)
        if old is not None and old != fresh:
            given_up.append(old)
            del given_up[:-64]
        caller.outsides[ipv4] = fresh
        self._behind[fresh] = caller

    def _unused(self, caller: Caller, ipv4: bool) -> Address:
        """Nobody's address just now, and not the one that the caller had last."""
        network, host = divmod(caller.number, 250)
        ip = f"100.{64 + network // 256}.{network % 256}.{1 + host}"
        if not ipv4:
            ip = f"2001:db8:100:{caller.number:x}::{1 + caller.dice.below(3):x}"
        fresh = old = caller.outsides.get(ipv4)
        while fresh is None or fresh == old or fresh in self._behind:
            fresh = Address.of(ip, 1024 + caller.dice.below(60_000))
        return fresh

    # --- signalling -------------------------------------------------------------------------------

    def _signal(self, act: Callable[..., None], *arguments: Any) -> None:
        self.loop.after(ROUND_TRIP / 2 + self._late * self._dice.unit(), act, *arguments)

    def open(self, caller: Caller, offer: str) -> None:
        self._signal(self._open, caller, caller.calls, offer)

    def _open(self, caller: Caller, number: int, offer: str) -> None:
        client = caller.client
        open_to = [host for host in self.hosts if host.core is not None and not host.draining]
        if number != caller.calls or client is None:
            return
        if not open_to or self._dice.happens(self._refuses):
            self.struck["signalling refused"] += 1
            self._signal(caller.answered, number, "", Refusal.BUSY)
            return
        host = self._dice.pick(open_to)
        core = host.core
        assert core is not None
        try:
            answered = core.open_call(offer, host.clock.now)
        except AtCapacity:
            self._signal(caller.answered, number, "", Refusal.BUSY)
            return
        self.checks.answers(answered.call, caller, client.ssrc, host)
        host.after(core)
        self._note(f"caller {caller.number} makes call {number}: {answered.call} at {host.node}")
        self._signal(caller.answered, number, answered.call, answered.answer)

    def reoffer(self, caller: Caller, offer: str) -> None:
        self._signal(self._reoffer, caller, caller.calls, caller.call, offer)

    def _reoffer(self, caller: Caller, number: int, name: str, offer: str) -> None:
        host = self.checks.calls[name].host
        core = host.core
        answer: str | Refusal
        if core is None or self._dice.happens(self._refuses):
            self._signal(self._ask_again, caller, number, name, offer)
            return
        try:
            answer = core.reoffer(name, offer, host.clock.now)
        except UnknownCall:
            answer = Refusal.UNKNOWN
        host.after(core)
        self._signal(caller.reanswered, number, answer)

    def _ask_again(self, caller: Caller, number: int, name: str, offer: str) -> None:
        if caller.calls == number and caller.client is not None:
            self.loop.after(1.0, self._reoffer, caller, number, name, offer)

    def hang_up(self, caller: Caller) -> None:
        self._signal(self._hang_up, caller.call)

    def _hang_up(self, name: str) -> None:
        call = self.checks.calls.get(name)
        if call is not None and call.host.core is not None:
            with suppress(UnknownCall):
                call.host.core.close_call(name, EndReason.HANGUP, call.host.clock.now)
            call.host.after(call.host.core)

    # --- what callers tell ------------------------------------------------------------------------

    def echoed(self, caller: Caller, payload: bytes) -> None:
        turn = self.checks.echoed(caller, payload)
        if self.recovery is not None:
            self.recovery.heard(caller, caller.said_at.get(turn), self.loop.now)

    def replied(self, caller: Caller, message: str | bytes) -> None:
        turn = self.checks.replied(caller, message)
        if self.recovery is not None:
            self.recovery.replied(caller, caller.message_at.get(turn), self.loop.now)

    def secured(self, caller: Caller) -> None:
        client = caller.client
        if self.witness is not None and client is not None and client.dtls is not None:
            self.witness.secret(client.dtls.key_log_line or "")

    def _note(self, what: str) -> None:
        self._digest.update(what.encode())
        if self.witness is not None:
            self.witness.event(self.loop.now, what)

    # --- faults -----------------------------------------------------------------------------------

    def _strike(self, spell: Spell) -> None:
        self.struck[spell.kind.value] += 1
        self._note(f"{spell.kind.value} until {spell.ends:.3f} (strength {spell.strength:.2f})")
        strike(self, spell)

    def until(self, spell: Spell, undo: Callable[..., None], *arguments: Any) -> None:
        """Have a fault's end happen when it is over."""
        self.loop.at(spell.ends, undo, *arguments)

    def any_worker(self, spell: Spell) -> Worker:
        return self.workers[spell.where % len(self.workers)]

    def any_host(self, spell: Spell) -> Host:
        return self.hosts[spell.where % len(self.hosts)]

    def some_callers(self, spell: Spell) -> list[Caller]:
        """One of them, or all."""
        if spell.where % 3 == 0:
            return self.callers
        return [self.callers[spell.where // 3 % len(self.callers)]]

    def some_legs(self, spell: Spell) -> list[Link]:
        """Both ways between a worker and a transceiver or an upstream relay, or one of them."""
        worker = self.any_worker(spell)
        partners = [address for _, address in worker.site.hops]
        partners += list(dict.fromkeys(worker.upstream.values()))
        partner = partners[spell.where // 7 % len(partners)]
        ways = [(worker.inner, partner), (partner, worker.inner)]
        return [self._leg(*way) for way in ways[: 1 + spell.where % 2]]

    def trouble_signalling(self, refuses: float, late: float) -> None:
        """From now on so many offers are refused, and answers are up to so many seconds late."""
        self._refuses, self._late = refuses, late

    # --- the course of a run ----------------------------------------------------------------------

    def run(self) -> Report:
        """The whole of it. Never raises: what was raised is in the report."""
        failure = None
        try:
            self._play()
        except Violation as error:
            failure = Failure(error.rule, str(error), self.loop.now)
        except Stuck as error:
            failure = Failure("stuck", str(error), self.loop.now)
        except Exception as error:
            where = traceback.format_exc(limit=-3)
            failure = Failure(
                "exception", f"{type(error).__name__}: {error}\n{where}", self.loop.now
            )
        return self._report(failure)

    def _play(self) -> None:
        self.loop.run(self._faults_end, self._look)
        self._become_calm()
        latest = self.loop.now + 300.0
        while self.loop.now < latest and self._is_missing():
            self.loop.run(self.loop.now + 1.0)
        self._look()
        for caller in self.callers:
            caller.stop()
        idle = max(site.config.idle_timeout for site in self.scene.relays)
        self.loop.run(self.loop.now + LINGER + 3 * idle)
        self._look()
        self.store.expire()
        self.checks.leaks(self.workers, self.hosts)
        self.checks.blame(self._drops())

    def _look(self) -> bool:
        self.checks.bounds(self.workers, self.hosts)
        return False

    def _is_missing(self) -> bool:
        assert self.recovery is not None
        return any(True for _ in self.recovery.missing(self.callers, self.loop.now))

    def _become_calm(self) -> None:
        """The faults are over. Who has a session now must keep it."""
        self.calm = True
        self.recovery = recovery.begin(self)
        self._note(f"the faults are over, {len(self.recovery.living)} sessions live")

    def _drops(self) -> list[tuple[str, Counter[Drop]]]:
        counted = []
        for worker in self.workers:
            now = worker.core.counters.drops if worker.core is not None else Counter[Drop]()
            counted.append((f"the worker at {worker.inner}", worker.drops + now))
        for host in self.hosts:
            own = host.core.drops if host.core is not None else Counter[Drop]()
            counted.append((f"transceiver {host.node}", host.drops + own))
        return counted

    def _report(self, failure: Failure | None) -> Report:
        report = Report(self.settings, self._digest.hexdigest(), failure)
        report.kinds = tuple(kind.value for kind in self.plan.kinds)
        report.seconds = self.loop.now - START
        report.packets = self.packets
        report.calls = sum(caller.calls for caller in self.callers)
        report.faults = self.struck
        report.passed = self.checks.passed
        for who, counted in self._drops():
            side = "transceiver" if who.startswith("transceiver") else "relay"
            for drop, count in counted.items():
                report.drops[f"{side} {drop.value}"] += count
        for caller in self.callers:
            report.events.update(caller.events)
            for name, count in caller.drops.items():
                report.drops[f"client {name}"] += count
        recovery = self.recovery
        ends = self._faults_end if recovery is None else recovery.ended
        report.session_seconds = self.settings.sessions * (max(ends, START) - START)
        if recovery is not None:
            report.living = len(recovery.living)
            for number, seconds in recovery.audio.items():
                lives = number in recovery.living
                (report.recovered_living if lives else report.recovered_lost).append(seconds)
            report.recovered_messages = list(recovery.messages.values())
        return report


def _chosen(group: Sequence[Worker], source: Address) -> Worker:
    """The kernel of a relay chooses one of the workers that there are."""
    return group[zlib.crc32(source) % len(group)]
