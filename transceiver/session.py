"""One call: ICE, DTLS, SRTP and SCTP put together, and the phase they add up to.

The four do not know one another. This room passes the validated path from ICE to DTLS, the keys
from DTLS to SRTP, the packets from SRTP to audio and from DTLS to the data channels, and draws from
all of them the two things only their sum can tell: whether the client is still there, and how far
the call has come.

*Liveness.* Some clients never send a check again once they have nominated a pair, others send
only indications. So whatever authenticates is a sign of life: a check, a DTLS record that opens,
an SRTP or SRTCP packet whose tag verifies (compare RFC 7675, which a lite agent only answers).

*Order of trust.* A check must have validated an address before DTLS is accepted from it: nobody
without the password can race a ClientHello against the client's. SRTP proves itself, so it is
taken from any address that its tag vouches for; that is what carries the uplink across a NAT
rebinding. Our own packets follow only an authenticated check.

*Probing.* A relay that was restarted has no flow for the client's audio, and makes one from the
next check, which may be 5 s away, or from the next packet of ours, which an echo never sends. So
when audio stops short, a report goes out twice a second for a while.
"""

from collections import Counter, deque
from enum import Enum, unique
from typing import TypeAlias

import attrs
from attrs import define, field, frozen

from stunroute import demux
from stunroute.errors import DecodeError
from stunroute.instant import Instant
from stunroute.trace import Drop

from . import datachannel, dtls, ice
from .audio import AudioStream, SourceForgotten, SourceLearned
from .config import EndpointConfig
from .events import (
    AudioReceived,
    ChannelClosed,
    ChannelDrained,
    ChannelOpened,
    DataEnded,
    Ended,
    EndReason,
    Established,
    Event,
    LengthWarning,
    MessageReceived,
    PathSelected,
    Phase,
    PhaseChanged,
)
from .negotiation import Negotiated
from .path import Path
from .srtp import SrtpContext, SrtpError
from .timers import Deadline, Wake


@unique
class Cause(Enum):
    """What moves a session from phase to phase."""

    __hash__ = object.__hash__  # looked up for every packet: identity hashes in C

    CHECKED = "an authenticated check"
    ANSWERED = "a DTLS datagram from a validated address"
    SECURED = "keys agreed"
    SILENT = "nothing authenticated for a while"
    HEARD = "something authenticated"
    ENDED = "the end"


TRANSITIONS: dict[tuple[Phase, Cause], Phase] = {
    (Phase.NEW, Cause.CHECKED): Phase.CHECKING,
    (Phase.CHECKING, Cause.ANSWERED): Phase.HANDSHAKING,
    (Phase.CHECKING, Cause.SECURED): Phase.ESTABLISHED,
    (Phase.HANDSHAKING, Cause.SECURED): Phase.ESTABLISHED,
    (Phase.ESTABLISHED, Cause.SILENT): Phase.DISCONNECTED,
    (Phase.DISCONNECTED, Cause.HEARD): Phase.ESTABLISHED,
    **{(phase, Cause.ENDED): Phase.CLOSED for phase in Phase},
}
"""The published table. A pair that is not in it changes nothing."""


# One for each packet: made in a third of the time of a frozen one.
@define(slots=True)
class Outgoing:
    """A datagram for the client, to go over ``path``; the leg's header is not on it yet."""

    path: Path
    payload: bytes


@frozen(slots=True)
class AddressValidated:
    """A check over ``path`` has authenticated: its client address is this session's."""

    path: Path


@frozen(slots=True)
class UfragRetired:
    """Checks that name this ufrag of ours are no longer honoured."""

    ufrag: bytes


@frozen(slots=True)
class Refused:
    """A datagram was let go."""

    drop: Drop


LONGEST_PAYLOAD = 1300
"""Bytes of audio in one packet of ours. With the headers of RTP, of the leg and of UDP over IPv6,
and the longest tag of SRTP, that is well inside what an Ethernet frame carries."""

Signal: TypeAlias = AddressValidated | UfragRetired | SourceLearned | SourceForgotten | Refused
"""What a session tells its endpoint, beside the events meant for the application."""


@define(slots=True)
class Marks:
    """When each step of the set-up was reached."""

    opened: Instant
    first_check: Instant | None = None
    dtls_started: Instant | None = None
    established: Instant | None = None
    first_audio_in: Instant | None = None
    first_audio_out: Instant | None = None


@define(slots=True, eq=False)
class Session:
    """A call from its answer to its end. Verbs in take a clock reading in seconds and never raise
    because of a datagram."""

    call: str
    negotiated: Negotiated
    agent: ice.IceLite
    connection: dtls.DtlsConnection
    audio: AudioStream
    config: EndpointConfig
    marks: Marks
    data: datachannel.DataChannels | None = None
    phase: Phase = Phase.NEW
    drops: Counter[Drop] = field(factory=Counter)
    secured: dtls.HandshakeComplete | None = None
    _srtp: SrtpContext | None = None
    _early: deque[tuple[demux.Kind, bytes, Path]] = field(factory=deque)
    route: Path | None = None
    """The path that our packets take, None before the first check."""
    _heard: Instant = 0.0
    _length_at: Instant = 0.0
    _warning_at: Instant | None = None
    _drain_at: Instant | None = None
    _outgoing: deque[Outgoing] = field(factory=deque)
    _saying: Instant | None = None
    """Since when the data channels may have something to say."""
    _events: deque[Event | Signal] = field(factory=deque)

    def __attrs_post_init__(self) -> None:
        self._heard = self.marks.opened
        self._length_at = self.marks.opened + self.config.session.maximum_length
        self._warning_at = self._length_at - self.config.session.warning_before

    # --- in -----------------------------------------------------------------------------------

    def receive_datagram(self, payload: bytes, path: Path, now: Instant) -> None:
        """A datagram of the client's, without the leg's header."""
        if self.phase is Phase.CLOSED:
            return self._refuse(Drop.SESSION_CLOSED)
        match demux.classify(payload):
            case demux.Kind.STUN:
                self._receive_stun(payload, path, now)
            case demux.Kind.DTLS:
                self._receive_dtls(payload, path, now)
            case (demux.Kind.RTP | demux.Kind.RTCP) as kind:
                self._receive_srtp(kind, payload, path, now)
            case demux.Kind.EMPTY:
                self._refuse(Drop.EMPTY)
            case _:
                self._refuse(Drop.NOT_OURS)
        return None

    def _receive_stun(self, payload: bytes, path: Path, now: Instant) -> None:
        authenticated = self.agent.receive_stun(payload, path, now)
        if authenticated:
            self._heard = now
            self._advance(Cause.HEARD)
            self._advance(Cause.CHECKED)
            if self.marks.first_check is None:
                self.marks.first_check = now
        self._drain_ice()
        if authenticated and self.data is not None and path == self.route:
            self.data.retry(now)
            self._drain_data(now)
        # An authenticated request may still have been refused; then there is no route yet.
        if self.route is not None and self.marks.dtls_started is None:
            self.marks.dtls_started = now
            self.connection.start(now)
            self._drain_dtls(now)

    def _receive_dtls(self, payload: bytes, path: Path, now: Instant) -> None:
        if not self.agent.is_validated(path):
            return self._refuse(Drop.DTLS_UNVALIDATED_ADDRESS)
        if self.secured is None:
            self._advance(Cause.ANSWERED)
        if self.connection.receive_datagram(payload, now):
            self._note_media(path, now)
        self._drain_dtls(now)
        return None

    def _receive_srtp(self, kind: demux.Kind, payload: bytes, path: Path, now: Instant) -> None:
        if self._srtp is None:
            # The client's first media may overtake the end of its handshake.
            if not self.agent.is_validated(path):
                return self._refuse(Drop.SRTP_UNVALIDATED_ADDRESS)
            self._early.append((kind, payload, path))
            if len(self._early) > self.config.session.early_media:
                self._early.popleft()
                self._refuse(Drop.SRTP_NO_KEYS)
            return None
        if kind is demux.Kind.RTP:
            event = self.receive_rtp(payload, path, now)
            if event is not None:
                self._events.append(event)
        else:
            self._receive_rtcp(self._srtp, payload, path, now)
        return None

    def receive_rtp(self, payload: bytes, path: Path, now: Instant) -> AudioReceived | None:
        """``receive_datagram`` for a datagram that is RTP by its octets, with an answer for the
        midst of a call: where its audio is all that there is to say, and no deadline has come
        nearer by it, the audio is returned and waits in no queue. None: see the queues."""
        srtp, audio = self._srtp, self.audio
        if srtp is None:
            self.receive_datagram(payload, path, now)
            return None
        try:
            clear = srtp.unprotect_rtp_untrusted(payload)
        except SrtpError as error:
            self._refuse(error.drop)
            return None
        # The rest changes nothing that a deadline hangs on, if audio came before and we knew it.
        usual = audio.flowing and self.phase is Phase.ESTABLISHED
        steady = self.agent.steady
        if usual and steady is not None and steady.path is path:
            self._heard = steady.heard = now  # as ``_note_media``, two calls less for every packet
        else:
            self._note_media(path, now)
        try:
            event = audio.receive_rtp_untrusted(clear, now)
        except DecodeError:
            self._refuse(Drop.RTP_MALFORMED)
            return None
        if isinstance(event, AudioReceived):  # Drop is an Enum, which is slower to ask for
            if self.marks.first_audio_in is None:
                self.marks.first_audio_in = now
            if usual and not audio.changes and not self._events:
                return event
            self._events.append(event)
        else:
            self._refuse(event)
        self._take_changes()
        return None

    def _receive_rtcp(self, srtp: SrtpContext, payload: bytes, path: Path, now: Instant) -> None:
        try:
            clear = srtp.unprotect_rtcp_untrusted(payload)
        except SrtpError as error:
            return self._refuse(error.drop)
        self._note_media(path, now)
        try:
            self.audio.receive_rtcp_untrusted(clear, now)
        except DecodeError:
            self._refuse(Drop.RTCP_MALFORMED)
        return self._take_changes()

    def _note_media(self, path: Path, now: Instant) -> None:
        """An authenticated packet that is not STUN came over ``path``."""
        self._heard = now
        if self.phase is not Phase.ESTABLISHED:
            self._advance(Cause.HEARD)
        if self.agent.note_media(path, now):
            self._drain_ice()

    def _take_changes(self) -> None:
        self._events.extend(self.audio.changes)
        self.audio.changes.clear()

    def handle_timeout(self, now: Instant) -> Wake | None:
        """Serve every deadline that is due; returns the reason of the first, None if none was."""
        first: Wake | None = None
        # Each reason once, so that no clock, however far it jumped, keeps us here.
        for _ in Wake:
            due = self.next_deadline()
            if due is None or due.at > now:
                break
            first = first or due.reason
            self._serve(due.reason, now)
        return first

    def _serve(self, reason: Wake, now: Instant) -> None:
        match reason:
            case Wake.ICE:
                self.agent.handle_timeout(now)
                self._drain_ice()
            case Wake.DTLS:
                self.connection.handle_timeout(now)
                self._drain_dtls(now)
            case Wake.DATA:
                if self.data is not None:
                    self.data.handle_timeout(now)
                    self._drain_data(now)
            case Wake.REPORT:
                self._send_rtcp(self.audio.report(now))
            case Wake.PROBE:
                self._send_rtcp(self.audio.probe(now))
            case Wake.SILENCE:
                self._advance(Cause.SILENT)
            case Wake.WARNING:
                self._warning_at = None
                self._events.append(LengthWarning(self.call, self._length_at - now))
            case Wake.ESTABLISH:
                self.close(EndReason.ESTABLISH_TIMEOUT, now, self._how_far())
            case Wake.CONSENT:
                self.close(EndReason.CONSENT_EXPIRED, now, "nothing authenticated was heard")
            case Wake.LENGTH:
                self.close(EndReason.MAXIMUM_LENGTH, now, "the call's time is up")
            case Wake.DRAIN:
                self.close(EndReason.DRAINED, now, "the transceiver is going away")

    def send_audio(self, payload: bytes, timestamp: int, marker: bool, now: Instant) -> bool:
        """Send one packet of our codec. False, and nothing sent, before keys are agreed, after the
        end, where the offer takes no audio from us, or where the payload is longer than a packet
        holds: a client may send more than we can give back, and an echo gives it back. Moves no
        deadline."""
        packet = self.seal_audio(payload, timestamp, marker, now)
        if packet is None or self.route is None:
            return False
        self._outgoing.append(Outgoing(self.route, packet))
        return True

    def seal_audio(
        self, payload: bytes, timestamp: int, marker: bool, now: Instant
    ) -> bytes | None:
        """``send_audio`` without the queue: the packet, which is to be sent over ``route`` now."""
        srtp = self._srtp
        if srtp is None or self.route is None or not self.negotiated.may_send:
            return None
        if len(payload) > LONGEST_PAYLOAD:
            return None
        packet = self.audio.packetise(payload, timestamp, marker, now)
        if self.marks.first_audio_out is None:
            self.marks.first_audio_out = now
        return srtp.protect_rtp(packet)

    def restart_ice(self, local: ice.Credentials, remote: ice.Credentials, now: Instant) -> None:
        """Both sides have new credentials; the old ones are honoured for a while (RFC 8445, 9)."""
        self.agent.restart(local, remote, now)
        self._drain_ice()

    def add_data(self, channels: datachannel.DataChannels, now: Instant) -> None:
        """A later offer has brought a section for data channels."""
        self.data = channels
        if self.secured is not None:
            channels.connect(now)
            self._drain_data(now)

    def open_channel(self, label: str, protocol: str, ordered: bool, now: Instant) -> int | None:
        """Open a data channel; its number. It may be sent on at once. None where the call has none
        (yet), or as many as it may have."""
        if self.data is None or self.secured is None or self.phase is Phase.CLOSED:
            return None
        try:
            channel = self.data.open(label, protocol=protocol, ordered=ordered, now=now)
        except datachannel.ChannelError:
            return None
        self._drain_data(now)
        return channel

    def send_message(self, channel: int, message: str | bytes, now: Instant) -> bool:
        """Send on a data channel. False, and nothing sent, where it is not open, where the message
        is longer than the client takes, or where too much waits."""
        if self.data is None:
            return False
        try:
            self.data.send(channel, message, now)
        except datachannel.ChannelError:
            return False
        self._drain_data(now)
        return True

    def close_channel(self, channel: int, now: Instant) -> None:
        """Close a data channel, if it is open."""
        if self.data is not None:
            self.data.close(channel, now)
            self._drain_data(now)

    def end_within(self, seconds: float, now: Instant) -> None:
        """End at the latest ``seconds`` from now, with reason ``drained``."""
        self._drain_at = min(now + seconds, self._drain_at or now + seconds)

    def close(self, reason: EndReason, now: Instant, detail: str = "") -> None:
        """Say goodbye where there is somebody to hear it, and be over."""
        if self.phase is Phase.CLOSED:
            return
        if self._srtp is not None:
            self._send_rtcp(self.audio.goodbye(now))
        if self.data is not None:
            self._say_all()  # what was said before the end
            self.data.end(now, reason.value)
            self._drain_data(now)
            self._say_all()
        if self.secured is not None and reason is not EndReason.PEER_CLOSED:
            self.connection.close(now)
            self._take_records()
        self._srtp = None
        self._early.clear()
        self._advance(Cause.ENDED)
        self._events.append(Ended(self.call, reason, detail))

    # --- out ----------------------------------------------------------------------------------

    def next_transmit(self) -> Outgoing | None:
        outgoing = self._outgoing
        while not outgoing and self._saying is not None:
            self._say()
        return outgoing.popleft() if outgoing else None

    @property
    def saying(self) -> bool:
        """Whether data channels may have something to say. It is put into packets when those are
        fetched: an application that is told of messages first may answer in the same ones."""
        return self._saying is not None

    def next_event(self) -> Event | Signal | None:
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> Instant | None:
        deadline = self.next_deadline()
        return deadline.at if deadline else None

    def next_deadline(self) -> Deadline | None:
        """What comes due first, and why, of two at the same instant the one named first; None once
        closed."""
        if self.phase is Phase.CLOSED:
            return None
        first, why = self._length_at, Wake.LENGTH
        if self._drain_at is not None and self._drain_at <= first:
            first, why = self._drain_at, Wake.DRAIN
        # Asked after every packet, so only the answer is made a record.
        for at, reason in (
            (self._warning_at, Wake.WARNING),
            self._liveness(),
            (self._silence_at, Wake.SILENCE),
            (self.agent.next_timeout(), Wake.ICE),
            (self.connection.next_timeout(), Wake.DTLS),
            (self.data.next_timeout() if self.data else None, Wake.DATA),
            (self.audio.next_report, Wake.REPORT),
            (self.audio.next_probe, Wake.PROBE),
        ):
            if at is not None and at < first:
                first, why = at, reason
        return Deadline(first, why)

    def _liveness(self) -> tuple[Instant, Wake]:
        limits = self.config.session
        if self.secured is None:
            return self.marks.opened + limits.establish_timeout, Wake.ESTABLISH
        return self._heard + limits.consent_timeout, Wake.CONSENT

    @property
    def _silence_at(self) -> Instant | None:
        if self.phase is not Phase.ESTABLISHED:
            return None
        return self._heard + self.config.session.disconnected_after

    # --- between the parts --------------------------------------------------------------------

    def _drain_ice(self) -> None:
        while (answer := self.agent.next_transmit()) is not None:
            self._outgoing.append(Outgoing(answer.path, answer.data))
        while (event := self.agent.next_event()) is not None:
            match event:
                case ice.Validated(path=path):
                    self._events.append(AddressValidated(path))
                case ice.Selected(path=path):
                    self.route = path
                    self._events.append(PathSelected(self.call, path))
                case ice.CredentialsExpired(ufrag=ufrag):
                    self._events.append(UfragRetired(ufrag))
                case ice.Dropped(drop=drop):
                    self._refuse(drop)

    def _drain_dtls(self, now: Instant) -> None:
        self._take_records()
        while (event := self.connection.next_event()) is not None:
            match event:
                case dtls.ApplicationData(data=packet):
                    if self.data is None:
                        self._refuse(Drop.DATA_NOT_NEGOTIATED)
                    else:
                        self.data.receive_packet(packet, now)
                        self._drain_data(now)
                case dtls.HandshakeComplete():
                    self._establish(event, now)
                case dtls.PeerClosed():
                    self.close(EndReason.PEER_CLOSED, now, "the client closed the connection")
                case dtls.Failed(reason=reason):
                    self.close(EndReason.HANDSHAKE_FAILED, now, reason)
                case dtls.Dropped(drop=drop):
                    self._refuse(drop)
        # Said after the last event, an alert of ours still belongs to this input.
        self._take_records()

    def _take_records(self) -> None:
        while (datagram := self.connection.next_transmit()) is not None:
            if self.route is not None:
                self._outgoing.append(Outgoing(self.route, datagram))

    def _drain_data(self, now: Instant) -> None:
        data = self.data
        if data is None:
            return
        # Events first: fetching one makes room, of which the peer is to be told.
        while (event := data.next_event()) is not None:
            match event:
                case datachannel.Message(channel, message):
                    self._events.append(MessageReceived(self.call, channel, message))
                case datachannel.Opened():
                    told = attrs.astuple(event, recurse=False)
                    self._events.append(ChannelOpened(self.call, *told))
                case datachannel.Drained(channel):
                    self._events.append(ChannelDrained(self.call, channel))
                case datachannel.Closed(channel):
                    self._events.append(ChannelClosed(self.call, channel))
                case datachannel.Ended(detail):
                    self._events.append(DataEnded(self.call, detail))
                case datachannel.Dropped(drop):
                    self._refuse(drop)
        self._saying = now

    def _say_all(self) -> None:
        while self._saying is not None:
            self._say()

    def _say(self) -> None:
        """Let the data channels make one packet, if there is any to be made."""
        packet = None if self.data is None else self.data.next_transmit()
        if packet is None or self._saying is None:
            self._saying = None
        elif (datagram := self.connection.sealed(packet, self._saying)) is None:
            self._take_records()
        elif self.route is not None:
            self._outgoing.append(Outgoing(self.route, datagram))

    def _establish(self, done: dtls.HandshakeComplete, now: Instant) -> None:
        self.secured = done
        self.marks.established = now
        if done.keys is not None and self.negotiated.codec is not None:
            self._srtp = SrtpContext(done.keys, self.config.srtp)
            self.audio.start(now)
        self._advance(Cause.SECURED)
        profile = done.keys.profile.name if self._srtp and done.keys else None
        self._events.append(Established(self.call, profile))
        if self.data is not None:
            self.data.connect(now)
            self._drain_data(now)
        early, self._early = self._early, deque()
        for kind, payload, path in early:
            self._receive_srtp(kind, payload, path, now)

    def _send_rtcp(self, packet: bytes) -> None:
        if self._srtp is not None and self.route is not None:
            self._outgoing.append(Outgoing(self.route, self._srtp.protect_rtcp(packet)))

    def _advance(self, cause: Cause) -> None:
        phase = TRANSITIONS.get((self.phase, cause), self.phase)
        if phase is not self.phase:
            self.phase = phase
            self._events.append(PhaseChanged(self.call, phase))

    def _refuse(self, drop: Drop) -> None:
        self.drops[drop] += 1
        self._events.append(Refused(drop))

    def _how_far(self) -> str:
        match self.phase:
            case Phase.NEW:
                return "no check arrived"
            case Phase.CHECKING:
                return "checks arrived, DTLS was not answered"
            case _:
                return f"the DTLS handshake did not end: {self.connection.refusal or 'no answer'}"
