"""aiortc as the client of a relay and a transceiver on loopback sockets, in one process.

aiortc's ICE takes its clock from the event loop and looks for this machine's addresses, so these
calls run in real time; what is tested is what arrives and never when.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aioice.ice
import httpx
import pytest
from aiortc import RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from attrs import define, field, frozen

from stunroute.address import Address
from stunroute.config import load
from stunroute.settings import RelaySettings
from stunroute.udp.server import RelayServer
from stunroute.web import HttpServer
from tone import Tone
from transceiver import settings as settings_of
from transceiver.aio import TransceiverServer
from transceiver.backend.interface import BackendFactory
from transceiver.http import CALLS, create_app
from transceiver.node import Node, assemble

SDP = {"Content-Type": "application/sdp"}
HINT = {
    "hint.configurations.0.id": "0",
    "hint.configurations.0.routing_key": "ab" * 16,
    "hint.configurations.0.password_key": "cd" * 32,
}


@frozen
class Fleet:
    """A relay and one transceiver, running."""

    relay: RelayServer
    node: Node
    web: httpx.AsyncClient

    @property
    def server(self) -> TransceiverServer:
        return self.node.server


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def fleet(
    record: Path | None = None,
    *,
    backend: BackendFactory | None = None,
    between: Callable[[Address], Address] | None = None,
    **options: str | int,
) -> AsyncIterator[Fleet]:
    """``between`` is given the relay's address, and gives the one that clients are told."""
    owner = f"127.0.0.1:{free_port()}"
    loop = asyncio.get_running_loop()
    told: dict[str, Any] = {
        "inner": "127.0.0.1:0",
        "listen.0.bind": "127.0.0.1:0",
        "directory.nodes.0.cluster": 1,
        "directory.nodes.0.node": 7,
        "directory.nodes.0.address": owner,
        **HINT,
    }
    relay_settings = load(RelaySettings, path=None, environ={}, prefix="", options=told)
    keyring = relay_settings.hint.keyring(wall=0.0, now=loop.time())
    relay = RelayServer(relay_settings, keyring, relay_settings.directory.build())
    await relay.start()
    candidates = [address if between is None else between(address) for address in relay.proxies]
    told = {
        "cluster": 1,
        "node": 7,
        "udp.listen": owner,
        "udp.candidates": [str(address) for address in candidates],
        "udp.relays": str(relay.inner),
        "http.listen": "127.0.0.1:0",
        **HINT,
        **options,
    }
    settings = settings_of.load(None, {}, told)
    node = assemble(settings, record, backend=backend)
    await node.server.start()
    http = HttpServer(create_app(node.server), settings.http.listen)
    base = f"http://{await http.start()}"
    try:
        async with httpx.AsyncClient(base_url=base) as client:
            yield Fleet(relay, node, client)
    finally:
        await node.server.stop()
        await http.stop()
        await relay.close()
        node.close()


@contextlib.asynccontextmanager
async def caller(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RTCPeerConnection]:
    """An aiortc client that may use loopback, with its offer of audio made."""
    async with peer(monkeypatch) as client:
        client.addTrack(Tone())
        await client.setLocalDescription(await client.createOffer())
        yield client


@contextlib.asynccontextmanager
async def peer(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RTCPeerConnection]:
    """An aiortc client that may use loopback, and has nothing to offer yet."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda *_, **__: ["127.0.0.1"])
    client = RTCPeerConnection()
    try:
        yield client
    finally:
        await client.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait; whoever waits for something that never comes is told by the test's time limit."""
    while not condition():
        await asyncio.sleep(0.01)


@define
class Heard:
    """What comes on a channel of aiortc's."""

    channel: RTCDataChannel
    messages: list[str | bytes] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.channel.on("message", self.messages.append)

    @property
    def state(self) -> str:
        found: str = self.channel.readyState
        return found

    async def exchange(self, messages: list[str | bytes]) -> list[str | bytes]:
        """Send these, wait for as many."""
        before = len(self.messages)
        for message in messages:
            self.channel.send(message)
        await until(lambda: len(self.messages) >= before + len(messages))
        return self.messages[before:]


async def call(edge: Fleet, client: RTCPeerConnection, query: str = "", setup: str = "") -> str:
    """Offer what ``client`` has; the id of the call. ``setup`` is put into the offer where it says
    that the DTLS role is ours to choose."""
    await client.setLocalDescription(await client.createOffer())
    offer = client.localDescription.sdp
    if setup:
        offer = offer.replace("a=setup:actpass", f"a=setup:{setup}")
    made = await edge.web.post(CALLS + query, content=offer, headers=SDP)
    assert made.status_code == 201, made.text
    await client.setRemoteDescription(RTCSessionDescription(made.text, "answer"))
    location: str = made.headers["location"]
    return location.rpartition("/")[2]


async def offer_again(edge: Fleet, client: RTCPeerConnection, of: str) -> str:
    """Offer what ``client`` has by now, to a live call; the answer."""
    await client.setLocalDescription(await client.createOffer())
    offer = client.localDescription.sdp
    headers = {**SDP, "If-Match": (await edge.web.get(f"{CALLS}/{of}")).headers.get("etag", "*")}
    answered = await edge.web.patch(f"{CALLS}/{of}", content=offer, headers=headers)
    assert answered.status_code == 200, answered.text
    await client.setRemoteDescription(RTCSessionDescription(answered.text, "answer"))
    return answered.text
