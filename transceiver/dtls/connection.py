"""One DTLS association: records in, records out, a handshake between, and a clock from outside.

The connection owns what every version of DTLS has: the records of each epoch, the fragments, the
flight that is out and its deadline, what waits for keys. What a message *means* is the business of
a ``Machine``: one for each role and version. DTLS 1.3 is to be another machine beside those of 1.2.

What a stranger can do decides the shape of this module. Until keys exist nothing is authentic, so
nothing that comes is more than dropped, and counted: a malformed record ends the reading of its
datagram, a refused message returns the handshake to its last flight (``handshake12`` has the
reasons), an alert is noted in ``refusal`` and not obeyed. Once keys exist whatever is not sealed
is dropped unread, but for one thing: a repetition of the peer's last flight shows that ours was
lost. Nothing unauthentic is ever answered with an alert.

A session lets DTLS in only from addresses that an ICE check has validated (RFC 8827 section 6.5),
and sends its answers nowhere else. So there is no amplification to bound beyond this: repetitions
that the peer's packets ask for come no faster than our own first timer.

The random bytes of the handshake are drawn from ``entropy`` in a fixed order: a client draws its
random, then its ephemeral key when the server's flight is complete; a server draws its cookie key
if it verifies hellos, then for each hello it answers its random and its ephemeral key.
"""

from collections import deque
from enum import Enum
from typing import Final

from attrs import define, field

from stunroute.errors import DecodeError, StunrouteError
from stunroute.instant import Entropy, Instant
from stunroute.trace import Drop
from transceiver.config import DtlsLimits
from transceiver.keying import SrtpProfile

from . import record
from .client12 import Client12
from .events import ApplicationData, Dropped, Event, Failed, HandshakeComplete, PeerClosed
from .flight import LEAST_MTU, Flight, Sender, pack
from .handshake12 import CONSUMED, VERSION, Completed, Machine, Party, Progress, Refused
from .identity import Fingerprint, Identity
from .keys import Protection
from .messages import Fragment, HandshakeType, Message, decode_fragment_untrusted
from .parameters import FATAL, WARNING, Alert
from .reassembly import Reassembly
from .record import ContentType, Record, ReplayWindow
from .server12 import Server12

_CONTENT_TYPES: Final = frozenset(ContentType)


class Role(Enum):
    """Who sends the ClientHello. In SDP the client is ``active``, the server ``passive``."""

    CLIENT = "client"
    SERVER = "server"


class Stage(Enum):
    """How far a connection is, whatever its role and version."""

    IDLE = "idle"
    HANDSHAKING = "handshaking"
    ESTABLISHED = "established"
    CLOSED = "closed"


class SendQueueFull(StunrouteError):
    """More application messages than ``DtlsLimits.outgoing_messages`` wait for the handshake."""


@define(slots=True)
class _Receiver:
    """The keys and the window of epoch 1."""

    protection: Protection
    window: ReplayWindow = field(factory=ReplayWindow, init=False)

    def take_data_untrusted(self, data: bytes) -> bytes | None:
        """The content of a datagram that is one good record of application data. None for any
        other: why it is no such, if it ought to be one, is for who reads it record by record."""
        number = record.peek_data_untrusted(data)
        if number is None:
            return None
        sequence, window = number & record.MAXIMUM_SEQUENCE, self.window
        if not window.admits(sequence):
            return None
        try:
            content = self.protection.open_untrusted(
                ContentType.APPLICATION_DATA, number, data[record.HEADER_LENGTH :]
            )
        except DecodeError:
            return None
        window.note(sequence)
        return content


@define(slots=True, kw_only=True)
class DtlsConnection:
    """``fingerprints`` are those of the SDP, at least one of a supported algorithm; ``profiles``
    at least one, best first. Without ``srtp_required`` a peer may do without SRTP, as some do whose
    calls are data channels alone. ``verify_hello`` makes a server ask for a cookie. ``key_log``
    keeps the master secret within reach of ``key_log_line``, for recordings.

    Raises ``ValueError`` where an argument makes no sense; nothing that comes from the network
    raises."""

    role: Role
    identity: Identity
    fingerprints: tuple[Fingerprint, ...]
    entropy: Entropy = field(repr=False)
    limits: DtlsLimits
    profiles: tuple[SrtpProfile, ...] = tuple(SrtpProfile)
    srtp_required: bool = True
    verify_hello: bool = False
    key_log: bool = False

    stage: Stage = field(default=Stage.IDLE, init=False)
    refusal: str | None = field(default=None, init=False)
    """Why the peer's handshake was last turned down: for people, when a session has timed out."""

    _machine: Machine = field(init=False)
    _sender: Sender = field(factory=Sender, init=False)
    _receiver: _Receiver | None = field(default=None, init=False)
    _reassembly: Reassembly = field(init=False)
    _flight: Flight | None = field(default=None, init=False)
    _flight_start: int = field(default=0, init=False)
    """message_seq of the peer's first message after our last flight."""
    _heard: int = field(default=0, init=False)
    """Sequence number of the record of epoch 0 that is being read."""
    _ahead: list[Record] = field(factory=list, init=False)
    _early: list[bytes] = field(factory=list, init=False, repr=False)
    _queue: deque[bytes] = field(factory=deque, init=False, repr=False)
    _transmits: deque[bytes] = field(factory=deque, init=False, repr=False)
    _events: deque[Event] = field(factory=deque, init=False)
    _key_log_line: str | None = field(default=None, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if not any(fingerprint.supported for fingerprint in self.fingerprints):
            raise ValueError("no fingerprint of a supported algorithm")
        if not self.profiles:
            raise ValueError("no SRTP profile")
        if self.limits.mtu < LEAST_MTU:
            raise ValueError(f"an mtu of less than {LEAST_MTU} bytes")

    @_machine.default
    def _new_machine(self) -> Machine:
        party = Party(
            self.identity,
            self.fingerprints,
            self.entropy,
            self.profiles,
            self.limits,
            self.srtp_required,
        )
        if self.role is Role.CLIENT:
            return Client12(party)
        return Server12(party, self.verify_hello)

    @_reassembly.default
    def _new_reassembly(self) -> Reassembly:
        return Reassembly(self.limits)

    # Verbs in

    def start(self, now: Instant) -> None:
        """Let the handshake begin: a client sends its hello. A second call does nothing."""
        if self.stage is Stage.IDLE:
            self.stage = Stage.HANDSHAKING
            self._follow(self._machine.start(), now)

    def receive_datagram(self, data: bytes, now: Instant) -> bool:
        """Take one datagram of the peer. True if a record in it opened under the connection's
        keys, which shows that the peer is there."""
        if self.stage is Stage.ESTABLISHED and self._receiver is not None:
            content = self._receiver.take_data_untrusted(data)
            if content is not None:
                self._receive_data(content)
                return True
        return self._receive_records(data, now)

    def _receive_records(self, data: bytes, now: Instant) -> bool:
        match self.stage:
            case Stage.CLOSED:
                self._drop(Drop.DTLS_CLOSED)
                return False
            case Stage.IDLE if self.role is Role.CLIENT:
                self._drop(Drop.DTLS_CLOSED)
                return False
            case Stage.IDLE:
                self.stage = Stage.HANDSHAKING
        opened = False
        offset = 0
        while offset < len(data):
            try:
                received, offset = record.decode_untrusted(data, offset)
            except DecodeError:
                self._drop(Drop.DTLS_RECORD_MALFORMED)
                break
            opened |= self._receive_record(received, now)
            while self._ahead and self._receiver is not None:
                opened |= self._receive_record(self._ahead.pop(0), now)
        return opened

    def handle_timeout(self, now: Instant) -> None:
        """Repeat the flight that is out, if it is due."""
        flight = self._flight
        if flight is not None and flight.deadline is not None and now >= flight.deadline:
            self._transmit(flight, now)

    def send(self, data: bytes, now: Instant) -> None:
        """Send ``data`` as the content of one record. Before the handshake is complete it waits,
        and ``SendQueueFull`` is raised where too much does. After the end it is let go. Raises
        ``ValueError`` where it is longer than a record may be."""
        if len(data) > record.MAXIMUM_PLAINTEXT:
            raise ValueError("longer than a record may be")
        match self.stage:
            case Stage.ESTABLISHED:
                self._seal(ContentType.APPLICATION_DATA, data)
            case Stage.IDLE | Stage.HANDSHAKING:
                if len(self._queue) >= self.limits.outgoing_messages:
                    raise SendQueueFull("too much waits for the handshake")
                self._queue.append(data)
            case Stage.CLOSED:
                pass

    def sealed(self, data: bytes, now: Instant) -> bytes | None:
        """As ``send``, but what can go at once is not queued: the datagram that it is in."""
        if (
            self.stage is not Stage.ESTABLISHED
            or self._transmits
            or self._sender.exhausted
            or len(data) > record.MAXIMUM_PLAINTEXT
        ):
            self.send(data, now)
            return None
        return self._sender.sealed(ContentType.APPLICATION_DATA, data)

    def close(self, now: Instant) -> None:
        """End the connection, with a close_notify where there are keys to seal it with."""
        if self.stage is not Stage.CLOSED:
            self._alert(WARNING, Alert.CLOSE_NOTIFY)
            self._end()

    # Verbs out

    def next_transmit(self) -> bytes | None:
        """The next datagram for the peer."""
        return self._transmits.popleft() if self._transmits else None

    def next_event(self) -> Event | None:
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> Instant | None:
        return None if self._flight is None else self._flight.deadline

    @property
    def key_log_line(self) -> str | None:
        """The session's secret as a line of an NSS key log. None unless ``key_log`` was given and
        the handshake is complete. Whoever has it can read the session."""
        return self._key_log_line

    # Records

    def _receive_record(self, received: Record, now: Instant) -> bool:
        if self.stage is Stage.CLOSED:
            self._drop(Drop.DTLS_CLOSED)
        elif received.content_type not in _CONTENT_TYPES:
            self._drop(Drop.DTLS_RECORD_TYPE)
        elif received.epoch == 0:
            self._receive_plain(received, now)
        elif received.epoch != 1 or received.version != record.DTLS_1_2:
            self._drop(Drop.DTLS_EPOCH)
        elif self._receiver is None:
            if len(self._ahead) < self.limits.records_ahead:
                self._ahead.append(received)
            else:
                self._drop(Drop.DTLS_RECORDS_AHEAD)
        else:
            return self._receive_sealed(received, self._receiver, now)
        return False

    def _receive_plain(self, received: Record, now: Instant) -> None:
        match received.content_type:
            case ContentType.HANDSHAKE:
                self._heard = received.sequence
                self._receive_fragments(received.fragment, now, authentic=False)
            case ContentType.ALERT if self._receiver is None:
                # It would be honest of a peer that cannot go on, and easy for anybody else.
                self.refusal = f"an alert in the clear: {received.fragment[:2].hex(' ')}"
                self._drop(Drop.DTLS_ALERT_UNAUTHENTICATED)
            case ContentType.CHANGE_CIPHER_SPEC:
                # The epoch of each record says what this was invented to say.
                pass
            case _:
                self._drop(Drop.DTLS_PLAINTEXT)

    def _receive_sealed(self, received: Record, receiver: _Receiver, now: Instant) -> bool:
        if not receiver.window.admits(received.sequence):
            self._drop(Drop.DTLS_REPLAY)
            return False
        try:
            content = receiver.protection.open_untrusted(
                received.content_type, received.number, received.fragment
            )
        except DecodeError:
            self._drop(Drop.DTLS_AUTHENTICATION)
            return False
        receiver.window.note(received.sequence)
        match received.content_type:
            case ContentType.APPLICATION_DATA:
                self._receive_data(content)
            case ContentType.HANDSHAKE:
                self._receive_fragments(content, now, authentic=True)
            case ContentType.ALERT if len(content) == 2:
                self._receive_alert(content[0], content[1])
            case _:
                self._drop(Drop.DTLS_CONTENT)
        return True

    def _receive_data(self, content: bytes) -> None:
        """Application data may overtake the Finished before it, and waits for it then: the keys
        say who sent it, only the Finished says that the handshake was one."""
        if self.stage is Stage.ESTABLISHED:
            if content:
                self._events.append(ApplicationData(content))
        elif len(self._early) < self.limits.records_ahead:
            self._early.append(content)
        else:
            self._drop(Drop.DTLS_RECORDS_AHEAD)

    def _receive_alert(self, level: int, description: int) -> None:
        if description == Alert.CLOSE_NOTIFY:
            self._alert(WARNING, Alert.CLOSE_NOTIFY)
            self._end()
            self._events.append(PeerClosed())
        elif level == FATAL:
            self._end()
            self._events.append(Failed(f"the peer gave up with alert {description}"))

    # Handshake

    def _receive_fragments(self, content: bytes, now: Instant, *, authentic: bool) -> None:
        offset = 0
        while offset < len(content) and self.stage is not Stage.CLOSED:
            try:
                fragment, offset = decode_fragment_untrusted(content, offset)
            except DecodeError:
                self._drop(Drop.DTLS_FRAGMENT_MALFORMED)
                return
            if authentic and self._renegotiates(fragment):
                self._drop(Drop.DTLS_RENEGOTIATION)
                self._alert(WARNING, Alert.NO_RENEGOTIATION)
            elif fragment.sequence < self._reassembly.expected and not self._is_hello(fragment):
                self._receive_old(fragment, now, authentic=authentic)
            elif authentic is (self._receiver is None):
                self._drop(Drop.DTLS_PLAINTEXT)
            elif (
                fragment.whole
                and fragment.sequence == self._reassembly.expected
                and fragment.length <= self.limits.message_length
            ):
                self._hand_over(Message(fragment.type, fragment.sequence, fragment.raw), now)
                self._deliver(now)
            else:
                for drop in self._reassembly.add(fragment):
                    self._drop(drop)
                self._deliver(now)

    def _renegotiates(self, fragment: Fragment) -> bool:
        """Whether the peer wants a second handshake. Some count its messages from 0 again."""
        return self.stage is Stage.ESTABLISHED and (
            fragment.sequence >= self._reassembly.expected
            or fragment.type in (HandshakeType.HELLO_REQUEST, HandshakeType.CLIENT_HELLO)
        )

    def _is_hello(self, fragment: Fragment) -> bool:
        return (
            fragment.type == HandshakeType.CLIENT_HELLO
            and fragment.sequence in self._machine.hello_sequences()
        )

    def _receive_old(self, fragment: Fragment, now: Instant, *, authentic: bool) -> None:
        """A part of a message that was dealt with. If it ends the peer's last flight, the peer
        has not got ours."""
        sealed_last = self.stage is Stage.ESTABLISHED
        last = fragment.sequence == self._reassembly.expected - 1 and fragment.final
        if last and authentic is sealed_last and self._machine.repeated(fragment.type):
            self._repeat(now)
        else:
            self._drop(Drop.DTLS_OLD_MESSAGE)

    def _next_message(self) -> Message | None:
        message = self._reassembly.take(self._reassembly.expected)
        if message is None:
            for sequence in self._machine.hello_sequences():
                message = message or self._reassembly.take(sequence, HandshakeType.CLIENT_HELLO)
        return message

    def _deliver(self, now: Instant) -> None:
        """Hand whole messages to the machine, in their order."""
        while (
            self.stage is Stage.HANDSHAKING
            and not self._reassembly.empty
            and (message := self._next_message()) is not None
        ):
            self._hand_over(message, now)

    def _hand_over(self, message: Message, now: Instant) -> None:
        try:
            progress = self._machine.receive_untrusted(message)
        except DecodeError as error:
            if self._receiver is not None:
                self._fail(str(error))
            else:
                self._refuse(error)
        else:
            if not progress.stay:
                self._reassembly.advance(message.sequence + 1)
            if progress is not CONSUMED:
                self._follow(progress, now)

    def _refuse(self, error: DecodeError) -> None:
        drop = error.drop if isinstance(error, Refused) else Drop.DTLS_MESSAGE_MALFORMED
        self._drop(drop)
        self.refusal = str(error)
        self._machine.roll_back()
        self._reassembly.rewind(self._flight_start)

    def _follow(self, progress: Progress, now: Instant) -> None:
        """Do what an accepted message leads to."""
        if progress.reading is not None and progress.writing is not None:
            self._receiver = _Receiver(progress.reading)
            self._sender.arm(progress.writing)
            # What is left in there was never sealed.
            self._reassembly.rewind(self._reassembly.expected)
        if progress.flight:
            if self._flight is None and self.role is Role.SERVER:
                # A server that keeps nothing has no other number for its answer, and clients may
                # count on that one from any server (rfc6347/4.2.1/10, rfc6347/4.2.1/12).
                self._sender.skip_to(self._heard)
            flight = Flight(progress.flight, self.limits, progress.early, progress.timed)
            self._transmit(flight, now)
            if not progress.stay:
                self._flight = flight
                self._flight_start = self._reassembly.expected
                self._reassembly.rewind(self._flight_start)
        if progress.repeat:
            self._repeat(now)
        if progress.completed is not None:
            self._complete(progress.completed)

    def _complete(self, completed: Completed) -> None:
        self.stage = Stage.ESTABLISHED
        self.refusal = None
        if self.role is Role.CLIENT:
            self._flight = None
        secrets = completed.secrets
        if self.key_log:
            self._key_log_line = secrets.key_log_line
        keys = None
        if completed.profile is not None:
            keys = secrets.srtp_keys(completed.profile, client=self.role is Role.CLIENT)
        self._events.append(
            HandshakeComplete(keys, VERSION, secrets.suite.name, completed.peer.fingerprint)
        )
        early, self._early = self._early, []
        for content in early:
            self._receive_data(content)
        while self._queue and self.stage is Stage.ESTABLISHED:
            self._seal(ContentType.APPLICATION_DATA, self._queue.popleft())

    # Sending

    def _transmit(self, flight: Flight, now: Instant) -> None:
        self._transmits.extend(pack(flight.parts, self._sender, self.limits.mtu))
        flight.sent(now)

    def _repeat(self, now: Instant) -> None:
        if self._flight is not None and self._flight.may_repeat(now):
            self._transmit(self._flight, now)
        else:
            self._drop(Drop.DTLS_OLD_MESSAGE)

    def _seal(self, content_type: ContentType, content: bytes) -> None:
        if self._sender.exhausted:
            self._end()
            self._events.append(Failed("the sequence numbers are used up"))
        else:
            self._transmits.append(self._sender.sealed(content_type, content))

    def _alert(self, level: int, description: Alert) -> None:
        """Alerts are only ever sent sealed: in the clear they are worth nothing to the peer."""
        if self._sender.armed and not self._sender.exhausted:
            self._transmits.append(
                self._sender.sealed(ContentType.ALERT, bytes((level, description)))
            )

    # Endings

    def _fail(self, reason: str) -> None:
        """The authenticated peer has done what it must not."""
        self._alert(FATAL, Alert.DECRYPT_ERROR)
        self._end()
        self._events.append(Failed(reason))

    def _end(self) -> None:
        self.stage = Stage.CLOSED
        self._flight = None
        self._ahead.clear()
        self._early.clear()
        self._queue.clear()
        self._reassembly.rewind(0)

    def _drop(self, drop: Drop) -> None:
        self._events.append(Dropped(drop))
