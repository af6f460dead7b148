"""Data channels: throughput, with and without loss, latency and memory, beside aiortc's.

    python tests/bench/bench_sctp.py [--rounds N] [--seconds S] [--sessions N] [--memory-only]

*In memory*: both ends in this process and nothing but a queue between them, so what is measured is
what both ends' code costs. Ours once bare and once inside our DTLS; aiortc's bare.

*Over loopback*: a server that echoes, ours and one made of aiortc, so that every byte goes up and
comes back. Two clients drive both: one made of our parts (``sctp_client``), quick enough to show
what a server can do, and one of aiortc, where the client is the bottleneck with either server and
only the servers' CPU time per megabyte tells. Toward our own client our server is the transceiver
program alone, and the client stands in for the relay; aiortc's clients call a relay, and its time
is printed beside.

*Loss* is the client's doing: of each direction's datagrams, counted from when the channel stands,
it drops those that a seeded list names, the same ones whichever the server.
"""

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import httpx
import machine
from aiortc import RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from attrs import define, field
from bench_echo import SDP
from bench_setup import (
    CALLS,
    Server,
    cpu_seconds,
    ready,
    start_aiortc,
    start_demo,
    straight_to_the_node,
)
from figures import Goal, at_least, at_most, line, median, ratio, table
from sctp_client import Driver, start_node
from sctp_memory import aiortc_pair, our_pair

SIZES = {"100 B": 100, "1 KiB": 1024, "16 KiB": 16_384, "64 KiB": 65_536}
LOSSES = (0.0, 0.01, 0.05)
MEGABYTE = 1_000_000
UNANSWERED = 512 * 1024
"""Bytes sent and not yet echoed."""
ECHOES = 1000
ECHO_SIZE = 100
ALONE = f"{ECHOES:,} messages of {ECHO_SIZE} B, one at a time; microseconds until the echo"


def in_memory(rounds: int) -> None:
    contenders: dict[str, Callable[..., float]] = {
        "ours": our_pair,
        "ours in our DTLS": partial(our_pair, sealed=True),
        "aiortc": aiortc_pair,
    }
    figures: dict[str, list[list[float]]] = {}
    for _ in range(rounds):
        for column, size in enumerate(SIZES.values()):
            for name, run in contenders.items():
                total = min(10_000 * size, (1 if name == "aiortc" else 4) * MEGABYTE)
                note(figures, name, column, run(size, total))
    medians = {name: [median(each) for each in found] for name, found in figures.items()}
    table(
        "In memory, both ends in one process; MB per second of CPU",
        list(SIZES),
        medians,
        "{:,.2f}".format,
    )
    for name in ("ours", "ours in our DTLS"):
        for column, label in enumerate(SIZES):
            times = ratio(figures[name][column], figures["aiortc"][column])
            compare(f"{name} / aiortc, {label}", times, at_least(3))


def compare(what: str, value: float, goal: Goal | None = None) -> None:
    line(what, f"{value:.2f}", goal.beside(value) if goal else "")


@define
class Echoed:
    """Of one run: megabytes echoed per second, and seconds of CPU per megabyte, by each meter."""

    rate: float
    cpu: list[float]


# --- over loopback, our client --------------------------------------------------------------------


def with_our_client(rounds: int, seconds: float) -> None:
    servers = [start_node(), start_aiortc()]
    try:
        wait_for(servers)
        rates: dict[str, list[list[float]]] = {}
        costs: dict[str, list[list[float]]] = {}
        lossy: dict[str, list[list[float]]] = {}
        waits: dict[str, list[list[float]]] = {}
        for _ in range(rounds):
            for server in servers:
                name = "ours" if server is servers[0] else server.name
                for column, size in enumerate(SIZES.values()):
                    done = drive(server, size, seconds)
                    note(rates, name, column, done.rate)
                    note(costs, name, column, done.cpu[0] * 1e3)
                for column, loss in enumerate(LOSSES):
                    note(lossy, name, column, drive(server, SIZES["16 KiB"], seconds, loss).rate)
                for column, wait in enumerate(latencies(server)):
                    note(waits, name, column, wait * 1e6)
    finally:
        for server in servers:
            server.stop()
    show("Over loopback, our client; MB/s echoed", list(SIZES), rates, "ours / aiortc", at_least(3))
    title = "Over loopback, our client; the server's CPU in ms per MB echoed"
    show(title, list(SIZES), costs, "aiortc / ours", at_least(3), inverse=True)
    names = [f"{loss:.0%} lost" for loss in LOSSES]
    show("With loss, 16 KiB messages; MB/s echoed", names, lossy, "ours / aiortc")
    title = (
        f"One message of {ECHO_SIZE} B at a time, {ECHOES:,} of them; microseconds until its echo"
    )
    show(title, ["p50", "p99"], waits, "ours / aiortc", at_most(1))


def wait_for(servers: Sequence[Server]) -> None:
    async def wait() -> None:
        async with httpx.AsyncClient() as web:
            for server in servers:
                await ready(server, web)

    asyncio.run(wait())


def note(figures: dict[str, list[list[float]]], name: str, column: int, value: float) -> None:
    columns = figures.setdefault(name, [])
    if column == len(columns):
        columns.append([])
    columns[column].append(value)


def show(
    title: str,
    columns: list[str],
    figures: dict[str, list[list[float]]],
    what: str,
    goal: Goal | None = None,
    *,
    inverse: bool = False,
) -> None:
    """A table of medians, and how the first row compares with the last."""
    medians = {name: [median(each) for each in found] for name, found in figures.items()}
    table(title, columns, medians, "{:,.2f}".format)
    ours, theirs = figures["ours"], figures["aiortc"]
    for column, name in enumerate(columns):
        pair = (ours[column], theirs[column])
        times = ratio(*reversed(pair)) if inverse else ratio(*pair)
        compare(f"{what}, {name}", times, goal)


def drive(server: Server, size: int, seconds: float, loss: float = 0.0) -> Echoed:
    """Echo messages of ``size`` bytes for some seconds."""
    driver = Driver.call(server, loss)
    try:
        driver.echo(size, UNANSWERED, 0.2)
        before, begin = server.cpu(), time.perf_counter()
        echoed = driver.echo(size, UNANSWERED, seconds)
        took = time.perf_counter() - begin
        spent = server.cpu() - before
    finally:
        driver.close()
    megabytes = echoed * size / MEGABYTE
    return Echoed(megabytes / took, [spent / max(megabytes, 1e-9)])


def latencies(server: Server) -> tuple[float, float]:
    """Median and 99th percentile of seconds until a lone message has come back."""
    driver = Driver.call(server)
    try:
        return percentiles([driver.round_trip(ECHO_SIZE) for _ in range(ECHOES)])
    finally:
        driver.close()


def percentiles(waits: Sequence[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(waits, n=100)
    return cuts[49], cuts[98]


# --- over loopback, aiortc's client ---------------------------------------------------------------


@define(eq=False)
class Caller:
    """A call of an aiortc client with a data channel."""

    peer: RTCPeerConnection = field(factory=RTCPeerConnection)
    channel: RTCDataChannel = field(init=False)
    heard: int = 0
    _came: asyncio.Event = field(factory=asyncio.Event)

    async def call(self, web: httpx.AsyncClient, url: str) -> None:
        opened = asyncio.Event()
        self.channel = self.peer.createDataChannel("echo")
        self.channel.on("open", opened.set)
        self.channel.on("message", self._hear)
        await self.peer.setLocalDescription(await self.peer.createOffer())
        answer = await web.post(url, content=self.peer.localDescription.sdp, headers=SDP)
        answer.raise_for_status()
        await self.peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        async with asyncio.timeout(20):
            await opened.wait()

    def _hear(self, message: str | bytes) -> None:
        self.heard += 1
        self._came.set()

    def lose(self, loss: float) -> None:
        """From now on lose datagrams of both directions."""
        assert self.peer.sctp is not None
        transport = self.peer.sctp.transport.transport
        send, receive = transport._send, transport._recv
        up, down = random.Random("up"), random.Random("down")

        async def lossy_send(data: bytes) -> None:
            if up.random() >= loss:
                await send(data)

        async def lossy_receive() -> bytes:
            data: bytes = await receive()
            while down.random() < loss:
                data = await receive()
            return data

        transport._send, transport._recv = lossy_send, lossy_receive

    async def _wait(self, seconds: float) -> None:
        self._came.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._came.wait()
        except TimeoutError:
            pass

    async def echo(self, size: int, seconds: float) -> int:
        """Keep messages on their way for some seconds; how many came back."""
        message, until = bytes(size), time.perf_counter() + seconds
        before = sent = self.heard
        while (left := until - time.perf_counter()) > 0:
            while sent - self.heard < max(1, UNANSWERED // size) and sent - self.heard < 256:
                self.channel.send(message)
                sent += 1
            await self._wait(left)
        heard = self.heard - before
        while self.heard < sent and time.perf_counter() < until + 10:
            await self._wait(0.1)
        return heard

    async def round_trip(self, size: int) -> float:
        begin, before = time.perf_counter(), self.heard
        self.channel.send(bytes(size))
        while self.heard == before:
            await self._wait(10)
        return time.perf_counter() - begin


async def with_their_client(rounds: int, seconds: float, sessions: int) -> None:
    servers = [start_demo(), start_aiortc()]
    try:
        ours, theirs = servers
        async with httpx.AsyncClient(timeout=20) as web:
            for server in servers:
                await ready(server, web)
            page = ours.url.removesuffix(CALLS)
            (node,) = (await web.get(f"{page}/demo/state")).json()["transceivers"]
            await straight_to_the_node(ours, web)
            # First, while no memory has been used and given back that would hide the growth.
            memory = {
                name: await memory_per_session(web, server, sessions)
                for name, server in (("ours", ours), ("aiortc", theirs))
            }
            meters: dict[str, tuple[Server, list[Callable[[], float]]]] = {
                "aiortc": (theirs, [theirs.cpu]),
                "ours": (ours, [ours.cpu, partial(cpu_seconds, node["pid"])]),
            }
            if rounds:
                await rounds_of_calls(web, meters, rounds, seconds)
    finally:
        for server in servers:
            server.stop()
    print(f"Memory of an idle session with an open channel, {sessions} of them")
    for name, value in memory.items():
        line(name, f"{value / 1024:.0f} KiB")
    compare("ours, relay and transceiver / aiortc", memory["ours"] / memory["aiortc"], at_most(1))


async def rounds_of_calls(
    web: httpx.AsyncClient,
    meters: dict[str, tuple[Server, list[Callable[[], float]]]],
    rounds: int,
    seconds: float,
) -> None:
    rates: dict[str, list[list[float]]] = {}
    costs: dict[str, list[list[float]]] = {}
    alone: dict[str, list[list[float]]] = {}
    lossy: dict[str, list[list[float]]] = {}
    waits: dict[str, list[list[float]]] = {}
    for _ in range(rounds):
        for name, (server, clocks) in meters.items():
            for column, size in enumerate(SIZES.values()):
                done = await drive_theirs(web, server, size, seconds, clocks)
                note(rates, name, column, done.rate)
                note(costs, name, column, done.cpu[0] * 1e3)
                note(alone, name, column, done.cpu[-1] * 1e3)
            for column, loss in enumerate(LOSSES):
                size = SIZES["16 KiB"]
                done = await drive_theirs(web, server, size, seconds, clocks, loss)
                note(lossy, name, column, done.rate)
            for column, wait in enumerate(await their_latencies(web, server)):
                note(waits, name, column, wait * 1e6)
    show("Over loopback, aiortc's client; MB/s echoed", list(SIZES), rates, "ours / aiortc")
    title = "Over loopback, aiortc's client; CPU in ms per MB echoed, relay and transceiver"
    show(title, list(SIZES), costs, "aiortc / ours", inverse=True)
    title = "The transceiver of it"
    show(title, list(SIZES), alone, "aiortc / ours", at_least(3), inverse=True)
    names = [f"{loss:.0%} lost" for loss in LOSSES]
    show("With loss, 16 KiB messages; MB/s echoed", names, lossy, "ours / aiortc")
    title = (
        f"One message of {ECHO_SIZE} B at a time, {ECHOES:,} of them; microseconds until its echo"
    )
    show(title, ["p50", "p99"], waits, "ours / aiortc")


async def drive_theirs(
    web: httpx.AsyncClient,
    server: Server,
    size: int,
    seconds: float,
    meters: Sequence[Callable[[], float]],
    loss: float = 0.0,
) -> Echoed:
    caller = Caller()
    try:
        await caller.call(web, server.url)
        await caller.echo(size, 0.2)
        if loss:
            caller.lose(loss)
        before, begin = [meter() for meter in meters], time.perf_counter()
        echoed = await caller.echo(size, seconds)
        took = time.perf_counter() - begin
        spent = [meter() - start for meter, start in zip(meters, before, strict=True)]
    finally:
        await caller.peer.close()
    megabytes = echoed * size / MEGABYTE
    return Echoed(megabytes / took, [each / max(megabytes, 1e-9) for each in spent])


async def their_latencies(web: httpx.AsyncClient, server: Server) -> tuple[float, float]:
    caller = Caller()
    try:
        await caller.call(web, server.url)
        return percentiles([await caller.round_trip(ECHO_SIZE) for _ in range(ECHOES)])
    finally:
        await caller.peer.close()


async def memory_per_session(web: httpx.AsyncClient, server: Server, sessions: int) -> float:
    """Bytes of resident set that each of so many sessions adds."""
    first = Caller()
    await first.call(web, server.url)
    await first.round_trip(ECHO_SIZE)
    await asyncio.sleep(0.5)
    before, callers = server.memory(), []
    for _ in range(sessions):
        caller = Caller()
        await caller.call(web, server.url)
        await caller.round_trip(ECHO_SIZE)
        callers.append(caller)
    await asyncio.sleep(1.0)
    grown = server.memory() - before
    for caller in (first, *callers):
        await caller.peer.close()
    return grown / sessions


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--memory-only", action="store_true")
    options = parser.parse_args()
    machine.begin()
    if not options.memory_only:
        in_memory(options.rounds)
        with_our_client(options.rounds, options.seconds)
    rounds = 0 if options.memory_only else options.rounds
    asyncio.run(with_their_client(rounds, options.seconds, options.sessions))


if __name__ == "__main__":
    main()
