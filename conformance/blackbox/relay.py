"""The driver before somebody's relay, over UDP: we are its clients and its next hops.

A relay knows its next hops by address, so these sockets are opened where they were for every case.
A client's port is one that no case has used before, lest an old flow be taken for a new one.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from attrs import define, field

from conformance.case import Case, Profile, Unsupported
from conformance.client import seeded
from conformance.relay_stage import Node, RelayStage, Upstream
from conformance.stage import PATIENCE
from stunroute.address import Address
from stunroute.hint import KeyRing

from .presence import Presence
from .wire import Bounds, Leash, UdpWire, hosts_of, local_ip, unused_ports


@define(slots=True)
class UdpRelayDriver:
    """``public`` is the relay's address for clients; ``nodes`` are the next hops that it was
    configured with, on this machine. Its inner address is learned from what it delivers, and has to
    be on a host of ``allowed`` or on the relay's own. ``beside``, ``upstream`` and ``drained`` are
    as for ``RelayStage``. One case at a time: the next hops' sockets are where they are."""

    public: Address
    nodes: tuple[Node, ...]
    keyring: KeyRing = field(repr=False)
    verifies: bool = False
    restart: Callable[[], None] | None = None
    beside: tuple[Address, ...] = ()
    upstream: Upstream | None = None
    drained: Callable[[Node], AbstractContextManager[None]] | None = None
    allowed: tuple[Address, ...] = ()
    patience: float = PATIENCE
    longest: float = 10.0
    seed: str = "0"
    bounds: Bounds = field(factory=Bounds)
    leash: Leash = field(factory=Leash)
    name: str = "udp"
    presence: Presence | None = None
    _ports: Iterator[int] = field(factory=unused_ports)

    @contextmanager
    def stage(self, case: Case) -> Iterator[RelayStage]:
        """Open the next hops, and shut them when the case is over. Raises Unsupported, Blocked
        where no relay is there, OSError."""
        if Profile.RELAY not in case.profiles:
            raise Unsupported("asks a server, not a relay")
        if case.lasts > self.longest:
            raise Unsupported(f"takes {case.lasts:g} s (--longest)")
        if self.presence is not None:
            self.presence.need()
        with self.open(case.name, case.lasts) as stage:
            yield stage

    @contextmanager
    def open(self, name: str, more_seconds: float = 0.0) -> Iterator[RelayStage]:
        """A stage for whatever is called ``name``, as in ``UdpDriver.open``."""
        wire = UdpWire(
            hosts=hosts_of(
                (self.public, *self.beside, *(each for each in self.allowed if not each.port))
            ),
            addresses=frozenset(each for each in self.allowed if each.port),
            bind=local_ip(self.public),
            bounds=self.bounds.beyond(more_seconds),
            leash=self.leash,
            ports=self._ports,
        )
        try:
            for node in (*self.nodes, *(() if self.upstream is None else (self.upstream.node,))):
                wire.adopt(node.address)
            yield RelayStage(
                wire,
                seeded(f"{self.seed} {name}"),
                self.public,
                self.nodes,
                self.keyring,
                verifies=self.verifies,
                restart=self.restart,
                elsewhere=_elsewhere(wire),
                beside=self.beside,
                reach=partial(_reach, wire),
                upstream=self.upstream,
                drained=self.drained,
                patience=self.patience,
            )
        finally:
            wire.close()


def _reach(wire: UdpWire, public: Address) -> Address:
    """A socket from which that address can be reached."""
    try:
        return wire.open_at(local_ip(public))
    except OSError as error:
        raise Unsupported(f"no way to {public.ip} from here: {error}") from error


def _elsewhere(wire: UdpWire) -> Callable[[], Address] | None:
    """On loopback a machine has more hosts than one."""
    if not wire.bind.startswith("127."):
        return None

    def opened() -> Address:
        try:
            return wire.adopt(Address.of("127.9.9.9", 0))
        except OSError as error:
            raise Unsupported(f"no second loopback address: {error}") from error

    return opened
