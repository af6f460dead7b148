"""How fast the relay forwards, beside a forwarder in C, in Go and in asyncio.

    python tests/bench/bench_forwarding.py [--seconds S] [--rounds N] [--plot FILE.svg]

The relay is the program with its ordinary settings: it verifies checks, counts, forgets idle flows
and looks at the first packets of each (those are sent before the count begins; they come back once
in 30 s, which is one packet in a hundred of a call). The peers in ``peers/`` do the same work for
media and nothing else, so they are ahead by what the relay does besides.

Each forwarder has one core, and the generator, which is also the sink, another. A capacity is what
comes out while 2,048 packets are kept under way: the forwarder always has work and drops nothing.
Packets come in runs of four per client, because only so can one core send and receive more than the
fastest forwarder takes. Rounds are interleaved, medians are shown, and ratios are taken within each
round. Packets per CPU second are the steadier figure where the machine has other things to do.

asyncio allocates 256 KiB for each datagram. What that costs depends on where the heap happens to
end: with 100 flows it usually gives the memory back to the system each time, with 10,000 it does
not, and is three times as fast. uvloop is shown without a goal.

Latency is from before the packet is sent until after it was received, the floor of the method
(``no forwarder``) included. Two workers are measured on all cores; where there are only two, the
generator takes its share of them, and packets per CPU second tell more.
"""

import argparse
import os
from collections import defaultdict
from itertools import product

import machine
import subjects
from attrs import define, field
from building import Unavailable
from figures import at_least, line, median, ratio, table
from generator import LENGTH, Generator, Result
from subjects import Fleet, Forwarder

FLOWS = (100, 10_000)
DIRECTIONS = {"up": "toward", "down": "back", "both": "both"}
SCENARIOS = tuple(product(FLOWS, DIRECTIONS))
PACED = 20_000
NOBODY = "no forwarder"
OURS = "stunroute"

GOALS = {
    "C batched": dict.fromkeys(DIRECTIONS, at_least(0.9)),
    "C plain": dict.fromkeys(DIRECTIONS, at_least(1.1)),
    "Go": {"up": at_least(1.5), "down": at_least(1.35), "both": at_least(1.35)},
    "asyncio": dict.fromkeys(DIRECTIONS, at_least(7)),
}

Scenario = tuple[int, str]


@define
class Measured:
    """Everything of a run, by forwarder; the picture is drawn from it."""

    capacity: dict[str, dict[Scenario, list[Result]]] = field(factory=dict)
    paced: dict[str, dict[str, list[Result]]] = field(factory=dict)
    workers: dict[int, dict[str, list[Result]]] = field(factory=dict)

    def rates(self, name: str, scenario: Scenario) -> list[float]:
        return [result.rate for result in self.capacity[name][scenario]]

    def per_cpu(self, name: str, scenario: Scenario) -> list[float]:
        return [result.per_cpu_second for result in self.capacity[name][scenario]]


def measure_capacity(
    fleet: Fleet, generator: Generator, rounds: int, seconds: float
) -> dict[str, dict[Scenario, list[Result]]]:
    """All scenarios of all forwarders; few flows first, before many have changed the heaps."""
    found: dict[str, dict[Scenario, list[Result]]] = defaultdict(lambda: defaultdict(list))
    for flows in FLOWS:
        for _ in range(rounds):
            for direction, forwarder in product(DIRECTIONS, fleet.forwarders):
                result = generator.run(
                    forwarder.public,
                    forwarder.pids,
                    direction=direction,
                    flows=flows,
                    seconds=seconds,
                    warm=forwarder.settles if direction != "down" else 2,
                )
                found[forwarder.name][flows, direction].append(result)
    return found


def show_ceiling(generator: Generator, rounds: int, seconds: float) -> None:
    rates = [
        generator.run(generator.transceiver, [], checks="", seconds=seconds).rate
        for _ in range(rounds)
    ]
    line("the generator by itself, sending to itself, packets/s", f"{median(rates):,.0f}")


def measure_latency(
    fleet: Fleet, generator: Generator, measured: Measured, rounds: int, seconds: float
) -> dict[str, dict[str, list[Result]]]:
    """Toward the transceiver, 100 flows, at a fixed rate and at half of each one's capacity."""
    found: dict[str, dict[str, list[Result]]] = defaultdict(lambda: defaultdict(list))
    for _ in range(rounds):
        for forwarder in fleet.forwarders:
            half = median(measured.rates(forwarder.name, (FLOWS[0], "up"))) / 2
            for load, rate in (("fixed", PACED), ("half", half)):
                result = generator.run(
                    forwarder.public,
                    forwarder.pids,
                    flows=FLOWS[0],
                    rate=rate,
                    seconds=seconds,
                    warm=forwarder.settles,
                )
                found[forwarder.name][load].append(result)
        result = generator.run(generator.transceiver, [], checks="", rate=PACED, seconds=seconds)
        found[NOBODY]["fixed"].append(result)
    return found


def measure_workers(
    generator: Generator, rounds: int, seconds: float
) -> dict[int, dict[str, list[Result]]]:
    """One and two workers, everybody on all cores. Raises Unavailable."""
    found: dict[int, dict[str, list[Result]]] = defaultdict(lambda: defaultdict(list))
    with Fleet() as fleet:
        relays: dict[int, Forwarder] = {}
        for count in (1, 2):
            relays[count] = fleet.add(subjects.relay(generator.transceiver, workers=count))
        for _ in range(rounds):
            for direction, (count, forwarder) in product(DIRECTIONS, relays.items()):
                result = generator.run(
                    forwarder.public,
                    forwarder.pids,
                    direction=direction,
                    flows=1_000,
                    seconds=seconds,
                    warm=forwarder.settles,
                    cores=machine.CORES,
                )
                found[count][direction].append(result)
    return found


def show_capacity(measured: Measured, seconds: float, rounds: int) -> None:
    columns = [f"{flows} {DIRECTIONS[direction]}" for flows, direction in SCENARIOS]
    title = f"{LENGTH}-byte packets per second, medians of {rounds} rounds of {seconds:g} s"
    names = list(measured.capacity)
    rates = {name: [median(measured.rates(name, s)) for s in SCENARIOS] for name in names}
    table(title, columns, rates)
    cpu = {name: [median(measured.per_cpu(name, s)) for s in SCENARIOS] for name in names}
    table("packets per CPU second of the forwarder", columns, cpu)
    busy = {
        name: [median(r.busy for r in measured.capacity[name][s]) for s in SCENARIOS]
        for name in names
    }
    table(
        "share of its core that it had (well below 1: not its limit)",
        columns,
        busy,
        "{:.2f}".format,
    )


def show_ratios(measured: Measured) -> None:
    if OURS not in measured.capacity:
        return
    print("times as fast as (in brackets: by packets per CPU second)")
    for name in measured.capacity:
        if name == OURS:
            continue
        for flows, direction in SCENARIOS:
            scenario = flows, direction
            value = ratio(measured.rates(OURS, scenario), measured.rates(name, scenario))
            by_cpu = ratio(measured.per_cpu(OURS, scenario), measured.per_cpu(name, scenario))
            goal = GOALS.get(name, {}).get(direction)
            line(
                f"{name}, {flows} flows, {DIRECTIONS[direction]}",
                f"{value:.2f} [{by_cpu:.2f}]",
                goal.beside(value) if goal else "",
            )


def show_latency(measured: Measured, seconds: float) -> None:
    print(f"latency toward the transceiver, µs, 100 flows, rounds of {seconds:g} s")
    print(f"  {'':14}{f'at {PACED:,}/s':>24}{'at half of capacity':>28}")
    print(f"  {'':14}{'p50':>8}{'p99':>8}{'lost':>8}{'p50':>12}{'p99':>8}{'lost':>8}")
    for name, loads in measured.paced.items():
        shown = ""
        for load, width in (("fixed", 8), ("half", 12)):
            results = loads.get(load)
            if results:
                p50 = median(result.up.p50 for result in results) / 1e3
                p99 = median(result.up.p99 for result in results) / 1e3
                lost = sum(result.up.lost for result in results)
                shown += f"{p50:{width}.1f}{p99:8.1f}{lost:8}"
        print(f"  {name:14}{shown}", flush=True)


def show_workers(workers: dict[int, dict[str, list[Result]]]) -> None:
    cores = len(machine.CORES)
    shared = ", the generator shares the cores" if cores < 3 else ""
    print(f"workers, 1,000 flows, {cores} cores{shared}")
    for direction, name in DIRECTIONS.items():
        one, two = (workers[count][direction] for count in (1, 2))
        value = ratio([r.rate for r in two], [r.rate for r in one])
        by_cpu = ratio([r.per_cpu_second for r in two], [r.per_cpu_second for r in one])
        figures = " against ".join(
            f"{median(r.rate for r in results):,.0f}" for results in (two, one)
        )
        line(f"two against one, {name}: {figures}", f"{value:.2f} [{by_cpu:.2f}]")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=0.25, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(subjects.SUBJECTS))
    parser.add_argument("--plot", help="where to write the picture, an SVG")
    options = parser.parse_args()
    try:
        generator = Generator(max(FLOWS))
    except Unavailable as reason:
        print(f"nothing can be measured: {reason}")
        return
    measured = Measured()
    machine.begin()
    try:
        with Fleet() as fleet:
            fleet.start(options.only, generator.transceiver)
            for name, reason in fleet.missing.items():
                print(f"without {name}: {reason}")
            measured.capacity = measure_capacity(fleet, generator, options.rounds, options.seconds)
            show_capacity(measured, options.seconds, options.rounds)
            show_ceiling(generator, options.rounds, options.seconds)
            show_ratios(measured)
            measured.paced = measure_latency(
                fleet, generator, measured, options.rounds, options.seconds
            )
            show_latency(measured, options.seconds)
        if OURS in options.only:
            measured.workers = measure_workers(generator, options.rounds, options.seconds)
            show_workers(measured.workers)
    finally:
        generator.close()
    if options.plot:
        import picture

        picture.draw(measured, os.fspath(options.plot))
        print(f"drawn: {options.plot}")


if __name__ == "__main__":
    main()
