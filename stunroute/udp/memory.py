"""What the supervisor remembers for its workers: which synchronisation source leads where.

A worker tells which sources it has learnt, so that the others know a client whose NAT has rebound.
The one that takes a dead worker's place knows nobody yet. Told all of it at once, it sends the
media of its predecessor's clients on at their first packet, before a check, a store or the downlink
has made their flows again.
"""

from collections.abc import Mapping

from stunroute.address import Address
from stunroute.instant import Instant

_NEVER = float("-inf")


class SourceMemory:
    """Sources by next hop, for one to two ``lifetime`` seconds after they were told last, at most
    ``bound`` in each half of that time."""

    __slots__ = ("_bound", "_lifetime", "_old", "_swapped_at", "_young")

    def __init__(self, lifetime: float, bound: int) -> None:
        self._lifetime = lifetime
        self._bound = bound
        self._swapped_at = _NEVER
        self._young: dict[int, Address] = {}
        self._old: dict[int, Address] = {}

    def learn(self, sources: Mapping[int, Address], now: Instant) -> None:
        self._swap(now)
        for ssrc, next_hop in sources.items():
            if ssrc in self._young or len(self._young) < self._bound:
                self._young[ssrc] = next_hop

    def recall(self, now: Instant) -> dict[int, Address]:
        """All that is remembered; of what was told twice, the later."""
        self._swap(now)
        return self._old | self._young

    def _swap(self, now: Instant) -> None:
        silent = now - self._swapped_at
        if silent < self._lifetime:
            return
        self._old = self._young if silent < 2 * self._lifetime else {}
        self._young = {}
        self._swapped_at = now
