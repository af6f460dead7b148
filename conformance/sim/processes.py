"""Workers of relays and transceivers as processes: a core, a clock, and a life that can end.

A process that is killed forgets everything; one that starts again begins with a fresh core, at the
same inner address. Around the cores is as little as can be: what ``stunroute.udp`` and
``transceiver.aio`` do between a socket and a core, and an application that echoes.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

from attrs import define, evolve, field

from conformance.client import fixed_identity, seeded
from stunroute.address import Address
from stunroute.flow import Flow
from stunroute.instant import Instant
from stunroute.relay import Downlink, Relay, Release
from stunroute.trace import Drop
from stunroute.waiting import Forget, Lookup, Remember
from transceiver.endpoint import Endpoint
from transceiver.errors import UnknownCall
from transceiver.events import AudioReceived, DataEnded, Ended, MessageReceived
from transceiver.events import Event as CallEvent

from .layout import Site
from .loop import Alarm, Clock
from .scene import Nodes, Scene
from .store import StoreAdapter

SOURCES_LATENCY = 0.005
"""Seconds until the other workers of a port know of a synchronisation source."""


class Wires(Protocol):
    """What lies between the processes."""

    def on_leg(self, source: Address, destination: Address, data: bytes) -> None: ...
    def to_client(self, proxy: Address, client: Address, data: bytes) -> None: ...


class Watch(Protocol):
    """Who checks what passes."""

    def uplink(self, worker: "Worker", data: bytes, client: Address, flow: Flow) -> None: ...
    def passed_on(self, worker: "Worker", data: bytes, flow: Flow) -> None: ...
    def downlink(self, worker: "Worker", hop: Address, route: Downlink) -> None: ...
    def restored(self, worker: "Worker", data: bytes, client: Address, hop: Address) -> None: ...
    def audio(self, host: "Host", event: AudioReceived) -> None: ...
    def message(self, host: "Host", event: MessageReceived) -> None: ...
    def told(self, host: "Host", event: CallEvent) -> None: ...


@define(slots=True, eq=False, repr=False)
class Worker:
    """One worker of a relay's ports. ``adapter`` makes its way to the store, None where there is
    none; ``siblings`` are the workers of the same ports. ``upstream`` as for ``Relay``."""

    scene: Scene
    site: Site
    inner: Address
    clock: Clock
    directory: Nodes
    wires: Wires
    watch: Watch
    make_adapter: Callable[["Worker"], StoreAdapter] | None
    upstream: Mapping[Address, Address] = field(factory=dict)
    siblings: list["Worker"] = field(factory=list)
    core: Relay | None = field(init=False, default=None)
    store: StoreAdapter | None = field(init=False, default=None)
    drops: Counter[Drop] = field(init=False, factory=Counter)
    """Of the lives before this one."""
    _alarm: Alarm = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._alarm = Alarm(self.clock, self._ring)
        self.start()

    def start(self) -> None:
        """With empty tables."""
        config = self.site.config
        self.core = Relay(
            config,
            self.scene.keyring,
            self.directory,
            proxies=self.site.publics,
            upstream=self.upstream,
            shares_sources=len(self.site.workers) > 1,
        )
        if config.store and self.make_adapter is not None:
            self.store = self.make_adapter(self)

    def kill(self) -> None:
        """Nothing is left."""
        if self.core is not None:
            self.drops.update(self.core.counters.drops)
        self.core = None
        self._alarm.silence()
        if self.store is not None:
            self.store.alive = False
            self.store = None

    def from_client(self, data: bytes, source: Address, proxy: Address) -> None:
        core = self.core
        if core is None:
            return
        route = core.route_client(data, source, proxy, self.clock.now)
        if isinstance(route, Flow):
            self.watch.uplink(self, data, source, route)
            self.wires.on_leg(self.inner, route.next_hop, route.header + data)
        self._after(core)

    def from_leg(self, data: bytes, sender: Address) -> None:
        """A datagram of a transceiver's, or of another relay's."""
        core = self.core
        if core is None:
            return
        if core.is_upstream(sender):
            self._from_upstream(core, data, sender)
        else:
            self._from_behind(core, data, sender)
        self._after(core)

    def _from_upstream(self, core: Relay, data: bytes, sender: Address) -> None:
        route = core.route_relay(data, sender, self.clock.now)
        if isinstance(route, Flow):
            self.watch.passed_on(self, data, route)
            self.wires.on_leg(self.inner, route.next_hop, data)

    def _from_behind(self, core: Relay, data: bytes, sender: Address) -> None:
        route = core.route_transceiver(data, sender, self.clock.now)
        match route:
            case Downlink(upstream=None):
                self.watch.downlink(self, sender, route)
                self.wires.to_client(route.proxy, route.client, route.payload)
            case Downlink(upstream=relay) if relay is not None:
                self.watch.downlink(self, sender, route)
                self.wires.on_leg(self.inner, relay, data)
            case Release(upstream=relay) if relay is not None:
                self.wires.on_leg(self.inner, relay, data)

    def found(self, client: Address, next_hop: Address | None, made: Instant | None) -> None:
        """The store's answer."""
        core = self.core
        if core is None:
            return
        for transmit in core.restore(client, next_hop, self.clock.now, made):
            self.watch.restored(self, transmit.data, client, transmit.address)
            self.wires.on_leg(self.inner, transmit.address, transmit.data)
        self._alarm.want(core.next_timeout())

    def jump(self, seconds: float) -> None:
        """The machine was suspended for so long, or looks as if."""
        self.clock.jump(seconds)
        if self.core is not None:
            self._ring()

    def _ring(self) -> None:
        core = self.core
        if core is not None:
            core.handle_timeout(self.clock.now)
            self._after(core)

    def _after(self, core: Relay) -> None:
        store = self.store
        while (request := core.next_request()) is not None and store is not None:
            match request:
                case Lookup(client):
                    store.lookup(client)
                case Remember(client, next_hop, made):
                    store.record(client, next_hop, made)
                case Forget(client, next_hop, made):
                    store.forget(client, next_hop, made)
        if self.siblings and (sources := core.take_sources()):
            for sibling in self.siblings:
                self.clock.loop.after(SOURCES_LATENCY, sibling.learn, sources)
        self._alarm.want(core.next_timeout())

    def learn(self, sources: dict[int, Address]) -> None:
        """A sibling's flows carry these."""
        if self.core is not None:
            self.core.learn_sources(sources, self.clock.now)
            self._alarm.want(self.core.next_timeout())


@define(slots=True, eq=False, repr=False)
class Host:
    """A transceiver, and the application that echoes everything."""

    scene: Scene
    node: int
    address: Address
    clock: Clock
    wires: Wires
    watch: Watch
    core: Endpoint | None = field(init=False, default=None)
    draining: bool = field(init=False, default=False)
    drops: Counter[Drop] = field(init=False, factory=Counter)
    _lives: int = field(init=False, default=0)
    _alarm: Alarm = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._alarm = Alarm(self.clock, self._ring)
        self.start()

    def start(self) -> None:
        """Without a call. Entropy is another than in the life before."""
        self._lives += 1
        self.draining = False
        name = f"{self.scene.seed} node {self.node} life {self._lives}"
        self.core = Endpoint(
            evolve(self.scene.endpoint_config, node=self.node),
            keyring=self.scene.keyring,
            identity=fixed_identity(seeded(f"{name} identity")),
            entropy=seeded(name),
        )

    def kill(self) -> None:
        """All its calls are lost, and nobody is told."""
        if self.core is not None:
            self.drops.update(self.core.drops)
        self.core = None
        self._alarm.silence()

    def receive(self, data: bytes, inner: Address) -> None:
        """A datagram of a relay's."""
        core = self.core
        if core is not None:
            event = core.take_datagram(data, inner, self.clock.now)
            if event is not None:
                self._echo(core, event)
            self.after(core)

    def jump(self, seconds: float) -> None:
        """As for a worker."""
        self.clock.jump(seconds)
        if self.core is not None:
            self._ring()

    def drain(self, within: float) -> None:
        """Take no more calls and let those there are end."""
        core = self.core
        if core is not None:
            self.draining = True
            core.drain(within, self.clock.now)
            self.after(core)

    def _ring(self) -> None:
        core = self.core
        if core is not None:
            core.handle_timeout(self.clock.now)
            self.after(core)

    def after(self, core: Endpoint) -> None:
        """Fetch all that the core has to say; to be called after each verb."""
        while (event := core.next_event()) is not None:
            match event:
                case AudioReceived():
                    self._echo(core, event)
                case MessageReceived(call, channel, message):
                    self.watch.message(self, event)
                    with suppress(UnknownCall):  # it has ended in the same breath
                        core.send_message(call, channel, message, self.clock.now)
                case Ended() | DataEnded():
                    self.watch.told(self, event)
        for transmit in core.take_transmits():
            self.wires.on_leg(self.address, transmit.address, transmit.data)
        self._alarm.want(core.next_timeout())

    def _echo(self, core: Endpoint, event: AudioReceived) -> None:
        self.watch.audio(self, event)
        with suppress(UnknownCall):  # it has ended in the same breath
            core.send_audio(
                event.call, event.payload, event.timestamp, event.marker, self.clock.now
            )
