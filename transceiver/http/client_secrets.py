"""Client secrets: leave to call for a while, for a browser to hold.

Whoever has an API key asks for one and hands it to a page; the page opens calls with it until it
expires. Nothing of it is kept here. What it stands for is inside it, sealed, so that every node
with the same key takes it, also one that was started since::

    secret = "ek_" ‖ base64url(nonce (12) ‖ AES-256-GCM(key, nonce, deflate(JSON)))

The JSON holds the account, the time of expiry and the session that calls get which say nothing
else. The nonce, drawn anew for each, also names the secret: calls remember by which one they were
opened. It travels in a header, and proxies bound those, so the whole has a bound.
"""

import json
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stunroute.instant import Entropy

PREFIX = "ek_"
KEY_LENGTH = 32
LONGEST = 6144
"""Characters of a secret; a session that would need more is refused. Common proxies take 8 KiB of
headers in all."""
SECONDS_LEAST, SECONDS_MOST, SECONDS_DEFAULT = 10, 7200, 600

_NONCE = 12
_SESSION_BYTES = 1 << 20
_PURPOSE = b"stunroute client secret 1"


class SecretTooLong(ValueError):
    """The session does not fit into a secret."""


@frozen(slots=True)
class ClientSecret:
    """What a secret stands for. ``expires_at`` is Unix time, in seconds."""

    identifier: str
    account: str
    expires_at: int
    session: Mapping[str, Any] = field(repr=False)


class ClientSecrets:
    """Makes secrets and reads them. ``key`` is 32 bytes; ``entropy`` gives the nonces."""

    __slots__ = ("_aead", "_entropy")

    def __init__(self, key: bytes, entropy: Entropy) -> None:
        self._aead = AESGCM(key)
        self._entropy = entropy

    def seal(self, account: str, session: Mapping[str, Any], expires_at: int) -> str:
        """A new secret. Raises SecretTooLong."""
        content = {"account": account, "expires_at": expires_at, "session": session}
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
        nonce = self._entropy(_NONCE)
        sealed = nonce + self._aead.encrypt(nonce, zlib.compress(text, 9), _PURPOSE)
        secret = PREFIX + urlsafe_b64encode(sealed).rstrip(b"=").decode()
        if len(secret) > LONGEST:
            raise SecretTooLong
        return secret

    def open_untrusted(self, secret: str) -> ClientSecret | None:
        """What ``secret`` stands for, expired or not; None where it was not made with this key.
        Never raises."""
        if not secret.startswith(PREFIX) or len(secret) > LONGEST or not secret.isascii():
            return None
        encoded = secret[len(PREFIX) :]
        try:
            sealed = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
            nonce = sealed[:_NONCE]
            packed = self._aead.decrypt(nonce, sealed[_NONCE:], _PURPOSE)
        except (NotBase64, InvalidTag, ValueError):
            return None
        # Sealed by a node of ours: from here on it is what we wrote.
        content = json.loads(zlib.decompressobj().decompress(packed, _SESSION_BYTES))
        return ClientSecret(
            nonce.hex(), content["account"], content["expires_at"], content["session"]
        )
