"""Set-up of a call, its cost to the server, and what an idle session keeps in memory.

The client is aiortc in every case. The servers are the demo (one relay, one transceiver, as
processes) and an echo server made of aiortc. Rounds alternate between the two; medians are
printed, and ratios of ours to theirs.

*Set-up* runs from the answer's arrival to the client's ``connected``. *Server CPU* is user and
system time of the server's processes over the whole round, signalling included. *Memory* is the
growth in resident set per session over a number of established, silent sessions.
"""

import asyncio
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import httpx
from aiortc import RTCPeerConnection, RTCSessionDescription
from attrs import define, field

ROUNDS = 30
SESSIONS = 100
TICK = os.sysconf("SC_CLK_TCK")


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, from the scheduler's nanosecond count."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def resident(pid: int) -> int:
    """Bytes of private and shared memory a process has in core."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    return int(found[1]) * 1024 if found else 0


@define
class Server:
    """A server under test. ``pids`` are the processes whose cost counts."""

    name: str
    url: str
    process: subprocess.Popen[str]
    setups: list[float] = field(factory=list)

    @property
    def pids(self) -> list[int]:
        """The process and its children, grandchildren included."""
        found, queue = [], [self.process.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            queue += [int(child) for child in children]
        return found

    def cpu(self) -> float:
        return sum(map(cpu_seconds, self.pids))

    def memory(self) -> int:
        return sum(map(resident, self.pids))

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)


def start_demo() -> Server:
    http, udp = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_DGRAM)
    command = [sys.executable, "-m", "transceiver", "demo", "--transceivers", "1"]
    command += ["--http", f"127.0.0.1:{http}", "--udp", f"127.0.0.1:{udp}"]
    command += ["--advertise", "127.0.0.1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, text=True)
    return Server("stunroute", f"http://127.0.0.1:{http}/v1/realtime/calls", process)


def start_aiortc() -> Server:
    http = free_port(socket.SOCK_STREAM)
    program = Path(__file__).with_name("aiortc_server.py")
    process = subprocess.Popen([sys.executable, str(program), str(http)], text=True)
    return Server("aiortc", f"http://127.0.0.1:{http}/", process)


async def ready(server: Server, client: httpx.AsyncClient) -> None:
    for _ in range(200):
        try:
            await client.get(server.url)
        except httpx.TransportError:
            await asyncio.sleep(0.1)
        else:
            return
    raise SystemExit(f"{server.name} did not come up")


async def connect(server: Server, client: httpx.AsyncClient) -> tuple[RTCPeerConnection, float]:
    """One silent call; returns it and the seconds from answer to connected."""
    peer = RTCPeerConnection()
    peer.addTransceiver("audio", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    connected = asyncio.get_running_loop().create_future()

    @peer.on("connectionstatechange")
    def changed() -> None:
        if peer.connectionState == "connected" and not connected.done():
            connected.set_result(time.perf_counter())

    answer = await client.post(
        server.url,
        content=peer.localDescription.sdp,
        headers={"content-type": "application/sdp"},
    )
    answer.raise_for_status()
    begun = time.perf_counter()
    await peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
    done = await asyncio.wait_for(connected, 20)
    return peer, done - begun


async def measure(servers: list[Server]) -> None:
    async with httpx.AsyncClient(timeout=20) as client:
        for server in servers:
            await ready(server, client)
            for _ in range(3):
                peer, _ = await connect(server, client)
                await peer.close()
        cpu = {server.name: 0.0 for server in servers}
        for _ in range(ROUNDS):
            for server in servers:
                before = server.cpu()
                peer, took = await connect(server, client)
                cpu[server.name] += server.cpu() - before
                server.setups.append(took)
                await peer.close()
        await asyncio.sleep(1.0)
        memory = {server.name: await growth(server, client) for server in servers}
    ours, theirs = servers
    a, b = (statistics.median(s.setups) * 1e3 for s in servers)
    row("set-up, answer to connected", f"{a:.1f} ms", f"{b:.1f} ms", a / b, "1/3")
    a, b = (cpu[s.name] / ROUNDS * 1e3 for s in servers)
    row("server CPU per set-up", f"{a:.2f} ms", f"{b:.2f} ms", a / b, "1/4")
    a, b = (memory[s.name] / 1024 for s in (ours, theirs))
    row("memory per idle session", f"{a:.0f} KiB", f"{b:.0f} KiB", a / b, "60 KB")


async def growth(server: Server, client: httpx.AsyncClient) -> float:
    """Bytes of resident set per established session."""
    before = server.memory()
    peers = []
    for _ in range(SESSIONS):
        peer, _ = await connect(server, client)
        peers.append(peer)
    await asyncio.sleep(2.0)
    grown = server.memory() - before
    for peer in peers:
        await peer.close()
    return grown / SESSIONS


def row(what: str, ours: str, theirs: str, ratio: float, goal: str) -> None:
    print(f"{what:32} ours {ours:>10}   aiortc {theirs:>10}   ratio {ratio:5.2f}   goal {goal}")


def main() -> None:
    servers = [start_demo(), start_aiortc()]
    try:
        asyncio.run(measure(servers))
    finally:
        for server in servers:
            server.stop()


if __name__ == "__main__":
    main()
