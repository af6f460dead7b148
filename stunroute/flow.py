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
  been released by its owner, has expired, or has gone unproved for ``takeover_idle``.

Expiry costs nothing per packet. The table has two generations; a look-up carries a flow into the
young one, and what is still in the old one when the timer swaps them is gone.
"""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from attrs import define

from . import forward
from .address import Address
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


class TokenBucket:
    """``rate`` tokens a second, ``burst`` at most, full at first."""

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._updated = _NEVER

    def take(self, now: Instant) -> bool:
        """Take a token if there is one. A clock that stands still gives none."""
        if now > self._updated:
            if self._updated != _NEVER:
                gained = (now - self._updated) * self._rate
                self._tokens = min(self._burst, self._tokens + gained)
            self._updated = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Generations(Generic[V]):
    """A dictionary by client address in two generations. An entry that ``get`` did not meet between
    two calls of ``rotate`` is handed out by the second of them."""

    __slots__ = ("old", "young")

    def __init__(self) -> None:
        self.young: dict[Address, V] = {}
        self.old: dict[Address, V] = {}

    def __len__(self) -> int:
        return len(self.young) + len(self.old)

    def __iter__(self) -> Iterator[Address]:
        yield from self.young
        yield from self.old

    def get(self, client: Address) -> V | None:
        value = self.young.get(client)
        if value is None and (value := self.old.pop(client, None)) is not None:
            self.young[client] = value
        return value

    def peek(self, client: Address) -> V | None:
        """As ``get``, but the entry grows no younger for it."""
        value = self.young.get(client)
        return self.old.get(client) if value is None else value

    def put(self, client: Address, value: V) -> None:
        self.old.pop(client, None)
        self.young[client] = value

    def pop(self, client: Address) -> V | None:
        value = self.young.pop(client, None)
        return self.old.pop(client, None) if value is None else value

    def rotate(self) -> dict[Address, V]:
        expired, self.old, self.young = self.old, self.young, {}
        return expired


@define(slots=True, eq=False)
class Flow:
    """One client address and its next hop. Read it, do not write it.

    ``header`` is what to put in front of the client's payload: it names the client and the public
    address at which its last packet arrived. ``proved`` is when the owner's session was last seen
    to live, ``verified`` whether this relay has checked the integrity of a check, ``answered``
    whether the owner has answered one with success. Counters are packets and bytes of payload.
    """

    client: Address
    proxy: Address
    next_hop: Address
    created: Instant
    proved: Instant
    verified: bool = False
    answered: bool = False
    peeks: int = 0
    header: bytes = b""
    ssrcs: tuple[int, ...] = ()
    uplink_packets: int = 0
    uplink_bytes: int = 0
    downlink_packets: int = 0
    downlink_bytes: int = 0

    def __attrs_post_init__(self) -> None:
        self.header = forward.encode(self.client, self.proxy)

    def arrived_at(self, proxy: Address) -> None:
        """Name ``proxy`` in the header from now on: a client may use several of our addresses."""
        if proxy != self.proxy:
            self.proxy = proxy
            self.header = forward.encode(self.client, proxy)

    @property
    def is_settled(self) -> bool:
        """Whether the core has nothing more to learn from this flow's media for now, so that an
        adapter may forward it from a cache of its own."""
        return self.peeks == 0


class FlowTable:
    """All flows, their contenders, and the index of their synchronisation sources."""

    __slots__ = ("_bucket", "_config", "_contenders", "_flows", "_rotates_at", "_ssrcs", "_tell")

    def __init__(self, config: RelayConfig, tell: Callable[[FlowRecord], None]) -> None:
        """``tell`` is called for each record, after the table has changed."""
        self._config = config
        self._tell = tell
        self._flows: Generations[Flow] = Generations()
        self._contenders: Generations[Flow] = Generations()
        self._ssrcs: dict[int, Flow | set[Flow]] = {}
        self._bucket = TokenBucket(config.heal_rate, config.heal_burst)
        self._rotates_at: Instant | None = None

    def __len__(self) -> int:
        return len(self._flows)

    def __iter__(self) -> Iterator[Address]:
        return iter(self._flows)

    def flow(self, client: Address) -> Flow | None:
        """The flow of ``client``, without keeping it alive."""
        return self._flows.peek(client)

    def contender(self, client: Address) -> Flow | None:
        return self._contenders.peek(client)

    # Uplink

    def uplink(self, client: Address, now: Instant) -> Flow | None:
        """The flow that a packet which names nobody follows."""
        flow = self._flows.young.get(client)
        return self._renewed(client, now) if flow is None else flow

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
            flow.arrived_at(proxy)
            flow.proved = now
            flow.verified = flow.verified or verified
            return flow
        contender = self._contenders.get(client)
        if contender is None or contender.next_hop != next_hop:
            if contender is None and len(self._contenders) >= self._config.contenders:
                return Drop.FLOWS_FULL
            contender = Flow(client, proxy, next_hop, now, now, verified)
            self._contenders.put(client, contender)
            self._tell(FlowContended(now, client, flow.next_hop, next_hop))
        contender.arrived_at(proxy)
        contender.proved = now
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
        flow = self._flows.young.get(client)
        if flow is None or flow.next_hop != sender:
            flow = self._flows.peek(client)
            if flow is None or flow.next_hop != sender:
                return self._downlink_of_another(flow, client, proxy, sender, answers, now)
            self._renewed(client, now)
        flow.proved = now
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
        if flow is not None or contender is not None:
            return Drop.LEG_NOT_OWNER
        if len(self._flows) >= self._config.flows:
            return Drop.FLOWS_FULL
        if not self._bucket.take(now):
            return Drop.LEG_HEAL_RATE
        return self._make(client, proxy, sender, now, Origin.DOWNLINK, now, answered=answers)

    def release(self, client: Address, sender: Address, now: Instant) -> Drop | None:
        """``sender`` is done with ``client``. For a client that nobody has, nothing is to do."""
        flow = self._flows.peek(client)
        contender = self._contenders.peek(client)
        if contender is not None and contender.next_hop == sender:
            self._contenders.pop(client)
            return None
        if flow is not None and flow.next_hop == sender:
            self._flows.pop(client)
            self._forget_ssrcs(flow)
            self._tell(FlowReleased(now, client, sender, flow.created))
            if contender is not None:
                self._promote(contender, now, old=flow)
            return None
        return None if flow is None and contender is None else Drop.LEG_NOT_OWNER

    # Synchronisation sources

    def learn(self, flow: Flow, ssrc: int) -> None:
        """Remember that ``flow`` carries ``ssrc``, within the bound per flow."""
        flow.peeks -= 1
        if ssrc in flow.ssrcs or len(flow.ssrcs) >= self._config.ssrcs_per_flow:
            return
        flow.ssrcs += (ssrc,)
        entry = self._ssrcs.get(ssrc)
        if entry is None:
            self._ssrcs[ssrc] = flow
        elif isinstance(entry, set):
            entry.add(flow)
        else:
            self._ssrcs[ssrc] = {entry, flow}

    def by_ssrc(self, ssrc: int) -> Flow | None:
        """The one live flow that carries ``ssrc``; None if there is none or more than one."""
        entry = self._ssrcs.get(ssrc)
        return entry if isinstance(entry, Flow) else None

    def _forget_ssrcs(self, flow: Flow) -> None:
        for ssrc in flow.ssrcs:
            entry = self._ssrcs[ssrc]
            if isinstance(entry, set):
                entry.discard(flow)
                if len(entry) == 1:
                    self._ssrcs[ssrc] = entry.pop()
            else:
                del self._ssrcs[ssrc]
        flow.ssrcs = ()

    # Time

    def next_timeout(self) -> Instant | None:
        return self._rotates_at

    def handle_timeout(self, now: Instant) -> None:
        """Swap the generations if it is time. A call that comes late swaps once: packets may have
        passed in the meantime, and a flow is never forgotten early."""
        if self._rotates_at is None or now < self._rotates_at:
            return
        self._contenders.rotate()
        for client, flow in self._flows.rotate().items():
            self._forget_ssrcs(flow)
            self._tell(FlowExpired(now, client, flow.next_hop))
            contender = self._contenders.peek(client)
            if contender is not None:
                self._promote(contender, now, old=flow)
        idle = len(self._flows) == len(self._contenders) == 0
        self._rotates_at = None if idle else now + self._config.idle_timeout

    # What changes the table

    def _renewed(self, client: Address, now: Instant) -> Flow | None:
        if client in self._flows.young:
            return self._flows.young[client]
        flow = self._flows.get(client)
        if flow is not None:
            flow.peeks = self._config.ssrc_peeks
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
        if len(self._flows) >= self._config.flows:
            return Drop.FLOWS_FULL
        self._contenders.pop(client)
        flow = Flow(client, proxy, next_hop, now, proved, verified, answered)
        self._insert(flow, now)
        self._tell(FlowMade(now, client, next_hop, origin))
        return flow

    def _promote(self, contender: Flow, now: Instant, old: Flow | None = None) -> None:
        """Let ``contender`` take over if it may. ``old`` is the flow that has just ended, if one
        has; else the live one decides."""
        client = contender.client
        live = self._flows.peek(client)
        if not contender.answered:
            return
        if live is not None and now - live.proved < self._config.takeover_idle:
            return
        if live is None and len(self._flows) >= self._config.flows:
            return
        if live is not None:
            self._flows.pop(client)
            self._forget_ssrcs(live)
            old = live
        self._contenders.pop(client)
        contender.created = now
        self._insert(contender, now)
        if old is not None:
            self._tell(FlowMoved(now, client, old.next_hop, contender.next_hop))
        else:
            self._tell(FlowMade(now, client, contender.next_hop, Origin.ANSWER))

    def _insert(self, flow: Flow, now: Instant) -> None:
        flow.peeks = self._config.ssrc_peeks
        self._flows.put(flow.client, flow)
        if self._rotates_at is None:
            self._rotates_at = now + self._config.idle_timeout
