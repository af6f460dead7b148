"""The client's side of the DTLS 1.2 handshake.

::

    Idle --start--> AwaitServerHello --ServerHello--> AwaitCertificate --Certificate-->
                       ^  |  HelloVerifyRequest
                       +--+  (hello again, with its cookie)

    AwaitKeyExchange --ServerKeyExchange--> AwaitRequest --CertificateRequest-->

    AwaitDone --ServerHelloDone--> AwaitFinished --Finished--> Done

Any refusal between ``AwaitCertificate`` and ``AwaitDone`` leads back to ``AwaitServerHello``.
``ServerKeyExchange`` is where the server proves itself: its signature covers our random, and is
made with the key of the certificate that the SDP named.

A HelloVerifyRequest is the one thing that is obeyed on anybody's word, since nothing could vouch
for it: it costs us a second hello, and no more of them than ``DtlsLimits.hello_verifications``.
"""

import hmac
from typing import Final, TypeAlias

from attrs import define, field, frozen

from stunroute.errors import DecodeError
from stunroute.trace import Drop
from transceiver.keying import SrtpProfile

from .extensions import NO_RENEGOTIATION, Extension, client_block
from .flight import ChangeCipherSpec, Protected
from .handshake12 import (
    CONSUMED,
    Completed,
    Negotiated,
    Party,
    Peer,
    Progress,
    Refused,
    peer_untrusted,
    require_extended_master_secret_untrusted,
    srtp_untrusted,
)
from .keys import Secrets, new_exchange
from .messages import (
    RANDOM_LENGTH,
    HandshakeType,
    Message,
    ServerHello,
    ServerKeyExchange,
    decode_certificate_request_untrusted,
    decode_hello_verify_request_untrusted,
    decode_server_hello_untrusted,
    decode_server_key_exchange_untrusted,
    encode_client_hello,
    encode_client_key_exchange,
    encode_signed,
)
from .parameters import SUITE_BY_CODE, SUITES, Authentication, Group
from .record import DTLS_1_2
from .signatures import ECDSA_SHA256, verifies

_SUITE_CODES: Final = tuple(suite.code for suite in SUITES)
_GROUPS: Final = frozenset(Group)
_OFFERED: Final = frozenset(
    {
        Extension.EXTENDED_MASTER_SECRET,
        Extension.RENEGOTIATION_INFO,
        Extension.SUPPORTED_GROUPS,
        Extension.EC_POINT_FORMATS,
        Extension.USE_SRTP,
    }
)
"""Extensions that a ServerHello may answer with (RFC 5246 section 7.4.1.4)."""


@frozen(slots=True)
class Idle:
    """Not started."""


@frozen(slots=True)
class AwaitServerHello:
    """``hello`` is the ClientHello that is out; ``verifications`` how many cookies it took."""

    random: bytes
    hello: Message
    verifications: int


@frozen(slots=True)
class AwaitCertificate:
    """``sequence`` is the message_seq of our next message, ``transcript`` all messages so far."""

    sequence: int
    negotiated: Negotiated
    transcript: bytes = field(repr=False)


@frozen(slots=True)
class AwaitKeyExchange:
    sequence: int
    negotiated: Negotiated
    peer: Peer
    transcript: bytes = field(repr=False)


@frozen(slots=True)
class AwaitRequest:
    """The server is who it should be: its signature has verified."""

    sequence: int
    negotiated: Negotiated
    peer: Peer
    exchange: ServerKeyExchange
    transcript: bytes = field(repr=False)


@frozen(slots=True)
class AwaitDone:
    sequence: int
    negotiated: Negotiated
    peer: Peer
    exchange: ServerKeyExchange
    transcript: bytes = field(repr=False)


@frozen(slots=True)
class AwaitFinished:
    """Our last flight is out, sealed at its end. ``verify_data`` is what the server must say."""

    completed: Completed
    verify_data: bytes = field(repr=False)


@frozen(slots=True)
class Done:
    completed: Completed


ClientState: TypeAlias = (
    Idle
    | AwaitServerHello
    | AwaitCertificate
    | AwaitKeyExchange
    | AwaitRequest
    | AwaitDone
    | AwaitFinished
    | Done
)


@define(slots=True)
class Client12:
    """A ``Machine``. ``state`` is public for tests and traces; only this class sets it."""

    _party: Party
    state: ClientState = field(factory=Idle, init=False)
    _checkpoint: ClientState = field(factory=Idle, init=False)

    def start(self) -> Progress:
        random = self._party.entropy(RANDOM_LENGTH)
        return self._hello(random, b"", 0, 0)

    def receive_untrusted(self, message: Message) -> Progress:
        state = self.state
        match state, message.type:
            case AwaitServerHello(), HandshakeType.SERVER_HELLO:
                return self._server_hello_untrusted(state, message)
            case AwaitServerHello(), HandshakeType.HELLO_VERIFY_REQUEST:
                return self._verify_request_untrusted(state, message)
            case AwaitCertificate(), HandshakeType.CERTIFICATE:
                peer = peer_untrusted(self._party, message.body)
                self.state = AwaitKeyExchange(
                    state.sequence, state.negotiated, peer, state.transcript + message.raw
                )
            case AwaitKeyExchange(), HandshakeType.SERVER_KEY_EXCHANGE:
                self._key_exchange_untrusted(state, message)
            case AwaitRequest(), HandshakeType.CERTIFICATE_REQUEST:
                self._request_untrusted(state, message)
            case AwaitDone(), HandshakeType.SERVER_HELLO_DONE:
                return self._done_untrusted(state, message)
            case AwaitFinished(), HandshakeType.FINISHED:
                return self._finished_untrusted(state, message)
            case AwaitRequest(), HandshakeType.SERVER_HELLO_DONE:
                raise Refused(
                    Drop.DTLS_NOT_NEGOTIABLE, "the server does not ask for our certificate"
                )
            case _:
                raise Refused(Drop.DTLS_MESSAGE_UNEXPECTED, "a message out of turn")
        return CONSUMED

    def roll_back(self) -> None:
        self.state = self._checkpoint

    def hello_sequences(self) -> range:
        return range(0)

    def repeated(self, type_: int) -> bool:
        return isinstance(self.state, AwaitFinished) and type_ == HandshakeType.SERVER_HELLO_DONE

    def _hello(self, random: bytes, cookie: bytes, sequence: int, verifications: int) -> Progress:
        body = encode_client_hello(random, cookie, _SUITE_CODES, client_block(self._party.profiles))
        hello = Message.of(HandshakeType.CLIENT_HELLO, sequence, body)
        self.state = self._checkpoint = AwaitServerHello(random, hello, verifications)
        return Progress((hello,), early=True)

    def _verify_request_untrusted(self, state: AwaitServerHello, message: Message) -> Progress:
        """Answer with the same hello and the cookie. Neither the first hello nor the request
        counts for the transcript (RFC 6347 section 4.2.1)."""
        cookie = decode_hello_verify_request_untrusted(message.body)
        if state.verifications >= self._party.limits.hello_verifications:
            raise Refused(Drop.DTLS_MESSAGE_UNEXPECTED, "one HelloVerifyRequest too many")
        return self._hello(state.random, cookie, state.hello.sequence + 1, state.verifications + 1)

    def _server_hello_untrusted(self, state: AwaitServerHello, message: Message) -> Progress:
        hello = decode_server_hello_untrusted(message.body)
        suite = SUITE_BY_CODE.get(hello.cipher_suite)
        if hello.version != DTLS_1_2 or suite is None or hello.compression:
            raise Refused(
                Drop.DTLS_NOT_NEGOTIABLE, "a version, suite or compression that was not offered"
            )
        if not _OFFERED.issuperset(hello.extensions):
            raise Refused(Drop.DTLS_NOT_NEGOTIABLE, "an extension that was not offered")
        require_extended_master_secret_untrusted(hello.extensions)
        if hello.extensions.get(Extension.RENEGOTIATION_INFO, NO_RENEGOTIATION) != NO_RENEGOTIATION:
            raise Refused(Drop.DTLS_NOT_NEGOTIABLE, "a renegotiation of nothing")
        negotiated = Negotiated(suite, self._profile_untrusted(hello), state.random, hello.random)
        self.state = AwaitCertificate(
            state.hello.sequence + 1, negotiated, state.hello.raw + message.raw
        )
        return CONSUMED

    def _profile_untrusted(self, hello: ServerHello) -> SrtpProfile | None:
        used = srtp_untrusted(hello.extensions, required=self._party.srtp_required)
        if used is None:
            return None
        chosen, mki = used
        for profile in self._party.profiles:
            if chosen == (profile.value,) and not mki:
                return profile
        raise Refused(Drop.DTLS_NOT_NEGOTIABLE, "an SRTP profile or MKI that was not offered")

    def _key_exchange_untrusted(self, state: AwaitKeyExchange, message: Message) -> None:
        exchange = decode_server_key_exchange_untrusted(message.body)
        if exchange.group not in _GROUPS:
            raise Refused(Drop.DTLS_NOT_NEGOTIABLE, "a group that was not offered")
        negotiated = state.negotiated
        # TLS 1.2 names schemes by kind of key, and the suite has already said which kind.
        wanted = Authentication.ECDSA if exchange.scheme & 0xFF == 3 else Authentication.RSA
        signed = negotiated.client_random + negotiated.server_random + exchange.parameters
        if wanted is not negotiated.suite.authentication or not verifies(
            state.peer.key, exchange.scheme, exchange.signature, signed
        ):
            raise Refused(Drop.DTLS_SIGNATURE, "the server did not sign this handshake")
        self.state = AwaitRequest(
            state.sequence, negotiated, state.peer, exchange, state.transcript + message.raw
        )

    def _request_untrusted(self, state: AwaitRequest, message: Message) -> None:
        request = decode_certificate_request_untrusted(message.body)
        if Authentication.ECDSA not in request.types or ECDSA_SHA256 not in request.schemes:
            raise Refused(Drop.DTLS_NOT_NEGOTIABLE, "the server cannot verify our signature")
        self.state = AwaitDone(
            state.sequence,
            state.negotiated,
            state.peer,
            state.exchange,
            state.transcript + message.raw,
        )

    def _done_untrusted(self, state: AwaitDone, message: Message) -> Progress:
        if message.body:
            raise DecodeError("a ServerHelloDone with a content")
        party, negotiated, sequence = self._party, state.negotiated, state.sequence
        ours = new_exchange(Group(state.exchange.group), party.entropy)
        premaster = ours.shared_untrusted(state.exchange.public)
        certificate = Message.of(
            HandshakeType.CERTIFICATE, sequence, party.identity.certificate_list
        )
        key_exchange = Message.of(
            HandshakeType.CLIENT_KEY_EXCHANGE,
            sequence + 1,
            encode_client_key_exchange(ours.public),
        )
        transcript = b"".join((state.transcript, message.raw, certificate.raw, key_exchange.raw))
        secrets = Secrets.extended(
            negotiated.suite,
            premaster,
            transcript,
            negotiated.client_random,
            negotiated.server_random,
        )
        verify = Message.of(
            HandshakeType.CERTIFICATE_VERIFY,
            sequence + 2,
            encode_signed(ECDSA_SHA256, party.identity.sign(transcript)),
        )
        transcript += verify.raw
        finished = Message.of(
            HandshakeType.FINISHED, sequence + 3, secrets.client_finished(transcript)
        )
        expected = secrets.server_finished(transcript + finished.raw)
        completed = Completed(secrets, negotiated.profile, state.peer)
        self.state = self._checkpoint = AwaitFinished(completed, expected)
        writing, reading = secrets.protections()
        return Progress(
            (certificate, key_exchange, verify, ChangeCipherSpec(), Protected(finished)),
            reading=reading,
            writing=writing,
        )

    def _finished_untrusted(self, state: AwaitFinished, message: Message) -> Progress:
        if not hmac.compare_digest(message.body, state.verify_data):
            raise Refused(Drop.DTLS_SIGNATURE, "the server saw another handshake")
        self.state = self._checkpoint = Done(state.completed)
        return Progress(completed=state.completed)
