"""Signatures over handshakes: ours with ECDSA on P-256, the peer's with that or with RSA.

A scheme is the two-byte code that TLS 1.2 reads as hash and signature algorithm (RFC 5246 section
7.4.1.4.1) and that RFC 8446 gave one meaning each. Hashes weaker than SHA-256 are not in the table,
so neither side can be talked into them.
"""

from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512

from stunroute.errors import DecodeError

PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

ECDSA_SHA256: Final = 0x0403
_ECDSA: Final = {
    ECDSA_SHA256: ec.ECDSA(SHA256()),
    0x0503: ec.ECDSA(SHA384()),
    0x0603: ec.ECDSA(SHA512()),
}
_RSA_PSS: Final = {0x0804: SHA256(), 0x0805: SHA384(), 0x0806: SHA512()}
_RSA_PKCS1: Final = {0x0401: SHA256(), 0x0501: SHA384(), 0x0601: SHA512()}

SCHEMES: Final = (ECDSA_SHA256, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0603, 0x0806, 0x0601)
"""What we verify, best first."""

_UNREADABLE: Final = (ValueError, TypeError, x509.InvalidVersion, UnsupportedAlgorithm, Warning)
"""What the parser of certificates raises. A warning is raised where a program has made warnings
errors."""

RSA_BITS: Final = range(2048, 8193)
"""Shorter keys prove too little, longer ones cost too much to verify."""


def public_key_untrusted(certificate: bytes) -> PublicKey:
    """The key in a DER certificate. Call it only after the certificate's digest has been found in
    the SDP: until then its bytes are anybody's. Raises ``DecodeError`` for what does not parse and
    for keys other than ECDSA P-256 and RSA within ``RSA_BITS``."""
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except _UNREADABLE as error:
        raise DecodeError("a certificate that cannot be read") from error
    match key:
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, ec.SECP256R1):
            return key
        case rsa.RSAPublicKey() if key.key_size in RSA_BITS:
            return key
        case _:
            raise DecodeError("a certificate with a key of a kind or size that is not accepted")


def verifies(key: PublicKey, scheme: int, signature: bytes, data: bytes) -> bool:
    """Whether ``signature`` is the key's over ``data``, in a scheme that fits the key."""
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            if (ecdsa := _ECDSA.get(scheme)) is None:
                return False
            key.verify(signature, data, ecdsa)
        elif (digest := _RSA_PSS.get(scheme)) is not None:
            salt = padding.PSS(padding.MGF1(digest), digest.digest_size)
            key.verify(signature, data, salt, digest)
        elif (digest := _RSA_PKCS1.get(scheme)) is not None:
            key.verify(signature, data, padding.PKCS1v15(), digest)
        else:
            return False
    except InvalidSignature:
        return False
    return True
