"""The WHIP door of fronts written in Python, with a peer behind it that only notes."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from attrs import define, field

from conformance.peers import front
from conformance.peers.rtpengine import far_answer

SDP = {"Content-Type": "application/sdp"}


@define
class Noting:
    offers: list[str] = field(factory=list)
    closed: list[str] = field(factory=list)

    async def open(self, offer: str) -> front.Call:
        if not offer.startswith("v=0"):
            raise front.Refused("an offer begins with v=0")
        self.offers.append(offer)

        async def close() -> None:
            self.closed.append(offer)

        return front.Call(f"answer to {offer}", close)


@pytest.fixture
def noting() -> Noting:
    return Noting()


@pytest.fixture
def door(noting: Noting) -> front.Door:
    return front.Door(noting.open)


def client(door: front.Door) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=door.app), base_url="http://peer.test"
    )


def test_an_offer_is_answered_and_a_call_ended(noting: Noting, door: front.Door) -> None:
    async def act() -> None:
        async with client(door) as web:
            told = await web.post("/whip", content="v=0 a", headers=SDP)
            assert (told.status_code, told.text) == (201, "answer to v=0 a")
            assert told.headers["content-type"].startswith("application/sdp")
            place = told.headers["location"]
            assert (await web.delete(place)).status_code == 200
            assert noting.closed == ["v=0 a"]
            assert (await web.delete(place)).status_code == 404

    asyncio.run(act())


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        ("nonsense", SDP, 400),
        (b"v=0 \xff", SDP, 400),
        ("v=0", {"Content-Type": "application/json"}, 415),
        ("v=0" + "x" * front.OFFER_BYTES, SDP, 413),
    ],
)
def test_what_is_no_offer_is_refused(
    noting: Noting, door: front.Door, content: str | bytes, headers: dict[str, str], status: int
) -> None:
    async def act() -> None:
        async with client(door) as web:
            told = await web.post("/whip", content=content, headers=headers)
            assert told.status_code == status

    asyncio.run(act())
    assert noting.offers == []


def test_the_oldest_call_makes_room(
    noting: Noting, door: front.Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "MOST_CALLS", 2)

    async def act() -> None:
        async with client(door) as web:
            for number in range(3):
                await web.post("/whip", content=f"v=0 {number}", headers=SDP)
        assert noting.closed == ["v=0 0"]
        await door.close()
        assert noting.closed == ["v=0 0", "v=0 1", "v=0 2"]

    asyncio.run(act())


def test_ready_is_told_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEER_READY", str(tmp_path / "ready.json"))
    front.ready("http://127.0.0.1:1/whip", "1.0")
    assert json.loads((tmp_path / "ready.json").read_text()) == {
        "url": "http://127.0.0.1:1/whip",
        "version": "1.0",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["ready.json"]


def test_a_far_party_takes_sound_once_and_nothing_else() -> None:
    offer = "\r\n".join(
        [
            *("v=0", "o=- 7 7 IN IP4 10.0.0.1", "s=-", "t=0 0", "a=ice-lite"),
            *("m=audio 4000 RTP/AVP 111 0", "c=IN IP4 10.0.0.1", "a=rtpmap:111 opus/48000/2"),
            *("a=rtcp:4001", "a=candidate:1 1 UDP 1 10.0.0.1 4000 typ host", "a=sendrecv"),
            *("m=audio 4002 RTP/AVP 0", "a=sendrecv"),
            *("m=application 4004 UDP/DTLS/SCTP webrtc-datachannel", "a=sctp-port:5000", ""),
        ]
    )
    assert far_answer(offer, 6000).split("\r\n") == [
        *("v=0", f"o=- 1 1 IN IP4 {front.HOST}", "s=-", "t=0 0"),
        *("m=audio 6000 RTP/AVP 111 0", f"c=IN IP4 {front.HOST}", "a=rtpmap:111 opus/48000/2"),
        "a=sendrecv",
        "m=audio 0 RTP/AVP 0",
        *("m=application 0 UDP/DTLS/SCTP webrtc-datachannel", ""),
    ]
