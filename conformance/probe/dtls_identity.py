"""Puppets' identities beyond what this project's own peers have: RSA, and certificates of others.

Everything is deterministic, so that a case sends the same bytes each time: the primes of the one
RSA key stand here, and its signatures are PKCS #1 v1.5, which draws nothing. The key protects
nothing.
"""

from datetime import UTC, datetime
from functools import cache
from typing import Final

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from transceiver.dtls import Fingerprint
from transceiver.dtls.wire import vector

RSA_PKCS1_SHA256: Final = 0x0401

_P: Final = int(
    "ecfca9532512fc48115faa9805f2393d73b0dc7ffc2b19c7e467b5547d611111"
    "84d4bb16c824d8764fd798fdc695fa91d9b09ac8e7163d1f18d6210ab0736a2c"
    "1ddb4d9aef176bc0564398c1a1b34557f032bbbdf37e3788f3b8fa9a7a876758"
    "9cc85c398e24075d41f19eedf215ca853029bf1da06e3ee42b6a0be64b714b77",
    16,
)
_Q: Final = int(
    "d50f82991c73aaa1d82a02887dc3b5d48f0f6273430a0b280b53bc1144516821"
    "5c434b56b4fa242931c845d4ec71e4becb4ca8a4aee6292b4f6dd43ed05cde9a"
    "214fa407502a449fe4cd88c166b2d5074ee211c1284b83b7893d325874938f2f"
    "1fc127daa8037a74655d6cd4a97718d030346b3e5d98089f7aa27536aeef13bd",
    16,
)
_EXPONENT: Final = 65537


@frozen(slots=True)
class RsaIdentity:
    """A ``Signer`` with an RSA key of 2,048 bits."""

    certificate_der: bytes
    _key: rsa.RSAPrivateKey = field(repr=False)

    @property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint.of(self.certificate_der)

    @property
    def certificate_list(self) -> bytes:
        return vector(vector(self.certificate_der, 3), 3)

    def sign(self, data: bytes) -> bytes:
        """With SHA-256, as ``RSA_PKCS1_SHA256`` says."""
        return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())


@cache
def rsa_identity() -> RsaIdentity:
    """The one there is."""
    secret = pow(_EXPONENT, -1, (_P - 1) * (_Q - 1))
    key = rsa.RSAPrivateNumbers(
        _P,
        _Q,
        secret,
        rsa.rsa_crt_dmp1(secret, _P),
        rsa.rsa_crt_dmq1(secret, _Q),
        rsa.rsa_crt_iqmp(_P, _Q),
        rsa.RSAPublicNumbers(_EXPONENT, _P * _Q),
    ).private_key()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stunroute")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2036, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    return RsaIdentity(certificate.public_bytes(Encoding.DER), key)
