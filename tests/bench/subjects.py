"""The forwarders under test, each a process of its own, and how to start and end them."""

import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import machine
from attrs import define, field
from building import SOURCES, Unavailable, c_program, go_program
from generator import CLUSTER, CONFIGURATION, NODE

START_DEADLINE = 20.0

SETTINGS = """\
inner = "127.0.0.1:0"
workers = {workers}
{extra}
[[listen]]
bind = "127.0.0.1:0"
[[hint.configurations]]
id = "{id}"
routing_key = "{routing_key}"
password_key = "{password_key}"
[[directory.nodes]]
cluster = {cluster}
node = {node}
address = "{transceiver}"
[sockets]
{sockets}
"""


@define
class Forwarder:
    """A running forwarder. ``settles`` is how many packets of a flow it looks at before the rest
    takes its fast path: they are sent before anything is counted."""

    name: str
    process: subprocess.Popen[str]
    public: str
    settles: int = 0
    cores: tuple[int, ...] = machine.FORWARDER_CORES
    _file: Path | None = None
    said: str = ""
    """What it printed after its first line; known when it has stopped."""

    @property
    def pids(self) -> list[int]:
        return machine.family(self.process.pid)

    @property
    def port(self) -> int:
        return int(self.public.rpartition(":")[2])

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.said, _ = self.process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        if self._file is not None:
            self._file.unlink(missing_ok=True)


def _first_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What it says when it is up. Raises Unavailable if it ends or says nothing."""
    assert process.stdout is not None
    timer = threading.Timer(START_DEADLINE, process.kill)
    timer.start()
    line = process.stdout.readline()
    timer.cancel()
    if not line:
        process.kill()
        process.communicate()
        raise Unavailable("it did not start")
    found: dict[str, Any] = json.loads(line)
    return found


def relay(
    transceiver: str,
    *,
    name: str = "stunroute",
    workers: int = 1,
    adapter: str = "",
    extra: str = "",
    settles: int = 17,
    program: Sequence[str] = ("-m", "stunroute"),
) -> Forwarder:
    """The relay program with everything but addresses as an operator would have it. ``adapter``
    and ``extra`` are further lines of its settings; ``program`` is how Python is to start it."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml", delete=False) as file:
        file.write(
            SETTINGS.format(
                workers=workers,
                extra=extra,
                id=CONFIGURATION.identifier,
                routing_key=CONFIGURATION.routing_key.hex(),
                password_key=(CONFIGURATION.password_key or b"").hex(),
                cluster=CLUSTER,
                node=NODE,
                transceiver=transceiver,
                sockets=f'adapter = "{adapter}"' if adapter else "",
            )
        )
    command = [sys.executable, *program, "relay", "--config", file.name]
    cores = machine.FORWARDER_CORES if workers == 1 else machine.CORES
    process = machine.start(command, cores)
    try:
        started = _first_line(process)
    except BaseException:
        Path(file.name).unlink(missing_ok=True)
        raise
    return Forwarder(name, process, started["listen"][0], settles, cores, Path(file.name))


def peer(name: str, command: list[str], transceiver: str) -> Forwarder:
    process = machine.start([*command, "--next", transceiver], machine.FORWARDER_CORES)
    return Forwarder(name, process, _first_line(process)["listen"][0])


def _python_peer(loop: str) -> Callable[[str], Forwarder]:
    def start(transceiver: str) -> Forwarder:
        if loop == "uvloop":
            try:
                import uvloop  # noqa: F401
            except ImportError:
                raise Unavailable("uvloop is not installed") from None
        program = SOURCES / "forward_asyncio.py"
        return peer(loop, [sys.executable, str(program), "--loop", loop], transceiver)

    return start


def _c_peer(mode: str) -> Callable[[str], Forwarder]:
    def start(transceiver: str) -> Forwarder:
        command = [str(c_program("forward_c")), "--mode", mode]
        return peer(f"C {mode}", command, transceiver)

    return start


def _go_peer(transceiver: str) -> Forwarder:
    return peer("Go", [str(go_program("forward_go"))], transceiver)


SUBJECTS: dict[str, Callable[[str], Forwarder]] = {
    "stunroute": relay,
    "C batched": _c_peer("batched"),
    "C plain": _c_peer("plain"),
    "Go": _go_peer,
    "asyncio": _python_peer("asyncio"),
    "uvloop": _python_peer("uvloop"),
}


@define
class Fleet:
    """Several forwarders side by side; those that cannot run here are in ``missing``, by reason."""

    forwarders: list[Forwarder] = field(factory=list)
    missing: dict[str, str] = field(factory=dict)

    def start(self, names: list[str], transceiver: str) -> None:
        for name in names:
            try:
                self.forwarders.append(SUBJECTS[name](transceiver))
            except Unavailable as reason:
                self.missing[name] = str(reason)

    def add(self, forwarder: Forwarder) -> Forwarder:
        self.forwarders.append(forwarder)
        return forwarder

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for forwarder in self.forwarders:
            forwarder.stop()
