"""``transceiver demo``: a whole edge on this machine, and a page to call it from.

The page is served, and signalling forwarded, by this process; calls live in the fleet's. An offer
goes to the next transceiver in turn. Whatever names a call goes to the one that the call's own id
names: the id holds the routing hint, so nothing has to be remembered here.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import click
import httpx
from attrs import define, field
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from stunroute.address import Address
from stunroute.errors import ConfigError
from stunroute.web import HttpServer

from .backend import talk
from .choices import ECHO, NAMES, OWN, Choice, application_at, choices, usual
from .errors import UnknownCall
from .fleet import Fleet, FleetError, Member, Plan, check_free, own_addresses
from .http import (
    CALLS,
    CLIENT_SECRETS,
    EVENT_BYTES,
    EVENTS,
    FORM_BYTES,
    REFUSALS,
    Refusal,
    read_body,
)
from .http.owners import deny, join
from .http.refusals import refused
from .voice import codec

F = TypeVar("F", bound=Callable[..., Any])

WEB = Path(__file__).with_name("web")
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Every address of a kind, and the one that a machine has even where it has no other."""
METHODS = ["GET", "POST", "PATCH", "DELETE", "OPTIONS"]
_PASSED_ON = (
    *("authorization", "content-type", "if-match", "origin"),
    *("access-control-request-method", "access-control-request-headers"),
)
_KEPT_BACK = frozenset({"content-length", "transfer-encoding", "connection", "server", "date"})


def _address(_: click.Context, parameter: click.Parameter, text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not HOST:PORT with an IP address") from None


def _address_option(name: str, default: str, text: str) -> Callable[[F], F]:
    return click.option(
        name,
        metavar="HOST:PORT",
        default=default,
        show_default=True,
        callback=_address,
        help=text,
    )


_HTTP = _address_option(
    "--http",
    "127.0.0.1:8080",
    "Where the page is. Browsers give the microphone to localhost and https pages only.",
)
_UDP = _address_option(
    "--udp",
    "0.0.0.0:3478",
    "Where the relay listens; 0.0.0.0 is every IPv4 address of this machine, [::] every IPv6 one.",
)
_ADVERTISE = click.option(
    "--advertise",
    metavar="IP[:PORT]",
    multiple=True,
    help="An address that clients are told instead, such as one in front of a NAT; the port is "
    "--udp's unless given, as in [2001:db8::1]:3478. Repeatable. "
    "[default: every address listened on, loopback only where there is no other]",
)
_TRANSCEIVERS = click.option(
    "--transceivers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="How many to put behind the relay.",
)
_WORKERS = click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="The relay's processes, one per core.",
)
_DELAY = click.option(
    "--delay",
    type=click.FloatRange(0, 10),
    default=0.0,
    show_default=True,
    help="Seconds by which the echo is late.",
)
_AGENT = click.option(
    "--agent",
    metavar="ADDRESS",
    help="An agent of your own, to be picked on the page: ws://... or wss://... is a Realtime "
    "server (with ?model=NAME where it has several), HOST:PORT or unix:/PATH an AudioSocket, "
    "package.module:Class a Python class.",
)
_AGENT_KEY = click.option(
    "--agent-key",
    metavar="VARIABLE",
    help="The environment variable that holds a Realtime server's key. [default: no key is sent]",
)
_BACKEND = click.option(
    "--backend",
    type=click.Choice(NAMES),
    help="What answers calls that do not choose. [default: own where there is --agent, else echo]",
)
_RECORD = click.option(
    "--record",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write each call into this directory, decryptable by whoever has it. Test tones only!",
)
_STORE = click.option(
    "--store",
    metavar="URL",
    help="A Redis or Valkey for the relay to remember its clients in, redis://HOST:PORT/DATABASE.",
)


@click.command()
@_HTTP
@_UDP
@_ADVERTISE
@_TRANSCEIVERS
@_WORKERS
@_DELAY
@_AGENT
@_AGENT_KEY
@_BACKEND
@_RECORD
@_STORE
@click.option("--open", "browse", is_flag=True, help="Open the page in a browser.")
@click.option("--json", "as_json", is_flag=True, help="Say what runs where as one line of JSON.")
def demo(
    http: Address,
    udp: Address,
    advertise: tuple[str, ...],
    transceivers: int,
    workers: int,
    delay: float,
    agent: str | None,
    agent_key: str | None,
    backend: str | None,
    record: Path | None,
    store: str | None,
    browse: bool,
    as_json: bool,
) -> None:
    """Run a relay, transceivers and a page here, and hear yourself or an agent through them."""
    found, name = _choices(delay, agent, agent_key, backend)
    addresses = _addresses(udp, advertise)
    plan = Plan(*addresses, transceivers, workers, record, store, found, name)
    for address in plan.listen:
        _check(address, socket.SOCK_DGRAM, "--udp")
    _check(http, socket.SOCK_STREAM, "--http")
    if record is not None:
        _check_recording()
    try:
        asyncio.run(_run(plan, http, browse, as_json))
    except FleetError as error:
        click.echo(f"transceiver: {error}", err=True)
        sys.exit(1)


def _choices(
    delay: float, agent: str | None, key: str | None, backend: str | None
) -> tuple[tuple[Choice, ...], str]:
    """What may answer calls, and the name of the usual one."""
    if key is not None and agent is None:
        raise click.BadParameter("there is no --agent that it is for", param_hint="--agent-key")
    if key is not None and not os.environ.get(key):
        problem = f"the environment variable {key} is not set"
        raise click.BadParameter(problem, param_hint="--agent-key")
    soundless = ""
    try:
        codec.require()
    except codec.VoiceUnavailable as error:
        soundless = str(error)
    try:
        own = None if agent is None else (agent, application_at(agent, key))
        speech = shutil.which(talk.PROGRAM) is not None
        found = choices(delay=delay, own=own, soundless=soundless, speech=speech)
        return found, usual(found, backend or (ECHO if own is None else OWN)).name
    except ConfigError as error:
        raise click.BadParameter(error.problem, param_hint=f"--{error.key}") from None


def _addresses(
    udp: Address, advertise: Sequence[str]
) -> tuple[tuple[Address, ...], tuple[Address, ...]]:
    """Where to listen and what to advertise. Each of this machine's addresses gets a socket of its
    own: an answer from a wildcard socket may leave from another address than the check came to,
    and a client drops such an answer (RFC 8445, 7.2.5.2.1).

    A candidate is no loopback address (5.1.1.1), and Firefox takes none. A browser on this machine
    reaches the other addresses as well, so loopback is for a machine that has nothing else, and for
    who has asked for it."""
    if udp.ip in _WILDCARDS and not advertise:
        found = own_addresses(ipv6=not udp.is_ipv4) or [_WILDCARDS[udp.ip]]
        listen = tuple(Address.of(ip, udp.port) for ip in found)
        return listen, listen
    return (udp,), tuple(_advertised(text, udp.port) for text in advertise) or (udp,)


def _advertised(text: str, port: int) -> Address:
    """A bare IP address takes ``port``. The colons of a bare IPv6 address begin no port: one that
    names a port has brackets."""
    for read in (partial(Address.of, port=port), Address.parse):
        with suppress(ValueError):
            return read(text)
    problem = f"{text!r} is neither an IP address nor one with a port, such as 192.0.2.1:3478"
    raise click.BadParameter(problem, param_hint="--advertise")


def _check(address: Address, kind: socket.SocketKind, option: str) -> None:
    try:
        check_free(address, kind)
    except OSError as error:
        click.echo(f"transceiver: {option}: {address}: {error.strerror}", err=True)
        sys.exit(1)


def _check_recording() -> None:
    try:
        import conformance.recorder  # noqa: F401
    except ImportError as error:
        missing = f"needs {error.name}; install the extra: pip install 'stunroute[conformance]'"
        click.echo(f"transceiver: --record: {missing}", err=True)
        sys.exit(2)


async def _run(plan: Plan, listen: Address, browse: bool, as_json: bool) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    fleet = Fleet(plan, on_restart=lambda: click.echo("The relay ended and was started again."))
    front = Front(fleet)
    web = HttpServer(front.app(), listen, messages=EVENT_BYTES)
    try:
        await fleet.start()
        page = f"http://{await web.start()}/"
        click.echo(_announcement(fleet, page, as_json))
        if browse:
            webbrowser.open(page)
        stopped = asyncio.create_task(stopping.wait())
        either: set[asyncio.Future[Any]] = {stopped, fleet.lost}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if fleet.lost.done() and not stopping.is_set():
            raise FleetError(fleet.lost.result())
    finally:
        await web.stop()
        await front.client.aclose()
        await fleet.stop()


def _announcement(fleet: Fleet, page: str, as_json: bool) -> str:
    if as_json:
        return json.dumps({"page": page, **state(fleet)})
    behind = f"{len(fleet.transceivers)} transceiver{'s' * (len(fleet.transceivers) > 1)}"
    relay = ", ".join(map(str, fleet.plan.advertise))
    return (
        f"Open {page} and press Call ({behind} behind udp {relay}; Ctrl-C stops).\n"
        f"Watch the relay: stunroute top --config {fleet.relay.config}"
    )


def state(fleet: Fleet) -> dict[str, object]:
    """What runs, for the page and for scripts."""
    return {
        "relay": {
            "pid": fleet.relay.pid,
            "config": str(fleet.relay.config),
            "restarts": fleet.relay.restarts,
            "workers": fleet.plan.workers,
            "advertised": [str(address) for address in fleet.plan.advertise],
        },
        "transceivers": [
            {
                "node": member.node,
                "pid": member.pid,
                "http": str(member.http),
                "config": str(member.config),
            }
            for member in fleet.transceivers
        ],
        "backends": [choice.shown() for choice in fleet.plan.choices],
        "usual": fleet.plan.usual,
    }


class Page(StaticFiles):
    """The page's files. A browser asks for them anew each time, since the next demo at this address
    may be of another version, and takes nothing from anywhere else."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await deny(WebSocket(scope, receive, send), Response(status_code=404))
            return
        await super().__call__(scope, receive, send)

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        response.headers["Content-Security-Policy"] = "default-src 'self'"
        return response


@define(slots=True, eq=False)
class Front:
    """The demo's own web server: the page, and the way to the transceivers' signalling."""

    fleet: Fleet
    client: httpx.AsyncClient = field(factory=lambda: httpx.AsyncClient(timeout=10.0))
    _turn: "count[int]" = field(factory=count)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route(CALLS, self.open, methods=["POST", "OPTIONS"]),
                Route(EVENTS, self.open, methods=["POST", "OPTIONS"]),
                Route(CLIENT_SECRETS, self.open, methods=["POST", "OPTIONS"]),
                WebSocketRoute(EVENTS, self.join),
                Route(CALLS + "/{call}", self.forward, methods=METHODS),
                Route(CALLS + "/{call}/hangup", self.forward, methods=METHODS),
                Route("/demo/state", self.state),
                Mount("/", Page(directory=WEB, html=True)),
            ],
            exception_handlers=REFUSALS,
        )

    async def state(self, _: Request) -> Response:
        return JSONResponse(state(self.fleet), headers={"Cache-Control": "no-store"})

    async def open(self, request: Request) -> Response:
        """An offer goes to the next transceiver in turn, and so does what any of them can do."""
        members = self.fleet.transceivers
        return await self._pass_on(request, members[next(self._turn) % len(members)])

    async def forward(self, request: Request) -> Response:
        """What names a call goes to the transceiver that the hint in its id names."""
        member = self._holder(request.path_params["call"])
        return await self._pass_on(request, member)

    async def join(self, websocket: WebSocket) -> None:
        """And so does a socket on its side."""
        try:
            member = self._holder(websocket.query_params.get("call_id", ""))
        except Refusal as refusal:
            await deny(websocket, refused(refusal))
            return
        url = f"http://{member.http}{EVENTS}?{websocket.url.query}"
        with suppress(WebSocketDisconnect):
            await join(websocket, url, _headers(websocket))

    def _holder(self, call: str) -> Member:
        member = self.fleet.holder_untrusted(call.removeprefix("rtc_").encode())
        if member is None:
            raise Refusal(404, UnknownCall.code, "no transceiver here has such a call")
        return member

    async def _pass_on(self, request: Request, member: Member) -> Response:
        body = await read_body(request, FORM_BYTES)
        query = f"?{request.url.query}" if request.url.query else ""
        url = f"http://{member.http}{request.url.path}{query}"
        headers = _headers(request)
        try:
            answer = await self.client.request(request.method, url, content=body, headers=headers)
        except httpx.TransportError:
            raise Refusal(502, "transceiver_gone", f"{member.name} does not answer") from None
        kept = {name: text for name, text in answer.headers.items() if name not in _KEPT_BACK}
        kept["X-Demo-Node"] = str(member.node)
        return Response(answer.content, answer.status_code, kept)


def _headers(connection: HTTPConnection) -> dict[str, str]:
    found = {name: connection.headers.get(name, "") for name in _PASSED_ON}
    return {name: text for name, text in found.items() if text and text.isascii()}
