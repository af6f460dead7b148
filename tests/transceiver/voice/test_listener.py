"""What an agent hears of a call: sound every 20 ms, whatever the network does."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stunroute.instant import Instant
from transceiver.config import VoiceLimits
from transceiver.events import AudioReceived
from transceiver.voice.activity import EnergyActivity, SpeechBegan, SpeechEnded
from transceiver.voice.codec import CODECS, FRAME, RATES
from transceiver.voice.listener import CATCH_UP, SLACK, Heard, Listener, Sound
from voices import likeness, packets, samples, speech, tone

LIMITS = VoiceLimits()


def clock_of(codec: str) -> int:
    return 48000 if codec == "opus" else 8000


def event(codec: str, payload: bytes, number: int) -> AudioReceived:
    timestamp = (2**32 - 1000 + number * clock_of(codec) // 50) % 2**32
    return AudioReceived("rtc_x", codec, payload, number, timestamp, clock_of(codec), False)


def listen(
    listener: Listener, arrivals: list[tuple[Instant, AudioReceived]], until: Instant
) -> list[tuple[Instant, Heard]]:
    """Drive a listener on time."""
    heard: list[tuple[Instant, Heard]] = []
    waiting = sorted(arrivals, key=lambda entry: entry[0])
    while True:
        due = listener.next_timeout()
        if waiting and (due is None or waiting[0][0] <= due):
            at, packet = waiting.pop(0)
            listener.insert(packet, at)
        elif due is None or due > until:
            return heard
        else:
            heard += [(due, piece) for piece in listener.pull(due)]
            following = listener.next_timeout()
            assert following is None or following > due


def flow(
    codec: str, payloads: list[bytes], start: Instant = 10.0, lost: frozenset[int] = frozenset()
) -> list[tuple[Instant, AudioReceived]]:
    return [
        (start + number * FRAME, event(codec, payload, number))
        for number, payload in enumerate(payloads)
        if number not in lost
    ]


def sound(heard: list[tuple[Instant, Heard]]) -> bytes:
    return b"".join(piece.pcm for _, piece in heard if isinstance(piece, Sound))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("rate", RATES)
def test_what_is_said_is_heard(codec: str, rate: int) -> None:
    said = tone(rate, 1.0)
    heard = listen(
        Listener(codec, clock_of(codec), rate), flow(codec, packets(codec, said, rate)), 11.03
    )
    assert [piece.at for _, piece in heard if isinstance(piece, Sound)] == [
        pytest.approx(n * FRAME) for n in range(50)
    ]
    assert {len(piece.pcm) for _, piece in heard if isinstance(piece, Sound)} == {rate // 25}
    assert [at for at, _ in heard] == [
        pytest.approx(10.0 + LIMITS.target + n * FRAME) for n in range(50)
    ]
    skip = rate // 5 * 2
    assert likeness(said[skip:], sound(heard)[skip:], rate // 50) > 0.97


def test_nothing_is_due_before_audio_has_begun() -> None:
    listener = Listener("opus", 48000, 24000)
    assert listener.next_timeout() is None
    assert listener.pull(5.0) == []
    assert listener.position == 0.0


@pytest.mark.parametrize("milliseconds", [10, 20, 40, 60])
def test_packets_of_any_length_make_20_ms_of_sound(milliseconds: int) -> None:
    pcm, size = tone(8000, 1.2), 16 * milliseconds
    encoded = b"".join(packets("PCMU", pcm, 8000))
    pieces = [encoded[at : at + size // 2] for at in range(0, len(encoded), size // 2)]
    listener = Listener("PCMU", 8000, 8000)
    arrivals = [
        (
            10.0 + number * milliseconds / 1000,
            AudioReceived("c", "PCMU", piece, number, number * size // 2, 8000, False),
        )
        for number, piece in enumerate(pieces)
    ]
    heard = listen(listener, arrivals, 11.2)
    assert len(sound(heard)) == len(heard) * 320
    assert len(heard) >= 58
    assert likeness(pcm, sound(heard)) > 0.99
    assert listener.counters.concealed == 0


def test_a_lost_packet_is_heard_from_the_copy_in_the_next() -> None:
    rate = 16000
    payloads = packets("opus", speech(rate, 3.0).tobytes(), rate)
    lost = frozenset(range(7, 150, 10))
    whole, holed = (Listener("opus", 48000, rate) for _ in range(2))
    original = sound(listen(whole, flow("opus", payloads), 13.03))
    repaired = sound(listen(holed, flow("opus", payloads, lost=lost), 13.03))
    assert len(original) == len(repaired)
    assert holed.counters.recovered >= 4
    assert holed.counters.recovered + holed.counters.concealed == len(lost)
    assert holed.buffer.counters.lost == len(lost)
    assert whole.counters.recovered == whole.counters.concealed == 0
    assert likeness(original, repaired) > 0.95


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_a_codec_without_copies_recovers_nothing(codec: str) -> None:
    listener = Listener(codec, 8000, 8000)
    payloads = packets(codec, tone(8000, 1.0), 8000)
    listen(listener, flow(codec, payloads, lost=frozenset([20, 30])), 11.03)
    assert (listener.counters.recovered, listener.counters.concealed) == (0, 2)


def test_time_passes_evenly_through_losses_and_silence() -> None:
    payloads = packets("opus", tone(16000, 2.0), 16000)
    lost = frozenset([*range(20, 25), *range(40, 80)])
    listener = Listener("opus", 48000, 16000)
    heard = listen(listener, flow("opus", payloads, lost=lost), 14.0)
    assert all(isinstance(piece, Sound) for _, piece in heard)
    times = [at for at, _ in heard]
    assert all(b - a == pytest.approx(FRAME) for a, b in itertools.pairwise(times))
    assert listener.counters.concealed > 0
    at_rest = [piece.pcm for at, piece in heard if at > 12.5 and isinstance(piece, Sound)]
    assert len(at_rest) > 70
    assert set(at_rest) == {bytes(640)}


def test_without_packets_it_rests_and_goes_on_with_the_next() -> None:
    payloads = packets("PCMA", tone(8000, 0.2), 8000)
    listener = Listener("PCMA", 8000, 8000, VoiceLimits(idle=2.0))
    first = listen(listener, flow("PCMA", payloads), 60.0)
    assert listener.next_timeout() is None
    assert first[-1][0] - 10.18 == pytest.approx(2.0, abs=FRAME)
    position = listener.position
    again = listen(listener, flow("PCMA", payloads, start=70.0), 70.2)
    assert again[0][0] == pytest.approx(70.0 + LIMITS.target)
    assert isinstance(again[0][1], Sound)
    assert again[0][1].at == pytest.approx(position)


def test_a_late_pull_makes_up_for_the_time_that_has_passed() -> None:
    payloads = packets("PCMA", tone(8000, 2.0), 8000)
    on_time, late = (Listener("PCMA", 8000, 8000) for _ in range(2))
    expected = listen(on_time, flow("PCMA", payloads), 10.04 + CATCH_UP - 0.01)
    for at, packet in flow("PCMA", payloads):
        if at < 10.04 + CATCH_UP - 0.01:
            late.insert(packet, at)
    assert late.pull(10.04 + CATCH_UP - 0.01) == [piece for _, piece in expected]


def test_what_is_missed_for_too_long_is_left_out() -> None:
    listener = Listener("PCMA", 8000, 8000)
    for at, packet in flow("PCMA", packets("PCMA", tone(8000, 5.0), 8000)):
        listener.insert(packet, at)
    heard = listener.pull(14.9)
    assert len(heard) == round(CATCH_UP / FRAME) + 1
    due = listener.next_timeout()
    assert due is not None
    assert 14.9 < due < 14.93


# --- holding back more or less ----------------------------------------------------------------


def test_what_was_held_up_is_caught_up_with_in_silence() -> None:
    rate = 16000
    said = np.concatenate([speech(rate, 1.0), np.zeros(rate * 8, np.int16), speech(rate, 1.0)])
    payloads = packets("opus", said.tobytes(), rate)
    arrivals = [
        (at if not 25 <= number < 33 else 10.66, packet)
        for number, (at, packet) in enumerate(flow("opus", payloads))
    ]
    listener = Listener("opus", 48000, rate)
    listen(listener, arrivals, 19.9)
    assert listener.buffer.counters.lost == 0
    assert listener.counters.dropped >= 5
    assert listener.buffer.surplus(19.9) <= FRAME + SLACK


def test_when_more_is_to_be_held_back_silence_is_added() -> None:
    rate = 16000
    said = np.concatenate([speech(rate, 0.5), np.zeros(rate * 4, np.int16)])
    payloads = packets("opus", said.tobytes(), rate)
    arrivals = [
        (at + (number * 7 % 10) / 100 * (number > 40), packet)
        for number, (at, packet) in enumerate(flow("opus", payloads))
    ]
    listener = Listener("opus", 48000, rate)
    listen(listener, arrivals, 14.4)
    assert listener.buffer.target >= 0.1
    assert listener.counters.added >= 1
    assert abs(listener.buffer.surplus(14.4)) <= FRAME + SLACK


def test_speech_is_neither_dropped_nor_stretched() -> None:
    rate = 16000
    payloads = packets("opus", tone(rate, 3.0), rate)
    arrivals = [
        (at if not 25 <= number < 33 else 10.66, packet)
        for number, (at, packet) in enumerate(flow("opus", payloads))
    ]
    listener = Listener("opus", 48000, rate)
    listen(listener, arrivals, 11.9)
    assert listener.buffer.surplus(11.9) > FRAME
    assert listener.counters.added == listener.counters.dropped == 0


def test_speech_is_not_stretched_where_more_should_be_held_back() -> None:
    rate = 16000
    payloads = packets("opus", tone(rate, 2.0), rate)
    arrivals = [
        (at + 0.029 * (number % 2) * (number > 9), packet)
        for number, (at, packet) in enumerate(flow("opus", payloads))
    ]
    listener = Listener("opus", 48000, rate, VoiceLimits(target=0.02))
    listen(listener, arrivals, 11.9)
    assert listener.buffer.target == 0.05
    due = listener.next_timeout()
    assert due is not None
    assert listener.buffer.surplus(due) < -SLACK
    assert listener.counters.added == 0


# --- speech -----------------------------------------------------------------------------------


def conversation(rate: int) -> list[bytes]:
    quiet = np.zeros(rate, np.int16)
    said = np.concatenate([quiet, speech(rate, 1.0, loudness=8000), quiet, quiet])
    return packets("opus", said.tobytes(), rate)


def test_speech_is_told_between_the_pieces_of_sound_in_which_it_was_found() -> None:
    listener = Listener("opus", 48000, 16000)
    listener.watch(EnergyActivity())
    heard = listen(listener, flow("opus", conversation(16000)), 14.0)
    found = [(at, piece) for at, piece in heard if not isinstance(piece, Sound)]
    (began_at, began), (ended_at, ended) = found
    assert isinstance(began, SpeechBegan)
    assert isinstance(ended, SpeechEnded)
    assert began_at - 11.0 < 0.1 + LIMITS.target + FRAME
    assert began.at == pytest.approx(0.7, abs=0.1)
    assert ended.at == pytest.approx(2.4, abs=0.2)
    assert ended_at - 10.0 == pytest.approx(ended.at + LIMITS.target, abs=2 * FRAME)
    index = [piece for _, piece in heard].index(began)
    before = heard[index - 1][1]
    assert isinstance(before, Sound)
    assert began.at < before.at < began.at + 0.5


def test_without_somebody_watching_there_is_only_sound() -> None:
    listener = Listener("opus", 48000, 16000)
    heard = listen(listener, flow("opus", conversation(16000)), 14.0)
    assert all(isinstance(piece, Sound) for _, piece in heard)


@pytest.mark.parametrize("activity", [None, EnergyActivity()])
def test_when_the_watch_changes_speech_that_was_going_on_is_over(
    activity: EnergyActivity | None,
) -> None:
    listener = Listener("opus", 48000, 16000)
    listener.watch(EnergyActivity())
    arrivals = flow("opus", conversation(16000))
    first = listen(listener, arrivals[:80], 11.6)
    assert [type(piece) for _, piece in first if not isinstance(piece, Sound)] == [SpeechBegan]
    listener.watch(activity)
    position = listener.position
    due = listener.next_timeout()
    assert due is not None
    assert SpeechEnded(position) in listener.pull(due)


def test_speech_is_over_when_nothing_comes_any_more() -> None:
    listener = Listener("opus", 48000, 16000, VoiceLimits(idle=0.2))
    listener.watch(EnergyActivity())
    heard = listen(listener, flow("opus", conversation(16000))[:75], 30.0)
    assert [type(piece) for _, piece in heard if not isinstance(piece, Sound)] == [
        SpeechBegan,
        SpeechEnded,
    ]
    assert heard[-1][1] == SpeechEnded(listener.position)


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", CODECS)
@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.binary(max_size=60),
            st.integers(-70000, 70000),
            st.integers(0, 2**32 - 1),
            st.floats(0, 0.5),
        ),
        max_size=15,
    )
)
def test_whatever_comes_sound_comes_out_at_its_pace(
    codec: str, received: list[tuple[bytes, int, int, float]]
) -> None:
    listener = Listener(codec, clock_of(codec), 8000)
    listener.watch(EnergyActivity())
    now = 10.0
    for payload, sequence, timestamp, pause in received:
        now += pause
        listener.insert(
            AudioReceived("c", codec, payload, sequence, timestamp, clock_of(codec), False), now
        )
        heard = listener.pull(now)
        assert all(len(piece.pcm) == 320 for piece in heard if isinstance(piece, Sound))
        assert len(heard) <= 2 * (CATCH_UP / FRAME + 2)
        due = listener.next_timeout()
        assert due is None or due > now
        assert listener.position <= now - 10.0 + FRAME


def test_packets_without_sound_are_counted() -> None:
    listener = Listener("opus", 48000, 16000)
    for number, payload in enumerate((b"", b"\x03", bytes([0x1B, 63]))):
        listener.insert(event("opus", payload, number), 10.0)
    assert listener.counters.malformed == 3
    assert listener.next_timeout() is None


def test_a_packet_that_cannot_be_decoded_is_covered() -> None:
    payloads = packets("opus", tone(16000, 0.5), 16000)
    payloads[10] = bytes([payloads[10][0] | 2, 200, 1])  # the first frame ends beyond the packet
    listener = Listener("opus", 48000, 16000)
    heard = listen(listener, flow("opus", payloads), 10.5)
    assert listener.counters.malformed == 1
    middle = samples(sound(heard))[16000 // 50 * 10 : 16000 // 50 * 12]
    assert np.abs(middle).max() > 500


@pytest.mark.parametrize("codec", CODECS)
def test_the_same_arrivals_make_the_same_sound(codec: str) -> None:
    payloads = packets(codec, speech(24000, 1.0).tobytes(), 24000)
    arrivals = [
        (at + (number * 7 % 5) / 50, packet)
        for number, (at, packet) in enumerate(flow(codec, payloads, lost=frozenset([3, 9, 10, 30])))
    ]
    runs = []
    for _ in range(2):
        listener = Listener(codec, clock_of(codec), 24000)
        listener.watch(EnergyActivity())
        runs.append(listen(listener, arrivals, 12.0))
    assert runs[0] == runs[1]
