"""How long a call is cut when the relay dies, moves, or the client's NAT forgets it.

    python tests/bench/bench_recovery.py [--calls N] [--rounds N] [--only WORD]

Real processes, real packets: the relay with its ordinary settings, clients and a transceiver that
are reduced to what the relay sees of them (signed checks, a packet of audio every 20 ms, reports).
Clients check every 2.5 s, or never again after the first check that was answered. The downlink runs
(audio every 20 ms), is only reports (one a second), or silent. Calls keep no step with one another.

*Killed*: ``kill -9`` of supervisor and workers, and a start at once. Gaps are counted from when the
public socket is bound again, which is when the kernel keeps packets again; what comes before is
how long Python takes to start, and is told by itself. *Worker killed*: the sockets stay, so the gap
is the longest time between two packets of the call. *Moved*: the client's packets reach another
relay with the same public address, from one moment to the next, and the first relay lives (as when
routes change) or is killed at that moment. *Rebound*: the client has another port from one moment
to the next; its packets to the old one are lost.

A gap ends when a packet of audio arrives. With frames of 20 ms a call without any fault has gaps of
20 ms, and the mean wait for the next frame is 10. Lost are packets that were sent after the socket
was back (moved and rebound: after the event; a killed worker: at all) and never arrived.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from enum import Enum
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

import machine  # noqa: E402
from attrs import define, evolve, field, frozen  # noqa: E402
from figures import line  # noqa: E402

from peers import Call, Downlink, Traffic  # noqa: E402
from relay_process import Options, RelayProcess  # noqa: E402
from stunroute.address import Address  # noqa: E402

PATIENCE = 8.0
"""Seconds until a call that is still cut counts as cut for good."""
SPEAKS_AFTER = 1.0
"""Seconds after which a silent node speaks to a client that nothing else could heal."""
NEVER = float("inf")
CHECKS, REPORTS = 2_540.0, 1_040.0
"""Milliseconds until the next check or report at the latest, and two frames more."""
PUBLIC = Address.of("192.0.2.1", 3478)
"""What the relays of the fleet are all known by."""


class Fault(Enum):
    KILLED = "relay killed"
    WORKER = "worker killed"
    MOVED = "moved, the first relay lives"
    FAILED = "moved, the first relay is killed"
    REBOUND = "client rebound"


@frozen
class Scenario:
    """``goal`` is in milliseconds for the gap uplink, ``goal_down`` downlink; ``lost`` in packets
    uplink. ``speaks``: the gap counts from the first packet of a node that was silent. ``again``:
    the client has had another address a moment ago already."""

    fault: Fault
    check_every: float | None
    downlink: Downlink
    store: bool = False
    workers: int = 1
    goal: float | None = None
    goal_down: float | None = None
    lost: int | None = None
    why: str = ""
    speaks: bool = False
    again: bool = False

    @property
    def name(self) -> str:
        checks = "checks" if self.check_every is not None else "never checks"
        told = f"{checks}, {self.downlink.value}"
        told += ", Redis" if self.store else ""
        told += ", again" if self.again else ""
        return told + (f", {self.workers} workers" if self.workers > 1 else "")


@define
class Figures:
    """Milliseconds and packets, one for each call and round."""

    up: list[float] = field(factory=list)
    down: list[float] = field(factory=list)
    lost_up: list[float] = field(factory=list)
    lost_down: list[float] = field(factory=list)
    outage: list[float] = field(factory=list)
    ready: list[float] = field(factory=list)
    lateness: float = 0.0


def scenarios() -> Iterator[Scenario]:
    every, audio, reports, silent = 2.5, Downlink.AUDIO, Downlink.REPORTS, Downlink.SILENT
    for store in (False, True):
        for check_every in (every, None):
            yield Scenario(Fault.KILLED, check_every, audio, store, goal=40, goal_down=40)
            by_check = CHECKS if check_every else None
            if store:
                yield Scenario(Fault.KILLED, check_every, reports, store, goal=100)
                yield Scenario(Fault.KILLED, check_every, silent, store, goal=100)
            else:
                yield Scenario(Fault.KILLED, check_every, reports, goal=REPORTS, why="next report")
                yield Scenario(
                    Fault.KILLED,
                    check_every,
                    silent,
                    goal=by_check or 40,
                    why="next check" if by_check else "from the node's first word",
                    speaks=by_check is None,
                )
    probes = Downlink.PROBES
    yield Scenario(Fault.KILLED, None, probes, goal=REPORTS, why="as our transceiver does it")
    yield Scenario(Fault.KILLED, None, audio, workers=2, goal=40, goal_down=40)
    for store in (False, True):
        yield Scenario(Fault.WORKER, None, audio, store, goal=40, goal_down=40)
    yield Scenario(Fault.WORKER, None, audio, workers=2, goal=40, goal_down=40)
    yield Scenario(Fault.WORKER, None, silent, True, goal=100)
    for fault in (Fault.MOVED, Fault.FAILED):
        yield Scenario(fault, every, audio, goal=CHECKS, why="next check")
        if fault is Fault.MOVED:
            yield Scenario(fault, None, audio, why="nothing can tell the second relay")
        for check_every in (every, None):
            yield Scenario(fault, check_every, audio, True, goal=100, goal_down=100)
        yield Scenario(fault, None, silent, True, goal=100)
    for workers, again in ((1, False), (1, True), (2, False)):
        yield Scenario(
            Fault.REBOUND,
            every,
            audio,
            workers=workers,
            goal=40,
            goal_down=CHECKS,
            lost=1,
            why="down: next check",
            again=again,
        )


# One round of each fault. They return when it happened, and what to count from.


@define
class Bench:
    scenario: Scenario
    traffic: Traffic
    relays: list[RelayProcess]
    calls: list[Call]
    figures: Figures

    def round(self) -> None:
        self.traffic.lateness = 0
        match self.scenario.fault:
            case Fault.KILLED:
                self._killed()
            case Fault.WORKER:
                self._worker_killed()
            case Fault.MOVED | Fault.FAILED:
                self._moved()
            case Fault.REBOUND:
                self._rebound()
        self.figures.lateness = max(self.figures.lateness, self.traffic.lateness / 1e6)

    def _killed(self) -> None:
        [relay] = self.relays
        blow = relay.kill()
        relay.launch()
        back = relay.await_socket()
        relay.await_started()
        self.figures.outage.append((back - blow) / 1e6)
        self.figures.ready.append((relay.started_at - back) / 1e6)
        since = back
        if self.scenario.speaks:
            time.sleep(SPEAKS_AFTER)
            since = time.monotonic_ns()
            self._say(Downlink.AUDIO)
        self._wait(since)
        for call in self.calls:
            spoken = since
            if self.scenario.speaks:
                spoken = next((at for at in call.downlink.sent if at >= since), since)
            self._note(call, spoken)
        if self.scenario.speaks:
            self._say(self.scenario.downlink)
            time.sleep(0.1)

    def _worker_killed(self) -> None:
        [relay] = self.relays
        since = time.monotonic_ns()
        for index in range(len(relay.workers)):
            relay.kill_worker(index)
        time.sleep(1.0)
        self._wait(since + 500_000_000)
        time.sleep(0.2)
        for call in self.calls:
            self._note_interval(call, since, since + 1_200_000_000)

    def _moved(self) -> None:
        first, second = self.relays
        for call in self.calls:
            call.relay = second.public
        since = time.monotonic_ns()
        if self.scenario.fault is Fault.FAILED:
            since = first.kill()
        self._wait(since, via=second)
        for call in self.calls:
            self._note(call, since, second.inners)
        # The other way round next time, and from nothing: the first one still knows these clients.
        if self.scenario.fault is Fault.MOVED:
            first.kill()
        first.start()
        self.relays.reverse()
        heal_by_checks(self.traffic, self.calls)

    def _rebound(self) -> None:
        if self.scenario.again:
            for call in self.calls:
                call.rebind()
            heal_by_checks(self.traffic, self.calls)
        for call in self.calls:
            call.rebind()
        since = time.monotonic_ns()
        self._wait(since)
        for call in self.calls:
            self._note(call, since)

    def _say(self, mode: Downlink) -> None:
        for call in self.calls:
            call.downlink_mode = mode

    @property
    def _runs(self) -> bool:
        return self.calls[0].downlink_mode is Downlink.AUDIO

    def _wait(self, since: int, via: RelayProcess | None = None) -> None:
        """Until every call is whole again, or has had its time, and a moment longer."""
        inners = None if via is None else via.inners

        def whole(call: Call) -> bool:
            up = call.uplink.arrivals[-1]
            if up.at < since or (inners is not None and up.via not in inners):
                return False
            return not self._runs or call.downlink.arrivals[-1].at >= since

        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and not all(map(whole, self.calls)):
            self.traffic.check()
            time.sleep(0.02)
        time.sleep(0.1)

    def _note(self, call: Call, since: int, via: Collection[Address] | None = None) -> None:
        until = time.monotonic_ns() - 60_000_000  # later ones may still be under way
        figures = self.figures
        figures.up.append(milliseconds(call.uplink.first(since, via), since))
        figures.lost_up.append(len(call.uplink.lost(since, until)))
        if self._runs:
            figures.down.append(milliseconds(call.downlink.first(since), since))
            figures.lost_down.append(len(call.downlink.lost(since, until)))

    def _note_interval(self, call: Call, since: int, until: int) -> None:
        figures = self.figures
        figures.up.append(call.uplink.longest_gap(since - 100_000_000) / 1e6)
        figures.lost_up.append(len(call.uplink.lost(since - 100_000_000, until)))
        if self._runs:
            figures.down.append(call.downlink.longest_gap(since - 100_000_000) / 1e6)
            figures.lost_down.append(len(call.downlink.lost(since - 100_000_000, until)))


def milliseconds(at: int | None, since: int) -> float:
    return NEVER if at is None else (at - since) / 1e6


def heal_by_checks(traffic: Traffic, calls: Sequence[Call]) -> None:
    """Make all calls whole, even those whose clients never check again."""
    since = time.monotonic_ns()
    for call in calls:
        call.send(call.check())
    traffic.until(
        lambda: all(call.uplink.arrivals[-1].at > since for call in calls), "calls are whole"
    )
    time.sleep(0.2)


@contextmanager
def opened(scenario: Scenario, calls: int, redis: str | None, figures: Figures) -> Iterator[Bench]:
    """The relays and calls of a scenario, up and running."""
    with ExitStack() as end:
        traffic = end.enter_context(Traffic())
        node = traffic.node(1)
        extra = f'[store]\nurl = "{redis}"\nkey = "{bytes(range(64, 96)).hex()}"\n' if redis else ""
        options = Options({1: node.address}, workers=scenario.workers, extra=extra)
        moves = scenario.fault in (Fault.MOVED, Fault.FAILED)
        if moves:
            options = evolve(options, advertise=PUBLIC)
        relays = []
        for number in range(2 if moves else 1):
            folder = Path(end.enter_context(tempfile.TemporaryDirectory(prefix="relay")))
            relays.append(end.enter_context(RelayProcess(folder, options, f"relay{number}")))
        made = [
            traffic.call(
                node,
                relays[0].public,
                check_every=scenario.check_every,
                downlink=scenario.downlink,
            )
            for _ in range(calls)
        ]
        traffic.until(lambda: all(call.is_up for call in made), "all calls are up")
        time.sleep(0.5)
        yield Bench(scenario, traffic, relays, made, figures)


# Telling


def shown(values: Sequence[float], digits: int = 0) -> str:
    """Median and worst."""
    if not values:
        return "-"
    cells = [statistics.median_low(values), max(values)]
    return " / ".join("never" if cell == NEVER else f"{cell:.{digits}f}" for cell in cells)


def verdict(values: Sequence[float], goal: float, unit: str) -> str:
    middle, worst = statistics.median_low(values), max(values)
    if worst <= goal:
        met = "met"
    elif middle <= goal:
        over = sum(value > goal for value in values)
        met = f"met by {100 - 100 * over / len(values):.0f} %"
    else:
        met = "missed"
    return f"≤ {goal:g}{unit}: {met}"


def show(scenario: Scenario, figures: Figures) -> None:
    goals = []
    if scenario.goal is not None:
        goals.append("up " + verdict(figures.up, scenario.goal, " ms"))
    if scenario.goal_down is not None:
        goals.append("down " + verdict(figures.down, scenario.goal_down, " ms"))
    if scenario.lost is not None:
        goals.append("lost up " + verdict(figures.lost_up, scenario.lost, ""))
    why = f" [{scenario.why}]" if scenario.why else ""
    lost = shown(figures.lost_up), shown(figures.lost_down)
    print(
        f"  {scenario.name:38}{shown(figures.up):>14}{shown(figures.down):>14}"
        f"{lost[0]:>12}{lost[1]:>12}  {'; '.join(goals)}{why}",
        flush=True,
    )


def head(fault: Fault) -> None:
    print(f"{fault.value}: median / worst; gaps in ms, lost packets")
    print(f"  {'':38}{'gap up':>14}{'gap down':>14}{'lost up':>12}{'lost down':>12}  goals")


def measure(
    chosen: Sequence[Scenario], calls: int, rounds: int, redis: Callable[[], str | None]
) -> dict[Scenario, Figures]:
    measured: dict[Scenario, Figures] = {}
    fault = None
    for scenario in chosen:
        url = redis() if scenario.store else None
        if scenario.store and url is None:
            continue
        if scenario.fault is not fault:
            fault = scenario.fault
            head(fault)
        figures = measured[scenario] = Figures()
        # A client that has rebound is known by two addresses for a while: each round is a new call.
        # A worker that died is replaced at once, one that dies again later and later.
        fresh = scenario.fault in (Fault.REBOUND, Fault.WORKER)
        for _ in range(rounds if fresh else 1):
            with opened(scenario, calls, url, figures) as bench:
                for _ in range(1 if fresh else rounds):
                    bench.round()
        show(scenario, figures)
    return measured


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="scenarios whose fault or name has this word")
    options = parser.parse_args()
    chosen = [each for each in scenarios() if options.only in f"{each.fault.value} {each.name}"]
    print(machine.describe())
    print(f"{options.calls} calls at once, {options.rounds} rounds")
    with ExitStack() as end:
        servers: list[str] = []

        def redis() -> str | None:
            if not servers and shutil.which("redis-server"):
                from redis_server import RedisServer

                servers.append(end.enter_context(RedisServer()).url)
            return servers[0] if servers else None

        if not shutil.which("redis-server"):
            print("without Redis: redis-server is not installed")
        measured = measure(chosen, options.calls, options.rounds, redis)
    outages = [value for figures in measured.values() for value in figures.outage]
    ready = [value for figures in measured.values() for value in figures.ready]
    late = max((figures.lateness for figures in measured.values()), default=0.0)
    print("beside that, ms, median / worst")
    if outages:
        line("kill -9 to socket back: Python starts", shown(outages))
        line("socket back to 'started': part of the gaps above", shown(ready))
    line("a packet of the bench itself sent late, at worst", f"{late:.0f}")


if __name__ == "__main__":
    main()
