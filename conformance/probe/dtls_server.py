"""The puppet as DTLS server: the server that is asked is the DTLS client, and says the hello.

``handshake`` is the whole of it, with any deviation; ``hear_hello``, ``send_first``,
``receive_second``, ``send_last`` and ``is_accepted`` are its steps.

That a client has taken our Finished is not said on the wire. What shows it is media under the keys
of the handshake; failing that, that it does not repeat its flight, which it would.
"""

from collections.abc import Callable, Iterable
from typing import Any

from attrs import define, field

from conformance.case import Blocked
from stunroute.errors import DecodeError
from transceiver.dtls.extensions import (
    NO_RENEGOTIATION,
    UNCOMPRESSED,
    Extension,
    decode_list_untrusted,
    decode_use_srtp_untrusted,
)
from transceiver.dtls.keys import MASTER_SECRET_LENGTH, Exchange, Prf, Secrets, new_exchange
from transceiver.dtls.messages import (
    CERTIFICATE_REQUEST,
    ClientHello,
    HandshakeType,
    Message,
    decode_certificate_untrusted,
    decode_certificate_verify_untrusted,
    decode_client_hello_untrusted,
    decode_client_key_exchange_untrusted,
    encode_hello_verify_request,
    encode_signed,
    key_exchange_parameters,
)
from transceiver.dtls.parameters import SUITES, Authentication, CipherSuite, Group
from transceiver.dtls.record import DTLS_1_2
from transceiver.dtls.signatures import ECDSA_SHA256, public_key_untrusted, verifies

from .dtls import TRIES, Change, Handshaken, Odd, Puppet, Refusal, Signer
from .dtls_hello import server_hello, use_srtp
from .dtls_wire import CHANGE_CIPHER_SPEC, Arranging, Packing, Part, as_it_is, together

HELLO_WITHIN = 4.0
"""Seconds in which a client that has something to repeat repeats it."""


@define(slots=True, kw_only=True)
class ServerPuppet(Puppet):
    """``hello`` is the client's that we answer."""

    is_client = False

    hello: Message = field(default=None, init=False)
    offer: ClientHello = field(default=None, init=False)
    suite: CipherSuite = field(default=None, init=False)
    random: bytes = field(default=b"", init=False)
    exchange: Exchange = field(default=None, init=False)
    extended: bool = field(default=True, init=False)
    _answered: int = field(default=-1, init=False)

    # --- the hello ------------------------------------------------------------------------------

    def hear_hello(self, sequence: int = 0, within: float = HELLO_WITHIN) -> bool:
        """Wait for a ClientHello with that message_seq, and read it; whether it came. Raises Odd
        where it cannot be read."""
        if not self.wait(within, lambda: self._hello(sequence) is not None):
            return False
        found = self._hello(sequence)
        assert found is not None
        self.hello = found
        try:
            self.offer = decode_client_hello_untrusted(found.body)
        except DecodeError as error:
            raise Odd(f"a ClientHello that cannot be read: {error}") from error
        self.sequence = sequence
        return True

    def _hello(self, sequence: int) -> Message | None:
        found = self.messages.get(sequence)
        return found if found is not None and found.type == HandshakeType.CLIENT_HELLO else None

    def hello_again(self, within: float = HELLO_WITHIN) -> bool:
        """Wait for one more record with a hello."""
        before = self.count(HandshakeType.CLIENT_HELLO)
        return self.wait(within, lambda: self.count(HandshakeType.CLIENT_HELLO) > before)

    def need_hello(self) -> None:
        """Raises Blocked where none comes, or nonsense."""
        try:
            if not self.hear_hello():
                raise Blocked("the server sends no ClientHello")
        except Odd as error:
            raise Blocked(str(error)) from error

    def ask_cookie(
        self, cookie: bytes, *, version: int = DTLS_1_2, pack: Packing = together
    ) -> Message:
        """Send a HelloVerifyRequest."""
        body = version.to_bytes(2) + encode_hello_verify_request(cookie)[2:]
        message = Message.of(HandshakeType.HELLO_VERIFY_REQUEST, self.sequence, body)
        self.send_flight([Part.of(message)], pack=pack, note="HelloVerifyRequest")
        return message

    # --- our flights ----------------------------------------------------------------------------

    def offered(self, extension: int) -> tuple[int, ...]:
        """The codes in an extension of the client's that is a list."""
        body = self.offer.extensions.get(extension)
        try:
            return () if body is None else decode_list_untrusted(body)
        except DecodeError:
            return ()

    def offered_profiles(self) -> tuple[int, ...]:
        """The client's SRTP profiles."""
        body = self.offer.extensions.get(Extension.USE_SRTP)
        try:
            return () if body is None else decode_use_srtp_untrusted(body).profiles
        except DecodeError:
            return ()

    def answer_extensions(self) -> list[tuple[int, bytes]]:
        """Those of an honest ServerHello."""
        extensions = self.offer.extensions
        answer: list[tuple[int, bytes]] = []
        if self.extended and Extension.EXTENDED_MASTER_SECRET in extensions:
            answer.append((Extension.EXTENDED_MASTER_SECRET, b""))
        if Extension.RENEGOTIATION_INFO in extensions or 0x00FF in self.offer.cipher_suites:
            answer.append((Extension.RENEGOTIATION_INFO, NO_RENEGOTIATION))
        if Extension.EC_POINT_FORMATS in extensions:
            answer.append((Extension.EC_POINT_FORMATS, UNCOMPRESSED))
        if self.profile is not None:
            answer.append((Extension.USE_SRTP, use_srtp([self.profile.value])))
        return answer

    def first(
        self,
        change: Change | None = None,
        *,
        authentication: Authentication = Authentication.ECDSA,
        signer: Signer | None = None,
        scheme: int = ECDSA_SHA256,
        sign: Callable[[bytes], bytes] | None = None,
        group: int | None = None,
        public: bytes | None = None,
        extensions: Callable[[list[tuple[int, bytes]]], Iterable[tuple[int, bytes]]] = list,
        hello: Callable[..., bytes] = server_hello,
    ) -> list[Part]:
        """The flight from ServerHello to ServerHelloDone. ``extensions`` changes those of the
        hello; ``group`` and ``public`` are what is said, whatever there is behind it. Raises
        Blocked where the client offers nothing that we can do."""
        change, signer = change or {}, signer or self.identity
        entropy = self.call.stage.entropy
        self._choose(authentication)
        self.random = entropy(32)
        ours = self.offered(Extension.SUPPORTED_GROUPS)
        possible = group if group in tuple(Group) else next((g for g in Group if g in ours), None)
        if possible is None:
            raise Blocked(f"the client offers the groups {ours}")
        self.exchange = new_exchange(Group(possible), entropy)
        parameters = key_exchange_parameters(
            group or int(self.exchange.group), self.exchange.public if public is None else public
        )
        signed = self.offer.random + self.random + parameters
        signature = (sign or signer.sign)(signed)
        self._answered = self.sequence
        self.transcript = self.hello.raw
        body = hello(self.random, self.suite.code, extensions(self.answer_extensions()))
        bodies = (
            (HandshakeType.SERVER_HELLO, body),
            (HandshakeType.CERTIFICATE, signer.certificate_list),
            (HandshakeType.SERVER_KEY_EXCHANGE, parameters + encode_signed(scheme, signature)),
            (HandshakeType.CERTIFICATE_REQUEST, CERTIFICATE_REQUEST),
            (HandshakeType.SERVER_HELLO_DONE, b""),
        )
        said = [self.say(type_, each, change) for type_, each in bodies]
        return [Part.of(each) for each in said if each is not None]

    def _choose(self, authentication: Authentication) -> None:
        suites = self.offer.cipher_suites
        mine = [each for each in SUITES if each.authentication is authentication]
        found = next((each for each in mine if each.code in suites), None)
        if found is None:
            raise Blocked(f"the client offers no {authentication.name} suite of ours")
        self.suite = found
        profiles = self.offered_profiles()
        self.profile = next(
            (each for each in self.call.client.profiles if each.value in profiles), None
        )

    def send_first(
        self,
        change: Change | None = None,
        *,
        arrange: Arranging = as_it_is,
        pack: Packing = together,
        **deviations: Any,
    ) -> None:
        """``first``, sent."""
        parts = self.first(change, **deviations)
        self.send_flight(parts, arrange=arrange, pack=pack, note="ServerHello to ServerHelloDone")

    def receive_second(self, tries: int = TRIES, *, stubborn: bool = False) -> bool:
        """Wait for the client's flight, saying ours again while nothing comes; whether it came.
        Raises Odd where it is wrong."""
        for attempt in range(tries):
            if attempt:
                self.repeat(stubborn=stubborn)
            if self.wait(self.patience, lambda: self._has_keys() or self.fatal is not None):
                break
        if not self._has_keys():
            return False
        if not self.wait(
            self.patience, lambda: self.said_sealed(HandshakeType.FINISHED) or self.fatal
        ):
            raise Odd("a flight without a Finished under the keys")
        finished = self.said_sealed(HandshakeType.FINISHED)
        if finished is None:
            return False
        assert self.secrets is not None
        if finished.body != self.secrets.client_finished(self.transcript):
            raise Odd("a Finished over another handshake")
        self.transcript += finished.raw
        return True

    def _has_keys(self) -> bool:
        """Take what the client has said, as far as it is there; whether there are keys."""
        if self.secrets is not None:
            return True
        flight = [self.messages.get(self.hello.sequence + each) for each in (1, 2, 3)]
        types = [None if each is None else each.type for each in flight]
        if types != [
            HandshakeType.CERTIFICATE,
            HandshakeType.CLIENT_KEY_EXCHANGE,
            HandshakeType.CERTIFICATE_VERIFY,
        ]:
            return False
        certificate, key_exchange, verify = (each for each in flight if each is not None)
        self.transcript += certificate.raw + key_exchange.raw
        try:
            public = decode_client_key_exchange_untrusted(key_exchange.body)
            premaster = self.exchange.shared_untrusted(public)
            self._hold_to_proof(certificate, verify)
        except DecodeError as error:
            raise Odd(str(error)) from error
        secrets = self._derive(premaster)
        self.transcript += verify.raw
        self.take_keys(secrets)
        return True

    def _hold_to_proof(self, certificate: Message, verify: Message) -> None:
        der = decode_certificate_untrusted(certificate.body)
        told = self.call.told.fingerprints
        if not any(type(each).of(der, each.algorithm) == each for each in told if each.supported):
            raise Odd("a certificate that the answer does not name")
        scheme, signature = decode_certificate_verify_untrusted(verify.body)
        if not verifies(public_key_untrusted(der), scheme, signature, self.transcript):
            raise Odd("a CertificateVerify that does not verify")

    def _derive(self, premaster: bytes) -> Secrets:
        randoms = self.offer.random, self.random
        if self.extended and Extension.EXTENDED_MASTER_SECRET in self.offer.extensions:
            return Secrets.extended(self.suite, premaster, self.transcript, *randoms)
        master = Prf(self.suite.hash, premaster).expand(
            b"master secret", b"".join(randoms), MASTER_SECRET_LENGTH
        )
        return Secrets(self.suite, master, *randoms)

    def last(self, change: Change | None = None) -> list[Part]:
        """The flight with our Finished."""
        assert self.secrets is not None
        finished = self.say(
            HandshakeType.FINISHED,
            self.secrets.server_finished(self.transcript),
            change or {},
        )
        return [CHANGE_CIPHER_SPEC, *([] if finished is None else [Part.of(finished, 1)])]

    def send_last(
        self,
        change: Change | None = None,
        *,
        arrange: Arranging = as_it_is,
        pack: Packing = together,
    ) -> None:
        """``last``, sent."""
        self.send_flight(
            self.last(change), arrange=arrange, pack=pack, note="ChangeCipherSpec and Finished"
        )

    def is_accepted(self, seconds: float = 1.5, *, presume: bool = True) -> bool:
        """Whether the client goes on under the keys. See the module. Without ``presume`` nothing
        but media or data shows it."""
        before = self.count(HandshakeType.FINISHED, sealed=True)

        def repeats() -> bool:
            return self.count(HandshakeType.FINISHED, sealed=True) > before

        self.send_audio()
        shown = []

        def shows() -> bool:
            if self.heard_media() or self.data:
                shown.append(True)
            return bool(shown)

        self.wait(seconds, lambda: shows() or repeats() or self.fatal)
        return self.fatal is None and not repeats() and (presume or bool(shown))

    # --- all of it ------------------------------------------------------------------------------

    def handshake(
        self,
        change: Change | None = None,
        *,
        pack: Packing = together,
        arrange: Arranging = as_it_is,
        last_pack: Packing = together,
        last_arrange: Arranging = as_it_is,
        last_change: Change | None = None,
        tries: int = TRIES,
        presume: bool = True,
        **deviations: Any,
    ) -> tuple[Handshaken, str]:
        """From the hello to our Finished, and what became of it."""
        try:
            if self.hello is None and not self.hear_hello():
                return self.failure(Handshaken.UNANSWERED)
            self.send_first(change, arrange=arrange, pack=pack, **deviations)
            if not self.receive_second(tries, stubborn=True):
                return self.failure(Handshaken.STOPPED)
            self.send_last(last_change, arrange=last_arrange, pack=last_pack)
            for _ in range(tries):
                if self.is_accepted(presume=presume):
                    return Handshaken.COMPLETED, ""
                if self.fatal is not None:
                    break
                self.repeat(stubborn=True)
        except Odd as error:
            return Handshaken.UNSOUND, str(error)
        return self.failure(Handshaken.STOPPED)

    def failure(self, otherwise: Handshaken) -> tuple[Handshaken, str]:
        """Why a handshake came to no end."""
        if self.fatal is not None:
            return Handshaken.ALERTED, f"alert {self.fatal.description}"
        if not self.alive:
            return Handshaken.DEAD, ""
        return otherwise, ""

    def establish(self, **deviations: Any) -> None:
        """A good handshake. Raises Blocked where there is none."""
        seen, detail = self.handshake(**deviations)
        if seen is not Handshaken.COMPLETED:
            raise Blocked(f"no handshake: {seen.value} {detail}".strip())

    def recover(self) -> bool:
        """Whether a good handshake ends well, with the hello that the client repeats."""
        fresh = ServerPuppet(call=self.call, identity=self.identity, writer=self.writer)
        fresh.writer.protection = None
        fresh.wait(0.0)
        try:
            if not fresh.hear_hello(self.hello.sequence):
                return False
        except Odd:
            return False
        return fresh.handshake()[0] is Handshaken.COMPLETED

    @property
    def went_on(self) -> bool:
        """Whether the client has answered our flight with its own."""
        return self.said(HandshakeType.CLIENT_KEY_EXCHANGE) is not None

    def flight_refusal(self, *, by_use: bool = False) -> tuple[Refusal, str]:
        """For a flight that must be refused: what became of it. ``by_use``: a handshake that ends
        is not yet wrong, but its use is."""
        self.wait(self.patience, lambda: self.went_on or self.fatal)
        if by_use and self.went_on and self.fatal is None and not self._is_used_after_all():
            return Refusal.TORN_DOWN, ""
        return self.refusal(self.went_on, self.recover)

    def _is_used_after_all(self) -> bool:
        """End the handshake, and see."""
        try:
            if not self.receive_second():
                return False
        except Odd:
            return False
        self.send_last()
        return self.is_used(self._honest)

    def _honest(self) -> "ServerPuppet":
        fresh = ServerPuppet.reach(self.call.stage)
        fresh.establish()
        return fresh
