"""DTLS with the mistakes that others have made: whom it believes, what it repeats and obeys."""

import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from conformance.mutants.model import mutant, swapped
from stunroute import demux
from stunroute.errors import DecodeError
from stunroute.trace import Drop
from transceiver import ice
from transceiver.dtls import client12, connection, handshake12, identity, server12
from transceiver.dtls.connection import DtlsConnection
from transceiver.dtls.events import ApplicationData
from transceiver.dtls.extensions import Extension, encode_block, encode_use_srtp
from transceiver.dtls.flight import Flight, Sender
from transceiver.dtls.handshake12 import srtp_untrusted
from transceiver.dtls.identity import DIGESTS, Fingerprint
from transceiver.dtls.keys import X25519Exchange
from transceiver.dtls.messages import (
    HandshakeType,
    Message,
    decode_fragment_untrusted,
    decode_hello_verify_request_untrusted,
)
from transceiver.dtls.reassembly import Reassembly
from transceiver.dtls.record import ContentType, ReplayWindow
from transceiver.endpoint import Endpoint
from transceiver.keying import SrtpProfile
from transceiver.path import Path

# --- whom it believes ---------------------------------------------------------------------------


@mutant(
    "dtls/certificate-verify-unread",
    "A DTLS server takes any CertificateVerify as good.",
    killer="rfc5246/7.4.8/signature-of-another-key",
)
def certificate_verify_unread() -> Iterator[None]:
    with swapped(server12, "verifies", lambda *args: True):
        yield


@mutant(
    "dtls/signature-of-the-server-unread",
    "A DTLS client takes any signature over the server's share as good.",
    killer="rfc8422/5.4/exchange-signed-by-another-key",
)
def signature_of_the_server_unread() -> Iterator[None]:
    with swapped(client12, "verifies", lambda *args: True):
        yield


@mutant(
    "dtls/any-certificate",
    "The peer's certificate is not compared with the fingerprint in the SDP.",
    killer="rfc8842/5.1/another-certificate",
)
def any_certificate() -> Iterator[None]:
    with swapped(
        handshake12, "find_fingerprint", lambda certificate, accepted: Fingerprint.of(certificate)
    ):
        yield


class _Gullible:
    """In the place of ``hmac``."""

    digest = staticmethod(hmac.digest)

    @staticmethod
    def compare_digest(one: bytes, other: bytes) -> bool:
        return True


@mutant(
    "dtls/finished-unread",
    "A DTLS server takes any Finished as good.",
    killer="rfc5246/7.4.9/wrong-finished",
)
def finished_unread() -> Iterator[None]:
    with swapped(server12, "hmac", _Gullible):
        yield


@mutant(
    "dtls/finished-begins-right",
    "A DTLS server compares only as much of a Finished as there is.",
    killer="rfc5246/7.4.9/short-finished",
)
def finished_begins_right() -> Iterator[None]:
    class Short(_Gullible):
        @staticmethod
        def compare_digest(one: bytes, other: bytes) -> bool:
            return other.startswith(one)

    with swapped(server12, "hmac", Short):
        yield


@mutant(
    "dtls/share-of-zeros",
    "A share that makes the secret zero is used.",
    killer="rfc8422/5.11/share-of-zeros",
)
def share_of_zeros() -> Iterator[None]:
    whole = X25519Exchange.shared_untrusted

    def shared(self: X25519Exchange, public: bytes) -> bytes:
        try:
            return whole(self, public)
        except DecodeError:
            return bytes(32)

    with swapped(X25519Exchange, "shared_untrusted", shared):
        yield


# --- strangers ----------------------------------------------------------------------------------


@contextmanager
def _taken_from_anywhere() -> Iterator[None]:
    """Whoever is at no known address is taken for the client of every call."""
    whole = Endpoint._find

    def find(self: Endpoint, payload: bytes, path: Path) -> Any:
        found = whole(self, payload, path)
        if isinstance(found, Drop) and demux.classify(payload) is demux.Kind.DTLS:
            return list(self._slots.values())
        return found

    with (
        swapped(Endpoint, "_find", find),
        swapped(ice.IceLite, "is_validated", lambda self, path: True),
    ):
        yield


@mutant(
    "dtls/from-anywhere",
    "DTLS is taken from addresses that no check has validated.",
    killer="traps/dtls/hello-race-good",
)
def from_anywhere() -> Iterator[None]:
    with _taken_from_anywhere():
        yield


@mutant(
    "dtls/first-mistake-is-the-last",
    "A message that cannot be accepted ends the association, though anybody may have sent it.",
    killer="rfc5246/7.4/unknown-message-first",
)
def first_mistake_is_the_last() -> Iterator[None]:
    with swapped(DtlsConnection, "_refuse", lambda self, error: self._end()):
        yield


@mutant(
    "dtls/hello-race",
    "A stranger's hello that no server can accept ends the client's call.",
    killer="traps/dtls/hello-race-broken",
)
def hello_race() -> Iterator[None]:
    with (
        _taken_from_anywhere(),
        swapped(DtlsConnection, "_refuse", lambda self, error: self._end()),
    ):
        yield


# --- after the keys -----------------------------------------------------------------------------


def _reads_plain(content_type: ContentType, obey: Any) -> Any:
    """``_receive_plain`` that obeys one type of content."""
    whole = DtlsConnection._receive_plain

    def receive(self: DtlsConnection, received: Any, now: float) -> None:
        if received.content_type == content_type and self._receiver is not None:
            obey(self, received.fragment)
        else:
            whole(self, received, now)

    return receive


@mutant(
    "dtls/alert-in-the-clear",
    "Alerts that are not sealed are obeyed after there are keys.",
    killer="traps/dtls/alert-in-the-clear-after-keys-as-server",
)
def alert_in_the_clear() -> Iterator[None]:
    obeys = _reads_plain(
        ContentType.ALERT, lambda self, content: self._receive_alert(content[0], content[1])
    )
    with swapped(DtlsConnection, "_receive_plain", obeys):
        yield


@mutant(
    "dtls/data-in-the-clear",
    "Application data that is not sealed is delivered.",
    killer="traps/dtls/data-in-the-clear-after-keys",
)
def data_in_the_clear() -> Iterator[None]:
    takes = _reads_plain(
        ContentType.APPLICATION_DATA, lambda self, content: self._receive_data(content)
    )
    with swapped(DtlsConnection, "_receive_plain", takes):
        yield


@mutant(
    "dtls/window-before-authentication",
    "The replay window moves before a record has authenticated.",
    killer="traps/dtls/forged-number-far-ahead",
)
def window_before_authentication() -> Iterator[None]:
    whole = ReplayWindow.admits

    def admits(self: ReplayWindow, sequence: int) -> bool:
        good = whole(self, sequence)
        if good:
            self.note(sequence)
        return good

    with swapped(ReplayWindow, "admits", admits):
        yield


@mutant(
    "dtls/window-of-one",
    "A record that another has overtaken is taken for a replay.",
    killer="rfc6347/4.1.2.6/reordered-records",
)
def window_of_one() -> Iterator[None]:
    with swapped(ReplayWindow, "admits", lambda self, sequence: sequence > self._highest):
        yield


@mutant(
    "dtls/renegotiates",
    "A ClientHello under the keys is answered with a ServerHello.",
    killer="rfc5246/7.4.1.2/renegotiation",
)
def renegotiates() -> Iterator[None]:
    whole = DtlsConnection._renegotiates

    def answer(self: DtlsConnection, fragment: Any) -> bool:
        if whole(self, fragment) and fragment.type == HandshakeType.CLIENT_HELLO:
            hello = Message.of(HandshakeType.SERVER_HELLO, fragment.sequence, bytes(40))
            self._seal(ContentType.HANDSHAKE, hello.raw)
        return whole(self, fragment)

    with swapped(DtlsConnection, "_renegotiates", answer):
        yield


@mutant(
    "dtls/nonce-again",
    "What is sealed again goes out under the record number, and so the nonce, of the first time.",
    killer="traps/dtls/nonces",
)
def nonce_again() -> Iterator[None]:
    whole = Sender.sealed

    def sealed(self: Sender, content_type: int, content: bytes) -> bytes:
        if content_type == ContentType.HANDSHAKE:
            self._sealed = 1 << 48
        return whole(self, content_type, content)

    with swapped(Sender, "sealed", sealed):
        yield


@mutant(
    "dtls/data-before-finished",
    "Data under the new keys is delivered before the Finished has come.",
    killer="rfc6347/4.1/data-without-finished",
)
def data_before_finished() -> Iterator[None]:
    def receive(self: DtlsConnection, content: bytes) -> None:
        if content:
            self._complete(self._machine.state.completed)  # type: ignore[attr-defined]
            self._events.append(ApplicationData(content))

    whole = DtlsConnection._receive_data

    def early(self: DtlsConnection, content: bytes) -> None:
        (whole if self.stage is connection.Stage.ESTABLISHED else receive)(self, content)

    with swapped(DtlsConnection, "_receive_data", early):
        yield


# --- what it repeats ----------------------------------------------------------------------------


@mutant(
    "dtls/last-flight-once",
    "The last flight is said once, whatever the client repeats.",
    killer="rfc6347/4.2.4/last-flight-lost",
)
def last_flight_once() -> Iterator[None]:
    with swapped(server12.Server12, "repeated", lambda self, type_: False):
        yield


@mutant(
    "dtls/last-flight-twice",
    "The last flight is said a second time and no third.",
    killer="rfc6347/4.2.4/last-flight-lost-five-times",
)
def last_flight_twice() -> Iterator[None]:
    whole = DtlsConnection._repeat
    repeated: set[int] = set()

    def repeat(self: DtlsConnection, now: float) -> None:
        established = self.stage is connection.Stage.ESTABLISHED
        if not established or id(self) not in repeated:
            whole(self, now)
        if established:
            repeated.add(id(self))

    with swapped(DtlsConnection, "_repeat", repeat):
        yield


@mutant(
    "dtls/no-timer",
    "A flight that is not answered is not said again.",
    killer="rfc6347/4.2.4/hello-without-answer",
)
def no_timer() -> Iterator[None]:
    def sent(self: Flight, now: float) -> None:
        self.sent_at = now

    with swapped(Flight, "sent", sent):
        yield


@mutant(
    "dtls/numbers-again",
    "What is said again goes out under the record numbers of the first time.",
    killer="rfc6347/4.2.4/numbers-of-a-repetition",
)
def numbers_again() -> Iterator[None]:
    whole = DtlsConnection._transmit

    def transmit(self: DtlsConnection, flight: Flight, now: float) -> None:
        if flight is self._flight and self._receiver is None:
            self._sender._plain = 0
        whole(self, flight, now)

    with swapped(DtlsConnection, "_transmit", transmit):
        yield


# --- fragments ----------------------------------------------------------------------------------


@mutant(
    "dtls/overlap-refused",
    "A fragment that brings bytes which have come already is let go as a whole.",
    killer="rfc6347/4.2.3/overlapping-fragments",
)
def overlap_refused() -> Iterator[None]:
    whole = Reassembly.add

    def add(self: Reassembly, fragment: Any) -> Any:
        partial = self._partials.get((fragment.sequence, fragment.type, fragment.length))
        end = fragment.offset + len(fragment.data)
        if partial is not None and any(partial.mask[fragment.offset : end]):
            return []
        return whole(self, fragment)

    with swapped(Reassembly, "add", add):
        yield


@mutant(
    "dtls/first-length-counts",
    "The length that the first fragment of a message claims is believed, and all others let go.",
    killer="traps/dtls/contradicting-message-length-shorter",
)
def first_length_counts() -> Iterator[None]:
    whole = Reassembly.add

    def add(self: Reassembly, fragment: Any) -> Any:
        for sequence, type_, length in self._partials:
            if (sequence, type_) == (fragment.sequence, fragment.type):
                if length != fragment.length:
                    return []
                break
        return whole(self, fragment)

    with swapped(Reassembly, "add", add):
        yield


@mutant(
    "dtls/fragments-in-order-only",
    "A fragment that has overtaken those before it is lost.",
    killer="rfc6347/4.2.3/fragments-backwards",
)
def fragments_in_order_only() -> Iterator[None]:
    whole = Reassembly.add

    def add(self: Reassembly, fragment: Any) -> Any:
        partial = self._partials.get((fragment.sequence, fragment.type, fragment.length))
        if fragment.offset > (0 if partial is None else partial.mask.count(0xFF)):
            return []
        return whole(self, fragment)

    with swapped(Reassembly, "add", add):
        yield


@mutant(
    "dtls/one-message-a-record",
    "Only the first message in a record is read.",
    killer="rfc6347/4.2.3/messages-in-one-record",
)
def one_message_a_record() -> Iterator[None]:
    def first(data: bytes, offset: int) -> Any:
        return decode_fragment_untrusted(data, offset)[0], len(data)

    with swapped(connection, "decode_fragment_untrusted", first):
        yield


# --- what is negotiated -------------------------------------------------------------------------


@mutant(
    "dtls/tls-version-unknown",
    "Version 1.2 is not recognised in the form in which TLS writes it.",
    killer="traps/dtls/version-in-the-form-of-tls",
)
def tls_version_unknown() -> Iterator[None]:
    with swapped(server12, "_TLS_1_2", 0):
        yield


@mutant(
    "dtls/profile-not-offered",
    "A DTLS server picks an SRTP profile whether the client offers it or not.",
    killer="rfc5764/4.1.1/unknown-profiles-alone",
)
def profile_not_offered() -> Iterator[None]:
    with swapped(
        server12,
        "srtp_untrusted",
        lambda extensions, *, required: (tuple(each.value for each in SrtpProfile), b""),
    ):
        yield


@mutant(
    "dtls/mki-of-its-own",
    "A DTLS server answers an MKI with another one.",
    killer="rfc5764/4.1.3/mki-of-the-client",
)
def mki_of_its_own() -> Iterator[None]:
    whole = server12._hello_block

    def block(hello: Any, profile: SrtpProfile | None) -> bytes:
        used = srtp_untrusted(hello.extensions, required=False)
        if profile is None or used is None or not used[1]:
            return whole(hello, profile)
        body = encode_use_srtp((profile,))[:-1] + b"\x01\x00"
        return encode_block(((Extension.EXTENDED_MASTER_SECRET, b""), (Extension.USE_SRTP, body)))

    with swapped(server12, "_hello_block", block):
        yield


@mutant(
    "dtls/mki-taken",
    "A DTLS client goes along with an MKI that it has not offered.",
    killer="rfc5764/4.1.3/mki-of-the-server",
)
def mki_taken() -> Iterator[None]:
    def without_mki(extensions: Any, *, required: bool) -> Any:
        used = srtp_untrusted(extensions, required=required)
        return None if used is None else (used[0], b"")

    with swapped(client12, "srtp_untrusted", without_mki):
        yield


@mutant(
    "dtls/cookie-cut",
    "A DTLS client gives back no more than 32 bytes of a cookie.",
    killer="rfc6347/4.2.1/longest-cookie",
)
def cookie_cut() -> Iterator[None]:
    whole = decode_hello_verify_request_untrusted
    with swapped(client12, "decode_hello_verify_request_untrusted", lambda body: whole(body)[:32]):
        yield


@mutant(
    "dtls/cookie-from-scratch",
    "A DTLS client that is asked for a cookie draws another random.",
    killer="rfc6347/4.2.1/hello-with-cookie",
)
def cookie_from_scratch() -> Iterator[None]:
    whole = client12.Client12._hello

    def hello(self: Any, random: bytes, cookie: bytes, sequence: int, asked: int) -> Any:
        fresh = self._party.entropy(32) if cookie else random
        return whole(self, fresh, cookie, sequence, asked)

    with swapped(client12.Client12, "_hello", hello):
        yield


# --- the certificate's name ---------------------------------------------------------------------


@mutant(
    "dtls/hash-in-small-letters-only",
    "A fingerprint whose hash is written in capitals is one of an unknown hash.",
    killer="traps/dtls/fingerprint-in-capitals",
)
def hash_in_small_letters_only() -> Iterator[None]:
    whole = Fingerprint.parse_untrusted.__func__  # type: ignore[attr-defined]

    def parse(cls: type[Fingerprint], text: str) -> Fingerprint:
        read: Fingerprint = whole(cls, text)
        return attrs.evolve(read, algorithm=text.strip().partition(" ")[0])

    with swapped(Fingerprint, "parse_untrusted", classmethod(parse)):
        yield


@mutant(
    "dtls/first-fingerprint-only",
    "Of several fingerprints in an offer only the first is looked at.",
    killer="rfc8122/5/several-certificates",
)
def first_fingerprint_only() -> Iterator[None]:
    with swapped(
        handshake12,
        "find_fingerprint",
        lambda certificate, accepted: identity.find_fingerprint(certificate, accepted[:1]),
    ):
        yield


@mutant(
    "dtls/sha-256-only",
    "No hash but SHA-256 is known for fingerprints.",
    killer="rfc8122/5/sha-384",
)
def sha_256_only() -> Iterator[None]:
    with swapped(identity, "DIGESTS", {"sha-256": DIGESTS["sha-256"]}):
        yield
