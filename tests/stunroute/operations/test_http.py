"""Metrics and health by HTTP."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pictures import Operated, relay, worker
from stunroute.address import Address
from stunroute.operations import http
from stunroute.operations.http import create_app
from stunroute.operations.watch import Watch

Ask = Callable[[httpx.AsyncClient, Watch, Operated], Awaitable[None]]


def serve(test: Ask, *, sees: bool = True, workers: int = 2) -> None:
    async def main() -> None:
        watch, operated = Watch(), Operated()
        if sees:
            watch.see(relay(5, *[worker(number) for number in range(workers)], wanted=2))
        transport = httpx.ASGITransport(create_app(watch, operated))
        async with httpx.AsyncClient(transport=transport, base_url="http://relay") as client:
            await test(client, watch, operated)

    asyncio.run(main())


def test_metrics_in_both_formats() -> None:
    async def test(client: httpx.AsyncClient, _: Watch, __: Operated) -> None:
        plain = await client.get("/metrics")
        assert plain.status_code == 200
        assert plain.headers["content-type"].startswith("text/plain; version=")
        names = {family.name for family in text_string_to_metric_families(plain.text)}
        assert {"stunroute_packets", "stunroute_drops", "stunroute_flows"} <= names
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        other = await client.get("/metrics", headers=accept)
        assert other.headers["content-type"].startswith("application/openmetrics-text")
        assert other.text.endswith("# EOF\n")

    serve(test)


def test_alive_whatever_the_workers_do() -> None:
    async def test(client: httpx.AsyncClient, _: Watch, operated: Operated) -> None:
        operated.ready = False
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/metrics")).status_code == 503
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.text) == (503, "no worker has answered yet\n")

    serve(test, sees=False)


def test_ready_when_all_workers_are() -> None:
    async def test(client: httpx.AsyncClient, _: Watch, operated: Operated) -> None:
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.text) == (200, "ready\n")
        operated.ready = False
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.text) == (503, "not all workers answer\n")

    serve(test)


def test_not_ready_says_who_is_missing() -> None:
    async def test(client: httpx.AsyncClient, _: Watch, __: Operated) -> None:
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.text == "1 of 2 workers answer; not worker 1\n"

    serve(test, workers=1)


def test_not_ready_on_an_old_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(client: httpx.AsyncClient, _: Watch, __: Operated) -> None:
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert "picture" in answer.text

    monkeypatch.setattr(http, "STALE", -1.0)
    serve(test)


def test_nothing_else_answers() -> None:
    async def test(client: httpx.AsyncClient, _: Watch, __: Operated) -> None:
        for path in ("/", "/metrics/", "/metrics/x", "/docs", "/../metrics/..", "/readyz%00"):
            answer = await client.get(path)
            assert (answer.status_code, answer.text) == (404, ""), path
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            assert (await client.request(method, "/metrics")).status_code == 405
        assert (await client.head("/healthz")).status_code == 200

    serve(test)


def test_on_a_socket() -> None:
    async def main() -> None:
        watch = Watch()
        watch.see(relay(1, worker()))
        web = http.server(watch, Operated(), Address.parse("127.0.0.1:0"))
        listening = await web.start()
        try:
            async with httpx.AsyncClient(base_url=f"http://{listening}") as client:
                assert "stunroute_flows" in (await client.get("/metrics")).text
                assert (await client.get("/healthz")).headers.get("server") is None
        finally:
            await web.stop()

    asyncio.run(main())
