"""From one rate to a multiple of it or back, 20 ms in and 20 ms out.

G.711 knows 8 kHz and an agent may want another rate. Resampling libraries are made for files:
soxr's streams hand their samples out in blocks of up to a tenth of a second, which a call would
hear as delay. With whole-numbered ratios a filter is one multiplication of matrices per packet,
gives as many samples as came in, and is late by 2 ms.
"""

from typing import Any, Final

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

TAPS: Final = 32
"""Samples of the lower rate that each output is made of."""
_SHAPE = 7.0  # of the Kaiser window: about 70 dB of rejection
_CUTOFF = 0.92  # of the lower rate's half, where the filter has fallen to a half


def _filter(ratio: int) -> NDArray[np.float32]:
    """A low pass for the lower rate, sampled at ``ratio`` times that rate; its sum is one."""
    count = TAPS * ratio
    at = (np.arange(count) - (count - 1) / 2) / ratio
    taps = np.sinc(_CUTOFF * at) * np.kaiser(count, _SHAPE)
    unit: NDArray[np.float32] = (taps / taps.sum()).astype(np.float32)
    return unit


@define(slots=True)
class Resampler:
    """A stream from ``source`` to ``target`` samples per second, of which one is a multiple of the
    other (ValueError otherwise)."""

    source: int
    target: int
    _ratio: int = field(init=False)
    _taps: NDArray[np.float32] = field(init=False, repr=False)
    _past: NDArray[np.float32] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        low, high = sorted((self.source, self.target))
        if high % low:
            raise ValueError(f"{high} is no multiple of {low}")
        self._ratio = high // low
        taps = _filter(self._ratio)
        if self.target > self.source:
            # One column for each output between two inputs.
            self._taps = np.ascontiguousarray(taps.reshape(TAPS, self._ratio)[::-1] * self._ratio)
            self._past = np.zeros(TAPS - 1, np.float32)
        else:
            self._taps = np.ascontiguousarray(taps[::-1])
            self._past = np.zeros(len(taps) - self._ratio, np.float32)

    def convert(self, samples: NDArray[Any]) -> NDArray[np.int16]:
        """The next samples at the other rate, as long as they take; a piece must be a whole number
        of samples at the lower rate."""
        if self._ratio == 1 or not len(samples):
            return np.asarray(samples, np.int16)
        line = np.concatenate((self._past, samples.astype(np.float32)))
        self._past = line[len(line) - len(self._past) :]
        windows = np.lib.stride_tricks.sliding_window_view(line, len(self._taps))
        if self.target < self.source:
            windows = windows[:: self._ratio]
        made = (windows @ self._taps).ravel()
        whole: NDArray[np.int16] = np.clip(np.rint(made), -32768, 32767).astype(np.int16)
        return whole
