"""A wire in virtual time, with somebody's core at its other end.

Waiting moves the clock: to the next datagram that arrives, to the next deadline of the server, to
the time that the case gave. What is sent takes as long as the ``Weather`` says, and never overtakes
what went before it the same way: a case asks about a server, not about reordering.
"""

import heapq
from collections import deque
from collections.abc import Callable
from typing import Protocol

from attrs import define, field, frozen

from conformance.wire import Arrival, Forbidden
from stunroute.address import Address
from stunroute.instant import Instant

START: Instant = 1000.0
MOST_STEPS = 200_000
"""Deadlines and datagrams between two arrivals: a server whose deadline never moves stops here."""
MOST_AT_ONCE = 20_000
"""Datagrams that a server may have to say without a pause."""


@frozen(slots=True)
class Emission:
    """A datagram that the server's side sends, from one of its addresses to one of ours."""

    data: bytes = field(repr=False)
    source: Address
    destination: Address


class Server(Protocol):
    """The other end: cores behind addresses."""

    def receive(self, data: bytes, source: Address, destination: Address, now: Instant) -> None: ...
    def next_emission(self) -> Emission | None: ...
    def handle_timeout(self, now: Instant) -> None: ...
    def next_timeout(self) -> Instant | None: ...


@define(slots=True)
class VirtualWire:
    """``latency`` says for each datagram how long it is under way, in seconds. ``addresses`` are
    those that the server has."""

    server: Server
    addresses: frozenset[Address]
    latency: Callable[[], float] = lambda: 0.0005
    host: str = "192.0.2.33"
    now: Instant = START
    _next_port: int = 50000
    _sockets: set[Address] = field(factory=set)
    _inbox: deque[Arrival] = field(factory=deque)
    _flying: list[tuple[Instant, int, Emission]] = field(factory=list)
    _latest: dict[tuple[Address, Address], Instant] = field(factory=dict)
    _count: int = 0

    def open(self) -> Address:
        address = Address.of(self.host, self._next_port)
        self._next_port += 1
        self._sockets.add(address)
        return address

    def adopt(self, address: Address) -> Address:
        """A socket at an address that the stage has fixed, a node's for instance."""
        self._sockets.add(address)
        return address

    def may_send_to(self, address: Address) -> bool:
        return address in self.addresses

    def send(self, data: bytes, socket: Address, destination: Address) -> None:
        if not self.may_send_to(destination):
            raise Forbidden(f"nobody has allowed {destination}")
        if socket not in self._sockets:
            raise Forbidden(f"{socket} is no socket of ours")
        self._launch(Emission(data, socket, destination))

    def receive(self, until: Instant) -> Arrival | None:
        for _ in range(MOST_STEPS):
            self._collect()
            if self._inbox:
                return self._inbox.popleft()
            due = self._next_due()
            if due is None or due > until:
                self.now = max(self.now, until)
                return None
            self.now = max(self.now, due)
            self._deliver()
            deadline = self.server.next_timeout()
            if deadline is not None and deadline <= self.now:
                self.server.handle_timeout(self.now)
        raise RuntimeError("the server's deadlines do not move")

    def _collect(self) -> None:
        for _ in range(MOST_AT_ONCE):
            if (emission := self.server.next_emission()) is None:
                return
            self._launch(emission)
        raise RuntimeError("the server does not stop sending")

    def _launch(self, emission: Emission) -> None:
        way = (emission.source, emission.destination)
        arrives = max(self.now + self.latency(), self._latest.get(way, 0.0))
        self._latest[way] = arrives
        self._count += 1
        heapq.heappush(self._flying, (arrives, self._count, emission))

    def _next_due(self) -> Instant | None:
        due = [self._flying[0][0]] if self._flying else []
        deadline = self.server.next_timeout()
        if deadline is not None:
            due.append(deadline)
        return min(due, default=None)

    def _deliver(self) -> None:
        while self._flying and self._flying[0][0] <= self.now:
            _, _, emission = heapq.heappop(self._flying)
            if emission.destination in self.addresses:
                self.server.receive(emission.data, emission.source, emission.destination, self.now)
            elif emission.destination in self._sockets:
                self._inbox.append(
                    Arrival(self.now, emission.data, emission.source, emission.destination)
                )
