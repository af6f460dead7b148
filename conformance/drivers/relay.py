"""Our own relay's core as the relay that is asked, in memory and simulated.

``RelayDriver(verifies=False)`` is a relay without the password key, which only routes.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from attrs import define, field

from conformance.case import Case
from conformance.client import seeded
from conformance.relay_stage import Node, RelayStage, Upstream
from stunroute.address import Address
from stunroute.config import RelayConfig
from stunroute.directory import NextHop, NodeState, StaticDirectory
from stunroute.flow import Flow
from stunroute.hint import HintConfiguration, KeyRing
from stunroute.instant import Instant
from stunroute.relay import Downlink, Relay, Release

from .virtual import Emission, VirtualWire

PUBLIC = Address.of("203.0.113.1", 3478)
BESIDE = (Address.of("203.0.113.2", 3478), Address.of("2001:db8:1::1", 3478))
"""The relay's other public addresses."""
INNER = Address.of("10.1.0.1", 4000)
STRANGER = Address.of("10.9.9.9", 5000)
CLUSTER = 1
NODES = tuple(
    Node(CLUSTER, number, Address.of(f"10.1.0.{10 + number}", 5000)) for number in (1, 2, 3)
)
UPSTREAM = Upstream(
    Node(CLUSTER, 0, Address.of("10.2.0.1", 4000)), Address.of("198.51.100.1", 3478)
)
_HANDED_ON = {UPSTREAM.public: UPSTREAM.node.address}
_CLIENTS_IPV6 = "2001:db8:33::33"


def make_relay(keyring: KeyRing) -> Relay:
    """A relay before the nodes of this module, and behind ``UPSTREAM``."""
    directory = make_directory()
    publics = (PUBLIC, *BESIDE)
    return Relay(RelayConfig(), keyring, directory, proxies=publics, upstream=_HANDED_ON)


def make_directory(gone: Node | None = None) -> StaticDirectory:
    """Of the nodes of this module, one of which may have been drained."""
    return StaticDirectory(
        {
            (node.cluster, node.number): NextHop(
                node.address, NodeState.DRAINED if node == gone else NodeState.ACTIVE
            )
            for node in NODES
        }
    )


@define(slots=True)
class RelayServer:
    """A relay, both its legs."""

    keyring: KeyRing
    relay: Relay
    _out: deque[Emission] = field(factory=deque)

    def receive(self, data: bytes, source: Address, destination: Address, now: Instant) -> None:
        if destination == INNER:
            self._from_leg(data, source, now)
            return
        route = self.relay.route_client(data, source, destination, now)
        if isinstance(route, Flow):
            self._out.append(Emission(route.header + data, INNER, route.next_hop))

    def _from_leg(self, data: bytes, source: Address, now: Instant) -> None:
        if self.relay.is_upstream(source):
            route = self.relay.route_relay(data, source, now)
            if isinstance(route, Flow):
                self._out.append(Emission(data, INNER, route.next_hop))
            return
        back = self.relay.route_transceiver(data, source, now)
        match back:
            case Downlink(upstream=None):
                self._out.append(Emission(back.payload, back.proxy, back.client))
            case Downlink(upstream=relay) | Release(upstream=relay) if relay is not None:
                self._out.append(Emission(data, INNER, relay))

    def next_emission(self) -> Emission | None:
        return self._out.popleft() if self._out else None

    def handle_timeout(self, now: Instant) -> None:
        self.relay.handle_timeout(now)

    def next_timeout(self) -> Instant | None:
        return self.relay.next_timeout()

    def restart(self) -> None:
        """Forget everything, as a new process would."""
        self.relay = make_relay(self.keyring)

    def told(self, directory: StaticDirectory, now: Instant) -> None:
        """Take over another directory, as when its settings are read again."""
        config, keyring = self.relay.config, self.keyring
        self.relay.reconfigure(config, keyring, directory, upstream=_HANDED_ON, now=now)


@define(slots=True)
class RelayDriver:
    """Named ``simulator`` it lets datagrams take their time, drawn for each."""

    name: str = "memory"
    verifies: bool = True

    @contextmanager
    def stage(self, case: Case) -> Iterator[RelayStage]:
        """A fresh relay for a case."""
        keyring = KeyRing((HintConfiguration.generate("0", seeded(f"hints {case.name}")),))
        routing = keyring if self.verifies else _without_passwords(keyring)
        server = RelayServer(routing, make_relay(routing))
        wire = VirtualWire(server, frozenset({PUBLIC, *BESIDE, INNER}))
        if self.name == "simulator":
            draw = seeded(f"weather {case.name}")
            wire.latency = lambda: 0.005 + draw(1)[0] / 255 * 0.04
        for node in (*NODES, UPSTREAM.node):
            wire.adopt(node.address)
        ports = count(50_000)

        @contextmanager
        def drained(node: Node) -> Iterator[None]:
            server.told(make_directory(node), wire.now)
            try:
                yield
            finally:
                server.told(make_directory(), wire.now)

        yield RelayStage(
            wire,
            seeded(f"case {case.name}"),
            PUBLIC,
            NODES,
            keyring,
            verifies=self.verifies,
            restart=server.restart,
            elsewhere=lambda: wire.adopt(STRANGER),
            beside=BESIDE,
            reach=lambda _: wire.adopt(Address.of(_CLIENTS_IPV6, next(ports))),
            upstream=UPSTREAM,
            drained=drained,
        )


def _without_passwords(keyring: KeyRing) -> KeyRing:
    return KeyRing(
        HintConfiguration(each.identifier, each.routing_key) for each in keyring.configurations
    )
