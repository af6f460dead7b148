"""HMAC (RFC 2104) under keys that are used many times.

What HMAC does with its key is the same for every message, so it is done once, into the states of
two hashes, and each message copies them. That costs under half of a fresh HMAC. Even for a single
message it costs no more, because ``hashlib``'s constructors by name need not look for the algorithm
each time.
"""

from collections.abc import Callable
from typing import Protocol

_INNER = bytes(octet ^ 0x36 for octet in range(256))
_OUTER = bytes(octet ^ 0x5C for octet in range(256))
_BLOCK = 64  # bytes, of SHA-1 and of SHA-256


class Hash(Protocol):
    """What ``hashlib`` makes."""

    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...

    def copy(self) -> "Hash": ...


def prekeyed(algorithm: Callable[[bytes], Hash], key: bytes) -> Callable[[bytes], bytes]:
    """The HMAC of its argument under ``key``. ``algorithm`` is ``hashlib.sha1`` or ``sha256``."""
    if len(key) > _BLOCK:
        key = algorithm(key).digest()
    padded = key.ljust(_BLOCK, b"\0")
    inner = algorithm(padded.translate(_INNER)).copy
    outer = algorithm(padded.translate(_OUTER)).copy

    def mac(data: bytes) -> bytes:
        within = inner()
        within.update(data)
        around = outer()
        around.update(within.digest())
        return around.digest()

    return mac
