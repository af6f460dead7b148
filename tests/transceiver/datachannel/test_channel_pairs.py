"""Data channels between two of our associations, over networks good and bad."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channel_pair import ChannelPair, Fate
from stunroute.trace import Drop
from transceiver.config import ChannelLimits, SctpLimits
from transceiver.datachannel import (
    Closed,
    Drained,
    Dropped,
    Ended,
    Event,
    Message,
    Opened,
    SendBufferFull,
)


def bad(seed: int, loss: float, repeated: float = 0.05, spread: float = 0.05) -> Fate:
    """A network that loses and repeats so many of its packets, and delays each differently."""
    random = Random(seed)

    def fate() -> list[float]:
        copies = 0 if random.random() < loss else 2 if random.random() < repeated else 1
        return [0.01 + random.random() * spread for _ in range(copies)]

    return fate


def told(events: list[Event]) -> list[Event]:
    return [event for event in events if not isinstance(event, Dropped | Drained)]


def messages(events: list[Event], channel: int) -> list[str | bytes]:
    return [
        event.message for event in events if isinstance(event, Message) and event.channel == channel
    ]


def test_open_speak_close() -> None:
    pair = ChannelPair.make()
    number = pair.a.open("label", protocol="p", now=0.0)
    pair.a.send(number, "from a", 0.0)
    pair.run(1.0)
    assert told(pair.heard[0]) == [Opened(number, "label", "p", True, False)]
    assert told(pair.heard[1]) == [
        Opened(number, "label", "p", True, False),
        Message(number, "from a"),
    ]
    pair.b.send(number, b"from b", pair.now)
    pair.b.close(number, pair.now)
    pair.run(2.0)
    assert told(pair.heard[0])[1:] == [Message(number, b"from b"), Closed(number)]
    assert told(pair.heard[1])[2:] == [Closed(number)]


def test_both_ways_before_either_has_heard_of_it() -> None:
    pair = ChannelPair.make(negotiated=((6, "events"),))
    assert pair.a.open("a", now=0.0) == 0
    assert pair.b.open("b", now=0.0) == 1
    for side in (pair.a, pair.b):
        side.send(6, "hello", 0.0)
    pair.run(1.0)
    for heard in pair.heard:
        opened = {event.channel: event for event in heard if isinstance(event, Opened)}
        assert sorted(opened) == [0, 1, 6]
        assert [opened[n].label for n in (0, 1, 6)] == ["a", "b", "events"]
        assert messages(heard, 6) == ["hello"]


@pytest.mark.parametrize("size", [1, 1100, 1175, 1176, 16_385, 65_537, 204_800, 262_144])
def test_sizes(size: int) -> None:
    """SCTP 2: messages above 16 and 64 KiB come whole, as text and as bytes."""
    pair = ChannelPair.make()
    number = pair.a.open("", now=0.0)
    content = Random(size).randbytes(size)
    text = content.hex()[:size]
    pair.a.send(number, content, 0.0)
    pair.a.send(number, text, 0.0)
    pair.run(5.0)
    assert messages(pair.heard[1], number) == [content, text]


def test_a_message_above_what_was_announced() -> None:
    """The peer was told not to. Its channel is closed, the others go on."""
    pair = ChannelPair.make(sctp=SctpLimits(message=10_000))
    pair.a.max_message_size = 0
    numbers = [pair.a.open("", now=0.0) for _ in range(2)]
    pair.a.send(numbers[0], bytes(10_001), 0.0)
    pair.run(2.0)
    pair.a.send(numbers[1], bytes(10_000), pair.now)
    pair.run(2.0)
    for heard in pair.heard:
        assert [e.channel for e in heard if isinstance(e, Closed)] == [numbers[0]]
    assert Dropped(Drop.SCTP_MESSAGE_TOO_LONG) in pair.heard[1]
    assert messages(pair.heard[1], numbers[0]) == []
    assert messages(pair.heard[1], numbers[1]) == [bytes(10_000)]


@given(
    seed=st.integers(0, 1 << 32),
    loss=st.sampled_from([0.0, 0.05, 0.2]),
    rounds=st.integers(1, 4),
    ordered=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_channels_come_and_go_over_a_bad_network(
    seed: int, loss: float, rounds: int, ordered: bool
) -> None:
    """SCTP 1: a number is used again and again, whoever closes, and what comes on it is always of
    the channel it was sent on: every message once, in order if it was to be."""
    pair = ChannelPair.make(bad(seed, loss))
    random = Random(seed)
    for life in range(rounds):
        opener = random.choice((pair.a, pair.b))
        number = opener.open(str(life), ordered=ordered, now=pair.now)
        sent = [f"{life}.{n}" + "x" * random.choice((0, 10, 3000)) for n in range(5)]
        for text in sent:
            opener.send(number, text, pair.now)
        pair.run(random.choice((0.05, 1.0, 20.0)))
        if random.random() < 0.5:
            opener.close(number, pair.now)
        pair.run(60.0)
        other = pair.heard[1 if opener is pair.a else 0]
        opened = Opened(number, str(life), "", ordered, False)
        heard = told(other)[told(other).index(opened) + 1 :]
        texts = [event.message for event in heard if isinstance(event, Message)]
        assert sorted(texts) == sorted(sent)
        if ordered:
            assert texts == sent
        for side in (pair.b, pair.a):
            side.close(number, pair.now)
        pair.run(60.0)
        assert all(told(heard)[-1] == Closed(number) for heard in pair.heard)
    assert pair.a._channels == pair.b._channels == {}


@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=20, deadline=None)
def test_unreliable_channels_over_a_bad_network(seed: int) -> None:
    """SCTP 1: with messages given up under loss the association lives (pion's aborted), nothing
    comes twice or out of order, and what is sent when the network is well again arrives."""
    pair = ChannelPair.make()
    once = pair.a.open("", retransmissions=0, now=0.0)
    brief = pair.a.open("", ordered=False, lifetime=0.1, now=0.0)
    pair.run(1.0)
    pair.fate = bad(seed, 0.1)
    for n in range(60):
        for number in (once, brief):
            pair.a.send(number, f"{n:03}" + "x" * (n % 7) * 500, pair.now)
        pair.run(0.02)
    pair.run(60.0)
    pair.fate = lambda: [0.01]
    for number in (once, brief):
        pair.a.send(number, "999", pair.now)
    pair.run(10.0)
    for number in (once, brief):
        numbers = [str(message)[:3] for message in messages(pair.heard[1], number)]
        assert len(set(numbers)) == len(numbers)
        assert "999" in numbers
    in_order = [str(message)[:3] for message in messages(pair.heard[1], once)]
    assert in_order == sorted(in_order)


def test_a_sender_that_is_too_fast_is_told_when_there_is_room() -> None:
    limits = ChannelLimits(threshold=20_000)
    pair = ChannelPair.make(limits=limits, sctp=SctpLimits(send_buffer=100_000))
    number = pair.a.open("", now=0.0)
    sent = 0
    with pytest.raises(SendBufferFull):
        while True:
            pair.a.send(number, bytes(1000), 0.0)
            sent += 1
    assert pair.a.buffered_amount(number) > limits.threshold
    pair.run(5.0)
    assert pair.heard[0].count(Drained(number)) == 1
    assert pair.a.buffered_amount(number) == 0
    assert messages(pair.heard[1], number) == [bytes(1000)] * sent


def test_the_end() -> None:
    pair = ChannelPair.make()
    number = pair.a.open("", now=0.0)
    pair.run(1.0)
    pair.a.end(pair.now, "that is all")
    pair.run(1.0)
    assert told(pair.heard[0])[-2:] == [Closed(number), Ended("that is all")]
    closed, ended = told(pair.heard[1])[-2:]
    assert closed == Closed(number)
    assert isinstance(ended, Ended)
    assert "that is all" in ended.detail


def test_an_end_before_there_was_a_connection() -> None:
    pair = ChannelPair.make(list)
    number = pair.a.open("", now=0.0)
    pair.run(3.0)
    pair.a.close(number, pair.now)
    pair.a.end(pair.now, "nobody there")
    pair.run(1.0)
    assert told(pair.heard[0]) == [Closed(number), Ended("nobody there")]
    assert pair.a.next_timeout() is None


def test_a_channel_closed_before_there_was_a_connection() -> None:
    pair = ChannelPair.make()
    number = pair.a.open("brief", now=0.0)
    pair.a.send(number, "hello", 0.0)
    pair.a.close(number, 0.0)
    pair.run(2.0)
    assert told(pair.heard[0]) == [Closed(number)]
    assert told(pair.heard[1]) == [
        Opened(number, "brief", "", True, False),
        Message(number, "hello"),
        Closed(number),
    ]


def test_as_many_channels_as_may_be_at_once() -> None:
    pair = ChannelPair.make(limits=ChannelLimits(channels=100))
    numbers = [pair.a.open(str(n), now=0.0) for n in range(100)]
    pair.run(10.0)
    assert [e.channel for e in pair.heard[1] if isinstance(e, Opened)] == numbers
    for number in numbers:
        pair.a.close(number, pair.now)
    pair.run(10.0)
    for heard in pair.heard:
        assert sorted(e.channel for e in heard if isinstance(e, Closed)) == numbers
