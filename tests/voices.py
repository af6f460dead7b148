"""Sound that is enough like speech to be coded and detected like it, the same every time."""

import numpy as np
from numpy.typing import NDArray

from transceiver.voice.codec import Encoder, make_encoder


def speech(rate: int, seconds: float, *, loudness: float = 3000.0) -> NDArray[np.int16]:
    """Harmonics of a voice's pitch in syllables of a sixth of a second, over a little noise."""
    at = np.arange(round(rate * seconds)) / rate
    phase = 2 * np.pi * np.cumsum(140 + 20 * np.sin(2 * np.pi * 0.7 * at)) / rate
    voice = np.zeros(len(at))
    for harmonic in range(1, 20):
        if harmonic * 180 < rate / 2:
            sway = 1 + np.sin(2 * np.pi * 0.3 * harmonic * at)
            voice += np.sin(harmonic * phase) / harmonic * sway
    syllables = np.clip(np.sin(2 * np.pi * 3 * at), 0, 1)
    hiss = np.random.default_rng(7).normal(0, 5, len(at))
    return np.clip(loudness * voice * syllables + hiss, -32768, 32767).astype(np.int16)


def tone(rate: int, seconds: float, *, frequency: float = 440.0, peak: float = 8000.0) -> bytes:
    """A sine as PCM."""
    at = np.arange(round(rate * seconds)) / rate
    return (peak * np.sin(2 * np.pi * frequency * at)).astype("<i2").tobytes()


def noise(rate: int, seconds: float, *, power: float, seed: int = 1) -> bytes:
    """White noise as PCM, ``power`` in decibels below full scale."""
    scale = 32768 * 10 ** (power / 20)
    samples = np.random.default_rng(seed).normal(0, scale, round(rate * seconds))
    return np.clip(samples, -32768, 32767).astype("<i2").tobytes()


def frames(pcm: bytes, rate: int) -> list[bytes]:
    """Pieces of 20 ms."""
    size = rate // 50 * 2
    return [pcm[at : at + size] for at in range(0, len(pcm) - size + 1, size)]


def packets(codec: str, pcm: bytes, rate: int, encoder: Encoder | None = None) -> list[bytes]:
    """One payload for each 20 ms."""
    coder = encoder or make_encoder(codec, rate)
    return [coder.encode(frame) for frame in frames(pcm, rate)]


def samples(pcm: bytes) -> NDArray[np.float64]:
    return np.frombuffer(pcm, "<i2").astype(np.float64)


def likeness(one: bytes, other: bytes, most: int = 0) -> float:
    """Correlation of two pieces of sound, the second up to ``most`` samples later: 1 is alike."""
    first, second = samples(one), samples(other)
    length = min(len(first), len(second)) - most
    return max(
        float(np.corrcoef(first[:length], second[shift : shift + length])[0, 1])
        for shift in range(most + 1)
    )
