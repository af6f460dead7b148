"""A supervisor as a process of its own, for tests that kill it and its workers.

Its workers do not relay: they send back what they receive, behind their number and process id, and
do what a packet tells them to, which a relay would not. So a test sees which worker a packet came
to, and can break that worker from within.

It prints a line of JSON for everything that it is told by the supervisor, and for every picture; on
SIGUSR1 what ``status`` and ``flows`` say.
"""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import asdict

from fleet import CLIENTS, A
from stunroute.address import Address
from stunroute.config import load
from stunroute.directory import Directory
from stunroute.errors import ConfigError
from stunroute.hint import KeyRing
from stunroute.settings import RelaySettings
from stunroute.status import FlowStatus, Happening, RelayStatus, SocketStatus, WorkerStatus
from stunroute.store import NoStore, Store
from stunroute.udp import supervisor
from stunroute.udp.sockets import BoundSockets
from stunroute.udp.supervisor import Supervisor


def say(event: str, /, **facts: object) -> None:
    # In one piece, because supervisor and workers write to the same pipe.
    os.write(1, json.dumps({"event": event, **facts}).encode() + b"\n")


class SlowStore(NoStore):
    """Takes a while to write what waits, and says when it has."""

    async def aclose(self) -> None:
        await asyncio.sleep(0.2)
        say("flushed", pid=os.getpid())


class EchoServer:
    """Sends back what it gets at its public sockets. ``echoed`` counts it."""

    def __init__(
        self,
        settings: RelaySettings,
        keyring: KeyRing,
        directory: Directory,
        *,
        worker: int = 0,
        bound: BoundSockets | None = None,
        store: Store | None = None,
    ) -> None:
        assert bound is not None
        self.worker = worker
        self.settings = settings
        self.keyring = keyring
        self.bound = bound
        self.started = time.time()
        self.echoed = 0

    async def start(self) -> None:
        trouble = Path(os.environ.get("TROUBLE", "/nowhere"))
        if trouble.exists():
            match trouble.read_text():
                case "config":
                    raise ConfigError("limits.flows", "is not to its liking")
                case "exit":
                    os._exit(3)
                case "os":
                    raise OSError("no batch adapter")
                case "crash":
                    raise RuntimeError("a mistake")
        for sock in self.bound.public:
            asyncio.get_running_loop().add_reader(sock, self._read, sock)

    async def close(self) -> None:
        for sock in self.bound.public:
            asyncio.get_running_loop().remove_reader(sock)
        self.bound.close()

    def _read(self, sock: socket.socket) -> None:
        data, sender = sock.recvfrom(2048)
        match data:
            case b"exit":
                os._exit(7)
            case b"hang":
                time.sleep(1000)
            case b"fds":
                data = " ".join(sorted(set(_open_files()))).encode()
            case b"cores":
                data = " ".join(map(str, sorted(os.sched_getaffinity(0)))).encode()
            case b"keys":
                data = " ".join(c.identifier for c in self.keyring.configurations).encode()
        self.echoed += 1
        sock.sendto(f"{self.worker} {os.getpid()} ".encode() + data, sender)

    def reload(
        self, settings: RelaySettings, keyring: KeyRing, directory: Directory
    ) -> tuple[str, ...]:
        self.settings, self.keyring = settings, keyring
        return ()

    def status(self) -> WorkerStatus:
        return WorkerStatus(
            worker=self.worker,
            pid=os.getpid(),
            started=self.started,
            adapter="plain",
            flows=self.worker + 1,
            contenders=0,
            counters={"uplink_packets": self.echoed},
            drops={"empty": 1},
            kinds={},
            sockets=(SocketStatus("inner", "", 1, 2),),
            configurations=(),
        )

    def take_sources(self) -> dict[int, Address]:
        return {}

    def learn_sources(self, sources: Mapping[int, Address]) -> None:
        pass

    def flows(self, limit: int) -> list[FlowStatus]:
        return [
            FlowStatus(self.worker, client, A, "check", 1.0, 0.5, True)
            for client in CLIENTS[:limit]
        ]


def _open_files() -> Iterable[str]:
    """What this process has open, by kind."""
    for number in os.listdir("/dev/fd"):
        try:
            target = os.readlink(f"/dev/fd/{number}")
        except OSError:
            continue
        if int(number) > 2:
            yield target


def _picture(status: RelayStatus, ready: bool) -> dict[str, object]:
    return {
        "ready": ready,
        "wanted": status.wanted,
        "pids": [worker.pid for worker in status.workers],
        "lag": [worker.loop_lag for worker in status.workers],
        "restarts": status.restarts,
        "reloads": status.reloads,
        "happenings": [happening.text for happening in status.happenings],
    }


async def run(path: Path) -> None:

    def settings() -> RelaySettings:
        return load(RelaySettings, path=path, environ={}, prefix="", options={})

    def log(happening: Happening) -> None:
        say("happened", text=happening.text)

    made = Supervisor(
        settings,
        make_store=lambda _: SlowStore(),
        make_server=EchoServer,
        say=say,
        log=log,
        watch=lambda status: say("picture", **_picture(status, made.ready)),
    )
    tasks = set()

    async def tell() -> None:
        # Two observers at once, as metrics and a terminal.
        status, same, flows = await asyncio.gather(made.status(), made.status(), made.flows(5))
        assert len(status.workers) == len(same.workers)
        say(
            "told", **_picture(status, made.ready), flows=[asdict(flow)["worker"] for flow in flows]
        )

    def ask() -> None:
        task = asyncio.get_running_loop().create_task(tell())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, ask)
    await made.run()


if __name__ == "__main__":
    supervisor.BEAT = float(os.environ.get("BEAT", "0.2"))
    try:
        asyncio.run(run(Path(sys.argv[1])))
    except (ConfigError, OSError) as error:
        say("refused", error=type(error).__name__, text=str(error))
        sys.exit(1)
