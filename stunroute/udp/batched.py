"""The batched adapter: answers that the core has given before, for whole batches at once.

Of a call's packets nearly all are media of a flow that the core knows and has nothing more to learn
from. For these its answer is a few bytes (the header to put in front, the address to send to, or on
the way back the client's address alone), so it is kept by the raw bytes that a packet shows: the
sender's socket address, and on the inner leg the header behind it. When every packet of a batch has
such an answer, nobody looks at the packets one by one: the answers are fetched by one
``itemgetter``, joined, and copied to where the message headers already point.

A packet that begins like STUN, is empty, was cut, or has no answer yet is for the core to decide:
those of a batch are shown to it one by one, in their order (``lane``). What is cached is dropped
when the core says that the flow has changed. Being quick is thus never a second set of rules, and a
property test holds both ways to the same result.

Keys are bytes and not integers, although those would be found a little faster: the hash of bytes is
seeded, that of an integer is not, and whoever sends packets chooses the keys.
"""

import asyncio
import socket
from collections.abc import Container
from struct import Struct

from stunroute import forward
from stunroute.address import Address
from stunroute.flow import LAST_SHARD, Flow
from stunroute.instant import Instant
from stunroute.relay import SPOKEN, Downlink, Release
from stunroute.status import SocketStatus
from stunroute.trace import (
    Drop,
    FlowExpired,
    FlowMade,
    FlowMoved,
    FlowRecord,
    FlowReleased,
    FlowRenewed,
)

from .batch import NAME_LENGTH, NEEDS, STRIDE, address_of, is_supported, name_of
from .lane import FIRST, Lane, Port
from .ports import Host
from .sockets import BoundSockets, kernel_drops, mapped_sockaddr, plain_sockaddr

__all__ = ["NEEDS", "BatchedAdapter", "is_supported"]

TOUCH_INTERVAL = 1.0
"""Seconds between two times that the core is told which flows have been used; far below any of its
timeouts, and at most a quarter of the shortest."""
TOUCHED_AT_ONCE = 256
"""Flows that it is told of before packets have their turn again."""

_HEADER = forward.HEADER_LENGTH
_IPV4_FAMILY = socket.AF_INET.to_bytes(2, "little")
_STRANGER = [Drop.NO_FLOW if kind in SPOKEN else Drop.NOT_OURS for kind in FIRST]
"""Why a packet of a client without a flow is let go of, by its first octet."""


class _Everybody:
    """Contains all keys: beyond what is cached, nobody is taken for a stranger unasked."""

    def __contains__(self, key: object) -> bool:
        return True


EVERYBODY = _Everybody()


class _Uplink(Lane):
    """A public socket. A key is a client's socket address, of IPv4 without the zeros at its end; a
    record is the header for its packets and the socket address of its next hop."""

    record_length = 72
    header_length = _HEADER
    name_at = 40
    overhead = 0

    def __init__(self, adapter: "BatchedAdapter", sock: socket.socket, proxy: Address) -> None:
        self.proxy = proxy
        self.family = sock.family
        self._key_length = 8 if sock.family == socket.AF_INET else NAME_LENGTH
        self.key_format = f"{self._key_length}s{NAME_LENGTH - self._key_length}x"
        super().__init__(adapter, sock, NAME_LENGTH)
        self._adapter = adapter
        self.known: Container[bytes] = set()
        """The keys of all clients with a flow; everybody's when there are too many to know."""
        self._sources = adapter.host.relay.sources.shards
        words = self.buffers.cast("I")
        self._rtcp_sources = words[1 :: STRIDE // 4]
        self._rtp_sources = words[2 :: STRIDE // 4]
        self.ports.append(Port(self, adapter.bound.inner))

    def verdicts(self, keys: tuple[bytes, ...], heads: bytes) -> list[Drop | None] | None:
        """A flood of strangers' packets costs this much: no address or message is made of them.
        The two words where an SSRC would be are read whatever a packet is, and from the packet
        before it if it is too short; where they name a flow's by chance the core is asked."""
        host = self.adapter.host
        if not host.relay.refuses_strangers(host.now()):
            return None
        count = len(keys)
        words = Struct(f">{count}I").unpack
        known, sources = self.known, self._sources
        return [
            None
            if key in known
            or rtcp in sources[rtcp & LAST_SHARD]
            or rtp in sources[rtp & LAST_SHARD]
            else _STRANGER[first]
            for key, first, rtcp, rtp in zip(
                keys,
                heads[::2],
                words(self._rtcp_sources[:count].tobytes()),
                words(self._rtp_sources[:count].tobytes()),
                strict=True,
            )
        ]

    def decide(self, n: int, key: bytes, length: int, now: Instant) -> bytes | None:
        relay = self.adapter.host.relay
        client = address_of(key)
        start = n * STRIDE
        data = bytes(self.buffers[start : start + length])
        route = relay.route_client(data, client, self.proxy, now)
        if not isinstance(route, Flow):
            return None
        name = self._adapter.inner_name(route.next_hop)
        if name is None:
            self.errors += 1
            return None
        record = b"".join((forward.encode(client, self.proxy), b"\0\0", name, bytes(4)))
        # A link-local client shows the number of its interface, too. No address has that, so what
        # is kept under such a key could not be found again when the flow changes.
        if route.is_settled and relay.flow(client) is route and key == self.key_of(client):
            self.keep(key, record)
        return record

    def key_of(self, client: Address) -> bytes | None:
        """The key of ``client``; None where this socket cannot have such clients."""
        if self.family == socket.AF_INET:
            # As ``name_of`` would begin, for half the price: every new flow asks.
            return _IPV4_FAMILY + client[16:] + client[12:16] if client.is_ipv4 else None
        return name_of(client, self.family)


class _Downlink(Lane):
    """The inner socket. A key is the sender's socket address and the leg's header, which is
    received apart from the payload; a record is the client's socket address and the number of the
    public socket to send from."""

    key_format = f"{NAME_LENGTH + _HEADER}s6x"
    record_length = 32
    header_length = 0
    name_at = 0
    overhead = _HEADER

    def __init__(self, adapter: "BatchedAdapter", sock: socket.socket) -> None:
        super().__init__(adapter, sock, NAME_LENGTH + _HEADER + 6)
        self._adapter = adapter
        self.ports += [Port(self, lane.socket) for lane in adapter.public]
        self._indexes = {lane.proxy: index for index, lane in enumerate(adapter.public)}

    def decide(self, n: int, key: bytes, length: int, now: Instant) -> bytes | None:
        relay = self.adapter.host.relay
        sender = address_of(key)
        start = n * STRIDE
        payload = bytes(self.buffers[start : start + max(length, 0)])
        data = (key[NAME_LENGTH:] + payload)[: length + _HEADER]
        if relay.is_upstream(sender):
            route = relay.route_relay(data, sender, now)
            if isinstance(route, Flow):
                self._adapter.send_inner(data, route.next_hop, now)
            return None
        match relay.route_transceiver(data, sender, now):
            case Downlink(client, proxy, _, None):
                index = self._indexes[proxy]
                try:
                    name = name_of(client, self._adapter.public[index].family)
                except ValueError:  # a header that names a client this socket cannot reach
                    self.errors += 1
                    return None
                record = name + bytes((index, 0, 0, 0))
                flow = relay.flow(client)
                if flow is not None and flow.next_hop == sender:
                    owner = self._adapter.inner_name(sender)
                    if owner is not None and key.startswith(owner):
                        self.keep(key, record)
                return record
            case Downlink(upstream=relay_) | Release(upstream=relay_) if relay_ is not None:
                self._adapter.send_inner(data, relay_, now)
        return None


class BatchedAdapter:
    """See ``ports.Adapter``."""

    name = "batched"

    def __init__(self, host: Host, bound: BoundSockets, proxies: tuple[Address, ...]) -> None:
        self.host = host
        self.version = 0
        self.bound = bound
        self.public = [
            _Uplink(self, sock, proxy) for sock, proxy in zip(bound.public, proxies, strict=True)
        ]
        self.inner = _Downlink(self, bound.inner)
        self._names: dict[Address, bytes] = {}
        inner = bound.inner.family
        self._sockaddr = plain_sockaddr if inner == socket.AF_INET else mapped_sockaddr
        self._touching: asyncio.Handle | None = None
        self._to_touch: list[tuple[bool, list[bytes]]] = []

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        # The inner socket first: a public one must never receive what it cannot pass on.
        for lane in (self.inner, *self.public):
            self._loop.add_reader(lane.socket.fileno(), lane.on_readable)
        self._touch_later()

    async def close(self) -> None:
        if self._touching is not None:
            self._touching.cancel()
        for lane in (self.inner, *self.public):
            self._loop.remove_reader(lane.socket.fileno())
        self.merge()
        self.bound.close()

    def drain(self) -> None:
        """Forward what is in the sockets now, within a bound."""
        for lane in (*self.public, self.inner):
            for _ in range(1024):
                if lane.step() == 0:
                    break

    def inner_name(self, next_hop: Address) -> bytes | None:
        """The raw socket address of ``next_hop``; None where the inner socket cannot reach it."""
        name = self._names.get(next_hop)
        if name is None:
            try:
                name = name_of(next_hop, self.bound.inner.family)
            except ValueError:
                return None
            self._names[next_hop] = name
        return name

    def flow_changed(self, record: FlowRecord) -> None:
        match record:
            case FlowMade(client=client):
                self._know(client)
            case FlowRenewed(client=client):
                self._forget_uplink(client)
            case (
                FlowReleased(client=client, next_hop=owner)
                | FlowExpired(client=client, next_hop=owner)
            ):
                self._forget_uplink(client)
                self._forget_downlink(client, owner)
                self._know_no_more(client)
            case FlowMoved(client=client, old=owner):
                self._forget_uplink(client)
                self._forget_downlink(client, owner)
                self._know(client)  # the flow that it had before may have been told as ended

    def _know(self, client: Address) -> None:
        bound = self.host.relay.config.cached
        for lane in self.public:
            known = lane.known
            if isinstance(known, set) and (key := lane.key_of(client)) is not None:
                if len(known) < bound:
                    known.add(key)
                else:
                    lane.known = EVERYBODY

    def _know_no_more(self, client: Address) -> None:
        empty = self.host.relay.flows == 0
        for lane in self.public:
            if empty:
                lane.known = set()
            elif isinstance(lane.known, set) and (key := lane.key_of(client)) is not None:
                lane.known.discard(key)

    def _forget_uplink(self, client: Address) -> None:
        self.version += 1
        for lane in self.public:
            if lane.cache and (key := lane.key_of(client)) is not None:
                lane.drop_answer(key)

    def _forget_downlink(self, client: Address, owner: Address) -> None:
        name = self.inner_name(owner)
        if self.inner.cache and name is not None:
            for lane in self.public:
                self.inner.drop_answer(name + forward.encode(client, lane.proxy))

    def forget(self) -> None:
        for lane in (self.inner, *self.public):
            lane.cache.clear()
        self._names.clear()

    def merge(self) -> None:
        for lane in (self.inner, *self.public):
            if lane.observed:
                uplink = lane is not self.inner
                self.host.relay.forwarded(lane.kinds(), lane.bytes, uplink=uplink)
                lane.bytes = 0

    def touch(self) -> None:
        """Tell the core at once of all flows that have been used."""
        self._gather()
        while self._to_touch:
            self._touch_some(len(self._to_touch[-1][1]))
        self.host.settle()

    def _touch_later(self) -> None:
        shortest = min(self.host.relay.config.idle_timeout, self.host.relay.config.takeover_idle)
        interval = min(TOUCH_INTERVAL, shortest / 4) or TOUCH_INTERVAL
        self._touching = self._loop.call_later(interval, self._touch_all)

    def _touch_all(self) -> None:
        self._gather()
        self._touch_on()
        self.merge()

    def _touch_on(self) -> None:
        """A part of it, then the sockets' turn, then the next part. What comes next is arranged
        first: were it lost to a mistake, all flows would expire in the middle of their calls."""
        if not self._to_touch:
            self._touch_later()
            self.host.settle()
            return
        self._touching = self._loop.call_soon(self._touch_on)
        self._touch_some(TOUCHED_AT_ONCE)

    def _gather(self) -> None:
        for lane in (self.inner, *self.public):
            if lane.seen:
                self._to_touch.append((lane is self.inner, list(lane.seen)))
                lane.seen = set()

    def _touch_some(self, count: int) -> None:
        proved, keys = self._to_touch[-1]
        part = keys[-count:]
        del keys[-count:]
        if not keys:
            self._to_touch.pop()
        relay, now = self.host.relay, self.host.now()
        if not proved:
            relay.touch(map(address_of, part), now)
            return
        for key in part:
            client = Address.of_octets(key[NAME_LENGTH + 2 : NAME_LENGTH + 18] + key[62:64])
            flow = relay.flow(client)
            if flow is not None and flow.next_hop == address_of(key):
                relay.touch((client,), now, proved=True)

    def send_inner(self, data: bytes, to: Address, now: Instant) -> None:
        try:
            self.bound.inner.sendto(data, self._sockaddr(to))
        except BlockingIOError:
            self.host.relay.drop(Drop.SEND_BACKLOG, to, now)
        except OSError:
            self.inner.errors += 1

    def sockets(self) -> tuple[SocketStatus, ...]:
        roles = [("inner", self.inner), *(("public", lane) for lane in self.public)]
        return tuple(
            SocketStatus(role, str(lane.address), lane.errors, kernel_drops(lane.socket))
            for role, lane in roles
        )
