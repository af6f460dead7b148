"""What chunks, parameters and error causes have in common: type, length, value, padding.

::

     0             2             4
     +-------------+-------------+------------------+-----------
     | type        | length      | value            | padding
     +-------------+-------------+------------------+-----------

``length`` is big-endian and counts the four bytes before the value, not the padding of zeros that
brings the next one to a multiple of four (RFC 9260 sections 3.2 and 3.2.1). Chunks have a type of
one byte, and flags in the other; what is said of lengths holds for them too. The last padding is
not missed where it is missing, as some senders leave it out.
"""

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final

from stunroute.errors import DecodeError

HEADER: Final = Struct("!HH")
PADDING: Final = (b"", b"\0\0\0", b"\0\0", b"\0")
"""By the length modulo four of what is to be padded."""

STOP_BIT: Final = 0x8000
"""In a parameter type: clear means that what follows is not to be read, once the type is not
known (RFC 9260 section 3.2.1)."""
REPORT_BIT: Final = 0x4000


def walk_untrusted(data: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Type and value of each element from ``offset`` to the end of ``data``. Raises
    ``DecodeError`` where an element does not end before the data does."""
    size = len(data)
    while offset < size:
        if size - offset < 4:
            raise DecodeError("ends inside the header of an element")
        kind, length = HEADER.unpack_from(data, offset)
        end = offset + length
        if length < 4 or end > size:
            raise DecodeError("an element at odds with its length")
        yield kind, data[offset + 4 : end]
        offset = end + (-length & 3)


def element(kind: int, value: bytes) -> bytes:
    """One element, padded."""
    length = len(value) + 4
    return HEADER.pack(kind, length) + value + PADDING[length & 3]


def row(elements: Iterable[bytes]) -> bytes:
    """Elements as ``element`` makes them, one behind another, the last without its padding: a
    chunk's length counts that of the others only (RFC 9260 section 3.2)."""
    encoded = list(elements)
    if encoded:
        last = encoded[-1]
        encoded[-1] = last[: int.from_bytes(last[2:4])]
    return b"".join(encoded)
