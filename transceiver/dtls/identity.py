"""Who we are and whom we expect.

In WebRTC nobody vouches for a certificate but the SDP: it carries a digest, and the handshake shows
that the peer holds the key of the certificate with that digest (RFC 8122, RFC 8827 section 6.5). So
an identity is a self-signed certificate that says nothing, and the peer's is compared by digest
before anything looks inside it. A parser that loops on a crafted certificate is out of a stranger's
reach that way.

Serial number and key come from the entropy argument and the signature is deterministic, so the same
entropy makes the same certificate.
"""

import hmac
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256, sha384, sha512
from typing import Final, Self

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from stunroute.errors import DecodeError
from stunroute.instant import Entropy

from .wire import vector

DIGESTS: Final = {"sha-512": sha512, "sha-384": sha384, "sha-256": sha256}
"""Hash functions of RFC 8122 that are honoured, strongest first."""

_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_SIGNATURE: Final = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
_COMMON_NAME: Final = "stunroute"
_HEX: Final = frozenset("0123456789ABCDEFabcdef")


@frozen(slots=True)
class Fingerprint:
    """A certificate's digest as SDP writes it. ``algorithm`` is lower case."""

    algorithm: str
    digest: bytes

    @classmethod
    def parse_untrusted(cls, text: str) -> Self:
        """``sha-256 AA:BB:...`` as in RFC 8122 section 5; letters of either case, as clients
        send both. Algorithms that are not honoured parse too: ``supported`` tells. Raises
        ``DecodeError``."""
        name, _, digits = text.strip().partition(" ")
        pairs = digits.strip().split(":")
        if not name or not all(len(pair) == 2 and _HEX.issuperset(pair) for pair in pairs):
            raise DecodeError("a fingerprint that is not a name and pairs of digits")
        algorithm, digest = name.lower(), bytes.fromhex("".join(pairs))
        known = DIGESTS.get(algorithm)
        if known is not None and len(digest) != known().digest_size:
            raise DecodeError("a fingerprint of another length than its hash function's")
        return cls(algorithm, digest)

    @classmethod
    def of(cls, certificate: bytes, algorithm: str = "sha-256") -> Self:
        """The fingerprint of a DER certificate under an algorithm of ``DIGESTS``."""
        return cls(algorithm, DIGESTS[algorithm](certificate).digest())

    @property
    def supported(self) -> bool:
        return self.algorithm in DIGESTS

    def __str__(self) -> str:
        return f"{self.algorithm} {self.digest.hex(':').upper()}"


def find_fingerprint(certificate: bytes, accepted: Sequence[Fingerprint]) -> Fingerprint | None:
    """The one of ``accepted`` that the certificate bears, None if it bears none.

    Where digests of several hash functions are given, those of the strongest decide and the others
    are not looked at (RFC 8122 section 5): a second, weaker line cannot let another certificate in.
    Compares in constant time; reads the certificate as bytes only."""
    for algorithm, function in DIGESTS.items():
        digest = None
        for wanted in accepted:
            if wanted.algorithm == algorithm:
                digest = digest or function(certificate).digest()
                if hmac.compare_digest(wanted.digest, digest):
                    return wanted
        if digest is not None:
            break
    return None


def p256_key(entropy: Entropy) -> ec.EllipticCurvePrivateKey:
    """A P-256 key from 48 bytes of entropy. The surplus of 128 bits makes the bias of the
    reduction negligible and spares a loop that would consume an unforeseeable amount."""
    scalar = int.from_bytes(entropy(48)) % (_P256_ORDER - 1) + 1
    return ec.derive_private_key(scalar, ec.SECP256R1())


@frozen(slots=True)
class Identity:
    """An ECDSA P-256 key and the certificate over it, ready to be presented.

    ``certificate_list`` is the body of the handshake's Certificate message, made once because
    every handshake sends it."""

    certificate_der: bytes
    private_key: ec.EllipticCurvePrivateKey = field(repr=False)
    fingerprint: Fingerprint = field(init=False)
    certificate_list: bytes = field(init=False, repr=False)

    @fingerprint.default
    def _fingerprint(self) -> Fingerprint:
        return Fingerprint.of(self.certificate_der)

    @certificate_list.default
    def _certificate_list(self) -> bytes:
        return vector(vector(self.certificate_der, 3), 3)

    @classmethod
    def generate(
        cls,
        entropy: Entropy,
        *,
        not_before: datetime,
        not_after: datetime | None = None,
    ) -> Self:
        """A new key and its self-signed certificate. ``not_before`` is aware or UTC;
        ``not_after`` is 30 days later where it is not given. Peers in WebRTC look at neither."""
        if not_after is None:
            not_after = not_before + timedelta(days=30)
        key = p256_key(entropy)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, _COMMON_NAME)])
        # A serial number is positive and at most 20 octets (RFC 5280 section 4.1.2.2).
        serial = int.from_bytes(entropy(16)) >> 1 | 1
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(serial)
            .not_valid_before(_utc(not_before))
            .not_valid_after(_utc(not_after))
            .sign(key, hashes.SHA256(), ecdsa_deterministic=True)
        )
        return cls(certificate.public_bytes(Encoding.DER), key)

    def sign(self, data: bytes) -> bytes:
        """A DER signature with ECDSA and SHA-256 by RFC 6979: no randomness, always the same."""
        return self.private_key.sign(data, _SIGNATURE)

    def to_pem(self) -> str:
        """Key and certificate, both in PEM. The key is not encrypted."""
        key = self.private_key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        ).decode()
        certificate = x509.load_der_x509_certificate(self.certificate_der)
        return key + certificate.public_bytes(Encoding.PEM).decode()

    @classmethod
    def from_pem(cls, text: str) -> Self:
        """What ``to_pem`` wrote. Raises ``ValueError`` for anything else, also where the
        certificate is over another key."""
        key = load_pem_private_key(text.encode(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(
            key.curve, ec.SECP256R1
        ):
            raise ValueError("the identity's key is not ECDSA on P-256")
        certificate = x509.load_pem_x509_certificate(text.encode())
        if certificate.public_key() != key.public_key():
            raise ValueError("the identity's certificate is over another key")
        return cls(certificate.public_bytes(Encoding.DER), key)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
