"""Set-up of a call, its cost to the server, and what an idle session keeps in memory.

The servers are ours (one relay, one transceiver, as processes; signalling straight to the
transceiver) and an echo server made of aiortc. Rounds alternate between the two; medians are
printed, and ratios of ours to theirs.

*Set-up* runs from the answer's arrival to the client's ``connected``. An aiortc client spends 20 ms
of it asleep between its own checks, whatever the server does, so the part after its ICE has
completed is printed too; and, where Chromium is installed, the set-up of a client that does not
sleep. *Server CPU* is user and system time of the server's processes over the whole set-up,
signalling and hang-up included, one call at a time and ten at once. *Memory* is the growth in
resident set per session over a number of established, silent sessions.
"""

import asyncio
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import httpx
import machine
from aiortc import RTCPeerConnection, RTCSessionDescription
from attrs import define, field

CALLS = "/v1/realtime/calls"
ROUNDS = 30
SESSIONS = 100


LIMITS = httpx.Limits(keepalive_expiry=1)
"""A connection is not used again when a server may be about to close it."""


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
    after_ice: list[float] = field(factory=list)
    front: set[int] = field(factory=set)
    """Processes that are not part of the server: the demo's web page."""

    @property
    def pids(self) -> list[int]:
        """The process and its children, grandchildren included."""
        found, queue = [], [self.process.pid]
        while queue:
            pid = queue.pop()
            if pid not in self.front:
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
    return Server("stunroute", f"http://127.0.0.1:{http}{CALLS}", process)


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


async def straight_to_the_node(server: Server, client: httpx.AsyncClient) -> None:
    """Past the demo's page, which a fleet does not have."""
    page = server.url.removesuffix(CALLS)
    state = (await client.get(f"{page}/demo/state")).json()
    server.url = f"http://{state['transceivers'][0]['http']}{CALLS}"
    server.front = {server.process.pid}


async def connect(
    server: Server, client: httpx.AsyncClient
) -> tuple[RTCPeerConnection, float, float]:
    """One silent call; returns it, the seconds from answer to connected, and those of them after
    the client's ICE had completed."""
    peer = RTCPeerConnection()
    peer.addTransceiver("audio", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    connected = asyncio.get_running_loop().create_future()
    at: dict[str, float] = {}

    @peer.on("iceconnectionstatechange")
    def checked() -> None:
        at.setdefault(peer.iceConnectionState, time.perf_counter())

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
    return peer, done - begun, done - at["completed"]


async def measure(servers: list[Server]) -> None:
    ours, theirs = servers
    async with httpx.AsyncClient(timeout=20, limits=LIMITS) as client:
        for server in servers:
            await ready(server, client)
        page = ours.url.removesuffix(CALLS) + "/"
        await straight_to_the_node(ours, client)
        for server in servers:
            await burst(server, client, 3)
        # First, while no memory has been used and given back that would hide the growth.
        memory = [await growth(server, client) / 1024 for server in servers]
        row("memory per idle session", memory, "KiB", "60 KB")
        single = await cpu_per_call(servers, client, ROUNDS, 1)
        medians("set-up, aiortc client", [s.setups for s in servers], "1/3")
        medians("  of it after the client's ICE", [s.after_ice for s in servers])
        loaded = await cpu_per_call(servers, client, 10 * ROUNDS, 10)
        row("server CPU per set-up", single, "ms", "1/4")
        row("  of ten at once", loaded, "ms")
    in_chromium(page, theirs.url)


async def burst(server: Server, client: httpx.AsyncClient, calls: int) -> None:
    """So many calls at once, and hang up."""
    made = await asyncio.gather(*(connect(server, client) for _ in range(calls)))
    for peer, took, after_ice in made:
        if calls == 1:
            server.setups.append(took)
            server.after_ice.append(after_ice)
        await peer.close()


async def cpu_per_call(
    servers: list[Server], client: httpx.AsyncClient, calls: int, at_once: int
) -> list[float]:
    """Milliseconds of each server's CPU per call, rounds alternating."""
    spent = [0.0 for _ in servers]
    for _ in range(calls // at_once):
        for index, server in enumerate(servers):
            before = server.cpu()
            await burst(server, client, at_once)
            spent[index] += server.cpu() - before
    return [seconds / calls * 1e3 for seconds in spent]


async def growth(server: Server, client: httpx.AsyncClient) -> float:
    """Bytes of resident set per established session."""
    before = server.memory()
    peers = []
    for _ in range(SESSIONS):
        peer, _, _ = await connect(server, client)
        peers.append(peer)
    await asyncio.sleep(2.0)
    grown = server.memory() - before
    for peer in peers:
        await peer.close()
    return grown / SESSIONS


CALL = """(async url => {
    const pc = new RTCPeerConnection();
    pc.addTransceiver('audio', { direction: 'recvonly' });
    await pc.setLocalDescription();
    const answer = await fetch(url, { method: 'POST', body: pc.localDescription.sdp,
                                      headers: { 'Content-Type': 'application/sdp' } });
    const sdp = await answer.text(), begun = performance.now();
    const connected = new Promise(done => { pc.onconnectionstatechange = () => {
        if (pc.connectionState === 'connected') done(performance.now() - begun); }; });
    await pc.setRemoteDescription({ type: 'answer', sdp });
    const took = await connected;
    pc.close();
    return took / 1000;
})"""


def in_chromium(page: str, theirs: str) -> None:
    """The same set-up from a stock Chromium; each server's own page is its origin."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from browser import find, launch

    if find("chromium") is None:
        print("set-up, Chromium client          skipped: no Chromium on this machine")
        return
    took: list[list[float]] = [[], []]
    with launch("chromium") as browser:
        for _ in range(10):
            for times, origin, url in ((took[0], page, CALLS), (took[1], theirs, "/")):
                browser.navigate(origin)
                times.append(float(browser.evaluate(f"{CALL}('{url}')")))
    medians("set-up, Chromium client", took)


def medians(what: str, seconds: list[list[float]], goal: str = "") -> None:
    row(what, [statistics.median(times) * 1e3 for times in seconds], "ms", goal)


def row(what: str, values: list[float], unit: str, goal: str = "") -> None:
    ours, theirs = values
    shown = f"ours {ours:8.2f} {unit:3}  aiortc {theirs:8.2f} {unit:3}  ratio {ours / theirs:5.2f}"
    print(f"{what:32} {shown}" + (f"  goal {goal}" if goal else ""), flush=True)


def main() -> None:
    machine.begin()
    servers = [start_demo(), start_aiortc()]
    try:
        asyncio.run(measure(servers))
    finally:
        for server in servers:
            server.stop()


if __name__ == "__main__":
    main()
