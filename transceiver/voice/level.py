"""How loud a piece of sound is."""

from math import log10
from typing import Final

import numpy as np

SILENT: Final = -100.0
"""Decibels of what makes no sound at all."""
_FULL_SCALE = 32768.0 * 32768.0


def level(pcm: bytes) -> float:
    """Power of PCM in decibels below full scale, a constant offset left out; ``SILENT`` at
    least."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    if not len(samples):
        return SILENT
    offset = float(samples.sum()) / len(samples)
    power = float(samples @ samples) / len(samples) - offset * offset
    return 10.0 * log10(power / _FULL_SCALE) if power > _FULL_SCALE * 1e-10 else SILENT
