"""What can be negotiated, and the order in which we like it.

Code points are those of IANA's registries for TLS. The tables hold what this project speaks and
nothing else: whatever a peer offers beyond them is skipped, whatever it *chooses* beyond them is
refused. Lookups are by number because that is what the wire brings.
"""

from collections.abc import Callable
from enum import IntEnum
from hashlib import sha256, sha384
from typing import Final, Protocol, Self

from attrs import frozen
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305


class Group(IntEnum):
    """Groups for the key exchange (RFC 8422 section 5.1.1), best first."""

    X25519 = 29
    SECP256R1 = 23


class Authentication(IntEnum):
    """The kind of certificate a suite wants of the server. The value is the
    ClientCertificateType of RFC 5246 section 7.4.4 and RFC 8422 section 5.5."""

    RSA = 1
    ECDSA = 64


class Hash(Protocol):
    """A hash in progress, as hashlib has them."""

    @property
    def block_size(self) -> int: ...
    def update(self, data: bytes, /) -> None: ...
    def copy(self) -> Self: ...
    def digest(self) -> bytes: ...


class HashFunction(Protocol):
    def __call__(self, data: bytes = ..., /) -> Hash: ...


@frozen(slots=True)
class CipherSuite:
    """One ECDHE suite. ``hash`` is that of the PRF and of the transcript; lengths are bytes;
    ``explicit_nonce`` is how much of the nonce each record carries."""

    code: int
    name: str
    authentication: Authentication
    aead: Callable[[bytes], AESGCM | ChaCha20Poly1305]
    key_length: int
    fixed_nonce: int
    explicit_nonce: int
    hash: HashFunction


def _suite(
    code: int,
    cipher: str,
    authentication: Authentication,
    aead: Callable[[bytes], AESGCM | ChaCha20Poly1305],
    key_length: int,
) -> CipherSuite:
    name = f"TLS_ECDHE_{authentication.name}_WITH_{cipher}"
    explicit = 8 if aead is AESGCM else 0
    digest: HashFunction = sha384 if cipher.endswith("SHA384") else sha256
    return CipherSuite(
        code, name, authentication, aead, key_length, 12 - explicit, explicit, digest
    )


SUITES: Final = (
    _suite(0xC02B, "AES_128_GCM_SHA256", Authentication.ECDSA, AESGCM, 16),
    _suite(0xC02F, "AES_128_GCM_SHA256", Authentication.RSA, AESGCM, 16),
    _suite(0xCCA9, "CHACHA20_POLY1305_SHA256", Authentication.ECDSA, ChaCha20Poly1305, 32),
    _suite(0xCCA8, "CHACHA20_POLY1305_SHA256", Authentication.RSA, ChaCha20Poly1305, 32),
    _suite(0xC02C, "AES_256_GCM_SHA384", Authentication.ECDSA, AESGCM, 32),
    _suite(0xC030, "AES_256_GCM_SHA384", Authentication.RSA, AESGCM, 32),
)
"""Best first. AES-128-GCM leads because it is the suite every WebRTC stack must have (RFC 8827)."""

SUITE_BY_CODE: Final = {suite.code: suite for suite in SUITES}

RENEGOTIATION_SCSV: Final = 0x00FF
"""The pseudo suite that stands for an empty renegotiation_info (RFC 5746)."""


class Alert(IntEnum):
    """Alert descriptions that are sent or told apart (RFC 5246 section 7.2)."""

    CLOSE_NOTIFY = 0
    DECRYPT_ERROR = 51
    NO_RENEGOTIATION = 100


FATAL: Final = 2
WARNING: Final = 1
