"""Payloads to sound and back, whatever the codec.

Those who want sound meet two protocols and two functions that make what implements them. The
libraries behind them are an extra of this package and, for Opus, a shared object of the system, so
they are loaded when the first coder is made and not before: who only passes packets on needs none
of them.

PCM means 16 bits signed, little-endian, mono, everywhere in this package. A coder holds the state
of one direction of one call, and coders are deterministic for one build of the libraries.
"""

from collections.abc import Callable
from typing import Final, Protocol

from stunroute.errors import StunrouteError

FRAME: Final = 0.02
"""Seconds of sound in what goes to an agent at a time, and in each packet that we send."""
RATES: Final = (8000, 16000, 24000, 48000)
"""Samples per second that an agent may ask for."""
CODECS: Final = ("opus", "PCMU", "PCMA")


class VoiceUnavailable(StunrouteError):
    """The libraries that decode and encode are not installed; says which, and how to get them."""


class Decoder(Protocol):
    """Payloads of one source, in order, to PCM at the rate it was made for."""

    def decode_untrusted(self, payload: bytes) -> bytes:
        """The sound of one packet. Raises DecodeError where it holds none."""

    def recover_untrusted(self, following: bytes, samples: int) -> bytes:
        """The last ``samples`` of a hole, from the copy that the packet after it carries (in-band
        FEC); made up where that packet carries none. To be called before that packet is decoded.
        Raises DecodeError."""

    def conceal(self, samples: int) -> bytes:
        """As many samples made up from what came before, to cover a hole."""


class Encoder(Protocol):
    """PCM of one direction to payloads."""

    def encode(self, pcm: bytes) -> bytes:
        """The payload for exactly 20 ms at the rate it was made for."""


def require() -> None:
    """Raise VoiceUnavailable unless every coder can be made: to be told at the start, not at the
    first call."""
    for codec in CODECS:
        make_decoder(codec, 8000)


def make_decoder(codec: str, rate: int) -> Decoder:
    """A decoder for ``codec`` (one of ``CODECS``) to ``rate`` samples per second (one of
    ``RATES``). Raises VoiceUnavailable; ValueError for another codec or rate."""
    _check(codec, rate)
    try:
        if codec == "opus":
            from . import opus

            return opus.OpusDecoder(rate)
        from . import g711

        return g711.G711Decoder(codec, rate)
    except ImportError as error:
        raise _unavailable(codec, error) from error


def make_encoder(codec: str, rate: int) -> Encoder:
    """An encoder for ``codec`` from ``rate``; otherwise as ``make_decoder``."""
    _check(codec, rate)
    try:
        if codec == "opus":
            from . import opus

            return opus.OpusEncoder(rate)
        from . import g711

        return g711.G711Encoder(codec, rate)
    except ImportError as error:
        raise _unavailable(codec, error) from error


def make_meter() -> Callable[[bytes], float]:
    """What tells how loud PCM is: ``level.level``. Raises VoiceUnavailable."""
    try:
        from . import level
    except ImportError as error:
        raise _unavailable("sound", error) from error
    return level.level


def _check(codec: str, rate: int) -> None:
    if codec not in CODECS:
        raise ValueError(f"no codec {codec!r}")
    if rate not in RATES:
        raise ValueError(f"no rate of {rate}")


def _unavailable(codec: str, error: ImportError) -> VoiceUnavailable:
    return VoiceUnavailable(
        f"{codec} needs the extra stunroute[audio] and, for Opus, the library libopus ({error})"
    )
