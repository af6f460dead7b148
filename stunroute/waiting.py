"""What the relay's core has to do with a shared store.

The store is slow, and may be wrong or gone; the core never waits for it. It asks with a request
that the adapter fetches, keeps the few packets that the answer concerns for a moment, and goes on.
Everything here is bounded in number and in time, because it is strangers who fill it.
"""

from typing import TypeAlias

from attrs import define, frozen

from .address import Address
from .config import RelayConfig
from .instant import Instant


@frozen(slots=True)
class Lookup:
    """Find the next hop of ``client`` and give it to ``Relay.restore``, even if there is none."""

    client: Address


@frozen(slots=True)
class Remember:
    """``client`` belongs to ``next_hop``: a flow was made, has moved, or lives on. ``made`` is when
    it was made or moved, so that a store can tell which of two relays knows better."""

    client: Address
    next_hop: Address
    made: Instant


@frozen(slots=True)
class Forget:
    """``client`` was released by ``next_hop``. (Expired ones are left to the store's own clock.)"""

    client: Address
    next_hop: Address
    made: Instant


Request: TypeAlias = Lookup | Remember | Forget


@frozen(slots=True)
class HeldPacket:
    """A client's datagram and the public address at which it arrived."""

    data: bytes
    proxy: Address


@define(slots=True)
class _Waiting:
    deadline: Instant
    packets: list[HeldPacket]


class WaitingRoom:
    """Packets of unknown clients, until the store has answered or ``waiting_time`` is over."""

    __slots__ = ("_clients", "_config")

    def __init__(self, config: RelayConfig) -> None:
        self._config = config
        # In the order of arrival, which is the order of the deadlines too.
        self._clients: dict[Address, _Waiting] = {}

    def reconfigure(self, config: RelayConfig) -> None:
        """Other bounds from now on; what waits already has its deadline."""
        self._config = config

    @property
    def has_room(self) -> bool:
        """Whether a packet of a further client would be kept."""
        return len(self._clients) < self._config.waiting_clients

    def __len__(self) -> int:
        return len(self._clients)

    def __contains__(self, client: Address) -> bool:
        return client in self._clients

    def hold(self, client: Address, packet: HeldPacket, now: Instant) -> bool:
        """Keep ``packet`` if there is room for it."""
        waiting = self._clients.get(client)
        if waiting is None:
            if len(self._clients) >= self._config.waiting_clients:
                return False
            self._clients[client] = _Waiting(now + self._config.waiting_time, [packet])
            return True
        if len(waiting.packets) >= self._config.waiting_packets:
            return False
        waiting.packets.append(packet)
        return True

    def take(self, client: Address) -> list[HeldPacket]:
        """What was kept for ``client``; it is kept no more."""
        waiting = self._clients.pop(client, None)
        return [] if waiting is None else waiting.packets

    def next_timeout(self) -> Instant | None:
        for waiting in self._clients.values():
            return waiting.deadline
        return None

    def expire(self, now: Instant) -> list[tuple[Address, list[HeldPacket]]]:
        """What has waited for too long; it is kept no more."""
        late = []
        for client, waiting in self._clients.items():
            if waiting.deadline > now:
                break
            late.append((client, waiting.packets))
        for client, _ in late:
            del self._clients[client]
        return late
