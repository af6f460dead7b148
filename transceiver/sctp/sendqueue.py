"""Messages that wait to be sent, by stream.

Streams take turns, message by message: the fragments of one message have consecutive TSNs (RFC
9260 section 6.9), so a message once begun is finished before another one starts. An ordered message
gets its sequence number when it is begun and not before, so that one let go while it waited leaves
no hole.

A stream that is to be reset finishes what it had then. What is sent on it later is held until the
peer has answered, because it belongs to the stream's next life, with sequence numbers from zero.
"""

from collections import deque
from typing import Final

from attrs import define, field

from stunroute.errors import StunrouteError
from stunroute.instant import Instant
from transceiver.config import SctpLimits

from .serial import SSN_MASK

MESSAGE_OVERHEAD: Final = 128
"""What a message counts beyond its bytes, lest very many very small ones take all memory."""


class SendQueueFull(StunrouteError):
    """More than ``SctpLimits.send_buffer`` waits to be sent or acknowledged. Nothing was queued."""


@define(slots=True, eq=False)
class Stream:
    """One of our outgoing streams."""

    number: int
    threshold: int = 0
    buffered: int = 0
    """Bytes of messages that have not been sent for the first time."""
    unacknowledged: int = 0
    """Chunks sent and not acknowledged; those given up count until the peer knows."""
    ssn: int = 0
    waiting: "deque[Outgoing]" = field(factory=deque)
    held: "deque[Outgoing] | None" = None
    """Not None: the stream is being reset."""
    in_turn: bool = False
    begun: bool = False
    """One of its messages is begun and not finished."""

    @property
    def idle(self) -> bool:
        """Whether everything from before a reset has been sent and acknowledged."""
        return not (self.waiting or self.begun or self.unacknowledged)


@define(slots=True, eq=False)
class Outgoing:
    """A message on its way. ``expires`` and ``retransmissions`` bound the attempts (RFC 3758, RFC
    7496); None: it is reliable in that respect."""

    stream: Stream
    ppid: int
    payload: bytes = field(repr=False)
    ordered: bool = True
    expires: Instant | None = None
    retransmissions: int | None = None
    charge: int = 0
    """What it counts against ``SctpLimits.send_buffer``."""
    ssn: int = 0
    offset: int = 0
    """Where its next fragment begins; 0: it is not begun, its length: all of it has been sent."""
    unacknowledged: int = 0
    """Chunks of it that are sent and not acknowledged."""
    taken: bool = False
    """Nothing of it is left in the queue."""

    def expired(self, now: Instant) -> bool:
        return self.expires is not None and now > self.expires


@define(slots=True)
class SendQueue:
    limits: SctpLimits
    charged: int = field(default=0, init=False)
    """What counts against ``SctpLimits.send_buffer``."""
    _streams: dict[int, Stream] = field(factory=dict, init=False)
    _turns: deque[Stream] = field(factory=deque, init=False)
    current: Outgoing | None = field(default=None, init=False)
    """The message that is begun and not finished."""
    low: dict[int, None] = field(factory=dict, init=False)
    """Streams for ``next_low``."""

    @property
    def empty(self) -> bool:
        """Whether nothing may be sent; what is held behind a reset does not count."""
        return self.current is None and not self._turns

    @property
    def holding(self) -> bool:
        """Whether anything is held behind a reset."""
        return any(stream.held for stream in self._streams.values())

    def stream(self, number: int) -> Stream:
        found = self._streams.get(number)
        if found is None:
            found = self._streams[number] = Stream(number)
        return found

    def buffered_amount(self, number: int) -> int:
        found = self._streams.get(number)
        return 0 if found is None else found.buffered

    def next_low(self) -> int | None:
        """A stream whose buffered amount has fallen to its threshold or below."""
        if not self.low:
            return None
        stream = next(iter(self.low))
        del self.low[stream]
        return stream

    def add(
        self,
        number: int,
        ppid: int,
        payload: bytes,
        *,
        ordered: bool,
        expires: Instant | None,
        retransmissions: int | None,
    ) -> None:
        """Queue a message. Raises ``SendQueueFull``."""
        size = len(payload)
        charge = size + MESSAGE_OVERHEAD
        if self.charged + charge > self.limits.send_buffer:
            raise SendQueueFull("too much waits to be sent or acknowledged")
        self.charged += charge
        stream = self.stream(number)
        stream.buffered += size
        message = Outgoing(stream, ppid, payload, ordered, expires, retransmissions, charge)
        if stream.held is not None:
            stream.held.append(message)
            return
        stream.waiting.append(message)
        if not stream.in_turn:
            stream.in_turn = True
            self._turns.append(stream)

    def peek(self, now: Instant) -> Outgoing | None:
        """The message whose fragment is next, begun or not. Those not begun whose time is over
        are let go. A begun one is left to who knows what was sent of it."""
        if self.current is not None:
            return self.current
        turns = self._turns
        while turns:
            message = turns[0].waiting[0]
            if not message.expired(now):
                return message
            self._pull()
            self._let_go(message.stream, len(message.payload))
            self.release(message)
        return None

    def take(self, message: Outgoing, size: int) -> bytes:
        """The next ``size`` bytes or less of the message that ``peek`` gave."""
        begin, stream, payload = message.offset, message.stream, message.payload
        if not begin:
            self._pull()
            self.current = message
            stream.begun = True
            if message.ordered:
                message.ssn = stream.ssn
                stream.ssn = (message.ssn + 1) & SSN_MASK
        end, length = begin + size, len(payload)
        if end < length:
            message.offset = end
            fragment = payload[begin:end]
        else:
            message.offset = length
            fragment = payload[begin:] if begin else payload
            size = length - begin
            self._finish(message)
        before = stream.buffered
        stream.buffered = after = before - size
        if after <= stream.threshold < before:
            self.low[stream.number] = None
        return fragment

    def discard(self, message: Outgoing) -> bool:
        """Let go what is left of a message that is begun. False if nothing was."""
        if message.taken:
            return False
        left = len(message.payload) - message.offset
        self._finish(message)
        self._let_go(message.stream, left)
        return True

    def release(self, message: Outgoing) -> None:
        """A message is done with: acknowledged, or let go."""
        self.charged -= message.charge
        message.charge = 0

    def hold(self, number: int) -> None:
        """Begin the reset of a stream. A second call changes nothing."""
        stream = self.stream(number)
        if stream.held is None:
            stream.held = deque()

    def resume(self, number: int, *, fresh: bool) -> None:
        """The reset is over, and if ``fresh`` has been performed: the next message is number 0. Of
        a stream with nothing to send nothing is kept then."""
        stream = self.stream(number)
        held, stream.held = stream.held, None
        if fresh:
            stream.ssn = 0
            if not held:
                del self._streams[number]
                return
        if held:
            stream.waiting.extend(held)
            if not stream.in_turn:
                stream.in_turn = True
                self._turns.append(stream)

    def confine(self, streams: int) -> None:
        """There are ``streams`` streams and no more: what waits on others is let go."""
        for number in [number for number in self._streams if number >= streams]:
            stream = self._streams.pop(number)
            for message in (*stream.waiting, *(stream.held or ())):
                self.release(message)
            if stream.in_turn:
                self._turns.remove(stream)

    def _pull(self) -> None:
        """Take the next message out of its stream, whose turn is over."""
        stream = self._turns.popleft()
        stream.waiting.popleft()
        if stream.waiting:
            self._turns.append(stream)
        else:
            stream.in_turn = False

    def _finish(self, message: Outgoing) -> None:
        self.current = None
        message.stream.begun = False
        message.taken = True
        # Its chunks have copies, and it may have to wait long for the last acknowledgement.
        message.payload = b""

    def _let_go(self, stream: Stream, size: int) -> None:
        before = stream.buffered
        stream.buffered = after = before - size
        if after <= stream.threshold < before:
            self.low[stream.number] = None
