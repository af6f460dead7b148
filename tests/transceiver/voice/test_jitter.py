"""Packets that come unevenly: what is played, when, and what is made of holes."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stunroute.instant import Instant
from transceiver.config import VoiceLimits
from transceiver.voice.codec import FRAME
from transceiver.voice.jitter import (
    DROPOUT,
    MISORDER,
    WINDOW,
    Counters,
    Frame,
    Item,
    JitterBuffer,
    Missing,
    Silence,
)

CLOCK = 48000
TICKS = 960
LIMITS = VoiceLimits()


def name(number: int) -> bytes:
    return number.to_bytes(8, "big", signed=True)


def arrivals(
    numbers: Iterable[int], *, delay: float = 0.0, start: float = 10.0
) -> list[tuple[Instant, int]]:
    return [(start + number * FRAME + delay, number) for number in numbers]


def held_up(numbers: Iterable[int], first: int, until: Instant) -> list[tuple[Instant, int]]:
    """From ``first`` on nothing comes before ``until``; then all of it at once."""
    return [(at if number < first else max(at, until), number) for at, number in arrivals(numbers)]


def run(
    buffer: JitterBuffer,
    packets: Iterable[tuple[Instant, int]],
    until: float,
    *,
    base: int = 2**32 - 3 * TICKS,
) -> list[tuple[Instant, Item]]:
    """Insert 20 ms packets at their arrival, pull every 20 ms once it begins."""
    waiting = sorted(packets, key=lambda entry: entry[0])
    played: list[tuple[Instant, Item]] = []
    due: Instant | None = None
    while True:
        if waiting and (due is None or waiting[0][0] <= due):
            at, number = waiting.pop(0)
            raw = (base + number * TICKS) % 2**32
            buffer.insert(name(number), 1000 + number, raw, TICKS, at)
            due = buffer.begins if due is None else due
        elif due is None or due > until:
            return played
        else:
            played.append((due, buffer.pull(due)))
            due += FRAME


def numbers(played: list[tuple[Instant, Item]]) -> list[int]:
    return [
        int.from_bytes(item.payload, "big", signed=True)
        for _, item in played
        if isinstance(item, Frame)
    ]


def made_up(played: list[tuple[Instant, Item]]) -> list[Item]:
    return [item for _, item in played if not isinstance(item, Frame)]


def test_a_steady_flow_is_held_back_by_the_target() -> None:
    buffer = JitterBuffer(CLOCK)
    played = run(buffer, arrivals(range(100)), 12.03)
    assert numbers(played) == list(range(100))
    assert played[0][0] == pytest.approx(10.0 + LIMITS.target)
    assert made_up(played) == []
    assert buffer.target == LIMITS.target
    assert buffer.counters == Counters(received=100)


def test_time_to_play_has_not_come_before_the_target() -> None:
    buffer = JitterBuffer(CLOCK)
    assert buffer.begins is None
    assert buffer.pull(9.0) == Silence(TICKS)
    buffer.insert(b"first", 1, 0, TICKS, 10.0)
    assert buffer.begins == 10.0 + LIMITS.target
    assert buffer.pull(10.02) == Silence(TICKS)
    assert buffer.pull(10.04) == Frame(b"first")


def test_packets_out_of_order_are_put_in_order() -> None:
    order = [0, 2, 1, 3, 5, 4, 7, 6, 8, 9]
    packets = [(10.0 + at * FRAME, number) for at, number in enumerate(order)]
    played = run(JitterBuffer(CLOCK), packets, 10.23)
    assert numbers(played) == list(range(10))


def test_a_lost_packet_is_a_hole_before_the_packet_that_has_its_copy() -> None:
    buffer = JitterBuffer(CLOCK)
    played = run(buffer, arrivals(n for n in range(10) if n != 5), 10.2)
    assert [item for _, item in played][4:7] == [
        Frame(name(4)),
        Missing(TICKS, name(6)),
        Frame(name(6)),
    ]
    assert buffer.counters == Counters(received=9, lost=1)


def test_of_several_lost_packets_the_last_may_have_a_copy() -> None:
    played = run(JitterBuffer(CLOCK), arrivals([*range(5), *range(7, 12)]), 10.2)
    assert [item for _, item in played][5:8] == [
        Missing(TICKS),
        Missing(TICKS, name(7)),
        Frame(name(7)),
    ]


def test_a_long_hole_is_made_up_at_first_and_then_silent() -> None:
    buffer = JitterBuffer(CLOCK)
    played = run(buffer, arrivals([*range(10), *range(30, 40)]), 10.83)
    hole = made_up(played)
    frames = round(LIMITS.conceal / FRAME)
    assert hole[:frames] == [Missing(TICKS)] * frames
    assert hole[frames:-1] == [Silence(TICKS)] * (19 - frames)
    assert hole[-1] == Missing(TICKS, name(30))
    assert numbers(played) == [*range(10), *range(30, 40)]
    assert buffer.counters.lost == 20


def test_what_was_not_sent_is_silence_for_as_long_as_it_was() -> None:
    """Discontinuous transmission: sequence numbers go on, timestamps leap."""
    buffer = JitterBuffer(CLOCK)
    for number in range(5):
        buffer.insert(name(number), number, number * TICKS, TICKS, 10.0 + number * FRAME)
    played = [(10.04 + n * FRAME, buffer.pull(10.04 + n * FRAME)) for n in range(23)]
    for number in range(5, 8):
        stamp = (number + 20) * TICKS
        buffer.insert(name(number), number, stamp, TICKS, 10.0 + stamp / CLOCK)
    played += [(10.5 + n * FRAME, buffer.pull(10.5 + n * FRAME)) for n in range(6)]
    resumed = [at for at, item in played if item == Frame(name(5))]
    assert resumed == [pytest.approx(10.0 + 25 * FRAME + LIMITS.target)]
    assert numbers(played) == list(range(8))
    assert buffer.counters.lost == 0


def test_after_an_outage_the_delay_is_what_it_was() -> None:
    buffer = JitterBuffer(CLOCK)
    played = run(buffer, arrivals([*range(50), *range(300, 350)]), 17.03)
    at = {number: when for (when, item) in played for number in numbers([(when, item)])}
    assert at[349] == pytest.approx(10.0 + 349 * FRAME + LIMITS.target)
    assert at[300] == pytest.approx(10.0 + 300 * FRAME + LIMITS.target)


def test_a_delay_that_comes_once_loses_nothing() -> None:
    packets = [
        (at if number < 50 else max(at, 11.12), number) for at, number in arrivals(range(80))
    ]
    buffer = JitterBuffer(CLOCK)
    assert numbers(run(buffer, packets, 12.0)) == list(range(80))
    assert buffer.counters.lost == buffer.counters.discarded == 0
    assert buffer.surplus(11.3) + buffer.target > 0.06 or buffer.surplus(11.3) == 0.0


def test_more_than_the_maximum_is_not_held_back() -> None:
    packets = [
        (at if number < 50 else max(at, 12.0), number) for at, number in arrivals(range(200))
    ]
    buffer = JitterBuffer(CLOCK)
    played = run(buffer, packets, 13.9)
    at = {number: when for (when, item) in played for number in numbers([(when, item)])}
    assert 30 < buffer.counters.discarded < 50
    assert len(played) >= 190
    held = [when - 10.0 - number * FRAME for number, when in at.items() if number > 60]
    assert max(held) <= LIMITS.target_maximum + 2 * FRAME
    assert buffer.counters.restarts == 0


def test_jitter_raises_the_target_and_calm_lowers_it() -> None:
    uneven = [(at + (number * 7 % 10) / 100, number) for at, number in arrivals(range(500))]
    buffer = JitterBuffer(CLOCK)
    run(buffer, uneven, 20.0)
    assert 0.1 <= buffer.target <= 0.13
    run(buffer, arrivals(range(500, 3000)), 71.0)
    assert buffer.target == LIMITS.target


def test_one_packet_that_comes_late_does_not_raise_the_target() -> None:
    packets = [
        (at + (0.15 if number == 200 else 0.0), number) for at, number in arrivals(range(400))
    ]
    buffer = JitterBuffer(CLOCK)
    played = run(buffer, packets, 18.03)
    assert buffer.target == LIMITS.target
    assert buffer.counters.late == buffer.counters.lost == 1
    assert numbers(played) == [number for number in range(400) if number != 200]


def test_the_target_stays_in_its_bounds() -> None:
    uneven = [(at + (number * 7 % 10) / 10, number) for at, number in arrivals(range(300))]
    buffer = JitterBuffer(CLOCK)
    run(buffer, uneven, 17.0)
    assert buffer.target == LIMITS.target_maximum


def test_a_path_that_has_become_longer_is_followed() -> None:
    packets = arrivals(range(100)) + arrivals(range(100, 2000), delay=0.15)
    buffer = JitterBuffer(CLOCK)
    played = run(buffer, packets, 50.3)
    assert numbers(played) == list(range(2000))
    assert buffer.target == LIMITS.target
    assert 100 * FRAME + 2 * WINDOW < 20


def test_a_sender_whose_clock_stood_still_is_heard_again() -> None:
    packets = arrivals(range(50)) + arrivals(range(50, 100), delay=5.0)
    buffer = JitterBuffer(CLOCK)
    assert numbers(run(buffer, packets, 17.1)) == list(range(100))
    assert buffer.counters.lost == buffer.counters.restarts == 0


def test_what_comes_when_its_time_has_passed_is_late() -> None:
    buffer = JitterBuffer(CLOCK)
    run(buffer, arrivals(n for n in range(10) if n != 5), 10.2)
    feed(buffer, 1005, 5 * TICKS - 3 * TICKS, 10.21)
    assert buffer.counters == Counters(received=10, lost=1, late=1)


def test_what_comes_when_its_hole_has_been_filled_is_late_though_the_hole_is_longer() -> None:
    buffer = JitterBuffer(CLOCK)
    for number in (0, 3):
        feed(buffer, number, number * TICKS, 10.0)
    assert buffer.pull(10.04) == Frame(name(0))
    assert buffer.pull(10.06) == Missing(TICKS)
    feed(buffer, 1, TICKS, 10.061)
    assert buffer.pull(10.08) == Missing(TICKS, name(3))
    assert buffer.pull(10.1) == Frame(name(3))
    assert buffer.counters == Counters(received=3, lost=2, late=1)


def test_what_is_lost_among_what_is_given_up_is_lost() -> None:
    packets = [entry for entry in held_up(range(200), 50, 12.0) if entry[1] not in (60, 61, 120)]
    buffer = JitterBuffer(CLOCK)
    run(buffer, packets, 13.9)
    assert buffer.counters.lost == 3


def test_lateness_can_be_counted_for_ever() -> None:
    buffer = JitterBuffer(CLOCK)
    buffer._weight = buffer._total = 1e308
    run(
        buffer, [(at + (n * 7 % 10) / 100, n) for n, (at, _) in enumerate(arrivals(range(500)))], 20
    )
    assert buffer._total < 1e12


def test_duplicates_are_counted_and_not_played() -> None:
    packets = sorted(arrivals(range(20)) + arrivals(range(20), delay=0.001))
    buffer = JitterBuffer(CLOCK)
    assert numbers(run(buffer, packets, 10.43)) == list(range(20))
    assert buffer.counters == Counters(received=40, duplicates=20)


def feed(buffer: JitterBuffer, sequence: int, timestamp: int, now: Instant) -> None:
    buffer.insert(name(sequence), sequence, timestamp % 2**32, TICKS, now)


@pytest.mark.parametrize(
    ("sequence", "timestamp"),
    [
        (19 - MISORDER - 1, 20 * TICKS),  # sequence numbers leap back
        (19 + DROPOUT + 1, 20 * TICKS),  # or too far ahead
        (20, -(2**30)),  # or timestamps back
        (5_000_000, 2**31 + 17),
    ],
)
def test_another_source_begins_anew(sequence: int, timestamp: int) -> None:
    buffer = JitterBuffer(CLOCK)
    for number in range(20):
        feed(buffer, number, number * TICKS, 10.0 + number * FRAME)
        if number >= 2:
            buffer.pull(10.0 + number * FRAME)
    for number in range(10):
        now = 10.4 + number * FRAME
        feed(buffer, sequence + number, timestamp + number * TICKS, now)
    assert buffer.begins == 10.4 + buffer.target
    assert [buffer.pull(10.44 + n * FRAME) for n in range(10)] == [
        Frame(name(sequence + n)) for n in range(10)
    ]
    assert buffer.counters.restarts == 1
    assert buffer.counters.discarded == 2


def test_timestamps_that_leap_ahead_are_followed() -> None:
    buffer = JitterBuffer(CLOCK)
    played = []
    for number in range(60):
        now = 10.0 + number * FRAME
        feed(buffer, number, (number + (500_000 if number >= 30 else 0)) * TICKS, now)
        if number >= 2:
            played.append((now, buffer.pull(now)))
    last = numbers(played)[-20:]
    assert last == list(range(last[0], last[0] + 20))
    assert last[-1] >= 56
    assert buffer.counters.restarts == 0


def test_one_absurd_timestamp_does_not_deafen() -> None:
    for absurd in (2**31 - 1, 2**31, 2**30, 3 * 2**30, 48000, -48000):
        buffer = JitterBuffer(CLOCK)
        played = []
        for number in range(100):
            now = 10.0 + number * FRAME
            feed(buffer, number, number * TICKS + (absurd if number == 50 else 0), now)
            if number >= 2:
                played.append((now, buffer.pull(now)))
        last = numbers(played)[-25:]
        assert last == list(range(last[0], last[0] + 25)), absurd
        assert last[-1] >= 96


@pytest.mark.parametrize("ticks", [120, 480, 960, 1920, 2880, 5760])
def test_packets_may_be_of_any_length(ticks: int) -> None:
    buffer = JitterBuffer(CLOCK)
    count, played, position = 48000 // ticks, [], 0.0
    arriving = [(10.0 + number * ticks / CLOCK, number) for number in range(count)]
    now = 10.0
    while len(played) < count:
        while arriving and arriving[0][0] <= now + 1e-9:
            at, number = arriving.pop(0)
            buffer.insert(name(number), number, number * ticks, ticks, at)
        while now >= 10.04 and position <= now + 1e-9:
            position = max(position, now)
            item = buffer.pull(now)
            assert isinstance(item, Frame)
            played.append(item.payload)
            position += ticks / CLOCK
        now += 0.0025
    assert played == [name(number) for number in range(count)]


def test_what_is_made_up_is_not_as_short_as_the_shortest_packet() -> None:
    """A packet of one sample would have all that follows it made up sample by sample."""
    buffer = JitterBuffer(8000)
    buffer.insert(b"s", 1, 0, 1, 0.0)
    assert buffer.pull(0.04) == Frame(b"s")
    items = [buffer.pull(0.04) for _ in range(10)]
    assert [item.ticks for item in items if isinstance(item, Missing | Silence)] == [20] * 10


def test_the_buffer_is_bounded_and_the_oldest_goes() -> None:
    buffer = JitterBuffer(CLOCK, VoiceLimits(packets=10))
    for number in range(25):
        buffer.insert(name(number), number, number * 120, 120, 10.0)
    assert buffer.counters.discarded == 15
    assert buffer.pull(10.04) == Frame(name(15))


def test_restarting_forgets_what_waits() -> None:
    buffer = JitterBuffer(CLOCK)
    feed(buffer, 1, 0, 10.0)
    buffer.restart()
    assert buffer.begins is None
    assert buffer.pull(20.0) == Silence(TICKS)
    assert buffer.surplus(20.0) == 0.0
    feed(buffer, 2, 0, 30.0)
    assert buffer.begins == 30.0 + buffer.target


# --- any network ------------------------------------------------------------------------------

NETWORK = st.lists(
    st.one_of(
        st.none(),  # lost
        st.tuples(st.floats(0, 0.3), st.integers(0, 2)),  # late, and how many copies of it
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=100)
@given(NETWORK)
def test_whatever_the_network_does_packets_are_played_once_and_in_order(
    network: list[tuple[float, int] | None],
) -> None:
    buffer = JitterBuffer(CLOCK)
    packets = [
        (10.0 + number * FRAME + fate[0] + copy * 0.01, number)
        for number, fate in enumerate(network)
        if fate is not None
        for copy in range(fate[1] + 1)
    ]
    played = run(buffer, packets, 13.0)
    order = numbers(played)
    assert order == sorted(set(order))
    assert set(order) <= {number for _, number in packets}
    counters = buffer.counters
    assert counters.received == len(packets)
    assert len(order) + counters.duplicates + counters.late + counters.discarded == len(packets)
    assert all(item.ticks > 0 for item in made_up(played))  # type: ignore[union-attr]
    assert LIMITS.target <= buffer.target <= LIMITS.target_maximum
    if order and not counters.discarded:
        assert counters.lost == order[-1] - order[0] + 1 - len(order)


@settings(max_examples=100)
@given(st.lists(st.floats(0, 0.019), min_size=1, max_size=80))
def test_jitter_below_a_frame_is_not_heard(delays: list[float]) -> None:
    buffer = JitterBuffer(CLOCK)
    packets = [(10.0 + n * FRAME + delay, n) for n, delay in enumerate(delays)]
    played = run(buffer, packets, 10.0 + len(delays) * FRAME + 0.0199)
    assert made_up(played) == []
    assert numbers(played) == list(range(len(numbers(played))))


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.integers(-(2**17), 2**17),
            st.integers(0, 2**32 - 1),
            st.sampled_from([1, 7, 120, 960, 5760]),
            st.floats(0, 3),
            st.integers(0, 4),
        ),
        max_size=40,
    )
)
def test_hostile_numbers_do_no_harm(packets: list[tuple[int, int, int, float, int]]) -> None:
    limits = VoiceLimits(packets=8)
    buffer, now = JitterBuffer(CLOCK, limits), 10.0
    frames = 0
    for sequence, timestamp, ticks, pause, pulls in packets:
        now += pause
        buffer.insert(b"x", sequence, timestamp, ticks, now)
        for _ in range(pulls):
            match buffer.pull(now):
                case Frame():
                    frames += 1
                case Missing(ticks=size) | Silence(ticks=size):
                    assert 0 < size <= 5760
            assert abs(buffer.surplus(now)) < float("inf")
            now += FRAME
    counters = buffer.counters
    gone = frames + counters.late + counters.duplicates + counters.discarded
    assert 0 <= counters.received - gone <= limits.packets
