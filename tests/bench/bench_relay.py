"""What the relay itself costs per packet, without the kernel.

    python tests/bench/bench_relay.py [--rounds N]

``recvmmsg`` and ``sendmmsg`` are replaced by ones that do nothing (``peers/stub.c``, preloaded), so
what is left is all the Python of the batched adapter and the calls by ctypes: a figure free of the
kernel's noise, which guards against regressions. What filling the buffers costs the stub is taken
off. It is CPU time of the functions that the event loop calls when a socket is readable; the loop's
own turn, which a batch shares, is shown apart.

A client sends a check every 2.5 s or so and 50 packets of media in a second, so under load two
batches of five have one among their packets, and those go packet by packet. The row ``one a check``
is of such batches, with the verification of the signature included.
"""

import argparse
import asyncio
import ctypes
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
from attrs import define
from building import Unavailable, c_program
from figures import at_most, line, median
from generator import CLUSTER, CONFIGURATION, KEYRING, LENGTH, NODE, signed_check

from stunroute import forward
from stunroute.address import Address
from stunroute.config import RelayConfig
from stunroute.settings import (
    Adapter,
    Configuration,
    DirectorySettings,
    Hints,
    Listen,
    Node,
    RelaySettings,
    Sockets,
)
from stunroute.udp.server import RelayServer
from stunroute.udp.sockets import bind_all

BATCH = 64
NAME = 28
TURNS = 300
SETTLE = 40
TRANSCEIVER = Address.of("127.0.0.1", 4000)
CLIENTS = [Address.of(f"10.{n}.0.1", 50_000 + n) for n in range(BATCH)]
GOALS = {64: at_most(150), 1: at_most(1_500)}
PRELOADED = "STUNROUTE_BENCH_STUB"


class Loop(asyncio.SelectorEventLoop):
    """Remembers what it is to call for which descriptor, and never does."""

    def __init__(self) -> None:
        self.readers: dict[int, Callable[[], object]] = {}
        super().__init__()

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> Any:
        if not isinstance(fd, int):
            return super().add_reader(fd, callback, *args)
        self.readers[fd] = callback
        return None

    def remove_reader(self, fd: Any) -> bool:
        if not isinstance(fd, int):
            return bool(super().remove_reader(fd))
        return self.readers.pop(fd, None) is not None


def sockaddr(address: Address) -> bytes:
    """A ``sockaddr_in``, padded."""
    name = socket.AF_INET.to_bytes(2, "little") + address[16:] + address[12:16]
    return name.ljust(NAME, b"\0")


@define
class Case:
    """Batches of ``count`` packets in one direction; ``check`` is the first of each, if any."""

    direction: str
    count: int
    check: bytes = b""

    @property
    def name(self) -> str:
        what = ", one a check" if self.check else ""
        return f"{self.direction}, batches of {self.count}{what}"


def settings() -> RelaySettings:
    configuration = Configuration("0", CONFIGURATION.routing_key, CONFIGURATION.password_key)
    anywhere = Address.of("127.0.0.1", 0)
    return RelaySettings(
        listen=(Listen(anywhere),),
        inner=anywhere,
        hint=Hints((configuration,)),
        directory=DirectorySettings((Node(CLUSTER, NODE, TRANSCEIVER),)),
        sockets=Sockets(adapter=Adapter.BATCHED),
        # The same client's check again and again must not count as a flood.
        limits=RelayConfig(edge_rate=1e9, edge_burst=1e9),
    )


def cost(stub: Any, readable: Callable[[], object], case: Case, proxy: Address) -> float:
    """Nanoseconds per packet, one round."""
    uplink = case.direction == "toward"
    names = [sockaddr(client if uplink else TRANSCEIVER) for client in CLIENTS]
    legs = [forward.encode(client, proxy) for client in CLIENTS]
    stub.stub_begin(
        case.count, LENGTH, b"".join(names), b"".join(legs), case.check, len(case.check)
    )
    for _ in range(SETTLE):
        readable()
    turns = TURNS * BATCH // case.count
    before, octets = stub.stub_taken(), stub.stub_octets()
    begin = time.thread_time_ns()
    for _ in range(turns):
        readable()
    took = time.thread_time_ns() - begin
    packets = stub.stub_taken() - before
    batches = packets // case.count
    if packets < turns * case.count or packets % case.count:
        raise RuntimeError(f"{case.name}: {packets} packets came out of {turns} turns")
    expected = LENGTH + (forward.HEADER_LENGTH if uplink else 0)
    if not case.check and stub.stub_octets() - octets != batches * expected:
        raise RuntimeError(f"{case.name}: packets of a wrong length came out")
    stub_cost = stub.stub_cost(1 if uplink else 2)
    stub.stub_end()
    return (took - batches * stub_cost) / packets


async def measure(rounds: int) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    stub = ctypes.CDLL(None)
    stub.stub_taken.restype = stub.stub_octets.restype = ctypes.c_longlong
    stub.stub_cost.restype = ctypes.c_double
    chosen = settings()
    (bound,) = bind_all(chosen)
    directory = chosen.directory.build()
    server = RelayServer(chosen, KEYRING, directory, bound=bound)
    await server.start()
    try:
        check = signed_check()
        for client in CLIENTS:
            server.relay.route_client(check, client, server.proxies[0], loop.time())
        readers = {
            "toward": loop.readers[bound.public[0].fileno()],
            "back": loop.readers[bound.inner.fileno()],
        }
        cases = [Case(way, count) for way in readers for count in (64, 16, 1)]
        cases.append(Case("toward", 64, check))
        found: dict[str, list[float]] = {case.name: [] for case in cases}
        for _ in range(rounds):
            for case in cases:
                readable = readers[case.direction]
                found[case.name].append(cost(stub, readable, case, server.proxies[0]))
    finally:
        await server.close()
    print(f"user-space CPU per {LENGTH}-byte packet, ns, medians of {rounds} rounds")
    for case in cases:
        value = median(found[case.name])
        goal = None if case.check else GOALS.get(case.count)
        line(case.name, f"{value:,.0f}", goal.beside(value) if goal else "")


async def turn_cost() -> float:
    """CPU of one turn of asyncio's loop for one readable socket, with its system call."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        ours.setblocking(False)
        theirs.send(b"never read")
        turns = 0
        done = asyncio.Event()

        def readable() -> None:
            nonlocal turns
            turns += 1
            if turns == 20_000:
                done.set()

        begin = time.thread_time_ns()
        loop.add_reader(ours, readable)
        await done.wait()
        took = time.thread_time_ns() - begin
        loop.remove_reader(ours)
    return took / turns


def call_cost() -> float:
    """CPU of one call by ctypes with five arguments made beforehand: a yardstick of the machine, of
    which a batch needs two."""
    times = 20_000
    function = ctypes.CDLL(None, use_errno=True).stub_end
    arguments = ctypes.c_int(0), ctypes.c_void_p(0), ctypes.c_uint(0), 0, None
    begin = time.thread_time_ns()
    for _ in range(times):
        function(*arguments)
    return (time.thread_time_ns() - begin) / times


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    if PRELOADED not in os.environ:
        try:
            library = c_program("stub", shared=True)
        except Unavailable as reason:
            print(f"nothing can be measured: {reason}")
            return 0
        environment = os.environ | {"LD_PRELOAD": str(library), PRELOADED: "1"}
        command = [sys.executable, str(Path(__file__)), "--rounds", str(options.rounds)]
        return subprocess.call(command, env=environment)
    machine.begin()
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(measure(options.rounds))
    line("a call by ctypes, two a batch, ns", f"{call_cost():,.0f}")
    line(
        "a turn of asyncio's loop, shared by up to four batches, ns",
        f"{asyncio.run(turn_cost()):,.0f}",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
