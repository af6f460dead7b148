"""Our own cores as the server that is asked, in memory and in virtual time.

``MemoryDriver`` puts the endpoint where a server stands, without a relay: its leg is made and read
here. ``SimulatedDriver`` puts the real relay before it and a network between that takes its time.
Both run an application that echoes: audio packet for packet, messages word for word.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from attrs import define, field

from conformance.case import Case, Profile
from conformance.client import fixed_identity, seeded
from conformance.relay_stage import RelayStage
from conformance.stage import Http, Opened, Refused, Stage
from conformance.wire import Wire
from stunroute import forward
from stunroute.address import Address
from stunroute.config import RelayConfig
from stunroute.directory import NextHop, StaticDirectory
from stunroute.flow import Flow
from stunroute.hint import HintConfiguration, KeyRing
from stunroute.instant import Instant
from stunroute.relay import Downlink, Relay
from transceiver.config import EndpointConfig
from transceiver.endpoint import Endpoint
from transceiver.errors import CallError
from transceiver.events import AudioReceived, EndReason, MessageReceived

from .relay import RelayDriver
from .virtual import Emission, VirtualWire

PUBLIC = Address.of("203.0.113.1", 3478)
"""The address in the answers."""
INNER = Address.of("10.1.0.1", 4000)
"""The relay's, on the leg."""
OWNER = Address.of("10.1.0.2", 5000)
"""The transceiver's, on the leg."""


def make_endpoint(seed: str, **changes: Any) -> tuple[Endpoint, KeyRing]:
    """An endpoint with everything from one seed, and its keys."""
    keyring = KeyRing((HintConfiguration.generate("0", seeded(f"hints {seed}")),))
    values: dict[str, Any] = {
        "cluster": 1,
        "node": 7,
        "candidates": (PUBLIC,),
        "relays": frozenset({INNER}),
    }
    endpoint = Endpoint(
        EndpointConfig(**(values | changes)),
        keyring=keyring,
        identity=fixed_identity(seeded(f"identity {seed}")),
        entropy=seeded(f"endpoint {seed}"),
    )
    return endpoint, keyring


@define(slots=True)
class EchoServer:
    """An endpoint, and the leg to it without a relay."""

    endpoint: Endpoint

    def receive(self, data: bytes, source: Address, destination: Address, now: Instant) -> None:
        self.endpoint.receive_datagram(forward.encode(source, destination) + data, INNER, now)
        self.echo(now)

    def next_emission(self) -> Emission | None:
        while (transmit := self.endpoint.next_transmit()) is not None:
            leg = forward.decode_untrusted(transmit.data)
            payload = transmit.data[forward.HEADER_LENGTH :]
            if payload:  # an empty one releases the client's flow at the relay
                return Emission(payload, leg.proxy, leg.client)
        return None

    def handle_timeout(self, now: Instant) -> None:
        self.endpoint.handle_timeout(now)
        self.echo(now)

    def next_timeout(self) -> Instant | None:
        return self.endpoint.next_timeout()

    def echo(self, now: Instant) -> None:
        """What the application does."""
        while (event := self.endpoint.next_event()) is not None:
            match event:
                case AudioReceived():
                    self.endpoint.send_audio(
                        event.call, event.payload, event.timestamp, event.marker, now
                    )
                case MessageReceived():
                    self.endpoint.send_message(event.call, event.channel, event.message, now)


@define(slots=True)
class RelayedServer:
    """The same behind the real relay."""

    inner: EchoServer
    relay: Relay

    def receive(self, data: bytes, source: Address, destination: Address, now: Instant) -> None:
        route = self.relay.route_client(data, source, destination, now)
        if isinstance(route, Flow):
            self.inner.endpoint.receive_datagram(route.header + data, INNER, now)
            self.inner.echo(now)
        self._now = now

    _now: Instant = 0.0

    def next_emission(self) -> Emission | None:
        while (transmit := self.inner.endpoint.next_transmit()) is not None:
            route = self.relay.route_transceiver(transmit.data, OWNER, self._now)
            if isinstance(route, Downlink):
                return Emission(route.payload, route.proxy, route.client)
        return None

    def handle_timeout(self, now: Instant) -> None:
        self._now = now
        for core in (self.inner, self.relay):
            due = core.next_timeout()
            if due is not None and due <= now:
                core.handle_timeout(now)

    def next_timeout(self) -> Instant | None:
        due = [self.inner.next_timeout(), self.relay.next_timeout()]
        return min((each for each in due if each is not None), default=None)


@define(slots=True)
class MemoryDoor:
    """Signalling without HTTP."""

    endpoint: Endpoint
    clock: Callable[[], Instant]
    http: Http | None = None

    def open(self, offer: str) -> Opened:
        answered = self._ask(lambda: self.endpoint.open_call(offer, self.clock()))
        return Opened(answered.call, answered.answer)

    def reoffer(self, call: str, offer: str) -> str:
        return str(self._ask(lambda: self.endpoint.reoffer(call, offer, self.clock())))

    def restart(self, call: str, fragment: str) -> str | None:
        answer: str | None = self._ask(
            lambda: self.endpoint.restart_ice(call, fragment, self.clock())
        )
        return answer

    def hang_up(self, call: str) -> None:
        self._ask(lambda: self.endpoint.close_call(call, EndReason.HANGUP, self.clock()))

    def _ask(self, what: Callable[[], Any]) -> Any:
        try:
            return what()
        except CallError as error:
            raise Refused(str(error)) from error


@define(slots=True)
class MemoryDriver:
    """``make_server`` is there for mutants: a server that is broken in one place."""

    name: str = "memory"
    make_server: Callable[[str], tuple[Endpoint, KeyRing]] = field(default=make_endpoint)

    @contextmanager
    def stage(self, case: Case) -> Iterator[Stage | RelayStage]:
        """A fresh server for a case, or a fresh relay for a case about relays."""
        if Profile.RELAY in case.profiles:
            with RelayDriver(self.name).stage(case) as stage:
                yield stage
        else:
            yield self._before_server(case)

    def _before_server(self, case: Case) -> Stage:
        endpoint, _ = self.make_server(case.name)
        wire = VirtualWire(EchoServer(endpoint), frozenset({PUBLIC}))
        return _stage(case, wire, endpoint)


@define(slots=True)
class SimulatedDriver(MemoryDriver):
    """The server behind a fresh relay, and 5 to 45 ms each way, drawn per datagram."""

    name: str = "simulator"

    def _before_server(self, case: Case) -> Stage:
        endpoint, keyring = self.make_server(case.name)
        config = endpoint.config
        directory = StaticDirectory({(config.cluster, config.node): NextHop(OWNER)})
        server = RelayedServer(EchoServer(endpoint), Relay(RelayConfig(), keyring, directory))
        draw = seeded(f"weather {case.name}")
        wire = VirtualWire(
            server, frozenset({PUBLIC}), latency=lambda: 0.005 + draw(1)[0] / 255 * 0.04
        )
        return _stage(case, wire, endpoint)


def _stage(case: Case, wire: Wire, endpoint: Endpoint) -> Stage:
    door = MemoryDoor(endpoint, lambda: wire.now)
    return Stage(wire, seeded(f"case {case.name}"), door=door)
