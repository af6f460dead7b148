"""What the fronts written in Python share: a WHIP door, children, saying that all is ready."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stunroute.address import Address
from stunroute.web import HttpServer

SDP = "application/sdp"
MOST_CALLS = 200
"""Calls at once; a further one ends the oldest."""
ANSWER_SECONDS = 20.0
OFFER_BYTES = 200_000

HOST = os.environ.get("PEER_HOST", "127.0.0.1")
PORT = int(os.environ.get("PEER_PORT", "0"))
"""The door's; 0 where any will do."""


class Refused(Exception):
    """An offer that the implementation does not take. The text is what it said."""


@frozen(slots=True)
class Call:
    """A call that was answered, and how it is ended."""

    answer: str
    close: Callable[[], Awaitable[None]]


Open = Callable[[str], Awaitable[Call]]
"""From an SDP offer to a call. Raises Refused."""


def ready(url: str, version: str) -> None:
    """Tell whoever started this program. The file is there whole or not at all."""
    told = json.dumps({"url": url, "version": version})
    path = os.environ.get("PEER_READY")
    if path is None:
        print(told, flush=True)
        return
    half = Path(path).with_suffix(".half")
    half.write_text(told)
    half.replace(path)


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM, host: str = HOST) -> int:
    """A port that was free a moment ago, for programs that take none from the system."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


@define(slots=True, eq=False)
class Door:
    """Answers offers by HTTP and remembers the calls."""

    open: Open
    routes: tuple[Route, ...] = ()
    """More than the door itself."""
    _calls: dict[str, Call] = field(init=False, factory=dict)
    _count: int = field(init=False, default=0)

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/whip", self._post, methods=["POST"]),
                Route("/whip/{call}", self._delete, methods=["DELETE"]),
                *self.routes,
            ]
        )

    async def _post(self, request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip() != SDP:
            return Response(f"an offer is {SDP}\n", 415)
        body = await request.body()
        if len(body) > OFFER_BYTES:
            return Response("too long\n", 413)
        try:
            offer = body.decode()
            call = await asyncio.wait_for(self.open(offer), ANSWER_SECONDS)
        except (Refused, UnicodeDecodeError, TimeoutError) as error:
            return Response(f"{type(error).__name__}: {error}\n", 400)
        self._count += 1
        name = str(self._count)
        self._calls[name] = call
        if len(self._calls) > MOST_CALLS:
            await self._calls.pop(next(iter(self._calls))).close()
        headers = {"Location": f"/whip/{name}"}
        return Response(call.answer, 201, headers=headers, media_type=SDP)

    async def _delete(self, request: Request) -> Response:
        call = self._calls.pop(request.path_params["call"], None)
        if call is None:
            return Response(status_code=404)
        await call.close()
        return Response(status_code=200)

    async def close(self) -> None:
        for call in list(self._calls.values()):
            await call.close()
        self._calls.clear()


@contextlib.asynccontextmanager
async def listening(door: Door) -> AsyncIterator[str]:
    """A door by HTTP, and its address: ``http://127.0.0.1:4711``."""
    server = HttpServer(door.app, Address.of(HOST, PORT))
    address = await server.start()
    try:
        yield f"http://{address}"
    finally:
        await door.close()
        await server.stop()


async def serve(
    open_call: Open, version: str, process: asyncio.subprocess.Process | None = None
) -> None:
    """Answer offers until told to leave, or until the child that answers them has ended."""
    async with listening(Door(open_call)) as base:
        ready(f"{base}/whip", version)
        await told_to_leave(process)


async def told_to_leave(process: asyncio.subprocess.Process | None = None) -> None:
    """Until SIGTERM or SIGINT, or until whoever started this program is gone.

    Raises SystemExit where ``process`` ends before: a server that a case has killed must not seem
    to be there still.
    """
    loop, leave = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave.set)
    if not sys.stdin.isatty():
        with contextlib.suppress(OSError, ValueError, PermissionError):
            loop.add_reader(sys.stdin.fileno(), _read, leave)
    waiting: set[asyncio.Task[Any]] = {asyncio.create_task(leave.wait())}
    if process is not None:
        waiting.add(asyncio.create_task(_watch(process)))
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
    if not leave.is_set() and process is not None:
        raise SystemExit(f"it ended by itself, with {process.returncode}")


async def _watch(process: asyncio.subprocess.Process) -> None:
    await process.wait()
    # Where all are asked to leave at once, it may have been quicker than we are.
    await asyncio.sleep(0.2)


def _read(leave: asyncio.Event) -> None:
    try:
        ended = not os.read(sys.stdin.fileno(), 1024)
    except OSError:
        ended = True
    if ended:
        leave.set()


@contextlib.asynccontextmanager
async def child(argv: Sequence[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that runs for the length of the block; what it says goes where ours does."""
    process = await asyncio.create_subprocess_exec(*argv, stdin=asyncio.subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 3.0)
            except TimeoutError:
                process.kill()
                await process.wait()


async def until(
    answers: Callable[[], Awaitable[bool]], process: asyncio.subprocess.Process, seconds: float
) -> None:
    """Ask again and again until a child answers. Raises SystemExit where it does not."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while loop.time() < deadline:
        if process.returncode is not None:
            raise SystemExit(f"it ended with {process.returncode}")
        if await answers():
            return
        await asyncio.sleep(0.05)
    raise SystemExit("it does not answer")


async def said(*argv: str) -> str:
    """What a program prints, on either stream; empty where it cannot be run."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError:
        return ""
    out, _ = await process.communicate()
    return out.decode(errors="replace").strip()


async def debian_version(package: str) -> str:
    """The version of an installed Debian package; empty where dpkg knows none."""
    told = await said("dpkg-query", "-W", "-f=${Version}", package)
    return "" if "no packages found" in told else told
