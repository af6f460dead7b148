"""An ASGI application on a port of its own, the same for every program here.

Uvicorn serves it on the loop that runs already, in no thread and with no signal handler. What it
leaves open is bounded here: how many connections there are, how long one may say nothing, how long
a request may outlive the order to stop.
"""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from .address import Address

HEAD_SECONDS = 10.0
"""How long a connection may go without a request; a head that comes more slowly counts as none."""

SILENT = 2
"""How many times the bound there may be connections that have asked for nothing yet."""

FRAGMENTS = 1024
"""How many frames one message on a WebSocket may come in."""

LINGER_SECONDS = 5.0
"""How often it is looked whether a socket that was closed is gone. One that was closed at the last
look is cut off: its other end does not read, and would keep what was still to be sent for ever."""

GRACE_SECONDS = 2
"""How long a request may go on after the server was told to stop."""


class _Connection(H11Protocol):
    """Uvicorn's connection, with an end to its patience: it would wait for a head for ever, and
    whoever opens a thousand connections and says nothing would keep everybody else out.

    Uvicorn's other parser is quicker by 0.15 ms a request, but takes in a head of any length."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()
        # One that asks for nothing is not among those that Uvicorn answers with 503, and each
        # takes a file descriptor of a process that has more to do than this.
        if self.limit_concurrency and len(self.connections) > SILENT * self.limit_concurrency:
            transport.abort()

    def _should_upgrade(self) -> bool:
        """Uvicorn counts sockets among the connections but lets in any number of them. One too many
        is taken for a plain request, and gets the answer that those get."""
        full = self.limit_concurrency and len(self.connections) >= self.limit_concurrency
        return not full and super()._should_upgrade()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._patience.cancel()  # it is another protocol's connection now
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        self._patience.cancel()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._patience = self.loop.call_later(HEAD_SECONDS, self._look, self.cycle)

    def _look(self, last: object) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering or self.cycle is not last:
            self._wait()
        else:
            self.transport.close()


def _socket_protocol() -> type[asyncio.Protocol]:
    """Uvicorn's WebSockets, for which the package ``websockets`` has to be there.

    A handshake that the application refuses is complete with that: Uvicorn would log each as a
    fault of ours. And it bounds a message in bytes alone, though its fragments may have none."""
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

    class Socket(WebSocketsSansIOProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._look(False)

        def connection_lost(self, exc: Exception | None) -> None:
            self._looking.cancel()
            super().connection_lost(exc)

        def _look(self, closing: bool) -> None:
            if closing:
                self.transport.abort()
            now_closing = self.transport.is_closing()
            self._looking = self.loop.call_later(LINGER_SECONDS, self._look, now_closing)

        def handle_cont(self, event: Any) -> None:
            if self.close_sent:
                return
            if len(self.frames) < FRAGMENTS:
                super().handle_cont(event)
            else:
                self.conn.fail(1009, "too many fragments")
                self.handle_parser_exception()

        async def send(self, message: Any) -> None:
            await super().send(message)
            if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
                self.handshake_complete = True

    return Socket


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers: whoever runs the loop decides when to leave."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """Serves an ASGI application on the running loop until it is stopped.

    ``connections`` bounds those open at once; a further one is answered with 503. ``messages`` is
    how many bytes a message on a WebSocket may have, None where there are no WebSockets. Requests
    are not logged: their addresses are people's, and what is no HTTP comes in any number.
    """

    def __init__(
        self,
        app: ASGIApp,
        listen: Address,
        connections: int = 1000,
        *,
        messages: int | None = None,
    ) -> None:
        self.listen = listen
        self._config = uvicorn.Config(
            app,
            http=_Connection,
            ws="none" if messages is None else _socket_protocol(),
            ws_max_size=messages or 0,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            limit_concurrency=connections,
            # Longer than clients keep a connection that they do not use (httpx: 5 s): of two ends
            # that give up at once, one has just sent a request.
            timeout_keep_alive=int(HEAD_SECONDS),
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        self._server = _Server(self._config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> Address:
        """Bind and begin; the address bound. Raises OSError where it cannot be had."""
        family = socket.AF_INET if self.listen.is_ipv4 else socket.AF_INET6
        outer = socket.create_server((self.listen.ip, self.listen.port), family=family)
        # Head and body of an answer leave as two segments, and Nagle would keep the second one
        # until the client's delayed acknowledgement, 40 ms later. asyncio turns Nagle off only for
        # sockets that say IPPROTO_TCP, which those made by create_server do not.
        outer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host, port = outer.getsockname()[:2]
        self.listen = Address.of(host, port)
        self._task = asyncio.create_task(self._server.serve(sockets=[outer]), name="http")
        return self.listen

    async def stop(self) -> None:
        """Finish the requests there are, within ``GRACE_SECONDS``, and close."""
        if self._task is not None:
            self._server.should_exit = True
            await self._task
            self._task = None
