"""What an association is at the moment: the RFC's transmission control block.

``association`` reads and writes packets, ``opening`` and ``closing`` move from state to state. All
three work on this, which knows no packets, and offers what more than one of them needs.
"""

from collections import deque
from typing import Final

from attrs import define, field

from stunroute.allowance import TokenBucket
from stunroute.instant import Entropy, Instant
from stunroute.trace import Drop
from transceiver.config import SctpLimits

from . import events
from .causes import Cause, ProtocolViolation
from .chunks import Abort
from .cookie import NO_TIE, TIE_LENGTH, Peer
from .events import Event
from .greeting import Greeter
from .outbound import Outbound
from .states import Closed, CookieEchoed, CookieWait, Standing
from .timers import Timer
from .transfer import Transfer

OPENING: Final = (CookieWait, CookieEchoed)


@define(slots=True, kw_only=True, eq=False)
class Block:
    """``tag`` is what packets to us carry, ``outbound`` what is to be sent, ``transfer`` what there
    is once the peer has introduced itself, ``bucket`` what bounds the answers to control chunks."""

    entropy: Entropy = field(repr=False)
    limits: SctpLimits
    greeter: Greeter
    tag: int = field(init=False)
    outbound: Outbound = field(init=False)
    bucket: TokenBucket = field(init=False)
    state: Standing = field(factory=Closed, init=False)
    transfer: Transfer | None = field(default=None, init=False)
    early_resets: dict[int, None] = field(factory=dict, init=False)
    """Streams to be reset, once the association stands."""
    cookie_ack: bool = field(default=False, init=False)
    """COOKIE ACK is to be sent."""
    packets: deque[bytes] = field(factory=deque, init=False, repr=False)
    """Finished ones: those that are not part of an association."""
    events: deque[Event] = field(factory=deque, init=False)

    def __attrs_post_init__(self) -> None:
        self.tag = self.greeter.new_tag()
        self.outbound = Outbound(self.limits, self.greeter.new_tsn())
        self.bucket = TokenBucket(self.limits.control_rate, 2 * self.limits.control_rate)

    @property
    def tie(self) -> bytes:
        """What tells this association from a later one (``cookie``)."""
        return NO_TIE if self.transfer is None else self.transfer.tie

    @property
    def conversing(self) -> Transfer | None:
        """The transfer, if the peer is known and has heard that we are."""
        return None if isinstance(self.state, OPENING) else self.transfer

    @property
    def outbound_streams(self) -> int:
        streams = self.limits.streams
        return streams if self.transfer is None else min(streams, self.transfer.peer.inbound)

    @property
    def inbound_streams(self) -> int:
        streams = self.limits.streams
        return streams if self.transfer is None else min(streams, self.transfer.peer.outbound)

    def timer(self, now: Instant) -> Timer:
        """T1 or T2, running."""
        timer = Timer(self.limits.rto_maximum)
        timer.start(now, self.outbound.round_trip.timeout)
        return timer

    def meet(self, peer: Peer, now: Instant) -> None:
        """We know who the peer is, or who it is by now."""
        tie = self.entropy(TIE_LENGTH)
        self.outbound.meet(peer.window, forward_tsn=peer.forward_tsn, now=now)
        self.transfer = Transfer(self.limits, self.entropy, peer, tie, self.outbound, now)
        self.outbound.queue.confine(self.outbound_streams)

    def refuse_sack(self) -> None:
        """A SACK acknowledges what was never sent: who says that wants to be sent more than the way
        can bear, and must not be served (rfc9260/12.4/5)."""
        reason = "the peer acknowledged what was never sent"
        self.abort(ProtocolViolation(reason), reason)

    def drop(self, drop: Drop) -> None:
        if len(self.events) < self.limits.events:
            self.events.append(events.Dropped(drop))

    def next_received(self) -> Event | None:
        """What came from the peer and has not been fetched."""
        transfer = self.transfer
        if transfer is None:
            return None
        message = transfer.next_message()
        if message is not None:
            return message
        oversized = transfer.inbound.next_oversized()
        return None if oversized is None else events.MessageTooLong(oversized)

    def happen(self, event: Event) -> None:
        """Tell of ``event`` after all that has come so far."""
        while (earlier := self.next_received()) is not None:
            self.events.append(earlier)
        self.events.append(event)

    def note_resets(self) -> None:
        """Tell of the streams that were reset."""
        transfer = self.transfer
        if transfer is not None and transfer.reconfiguration.happened:
            happened = transfer.reconfiguration.happened
            while happened:
                self.happen(happened.popleft())

    def abort(self, cause: Cause, reason: str) -> None:
        """End it at once and tell the peer so."""
        if self.transfer is not None:
            self.packets.append(self.greeter.packet(self.transfer.peer.tag, Abort((cause,))))
        self.end(reason, by_peer=False)

    def end(self, reason: str, *, by_peer: bool) -> None:
        """It is over, and what waited to be sent is let go."""
        self.happen(events.Closed(reason, by_peer))
        self.state = Closed(ended=True)
        self.transfer = None
        self.outbound = Outbound(self.limits, self.outbound.tsn)
        self.early_resets.clear()
