"""A relay on sockets: the core, its clock, its store, its timer, and an adapter that reads and
writes. One worker is one of these.

The loop's clock is the core's clock. Nothing is logged for a packet: counters say it all, and a
log line costs more than a packet does.
"""

import asyncio
import os
import time
from collections.abc import Mapping

from attrs import evolve

from stunroute.address import Address
from stunroute.directory import Directory
from stunroute.hint import KeyRing
from stunroute.instant import Instant
from stunroute.relay import Counters, Relay
from stunroute.settings import Adapter as Choice
from stunroute.settings import RelaySettings
from stunroute.status import (
    ConfigurationStatus,
    FlowStatus,
    SocketStatus,
    StoreStatus,
    WorkerStatus,
)
from stunroute.store import NoStore, Store, serve
from stunroute.trace import FlowRecord, Observe

from . import batched
from .plain import PlainAdapter
from .ports import Adapter
from .sockets import BoundSockets, bind_all, bound_address

FOR_A_RESTART = ("listen", "inner", "workers", "sockets", "store", "operations")
"""Settings that are bound to what exists for the life of the process."""


class RelayServer:
    """A relay on sockets. ``start`` begins, ``close`` ends; in between it runs by itself on the
    loop it was started on.

    ``bound`` are sockets that somebody else has bound and keeps; without them it binds its own.
    ``worker`` is its number among those that share a port. ``observe`` is the core's.
    """

    def __init__(
        self,
        settings: RelaySettings,
        keyring: KeyRing,
        directory: Directory,
        *,
        worker: int = 0,
        bound: BoundSockets | None = None,
        store: Store | None = None,
        observe: Observe | None = None,
    ) -> None:
        self.settings = settings
        self.worker = worker
        self.relay: Relay
        self.public: tuple[Address, ...] = ()
        """The bound public addresses, in the order of ``settings.listen``."""
        self.proxies: tuple[Address, ...] = ()
        """What the leg's header calls them."""
        self.inner: Address
        self._keyring = keyring
        self._directory = directory
        self._bound = bound
        self._store = store or NoStore()
        self._observe = observe
        self._started = time.time()
        self._adapter: Adapter
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at: Instant | None = None
        self._serving = False

    async def start(self) -> None:
        """Raises OSError if an address cannot be bound, ConfigError if the core refuses its
        settings; no socket of its own is left open then."""
        loop = asyncio.get_running_loop()
        self._loop = loop
        self.now = loop.time
        bound = self._bound or bind_all(self.settings)[self.worker]
        try:
            self.inner = bound_address(bound.inner)
            self.public = tuple(map(bound_address, bound.public))
            self.proxies = tuple(
                listen.advertise or address
                for listen, address in zip(self.settings.listen, self.public, strict=True)
            )
            self.relay = Relay(
                self.settings.core,
                self._keyring,
                self._directory,
                proxies=self.proxies,
                upstream=self.settings.upstreams,
                observe=self._observe,
                changed=self._changed,
                # Whoever keeps the sockets remembers what this worker learns, for the next one.
                shares_sources=self._bound is not None,
            )
            adapter = _choose(self.settings.sockets.adapter)
            self._adapter = adapter(self, bound, self.proxies)
            await self._adapter.open()
        except BaseException:
            if self._bound is None:
                bound.close()
            raise

    def drain(self) -> None:
        """Forward what the sockets hold now; for a stop that loses nothing."""
        self._adapter.drain()

    async def close(self) -> None:
        """Close the sockets; what waits in a backlog is not sent any more."""
        if self._timer is not None:
            self._timer.cancel()
        await self._store.aclose()
        await self._adapter.close()

    def reload(
        self, settings: RelaySettings, keyring: KeyRing, directory: Directory
    ) -> tuple[str, ...]:
        """Take over what may change between two packets: keys, next hops, upstream relays, where
        checks are verified, limits. Returns the names of changed settings that wait for a restart.
        Raises ConfigError, with nothing changed, if the core refuses them."""
        old = self.settings
        waiting = tuple(n for n in FOR_A_RESTART if getattr(settings, n) != getattr(old, n))
        taken = evolve(settings, **{name: getattr(old, name) for name in FOR_A_RESTART})
        self.relay.reconfigure(
            settings.core, keyring, directory, upstream=settings.upstreams, now=self.now()
        )
        self._adapter.forget()
        self._keyring, self._directory = keyring, directory
        self.settings = taken
        self.settle()
        return waiting

    @property
    def counters(self) -> Counters:
        """The core's, up to now."""
        self._adapter.merge()
        return self.relay.counters

    def status(self) -> WorkerStatus:
        counters = self.counters
        now = self.now()
        store = getattr(self._store, "status", None)
        told: StoreStatus | None = store() if store is not None else None
        return WorkerStatus(
            worker=self.worker,
            pid=os.getpid(),
            started=self._started,
            adapter=self._adapter.name,
            flows=self.relay.flows,
            contenders=self.relay.contenders,
            counters=counters.scalars(),
            drops={drop.value: count for drop, count in counters.drops.items()},
            kinds={
                (direction, kind.value): count
                for direction, kinds in (
                    ("uplink", counters.uplink_kinds),
                    ("downlink", counters.downlink_kinds),
                )
                for kind, count in kinds.items()
            },
            sockets=self.sockets,
            configurations=tuple(
                ConfigurationStatus(
                    configuration.identifier,
                    configuration.is_readable(now),
                    configuration.is_mintable(now),
                    self.relay.verifies(configuration.identifier),
                    counters.checks[configuration.identifier],
                )
                for configuration in self._keyring.configurations
            ),
            store=told,
        )

    def flows(self, limit: int) -> list[FlowStatus]:
        """Some of the flows, at most ``limit``."""
        now = self.now()
        return [
            FlowStatus(
                self.worker,
                flow.client,
                flow.next_hop,
                flow.origin.value,
                now - flow.created,
                now - flow.seen,
                flow.verified,
            )
            for flow in self.relay.some_flows(limit)
        ]

    def take_sources(self) -> dict[int, Address]:
        """See ``Relay.take_sources``."""
        return self.relay.take_sources()

    def learn_sources(self, sources: Mapping[int, Address]) -> None:
        """See ``Relay.learn_sources``."""
        self.relay.learn_sources(sources, self.now())
        self.settle()

    @property
    def sockets(self) -> tuple[SocketStatus, ...]:
        return self._adapter.sockets()

    def settle(self) -> None:
        """After verbs of the core: serve its requests and set the timer."""
        if self.relay.config.store and not self._serving:
            # A store that answers at once comes back here, for each of a batch's look-ups.
            self._serving = True
            try:
                serve(self.relay, self._store, self._answer)
            finally:
                self._serving = False
        wakes_at = self.relay.next_timeout()
        if wakes_at != self._wakes_at:
            if self._timer is not None:
                self._timer.cancel()
            self._wakes_at = wakes_at
            self._timer = None if wakes_at is None else self._loop.call_at(wakes_at, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._wakes_at = None
        # The loop may call a timer early by its clock's resolution; its deadline has come then.
        try:
            self.relay.handle_timeout(self.now() + 0.001)
        finally:
            self.settle()

    def _changed(self, record: FlowRecord) -> None:
        self._adapter.flow_changed(record)

    def _answer(
        self, client: Address, next_hop: Address | None, made: Instant | None = None
    ) -> None:
        now = self.now()
        for transmit in self.relay.restore(client, next_hop, now, made):
            self._adapter.send_inner(transmit.data, transmit.address, now)
        self.settle()


def _choose(wanted: Choice | None) -> type[PlainAdapter] | type[batched.BatchedAdapter]:
    """Raises OSError where the batched adapter is demanded and cannot work."""
    usable = batched.is_supported()
    if wanted is Choice.BATCHED and not usable:
        raise OSError(f"no batched adapter: {batched.NEEDS}")
    return batched.BatchedAdapter if usable and wanted is not Choice.PLAIN else PlainAdapter
