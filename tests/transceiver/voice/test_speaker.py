"""Packets at the pace of speech: grid, timestamps, utterances, interruption."""

import itertools

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from stunroute.instant import Instant
from transceiver.config import VoiceLimits
from transceiver.voice.codec import CODECS, FRAME, RATES, make_decoder
from transceiver.voice.speaker import (
    CATCH_UP,
    RUN_DRY,
    TAIL,
    UTTERANCES,
    Flushed,
    Packet,
    Speaker,
    SpeakerEvent,
    UtteranceEnded,
    UtteranceStarted,
)
from voices import samples, tone

TICKS = 160
SILENCE = b"\xd5" * 160  # in PCMA


@define
class Sent:
    """A speaker with its driver: what went out, and when."""

    speaker: Speaker
    now: Instant = 100.0
    packets: list[tuple[Instant, Packet]] = field(factory=list)
    events: list[SpeakerEvent] = field(factory=list)

    def drain(self) -> None:
        while (packet := self.speaker.next_packet(self.now)) is not None:
            self.packets.append((self.now, packet))
        while (event := self.speaker.next_event()) is not None:
            self.events.append(event)
        due = self.speaker.next_timeout()
        assert due is None or due > self.now, "it would be woken again and again"

    def until(self, when: Instant) -> None:
        """Wake whenever it is due."""
        while (due := self.speaker.next_timeout()) is not None and due <= when:
            self.now = max(due, self.now)
            self.drain()
        self.now = when
        self.drain()

    def play(self, pcm: bytes) -> None:
        self.speaker.play(pcm, self.now)
        self.drain()

    def finish(self) -> bool:
        done = self.speaker.finish(self.now)
        self.drain()
        return done

    def flush(self) -> Flushed:
        flushed = self.speaker.flush(self.now)
        self.drain()
        return flushed

    @property
    def sound(self) -> list[tuple[Instant, Packet]]:
        return [(at, packet) for at, packet in self.packets if packet.payload != SILENCE]


def voice(limits: VoiceLimits | None = None) -> Sent:
    return Sent(Speaker("PCMA", 8000, 8000, limits or VoiceLimits()))


def pcm(seconds: float) -> bytes:
    """Sound of which no 20 ms are silent."""
    return b"\x00\x10" * round(8000 * seconds)


def test_sound_goes_out_at_the_pace_of_speech() -> None:
    line = voice()
    line.play(pcm(1.0))
    assert line.finish()
    line.until(102.0)
    assert [round(at - 100, 6) for at, _ in line.sound] == [round(n * FRAME, 6) for n in range(50)]
    assert [packet.timestamp for _, packet in line.packets] == [n * TICKS for n in range(50 + TAIL)]
    assert [packet.marker for _, packet in line.packets] == [True] + [False] * (49 + TAIL)
    assert line.events == [UtteranceStarted(), UtteranceEnded(1.0, True)]
    assert line.speaker.next_timeout() is None


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("rate", RATES)
def test_what_is_heard_is_what_was_played(codec: str, rate: int) -> None:
    clock = 48000 if codec == "opus" else 8000
    line = Sent(Speaker(codec, clock, rate))
    line.play(tone(rate, 0.5))
    line.finish()
    line.until(101.0)
    steps = {
        after.timestamp - before.timestamp
        for (_, before), (_, after) in itertools.pairwise(line.packets)
    }
    assert steps == {clock // 50}
    decoder = make_decoder(codec, rate)
    heard = [decoder.decode_untrusted(packet.payload) for _, packet in line.packets]
    assert len(heard) == 25 + TAIL
    assert abs(samples(heard[10])).max() > 5000
    assert abs(samples(heard[-1])).max() < 200


def test_sound_may_come_in_pieces_of_any_length() -> None:
    whole, pieces = voice(), voice()
    sound = tone(8000, 0.31)
    whole.play(sound)
    at, size = 0, 1
    while at < len(sound):
        pieces.play(sound[at : at + size])
        at, size = at + size, size * 3 % 701 + 1
    for line in (whole, pieces):
        line.finish()
        line.until(101.0)
    assert whole.packets == pieces.packets
    assert whole.events == pieces.events == [UtteranceStarted(), UtteranceEnded(0.31, True)]


def test_the_last_piece_is_padded_and_counts_for_what_it_is() -> None:
    line = voice()
    line.play(pcm(0.025))
    line.until(100.1)
    assert len(line.sound) == 1
    line.finish()
    line.until(101.0)
    assert len(line.sound) == 2
    assert line.sound[1][1].payload[40:] == b"\xd5" * 120
    assert line.events == [UtteranceStarted(), UtteranceEnded(0.025, True)]


def test_an_utterance_that_nobody_finishes_ends_when_its_sound_has_run_out() -> None:
    line = voice()
    line.play(pcm(0.05))
    line.until(100.04 + RUN_DRY - 0.01)
    assert line.events == [UtteranceStarted()]
    assert line.speaker.speaking
    assert len(line.sound) == 2
    line.until(100.04 + RUN_DRY + 0.01)
    assert line.events == [UtteranceStarted(), UtteranceEnded(0.05, False)]
    assert len(line.sound) == 3
    assert not line.speaker.speaking
    assert not line.finish()


def test_finishing_what_has_run_out_ends_it_at_once() -> None:
    line = voice()
    line.play(pcm(0.04))
    line.until(100.2)
    assert line.events == [UtteranceStarted()]
    assert line.finish()
    assert line.events == [UtteranceStarted(), UtteranceEnded(0.04, True)]


def test_there_is_nothing_to_finish_before_something_is_said() -> None:
    line = voice()
    assert not line.finish()
    line.play(b"")
    assert not line.finish()
    assert line.events == []
    assert line.speaker.next_timeout() is None


def test_what_is_too_short_to_be_heard_begins_and_ends_all_the_same() -> None:
    line = voice()
    line.play(b"\x01")
    assert line.finish()
    assert line.events == [UtteranceStarted(), UtteranceEnded(0.0, True)]
    assert line.packets == []
    assert line.speaker.waiting == 0.0


def test_utterances_follow_one_another() -> None:
    line = voice()
    for seconds in (0.05, 0.02, 0.1):
        line.play(pcm(seconds))
        line.finish()
    line.until(101.0)
    ends = [UtteranceEnded(seconds, True) for seconds in (0.05, 0.02, 0.1)]
    assert line.events == [step for end in ends for step in (UtteranceStarted(), end)]
    assert [packet.timestamp for _, packet in line.sound] == [n * TICKS for n in range(9)]
    assert [packet.marker for _, packet in line.sound] == [True] + [False] * 8


def test_utterances_are_bounded() -> None:
    line = voice()
    for _ in range(3 * UTTERANCES):
        line.play(pcm(0.02))
        assert line.finish()
    line.until(120.0)
    ends = [event for event in line.events if isinstance(event, UtteranceEnded)]
    assert len(ends) <= UTTERANCES + 1
    assert sum(end.played for end in ends) == pytest.approx(3 * UTTERANCES * FRAME)


# --- interruption -----------------------------------------------------------------------------


def test_a_flush_silences_within_one_frame_and_says_how_much_was_heard() -> None:
    line = voice()
    line.play(pcm(10.0))
    line.until(101.005)
    assert line.speaker.played == pytest.approx(1.02)
    assert line.flush() == Flushed(pytest.approx(1.02), pytest.approx(8.98))
    assert (line.speaker.played, line.speaker.waiting) == (0.0, 0.0)
    line.until(105.0)
    assert line.sound[-1][0] == pytest.approx(101.0)
    after = [packet for at, packet in line.packets if at > 101.005]
    assert [packet.payload for packet in after] == [SILENCE] * TAIL
    assert line.events == [UtteranceStarted()]
    assert line.speaker.next_timeout() is None


def test_rtp_time_goes_on_through_a_flush_and_the_marker_shows_the_resumption() -> None:
    line = voice()
    line.play(pcm(1.0))
    line.until(100.1)
    line.flush()
    line.until(103.0)
    line.play(pcm(0.1))
    line.until(103.5)
    resumed = [(at, packet) for at, packet in line.sound if at >= 103.0]
    assert resumed[0][1].timestamp == 3 * 8000
    assert [packet.marker for _, packet in resumed] == [True, False, False, False, False]


def test_what_is_said_at_once_after_a_flush_has_the_marker_and_the_next_slot() -> None:
    line = voice()
    line.play(pcm(1.0))
    line.until(100.1)
    line.flush()
    line.play(pcm(0.1))
    line.finish()
    line.until(101.0)
    assert [packet.timestamp for _, packet in line.packets] == [
        n * TICKS for n in range(len(line.packets))
    ]
    assert [n for n, (_, packet) in enumerate(line.packets) if packet.marker] == [0, 6]
    assert line.events == [UtteranceStarted(), UtteranceStarted(), UtteranceEnded(0.1, True)]


def test_a_flush_takes_all_that_waits() -> None:
    line = voice()
    for _ in range(3):
        line.play(pcm(1.0))
        line.finish()
    line.until(100.5)
    assert line.flush() == Flushed(pytest.approx(0.52), pytest.approx(2.48))


def test_a_flush_of_nothing_does_nothing() -> None:
    line = voice()
    assert line.flush() == Flushed(0.0, 0.0)
    line.play(pcm(0.01))
    assert line.flush() == Flushed(0.0, pytest.approx(0.01))
    line.until(102.0)
    assert (line.packets, line.events) == ([], [])


# --- time -------------------------------------------------------------------------------------


def test_pauses_are_as_long_in_rtp_as_they_were() -> None:
    line = voice()
    for begin in (100.0, 101.0, 105.12345, 3700.0):
        line.until(begin)
        line.play(pcm(0.04))
        line.finish()
    line.until(3702.0)
    starts = [(at, packet) for at, packet in line.sound if packet.marker]
    assert [round((at - 100) * 8000) for at, _ in starts] == [
        packet.timestamp for _, packet in starts
    ]
    assert len(starts) == 4


def test_a_late_wake_up_is_made_good_up_to_the_bound() -> None:
    line = voice()
    line.play(pcm(2.0))
    line.now = 100.02 + CATCH_UP - 0.005
    line.drain()
    assert [packet.timestamp for _, packet in line.packets] == [0, TICKS, 2 * TICKS, 3 * TICKS]
    line.until(100.5)
    assert len(line.packets) == 26
    assert not any(packet.marker for _, packet in line.packets[1:])


def test_a_stall_moves_the_grid_instead_of_sending_a_burst() -> None:
    line = voice()
    line.play(pcm(2.0))
    line.now = 101.0
    line.drain()
    assert [packet.timestamp for _, packet in line.packets] == [0, 8000]
    assert line.packets[1][1].marker
    line.until(101.1)
    assert len(line.packets) == 7


def test_sound_that_comes_a_little_late_keeps_its_place() -> None:
    line = voice()
    for number in range(20):
        line.until(100.0 + number * FRAME + (0.0, 0.015, 0.03)[number % 3])
        line.play(pcm(FRAME))
    assert [packet.timestamp for _, packet in line.packets] == [n * TICKS for n in range(20)]
    assert [packet.marker for _, packet in line.packets] == [True] + [False] * 19


def test_sound_that_is_missing_for_longer_gives_way_to_silence() -> None:
    line = voice()
    line.play(pcm(0.1))
    line.until(100.2)
    quiet = [(at, packet) for at, packet in line.packets if packet.payload == SILENCE]
    assert [at for at, _ in quiet] == [
        pytest.approx(100.1 + CATCH_UP + n * FRAME) for n in range(len(quiet))
    ]
    assert len(quiet) == 3
    line.play(pcm(0.1))
    line.until(100.25)
    marked = [packet.timestamp for _, packet in line.packets if packet.marker]
    assert len(marked) == 2
    assert line.events == [UtteranceStarted()]


# --- bounds -----------------------------------------------------------------------------------


def test_the_oldest_goes_when_too_much_waits_and_is_counted() -> None:
    line = voice(VoiceLimits(queue=1.0))
    loud, soft = b"\x00\x40" * 8000, b"\x00\x10" * 8000
    line.speaker.play(loud, line.now)
    line.speaker.play(soft, line.now)
    assert (line.speaker.waiting, line.speaker.lost) == (1.0, 1.0)
    line.drain()
    assert line.packets[0][1].payload == voice_payload(soft[:320])
    line.finish()
    line.until(102.0)
    assert line.events[-1] == UtteranceEnded(1.0, True)


def voice_payload(frame: bytes) -> bytes:
    line = voice()
    line.play(frame)
    return line.packets[0][1].payload


def test_utterances_that_are_lost_whole_still_begin_and_end() -> None:
    line = voice(VoiceLimits(queue=1.0))
    line.speaker.play(pcm(0.5), line.now)
    line.speaker.finish(line.now)
    line.speaker.play(pcm(2.0), line.now)
    line.drain()
    assert line.events == [UtteranceStarted(), UtteranceEnded(0.0, True), UtteranceStarted()]
    assert line.speaker.lost == pytest.approx(1.5)


# --- any order of anything --------------------------------------------------------------------

STEPS = st.one_of(
    st.tuples(st.just("play"), st.integers(0, 4000)),
    st.tuples(st.just("finish"), st.just(0)),
    st.tuples(st.just("flush"), st.just(0)),
    st.tuples(st.just("on time"), st.integers(0, 800)),
    st.tuples(st.just("late"), st.integers(0, 800)),
)


@settings(max_examples=100)
@given(st.lists(STEPS, max_size=40))
def test_nothing_is_lost_counted_twice_or_sent_too_soon(steps: list[tuple[str, int]]) -> None:
    line = voice(VoiceLimits(queue=0.6))
    put = flushed = 0.0
    heard_of_flushed = 0.0
    for name, amount in steps:
        match name:
            case "play":
                put += amount / 16000
                line.play(b"\x10" * amount)
            case "finish":
                line.finish()
            case "flush":
                done = line.flush()
                flushed += done.unplayed
                heard_of_flushed += done.played
            case "on time":
                line.until(line.now + amount / 1000)
            case _:
                line.now += amount / 1000
                line.drain()
    speaker = line.speaker
    ended = sum(event.played for event in line.events if isinstance(event, UtteranceEnded))
    played = ended + heard_of_flushed + speaker.played
    halves = len(line.events) / 16000  # an odd byte at an utterance's end
    assert played + flushed + speaker.waiting + speaker.lost == pytest.approx(
        put, abs=1e-9 + halves
    )
    assert speaker.waiting <= 0.6
    check_utterances(line.events, flushes=sum(name == "flush" for name, _ in steps))
    check_time(line.packets)


def check_utterances(events: list[SpeakerEvent], flushes: int) -> None:
    """Each ends after it began; those that do not were flushed, or are going on."""
    open_utterance, abandoned = False, 0
    for event in events:
        if isinstance(event, UtteranceStarted):
            abandoned += open_utterance
            open_utterance = True
        else:
            assert open_utterance
            open_utterance = False
    assert abandoned <= flushes


def check_time(packets: list[tuple[Instant, Packet]]) -> None:
    """RTP time is that of the clock, as nearly as packets may be late, and never goes back."""
    if not packets:
        return
    epoch = packets[0][0]
    assert packets[0][1].timestamp == 0
    assert packets[0][1].marker
    for at, packet in packets:
        late = at - epoch - packet.timestamp / 8000
        assert -1 / 8000 < late <= CATCH_UP + 1 / 8000
    for (_, before), (_, after) in itertools.pairwise(packets):
        assert after.timestamp - before.timestamp >= TICKS
        if after.timestamp - before.timestamp > TICKS:
            assert after.marker or after.payload == SILENCE
