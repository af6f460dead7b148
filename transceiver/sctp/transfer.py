"""What goes on between two ends once they know each other: data, acknowledgements, streams that
begin again, heartbeats.

A ``Transfer`` lives from the moment the peer has introduced itself until the association ends or
the peer begins anew. The states of the association decide which of its verbs are called; nothing
here asks for them.
"""

from collections import deque
from typing import Final

from attrs import define, field

from stunroute.instant import Entropy, Instant
from stunroute.trace import Drop
from transceiver.config import SctpLimits

from .acknowledgement import Acknowledgement
from .causes import Cause, InvalidStream
from .chunks import (
    IMMEDIATE,
    Data,
    Error,
    ForwardTsn,
    Heartbeat,
    HeartbeatAck,
    ReConfig,
    Sack,
    data_of,
)
from .cookie import Peer
from .events import MessageReceived
from .heartbeat import Heartbeats
from .inbound import Inbound
from .outbound import Outbound
from .packet import room
from .reconfiguration import Reconfiguration

_SACK_LENGTH: Final = 16
_CONTROL_CHUNKS: Final = 64
"""That wait to be sent; one more is let go. The peer asks again for what it wants."""
_BESIDE: Final = 28
"""Bytes of what may have to go beside the answers to a packet: COOKIE ACK, SHUTDOWN, and the answer
to an earlier request whose time has come."""
_RECONFIG_ANSWER: Final = 28
"""Bytes that the answer to one RE-CONFIG has at most."""


@define(slots=True, eq=False)
class Transfer:
    """``tie`` tells this association from a later one with the same peer (``cookie``)."""

    limits: SctpLimits
    entropy: Entropy = field(repr=False)
    peer: Peer
    tie: bytes
    outbound: Outbound
    begun: Instant

    inbound: Inbound = field(init=False)
    acknowledgement: Acknowledgement = field(init=False)
    reconfiguration: Reconfiguration = field(init=False)
    heartbeats: Heartbeats = field(init=False)
    waiting: deque[bytes] = field(factory=deque, init=False)
    """Control chunks to be sent."""
    _most: int = field(init=False)
    """Bytes of chunks in a packet."""
    _came: bool = field(default=False, init=False)
    """The packet being read has DATA or FORWARD-TSN in it."""
    _at_once: bool = field(default=False, init=False)
    _gaps: bool = field(default=False, init=False)
    """Something is missing between the DATA that has come."""
    spare: int = field(init=False)
    """Bytes that answers to the packet being read may still take: all of them have to fit into one
    packet (rfc9260/12.4/2), and those that do not are let go."""
    fetching: bool = field(default=False, init=False)
    """Messages have been fetched, and there may be more."""

    def __attrs_post_init__(self) -> None:
        limits, peer = self.limits, self.peer
        self._most = room(limits.packet)
        self.spare = self._most - _BESIDE
        self.inbound = Inbound(peer.tsn, limits)
        self.acknowledgement = Acknowledgement(limits.delayed_ack)
        self.reconfiguration = Reconfiguration(
            limits, self.outbound.tsn, peer.tsn, supported=peer.reconfig
        )
        interval = limits.heartbeat_interval
        self.heartbeats = Heartbeats(interval, self.begun + interval)

    # What comes

    def begin_packet(self, *, alone: bool) -> None:
        """A packet is about to be read. A chunk that is ``alone`` in it may have an answer that
        fills a packet, as a long heartbeat has."""
        self.spare = self._most if alone else self._most - _BESIDE

    def receive_data(self, chunk: Data) -> Drop | None:
        """Take DATA that is not empty."""
        inbound = self.inbound
        self._came = True
        drop = inbound.receive(chunk)
        had_gaps, self._gaps = self._gaps, inbound.has_gaps
        if drop is not None:
            self._at_once = True
            if drop is Drop.SCTP_STREAM:
                self.complain(InvalidStream(chunk.stream))
        elif had_gaps or self._gaps or chunk.immediate:
            self._at_once = True
        return drop

    def receive_in_turn(
        self,
        tsn: int,
        stream: int,
        ssn: int,
        ppid: int,
        flags: int,
        payload: bytes,
        now: Instant,
    ) -> bool:
        """``receive_data`` and ``packet_read`` in one, for a packet with one DATA chunk that is the
        next in the sequence while nothing is missing. False: it is not, and nothing has changed.
        It must not be empty, and no reset of streams must be waiting."""
        if self._gaps or not self.inbound.receive_in_turn(tsn, stream, ssn, ppid, flags, payload):
            return False
        self.acknowledgement.packet_received(now, flags & IMMEDIATE != 0)
        return True

    def receive_bundled(
        self, tsn: int, stream: int, ssn: int, ppid: int, flags: int, payload: bytes
    ) -> Drop | None:
        """``receive_data`` of one among other chunks, with a record only where it is not next in
        the sequence while nothing is missing."""
        if self._gaps or not self.inbound.receive_in_turn(tsn, stream, ssn, ppid, flags, payload):
            return self.receive_data(data_of(tsn, stream, ssn, ppid, flags, payload))
        self._came = True
        if flags & IMMEDIATE:
            self._at_once = True
        return None

    def receive(
        self, chunk: Sack | ForwardTsn | ReConfig | Heartbeat | HeartbeatAck, now: Instant
    ) -> Drop | None:
        """Take a chunk of those that change nothing in the association's state."""
        match chunk:
            case Sack():
                return self.outbound.receive_sack(chunk, now)
            case ForwardTsn():
                self._came = True
                news = self.inbound.receive_forward(chunk)
                self._gaps = self.inbound.has_gaps
                self._at_once |= self._gaps or not news
                return None
            case Heartbeat(info):
                return self._answer(HeartbeatAck(info).encode())
            case HeartbeatAck(info):
                return self._receive_heartbeat_ack(info, now)
            case ReConfig() if self.spare < _RECONFIG_ANSWER:
                return Drop.SCTP_RATE
            case ReConfig():
                self.spare -= _RECONFIG_ANSWER
                self.acknowledgement.hasten()
                drop = self.reconfiguration.receive(chunk, self.inbound, self.outbound, now)
                self._reconfigure(now)
                return drop

    def _receive_heartbeat_ack(self, info: bytes, now: Instant) -> Drop | None:
        round_trip = self.heartbeats.answered(info, now)
        if round_trip is None:
            return Drop.SCTP_UNEXPECTED
        self.outbound.round_trip.measure(round_trip)
        return None

    def packet_read(self, now: Instant) -> bool:
        """All chunks of a packet have been taken. True if there was DATA among them."""
        self.spare = self._most - _BESIDE
        came = self._came
        if came:
            self.acknowledgement.packet_received(now, self._at_once)
            self._came = self._at_once = False
        if self.reconfiguration.waiting:
            self._reconfigure(now)
        return came

    def _reconfigure(self, now: Instant) -> None:
        """Go on with the reset of streams, theirs and ours, as far as has become possible."""
        reconfiguration = self.reconfiguration
        reconfiguration.settle(self.inbound)
        reconfiguration.advance(self.outbound, now)
        while (chunk := reconfiguration.next_chunk()) is not None:
            self.waiting.append(chunk.encode())

    def next_message(self) -> MessageReceived | None:
        """The next whole message. When the last has been fetched, the peer may have to hear that
        there is room again."""
        message = self.inbound.next_message()
        if message is not None:
            self.fetching = True
        elif self.fetching:
            self.fetching = False
            if self.inbound.window_has_opened:
                self.acknowledgement.hasten()
        return message

    def reset(self, streams: tuple[int, ...], now: Instant) -> None:
        """Reset our outgoing ``streams``."""
        self.reconfiguration.want(streams, self.outbound)
        self._reconfigure(now)

    # What goes

    def complain(self, cause: Cause) -> Drop | None:
        """Tell the peer what was wrong with the packet being read."""
        return self._answer(Error((cause,)).encode())

    def _answer(self, encoded: bytes) -> Drop | None:
        size = len(encoded)
        if size > self._most:
            return Drop.SCTP_UNEXPECTED
        if size > self.spare:
            return Drop.SCTP_RATE
        drop = self._put(encoded)
        if drop is None:
            self.spare -= size
        return drop

    def _put(self, encoded: bytes) -> Drop | None:
        if len(self.waiting) >= _CONTROL_CHUNKS:
            return Drop.SCTP_RATE
        self.waiting.append(encoded)
        return None

    def control(self, space: int) -> list[bytes]:
        """Control chunks that are due, as many as fit."""
        found: list[bytes] = []
        waiting = self.waiting
        while waiting and len(waiting[0]) <= space:
            space -= len(waiting[0])
            found.append(waiting.popleft())
        return found

    def data(self, space: int, now: Instant) -> list[bytes]:
        """SACK, FORWARD-TSN and DATA as far as they may go now and fit, in this order."""
        found: list[bytes] = []
        acknowledgement, outbound = self.acknowledgement, self.outbound
        due = acknowledgement.due
        if due:
            found = self.acknowledge(space)
            if not found:
                return found
            space -= len(found[0])
        if outbound.outstanding.abandoned:
            forward = outbound.forward(space, now)
            if forward is not None:
                found.append(forward.encode())
                space -= len(found[-1])
        if due or acknowledgement.deadline is None:
            found += outbound.fill(space, now)
        elif data := outbound.fill(space - _SACK_LENGTH, now):
            found.append(self._sack())
            found += data
        elif outbound.outstanding.lost:
            # What is to be sent again may fill a packet to the last byte.
            found += outbound.fill(space, now)
        return found

    def acknowledge(self, space: int) -> list[bytes]:
        """SACK. One with many gaps may need a packet to itself: then what else was to go in this
        one goes first, and there is none."""
        sack = self._sack()
        if len(sack) <= space:
            return [sack]
        self.acknowledgement.hasten()
        return []

    def _sack(self) -> bytes:
        self.acknowledgement.sent()
        return self.inbound.sack().encode()

    # Time

    def next_timeout(self) -> Instant:
        """Without T3, which is ``outbound``'s."""
        first = self.heartbeats.deadline
        other = self.acknowledgement.next_timeout()
        if other is not None and other < first:
            first = other
        other = self.reconfiguration.next_timeout()
        return first if other is None or first < other else other

    def handle_timeout(self, now: Instant, *, overdue: bool) -> None:
        """``overdue``: T3 has just run out."""
        self.acknowledgement.handle_timeout(now)
        self.reconfiguration.handle_timeout(now)
        self._reconfigure(now)
        idle = not self.outbound.outstanding
        heartbeat = self.heartbeats.due(self.entropy, now, idle=idle, overdue=overdue)
        if heartbeat is not None:
            self._put(heartbeat.encode())
