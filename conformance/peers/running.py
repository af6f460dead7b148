"""Starting a peer for the length of a block, and again where it does not survive being judged."""

import contextlib
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from attrs import define, field

from . import installing
from .errors import PeerError
from .namespace import Namespace
from .process import Process
from .table import Door, Peer, by_name

T = TypeVar("T")

LOOK_SECONDS = 0.5
"""How often it is looked whether a peer still answers."""
ANSWER_SECONDS = 3.0
LOOKS = 3
"""How many looks in a row may get no answer: a busy peer is not a dead one."""
AWAY_SECONDS = 45.0
"""Until a peer that has died or hangs is noticed, and up again: for ``conformance run --wait``."""
REVIVALS = 50
"""How often a peer is started again at most."""

_BINDING = bytes.fromhex("000100002112a442") + bytes(range(12))


@define(slots=True, eq=False)
class Running:
    """A peer that is up. ``url`` is what the door takes: ``http://127.0.0.1:4711/whip``, or
    ``127.0.0.1:3478`` for STUN. ``namespace`` is where it is, None where that is here. ``losses``
    says how it ended and was started again, each time."""

    peer: Peer
    url: str
    version: str
    namespace: Namespace | None
    _scratch: Path
    _process: Process
    losses: list[str] = field(init=False, factory=list)

    @property
    def name(self) -> str:
        return self.peer.name

    @property
    def door(self) -> Door:
        return self.peer.door

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> str | None:
        """How it ended and what it said last, where it has ended by itself; None while it is
        up."""
        how = self._process.ended
        return None if how is None else f"{how}: {self._process.last_words()}"

    def command(self, argv: Sequence[str]) -> list[str]:
        """``argv`` so that it runs where the peer can be reached."""
        return list(argv) if self.namespace is None else self.namespace.command(argv)

    def inside(self, act: Callable[[], T]) -> T:
        """What ``act`` returns when called where the peer can be reached."""
        return act() if self.namespace is None else self.namespace.inside(act)

    def answers(self) -> bool:
        """Whether the door is answered at all: by any response to HTTP, or by STUN."""
        host, _, port = self.url.removeprefix("http://").partition("/")[0].rpartition(":")
        ask = _ask_stun if self.door is Door.STUN else _ask_http
        try:
            return self.inside(lambda: ask(host, int(port)))
        except OSError:
            return False

    def watch(self, leave: threading.Event) -> None:
        """Until told to leave: start it again, at the same place, where it has ended or answers no
        more. What it holds of calls is lost."""
        silent = 0
        while not leave.wait(LOOK_SECONDS) and len(self.losses) < REVIVALS:
            ended = self.ended
            if ended is None:
                silent = 0 if self.answers() else silent + 1
                if silent < LOOKS:
                    continue
                ended = "it answered no more"
            silent = 0
            self.losses.append(ended)
            self._process.end()
            port = int(self.url.removeprefix("http://").partition("/")[0].rpartition(":")[2])
            folder = _folder(self._scratch, len(self.losses))
            self._process = Process(self.peer, self.namespace, folder, port)
            try:
                self._process.await_ready()
            except PeerError as error:
                self.losses.append(str(error))
                return

    def end(self) -> None:
        self._process.end()


def _folder(scratch: Path, number: int) -> Path:
    made = scratch / str(number)
    made.mkdir()
    return made


def _ask_http(host: str, port: int) -> bool:
    with socket.create_connection((host, port), timeout=ANSWER_SECONDS) as asking:
        asking.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        return bool(asking.recv(1))


def _ask_stun(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(ANSWER_SECONDS)
        asking.connect((host, port))
        asking.send(_BINDING)
        return bool(asking.recv(2048))


@contextlib.contextmanager
def start(name: str, *, revive: bool = False) -> Iterator[Running]:
    """A peer, up for the length of a ``with`` block.

    With ``revive`` it is watched, and started again at the same place whenever it has ended or
    answers no more; ``Running.losses`` then tells. Raises PeerError where it is unknown, not
    installed, or does not start.
    """
    peer = by_name().get(name)
    if peer is None:
        raise PeerError(f"there is no peer {name!r}; there are {', '.join(by_name())}")
    installing.require(peer)
    with contextlib.ExitStack() as stack:
        namespace = stack.enter_context(Namespace()) if peer.needs_namespace else None
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stunroute-peer-")))
        process = Process(peer, namespace, _folder(scratch, 0))
        try:
            told = process.await_ready()
        except BaseException:
            process.end()
            raise
        running = Running(peer, told["url"], told["version"], namespace, scratch, process)
        stack.callback(running.end)
        if revive:
            stack.enter_context(_watched(running))
        yield running


@contextlib.contextmanager
def _watched(running: Running) -> Iterator[None]:
    leave = threading.Event()
    watching = threading.Thread(target=running.watch, args=(leave,), name="watch")
    watching.start()
    try:
        yield
    finally:
        leave.set()
        watching.join()
