"""Opus by libopus, through the bindings of ``opuslib_next``.

The package's own ``decode`` turns every sample into a Python number and back, which takes as long
as libopus itself. So its classes serve for the life of a coder and its settings, and its declared
C functions are called on buffers that are kept. Opus decodes to and encodes from each of the rates
that agents use; nothing is resampled.
"""

import ctypes
from typing import Any, Final

from attrs import define, field

from stunroute.errors import DecodeError

try:
    import opuslib_next
    from opuslib_next.api.decoder import libopus_decode
    from opuslib_next.api.encoder import libopus_encode
except ImportError:
    raise
except Exception as error:  # the bindings say with a bare Exception that there is no library
    raise ImportError(str(error)) from error

LONGEST: Final = 0.12
"""Seconds of sound in one packet at most (RFC 6716, 3.2.5)."""
BITRATE: Final = 32_000
"""Bits per second. Wide-band speech with its second copy needs about as much."""
COMPLEXITY: Final = 1
"""From 0 to 10. The next one costs twice the time, which is most of what a call costs."""
EXPECTED_LOSS: Final = 10
"""Per cent. Tells the encoder how much to spend on the second copy of each frame."""
_LARGEST = 1275  # bytes of an Opus frame (RFC 6716, 3.2.1)
_STEPS = 400  # frames of 2.5 ms in a second: holes are covered in multiples of them


@define(slots=True)
class OpusDecoder:
    """See ``codec.Decoder``. Stereo is mixed down."""

    rate: int
    _coder: Any = field(init=False, repr=False)
    _pcm: Any = field(init=False, repr=False)
    _bytes: memoryview = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._coder = opuslib_next.Decoder(self.rate, 1)
        self._pcm = (ctypes.c_int16 * round(self.rate * LONGEST))()
        self._bytes = memoryview(self._pcm).cast("B")

    def decode_untrusted(self, payload: bytes) -> bytes:
        """The sound of one packet. Raises DecodeError."""
        if not payload:
            raise DecodeError("an Opus packet without a byte")
        return self._decode(payload, len(self._pcm), 0)

    def recover_untrusted(self, following: bytes, samples: int) -> bytes:
        """The end of a hole from the next packet's copy; see ``codec.Decoder``."""
        if not following or not self._covers(samples):
            return self.conceal(samples)
        return self._decode(following, samples, 1)

    def conceal(self, samples: int) -> bytes:
        """As many samples made up; silence for what is no multiple of 2.5 ms."""
        made = bytearray()
        while (left := samples - len(made) // 2) > 0:
            step = min(left, len(self._pcm)) // (self.rate // _STEPS) * (self.rate // _STEPS)
            made += self._decode(None, step, 0) if step else bytes(2 * left)
        return bytes(made)

    def _covers(self, samples: int) -> bool:
        return 0 < samples <= len(self._pcm) and samples % (self.rate // _STEPS) == 0

    def _decode(self, payload: bytes | None, samples: int, copy: int) -> bytes:
        length = len(payload) if payload is not None else 0
        state = self._coder.decoder_state
        made = libopus_decode(state, payload, length, self._pcm, samples, copy)
        if made < 0:
            raise DecodeError("no Opus packet")
        return self._bytes[: 2 * made].tobytes()


@define(slots=True)
class OpusEncoder:
    """See ``codec.Encoder``. Every packet carries a copy of the one before, where that is worth
    it, so that a single loss can be made good."""

    rate: int
    _coder: Any = field(init=False, repr=False)
    _pcm: Any = field(init=False, repr=False)
    _bytes: memoryview = field(init=False, repr=False)
    _payload: Any = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._coder = opuslib_next.Encoder(self.rate, 1, "voip")
        self._coder.bitrate = BITRATE
        self._coder.complexity = COMPLEXITY
        self._coder.inband_fec = 1
        self._coder.packet_loss_perc = EXPECTED_LOSS
        self._pcm = (ctypes.c_int16 * (self.rate // 50))()
        self._bytes = memoryview(self._pcm).cast("B")
        self._payload = ctypes.create_string_buffer(_LARGEST)

    def encode(self, pcm: bytes) -> bytes:
        """The packet for exactly 20 ms of PCM; ValueError for another length."""
        self._bytes[:] = pcm
        state, samples = self._coder.encoder_state, len(self._pcm)
        size = libopus_encode(state, self._pcm, samples, self._payload, _LARGEST)
        if size < 0:
            raise ValueError("libopus did not encode")
        return ctypes.string_at(self._payload, size)
