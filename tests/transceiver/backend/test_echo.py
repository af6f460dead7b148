"""The echo: what comes back, when, and in which order."""

from heapq import heappop, heappush
from itertools import pairwise

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from stunroute.errors import ConfigError
from transceiver.backend import echo as echo_module
from transceiver.backend.echo import RESYNCHRONISE, Echo, EchoOptions
from transceiver.backend.interface import CallRequest
from transceiver.backend.playout import Playout
from transceiver.backend.registry import named
from transceiver.events import (
    AudioReceived,
    ChannelClosed,
    ChannelDrained,
    Ended,
    EndReason,
    Established,
    MessageReceived,
)

WRAP = 1 << 32
FRAME = 960  # 20 ms of Opus


@define(eq=False)
class Call:
    """A call on a virtual clock."""

    time: float = 1000.0
    carries: bool = True
    id: str = "rtc_test"
    codec: str = "opus"
    clock_rate: int = 48000
    request: CallRequest = field(factory=CallRequest)
    sent: list = field(factory=list)
    timers: list = field(factory=list)

    def now(self):
        return self.time

    def call_at(self, when, callback):
        entry = [when, len(self.timers), callback]
        heappush(self.timers, entry)

        def cancel():
            entry[2] = lambda: None

        return cancel

    def send_audio(self, payload, timestamp, marker=False):
        if self.carries:
            self.sent.append((self.time, payload, timestamp, marker))
        return self.carries

    def hang_up(self):
        raise AssertionError("an echo does not hang up")

    def advance(self, seconds):
        until = self.time + seconds
        while self.timers and self.timers[0][0] <= until:
            when, _, callback = heappop(self.timers)
            self.time = max(self.time, when)
            callback()
        self.time = until

    @property
    def stamps(self):
        return [stamp for _, _, stamp, _ in self.sent]

    @property
    def payloads(self):
        return [payload for _, payload, _, _ in self.sent]


def audio(timestamp, payload=b"x", marker=False, clock_rate=48000):
    return AudioReceived("rtc_test", "opus", payload, 0, timestamp % WRAP, clock_rate, marker)


def test_without_a_delay_a_frame_goes_back_at_once():
    call = Call()
    echo = Echo(call)
    echo.receive(Established("rtc_test", "AEAD_AES_128_GCM"))
    echo.receive(audio(100, b"one", marker=True))
    call.advance(0.02)
    echo.receive(audio(100 + FRAME, b"two"))
    assert call.sent == [(1000.0, b"one", 100, True), (1000.02, b"two", 100 + FRAME, False)]
    assert call.timers == []


def test_the_delay_holds_for_every_frame():
    call = Call()
    echo = Echo(call, EchoOptions(delay=1.5))
    arrivals = []
    for index in range(200):
        echo.receive(audio(index * FRAME, bytes([index])))
        arrivals.append(call.time)
        call.advance(0.02)
        assert len([entry for entry in call.timers if entry[0] > call.time]) <= 1
    call.advance(2)
    assert call.stamps == [index * FRAME for index in range(200)]
    for (at, *_), arrival in zip(call.sent, arrivals, strict=True):
        assert at == pytest.approx(arrival + 1.5)


def test_reordered_and_doubled_frames_never_go_out_backwards():
    call = Call()
    echo = Echo(call)
    for stamp in (0, 2, 1, 2, 3, 3, 0, 4):
        echo.receive(audio(stamp * FRAME))
    assert call.stamps == [0, 2 * FRAME, 3 * FRAME, 4 * FRAME]
    assert echo.playout.late == 4


def test_the_timestamp_wraps_without_a_gap():
    call = Call()
    echo = Echo(call)
    start = WRAP - 2 * FRAME
    for index in (0, 1, 2, 4, 3, 5):  # reordered across the wrap
        echo.receive(audio(start + index * FRAME))
        call.advance(0.02)
    assert call.stamps == [start + index * FRAME for index in (0, 1, 2, 4, 5)]


def test_silence_keeps_its_gap_and_the_marker():
    call = Call()
    echo = Echo(call)
    echo.receive(audio(0, marker=True))
    call.advance(60)
    echo.receive(audio(60 * 48000, marker=True))
    call.advance(0.02)
    echo.receive(audio(60 * 48000 + FRAME))
    assert [(stamp, marker) for _, _, stamp, marker in call.sent] == [
        (0, True),
        (60 * 48000, True),
        (60 * 48000 + FRAME, False),
    ]


@pytest.mark.parametrize("jump", [1 << 31, (1 << 31) + 1, WRAP - 6 * 48000, 6 * 48000 + FRAME])
def test_a_new_source_goes_on_where_the_old_one_stopped(jump):
    call = Call()
    echo = Echo(call)
    echo.receive(audio(500))
    call.advance(0.02)
    for index in range(3):
        echo.receive(audio(500 + jump + index * FRAME))
        call.advance(0.02)
    assert call.stamps == [500, 500 + FRAME, 500 + 2 * FRAME, 500 + 3 * FRAME]
    assert [marker for *_, marker in call.sent] == [True, True, False, False]


def test_a_late_frame_within_the_tolerance_is_no_new_source():
    call = Call()
    echo = Echo(call)
    echo.receive(audio(10 * 48000))
    echo.receive(audio(10 * 48000 - int((RESYNCHRONISE - 1) * 48000)))
    assert call.stamps == [10 * 48000]


def test_the_queue_is_bounded_and_refuses_the_newcomer():
    call = Call()
    echo = Echo(call, EchoOptions(delay=1.0, frames=3))
    for index in range(5):
        echo.receive(audio(index * FRAME))
    assert echo.playout.waiting == 3
    assert echo.playout.refused == 2
    call.advance(1.0)
    assert call.stamps == [0, FRAME, 2 * FRAME]


def test_the_end_empties_the_queue():
    call = Call()
    echo = Echo(call, EchoOptions(delay=1.0))
    echo.receive(audio(0))
    echo.receive(Ended("rtc_test", EndReason.HANGUP, ""))
    call.advance(5)
    assert call.sent == []
    assert echo.playout.waiting == 0


@settings(max_examples=100, deadline=None)
@given(
    start=st.integers(0, WRAP - 1),
    steps=st.lists(
        st.tuples(st.integers(-WRAP, WRAP), st.floats(0, 100), st.booleans()), max_size=50
    ),
    delay=st.sampled_from([0.0, 0.5]),
)
def test_whatever_arrives_the_echo_only_goes_forward(start, steps, delay):
    call = Call()
    echo = Echo(call, EchoOptions(delay=delay, frames=8))
    stamp = start
    for step, pause, marker in steps:
        echo.receive(audio(stamp, marker=marker))
        call.advance(pause)
        stamp += step
    call.advance(1)
    stamps = call.stamps
    assert all(earlier < later for earlier, later in pairwise(stamps))
    assert echo.playout.waiting == 0
    assert len(stamps) + echo.playout.late + echo.playout.refused == len(steps)


# Playout


def test_position_follows_what_was_sent():
    call = Call()
    playout = Playout(call)
    assert playout.position is None
    assert playout.play(b"a", 0, True, call.time + 0.1)
    assert playout.play(b"b", 960, False, call.time + 0.2)
    assert playout.position is None
    call.advance(0.1)
    assert playout.position == 0
    call.advance(0.1)
    assert playout.position == 960


def test_flush_lets_go_and_playing_goes_on_from_the_position():
    call = Call()
    playout = Playout(call)
    playout.play(b"a", 0, True, call.time)
    for index in range(1, 4):
        playout.play(b"b", index * 960, False, call.time + index)
    assert playout.flush() == 3
    assert playout.flush() == 0
    assert playout.position == 0
    assert playout.play(b"c", 960, True, call.time + 0.5)
    call.advance(10)
    assert call.payloads == [b"a", b"c"]


def test_a_frame_due_now_waits_behind_those_before_it():
    call = Call()
    playout = Playout(call)
    playout.play(b"a", 0, True, call.time + 1)
    playout.play(b"b", 960, False, call.time)
    assert call.sent == []
    call.advance(1)
    assert call.payloads == [b"a", b"b"]


def test_what_the_call_cannot_carry_moves_no_position():
    call = Call(carries=False)
    playout = Playout(call)
    assert playout.play(b"a", 0, True, call.time)
    assert playout.position is None


# Configuration


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"delay": -1.0}, "backend.options.delay"),
        ({"delay": 61.0}, "backend.options.delay"),
        ({"delay": float("nan")}, "backend.options.delay"),
        ({"delay": "soon"}, "backend.options.delay"),
        ({"frames": 0}, "backend.options.frames"),
        ({"dleay": 1.0}, "backend.options.dleay"),
    ],
)
def test_options_that_make_no_sense_are_named(options, key):
    with pytest.raises(ConfigError) as caught:
        named("echo", options)
    assert caught.value.key == key


def test_an_unknown_backend_is_named():
    with pytest.raises(ConfigError, match=r"^backend\.name: .*echo"):
        named("choe", {})


def test_configuration_makes_an_echo():
    call = Call()
    backend = named("echo", {"delay": 0.25})(call)
    backend.receive(audio(0))
    call.advance(0.2)
    assert call.sent == []
    call.advance(0.1)
    assert call.stamps == [0]


@define(eq=False)
class Narrow(Call):
    """A call whose channels hold ``room`` messages each, and none longer than ten characters."""

    room: int = 2
    back: list = field(factory=list)
    held: dict = field(factory=dict)

    def send_message(self, channel, message):
        if self.held.get(channel, 0) >= self.room or len(message) > 10:
            return False
        self.held[channel] = self.held.get(channel, 0) + 1
        self.back.append((channel, message))
        return True

    def buffered_amount(self, channel):
        return self.held.get(channel, 0)


def message(channel, text):
    return MessageReceived("rtc_test", channel, text)


def test_messages_go_back_in_order_as_there_is_room():
    call = Narrow()
    echo = Echo(call)
    for number in range(7):
        echo.receive(message(2, f"m{number}"))
    echo.receive(message(4, "other"))
    assert call.back == [(2, "m0"), (2, "m1"), (4, "other")]
    for _ in range(3):
        call.held.clear()
        echo.receive(ChannelDrained("rtc_test", 2))
    assert [text for channel, text in call.back if channel == 2] == [f"m{n}" for n in range(7)]
    assert echo.lost == 0
    echo.receive(message(2, "after"))
    assert call.back[-1] == (2, "after")


def test_a_message_that_the_client_does_not_take_is_counted_and_holds_up_nobody():
    call = Narrow()
    echo = Echo(call)
    echo.receive(message(2, "much too long"))
    assert echo.lost == 1
    for text in ("a", "b", "too long as well", "c"):
        echo.receive(message(2, text))
    call.held.clear()
    echo.receive(ChannelDrained("rtc_test", 2))
    echo.receive(ChannelDrained("rtc_test", 2))
    assert call.back == [(2, "a"), (2, "b"), (2, "c")]
    assert echo.lost == 2


def test_what_waits_is_bounded_and_goes_with_its_channel(monkeypatch):
    monkeypatch.setattr(echo_module, "WAITING", 30)
    call = Narrow(room=1)
    echo = Echo(call)
    for number in range(6):
        echo.receive(message(2, f"message {number}"))
    assert echo.lost == 2
    echo.receive(ChannelClosed("rtc_test", 2))
    call.held.clear()
    echo.receive(ChannelDrained("rtc_test", 4))
    assert call.back == [(2, "message 0")]
    echo.receive(message(6, "fresh"))
    echo.receive(message(6, "one more"))
    assert echo.lost == 2
