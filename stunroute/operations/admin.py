"""The admin socket: where ``stunroute top`` and ``stunroute flows`` ask a running relay.

A stream socket in the file system, which only its owner may open: what it tells includes clients'
addresses. A request is one line of JSON, and so is its answer::

    {"command": "status"}                         {"status": {...}}
    {"command": "flows", "limit": 20}             {"flows": [...]}
    anything else                                 {"error": "..."}

Both ends take the other for broken at any time. The server bounds the length of a line, the number
of connections and how long one may be silent or refuse to read; the client bounds how much it reads
and how long it waits.
"""

import asyncio
import contextlib
import json
import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import define, field

from stunroute.errors import StunrouteError
from stunroute.status import FlowStatus, RelayStatus

from . import codec
from .watch import Operated, Watch

REQUEST_BYTES = 4096
"""Longest line of a request; a longer one ends the connection."""
ANSWER_BYTES = 16 << 20
"""Longest answer that a client reads."""
CONNECTIONS = 16
"""Open at once; a further one is told so and closed."""
IDLE_SECONDS = 30.0
"""How long a connection may take to its next request."""
READ_SECONDS = 5.0
"""How long a client may take to read an answer."""
ANSWER_SECONDS = 5.0
"""How long an answer may take to be found."""
FLOWS = 10_000
"""Flows in one answer at most."""


class AdminError(StunrouteError):
    """The relay does not answer at its admin socket, or not in a way that is understood. The text
    is one line for a person."""


class _Refused(Exception):
    """A request that is not answered; the text says why."""


@define(slots=True, eq=False)
class AdminServer:
    """Between ``start`` and ``stop`` answers at ``path``."""

    path: Path
    watch: Watch
    operated: Operated
    _server: asyncio.Server | None = field(init=False, default=None)
    _inode: int = field(init=False, default=0)
    _open: set[asyncio.Task[None]] = field(init=False, factory=set)

    async def start(self) -> None:
        """Raises OSError if the path cannot be had: somebody listens there, or what is there is no
        socket."""
        listener = _bound(self.path)
        self._inode = self.path.stat().st_ino
        self._server = await asyncio.start_unix_server(
            self._accept, sock=listener, limit=REQUEST_BYTES
        )

    async def stop(self) -> None:
        """End all connections and take the socket out of the file system, if it is still ours."""
        if self._server is None:
            return
        self._server.close()
        for task in tuple(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        self._server = None
        with contextlib.suppress(OSError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            if len(self._open) > CONNECTIONS:
                await _say(writer, {"error": "too many connections are open"})
            else:
                await self._converse(reader, writer)
        except (OSError, TimeoutError, ValueError, asyncio.CancelledError):
            # Gone, too slow, too long a line, or we are stopping: in each case there is nothing
            # more to say. A cancelled task that says so would be logged by asyncio's streams.
            pass
        finally:
            self._open.discard(task)
            # Not ``close``, which would go on trying to send to a client that does not read.
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(IDLE_SECONDS):
                line = await reader.readline()
            if not line:
                return
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    answer = await self._answer(_request_untrusted(line))
            except _Refused as refusal:
                answer = {"error": str(refusal)}
            except TimeoutError:
                answer = {"error": "the workers do not answer"}
            await _say(writer, answer)

    async def _answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        match request:
            case {"command": "status"}:
                status = self.watch.latest
                if status is None:
                    raise _Refused("no worker has answered yet")
                return {"status": codec.status_to_json(status)}
            case {"command": "flows", "limit": bool()}:
                raise _Refused("limit is no number")
            case {"command": "flows", "limit": int(limit)} if 0 < limit <= FLOWS:
                return {"flows": codec.flows_to_json(await self.operated.flows(limit))}
            case {"command": "flows"}:
                raise _Refused(f"flows wants a limit of 1 to {FLOWS}")
            case _:
                raise _Refused("there is no such command")


def _request_untrusted(line: bytes) -> Mapping[str, Any]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise _Refused("a request is one line of JSON") from None
    if not isinstance(request, dict):
        raise _Refused("a request is an object")
    return request


async def _say(writer: asyncio.StreamWriter, answer: Mapping[str, Any]) -> None:
    writer.write(json.dumps(answer, separators=(",", ":")).encode() + b"\n")
    async with asyncio.timeout(READ_SECONDS):
        await writer.drain()


def _bound(path: Path) -> socket.socket:
    """A listening socket at ``path`` that only its owner may open. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        _clear(path)
        # The mode that the file is made with; one that is set later leaves a moment in between.
        mask = os.umask(0o177)
        try:
            sock.bind(str(path))
        finally:
            os.umask(mask)
        sock.listen(CONNECTIONS)
    except BaseException:
        sock.close()
        raise
    return sock


def _clear(path: Path) -> None:
    """Remove the socket of a relay that is no more. Raises OSError if somebody listens there, or
    if it is something else."""
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise FileExistsError(f"{path} is there and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # Never waits: a listener whose queue is full is somebody, too.
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass
    raise FileExistsError(f"another relay listens at {path}")


@define(slots=True, eq=False)
class AdminClient:
    """Asks the relay that listens at ``path``, one connection for each request, so that a relay
    that was restarted is found again. Durations are seconds."""

    path: Path
    timeout: float = 3.0

    def status(self) -> RelayStatus:
        """Raises AdminError."""
        told = self._ask({"command": "status"})
        try:
            return codec.status_from_json(told.get("status"))
        except ValueError:
            raise self._strange() from None

    def flows(self, limit: int) -> list[FlowStatus]:
        """Raises AdminError."""
        told = self._ask({"command": "flows", "limit": limit})
        try:
            return codec.flows_from_json(told.get("flows"))
        except ValueError:
            raise self._strange() from None

    def _ask(self, request: Mapping[str, object]) -> dict[str, Any]:
        try:
            line = self._exchange(json.dumps(request).encode() + b"\n")
        except TimeoutError:
            raise AdminError(f"the relay at {self.path} does not answer") from None
        except OSError as error:
            problem = error.strerror or str(error)
            raise AdminError(f"no relay answers at {self.path}: {problem}") from None
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            raise self._strange() from None
        if not isinstance(answer, dict):
            raise self._strange()
        if "error" in answer:
            raise AdminError(f"the relay at {self.path} says: {str(answer['error'])[:200]}")
        return answer

    def _exchange(self, request: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(self.timeout)
            sock.connect(str(self.path))
            sock.sendall(request)
            answer = bytearray()
            while not answer.endswith(b"\n"):
                data = sock.recv(1 << 16)
                if not data or len(answer) > ANSWER_BYTES:
                    raise self._strange()
                answer += data
            return bytes(answer)

    def _strange(self) -> AdminError:
        return AdminError(f"the answer at {self.path} is not understood; is it another version?")
