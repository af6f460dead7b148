"""What client and server of the DTLS 1.2 handshake have in common.

A handshake is a state machine whose states own what they know: a state that waits for the peer's
Finished has keys, one that waits for a hello has none and cannot be asked. States never change;
going on means a new one. That makes the rule below cheap.

**A flight is believed as a whole or not at all.** Until the peer has signed, every message may be
a stranger's. One that cannot be right is refused, and with it goes everything since our own last
flight: the machine returns to the state it sent that flight in and waits for the peer to repeat
its own. A message that was forged well enough to be accepted is found out when the signature over
it fails, and is forgotten in the same way. So nothing unauthenticated ends a handshake. What would
never have succeeded (a peer with another certificate, or with no suite in common) ends when the
session's time to establish has run out, and ``DtlsConnection.refusal`` tells why.

Two messages of a server's flight are signed by nobody until the Finished: CertificateRequest and
ServerHelloDone. Who forges one of them just then, between the signature and the honest one, makes
the transcripts differ, and the handshake ends with the session's time. A flight in one datagram
leaves no such moment.

Messages that come under the connection's keys are another matter: only the peer whose certificate
and signature were verified can seal them. If one of those is wrong, the peer is, and the connection
fails at once.
"""

from typing import Final, Protocol

from attrs import field, frozen

from stunroute.errors import DecodeError
from stunroute.instant import Entropy
from stunroute.trace import Drop
from transceiver.config import DtlsLimits
from transceiver.keying import SrtpProfile

from .extensions import Extension, Extensions, decode_list_untrusted, decode_use_srtp_untrusted
from .flight import Part
from .identity import Fingerprint, Identity, find_fingerprint
from .keys import Protection, Secrets
from .messages import Message, decode_certificate_untrusted
from .parameters import CipherSuite
from .signatures import PublicKey, public_key_untrusted

VERSION = "DTLS 1.2"


class Refused(DecodeError):
    """A message that can be read and is not accepted. ``drop`` says on what ground."""

    def __init__(self, drop: Drop, problem: str) -> None:
        super().__init__(problem)
        self.drop = drop


@frozen(slots=True)
class Party:
    """What we bring to a handshake. ``profiles`` are in our order of preference; ``srtp_required``
    says whether a peer that does not use SRTP is turned down."""

    identity: Identity
    fingerprints: tuple[Fingerprint, ...]
    entropy: Entropy
    profiles: tuple[SrtpProfile, ...]
    limits: DtlsLimits
    srtp_required: bool = True


@frozen(slots=True)
class Negotiated:
    """What the two hellos agreed on."""

    suite: CipherSuite
    profile: SrtpProfile | None
    client_random: bytes
    server_random: bytes


@frozen(slots=True)
class Peer:
    """A peer whose certificate the SDP knows. That it holds the key is shown by its signature."""

    key: PublicKey
    fingerprint: Fingerprint


@frozen(slots=True)
class Completed:
    """Both Finished messages have been exchanged and verified."""

    secrets: Secrets
    profile: SrtpProfile | None
    peer: Peer


@frozen(slots=True)
class Progress:
    """What follows from a message that was accepted. ``reading`` and ``writing`` come with the
    flight that is the first to be sealed. ``early`` and ``timed`` say how the flight is repeated.
    ``repeat`` asks for the last flight again; ``stay`` leaves what is expected as it was."""

    flight: tuple[Part, ...] = ()
    early: bool = False
    timed: bool = True
    reading: Protection | None = field(default=None, repr=False)
    writing: Protection | None = field(default=None, repr=False)
    completed: Completed | None = None
    repeat: bool = False
    stay: bool = False


CONSUMED: Final = Progress()
"""The message was the right one, and there is more to come."""


class Machine(Protocol):
    """One side of one version's handshake, as the connection drives it."""

    def start(self) -> Progress:
        """Begin. The side that waits for a hello has nothing to do."""
        ...

    def receive_untrusted(self, message: Message) -> Progress:
        """The next message. Raises ``DecodeError`` where it is refused, and is unchanged then."""
        ...

    def roll_back(self) -> None:
        """Return to where our last flight was sent."""
        ...

    def hello_sequences(self) -> range:
        """The message_seq that a hello may have in this state, besides the one expected."""
        ...

    def repeated(self, type_: int) -> bool:
        """Whether the peer, repeating its last flight down to a message of that type, shows that
        it has not got ours."""
        ...


def peer_untrusted(party: Party, body: bytes) -> Peer:
    """The peer of a Certificate message. Its certificate is compared before it is parsed."""
    certificate = decode_certificate_untrusted(body)
    if not certificate:
        raise Refused(Drop.DTLS_FINGERPRINT, "the peer has no certificate")
    fingerprint = find_fingerprint(certificate, party.fingerprints)
    if fingerprint is None:
        raise Refused(Drop.DTLS_FINGERPRINT, "the certificate is not the one that the SDP names")
    return Peer(public_key_untrusted(certificate), fingerprint)


def require_extended_master_secret_untrusted(extensions: Extensions) -> None:
    """Without it two handshakes can be made to share a master secret (RFC 7627 section 1)."""
    body = extensions.get(Extension.EXTENDED_MASTER_SECRET)
    if body is None:
        raise Refused(Drop.DTLS_NOT_NEGOTIABLE, "the peer has no extended master secret")
    if body:
        raise DecodeError("extended_master_secret with a content")


def srtp_untrusted(
    extensions: Extensions, *, required: bool
) -> tuple[tuple[int, ...], bytes] | None:
    """The peer's profile numbers and MKI, None where it does without SRTP and may."""
    body = extensions.get(Extension.USE_SRTP)
    if body is None and not required:
        return None
    if body is None:
        raise Refused(Drop.DTLS_NOT_NEGOTIABLE, "the peer does not use SRTP")
    offered = decode_use_srtp_untrusted(body)
    return offered.profiles, offered.mki


def list_untrusted(extensions: Extensions, extension: Extension, width: int = 2) -> tuple[int, ...]:
    """The codes in an extension that is one list, none where it is missing."""
    body = extensions.get(extension)
    return () if body is None else decode_list_untrusted(body, width)
