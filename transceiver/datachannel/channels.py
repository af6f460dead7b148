"""The data channels of one session, over its SCTP association (RFC 8831, RFC 8832).

A channel is the pair of streams with its number, one each way. It begins with a DCEP message from
either side, or by signalling alone (a *negotiated* channel), and ends when both streams have been
reset. An end has two halves then, in either order, and who sees the other's half does its own::

                    open()                          OPEN comes
          (free) -----------> OPENING      (free) -----------------> OPEN
                                 |  ACK, or any message comes          ^
                                 +-------------------------------------+

                         close(), or the peer's reset           both halves done
          OPENING, OPEN ------------------------------> CLOSING -----------------> (free)

A number is free when both halves are done and not before: a message of the old channel must never
be taken for one of the new. The peer may know it earlier than we do, because the answer that tells
us that our half is done may be lost when its OPEN for a new channel is not. That OPEN proves the
peer's side of it, and our association holds what we say on the stream until the answer has come.

**Which numbers.** We choose even ones as DTLS client, odd ones as server. Of the peer's choice only
is asked that the number be free, because there are stacks that choose by the role they have in ICE.

**Refusal** of a channel is resetting it without an ACK (RFC 8832 section 6). That is done once for
each number, then it counts as closing, and what else comes on it is let go unheard. The application
hears nothing of channels that were refused.

**Time.** What happens on the association is dealt with as of the last reading of the clock that
came with a verb. Fetch the events before the packets: what is said in answer is in those.
"""

from collections import deque
from collections.abc import Iterable
from enum import Enum
from typing import Final

from attrs import define

from stunroute.allowance import TokenBucket
from stunroute.errors import DecodeError, StunrouteError
from stunroute.instant import Instant
from stunroute.trace import Drop
from transceiver import sctp
from transceiver.config import ChannelLimits

from .association import Association
from .events import Closed, Drained, Dropped, Ended, Event, Message, Opened
from .messages import (
    DCEP,
    Ack,
    Open,
    decode_untrusted,
    decode_user_message_untrusted,
    encode_user_message,
    to_utf8,
)

_STREAMS: Final = 65535
"""Numbers of channels are below this (RFC 8831 section 6.2)."""

_RELIABLE: Final = Open("")


class ChannelError(StunrouteError):
    """A caller asked in vain. Nothing was sent."""


class NotOpen(ChannelError):
    """There is no such channel, it is closing, or the association is over."""


class TooManyChannels(ChannelError):
    """As many are open as may be, or no number is left."""


class MessageTooLong(ChannelError):
    """Longer than the peer takes."""


class SendBufferFull(ChannelError):
    """Too much waits to be sent or acknowledged. ``Drained`` tells of room again."""


class Stage(Enum):
    OPENING = "opening"
    """We have announced it and heard nothing yet."""
    OPEN = "open"
    CLOSING = "closing"
    """Our half of the end is asked for, or done."""


@define(slots=True, eq=False)
class _Channel:
    number: int
    open: Open
    stage: Stage
    negotiated: bool = False
    heard: bool = False
    """The peer has said something on it. Before that everything goes in order (RFC 8832, 6), lest
    a message overtake the announcement."""
    refused: bool = False
    """The application does not know of it."""
    told: bool = False
    """It had its ``Opened``."""
    ours_reset: bool = False
    theirs_reset: bool = False
    stale_reset: bool = False
    """The answer to the reset of this number's previous channel is still to come."""


@define(slots=True, eq=False, init=False)
class DataChannels:
    """``dtls_client`` is our role; ``max_message_size`` how many bytes the peer takes in a message,
    0: any number; ``negotiated`` are number and label of the channels that signalling agreed on.
    """

    _association: Association
    _limits: ChannelLimits
    _first: int
    max_message_size: int
    _negotiated: tuple[tuple[int, str], ...]
    _channels: dict[int, _Channel]
    _spent: set[int]
    """Numbers that the peer would not reset: not free, and nobody's."""
    _opens: TokenBucket
    _over: bool
    _events: deque[Event]
    _now: Instant

    def __init__(
        self,
        association: Association,
        *,
        dtls_client: bool,
        max_message_size: int,
        limits: ChannelLimits,
        negotiated: Iterable[tuple[int, str]] = (),
    ) -> None:
        self._association = association
        self._limits = limits
        self._first = 0 if dtls_client else 1
        self.max_message_size = max_message_size
        self._negotiated = tuple(negotiated)
        self._channels = {}
        self._spent = set()
        rate = limits.opens_per_second
        self._opens = TokenBucket(rate, 2 * rate)
        self._over = False
        self._events = deque()
        self._now = 0.0
        self._add_negotiated()

    # --- the association's verbs ------------------------------------------------------------------

    def connect(self, now: Instant) -> None:
        """Begin; the peer may do the same."""
        self._now = now
        self._association.connect(now)
        self._heed()

    def receive_packet(self, data: bytes, now: Instant) -> None:
        """Take an SCTP packet out of a DTLS record. Never raises."""
        self._now = now
        self._association.receive_packet(data, now)
        self._heed()

    def handle_timeout(self, now: Instant) -> None:
        self._now = now
        self._association.handle_timeout(now)
        self._heed()

    def retry(self, now: Instant) -> None:
        """The peer's ICE was just heard: what the association has lost goes again."""
        self._now = now
        self._association.retry(now)

    def next_transmit(self) -> bytes | None:
        """The next SCTP packet to send."""
        return self._association.next_transmit()

    def next_timeout(self) -> Instant | None:
        return self._association.next_timeout()

    def next_event(self) -> Event | None:
        if not self._events:
            self._heed()
        return self._events.popleft() if self._events else None

    # --- the application's ------------------------------------------------------------------------

    def open(
        self,
        label: str,
        *,
        protocol: str = "",
        ordered: bool = True,
        lifetime: float | None = None,
        retransmissions: int | None = None,
        now: Instant,
    ) -> int:
        """Open a channel; its number. It can be sent on at once, ``Opened`` follows when the peer
        has agreed. A message is tried for ``lifetime`` seconds or sent again ``retransmissions``
        times, not both; neither: until it has arrived. Raises ``ChannelError``."""
        self._now = now
        if lifetime is not None and retransmissions is not None:
            raise ValueError("lifetime and retransmissions exclude one another")
        announcement = Open(label, protocol, ordered, lifetime, retransmissions)
        if max(len(to_utf8(label)), len(to_utf8(protocol))) > self._limits.label:
            raise ChannelError("the label or the protocol is too long")
        number = self._free_number()
        if number is None or self.count() >= self._limits.channels:
            raise TooManyChannels("no more channels can be opened")
        self._send(number, DCEP, announcement.encode(), _RELIABLE)
        self._add(_Channel(number, announcement, Stage.OPENING))
        return number

    def send(self, channel: int, message: str | bytes, now: Instant) -> None:
        """Send a text or binary message. Raises ``ChannelError``."""
        self._now = now
        found = self._channels.get(channel)
        if found is None or found.stage is Stage.CLOSING:
            raise NotOpen("the channel is not open")
        ppid, payload = encode_user_message(message)
        if len(payload) > self.max_message_size > 0:
            raise MessageTooLong("the message is longer than the peer takes")
        self._send(
            channel, ppid, payload, found.open, ordered=found.open.ordered or not found.heard
        )

    def close(self, channel: int, now: Instant) -> None:
        """Close a channel once what was sent on it has arrived; ``Closed`` follows when the peer
        has done the same. Does nothing where there is none, or it is closing."""
        self._now = now
        found = self._channels.get(channel)
        if found is not None and not self._over:
            self._close(found)

    def buffered_amount(self, channel: int) -> int:
        """Bytes given to ``send`` that wait to be sent; 0 where there is no such channel."""
        return self._association.buffered_amount(channel) if channel in self._channels else 0

    def end(self, now: Instant, reason: str) -> None:
        """End the association, with all channels. ``reason`` is told to the peer."""
        self._now = now
        if not self._over:
            self._association.abort(now, reason)
            self._heed()

    # --- channels ---------------------------------------------------------------------------------

    @property
    def _streams(self) -> int:
        """Numbers below this have a stream each way."""
        association = self._association
        return min(association.outbound_streams, association.inbound_streams, _STREAMS)

    def count(self) -> int:
        """How many channels there are, those being opened or closed included."""
        return sum(not channel.refused for channel in self._channels.values())

    def _free_number(self) -> int | None:
        for number in range(self._first, self._streams, 2):
            if number not in self._channels and number not in self._spent:
                return number
        return None

    def _add(self, channel: _Channel) -> None:
        self._channels[channel.number] = channel
        self._association.set_threshold(channel.number, self._limits.threshold)

    def _add_negotiated(self) -> None:
        for number, label in self._negotiated:
            self._add(_Channel(number, Open(label), Stage.OPEN, negotiated=True))

    def _tell_opened(self, channel: _Channel) -> None:
        channel.told = True
        how = channel.open
        self._events.append(
            Opened(channel.number, how.label, how.protocol, how.ordered, channel.negotiated)
        )

    def _send(
        self, number: int, ppid: int, payload: bytes, how: Open, *, ordered: bool = True
    ) -> None:
        """Raises ``NotOpen`` and ``SendBufferFull``."""
        try:
            self._association.send(
                number,
                ppid,
                payload,
                self._now,
                ordered=ordered,
                lifetime=how.lifetime,
                retransmissions=how.retransmissions,
            )
        except sctp.SendQueueFull as error:
            raise SendBufferFull(str(error)) from None
        except sctp.NotConnected as error:
            raise NotOpen(str(error)) from None
        except ValueError:
            # We are about to be told how few streams the peer has.
            raise NotOpen("the peer has fewer streams") from None

    def _reset(self, channel: _Channel) -> None:
        if channel.number < self._streams:
            self._association.reset_streams((channel.number,), self._now)

    def _close(self, channel: _Channel) -> None:
        """Do our half of the end, unless it has been begun."""
        if channel.stage is not Stage.CLOSING:
            channel.stage = Stage.CLOSING
            if not channel.stale_reset:
                self._reset(channel)

    def _forget_if_done(self, channel: _Channel) -> None:
        if channel.ours_reset and channel.theirs_reset:
            self._forget(channel)

    def _forget(self, channel: _Channel) -> None:
        del self._channels[channel.number]
        if not channel.refused:
            self._events.append(Closed(channel.number))

    def _drop(self, drop: Drop) -> None:
        self._events.append(Dropped(drop))

    def _refuse(self, number: int, drop: Drop, *, stale: bool = False) -> None:
        """Reset a stream that the peer uses and may not, and that has no channel."""
        self._drop(drop)
        if number < self._streams and number not in self._spent:
            channel = _Channel(number, Open(""), Stage.OPEN, refused=True, stale_reset=stale)
            self._channels[number] = channel
            self._close(channel)

    # --- what happens on the association ----------------------------------------------------------

    def _heed(self) -> None:
        """Deal with what has happened, up to something that the application has to hear. What
        comes after it stays with the association, whose bounds hold for it."""
        association, events = self._association, self._events
        while not events and not self._over:
            event = association.next_event()
            if event is None:
                return
            if event.__class__ is sctp.MessageReceived:
                self._receive(event.stream, event.ppid, event.payload)
            else:
                self._happened(event)

    def _happened(self, event: sctp.Event) -> None:
        match event:
            case sctp.Connected():
                self._begin()
            case sctp.Restarted():
                self._begin_again()
            case sctp.MessageReceived(stream, ppid, payload):
                self._receive(stream, ppid, payload)
            case sctp.MessageTooLong(stream):
                channel = self._channels.get(stream)
                if channel is not None:
                    self._close(channel)
            case sctp.StreamsResetByPeer(streams):
                self._reset_by_peer(streams or tuple(self._channels))
            case sctp.ResetDone(streams, performed):
                self._reset_done(streams, performed)
            case sctp.BufferedAmountLow(stream):
                channel = self._channels.get(stream)
                if channel is not None and channel.stage is not Stage.CLOSING:
                    self._events.append(Drained(stream))
            case sctp.Closed(reason, _):
                self._end(reason)
            case sctp.Dropped(drop):
                self._drop(drop)

    def _begin(self) -> None:
        """It is known how many streams there are; channels beyond them cannot be."""
        for channel in list(self._channels.values()):
            if channel.number >= self._streams:
                self._forget(channel)
            elif channel.stage is Stage.OPEN and not channel.told:
                self._tell_opened(channel)

    def _begin_again(self) -> None:
        """The peer knows nothing of any channel any more, but of those that signalling made."""
        for channel in list(self._channels.values()):
            self._forget(channel)
        self._spent.clear()
        self._add_negotiated()
        self._begin()

    def _end(self, reason: str) -> None:
        for channel in list(self._channels.values()):
            self._forget(channel)
        self._over = True
        self._events.append(Ended(reason))

    def _reset_by_peer(self, streams: Iterable[int]) -> None:
        for number in streams:
            channel = self._channels.get(number)
            if channel is not None:
                channel.theirs_reset = True
                self._close(channel)
                self._forget_if_done(channel)

    def _reset_done(self, streams: Iterable[int], performed: bool) -> None:
        for number in streams:
            channel = self._channels.get(number)
            if channel is None:
                continue
            if channel.stale_reset:
                channel.stale_reset = False
                self._association.set_threshold(number, self._limits.threshold)
                if channel.stage is Stage.CLOSING:
                    self._reset(channel)
            elif channel.stage is Stage.CLOSING and performed:
                channel.ours_reset = True
                self._forget_if_done(channel)
            elif channel.stage is Stage.CLOSING:
                self._spent.add(number)
                self._forget(channel)

    def _receive(self, number: int, ppid: int, payload: bytes) -> None:
        channel = self._channels.get(number)
        if ppid == DCEP:
            self._receive_dcep(number, channel, payload)
        elif channel is None:
            self._refuse(number, Drop.CHANNEL_UNKNOWN)
        elif channel.stage is Stage.CLOSING:
            self._drop(Drop.CHANNEL_UNKNOWN)
        else:
            if not channel.heard:
                self._hear(channel)
            try:
                message = decode_user_message_untrusted(ppid, payload)
            except DecodeError:
                self._drop(Drop.CHANNEL_MALFORMED)
                self._close(channel)
                return
            if message is None:
                self._drop(Drop.CHANNEL_PROTOCOL)
            else:
                self._events.append(Message(number, message))

    def _hear(self, channel: _Channel) -> None:
        """The peer speaks on a channel: it knows of it."""
        channel.heard = True
        if channel.stage is Stage.OPENING:
            channel.stage = Stage.OPEN
            self._tell_opened(channel)

    def _receive_dcep(self, number: int, channel: _Channel | None, payload: bytes) -> None:
        message: Open | Ack | None
        try:
            message = decode_untrusted(payload)
        except DecodeError:
            message = None
        match message, channel:
            case Open(), None:
                self._receive_open(message, number)
            case Open(), _Channel(stage=Stage.CLOSING, theirs_reset=True, stale_reset=False):
                # For the peer both halves are done. Only the answer to ours has not come yet.
                self._forget(channel)
                self._receive_open(message, number, stale=True)
            case Ack(), _Channel(stage=Stage.OPENING):
                self._hear(channel)
            case _, None:
                self._refuse(number, Drop.CHANNEL_MALFORMED)
            case _, _Channel(stage=Stage.CLOSING):
                self._drop(Drop.CHANNEL_UNKNOWN)
            case Ack(), _:
                self._drop(Drop.CHANNEL_MALFORMED)
            case _, _Channel():
                # No message, or OPEN where a channel is: RFC 8832 section 6 has it closed.
                self._drop(Drop.CHANNEL_MALFORMED)
                self._close(channel)

    def _receive_open(self, message: Open, number: int, *, stale: bool = False) -> None:
        """The peer opens a channel on a free number, ``stale``: on one whose last channel waits
        for nothing but the answer to our reset."""
        limits = self._limits
        too_long = max(len(to_utf8(message.label)), len(to_utf8(message.protocol))) > limits.label
        allowed = self._opens.take(self._now) and self.count() < limits.channels
        if too_long or not allowed or number >= self._streams or number in self._spent:
            self._refuse(number, Drop.CHANNEL_REFUSED, stale=stale)
            return
        try:
            self._send(number, DCEP, Ack().encode(), _RELIABLE)
        except ChannelError:
            self._refuse(number, Drop.CHANNEL_REFUSED, stale=stale)
            return
        channel = _Channel(number, message, Stage.OPEN, heard=True, stale_reset=stale)
        self._add(channel)
        self._tell_opened(channel)
