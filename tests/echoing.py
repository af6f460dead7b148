"""An endpoint of ours behind real sockets, without a relay and without its own signalling: what
``conformance run`` meets when it is given a URL, in one thread for each kind of socket.

``status``, ``body`` and ``headers`` replace what a POST would get; a ``deaf`` server opens calls
and reads no datagram; with ``serves`` so many POSTs are answered before the door shuts for good.
With ``door_of`` calls are another's, who alone has to do with datagrams. Other options are the
endpoint's.
"""

import contextlib
import selectors
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import TracebackType
from typing import Any, Self

from conformance.drivers.memory import EchoServer, make_endpoint
from stunroute.address import Address
from transceiver.errors import CallError
from transceiver.events import EndReason

TURN = 0.02


class Echoing:
    """A server on ``host`` for the length of a ``with`` block. ``url`` is its door, ``media`` where
    its answers lead."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        *,
        deaf: bool = False,
        status: int | None = None,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        serves: int | None = None,
        door_of: "Echoing | None" = None,
        **changes: Any,
    ) -> None:
        self.deaf, self.status, self.body, self.headers = deaf, status, body, headers or {}
        self.serves = serves
        self.posts = 0
        self.heard = 0
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._udp = socket.socket(family, socket.SOCK_DGRAM)
        self._udp.bind((host, 0))
        self._udp.setblocking(False)
        self.media = Address.of(*self._udp.getsockname()[:2])
        if door_of is None:
            endpoint, _ = make_endpoint("echoing", **{"candidates": (self.media,), **changes})
            self._echo, self._lock = EchoServer(endpoint), threading.Lock()
        else:
            self._echo, self._lock = door_of._echo, door_of._lock
        self._over = threading.Event()
        self._http = self._make_http(family, host)
        name = f"[{host}]" if ":" in host else host
        self.url = f"http://{name}:{self._http.server_address[1]}/whip"
        self._threads = [threading.Thread(target=self._serve, name="requests")]
        if door_of is None:
            self._threads.append(threading.Thread(target=self._pump, name="datagrams"))

    def _make_http(self, family: int, host: str) -> HTTPServer:
        outer = self

        class Server(HTTPServer):
            address_family = family
            timeout = TURN

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_POST(self) -> None:
                outer.answer_post(self)

            def do_DELETE(self) -> None:
                outer.answer_delete(self)

            def log_message(self, *_: object) -> None:
                pass

        return Server((host, 0), Handler)

    def answer_post(self, request: BaseHTTPRequestHandler) -> None:
        offer = request.rfile.read(int(request.headers.get("Content-Length", "0")))
        self.posts += 1
        status, headers, body = 201, dict(self.headers), self.body
        if self.status is None and not body:
            headers.setdefault("Content-Type", "application/sdp")
            try:
                with self._lock:
                    now = time.monotonic()
                    opened = self._echo.endpoint.open_call(offer.decode("utf-8", "replace"), now)
                headers["Location"] = f"/whip/{opened.call}"
                body = opened.answer.encode()
            except CallError as error:
                status, body = 400, str(error).encode()
        if self.serves is not None and self.posts >= self.serves:
            self._http.socket.close()  # whoever comes after this response is refused
        self._respond(request, self.status or status, headers, body)

    def answer_delete(self, request: BaseHTTPRequestHandler) -> None:
        with self._lock, contextlib.suppress(CallError):
            call = request.path.rpartition("/")[2]
            self._echo.endpoint.close_call(call, EndReason.HANGUP, time.monotonic())
        self._respond(request, 200, {}, b"")

    def _respond(
        self, request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes
    ) -> None:
        request.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    def _serve(self) -> None:
        while not self._over.is_set() and self._http.fileno() >= 0:
            self._http.handle_request()

    def _pump(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._udp, selectors.EVENT_READ)
            while not self._over.is_set():
                selector.select(TURN)
                with self._lock:
                    self._turn()

    def _turn(self) -> None:
        while not self.deaf:
            try:
                data, source = self._udp.recvfrom(65536)
            except OSError:
                break
            self.heard += 1
            self._echo.receive(data, Address.of(*source[:2]), self.media, time.monotonic())
        now = time.monotonic()
        due = self._echo.next_timeout()
        if due is not None and due <= now:
            self._echo.handle_timeout(now)
        while (emission := self._echo.next_emission()) is not None:
            if not self.deaf:
                where = (emission.destination.ip, emission.destination.port)
                with contextlib.suppress(OSError):
                    self._udp.sendto(emission.data, where)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._http.server_close()
        self._udp.close()
