"""A peer's program as a process: started, waited for, ended with its children and nobody else's.

It is told by its environment where to listen (``PEER_HOST``, and ``PEER_PORT`` where it takes the
place of one that was there before), which file to write when it is ready (``PEER_READY``: JSON with
``url`` and ``version``) and where its packages lie (``PEER_HOME``). It leads a session of its own,
so that its children can be ended with it, and it leaves when its standard input ends: so it
outlives no harness, however that one dies.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from attrs import define, field

from . import installing
from .errors import PeerError
from .namespace import Namespace
from .table import Peer, Runner

READY_SECONDS = 30.0
"""How long a peer may take to start; most take one."""
END_SECONDS = 5.0
"""How long it may take to leave when asked."""
LOOPBACK = "127.0.0.1"


def command_of(peer: Peer) -> list[str]:
    """The program and its arguments. Raises PeerError where it cannot be built."""
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
class Process:
    """One run of a peer's program. ``scratch`` is a folder that is there for it alone; ``port`` is
    the one that its door shall have, None where any will do."""

    peer: Peer
    namespace: Namespace | None
    scratch: Path
    port: int | None = None
    _process: "subprocess.Popen[bytes]" = field(init=False)
    _reaping: threading.Lock = field(init=False, factory=threading.Lock)
    """Held while the process is reaped. Who revives a peer does that in a thread of its own, and
    whoever asks in the middle would find neither a process nor how it has ended."""

    def __attrs_post_init__(self) -> None:
        argv = command_of(self.peer)
        with self._log.open("wb") as log:
            try:
                self._process = subprocess.Popen(
                    argv if self.namespace is None else self.namespace.command(argv),
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._environment(),
                    cwd=self.scratch,
                    start_new_session=True,
                )
            except OSError as error:
                raise PeerError(f"{argv[0]}: {error.strerror}") from error

    def _environment(self) -> dict[str, str]:
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
        if self.port is not None:
            environment["PEER_PORT"] = str(self.port)
        return environment

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def _ready(self) -> Path:
        return self.scratch / "ready.json"

    @property
    def _log(self) -> Path:
        return self.scratch / "log"

    @property
    def ended(self) -> str | None:
        """How the program has ended; None while it runs. It is looked at without being reaped:
        while it is not, no other group of processes can have its number."""
        with self._reaping:
            if self._process.returncode is not None:
                return _how(self._process.returncode)
            found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if found is None:
            return None
        return _how(found.si_status if found.si_code == os.CLD_EXITED else -found.si_status)

    def await_ready(self) -> dict[str, str]:
        """What the program told of itself. Raises PeerError where it does not get so far."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            # Asked before the file is read: what a program that has ended wrote is all there.
            ended = self.ended is not None
            if (told := self._told()) is not None:
                return told
            if ended:
                raise PeerError(f"{self.peer.name} ended while starting: {self.last_words()}")
            time.sleep(0.02)
        raise PeerError(f"{self.peer.name} was not ready in time: {self.last_words()}")

    def _told(self) -> dict[str, str] | None:
        """What stands in the file; None while it is not there or not written to its end."""
        try:
            told: dict[str, str] = json.loads(self._ready.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return told

    def last_words(self) -> str:
        """The end of what it wrote."""
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-8:]) or "it said nothing"

    def end(self) -> None:
        """Ask it to leave, and after ``END_SECONDS`` end it and all that it started."""
        if self._process.returncode is not None:
            return
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + END_SECONDS
        while self.ended is None and time.monotonic() < deadline:
            time.sleep(0.01)
        self._signal(signal.SIGKILL)
        with self._reaping:
            self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


def _how(status: int) -> str:
    return f"it ended with status {status}" if status >= 0 else f"it was ended by signal {-status}"


def _path() -> list[str]:
    told = os.environ.get("PYTHONPATH", "")
    return [each for each in told.split(os.pathsep) if each]
