"""Two associations and a network that loses, doubles, delays and reorders: whatever it does, what
was to be reliable arrives once and in order."""

from collections import Counter
from collections.abc import Sequence
from random import Random

from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from sctp_pair import LIMITS, Pair, Side, make_association
from transceiver.sctp.events import (
    Closed,
    Connected,
    MessageReceived,
    ResetDone,
    Restarted,
    StreamsResetByPeer,
)
from transceiver.sctp.states import State

SMALL = evolve(LIMITS, receive_window=20_000, chunks_ahead=32, packet=300, message=40_000)
"""Bounds that a few messages reach."""
PATIENCE = 100_000.0
"""Seconds of virtual time after which nothing more is expected. With a third of all packets lost
and a window smaller than a message it may well be one packet in ten seconds."""


@frozen
class Weather:
    """What a network does to each packet, by chance of its own seed."""

    seed: int
    loss: float
    copies: float
    spread: float

    def fate(self) -> "Fate":
        return Fate(self, Random(self.seed))


@frozen
class Fate:
    weather: Weather
    chance: Random

    def __call__(self, data: bytes) -> list[float]:
        chance, weather = self.chance, self.weather
        if chance.random() < weather.loss:
            return []
        count = 2 if chance.random() < weather.copies else 1
        return [0.02 + chance.random() * weather.spread for _ in range(count)]


WEATHER = st.builds(
    Weather,
    seed=st.integers(0, 2**32),
    loss=st.sampled_from((0.0, 0.01, 0.1, 0.3)),
    copies=st.sampled_from((0.0, 0.2)),
    spread=st.sampled_from((0.0, 0.01, 0.3, 2.0)),
)


@frozen
class Post:
    """One message of a plan."""

    from_a: bool
    stream: int
    size: int
    ordered: bool
    after: float
    """Seconds since the one before."""


POSTS = st.lists(
    st.builds(
        Post,
        from_a=st.booleans(),
        stream=st.integers(0, 3),
        size=st.one_of(st.integers(1, 50), st.integers(1, 4_000), st.just(30_000)),
        ordered=st.booleans(),
        after=st.sampled_from((0.0, 0.0, 0.001, 0.5)),
    ),
    max_size=25,
)


def body(number: int, size: int) -> bytes:
    """A message that can be told from all others, where it is long enough to say so."""
    return (number.to_bytes(2, "big") * (size // 2 + 1))[: max(size, 2)]


def post(pair: Pair, posts: Sequence[Post], **options: float | int) -> list[tuple[Post, bytes]]:
    """Send all of them, each at its time."""
    sent = []
    for number, one in enumerate(posts):
        pair.run(one.after)
        payload = body(number, one.size)
        side = pair.a if one.from_a else pair.b
        side.association.send(
            one.stream,
            53,
            payload,
            pair.now,
            ordered=one.ordered,
            **options,  # type: ignore[arg-type]
        )
        sent.append((one, payload))
    return sent


def expected(
    sent: Sequence[tuple[Post, bytes]], *, from_a: bool, stream: int, ordered: bool
) -> list[bytes]:
    wanted = (from_a, stream, ordered)
    return [payload for one, payload in sent if (one.from_a, one.stream, one.ordered) == wanted]


def got(side: Side, stream: int, among: Sequence[bytes]) -> list[bytes]:
    return [payload for payload in side.messages(stream) if payload in among]


def check_all_there(pair: Pair, sent: Sequence[tuple[Post, bytes]]) -> None:
    for receiver, from_a in ((pair.b, True), (pair.a, False)):
        for stream in range(4):
            in_order = expected(sent, from_a=from_a, stream=stream, ordered=True)
            loose = expected(sent, from_a=from_a, stream=stream, ordered=False)
            assert got(receiver, stream, in_order) == in_order
            assert Counter(receiver.messages(stream)) == Counter(in_order + loose)


def complete(pair: Pair, sent: Sequence[tuple[Post, bytes]]) -> bool:
    arrived = len(pair.a.messages()) + len(pair.b.messages())
    return arrived == len(sent)


@given(WEATHER, POSTS, st.sampled_from((LIMITS, SMALL)), st.booleans())
@settings(max_examples=100, deadline=None)
def test_everything_arrives_once_and_in_order(
    weather: Weather, posts: list[Post], limits: object, both: bool
) -> None:
    """From the first packet on, with one side beginning or both at once."""
    pair = Pair.make(weather.fate(), limits)  # type: ignore[arg-type]
    pair.a.association.connect(0.0)
    if both:
        pair.b.association.connect(0.0)
    sent = post(pair, posts)
    pair.run(PATIENCE, until=lambda: complete(pair, sent))
    check_all_there(pair, sent)
    pair.run(60)
    check_all_there(pair, sent)
    for side in (pair.a, pair.b):
        assert side.association.state is State.ESTABLISHED
        assert sum(isinstance(event, Connected) for event in side.events) == 1
        assert all(side.association.buffered_amount(stream) == 0 for stream in range(4))


@given(WEATHER, POSTS, st.data())
@settings(max_examples=100, deadline=None)
def test_what_may_be_given_up_holds_up_nothing(
    weather: Weather, posts: list[Post], data: st.DataObject
) -> None:
    """Partial reliability by count and by time: what arrives is what was sent, once and in order,
    and a reliable message after it arrives in any case."""
    pair = Pair.connected(weather.fate())
    if data.draw(st.booleans()):
        sent = post(pair, posts, retransmissions=data.draw(st.integers(0, 2)))
    else:
        sent = post(pair, posts, lifetime=data.draw(st.sampled_from((0.0, 0.1, 1.0))))
    last = {(side, stream): body(1000 + stream, 50) for side in "ab" for stream in range(4)}
    for (name, stream), payload in last.items():
        side = pair.a if name == "a" else pair.b
        side.association.send(stream, 53, payload, pair.now)
    pair.run(
        PATIENCE,
        until=lambda: all(
            payload in (pair.b if name == "a" else pair.a).messages(stream)
            for (name, stream), payload in last.items()
        ),
    )
    for receiver, from_a in ((pair.b, True), (pair.a, False)):
        for stream in range(4):
            in_order = expected(sent, from_a=from_a, stream=stream, ordered=True)
            loose = expected(sent, from_a=from_a, stream=stream, ordered=False)
            arrived = receiver.messages(stream)
            assert body(1000 + stream, 50) in arrived
            counted = Counter(arrived)
            assert set(counted.values()) == {1}
            assert set(arrived) <= {*in_order, *loose, body(1000 + stream, 50)}
            kept = [payload for payload in arrived if payload in in_order]
            assert kept == [payload for payload in in_order if payload in kept]
    if not weather.loss and not weather.spread:
        assert len(pair.a.messages()) + len(pair.b.messages()) <= len(sent) + 8


@given(WEATHER, st.lists(st.integers(0, 6), min_size=1, max_size=5), st.booleans())
@settings(max_examples=60, deadline=None)
def test_streams_begin_again(weather: Weather, lives: list[int], busy: bool) -> None:
    """Each life of a stream ends after all its messages and before those of the next, whatever is
    going on beside."""
    pair = Pair.connected(weather.fate())
    number = 0
    for count in lives:
        for _ in range(count):
            number += 1
            pair.a.association.send(1, 53, body(number, 3000), pair.now)
            if busy:
                pair.a.association.send(2, 53, body(number, 2000), pair.now)
        done = sum(isinstance(event, ResetDone) for event in pair.a.events)
        pair.a.association.reset_streams([1], pair.now)
        # Of the next life already, and held back until the peer has answered.
        number += 1
        pair.a.association.send(1, 53, body(number, 10), pair.now)
        pair.run(
            PATIENCE,
            until=lambda done=done: (  # type: ignore[misc]
                sum(isinstance(event, ResetDone) for event in pair.a.events) > done
            ),
        )
    pair.run(PATIENCE, until=lambda: body(number, 10) in pair.b.messages(1))
    assert pair.a.events.count(ResetDone((1,), True)) == len(lives)
    assert pair.b.events.count(StreamsResetByPeer((1,))) == len(lives)
    story = [
        event.payload if isinstance(event, MessageReceived) else None
        for event in pair.b.events
        if event == StreamsResetByPeer((1,))
        or (isinstance(event, MessageReceived) and event.stream == 1)
    ]
    number = 0
    told: list[bytes | None] = []
    early: list[bytes | None] = []
    for count in lives:
        told += early
        for _ in range(count):
            number += 1
            told.append(body(number, 3000))
        told.append(None)
        number += 1
        early = [body(number, 10)]
    assert story == told + early


@given(WEATHER, POSTS)
@settings(max_examples=60, deadline=None)
def test_what_was_sent_arrives_before_the_end(weather: Weather, posts: list[Post]) -> None:
    pair = Pair.connected(weather.fate())
    sent = [item for item in post(pair, posts) if item[0].from_a]
    pair.a.association.shutdown(pair.now)
    pair.run(
        PATIENCE,
        until=lambda: (
            pair.a.association.state is State.CLOSED and pair.b.association.state is State.CLOSED
        ),
    )
    for stream in range(4):
        in_order = expected(sent, from_a=True, stream=stream, ordered=True)
        assert got(pair.b, stream, in_order) == in_order
        loose = expected(sent, from_a=True, stream=stream, ordered=False)
        assert Counter(pair.b.messages(stream)) == Counter(in_order + loose)
    for side in (pair.a, pair.b):
        assert isinstance(side.others()[-1], Closed)
        assert sum(isinstance(event, Closed) for event in side.events) == 1
        assert side.association.next_timeout() is None


@given(WEATHER, POSTS, POSTS)
@settings(max_examples=60, deadline=None)
def test_a_peer_that_begins_anew_is_told_from_the_old_one(
    weather: Weather, before: list[Post], after: list[Post]
) -> None:
    """What the first incarnation left in the air must not be taken for the second one's."""
    pair = Pair.connected(weather.fate())
    post(pair, before)
    pair.b = Side("b", make_association("b again"))
    pair.b.association.connect(pair.now)
    pair.run(
        PATIENCE,
        until=lambda: (
            any(isinstance(event, Restarted) for event in pair.a.events)
            and pair.b.association.state is State.ESTABLISHED
        ),
    )
    assert pair.a.events.count(Restarted()) == 1
    pair.a.events.clear()
    pair.b.events.clear()
    sent = post(pair, after)
    pair.run(PATIENCE, until=lambda: complete(pair, sent))
    check_all_there(pair, sent)
