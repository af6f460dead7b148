"""The puppet as DTLS client: the server that is asked is the DTLS server as well.

``handshake`` is the whole of it, with any deviation; ``greet``, ``read_flight``, ``send_second``
and ``finish`` are its steps for cases that do something in between.
"""

from collections.abc import Callable
from typing import Any

from attrs import define, field

from conformance.case import Blocked, Unsupported
from stunroute.errors import DecodeError
from transceiver.dtls import record
from transceiver.dtls.extensions import Extension, decode_use_srtp_untrusted
from transceiver.dtls.keys import MASTER_SECRET_LENGTH, Prf, Secrets, new_exchange
from transceiver.dtls.messages import (
    HandshakeType,
    Message,
    ServerHello,
    ServerKeyExchange,
    decode_certificate_untrusted,
    decode_hello_verify_request_untrusted,
    decode_server_hello_untrusted,
    decode_server_key_exchange_untrusted,
    encode_client_key_exchange,
    encode_signed,
)
from transceiver.dtls.parameters import SUITE_BY_CODE, CipherSuite, Group
from transceiver.dtls.signatures import ECDSA_SHA256, public_key_untrusted, verifies
from transceiver.keying import SrtpProfile

from .call import Call
from .dtls import TRIES, Change, Handshaken, Odd, Puppet, Refusal, Signer
from .dtls_hello import DTLS_1_3, Hello, supported_versions
from .dtls_wire import CHANGE_CIPHER_SPEC, Arranging, Packing, Part, as_it_is, together

PROTOCOL_VERSION = 70
SELECTED_1_3 = bytes((0, Extension.SUPPORTED_VERSIONS, 0, 2)) + DTLS_1_3.to_bytes(2)
"""What stands in a ServerHello of DTLS 1.3."""
_FLIGHT = (
    HandshakeType.SERVER_HELLO,
    HandshakeType.CERTIFICATE,
    HandshakeType.SERVER_KEY_EXCHANGE,
    HandshakeType.CERTIFICATE_REQUEST,
    HandshakeType.SERVER_HELLO_DONE,
)


@define(slots=True, kw_only=True)
class ClientPuppet(Puppet):
    """``offer`` is the hello that the server is held to, ``extended`` whether the master secret is
    bound to the transcript (RFC 7627)."""

    is_client = True

    offer: Hello = field(default=None)
    hello: Message = field(default=None, init=False)
    server_hello: ServerHello = field(default=None, init=False)
    exchange: ServerKeyExchange = field(default=None, init=False)
    suite: CipherSuite = field(default=None, init=False)
    extended: bool = field(default=True, init=False)
    verifications: int = field(default=0, init=False)
    _before_second: tuple[int, bytes] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        Puppet.__attrs_post_init__(self)
        if self.offer is None:
            self.offer = Hello.honest(self.call.stage.entropy, self.call.client.profiles)

    # --- the hello ------------------------------------------------------------------------------

    def make_hello(self, body: bytes | None = None) -> Message:
        """The hello as it is to be sent; ``body`` instead of ``offer``'s."""
        encoded = self.offer.encode() if body is None else body
        return Message.of(HandshakeType.CLIENT_HELLO, self.sequence, encoded)

    def send_hello(
        self,
        body: bytes | None = None,
        *,
        arrange: Arranging = as_it_is,
        pack: Packing = together,
        note: str = "ClientHello",
    ) -> list[bytes]:
        """Once, without waiting."""
        self.hello = self.make_hello(body)
        return self.send_flight([Part.of(self.hello)], arrange=arrange, pack=pack, note=note)

    def greet(
        self,
        body: bytes | None = None,
        *,
        arrange: Arranging = as_it_is,
        pack: Packing = together,
        tries: int = TRIES,
    ) -> bool:
        """Send the hello until the server's flight is there, with a cookie where the server wants
        one; whether it came. The first time as the case wants it, then again the same way."""
        for _ in range(tries):
            self.send_hello(body, arrange=arrange, pack=pack)
            if self.wait(self.patience, self._heard_enough):
                break
        while (cookie := self._cookie()) is not None and self.verifications < TRIES:
            self.verifications += 1
            self.messages.clear()
            self.sequence += 1
            self.offer = self.offer.but(cookie=cookie)
            for _ in range(tries):
                self.send_hello(arrange=arrange, pack=pack, note="ClientHello with the cookie")
                if self.wait(self.patience, self._heard_enough):
                    break
        return self.has_flight

    def _heard_enough(self) -> bool:
        return self.has_flight or self.fatal is not None or self._cookie() is not None

    def _cookie(self) -> bytes | None:
        request = self.said(HandshakeType.HELLO_VERIFY_REQUEST)
        if request is None or self.said(HandshakeType.SERVER_HELLO) is not None:
            return None
        try:
            return decode_hello_verify_request_untrusted(request.body)
        except DecodeError:
            return None

    @property
    def has_flight(self) -> bool:
        """Whether the server's flight is there without a gap."""
        done = self.said(HandshakeType.SERVER_HELLO_DONE)
        first = self.said(HandshakeType.SERVER_HELLO)
        if done is None or first is None:
            return False
        return all(each in self.messages for each in range(first.sequence, done.sequence))

    # --- the server's flight --------------------------------------------------------------------

    def read_flight(self) -> None:
        """Hold the server's flight to what it must be. Raises Odd, and Unsupported where the server
        prefers DTLS 1.3."""
        said = {type_: self.said(type_) for type_ in _FLIGHT}
        if said[HandshakeType.CERTIFICATE_REQUEST] is None:
            raise Odd("the server does not ask for our certificate")
        flight = [each for each in said.values() if each is not None]
        if len(flight) != len(_FLIGHT):
            raise Odd(f"a flight of {[each.type for each in flight]}")
        if sorted(flight, key=lambda each: each.sequence) != flight:
            raise Odd("a flight out of order")
        try:
            self._read_hello(flight[0])
            self._read_proof(flight[1], flight[2])
        except DecodeError as error:
            raise Odd(str(error)) from error
        self.transcript = self.hello.raw + b"".join(each.raw for each in flight)
        self.sequence = self.hello.sequence + 1
        self._before_second = (self.sequence, self.transcript)

    def _read_hello(self, message: Message) -> None:
        hello = self.server_hello = decode_server_hello_untrusted(message.body)
        if Extension.SUPPORTED_VERSIONS in hello.extensions:
            raise Unsupported("the server prefers DTLS 1.3")
        if hello.version != record.DTLS_1_2:
            raise Odd(f"version {hello.version:#06x}")
        suite = SUITE_BY_CODE.get(hello.cipher_suite)
        if suite is None or suite.code not in self.offer.suites:
            raise Odd(f"cipher suite {hello.cipher_suite:#06x}, which was not offered")
        self.suite = suite
        if hello.compression:
            raise Odd(f"compression method {hello.compression}")
        for code in hello.extensions:
            if self.offer.extension(code) is None and code != Extension.RENEGOTIATION_INFO:
                raise Odd(f"extension {code}, which was not offered")
        self.extended = Extension.EXTENDED_MASTER_SECRET in hello.extensions
        used = hello.extensions.get(Extension.USE_SRTP)
        if used is not None:
            offered = decode_use_srtp_untrusted(self.offer.extension(Extension.USE_SRTP) or b"")
            chosen = decode_use_srtp_untrusted(used)
            if len(chosen.profiles) != 1 or chosen.profiles[0] not in offered.profiles:
                raise Odd(f"SRTP profiles {chosen.profiles}")
            if chosen.mki not in (b"", offered.mki):
                raise Odd("an MKI that is not ours")
            known = [each for each in SrtpProfile if each.value == chosen.profiles[0]]
            self.profile = known[0] if known else None

    def _read_proof(self, certificate: Message, exchange: Message) -> None:
        der = decode_certificate_untrusted(certificate.body)
        told = self.call.told.fingerprints
        if not any(type(each).of(der, each.algorithm) == each for each in told if each.supported):
            raise Odd("a certificate that the answer does not name")
        read = self.exchange = decode_server_key_exchange_untrusted(exchange.body)
        signed = self.offer.random + self.server_hello.random + read.parameters
        if not verifies(public_key_untrusted(der), read.scheme, read.signature, signed):
            raise Odd("a key exchange that is not signed by the certificate's key")
        if read.group not in tuple(Group):
            raise Odd(f"group {read.group}")

    # --- our flight -----------------------------------------------------------------------------

    def second(
        self,
        change: Change | None = None,
        *,
        signer: Signer | None = None,
        premaster: bytes | None = None,
        public: bytes | None = None,
        scheme: int = ECDSA_SHA256,
        sign: Callable[[bytes], bytes] | None = None,
    ) -> list[Part]:
        """The flight that ends with Finished. ``signer`` shows its certificate and signs in our
        place, ``sign`` signs only; ``public`` and ``premaster`` are another half of the exchange
        than an honest one, and what would come of it."""
        change = change or {}
        signer = signer or self.identity
        stage = self.call.stage
        ours = new_exchange(Group(self.exchange.group), stage.entropy)
        if premaster is None:
            premaster = ours.shared_untrusted(self.exchange.public)
        certificate = self.say(HandshakeType.CERTIFICATE, signer.certificate_list, change)
        key_exchange = self.say(
            HandshakeType.CLIENT_KEY_EXCHANGE,
            encode_client_key_exchange(ours.public if public is None else public),
            change,
        )
        secrets = self._derive(premaster)
        signature = (sign or signer.sign)(self.transcript)
        verify = self.say(
            HandshakeType.CERTIFICATE_VERIFY, encode_signed(scheme, signature), change
        )
        finished = self.say(
            HandshakeType.FINISHED, secrets.client_finished(self.transcript), change
        )
        self.take_keys(secrets)
        plain = [Part.of(each) for each in (certificate, key_exchange, verify) if each is not None]
        sealed = [] if finished is None else [Part.of(finished, 1)]
        return [*plain, CHANGE_CIPHER_SPEC, *sealed]

    def _derive(self, premaster: bytes) -> Secrets:
        randoms = self.offer.random, self.server_hello.random
        if self.extended:
            return Secrets.extended(self.suite, premaster, self.transcript, *randoms)
        master = Prf(self.suite.hash, premaster).expand(
            b"master secret", b"".join(randoms), MASTER_SECRET_LENGTH
        )
        return Secrets(self.suite, master, *randoms)

    def send_second(
        self,
        change: Change | None = None,
        *,
        arrange: Arranging = as_it_is,
        pack: Packing = together,
        **deviations: Any,
    ) -> None:
        """``second``, sent."""
        parts = self.second(change, **deviations)
        self.send_flight(parts, arrange=arrange, pack=pack, note="Certificate to Finished")

    def finish(self, tries: int = TRIES, *, stubborn: bool = False) -> bool:
        """Wait for the server's Finished, saying our flight again while nothing comes, as it should
        be or, if ``stubborn``, as the case had it; whether Finished came and is right. Raises Odd
        where it is wrong."""
        for attempt in range(tries):
            if attempt:
                self.repeat(stubborn=stubborn)
            if self.wait(self.patience, lambda: self.is_finished or self.fatal is not None):
                break
        if not self.is_finished:
            return False
        finished = self.said_sealed(HandshakeType.FINISHED)
        assert finished is not None
        assert self.secrets is not None
        if finished.body != self.secrets.server_finished(self.transcript):
            raise Odd("a Finished over another handshake")
        return True

    @property
    def is_finished(self) -> bool:
        return self.said_sealed(HandshakeType.FINISHED) is not None

    # --- all of it ------------------------------------------------------------------------------

    def handshake(
        self,
        hello: bytes | None = None,
        change: Change | None = None,
        *,
        hello_pack: Packing = together,
        hello_arrange: Arranging = as_it_is,
        pack: Packing = together,
        arrange: Arranging = as_it_is,
        tries: int = TRIES,
        stubborn: bool = True,
        **deviations: Any,
    ) -> tuple[Handshaken, str]:
        """From the hello to Finished, and what became of it. ``stubborn``: the second flight is
        repeated as it was sent first, and not as it should be."""
        try:
            if not self.greet(hello, arrange=hello_arrange, pack=hello_pack, tries=tries):
                return self.failure(Handshaken.UNANSWERED)
            self.read_flight()
            self.send_second(change, arrange=arrange, pack=pack, **deviations)
            if not self.finish(tries, stubborn=stubborn):
                return self.failure(Handshaken.STOPPED)
        except Odd as error:
            self._need_old_version()
            return Handshaken.UNSOUND, str(error)
        return Handshaken.COMPLETED, ""

    def failure(self, otherwise: Handshaken) -> tuple[Handshaken, str]:
        """Why a handshake came to no end."""
        self._need_old_version()
        if self.fatal is not None:
            return Handshaken.ALERTED, f"alert {self.fatal.description}"
        if not self.alive:
            return Handshaken.DEAD, ""
        return otherwise, ""

    def _need_old_version(self) -> None:
        """Raises Unsupported where a hello of ours has offered DTLS 1.3 and the server speaks it:
        it has then taken the offer, and what we know of that version ends with the offer."""
        versions = self.offer.extension(Extension.SUPPORTED_VERSIONS) or b""
        if DTLS_1_3.to_bytes(2) not in versions or (self.alerts and self._refuses_newer()):
            return
        if self.call.stage.door is not None and self._speaks_newer():
            raise Unsupported("the server speaks DTLS 1.3, and takes it where it is offered")

    def _refuses_newer(self) -> bool:
        return any(alert.description == PROTOCOL_VERSION for alert in self.alerts)

    def _speaks_newer(self) -> bool:
        """Whether a hello that offers DTLS 1.3 alone is refused for anything but its version."""
        other = ClientPuppet.reach(self.call.stage)
        other.offer = other.offer.also(Extension.SUPPORTED_VERSIONS, supported_versions(DTLS_1_3))
        other.send_hello(note="ClientHello for DTLS 1.3 alone")
        other.wait(self.patience, lambda: other.messages or other.alerts)
        hello = other.said(HandshakeType.SERVER_HELLO)
        if hello is not None:
            return SELECTED_1_3 in hello.raw
        return other.fatal is not None and not other._refuses_newer()

    def establish(self, **deviations: Any) -> None:
        """A good handshake. Raises Blocked where there is none."""
        seen, detail = self.handshake(**deviations)
        if seen is not Handshaken.COMPLETED:
            raise Blocked(f"no handshake: {seen.value} {detail}".strip())

    def need_flight(self) -> None:
        """The server's flight to a good hello. Raises Blocked where there is none."""
        try:
            if not self.greet():
                raise Blocked("a good hello is not answered")
            self.read_flight()
        except Odd as error:
            raise Blocked(f"the answer to a good hello: {error}") from error

    def again(self) -> "ClientPuppet":
        """A client at the same address that begins anew."""
        fresh = ClientPuppet(call=self.call, identity=self.identity, writer=self.writer)
        fresh.socket = self.socket
        fresh.writer.protection = None
        return fresh

    def recover(self) -> bool:
        """Whether a good handshake ends well: the one that is under way if it has come to its
        second flight, else another."""
        if self._before_second is not None and not self.is_finished:
            self.sequence, self.transcript = self._before_second
            try:
                self.send_second()
                if self.finish(2):
                    return True
            except Odd:
                pass
        return self.again().handshake()[0] is Handshaken.COMPLETED

    def flight_refusal(self, *, by_use: bool = False) -> tuple[Refusal, str]:
        """For a flight that must be refused: what became of it. ``by_use``: a handshake that ends
        is not yet wrong, but its use is."""
        if by_use and self.is_finished and not self.is_used(self._honest):
            return Refusal.TORN_DOWN, ""
        return self.refusal(self.is_finished, self.recover)

    def _honest(self) -> "ClientPuppet":
        fresh = ClientPuppet.reach(self.call.stage)
        fresh.establish()
        return fresh


def stranger(call: Call) -> ClientPuppet:
    """Somebody else, at an address that no check has validated."""
    return ClientPuppet(call=call, identity=call.client.identity, socket=call.stage.open_socket())
