"""The frames of AudioSocket, Asterisk's protocol for carrying a call's sound over a stream.

A frame is one octet of kind, two of length (big-endian), and the payload::

    0x00  end of the call, no payload
    0x01  which call this is, 16 octets of UUID; the first frame from the edge
    0x03  a DTMF digit, one octet of ASCII
    0x10  sound at 8000 samples per second: PCM, 16 bits signed, little-endian, mono
    0x11  the same at 12000; 0x12 at 16000, 0x13 at 24000, 0x14 at 32000, 0x15 at 44100,
          0x16 at 48000, 0x17 at 96000, 0x18 at 192000
    0xff  an error, with a code of one octet or none

One kind is of our own, because a conversation can be interrupted and AudioSocket has no word for
it::

    0xf0  flush. From the agent, no payload: what it has sent and the client has not heard yet is
          to be silenced. From the edge, four octets (big-endian): the client began to speak and has
          been given silence after so many milliseconds of the current utterance.

A frame of a kind that is not listed is skipped, so a later kind does not end a call.
"""

import struct
from typing import TypeAlias

from attrs import define, field, frozen

from stunroute.errors import DecodeError

HEADER = struct.Struct(">BH")
LONGEST = 0xFFFF
"""Octets of one payload at most."""

RATES = {
    0x10: 8000,
    0x11: 12000,
    0x12: 16000,
    0x13: 24000,
    0x14: 32000,
    0x15: 44100,
    0x16: 48000,
    0x17: 96000,
    0x18: 192000,
}
"""Samples per second by kind."""
_KINDS = {rate: kind for kind, rate in RATES.items()}
_PLAYED = struct.Struct(">I")


@frozen(slots=True)
class Hangup:
    """The call is over."""


@frozen(slots=True)
class Identity:
    """Which call this is: 16 octets of UUID."""

    uuid: bytes


@frozen(slots=True)
class Digit:
    """A DTMF digit: ``0`` to ``9``, ``*``, ``#``, ``A`` to ``D``."""

    digit: str


@frozen(slots=True)
class Voice:
    """Sound at ``rate`` samples per second, one of ``RATES``."""

    rate: int
    pcm: bytes = field(repr=False)


@frozen(slots=True)
class Flush:
    """Silence; ``played`` is in milliseconds, None where the frame does not say."""

    played: int | None = None


@frozen(slots=True)
class Failure:
    """The other side reports an error; None where it gives no code."""

    code: int | None = None


Frame: TypeAlias = Hangup | Identity | Digit | Voice | Flush | Failure


def encode(frame: Frame) -> bytes:
    """The octets of ``frame``. Raises ValueError where its contents do not fit one."""
    match frame:
        case Hangup():
            return _framed(0x00, b"")
        case Identity(uuid):
            if len(uuid) != 16:
                raise ValueError("a UUID has 16 octets")
            return _framed(0x01, uuid)
        case Digit(digit):
            payload = digit.encode("ascii")
            if len(payload) != 1:
                raise ValueError("a digit is one character")
            return _framed(0x03, payload)
        case Voice(rate, pcm):
            if rate not in _KINDS or len(pcm) % 2:
                raise ValueError("no such rate, or half a sample")
            return _framed(_KINDS[rate], pcm)
        case Flush(played):
            return _framed(0xF0, b"" if played is None else _PLAYED.pack(played & 0xFFFFFFFF))
        case Failure(code):
            return _framed(0xFF, b"" if code is None else bytes([code]))


def _framed(kind: int, payload: bytes) -> bytes:
    if len(payload) > LONGEST:
        raise ValueError("longer than a frame")
    return HEADER.pack(kind, len(payload)) + payload


@define(slots=True, eq=False)
class FrameReader:
    """Makes frames of a stream. Keeps what is left of one, so never more than one frame."""

    skipped: int = field(init=False, default=0)
    """Frames of kinds that are not known."""
    _rest: bytearray = field(init=False, factory=bytearray, repr=False)

    def receive_untrusted(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes. Raises DecodeError where one is not what its kind
        asks for; the stream is of no more use then."""
        self._rest += data
        frames = []
        start = 0
        while len(self._rest) - start >= HEADER.size:
            kind, length = HEADER.unpack_from(self._rest, start)
            end = start + HEADER.size + length
            if end > len(self._rest):
                break
            frame = _decode(kind, bytes(self._rest[start + HEADER.size : end]))
            if frame is None:
                self.skipped += 1
            else:
                frames.append(frame)
            start = end
        del self._rest[:start]
        return frames


def _decode(kind: int, payload: bytes) -> Frame | None:
    if kind in RATES:
        if len(payload) % 2:
            raise DecodeError("sound that ends in half a sample")
        return Voice(RATES[kind], payload)
    match kind, len(payload):
        case 0x00, _:
            return Hangup()
        case 0x01, 16:
            return Identity(payload)
        case 0x03, 1 if payload.isascii():
            return Digit(payload.decode("ascii"))
        case 0xF0, 0:
            return Flush()
        case 0xF0, 4:
            return Flush(*_PLAYED.unpack(payload))
        case 0xFF, 0:
            return Failure()
        case 0xFF, _:
            return Failure(payload[0])
        case 0x01 | 0x03 | 0xF0, _:
            raise DecodeError("a payload that is not what its kind asks for")
        case _:
            return None
