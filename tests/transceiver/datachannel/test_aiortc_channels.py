"""Data channels with aiortc at the other end, in both directions."""

from random import Random

import pytest

from aiortc_channels import Talk, run
from transceiver.datachannel import Closed, Message, Opened

SIZES = (1, 1200, 16_384, 65_536, 204_800)


@pytest.mark.parametrize("we_are_client", [True, False])
def test_channels_of_aiortc(we_are_client: bool) -> None:
    async def story(talk: Talk) -> None:
        channel = talk.open("theirs", protocol="p")
        await talk.until(lambda: channel.readyState == "open")
        number = channel.id
        assert number == (1 if we_are_client else 0)
        assert Opened(number, "theirs", "p", True, False) in talk.events
        sent: list[str | bytes] = ["", b"", "text", *(bytes(size) for size in SIZES)]
        for message in sent:
            channel.send(message)
        await talk.until(lambda: sum(isinstance(e, Message) for e in talk.events) == len(sent))
        assert [e.message for e in talk.events if isinstance(e, Message)] == sent
        for message in sent:
            talk.ours.send(number, message, talk.loop.time())
        await talk.until(lambda: len(talk.heard) == len(sent))
        assert talk.heard == [(number, message) for message in sent]

    run(story, we_are_client=we_are_client)


@pytest.mark.parametrize("we_are_client", [True, False])
def test_channels_of_ours(we_are_client: bool) -> None:
    async def story(talk: Talk) -> None:
        now = talk.loop.time
        number = talk.ours.open("ours", protocol="p", ordered=False, retransmissions=3, now=now())
        talk.ours.send(number, "before it is open", now())
        await talk.until(lambda: Opened(number, "ours", "p", False, False) in talk.events)
        await talk.until(lambda: bool(talk.heard))
        (channel,) = talk.theirs
        assert (channel.id, channel.label, channel.protocol) == (number, "ours", "p")
        assert (channel.ordered, channel.maxRetransmits) == (False, 3)
        channel.send("answer")
        await talk.until(lambda: Message(number, "answer") in talk.events)

    run(story, we_are_client=we_are_client)


@pytest.mark.parametrize("ours_first", [True, False])
def test_closing_and_opening_again(ours_first: bool) -> None:
    """SCTP 1: whoever closes, both hear of it, and the number serves another channel."""

    async def live(talk: Talk, label: str) -> None:
        talk.events.clear()
        channel = talk.open(label, negotiated=False, id=10)
        await talk.until(lambda: channel.readyState == "open")
        channel.send("hello")
        await talk.until(lambda: Message(10, "hello") in talk.events)
        if ours_first:
            talk.ours.close(10, talk.loop.time())
        else:
            channel.close()
        await talk.until(lambda: Closed(10) in talk.events)
        await talk.until(lambda: channel.readyState == "closed")

    async def story(talk: Talk) -> None:
        for label in ("one", "two", "three"):
            await live(talk, label)

    run(story)


def test_a_negotiated_channel() -> None:
    """aiortc knows of it, and says nothing; so we close what we do not know."""

    async def story(talk: Talk) -> None:
        channel = talk.open("agreed", negotiated=True, id=20)
        await talk.until(lambda: channel.readyState == "open")
        channel.send("is anybody there?")
        await talk.until(lambda: channel.readyState == "closed")
        assert not any(isinstance(event, Opened | Message) for event in talk.events)

    run(story)


def test_over_a_network_that_loses() -> None:
    """One packet in twenty, both ways."""
    random = Random(5)

    async def story(talk: Talk) -> None:
        channel = talk.open("theirs")
        await talk.until(lambda: channel.readyState == "open")
        number = channel.id
        there = [f"{n} " + "x" * random.choice((0, 2000, 20_000)) for n in range(20)]
        back = [text[::-1] for text in there]
        for text in there:
            channel.send(text)
        for text in back:
            talk.ours.send(number, text, talk.loop.time())
        await talk.until(lambda: sum(isinstance(e, Message) for e in talk.events) == len(there))
        await talk.until(lambda: len(talk.heard) == len(back))
        assert [e.message for e in talk.events if isinstance(e, Message)] == there
        assert talk.heard == [(number, text) for text in back]

    run(story, lose=lambda: random.random() < 0.05)
