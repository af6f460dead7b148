"""G.711 by tables: one byte for each sample at 8 kHz, in either law.

The tables are made from the recommendation's rule: a sign, a segment that doubles from one to the
next, and sixteen steps in it. A hole is covered with the last sound, fading out.
"""

from typing import Final

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from stunroute.errors import DecodeError

from .resample import Resampler

CLOCK: Final = 8000
LONGEST: Final = 1600
"""Bytes in one packet at most: 200 ms, as RFC 3551 (4.2) advises."""
_FADE = 0.06  # seconds in which made up sound falls silent
_PERIOD = 160  # samples that are repeated


def _expand_mu() -> NDArray[np.int16]:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    size = (((code & 15) << 3) + 132 << (code >> 4 & 7)) - 132
    table: NDArray[np.int16] = np.where(code & 0x80, -size, size).astype(np.int16)
    return table


def _expand_a() -> NDArray[np.int16]:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    segment = code >> 4 & 7
    size = ((code & 15) << 4) + 8 + np.where(segment > 0, 256, 0)
    size = size << np.maximum(segment - 1, 0)
    table: NDArray[np.int16] = np.where(code & 0x80, size, -size).astype(np.int16)
    return table


def _compress_mu() -> NDArray[np.uint8]:
    sample = np.arange(65536, dtype=np.int32).astype(np.uint16).view(np.int16).astype(np.int32)
    size = np.minimum(np.abs(sample), 32635) + 132
    segment = np.floor(np.log2(size)).astype(np.int32) - 7
    code = segment << 4 | size >> segment + 3 & 15
    table: NDArray[np.uint8] = (~(code | np.where(sample < 0, 0x80, 0)) & 0xFF).astype(np.uint8)
    return table


def _compress_a() -> NDArray[np.uint8]:
    sample = np.arange(65536, dtype=np.int32).astype(np.uint16).view(np.int16).astype(np.int32)
    size = np.where(sample < 0, ~sample, sample)
    segment = np.maximum(np.floor(np.log2(np.maximum(size, 1))).astype(np.int32) - 7, 0)
    code = segment << 4 | size >> np.maximum(segment, 1) + 3 & 15
    table: NDArray[np.uint8] = ((code | np.where(sample < 0, 0, 0x80)) ^ 0x55).astype(np.uint8)
    return table


EXPAND: Final = {"PCMU": _expand_mu(), "PCMA": _expand_a()}
"""Sample by byte."""
COMPRESS: Final = {"PCMU": _compress_mu(), "PCMA": _compress_a()}
"""Byte by the sample's 16 bits read as unsigned."""


@define(slots=True)
class G711Decoder:
    """See ``codec.Decoder``. ``codec`` is PCMU or PCMA."""

    codec: str
    rate: int
    _resampler: Resampler = field(init=False, repr=False)
    _last: NDArray[np.int16] = field(init=False, repr=False)
    _made_up: int = field(init=False, default=0)  # samples since the last real one

    def __attrs_post_init__(self) -> None:
        self._resampler = Resampler(CLOCK, self.rate)
        self._last = np.zeros(_PERIOD, np.int16)

    def decode_untrusted(self, payload: bytes) -> bytes:
        """The sound of one packet. Raises DecodeError where it is empty or beyond ``LONGEST``."""
        if not 0 < len(payload) <= LONGEST:
            raise DecodeError("a length that no G.711 packet has")
        samples = EXPAND[self.codec][np.frombuffer(payload, np.uint8)]
        self._last = np.concatenate((self._last, samples))[-_PERIOD:]
        self._made_up = 0
        return self._resampler.convert(samples).tobytes()

    def recover_untrusted(self, following: bytes, samples: int) -> bytes:
        """G.711 carries no copies: as ``conceal``."""
        return self.conceal(samples)

    def conceal(self, samples: int) -> bytes:
        """The last 20 ms again and again, fading."""
        count = -(-samples * CLOCK // self.rate)
        at = self._made_up + np.arange(count)
        fade = np.maximum(0.0, 1.0 - (at + 1) / (_FADE * CLOCK))
        self._made_up = min(self._made_up + count, CLOCK)
        pcm = self._resampler.convert(self._last[at % _PERIOD] * fade)
        return pcm[:samples].tobytes()


@define(slots=True)
class G711Encoder:
    """See ``codec.Encoder``."""

    codec: str
    rate: int
    _resampler: Resampler = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._resampler = Resampler(self.rate, CLOCK)

    def encode(self, pcm: bytes) -> bytes:
        """160 bytes for exactly 20 ms of PCM; ValueError for another length."""
        if len(pcm) != self.rate // 25:
            raise ValueError("not 20 ms")
        samples = self._resampler.convert(np.frombuffer(pcm, "<i2"))
        return COMPRESS[self.codec][samples.view(np.uint16)].tobytes()
