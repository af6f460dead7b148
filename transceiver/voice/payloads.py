"""What a payload tells of itself without being decoded: how long it is, and whether it carries a
copy of the one before."""

from typing import Final

from stunroute.errors import DecodeError

LONGEST_OPUS: Final = 5760
"""Ticks of 48 kHz in one Opus packet at most (RFC 6716, 3.2.5)."""
LONGEST_G711: Final = 1600
"""Ticks of 8 kHz in one G.711 packet at most: 200 ms, as RFC 3551 (4.2) advises."""
_SILK = (480, 960, 1920, 2880)  # ticks of a frame by the low bits of its configuration
_HYBRID = (480, 960)
_CELT = (120, 240, 480, 960)


def duration_untrusted(codec: str, payload: bytes) -> int:
    """How much sound a packet holds, in ticks of its media clock. Raises DecodeError where that
    cannot be, or the codec is none of ours."""
    if not payload:
        raise DecodeError("an empty payload")
    if codec != "opus":
        if len(payload) > LONGEST_G711:
            raise DecodeError("more sound than a packet may hold")
        return len(payload)
    ticks = _frame(payload[0]) * _count(payload)
    if not 0 < ticks <= LONGEST_OPUS:
        raise DecodeError("no or too much sound in an Opus packet")
    return ticks


def _frame(toc: int) -> int:
    """Ticks of each frame (RFC 6716, 3.1)."""
    configuration = toc >> 3
    if configuration < 12:
        return _SILK[configuration & 3]
    if configuration < 16:
        return _HYBRID[configuration & 1]
    return _CELT[configuration & 3]


def _count(payload: bytes) -> int:
    """Frames in the packet (RFC 6716, 3.2)."""
    match payload[0] & 3:
        case 0:
            return 1
        case 1 | 2:
            return 2
        case _:
            if len(payload) < 2:
                raise DecodeError("an Opus packet that ends before its frame count")
            return payload[1] & 0x3F


def carries_copy(codec: str, payload: bytes) -> bool:
    """Whether an Opus packet holds a copy of the frame before it, in its first frame's header
    (RFC 6716, 4.2.3 and 4.2.4). False for whatever cannot be read."""
    if codec != "opus" or len(payload) < 2 or payload[0] >> 3 >= 16:
        return False
    at = _first_frame(payload)
    if at >= len(payload):
        return False
    frames = max(1, _frame(payload[0]) // 960)  # SILK frames of 20 ms, each with a flag before ours
    mono = payload[at] >> 7 - frames & 1
    side = payload[at] >> 6 - 2 * frames & 1 if payload[0] & 4 else 0
    return bool(mono or side)


def _first_frame(payload: bytes) -> int:
    """Where the first frame begins; beyond the payload where that cannot be told."""
    code = payload[0] & 3
    if code < 2:
        return 1
    if code == 2:
        return 1 + _length_size(payload, 1)
    at, padded, sizes = 2, payload[1] & 0x40, payload[1] & 0x3F if payload[1] & 0x80 else 1
    while padded and at < len(payload):
        at += 1
        padded = payload[at - 1] == 255
    for _ in range(sizes - 1):
        at += _length_size(payload, at)
    return at


def _length_size(payload: bytes, at: int) -> int:
    """Bytes of the frame length at ``at`` (RFC 6716, 3.2.1)."""
    return 2 if at < len(payload) and payload[at] >= 252 else 1
