"""The client itself. See the package.

Deterministic: entropy and clock are arguments. It sends checks at a pace, nominates on its second
one as libwebrtc does toward a lite agent, resends what is not answered, and begins DTLS as soon as
a check has been. A server that is no lite agent sends checks of its own; they are answered.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from attrs import define, field

from stunroute import stun
from stunroute.address import Address, Transmit
from stunroute.demux import Kind, classify
from stunroute.errors import DecodeError
from stunroute.instant import Entropy, Instant
from stunroute.trace import Drop
from transceiver import datachannel
from transceiver.config import ChannelLimits, DtlsLimits, SctpLimits
from transceiver.datachannel import DataChannels
from transceiver.dtls import DtlsConnection, Identity, Role
from transceiver.dtls.events import (
    ApplicationData,
    Dropped,
    Failed,
    HandshakeComplete,
    PeerClosed,
)
from transceiver.keying import SrtpKeys, SrtpProfile
from transceiver.sctp.association import Association
from transceiver.srtp import SrtpContext, SrtpError, rtp

from .answer import Answer, AnswerError, read_answer_untrusted
from .offer import write_offer
from .seeds import fixed_identity, ice_text

KEEPALIVE = 2.5
"""Seconds between two checks of a call that is up."""
CHECKS = 8
"""Checks under way at most; the oldest is given up."""
CHECK_PATIENCE = 1.6
"""A check that is still unanswered when so many seconds lie between two of its repetitions is given
up, and a fresh one goes out: a repetition that comes from another address than the first copy, as
behind a NAT that has rebound, looks like somebody else's and is not answered."""
KEPT = 65_536
"""Of each kind of thing that comes in, so many are kept; the oldest goes."""
_T = TypeVar("_T")
Told: TypeAlias = rtp.RtpPacket | datachannel.Event | bytes | Drop | str
"""What comes in: audio, what happens on data channels, decrypted RTCP, and what was let go."""
_PRIORITY = 1853824767
"""Of a peer-reflexive candidate that prefers its one address (RFC 8445, 5.1.2.1)."""


@define(slots=True)
class _Check:
    """A Binding request under way."""

    transaction_id: bytes
    data: bytes
    nominates: bool
    server: Address
    resend_at: Instant
    interval: float = 0.1


@define(slots=True)
class Client:
    """The far side of one call. Verbs in: ``start``, ``receive_datagram``, ``handle_timeout``,
    ``send_audio``, ``send_rtcp``, ``with_channels``, ``close``, ``restart``, ``rebind``,
    ``turn_to``. Out: ``next_transmit``, ``next_timeout``; what came in is kept in ``audio``,
    ``rtcp``, ``heard`` and ``drops``, unless there is somebody to ``tell``."""

    entropy: Entropy
    address: Address
    identity: Identity = field(default=None)
    setup: str = "actpass"
    codecs: tuple[tuple[int, str], ...] = ((111, "opus/48000/2"), (0, "PCMU/8000"))
    profiles: tuple[SrtpProfile, ...] = tuple(SrtpProfile)
    limits: DtlsLimits = field(factory=DtlsLimits)
    nominate_at_once: bool = False
    contents: tuple[str, ...] = ("audio",)
    """The offer's sections in their order: ``audio`` and ``data``."""
    negotiated: tuple[tuple[int, str], ...] = ()
    """Numbers and labels of channels that need no announcement."""
    announces: bool = False
    """Whether the offer names our candidate; a lite agent does without."""
    mid_extension: int | None = None
    """The number of the header extension for MID, where the offer is to have it."""
    usable: Callable[[Address], bool] = lambda _: True
    """Which addresses of an answer may be sent to."""
    tell: Callable[[Told], None] | None = None
    """Is given all that comes in, and then nothing of it is kept. It must not call back in."""

    ufrag: str = field(init=False)
    password: str = field(init=False)
    remote_ufrag: str = field(init=False, default="")
    remote_password: str = field(init=False, default="")
    server: Address | None = field(init=False, default=None)
    turning: Address | None = field(init=False, default=None)
    """Another address of the server's that is being checked."""
    answer: Answer | None = field(init=False, default=None)
    role: Role | None = field(init=False, default=None)
    dtls: DtlsConnection | None = field(init=False, default=None)
    keys: SrtpKeys | None = field(init=False, default=None)
    secured: bool = field(init=False, default=False)
    audio: list[rtp.RtpPacket] = field(init=False, factory=list)
    rtcp: list[bytes] = field(init=False, factory=list)
    channels: DataChannels | None = field(init=False, default=None)
    heard: list[datachannel.Event] = field(init=False, factory=list)
    drops: list[Drop | str] = field(init=False, factory=list)
    mapped: Address | None = field(init=False, default=None)
    validated_at: Instant | None = field(init=False, default=None)
    answered_at: Instant | None = field(init=False, default=None)
    """When a check was answered last."""
    nominated: bool = field(init=False, default=False)
    closed: bool = field(init=False, default=False)
    failed: str | None = field(init=False, default=None)
    errors: list[int] = field(init=False, factory=list)
    keepalives: bool = field(init=False, default=True)
    payload_type: int = field(init=False, default=111)
    ssrc: int = field(init=False)
    sequence: int = field(init=False)
    _context: SrtpContext | None = field(init=False, default=None)
    _tie_breaker: int = field(init=False)
    _agreed: str = field(init=False, default="")
    """Our ufrag of which the server knows. Until a restart is answered, checks go on as before."""
    _session_id: int = field(init=False)
    _left: Address | None = field(init=False, default=None)
    """Where the server was before: what it has sent from there may be under way."""
    _checks: list[_Check] = field(init=False, factory=list)
    _next_check: Instant | None = field(init=False, default=None)
    _out: deque[Transmit] = field(init=False, factory=deque)

    def __attrs_post_init__(self) -> None:
        if self.identity is None:
            self.identity = fixed_identity(self.entropy)
        self._session_id = int.from_bytes(self.entropy(7), "big")
        self._tie_breaker = int.from_bytes(self.entropy(8), "big")
        self.ssrc = int.from_bytes(self.entropy(4), "big")
        self.sequence = int.from_bytes(self.entropy(2), "big")
        self._new_credentials()

    def _new_credentials(self) -> None:
        self.ufrag = ice_text(self.entropy, 4)
        self.password = ice_text(self.entropy, 24)

    # Signalling

    def offer(self) -> str:
        """The offer as SDP text; the same call again gives the same text."""
        return write_offer(
            self.contents,
            session_id=self._session_id,
            ice=(self.ufrag, self.password),
            fingerprint=self.identity.fingerprint,
            setup=self.setup,
            codecs=self.codecs,
            ssrc=self.ssrc,
            candidate=self.address if self.announces else None,
            mid_extension=self.mid_extension,
        )

    def accept(self, answer: str, now: Instant) -> None:
        """Take the answer, and begin to check at once. Raises AnswerError."""
        told = read_answer_untrusted(answer, self.answer)
        server = told.server(self.usable)
        if server is None:
            raise AnswerError("the answer has no candidate that we may send to")
        self._settle_at(server)
        self.answer = told
        self.remote_ufrag, self.remote_password = told.ufrag, told.password
        self._agreed = self.ufrag
        if told.payload_type is not None:
            self.payload_type = told.payload_type
        self.nominated = False
        self.validated_at = None
        self._checks.clear()
        self._next_check = now
        if self.dtls is None:
            self.role = Role.CLIENT if told.setup == "passive" else Role.SERVER
            self.dtls = DtlsConnection(
                role=self.role,
                identity=self.identity,
                fingerprints=told.fingerprints,
                entropy=self.entropy,
                limits=self.limits,
                profiles=self.profiles,
                srtp_required="audio" in self.contents,
                key_log=True,
            )
        if self.channels is None and told.max_message_size is not None:
            self.channels = DataChannels(
                Association(entropy=self.entropy, limits=SctpLimits()),
                dtls_client=self.role is Role.CLIENT,
                max_message_size=told.max_message_size,
                limits=ChannelLimits(),
                negotiated=self.negotiated,
            )
        self.handle_timeout(now)

    def restart(self) -> str:
        """New credentials; returns the offer of the ICE restart. ``accept`` its answer."""
        self._new_credentials()
        return self.offer()

    def rebind(self, address: Address) -> None:
        """Send from ``address`` from now on, as after a NAT rebinding; what is queued goes too."""
        self.address = address

    def turn_to(self, server: Address, now: Instant) -> None:
        """Check another candidate of the answer, and nominate it (RFC 8445, 8.1.1). When it has
        answered, all goes there; if it never does, nothing changes."""
        self.turning = server
        self._send_check(now, server)

    def _settle_at(self, server: Address) -> None:
        if server != self.server:
            self._left, self.server = self.server, server
        self.turning = None

    # Verbs in

    def receive_datagram(self, data: bytes, source: Address, now: Instant) -> None:
        """``source`` is the relay's public address as the client sees it."""
        if source not in (self.server, self.turning, self._left):
            self._keep(self.drops, "stranger")
            return
        match classify(data):
            case Kind.STUN:
                self._receive_stun(data, source, now)
            case Kind.DTLS if self.dtls is not None:
                self.dtls.receive_datagram(data, now)
                self._drain_dtls(now)
            case Kind.RTP | Kind.RTCP as kind if self._context is not None:
                self._receive_media(data, kind)
            case kind:
                self._keep(self.drops, f"unexpected {kind.name}")

    def _receive_media(self, data: bytes, kind: Kind) -> None:
        assert self._context is not None
        try:
            if kind is Kind.RTCP:
                self._keep(self.rtcp, self._context.unprotect_rtcp_untrusted(data))
            else:
                packet = self._context.unprotect_rtp_untrusted(data)
                self._keep(self.audio, rtp.decode_untrusted(packet))
        except SrtpError as error:
            self._keep(self.drops, error.drop)
        except DecodeError:
            self._keep(self.drops, "malformed RTP")

    def _receive_stun(self, data: bytes, source: Address, now: Instant) -> None:
        try:
            message = stun.decode_untrusted(data)
        except DecodeError:
            self._keep(self.drops, "malformed STUN")
            return
        if message.message_class is stun.MessageClass.REQUEST:
            self._answer_check(message, source)
            return
        check = next((c for c in self._checks if c.transaction_id == message.transaction_id), None)
        if check is None or check.server != source:  # the latter: RFC 8445, 7.2.5.2.1
            self._keep(self.drops, "unknown transaction")
            return
        self._checks.remove(check)
        if message.message_class is stun.MessageClass.ERROR:
            self.errors.append(_error(message))
            return
        if not message.verify_integrity(stun.IntegrityKey(self.remote_password.encode())):
            self._keep(self.drops, "integrity")
            return
        try:
            self.mapped = message.xor_mapped_address
        except DecodeError:  # a sound answer otherwise, and we have no use for the address
            self.mapped = None
        self.answered_at = now
        if source == self.turning:
            self._settle_at(source)
        self.nominated = self.nominated or check.nominates
        if self.validated_at is None:
            self.validated_at = now
            if self.dtls is not None and self.keys is None:
                self.dtls.start(now)
                self._drain_dtls(now)
        self._next_check = now + KEEPALIVE if self.nominated else now

    def _answer_check(self, message: stun.Message, source: Address) -> None:
        """What a full agent in the controlling role says to its peer's checks."""
        key = stun.IntegrityKey(self.password.encode())
        named = f"{self.ufrag}:{self.remote_ufrag}".encode()
        if message.value(stun.Attribute.USERNAME) != named or not message.verify_integrity(key):
            self._keep(self.drops, "forged check")
        elif message.value(stun.Attribute.ICE_CONTROLLING) is not None:
            self._send(stun.binding_error(message, stun.ErrorCode.ROLE_CONFLICT, key=key), source)
        else:
            self._send(stun.binding_success(message, source, key), source)

    def handle_timeout(self, now: Instant) -> None:
        if self.closed or self.server is None:
            return
        self._resend_checks(now)
        if self._next_check is not None and self._next_check <= now:
            self._next_check = None
            self._send_check(now)
        if self.dtls is not None:
            due = self.dtls.next_timeout()
            if due is not None and due <= now:
                self.dtls.handle_timeout(now)
                self._drain_dtls(now)
        if self.channels is not None:
            due = self.channels.next_timeout()
            if due is not None and due <= now:
                self.channels.handle_timeout(now)
                self._drain_channels(now)

    def _resend_checks(self, now: Instant) -> None:
        overdue = [check for check in self._checks if check.resend_at <= now]
        for check in overdue:
            if check.interval >= CHECK_PATIENCE:
                self._checks.remove(check)
                if check.server == self.turning:
                    self.turning = None
                if self._next_check is None:
                    self._next_check = now
                continue
            check.interval *= 2
            check.resend_at = now + check.interval
            self._send(check.data, check.server)

    def _send_check(self, now: Instant, turning: Address | None = None) -> None:
        if self.nominated and not self.keepalives and turning is None:
            return
        server = turning or self.server
        assert server is not None, "no answer yet"
        nominates = self.nominate_at_once or self.validated_at is not None
        transaction_id = self.entropy(12)
        attributes: list[tuple[int, bytes]] = [
            (stun.Attribute.USERNAME, f"{self.remote_ufrag}:{self._agreed}".encode()),
            (stun.Attribute.PRIORITY, _PRIORITY.to_bytes(4, "big")),
            (stun.Attribute.ICE_CONTROLLING, self._tie_breaker.to_bytes(8, "big")),
        ]
        if nominates:
            attributes.append((stun.Attribute.USE_CANDIDATE, b""))
        data = stun.build(
            stun.Method.BINDING,
            stun.MessageClass.REQUEST,
            transaction_id,
            attributes,
            integrity=stun.IntegrityKey(self.remote_password.encode()),
        )
        self._checks = self._checks[1 - CHECKS :]
        self._checks.append(_Check(transaction_id, data, nominates, server, now + 0.1))
        self._send(data, server)

    def check(self, now: Instant) -> None:
        """Send one more check at once, whatever the pace."""
        self._next_check = now
        self.handle_timeout(now)

    def send_audio(self, payload: bytes, timestamp: int, marker: bool = False) -> bytes:
        """Protect and queue one RTP packet; returns the protected bytes."""
        assert self._context is not None, "no keys yet"
        packet = rtp.RtpPacket(
            payload_type=self.payload_type,
            marker=marker,
            sequence=self.sequence,
            timestamp=timestamp & 0xFFFFFFFF,
            ssrc=self.ssrc,
            csrcs=(),
            extensions=(),
            payload=payload,
        )
        self.sequence = (self.sequence + 1) & 0xFFFF
        data = self._context.protect_rtp(rtp.encode(packet))
        self._send(data)
        return data

    def send_rtcp(self, compound: bytes) -> None:
        assert self._context is not None, "no keys yet"
        self._send(self._context.protect_rtcp(compound))

    def with_channels(self, act: Callable[[DataChannels], Any], now: Instant) -> Any:
        """Do something with the data channels, and send what comes of it; what ``act`` returns."""
        assert self.channels is not None, "no data was agreed on"
        done = act(self.channels)
        self._drain_channels(now)
        return done

    def send_raw(self, data: bytes) -> None:
        """Queue bytes as they are: what a broken or a hostile client would send."""
        self._send(data)

    def close(self, now: Instant) -> None:
        """Hang up the way a client does: close_notify, then silence."""
        if self.dtls is not None:
            self.dtls.close(now)
            self._drain_dtls(now)
        self.closed = True

    # Verbs out

    def next_transmit(self) -> Transmit | None:
        return self._out.popleft() if self._out else None

    def next_event(self) -> None:
        return None

    def next_timeout(self) -> Instant | None:
        if self.closed or self.server is None:
            return None
        due = [check.resend_at for check in self._checks]
        if self._next_check is not None:
            due.append(self._next_check)
        if self.dtls is not None and (deadline := self.dtls.next_timeout()) is not None:
            due.append(deadline)
        if self.channels is not None and (deadline := self.channels.next_timeout()) is not None:
            due.append(deadline)
        return min(due, default=None)

    def _keep(self, kept: list[_T], thing: _T) -> None:
        """Tell of what has come in, or else keep it."""
        if self.tell is not None:
            told: Any = thing
            self.tell(told)
            return
        kept.append(thing)
        if len(kept) > KEPT:
            del kept[0]

    def _send(self, data: bytes, server: Address | None = None) -> None:
        to = server or self.server
        assert to is not None, "no answer yet"
        self._out.append(Transmit(data, to))

    def _drain_dtls(self, now: Instant) -> None:
        assert self.dtls is not None
        while (data := self.dtls.next_transmit()) is not None:
            self._send(data)
        while (event := self.dtls.next_event()) is not None:
            match event:
                case HandshakeComplete(keys=keys):
                    self.keys, self.secured = keys, True
                    self._context = SrtpContext(keys) if keys is not None else None
                    if self.channels is not None:
                        self.channels.connect(now)
                        self._drain_channels(now)
                case ApplicationData(data=packet) if self.channels is not None:
                    self.channels.receive_packet(packet, now)
                    self._drain_channels(now)
                case PeerClosed():
                    self.closed = True
                case Failed(reason=reason):
                    self.failed = reason
                case Dropped(drop=drop):
                    self._keep(self.drops, drop)
                case _:
                    pass

    def _drain_channels(self, now: Instant) -> None:
        assert self.channels is not None
        assert self.dtls is not None
        while (packet := self.channels.next_transmit()) is not None:
            self.dtls.send(packet, now)
        while (data := self.dtls.next_transmit()) is not None:
            self._send(data)
        while (event := self.channels.next_event()) is not None:
            self._keep(self.heard, event)


def _error(message: stun.Message) -> int:
    """The code of an error response; 0 where it has none that can be read."""
    try:
        told = message.error_code
    except DecodeError:
        return 0
    return told[0] if told else 0
