"""A transceiver in somebody's FastAPI application, as the README shows it."""

import asyncio
from pathlib import Path

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException
from websockets.asyncio.client import connect

from pair import Rig
from signalling import LOOPBACK
from stunroute.errors import ConfigError
from stunroute.web import HttpServer
from transceiver.backend.python import VoiceAgent
from transceiver.embed import Edge
from transceiver.http import CALLS, EVENT_BYTES, SDP

AS_SDP = {"Content-Type": SDP}
PATIENCE = 20.0
SETTINGS = f"""
cluster = 1
node = 7

[udp]
listen = "127.0.0.1:0"
candidates = ["127.0.0.1:3478"]
relays = ["127.0.0.1:4000"]

[[hint.configurations]]
id = "0"
routing_key = "{"ab" * 16}"
password_key = "{"cd" * 32}"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "transceiver.toml"
    path.write_text(SETTINGS)
    return path


def offer() -> str:
    return Rig.build().client().offer()


def within(app, test):
    """Run ``test(client)`` while ``app`` lives, as a server of its own would have it."""

    async def main():
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://edge")
        async with asyncio.timeout(PATIENCE), app.router.lifespan_context(app), client:
            await test(client)

    asyncio.run(main())


def test_three_lines(config):
    edge = Edge(config)
    app = FastAPI(lifespan=edge.lifespan)
    app.mount("/voice", edge)

    async def test(client):
        made = await client.post(f"/voice{CALLS}", content=offer(), headers=AS_SDP)
        assert made.status_code == 201
        assert made.text.startswith("v=0")
        assert made.headers["location"].startswith(f"/voice{CALLS}/rtc_0")
        state = await client.get(made.headers["location"])
        assert state.json()["call"] == edge.node.server.calls[0]
        assert (await client.get("/voice/healthz")).json() == {"status": "ok", "calls": 1}
        assert (await client.delete(made.headers["location"])).status_code == 200
        assert (await client.get("/openapi.json")).status_code == 200

    within(app, test)
    assert edge.node is None


def test_mounted_at_the_root_beside_routes_of_the_application(config):
    edge = Edge(config)
    app = FastAPI(lifespan=edge.lifespan)

    @app.get("/hello")
    def hello() -> str:
        return "hello"

    app.mount("/", edge)

    async def test(client):
        assert (await client.get("/hello")).json() == "hello"
        made = await client.post(CALLS, content=offer(), headers=AS_SDP)
        assert made.headers["location"].startswith(f"{CALLS}/rtc_0")

    within(app, test)


def test_calls_end_with_the_application(config):
    edge = Edge(config)
    app = FastAPI(lifespan=edge.lifespan)
    app.mount("/", edge)
    nodes = []

    async def test(client):
        await client.post(CALLS, content=offer(), headers=AS_SDP)
        nodes.append(edge.node)

    within(app, test)
    assert nodes[0].server.calls == []


def test_a_backend_of_the_application(config):
    calls = []

    class Mine:
        def __init__(self, call):
            calls.append(call.id)

        def receive(self, event):
            pass

    edge = Edge(config, backend=Mine)
    app = FastAPI(lifespan=edge.lifespan)
    app.mount("/", edge)

    async def test(client):
        await client.post(CALLS, content=offer(), headers=AS_SDP)
        assert calls == edge.node.server.calls

    within(app, test)


def test_an_agent_of_the_application(config):
    made = []

    class Mine(VoiceAgent):
        def __init__(self) -> None:
            made.append(self)

    edge = Edge(config, agent=Mine)
    app = FastAPI(lifespan=edge.lifespan)
    app.mount("/", edge)

    async def test(client):
        await client.post(CALLS, content=offer(), headers=AS_SDP)
        assert [agent.line.id for agent in made] == edge.node.server.calls

    within(app, test)


def test_the_application_may_ask_who_it_is_itself(config):
    edge = Edge(config)

    def user(key: str = "") -> None:
        if key != "open sesame":
            raise HTTPException(403)

    app = FastAPI(lifespan=edge.lifespan)

    @app.post("/session", dependencies=[Depends(user)])
    def session() -> str:
        return edge.node.access.secrets.seal("", {"model": "m"}, 1 << 40)

    app.mount("/", edge)

    async def test(client):
        assert (await client.post("/session")).status_code == 403
        secret = (await client.post("/session", params={"key": "open sesame"})).json()
        headers = {**AS_SDP, "Authorization": f"Bearer {secret}"}
        assert (await client.post(CALLS, content=offer(), headers=headers)).status_code == 201

    within(app, test)


def test_the_socket_on_the_side_is_there(config):
    edge = Edge(config)
    app = FastAPI(lifespan=edge.lifespan)
    app.mount("/voice", edge)

    async def test(client):
        web = HttpServer(app, LOOPBACK, messages=EVENT_BYTES)
        at = await web.start()
        try:
            with pytest.raises(Exception, match="404"):
                async with connect(f"ws://{at}/voice/v1/realtime?call_id=rtc_x", proxy=None):
                    pass
        finally:
            await web.stop()

    within(app, test)


def test_without_its_lifespan_it_says_what_is_missing(config):
    async def main():
        transport = httpx.ASGITransport(Edge(config))
        async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
            with pytest.raises(RuntimeError, match="lifespan"):
                await client.get("/healthz")

    asyncio.run(main())


def test_wrong_settings_are_refused_at_once(config):
    config.write_text(SETTINGS.replace("node = 7", "nod = 7"))
    with pytest.raises(ConfigError):
        Edge(config)
