"""The socket on the side of a call, over real sockets."""

import asyncio
import json
import socket
from functools import partial

import pytest
from websockets.asyncio.client import connect as _connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from pair import seeded
from signalling import OFFER, site
from stunroute import web
from transceiver.backend.interface import CallRequest
from transceiver.http import sideband
from transceiver.http.accounts import digest, new_key
from transceiver.http.owners import EVENT_BYTES, join
from transceiver.http.sideband import QUEUE_BYTES, QUEUE_EVENTS, TOO_SLOW, Outbox
from transceiver.settings import ApiKey

SHOP, BANK = new_key(seeded("shop")), new_key(seeded("bank"))
KEYS = (ApiKey("shop", digest(SHOP)), ApiKey("bank", digest(BANK)))
PATIENCE = 20.0
connect = partial(_connect, proxy=None, compression=None)


def on_a_site(test, **options):
    async def main():
        async with asyncio.timeout(PATIENCE), site(**options) as found:
            await test(found)

    asyncio.run(main())


def opened(found, owner="shop"):
    return found.calls.open_call(OFFER, CallRequest(owner=owner)).call


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


async def until(condition):
    while not condition():
        await asyncio.sleep(0.005)


def test_events_pass_both_ways():
    async def test(found):
        call = opened(found)
        url = f"{found.socket}?call_id={call}"
        async with connect(url, additional_headers=bearer(SHOP)) as socket:
            assert json.loads(await socket.recv()) == {"type": "session.created"}
            await socket.send('{"type":"response.create"}')
            assert await socket.recv() == '{"type":"response.create"}'
            await socket.send(b"\x00\xff")
            assert await socket.recv() == "bytes b'\\x00\\xff'"
            (joined,) = found.calls.joined
            joined.say("ü" * 1000)
            assert await socket.recv() == "ü" * 1000
            assert joined.heard == ['{"type":"response.create"}', b"\x00\xff"]
            assert not joined.detached
        await until(lambda: joined.detached)

    on_a_site(test, keys=KEYS)


def test_it_ends_with_the_call_and_what_was_said_before_arrives():
    async def test(found):
        call = opened(found)
        async with connect(f"{found.socket}?call_id={call}") as socket:
            await socket.recv()
            (joined,) = found.calls.joined
            for number in range(500):
                joined.say(str(number))
            found.calls.hang_up(call)
            assert [await socket.recv() for _ in range(500)] == [str(n) for n in range(500)]
            with pytest.raises(ConnectionClosed) as caught:
                await socket.recv()
            assert caught.value.rcvd.code == 1000
            await until(lambda: joined.detached)

    on_a_site(test)


def test_a_page_has_its_key_among_the_subprotocols():
    async def test(found):
        call = opened(found)
        offered = ["realtime", f"openai-insecure-api-key.{SHOP}"]
        async with connect(f"{found.socket}?call_id={call}", subprotocols=offered) as socket:
            assert socket.subprotocol == "realtime"
            await socket.recv()

    on_a_site(test, keys=KEYS)


@pytest.mark.parametrize(
    ("token", "query", "status", "code"),
    [
        (None, "?call_id={call}", 401, "invalid_api_key"),
        ("sk-wrong", "?call_id={call}", 401, "invalid_api_key"),
        ("ek_wrong", "?call_id={call}", 401, "invalid_api_key"),
        (BANK, "?call_id={call}", 403, "forbidden"),
        (SHOP, "?call_id=rtc_nobody", 404, "call_id_not_found"),
        (SHOP, "?call_id=%00%ff", 404, "call_id_not_found"),
        (SHOP, "", 400, "missing_required_parameter"),
        (SHOP, "?model=gpt-realtime", 400, "missing_required_parameter"),
    ],
)
def test_a_handshake_is_refused_as_a_request_would_be(token, query, status, code):
    async def test(found):
        url = found.socket + query.format(call=opened(found))
        with pytest.raises(InvalidStatus) as caught:
            async with connect(url, additional_headers=bearer(token) if token else {}):
                pass
        answer = caught.value.response
        assert answer.status_code == status
        error = json.loads(answer.body)["error"]
        assert error["code"] == code
        assert set(error) == {"message", "type", "param", "code"}
        assert found.calls.joined == []

    on_a_site(test, keys=KEYS)


def test_a_call_without_events_has_none_on_the_side():
    async def test(found):
        found.calls.without_events = True
        with pytest.raises(InvalidStatus) as caught:
            async with connect(f"{found.socket}?call_id={opened(found)}"):
                pass
        assert caught.value.response.status_code == 400

    on_a_site(test)


def test_a_message_has_a_bound():
    async def test(found):
        async with connect(f"{found.socket}?call_id={opened(found)}") as socket:
            await socket.recv()
            (joined,) = found.calls.joined
            joined.echo = False
            await socket.send("x" * EVENT_BYTES)
            await until(lambda: joined.heard)
            await socket.send("x" * (EVENT_BYTES + 1))
            with pytest.raises(ConnectionClosed) as caught:
                await socket.recv()
            assert caught.value.rcvd.code == 1009
            await until(lambda: joined.detached)
            assert len(joined.heard) == 1

    on_a_site(test)


def test_a_message_may_come_in_so_many_pieces():
    async def test(found):
        async with connect(f"{found.socket}?call_id={opened(found)}") as socket:
            await socket.recv()
            (joined,) = found.calls.joined
            await socket.send(["a"] * (web.FRAGMENTS - 1))  # an empty one ends it
            assert await socket.recv() == "a" * (web.FRAGMENTS - 1)
            with pytest.raises(ConnectionClosed) as caught:
                await socket.send([""] * (3 * web.FRAGMENTS))
                await socket.recv()
            assert caught.value.rcvd.code == 1009
            await until(lambda: joined.detached)
            assert len(joined.heard) == 1

    on_a_site(test)


def test_a_reader_that_falls_behind_is_let_go_and_nobody_waits_for_it():
    async def test(found):
        async with connect(f"{found.socket}?call_id={opened(found)}", max_queue=1) as socket:
            await until(lambda: found.calls.joined)
            (joined,) = found.calls.joined
            socket.transport.pause_reading()
            for _ in range(3 * QUEUE_BYTES // 100_000):
                joined.say("x" * 100_000)
                await asyncio.sleep(0)
            await until(lambda: joined.detached)
            socket.transport.abort()

    on_a_site(test)


@pytest.mark.parametrize("much", [6_000_000, 30_000_000])
def test_who_never_reads_keeps_neither_task_nor_socket(monkeypatch, much):
    """Neither after the end of the call, nor when it was let go before."""
    monkeypatch.setattr(sideband, "CLOSE_SECONDS", 0.05)
    monkeypatch.setattr(web, "LINGER_SECONDS", 0.05)

    async def test(found):
        plug = socket.socket()
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, _, port = found.socket.split("/")[2].rpartition(":")
        plug.connect((host, int(port)))
        with plug:
            plug.sendall(
                f"GET /v1/realtime?call_id={opened(found)} HTTP/1.1\r\nHost: x\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
            )
            await until(lambda: found.calls.joined)
            (joined,) = found.calls.joined
            for _ in range(much // 100_000):
                joined.say("x" * 100_000)
                await asyncio.sleep(0.001)
            joined.end()
            await until(lambda: joined.detached)
            await until(lambda: not found.web._server.server_state.connections)

    on_a_site(test)


def test_a_flood_of_events_leaves_turns_to_others():
    async def test(found):
        async with connect(f"{found.socket}?call_id={opened(found)}") as socket:
            await until(lambda: found.calls.joined)
            (joined,) = found.calls.joined
            joined.echo = False
            frame = Frame(Opcode.TEXT, b"{}").serialize(mask=True)
            socket.transport.write(frame * 3000)
            longest = before = 0
            while before < 3000:
                await asyncio.sleep(0)
                longest = max(longest, len(joined.heard) - before)
                before = len(joined.heard)
            assert longest <= sideband.TURN

    on_a_site(test)


def test_credentials_go_to_the_node_and_to_nobody_it_points_at():
    class Asked:
        scope = {}  # noqa: RUF012 (of one object)
        denied = None

        async def send_denial_response(self, response):
            self.denied = response

    async def nobody(connection):
        raise AssertionError("nobody comes here")

    async def main():
        asked = []

        def elsewhere(connection, request):
            asked.append(request)
            return connection.respond(403, "")

        async with serve(nobody, "127.0.0.1", 0, process_request=elsewhere) as other:
            target = f"ws://127.0.0.1:{other.sockets[0].getsockname()[1]}/"

            def redirect(connection, request):
                answer = connection.respond(307, "")
                answer.headers["Location"] = target
                return answer

            async with serve(nobody, "127.0.0.1", 0, process_request=redirect) as node:
                websocket = Asked()
                url = f"http://127.0.0.1:{node.sockets[0].getsockname()[1]}/"
                await join(websocket, url, {"authorization": f"Bearer {SHOP}"})
        assert websocket.denied.status_code == 307
        assert websocket.denied.headers["location"] == target
        assert not asked

    asyncio.run(main())


def test_more_sockets_than_there_may_be_connections_are_503():
    async def test(found):
        url = f"{found.socket}?call_id={opened(found)}"
        async with connect(url), connect(url), connect(url):
            with pytest.raises(InvalidStatus) as caught:
                async with connect(url):
                    pass
            assert caught.value.response.status_code == 503
        await until(lambda: all(joined.detached for joined in found.calls.joined))
        async with connect(url):
            pass

    on_a_site(test, connections=4)


def test_it_ends_with_the_server():
    async def test(found):
        async with connect(f"{found.socket}?call_id={opened(found)}") as socket:
            await socket.recv()
            await found.web.stop()
            with pytest.raises(ConnectionClosed) as caught:
                await socket.recv()
            assert caught.value.rcvd.code == 1012
            assert found.calls.joined[0].detached

    on_a_site(test)


def test_a_socket_outlives_the_patience_with_silent_connections(monkeypatch):
    monkeypatch.setattr(web, "HEAD_SECONDS", 0.05)

    async def test(found):
        async with connect(f"{found.socket}?call_id={opened(found)}") as socket:
            await socket.recv()
            await asyncio.sleep(0.3)
            await socket.send("still there")
            assert await socket.recv() == "still there"

    on_a_site(test)


def test_where_there_are_no_sockets_the_handshake_is_a_request():
    async def test(found):
        with pytest.raises(InvalidStatus) as caught:
            async with connect(f"{found.socket}?call_id={opened(found)}"):
                pass
        assert caught.value.response.status_code == 405

    on_a_site(test, messages=None)


# --- the outbox


def test_the_outbox_keeps_order_and_ends_after_the_last():
    async def story():
        outbox = Outbox()
        waiting = asyncio.ensure_future(outbox.next())
        await asyncio.sleep(0)
        outbox.put("a")
        outbox.put("b")
        outbox.end()
        outbox.put("too late")
        found = [await waiting, await outbox.next(), await outbox.next(), await outbox.next()]
        assert found == ["a", "b", None, None]
        assert (outbox.code, outbox.overrun.is_set()) == (1000, False)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("text", "fitting"),
    [("x" * (QUEUE_BYTES // 8), 8), ("", QUEUE_EVENTS)],
)
def test_the_outbox_has_a_bound(text, fitting):
    async def story():
        outbox = Outbox()
        for _ in range(fitting):
            outbox.put(text)
        assert not outbox.overrun.is_set()
        await outbox.next()
        outbox.put(text)
        assert not outbox.overrun.is_set()
        outbox.put(text)
        assert outbox.overrun.is_set()
        assert outbox.code == TOO_SLOW
        outbox.put("more")
        assert await outbox.next() is None

    asyncio.run(story())
