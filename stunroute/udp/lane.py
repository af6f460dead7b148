"""Lanes: one socket that is read, and the answers for what arrives there.

A lane has the arena's views for each size of batch and does what is done with every batch, the
quick way or packet by packet. What keys and records are made of, and what the core is asked, is for
the two kinds of lane in ``batched``.
"""

import ctypes
import errno
import socket
from abc import ABC, abstractmethod
from collections import Counter, deque
from functools import partial
from operator import itemgetter
from struct import Struct
from typing import Protocol

from stunroute import demux
from stunroute.instant import Instant
from stunroute.trace import Drop

from .batch import (
    BATCH,
    COUNTS,
    NAME_LENGTH,
    NEEDS,
    STRIDE,
    Arena,
    Messages,
    address_of,
    libc,
    low_halves,
    name_length,
    send_all,
)
from .ports import Host
from .sockets import DATAGRAM_LENGTH, bound_address

BATCHES = 4
"""Batches that one socket gets before others and the timers have their turn."""

_A_FEW = 4
"""Packets without an answer that are no reason to weigh a whole batch."""
_NOT_STUN = bytes(range(demux.LAST_STUN_OCTET + 1, 256))
FIRST = [demux.classify(bytes([octet])) for octet in range(256)]
"""Kinds by the first octet; RTCP is among RTP."""
_NUMBERS = bytes(list(demux.Kind).index(kind) for kind in FIRST)
_MEDIA = bytes(kind is demux.Kind.RTP for kind in FIRST)
_RTCP = bytes(demux.classify(bytes([128, octet])) is demux.Kind.RTCP for octet in range(256))


class Owner(Protocol):
    """The adapter, as its lanes see it."""

    host: Host
    version: int
    """Another one after each time that answers were dropped."""


class _Cut:
    """A lane's views for a batch of ``count``, made once."""

    __slots__ = (
        *("count", "heads", "keys", "lengths"),
        *("overhead", "records", "zeros"),
    )

    def __init__(self, lane: "Lane", count: int) -> None:
        self.count = count
        keys = Struct(lane.key_format * count)
        self.keys = partial(keys.unpack_from, lane.arena.view, lane.keys_at)
        self.heads = lane.heads[:count]
        self.zeros = memoryview(bytes(2 * count)).cast("H")
        self.lengths = low_halves(lane.received.words, 7, 8)[:count]
        self.overhead = int.from_bytes(lane.overhead.to_bytes(2, "little") * count, "little")
        records = lane.records_at
        self.records = lane.arena.view[records : records + count * lane.record_length]


class Port:
    """A socket that a lane sends from: message headers that point at the lane's records and
    buffers. A record's header, if it has one, goes out in front of the payload."""

    def __init__(self, lane: "Lane", sock: socket.socket) -> None:
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
        self.length = self.lengths[1]
        self.first = [(*self.sent.arguments(0), count, 0) for count in COUNTS]
        """The arguments that send so many from the first on."""


class Lane(ABC):
    """One socket that is read, and the answers for what arrives there."""

    key_format: str
    record_length: int
    header_length: int
    """Of the header at the beginning of a record."""
    name_at: int
    """Where in a record the socket address is to send to."""
    overhead: int
    """Bytes of each datagram that are received apart from its payload."""

    def __init__(self, adapter: Owner, sock: socket.socket, distance: int) -> None:
        self.adapter = adapter
        self.socket = sock
        self.address = bound_address(sock)
        self.ports: list[Port] = []
        self.errors = 0
        self.cache: dict[bytes, bytes] = {}
        self.seen: set[bytes] = set()
        self.bytes = 0
        self.observed = bytearray()
        """The first two octets of the packets that the core has not seen. The adapter has them
        counted once a second, before they are a megabyte."""
        self.arena = arena = Arena(1 << 20)
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
        self._first_head = self.buffers[:2]
        self.cuts = [_Cut(self, count) for count in range(BATCH + 1)]
        self._one = self.cuts[1]
        self._index_at = self.name_at + NAME_LENGTH
        calls = libc()
        if calls is None:
            raise OSError(NEEDS)
        self.receive, self.send = calls
        # What a datagram that was cut shows as its length. Found astride two lengths it is a false
        # alarm, and costs no more than that the core is asked.
        self._too_long = (DATAGRAM_LENGTH + 1 + self.overhead).to_bytes(2, "little")
        self._arguments = (*self.received.arguments(0), COUNTS[BATCH], 0, None)

    def on_readable(self) -> None:
        rounds = 1
        while self.step() == BATCH and rounds < BATCHES:
            rounds += 1

    def step(self) -> int:
        """Read a batch and send on what is to be sent on; how many were read."""
        count = self.receive(*self._arguments)
        if count <= 1 and (count <= 0 or self._alone()):
            return count if count > 0 else self._nothing(count)
        cut = self.cuts[count]
        heads = cut.heads.tobytes()
        keys = cut.keys()
        lengths = cut.lengths.tobytes()
        try:
            if count == 1 or heads[::2].translate(None, _NOT_STUN) or self._too_long in lengths:
                self._mixed(cut, keys, heads, lengths)
                return count
            try:
                found = itemgetter(*keys)(self.cache)
            except KeyError:
                self._mixed(cut, keys, heads, lengths)
                return count
            payloads = self._send_batch(cut, b"".join(found), lengths)
            self.seen.update(keys)
            self.observed += heads
            self.bytes += sum(payloads.tolist())
        finally:
            # An empty datagram writes nothing, and what it finds here must not look like media.
            cut.heads[:] = cut.zeros
        return count

    def _alone(self) -> bool:
        """What is done for a batch, for a single packet, where strides do not pay. False if it is
        for the core to decide."""
        cut, heads = self._one, self.heads
        (key,) = cut.keys()
        record = self.cache.get(key)
        length = cut.lengths[0] - self.overhead
        if record is None or heads[0] & 0xFF <= demux.LAST_STUN_OCTET or length > DATAGRAM_LENGTH:
            return False
        port = self.ports[record[self._index_at]]
        cut.records[:] = record
        port.length[0] = length
        self.bytes += length
        self.seen.add(key)
        self.observed += self._first_head
        if self.send(*port.first[1]) != 1:
            self._send_rest(port, 1, 0)
        heads[0] = 0
        return True

    def _nothing(self, count: int) -> int:
        if count < 0 and ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
            self.errors += 1
            return BATCH  # an error is gone once it was told; there may be packets behind it
        return 0

    def _mixed(self, cut: _Cut, keys: tuple[bytes, ...], heads: bytes, received: bytes) -> None:
        """A batch with packets that the core has to see. It sees these alone, in their order; when
        it changes a flow by one of them, what is behind that one is looked up anew."""
        relay, cache, adapter = self.adapter.host.relay, self.cache, self.adapter
        now = adapter.host.now()
        lengths = [length - self.overhead for length in memoryview(received).cast("H")]
        found = list(map(cache.get, keys))
        odd = self._odd(0, heads, lengths, found)
        verdicts = self.verdicts(keys, heads) if len(odd) > _A_FEW else None
        refused: Counter[Drop] = Counter()
        asked: list[int] = []
        while odd:
            n = odd.popleft()
            asked.append(n)
            found[n] = None
            if lengths[n] > DATAGRAM_LENGTH:
                relay.drop(Drop.TOO_LONG, address_of(keys[n]), now)
                continue
            if verdicts is not None and heads[2 * n] > demux.LAST_STUN_OCTET:
                drop = verdicts[n]
                if drop is not None:
                    refused[drop] += 1
                    continue
            version = adapter.version
            found[n] = self.decide(n, keys[n], lengths[n], now)
            if found[n] is not None:
                verdicts = None  # what the core has let through may have made room for others
            if adapter.version != version:
                found[n + 1 :] = map(cache.get, keys[n + 1 :])
                odd = self._odd(n + 1, heads, lengths, found)
        for drop, packets in refused.items():
            relay.dropped(drop, packets)
        self._count(asked, keys, heads, lengths)
        records = [record for record in found if record is not None]
        if len(records) == cut.count:
            self._send_batch(cut, b"".join(records), received)
        elif records:
            chosen = [n for n, record in enumerate(found) if record is not None]
            self._send_some(chosen, records, [lengths[n] for n in chosen])
        adapter.host.settle()

    def _odd(
        self, start: int, heads: bytes, lengths: list[int], found: list[bytes | None]
    ) -> deque[int]:
        """The packets from ``start`` on for which there is no answer, or no use for it."""
        return deque(
            n
            for n in range(start, len(found))
            if found[n] is None
            or heads[2 * n] <= demux.LAST_STUN_OCTET
            or lengths[n] > DATAGRAM_LENGTH
        )

    def _count(
        self, asked: list[int], keys: tuple[bytes, ...], heads: bytes, lengths: list[int]
    ) -> None:
        """Count those of a batch that the core was not ``asked`` about: it has counted the rest."""
        known, octets, total = list(keys), bytearray(heads), sum(lengths)
        for n in reversed(asked):
            del known[n]
            del octets[2 * n : 2 * n + 2]
            total -= lengths[n]
        self.seen.update(known)
        self.observed += octets
        self.bytes += total

    def verdicts(self, keys: tuple[bytes, ...], heads: bytes) -> list[Drop | None] | None:
        """The quick no: for each packet why it is let go of if it is not STUN and has no answer,
        or None where the core decides. None altogether where there is no quick no."""
        return None

    @abstractmethod
    def decide(self, n: int, key: bytes, length: int, now: Instant) -> bytes | None:
        """The core's answer for the packet in buffer ``n``, as a record; None if it is not to be
        sent from here. ``length`` is of its payload."""
        ...

    def keep(self, key: bytes, record: bytes) -> None:
        if len(self.cache) >= self.adapter.host.relay.config.cached:
            self.cache.clear()
        self.cache[key] = record

    def drop_answer(self, key: bytes) -> None:
        self.cache.pop(key, None)
        self.seen.discard(key)

    def _send_batch(self, cut: _Cut, records: bytes, received: bytes) -> memoryview:
        """Send a whole batch. ``received`` holds the lengths as they came, 16 bits each; those of
        the payloads are returned."""
        count = cut.count
        if self.overhead:
            # One subtraction for all: no borrow passes from one to the next, since a datagram
            # whose payload has a first octet is longer than its header.
            payloads = int.from_bytes(received, "little") - cut.overhead
            received = payloads.to_bytes(2 * count, "little")
        lengths = memoryview(received).cast("H")
        port = self.ports[0]
        if len(self.ports) > 1:
            indexes = records[self._index_at :: self.record_length]
            port = self.ports[indexes[0]]
            if indexes.count(indexes[0]) != count:
                step = self.record_length
                pieces = [records[at : at + step] for at in range(0, len(records), step)]
                self._send_some(list(range(count)), pieces, lengths.tolist())
                return lengths
        cut.records[:] = records
        port.lengths[count][:] = lengths
        sent = self.send(*port.first[count])
        if sent != count:
            self._send_rest(port, count, max(sent, 0))
        return lengths

    def _send_some(self, chosen: list[int], records: list[bytes], lengths: list[int]) -> None:
        """Send the payloads in the buffers ``chosen``, each with its record and length."""
        index_at = self._index_at
        for index, port in enumerate(self.ports):
            mine = [place for place, record in enumerate(records) if record[index_at] == index]
            if not mine:
                continue
            count, at = len(mine), self.records_at
            joined = b"".join([records[place] for place in mine])
            self.arena.view[at : at + count * self.record_length] = joined
            payloads, out = port.payloads, port.lengths[BATCH]
            for position, place in enumerate(mine):
                payloads[position] = port.in_order[chosen[place]]
                out[position] = lengths[place]
            self._send_rest(port, count, 0)
            payloads[:] = port.in_order

    def _send_rest(self, port: Port, count: int, start: int) -> None:
        sent = send_all(self.send, port.sent, count, start)
        self.errors += sent.refused
        if sent.unsent:
            self.adapter.host.relay.dropped(Drop.SEND_BACKLOG, sent.unsent)

    def kinds(self) -> Counter[demux.Kind]:
        """What has passed without the core since the last time, by kind. Nothing here looks at a
        packet by itself: that would cost as much again as forwarding it."""
        firsts, seconds = bytes(self.observed[::2]), bytes(self.observed[1::2])
        self.observed.clear()
        numbers = firsts.translate(_NUMBERS)
        kinds = Counter({kind: numbers.count(n) for n, kind in enumerate(demux.Kind)})
        media = int.from_bytes(firsts.translate(_MEDIA), "big")
        rtcp = (media & int.from_bytes(seconds.translate(_RTCP), "big")).bit_count()
        if rtcp:
            kinds[demux.Kind.RTP] -= rtcp
            kinds[demux.Kind.RTCP] += rtcp
        return kinds
