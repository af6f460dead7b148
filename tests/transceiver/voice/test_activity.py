"""Speech told from the rest by its level."""

import itertools

import pytest

from transceiver.voice.activity import Activity, EnergyActivity, SpeechBegan, SpeechEnded
from transceiver.voice.codec import FRAME
from transceiver.voice.level import SILENT, level
from voices import frames, noise, samples, speech, tone

RATE = 16000


def watch(pcm: bytes, activity: EnergyActivity | None = None) -> list[tuple[float, Activity]]:
    """What was found, with the time at which it was known."""
    judge = activity or EnergyActivity()
    found = []
    for number, frame in enumerate(frames(pcm, RATE)):
        if (event := judge.observe(frame, level(frame), number * FRAME)) is not None:
            found.append(((number + 1) * FRAME, event))
    return found


def mixed(*layers: bytes) -> bytes:
    total = sum(samples(layer) for layer in layers)
    return total.clip(-32768, 32767).astype("<i2").tobytes()  # type: ignore[union-attr]


def silence(seconds: float) -> bytes:
    return bytes(2 * round(RATE * seconds))


@pytest.mark.parametrize(
    ("background", "loudness"),
    [
        *itertools.product([None, -70.0, -55.0], [700.0, 3000.0, 10000.0]),
        *itertools.product([-45.0], [3000.0, 10000.0]),  # the softest voice nobody could tell
    ],
)
def test_speech_is_found_soon_and_its_end_when_it_is_due(
    background: float | None, loudness: float
) -> None:
    pcm = silence(1.0) + speech(RATE, 3.0, loudness=loudness).tobytes() + silence(2.0)
    if background is not None:
        pcm = mixed(pcm, noise(RATE, len(pcm) / 2 / RATE, power=background))
    (began_at, began), (ended_at, ended) = watch(pcm)
    assert isinstance(began, SpeechBegan)
    assert 1.06 <= began_at < 1.16
    assert began.at == pytest.approx(0.7, abs=0.08)
    assert isinstance(ended, SpeechEnded)
    assert ended.at == pytest.approx(ended_at)
    assert 4.2 < ended_at < 4.6


@pytest.mark.parametrize("power", [-80.0, -60.0, -45.0, -35.0])
def test_steady_noise_is_no_speech(power: float) -> None:
    assert watch(noise(RATE, 10.0, power=power)) == []


@pytest.mark.parametrize("frequency", [50.0, 100.0, 440.0])
@pytest.mark.parametrize("peak", [10.0, 300.0, 1200.0])
def test_hum_is_no_speech(frequency: float, peak: float) -> None:
    assert watch(tone(RATE, 10.0, frequency=frequency, peak=peak)) == []


def test_a_fan_that_is_switched_on_is_held_for_a_voice_for_some_seconds_at_most() -> None:
    pcm = silence(2.0) + noise(RATE, 10.0, power=-30.0)
    (began_at, _), (ended_at, _) = watch(pcm)
    assert began_at < 2.2
    assert ended_at < 5.0


def test_speech_is_found_over_the_fan() -> None:
    fan = noise(RATE, 8.0, power=-38.0)
    voice = silence(5.0) + speech(RATE, 2.0, loudness=8000.0).tobytes() + silence(1.0)
    (began_at, _), (_, _) = watch(mixed(fan, voice))
    assert 5.0 < began_at < 5.2


@pytest.mark.parametrize("length", [0.001, 0.01, 0.02])
@pytest.mark.parametrize("offset", [0.0, 0.005, 0.013])
def test_clicks_are_no_speech(length: float, offset: float) -> None:
    click = noise(RATE, length, power=-6.0)
    piece = silence(1.0 + offset) + click + silence(0.15)
    assert watch(piece * 8) == []


def test_a_constant_offset_is_no_sound() -> None:
    assert level((5000).to_bytes(2, "little") * 320) == SILENT
    assert watch(silence(1.0) + (5000).to_bytes(2, "little") * RATE) == []


def test_levels_are_decibels_below_full_scale() -> None:
    assert level(b"") == level(bytes(640)) == SILENT
    assert level(tone(RATE, 0.1, peak=32767)) == pytest.approx(-3.0, abs=0.1)
    assert level(tone(RATE, 0.1, peak=3276.7)) == pytest.approx(-23.0, abs=0.1)


def test_the_settings_are_those_of_the_protocol() -> None:
    pcm = silence(1.0) + speech(RATE, 2.0, loudness=5000.0).tobytes() + silence(2.0)
    for silence_for in (0.3, 0.5, 1.0):
        found = watch(pcm, EnergyActivity(silence=silence_for))
        assert found[-1][0] == pytest.approx(2.8 + silence_for, abs=0.1)
    first = [watch(pcm, EnergyActivity(prefix=prefix))[0][1].at for prefix in (0.0, 0.2, 5.0)]
    assert first[0] - first[1] == pytest.approx(0.2)
    assert first[2] == 0.0


def test_a_higher_threshold_is_harder_of_hearing() -> None:
    pcm = silence(1.0) + speech(RATE, 2.0, loudness=150.0).tobytes() + silence(1.0)
    heard = [bool(watch(pcm, EnergyActivity(threshold=at))) for at in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert heard[0]
    assert not heard[-1]
    assert heard == sorted(heard, reverse=True)


def test_the_soft_end_of_a_word_belongs_to_it() -> None:
    loud, soft = noise(RATE, 0.5, power=-46.0), noise(RATE, 1.0, power=-50.5)
    (_, _), (ended_at, _) = watch(silence(1.0) + loud + soft + silence(1.0))
    assert ended_at == pytest.approx(3.0, abs=0.05)
    assert watch(silence(1.0) + soft + silence(1.0)) == []


def test_without_patience_a_turn_ends_with_the_sound_and_not_before() -> None:
    burst = silence(1.0) + noise(RATE, 0.4, power=-20.0) + silence(0.02)
    pcm = burst + noise(RATE, 0.04, power=-20.0) + silence(1.0)
    (_, began), (ended_at, ended) = watch(pcm, EnergyActivity(silence=0.0))
    assert (type(began), type(ended)) == (SpeechBegan, SpeechEnded)
    assert ended_at == pytest.approx(1.42)


def test_a_pause_for_breath_does_not_end_a_turn() -> None:
    voice = speech(RATE, 1.0, loudness=5000.0).tobytes()
    found = watch(silence(1.0) + (voice + silence(0.2)) * 4 + silence(1.0))
    assert [type(event) for _, event in found] == [SpeechBegan, SpeechEnded]
    found = watch(silence(1.0) + (voice + silence(0.8)) * 4)
    assert [type(event) for _, event in found] == [SpeechBegan, SpeechEnded] * 4
