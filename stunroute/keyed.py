"""HMAC (RFC 2104), fast for short messages.

What HMAC does with its key is the same for every message, so for a key that is used many times it
is done once, into the states of two hashes, and each message copies them: under half of what
``hmac.digest`` costs. A single message costs two thirds of it, because ``hashlib``'s own
constructors need not look for their algorithm each time.
"""

from collections.abc import Callable
from typing import Protocol, TypeAlias

_INNER = bytes(octet ^ 0x36 for octet in range(256))
_OUTER = bytes(octet ^ 0x5C for octet in range(256))
_BLOCK = 64  # bytes, of SHA-1 and of SHA-256


class Hash(Protocol):
    """What ``hashlib`` makes."""

    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...

    def copy(self) -> "Hash": ...


Algorithm: TypeAlias = Callable[[bytes], Hash]
"""``hashlib.sha1`` or ``hashlib.sha256``."""


def keyed(algorithm: Algorithm, key: bytes, data: bytes) -> bytes:
    """The HMAC of ``data`` under ``key``."""
    padded = _padded(algorithm, key)
    within = algorithm(padded.translate(_INNER) + data).digest()
    return algorithm(padded.translate(_OUTER) + within).digest()


def prekeyed(algorithm: Algorithm, key: bytes) -> Callable[[bytes], bytes]:
    """The HMAC of its argument under ``key``, prepared for many."""
    padded = _padded(algorithm, key)
    inner = algorithm(padded.translate(_INNER)).copy
    outer = algorithm(padded.translate(_OUTER)).copy

    def mac(data: bytes) -> bytes:
        within = inner()
        within.update(data)
        around = outer()
        around.update(within.digest())
        return around.digest()

    return mac


def _padded(algorithm: Algorithm, key: bytes) -> bytes:
    return (algorithm(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
