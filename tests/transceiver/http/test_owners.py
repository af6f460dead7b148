"""Requests that reach another node than the call's, over real sockets."""

import asyncio
import json
from functools import partial

import httpx
import pytest
from websockets.asyncio.client import connect as _connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from pair import seeded
from signalling import FRAGMENT, OFFER, RESTART, RESTARTED, introduce, site
from transceiver.http import CALLS, SDP, owners
from transceiver.http.accounts import digest, new_key
from transceiver.http.owners import PASSED_ON
from transceiver.settings import ApiKey, Elsewhere

SHOP, BANK = new_key(seeded("shop")), new_key(seeded("bank"))
KEYS = (ApiKey("shop", digest(SHOP)), ApiKey("bank", digest(BANK)))
AS_SDP = {"Content-Type": SDP}
AS_FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
PATIENCE = 20.0
connect = partial(_connect, proxy=None, compression=None)


def on_two(test, *, keys=(), mount="", introduced=True, **options):
    """Run ``test(client, here, there)`` with two nodes; the client's base is the first."""

    async def main():
        async with (
            asyncio.timeout(PATIENCE),
            site(node=7, keys=keys, mount=mount) as here,
            site(node=8, keys=keys, mount=mount) as there,
            httpx.AsyncClient(base_url=here.url + mount, trust_env=False) as client,
        ):
            if introduced:
                introduce(here, there, below=mount, **options)
            await test(client, here, there)

    asyncio.run(main())


def bearer(token, more=None):
    return {"Authorization": f"Bearer {token}", **(more or {})}


async def opened_at(found, token=None, mount=""):
    async with httpx.AsyncClient(base_url=found.url + mount, trust_env=False) as client:
        headers = {**AS_SDP, **(bearer(token) if token else {})}
        made = await client.post(CALLS, content=OFFER, headers=headers)
        assert made.status_code == 201
        return made.headers["location"].removeprefix(mount)


@pytest.mark.parametrize("mount", ["", "/voice"])
def test_every_request_for_a_call_finds_it(mount):
    async def test(client, here, there):
        location = await opened_at(there, mount=mount)
        assert here.calls.calls == []
        state = await client.get(location)
        assert (state.status_code, state.json()["answer"]) == (200, "state")
        assert state.headers["cache-control"] == "no-store"
        trickled = await client.patch(
            location, content=FRAGMENT, headers={**AS_FRAGMENT, "If-Match": '"tag0"'}
        )
        assert (trickled.status_code, trickled.content) == (204, b"")
        restarted = await client.patch(
            location, content=RESTART, headers={**AS_FRAGMENT, "If-Match": "*"}
        )
        assert (restarted.status_code, restarted.text) == (200, RESTARTED)
        assert restarted.headers["etag"] == '"tag1"'
        again = await client.patch(location, content=OFFER, headers=AS_SDP)
        assert (again.status_code, again.headers["content-type"]) == (200, SDP)
        assert there.calls.fragments == [FRAGMENT, RESTART]
        assert (await client.post(f"{location}/hangup")).status_code == 200
        assert there.calls.calls == []
        answer = await client.delete(location)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "call_id_not_found")

    on_two(test, mount=mount)


def test_the_holder_decides_who_may():
    async def test(client, here, there):
        location = await opened_at(there, SHOP)
        assert (await client.get(location, headers=bearer(BANK))).status_code == 403
        assert (await client.get(location, headers=bearer(SHOP))).status_code == 200
        secret = (await client.post("/v1/realtime/client_secrets", headers=bearer(SHOP))).json()[
            "value"
        ]
        location = await opened_at(there, secret)
        assert (await client.get(location, headers=bearer(secret))).status_code == 200
        assert (await client.get(location, headers=bearer(BANK))).status_code == 403

    on_two(test, keys=KEYS)


def test_strangers_make_no_other_node_work(monkeypatch):
    async def test(client, here, there):
        location = await opened_at(there, SHOP)
        assert (await client.get(location)).status_code == 401
        assert (await client.get(location, headers=bearer("sk-x"))).status_code == 401
        with pytest.raises(InvalidStatus) as caught:
            async with connect(f"{here.socket}?call_id={location.rpartition('/')[2]}"):
                pass
        assert caught.value.response.status_code == 401

    monkeypatch.setattr(owners, "forward", None)
    monkeypatch.setattr(owners, "join", None)
    on_two(test, keys=KEYS)


def test_a_client_can_be_sent_there_instead():
    async def test(client, here, there):
        location = await opened_at(there)
        for method, path in (("GET", location), ("POST", f"{location}/hangup?x=1")):
            answer = await client.request(method, path)
            assert answer.status_code == 307
            assert answer.headers["location"] == there.url + path
        done = await client.post(f"{location}/hangup", follow_redirects=True)
        assert done.status_code == 200
        assert there.calls.calls == []

    on_two(test, elsewhere=Elsewhere.REDIRECT)


def test_nodes_that_send_each_other_a_request_say_so():
    async def test(client, here, there):
        location = await opened_at(there)
        there.calls.name = (1, 9)  # it was given another name, and here the list is the old one
        introduce(here, there)
        here.owners.urls = {(1, 8): there.url}
        there.owners.urls = {(1, 8): here.url}
        answer = await client.get(location)
        assert (answer.status_code, answer.json()["error"]["code"]) == (508, "misrouted")

    on_two(test)


def test_what_was_passed_on_is_answered_where_the_call_is():
    async def test(client, here, there):
        location = await opened_at(here)
        assert (await client.get(location, headers={PASSED_ON: "1"})).status_code == 200

    on_two(test)


def test_a_node_that_is_not_known_is_404():
    async def test(client, here, there):
        location = await opened_at(there)
        answer = await client.get(location)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "call_id_not_found")

    on_two(test, introduced=False)


def test_a_node_that_does_not_answer_is_502(monkeypatch):
    async def test(client, here, there):
        location = await opened_at(there)
        await there.web.stop()
        answer = await client.get(location)
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "node_unavailable")
        with pytest.raises(InvalidStatus) as caught:
            async with connect(f"{here.socket}?call_id={location.rpartition('/')[2]}"):
                pass
        assert caught.value.response.status_code == 502

    on_two(test)


def test_a_node_that_is_slow_is_502(monkeypatch):
    monkeypatch.setattr(owners, "SECONDS", 0.1)

    async def test(client, here, there):
        location = await opened_at(there)

        async def silent(reader, writer):
            await reader.read()
            writer.close()

        mute = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = mute.sockets[0].getsockname()[1]
        here.owners.urls = {(1, 8): f"http://127.0.0.1:{port}"}
        assert (await client.get(location)).status_code == 502
        with pytest.raises(InvalidStatus) as caught:
            async with connect(f"{here.socket}?call_id={location.rpartition('/')[2]}"):
                pass
        assert caught.value.response.status_code == 502
        mute.close()

    on_two(test)


def test_a_large_body_is_not_passed_on():
    async def test(client, here, there):
        location = await opened_at(there)
        answer = await client.patch(location, content=b"v=0" + b"x" * 70_000, headers=AS_SDP)
        assert answer.status_code == 413

    on_two(test)


def test_headers_that_are_no_text_go_no_further():
    async def test(client, here, there):
        location = await opened_at(there)
        answer = await client.get(location, headers={"User-Agent": b"\xff"})
        assert answer.status_code == 200

    on_two(test)


# --- sockets


@pytest.mark.parametrize("mount", ["", "/voice"])
def test_a_socket_is_carried_to_the_call(mount):
    async def test(client, here, there):
        call = (await opened_at(there, SHOP, mount)).rpartition("/")[2]
        url = f"ws://{here.at}{mount}/v1/realtime?call_id={call}"
        offered = ["realtime", f"openai-insecure-api-key.{SHOP}"]
        async with connect(url, subprotocols=offered) as socket:
            assert socket.subprotocol == "realtime"
            assert json.loads(await socket.recv()) == {"type": "session.created"}
            await socket.send("text")
            assert await socket.recv() == "text"
            await socket.send(b"\xff")
            assert await socket.recv() == "bytes b'\\xff'"
            there.calls.joined[0].say("last")
            there.calls.hang_up(call)
            assert await socket.recv() == "last"
            with pytest.raises(ConnectionClosed) as caught:
                await socket.recv()
            assert caught.value.rcvd.code == 1000
        assert here.calls.joined == []

    on_two(test, keys=KEYS, mount=mount)


def test_who_leaves_here_has_left_there():
    async def test(client, here, there):
        call = (await opened_at(there)).rpartition("/")[2]
        async with connect(f"{here.socket}?call_id={call}") as socket:
            await socket.recv()
        while not there.calls.joined[0].detached:
            await asyncio.sleep(0.005)

    on_two(test)


def test_a_node_that_leaves_takes_its_sockets_along():
    async def test(client, here, there):
        call = (await opened_at(there)).rpartition("/")[2]
        async with connect(f"{here.socket}?call_id={call}") as socket:
            await socket.recv()
            await there.web.stop()
            with pytest.raises(ConnectionClosed) as caught:
                await socket.recv()
            assert caught.value.rcvd.code == 1012

    on_two(test)


def test_a_refusal_there_is_one_here():
    async def test(client, here, there):
        call = (await opened_at(there, SHOP)).rpartition("/")[2]
        with pytest.raises(InvalidStatus) as caught:
            async with connect(f"{here.socket}?call_id={call}", additional_headers=bearer(BANK)):
                pass
        assert caught.value.response.status_code == 403
        assert json.loads(caught.value.response.body)["error"]["code"] == "forbidden"

    on_two(test, keys=KEYS)


def test_a_socket_is_carried_even_where_requests_are_redirected():
    async def test(client, here, there):
        call = (await opened_at(there)).rpartition("/")[2]
        async with connect(f"{here.socket}?call_id={call}") as socket:
            assert socket.remote_address[1] == here.at.port
            assert json.loads(await socket.recv()) == {"type": "session.created"}

    on_two(test, elsewhere=Elsewhere.REDIRECT)


def test_sockets_are_not_sent_round_in_circles():
    async def test(client, here, there):
        call = (await opened_at(there)).rpartition("/")[2]
        there.calls.name = (1, 9)
        there.owners.urls = {(1, 8): here.url}
        with pytest.raises(InvalidStatus) as caught:
            async with connect(f"{here.socket}?call_id={call}"):
                pass
        assert caught.value.response.status_code == 508

    on_two(test)
