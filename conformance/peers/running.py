"""Starting a peer and ending it, with every process that it started and no other.

A peer's program is told by its environment where to listen (``PEER_HOST``), which file to write
when it is ready (``PEER_READY``: JSON with ``url`` and ``version``) and where its packages lie
(``PEER_HOME``). It leads a session of its own, so that its children can be ended with it, and it
leaves when its standard input ends: so it outlives no harness, however that one dies.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from attrs import define, field

from . import installing
from .errors import PeerError
from .namespace import Namespace
from .table import Door, Peer, Runner, by_name

T = TypeVar("T")

READY_SECONDS = 30.0
"""How long a peer may take to start; most take one."""
END_SECONDS = 5.0
"""How long it may take to leave when asked."""
LOOPBACK = "127.0.0.1"


@define(slots=True, eq=False)
class Running:
    """A peer that is up. ``url`` is what the door takes: ``http://127.0.0.1:4711/whip``, or
    ``127.0.0.1:3478`` for STUN. ``namespace`` is where it is, None where that is here."""

    peer: Peer
    url: str
    version: str
    pid: int
    namespace: Namespace | None = None
    _process: "_Process | None" = None

    @property
    def ended(self) -> str | None:
        """What it said last, where it has ended by itself; None while it is up."""
        if self._process is None or not self._process.over:
            return None
        return self._process.last_words()

    @property
    def name(self) -> str:
        return self.peer.name

    @property
    def door(self) -> Door:
        return self.peer.door

    def command(self, argv: Sequence[str]) -> list[str]:
        """``argv`` so that it runs where the peer can be reached."""
        return list(argv) if self.namespace is None else self.namespace.command(argv)

    def inside(self, act: Callable[[], T]) -> T:
        """What ``act`` returns when called where the peer can be reached."""
        return act() if self.namespace is None else self.namespace.inside(act)


@contextlib.contextmanager
def start(name: str) -> Iterator[Running]:
    """A peer, up for the length of a ``with`` block.

    Raises PeerError where it is unknown, not installed, or does not start.
    """
    peer = by_name().get(name)
    if peer is None:
        raise PeerError(f"there is no peer {name!r}; there are {', '.join(by_name())}")
    installing.require(peer)
    with contextlib.ExitStack() as stack:
        namespace = stack.enter_context(Namespace()) if peer.needs_namespace else None
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stunroute-peer-")))
        process = stack.enter_context(_Process(peer, namespace, scratch))
        told = process.await_ready()
        yield Running(peer, told["url"], told["version"], process.pid, namespace, process)


def command_of(peer: Peer) -> list[str]:
    """The program and its arguments."""
    match peer.runner:
        case Runner.MODULE:
            return [sys.executable, "-m", f"conformance.peers.{peer.program}"]
        case Runner.SYSTEM_PYTHON:
            return ["/usr/bin/python3", "-I", str(installing.HERE / peer.program)]
        case Runner.NODE:
            return ["node", str(installing.HERE / peer.program)]
        case Runner.GO:
            return [str(installing.build(peer))]


@define(slots=True, eq=False)
class _Process:
    peer: Peer
    namespace: Namespace | None
    scratch: Path
    _process: "subprocess.Popen[bytes]" = field(init=False)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def _ready(self) -> Path:
        return self.scratch / "ready.json"

    @property
    def _log(self) -> Path:
        return self.scratch / "log"

    def __enter__(self) -> "_Process":
        argv = command_of(self.peer)
        environment = {
            **os.environ,
            **dict(self.peer.environment),
            "PEER_HOST": LOOPBACK if self.namespace is None else self.namespace.address,
            "PEER_READY": str(self._ready),
            "PEER_HOME": str(installing.home(self.peer)),
            "PEER_SCRATCH": str(self.scratch),
            # This package has to be found from wherever the peer is started.
            "PYTHONPATH": os.pathsep.join(map(str, [installing.HERE.parent.parent, *_path()])),
        }
        with self._log.open("wb") as log:
            try:
                self._process = subprocess.Popen(
                    argv if self.namespace is None else self.namespace.command(argv),
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    cwd=self.scratch,
                    start_new_session=True,
                )
            except OSError as error:
                raise PeerError(f"{argv[0]}: {error.strerror}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + END_SECONDS
        while not self.over and time.monotonic() < deadline:
            time.sleep(0.01)
        self._signal(signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    @property
    def over(self) -> bool:
        """Whether the program has ended. It is looked at without being reaped: while it is not,
        no other group of processes can have its number."""
        flags = os.WEXITED | os.WNOWAIT | os.WNOHANG
        return os.waitid(os.P_PID, self.pid, flags) is not None

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def await_ready(self) -> dict[str, str]:
        """What the program told of itself."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self._ready.is_file():
                told: dict[str, str] = json.loads(self._ready.read_text())
                return told
            if self.over:
                raise PeerError(f"{self.peer.name} ended while starting: {self.last_words()}")
            time.sleep(0.02)
        raise PeerError(f"{self.peer.name} was not ready in time: {self.last_words()}")

    def last_words(self) -> str:
        """The end of what it wrote."""
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-8:]) or "it said nothing"


def _path() -> list[str]:
    told = os.environ.get("PYTHONPATH", "")
    return [each for each in told.split(os.pathsep) if each]
