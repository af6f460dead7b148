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
a COOKIE ECHO mean, ``greeting`` answers those who are no peer yet, ``transfer`` is what both sides
have once they know each other, ``outbound`` what is to be sent, from the start. This module reads
packets, moves from state to state, and makes packets when they are fetched.

The random bytes are drawn from ``entropy`` in a fixed order: at the beginning the cookies' key, our
tag and our first TSN; then, as each comes to pass, the tie of an association that is set up, the
tag and TSN told to a peer that may have begun anew, and the nonce of each heartbeat.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from attrs import define, field

from stunroute.allowance import TokenBucket
from stunroute.errors import DecodeError, StunrouteError
from stunroute.instant import Entropy, Instant
from stunroute.trace import Drop
from transceiver.config import SctpLimits

from . import events, packet
from .causes import (
    Cause,
    CookieWhileShuttingDown,
    InvalidMandatoryParameter,
    MissingParameters,
    NoUserData,
    ProtocolViolation,
    StaleCookie,
    UnrecognizedChunk,
    UserAbort,
)
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
from .cookie import NO_TIE, TIE_LENGTH, Cookie, Peer
from .events import Event
from .greeting import Greeter
from .handshake import CookieMeans, InitMeans, classify_cookie, classify_init, state_cookie
from .outbound import Outbound
from .packet import HEADER_LENGTH, ChecksumError, Packet
from .parameters import StateCookie
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
from .timers import Timer
from .transfer import Transfer

_REASON_LENGTH: Final = 200
"""Characters of an ABORT's reason, ours and what is told of the peer's."""
_COMPLAINT_LENGTH: Final = 512
"""Bytes of an unknown chunk that are given back."""

_OPENING: Final = (CookieWait, CookieEchoed)
_RECEIVING: Final = (Established, ShutdownPending, ShutdownSent)
"""DATA is taken (RFC 9260, 6)."""
_SENDING: Final = (Established, ShutdownPending, ShutdownReceived)
"""DATA may be sent."""


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

    _greeter: Greeter = field(init=False)
    _tag: int = field(init=False)
    """What packets to us carry."""
    _outbound: Outbound = field(init=False)
    _bucket: TokenBucket = field(init=False)
    _state: Standing = field(factory=Closed, init=False)
    _transfer: Transfer | None = field(default=None, init=False)
    _early_resets: dict[int, None] = field(factory=dict, init=False)
    """Streams to be reset, once the association stands."""
    _cookie_ack: bool = field(default=False, init=False)
    """COOKIE ACK is to be sent."""
    _packets: deque[bytes] = field(factory=deque, init=False, repr=False)
    """Those that are not part of an association."""
    _events: deque[Event] = field(factory=deque, init=False)
    _now: Instant = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        ports = (self.source_port, self.destination_port)
        self._greeter = Greeter(self.entropy, self.limits, ports, self.zero_checksum)
        self._tag = self._greeter.new_tag()
        self._outbound = Outbound(self.limits, self._greeter.new_tsn())
        self._bucket = TokenBucket(self.limits.control_rate, 2 * self.limits.control_rate)

    # Verbs in

    def connect(self, now: Instant) -> None:
        """Begin: send INIT. Both sides may. Where it has begun, or ended, it changes nothing."""
        self._now = now
        if self._state == Closed():
            init = self._greeter.init(self._tag, self._outbound.tsn)
            self._state = CookieWait(init, self._timer(now))
            self._packets.append(init)

    def receive_packet(self, data: bytes, now: Instant) -> None:
        """Take one packet of the peer."""
        self._now = now
        try:
            received = packet.decode_untrusted(data, accept_zero_checksum=self.zero_checksum)
        except ChecksumError:
            self._drop(Drop.SCTP_CHECKSUM)
            return
        except DecodeError:
            self._drop(Drop.SCTP_MALFORMED)
            return
        if (
            received.source_port != self.destination_port
            or received.destination_port != self.source_port
        ):
            self._drop(Drop.SCTP_PORT)
        elif self._state == Closed(ended=True):
            self._drop(Drop.SCTP_CLOSED)
            self._answer_out_of_the_blue(received, now)
        elif not self._belongs(received):
            self._drop(Drop.SCTP_TAG)
        else:
            self._outbound.awaken()
            self._read(received, now)

    def handle_timeout(self, now: Instant) -> None:
        """Do what is due."""
        self._now = now
        outbound, state = self._outbound, self._state
        outbound.awaken()
        match state:
            case CookieWait(init, timer):
                if timer.expired(now) and self._may_try_again(state):
                    self._packets.append(init)
            case CookieEchoed(timer=timer):
                if timer.expired(now) and self._may_try_again(state):
                    state.due = True
                    outbound.repeat(now)
            case ShutdownSent(timer) | ShutdownAckSent(timer):
                state.due |= timer.expired(now)
            case Established() | ShutdownPending() | ShutdownReceived():
                outbound.handle_timeout(now)
        if self._transfer is not None and not isinstance(state, _OPENING):
            self._transfer.handle_timeout(now)
        self._progress(now)

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
        if not payload:
            raise ValueError("an empty message")
        if not 0 <= stream < self.outbound_streams:
            raise ValueError("no such stream")
        if not isinstance(self._state, (Established, *_OPENING)) and self._state != Closed():
            raise NotConnected("the association is over")
        self._now = now
        self._outbound.awaken()
        expires = None if lifetime is None else now + lifetime
        self._outbound.queue.add(
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
        unless the association ends before."""
        self._now = now
        self._outbound.awaken()
        wanted = tuple(dict.fromkeys(streams))
        if not all(0 <= stream < self.outbound_streams for stream in wanted):
            raise ValueError("no such stream")
        if self._transfer is None or isinstance(self._state, _OPENING):
            if self._state != Closed(ended=True):
                self._early_resets.update(dict.fromkeys(wanted))
                for stream in wanted:
                    self._outbound.queue.hold(stream)
        else:
            self._transfer.reset(wanted, now)
            self._note_resets()

    def set_threshold(self, stream: int, amount: int) -> None:
        """``BufferedAmountLow`` follows when what waits on ``stream`` falls to ``amount`` bytes, at
        first 0. A reset that was performed makes it 0 again."""
        self._outbound.queue.stream(stream).threshold = amount

    def shutdown(self, now: Instant) -> None:
        """End it in good order: what waits is still sent."""
        self._now = now
        self._outbound.awaken()
        match self._state:
            case Closed() | CookieWait():
                self._end("closed before it was open", by_peer=False)
            case CookieEchoed():
                self.abort(now, "closed before it was open")
            case Established():
                self._state = ShutdownPending()
                self._outbound.hurry = True
                self._progress(now)

    def abort(self, now: Instant, text: str = "") -> None:
        """End it at once; the peer is told ``text``."""
        self._now = now
        self._abort(UserAbort(text[:_REASON_LENGTH]), text)

    # Verbs out

    def next_transmit(self) -> bytes | None:
        """The next packet for the peer, made now."""
        if self._packets:
            return self._packets.popleft()
        transfer, state = self._transfer, self._state
        if transfer is None or isinstance(state, Closed):
            return None
        if isinstance(state, CookieEchoed):
            return self._echo(state, transfer)
        parts = self._parts(state, transfer)
        if not parts:
            self._outbound.rest()
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
        if self._events:
            return self._events.popleft()
        event = self._next_received()
        if event is not None:
            return event
        low = self._outbound.queue.next_low()
        return None if low is None else events.BufferedAmountLow(low)

    def next_timeout(self) -> Instant | None:
        transfer, state = self._transfer, self._state
        match state:
            case Closed():
                return None
            case CookieWait(timer=timer) | CookieEchoed(timer=timer):
                return timer.deadline
        if transfer is None:
            return None
        if transfer.acknowledgement.due:
            # Found out while events were fetched, after the packets.
            return self._now
        first = transfer.next_timeout()
        match state:
            case ShutdownSent(timer) | ShutdownAckSent(timer):
                other = timer.deadline
            case _:
                other = self._outbound.deadline
        return other if other is not None and (first is None or other < first) else first

    # What can be asked

    @property
    def state(self) -> State:
        return STATES[self._state.__class__]

    @property
    def outbound_streams(self) -> int:
        """How many streams we may send on; before the peer has told, the most it may be."""
        streams = self.limits.streams
        return streams if self._transfer is None else min(streams, self._transfer.peer.inbound)

    @property
    def inbound_streams(self) -> int:
        """How many streams the peer may send on; before it has told, the most it may be."""
        streams = self.limits.streams
        return streams if self._transfer is None else min(streams, self._transfer.peer.outbound)

    def buffered_amount(self, stream: int) -> int:
        """Bytes of messages on ``stream`` that have not been sent for the first time."""
        return self._outbound.queue.buffered_amount(stream)

    # Reading

    def _belongs(self, received: Packet) -> bool:
        """Whether a packet bears the tag that it must (RFC 9260, 8.5)."""
        tag = received.tag
        match received.chunks[0]:
            case Init():
                return tag == 0
            case CookieEcho():
                # Compared with the one in the cookie.
                return True
            case Abort(reflected=True) | ShutdownComplete(reflected=True):
                return self._transfer is not None and tag == self._transfer.peer.tag
            case ShutdownAck() if isinstance(self._state, (Closed, *_OPENING)):
                return True
            case _:
                return tag == self._tag

    def _read(self, received: Packet, now: Instant) -> None:
        for chunk in received.chunks:
            kind = chunk.__class__
            transfer = self._transfer
            if kind is Data and transfer is not None and isinstance(self._state, _RECEIVING):
                drop = self._receive_data(chunk, transfer, now)  # type: ignore[arg-type]
            else:
                drop = self._receive(chunk, received, now)
            if drop is not None:
                self._drop(drop)
                if kind is CookieEcho or drop is Drop.SCTP_BUNDLED:
                    break
            if self._state.__class__ is Closed:
                return
        transfer = self._transfer
        if transfer is not None and self._state.__class__ is not CookieEchoed:
            if transfer.packet_read(now) and isinstance(self._state, ShutdownSent):
                self._state.due = True
                self._state.timer.start(now, self._outbound.round_trip.timeout)
            self._note_resets()
            self._progress(now)

    def _receive_data(self, chunk: Data, transfer: Transfer, now: Instant) -> Drop | None:
        if not chunk.payload:
            self._abort(NoUserData(chunk.tsn), "the peer sent DATA without a payload")
            return None
        return transfer.receive_data(chunk)

    def _receive(self, chunk: Chunk, received: Packet, now: Instant) -> Drop | None:
        alone = len(received.chunks) == 1
        match chunk:
            case Sack() | ForwardTsn() | HeartbeatAck():
                if self._transfer is None or isinstance(self._state, _OPENING):
                    return Drop.SCTP_UNEXPECTED
                return self._transfer.receive(chunk, now)
            case Heartbeat() | ReConfig():
                if self._transfer is None or isinstance(self._state, _OPENING):
                    return Drop.SCTP_UNEXPECTED
                if not self._bucket.take(now):
                    return Drop.SCTP_RATE
                return self._transfer.receive(chunk, now)
            case Init():
                return self._receive_init(chunk, now) if alone else Drop.SCTP_BUNDLED
            case InitAck():
                return self._receive_init_ack(chunk, now) if alone else Drop.SCTP_BUNDLED
            case CookieEcho(cookie):
                return self._receive_cookie(cookie, received, now)
            case CookieAck():
                return self._receive_cookie_ack(now)
            case Shutdown(cumulative):
                return self._receive_shutdown(cumulative, now)
            case ShutdownAck():
                return self._receive_shutdown_ack(received, now)
            case ShutdownComplete():
                return self._receive_shutdown_complete() if alone else Drop.SCTP_BUNDLED
            case Abort(causes):
                return self._receive_abort(causes)
            case Error(causes):
                return self._receive_error(causes, now)
            case Unknown():
                return self._receive_unknown(chunk, now)
            case Data():
                return Drop.SCTP_UNEXPECTED

    def _receive_unknown(self, chunk: Unknown, now: Instant) -> Drop:
        if chunk.reports and self._transfer is not None and self._bucket.take(now):
            self._transfer.complain(UnrecognizedChunk(chunk.encode()[:_COMPLAINT_LENGTH]))
        return Drop.SCTP_UNKNOWN_CHUNK

    def _answer_out_of_the_blue(self, received: Packet, now: Instant) -> None:
        answer = self._greeter.out_of_the_blue(received)
        if answer is not None and self._bucket.take(now):
            self._packets.append(answer)

    # Opening

    def _receive_init(self, chunk: Init, now: Instant) -> Drop | None:
        if not self._bucket.take(now):
            return Drop.SCTP_RATE
        greeter, state = self._greeter, self._state
        match classify_init(chunk, self.state):
            case InitMeans.INVALID:
                return Drop.SCTP_MALFORMED
            case InitMeans.IMPOSSIBLE:
                self._packets.append(greeter.refusal(chunk.tag, InvalidMandatoryParameter()))
                return Drop.SCTP_MALFORMED
            case InitMeans.BEGIN:
                tie = self._tie if isinstance(state, CookieEchoed) else NO_TIE
                answer = greeter.answer(chunk, self._tag, self._outbound.tsn, tie, now)
                self._packets.append(answer)
            case InitMeans.PERHAPS_RESTART:
                tag, tsn = greeter.new_tag(), greeter.new_tsn()
                self._packets.append(greeter.answer(chunk, tag, tsn, self._tie, now))
            case InitMeans.CLOSING:
                assert isinstance(state, ShutdownAckSent)
                state.due = True
        return None

    def _receive_init_ack(self, chunk: InitAck, now: Instant) -> Drop | None:
        if not isinstance(self._state, CookieWait):
            return Drop.SCTP_UNEXPECTED
        cookie = state_cookie(chunk)
        cause: Cause | None = None
        if not (chunk.tag and chunk.outbound and chunk.inbound):
            cause = InvalidMandatoryParameter()
        elif cookie is None:
            cause = MissingParameters((StateCookie.type,))
        elif len(cookie) > self.limits.packet - HEADER_LENGTH - 4:
            cause = ProtocolViolation("a cookie that does not fit into a packet")
        if cause is not None or cookie is None:
            self._packets.append(self._greeter.packet(chunk.tag, Abort((cause,) if cause else ())))
            self._end("the peer's INIT ACK makes no sense", by_peer=False)
            return Drop.SCTP_MALFORMED
        self._meet(Peer.of(chunk), now)
        self._state = CookieEchoed(cookie, self._timer(now))
        return None

    def _receive_cookie(self, sealed: bytes, received: Packet, now: Instant) -> Drop | None:
        if not self._bucket.take(now):
            return Drop.SCTP_RATE
        try:
            cookie = self._greeter.read_untrusted(sealed)
        except DecodeError:
            return Drop.SCTP_COOKIE
        if received.tag != cookie.own_tag:
            return Drop.SCTP_TAG
        transfer = self._transfer
        means = classify_cookie(
            cookie,
            state=self.state,
            own_tag=self._tag,
            peer_tag=None if transfer is None else transfer.peer.tag,
            tie=self._tie,
            lifetime=self.limits.cookie_lifetime,
            now=now,
        )
        match means:
            case CookieMeans.BEGIN | CookieMeans.COLLISION:
                self._meet(cookie.peer, now)
                self._establish(now)
            case CookieMeans.RESTART:
                self._restart(cookie, now)
            case CookieMeans.REPETITION:
                if isinstance(self._state, CookieEchoed):
                    self._establish(now)
            case CookieMeans.CLOSING:
                assert isinstance(self._state, ShutdownAckSent)
                assert transfer is not None
                self._state.due = True
                transfer.complain(CookieWhileShuttingDown())
                return Drop.SCTP_COOKIE
            case CookieMeans.STALE:
                self._packets.append(self._greeter.stale(cookie, now))
                return Drop.SCTP_COOKIE
            case CookieMeans.LATE | CookieMeans.STRANGE:
                return Drop.SCTP_COOKIE
        self._cookie_ack = True
        return None

    def _receive_cookie_ack(self, now: Instant) -> Drop | None:
        if not isinstance(self._state, CookieEchoed):
            return Drop.SCTP_UNEXPECTED
        self._establish(now)
        return None

    def _receive_error(self, causes: tuple[Cause, ...], now: Instant) -> Drop | None:
        """Of all that a peer can complain about, one thing can be helped: that our answer took so
        long that its cookie had become stale."""
        if not isinstance(self._state, CookieEchoed):
            return Drop.SCTP_UNEXPECTED if self._transfer is None else None
        if not any(isinstance(cause, StaleCookie) for cause in causes):
            return Drop.SCTP_UNEXPECTED
        if not self._bucket.take(now):
            return Drop.SCTP_RATE
        self._transfer = None
        init = self._greeter.init(self._tag, self._outbound.tsn)
        self._state = CookieWait(init, self._timer(now))
        self._packets.append(init)
        return None

    def _meet(self, peer: Peer, now: Instant) -> None:
        """We know who the peer is, or who it is by now."""
        tie = self.entropy(TIE_LENGTH)
        self._outbound.meet(peer.window, forward_tsn=peer.forward_tsn, now=now)
        self._transfer = Transfer(self.limits, self.entropy, peer, tie, self._outbound, now)
        self._outbound.queue.confine(self.outbound_streams)

    def _establish(self, now: Instant) -> None:
        self._state = Established()
        self._events.append(events.Connected(self.outbound_streams, self.inbound_streams))
        early = tuple(self._early_resets)
        self._early_resets.clear()
        if early and self._transfer is not None:
            self._transfer.reset(early, now)

    def _restart(self, cookie: Cookie, now: Instant) -> None:
        """The peer knows nothing any more of what there was."""
        self._keep_received()
        self._tag = cookie.own_tag
        self._outbound = Outbound(self.limits, cookie.own_tsn)
        self._outbound.awaken()
        self._meet(cookie.peer, now)
        self._state = Established()
        self._events.append(events.Restarted())

    def _may_try_again(self, state: CookieWait | CookieEchoed) -> bool:
        most = self.limits.init_retransmissions
        if most and state.sendings > most:
            self._end("the peer does not answer", by_peer=False)
            return False
        state.sendings += 1
        return True

    # Closing

    def _progress(self, now: Instant) -> None:
        """Go on with closing, if all that was to be sent has come."""
        match self._state:
            case ShutdownPending() if self._outbound.quiet:
                self._state = ShutdownSent(self._timer(now))
            case ShutdownReceived() if self._outbound.quiet:
                self._state = ShutdownAckSent(self._timer(now))

    def _receive_shutdown(self, cumulative: int, now: Instant) -> Drop | None:
        if self._transfer is None or isinstance(self._state, _OPENING):
            return Drop.SCTP_UNEXPECTED
        drop = self._outbound.receive_cumulative(cumulative, now)
        if drop is not None:
            return drop
        match self._state:
            case Established() | ShutdownPending():
                self._outbound.hurry = True
                self._state = ShutdownReceived()
            case ShutdownSent():
                self._state = ShutdownAckSent(self._timer(now))
            case ShutdownAckSent():
                self._state.due = True
        return None

    def _receive_shutdown_ack(self, received: Packet, now: Instant) -> Drop | None:
        match self._state:
            case Closed() | CookieWait() | CookieEchoed():
                self._answer_out_of_the_blue(received, now)
                return Drop.SCTP_UNEXPECTED
            case ShutdownSent() | ShutdownAckSent() if self._transfer is not None:
                tag = self._transfer.peer.tag
                self._packets.append(self._greeter.packet(tag, ShutdownComplete()))
                self._end("closed", by_peer=False)
                return None
            case _:
                return Drop.SCTP_UNEXPECTED

    def _receive_shutdown_complete(self) -> Drop | None:
        if not isinstance(self._state, ShutdownAckSent):
            return Drop.SCTP_UNEXPECTED
        self._end("closed", by_peer=True)
        return None

    def _receive_abort(self, causes: tuple[Cause, ...]) -> Drop | None:
        if isinstance(self._state, Closed):
            return Drop.SCTP_UNEXPECTED
        match causes:
            case (UserAbort(text) | ProtocolViolation(text), *_) if text:
                reason = f"the peer gave up: {text[:_REASON_LENGTH]}"
            case (cause, *_):
                reason = f"the peer gave up with cause {cause.code}"
            case _:
                reason = "the peer gave up"
        self._end(reason, by_peer=True)
        return None

    def _abort(self, cause: Cause, reason: str) -> None:
        if self._state == Closed(ended=True):
            return
        if self._transfer is not None:
            self._packets.append(self._greeter.packet(self._transfer.peer.tag, Abort((cause,))))
        self._end(reason, by_peer=False)

    def _end(self, reason: str, *, by_peer: bool) -> None:
        self._keep_received()
        self._state = Closed(ended=True)
        self._transfer = None
        self._outbound = Outbound(self.limits, self._outbound.tsn)
        self._early_resets.clear()
        self._events.append(events.Closed(reason, by_peer))

    # Writing

    def _echo(self, state: CookieEchoed, transfer: Transfer) -> bytes | None:
        """COOKIE ECHO, with the first DATA in the same packet; until it is answered nothing else
        may go (RFC 9260, 5.1)."""
        if not state.due:
            return None
        state.due = False
        echo = CookieEcho(state.cookie).encode()
        space = self.limits.packet - HEADER_LENGTH - len(echo)
        data = self._outbound.fill(space, self._now) if space > 0 else []
        ports = (self.source_port, self.destination_port)
        return packet.assemble(*ports, transfer.peer.tag, [echo, *data])

    def _parts(self, state: Standing, transfer: Transfer) -> list[bytes]:
        """The chunks of the next packet."""
        space = self.limits.packet - HEADER_LENGTH
        parts: list[bytes] = []
        if self._cookie_ack:
            self._cookie_ack = False
            parts.append(CookieAck().encode())
        match state:
            case ShutdownSent(due=True):
                state.due = False
                parts.append(Shutdown(transfer.inbound.cumulative).encode())
            case ShutdownAckSent(due=True):
                state.due = False
                parts.append(ShutdownAck().encode())
        if parts:
            space -= sum(map(len, parts))
        control = transfer.control(space)
        if control:
            parts += control
            space -= sum(map(len, control))
        if isinstance(state, _SENDING):
            parts += transfer.data(space, self._now)
        elif transfer.acknowledgement.wanted and isinstance(state, ShutdownSent):
            parts += transfer.acknowledge(space)
        return parts

    # Events

    def _next_received(self) -> Event | None:
        transfer = self._transfer
        if transfer is None:
            return None
        message = transfer.inbound.next_message()
        if message is not None:
            return message
        transfer.fetched()
        oversized = transfer.inbound.next_oversized()
        return None if oversized is None else events.MessageTooLong(oversized)

    def _keep_received(self) -> None:
        """What has come so far comes before what happens now."""
        while (event := self._next_received()) is not None:
            self._events.append(event)

    def _note_resets(self) -> None:
        transfer = self._transfer
        while transfer is not None and (happened := transfer.next_happened()) is not None:
            self._keep_received()
            self._events.append(happened)

    def _drop(self, drop: Drop) -> None:
        if len(self._events) < self.limits.events:
            self._events.append(events.Dropped(drop))

    @property
    def _tie(self) -> bytes:
        return NO_TIE if self._transfer is None else self._transfer.tie

    def _timer(self, now: Instant) -> Timer:
        timer = Timer(self.limits.rto_maximum)
        timer.start(now, self._outbound.round_trip.timeout)
        return timer
