"""The settings of the relay program, as they stand in its TOML file.

::

    # Where transceivers reach the relay. Fixed, so that a restarted relay is found again.
    inner = "10.0.0.5:4000"

    # Processes on the public port, one per core. Worker k receives the leg at the inner port + k,
    # so a transceiver lists that many relays.
    workers = 1

    # "edge": check MESSAGE-INTEGRITY here, "owner": leave it to the transceiver. Left out, it is
    # the edge for every hint configuration that has a password_key.
    verify = "edge"

    # Public sockets. "advertise" is the address that clients know, where it is not the bound one.
    [[listen]]
    bind = "0.0.0.0:3478"
    advertise = "192.0.2.1:3478"

    # Keys of the routing hint, in hexadecimal: 16 bytes and 32 (stunroute hint keygen). The times
    # may be left out. Give relays a configuration before any transceiver mints under it, and keep
    # it until the last call minted under it has ended.
    [[hint.configurations]]
    id = "0"
    routing_key = "00112233445566778899aabbccddeeff"
    password_key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    read_from = 2026-11-01T00:00:00Z
    mint_from = 2026-11-02T00:00:00Z
    read_until = 2027-02-01T00:00:00Z

    # Where nodes are. "state" is active, draining (still routed) or drained (checks are dropped).
    [[directory.nodes]]
    cluster = 1
    node = 7
    address = "10.0.0.7:4000"
    state = "active"

    # A cluster that lies behind another relay as a whole, by that relay's inner address.
    [[directory.clusters]]
    cluster = 2
    relay = "10.1.0.5:4000"

    # A relay in front of this one: its inner address and the public ones it receives at. What goes
    # back has one way for each of these, so such a relay has one worker.
    [[upstream]]
    relay = "10.2.0.5:4000"
    proxies = ["198.51.100.1:3478"]

    # Bounds and durations of the core: stunroute.config.RelayConfig.
    [limits]
    flows = 1000000
    idle_timeout = 30.0
    takeover_idle = 10.0
    takeover_unchecked = 15.0

    # Bytes: kernel buffers asked for, and what may wait in the program when the kernel takes none.
    [sockets]
    receive_buffer = 4194304
    send_buffer = 4194304
    backlog = 65536
    adapter = "batched"        # or "plain"; left out, the batched one wherever this machine has it
    loop = "asyncio"           # or "uvloop", with stunroute[uvloop] installed

    # A Redis or Valkey that the relays of a fleet share: redis://, rediss://, unix://,
    # redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DATABASE or redis+cluster://HOST:PORT. "key"
    # authenticates what is kept there; all relays have the same one (stunroute store keygen). Two
    # tiers know a client by different next hops: give each a "prefix" of its own.
    [store]
    url = "redis://10.0.0.9:6379/0"
    key = "404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f"

    # For operators: metrics and health by HTTP, the admin socket of "stunroute top".
    [operations]
    http = "127.0.0.1:9464"
    admin = "/run/stunroute.sock"
    log = "text"               # or "json"
"""

import hmac
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from pathlib import Path

from attrs import Attribute, evolve, field, frozen

from .address import Address
from .config import SOCKET_BUFFER, RelayConfig, Verify, at_least, between, redacted
from .directory import NextHop, NodeState, StaticDirectory
from .errors import ConfigError
from .hint import HintConfiguration, KeyRing
from .instant import Instant

STORE_KEY_MINIMUM = 16
LISTEN_MAXIMUM = 64
"""Public sockets of a relay at most. Each worker has room for so many laid out."""

_FOREVER = float("inf")


def unreachable(address: Address, source: Address) -> str | None:
    """Why a socket bound to ``source`` can never send to ``address``; None if it can. Without this
    each packet would fail, and only a counter would tell."""
    if address.port == 0:
        return "has no port"
    if not any(address.packed):
        return "is the unspecified address; nobody can send there"
    if address.is_ipv4 != source.is_ipv4 and any(source.host):
        return f"cannot be reached from {source.ip}, which is of the other IP version"
    return None


@frozen(slots=True)
class Listen:
    bind: Address
    advertise: Address | None = None


@frozen(slots=True)
class Configuration:
    """A hint configuration with wall-clock times."""

    id: str
    routing_key: bytes = field(repr=redacted)
    password_key: bytes | None = field(default=None, repr=redacted)
    read_from: datetime | None = None
    mint_from: datetime | None = None
    read_until: datetime | None = None

    def __attrs_post_init__(self) -> None:
        self.at(0.0)

    def at(self, epoch: Instant) -> HintConfiguration:
        """On a monotonic clock that read ``epoch`` when the wall clock read 1970-01-01 UTC."""

        def instant(moment: datetime | None, otherwise: Instant) -> Instant:
            return otherwise if moment is None else moment.timestamp() + epoch

        return HintConfiguration(
            self.id,
            self.routing_key,
            self.password_key,
            instant(self.read_from, -_FOREVER),
            instant(self.mint_from, -_FOREVER),
            None if self.read_until is None else instant(self.read_until, _FOREVER),
        )


@frozen(slots=True)
class Hints:
    configurations: tuple[Configuration, ...] = field()

    @configurations.validator
    def _check(self, _: "Attribute[object]", value: tuple[Configuration, ...]) -> None:
        if not value:
            raise ConfigError("configurations", "is empty: no hint could be read")

    def keyring(self, *, wall: float, now: Instant) -> KeyRing:
        """The key ring on the monotonic clock that reads ``now`` while the wall clock reads
        ``wall`` (seconds since 1970-01-01 UTC). Raises ConfigError."""
        return KeyRing(configuration.at(now - wall) for configuration in self.configurations)


@frozen(slots=True)
class Node:
    cluster: int
    node: int
    address: Address
    state: NodeState = NodeState.ACTIVE


@frozen(slots=True)
class Cluster:
    cluster: int
    relay: Address
    state: NodeState = NodeState.ACTIVE


@frozen(slots=True)
class DirectorySettings:
    nodes: tuple[Node, ...] = ()
    clusters: tuple[Cluster, ...] = ()

    def build(self) -> StaticDirectory:
        """Raises ConfigError if a node or cluster is listed twice or out of range."""
        nodes: dict[tuple[int, int], NextHop] = {}
        for index, node in enumerate(self.nodes):
            name = (node.cluster, node.node)
            if name in nodes:
                raise ConfigError(f"directory.nodes.{index}", "names a node a second time")
            nodes[name] = NextHop(node.address, node.state)
        clusters: dict[int, NextHop] = {}
        for index, cluster in enumerate(self.clusters):
            if cluster.cluster in clusters:
                raise ConfigError(f"directory.clusters.{index}", "names a cluster a second time")
            clusters[cluster.cluster] = NextHop(cluster.relay, cluster.state)
        return StaticDirectory(nodes, clusters)


@frozen(slots=True)
class Upstream:
    relay: Address
    proxies: tuple[Address, ...]


class Adapter(Enum):
    """How packets get from and to the sockets."""

    BATCHED = "batched"
    PLAIN = "plain"


class Loop(Enum):
    """Whose event loop a worker runs on."""

    ASYNCIO = "asyncio"
    UVLOOP = "uvloop"


@frozen(slots=True)
class Sockets:
    receive_buffer: int = field(default=4 << 20, validator=between(0, SOCKET_BUFFER))
    send_buffer: int = field(default=4 << 20, validator=between(0, SOCKET_BUFFER))
    backlog: int = field(default=65_536, validator=at_least(0))
    """Bytes that may wait per socket when the kernel takes no more; then packets are dropped
    (``SEND_BACKLOG``)."""
    adapter: Adapter | None = None
    """None: the batched one wherever this machine has what it needs."""
    loop: Loop = Loop.ASYNCIO


@frozen(slots=True)
class StoreSettings:
    """What a relay cannot know after a restart, or when a client's packets come to it instead of
    another one, it asks the store. Without a store a flow is made again by the client's next check
    or by its transceiver's next packet. Some clients never check again once they have nominated a
    pair: while nothing is sent to such a client either, only a store can help it, short of an ICE
    restart. That is what to choose by.

    ``key`` authenticates values, so that who can write to the store cannot steer packets. When the
    store fails, calls go on, and only this help is missing. Durations are seconds."""

    url: str = field(repr=redacted)
    key: bytes = field(repr=redacted)
    prefix: str = "stunroute:"
    """What the names of all entries begin with."""
    ttl: float = field(default=120.0, validator=between(1, 86_400))
    """How long an entry that is not renewed is kept; longer than two idle timeouts."""
    lookup_timeout: float = field(default=0.2, validator=between(0.001, 10))
    """How long an answer is waited for; packets wait no longer than ``limits.waiting_time``."""
    write_interval: float = field(default=0.05, validator=between(0.001, 10))
    """Changes are gathered for so long and written together."""
    write_timeout: float = field(default=1.0, validator=between(0.001, 60))
    """How long a batch may take to be written; then it is written again."""
    batch: int = field(default=100, validator=between(1, 10_000))
    """Changes in one round trip; more would hold the loop up."""
    lookups: int = field(default=256, validator=at_least(1))
    """Look-ups under way at once; the answer to one more is none."""
    changes: int = field(default=65_536, validator=at_least(1))
    """Changes that wait to be written; the oldest of more are lost and counted."""
    failures: int = field(default=3, validator=at_least(1))
    """After so many in a row the store is left alone for a while,"""
    pause: float = field(default=0.5, validator=between(0.001, 3600))
    """that is for so long, and twice as long after each attempt that fails again,"""
    longest_pause: float = field(default=10.0, validator=between(0.001, 3600))
    """but no longer than this."""

    @key.validator
    def _check_key(self, _: "Attribute[bytes]", value: bytes) -> None:
        if len(value) < STORE_KEY_MINIMUM:
            raise ConfigError("key", f"is shorter than {STORE_KEY_MINIMUM} bytes")


class Log(Enum):
    """How log lines look: for people or for programs."""

    TEXT = "text"
    JSON = "json"


@frozen(slots=True)
class Operations:
    """Where operators reach the relay; what is left out is not offered."""

    http: Address | None = None
    admin: Path | None = None
    log: Log = Log.TEXT


@frozen(slots=True)
class RelaySettings:
    """Everything that ``stunroute relay`` can be told."""

    listen: tuple[Listen, ...] = field()
    inner: Address
    hint: Hints
    directory: DirectorySettings = field(factory=DirectorySettings)
    upstream: tuple[Upstream, ...] = ()
    verify: Verify | None = None
    limits: RelayConfig = field(factory=RelayConfig)
    sockets: Sockets = field(factory=Sockets)
    workers: int = field(default=1, validator=between(1, 256))
    store: StoreSettings | None = field(default=None)
    operations: Operations = field(factory=Operations)

    @listen.validator
    def _check(self, _: "Attribute[object]", value: tuple[Listen, ...]) -> None:
        if not value:
            raise ConfigError("listen", "is empty: no client could reach the relay")
        if len(value) > LISTEN_MAXIMUM:
            raise ConfigError("listen", f"has more than {LISTEN_MAXIMUM} entries")
        public = [listen.advertise or listen.bind for listen in value]
        for index, address in enumerate(public):
            if address.port and address in public[:index]:
                raise ConfigError(f"listen.{index}", "has the public address of an earlier one")

    @directory.validator
    def _check_hops(self, _: "Attribute[object]", value: DirectorySettings) -> None:
        hops = [
            (f"directory.nodes.{i}.address", node.address) for i, node in enumerate(value.nodes)
        ]
        hops += [(f"directory.clusters.{i}.relay", c.relay) for i, c in enumerate(value.clusters)]
        for key, address in hops:
            if problem := unreachable(address, self.inner):
                raise ConfigError(key, problem)

    @workers.validator
    def _check_inner_ports(self, _: "Attribute[object]", value: int) -> None:
        if self.inner.port and self.inner.port + value - 1 >= 1 << 16:
            raise ConfigError("workers", "are more than there are ports from that of inner on")

    @store.validator
    def _check_store_key(self, _: "Attribute[object]", value: StoreSettings | None) -> None:
        if value is None:
            return
        for index, configuration in enumerate(self.hint.configurations):
            for key in (configuration.routing_key, configuration.password_key):
                if key is not None and hmac.compare_digest(key, value.key):
                    raise ConfigError(
                        "store.key",
                        f"is a key of hint.configurations.{index}; the two must be independent",
                    )

    @store.validator
    def _check_ttl(self, _: "Attribute[object]", value: StoreSettings | None) -> None:
        if value is not None and value.ttl <= 2 * self.limits.idle_timeout:
            # A flow may be idle for so long before it is renewed.
            raise ConfigError("store.ttl", "is no longer than two of limits.idle_timeout")

    @property
    def core(self) -> RelayConfig:
        """The settings of the core; that there is a store is said in one place only."""
        return evolve(
            self.limits,
            verify=self.limits.verify if self.verify is None else self.verify,
            store=self.limits.store or self.store is not None,
        )

    def inner_of(self, worker: int) -> Address:
        """Where transceivers reach ``worker`` (from 0): one port after the other, so that each is
        found again after a restart. Port 0 stays 0."""
        port = self.inner.port
        return Address(self.inner.host, port + worker if port else 0)

    @property
    def upstreams(self) -> Mapping[Address, Address]:
        """The inner address of the upstream relay, by each of its public ones."""
        return {proxy: upstream.relay for upstream in self.upstream for proxy in upstream.proxies}
