"""The sending side of an association: which DATA goes out, and when.

It outlives the handshake. Messages may be queued before there is a peer, and DATA may ride on the
COOKIE ECHO of a handshake that then begins anew, so nothing here hangs on who the peer is but three
things that ``meet`` tells: its window, and whether it understands FORWARD-TSN.

Packets are filled when they are fetched, not before. So whatever is known by then is heeded, chunks
share packets as well as they can, and nothing waits in a queue of finished packets. How many may
be filled in one go is bounded (RFC 9260, 6.1 rule D): four, and as many more for each SACK that has
come since there was nothing more to send.
"""

from typing import Final

from attrs import define, field

from stunroute.instant import Instant
from stunroute.trace import Drop
from transceiver.config import SctpLimits

from .chunks import (
    BEGINNING,
    DATA_HEADER_LENGTH,
    ENDING,
    IMMEDIATE,
    UNORDERED,
    ForwardTsn,
    Sack,
    encode_data,
)
from .congestion import Congestion
from .outstanding import ABANDONED, ARRIVED, Outstanding
from .packet import room
from .sendqueue import Outgoing, SendQueue
from .serial import TSN_MASK
from .timers import RoundTrip

_BURST: Final = 4
_LEAST_FRAGMENT: Final = 256
"""A message that must be cut anyway is begun in what is left of a packet if that is no less."""
_MOST_OUTSTANDING: Final = 0x7FFF
"""Chunks: half of the stream sequence numbers, so that the peer can tell which is later."""
_FORWARD_INTERVAL: Final = 0.2
"""FORWARD-TSN with nothing new in it is not sent more often, if the round trip is not known."""


@define(slots=True)
class Outbound:
    """``tsn`` is the first that will be used."""

    limits: SctpLimits
    tsn: int
    queue: SendQueue = field(init=False)
    outstanding: Outstanding = field(init=False)
    congestion: Congestion = field(init=False)
    round_trip: RoundTrip = field(init=False)
    hurry: bool = field(default=False, init=False)
    """Ask the peer to acknowledge at once (RFC 9260, 6.1): we wait to shut down."""
    deadline: Instant | None = field(default=None, init=False)
    """T3: when what is out counts as lost."""

    _advertised: int = field(default=0, init=False)
    """The window that the peer has last stated. What is in flight counts against it."""
    _budget: int = field(default=0, init=False)
    _fast: bool = field(default=False, init=False)
    """One packet may go at once, for a loss was just found (RFC 9260, 7.2.4)."""
    _cautious: bool = field(default=False, init=False)
    """Everything was thought lost: one packet may be out, until it is acknowledged."""
    _may_probe: bool = field(default=False, init=False)
    """It is time to send against a shut window, to learn whether it is still that."""
    _sent_at: Instant | None = field(default=None, init=False)
    _told: int = field(default=0, init=False)
    """Up to which TSN, unwrapped or not yet used, the last FORWARD-TSN went."""
    _tell_again: Instant = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self.queue = SendQueue(self.limits)
        # Unwrapped TSNs begin a circle further, so that none is ever negative.
        self.outstanding = Outstanding(self.tsn + TSN_MASK + 1, self.queue)
        self.congestion = Congestion(room(self.limits.packet))
        self.round_trip = RoundTrip(self.limits)

    def meet(self, window: int, *, forward_tsn: bool, now: Instant) -> None:
        """The peer, or the peer as it is now, has this window. What another one may have got
        has to be sent again."""
        self._advertised = window
        self.outstanding.partial = forward_tsn
        self.repeat(now)

    def repeat(self, now: Instant) -> None:
        """What is out went with a packet that has to be sent again."""
        self.outstanding.lose_all(now)
        self.deadline = None

    @property
    def quiet(self) -> bool:
        """Whether nothing is to be sent or to be acknowledged, or held behind a reset."""
        return self.queue.empty and not self.outstanding and not self.queue.holding

    # What comes

    def receive_sack(self, sack: Sack, now: Instant) -> Drop | None:
        """Take a SACK of this peer."""
        congestion, outstanding = self.congestion, self.outstanding
        seen = outstanding.receive(sack, now, recovering=congestion.recovering)
        if seen is None:
            return Drop.SCTP_ACK
        if seen.late:
            return None
        self._advertised = sack.window
        self._heard(seen.size, seen.flight, seen.round_trip, now, advanced=seen.advanced)
        if seen.lost and congestion.lose(outstanding.next_tsn - 1):
            self._fast = True
        return None

    def receive_plain_sack(self, cumulative: int, window: int, now: Instant) -> Drop | None:
        """``receive_sack`` for a SACK without gaps. One that acknowledges something, and takes
        nothing back, is worth no records: it pops chunks off a queue."""
        outstanding = self.outstanding
        count, sent = (cumulative - outstanding.cumulative) & TSN_MASK, outstanding.sent
        out = len(sent)
        if not 0 < count <= out or (count < out and sent[count].fate is ARRIVED):
            return self.receive_sack(Sack(cumulative, window), now)
        self._advertised = window
        flight = outstanding.flight
        size, round_trip = outstanding.pop(count, now)
        self._heard(size, flight, round_trip, now, advanced=True)
        return None

    def _heard(
        self, size: int, flight: int, round_trip: float | None, now: Instant, *, advanced: bool
    ) -> None:
        """A SACK that is not late has acknowledged ``size`` bytes, when ``flight`` were in flight.
        ``advanced``: the cumulative TSN rose."""
        congestion, outstanding = self.congestion, self.outstanding
        self._budget += _BURST
        if round_trip is not None:
            self.round_trip.measure(round_trip)
        drained = not outstanding.sent
        if size:
            congestion.acknowledge(size, flight, advanced=advanced, drained=drained)
            self._cautious = self._may_probe = False
        if advanced and congestion.recovering:
            congestion.reach(outstanding.cumulative)
        if drained:
            self.deadline = None
        elif advanced:
            self.deadline = now + self.round_trip.timeout

    def receive_cumulative(self, tsn: int, now: Instant) -> Drop | None:
        """All up to ``tsn`` has come: what SHUTDOWN says, which states no window."""
        return self.receive_sack(Sack(tsn, self._advertised), now)

    def handle_timeout(self, now: Instant) -> bool:
        """T3, if it has run out (RFC 9260, 6.3.3). Whether it has, and the network is to blame."""
        if self.deadline is None or now < self.deadline:
            return False
        # Where the peer has no room, it and not the network has let go of what we sent.
        by_network = self._advertised >= self.congestion.packet
        if by_network:
            self.congestion.time_out()
        self._cautious = self._may_probe = True
        self.round_trip.back_off()
        self._fast = False
        self._tell_again = now
        self.outstanding.lose_all(now)
        self.deadline = now + self.round_trip.timeout
        return by_network

    def retry(self, now: Instant) -> bool:
        """Where T3 has run out in vain, what is out goes again now and not when it does so next.
        Whether there was any such thing."""
        if not self._cautious or self._advertised < self.congestion.packet:
            return False
        self.outstanding.lose_all(now)
        return bool(self.outstanding)

    # What goes

    def awaken(self) -> None:
        """Something has happened: there may be a reason to send."""
        if self._budget < _BURST:
            self._budget = _BURST

    def rest(self) -> None:
        """Everything that might be sent has been."""
        self._budget = 0

    def forward(self, space: int, now: Instant) -> ForwardTsn | None:
        """FORWARD-TSN, if one should go now and fits into ``space`` bytes."""
        outstanding = self.outstanding
        if not outstanding.abandoned or outstanding.first_is is not ABANDONED or space < 64:
            return None
        chunk, told = outstanding.forward(space)
        if told <= self._told and now < self._tell_again:
            return None
        self._told = told
        self._tell_again = now + (self.round_trip.smoothed or _FORWARD_INTERVAL)
        if self.deadline is None:
            self.deadline = now + self.round_trip.timeout
        return chunk

    def fill(self, space: int, now: Instant) -> list[bytes]:
        """DATA for one packet in which ``space`` bytes are left, as far as it may be sent now."""
        found: list[bytes] = []
        outstanding = self.outstanding
        flight, window = outstanding.flight, self.congestion.window
        if self._budget <= 0 or (
            (flight >= window or (self._cautious and flight)) and not self._fast
        ):
            return found
        if outstanding.lost:
            space = self._fill_again(found, space, now)
        elif self.queue.empty:
            # Whoever only receives is asked after each packet too.
            self._fast = False
            return found
        if not outstanding.lost:
            self._fast = False
            if outstanding.flight < window:
                self._fill_new(found, space, now)
        if found:
            self._fast = False
            self._budget -= 1
            self._sent_at = now
            if self.deadline is None:
                self.deadline = now + self.round_trip.timeout
        return found

    def _fill_again(self, found: list[bytes], space: int, now: Instant) -> int:
        """Put what was lost before into ``found``; what is left of ``space``."""
        outstanding = self.outstanding
        first = outstanding.cumulative + 1
        while (lost := outstanding.peek_lost(now)) is not None and lost.size <= space:
            found.append(outstanding.resend(lost))
            space -= lost.size
            if lost.tsn == first:
                self.deadline = None
        return space

    def _fill_new(self, found: list[bytes], space: int, now: Instant) -> None:
        outstanding, queue = self.outstanding, self.queue
        sent = outstanding.sent
        while space > DATA_HEADER_LENGTH and (
            (message := queue.current or queue.peek(now)) is not None
        ):
            if message.offset and outstanding.partial and message.expired(now):
                outstanding.give_up(message)
                continue
            left = len(message.payload) - message.offset
            size = space - DATA_HEADER_LENGTH
            if size >= left:
                size = left
            elif size < _LEAST_FRAGMENT or (
                not message.offset and left <= self.congestion.packet - DATA_HEADER_LENGTH
            ):
                return
            else:
                size &= ~3
            if outstanding.flight + size + DATA_HEADER_LENGTH > self._advertised:
                # One chunk goes all the same when it has been so for as long as an answer takes:
                # the SACK that said the window is open may be lost (RFC 9260, 6.1 rule A).
                if sent or not self._may_probe:
                    self.deadline = self.deadline or now + self.round_trip.timeout
                    return
                self._may_probe = False
            elif len(sent) >= _MOST_OUTSTANDING:
                return
            if not sent and self._sent_at is not None:
                self.congestion.rest(int((now - self._sent_at) / self.round_trip.timeout))
                self._sent_at = now
            chunk = self._cut(message, size)
            outstanding.add(message, chunk, now)
            found.append(chunk)
            space -= len(chunk)

    def _cut(self, message: Outgoing, size: int) -> bytes:
        """The next chunk of a message, of ``size`` bytes of it."""
        flags = 0 if message.ordered else UNORDERED
        if not message.offset:
            flags |= BEGINNING
        payload = self.queue.take(message, size)
        outstanding, stream = self.outstanding, message.stream
        # Whoever waits for the last acknowledgement, a full window or the end of a stream or of
        # everything, need not wait for the peer's patience to end.
        if outstanding.flight + size >= self.congestion.window:
            flags |= IMMEDIATE
        if message.taken:
            flags |= ENDING
            if self.hurry or stream.held is not None:
                flags |= IMMEDIATE
        tsn = outstanding.next_tsn & TSN_MASK
        return encode_data(flags, tsn, stream.number, message.ssn, message.ppid, payload)
