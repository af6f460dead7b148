"""What strangers can do to the calls that are up, and what one of their packets costs.

    python tests/bench/bench_flood.py [--seconds S] [--rounds N]

Fifty calls of 50 packets per second each way go through the relay, on its one core, while a flood
comes from addresses it does not know. *Forged* checks bear a hint that is true and a signature that
is not: from one network they meet its token bucket, from 16,384 of them each costs a hash. *Random*
bytes and *media* of unknown sources are what a scanner or a lost peer sends.

A packet of a call is lost when it is lost by the kernel: strangers and calls wait in the same
receive buffer, and when the relay is busy all the time that overflows, whatever is in it. So the
rate to look at is the first with kernel drops. The cost of a packet is CPU time of the relay, once
where nothing but strangers arrive as fast as the generator can send, once where it forwards at
capacity; both are in full batches.
"""

import argparse
import os

import machine
import subjects
from attrs import frozen
from building import Unavailable
from figures import Goal, at_least, at_most, line, median
from generator import BURST, LENGTH, Generator, Result, check, mint
from subjects import Fleet, Forwarder

CALLS = 50
PACE = 50
RATES = (25_000, 50_000, 100_000, 150_000, 200_000, -1)
TEN_TIMES = RATES[0]
"""As a multiple of what the calls send."""
VARIANTS = 1_000
NETWORKS = 16_384
GOODPUT = at_least(100)
COST_GOAL = at_most(0.6)


@frozen(slots=True)
class Flood:
    """``sources`` addresses, ``stride`` apart; ``goal`` is for the cost of one packet beside a
    forwarded one."""

    name: str
    file: str
    sources: int
    stride: int
    goal: Goal | None = None


FLOODS = (
    Flood("forged checks, one network", "forged", 250, 1),
    Flood("forged checks, 16,384 networks", "forged", NETWORKS, 256),
    Flood("random bytes", "random", 1_000_000, 1, COST_GOAL),
    Flood("media of strangers", "media", 1_000_000, 1, COST_GOAL),
)


def write_floods(generator: Generator) -> dict[str, str]:
    """The packets of each flood alone, and under the name with a ``+`` in bursts."""
    packets = {
        "forged": [check(mint(), b"x" * 32) for _ in range(VARIANTS)],
        "random": [os.urandom(LENGTH) for _ in range(VARIANTS)],
        "media": [b"\x80\x60" + os.urandom(LENGTH - 2) for _ in range(VARIANTS)],
    }
    written = {}
    for name, each in packets.items():
        written[name] = str(generator.write(name, each))
        bursts = (b"".join(each[n : n + BURST]) for n in range(0, VARIANTS, BURST))
        written[f"{name}+"] = str(generator.write(f"{name}+", bursts))
    return written


def flooded(
    generator: Generator,
    relay: Forwarder,
    flood: Flood,
    path: str,
    rate: float,
    seconds: float,
    *,
    calls: bool,
) -> tuple[Result, int]:
    """One run, and how many packets the kernel dropped in it."""
    dropped = machine.kernel_drops(relay.port)
    options: dict[str, object] = {"flows": CALLS, "rate": CALLS * PACE}
    if not calls:
        options = {"flows": 1, "checks": "", "rate": 1, "flood_burst": BURST}
    result = generator.run(
        relay.public,
        relay.pids,
        direction="both" if calls else "none",
        seconds=seconds,
        flood=path,
        flood_rate=rate,
        flood_sources=flood.sources,
        flood_stride=flood.stride,
        **options,
    )
    return result, machine.kernel_drops(relay.port) - dropped


def show_goodput(
    generator: Generator, relay: Forwarder, paths: dict[str, str], seconds: float
) -> None:
    print(f"{CALLS} calls of {PACE} packets/s each way; loss of theirs in % under a flood")
    columns = ("sent/s", "uplink", "downlink", "by kernel", "p99 ms", "core")
    print(f"  {'':32}" + "".join(f"{column:>11}" for column in columns))
    for flood in FLOODS:
        kept = 0.0
        quiet, loud = 0.0, 0.0
        for rate in RATES:
            result, dropped = flooded(
                generator, relay, flood, paths[flood.file], rate, seconds, calls=True
            )
            sent = result.flood.sent / result.seconds
            up = result.up.lost / max(1, result.up.sent) * 100
            down = result.down.lost / max(1, result.down.sent) * 100
            by_kernel = dropped / max(1, result.flood.sent + result.up.sent) * 100
            print(
                f"  {flood.name if rate == RATES[0] else '':32}{sent:11,.0f}{up:11.2f}{down:11.2f}"
                f"{by_kernel:11.2f}{result.up.p99 / 1e6:11.2f}{result.busy:11.2f}",
                flush=True,
            )
            if rate == TEN_TIMES:
                kept = 100 - max(up, down)
            if dropped:
                loud = loud or sent
            elif not loud:
                quiet = sent
        line("goodput at ten times the calls' packets, %", f"{kept:.2f}", GOODPUT.beside(kept))
        line("first rate with kernel drops, packets/s", f"{loud:,.0f}" if loud else "none here")
        line("rate without", f"{quiet:,.0f}")


def show_costs(
    generator: Generator, relay: Forwarder, paths: dict[str, str], rounds: int, seconds: float
) -> None:
    forwarded: list[float] = []
    dropped: dict[str, list[float]] = {flood.name: [] for flood in FLOODS}
    for _ in range(rounds):
        result = generator.run(
            relay.public, relay.pids, flows=100, seconds=seconds, warm=relay.settles
        )
        forwarded.append(1e9 / result.per_cpu_second)
        for flood in FLOODS:
            result, lost = flooded(
                generator, relay, flood, paths[f"{flood.file}+"], -1, seconds, calls=False
            )
            dropped[flood.name].append(result.settled_cpu * 1e9 / max(1, result.flood.sent - lost))
    print("CPU of the relay per packet, kernel included, ns")
    line("forwarded toward the transceiver", f"{median(forwarded):,.0f}")
    for flood in FLOODS:
        cost = median(dropped[flood.name])
        share = median(a / b for a, b in zip(dropped[flood.name], forwarded, strict=True))
        goal = flood.goal.beside(share) if flood.goal else ""
        line(f"dropped: {flood.name}", f"{cost:,.0f}  = {share:.2f}", goal)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=0.8, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=3, help="of the costs")
    options = parser.parse_args()
    try:
        generator = Generator(100)
    except Unavailable as reason:
        print(f"nothing can be measured: {reason}")
        return
    machine.begin()
    try:
        paths = write_floods(generator)
        with Fleet() as fleet:
            relay = fleet.add(subjects.relay(generator.transceiver))
            show_goodput(generator, relay, paths, options.seconds)
            show_costs(generator, relay, paths, options.rounds, options.seconds / 2)
    finally:
        generator.close()


if __name__ == "__main__":
    main()
