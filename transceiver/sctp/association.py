"""One SCTP association over DTLS: packets in, packets out, messages at both ends, a clock from
outside (RFC 9260, 3758, 6525, 8261, 9653).

DTLS has authenticated whatever comes, so this is not about strangers; it is about a peer that may
be buggy, or mean. Nothing it sends raises, costs more than it sent, or makes anything grow beyond
``SctpLimits``. What cannot be meant is dropped, and counted; what the RFC says must end the
association ends it.

There is one path and it never changes, its packet size is given, and whether the peer is alive is
known elsewhere (RFC 8261 section 5). So there is nothing here of addresses, of probing for sizes,
of counting failures: what is not acknowledged is sent again for as long as the session lives.

Who does what: ``states`` has the states with what they own, ``handshake`` decides what an INIT and
a COOKIE ECHO mean, ``opening`` and ``closing`` do it, ``greeting`` answers those who are no peer,
``transfer`` is what both sides have once they know each other, ``outbound`` what is to be sent,
from the start. This module reads packets, and makes packets when they are fetched.

The random bytes are drawn from ``entropy`` in a fixed order: at the beginning the cookies' key, our
tag and our first TSN; then, as each comes to pass, the tie of an association that is set up, the
tag and TSN told to a peer that may have begun anew, and the nonce of each heartbeat.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from attrs import define, field

from stunroute.errors import DecodeError, StunrouteError
from stunroute.instant import Entropy, Instant
from stunroute.trace import Drop
from transceiver.config import SctpLimits

from . import closing, events, opening, packet, shortcut
from .block import OPENING, Block
from .causes import NoUserData, UnrecognizedChunk, UserAbort
from .chunks import (
    Abort,
    Chunk,
    CookieAck,
    CookieEcho,
    Data,
    Error,
    ForwardTsn,
    Heartbeat,
    HeartbeatAck,
    Init,
    InitAck,
    ReConfig,
    Sack,
    Shutdown,
    ShutdownAck,
    ShutdownComplete,
    Unknown,
)
from .events import Event
from .greeting import Greeter
from .packet import ChecksumError, Packet
from .states import (
    STATES,
    Closed,
    CookieEchoed,
    CookieWait,
    Established,
    ShutdownAckSent,
    ShutdownPending,
    ShutdownReceived,
    ShutdownSent,
    Standing,
    State,
)
from .transfer import Transfer

_COMPLAINT_LENGTH: Final = 512
"""Bytes of an unknown chunk that are given back."""

_RECEIVING: Final = frozenset((Established, ShutdownPending, ShutdownSent))
"""DATA is taken (RFC 9260, 6)."""
_SENDING: Final = frozenset((Established, ShutdownPending, ShutdownReceived))
"""DATA may be sent."""
_PLAIN: Final = frozenset((Data, Sack))
"""Chunks that most packets begin with, about whose tag there is nothing to be thought."""
_AT_THE_HEAD: Final = frozenset((CookieEcho, Init, InitAck, ShutdownComplete))
"""Chunks that the rest of a packet hangs on: where they are let go, so is that."""
_ONCE: Final = frozenset((Sack, ForwardTsn))
"""Chunks of which one in a packet says all, and which may cost a look at everything that waits."""


class NotConnected(StunrouteError):
    """The association is over or about to be; nothing more is taken to be sent."""


@define(slots=True, kw_only=True, eq=False)
class Association:
    """Five verbs as every core has: ``receive_packet`` and ``handle_timeout`` in,
    ``next_transmit``, ``next_event`` and ``next_timeout`` out. ``zero_checksum``: say that we take
    packets without a checksum; whether we leave it out hangs on what the peer says."""

    entropy: Entropy = field(repr=False)
    limits: SctpLimits
    source_port: int = 5000
    destination_port: int = 5000
    zero_checksum: bool = True

    _block: Block = field(init=False)
    _room: int = field(init=False)
    """Bytes of chunks in a packet of ours."""
    _now: Instant = field(default=0.0, init=False)

    @_block.default
    def _new_block(self) -> Block:
        ports = (self.source_port, self.destination_port)
        greeter = Greeter(self.entropy, self.limits, ports, self.zero_checksum)
        return Block(entropy=self.entropy, limits=self.limits, greeter=greeter)

    @_room.default
    def _new_room(self) -> int:
        return packet.room(self.limits.packet)

    # Verbs in

    def connect(self, now: Instant) -> None:
        """Begin: send INIT. Both sides may. Where it has begun, or ended, it changes nothing."""
        self._now = now
        match self._block.state:
            case Closed(ended=False):
                opening.begin(self._block, now)

    def receive_packet(self, data: bytes, now: Instant) -> None:
        """Take one packet of the peer."""
        self._now = now
        block = self._block
        if shortcut.receive_untrusted(
            block, data, now, self.destination_port, self.source_port, self.zero_checksum
        ):
            return
        try:
            received = packet.decode_untrusted(data, accept_zero_checksum=self.zero_checksum)
        except ChecksumError:
            block.drop(Drop.SCTP_CHECKSUM)
            return
        except DecodeError:
            block.drop(Drop.SCTP_MALFORMED)
            return
        state = block.state
        if (
            received.source_port != self.destination_port
            or received.destination_port != self.source_port
        ):
            block.drop(Drop.SCTP_PORT)
        elif state.__class__ is Closed and state.ended:
            block.drop(Drop.SCTP_CLOSED)
            closing.answer_out_of_the_blue(block, received, now)
        elif (
            received.tag != block.tag or received.chunks[0].__class__ not in _PLAIN
        ) and not self._belongs(received):
            block.drop(Drop.SCTP_TAG)
        else:
            self._read(received, now)

    def handle_timeout(self, now: Instant) -> None:
        """Do what is due."""
        self._now = now
        block = self._block
        outbound, state, overdue = block.outbound, block.state, False
        outbound.awaken()
        match state:
            case CookieWait(init, timer):
                if timer.expired(now) and opening.may_try_again(block, state):
                    block.packets.append(init)
            case CookieEchoed(timer=timer):
                if timer.expired(now) and opening.may_try_again(block, state):
                    state.due = True
                    outbound.repeat(now)
            case ShutdownSent(timer) | ShutdownAckSent(timer):
                state.due |= timer.expired(now)
            case Established() | ShutdownPending() | ShutdownReceived():
                overdue = outbound.handle_timeout(now)
        transfer = block.conversing
        if transfer is not None:
            transfer.handle_timeout(now, overdue=overdue)
            closing.progress(block, now)

    def retry(self, now: Instant) -> None:
        """The peer was just heard, though not here. What was lost before is sent again at once: T3,
        which waits twice as long each time, would let a mended path lie idle for seconds."""
        block = self._block
        transfer = block.conversing
        if transfer is not None and block.outbound.retry(now):
            self._now = now
            block.outbound.awaken()
            transfer.handle_timeout(now, overdue=True)

    def send(
        self,
        stream: int,
        ppid: int,
        payload: bytes,
        now: Instant,
        *,
        ordered: bool = True,
        lifetime: float | None = None,
        retransmissions: int | None = None,
    ) -> None:
        """Send a message; before there is a peer it waits for one. ``ordered``: the peer gets it
        after what was sent before on this stream. ``lifetime`` in seconds and ``retransmissions``
        bound the attempts (RFC 3758, RFC 7496), if the peer understands that.

        Raises ``SendQueueFull`` when too much waits, ``NotConnected`` once the association is
        ending, ``ValueError`` for an empty payload or a stream that there is not."""
        block = self._block
        if not payload:
            raise ValueError("an empty message")
        if not 0 <= stream < block.outbound_streams:
            raise ValueError("no such stream")
        match block.state:
            case Established() | Closed(ended=False) | CookieWait() | CookieEchoed():
                pass
            case _:
                raise NotConnected("the association is over")
        self._now = now
        block.outbound.awaken()
        expires = None if lifetime is None else now + lifetime
        block.outbound.queue.add(
            stream,
            ppid,
            payload,
            ordered=ordered,
            expires=expires,
            retransmissions=retransmissions,
        )

    def reset_streams(self, streams: Sequence[int], now: Instant) -> None:
        """Reset our outgoing ``streams``, as soon as everything sent on them so far has been
        acknowledged. What is sent on them from now on comes after. ``ResetDone`` follows for each,
        unless the association ends before. Raises ``ValueError`` for a stream that there is not."""
        self._now = now
        block = self._block
        block.outbound.awaken()
        wanted = tuple(dict.fromkeys(streams))
        if not all(0 <= stream < block.outbound_streams for stream in wanted):
            raise ValueError("no such stream")
        transfer = block.conversing
        if transfer is not None:
            transfer.reset(wanted, now)
            block.note_resets()
        elif block.state != Closed(ended=True):
            for stream in wanted:
                block.early_resets[stream] = None
                block.outbound.queue.hold(stream)

    def set_threshold(self, stream: int, amount: int) -> None:
        """``BufferedAmountLow`` follows when what waits on ``stream`` falls to ``amount`` bytes, at
        first 0. After a reset that was performed it is to be set again."""
        self._block.outbound.queue.stream(stream).threshold = amount

    def shutdown(self, now: Instant) -> None:
        """End it in good order: what waits is still sent."""
        self._now = now
        self._block.outbound.awaken()
        closing.begin(self._block, now)

    def abort(self, now: Instant, text: str = "") -> None:
        """End it at once; the peer is told ``text``."""
        self._now = now
        if self._block.state != Closed(ended=True):
            self._block.abort(UserAbort(text[: closing.REASON_LENGTH]), text)

    # Verbs out

    def next_transmit(self) -> bytes | None:
        """The next packet for the peer, made now."""
        block = self._block
        if block.packets:
            return block.packets.popleft()
        transfer, state = block.transfer, block.state
        if transfer is None:
            return None
        if state.__class__ is CookieEchoed:
            return self._echo(state, transfer)
        if state.__class__ is Established and not (block.cookie_ack or transfer.waiting):
            parts = transfer.data(self._room, self._now)
        else:
            parts = self._parts(state, transfer)
        if not parts:
            block.outbound.rest()
            return None
        return packet.assemble(
            self.source_port,
            self.destination_port,
            transfer.peer.tag,
            parts,
            checksum=not transfer.peer.zero_checksum,
        )

    def next_event(self) -> Event | None:
        """What happened next. Messages are fetched by this alone: as long as they are not, the
        window that the peer is told shrinks."""
        block = self._block
        if block.events:
            return block.events.popleft()
        transfer = block.transfer
        if transfer is not None:
            # It is asked after every packet, and most often there is nothing: no call for that.
            inbound = transfer.inbound
            if inbound.ready or transfer.fetching or inbound.oversized:
                event = block.next_received()
                if event is not None:
                    return event
        queue = block.outbound.queue
        if not queue.low:
            return None
        low = queue.next_low()
        return None if low is None else events.BufferedAmountLow(low)

    def next_timeout(self) -> Instant | None:
        block = self._block
        transfer, state = block.transfer, block.state
        match state:
            case CookieWait(timer=timer) | CookieEchoed(timer=timer):
                return timer.deadline
        if transfer is None:
            return None
        if transfer.acknowledgement.due:
            # Found out while events were fetched, after the packets.
            return self._now
        match state:
            case ShutdownSent(timer) | ShutdownAckSent(timer):
                repetition = timer.deadline
            case _:
                repetition = block.outbound.deadline
        other = transfer.next_timeout()
        return other if repetition is None else min(repetition, other)

    # What can be asked

    @property
    def state(self) -> State:
        return STATES[self._block.state.__class__]

    @property
    def outbound_streams(self) -> int:
        """How many streams we may send on; before the peer has told, the most it may be."""
        return self._block.outbound_streams

    @property
    def inbound_streams(self) -> int:
        """How many streams the peer may send on; before it has told, the most it may be."""
        return self._block.inbound_streams

    def buffered_amount(self, stream: int) -> int:
        """Bytes of messages on ``stream`` that have not been sent for the first time."""
        return self._block.outbound.queue.buffered_amount(stream)

    # Reading

    def _belongs(self, received: Packet) -> bool:
        """Whether a packet bears the tag that it must (RFC 9260, 8.5)."""
        tag, block = received.tag, self._block
        match received.chunks[0]:
            case Init():
                return tag == 0
            case CookieEcho():
                # Compared with the one in the cookie.
                return True
            case Abort(reflected=True) | ShutdownComplete(reflected=True):
                return block.transfer is not None and tag == block.transfer.peer.tag
            case ShutdownAck() if isinstance(block.state, (Closed, *OPENING)):
                return True
            case _:
                return tag == block.tag

    def _read(self, received: Packet, now: Instant) -> None:
        block = self._block
        chunks: Iterable[Chunk] = received.chunks
        before = block.state
        if block.transfer is not None:
            block.transfer.begin_packet(alone=len(received.chunks) == 1)
        if len(received.chunks) > 1:
            chunks = self._once(received.chunks)
        for chunk in chunks:
            kind = chunk.__class__
            if kind is Data:
                drop = self._receive_data(chunk)  # type: ignore[arg-type]
            elif kind is Sack and block.state.__class__ in _SENDING:
                drop = block.outbound.receive_sack(chunk, now)
            else:
                block.outbound.awaken()
                drop = self._receive(chunk, received, now)
            if drop is not None:
                block.drop(drop)
                if kind in _AT_THE_HEAD or (
                    kind is ShutdownAck and block.state.__class__ in OPENING
                ):
                    break
                if drop is Drop.SCTP_ACK and kind is Sack:
                    block.refuse_sack()
            state = block.state
            if state.__class__ is Closed or (state.__class__ is CookieWait and state is not before):
                # Over, or begun anew with an INIT of its own: the rest belongs to what was.
                return
        self._have_read(now)

    def _once(self, chunks: Iterable[Chunk]) -> list[Chunk]:
        """``chunks`` without those that say again what one of them says already."""
        kept: list[Chunk] = []
        seen: set[type[Chunk]] = set()
        for chunk in chunks:
            kind = chunk.__class__
            if kind in seen:
                self._block.drop(Drop.SCTP_BUNDLED)
                continue
            if kind in _ONCE:
                seen.add(kind)
            kept.append(chunk)
        return kept

    def _have_read(self, now: Instant) -> None:
        """Look after what a packet has brought about."""
        block = self._block
        transfer, state = block.transfer, block.state
        if transfer is None or state.__class__ is CookieEchoed:
            return
        came = transfer.packet_read(now)
        if transfer.reconfiguration.happened:
            block.note_resets()
        if state.__class__ is not Established:
            if came and isinstance(state, ShutdownSent):
                state.due = True
                state.timer.start(now, block.outbound.round_trip.timeout)
            closing.progress(block, now)

    def _receive_data(self, chunk: Data) -> Drop | None:
        block = self._block
        transfer = block.transfer
        if transfer is None or block.state.__class__ not in _RECEIVING:
            return Drop.SCTP_UNEXPECTED
        if not chunk.payload:
            block.abort(NoUserData(chunk.tsn), "the peer sent DATA without a payload")
            return None
        return transfer.receive_data(chunk)

    def _receive(self, chunk: Chunk, received: Packet, now: Instant) -> Drop | None:
        block = self._block
        match chunk:
            case Sack() | ForwardTsn() | HeartbeatAck():
                transfer = block.conversing
                if transfer is None:
                    return Drop.SCTP_UNEXPECTED
                return transfer.receive(chunk, now)
            case Heartbeat() | ReConfig():
                transfer = block.conversing
                if transfer is None and chunk.__class__ is Heartbeat:
                    # COOKIE ACK is on its way or lost: the answer goes once it has come
                    # (rfc9260/8.3/3, rfc9260/5.1/7).
                    transfer = block.transfer
                if transfer is None:
                    return Drop.SCTP_UNEXPECTED
                return transfer.receive(chunk, now) if block.bucket.take(now) else Drop.SCTP_RATE
            case Init() | InitAck() | ShutdownComplete() if len(received.chunks) > 1:
                return Drop.SCTP_BUNDLED
            case Init():
                return opening.receive_init(block, chunk, now)
            case InitAck():
                return opening.receive_init_ack(block, chunk, now)
            case CookieEcho(cookie):
                return opening.receive_cookie(block, cookie, received.tag, now)
            case CookieAck():
                return opening.receive_cookie_ack(block, now)
            case Error(causes):
                return opening.receive_error(block, causes, now)
            case Shutdown(cumulative):
                return closing.receive_shutdown(block, cumulative, now)
            case ShutdownAck():
                return closing.receive_shutdown_ack(block, received, now)
            case ShutdownComplete():
                return closing.receive_shutdown_complete(block)
            case Abort(causes):
                return closing.receive_abort(block, causes)
            case _:
                return self._receive_unknown(chunk, now)

    def _receive_unknown(self, chunk: Chunk, now: Instant) -> Drop:
        block = self._block
        transfer = block.conversing
        if isinstance(chunk, Unknown) and chunk.reports and transfer is not None:
            if not block.bucket.take(now):
                return Drop.SCTP_RATE
            # Where there is no room for it that is let go, and the chunk is unknown all the same.
            transfer.complain(UnrecognizedChunk(chunk.encode()[:_COMPLAINT_LENGTH]))
        return Drop.SCTP_UNKNOWN_CHUNK

    # Writing

    def _echo(self, state: CookieEchoed, transfer: Transfer) -> bytes | None:
        """COOKIE ECHO, with the first DATA in the same packet; until it is answered nothing else
        may go (RFC 9260, 5.1)."""
        if not state.due:
            return None
        state.due = False
        echo = CookieEcho(state.cookie).encode()
        space = self._room - len(echo)
        parts = [echo, *self._block.outbound.fill(space, self._now)]
        return packet.assemble(self.source_port, self.destination_port, transfer.peer.tag, parts)

    def _parts(self, state: Standing, transfer: Transfer) -> list[bytes]:
        """The chunks of the next packet."""
        space = self._room
        parts: list[bytes] = []
        block = self._block
        if block.cookie_ack:
            block.cookie_ack = False
            parts.append(CookieAck().encode())
        kind = state.__class__
        if kind not in _SENDING:
            match state:
                case ShutdownSent(due=True):
                    state.due = False
                    parts.append(Shutdown(transfer.inbound.cumulative).encode())
                case ShutdownAckSent(due=True):
                    state.due = False
                    parts.append(ShutdownAck().encode())
        parts += transfer.control(space - sum(map(len, parts)))
        if parts:
            space -= sum(map(len, parts))
        if kind in _SENDING:
            parts += transfer.data(space, self._now)
        elif kind is ShutdownSent and transfer.acknowledgement.wanted:
            parts += transfer.acknowledge(space)
        elif kind is ShutdownAckSent:
            # Who sends SHUTDOWN has nothing left that is to be acknowledged. What looked so to us
            # must be forgotten, or its timer stays due for as long as this state lasts.
            transfer.acknowledgement.sent()
        return parts
