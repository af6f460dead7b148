"""The batched adapter: answers that the core has given before, for whole batches at once.

Of a call's packets nearly all are media of a flow that the core knows and has nothing more to learn
from. For these its answer is a few bytes (the header to put in front, the address to send to, or on
the way back the client's address alone), so it is kept by the raw bytes that a packet shows: the
sender's socket address, and on the inner leg the header behind it. When every packet of a batch has
such an answer, nobody looks at the packets one by one: the answers are fetched by one
``itemgetter``, joined, and copied to where the message headers already point.

A packet that begins like STUN, is empty, was cut, or has no answer yet is for the core to decide,
and then its whole batch goes packet by packet through ``_one_by_one``. What is cached is dropped
when the core says that the flow has changed. Being quick is thus never a second set of rules, and a
property test holds both ways to the same result.

Keys are bytes and not integers, although those would be found a little faster: the hash of bytes is
seeded, that of an integer is not, and whoever sends packets chooses the keys.
"""

import asyncio
import ctypes
import errno
import socket
from collections import Counter
from operator import itemgetter
from struct import Struct

from stunroute import demux, forward
from stunroute.address import Address
from stunroute.flow import Flow
from stunroute.instant import Instant
from stunroute.relay import Downlink, Release
from stunroute.status import SocketStatus
from stunroute.trace import (
    Drop,
    FlowExpired,
    FlowMoved,
    FlowRecord,
    FlowReleased,
    FlowRenewed,
)

from .batch import (
    BATCH,
    COUNTS,
    NAME_LENGTH,
    NEEDS,
    STRIDE,
    Arena,
    Messages,
    address_of,
    is_supported,
    libc,
    low_halves,
    name_length,
    name_of,
    packed_of,
    send_all,
)
from .ports import Host
from .sockets import (
    DATAGRAM_LENGTH,
    BoundSockets,
    bound_address,
    kernel_drops,
    mapped_sockaddr,
    plain_sockaddr,
)

__all__ = ["NEEDS", "BatchedAdapter", "is_supported"]

BATCHES = 4
"""Batches that one socket gets before others and the timers have their turn."""
TOUCH_INTERVAL = 1.0
"""Seconds between two times that the core is told which flows have been used; far below any of its
timeouts, and at most a quarter of the shortest."""
OBSERVED = 1 << 16
"""Bytes that a lane keeps of what it has forwarded until they are counted by kind."""
TOUCHED_AT_ONCE = 256
"""Flows that it is told of before packets have their turn again."""

_HEADER = forward.HEADER_LENGTH
_HEAD = 12  # what the core wants to see of a stranger's packet
_LAST_STUN_OCTET = 3  # RFC 7983
_NOT_STUN = bytes(range(_LAST_STUN_OCTET + 1, 256))
_FIRST = [demux.classify(bytes([octet])) for octet in range(256)]
_MEDIA = bytes(kind is demux.Kind.RTP for kind in _FIRST)
_RTCP = bytes(demux.classify(bytes([128, octet])) is demux.Kind.RTCP for octet in range(256))


class _Cut:
    """A lane's views for a batch of ``count``, made once."""

    __slots__ = (
        *("count", "heads", "keys", "lengths"),
        *("overhead", "records", "zeros"),
    )

    def __init__(self, lane: "_Lane", count: int) -> None:
        self.count = count
        self.keys = Struct(lane.key_format * count).unpack_from
        self.heads = lane.heads[:count]
        self.zeros = memoryview(bytes(2 * count)).cast("H")
        self.lengths = low_halves(lane.received.words, 7, 8)[:count]
        self.overhead = int.from_bytes(lane.overhead.to_bytes(2, "little") * count, "little")
        records = lane.records_at
        self.records = lane.arena.view[records : records + count * lane.record_length]


class _Port:
    """A socket that a lane sends from: message headers that point at the lane's records and
    buffers. A record's header, if it has one, goes out in front of the payload."""

    def __init__(self, lane: "_Lane", sock: socket.socket) -> None:
        arena, vectors = lane.arena, 2 if lane.header_length else 1
        name_at = lane.records_at + lane.name_at
        self.sent = Messages(arena, sock.fileno(), vectors, name_at, lane.record_length)
        self.sent.name_length(name_length(sock.family))
        for n in range(BATCH):
            words = [arena.address(lane.buffers_at + n * STRIDE), 0]
            if lane.header_length:
                record = arena.address(lane.records_at + n * lane.record_length)
                words = [record, lane.header_length, *words]
            start = 2 * vectors * n
            self.sent.vectors[start : start + len(words)] = memoryview(
                b"".join(word.to_bytes(8, "little") for word in words)
            ).cast("Q")
        self.payloads = self.sent.vectors[2 * vectors - 2 :: 2 * vectors]
        """Where each payload begins."""
        self.in_order = memoryview(self.payloads.tobytes()).cast("Q")
        lengths = low_halves(self.sent.vectors, 2 * vectors - 1, 2 * vectors)
        self.lengths = [lengths[:count] for count in range(BATCH + 1)]
        self.first = self.sent.arguments(0)


class _Lane:
    """One socket that is read, and the answers for what arrives there."""

    key_format: str
    record_length: int
    header_length: int
    """Of the header at the beginning of a record."""
    name_at: int
    """Where in a record the socket address is to send to."""
    overhead: int
    """Bytes of each datagram that are received apart from its payload."""

    def __init__(self, adapter: "BatchedAdapter", sock: socket.socket, distance: int) -> None:
        self.adapter = adapter
        self.socket = sock
        self.address = bound_address(sock)
        self.ports: list[_Port] = []
        self.errors = 0
        self.cache: dict[bytes, bytes] = {}
        self.seen: set[bytes] = set()
        self.bytes = 0
        self.observed = bytearray()
        """The first two octets of the packets that the core has not seen."""
        self.arena = arena = Arena(1 << 18)
        self.keys_at = arena.take(distance * BATCH)
        self.buffers_at = arena.take(STRIDE * BATCH)
        self.records_at = arena.take(self.record_length * BATCH)
        vectors = 2 if self.overhead else 1
        self.received = Messages(arena, sock.fileno(), vectors, self.keys_at, distance)
        for n in range(BATCH):
            words = [arena.address(self.buffers_at + n * STRIDE), DATAGRAM_LENGTH + 1]
            if self.overhead:
                apart = arena.address(self.keys_at + n * distance + NAME_LENGTH)
                words = [apart, self.overhead, *words]
            for place, word in enumerate(words):
                self.received.vectors[len(words) * n + place] = word
        self.buffers = arena.view[self.buffers_at : self.buffers_at + STRIDE * BATCH]
        self.heads = self.buffers.cast("H")[:: STRIDE // 2]
        self.cuts = [_Cut(self, count) for count in range(BATCH + 1)]
        calls = libc()
        if calls is None:
            raise OSError(NEEDS)
        self.receive, self.send = calls
        # What a datagram that was cut shows as its length. Found astride two lengths it is a false
        # alarm, and costs no more than that the core is asked.
        self._too_long = (DATAGRAM_LENGTH + 1 + self.overhead).to_bytes(2, "little")
        self._arguments = (*self.received.arguments(0), COUNTS[BATCH], 0)

    def on_readable(self) -> None:
        for _ in range(BATCHES):
            if self.step() < BATCH:
                break
        if len(self.observed) > OBSERVED:
            self.adapter.merge()

    def step(self) -> int:
        """Read a batch and send on what is to be sent on; how many were read."""
        count = self.receive(*self._arguments)
        if count <= 0:
            return self._nothing(count)
        cut = self.cuts[count]
        if count == 1 and self._alone(cut):
            return 1
        heads = cut.heads.tobytes()
        keys = cut.keys(self.arena.view, self.keys_at)
        lengths = cut.lengths.tobytes()
        if count == 1 or heads[::2].translate(None, _NOT_STUN) or self._too_long in lengths:
            self._one_by_one(cut, keys, heads)
        else:
            try:
                found = itemgetter(*keys)(self.cache)
            except KeyError:
                self._one_by_one(cut, keys, heads)
            else:
                self._all_at_once(cut, b"".join(found), lengths)
                self.seen.update(keys)
                self.observed += heads
        # An empty datagram writes nothing, and what it finds here must not look like media.
        cut.heads[:] = cut.zeros
        return count

    def _alone(self, cut: _Cut) -> bool:
        """What is done for a batch, for a single packet, where strides do not pay. False if it is
        for the core to decide."""
        (key,) = cut.keys(self.arena.view, self.keys_at)
        record = self.cache.get(key)
        head = self.heads[0]
        length = cut.lengths[0] - self.overhead
        if record is None or head & 0xFF <= _LAST_STUN_OCTET or length > DATAGRAM_LENGTH:
            return False
        port = self.ports[record[self.name_at + NAME_LENGTH]]
        cut.records[:] = record
        port.lengths[1][0] = length
        self.bytes += length
        self.seen.add(key)
        self.observed += head.to_bytes(2, "little")
        if self.send(*port.first, COUNTS[1], 0) != 1:
            self._send_rest(port, 1, 0)
        self.heads[0] = 0
        return True

    def _nothing(self, count: int) -> int:
        if count < 0 and ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
            self.errors += 1
            return BATCH  # an error is gone once it was told; there may be packets behind it
        return 0

    def _all_at_once(self, cut: _Cut, records: bytes, received: bytes) -> None:
        """Send a whole batch. ``received`` holds the lengths as they came, 16 bits each."""
        count = cut.count
        port = self.ports[0]
        if self.overhead:
            # One subtraction for all: no borrow passes from one to the next, since a datagram
            # whose payload has a first octet is longer than its header.
            payloads = int.from_bytes(received, "little") - cut.overhead
            received = payloads.to_bytes(2 * count, "little")
        lengths = memoryview(received).cast("H")
        self.bytes += sum(lengths.tolist())
        if len(self.ports) > 1:
            indexes = records[self.name_at + NAME_LENGTH :: self.record_length]
            port = self.ports[indexes[0]]
            if indexes.count(indexes[0]) != count:
                step = self.record_length
                pieces = [records[at : at + step] for at in range(0, len(records), step)]
                self._send_some(list(range(count)), pieces, lengths.tolist())
                return
        cut.records[:] = records
        port.lengths[count][:] = lengths
        sent = self.send(*port.first, COUNTS[count], 0)
        if sent != count:
            self._send_rest(port, count, max(sent, 0))

    def _one_by_one(self, cut: _Cut, keys: tuple[bytes, ...], heads: bytes) -> None:
        relay, cache = self.adapter.host.relay, self.cache
        now = self.adapter.host.now()
        lengths = [length - self.overhead for length in cut.lengths]
        chosen: list[int] = []
        records: list[bytes] = []
        refused: Counter[Drop] = Counter()
        for n, key in enumerate(keys):
            record: bytes | Drop | None
            if lengths[n] > DATAGRAM_LENGTH:
                relay.drop(Drop.TOO_LONG, address_of(key), now)
                continue
            if heads[2 * n] > _LAST_STUN_OCTET:
                record = cache.get(key)
                if record is not None:
                    self.seen.add(key)
                    self.bytes += lengths[n]
                    self.observed += heads[2 * n : 2 * n + 2]
                    chosen.append(n)
                    records.append(record)
                    continue
                record = self.refuse(n, key, lengths[n])
                if record is not None:
                    refused[record] += 1
                    continue
            record = self.decide(n, key, lengths[n], now)
            if record is not None:
                chosen.append(n)
                records.append(record)
        for drop, packets in refused.items():
            relay.dropped(drop, packets)
        self._send_some(chosen, records, lengths)
        self.adapter.host.settle()

    def refuse(self, n: int, key: bytes, length: int) -> Drop | None:
        """The core's quick no to the packet in buffer ``n``, which has a payload."""
        return None

    def decide(self, n: int, key: bytes, length: int, now: Instant) -> bytes | None:
        """The core's answer for the packet in buffer ``n``, as a record; None if it is not to be
        sent from here. ``length`` is of its payload."""
        raise NotImplementedError

    def keep(self, key: bytes, record: bytes) -> None:
        if len(self.cache) >= self.adapter.host.relay.config.cached:
            self.cache.clear()
        self.cache[key] = record

    def drop_answer(self, key: bytes) -> None:
        self.cache.pop(key, None)
        self.seen.discard(key)

    def _send_some(self, chosen: list[int], records: list[bytes], lengths: list[int]) -> None:
        """Send the payloads in the buffers ``chosen``, each with its record."""
        index_at = self.name_at + NAME_LENGTH
        for index, port in enumerate(self.ports):
            if len(self.ports) == 1:
                mine = records
                buffers = chosen
            else:
                pairs = [
                    (r, n) for r, n in zip(records, chosen, strict=True) if r[index_at] == index
                ]
                mine, buffers = [r for r, _ in pairs], [n for _, n in pairs]
            if not mine:
                continue
            count = len(mine)
            at = self.records_at
            self.arena.view[at : at + count * self.record_length] = b"".join(mine)
            payloads, out = port.payloads, port.lengths[BATCH]
            for place, n in enumerate(buffers):
                payloads[place] = port.in_order[n]
                out[place] = lengths[n]
            self._send_rest(port, count, 0)
            payloads[:] = port.in_order

    def _send_rest(self, port: _Port, count: int, start: int) -> None:
        sent = send_all(self.send, port.sent, count, start)
        self.errors += sent.refused
        if sent.unsent:
            self.adapter.host.relay.dropped(Drop.SEND_BACKLOG, sent.unsent)

    def kinds(self) -> Counter[demux.Kind]:
        """What has passed without the core since the last time, by kind."""
        firsts, seconds = bytes(self.observed[::2]), bytes(self.observed[1::2])
        self.observed.clear()
        kinds: Counter[demux.Kind] = Counter()
        for octet, count in Counter(firsts).items():
            kinds[_FIRST[octet]] += count
        media = int.from_bytes(firsts.translate(_MEDIA), "big")
        rtcp = (media & int.from_bytes(seconds.translate(_RTCP), "big")).bit_count()
        if rtcp:
            kinds[demux.Kind.RTP] -= rtcp
            kinds[demux.Kind.RTCP] += rtcp
        return kinds


class _Uplink(_Lane):
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
        self.ports.append(_Port(self, adapter.bound.inner))

    def refuse(self, n: int, key: bytes, length: int) -> Drop | None:
        start = n * STRIDE
        head = bytes(self.buffers[start : start + min(length, _HEAD)])
        return self.adapter.host.relay.refuse(head, packed_of(key))

    def decide(self, n: int, key: bytes, length: int, now: Instant) -> bytes | None:
        relay = self.adapter.host.relay
        client = address_of(key)
        start = n * STRIDE
        data = bytes(self.buffers[start : start + length])
        route = relay.route_client(data, client, self.proxy, now)
        if not isinstance(route, Flow):
            return None
        name = self.adapter.inner_name(route.next_hop)
        if name is None:
            self.errors += 1
            return None
        record = b"".join((forward.encode(client, self.proxy), b"\0\0", name, bytes(4)))
        if route.is_settled and relay.flow(client) is route:
            self.keep(key, record)
        return record

    def key_of(self, client: Address) -> bytes | None:
        """The key of ``client``; None where this socket cannot have such clients."""
        if self.family == socket.AF_INET and not client.is_ipv4:
            return None
        return name_of(client, self.family)[: self._key_length]


class _Downlink(_Lane):
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
        self.ports += [_Port(self, lane.socket) for lane in adapter.public]
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
                self.adapter.send_inner(data, route.next_hop, now)
            return None
        match relay.route_transceiver(data, sender, now):
            case Downlink(client, proxy, _, None):
                index = self._indexes[proxy]
                try:
                    name = name_of(client, self.adapter.public[index].family)
                except ValueError:  # a header that names a client this socket cannot reach
                    self.errors += 1
                    return None
                record = name + bytes((index, 0, 0, 0))
                flow = relay.flow(client)
                if flow is not None and flow.next_hop == sender:
                    self.keep(key, record)
                return record
            case Downlink(upstream=relay_) | Release(upstream=relay_) if relay_ is not None:
                self.adapter.send_inner(data, relay_, now)
        return None


class BatchedAdapter:
    """See ``ports.Adapter``."""

    name = "batched"

    def __init__(self, host: Host, bound: BoundSockets, proxies: tuple[Address, ...]) -> None:
        self.host = host
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
            case FlowRenewed(client=client):
                self._forget_uplink(client)
            case (
                FlowReleased(client=client, next_hop=owner)
                | FlowExpired(client=client, next_hop=owner)
            ):
                self._forget_uplink(client)
                self._forget_downlink(client, owner)
            case FlowMoved(client=client, old=owner):
                self._forget_uplink(client)
                self._forget_downlink(client, owner)

    def _forget_uplink(self, client: Address) -> None:
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
        self.merge()
        self._gather()
        self._touch_on()

    def _touch_on(self) -> None:
        """A part of it, then the sockets' turn, then the next part."""
        if not self._to_touch:
            self.host.settle()
            self._touch_later()
            return
        self._touch_some(TOUCHED_AT_ONCE)
        self._touching = self._loop.call_soon(self._touch_on)

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
