"""Verification at the edge: whose checks are authenticated here, and at what price.

A check costs what a hash costs, and anybody may send one. So that a flood of forged checks takes
hashes and no more, two things stand before it. Nothing is kept of a check that fails. And each
network may have only so many checks verified in a second: an IPv4 network is a /24, an IPv6 one a
/56, because a single customer commands a whole one of those. A client whose flow has been verified
before counts by itself, so that neighbours who flood cannot cut it off.

Counting must not cost memory either. A bucket that nobody has taken from for as long as it takes to
fill is like a new one, so buckets live in two generations and are forgotten by the second swap;
when there are too many in between, newcomers share one.
"""

from functools import lru_cache

from . import stun
from .address import Address
from .config import RelayConfig, Verify
from .errors import ConfigError
from .flow import TokenBucket
from .hint import KeyRing
from .instant import Instant

_NEVER = float("-inf")
_IPV4_NETWORK = slice(0, 15)
_IPV6_NETWORK = slice(0, 7)


class Edge:
    """What the relay verifies itself."""

    __slots__ = (
        *("_bound", "_burst", "_keyring", "_old", "_password", "_rate", "_shared"),
        *("_swap_after", "_swapped_at", "_young", "configurations"),
    )

    def __init__(self, config: RelayConfig, keyring: KeyRing) -> None:
        """Raises ConfigError if the edge is to verify and has no key to do it with."""
        self.configurations = _verified_here(config, keyring)
        """The ids of the hint configurations whose checks are verified here."""
        self._keyring = keyring
        self._password = lru_cache(maxsize=config.edge_keys)(self._derive)
        self._rate = config.edge_rate
        self._burst = config.edge_burst
        self._bound = config.edge_networks
        self._young: dict[Address, TokenBucket] = {}
        self._old: dict[Address, TokenBucket] = {}
        self._shared = TokenBucket(self._rate, self._burst)
        self._swap_after = self._burst / self._rate if self._rate else 1.0
        self._swapped_at = _NEVER

    def may_verify(self, client: Address, known: bool, now: Instant) -> bool:
        """Whether a check of ``client`` may cost a hash. ``known``: its flow has been verified."""
        if now - self._swapped_at > self._swap_after:
            self._old, self._young = self._young, {}
            self._swapped_at = now
        payer = client if known else network_of(client)
        bucket = self._young.get(payer)
        if bucket is None:
            if len(self._young) >= self._bound:
                return self._shared.take(now)
            bucket = self._old.get(payer) or TokenBucket(self._rate, self._burst)
            self._young[payer] = bucket
        return bucket.take(now)

    def verify(self, check: stun.Message, ufrag: bytes) -> bool:
        """Whether ``check`` is signed with the password of the session that ``ufrag`` names.
        Raises DecodeError if its integrity attribute is malformed."""
        return check.verify_integrity(self._password(ufrag))

    def _derive(self, ufrag: bytes) -> stun.IntegrityKey:
        return stun.IntegrityKey(self._keyring.password(ufrag))


def network_of(client: Address) -> Address:
    """The network that ``client`` belongs to, as an address with zeros after its prefix."""
    prefix = client[_IPV4_NETWORK] if client.is_ipv4 else client[_IPV6_NETWORK]
    return Address.of_octets(prefix.ljust(18, b"\0"))


def _verified_here(config: RelayConfig, keyring: KeyRing) -> frozenset[str]:
    identifiers = [configuration.identifier for configuration in keyring.configurations]
    keyed = frozenset(identifier for identifier in identifiers if keyring.can_verify(identifier))
    match config.verify:
        case Verify.OWNER:
            return frozenset()
        case Verify.EDGE:
            for index, identifier in enumerate(identifiers):
                if identifier not in keyed:
                    raise ConfigError(
                        f"hint.configurations.{index}.password_key",
                        'is missing, and verify = "edge" needs it',
                    )
            return keyed
        case None:
            return keyed
