"""What makes a STUN message credible: the keyed hash and the checksum.

A session checks hundreds of messages under one password, so an ``IntegrityKey`` absorbs the
password once: on its second message, because a relay under a rush of new calls, or of strangers,
sees a single one of most, and what is absorbed takes a kilobyte.
"""

import hashlib
import zlib
from collections.abc import Callable

from stunroute.keyed import keyed, prekeyed

from .registry import PasswordAlgorithm

SHA1_LENGTH = 20
SHA256_LENGTH = 32
SHA256_MINIMUM = 16
"""The shortest MESSAGE-INTEGRITY-SHA256 that RFC 8489, 14.6 lets a usage allow."""

_FINGERPRINT_MASK = 0x5354554E  # "STUN": a CRC of the application's own must not pass for ours


class IntegrityKey:
    """A password, ready to sign and to verify with.

    For short-term credentials, which is what ICE uses, ``password`` is the ice-pwd as it stands
    (RFC 8489, 9.1.1); for long-term ones it is the result of ``long_term_key``. Never shown.
    """

    __slots__ = ("_password", "_sha1", "_sha256", "_used")

    def __init__(self, password: bytes) -> None:
        self._password = password
        self._used = False
        self._sha1: Callable[[bytes], bytes] | None = None
        self._sha256: Callable[[bytes], bytes] | None = None

    def sha1(self, data: bytes) -> bytes:
        """HMAC-SHA1 of ``data``: 20 bytes."""
        if self._sha1 is None:
            if not self._used:
                self._used = True
                return keyed(hashlib.sha1, self._password, data)
            self._sha1 = prekeyed(hashlib.sha1, self._password)
        return self._sha1(data)

    def sha256(self, data: bytes) -> bytes:
        """HMAC-SHA256 of ``data``: 32 bytes."""
        if self._sha256 is None:
            self._sha256 = prekeyed(hashlib.sha256, self._password)
        return self._sha256(data)


def checksum(data: bytes) -> int:
    """The value of FINGERPRINT for a message that reads ``data`` before it; the length in its
    header already counts the FINGERPRINT (RFC 8489, 14.7)."""
    return zlib.crc32(data) ^ _FINGERPRINT_MASK


def long_term_key(
    username: bytes,
    realm: bytes,
    password: bytes,
    algorithm: PasswordAlgorithm = PasswordAlgorithm.MD5,
) -> bytes:
    """The key of the long-term credential mechanism (RFC 8489, 18.5.1). Realm and password have
    been through OpaqueString (RFC 8265) already."""
    text = b":".join((username, realm, password))
    match algorithm:
        case PasswordAlgorithm.MD5:
            return hashlib.md5(text, usedforsecurity=False).digest()
        case PasswordAlgorithm.SHA_256:
            return hashlib.sha256(text).digest()


def userhash(username: bytes, realm: bytes) -> bytes:
    """The 32 bytes of USERHASH (RFC 8489, 14.4); ``username`` stands for one that is hidden."""
    return hashlib.sha256(b":".join((username, realm))).digest()
