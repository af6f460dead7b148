"""From one rate to a multiple of it or back, 20 ms in and 20 ms out.

G.711 knows 8 kHz and an agent may want another rate. Resampling libraries are made for files:
soxr's streams hand their samples out in blocks of up to a tenth of a second, which a call would
hear as delay. With whole-numbered ratios a filter is one multiplication of matrices per packet,
gives as many samples as came in, and is late by 2 ms.

The filter's taps are whole numbers in floating point. Their products with samples, and the sums,
are exact then, whatever order a machine adds them in, so that every machine makes the same sound.
"""

from typing import Any, Final

import numpy as np
from attrs import define, field
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

TAPS: Final = 32
"""Samples of the lower rate that each output is made of."""
_UNIT: Final = 32768.0  # what the taps' sum stands for
_SHAPE: Final = 7.0  # of the Kaiser window: about 70 dB of rejection
_CUTOFF: Final = 0.92  # of the lower rate's half, where the filter has fallen to a half


def _filter(ratio: int, gain: float) -> NDArray[np.float64]:
    """A low pass for the lower rate, sampled at ``ratio`` times that rate; its sum is ``gain``."""
    count = TAPS * ratio
    at = (np.arange(count) - (count - 1) / 2) / ratio
    taps = np.sinc(_CUTOFF * at) * np.kaiser(count, _SHAPE)
    whole: NDArray[np.float64] = np.rint(taps / taps.sum() * gain * _UNIT)
    return whole


@define(slots=True)
class Resampler:
    """A stream from ``source`` to ``target`` samples per second, of which one is a multiple of the
    other (ValueError otherwise)."""

    source: int
    target: int
    _step: int = field(init=False)  # inputs from one row of outputs to the next
    _taps: NDArray[np.float64] = field(init=False, repr=False)  # a column for each of a row
    _past: NDArray[np.float64] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        low, high = sorted((self.source, self.target))
        if high % low:
            raise ValueError(f"{high} is no multiple of {low}")
        ratio = high // low
        if self.target > self.source:
            self._step = 1
            taps = _filter(ratio, ratio).reshape(TAPS, ratio)
        else:
            self._step = ratio
            taps = _filter(ratio, 1.0).reshape(TAPS * ratio, 1)
        self._taps = np.ascontiguousarray(taps[::-1])
        self._past = np.zeros(len(self._taps) - self._step)

    def convert(self, samples: NDArray[Any]) -> NDArray[np.int16]:
        """The next samples at the other rate, as long as they take; a piece must be a whole number
        of samples at the lower rate (ValueError)."""
        if len(samples) % self._step:
            raise ValueError("a piece that ends between two samples of the lower rate")
        if self.source == self.target or not len(samples):
            return np.asarray(samples, np.int16)
        line = np.concatenate((self._past, np.rint(samples)))
        self._past = line[len(samples) :]
        rows = len(samples) // self._step
        strides = (self._step * line.itemsize, line.itemsize)
        windows = np.ascontiguousarray(as_strided(line, (rows, len(self._taps)), strides))
        made = np.rint((windows @ self._taps).ravel() / _UNIT)
        whole: NDArray[np.int16] = np.clip(made, -32768, 32767).astype(np.int16)
        return whole
