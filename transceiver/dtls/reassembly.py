"""Messages out of fragments (RFC 6347 section 4.2.3).

Before keys exist anybody may have sent a fragment, and a fragment is believed for no more than what
it says of itself: message_seq, type and length together name the message that it is part of. Two
that disagree about a length are parts of two messages, and only one of those will become whole.

Where two fragments of one message disagree about the same bytes, neither is believed: what has been
collected is forgotten and the newcomer starts afresh. So a single forged fragment costs the honest
peer one retransmission and never the connection, which it would if the first to come were kept.

Room is bounded by the sum of the messages' lengths, as claimed, with something added for each, so
that neither long messages nor many short ones can take more. When it is full the oldest unfinished
message goes: a forger who fills it once has gained nothing by the next retransmission.
"""

from collections.abc import Iterable
from typing import Final

from attrs import define, field

from stunroute.trace import Drop
from transceiver.config import DtlsLimits

from .messages import Fragment, Message

OVERHEAD: Final = 256
"""Bytes by which each message in reassembly counts beyond its length."""


@define(slots=True)
class _Partial:
    type: int
    sequence: int
    body: bytearray
    mask: bytearray
    """0xFF for each byte of ``body`` that has come."""
    missing: int

    def agrees(self, start: int, data: bytes) -> bool:
        end = start + len(data)
        mask = int.from_bytes(self.mask[start:end])
        return not (int.from_bytes(self.body[start:end]) ^ int.from_bytes(data)) & mask

    def put(self, start: int, data: bytes) -> None:
        end = start + len(data)
        self.missing -= self.mask.count(0, start, end)
        self.body[start:end] = data
        self.mask[start:end] = b"\xff" * len(data)


@define(slots=True)
class Reassembly:
    """``expected`` is the message_seq of the next message that the handshake wants."""

    _limits: DtlsLimits
    expected: int = field(default=0, init=False)
    _partials: dict[tuple[int, int, int], _Partial] = field(factory=dict, init=False)
    _room: int = field(init=False)

    @_room.default
    def _whole_room(self) -> int:
        return self._limits.reassembly_bytes

    def add(self, fragment: Fragment) -> list[Drop]:
        """Keep ``fragment``. The list says what had to be let go: it, or others for it."""
        if fragment.length > self._limits.message_length:
            return [Drop.DTLS_FRAGMENT_OVERSIZED]
        if fragment.sequence > self.expected + self._limits.messages_ahead:
            return [Drop.DTLS_FRAGMENT_AHEAD]
        drops: list[Drop] = []
        key = (fragment.sequence, fragment.type, fragment.length)
        data = fragment.data
        partial = self._partials.get(key)
        if partial is not None and not partial.agrees(fragment.offset, data):
            drops.append(Drop.DTLS_FRAGMENT_CONTRADICTION)
            self._remove(key)
            partial = None
        if partial is None:
            drops += self._make_room(fragment.length + OVERHEAD)
            partial = _Partial(
                fragment.type,
                fragment.sequence,
                bytearray(fragment.length),
                bytearray(fragment.length),
                fragment.length,
            )
            self._partials[key] = partial
            self._room -= fragment.length + OVERHEAD
        partial.put(fragment.offset, data)
        return drops

    @property
    def empty(self) -> bool:
        return not self._partials

    def take(self, sequence: int, type_: int | None = None) -> Message | None:
        """A message of that number (and type) that is whole, if there is one. It is removed."""
        for key, partial in self._partials.items():
            if key[0] == sequence and not partial.missing and type_ in (None, partial.type):
                self._remove(key)
                return Message.of(partial.type, sequence, bytes(partial.body))
        return None

    def advance(self, expected: int) -> None:
        """Messages before that number are dealt with."""
        self.expected = expected
        if not self._partials:
            return
        for key in [key for key in self._partials if key[0] < expected]:
            self._remove(key)

    def rewind(self, expected: int) -> None:
        """Forget everything and expect that number again."""
        self._partials.clear()
        self._room = self._limits.reassembly_bytes
        self.expected = expected

    def _make_room(self, wanted: int) -> Iterable[Drop]:
        drops = []
        while self._room < wanted and self._partials:
            self._remove(next(iter(self._partials)))
            drops.append(Drop.DTLS_REASSEMBLY_FULL)
        return drops

    def _remove(self, key: tuple[int, int, int]) -> None:
        del self._partials[key]
        self._room += key[2] + OVERHEAD
