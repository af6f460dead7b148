"""A DTLS 1.2 peer whose every step is in the hands of a case.

What client and server have in common: sending flights as the case wants them, reading what comes,
and saying what became of it. Left alone, a puppet does everything right; ``dtls_client`` and
``dtls_server`` are the two roles. The transcript is of what was really sent, so a message that was
changed or left out is signed and hashed as such: what a case deviates in is the only thing wrong,
and an implementation that refuses can have refused for no other reason.

The words for what was seen are here as well. ``Handshaken`` is for handshakes that should succeed,
``Refusal`` for those that must not, ``Afterwards`` for what comes once there are keys.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, Self, TypeAlias

from attrs import define, field, frozen

from conformance.case import Blocked, Seen, Unsupported
from conformance.stage import Stage
from conformance.wire import Arrival
from stunroute.address import Address
from stunroute.demux import Kind, classify
from stunroute.errors import DecodeError
from stunroute.instant import Instant
from transceiver.config import DtlsLimits
from transceiver.dtls import Fingerprint, record
from transceiver.dtls.keys import Protection, Secrets
from transceiver.dtls.messages import HandshakeType, Message, decode_fragment_untrusted
from transceiver.dtls.reassembly import Reassembly
from transceiver.dtls.record import ContentType, Record
from transceiver.keying import SrtpProfile
from transceiver.srtp import SrtpContext, SrtpError, rtp

from .audio import OPUS_SILENCE, STEP
from .call import Call, need_part, open_call
from .dtls_wire import Arranging, Packing, Part, Writer, as_it_is, together
from .stun import is_alive, validate

TRIES = 3
"""How often a puppet says a flight before it takes the silence for an answer."""
FATAL = 2


class Handshaken(Seen):
    """What became of a handshake that ought to succeed."""

    COMPLETED = "the handshake ended with keys"
    STOPPED = "the handshake stood still"
    UNANSWERED = "the hello was not answered"
    ALERTED = "a fatal alert"
    UNSOUND = "a message that breaks a rule"
    DEAD = "silence, and no check is answered either"


class Refusal(Seen):
    """What became of something that must not be accepted."""

    RECOVERED = "it was let go, and a good handshake ended well afterwards"
    STUCK = "it was let go, and no good handshake came about afterwards"
    ALERTED = "a fatal alert"
    TORN_DOWN = "the handshake ended with keys, of which no use was made"
    ACCEPTED = "it was taken as good"
    DEAD = "no check is answered any more"


class Afterwards(Seen):
    """What became of something that came to an association with keys."""

    UNHARMED = "nothing came of it, and the association goes on"
    ANSWERED = "it was answered, and the association goes on"
    ALERTED = "a fatal alert"
    ENDED = "the association does not go on"
    TAKEN = "it had its effect"
    DEAD = "no check is answered any more"


COMPLETED = (Handshaken.COMPLETED,)
NOT_COMPLETED = (
    Handshaken.STOPPED,
    Handshaken.UNANSWERED,
    Handshaken.ALERTED,
    Handshaken.UNSOUND,
    Handshaken.DEAD,
)
"""The oracle of a handshake that must succeed."""
NEITHER_COMPLETED_NOR_ALERTED = tuple(
    each for each in NOT_COMPLETED if each is not Handshaken.ALERTED
)
"""What is bad where an alert is lenient."""
REFUSED = (Refusal.RECOVERED, Refusal.ALERTED)
NOT_REFUSED = (Refusal.TORN_DOWN, Refusal.ACCEPTED, Refusal.DEAD)
"""With STUCK, which is lenient, the oracle of something that the authenticated address itself has
said and must not be accepted: an alert is as good as silence, and nobody is obliged to wait for
something better."""
REFUSED_IN_TIME = (*REFUSED, Refusal.TORN_DOWN)
NOT_REFUSED_IN_TIME = (Refusal.ACCEPTED, Refusal.DEAD)
"""The same where the handshake itself may end: stacks whose TLS knows no fingerprints compare them
when it has."""


class Odd(Blocked):
    """The server said something that breaks a rule; ``str`` says which. Where that is not what a
    case asks about, the case comes to no end."""


class Signer(Protocol):
    """Who a puppet is: ``transceiver.dtls.Identity`` is one."""

    @property
    def fingerprint(self) -> Fingerprint: ...
    @property
    def certificate_der(self) -> bytes: ...
    @property
    def certificate_list(self) -> bytes: ...
    def sign(self, data: bytes) -> bytes: ...


Change: TypeAlias = Mapping[int, bytes | Callable[[bytes], bytes] | None]
"""By type of message: another body, a function from the right body to another one, or None to leave
the message out."""


@frozen(slots=True)
class HeardRecord:
    """A record that came. ``content`` is None where it could not be opened; ``opened`` says that it
    was sealed, and could."""

    at: Instant
    record: Record
    content: bytes | None
    opened: bool
    datagram: int


@frozen(slots=True)
class HeardAlert:
    level: int
    description: int
    sealed: bool


@define(slots=True, kw_only=True)
class Puppet:
    """What both roles have in common; ``is_client`` says which one a class plays. ``messages`` are
    the peer's whole ones by message_seq, ``sealed`` those numbers of them that came under keys.
    ``flight`` is what was sent last."""

    is_client: ClassVar[bool]

    call: Call
    identity: Signer
    writer: Writer = field(factory=Writer)
    socket: Address = field(default=None)

    heard: list[HeardRecord] = field(factory=list, init=False)
    messages: dict[int, Message] = field(factory=dict, init=False)
    sealed: set[int] = field(factory=set, init=False)
    alerts: list[HeardAlert] = field(factory=list, init=False)
    data: list[bytes] = field(factory=list, init=False)
    media: list[Arrival] = field(factory=list, init=False)
    secrets: Secrets | None = field(default=None, init=False)
    profile: SrtpProfile | None = field(default=None, init=False)
    srtp: SrtpContext | None = field(default=None, init=False)
    reader: Protection | None = field(default=None, init=False)
    transcript: bytes = field(default=b"", init=False, repr=False)
    sequence: int = field(default=0, init=False)
    flight: list[Part] = field(factory=list, init=False)
    _way: tuple[Arranging, Packing] = field(default=(as_it_is, together), init=False)
    _unread: list[Record] = field(factory=list, init=False)
    _reassembly: Reassembly = field(init=False)
    _datagrams: int = field(default=0, init=False)
    _rtp_sequence: int = field(default=1000, init=False)

    def __attrs_post_init__(self) -> None:
        if self.socket is None:
            self.socket = self.call.socket

    @_reassembly.default
    def _new_reassembly(self) -> Reassembly:
        return Reassembly(DtlsLimits(messages_ahead=64))

    @classmethod
    def reach(
        cls, stage: Stage, *, checked: bool = True, nominate: bool = True, **options: Any
    ) -> Self:
        """Open a call in which the server has the other part, and have our address validated unless
        ``checked`` is false. Raises Unsupported, Blocked."""
        ours, theirs = ("active", "passive") if cls.is_client else ("passive", "active")
        call = open_call(stage, setup=ours, **options)
        need_part(call, theirs)
        if checked:
            validate(call, nominate=nominate)
        return cls(call=call, identity=call.client.identity)

    @property
    def now(self) -> Instant:
        return self.call.stage.now

    @property
    def patience(self) -> float:
        return self.call.stage.patience

    # --- out ------------------------------------------------------------------------------------

    def say(self, type_: int, body: bytes, change: Change) -> Message | None:
        """The next message of ours as the case wants it, now part of the transcript."""
        if type_ in change:
            wanted = change[type_]
            if wanted is None:
                return None
            body = wanted if isinstance(wanted, bytes) else wanted(body)
        message = Message.of(type_, self.sequence, body)
        self.sequence += 1
        self.transcript += message.raw
        return message

    def send(
        self,
        parts: list[Part],
        *,
        arrange: Arranging = as_it_is,
        pack: Packing = together,
        note: str = "",
    ) -> list[bytes]:
        """Send a flight, and what it was in."""
        datagrams = pack(self.writer, arrange(list(parts)))
        for datagram in datagrams:
            self.call.send(datagram, socket=self.socket, note=note)
        return datagrams

    def send_flight(
        self,
        parts: list[Part],
        *,
        arrange: Arranging = as_it_is,
        pack: Packing = together,
        note: str = "",
    ) -> list[bytes]:
        """The same, and keep it for ``repeat``."""
        self.flight, self._way = list(parts), (arrange, pack)
        return self.send(parts, arrange=arrange, pack=pack, note=note)

    def repeat(self, *, stubborn: bool = False, note: str = "our last flight again") -> None:
        """Our last flight again under new record numbers, cut and packed as it should be, or, if
        ``stubborn``, as the case had it."""
        arrange, pack = self._way if stubborn else (as_it_is, together)
        self.send(self.flight, arrange=arrange, pack=pack, note=note)

    def send_record(
        self,
        content_type: int,
        content: bytes,
        *,
        epoch: int = 0,
        number: int | None = None,
        version: int = record.DTLS_1_2,
        note: str = "",
    ) -> bytes:
        """One record in its own datagram, which is returned."""
        part = Part(content_type, content, epoch, None, version, number)
        return self.send([part], note=note)[0]

    def send_raw(self, datagram: bytes, note: str = "") -> None:
        """Bytes as they are."""
        self.call.send(datagram, socket=self.socket, note=note)

    def send_alert(self, description: int, *, level: int = FATAL, epoch: int = 0) -> None:
        self.send_record(
            ContentType.ALERT, bytes((level, description)), epoch=epoch, note=f"alert {description}"
        )

    # --- in -------------------------------------------------------------------------------------

    def wait(self, seconds: float, done: Callable[[], object] = lambda: False) -> bool:
        """Read what comes until ``done``, or for that long; whether it was."""
        until = self.now + seconds
        self._take_strays()
        while not done():
            arrival = self.call.receive(until)
            if arrival is None:
                return bool(done())
            self.take(arrival)
        return True

    def _take_strays(self) -> None:
        """What came while somebody else was reading."""
        ours = [each for each in self.call.strays if each.socket == self.socket]
        self.call.strays[:] = [each for each in self.call.strays if each.socket != self.socket]
        for arrival in ours:
            self.take(arrival)

    def take(self, arrival: Arrival) -> None:
        """Read one datagram."""
        if arrival.socket != self.socket or arrival.source != self.call.server:
            self.call.strays.append(arrival)
            return
        if classify(arrival.data) is not Kind.DTLS:
            self.media.append(arrival)
            return
        self._datagrams += 1
        offset = 0
        while offset < len(arrival.data):
            try:
                found, offset = record.decode_untrusted(arrival.data, offset)
            except DecodeError:
                break
            self._take_record(found, arrival.at)

    def _take_record(self, found: Record, at: Instant) -> None:
        content: bytes | None = found.fragment
        if found.epoch:
            if self.reader is None:
                self._unread.append(found)
                return
            try:
                content = self.reader.open_untrusted(
                    found.content_type, found.number, found.fragment
                )
            except DecodeError:
                content = None
        opened = bool(found.epoch) and content is not None
        self.heard.append(HeardRecord(at, found, content, opened, self._datagrams))
        if content is None:
            return
        match found.content_type:
            case ContentType.ALERT if len(content) == 2:
                self.alerts.append(HeardAlert(content[0], content[1], opened))
            case ContentType.HANDSHAKE:
                self._take_fragments(content, opened)
            case ContentType.APPLICATION_DATA if opened:
                self.data.append(content)

    def _take_fragments(self, content: bytes, sealed: bool) -> None:
        offset = 0
        while offset < len(content):
            try:
                fragment, offset = decode_fragment_untrusted(content, offset)
            except DecodeError:
                return
            message: Message | None
            if fragment.whole:
                message = Message(fragment.type, fragment.sequence, fragment.raw)
            else:
                self._reassembly.add(fragment)
                message = self._reassembly.take(fragment.sequence)
            if message is not None:
                self._take_message(message, sealed)

    def _take_message(self, message: Message, sealed: bool) -> None:
        if message.type in (HandshakeType.SERVER_HELLO, HandshakeType.CLIENT_HELLO):
            known = self.messages.get(message.sequence)
            if known is not None and known.raw != message.raw:
                # The peer has begun anew: what it said before belongs to another handshake.
                for sequence in [each for each in self.messages if each > message.sequence]:
                    del self.messages[sequence]
            self.messages[message.sequence] = message
        self.messages.setdefault(message.sequence, message)
        if sealed:
            self.sealed.add(message.sequence)

    def said(self, type_: int) -> Message | None:
        """The peer's message of that type, the last if there are several."""
        found = [each for each in self.messages.values() if each.type == type_]
        return max(found, key=lambda each: each.sequence) if found else None

    def said_sealed(self, type_: int) -> Message | None:
        """The same, if it came under keys."""
        found = self.said(type_)
        return found if found is not None and found.sequence in self.sealed else None

    def count(self, type_: int, *, sealed: bool = False) -> int:
        """How many records have come that begin with a message of that type."""
        return sum(
            1
            for each in self.heard
            if each.record.content_type == ContentType.HANDSHAKE
            and each.content is not None
            and each.opened is sealed
            and each.content[:1] == bytes((type_,))
        )

    @property
    def fatal(self) -> HeardAlert | None:
        """The first fatal alert."""
        return next((each for each in self.alerts if each.level == FATAL), None)

    @property
    def alive(self) -> bool:
        """Whether the server still answers checks."""
        return is_alive(self.call)

    # --- keys -----------------------------------------------------------------------------------

    def take_keys(self, secrets: Secrets) -> None:
        """Read and write under these from now on; what came early is read now."""
        self.secrets = secrets
        self.call.stage.trail.keep_secret(secrets.key_log_line)
        client, server = secrets.protections()
        ours, self.reader = (client, server) if self.is_client else (server, client)
        self.writer.arm(ours)
        unread, self._unread = self._unread, []
        for each in unread:
            self._take_record(each, self.now)

    def _context(self) -> SrtpContext | None:
        if self.srtp is None and self.secrets is not None and self.profile is not None:
            self.srtp = SrtpContext(self.secrets.srtp_keys(self.profile, client=self.is_client))
        return self.srtp

    def send_audio(self) -> None:
        """A packet of silence, if there are keys for one."""
        context = self._context()
        if context is None or self.call.told.payload_type is None:
            return
        self._rtp_sequence += 1
        packet = rtp.RtpPacket(
            payload_type=self.call.told.payload_type,
            marker=self._rtp_sequence == 1001,
            sequence=self._rtp_sequence,
            timestamp=self._rtp_sequence * STEP,
            ssrc=self.call.client.ssrc,
            payload=OPUS_SILENCE,
        )
        self.send_raw(context.protect_rtp(rtp.encode(packet)), "audio")

    def heard_media(self) -> bool:
        """Whether SRTP or SRTCP under the handshake's keys has come since it was last asked."""
        context = self._context()
        if context is None:
            return False
        good = False
        waiting, self.media = self.media, []
        for arrival in waiting:
            try:
                if classify(arrival.data) is Kind.RTCP:
                    context.unprotect_rtcp_untrusted(arrival.data)
                else:
                    context.unprotect_rtp_untrusted(arrival.data)
                good = True
            except SrtpError:
                continue
        return good

    def echoes(self) -> bool:
        """Whether audio of ours brings audio of theirs, or a report: what has come before, and may
        be a goodbye, does not count."""
        self.wait(0.0)
        self.media.clear()
        for _ in range(TRIES):
            self.send_audio()
            if self.wait(self.patience / TRIES, self.heard_media):
                return True
        return False

    def is_used(self, another: Callable[[], "Puppet"]) -> bool:
        """Whether the server makes use of the keys that there are. ``another`` has a good handshake
        of its own: where not even that one's audio comes back nothing can be told, and Unsupported
        is raised."""
        if self.wait(self.patience, lambda: any(each.sealed for each in self.alerts)):
            return False
        if self.echoes() or self.data:
            return True
        if not another().echoes():
            raise Unsupported("sends no audio back")
        return False

    def refusal(self, accepted: bool, recover: Callable[[], bool]) -> tuple[Refusal, str]:
        """What became of something that must be refused. ``recover`` tries a good handshake."""
        if accepted:
            return Refusal.ACCEPTED, ""
        if self.fatal is not None:
            return Refusal.ALERTED, f"alert {self.fatal.description}"
        if not self.alive:
            return Refusal.DEAD, ""
        if recover():
            return Refusal.RECOVERED, ""
        if self.fatal is not None:
            return Refusal.ALERTED, f"alert {self.fatal.description}"
        return Refusal.STUCK, ""
