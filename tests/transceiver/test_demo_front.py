"""The demo's own server, which passes signalling on to its transceivers."""

import asyncio
import json

import httpx
import pytest
from attrs import define
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from signalling import ANSWER, KEYRING, LOOPBACK, OFFER, Site, site
from stunroute.address import Address
from stunroute.hint import Hint
from stunroute.web import HttpServer
from transceiver.demo import Front
from transceiver.http import CALLS, EVENT_BYTES, SDP

AS_SDP = {"Content-Type": SDP}
PATIENCE = 20.0


@define
class Member:
    name: str
    node: int
    http: Address


@define
class Fleet:
    """What the front asks of a fleet."""

    transceivers: list[Member]

    def holder_untrusted(self, ufrag):
        match KEYRING.decode_untrusted(ufrag, 0.0):
            case Hint(node=node):
                return next((each for each in self.transceivers if each.node == node), None)
        return None


def with_a_front(test):
    """Run ``test(client, page, one, two)``: the front of two nodes, and the two."""

    async def main():
        async with asyncio.timeout(PATIENCE), site(node=1) as one, site(node=2) as two:
            members = [
                Member(f"transceiver {s.calls.name[1]}", s.calls.name[1], s.at) for s in (one, two)
            ]
            front = Front(Fleet(members))
            web = HttpServer(front.app(), LOOPBACK, messages=EVENT_BYTES)
            page = await web.start()
            try:
                async with httpx.AsyncClient(base_url=f"http://{page}", trust_env=False) as client:
                    await test(client, page, one, two)
            finally:
                await web.stop()
                await front.client.aclose()

    asyncio.run(main())


def test_offers_go_round_and_the_rest_follows_the_call():
    async def test(client, page, one: Site, two: Site):
        form = {"sdp": (None, OFFER), "session": (None, json.dumps({"instructions": "x" * 99_000}))}
        first = await client.post(f"{CALLS}?model=m&dcid=7", files=form)
        second = await client.post("/v1/realtime?model=n", content=OFFER, headers=AS_SDP)
        assert [first.text, second.text] == [ANSWER, ANSWER]
        assert [first.headers["x-demo-node"], second.headers["x-demo-node"]] == ["1", "2"]
        assert (one.calls.last.model, one.calls.last.channel) == ("m", 7)
        assert len(one.calls.last.session["instructions"]) == 99_000
        assert two.calls.last.model == "n"
        location = second.headers["location"]
        assert (await client.get(location)).json()["answer"] == "state"
        assert (await client.post(f"{location}/hangup")).status_code == 200
        assert (len(one.calls.calls), len(two.calls.calls)) == (1, 0)
        assert (await client.get(f"{CALLS}/rtc_x")).json()["error"]["code"] == "call_id_not_found"

    with_a_front(test)


def test_a_client_secret_of_one_node_opens_calls_at_another():
    async def test(client, page, one: Site, two: Site):
        made = await client.post("/v1/realtime/client_secrets", json={"session": {"model": "m"}})
        bearer = {"Authorization": f"Bearer {made.json()['value']}"}
        for _ in range(2):
            made = await client.post(CALLS, content=OFFER, headers={**AS_SDP, **bearer})
            assert made.status_code == 201
        assert [one.calls.last.model, two.calls.last.model] == ["m", "m"]

    with_a_front(test)


def test_a_socket_follows_the_call():
    async def test(client, page, one: Site, two: Site):
        made = [await client.post(CALLS, content=OFFER, headers=AS_SDP) for _ in range(2)]
        for answer, where in zip(made, (one, two), strict=True):
            call = answer.headers["location"].rpartition("/")[2]
            async with connect(f"ws://{page}/v1/realtime?call_id={call}", proxy=None) as socket:
                assert json.loads(await socket.recv()) == {"type": "session.created"}
                await socket.send("there?")
                assert await socket.recv() == "there?"
            assert len(where.calls.joined) == 1

    with_a_front(test)


@pytest.mark.parametrize("path", ["/v1/realtime?call_id=rtc_x", "/v1/realtime", "/", "/x"])
def test_a_socket_to_nowhere_is_refused(path, caplog):
    async def test(client, page, one: Site, two: Site):
        with pytest.raises(InvalidStatus) as caught:
            async with connect(f"ws://{page}{path}", proxy=None):
                pass
        assert caught.value.response.status_code == 404

    with_a_front(test)
    assert "Traceback" not in caplog.text
