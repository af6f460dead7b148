"""A trail as a capture that any packet tool opens, keys and remarks included.

The form is pcapng, because one file then holds all of it: the key log in a Decryption Secrets
Block, so that what is opened is readable at once, and what the case calls a datagram as that
packet's comment. Time stamps are the case's seconds on top of the time of day at which the run
began: virtual time has no other.
"""

import struct
from datetime import datetime

from conformance import capture
from conformance.trail import Crossing, Note, Trail

from .plain import one_line

SECTION, INTERFACE, ENHANCED, SECRETS = 0x0A0D0D0A, 1, 6, 10
"""Types of blocks."""
_BYTE_ORDER = 0x1A2B3C4D
_TLS_KEY_LOG = 0x544C534B
_COMMENT, _RESOLUTION, _APPLICATION = 1, 9, 4
_NANOSECONDS = 9
_BILLION = 1_000_000_000
MOST_COMMENT = 1000


def file_name(case_name: str) -> str:
    """A case's name as one that file systems take; different names stay different, for no name has
    an underscore."""
    return case_name.replace("/", "_")


def key_log(trail: Trail) -> str:
    """The lines of the key log."""
    return "".join(f"{line}\n" for line in trail.secrets)


def ordered(trail: Trail) -> list[Crossing | Note]:
    """The entries by their time. A datagram is read some time after it has come, and what was sent
    meanwhile stands before it in the trail."""
    return sorted(trail.entries, key=lambda entry: entry.at)


def numbered(trail: Trail) -> dict[int, int]:
    """For the index of each of the ``ordered`` entries that is in the capture its packet number,
    from 1."""
    held = [index for index, entry in enumerate(ordered(trail)) if _frame(entry) is not None]
    return {index: number for number, index in enumerate(held, 1)}


def pcapng(trail: Trail, began: str) -> bytes:
    """The whole file, little-endian. ``began`` is in ISO 8601."""
    out = [
        _block(
            SECTION, struct.pack("<IHHq", _BYTE_ORDER, 1, 0, -1), [(_APPLICATION, b"stunroute")]
        ),
        _block(
            INTERFACE,
            struct.pack("<HHI", capture.LINK_RAW, 0, 0),
            [(_RESOLUTION, bytes((_NANOSECONDS,)))],
        ),
    ]
    if trail.secrets:
        lines = key_log(trail).encode()
        out.append(
            _block(SECRETS, struct.pack("<II", _TLS_KEY_LOG, len(lines)) + _padded(lines), [])
        )
    origin = int(datetime.fromisoformat(began).timestamp()) * _BILLION
    entries = ordered(trail)
    first = entries[0].at if entries else 0.0
    remarks: list[str] = []
    for entry in entries:
        if isinstance(entry, Note):
            remarks.append(entry.text.partition("\n")[0])
        elif (frame := _frame(entry)) is not None:
            said = [one_line(text) for text in (*remarks, entry.note) if text]
            remarks.clear()
            time = origin + max(0, round((entry.at - first) * _BILLION))
            fixed = struct.pack("<IIIII", 0, time >> 32, time & 0xFFFFFFFF, len(frame), len(frame))
            comments = [(_COMMENT, text[:MOST_COMMENT].encode()) for text in said]
            out.append(_block(ENHANCED, fixed + _padded(frame), comments))
    return b"".join(out)


def _frame(entry: Crossing | Note) -> bytes | None:
    """A datagram as an IP packet; None where it would not fit one."""
    if isinstance(entry, Note):
        return None
    ends = (entry.near, entry.far) if entry.sent else (entry.far, entry.near)
    try:
        return capture.datagram(*ends, entry.data)
    except ValueError:
        return None


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _block(kind: int, body: bytes, options: list[tuple[int, bytes]]) -> bytes:
    """Type, length, body, options, length again."""
    for code, value in options:
        body += struct.pack("<HH", code, len(value)) + _padded(value)
    if options:
        body += bytes(4)
    length = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + length + body + length
