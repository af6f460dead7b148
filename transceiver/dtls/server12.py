"""The server's side of the DTLS 1.2 handshake.

::

    AwaitClientHello --ClientHello--> AwaitCertificate --Certificate-->
          |  ^                          |  ^       AwaitKeyExchange --ClientKeyExchange-->
          +--+ (HelloVerifyRequest,     +--+            AwaitVerify --CertificateVerify-->
               where it is on)     (another hello)      AwaitFinished --Finished--> Done

Any refusal between ``AwaitCertificate`` and ``AwaitVerify`` leads back to ``AwaitCertificate``.
``CertificateVerify`` is where the client proves itself. The key exchange is computed only after
that, so that a stranger cannot make us pay for it.

A hello is answered at once: the address has been validated by an ICE check, which shows what a
cookie would show, and the answer goes nowhere else. ``verify_hello`` asks for the cookie all the
same. With it or without, a hello that follows a HelloVerifyRequest is taken (message_seq 1, with a
cookie), whoever sent that request.

A hello proves nothing, so one that differs from the last does not count for less, nor for more. A
few are answered side by side, and the client's signature tells which of them was the peer's: it
covers the hello. So a client that starts over is served, and a stranger's hello spoils nothing,
whether it comes before the peer's or after it.

A post-quantum hello of DTLS 1.3 comes in two fragments or more and is whole before it gets here.
Its legacy version is 1.2; ``supported_versions`` only tells whether the client would go along
with 1.2. The random carries no downgrade mark: RFC 8446 asks for that of servers that could have
spoken 1.3, and this one cannot.
"""

import hmac
from typing import Final, TypeAlias

from attrs import define, field, frozen

from stunroute.errors import DecodeError
from stunroute.trace import Drop
from transceiver.keying import SrtpProfile

from .extensions import (
    NO_RENEGOTIATION,
    Extension,
    server_block,
)
from .flight import ChangeCipherSpec, Protected
from .handshake12 import (
    CONSUMED,
    Completed,
    Negotiated,
    Party,
    Peer,
    Progress,
    Refused,
    list_untrusted,
    peer_untrusted,
    require_extended_master_secret_untrusted,
    srtp_untrusted,
)
from .keys import Exchange, Secrets, new_exchange
from .messages import (
    CERTIFICATE_REQUEST,
    RANDOM_LENGTH,
    ClientHello,
    HandshakeType,
    Message,
    decode_certificate_verify_untrusted,
    decode_client_hello_untrusted,
    decode_client_key_exchange_untrusted,
    encode_hello_verify_request,
    encode_server_hello,
    encode_signed,
    key_exchange_parameters,
)
from .parameters import RENEGOTIATION_SCSV, SUITES, Authentication, CipherSuite, Group
from .record import DTLS_1_2
from .signatures import ECDSA_SHA256, verifies

_TLS_1_2: Final = 0x0303
"""How Firefox writes version 1.2 into supported_versions, also over DTLS."""
_HELLO_SEQUENCES: Final = range(2)
"""0 for a first hello, 1 for one that answers a HelloVerifyRequest."""


@frozen(slots=True)
class AwaitClientHello:
    """Nothing has come yet that was accepted."""


@frozen(slots=True)
class Answer:
    """A hello and what we said to it. ``transcript`` is both."""

    hello: Message
    negotiated: Negotiated
    exchange: Exchange
    flight: tuple[Message, ...]
    transcript: bytes = field(repr=False)


@frozen(slots=True)
class AwaitCertificate:
    """``answers`` are to hellos of the same message_seq, the newest last."""

    answers: tuple[Answer, ...]


@frozen(slots=True)
class AwaitKeyExchange:
    """``said`` is what the client's flight has brought so far."""

    answers: tuple[Answer, ...]
    peer: Peer
    said: bytes = field(repr=False)


@frozen(slots=True)
class AwaitVerify:
    """``public`` is the client's half of the key exchange, not yet looked at."""

    answers: tuple[Answer, ...]
    peer: Peer
    public: bytes
    said: bytes = field(repr=False)


@frozen(slots=True)
class AwaitFinished:
    """The client is who it should be. ``verify_data`` is what it must say."""

    sequence: int
    completed: Completed
    verify_data: bytes = field(repr=False)
    transcript: bytes = field(repr=False)


@frozen(slots=True)
class Done:
    completed: Completed


ServerState: TypeAlias = (
    AwaitClientHello | AwaitCertificate | AwaitKeyExchange | AwaitVerify | AwaitFinished | Done
)


@define(slots=True)
class Server12:
    """A ``Machine``. ``state`` is public for tests and traces; only this class sets it."""

    _party: Party
    _verify_hello: bool = False
    state: ServerState = field(factory=AwaitClientHello, init=False)
    _checkpoint: ServerState = field(factory=AwaitClientHello, init=False)
    _cookie_key: bytes = field(init=False, repr=False)

    @_cookie_key.default
    def _new_cookie_key(self) -> bytes:
        return self._party.entropy(32) if self._verify_hello else b""

    def start(self) -> Progress:
        return CONSUMED

    def receive_untrusted(self, message: Message) -> Progress:
        state = self.state
        match state, message.type:
            case AwaitClientHello() | AwaitCertificate(), HandshakeType.CLIENT_HELLO:
                return self._hello_untrusted(state, message)
            case AwaitCertificate(), HandshakeType.CERTIFICATE:
                peer = peer_untrusted(self._party, message.body)
                self.state = AwaitKeyExchange(state.answers, peer, message.raw)
            case AwaitKeyExchange(), HandshakeType.CLIENT_KEY_EXCHANGE:
                public = decode_client_key_exchange_untrusted(message.body)
                self.state = AwaitVerify(
                    state.answers, state.peer, public, state.said + message.raw
                )
            case AwaitVerify(), HandshakeType.CERTIFICATE_VERIFY:
                return self._verify_untrusted(state, message)
            case AwaitFinished(), HandshakeType.FINISHED:
                return self._finished_untrusted(state, message)
            case _:
                raise Refused(Drop.DTLS_MESSAGE_UNEXPECTED, "a message out of turn")
        return CONSUMED

    def roll_back(self) -> None:
        self.state = self._checkpoint

    def hello_sequences(self) -> range:
        match self.state:
            case AwaitClientHello():
                return _HELLO_SEQUENCES
            case AwaitCertificate(answers=answers):
                # One with message_seq 0 still counts after one with 1, which may be a stranger's.
                return range(answers[-1].hello.sequence + 1)
            case _:
                return range(0)

    def repeated(self, type_: int) -> bool:
        return isinstance(self.state, Done) and type_ == HandshakeType.FINISHED

    def _hello_untrusted(
        self, state: AwaitClientHello | AwaitCertificate, message: Message
    ) -> Progress:
        answers = state.answers if isinstance(state, AwaitCertificate) else ()
        if answers:
            if message == answers[-1].hello:
                return Progress(repeat=True, stay=True)
            if message.sequence > answers[-1].hello.sequence:
                raise Refused(Drop.DTLS_MESSAGE_UNEXPECTED, "a cookie that nobody asked for")
            for answer in answers:
                if message == answer.hello:
                    return self._answered(answer)
        hello = decode_client_hello_untrusted(message.body)
        if (
            answers
            and message.sequence < answers[-1].hello.sequence
            and hello.random == answers[-1].negotiated.client_random
        ):
            raise Refused(Drop.DTLS_OLD_MESSAGE, "the hello before the one with a cookie")
        if self._verify_hello:
            cookie = self._cookie(hello)
            if not hmac.compare_digest(cookie, hello.cookie):
                request = Message.of(
                    HandshakeType.HELLO_VERIFY_REQUEST, 0, encode_hello_verify_request(cookie)
                )
                return Progress((request,), timed=False, stay=True)
        return self._answer_untrusted(hello, message)

    def _cookie(self, hello: ClientHello) -> bytes:
        """Bound to what both hellos of a client share. The address is not in it: one connection
        has one peer."""
        return hmac.digest(self._cookie_key, hello.random + hello.session_id, "sha256")

    def _answer_untrusted(self, hello: ClientHello, message: Message) -> Progress:
        party = self._party
        suite, group, profile = self._choose_untrusted(hello)
        random = party.entropy(RANDOM_LENGTH)
        exchange = new_exchange(group, party.entropy)
        negotiated = Negotiated(suite, profile, hello.random, random)
        parameters = key_exchange_parameters(group, exchange.public)
        signature = party.identity.sign(hello.random + random + parameters)
        bodies = (
            (
                HandshakeType.SERVER_HELLO,
                encode_server_hello(random, suite.code, _hello_block(hello, profile)),
            ),
            (HandshakeType.CERTIFICATE, party.identity.certificate_list),
            (
                HandshakeType.SERVER_KEY_EXCHANGE,
                parameters + encode_signed(ECDSA_SHA256, signature),
            ),
            (HandshakeType.CERTIFICATE_REQUEST, CERTIFICATE_REQUEST),
            (HandshakeType.SERVER_HELLO_DONE, b""),
        )
        flight = tuple(
            Message.of(type_, sequence, body)
            for sequence, (type_, body) in enumerate(bodies, message.sequence)
        )
        transcript = message.raw + b"".join([part.raw for part in flight])
        return self._answered(Answer(message, negotiated, exchange, flight, transcript))

    def _answered(self, answer: Answer) -> Progress:
        """Make ``answer`` the newest."""
        kept: tuple[Answer, ...] = ()
        if isinstance(self.state, AwaitCertificate):
            kept = tuple(
                other
                for other in self.state.answers
                if other.hello.sequence == answer.hello.sequence and other is not answer
            )
        answers = (*kept, answer)[-self._party.limits.answered_hellos :]
        self.state = self._checkpoint = AwaitCertificate(answers)
        return Progress(answer.flight)

    def _choose_untrusted(
        self, hello: ClientHello
    ) -> tuple[CipherSuite, Group, SrtpProfile | None]:
        """By our preference, among what the client offers."""
        extensions = hello.extensions
        versions = list_untrusted(extensions, Extension.SUPPORTED_VERSIONS, 1)
        # Versions of DTLS count downwards, so a client's highest must not be above our number.
        if hello.version > DTLS_1_2 or (
            versions and DTLS_1_2 not in versions and _TLS_1_2 not in versions
        ):
            raise Refused(Drop.DTLS_NOT_NEGOTIABLE, "the client does not speak DTLS 1.2")
        if 0 not in hello.compression:
            raise DecodeError("a hello that demands compression")
        renegotiation = extensions.get(Extension.RENEGOTIATION_INFO, NO_RENEGOTIATION)
        if renegotiation != NO_RENEGOTIATION:
            raise Refused(Drop.DTLS_NOT_NEGOTIABLE, "a renegotiation of nothing")
        require_extended_master_secret_untrusted(extensions)
        schemes = list_untrusted(extensions, Extension.SIGNATURE_ALGORITHMS)
        if ECDSA_SHA256 not in schemes:
            raise Refused(Drop.DTLS_NOT_NEGOTIABLE, "the client cannot verify our signature")
        groups = list_untrusted(extensions, Extension.SUPPORTED_GROUPS)
        used = srtp_untrusted(extensions, required=self._party.srtp_required)
        suite = next(
            (
                suite
                for suite in SUITES
                if suite.code in hello.cipher_suites
                and suite.authentication is Authentication.ECDSA
            ),
            None,
        )
        group = next((group for group in Group if group in groups), None)
        offered = used[0] if used else ()
        profile = next((ours for ours in self._party.profiles if ours.value in offered), None)
        if suite is None or group is None or (profile is None and used is not None):
            raise Refused(
                Drop.DTLS_NOT_NEGOTIABLE, "no cipher suite, group or SRTP profile in common"
            )
        return suite, group, profile

    def _verify_untrusted(self, state: AwaitVerify, message: Message) -> Progress:
        scheme, signature = decode_certificate_verify_untrusted(message.body)
        for answer in reversed(state.answers):
            transcript = answer.transcript + state.said
            if verifies(state.peer.key, scheme, signature, transcript):
                break
        else:
            raise Refused(Drop.DTLS_SIGNATURE, "the client did not sign this handshake")
        negotiated = answer.negotiated
        secrets = Secrets.extended(
            negotiated.suite,
            answer.exchange.shared_untrusted(state.public),
            transcript,
            negotiated.client_random,
            negotiated.server_random,
        )
        transcript += message.raw
        completed = Completed(secrets, negotiated.profile, state.peer)
        # From here on what counts is sealed, so there is nothing left to return from.
        self.state = self._checkpoint = AwaitFinished(
            answer.hello.sequence + len(answer.flight),
            completed,
            secrets.client_finished(transcript),
            transcript,
        )
        reading, writing = secrets.protections()
        return Progress(reading=reading, writing=writing)

    def _finished_untrusted(self, state: AwaitFinished, message: Message) -> Progress:
        if not hmac.compare_digest(message.body, state.verify_data):
            raise Refused(Drop.DTLS_SIGNATURE, "the client saw another handshake")
        verify_data = state.completed.secrets.server_finished(state.transcript + message.raw)
        finished = Message.of(HandshakeType.FINISHED, state.sequence, verify_data)
        self.state = self._checkpoint = Done(state.completed)
        return Progress(
            (ChangeCipherSpec(), Protected(finished)), timed=False, completed=state.completed
        )


def _hello_block(hello: ClientHello, profile: SrtpProfile | None) -> bytes:
    """A server answers extensions, it does not offer any."""
    renegotiation = (
        Extension.RENEGOTIATION_INFO in hello.extensions
        or RENEGOTIATION_SCSV in hello.cipher_suites
    )
    return server_block(profile, renegotiation, Extension.EC_POINT_FORMATS in hello.extensions)
