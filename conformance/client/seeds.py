"""What a client draws, from a seed: equal seeds give equal calls.

A case that has failed is asked again, and a simulation run again, by its seed; that holds only if
certificates, credentials and randoms all come from there.
"""

import hashlib
from datetime import UTC, datetime

from stunroute.instant import Entropy
from transceiver.dtls import Identity

_ICE_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def seeded(seed: str | bytes | int) -> Entropy:
    """A deterministic entropy source: SHA-256 over the seed and a counter. Equal seeds give equal
    streams, whatever the sizes of the draws. Not for secrets."""
    key = hashlib.sha256(repr(seed).encode()).digest()
    counter = 0
    pool = b""

    def draw(length: int) -> bytes:
        nonlocal counter, pool
        while len(pool) < length:
            pool += hashlib.sha256(key + counter.to_bytes(8, "big")).digest()
            counter += 1
        taken, pool = pool[:length], pool[length:]
        return taken

    return draw


def ice_text(entropy: Entropy, length: int) -> str:
    """``length`` random letters and digits: a ufrag or a password that no client mangles."""
    return "".join(_ICE_CHARACTERS[octet % 62] for octet in entropy(length))


def fixed_identity(entropy: Entropy) -> Identity:
    """A certificate with fixed dates, so that equal entropy gives equal bytes."""
    return Identity.generate(
        entropy,
        not_before=datetime(2026, 1, 1, tzinfo=UTC),
        not_after=datetime(2036, 1, 1, tzinfo=UTC),
    )
