"""Runs ``peers/generate.c``, which is the clients and the transceiver of every forwarder.

Its docstring says how it works. The checks it makes flows known with are minted and signed here, so
the relay can verify them; a peer learns a flow from any first packet.
"""

import json
import os
import socket
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import machine
from attrs import define, field, frozen
from building import c_program

from stunroute import stun
from stunroute.hint import HintConfiguration, KeyRing

CLUSTER, NODE = 1, 7
CONFIGURATION = HintConfiguration("0", bytes(range(16)), bytes(range(32)))
KEYRING = KeyRing([CONFIGURATION])
LENGTH = 172
BURST = 4
"""Packets that one client sends in a row. The kernel cuts them apart on arrival, which halves what
sending costs; with each packet from another client the generator's core would be the bottleneck
before a batched forwarder's is."""
WINDOW = 2048
"""Packets under way: what the receive buffer of a forwarder holds, several times over."""


@frozen(slots=True)
class Stream:
    """``received`` within the time that was measured, ``arrived`` of what was ``sent`` then.
    Latencies are nanoseconds."""

    sent: int
    received: int
    arrived: int
    p50: int = 0
    p99: int = 0
    p999: int = 0
    max: int = 0

    @property
    def lost(self) -> int:
        return max(0, self.sent - self.arrived)


@frozen(slots=True)
class Result:
    """``cpu`` is what the forwarder's processes used in ``seconds``, ``settled_cpu`` until they had
    done what was left then, ``own_cpu`` what the generator used. ``making`` is how long it took
    until ``known`` flows were known after ``checks`` checks, ``making_cpu`` what that cost."""

    flows: int
    known: int
    checks: int
    making: float
    making_cpu: float
    seconds: float
    cpu: float
    own_cpu: float
    settled_cpu: float
    wrong: int
    up: Stream
    down: Stream
    flood: Stream

    @property
    def received(self) -> int:
        return self.up.received + self.down.received

    @property
    def rate(self) -> float:
        """Packets per second, both directions together."""
        return self.received / self.seconds

    @property
    def per_cpu_second(self) -> float:
        return self.received / self.cpu if self.cpu else 0.0

    @property
    def busy(self) -> float:
        """Share of one core that the forwarder had; below one it was not at its limit, or the
        machine gave its core to somebody else."""
        return self.cpu / self.seconds


def check(username: bytes, password: bytes) -> bytes:
    """As a browser sends it."""
    return stun.binding_request(
        os.urandom(12),
        username + b":TxUk",
        1845501695,
        stun.IntegrityKey(password),
        controlling=0x932FF9B151263B36,
    )


def mint() -> bytes:
    return KEYRING.mint(CLUSTER, NODE, os.urandom, 0.0).encode()


def signed_check() -> bytes:
    name = mint()
    return check(name, KEYRING.password(name))


def write_records(path: Path, records: Iterable[bytes]) -> Path:
    with path.open("wb") as file:
        for record in records:
            file.write(len(record).to_bytes(2, "little") + record)
    return path


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@define
class Generator:
    """Ends and checks that stay the same through many runs. ``flows`` is the most that a run may
    ask for. Raises building.Unavailable."""

    flows: int
    program: Path = field(init=False)
    transceiver: str = field(init=False)
    clients: str = field(init=False)
    _folder: tempfile.TemporaryDirectory[str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.program = c_program("generate")
        self.transceiver = f"127.0.0.1:{free_port()}"
        self.clients = f"127.1.0.0:{free_port()}"
        self._folder = tempfile.TemporaryDirectory()
        self.write("checks", (signed_check() for _ in range(self.flows)))

    def write(self, name: str, records: Iterable[bytes]) -> Path:
        """Packets for a run, in a file that goes with this generator."""
        return write_records(Path(self._folder.name, name), records)

    def close(self) -> None:
        self._folder.cleanup()

    def run(
        self,
        public: str,
        pids: list[int],
        *,
        direction: str = "up",
        cores: tuple[int, ...] = (),
        **options: object,
    ) -> Result:
        """One measurement; ``options`` are those of the program. Raises RuntimeError if it fails,
        or if flows were not forwarded; an option that is the empty string is left out."""
        words: dict[str, object] = {
            "public": public,
            "transceiver": self.transceiver,
            "clients": self.clients,
            "direction": direction,
            "pids": ",".join(map(str, pids)),
            "checks": Path(self._folder.name, "checks"),
            "window": WINDOW,
            "burst": 1 if "rate" in options else BURST,
        }
        words |= options
        command = [str(self.program)]
        for name, value in words.items():
            if value == "":
                continue
            command += [f"--{name.replace('_', '-')}", str(value)]
        process = machine.start(command, cores or machine.GENERATOR_CORES)
        with process:
            try:
                output, _ = process.communicate(timeout=60)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise RuntimeError(f"the generator failed with {process.returncode}")
        return _result(json.loads(output), made=bool(words["checks"]))


def _result(found: dict[str, Any], *, made: bool) -> Result:
    streams = {name: Stream(**found.pop(name)) for name in ("up", "down", "flood")}
    result = Result(**found, **streams)
    if made and result.known < result.flows:
        raise RuntimeError(f"only {result.known} of {result.flows} flows came through")
    if result.wrong:
        raise RuntimeError(f"{result.wrong} packets came out wrong")
    return result
