"""Our own relay's core as the implementation under test, in memory and simulated.

``RelayDriver(verifies=False)`` is a relay without the password key, which only routes.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define, field

from conformance.case import Case
from conformance.client import seeded
from conformance.relay_stage import Node, RelayStage
from stunroute.address import Address
from stunroute.config import RelayConfig
from stunroute.directory import NextHop, StaticDirectory
from stunroute.flow import Flow
from stunroute.hint import HintConfiguration, KeyRing
from stunroute.instant import Instant
from stunroute.relay import Downlink, Relay

from .virtual import Emission, VirtualWire

PUBLIC = Address.of("203.0.113.1", 3478)
INNER = Address.of("10.1.0.1", 4000)
STRANGER = Address.of("10.9.9.9", 5000)
CLUSTER = 1
NODES = tuple(
    Node(CLUSTER, number, Address.of(f"10.1.0.{10 + number}", 5000)) for number in (1, 2, 3)
)


def make_relay(keyring: KeyRing) -> Relay:
    """A relay before the nodes of this module."""
    known = {(node.cluster, node.number): NextHop(node.address) for node in NODES}
    return Relay(RelayConfig(), keyring, StaticDirectory(known), proxies=[PUBLIC])


@define(slots=True)
class RelayServer:
    """A relay, both its legs."""

    keyring: KeyRing
    relay: Relay
    _out: deque[Emission] = field(factory=deque)

    def receive(self, data: bytes, source: Address, destination: Address, now: Instant) -> None:
        if destination == PUBLIC:
            route = self.relay.route_client(data, source, destination, now)
            if isinstance(route, Flow):
                self._out.append(Emission(route.header + data, INNER, route.next_hop))
            return
        back = self.relay.route_transceiver(data, source, now)
        if isinstance(back, Downlink):
            self._out.append(Emission(back.payload, back.proxy, back.client))

    def next_emission(self) -> Emission | None:
        return self._out.popleft() if self._out else None

    def handle_timeout(self, now: Instant) -> None:
        self.relay.handle_timeout(now)

    def next_timeout(self) -> Instant | None:
        return self.relay.next_timeout()

    def restart(self) -> None:
        """Forget everything, as a new process would."""
        self.relay = make_relay(self.keyring)


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
        wire = VirtualWire(server, frozenset({PUBLIC, INNER}))
        if self.name == "simulator":
            draw = seeded(f"weather {case.name}")
            wire.latency = lambda: 0.005 + draw(1)[0] / 255 * 0.04
        for node in NODES:
            wire.adopt(node.address)
        yield RelayStage(
            wire,
            seeded(f"case {case.name}"),
            PUBLIC,
            NODES,
            keyring,
            verifies=self.verifies,
            restart=server.restart,
            elsewhere=lambda: wire.adopt(STRANGER),
        )


def _without_passwords(keyring: KeyRing) -> KeyRing:
    return KeyRing(
        HintConfiguration(each.identifier, each.routing_key) for each in keyring.configurations
    )
