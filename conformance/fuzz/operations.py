"""An input as a setting and a row of operations.

::

    0         1      2             4
    +---------+------+-------------+------------------+-----
    | setting | kind | length      | argument         | next operation
    +---------+------+-------------+------------------+-----

Lengths are big-endian; what the setting means is the target's affair. Every row of bytes can be
read: an argument that is cut short is as long as what is left, and behind the last whole header
there is nothing. So a fuzzer that knows nothing of it may change any byte, and one that knows
(``mutate``) may move whole operations about.
"""

from collections.abc import Iterable
from struct import Struct
from typing import TypeAlias

HEADER = Struct(">BH")
MOST = 48
"""Operations of one input that are carried out."""

Operation: TypeAlias = tuple[int, bytes]


def decode(data: bytes, most: int = MOST) -> tuple[int, list[Operation]]:
    """The setting of an input, 0 where it is empty, and its operations, at most ``most``."""
    found: list[Operation] = []
    at, size = 1, len(data)
    while at + HEADER.size <= size and len(found) < most:
        kind, length = HEADER.unpack_from(data, at)
        at += HEADER.size
        found.append((kind, data[at : at + length]))
        at += length
    return (data[0] if data else 0), found


def encode(setting: int, operations: Iterable[Operation]) -> bytes:
    """The input that ``decode`` reads as these. Arguments are cut at 65,535 bytes."""
    cut = ((kind, argument[:0xFFFF]) for kind, argument in operations)
    row = b"".join(HEADER.pack(kind, len(argument)) + argument for kind, argument in cut)
    return bytes((setting & 0xFF,)) + row
