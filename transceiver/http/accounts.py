"""API keys, by their hashes.

A key is 256 random bits, so one round of SHA-256 is enough to keep it: there is nothing to guess
that a slow hash would have to defend. The hash given is compared with every hash there is, each in
constant time, so that how long it takes says neither whether nor where one fitted.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Iterable

from stunroute.instant import Entropy
from transceiver.settings import ApiKey

PREFIX = "sk-"
LENGTH = 32
"""Random bytes in a key."""


def new_key(entropy: Entropy) -> str:
    """A key that nobody has yet: ``sk-`` and ``entropy(32)`` in base64url, without padding."""
    return PREFIX + urlsafe_b64encode(entropy(LENGTH)).rstrip(b"=").decode()


def digest(key: str) -> bytes:
    """What of ``key`` is kept: the SHA-256 hash of its UTF-8, 32 bytes."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


class ApiKeys:
    """The keys of all accounts."""

    __slots__ = ("_keys", "accounts")

    def __init__(self, keys: Iterable[ApiKey] = ()) -> None:
        self._keys = tuple(keys)
        self.accounts = frozenset(key.name for key in self._keys)
        """Names of the accounts; empty where no keys are asked for."""

    def __repr__(self) -> str:
        return f"ApiKeys({', '.join(sorted(self.accounts))})"

    def account_of_untrusted(self, key: str) -> str | None:
        """The account whose key this is, None where it is nobody's. Never raises."""
        given, found = digest(key), None
        for known in self._keys:
            if hmac.compare_digest(known.sha256, given):
                found = known.name
        return found
