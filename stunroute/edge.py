"""Verification at the edge: whose checks are authenticated here, and at what price.

A check costs what a hash costs, and anybody may send one. So that a flood of forged checks takes
hashes and no more, two things stand before it. Nothing is kept of a check that fails. And each
network may have only so many checks verified in a second: an IPv4 network is a /24, an IPv6 one a
/56, because a single customer commands a whole one of those. A client whose flow has been verified
before counts by itself, so that neighbours who flood cannot cut it off; and only checks count that
name its own next hop, so that those who forge its address must know more than that.

Counting must not cost memory either. What a verified client has used is one number of its flow: a
relay has as many of those as it has calls, and they must not crowd one another out. A network's
bucket that nobody has taken from for as long as it takes to fill is like a new one, so buckets live
in two generations and are forgotten by the second swap; when there are too many in between,
newcomers share one.

A check that verifies may still be one of very many: whoever holds a session, or has recorded one of
its checks, can send it from any address there is, and each would get a flow. So a session makes
only so many flows and contenders. That is counted by ufrag, for those that made one last.
"""

from functools import lru_cache

from . import stun
from .address import IPV4_PREFIX, Address
from .allowance import Allowances, TokenBucket, after
from .config import RelayConfig, Verify
from .errors import ConfigError
from .flow import Flow
from .hint import KeyRing
from .instant import Instant

_NEVER = float("-inf")
_IPV4_NETWORK = 15  # bytes of the mapped form
_IPV6_NETWORK = 7


class Edge:
    """What the relay verifies itself."""

    __slots__ = (
        *("_bound", "_burst", "_keyring", "_makers", "_old", "_password", "_rate"),
        *("_shared", "_swap_after", "_swapped_at", "_young", "configurations"),
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
        self._young: dict[bytes, TokenBucket] = {}
        self._old: dict[bytes, TokenBucket] = {}
        self._shared = TokenBucket(self._rate, self._burst)
        self._swap_after = self._burst / self._rate if self._rate else 1.0
        self._swapped_at = _NEVER
        self._makers: Allowances[bytes] = Allowances(
            config.session_rate, config.session_burst, config.sessions
        )

    def may_verify(self, client: Address, now: Instant) -> bool:
        """Whether a check of ``client``, of whom nothing is known, may cost a hash."""
        if now - self._swapped_at > self._swap_after:
            self._old, self._young = self._young, {}
            self._swapped_at = now
        payer = network_of(client)
        bucket = self._young.get(payer)
        if bucket is None:
            if len(self._young) >= self._bound:
                return self._shared.take(now)
            bucket = self._old.get(payer) or TokenBucket(self._rate, self._burst)
            self._young[payer] = bucket
        return bucket.take(now)

    def may_verify_again(self, flow: Flow, now: Instant) -> bool:
        """The same of a check that names the next hop of its sender's ``flow``, which has been
        verified before. One that may not still says that the client may be there."""
        used = after(flow.checks_used, now, self._rate, self._burst)
        if used is None:
            # Its client's own may be among those that are let go, so nobody can say that it has
            # left: a flood must not be what gives its address to a contender.
            flow.checked = now
            return False
        flow.checks_used = used
        return True

    def may_make(self, ufrag: bytes, now: Instant) -> bool:
        """Whether the session that ``ufrag`` names may have one more flow or contender."""
        return self._makers.take(ufrag, now)

    def verify(self, check: stun.Message, ufrag: bytes) -> bool:
        """Whether ``check`` is signed with the password of the session that ``ufrag`` names.
        Raises DecodeError if its integrity attribute is malformed."""
        return check.verify_integrity(self._password(ufrag))

    def _derive(self, ufrag: bytes) -> stun.IntegrityKey:
        return stun.IntegrityKey(self._keyring.password(ufrag))


def network_of(client: bytes) -> bytes:
    """The network that ``client`` belongs to: the first bytes of its address."""
    return client[:_IPV4_NETWORK] if client.startswith(IPV4_PREFIX) else client[:_IPV6_NETWORK]


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
