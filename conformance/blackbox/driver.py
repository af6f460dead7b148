"""The driver over UDP: a stage for each case, before the server that the command line named.

Each case gets sockets and a trail of its own, and whatever it has opened is hung up behind it, so
that no case hears what another one has asked for.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from urllib.parse import urlsplit

from attrs import define, field

from conformance.case import Blocked, Case, Profile, Unsupported
from conformance.client import seeded
from conformance.stage import PATIENCE, Stage, Target
from stunroute.address import Address

from .door import HttpDoor, HttpResource, Style
from .presence import Presence
from .wire import Bounds, Leash, UdpWire, hosts_of, is_ours, local_ip, resolve


@define(slots=True)
class UdpDriver:
    """``url`` is the door of a server, ``target`` a bare address; one of them. ``allowed`` are
    addresses (port 0: any port) besides the door's own host that answers may lead to; where that
    host is this machine, so are the addresses of this machine. ``media`` is where answers have been
    found to lead. ``longest``: cases that take more seconds than that are not asked. Without
    ``presence`` nobody looks whether the server is there."""

    url: str | None = None
    style: Style = Style.WHIP
    target: Target | None = None
    allowed: tuple[Address, ...] = ()
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    patience: float = PATIENCE
    longest: float = 10.0
    seed: str = "0"
    bounds: Bounds = field(factory=Bounds)
    leash: Leash = field(factory=Leash)
    name: str = "udp"
    presence: Presence | None = None
    media: Address | None = None
    _resolved: tuple[Address, ...] = ()

    @contextmanager
    def stage(self, case: Case) -> Iterator[Stage]:
        """Open sockets, and hang up and shut all when the case is over. Raises Unsupported for a
        case that this server is not asked, Blocked where nobody is there before the case or has
        taken a single connection in it, OSError where its name cannot be resolved."""
        if case.lasts > self.longest:
            raise Unsupported(f"takes {case.lasts:g} s (--longest)")
        if Profile.RELAY in case.profiles:
            raise Unsupported("asks a relay (--relay)")
        if self.target is not None and Profile.STUN not in case.profiles:
            raise Unsupported("needs signalling (--whip or --calls)")
        if self.presence is not None:
            self.presence.need()
        hushed = self.presence.silent if self.presence is not None else None
        with self.open(case.name, case.lasts, hushed) as stage:
            resource = stage.door.resource if isinstance(stage.door, HttpDoor) else None
            try:
                yield stage
                if resource is not None and resource.missed and not resource.reached:
                    raise Blocked(f"nobody answers at {self.url}: {resource.missed}")
            finally:
                if resource is not None and resource.missed and self.presence is not None:
                    self.presence.doubt()

    @contextmanager
    def open(
        self, name: str, more_seconds: float = 0.0, hushed: str | None = None
    ) -> Iterator[Stage]:
        """A stage for whatever is called ``name``, which entropy depends on, and may last so much
        longer than others. ``hushed`` says why no datagram is to be sent. Raises OSError."""
        known = self.known()
        bounds = self.bounds.beyond(more_seconds)
        wire = UdpWire(
            hosts=hosts_of(address for address in known if address.port == 0),
            addresses=frozenset(address for address in known if address.port),
            bind=local_ip(self.media or _reached(known)),
            here=self.url is not None and any(map(is_ours, self._resolved)),
            bounds=bounds,
            leash=self.leash,
            hushed=hushed,
        )
        resource = door = None
        if self.url is not None:
            resource = HttpResource(self.url, self.style.value, self.headers, lasts=bounds.seconds)
            door = HttpDoor(resource)
        try:
            yield Stage(
                wire,
                seeded(f"{self.seed} {name}"),
                door=door,
                target=self.target,
                patience=self.patience,
            )
        finally:
            try:
                if door is not None:
                    door.hang_up_all()
            finally:
                if resource is not None:
                    resource.close()
                wire.close()

    def known(self) -> tuple[Address, ...]:
        """Whom the command line has named; the first is where the server is, by IPv4 if it can be.
        A name is asked for once: where it leads later is nobody that was given. Raises OSError."""
        if self.target is not None:
            return (self.target.address, *self.allowed)
        if not self._resolved:
            found = resolve(urlsplit(self.url or "").hostname or "")
            self._resolved = tuple(sorted(found, key=lambda each: not each.is_ipv4))
        return (*self._resolved, *self.allowed)


def _reached(known: tuple[Address, ...]) -> Address:
    """Where media is looked for at first: at the door's host, unless that is loopback and another
    was allowed. From a loopback address nothing but this machine can be reached."""
    beyond = [address for address in known if not ip_address(address.ip).is_loopback]
    return beyond[0] if beyond else known[0]
