"""What a DTLS puppet puts into datagrams, and how: records, their numbers, fragments, flights.

A flight is a row of ``Part``s, each the content of one record. A case that wants something odd on
the wire changes the row (``arrange``) or the way from it to datagrams (``pack``). Both are plain
functions, so that any of them can be made in a line.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import attrs
from attrs import define, field, frozen

from transceiver.dtls import record
from transceiver.dtls.keys import Protection
from transceiver.dtls.messages import Message
from transceiver.dtls.record import DTLS_1_2, ContentType

MTU = 1200


@frozen(slots=True)
class Part:
    """The content of one record, before protection. ``message`` is what it holds, if it is one
    whole message of the handshake. ``number`` is a record number other than the next one."""

    content_type: int
    content: bytes = field(repr=False)
    epoch: int = 0
    message: Message | None = field(default=None, repr=False)
    version: int = DTLS_1_2
    number: int | None = None

    @classmethod
    def of(cls, message: Message, epoch: int = 0) -> "Part":
        """A message whole, in a record of its own."""
        return cls(ContentType.HANDSHAKE, message.raw, epoch, message)

    def pieces(self, size: int) -> list["Part"]:
        """The same message in fragments of at most ``size`` bytes. What is no message stays."""
        if self.message is None:
            return [self]
        length = len(self.message.body)
        return [
            self.cut(offset, min(size, length - offset)) for offset in range(0, length, size)
        ] or [self]

    def cut(self, offset: int, size: int) -> "Part":
        """One fragment of it. Raises TypeError for what is no message."""
        if self.message is None:
            raise TypeError("only a message has fragments")
        return attrs.evolve(self, content=self.message.fragment(offset, size), message=None)


CHANGE_CIPHER_SPEC = Part(ContentType.CHANGE_CIPHER_SPEC, b"\x01")


@define(slots=True)
class Writer:
    """Makes records and counts their numbers. ``shared`` between the puppets of one call, because
    numbers go on when a handshake begins anew."""

    plain: int = 0
    sealed: int = 0
    protection: Protection | None = field(default=None, repr=False)

    def arm(self, protection: Protection) -> None:
        """New keys: their numbers begin at 0."""
        self.protection, self.sealed = protection, 0

    def record(self, part: Part) -> bytes:
        """The whole record. Parts of another epoch than 0 are sealed, as epoch 1 or as whatever
        they say; without keys they are left as they are."""
        sequence = part.number
        if sequence is None:
            sequence = self.sealed if part.epoch else self.plain
        if part.number is None and part.epoch:
            self.sealed += 1
        elif part.number is None:
            self.plain += 1
        number = part.epoch << 48 | sequence
        content = part.content
        if part.epoch and self.protection is not None:
            content = self.protection.seal(part.content_type, number, content)
        return record.encode(part.content_type, number, content, part.version)


Packing: TypeAlias = Callable[[Writer, Sequence[Part]], list[bytes]]
Arranging: TypeAlias = Callable[[list[Part]], list[Part]]


def as_it_is(parts: list[Part]) -> list[Part]:
    """The flight in its order."""
    return parts


def together(writer: Writer, parts: Sequence[Part]) -> list[bytes]:
    """As an honest peer does it: a message a record, records in datagrams up to ``MTU``, what is
    longer than that cut."""
    datagrams: list[bytes] = []
    for part in parts:
        for piece in part.pieces(MTU - 64):
            encoded = writer.record(piece)
            if datagrams and len(datagrams[-1]) + len(encoded) <= MTU:
                datagrams[-1] += encoded
            else:
                datagrams.append(encoded)
    return datagrams


def apart(writer: Writer, parts: Sequence[Part]) -> list[bytes]:
    """Each record in a datagram of its own."""
    return [writer.record(part) for part in parts]


def at_once(writer: Writer, parts: Sequence[Part]) -> list[bytes]:
    """All records in one datagram, however long."""
    return [b"".join(writer.record(part) for part in parts)]


def in_pieces(size: int, *, datagram: int = 0) -> Packing:
    """Messages in fragments of ``size`` bytes, each record in its own datagram or, where
    ``datagram`` is given, as many as fit one of that size."""

    def pack(writer: Writer, parts: Sequence[Part]) -> list[bytes]:
        records = [writer.record(piece) for part in parts for piece in part.pieces(size)]
        return _fill(records, datagram)

    return pack


def _fill(records: Iterable[bytes], size: int) -> list[bytes]:
    datagrams: list[bytes] = []
    for each in records:
        if datagrams and len(datagrams[-1]) + len(each) <= size:
            datagrams[-1] += each
        else:
            datagrams.append(each)
    return datagrams


def in_one_record(writer: Writer, parts: Sequence[Part]) -> list[bytes]:
    """Neighbouring messages of the same epoch in one record."""
    merged: list[Part] = []
    for part in parts:
        last = merged[-1] if merged else None
        if (
            last is not None
            and last.content_type == part.content_type == ContentType.HANDSHAKE
            and last.epoch == part.epoch
        ):
            merged[-1] = attrs.evolve(last, content=last.content + part.content, message=None)
        else:
            merged.append(part)
    return at_once(writer, merged)


def backwards(parts: list[Part]) -> list[Part]:
    """The last first."""
    return parts[::-1]


def doubled(parts: list[Part]) -> list[Part]:
    """Each twice, under a number of its own."""
    return [each for part in parts for each in (part, part)]


def cut_up(size: int) -> Arranging:
    """Every message in fragments."""
    return lambda parts: [piece for part in parts for piece in part.pieces(size)]


def interleaved(size: int) -> Arranging:
    """Fragments of all messages in turn: the first of each, the second of each, and so on. What is
    no plain message stays at the end."""

    def arrange(parts: list[Part]) -> list[Part]:
        messages = [part for part in parts if part.message is not None and not part.epoch]
        rest = [part for part in parts if part not in messages]
        rows = [part.pieces(size) for part in messages]
        longest = max((len(row) for row in rows), default=0)
        mixed = [row[i] for i in range(longest) for row in rows if i < len(row)]
        return [*mixed, *rest]

    return arrange
