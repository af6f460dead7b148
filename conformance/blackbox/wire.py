"""Sockets and the machine's clock.

One selector per case, so cases may run side by side in threads. Everything that arrives is taken
out of the kernel at once and kept with the time at which we saw it; a server that floods us fills a
bounded inbox and then loses packets, as it would in any kernel. Nor does a flood keep a case from
its end: when the time is up that it waits for, what has come by then is all that it gets.
"""

import contextlib
import itertools
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from attrs import define, evolve, field, frozen

from conformance.wire import Arrival, Forbidden
from stunroute.address import Address
from stunroute.allowance import TokenBucket
from stunroute.instant import Instant

DATAGRAM = 65536
SOCKETS = 64
INBOX = 4096
TAKEN_PORTS = 200
GLANCE = 0.2
"""Seconds after which somebody who waits looks whether the run has been stopped."""

PORTS = range(32_000, 61_000)
PORTS_PER_SECOND = 24


@frozen(slots=True)
class Bounds:
    """What one case may do to a stranger's server: packets per second (and how many at once),
    bytes in all, seconds from its beginning to its end."""

    rate: float = 500.0
    burst: int = 200
    bytes: int = 8_000_000
    seconds: float = 120.0

    def beyond(self, lasts: float) -> "Bounds":
        """The same for a case that has to last that long."""
        return evolve(self, seconds=self.seconds + lasts)


@define(slots=True)
class Leash:
    """What holds all cases of a run, however many are asked at a time: a rate, in packets per
    second, and that they can be stopped."""

    rate: float = 2000.0
    burst: int = 400
    stopped: threading.Event = field(factory=threading.Event)
    _bucket: TokenBucket = field(init=False)
    _lock: threading.Lock = field(init=False, factory=threading.Lock)

    def __attrs_post_init__(self) -> None:
        self._bucket = TokenBucket(self.rate, self.burst)

    def take(self, now: Instant) -> bool:
        """Whether one more packet may be sent now."""
        with self._lock:
            return self._bucket.take(now)

    def go_on(self) -> None:
        """Raises Forbidden when the run has been stopped."""
        if self.stopped.is_set():
            raise Forbidden("the run was stopped")


@define(slots=True)
class UdpWire:
    """``hosts`` are the IP addresses that may be sent to, at any port; ``addresses`` those with one
    port alone; with ``here`` those of this machine may be, too. ``bind`` is the local IP address of
    all sockets, and ``ports`` are theirs, one after the other, where it matters which: those that
    are taken are passed over. ``hushed`` says why nothing may be sent: nobody would hear it."""

    hosts: frozenset[bytes]
    addresses: frozenset[Address]
    bind: str
    here: bool = False
    bounds: Bounds = field(factory=Bounds)
    ports: Iterator[int] | None = None
    leash: Leash = field(factory=Leash)
    hushed: str | None = None
    _selector: selectors.BaseSelector = field(factory=selectors.DefaultSelector)
    _sockets: dict[Address, socket.socket] = field(factory=dict)
    _inbox: deque[Arrival] = field(factory=deque)
    _bucket: TokenBucket = field(init=False)
    _began: Instant = field(factory=time.monotonic)
    _swept: Instant = 0.0
    """The end of waiting for which the kernel has been emptied a last time."""
    _sent: int = 0
    _ours: set[bytes] = field(factory=set)

    def __attrs_post_init__(self) -> None:
        self._bucket = TokenBucket(self.bounds.rate, self.bounds.burst)

    @property
    def now(self) -> Instant:
        return time.monotonic()

    def open(self) -> Address:
        return self.open_at(self.bind)

    def open_at(self, ip: str) -> Address:
        """As ``open``, at another IP address of this machine. Raises OSError."""
        if self.ports is None:
            return self.adopt(Address.of(ip, 0))
        for port in itertools.islice(self.ports, TAKEN_PORTS):
            with contextlib.suppress(OSError):
                return self.adopt(Address.of(ip, port))
        raise OSError(f"{TAKEN_PORTS} ports in a row are taken")

    def adopt(self, address: Address) -> Address:
        """A socket at a given local address; port 0: any. Raises Forbidden for one too many,
        OSError where the address cannot be had."""
        if len(self._sockets) >= SOCKETS:
            raise Forbidden(f"more than {SOCKETS} sockets")
        family = socket.AF_INET if address.is_ipv4 else socket.AF_INET6
        made = socket.socket(family, socket.SOCK_DGRAM)
        try:
            made.setblocking(False)
            made.bind((address.ip, address.port))
        except OSError:
            made.close()
            raise
        bound = Address.of(*made.getsockname()[:2])
        self._sockets[bound] = made
        self._selector.register(made, selectors.EVENT_READ, bound)
        return bound

    def may_send_to(self, address: Address) -> bool:
        reachable = address.is_ipv4 is (":" not in self.bind)  # from our sockets
        return reachable and self.is_given(address)

    def is_given(self, address: Address) -> bool:
        """Whether the command line leads there, be it by another kind of socket than ours are."""
        given = address in self.addresses or address.host in self.hosts or self._is_here(address)
        return given and address.is_sendable

    def _is_here(self, address: Address) -> bool:
        if self.here and address.host not in self._ours and is_ours(address):
            self._ours.add(address.host)
        return address.host in self._ours

    def send(self, data: bytes, socket: Address, destination: Address) -> None:
        if self.hushed is not None:
            raise Forbidden(self.hushed)
        if not self.is_given(destination) or destination.is_ipv4 is not socket.is_ipv4:
            raise Forbidden(f"{destination} was not given on the command line")
        self._sent += len(data)
        if self._sent > self.bounds.bytes:
            raise Forbidden(f"the case has sent {self.bounds.bytes} bytes")
        self._go_on()
        while not self._bucket.take(self.now):
            self._collect(1 / self.bounds.rate)
        while not self.leash.take(self.now):
            self._go_on()
            self._collect(1 / self.leash.rate)
        # Somebody's port is shut, or a buffer of ours is full: a silence.
        with contextlib.suppress(ConnectionRefusedError, BlockingIOError):
            self._sockets[socket].sendto(data, (destination.ip, destination.port))

    def receive(self, until: Instant) -> Arrival | None:
        """Raises Forbidden when the case has had its time."""
        while not self._inbox:
            self._go_on()
            left = until - self.now
            if left > 0:
                self._collect(min(left, GLANCE))
            elif self._swept != until:
                self._swept = until
                self._collect(0.0)
            else:
                return None
        return self._inbox.popleft()

    def _go_on(self) -> None:
        self.leash.go_on()
        if self.now - self._began > self.bounds.seconds:
            raise Forbidden(f"the case has run for {self.bounds.seconds:g} s")

    def _collect(self, wait: float) -> None:
        for key, _ in self._selector.select(wait):
            self._drain(key.data)

    def _drain(self, bound: Address) -> None:
        for _ in range(INBOX):
            try:
                data, source = self._sockets[bound].recvfrom(DATAGRAM)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error of an earlier packet
                continue
            if len(self._inbox) < INBOX:
                self._inbox.append(Arrival(self.now, data, Address.of(*source[:2]), bound))

    def close(self) -> None:
        """Shut every socket."""
        for each in self._sockets.values():
            each.close()
        self._sockets.clear()
        self._selector.close()


def unused_ports() -> Iterator[int]:
    """Ports without end, none of which comes again for about twenty minutes, in this process or in
    one that is started later: it begins further on as time goes by, and faster than a run uses them
    up. A relay remembers an address for a while, and who was known there is no stranger."""
    return itertools.cycle(_turned(list(PORTS), int(time.time() * PORTS_PER_SECOND)))


def _turned(ports: list[int], by: int) -> list[int]:
    by %= len(ports)
    return ports[by:] + ports[:by]


def local_ip(target: Address) -> str:
    """The address of ours from which the kernel would send to ``target``. Sends nothing. Raises
    OSError where there is no way."""
    family = socket.AF_INET if target.is_ipv4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.connect((target.ip, target.port or 9))
        return str(asking.getsockname()[0])


def is_ours(address: Address) -> bool:
    """Whether this machine has that address: what it sends there, it would send from there. A
    second address of the same network is taken for a stranger's."""
    try:
        return ip_address(address.ip).is_loopback or local_ip(address) == address.ip
    except OSError:
        return False


def resolve(host: str) -> tuple[Address, ...]:
    """The IP addresses of a name, with port 0. Raises OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    return tuple(dict.fromkeys(Address.of(str(each[4][0]), 0) for each in found))


def hosts_of(addresses: Iterable[Address]) -> frozenset[bytes]:
    """Their hosts, for ``UdpWire.hosts``."""
    return frozenset(address.host for address in addresses)
