"""Signalling by HTTP: WHIP, and calls as the Realtime API has them.

Both POST an offer and get an answer with 201 and a Location. Nothing follows a redirect or a
Location to another origin: who hands out addresses does not choose whom we talk to.

A request has so much time as a whole. The timeouts of the HTTP library are for each read, and a
server that says a byte now and then, or "100 Continue" again and again, would never run into one.
So a timer shuts the connection, whatever the library is waiting for.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any

import httpx
from attrs import define, field

from conformance.stage import Http, Opened, Refused, Response
from conformance.wire import Forbidden

LONGEST_ANSWER = 1_000_000
HANGING_UP = 10.0
"""Seconds that all calls of a case together may take to be hung up."""
LONGEST_EXCERPT = 400
REDACTED = b"(redacted)"
SHORTEST_SECRET = 6
"""Bytes; a shorter value of a header is found in any text."""
_SDP = "application/sdp"
_FRAGMENT = "application/trickle-ice-sdpfrag"


class Style(Enum):
    """``CALLS``: POST /v1/realtime/calls with a bare SDP offer."""

    WHIP = "whip"
    CALLS = "calls"


@define(slots=True)
class HttpResource:
    """Plain requests to one origin. ``headers`` go with every request that does not name them; a
    server that sends their values back does not get them into a report. ``timeout`` is in seconds
    for a whole request, ``lasts`` for all of them from the first on."""

    url: str
    style: str
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    timeout: float = 10.0
    lasts: float = 120.0
    missed: str = ""
    """What became of the last request that got no response."""
    _client: httpx.Client = field(init=False)
    _streams: list[Any] = field(init=False, factory=list)
    _until: float | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._client = httpx.Client(timeout=self.timeout, trust_env=False)

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        try:
            where = httpx.URL(self.url).join(url)
        except (httpx.InvalidURL, ValueError) as error:
            raise Refused(f"no URL: {self.redacted(url)[:80]!r}") from error
        if _origin(where) != _origin(httpx.URL(self.url)):
            raise Forbidden(self.redacted(f"{where} is another origin than {self.url}"))
        named = {name.lower() for name in headers or {}}
        merged = {k: v for k, v in self.headers.items() if k.lower() not in named}
        usual = {"Accept-Encoding": "identity"}  # what is packed can be any amount
        with self._bounded() as late:
            try:
                with self._client.stream(
                    method,
                    where,
                    headers={**usual, **merged, **(headers or {})},
                    content=body,
                    extensions={"trace": self._trace},
                ) as answered:
                    read = bytearray()
                    for piece in answered.iter_raw():
                        read += piece
                        if len(read) > LONGEST_ANSWER:
                            raise Refused(f"more than {LONGEST_ANSWER} bytes of answer")
            except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError) as error:
                said = f"{type(error).__name__}: {error}"
                raise self._miss(self._too_late if late.is_set() else said) from error
        if late.is_set():  # a body that ends with its connection looks whole
            raise self._miss(self._too_late)
        told = {name.lower(): value for name, value in answered.headers.items()}
        return Response(answered.status_code, told, self._redacted(bytes(read)))

    @property
    def reached(self) -> bool:
        """Whether anybody has ever taken a connection."""
        return bool(self._streams)

    @property
    def _too_late(self) -> str:
        return f"no whole answer in {self.timeout:g} s"

    def _miss(self, what: str) -> Refused:
        self.missed = what
        return Refused(what)

    @contextlib.contextmanager
    def _bounded(self) -> Iterator[threading.Event]:
        """Shut the connections when the time is up; the event says whether that has happened.
        Raises Refused where all of it is used up."""
        now = time.monotonic()
        if self._until is None:
            self._until = now + self.lasts
        if now >= self._until:
            raise Refused(f"the case has run for {self.lasts:g} s")
        late = threading.Event()

        def shut() -> None:
            late.set()
            for stream in list(self._streams):
                with contextlib.suppress(OSError):
                    # Not TLS's own, which would wait to say goodbye.
                    socket.socket.shutdown(stream.get_extra_info("socket"), socket.SHUT_RDWR)

        timer = threading.Timer(min(self.timeout, self._until - now), shut)
        timer.daemon = True
        timer.start()
        try:
            yield late
        finally:
            timer.cancel()
            timer.join()

    def grant(self, seconds: float) -> None:
        """Let requests take that long from now on, all together, and no longer."""
        self._until = time.monotonic() + seconds

    def _trace(self, event: str, told: dict[str, Any]) -> None:
        """Learn of connections."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._streams.append(told["return_value"])

    def _redacted(self, body: bytes) -> bytes:
        for value in self.headers.values():
            for secret in (value, value.removeprefix("Bearer ")):
                if len(secret) >= SHORTEST_SECRET:
                    body = body.replace(secret.encode(), REDACTED)
        return body

    def redacted(self, text: str) -> str:
        """What a report may repeat of a server's header. A header itself stays as it came, for a
        call may be where a Location has a secret in it."""
        return self._redacted(text.encode("utf-8", "replace")).decode("utf-8", "replace")

    def close(self) -> None:
        """Shut the connections."""
        self._client.close()


@define(slots=True)
class HttpDoor:
    """See the module. ``call`` at this door is the call's URL, ``""`` where none was told."""

    resource: HttpResource
    _calls: list[str] = field(factory=list)

    @property
    def http(self) -> Http:
        return self.resource

    def open(self, offer: str) -> Opened:
        answered = self._send("POST", self.resource.url, _SDP, offer)
        if answered.status not in (200, 201):
            raise self._refused(answered)
        location = answered.headers.get("location", "")
        if location:
            self._calls.append(location)
        return Opened(location, answered.body.decode("utf-8", "replace"))

    def reoffer(self, call: str, offer: str) -> str:
        answered = self._send("PATCH", self._named(call), _SDP, offer)
        if answered.status not in (200, 201):
            raise self._refused(answered)
        return answered.body.decode("utf-8", "replace")

    def restart(self, call: str, fragment: str) -> str | None:
        answered = self._send("PATCH", self._named(call), _FRAGMENT, fragment)
        if answered.status == 204:
            return None
        if answered.status != 200:
            raise self._refused(answered)
        return answered.body.decode("utf-8", "replace")

    def hang_up(self, call: str) -> None:
        answered = self.resource.request("DELETE", self._named(call))
        if answered.status >= 300:
            raise self._refused(answered)
        if call in self._calls:
            self._calls.remove(call)

    def hang_up_all(self) -> None:
        """End what is still open; a server that will not, or takes its time, is left alone."""
        self.resource.grant(HANGING_UP)
        for call in list(self._calls):
            try:
                self.hang_up(call)
            except (Refused, Forbidden):
                continue
        self._calls.clear()

    def _refused(self, answered: Response) -> Refused:
        return Refused(_excerpt(answered, self.resource.redacted), answered.status)

    def _named(self, call: str) -> str:
        if not call:
            raise Refused("the server told no Location for the call")
        return call

    def _send(self, method: str, url: str, kind: str, body: str) -> Response:
        headers = {"Content-Type": kind}
        if kind == _FRAGMENT:
            headers["If-Match"] = "*"
        return self.resource.request(method, url, headers=headers, body=body.encode())


def _origin(url: httpx.URL) -> tuple[str, bytes, int]:
    port = url.port or {"http": 80, "https": 443}.get(url.scheme, 0)
    return url.scheme, url.raw_host, port  # the host as it is sent, for not each can be read


def _excerpt(response: Response, redacted: Callable[[str], str]) -> str:
    """What it says, in a line: where it leads, or how its body begins."""
    location = response.headers.get("location", "")
    if 300 <= response.status < 400 and location:
        return f"it leads to {redacted(location)[:LONGEST_EXCERPT]}"
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    text = " ".join(response.body[:LONGEST_EXCERPT].decode("utf-8", "replace").split())
    if kind == "text/html":
        return f"a page, {text[:60]!r}"
    return text or "no body"
