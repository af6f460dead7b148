"""A client, a relay and a transceiver in one process, on one virtual clock.

``Client`` is the harness's own, the other side of a call: it sends checks, it nominates, it
resends. ``Rig`` joins clients, a ``Relay`` and an ``Endpoint`` and moves virtual time from one
deadline to the next. No socket, no sleep.
"""

from collections.abc import Callable
from typing import Any

from attrs import define, field, frozen

import conformance.client
from conformance.client import fixed_identity as identity
from conformance.client import ice_text, seeded
from stunroute.address import Address, Transmit
from stunroute.directory import NextHop, StaticDirectory
from stunroute.flow import Flow
from stunroute.hint import HintConfiguration, KeyRing
from stunroute.instant import Entropy, Instant
from stunroute.pump import pump
from stunroute.relay import Downlink, Relay
from stunroute.trace import Drop
from transceiver.config import EndpointConfig

__all__ = ["Client", "Rig", "ice_text", "identity", "seeded"]

PUBLIC = Address.of("203.0.113.1", 3478)
"""The relay's public address, the one in the answer."""
INNER = Address.of("10.1.0.1", 4000)
"""The relay's inner address, to which the transceiver sends."""
OWNER = Address.of("10.1.0.2", 5000)
"""The transceiver's address on the leg."""
HOME = Address.of("192.0.2.33", 50000)
"""Where a client sends from unless told otherwise."""


@define(slots=True)
class Client(conformance.client.Client):
    """The client of the harness, at home unless told otherwise."""

    address: Address = HOME


def hints(seed: str | bytes | int = "hints") -> KeyRing:
    return KeyRing((HintConfiguration.generate("0", seeded(seed)),))


def endpoint_config(**changes: Any) -> EndpointConfig:
    values: dict[str, Any] = {
        "cluster": 1,
        "node": 7,
        "candidates": (PUBLIC,),
        "relays": frozenset({INNER}),
    }
    return EndpointConfig(**(values | changes))


@frozen(slots=True)
class Crossing:
    """One datagram as it passed the relay, for assertions and traces."""

    at: Instant
    source: Address
    destination: Address
    payload: bytes = field(repr=False)
    drop: Drop | None = None


@define(slots=True)
class Rig:
    """Relay and endpoint between any number of clients, with a clock that only ``run`` moves.

    Packets take ``latency`` seconds each way. ``lose`` is asked for every packet by (index, source)
    and drops it when true. Events of the endpoint are kept in ``events``.
    """

    relay: Relay
    endpoint: Any
    latency: float = 0.001
    now: Instant = 1000.0
    lose: Callable[[int, Transmit], bool] | None = None
    clients: list[Client] = field(factory=list)
    calls: dict[str, Client] = field(factory=dict)
    events: list[Any] = field(factory=list)
    crossings: list[Crossing] = field(factory=list)
    _flying: list[tuple[Instant, int, Address, Transmit]] = field(factory=list)
    _count: int = 0

    @classmethod
    def build(
        cls,
        seed: str | bytes | int = 0,
        *,
        config: EndpointConfig | None = None,
        journal: Any = None,
        **options: Any,
    ) -> "Rig":
        """A relay and an endpoint that know each other, all from one seed."""
        from stunroute.config import RelayConfig
        from transceiver.endpoint import Endpoint

        config = config or endpoint_config()
        keyring = hints(f"hints {seed}")
        directory = StaticDirectory({(config.cluster, config.node): NextHop(OWNER)})
        relay = Relay(RelayConfig(), keyring, directory)
        endpoint = Endpoint(
            config,
            keyring=keyring,
            identity=identity(seeded(f"identity {seed}")),
            entropy=seeded(f"endpoint {seed}"),
            journal=journal,
        )
        return cls(relay, endpoint, **options)

    def client(self, seed: str | bytes | int = 0, **options: Any) -> Client:
        client = Client(entropy=seeded(f"client {seed}"), **options)
        self.clients.append(client)
        return client

    def open(self, client: Client, *, entropy: Entropy | None = None) -> str:
        """Signalling: offer, answer, first check. Returns the call's id."""
        asked: dict[str, Any] = {"entropy": entropy}
        if client.negotiated:
            asked["channel"] = client.negotiated[0][0]
        answered = self.endpoint.open_call(client.offer(), self.now, **asked)
        self.calls[answered.call] = client
        client.accept(answered.answer, self.now)
        self.settle()
        return str(answered.call)

    def establish(self, client: Client, *, entropy: Entropy | None = None, limit: float = 5) -> str:
        """``open`` and run until both sides have keys."""
        call = self.open(client, entropy=entropy)
        stop = self.now + limit
        while not client.secured and self.now < stop:
            self.run(0.01)
        self.run(0.01)
        assert client.secured, f"no keys after {limit} s: {client.failed} {client.drops}"
        return call

    def settle(self) -> None:
        """Put everything that anyone has to say into the air."""
        for client in self.clients:
            output = pump(client)  # type: ignore[arg-type]
            for transmit in output.transmits:
                self._launch(client.address, transmit)
        output = pump(self.endpoint)
        self.events.extend(output.events)
        for transmit in output.transmits:
            self._launch(OWNER, transmit)

    def _launch(self, source: Address, transmit: Transmit) -> None:
        self._count += 1
        if self.lose is not None and self.lose(self._count, transmit):
            return
        self._flying.append((self.now + self.latency, self._count, source, transmit))

    def run(self, seconds: float) -> None:
        """Let ``seconds`` pass: every packet and every deadline in its order."""
        end = self.now + seconds
        self.settle()
        while (due := self._next_due()) is not None and due <= end:
            self.now = max(self.now, due)
            self._deliver()
            self._fire()
            self.settle()
        self.now = end

    def _next_due(self) -> Instant | None:
        due = [item[0] for item in self._flying]
        cores: tuple[Any, ...] = (*self.clients, self.endpoint, self.relay)
        due += [t for core in cores if (t := core.next_timeout()) is not None]
        return min(due, default=None)

    def _deliver(self) -> None:
        self._flying.sort(key=lambda item: item[:2])
        while self._flying and self._flying[0][0] <= self.now:
            _, _, source, transmit = self._flying.pop(0)
            if source == OWNER:
                self._down(transmit)
            else:
                self._up(source, transmit)

    def _up(self, source: Address, transmit: Transmit) -> None:
        flow = self.relay.route_client(transmit.data, source, transmit.address, self.now)
        drop = flow if isinstance(flow, Drop) else None
        crossing = Crossing(self.now, source, transmit.address, transmit.data, drop)
        self.crossings.append(crossing)
        if isinstance(flow, Flow):
            assert flow.next_hop == OWNER
            self.endpoint.receive_datagram(flow.header + transmit.data, INNER, self.now)

    def _down(self, transmit: Transmit) -> None:
        downlink = self.relay.route_transceiver(transmit.data, OWNER, self.now)
        if isinstance(downlink, Drop):
            self.crossings.append(Crossing(self.now, OWNER, INNER, transmit.data, downlink))
        if not isinstance(downlink, Downlink):
            return
        self.crossings.append(Crossing(self.now, downlink.proxy, downlink.client, downlink.payload))
        for client in self.clients:
            if client.address == downlink.client:
                client.receive_datagram(downlink.payload, downlink.proxy, self.now)

    def _fire(self) -> None:
        cores: tuple[Any, ...] = (*self.clients, self.endpoint, self.relay)
        for core in cores:
            due = core.next_timeout()
            if due is not None and due <= self.now:
                core.handle_timeout(self.now)
