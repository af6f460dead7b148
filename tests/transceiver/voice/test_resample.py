"""Rates: the tone stays, what cannot be at the lower rate goes, and no sample is late."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transceiver.voice.resample import TAPS, Resampler
from voices import samples, tone

PAIRS = [(a, b) for a in (8000, 16000, 24000, 48000) for b in (8000,)]
PAIRS += [(b, a) for a, b in PAIRS if a != b]


def convert(resampler: Resampler, pcm: bytes) -> bytes:
    return resampler.convert(np.frombuffer(pcm, "<i2")).tobytes()


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_tone_stays_a_tone(source: int, target: int) -> None:
    made = samples(convert(Resampler(source, target), tone(source, 1.0, frequency=1000, peak=1e4)))
    assert len(made) == target
    made = made[target // 10 :]
    turn = 2 * np.pi * 1000 * np.arange(len(made)) / target
    basis = np.stack((np.sin(turn), np.cos(turn)))
    strength, *_ = np.linalg.lstsq(basis.T, made, rcond=None)
    assert np.hypot(*strength) == pytest.approx(1e4, rel=0.01)
    assert np.abs(made - strength @ basis).max() < 20


@pytest.mark.parametrize(("source", "target"), [pair for pair in PAIRS if len(set(pair)) == 2])
def test_sound_is_two_milliseconds_late(source: int, target: int) -> None:
    knock = np.zeros(source // 10, np.int16)
    knock[source // 50] = 20000
    made = Resampler(source, target).convert(knock)
    assert np.abs(made).argmax() / target == pytest.approx(0.022, abs=1.5 / 8000)


@pytest.mark.parametrize("source", [16000, 24000, 48000])
@pytest.mark.parametrize("frequency", [4600, 5500, 7000])
def test_what_the_lower_rate_cannot_hold_is_gone(source: int, frequency: int) -> None:
    made = convert(Resampler(source, 8000), tone(source, 0.5, frequency=frequency, peak=20000))
    assert np.abs(samples(made)[TAPS:-TAPS]).max() < 20000 / 300


@pytest.mark.parametrize("target", [16000, 24000, 48000])
def test_no_images_appear(target: int) -> None:
    made = samples(convert(Resampler(8000, target), tone(8000, 0.5, frequency=3000, peak=20000)))
    spectrum = np.abs(np.fft.rfft(made * np.hanning(len(made))))
    frequency = np.fft.rfftfreq(len(made), 1 / target)
    assert spectrum[frequency > 4600].max() < spectrum.max() / 1000


@pytest.mark.parametrize(("source", "target"), PAIRS)
@settings(max_examples=20)
@given(cuts=st.lists(st.integers(0, 300), max_size=8))
def test_pieces_make_the_same_as_the_whole(source: int, target: int, cuts: list[int]) -> None:
    step = max(1, source // target)
    whole = np.frombuffer(tone(source, 0.3), "<i2")
    whole = whole[: len(whole) // step * step]
    pieces, resampler, at = [], Resampler(source, target), 0
    for cut in (*cuts, len(whole) // step):
        piece = whole[at : at + cut * step]
        at += len(piece)
        made = resampler.convert(piece)
        assert len(made) * source == len(piece) * target
        pieces.append(made)
    assert np.array_equal(np.concatenate(pieces), Resampler(source, target).convert(whole))


def test_the_sums_are_exact() -> None:
    """Whatever the order in which a machine adds them up: whole numbers below 2 ** 53."""
    for source, target in PAIRS:
        taps = Resampler(source, target)._taps
        assert np.array_equal(taps, np.rint(taps))
        assert np.abs(taps).sum() * 32768 < 2**53


def test_pieces_end_where_both_rates_have_a_sample() -> None:
    with pytest.raises(ValueError):
        Resampler(24000, 8000).convert(np.zeros(160, np.int16))


def test_what_is_too_loud_is_clipped_and_does_not_wrap() -> None:
    square = np.where(np.arange(1600) // 10 % 2, 32767, -32768).astype(np.int16)
    made = Resampler(8000, 16000).convert(square).astype(int)
    assert made.max() == 32767
    assert made.min() == -32768
    assert np.abs(np.diff(made)).max() < 60000


def test_rates_must_be_multiples() -> None:
    with pytest.raises(ValueError):
        Resampler(24000, 16000)
