"""What flows cost: memory, pauses when they expire, and how many can be made in a second.

    python tests/bench/bench_flows.py [--flows N] [--rounds N]

*Memory* and *pauses* are of the core alone, driven as an adapter drives it: a million clients each
send a signed check, which is verified, and one packet of media with a source of its own. Their
checks are of a few hundred sessions, so that what is bounded by a setting (derived passwords) does
not count as the flows'. The collector of garbage has the thresholds that a worker gives it. Memory
is resident set; what the program adds per flow (the batched adapter's cached answers, bounded by
``limits.cached``) is seen in a relay process with fewer flows. Times in the core are CPU time, so
that what else the machine does is not counted.

*New flows* are of clients that each have a session of their own, so every check costs the
derivation of its password and the verification of its signature: first in the core, then through
the sockets of a relay process, until the check has come out at the transceiver.
"""

import argparse
import gc
import os
import time

import machine
import subjects
from building import Unavailable
from figures import at_least, at_most, line, median
from generator import (
    CLUSTER,
    KEYRING,
    LENGTH,
    NODE,
    Generator,
    signed_check,
)
from subjects import Fleet

from stunroute.address import Address
from stunroute.config import RelayConfig
from stunroute.directory import NextHop, StaticDirectory
from stunroute.flow import Flow
from stunroute.relay import Relay
from stunroute.udp.batch import BATCH
from stunroute.udp.worker import GARBAGE

PROXY = Address.of("192.0.2.1", 3478)
DIRECTORY = StaticDirectory({(CLUSTER, NODE): NextHop(Address.of("10.0.0.7", 4000))})
SESSIONS = 256
NO_BOUND = 1e9
"""Flows of one session: to sign a check for each would take longer than all else here."""
NEW = 20_000
IN_PROCESS = 50_000
MAPPED = bytes(10) + b"\xff\xff"
MEDIA = bytes(LENGTH - 12)

MEMORY_GOAL = at_most(400)
PAUSE_GOAL = at_most(5)
NEW_GOAL = at_least(60_000)


def core(flows: int) -> Relay:
    config = RelayConfig(flows=flows, session_burst=NO_BOUND)
    return Relay(config, KEYRING, DIRECTORY, proxies=[PROXY])


def client(number: int) -> Address:
    """One of sixteen million, each with an address of its own as the socket layer gives it."""
    host = MAPPED + (0x0A000000 + number).to_bytes(4, "big")
    return Address(host, 40_000 + number % 20_000)


def fill(relay: Relay, checks: list[bytes], flows: int) -> tuple[float, float]:
    """Make the flows, let each have media. Returns the longest call in seconds and the moment on
    the core's clock at which all was done."""
    longest = 0.0
    now = 0.0
    clock = time.thread_time
    for number in range(flows):
        if number % BATCH == 0:
            now += BATCH * 1e-5  # the adapter reads the clock once for a batch
        address = client(number)
        source = b"\x80\x60" + bytes(6) + number.to_bytes(4, "big") + MEDIA
        begin = clock()
        route = relay.route_client(checks[number % SESSIONS], address, PROXY, now)
        relay.route_client(source, address, PROXY, now)
        took = clock() - begin
        if took > longest:
            longest = took
        if not isinstance(route, Flow):
            raise RuntimeError(f"a check was dropped: {route}")
    return longest, now


def expire(relay: Relay) -> tuple[float, int]:
    """Let all flows expire. Returns the longest call in seconds, and how many calls there were."""
    longest, calls = 0.0, 0
    while (at := relay.next_timeout()) is not None:
        begin = time.thread_time()
        relay.handle_timeout(at)
        longest = max(longest, time.thread_time() - begin)
        calls += 1
    return longest, calls


def show_a_million(flows: int) -> None:
    checks = [signed_check() for _ in range(SESSIONS)]
    relay = core(flows)
    fill(core(1_000), checks, 1_000)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE)
    before = machine.resident(os.getpid())
    longest, _ = fill(relay, checks, flows)
    grown = (machine.resident(os.getpid()) - before) / flows
    if relay.flows != flows:
        raise RuntimeError(f"{relay.flows} flows instead of {flows}")
    line(f"memory per flow, {flows:,} flows, bytes", f"{grown:.0f}", MEMORY_GOAL.beside(grown))
    line("longest call while they are made, ms", f"{longest * 1e3:.2f}")
    longest, calls = expire(relay)
    if relay.flows:
        raise RuntimeError(f"{relay.flows} flows have not expired")
    pause = longest * 1e3
    line(
        f"longest call while they expire, ms ({calls:,} calls)",
        f"{pause:.2f}",
        PAUSE_GOAL.beside(pause),
    )


def show_new_in_core(rounds: int) -> None:
    checks = [signed_check() for _ in range(NEW)]
    clients = [client(number) for number in range(NEW)]
    rates = []
    for _ in range(rounds):
        relay = core(NEW)
        begin = time.thread_time()
        for number, check in enumerate(checks):
            relay.route_client(check, clients[number], PROXY, number // BATCH * 1e-3)
        rates.append(NEW / (time.thread_time() - begin))
        if relay.flows != NEW:
            raise RuntimeError(f"{relay.flows} flows instead of {NEW}")
    rate = median(rates)
    line("new flows per second, core alone", f"{rate:,.0f}", NEW_GOAL.beside(rate))


def show_new_through_sockets(generator: Generator, rounds: int) -> None:
    rates, by_cpu = [], []
    for _ in range(rounds):
        with Fleet() as fleet:
            relay = fleet.add(subjects.relay(generator.transceiver))
            result = generator.run(
                relay.public, relay.pids, flows=NEW, direction="none", seconds=0.01
            )
            rates.append(result.known / result.making)
            by_cpu.append(result.known / result.making_cpu)
    rate = median(rates)
    line("new flows per second, through sockets", f"{rate:,.0f}", NEW_GOAL.beside(rate))
    line("  per CPU second of the relay", f"{median(by_cpu):,.0f}")


def show_process(generator: Generator) -> None:
    """Memory of the program, with flows known, then with both directions' answers cached."""
    few = generator.write("few", (signed_check() for _ in range(SESSIONS)))
    limits = f"[limits]\nsession_burst = {NO_BOUND}"
    with Fleet() as fleet:
        relay = fleet.add(subjects.relay(generator.transceiver, extra=limits))

        def memory() -> int:
            return sum(map(machine.resident, relay.pids))

        empty = memory()
        seen = []
        for direction, warm in (("none", 0), ("up", relay.settles), ("down", 1)):
            generator.run(
                relay.public,
                relay.pids,
                flows=IN_PROCESS,
                checks=few,
                direction=direction,
                warm=warm,
                seconds=0.01,
            )
            seen.append((memory() - empty) / IN_PROCESS)
    line(f"a relay process, {IN_PROCESS:,} flows: bytes per flow made", f"{seen[0]:.0f}")
    line("  with their media cached uplink", f"{seen[1]:.0f}")
    line("  and downlink", f"{seen[2]:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--flows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    machine.begin()
    show_a_million(options.flows)
    show_new_in_core(options.rounds)
    try:
        generator = Generator(IN_PROCESS)
    except Unavailable as reason:
        print(f"nothing through sockets: {reason}")
        return
    try:
        show_new_through_sockets(generator, options.rounds)
        show_process(generator)
    finally:
        generator.close()


if __name__ == "__main__":
    main()
