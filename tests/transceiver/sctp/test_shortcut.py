"""The short way of packets in says what the long way says.

Two associations with the same past are given the same packets, one of them with the short way shut.
After each, everything they know, tell and send must be the same, down to the last field.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from unittest import mock

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sctp_pair import Pair, events, transmits
from transceiver.config import SctpLimits
from transceiver.sctp import shortcut
from transceiver.sctp.association import Association
from transceiver.sctp.chunks import DATA_HEADER_LENGTH, Chunk, Data, ForwardTsn, Sack
from transceiver.sctp.events import MessageReceived
from transceiver.sctp.packet import encode

LIMITS = SctpLimits(
    receive_window=2000, chunks_ahead=12, message=300, events=8, streams=4, packet=200
)
MASK = 0xFFFF_FFFF


def snapshot(value: object, seen: tuple[int, ...] = ()) -> object:
    """All that ``value`` holds, in a form that can be compared."""
    if id(value) in seen:
        return "see above"
    seen = (*seen, id(value))
    if isinstance(value, Enum) or value is None or isinstance(value, int | float | bytes | str):
        return value
    if attrs.has(type(value)):
        names = [each.name for each in attrs.fields(type(value))]
        fields = {name: snapshot(getattr(value, name), seen) for name in names}
        return type(value).__name__, fields
    if isinstance(value, dict):
        return [(snapshot(key), snapshot(each, seen)) for key, each in value.items()]
    if isinstance(value, list | tuple | deque):
        return [snapshot(each, seen) for each in value]
    return type(value).__name__


@contextmanager
def long_way() -> Iterator[None]:
    with mock.patch.object(shortcut, "receive_untrusted", return_value=False):
        yield


@contextmanager
def watched() -> Iterator[list[bool]]:
    """Whether each packet went the short way."""
    taken: list[bool] = []
    way = shortcut.receive_untrusted

    def watch(*arguments: object, **options: object) -> bool:
        taken.append(way(*arguments, **options))  # type: ignore[arg-type]
        return taken[-1]

    with mock.patch.object(shortcut, "receive_untrusted", watch):
        yield taken


def association(zero: bool = True, limits: SctpLimits = LIMITS) -> Association:
    return Pair.connected(limits=limits, zero=(zero, zero)).a.association


def packet_for(subject: Association, *chunks: Chunk, **changes: int) -> bytes:
    block = subject._block
    checksum = bool(changes.pop("checksum", 0))
    heading = {"source_port": 5000, "destination_port": 5000, "tag": block.tag, **changes}
    return encode(**heading, chunks=chunks, checksum=checksum)


def a_data(subject: Association, ahead: int, **fields: object) -> Data:
    """A whole message on stream 1, ``ahead`` of the next TSN, in its turn."""
    transfer = subject._block.transfer
    assert transfer is not None
    usual: dict[str, object] = {
        "tsn": (transfer.inbound.cumulative + 1 + ahead) & MASK,
        "stream": 1,
        "ssn": 0,
        "ppid": 53,
        "payload": b"hello",
        "beginning": True,
        "ending": True,
    }
    return Data(**{**usual, **fields})  # type: ignore[arg-type]


def a_sack(subject: Association, count: int, window: int = 1500, **fields: object) -> Sack:
    outstanding = subject._block.outbound.outstanding
    return Sack((outstanding.cumulative + count) & MASK, window, **fields)  # type: ignore[arg-type]


# Mostly what goes the short way, for what goes the long one shuts it for a while.
near = st.sampled_from((0,) * 30 + (1, 2, -1, 13, 1 << 31))
some_data = st.fixed_dictionaries(
    {
        "ahead": near,
        "stream": st.sampled_from((1,) * 12 + (2, 9)),
        "ssn": st.sampled_from((None,) * 15 + (0, 1, 0xFFFF)),
        "payload": st.sampled_from((1, 5, 50, 100, 150) * 4 + (0,)),
        "beginning": st.sampled_from((None,) * 15 + (True, False)),
        "ending": st.booleans(),
        "unordered": st.sampled_from((False,) * 5 + (True,)),
        "immediate": st.booleans(),
    }
)
some_sack = st.fixed_dictionaries(
    {
        "count": st.sampled_from((1,) * 8 + (2, 2, 3, 0, 50, -1)),
        "window": st.sampled_from((0, 300, 1500, 100_000)),
        "gaps": st.sampled_from(((),) * 9 + (((2, 2),), ((2, 3),), ((2, 60),))),
        "duplicates": st.sampled_from(((),) * 9 + ((7,),)),
    }
)
steps = st.one_of(
    st.tuples(st.just("packet"), st.none(), some_data),
    st.tuples(st.just("packet"), some_sack, st.none()),
    st.tuples(st.just("packet"), some_sack, some_data),
    st.tuples(st.just("packet"), st.none() | some_sack, st.lists(some_data, max_size=4)),
    st.tuples(st.just("packet"), st.none(), some_data),
    st.tuples(st.just("packet"), some_sack, st.none()),
    st.tuples(st.just("send"), st.integers(1, 300), st.sampled_from((None, None, 0, 1))),
    st.tuples(st.just("fetch"), st.none(), st.none()),
    st.tuples(st.just("wait"), st.sampled_from((0.01, 0.3, 3.0)), st.none()),
    st.tuples(st.just("fetch"), st.none(), st.none()),
    st.tuples(st.just("forward"), st.integers(0, 3), st.none()),
    st.tuples(st.just("reset"), st.integers(0, 2), st.none()),
)
spoilings = st.sampled_from(
    ("none",) * 40 + ("port", "tag", "flip", "short", "padding", "tail", "checksum")
)


def made(
    subject: Association, sack: dict | None, drawn: dict | list[dict] | None, spoiling: str
) -> bytes:
    """A packet of what was drawn, whose place in the sequence hangs on what has come before."""
    chunks: list[Chunk] = []
    if sack is not None:
        chunks.append(a_sack(subject, **sack))
    if not isinstance(drawn, list):
        drawn = [] if drawn is None else [drawn]
    for place, data in enumerate(drawn):
        fields = dict(data, payload=bytes(data["payload"]), ahead=data["ahead"] + place)
        transfer = subject._block.transfer
        assert transfer is not None
        reassembly = transfer.inbound._reassembly
        expected = reassembly._expected.get(fields["stream"], 0)
        if fields["ssn"] is None:
            fields["ssn"] = (expected + place * data["ending"]) & 0xFFFF
        if fields["beginning"] is None:
            fields["beginning"] = place > 0 or not reassembly._by_last
        chunks.append(a_data(subject, **fields))
    changes: dict[str, int] = {"checksum": spoiling in ("checksum", "flip")}
    if spoiling == "port":
        changes["source_port"] = 5001
    if spoiling == "tag":
        changes["tag"] = subject._block.tag ^ 1
    if not chunks:
        chunks.append(a_sack(subject, 0))
    packet = bytearray(packet_for(subject, *chunks, **changes))
    if spoiling == "flip":
        packet[-1] ^= 1
    tail = {"padding": b"\x01", "tail": bytes(8)}.get(spoiling, b"")
    return bytes(packet[: -1 if spoiling == "short" else None]) + tail


def do(subject: Association, step: tuple, packet: bytes, now: float) -> object:
    """Take one step; what can be seen of it."""
    match step:
        case ("send", size, attempts):
            if subject.state.value == "established":
                subject.send(1, 53, bytes(size), now, retransmissions=attempts)
        case ("wait", _, _):
            subject.handle_timeout(now)
        case ("reset", stream, _):
            subject.reset_streams((stream,), now)
        case ("fetch", _, _):
            return snapshot(events(subject))
        case _:
            subject.receive_packet(packet, now)
    return transmits(subject), subject.next_timeout()


@settings(max_examples=100, deadline=None)
@given(st.booleans(), st.lists(st.tuples(steps, spoilings), min_size=10, max_size=40))
def test_the_short_way_and_the_long_one_have_the_same_effects(
    zero: bool, plan: list[tuple[tuple, str]]
) -> None:
    short, long = association(zero), association(zero)
    now = 1.0
    for step, spoiling in plan:
        if short.state.value != "established":
            break
        now += step[1] if step[0] == "wait" else 0.001
        packet = b""
        if step[0] == "packet":
            packet = made(short, step[1], step[2], spoiling)
        elif step[0] == "forward":
            ahead = a_data(short, step[1] - 1).tsn
            packet = packet_for(short, ForwardTsn(ahead, ((1, 0),)))
        seen = do(short, step, packet, now)
        with long_way():
            assert do(long, step, packet, now) == seen
        assert snapshot(short) == snapshot(long)
    assert snapshot(events(short)) == snapshot(events(long))


# --- which packets go it --------------------------------------------------------------------------


def test_messages_fragments_and_acknowledgements_go_the_short_way() -> None:
    subject = association()
    with watched() as taken:
        subject.receive_packet(packet_for(subject, a_data(subject, 0)), 1.0)
        parts = ((True, False), (False, False), (False, True))
        for begins, ends in parts:
            part = a_data(
                subject, 0, ssn=1, payload=bytes(90), beginning=begins, ending=ends, ppid=51
            )
            subject.receive_packet(packet_for(subject, part), 1.0)
        subject.send(1, 53, b"out", 1.0)
        assert transmits(subject)
        both = (a_sack(subject, 1), a_data(subject, 0, ssn=2))
        subject.receive_packet(packet_for(subject, *both), 1.0)
        row = [a_data(subject, place, ssn=3 + place) for place in range(3)]
        subject.receive_packet(packet_for(subject, a_sack(subject, 0), *row), 1.0)
    assert taken == [True] * 6
    heard = events(subject)
    messages = [event.payload for event in heard if isinstance(event, MessageReceived)]
    assert messages == [b"hello", bytes(270), *[b"hello"] * 4]
    assert not subject._block.outbound.outstanding


@pytest.mark.parametrize("checksum", [0, 1])
def test_a_checksum_is_no_obstacle_where_it_is_right(checksum: int) -> None:
    subject = association()
    packet = packet_for(subject, a_data(subject, 0), checksum=checksum)
    with watched() as taken:
        subject.receive_packet(packet, 1.0)
    assert taken == [True]


def test_a_missing_checksum_has_to_be_agreed_on() -> None:
    subject = association(zero=False)
    packet = packet_for(subject, a_data(subject, 0))
    with watched() as taken:
        subject.receive_packet(packet, 1.0)
    assert taken == [False]


@pytest.mark.parametrize(
    "fields",
    [
        {"ahead": 1},
        {"ahead": -1},
        {"ahead": 0, "ssn": 1},
        {"ahead": 0, "stream": 4},
        {"ahead": 0, "payload": b""},
        {"ahead": 0, "payload": bytes(301)},
        {"ahead": 0, "beginning": False},
    ],
)
def test_what_is_out_of_the_ordinary_goes_the_long_way(fields: dict[str, object]) -> None:
    subject = association()
    packet = packet_for(subject, a_data(subject, **fields))  # type: ignore[arg-type]
    before = snapshot(subject)
    block = subject._block
    assert not shortcut.receive_untrusted(block, packet, 1.0, 5000, 5000, True)
    assert snapshot(subject) == before


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 80))
def test_packets_cut_anywhere_change_nothing(length: int) -> None:
    subject = association()
    whole = packet_for(subject, a_sack(subject, 0), a_data(subject, 0, payload=bytes(30)))
    before = snapshot(subject)
    # The last two bytes are padding.
    enough = len(whole) - 2
    assert len(whole) == 12 + 16 + DATA_HEADER_LENGTH + 32
    cut = whole[: min(length, enough - 1)]
    if len(cut) == 28:
        return
    assert not shortcut.receive_untrusted(subject._block, cut, 1.0, 5000, 5000, True)
    assert snapshot(subject) == before


@pytest.mark.parametrize("count", [-1, 0, 1, 2, 3, 4])
def test_a_sack_has_the_same_effects_whatever_it_acknowledges(count: int) -> None:
    short, long = association(), association()
    for subject in (short, long):
        for _ in range(3):
            subject.send(1, 53, bytes(150), 1.0)
        assert len(transmits(subject)) == 3
    packet = packet_for(short, a_sack(short, count, 777))
    with watched() as taken:
        short.receive_packet(packet, 1.1)
    with long_way():
        long.receive_packet(packet, 1.1)
    assert taken == [count <= 3]  # what was never sent goes the long way
    assert snapshot(short) == snapshot(long)
    assert len(short._block.outbound.outstanding) == {-1: 3, 4: 0}.get(count, 3 - count)
