"""The driver over UDP: a stage for each case, before the server that the command line named."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from urllib.parse import urlsplit

from attrs import define, field

from conformance.case import Case, Profile, Unsupported
from conformance.client import seeded
from conformance.stage import PATIENCE, Stage, Target
from stunroute.address import Address

from .door import HttpDoor, HttpResource, Style
from .wire import Bounds, Leash, UdpWire, hosts_of, local_ip, resolve


@define(slots=True)
class UdpDriver:
    """``url`` is the door of a server, ``target`` a bare address; one of them. ``allowed`` are
    addresses (port 0: any port) besides the door's own host that answers may lead to. ``longest``:
    cases that take more seconds than that are not asked."""

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
    _resolved: tuple[Address, ...] = ()

    @contextmanager
    def stage(self, case: Case) -> Iterator[Stage]:
        """Open sockets, and hang up and shut all when the case is over. Raises Unsupported for a
        case that this server is not asked, OSError where its name cannot be resolved."""
        if case.lasts > self.longest:
            raise Unsupported(f"takes {case.lasts:g} s (--longest)")
        if Profile.RELAY in case.profiles:
            raise Unsupported("asks a relay (--relay)")
        if self.target is not None and Profile.STUN not in case.profiles:
            raise Unsupported("needs signalling (--whip or --calls)")
        known = self.known()
        wire = UdpWire(
            hosts=hosts_of(address for address in known if address.port == 0),
            addresses=frozenset(address for address in known if address.port),
            bind=local_ip(_reached(known)),
            bounds=self.bounds.beyond(case.lasts),
            leash=self.leash,
        )
        resource = door = None
        if self.url is not None:
            lasts = self.bounds.beyond(case.lasts).seconds
            resource = HttpResource(self.url, self.style.value, self.headers, lasts=lasts)
            door = HttpDoor(resource)
        try:
            yield Stage(
                wire,
                seeded(f"{self.seed} {case.name}"),
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
    """Where media will be: at the door's host, unless that is loopback and another was allowed.
    From a loopback address nothing else can be reached."""
    beyond = [address for address in known if not ip_address(address.ip).is_loopback]
    return beyond[0] if beyond else known[0]
