"""The signalling application without calls behind it: a server that remembers what it was asked.

For tests of what HTTP makes of requests. Ids of calls are real hints, so that two such servers tell
whose a call is as two nodes do.
"""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from attrs import define, field, frozen
from starlette.applications import Starlette
from starlette.routing import Mount

from stunroute.address import Address
from stunroute.hint import Hint, HintConfiguration, KeyRing
from stunroute.web import HttpServer
from transceiver.backend.interface import CallRequest
from transceiver.errors import AtCapacity, CallError, OfferError, UnknownCall
from transceiver.http import Access, ApiKeys, ClientSecrets, Owners, create_app
from transceiver.http.owners import EVENT_BYTES
from transceiver.settings import ApiKey, Elsewhere, HttpSettings, OtherNode

KEYRING = KeyRing((HintConfiguration.generate("0", os.urandom),))
OFFER = "v=0\r\ns=secret-marker\r\n"
ANSWER = "v=0\r\nanswer\r\n"
FRAGMENT = "a=ice-ufrag:abcd\r\na=end-of-candidates\r\n"
RESTART = "a=ice-ufrag:restart\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n"
RESTARTED = "a=ice-ufrag:ours\r\na=ice-pwd:ours\r\n"


@frozen
class Answered:
    call: str
    answer: str


@define(eq=False)
class Joined:
    """One attachment: what was said on it, and a way to say something."""

    say: Callable[[str], None]
    end: Callable[[], None]
    heard: list = field(factory=list)
    detached: bool = False
    echo: bool = True

    def receive(self, text: str | bytes) -> None:
        self.heard.append(text)
        if self.echo:
            self.say(text if isinstance(text, str) else f"bytes {text!r}")

    def detach(self) -> None:
        self.detached = True


@define(eq=False)
class Calls:
    """As ``TransceiverServer``, as far as signalling sees it."""

    name: tuple[int, int] = (1, 7)
    capacity: int = 100
    draining: bool = False
    requests: dict[str, CallRequest] = field(factory=dict)
    tags: dict[str, int] = field(factory=dict)
    fragments: list[str] = field(factory=list)
    joined: list[Joined] = field(factory=list)
    without_events: bool = False

    @property
    def calls(self) -> list[str]:
        return list(self.requests)

    @property
    def last(self) -> CallRequest:
        return self.requests[self.calls[-1]]

    def open_call(self, offer: str, request: CallRequest | None = None) -> Answered:
        if len(self.requests) >= self.capacity:
            raise AtCapacity("full", 4.2)
        _read(offer)
        call = "rtc_" + KEYRING.mint(*self.name, os.urandom, 0.0)
        self.requests[call] = request or CallRequest()
        self.tags[call] = 0
        return Answered(call, ANSWER)

    def locate(self, call: str) -> Hint | None:
        if not call.startswith("rtc_"):
            return None
        hint = KEYRING.decode_untrusted(call[4:].encode("utf-8", "replace"), 0.0)
        return hint if isinstance(hint, Hint) else None

    def owner_of(self, call: str) -> str:
        if call not in self.requests:
            raise UnknownCall("there is no such call here")
        return self.requests[call].owner

    def etag(self, call: str) -> str:
        self.owner_of(call)
        return f"tag{self.tags[call]}"

    def reoffer(self, call: str, offer: str) -> str:
        self.owner_of(call)
        _read(offer)
        self.tags[call] += 1
        return "v=0\r\nrestarted\r\n"

    def patch(self, call: str, fragment: str) -> str | None:
        self.owner_of(call)
        if "a=" not in fragment:
            raise OfferError("is no fragment")
        self.fragments.append(fragment)
        if "restart" not in fragment:
            return None
        self.tags[call] += 1
        return RESTARTED

    def snapshot(self, call: str) -> Any:
        self.owner_of(call)
        return Answered(call, "state")

    def hang_up(self, call: str) -> None:
        self.owner_of(call)
        del self.requests[call]
        for joined in self.joined:
            joined.end()

    def attach(self, call: str, sink: Callable[[str], None], closed: Callable[[], None]) -> Joined:
        self.owner_of(call)
        if self.without_events:
            raise CallError("this call has no events")
        self.joined.append(Joined(sink, closed))
        sink('{"type":"session.created"}')
        return self.joined[-1]


def _read(offer: str) -> None:
    if not offer.startswith("v=0"):
        raise OfferError("a description begins with v=0", 1)


LOOPBACK = Address.of("127.0.0.1", 0)


@define(eq=False)
class Site:
    """Signalling of one node on a port of its own."""

    calls: Calls
    access: Access
    owners: Owners
    web: HttpServer
    at: Address = LOOPBACK

    @property
    def url(self) -> str:
        return f"http://{self.at}"

    @property
    def socket(self) -> str:
        return f"ws://{self.at}/v1/realtime"


@asynccontextmanager
async def site(
    *,
    keys: tuple[ApiKey, ...] = (),
    node: int = 7,
    connections: int = 100,
    mount: str = "",
    messages: int | None = EVENT_BYTES,
) -> AsyncIterator[Site]:
    """A node's signalling, served until the block ends. All have one key for client secrets."""
    calls, owners = Calls((1, node)), Owners()
    access = Access(ApiKeys(keys), ClientSecrets(bytes(32), os.urandom))
    app = create_app(calls, access, owners)
    if mount:
        app = Starlette(routes=[Mount(mount, app=app)])
    web = HttpServer(app, LOOPBACK, connections, messages=messages)
    found = Site(calls, access, owners, web, await web.start())
    try:
        yield found
    finally:
        await owners.aclose()
        await web.stop()


def introduce(*sites: Site, elsewhere: Elsewhere = Elsewhere.FORWARD, below: str = "") -> None:
    """Let them know of one another."""
    nodes = tuple(OtherNode(*each.calls.name, each.url + below) for each in sites)
    for each in sites:
        each.owners.reconfigure(HttpSettings(nodes=nodes, secret=bytes(32), elsewhere=elsewhere))
