"""Whole calls with data channels: aiortc as the client, a relay and a transceiver on loopback
sockets, signalling over HTTP. The echo answers on every channel."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any

import pytest
from aiortc import RTCPeerConnection

from aiortc_calls import CALLS, Fleet, Heard, call, fleet, offer_again, peer, until
from impair import Impairment, Weather
from stunroute.address import Address
from tone import Tone
from transceiver.events import EVENTS_CHANNEL

SIZES = (0, 1, 1191, 1200, 16_384, 65_536, 204_800)
MESSAGES: list[str | bytes] = ["grüß", *("x" * size for size in SIZES), *map(bytes, SIZES)]
SMALL: list[str | bytes] = ["text", b"binary", "", b""]
CHANNELS: list[dict[str, Any]] = [
    {},
    {"ordered": False},
    {"maxRetransmits": 5},
    {"ordered": False, "maxPacketLifeTime": 20_000},
    {"protocol": "of its own"},
]

Story = Callable[[Fleet, RTCPeerConnection], Awaitable[None]]


def run(monkeypatch: pytest.MonkeyPatch, story: Story, **options: Any) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), fleet(**options) as edge, peer(monkeypatch) as client:
            await story(edge, client)

    asyncio.run(main())


async def opened(edge: Fleet, client: RTCPeerConnection) -> Heard:
    """A call with one channel, which is open."""
    heard = Heard(client.createDataChannel("main"))
    await call(edge, client)
    await until(lambda: heard.state == "open")
    return heard


@pytest.mark.parametrize("setup", ["", "active", "passive"])
@pytest.mark.parametrize("audio", [True, False])
def test_messages_come_back(monkeypatch: pytest.MonkeyPatch, audio: bool, setup: str) -> None:
    async def story(edge: Fleet, client: RTCPeerConnection) -> None:
        if audio:
            client.addTrack(Tone())
        heard = [Heard(client.createDataChannel(str(each), **each)) for each in CHANNELS]
        made = await call(edge, client, setup=setup)
        await until(lambda: all(each.state == "open" for each in heard))
        for each in heard:
            back = await each.exchange(MESSAGES)
            if each.channel.ordered:
                assert back == MESSAGES
            else:
                assert sorted(back, key=repr) == sorted(MESSAGES, key=repr)
        if audio:
            await until(lambda: edge.server.snapshot(made).audio.packets_out > 10)
        assert (await edge.web.delete(f"{CALLS}/{made}")).status_code == 200
        await until(lambda: all(each.state == "closed" for each in heard))

    run(monkeypatch, story)


@pytest.mark.parametrize("setup", ["", "active"])
def test_channels_that_the_edge_opens(monkeypatch: pytest.MonkeyPatch, setup: str) -> None:
    """Their numbers are not those of the client's, whichever side is the DTLS client."""

    async def story(edge: Fleet, client: RTCPeerConnection) -> None:
        theirs: list[Heard] = []
        client.on("datachannel", lambda channel: theirs.append(Heard(channel)))
        mine = Heard(client.createDataChannel("mine"))
        made = await call(edge, client, setup=setup)
        await until(lambda: mine.state == "open")
        number = edge.server.open_channel(made, "ours", "p", ordered=False)
        assert number is not None
        assert number % 2 != mine.channel.id % 2
        assert edge.server.send_message(made, number, "first")
        await until(lambda: theirs and theirs[0].messages)
        (ours,) = theirs
        assert (ours.channel.id, ours.channel.label, ours.channel.protocol) == (number, "ours", "p")
        assert not ours.channel.ordered
        assert ours.messages == ["first"]
        assert set(await ours.exchange(SMALL)) == set(SMALL)
        edge.server.close_channel(made, number)
        await until(lambda: ours.state == "closed")
        assert not edge.server.send_message(made, number, "too late")
        await until(lambda: edge.server.open_channel(made, "again", "", ordered=True) == number)
        await until(lambda: len(theirs) == 2)
        assert await theirs[1].exchange(SMALL) == SMALL

    run(monkeypatch, story)


def test_closing_and_opening_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """SCTP 1"""

    async def story(edge: Fleet, client: RTCPeerConnection) -> None:
        main = await opened(edge, client)
        for life in range(4):
            heard = Heard(client.createDataChannel(f"life {life}", id=40))
            await until(lambda heard=heard: heard.state == "open")
            assert await heard.exchange(SMALL) == SMALL
            heard.channel.close()
            await until(lambda heard=heard: heard.state == "closed")
        assert await main.exchange(SMALL) == SMALL

    run(monkeypatch, story)


def test_what_a_client_leaves_unread_is_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred channels at once, and all is said on them before any is open."""

    async def story(edge: Fleet, client: RTCPeerConnection) -> None:
        many = [Heard(client.createDataChannel(str(number))) for number in range(100)]
        await call(edge, client)
        await until(lambda: all(each.state == "open" for each in many))
        for each in many:
            each.channel.send(each.channel.label)
        await until(lambda: all(each.messages == [each.channel.label] for each in many))

    run(monkeypatch, story)


def test_data_is_added_to_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(edge: Fleet, client: RTCPeerConnection) -> None:
        client.addTrack(Tone())
        made = await call(edge, client)
        await until(lambda: edge.server.snapshot(made).phase == "established")
        heard = Heard(client.createDataChannel("later"))
        assert "m=application" in await offer_again(edge, client, made)
        await until(lambda: heard.state == "open")
        assert await heard.exchange(MESSAGES) == MESSAGES

    run(monkeypatch, story)


@pytest.mark.parametrize("negotiated", [False, True])
def test_a_conversation_of_events(monkeypatch: pytest.MonkeyPatch, negotiated: bool) -> None:
    async def story(edge: Fleet, client: RTCPeerConnection) -> None:
        client.addTrack(Tone())
        options: dict[str, Any] = {"negotiated": True, "id": 3} if negotiated else {}
        heard = Heard(client.createDataChannel(EVENTS_CHANNEL, **options))

        async def event() -> dict[str, Any]:
            await until(lambda: heard.messages)
            told: dict[str, Any] = json.loads(heard.messages.pop(0))
            return told

        made = await call(edge, client, query="?dcid=3" if negotiated else "")
        assert (await event())["type"] == "session.created"
        update = {"type": "session.update", "event_id": "bad", "session": {"tools": 5}}
        heard.channel.send(json.dumps(update))
        error = await event()
        assert (error["type"], error["error"]["param"]) == ("error", "session.tools")
        assert error["error"]["event_id"] == "bad"
        heard.channel.send(b"\xff\xfe")
        assert (await event())["type"] == "error"
        update["session"] = {"type": "realtime", "instructions": "Be brief."}
        heard.channel.send(json.dumps(update))
        assert (await event())["session"]["instructions"] == "Be brief."
        assert edge.server.snapshot(made).phase == "established"

    run(monkeypatch, story)


def test_a_message_that_is_too_long_closes_its_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others go on."""

    async def story(edge: Fleet, client: RTCPeerConnection) -> None:
        main = await opened(edge, client)
        other = Heard(client.createDataChannel("other"))
        await until(lambda: other.state == "open")
        client.sctp._remote_max_message_size = 0  # or aiortc would honour what we announce
        other.channel.send(bytes(262_145))
        await until(lambda: other.state == "closed")
        assert other.messages == []
        largest: list[str | bytes] = [bytes(65_536)]
        assert await main.exchange(largest) == largest

    run(monkeypatch, story)


@pytest.mark.parametrize("rebinds", [False, True])
def test_all_arrives_over_a_bad_network(monkeypatch: pytest.MonkeyPatch, rebinds: bool) -> None:
    """One packet in twenty is lost each way, some come late, some twice; and the NAT forgets."""
    weather = Weather(loss=0.05, duplicate=0.02, reorder=0.05, held=0.01)
    with ExitStack() as running:
        made: list[Impairment] = []

        def between(relay: Address) -> Address:
            proxy = Impairment(("127.0.0.1", 0), (relay.ip, relay.port), weather=weather)
            made.append(running.enter_context(proxy))
            return Address.of(*proxy.address)

        async def story(edge: Fleet, client: RTCPeerConnection) -> None:
            main = await opened(edge, client)
            loose = Heard(client.createDataChannel("loose", ordered=False))
            await until(lambda: loose.state == "open")
            if rebinds:
                main.channel.send(bytes(60_000))
                made[0].rebind()
                await until(lambda: main.messages == [bytes(60_000)])
            sent: list[str | bytes] = [f"{number} " + "x" * 5_000 for number in range(40)]
            assert await main.exchange(sent) == sent
            assert set(await loose.exchange(sent)) == set(sent)

        run(monkeypatch, story, between=between)
        assert made[0].counters["up lost"] + made[0].counters["down lost"] > 0
