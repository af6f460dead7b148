"""Flows: which transceiver owns a client address just now.

A flow is a cached answer. It is made by a check that names a node and followed by everything that
names nobody (DTLS, media, STUN responses). The hard question is when a client address may change
hands. Source addresses can be forged, so a check alone must not move a live call; but clients do
reuse a port for their next call and restart ICE towards another node from an unchanged address.
Both are served by letting the two sessions stand side by side:

* A check that names another next hop is a *contender*. Its checks go where they say, its owner's
  packets go back to the client, and everything else keeps following the flow.
* The flow is *proved* by what only a living session produces: checks that name its own next hop,
  and packets from its owner.
* The contender takes over once its owner has answered a check with success **and** the flow has
  been released by its owner, has expired, has gone unproved for ``takeover_idle``, or no check has
  named its next hop for ``takeover_unchecked``: a session that its client has left goes on sending
  until its consent ends, and must not keep the address from the one that the client is in.

Expiry costs nothing per packet. The table has two generations; a look-up carries a flow into the
young one, and what is still in the old one when the timer swaps them is gone. Nothing here may hold
the packets up either, not even with a million flows: each generation is many small dictionaries
rather than a large one, which would stand still whenever it grows, and what a swap leaves behind is
buried a few flows at a time.
"""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar, cast

from attrs import Factory, define, field

from . import forward
from .address import Address
from .allowance import TokenBucket
from .config import RelayConfig
from .instant import Instant
from .trace import (
    Drop,
    FlowContended,
    FlowExpired,
    FlowMade,
    FlowMoved,
    FlowRecord,
    FlowReleased,
    FlowRenewed,
    Origin,
)

V = TypeVar("V")

_NEVER = float("-inf")
LAST_SHARD = 255
"""A mask: the shard of a client is in the low bits of its address's (seeded) hash, the shard of a
synchronisation source in its own."""
_SEVERAL = Address(bytes(16), 0)
"""In place of a next hop: other workers have told of more than one."""
_REBOUND = 8  # flows of one client, each of another address of its NAT
BURIED_AT_ONCE = 300
"""Expired flows that one call of ``handle_timeout`` deals with: about a millisecond of work."""


class Generations(Generic[V]):
    """A dictionary by client address in two generations. An entry that ``get`` did not meet between
    two calls of ``rotate`` is handed out by the second of them."""

    __slots__ = ("_old", "_young")

    def __init__(self) -> None:
        # Keys are addresses; plain bytes that equal one find it too.
        self._young: list[dict[bytes, V]] = _shards()
        self._old: list[dict[bytes, V]] = _shards()

    def __len__(self) -> int:
        return sum(map(len, self._young)) + sum(map(len, self._old))

    def __iter__(self) -> Iterator[Address]:
        for shard in (*self._young, *self._old):
            yield from cast("dict[Address, V]", shard)

    def get(self, client: Address) -> V | None:
        shard = hash(client) & LAST_SHARD
        value = self._young[shard].get(client)
        if value is None and (value := self._old[shard].pop(client, None)) is not None:
            self._young[shard][client] = value
        return value

    def get_young(self, client: Address) -> V | None:
        return self._young[hash(client) & LAST_SHARD].get(client)

    def peek(self, client: bytes) -> V | None:
        """As ``get``, but the entry grows no younger for it."""
        shard = hash(client) & LAST_SHARD
        value = self._young[shard].get(client)
        return self._old[shard].get(client) if value is None else value

    def put(self, client: Address, value: V) -> None:
        shard = hash(client) & LAST_SHARD
        self._old[shard].pop(client, None)
        self._young[shard][client] = value

    def pop(self, client: Address) -> V | None:
        shard = hash(client) & LAST_SHARD
        value = self._young[shard].pop(client, None)
        return self._old[shard].pop(client, None) if value is None else value

    def rotate(self) -> list[dict[bytes, V]]:
        """Swap the generations. Returns the shards of the old one."""
        expired, self._old, self._young = self._old, self._young, _shards()
        return expired


class Sources(Generic[V]):
    """A dictionary by synchronisation source. It is in ``shards``, an entry in the one at
    ``ssrc & LAST_SHARD``, for who has to look often and cannot afford a call each time."""

    __slots__ = ("shards",)

    def __init__(self) -> None:
        self.shards: list[dict[int, V]] = [{} for _ in range(LAST_SHARD + 1)]

    def __contains__(self, ssrc: object) -> bool:
        return isinstance(ssrc, int) and ssrc in self.shards[ssrc & LAST_SHARD]

    def get(self, ssrc: int) -> V | None:
        return self.shards[ssrc & LAST_SHARD].get(ssrc)

    def put(self, ssrc: int, value: V) -> None:
        self.shards[ssrc & LAST_SHARD][ssrc] = value

    def remove(self, ssrc: int) -> None:
        del self.shards[ssrc & LAST_SHARD][ssrc]


def _shards() -> list[dict[bytes, V]]:
    return [{} for _ in range(LAST_SHARD + 1)]


def _creation(flow: "Flow") -> Instant:
    return flow.created


@define(slots=True, eq=False, weakref_slot=False)
class Flow:
    """One client address and its next hop. Read it, do not write it.

    ``proxy`` is the public address at which its last packet arrived. ``proved`` is when the
    owner's session was last seen to live, ``checked`` when the client was last seen to be in it (by
    a check that names this next hop; before the first, when the flow was made), ``seen`` when the
    flow was last used, as far as the core was told, ``verified`` whether this relay has checked the
    integrity of a check, ``answered`` whether the owner has answered one with success.
    """

    client: Address
    proxy: Address
    next_hop: Address
    created: Instant
    proved: Instant
    seen: Instant
    verified: bool = False
    answered: bool = False
    origin: Origin = Origin.CHECK
    peeks: int = 0
    ssrcs: tuple[int, ...] = ()
    checked: Instant = field(default=Factory(_creation, takes_self=True))
    checks_used: Instant = _NEVER
    """The moment up to which its client has used the checks that it may have verified."""

    @property
    def header(self) -> bytes:
        """What to put in front of the client's payload."""
        return forward.encode(self.client, self.proxy)

    @property
    def is_settled(self) -> bool:
        """Whether the core has nothing more to learn from this flow's media for now, so that an
        adapter may forward it from a cache of its own."""
        return self.peeks == 0


class FlowTable:
    """All flows, their contenders, and the index of their synchronisation sources."""

    __slots__ = (
        *("_bucket", "_config", "_contenders", "_count", "_expired", "_flows"),
        *("_former_contenders", "_former_sources", "_knows", "_next_hops", "_rotates_at"),
        *("_sources", "_ssrcs"),
        *("_swapped_at", "_tell"),
    )

    def __init__(
        self,
        config: RelayConfig,
        tell: Callable[[FlowRecord], None],
        knows: Callable[[Address], bool] = lambda _: True,
    ) -> None:
        """``tell`` is called for each record, after the table has changed. ``knows`` says whether a
        next hop is still one of the fleet."""
        self._config = config
        self._tell = tell
        self._knows = knows
        # How many flows each has, those that wait to be buried among them.
        self._next_hops: dict[Address, int] = {}
        self._flows: Generations[Flow] = Generations()
        self._contenders: Generations[Flow] = Generations()
        # An address is the next hop of somebody else's flow.
        self._ssrcs: Sources[Flow | set[Flow] | Address] = Sources()
        # What other workers have told, in two generations.
        self._sources: tuple[dict[int, Address], dict[int, Address]] = ({}, {})
        self._former_sources: list[dict[int, Address]] = []
        self._bucket = TokenBucket(config.heal_rate, config.heal_burst)
        self._rotates_at: Instant | None = None
        self._count = 0
        # What the last swap left, to be buried by and by.
        self._expired: list[dict[bytes, Flow]] = []
        self._former_contenders: list[dict[bytes, Flow]] = []
        self._swapped_at = _NEVER

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Address]:
        return iter(self._flows)

    @property
    def contenders(self) -> int:
        return len(self._contenders)

    def reconfigure(self, config: RelayConfig) -> None:
        """Other bounds from now on. What is there already stays, even if it is more."""
        self._config = config
        self._bucket = TokenBucket(config.heal_rate, config.heal_burst)

    def evict_strangers(self, now: Instant) -> None:
        """Forget the flows whose owners have left the fleet. The table is looked through only if
        there are any: that takes a second with a million flows."""
        gone = {next_hop for next_hop in self._next_hops if not self._knows(next_hop)}
        if not gone:
            return
        flows = [flow for client in self._flows if (flow := self._flows.peek(client)) is not None]
        for flow in flows:
            if flow.next_hop in gone:
                self._remove(flow)
                self._tell(FlowReleased(now, flow.client, flow.next_hop, flow.created))

    def flow(self, client: bytes) -> Flow | None:
        """The flow of ``client``, without keeping it alive."""
        return self._flows.peek(client)

    def contender(self, client: Address) -> Flow | None:
        return self._contenders.peek(client)

    # Uplink

    def uplink(self, client: Address, now: Instant) -> Flow | None:
        """The flow that a packet which names nobody follows."""
        flow = self._flows.get_young(client)
        if flow is None:
            return self._renewed(client, now)
        flow.seen = now
        return flow

    def check(
        self, client: Address, proxy: Address, next_hop: Address, verified: bool, now: Instant
    ) -> Flow | Drop:
        """Where a check goes whose hint leads to ``next_hop``: the flow, made if there was none, or
        a contender."""
        flow = self._flows.peek(client)
        if flow is None:
            return self._make(client, proxy, next_hop, now, Origin.CHECK, now, verified=verified)
        if flow.next_hop == next_hop:
            self._renewed(client, now)
            flow.proxy = proxy
            flow.proved = flow.checked = flow.seen = now
            flow.verified = flow.verified or verified
            return flow
        contender = self._contenders.get(client)
        if contender is None or contender.next_hop != next_hop:
            if contender is None and len(self._contenders) >= self._config.contenders:
                return Drop.FLOWS_FULL
            contender = Flow(client, proxy, next_hop, now, now, now, verified, False, Origin.ANSWER)
            self._contenders.put(client, contender)
            self._tell(FlowContended(now, client, flow.next_hop, next_hop))
        contender.proxy = proxy
        contender.proved = contender.checked = contender.seen = now
        self._promote(contender, now)
        return contender

    def restore(
        self, client: Address, proxy: Address, next_hop: Address, now: Instant, made: Instant
    ) -> Flow | Drop:
        """Make the flow that the store remembers, unless there is one by now. It is unproved: if
        the store was wrong, the first answered check corrects it at once. It is as old as the store
        says: a relay that knows something later must not be overridden by it."""
        flow = self.uplink(client, now)
        if flow is not None:
            return flow
        restored = self._make(client, proxy, next_hop, now, Origin.STORE, _NEVER)
        if isinstance(restored, Flow):
            restored.created = min(made, now)
        return restored

    # Downlink

    def downlink(
        self, client: Address, proxy: Address, sender: Address, answers: bool, now: Instant
    ) -> Flow | Drop:
        """Whether ``sender`` may send to ``client``: it owns the flow or contends for it, or nobody
        does and the flow is made again. ``answers``: the packet is a Binding success response."""
        flow = self._flows.get_young(client)
        if flow is None or flow.next_hop != sender:
            flow = self._flows.peek(client)
            if flow is None or flow.next_hop != sender:
                return self._downlink_of_another(flow, client, proxy, sender, answers, now)
            self._renewed(client, now)
        flow.proved = flow.seen = now
        flow.answered = flow.answered or answers
        return flow

    def _downlink_of_another(
        self,
        flow: Flow | None,
        client: Address,
        proxy: Address,
        sender: Address,
        answers: bool,
        now: Instant,
    ) -> Flow | Drop:
        contender = self._contenders.peek(client)
        if contender is not None and contender.next_hop == sender:
            self._contenders.get(client)
            contender.answered = contender.answered or answers
            contender.proved = now
            self._promote(contender, now)
            return contender
        if contender is not None or (flow is not None and flow.proved != _NEVER):
            return Drop.LEG_NOT_OWNER
        if flow is None and self._count >= self._config.flows:
            return Drop.FLOWS_FULL
        if not self._bucket.take(now):
            return Drop.LEG_HEAL_RATE
        if flow is not None:
            # Only the store has said whose client this is. It may be stale, or lie, and must not
            # keep a session from a client that it would have had without a store.
            self._remove(flow)
            healed = Flow(client, proxy, sender, now, now, now, False, answers, Origin.DOWNLINK)
            self._insert(healed, now)
            self._tell(FlowMoved(now, client, flow.next_hop, sender))
            return healed
        return self._make(client, proxy, sender, now, Origin.DOWNLINK, now, answered=answers)

    def release(self, client: Address, sender: Address, now: Instant) -> Drop | None:
        """``sender`` is done with ``client``. For a client that nobody has, nothing is to do."""
        flow = self._flows.peek(client)
        contender = self._contenders.peek(client)
        if contender is not None and contender.next_hop == sender:
            self._contenders.pop(client)
            return None
        if flow is not None and flow.next_hop == sender:
            self._remove(flow)
            self._tell(FlowReleased(now, client, sender, flow.created))
            if contender is not None:
                self._promote(contender, now, old=flow)
            return None
        return None if flow is None and contender is None else Drop.LEG_NOT_OWNER

    # Synchronisation sources

    def learn(self, flow: Flow, ssrc: int) -> None:
        """Remember that ``flow`` carries ``ssrc``, within the bound per flow."""
        if ssrc in flow.ssrcs or len(flow.ssrcs) >= self._config.ssrcs_per_flow:
            return
        flow.ssrcs += (ssrc,)
        entry = self._ssrcs.get(ssrc)
        if entry is None or isinstance(entry, Address):
            self._ssrcs.put(ssrc, flow)
        elif isinstance(entry, set):
            entry.add(flow)
        else:
            self._ssrcs.put(ssrc, {entry, flow})

    @property
    def sources(self) -> Sources[Flow | set[Flow] | Address]:
        """All that were learnt of live flows."""
        return self._ssrcs

    def by_ssrc(self, ssrc: int | None) -> Flow | None:
        """The live flow that carries ``ssrc``, None if there is none. Several must have one next
        hop: of a client that has rebound and rebinds again, while its former flows are not yet
        forgotten. Of more than a few, which somebody must have made on purpose, none. Flows of
        other workers count like those here."""
        entry = None if ssrc is None else self._ssrcs.get(ssrc)
        if ssrc is None or entry is None or isinstance(entry, Address):
            return None
        if isinstance(entry, set):
            if len(entry) > _REBOUND or len({flow.next_hop for flow in entry}) > 1:
                return None
            entry = next(iter(entry))
        return entry if self._is_owned_by(ssrc, entry.next_hop) else None

    def learn_elsewhere(self, ssrc: int, next_hop: Address, now: Instant) -> None:
        """A flow of another worker carries ``ssrc``. It is remembered for one to two generations,
        within a bound, beside what is known here."""
        young = self._sources[0]
        if ssrc not in young and len(young) >= self._config.sources_elsewhere:
            return
        young[ssrc] = next_hop if young.get(ssrc, next_hop) == next_hop else _SEVERAL
        entry = self._ssrcs.get(ssrc)
        if entry is None or isinstance(entry, Address):
            self._ssrcs.put(ssrc, next_hop)
        if self._rotates_at is None:
            self._rotates_at = now + self._config.idle_timeout

    def elsewhere(self, ssrc: int | None) -> Address | None:
        """The next hop of another worker's flow that carries ``ssrc``."""
        entry = None if ssrc is None else self._ssrcs.get(ssrc)
        if ssrc is None or not isinstance(entry, Address):
            return None
        return entry if self._is_owned_by(ssrc, entry) else None

    def _is_owned_by(self, ssrc: int, next_hop: Address) -> bool:
        """Whether no other worker has told of another owner."""
        return all(told.get(ssrc, next_hop) == next_hop for told in self._sources)

    def _ended(self, flow: Flow) -> None:
        """Take a flow that is in the table no more out of the indexes."""
        self._forget_ssrcs(flow)
        left = self._next_hops[flow.next_hop] - 1
        if left:
            self._next_hops[flow.next_hop] = left
        else:
            del self._next_hops[flow.next_hop]

    def _forget_ssrcs(self, flow: Flow) -> None:
        for ssrc in flow.ssrcs:
            entry = self._ssrcs.get(ssrc)
            if isinstance(entry, set):
                entry.discard(flow)
                if len(entry) == 1:
                    self._ssrcs.put(ssrc, entry.pop())
            else:
                self._ssrcs.remove(ssrc)
        flow.ssrcs = ()

    # Time

    def next_timeout(self) -> Instant | None:
        if self._expired or self._former_contenders or self._former_sources:
            return self._swapped_at  # it is due already: there is more to bury
        return self._rotates_at

    def handle_timeout(self, now: Instant) -> None:
        """Swap the generations if it is time, and bury some of what has expired. A call that comes
        late swaps once: packets may have passed in the meantime, and a flow is never forgotten
        early. The next swap waits until all is buried."""
        room = BURIED_AT_ONCE
        while self._former_contenders and room:
            if self._former_contenders[-1]:
                self._former_contenders[-1].popitem()
                room -= 1
            else:
                self._former_contenders.pop()
        while self._former_sources and room:
            if self._former_sources[-1]:
                ssrc, _ = self._former_sources[-1].popitem()
                told_again = any(ssrc in sources for sources in self._sources)
                if not told_again and isinstance(self._ssrcs.get(ssrc), Address):
                    self._ssrcs.remove(ssrc)
                room -= 1
            else:
                self._former_sources.pop()
        while self._expired and room:
            if self._expired[-1]:
                _, flow = self._expired[-1].popitem()
                self._bury(flow, now)
                room -= 1
            else:
                self._expired.pop()
        if self._expired or self._former_contenders or self._former_sources:
            return
        if self._rotates_at is None or now < self._rotates_at:
            return
        self._former_contenders = self._contenders.rotate()
        self._expired = self._flows.rotate()
        self._count -= sum(map(len, self._expired))
        self._former_sources.append(self._sources[1])
        self._sources = ({}, self._sources[0])
        self._swapped_at = now
        idle = self._count == len(self._contenders) == len(self._sources[1]) == 0
        self._rotates_at = None if idle else now + self._config.idle_timeout
        self.handle_timeout(now)

    def _unearth(self, client: Address, now: Instant) -> Flow | None:
        """Finish with the flow of ``client`` now, if it has expired and waits to be buried: what
        comes after it is to be told after it."""
        shard = hash(client) & LAST_SHARD
        flow = self._expired[shard].pop(client, None) if shard < len(self._expired) else None
        if flow is not None:
            self._ended(flow)
            self._tell(FlowExpired(now, client, flow.next_hop))
        return flow

    def _bury(self, flow: Flow, now: Instant) -> None:
        """Finish with a flow that has expired."""
        self._ended(flow)
        self._tell(FlowExpired(now, flow.client, flow.next_hop))
        contender = self._contenders.peek(flow.client)
        if contender is not None:
            self._promote(contender, now, old=flow)

    # What changes the table

    def _renewed(self, client: Address, now: Instant) -> Flow | None:
        flow = self._flows.get_young(client)
        if flow is not None:
            return flow
        flow = self._flows.get(client)
        if flow is not None:
            flow.seen = now
            flow.peeks = self._config.ssrc_peeks_later
            self._tell(FlowRenewed(now, client, flow.next_hop, flow.created))
        return flow

    def _make(
        self,
        client: Address,
        proxy: Address,
        next_hop: Address,
        now: Instant,
        origin: Origin,
        proved: Instant,
        *,
        verified: bool = False,
        answered: bool = False,
    ) -> Flow | Drop:
        if self._count >= self._config.flows:
            return Drop.FLOWS_FULL
        self._contenders.pop(client)
        if self._expired:
            self._unearth(client, now)
        flow = Flow(client, proxy, next_hop, now, proved, now, verified, answered, origin)
        self._insert(flow, now)
        self._tell(FlowMade(now, client, next_hop, origin))
        return flow

    def _promote(self, contender: Flow, now: Instant, old: Flow | None = None) -> None:
        """Let ``contender`` take over if it may. ``old`` is the flow that has just ended, if one
        has; else the live one decides."""
        client = contender.client
        live = self._flows.peek(client)
        if not self._knows(contender.next_hop):
            self._contenders.pop(client)  # it has left the fleet while it waited
            return
        if not contender.answered:
            return
        if live is not None and self._holds(live, now):
            return
        if live is None and self._count >= self._config.flows:
            return
        if live is not None:
            self._remove(live)
            old = live
        elif old is None:
            old = self._unearth(client, now)
        self._contenders.pop(client)
        contender.created = now
        self._insert(contender, now)
        if old is not None:
            self._tell(FlowMoved(now, client, old.next_hop, contender.next_hop))
        else:
            self._tell(FlowMade(now, client, contender.next_hop, Origin.ANSWER))

    def _holds(self, live: Flow, now: Instant) -> bool:
        """Whether both ends of a session seem to be at it still."""
        return (
            now - live.proved < self._config.takeover_idle
            and now - live.checked < self._config.takeover_unchecked
        )

    def _remove(self, flow: Flow) -> None:
        self._flows.pop(flow.client)
        self._count -= 1
        self._ended(flow)

    def _insert(self, flow: Flow, now: Instant) -> None:
        flow.peeks = self._config.ssrc_peeks
        self._flows.put(flow.client, flow)
        self._count += 1
        self._next_hops[flow.next_hop] = self._next_hops.get(flow.next_hop, 0) + 1
        if self._rotates_at is None:
            self._rotates_at = now + self._config.idle_timeout
