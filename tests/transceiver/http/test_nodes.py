"""Two whole nodes, and the official client package at whichever it is sent to."""

import asyncio
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import openai
import pytest
from openai import AsyncOpenAI
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from pair import seeded
from stunroute.web import HttpServer
from transceiver import settings
from transceiver.http import CALLS, EVENT_BYTES
from transceiver.http.accounts import digest, new_key
from transceiver.node import Node, assemble

KEY = new_key(seeded("shop"))
OFFER = (Path(__file__).parent.parent / "offers" / "chromium-data-first.sdp").read_text()
EVENTS = TypeAdapter(RealtimeServerEvent)
PATIENCE = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def node(number: int, ports: dict[int, int]):
    told = {
        "cluster": 1,
        "node": number,
        "udp.listen": "127.0.0.1:0",
        "udp.candidates": "127.0.0.1:3478",
        "udp.relays": "127.0.0.1:4000",
        "hint.configurations.0.id": "0",
        "hint.configurations.0.routing_key": "ab" * 16,
        "hint.configurations.0.password_key": "cd" * 32,
        "http.listen": f"127.0.0.1:{ports[number]}",
        "http.secret": "60" * 32,
        "http.keys.0.name": "shop",
        "http.keys.0.sha256": digest(KEY).hex(),
    }
    for index, (name, port) in enumerate(ports.items()):
        told[f"http.nodes.{index}.cluster"] = 1
        told[f"http.nodes.{index}.node"] = name
        told[f"http.nodes.{index}.url"] = f"http://127.0.0.1:{port}"
    found = assemble(settings.load(None, {}, told))
    web = HttpServer(found.app(), found.settings.http.listen, messages=EVENT_BYTES)
    await found.server.start()
    await web.start()
    try:
        yield found
    finally:
        await found.server.stop()
        await web.stop()
        await found.owners.aclose()
        found.close()


def on_two(test):
    """Run ``test(client, here, there)``: ``client(node)`` is a client of that node's."""

    async def main():
        ports = {7: free_port(), 8: free_port()}
        async with asyncio.timeout(PATIENCE), AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(node(number, ports)) for number in ports]

            def client(at: Node, key: str = KEY) -> AsyncOpenAI:
                base = f"http://127.0.0.1:{ports[at.settings.node]}/v1"
                return AsyncOpenAI(base_url=base, api_key=key, max_retries=0)

            await test(client, *nodes)

    asyncio.run(main())


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def id_of(answer):
    return answer.response.headers["Location"].split("/").pop()


def test_a_call_is_reached_through_either_node():
    async def test(client, here, there):
        async with client(here) as ours, client(there) as theirs:
            answer = await theirs.realtime.calls.create(
                sdp=OFFER, session={"type": "realtime", "model": "m", "instructions": "kurz"}
            )
            assert answer.text.startswith("v=0")
            call = id_of(answer)
            assert there.server.calls == [call]
            async with ours.realtime.connect(call_id=call) as connection:
                event = EVENTS.validate_json(await connection.recv_bytes())
                assert event.type == "session.created"
                assert event.session.instructions == "kurz"
                assert event.session.model == "m"
                await connection.session.update(
                    session={"type": "realtime", "instructions": "kürzer"}
                )
                event = EVENTS.validate_json(await connection.recv_bytes())
                assert (event.type, event.session.instructions) == (
                    "session.updated",
                    "kürzer",
                )
                await connection.send({"type": "nonsense", "event_id": "mine"})
                event = EVENTS.validate_json(await connection.recv_bytes())
                assert (event.type, event.error.event_id) == ("error", "mine")
                await ours.realtime.calls.hangup(call)
                with pytest.raises(Exception, match="1000"):
                    while True:
                        await connection.recv_bytes()
            assert there.server.calls == []
            with pytest.raises(openai.NotFoundError):
                await ours.realtime.calls.hangup(call)

    on_two(test)


def test_a_page_calls_where_its_secret_was_not_made():
    async def test(client, here, there):
        async with client(here) as ours:
            secret = await ours.realtime.client_secrets.create(
                session={"type": "realtime", "instructions": "kurz"}
            )
        async with client(there, secret.value) as page:
            call = id_of(await page.realtime.calls.create(sdp=OFFER))
            assert there.server.owner_of(call).startswith("shop/")
            async with page.realtime.connect(call_id=call) as connection:
                event = EVENTS.validate_json(await connection.recv_bytes())
                assert event.session.instructions == "kurz"
            await page.realtime.calls.hangup(call)

    on_two(test)


def test_ice_is_restarted_by_a_fragment_through_either_node():
    lines = ["a=ice-ufrag:EsAw", "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1"]
    mid = next(line for line in OFFER.splitlines() if line.startswith("a=mid:"))
    kind = {"Content-Type": "application/trickle-ice-sdpfrag", "Authorization": f"Bearer {KEY}"}

    async def test(client, here, there):
        async with client(there) as theirs:
            answer = await theirs.realtime.calls.create(sdp=OFFER)
            tag, path = answer.response.headers["ETag"], f"{CALLS}/{id_of(answer)}"
        media = next(line for line in OFFER.splitlines() if line.startswith("m="))
        fragment = "\r\n".join([*lines, media, mid, ""])
        base = f"http://{here.settings.http.listen}"
        async with httpx.AsyncClient(base_url=base, trust_env=False) as plain:
            restarted = await plain.patch(
                path, content=fragment, headers={**kind, "If-Match": '"*"'}
            )
            assert restarted.status_code == 200, restarted.text
            assert restarted.headers["content-type"] == kind["Content-Type"]
            assert "a=ice-ufrag:" in restarted.text
            assert restarted.headers["etag"] != tag
            stale = await plain.patch(path, content=fragment, headers={**kind, "If-Match": tag})
            assert stale.status_code == 412
            same = await plain.patch(
                path,
                content=f"{fragment}a=end-of-candidates\r\n",
                headers={**kind, "If-Match": restarted.headers["etag"]},
            )
            assert (same.status_code, same.content) == (204, b"")
            bad = await plain.patch(path, content="x", headers={**kind, "If-Match": "*"})
            assert bad.status_code == 400

    on_two(test)
