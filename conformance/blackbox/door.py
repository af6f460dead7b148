"""Signalling by HTTP: WHIP, and calls as the Realtime API has them.

Both POST an offer and get an answer with 201 and a Location. Nothing follows a redirect or a
Location to another origin: who hands out addresses does not choose whom we talk to.
"""

from collections.abc import Mapping
from enum import Enum

import httpx
from attrs import define, field

from conformance.stage import Http, Opened, Refused, Response
from conformance.wire import Forbidden

LONGEST_ANSWER = 1_000_000
_SDP = "application/sdp"
_FRAGMENT = "application/trickle-ice-sdpfrag"


class Style(Enum):
    """``CALLS``: POST /v1/realtime/calls with a bare SDP offer."""

    WHIP = "whip"
    CALLS = "calls"


@define(slots=True)
class HttpResource:
    """Plain requests to one origin. ``headers`` go with every request that does not name them."""

    url: str
    style: str
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    timeout: float = 10.0
    _client: httpx.Client = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._client = httpx.Client(timeout=self.timeout, trust_env=False)

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        where = httpx.URL(self.url).join(url)
        if _origin(where) != _origin(httpx.URL(self.url)):
            raise Forbidden(f"{where} is another origin than {self.url}")
        named = {name.lower() for name in headers or {}}
        merged = {k: v for k, v in self.headers.items() if k.lower() not in named}
        try:
            with self._client.stream(
                method, where, headers={**merged, **(headers or {})}, content=body
            ) as answered:
                read = bytearray()
                for piece in answered.iter_bytes():
                    read += piece
                    if len(read) > LONGEST_ANSWER:
                        raise Refused(f"more than {LONGEST_ANSWER} bytes of answer")
        except httpx.HTTPError as error:
            raise Refused(f"{type(error).__name__}: {error}") from error
        told = {name.lower(): value for name, value in answered.headers.items()}
        return Response(answered.status_code, told, bytes(read))

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
            raise Refused(_excerpt(answered), answered.status)
        location = answered.headers.get("location", "")
        if location:
            self._calls.append(location)
        return Opened(location, answered.body.decode("utf-8", "replace"))

    def reoffer(self, call: str, offer: str) -> str:
        answered = self._send("PATCH", self._named(call), _SDP, offer)
        if answered.status not in (200, 201):
            raise Refused(_excerpt(answered), answered.status)
        return answered.body.decode("utf-8", "replace")

    def restart(self, call: str, fragment: str) -> str | None:
        answered = self._send("PATCH", self._named(call), _FRAGMENT, fragment)
        if answered.status == 204:
            return None
        if answered.status != 200:
            raise Refused(_excerpt(answered), answered.status)
        return answered.body.decode("utf-8", "replace")

    def hang_up(self, call: str) -> None:
        answered = self.resource.request("DELETE", self._named(call))
        if answered.status >= 300:
            raise Refused(_excerpt(answered), answered.status)
        if call in self._calls:
            self._calls.remove(call)

    def hang_up_all(self) -> None:
        """End what is still open; a server that will not is left alone."""
        for call in list(self._calls):
            try:
                self.hang_up(call)
            except (Refused, Forbidden):
                continue
        self._calls.clear()

    def _named(self, call: str) -> str:
        if not call:
            raise Refused("the server told no Location for the call")
        return call

    def _send(self, method: str, url: str, kind: str, body: str) -> Response:
        headers = {"Content-Type": kind}
        if kind == _FRAGMENT:
            headers["If-Match"] = "*"
        return self.resource.request(method, url, headers=headers, body=body.encode())


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    port = url.port or {"http": 80, "https": 443}.get(url.scheme, 0)
    return url.scheme, url.host, port


def _excerpt(response: Response) -> str:
    text = " ".join(response.body[:400].decode("utf-8", "replace").split())
    return text or "no body"
