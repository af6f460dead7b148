"""A tone to send through a call, and the measure of what comes back."""

import asyncio
import fractions
import math
from array import array

from aiortc import MediaStreamTrack
from av import AudioFrame

RATE = 48000
TONE = 620.0  # Hz; no harmonic of the mains, no divisor of the frame rate


class Tone(MediaStreamTrack):
    """A sine, in frames of 20 ms, in real time."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._sent = 0
        self._begin: float | None = None

    async def recv(self) -> AudioFrame:
        loop = asyncio.get_running_loop()
        if self._begin is None:
            self._begin = loop.time()
        await asyncio.sleep(self._begin + self._sent / RATE - loop.time())
        samples = array("h", bytes(2 * 960))
        for index in range(960):
            phase = 2 * math.pi * TONE * (self._sent + index) / RATE
            samples[index] = int(12000 * math.sin(phase))
        frame = AudioFrame(format="s16", layout="mono", samples=960)
        frame.planes[0].update(samples.tobytes())
        frame.sample_rate = RATE
        frame.pts = self._sent
        frame.time_base = fractions.Fraction(1, RATE)
        self._sent += 960
        return frame


def share_of_tone(samples: "array[int]", frequency: float) -> float:
    """The part of the samples' power that lies at ``frequency`` (Goertzel), 0 to 1."""
    coefficient = 2 * math.cos(2 * math.pi * frequency / RATE)
    before = earlier = 0.0
    total = 0.0
    for sample in samples:
        before, earlier = sample + coefficient * before - earlier, before
        total += sample * sample
    power = before * before + earlier * earlier - coefficient * before * earlier
    return 2 * power / (len(samples) * total) if total else 0.0


async def listen(track: MediaStreamTrack, seconds: float) -> "array[int]":
    """Mono samples of what comes over ``track``."""
    heard = array("h")
    while len(heard) < seconds * RATE:
        frame = await track.recv()
        assert frame.sample_rate == RATE
        samples = array(
            "h", bytes(frame.planes[0])[: 2 * frame.samples * len(frame.layout.channels)]
        )
        heard.extend(samples[:: len(frame.layout.channels)])
    return heard
