"""The relay's core: where a packet goes, or why it goes nowhere.

It makes no packets and so has no queue of them: both verbs in return an answer for the one packet
they were given. What a stranger can make it do is ordered by cost. A known client's media is one
look-up. A check is peeked at for its USERNAME, deciphered with one AES block, looked up in the
directory, and only then, where the password key is known here, authenticated; state is made last.
Nothing that arrives is ever answered, so there is nothing to reflect.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from enum import Enum
from functools import lru_cache
from itertools import islice
from struct import Struct
from typing import TypeAlias

from attrs import define, evolve, field, frozen

from . import demux, forward, stun
from .address import Address, Transmit
from .allowance import Allowances, TokenBucket
from .config import RelayConfig
from .directory import Directory, NodeState
from .edge import Edge
from .errors import DecodeError
from .flow import Flow, FlowTable, Sources
from .hint import KeyRing
from .instant import Instant
from .trace import (
    Drop,
    Dropped,
    FlowContended,
    FlowExpired,
    FlowMade,
    FlowMoved,
    FlowRecord,
    FlowReleased,
    FlowRenewed,
    Observe,
    Origin,
)
from .waiting import Forget, HeldPacket, Lookup, Remember, Request, WaitingRoom

_STUN_HEADER = Struct(">HHI")
_SSRC = Struct(">I")
_SSRC_OFFSET = {demux.Kind.RTP: 8, demux.Kind.RTCP: 4}
SPOKEN = frozenset((demux.Kind.RTP, demux.Kind.RTCP, demux.Kind.DTLS))
"""What may come first from a client that has no flow here, besides STUN."""
_CLASS_BITS = 0x0110
_BINDING_SUCCESS = stun.BINDING_SUCCESS.to_bytes(2, "big")
_MOST_SOURCES = 1 << 20  # whose packets without a flow are counted, whatever the rates are
_ANSWER = slice(forward.HEADER_LENGTH, forward.HEADER_LENGTH + len(_BINDING_SUCCESS))


class Held(Enum):
    """The packet waits for the store. It comes back from ``restore``, or expires."""

    HELD = "held"


@frozen(slots=True)
class Downlink:
    """Send ``payload`` to ``client`` from the public address ``proxy``; if there is an
    ``upstream``, send the datagram as it came to that relay's inner address instead."""

    client: Address
    proxy: Address
    payload: bytes
    upstream: Address | None = None


@frozen(slots=True)
class Release:
    """The transceiver is done with ``client``. Nothing is to be sent, unless there is an
    ``upstream`` relay, which wants to know it too: then send the datagram there as it came."""

    client: Address
    upstream: Address | None = None


UplinkRoute: TypeAlias = Flow | Drop | Held
DownlinkRoute: TypeAlias = Downlink | Release | Drop


@define(slots=True)
class Counters:
    """Since the start. ``drops`` counts packets; bytes are of payload, without the leg's header."""

    uplink_packets: int = 0
    uplink_bytes: int = 0
    downlink_packets: int = 0
    downlink_bytes: int = 0
    made: int = 0
    healed: int = 0
    """Of ``made``: by a packet from a transceiver."""
    restored: int = 0
    """Of ``made``: from the store."""
    answered: int = 0
    """Of ``made``: for a session that waited for the client address and found it free."""
    moved: int = 0
    contended: int = 0
    released: int = 0
    expired: int = 0
    by_ssrc: int = 0
    """Packets of unknown addresses that were routed by their synchronisation source."""
    held: int = 0
    """Packets that waited for the store, whatever became of them."""
    requests_lost: int = 0
    """What the store was not told because too much was queued for it."""
    drops: Counter[Drop] = field(factory=Counter)
    uplink_kinds: Counter[demux.Kind] = field(factory=Counter)
    """Packets that were forwarded, by what they are."""
    downlink_kinds: Counter[demux.Kind] = field(factory=Counter)
    checks: Counter[str] = field(factory=Counter)
    """Checks by the hint configuration that they name."""

    def scalars(self) -> dict[str, int]:
        """Everything that is one number, by name."""
        values = {name: getattr(self, name) for name in self.__slots__ if name[0] != "_"}
        return {name: value for name, value in values.items() if isinstance(value, int)}


class Relay:
    """The core of a relay. Not for use from several threads.

    ``proxies`` are its own public addresses: a transceiver that names another one is refused. None
    leaves that to the caller. ``upstream`` lists the public addresses of relays that lie in front
    of this one, each with that relay's inner address. ``observe`` is called with each record of
    ``stunroute.trace`` and must neither raise nor call the relay; ``changed`` likewise, but with
    those of flows only, before ``observe``: it is for an adapter that caches answers.
    ``shares_sources``: somebody passes on to the other workers of a port what ``take_sources``
    tells.
    """

    def __init__(
        self,
        config: RelayConfig,
        keyring: KeyRing,
        directory: Directory,
        *,
        proxies: Collection[Address] | None = None,
        upstream: Mapping[Address, Address] | None = None,
        observe: Observe | None = None,
        changed: Callable[[FlowRecord], None] | None = None,
        shares_sources: bool = False,
    ) -> None:
        """Raises ConfigError if the edge is to verify and has no key to do it with."""
        self.config = config
        self.counters = Counters()
        self._keyring = keyring
        self._directory = directory
        self._proxies = None if proxies is None else frozenset(proxies)
        self._upstream = dict(upstream or {})
        self._upstream_relays = frozenset(self._upstream.values())
        self._observe = observe
        self._changed = changed
        self._edge = Edge(config, keyring)
        # A session's packets all bear the same header, and reading it costs as much as the rest.
        self._leg_untrusted = lru_cache(maxsize=config.legs)(_decode_downlink_untrusted)
        self._flows = FlowTable(config, self._tell, self._knows)
        self._set_rates(config)
        self._waiting = WaitingRoom(config)
        self._requests: deque[Request] = deque()
        self._learned: dict[int, Address] = {}
        self._learns = config.sources_elsewhere if shares_sources else 0

    # Verbs in

    def route_client(
        self, data: bytes, client: Address, proxy: Address, now: Instant
    ) -> UplinkRoute:
        """Where ``data`` goes that ``client`` sent to our public address ``proxy``: the flow whose
        ``header`` belongs in front of it and whose ``next_hop`` is to receive it. The flow is not
        always one that is kept: a contender's check and a packet routed by SSRC get one too."""
        if data and data[0] > demux.LAST_STUN_OCTET:
            flow = self._flows.uplink(client, now)
            if flow is not None:
                if flow.peeks:
                    self._learn(flow, data)
                return self._passed(flow, proxy, data)
            route = self._route_stranger(data, client, proxy, now)
        elif data:
            try:
                route = self._route_stun_untrusted(data, client, proxy, now)
            except DecodeError:
                route = Drop.STUN_MALFORMED
        else:
            route = Drop.EMPTY
        match route:
            case Flow():
                return self._passed(route, proxy, data)
            case Drop():
                return self.drop(route, client, now)
            case Held():
                return route

    def route_relay(self, data: bytes, sender: Address, now: Instant) -> UplinkRoute:
        """As ``route_client``, for a datagram with the leg's header from an upstream relay: that
        header is passed on unchanged, and so the flow's ``header`` is equal to it."""
        try:
            leg = forward.decode_untrusted(data)
        except DecodeError:
            return self.drop(Drop.LEG_MALFORMED, sender, now)
        if self._upstream.get(leg.proxy) != sender:
            return self.drop(Drop.LEG_STRANGER, sender, now)
        return self.route_client(data[forward.HEADER_LENGTH :], leg.client, leg.proxy, now)

    def route_transceiver(self, data: bytes, sender: Address, now: Instant) -> DownlinkRoute:
        """Where ``data``, with the leg's header, goes that ``sender`` sent to our inner address."""
        if not self._directory.knows(sender):
            return self.drop(Drop.LEG_STRANGER, sender, now)
        try:
            leg = self._leg_untrusted(data[: forward.HEADER_LENGTH])
        except DecodeError:
            return self.drop(Drop.LEG_MALFORMED, sender, now)
        upstream = self._upstream.get(leg.proxy) if self._upstream else None
        if upstream is None and self._proxies is not None and leg.proxy not in self._proxies:
            return self.drop(Drop.LEG_UNKNOWN_PROXY, sender, now)
        if len(data) == forward.HEADER_LENGTH:
            refused = self._flows.release(leg.client, sender, now)
            if refused is not None:
                return self.drop(refused, sender, now)
            return Release(leg.client, upstream)
        answers = data[_ANSWER] == _BINDING_SUCCESS
        flow = self._flows.downlink(leg.client, leg.proxy, sender, answers, now)
        if isinstance(flow, Drop):
            return self.drop(flow, sender, now)
        payload = data[forward.HEADER_LENGTH :]
        self.counters.downlink_packets += 1
        self.counters.downlink_bytes += len(payload)
        self.counters.downlink_kinds[demux.classify(payload)] += 1
        return Downlink(leg.client, leg.proxy, payload, upstream)

    def restore(
        self,
        client: Address,
        next_hop: Address | None,
        now: Instant,
        made: Instant | None = None,
    ) -> list[Transmit]:
        """The store's answer to a ``Lookup``, or its None. ``made`` is when the flow was made or
        moved that the store remembers; None for now. Returns the client's packets that waited for
        it, with their headers. A next hop that the directory does not know is as none; a flow that
        was made in the meantime is right, whatever the store says."""
        packets = self._waiting.take(client)
        if not packets:
            return []
        flow: Flow | Drop | None
        if next_hop is None or not self._directory.knows(next_hop):
            flow = self._flows.uplink(client, now)
        else:
            made = now if made is None else made
            flow = self._flows.restore(client, packets[0].proxy, next_hop, now, made)
        if not isinstance(flow, Flow):
            for _ in packets:
                self.drop(flow or Drop.NO_FLOW, client, now)
            return []
        transmits = []
        for packet in packets:
            self._passed(flow, packet.proxy, packet.data)
            transmits.append(Transmit(flow.header + packet.data, flow.next_hop))
        return transmits

    def handle_timeout(self, now: Instant) -> None:
        """Forget idle flows, and packets that have waited for the store too long."""
        self._flows.handle_timeout(now)
        for client, packets in self._waiting.expire(now):
            for _ in packets:
                self.drop(Drop.NO_FLOW, client, now)

    def reconfigure(
        self,
        config: RelayConfig,
        keyring: KeyRing,
        directory: Directory,
        *,
        upstream: Mapping[Address, Address] | None = None,
        now: Instant,
    ) -> None:
        """Go on under other settings. Flows stay, except those to where nobody of the fleet is any
        more; whether there is a store stays too. Raises ConfigError, with nothing changed, if the
        edge is to verify and has no key to do it with."""
        self._edge = Edge(config, keyring)
        self.config = config = evolve(config, store=self.config.store)
        self._keyring = keyring
        self._directory = directory
        self._upstream = dict(upstream or {})
        self._upstream_relays = frozenset(self._upstream.values())
        self._flows.reconfigure(config)
        self._set_rates(config)
        self._waiting.reconfigure(config)
        self._flows.evict_strangers(now)

    def learn_sources(self, sources: Mapping[int, Address], now: Instant) -> None:
        """Flows of other workers carry these synchronisation sources, by next hop. A client whose
        NAT has rebound may come to any worker, since the kernel chooses by its address."""
        for ssrc, next_hop in sources.items():
            self._flows.learn_elsewhere(ssrc, next_hop, now)

    # Verbs out

    def take_sources(self) -> dict[int, Address]:
        """What ``learn_sources`` of the other workers is to be told. Told again for each generation
        in which a flow is used."""
        learned, self._learned = self._learned, {}
        return learned

    def next_timeout(self) -> Instant | None:
        rotation = self._flows.next_timeout()
        if not self._waiting:
            return rotation
        waiting = self._waiting.next_timeout()
        if rotation is None or waiting is None:
            return waiting if rotation is None else rotation
        return min(rotation, waiting)

    def next_request(self) -> Request | None:
        """What the store is to be asked or told next."""
        return self._requests.popleft() if self._requests else None

    # For adapters with a cache of their own, and for whoever looks in

    @property
    def flows(self) -> int:
        """How many clients have a flow."""
        return len(self._flows)

    @property
    def contenders(self) -> int:
        """How many clients have a second session that waits to take over."""
        return self._flows.contenders

    @property
    def waiting(self) -> int:
        """How many clients have packets that wait for the store."""
        return len(self._waiting)

    def flow(self, client: Address) -> Flow | None:
        """The flow of ``client``, without keeping it alive."""
        return self._flows.flow(client)

    def contender(self, client: Address) -> Flow | None:
        """Who waits to take ``client`` over."""
        return self._flows.contender(client)

    def some_flows(self, limit: int) -> list[Flow]:
        """At most ``limit`` flows, of all or of some clients."""
        clients = list(islice(self._flows, limit))
        return [flow for client in clients if (flow := self._flows.flow(client)) is not None]

    def is_upstream(self, sender: Address) -> bool:
        """Whether ``sender`` is the inner address of a relay that lies in front of this one."""
        return sender in self._upstream_relays

    def verifies(self, configuration: str) -> bool:
        """Whether checks under this hint configuration are verified here."""
        return configuration in self._edge.configurations

    def refuses_strangers(self, now: Instant) -> bool:
        """Whether a packet that is neither STUN, nor of a client with a flow, nor of an SSRC among
        ``sources``, can only be dropped: ``NOT_OURS`` or ``NO_FLOW`` by its ``demux.Kind``. An
        adapter may then do so itself and call ``dropped``."""
        if self._observe is not None:
            return False
        asks = self.config.store and self._waiting.has_room and self._lookups.has_one(now)
        return not asks

    @property
    def sources(self) -> Sources[Flow | set[Flow] | Address]:
        """The synchronisation sources that flows are known to carry."""
        return self._flows.sources

    def touch(self, clients: Iterable[Address], now: Instant, *, proved: bool = False) -> None:
        """Keep the flows of ``clients`` alive: an adapter has forwarded packets of theirs without
        asking. ``proved``: their owners sent some."""
        for client in clients:
            flow = self._flows.uplink(client, now)
            if flow is not None and proved:
                flow.proved = now

    def forwarded(self, kinds: Mapping[demux.Kind, int], octets: int, *, uplink: bool) -> None:
        """Count packets that an adapter has forwarded without asking."""
        packets = sum(kinds.values())
        if uplink:
            self.counters.uplink_packets += packets
            self.counters.uplink_bytes += octets
            self.counters.uplink_kinds.update(kinds)
        else:
            self.counters.downlink_packets += packets
            self.counters.downlink_bytes += octets
            self.counters.downlink_kinds.update(kinds)

    def dropped(self, drop: Drop, packets: int) -> None:
        """Count packets that an adapter has let go of, whoever sent them."""
        self.counters.drops[drop] += packets

    def drop(self, drop: Drop, address: Address, now: Instant) -> Drop:
        """Count a packet that was let go of, here or by the adapter, and say so."""
        self.counters.drops[drop] += 1
        if self._observe is not None:
            self._observe(Dropped(now, address, drop))
        return drop

    # Uplink, in detail

    def _passed(self, flow: Flow, proxy: Address, data: bytes) -> Flow:
        flow.proxy = proxy
        self.counters.uplink_packets += 1
        self.counters.uplink_bytes += len(data)
        self.counters.uplink_kinds[demux.classify(data)] += 1
        return flow

    def _route_stun_untrusted(
        self, data: bytes, client: Address, proxy: Address, now: Instant
    ) -> Flow | Drop:
        if len(data) < stun.HEADER_LENGTH:
            raise DecodeError("shorter than a STUN header")
        message_type, length, cookie = _STUN_HEADER.unpack_from(data)
        if cookie != stun.MAGIC_COOKIE or length != len(data) - stun.HEADER_LENGTH or length & 3:
            raise DecodeError("not a STUN header")
        if message_type & _CLASS_BITS:
            # A response or an indication names nobody, so it follows the flow.
            return self._flows.uplink(client, now) or Drop.NO_FLOW
        if message_type != stun.BINDING_REQUEST:
            return Drop.STUN_NOT_BINDING
        return self._route_check_untrusted(data, client, proxy, now)

    def _route_check_untrusted(
        self, data: bytes, client: Address, proxy: Address, now: Instant
    ) -> Flow | Drop:
        edge = self._edge
        flow = self._flows.flow(client)
        if flow is None and not client.is_sendable:
            return Drop.NO_WAY_BACK
        known = flow if flow is not None and flow.verified else None
        if known is None and edge.configurations and not edge.may_verify(client, now):
            if flow is not None:
                flow.checked = now  # for all that anybody can say: it might have named its owner
            return Drop.EDGE_RATE
        username = stun.peek_username_untrusted(data)
        if username is None:
            # Only a sound message can lack a name; an unsound one is called by its fault.
            stun.decode_untrusted(data)
            return Drop.STUN_NO_USERNAME
        ufrag, colon, _ = username.partition(b":")
        if not colon:
            return Drop.HINT_MALFORMED  # no USERNAME of ICE: rfc8445/7.3/4
        hint = self._keyring.decode_untrusted(ufrag, now)
        if isinstance(hint, Drop):
            return hint
        next_hop = self._directory.resolve(hint.cluster, hint.node)
        if next_hop is None:
            return Drop.HINT_UNKNOWN_NODE
        if next_hop.state is NodeState.DRAINED:
            return Drop.HINT_DRAINED_NODE
        self.counters.checks[hint.configuration] += 1
        verified = hint.configuration in edge.configurations
        if verified:
            if known is not None and not self._may_verify_again(known, next_hop.address, now):
                return Drop.EDGE_RATE
            if not edge.verify(stun.decode_untrusted(data), ufrag):
                return Drop.EDGE_INTEGRITY
        is_new = flow is None or flow.next_hop != next_hop.address
        if is_new and not self._may_make(client, next_hop.address, ufrag, now):
            return Drop.SESSION_RATE
        return self._flows.check(client, proxy, next_hop.address, verified, now)

    def _may_verify_again(self, flow: Flow, next_hop: Address, now: Instant) -> bool:
        if flow.next_hop == next_hop:
            return self._edge.may_verify_again(flow, now)
        return self._edge.may_verify(flow.client, now)

    def _may_make(self, client: Address, next_hop: Address, ufrag: bytes, now: Instant) -> bool:
        """Whether a check may make what is not there yet: a flow, or a contender."""
        contender = self._flows.contender(client)
        waits = contender is not None and contender.next_hop == next_hop
        return waits or self._edge.may_make(ufrag, now)

    def _route_stranger(
        self, data: bytes, client: Address, proxy: Address, now: Instant
    ) -> UplinkRoute:
        """Not STUN, and without a flow."""
        kind = demux.classify(data)
        if kind not in SPOKEN:
            return Drop.NOT_OURS
        ssrc = _peek_ssrc_untrusted(data, kind)
        flow = self._flows.by_ssrc(ssrc)
        next_hop = self._flows.elsewhere(ssrc) if flow is None else flow.next_hop
        if next_hop is not None and self._may_route(ssrc, next_hop, now):
            self.counters.by_ssrc += 1
            return Flow(client, proxy, next_hop, now, now, now)
        if not self.config.store:
            return Drop.NO_FLOW
        asked = client in self._waiting
        if not asked and not (self._waiting.has_room and self._lookups.take(now)):
            return Drop.NO_FLOW
        if not self._waiting.hold(client, HeldPacket(data, proxy), now):
            return Drop.NO_FLOW
        self.counters.held += 1
        if not asked:
            self._request(Lookup(client))
        return Held.HELD

    def _may_route(self, ssrc: int | None, next_hop: Address, now: Instant) -> bool:
        if ssrc is None or not self._directory.knows(next_hop):
            return False
        return self._by_source.take(ssrc, now) and self._by_ssrc.take(now)

    def _learn(self, flow: Flow, data: bytes) -> None:
        flow.peeks -= 1
        if demux.classify(data) is demux.Kind.RTP:
            ssrc = _peek_ssrc_untrusted(data, demux.Kind.RTP)
            if ssrc is not None:
                self._flows.learn(flow, ssrc)
                if len(self._learned) < self._learns:
                    self._learned[ssrc] = flow.next_hop

    # Bookkeeping

    def _set_rates(self, config: RelayConfig) -> None:
        rate = config.by_ssrc_rate
        self._by_ssrc = TokenBucket(rate, rate)
        self._by_source: Allowances[int] = Allowances(
            config.by_source_rate, config.by_source_rate, int(min(rate, _MOST_SOURCES))
        )
        self._lookups = TokenBucket(config.lookup_rate, config.lookup_rate)

    def _knows(self, next_hop: Address) -> bool:
        return self._directory.knows(next_hop)

    def _tell(self, record: FlowRecord) -> None:
        match record:
            case FlowMade(origin=origin):
                self.counters.made += 1
                self.counters.healed += origin is Origin.DOWNLINK
                self.counters.restored += origin is Origin.STORE
                self.counters.answered += origin is Origin.ANSWER
            case FlowMoved():
                self.counters.moved += 1
            case FlowReleased():
                self.counters.released += 1
            case FlowExpired():
                self.counters.expired += 1
            case FlowContended():
                self.counters.contended += 1
        if self.config.store:
            self._tell_store(record)
        if self._changed is not None:
            self._changed(record)
        if self._observe is not None:
            self._observe(record)

    def _tell_store(self, record: FlowRecord) -> None:
        match record:
            case FlowMade(at, client, next_hop, origin) if origin is not Origin.STORE:
                self._request(Remember(client, next_hop, at))
            case FlowMoved(at, client, next_hop=next_hop):
                self._request(Remember(client, next_hop, at))
            case FlowRenewed(_, client, next_hop, made):
                self._request(Remember(client, next_hop, made))
            case FlowReleased(_, client, next_hop, made):
                self._request(Forget(client, next_hop, made))

    def _request(self, request: Request) -> None:
        if len(self._requests) >= self.config.changes:
            self.counters.requests_lost += 1
            return
        self._requests.append(request)


def _decode_downlink_untrusted(data: bytes) -> forward.Leg:
    """The header of a packet to a client. Raises DecodeError, also for a client that nothing can be
    sent to: the kernel would refuse each packet, at the price of a system call."""
    leg = forward.decode_untrusted(data)
    if not leg.client.is_sendable:
        raise DecodeError("nothing can be sent to the client")
    return leg


def _peek_ssrc_untrusted(data: bytes, kind: demux.Kind) -> int | None:
    """The synchronisation source of RTP (RFC 3550, 5.1) or the sender's of RTCP (6.4); both stand
    in the clear under SRTP. None if the packet is too short to have one. Never raises."""
    offset = _SSRC_OFFSET.get(kind)
    if offset is None or len(data) < offset + _SSRC.size:
        return None
    ssrc: int = _SSRC.unpack_from(data, offset)[0]
    return ssrc
