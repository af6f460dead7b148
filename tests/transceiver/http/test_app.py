"""Signalling over HTTP, against a core that knows no WebRTC."""

import asyncio
import logging
import socket

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from fake_endpoint import FakeEndpoint
from stunroute import web
from stunroute.address import Address
from transceiver.aio import TransceiverServer
from transceiver.http import CALLS, OFFER_BYTES, SDP, bodies, create_app

OFFER = "v=0\r\ns=secret-marker\r\n"
AS_SDP = {"Content-Type": SDP}
UNKNOWN = f"{CALLS}/rtc_unknown"


class Silent:
    def __init__(self, call):
        pass

    def receive(self, event):
        pass


def serve(test, *, endpoint=None, backend=Silent, mount=""):
    """Run ``test(client, server)`` against the application."""

    async def main():
        core = endpoint or FakeEndpoint()
        server = TransceiverServer(core, Address.parse("127.0.0.1:0"), backend)
        await server.start()
        app = create_app(server)
        if mount:
            app = Starlette(routes=[Mount(mount, app=app)])
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
                await test(client, server)
        finally:
            await server.stop()

    asyncio.run(main())


def is_error(answer, status, code):
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["error"]
    error = answer.json()["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert error["code"] == code
    assert error["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    assert error["message"]
    return error["message"]


def test_a_call_from_offer_to_hang_up():
    async def test(client, server):
        made = await client.post(CALLS, content=OFFER, headers=AS_SDP)
        assert made.status_code == 201
        assert made.headers["content-type"] == SDP
        assert made.text == "v=0\r\nanswer\r\n"
        location = made.headers["location"]
        assert location == f"{CALLS}/{server.calls[0]}"

        state = await client.get(location)
        assert state.status_code == 200
        assert state.headers["cache-control"] == "no-store"
        body = state.json()
        assert body["call"] == server.calls[0]
        assert (body["phase"], body["cluster"], body["node"]) == ("new", 1, 2)
        assert body["audio"]["codec"] == "opus"
        assert body["timings"]["established"] is None

        again = await client.patch(location, content=OFFER, headers=AS_SDP)
        assert again.status_code == 200
        assert again.headers["content-type"] == SDP
        assert again.text == "v=0\r\nrestarted\r\n"

        gone = await client.delete(location)
        assert gone.status_code == 200
        assert server.calls == []
        is_error(await client.delete(location), 404, "call_id_not_found")
        is_error(await client.get(location), 404, "call_id_not_found")

    serve(test)


def test_hang_up_by_post():
    async def test(client, server):
        made = await client.post(CALLS, content=OFFER, headers=AS_SDP)
        assert (await client.post(made.headers["location"] + "/hangup")).status_code == 200
        is_error(await client.post(UNKNOWN + "/hangup"), 404, "call_id_not_found")

    serve(test)


def test_location_minds_where_the_application_is_mounted():
    async def test(client, server):
        made = await client.post("/voice" + CALLS, content=OFFER, headers=AS_SDP)
        assert made.headers["location"] == f"/voice{CALLS}/{server.calls[0]}"
        assert (await client.get(made.headers["location"])).status_code == 200

    serve(test, mount="/voice")


@pytest.mark.parametrize("content_type", [SDP, "Application/SDP; charset=utf-8"])
def test_takes_sdp_however_it_is_written(content_type):
    async def test(client, server):
        headers = {"Content-Type": content_type}
        assert (await client.post(CALLS, content=OFFER, headers=headers)).status_code == 201

    serve(test)


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/json"])
def test_another_content_type_is_415(content_type):
    async def test(client, server):
        headers = {"Content-Type": content_type} if content_type else {}
        answer = await client.post(CALLS, content=OFFER, headers=headers)
        assert SDP in is_error(answer, 415, "unsupported_media_type")
        assert SDP in answer.headers["accept-post"]
        call = server.open_call(OFFER).call
        answer = await client.patch(f"{CALLS}/{call}", content=OFFER, headers=headers)
        assert SDP in is_error(answer, 415, "unsupported_media_type")
        assert SDP in answer.headers["accept-patch"]

    serve(test)


@pytest.mark.parametrize(
    ("body", "line"),
    [(b"", 1), (b"hello", 1), (b"v=0\r\ns=\xff\xfe\r\n", 2), (b"\x00" * 100, 1)],
)
def test_a_malformed_offer_is_400_and_names_the_line(body, line):
    async def test(client, server):
        answer = await client.post(CALLS, content=body, headers=AS_SDP)
        assert is_error(answer, 400, "invalid_offer").startswith(f"line {line}:")
        call = server.open_call(OFFER).call
        answer = await client.patch(f"{CALLS}/{call}", content=body, headers=AS_SDP)
        is_error(answer, 400, "invalid_offer")
        assert server.calls == [call]

    serve(test)


def test_a_large_body_is_413_whether_announced_or_not():
    taken = []

    async def endless():
        while True:
            taken.append(1)
            yield b"v" * 4096

    async def test(client, server):
        body = b"v=0" + b"x" * OFFER_BYTES
        is_error(await client.post(CALLS, content=body, headers=AS_SDP), 413, "offer_too_large")
        is_error(
            await client.post(CALLS, content=endless(), headers=AS_SDP), 413, "offer_too_large"
        )
        assert len(taken) == OFFER_BYTES // 4096 + 1
        exactly = b"v=0" + b"x" * (OFFER_BYTES - 3)
        assert (await client.post(CALLS, content=exactly, headers=AS_SDP)).status_code == 201

    serve(test)


def test_a_body_that_does_not_arrive_is_408(monkeypatch):
    monkeypatch.setattr(bodies, "OFFER_SECONDS", 0.01)

    async def stalled():
        yield b"v=0"
        await asyncio.sleep(30)

    async def test(client, server):
        answer = await client.post(CALLS, content=stalled(), headers=AS_SDP)
        is_error(answer, 408, "offer_timeout")

    serve(test)


def test_at_capacity_and_draining_are_503_with_retry_after():
    async def test(client, server):
        assert (await client.post(CALLS, content=OFFER, headers=AS_SDP)).status_code == 201
        answer = await client.post(CALLS, content=OFFER, headers=AS_SDP)
        is_error(answer, 503, "at_capacity")
        assert answer.headers["retry-after"] == "5"  # 4.2, rounded up
        assert (await client.get("/healthz")).json() == {"status": "ok", "calls": 1}
        await server.stop()
        is_error(await client.post(CALLS, content=OFFER, headers=AS_SDP), 503, "at_capacity")
        health = await client.get("/healthz")
        assert health.status_code == 503
        assert health.json()["status"] == "draining"

    serve(test, endpoint=FakeEndpoint(capacity=1))


def test_a_backend_that_refuses_is_503():
    def refuse(call):
        raise ConnectionError("db-password-marker")

    async def test(client, server):
        answer = await client.post(CALLS, content=OFFER, headers=AS_SDP)
        assert "marker" not in is_error(answer, 503, "backend_unavailable")
        assert answer.headers["retry-after"]
        assert server.calls == []

    serve(test, backend=refuse)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", CALLS), ("PUT", CALLS), ("POST", UNKNOWN), ("PUT", UNKNOWN), ("POST", "/healthz")],
)
def test_another_method_is_405(method, path):
    async def test(client, server):
        answer = await client.request(method, path)
        is_error(answer, 405, "method_not_allowed")
        assert answer.headers["allow"]

    serve(test)


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", UNKNOWN, "call_id_not_found"),
        ("DELETE", UNKNOWN, "call_id_not_found"),
        ("PATCH", UNKNOWN, "call_id_not_found"),
        ("GET", "/", "not_found"),
        ("GET", f"{CALLS}/a/b", "not_found"),
        ("GET", f"{CALLS}/%00%ff", "call_id_not_found"),
    ],
)
def test_what_is_not_there_is_404(method, path, code):
    async def test(client, server):
        is_error(await client.request(method, path), 404, code)

    serve(test)


def test_a_fault_of_ours_is_500_and_tells_nothing():
    class Broken(FakeEndpoint):
        def open_call(self, offer, now, *, entropy=None):
            raise RuntimeError("internal-marker")

    async def test(client, server):
        answer = await client.post(CALLS, content=OFFER, headers=AS_SDP)
        assert "marker" not in is_error(answer, 500, "internal_error")

    serve(test, endpoint=Broken())


def test_a_browser_elsewhere_may_call():
    preflight = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type, authorization",
    }

    async def test(client, server):
        answer = await client.options(CALLS, headers=preflight)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "POST" in answer.headers["access-control-allow-methods"]
        for method in ("PATCH", "DELETE"):
            asked = {**preflight, "Access-Control-Request-Method": method}
            assert (await client.options(UNKNOWN, headers=asked)).status_code == 200
        headers = {**AS_SDP, "Origin": "https://app.example"}
        made = await client.post(CALLS, content=OFFER, headers=headers)
        exposed = made.headers["access-control-expose-headers"]
        assert {name.strip() for name in exposed.split(",")} == {
            *("Location", "ETag", "Retry-After", "Accept-Patch")
        }
        # An error is readable from there too.
        refused = await client.post(CALLS, content=b"", headers=headers)
        assert refused.status_code == 400
        assert refused.headers["access-control-allow-origin"] == "*"

    serve(test)


def test_no_sdp_is_logged(caplog):
    caplog.set_level(logging.DEBUG)
    # A test of the program, before this one in the same process, may have made it more silent.
    caplog.set_level(logging.DEBUG, "transceiver")

    async def test(client, server):
        made = await client.post(CALLS, content=OFFER, headers=AS_SDP)
        await client.patch(made.headers["location"], content=OFFER, headers=AS_SDP)
        await client.post(CALLS, content="secret-marker", headers=AS_SDP)
        await client.delete(made.headers["location"])

    serve(test)
    assert "call rtc_" in caplog.text
    assert "secret-marker" not in caplog.text


def test_nagle_holds_no_answer_back(monkeypatch):
    """Head and body leave as two segments; the second must not wait 40 ms for the client's delayed
    acknowledgement. Accepted sockets take the option over from the one that listens."""
    made = []
    create = socket.create_server
    monkeypatch.setattr(
        socket, "create_server", lambda *a, **k: made.append(create(*a, **k)) or made[-1]
    )

    async def main():
        server = web.HttpServer(Starlette(), Address.parse("127.0.0.1:0"))
        listening = await server.start()
        reader, writer = await asyncio.open_connection(listening.ip, listening.port)
        assert made[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        writer.close()
        await writer.wait_closed()
        assert reader is not None
        await server.stop()

    asyncio.run(main())


def on_a_socket(test):
    """Run ``test(ask)``; ``ask(data)`` sends ``data`` over a connection of its own and returns all
    that comes back until its end."""

    async def ask(listening, data, then=b"", pause=0.0):
        reader, writer = await asyncio.open_connection(listening.ip, listening.port)
        try:
            writer.write(data)
            await writer.drain()
            if then:
                await asyncio.sleep(pause)
                writer.write(then)
                await writer.drain()
            async with asyncio.timeout(5):
                return await reader.read(65536)
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def main():
        endpoint = FakeEndpoint()
        node = TransceiverServer(endpoint, Address.parse("127.0.0.1:0"), Silent)
        await node.start()
        server = web.HttpServer(create_app(node), Address.parse("127.0.0.1:0"))
        listening = await server.start()
        try:
            await test(lambda *a, **k: ask(listening, *a, **k))
        finally:
            await server.stop()
            await node.stop()

    asyncio.run(main())


HEALTH = b"GET /healthz HTTP/1.1\r\nHost: edge\r\n"


def test_a_head_has_a_bound():
    async def test(ask):
        assert (await ask(HEALTH + b"X: " + bytes(1000).hex().encode() + b"\r\n\r\n"))[
            9:12
        ] == b"200"
        endless = b"".join(b"X-%d: %s\r\n" % (i, b"a" * 1000) for i in range(1000))
        answer = await ask(HEALTH + endless)
        assert answer == b"" or answer[9:12] == b"400"

    on_a_socket(test)


@pytest.mark.parametrize("begun", [b"", b"GET /heal", HEALTH + b"\r\n" + b"GET /heal"])
def test_a_connection_without_a_request_is_closed(monkeypatch, begun):
    monkeypatch.setattr(web, "HEAD_SECONDS", 0.1)

    async def test(ask):
        async with asyncio.timeout(2):
            await ask(begun)

    on_a_socket(test)


def test_a_request_that_is_being_answered_is_not_cut_off(monkeypatch):
    monkeypatch.setattr(web, "HEAD_SECONDS", 0.1)
    head = f"POST {CALLS} HTTP/1.1\r\nHost: edge\r\nContent-Type: {SDP}\r\n"
    offer = OFFER.encode()
    head += f"Content-Length: {len(offer)}\r\nConnection: close\r\n\r\n"

    async def test(ask):
        answer = await ask(head.encode() + offer[:5], then=offer[5:], pause=0.4)
        assert answer[9:12] == b"201"

    on_a_socket(test)


def test_what_is_no_http_is_refused_and_not_logged(caplog):
    async def test(ask):
        for junk in (b"\x16\x03\x01\x02\x00", bytes(range(256)), b"GET /"):
            assert (await ask(junk + b"\r\n\r\n"))[9:12] == b"400"

    on_a_socket(test)
    assert caplog.text == ""
