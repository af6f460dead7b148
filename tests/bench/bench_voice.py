"""How many calls of voice one core carries, and what each packet and each call costs there.

    python tests/bench/bench_voice.py [--seconds S] [--rounds N] [--memory CALLS] [--layers-only]

*Capacity*: calls that each send 50 packets a second, spread evenly, to a server that echoes them:
the transceiver program, and one made of aiortc that sends RTP back as it comes, without a jitter
buffer, a codec or books, which is the cheapest that aiortc can do. The server has one core, the
clients have the other. Calls are added until packets are lost or the 99th percentile of the delay,
from a client's call to the kernel to another's return, is over 20 ms; then the bound is narrowed
down. Ours keeps its books and sends its reports meanwhile. *CPU* is the server's per packet at a
load that both carry, and so less at the mercy of the machine than the bound: rounds alternate.

*Memory*: resident set per silent call with audio and an open data channel.

*Layers*: where ours spends its time, each part by itself (see ``voice_layers``).
"""

import argparse
import contextlib
import os
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from struct import Struct

import machine
from attrs import define, field, frozen
from bench_setup import cpu_seconds
from figures import at_least, at_most, line, median, ratio
from voice_clients import PAYLOAD, TICKS, Fleet, Subject, start_ours, start_theirs
from voice_layers import layers

from stunroute.address import Address

FRAME = 0.02
LIMIT = 0.020
"""Seconds that the 99th percentile of the forwarding delay may have."""
WARM_UP = 25
"""Frames of each call that are not counted."""
OPUS = (0x6F, 0xEF)
"""Payload type 111, without the marker and with it."""
STAMP = Struct("!I")
FEWEST = 20
FIRST = (400, 150)
"""Calls to begin with, of ours and of aiortc's."""
STEPS = (1.5, 1.2, 1.1)
"""By how much calls are added, more carefully each time that it was too many."""


@frozen
class Trial:
    """``lost`` of ``sent`` packets did not come back; delays and ``cpu`` (the server's, for each
    packet) in seconds."""

    calls: int
    sent: int
    lost: int
    p50: float
    p99: float
    cpu: float
    busy: float
    """The part of the time that the server's core was at work."""

    @property
    def carried(self) -> bool:
        return not self.lost and self.p99 <= LIMIT and self.calls > 0

    def __str__(self) -> str:
        return (
            f"{self.calls:5} calls, {self.calls * 50:6,} packets/s: delay p50 "
            f"{self.p50 * 1e3:6.2f} ms, p99 {self.p99 * 1e3:6.2f} ms, {self.lost} lost, "
            f"{self.cpu * 1e6:5.1f} µs each, core {self.busy:.0%} busy"
        )


@define(eq=False)
class Run:
    """Packets of the first ``calls`` clients for some frames, and what becomes of them."""

    fleet: Fleet
    calls: int
    frames: int
    packets: list[tuple[bytes, Address]] = field(init=False, factory=list)
    sent_at: "array[float]" = field(init=False)
    delays: "array[float]" = field(init=False)
    bases: dict[bytes, int] = field(init=False, factory=dict)
    """The timestamps of the first frame's echoes."""
    numbers: dict[bytes, int] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        fleet = self.fleet
        clients = fleet.clients[: self.calls]
        keys = {id(client): key for key, client in fleet.by_key.items()}
        for number, client in enumerate(clients):
            self.numbers[keys[id(client)]] = number
        begin = round(time.monotonic() / FRAME)  # the next trial goes on where time will be then
        for frame in range(begin, begin + self.frames):
            for client in clients:
                data = client.send_audio(PAYLOAD, frame * TICKS)
                client.next_transmit()
                self.packets.append(fleet.datagram(client, data))
        self.sent_at = array("d", bytes(8 * len(self.packets)))
        self.delays = array("d", bytes(8 * len(self.packets)))

    def send(self, first: int, last: int) -> None:
        """The frames from ``first`` to before ``last``, and what comes back until all has, or
        nothing more does."""
        write, clock, sent_at, packets = (
            self.fleet.writer.write,
            time.perf_counter,
            self.sent_at,
            self.packets,
        )
        number, end = first * self.calls, last * self.calls
        gap = FRAME / self.calls
        begin = clock() - number * gap
        missing, quiet = end - number, 0.0
        while missing > 0:
            now = clock()
            due = min(end, int((now - begin) / gap) + 1)
            while number < due:
                upto = min(due, number + 64)
                for each in range(number, upto):
                    sent_at[each] = now
                write(packets[number:upto])
                number = upto
            heard = self.hear()
            missing -= heard
            if heard or number < end:
                quiet = now
            elif now - quiet > 1.0:
                break

    def hear(self) -> int:
        """Take what has come; how many echoes were in it."""
        fleet, heard = self.fleet, 0
        at = fleet.header + 1
        arrivals = fleet.reader.read()
        now = time.perf_counter()
        for data, source in arrivals:
            if data is None:
                continue
            if data[at] not in OPUS or data[at - 1] < 0x80:
                fleet.take(data, source)
                continue
            key = fleet.key(data, source)
            number = self.numbers.get(key)
            if number is None:
                continue
            (stamp,) = STAMP.unpack_from(data, at + 3)
            base = self.bases.setdefault(key, stamp)  # the first is that of frame 0
            index = ((stamp - base & 0xFFFFFFFF) // TICKS) * self.calls + number
            if index < len(self.sent_at):
                self.delays[index] = now - self.sent_at[index]
                heard += 1
        return heard


def attempt(fleet: Fleet, calls: int, seconds: float) -> Trial:
    """Let ``calls`` clients talk for so long."""
    if len(fleet.clients) < calls:
        fleet.call(calls - len(fleet.clients))
    fleet.tend(fleet.clients, 0.1)
    run = Run(fleet, calls, 1 + WARM_UP + round(seconds / FRAME))
    fleet.tend(fleet.clients, 0.1)  # and let go of what has come from the others meanwhile
    run.send(0, 1)
    run.send(1, 1 + WARM_UP)
    pid = fleet.subject.process.pid
    before, begin = cpu_seconds(pid), time.perf_counter()
    run.send(1 + WARM_UP, run.frames)
    spent, took = cpu_seconds(pid) - before, time.perf_counter() - begin
    measured = run.delays[(1 + WARM_UP) * calls :]
    delays = sorted(delay for delay in measured if delay)
    lost = sum(not delay for delay in run.delays)
    if not delays:
        return Trial(calls, len(measured), lost, took, took, spent, spent / took)
    p50, p99 = delays[len(delays) // 2], delays[len(delays) * 99 // 100]
    return Trial(calls, len(measured), lost, p50, p99, spent / len(delays), spent / took)


def capacity(start: Callable[[], Subject], calls: int, seconds: float) -> Trial:
    """The most that a fresh server carries; ``calls`` to begin with."""
    best = Trial(0, 0, 0, 0.0, 0.0, 0.0, 0.0)
    with fleet_of(start) as fleet:
        for step in STEPS:
            calls = round((best.calls or calls / step) * step)
            while (trial := twice(fleet, calls, seconds)).carried:
                best, calls = trial, round(calls * step)
            while not best.calls and calls > FEWEST:
                calls = round(calls / step)
                if (trial := twice(fleet, calls, seconds)).carried:
                    best = trial
    return best


def twice(fleet: Fleet, calls: int, seconds: float) -> Trial:
    """An attempt, and another where that fails: others use this machine, too."""
    for _ in range(2):
        trial = attempt(fleet, calls, seconds)
        print(f"  {fleet.subject.name:10} {trial}", flush=True)
        if trial.carried:
            break
    return trial


@contextlib.contextmanager
def fleet_of(start: Callable[[], Subject], **options: tuple[str, ...]) -> Iterator[Fleet]:
    """Clients of a fresh server."""
    subject = start()
    try:
        fleet = Fleet(subject, **options)
        try:
            yield fleet
        finally:
            fleet.close()
    finally:
        subject.stop()


def beside(calls: int, rounds: int, seconds: float) -> None:
    """CPU for each packet at the same load, in alternating rounds."""
    with fleet_of(start_ours) as ours, fleet_of(start_theirs) as theirs:
        figures: list[list[Trial]] = [[], []]
        for _ in range(rounds):
            for fleet, trials in zip((ours, theirs), figures, strict=True):
                trials.append(attempt(fleet, calls, seconds))
                for other in (ours, theirs):
                    other.tend(other.clients, 0.2)
    print(f"{calls} calls that echo, {calls * 50:,} packets/s")
    for name, trials in zip(("stunroute", "aiortc"), figures, strict=True):
        line(
            f"{name}: CPU for each packet",
            f"{median(trial.cpu for trial in trials) * 1e6:.1f} µs",
            f"delay p50 {median(trial.p50 for trial in trials) * 1e3:.2f} ms, "
            f"p99 {median(trial.p99 for trial in trials) * 1e3:.2f} ms",
        )
    cpu = [[trial.cpu for trial in trials] for trials in figures]
    line("CPU, aiortc / ours", f"{ratio(cpu[1], cpu[0]):.2f}")


def most(rounds: int, seconds: float) -> None:
    """What one core carries, of each server."""
    print("Calls that one core carries: nothing lost, p99 of the delay within 20 ms")
    carried: list[list[float]] = [[], []]
    for _ in range(rounds):
        for start, found in zip((start_ours, start_theirs), carried, strict=True):
            first = FIRST[start is start_theirs]
            found.append(capacity(start, first, seconds).calls)
    for name, found in zip(("stunroute", "aiortc"), carried, strict=True):
        calls = median(found)
        line(f"{name}: calls of one core", f"{calls:,.0f}", f"{calls * 50:,.0f} packets/s")
    value, goal = ratio(*carried), at_least(6)
    line("ours / aiortc", f"{value:.2f}", goal.beside(value))


def memory(calls: int) -> None:
    print(f"Resident set for each of {calls} silent calls with audio and an open channel")
    grown = []
    for start in (start_ours, start_theirs):
        with fleet_of(start, contents=("audio", "data")) as fleet:
            fleet.call(10)
            before = fleet.subject.memory()
            fleet.call(calls)
            grown.append((fleet.subject.memory() - before) / calls / 1024)
            line(fleet.subject.name, f"{grown[-1]:.0f} KiB")
    value = grown[0] / grown[1]
    line("ours / aiortc", f"{value:.2f}", at_most(1).beside(value))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=250, help="calls of the rounds for CPU")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--capacities", type=int, default=1, metavar="ROUNDS")
    parser.add_argument("--memory", type=int, default=100, metavar="CALLS")
    parser.add_argument("--layers-only", action="store_true")
    options = parser.parse_args()
    machine.begin()
    os.sched_setaffinity(0, machine.GENERATOR_CORES)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -19)
    if not options.layers_only:
        memory(options.memory)
        beside(options.calls, options.rounds, options.seconds)
        most(options.capacities, options.seconds)
    layers()


if __name__ == "__main__":
    sys.exit(main())
