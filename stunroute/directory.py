"""Where the nodes of a hint are.

A hint names a transceiver by cluster and node, two numbers that mean nothing outside the fleet.
The directory turns them into an inner address, and says which addresses may speak on the inner
leg. It is consulted for checks only, never for media, so it may be as slow as a dictionary of all
nodes and need not be faster.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Protocol

from attrs import frozen

from .address import Address
from .errors import ConfigError


class NodeState(Enum):
    """What a node may still be given. Only ``DRAINED`` concerns the relay; that a ``DRAINING`` node
    gets no new calls is the business of whoever hands out offers, its hints are routed as ever."""

    ACTIVE = "active"
    DRAINING = "draining"
    DRAINED = "drained"


@frozen(slots=True)
class NextHop:
    """Where a hint leads: the inner address of a transceiver, or of the relay in front of it."""

    address: Address
    state: NodeState = NodeState.ACTIVE


class Directory(Protocol):
    def resolve(self, cluster: int, node: int) -> NextHop | None:
        """Where ``node`` (32 bits) of ``cluster`` (16 bits) is; None if nobody knows it."""
        ...

    def knows(self, address: Address) -> bool:
        """Whether packets from ``address`` are taken on the inner leg."""
        ...


class StaticDirectory:
    """A directory that was given whole: nodes one by one, and clusters that as a whole lie behind
    another relay. A node that is listed goes before its cluster."""

    __slots__ = ("_addresses", "_clusters", "_nodes")

    def __init__(
        self,
        nodes: Mapping[tuple[int, int], NextHop],
        clusters: Mapping[int, NextHop] | None = None,
        peers: Iterable[Address] = (),
    ) -> None:
        """``nodes`` by (cluster, node), ``clusters`` by cluster; ``peers`` are further addresses
        that may speak on the leg, such as a node's former address. Raises ConfigError if a cluster
        or node number is out of range."""
        self._nodes = dict(nodes)
        self._clusters = dict(clusters or {})
        for cluster, node in self._nodes:
            if not (0 <= cluster < 1 << 16 and 0 <= node < 1 << 32):
                raise ConfigError("directory.nodes", f"{cluster}/{node} is not 16 and 32 bits")
        for cluster in self._clusters:
            if not 0 <= cluster < 1 << 16:
                raise ConfigError("directory.clusters", f"{cluster} is not 16 bits")
        hops = (*self._nodes.values(), *self._clusters.values())
        self._addresses = frozenset(hop.address for hop in hops) | frozenset(peers)

    def resolve(self, cluster: int, node: int) -> NextHop | None:
        hop = self._nodes.get((cluster, node))
        return hop if hop is not None else self._clusters.get(cluster)

    def knows(self, address: Address) -> bool:
        return address in self._addresses
