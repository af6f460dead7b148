"""Calls that another node holds.

A call's id is a routing hint, so every node can tell whose it is. A request that reaches the wrong
one is passed on, with the caller's own credentials, and so is the answer; or the client is told
where to go. Either way signalling may stand behind a load balancer that knows nothing of calls.

What is passed on says so in a header. A node that gets such a request and thinks that the call is
yet another's would send it round in circles: one of the two has a wrong list, and the client hears
that.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
from attrs import define, field
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from transceiver.errors import UnknownCall
from transceiver.settings import Elsewhere, HttpSettings

from .bodies import read_body
from .refusals import Refusal, refused

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

PASSED_ON = "x-stunroute-passed-on"
SECONDS = 10.0
"""How long another node may take to answer."""
CONNECTIONS = 100
"""To all other nodes together; requests beyond wait, for ``SECONDS`` at most."""

_TAKEN = ("authorization", "content-type", "if-match", "user-agent")
_RETURNED = (
    *("content-type", "etag", "location", "retry-after", "cache-control"),
    *("allow", "accept-patch", "accept-post", "www-authenticate"),
)
_GONE = ("node_unavailable", "the node that holds the call does not answer")

Name = tuple[int, int]


@define(slots=True, eq=False)
class Owners:
    """The other nodes' signalling by their names (cluster, node)."""

    urls: Mapping[Name, str] = field(factory=dict)
    elsewhere: Elsewhere = Elsewhere.FORWARD
    _client: httpx.AsyncClient | None = field(init=False, default=None, repr=False)

    @classmethod
    def of(cls, settings: HttpSettings) -> "Owners":
        """As the settings have them."""
        owners = cls()
        owners.reconfigure(settings)
        return owners

    def reconfigure(self, settings: HttpSettings) -> None:
        """Take over changed settings, for the next request."""
        self.urls = {(node.cluster, node.node): node.url.rstrip("/") for node in settings.nodes}
        self.elsewhere = settings.elsewhere

    def url_of(self, holder: Name, connection: HTTPConnection) -> str:
        """Where this request is to go: to the node called ``holder``. Raises Refusal."""
        if PASSED_ON in connection.headers:
            raise Refusal(508, "misrouted", "two nodes take each other for the call's holder")
        base = self.urls.get(holder)
        if base is None:
            raise Refusal(404, UnknownCall.code, "no node known here holds such a call")
        mounted = connection.scope.get("root_path", "").rstrip("/")
        path = connection.scope["path"].removeprefix(mounted)
        query = connection.scope["query_string"].decode("latin-1")
        return f"{base}{path}" + (f"?{query}" if query else "")

    async def answer(self, request: Request, holder: Name) -> Response:
        """What the node called ``holder`` says to this request. Raises Refusal."""
        url = self.url_of(holder, request)
        if self.elsewhere is Elsewhere.REDIRECT:
            return Response(status_code=307, headers={"Location": url})
        if self._client is None:
            self._client = client()
        return await forward(self._client, request, url, taken(request), returned=_RETURNED)

    async def join(self, websocket: WebSocket, holder: Name) -> None:
        """Let this socket be one to the node called ``holder``, in any case: pages follow no
        redirection of a socket, and libraries none to another host. Raises Refusal."""
        await join(websocket, self.url_of(holder, websocket), taken(websocket))

    async def aclose(self) -> None:
        """Close the connections to the other nodes."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def client() -> httpx.AsyncClient:
    """For requests to nodes: directly, whatever proxies the environment names."""
    limits = httpx.Limits(max_connections=CONNECTIONS, keepalive_expiry=5.0)
    return httpx.AsyncClient(timeout=SECONDS, limits=limits, trust_env=False)


def taken(connection: HTTPConnection) -> dict[str, str]:
    """The headers that go with a request that is passed on."""
    found = {name: connection.headers.get(name, "") for name in _TAKEN}
    # Of what is not ASCII no node would make anything.
    return {PASSED_ON: "1"} | {
        name: text for name, text in found.items() if text.isascii() and text
    }


def socket_url(url: str) -> str:
    """``http`` becomes ``ws``, and ``https`` ``wss``."""
    return f"ws{url.removeprefix('http')}"


async def forward(
    client: httpx.AsyncClient,
    request: Request,
    url: str,
    headers: Mapping[str, str],
    *,
    longest: int | None = None,
    returned: tuple[str, ...] = (),
) -> Response:
    """Send the request to ``url`` and give back the answer, with those of its headers that are
    listed in ``returned``. Raises Refusal: 502 where there is no answer."""
    body = await (read_body(request) if longest is None else read_body(request, longest))
    try:
        answer = await client.request(request.method, url, content=body, headers=dict(headers))
    except (httpx.HTTPError, httpx.InvalidURL):
        raise Refusal(502, *_GONE) from None
    kept = {name: answer.headers[name] for name in returned if name in answer.headers}
    return Response(answer.content, answer.status_code, kept)


# --- sockets --------------------------------------------------------------------------------------

EVENT_BYTES = 1 << 20
"""Longest message on a socket, either way."""
_NEVER_SENT = (1005, 1006, 1015)
"""Close codes that stand for there having been none (RFC 6455, 7.4.1)."""


async def deny(websocket: WebSocket, response: Response) -> None:
    """Refuse the handshake with ``response``, or with a bare 403 under a server that cannot."""
    try:
        await websocket.send_denial_response(response)
    except RuntimeError:
        await websocket.close(1008)


async def join(websocket: WebSocket, url: str, headers: Mapping[str, str]) -> None:
    """Connect to ``url``, and carry messages between there and ``websocket`` until either side
    closes. A refusal from there becomes one here."""
    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidStatus, WebSocketException

    class Direct(connect):
        """Follows no redirection: the caller's credentials are for that node. The caller is told
        of it like of any other answer."""

        def process_redirect(self, exc: Exception) -> Exception | str:
            return exc

    offered = list(websocket.scope.get("subprotocols") or ())
    try:
        there = await Direct(
            socket_url(url),
            additional_headers=dict(headers),
            subprotocols=offered or None,
            compression=None,
            open_timeout=SECONDS,
            close_timeout=1.0,
            max_size=EVENT_BYTES,
            user_agent_header=None,
            proxy=None,
        )
    except InvalidStatus as error:
        said = error.response
        kept = {name: text for name, text in said.headers.items() if name.lower() in _RETURNED}
        await deny(websocket, Response(bytes(said.body or b""), said.status_code, kept))
        return
    except (OSError, TimeoutError, WebSocketException):
        await deny(websocket, refused(Refusal(502, *_GONE)))
        return
    try:
        await websocket.accept(subprotocol=there.subprotocol)
        await _either(_inward(websocket, there), _outward(there, websocket))
    finally:
        await there.close()


async def _inward(websocket: WebSocket, there: "ClientConnection") -> None:
    from websockets.exceptions import ConnectionClosed

    with suppress(ConnectionClosed):
        while True:
            message: Mapping[str, Any] = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            await there.send(message["bytes"] if text is None else text)


async def _outward(there: "ClientConnection", websocket: WebSocket) -> None:
    from websockets.exceptions import ConnectionClosed

    with suppress(ConnectionClosed):
        async for message in there:
            if isinstance(message, str):
                await websocket.send_text(message)
            else:
                await websocket.send_bytes(message)
    code = there.close_code
    await websocket.close(1011 if code in (None, *_NEVER_SENT) else code, there.close_reason)


async def _either(*ways: Any) -> None:
    """Run all until one is done, then end the others."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
