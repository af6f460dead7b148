"""What we send in one go, and when we say it again (RFC 6347 section 4.2.4).

A flight is kept as messages, never as datagrams: each time it is sent its records get new sequence
numbers, and those of epoch 1 are sealed anew. A lost datagram then cannot be told from one that
never was, and no nonce is used twice.

The client's hello is repeated early and often: it goes out on the first authenticated check, some
peers are not ready that soon, and nobody pays for a hello but us. Later flights go to a peer that
has answered, so they wait for ``resend_initial``. All of them back off.
"""

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from attrs import define, field, frozen

from stunroute.instant import Instant
from transceiver.config import DtlsLimits

from . import record
from .keys import Protection
from .messages import HEADER_LENGTH, Message
from .record import ContentType

_EARLY_RESENDS: Final = 3
_LEAST_PART: Final = 32
"""A message is not begun in what is left of a datagram where less than this of it would fit."""

_FARTHEST_SKIP: Final = 1 << 32
"""Beyond this a hello's record number is a forger's, who would use up ours."""

LEAST_MTU: Final = 96
"""A datagram must hold a record, its AEAD's overhead, a message's header and a part worth sending:
13 + 24 + 12 + 32 bytes, and some to spare. In less a message would be cut without end."""


@frozen(slots=True)
class ChangeCipherSpec:
    """Not a message of the handshake, yet it travels in its flights, always unprotected here."""


@frozen(slots=True)
class Protected:
    """A message under the keys of epoch 1: a Finished."""

    message: Message


Part: TypeAlias = Message | ChangeCipherSpec | Protected


@define(slots=True)
class Sender:
    """The records that leave: their numbers, and the keys once there are any."""

    _plain: int = field(default=0, init=False)
    _sealed: int = field(default=1 << 48, init=False)
    _protection: Protection | None = field(default=None, init=False)

    @property
    def armed(self) -> bool:
        return self._protection is not None

    @property
    def exhausted(self) -> bool:
        """Whether the sequence numbers of epoch 1 are used up."""
        return self._sealed >> 48 != 1

    def skip_to(self, sequence: int) -> None:
        """Give the next record of epoch 0 that number, unless it has been used already."""
        if self._plain < sequence < _FARTHEST_SKIP:
            self._plain = sequence

    def arm(self, protection: Protection) -> None:
        self._protection = protection

    def plain(self, content_type: int, content: bytes) -> bytes:
        """A record of epoch 0."""
        number = self._plain
        self._plain = number + 1
        return record.encode(content_type, number, content)

    def sealed(self, content_type: int, content: bytes) -> bytes:
        """A record of epoch 1. There must be keys and a number left."""
        if self._protection is None or self.exhausted:
            raise RuntimeError("no keys, or no sequence number left, to protect a record with")
        number = self._sealed
        self._sealed = number + 1
        return record.encode(
            content_type, number, self._protection.seal(content_type, number, content)
        )

    @property
    def overhead(self) -> int:
        """What protection adds to a content."""
        return 0 if self._protection is None else self._protection.overhead


@define(slots=True)
class _Packer:
    """Records into datagrams of at most ``mtu`` bytes. ``space`` is what the open one has left."""

    mtu: int
    space: int
    done: list[bytes] = field(factory=list, init=False)
    _open: list[bytes] = field(factory=list, init=False)

    def put(self, encoded: bytes) -> None:
        self._open.append(encoded)
        self.space -= len(encoded)

    def need(self, size: int) -> None:
        """Begin another datagram unless this one has so much left, or holds nothing yet."""
        if self.space < size and self._open:
            self.flush()

    def flush(self) -> None:
        if self._open:
            self.done.append(b"".join(self._open))
            self._open.clear()
            self.space = self.mtu


def pack(parts: Iterable[Part], sender: Sender, mtu: int) -> list[bytes]:
    """The datagrams of one sending, none longer than ``mtu``. Records share datagrams; a message
    that does not fit is cut, where the datagram has room for a part worth sending."""
    packer = _Packer(mtu, mtu)
    for part in parts:
        match part:
            case Message():
                _put_message(part, sender.plain, record.HEADER_LENGTH, packer)
            case Protected(message):
                overhead = record.HEADER_LENGTH + sender.overhead
                _put_message(message, sender.sealed, overhead, packer)
            case ChangeCipherSpec():
                packer.need(record.HEADER_LENGTH + 1)
                packer.put(sender.plain(ContentType.CHANGE_CIPHER_SPEC, b"\x01"))
    packer.flush()
    return packer.done


def _put_message(
    message: Message, send: Callable[[int, bytes], bytes], overhead: int, packer: _Packer
) -> None:
    """``overhead`` is what a record adds to its content."""
    if overhead + len(message.raw) <= packer.space:
        packer.put(send(ContentType.HANDSHAKE, message.raw))
        return
    overhead += HEADER_LENGTH
    offset, left = 0, len(message.raw) - HEADER_LENGTH
    while True:
        packer.need(overhead + min(left, _LEAST_PART))
        size = min(left, packer.space - overhead)
        packer.put(send(ContentType.HANDSHAKE, message.fragment(offset, size)))
        offset, left = offset + size, left - size
        if not left:
            return


@define(slots=True)
class Flight:
    """The last thing we sent of the handshake. ``deadline`` is when it goes out again by itself:
    None for the last flight of all, which is repeated only when the peer shows that it needs it."""

    parts: tuple[Part, ...]
    _limits: DtlsLimits
    _early: bool
    _timed: bool
    _resends: int = field(default=0, init=False)
    sent_at: Instant = field(default=0.0, init=False)
    deadline: Instant | None = field(default=None, init=False)

    def sent(self, now: Instant) -> None:
        """It has just gone out, for the first time or again."""
        self.sent_at = now
        if self._timed:
            self.deadline = now + self._delay()
            self._resends += 1

    def may_repeat(self, now: Instant) -> bool:
        """Whether the peer's own repetition may make us repeat ours: not in quick succession, so
        that duplicated or forged packets do not make more of ours than our timer would."""
        return now - self.sent_at >= self._limits.first_resend

    def _delay(self) -> float:
        limits, resends = self._limits, self._resends
        if self._early:
            if resends < _EARLY_RESENDS:
                return float(limits.first_resend * 2**resends)
            resends -= _EARLY_RESENDS
        # The exponent is bounded because a float is not: 2**1024 does not fit one.
        return min(limits.resend_maximum, float(limits.resend_initial * 2 ** min(resends, 32)))
