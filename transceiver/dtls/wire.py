"""Reading what TLS calls vectors.

A TLS structure is a row of big-endian integers and of byte strings behind their own length (RFC
5246 section 4). ``Reader`` walks one such row and refuses to step past its end, so that no decoder
built on it needs a bounds check of its own. Writing needs no more than the functions below it.
"""

from collections.abc import Iterable
from struct import unpack

from attrs import define, field

from stunroute.errors import DecodeError


@define(slots=True)
class Reader:
    """A position in ``data``. Every method raises ``DecodeError`` where too little is left."""

    data: bytes
    offset: int = field(default=0)

    def take_untrusted(self, length: int) -> bytes:
        """The next ``length`` bytes."""
        start = self.offset
        self.offset = end = start + length
        if end > len(self.data):
            raise DecodeError("ends inside a field")
        return self.data[start:end]

    def integer_untrusted(self, width: int) -> int:
        """The next ``width`` bytes as an unsigned big-endian integer."""
        return int.from_bytes(self.take_untrusted(width))

    def vector_untrusted(self, width: int) -> bytes:
        """A byte string behind its length, which takes ``width`` bytes."""
        return self.take_untrusted(int.from_bytes(self.take_untrusted(width)))

    @property
    def exhausted(self) -> bool:
        return self.offset >= len(self.data)

    def finish_untrusted(self) -> None:
        """Refuse bytes behind the last field."""
        if self.offset != len(self.data):
            raise DecodeError("bytes behind the last field")


def integers_untrusted(data: bytes, width: int) -> tuple[int, ...]:
    """Unsigned big-endian integers of ``width`` bytes each, which fill ``data``."""
    if len(data) % width:
        raise DecodeError("a list that ends inside an element")
    if width == 2:
        return unpack(f"!{len(data) // 2}H", data)
    return tuple(int.from_bytes(data[i : i + width]) for i in range(0, len(data), width))


def integers(values: Iterable[int], width: int) -> bytes:
    """The inverse of ``integers_untrusted``."""
    return b"".join(value.to_bytes(width) for value in values)


def vector(data: bytes, width: int) -> bytes:
    """``data`` behind its length, which takes ``width`` bytes."""
    return len(data).to_bytes(width) + data
