"""The relay as a process of its own, to be killed and told things while calls run.

Its ports are chosen here, below the range from which the kernel hands out its own, so that the
same ones are free again when a killed relay comes back and no other test is given them meanwhile.
"""

import contextlib
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from attrs import frozen

from fleet import CLUSTER, CONFIGURATION
from source import ROOT
from stunroute.address import Address
from stunroute.hint import HintConfiguration

PATIENCE = 30.0
"""How long a loaded machine may take to start a process or to end one, in seconds."""

_PORTS = range(12_000, 30_000)


def free_ports(number: int = 1, kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    """The first of so many ports in a row that nobody has on loopback now."""
    drawn = random.Random(os.urandom(8))
    for _ in range(1_000):
        first = drawn.choice(_PORTS)
        with contextlib.ExitStack() as taken:
            try:
                for port in range(first, first + number):
                    probe = taken.enter_context(socket.socket(socket.AF_INET, kind))
                    probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise RuntimeError(f"no {number} ports in a row are free")


@frozen
class Options:
    """What the settings file of a relay says. ``extra`` is TOML that is put at its end, ``limits``
    goes into its table. ``advertise`` is the public address that the relays of a fleet share."""

    nodes: Mapping[int, Address]
    configurations: tuple[HintConfiguration, ...] = (CONFIGURATION,)
    workers: int = 1
    advertise: Address | None = None
    limits: Mapping[str, object] = {}
    extra: str = ""

    def toml(self, public: Address, inner: Address) -> str:
        lines = [f'inner = "{inner}"']
        if self.workers != 1:
            lines.append(f"workers = {self.workers}")
        lines += ["[[listen]]", f'bind = "{public}"']
        if self.advertise is not None:
            lines.append(f'advertise = "{self.advertise}"')
        for configuration in self.configurations:
            lines += [
                "[[hint.configurations]]",
                f'id = "{configuration.identifier}"',
                f'routing_key = "{configuration.routing_key.hex()}"',
            ]
            if configuration.password_key is not None:
                lines.append(f'password_key = "{configuration.password_key.hex()}"')
        for node, address in self.nodes.items():
            lines += ["[[directory.nodes]]", f"cluster = {CLUSTER}", f"node = {node}"]
            lines.append(f'address = "{address}"')
        if self.limits:
            lines.append("[limits]")
            lines += [f"{name} = {value}" for name, value in self.limits.items()]
        return "\n".join(lines) + "\n" + self.extra


class RelayProcess:
    """``python -m stunroute relay`` with settings in ``folder``. It listens at ``public``, and at
    ``inner`` and the ports after it for its workers, through every restart."""

    def __init__(self, folder: Path, options: Options, name: str = "relay") -> None:
        self.options = options
        self.public = Address.of("127.0.0.1", free_ports())
        self.inner = Address.of("127.0.0.1", free_ports(options.workers))
        self.started: dict[str, Any] = {}
        self.started_at = 0
        """``time.monotonic_ns`` when the relay said that it had started."""
        self._config = folder / f"{name}.toml"
        self._errors = folder / f"{name}.err"
        self._process: subprocess.Popen[bytes] | None = None
        self._told = b""

    @property
    def proxy(self) -> Address:
        """What its clients know it by."""
        return self.options.advertise or self.public

    @property
    def inners(self) -> tuple[Address, ...]:
        """Where transceivers reach it, by worker."""
        ports = range(self.inner.port, self.inner.port + self.options.workers)
        return tuple(Address.of(self.inner.ip, port) for port in ports)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def workers(self) -> list[int]:
        """The pids of its child processes in the order they were made; none where the relay does
        its work itself."""
        return _children(self.pid)

    @property
    def complaints(self) -> str:
        """What it wrote to standard error, over all its lives."""
        return self._errors.read_text() if self._errors.exists() else ""

    # Life and death

    def start(self) -> Self:
        """Start it and wait until it says so."""
        self.launch()
        self.await_started()
        return self

    def launch(self) -> None:
        """Start it, without waiting for its word."""
        self._write()
        environ = {k: v for k, v in os.environ.items() if not k.startswith("STUNROUTE_RELAY")}
        self._told = b""
        with self._errors.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "stunroute", "relay", "--config", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                env=environ,
            )

    def await_started(self) -> None:
        self.started = self._line(PATIENCE)
        self.started_at = time.monotonic_ns()
        assert self.started["event"] == "started", self.started

    def kill(self) -> int:
        """``kill -9`` of the relay as a whole, whose sockets are gone when this returns;
        ``time.monotonic_ns`` of the blow."""
        assert self._process is not None
        workers = self.workers
        at = time.monotonic_ns()
        for pid in (self.pid, *workers):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(PATIENCE)
        self._close()
        deadline = time.monotonic() + PATIENCE
        while self.is_listening():  # its workers are not our children to wait for
            assert time.monotonic() < deadline, "a killed relay has its socket still"
            time.sleep(0.0005)
        return at

    def kill_worker(self, index: int = 0) -> int:
        """``kill -9`` of one worker; its pid."""
        victim = self.workers[index]
        os.kill(victim, signal.SIGKILL)
        return victim

    def pause(self) -> None:
        """The relay stands still, as on a machine that swaps."""
        for pid in (*self.workers, self.pid):
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        for pid in (self.pid, *self.workers):
            os.kill(pid, signal.SIGCONT)

    def reload(self, options: Options) -> None:
        """Give it other settings by SIGHUP. It says nothing; ``complaints`` may."""
        self.options = options
        self._write()
        os.kill(self.pid, signal.SIGHUP)

    def stop(self) -> dict[str, Any]:
        """SIGTERM; what it says of its life."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        told = self._line(PATIENCE)
        self._process.wait(PATIENCE)
        self._close()
        return told

    def close(self) -> None:
        """End it, however it is."""
        if self._process is not None and self._process.poll() is None:
            self.resume()
            self.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    # Looking on

    def is_listening(self) -> bool:
        """Whether a socket is bound to its public port: from then on the kernel keeps what is sent
        there, though nobody may read it yet."""
        return is_bound(self.public.port)

    def await_socket(self) -> int:
        """Wait for a killed relay's socket to be back; ``time.monotonic_ns`` then, to about a
        millisecond."""
        deadline = time.monotonic() + PATIENCE
        while not self.is_listening():
            assert time.monotonic() < deadline, self.complaints
            time.sleep(0.0005)
        return time.monotonic_ns()

    def _write(self) -> None:
        whole = self._config.with_suffix(".new")
        whole.write_text(self.options.toml(self.public, self.inner))
        whole.replace(self._config)

    def _line(self, within: float) -> dict[str, Any]:
        """The next line of standard output."""
        assert self._process is not None
        assert self._process.stdout is not None
        handle = self._process.stdout.fileno()
        deadline = time.monotonic() + within
        while b"\n" not in self._told:
            left = deadline - time.monotonic()
            ready = left > 0 and select.select([handle], [], [], left)[0]
            chunk = os.read(handle, 65_536) if ready else b""
            assert chunk, f"the relay said nothing more\n{self.complaints}"
            self._told += chunk
        line, _, self._told = self._told.partition(b"\n")
        told: dict[str, Any] = json.loads(line)
        return told

    def _close(self) -> None:
        assert self._process is not None
        if self._process.stdout is not None:
            self._process.stdout.close()


def is_bound(port: int) -> bool:
    """Whether some IPv4 UDP socket of this machine has ``port``."""
    with open("/proc/net/udp", "rb") as table:
        return b":%04X 00000000:0000 " % port in table.read()


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return sorted(found)
