"""Clients and transceivers on real sockets, reduced to what the relay sees of them.

A call here is a client that sends a signed check now and then and a packet of audio every 20 ms,
and a node that answers the checks and sends audio, reports or nothing back. Every packet of audio
has a number and the tag of its call, so that afterwards it can be said which packets arrived,
where, when, and which ones were lost; times are the kernel's own where it took the packet in.

One thread does it all: a selector, and a heap of what is to be sent when.
"""

import contextlib
import heapq
import itertools
import os
import random
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Collection, Sequence
from enum import Enum
from types import TracebackType
from typing import Self

from attrs import define, field, frozen

from fleet import CLUSTER, KEYRING
from stunroute import forward, stun
from stunroute.address import Address
from stunroute.hint import KeyRing

FRAME = 20_000_000
"""Nanoseconds between two packets of audio."""
REPORT = 1_000_000_000
"""Nanoseconds between two RTCP reports."""
PROBE = 500_000_000
"""Nanoseconds between the reports of a node that misses its client's audio."""

_TIMESTAMP = struct.Struct("@qq")
_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE = 33
_RTP = struct.Struct(">BBHII8sQ")
_PADDING = bytes(172 - _RTP.size)
_RTCP = struct.Struct(">BBHI8sQ")
_IP_AND_UDP = struct.Struct(">BBHHHBBH4s4sHHHH")
_FOREVER = float("inf")


class Downlink(Enum):
    """What a node sends to its client besides the answers to its checks."""

    AUDIO = "audio"
    REPORTS = "RTCP only"
    PROBES = "probes"  # silent, but it asks with a report when the client's audio stops
    SILENT = "silent"


@frozen
class Arrival:
    """``at`` is ``time.monotonic_ns``. ``via`` is the address it came from, or, at a node, the
    inner address of the relay; ``client`` is whom that relay named."""

    at: int
    number: int
    via: Address
    client: Address


@define
class Way:
    """One direction of a call: when each packet of audio was sent, and what arrived."""

    sent: list[int] = field(factory=list)
    """By number."""
    arrivals: list[Arrival] = field(factory=list)
    reports: list[Arrival] = field(factory=list)

    def lost(self, since: int = 0, until: float = _FOREVER) -> list[int]:
        """The packets sent in between that have not arrived."""
        arrived = {arrival.number for arrival in self.arrivals}
        return [
            number
            for number, at in enumerate(self.sent)
            if since <= at <= until and number not in arrived
        ]

    def first(self, since: int, via: Collection[Address] | None = None) -> int | None:
        """When the first packet arrived that was sent from ``since`` on, if need be by ``via``."""
        for arrival in self.arrivals:
            if self.sent[arrival.number] >= since and (via is None or arrival.via in via):
                return arrival.at
        return None

    def longest_gap(self, since: int = 0) -> int:
        """Nanoseconds between two arrivals that follow one another."""
        times = [arrival.at for arrival in self.arrivals if arrival.at >= since]
        return max((b - a for a, b in itertools.pairwise(times)), default=0)


class Call:
    """A client and what its node does for it. Change ``relay`` to send it elsewhere."""

    def __init__(
        self,
        traffic: "Traffic",
        node: "Node",
        relay: Address,
        *,
        check_every: float | None,
        downlink: Downlink,
        keyring: KeyRing = KEYRING,
        host: str = "127.0.0.1",
        ufrag: str | None = None,
    ) -> None:
        name = ufrag or keyring.mint(CLUSTER, node.number, os.urandom, 0.0)
        self.ufrag = name.encode()
        self.key = stun.IntegrityKey(keyring.password(self.ufrag))
        self.tag = os.urandom(8)
        self.ssrc = int.from_bytes(os.urandom(4), "big")
        self.node = node
        self.relay = relay
        self.check_every = None if check_every is None else int(check_every * 1e9)
        self.downlink_mode = downlink
        self.uplink = Way()
        self.downlink = Way()
        self.checks = 0
        self.answers: list[Arrival] = []
        self.talks = True
        self.ended = False
        self.is_paced = False
        self._traffic = traffic
        self._host = host
        self.sock = traffic.open(host, self._receive)
        # What the node knows of it: where to send, and by which relay.
        self.client: Address | None = None
        self.proxy: Address | None = None
        self.back: Address | None = None
        self.heard = 0
        self._transactions: dict[bytes, Address] = {}

    @property
    def address(self) -> Address:
        return Address.of(*self.sock.getsockname())

    @property
    def is_up(self) -> bool:
        """Audio has gone each way that is meant to."""
        back = self.downlink.arrivals or self.downlink_mode is not Downlink.AUDIO
        return bool(self.answers and self.uplink.arrivals and back)

    # The client's side

    def check(self) -> bytes:
        self.checks += 1
        return stun.binding_request(
            os.urandom(12), self.ufrag + b":peer", 1, self.key, controlling=self.ssrc
        )

    def rebind(self, host: str | None = None) -> None:
        """From now on the client's packets come from another port, and what is sent to the old one
        is lost: what a NAT does that has forgotten it."""
        old, self.sock = self.sock, self._traffic.open(host or self._host, self._receive)
        self._traffic.shut(old)

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.sock.sendto(data, (self.relay.ip, self.relay.port))

    def send_audio(self, now: int) -> None:
        number = len(self.uplink.sent)
        self.uplink.sent.append(now)
        self.send(self._audio(number))

    def _audio(self, number: int) -> bytes:
        head = _RTP.pack(
            0x80, 111, number & 0xFFFF, number * 960 & 0xFFFFFFFF, self.ssrc, self.tag, number
        )
        return head + _PADDING

    def _receive(self, data: bytes, sender: Address, at: int) -> None:
        if data[:2] == stun.BINDING_SUCCESS.to_bytes(2, "big"):
            self.answers.append(Arrival(at, len(self.answers), sender, self.address))
        elif (read := _read(data, self.tag)) is not None:
            is_audio, number = read
            way = self.downlink.arrivals if is_audio else self.downlink.reports
            way.append(Arrival(at, number, sender, self.address))

    # The node's side

    def answer(self, request: bytes, leg: forward.Leg, relay: Address) -> None:
        message = stun.decode_untrusted(request)
        if not message.verify_integrity(self.key):
            return
        if self._transactions.setdefault(message.transaction_id, leg.client) != leg.client:
            return  # a copy, from where its author is not
        self.client, self.proxy, self.back = leg.client, leg.proxy, relay
        self.reply(stun.binding_success(message, leg.client, self.key))

    def hear(self, data: bytes, leg: forward.Leg, relay: Address, at: int) -> None:
        """A packet with the right tag came up: by whichever relay, that is the one to send by; but
        another address needs a check."""
        if leg.client == self.client:
            self.back, self.proxy = relay, leg.proxy
        read = _read(data, self.tag)
        assert read is not None
        is_audio, number = read
        if is_audio:
            self.heard = at
        way = self.uplink.arrivals if is_audio else self.uplink.reports
        way.append(Arrival(at, number, relay, leg.client))

    def reply(self, payload: bytes) -> None:
        if self.client is None or self.proxy is None or self.back is None:
            return
        data = forward.encode(self.client, self.proxy) + payload
        with contextlib.suppress(OSError):
            self.node.sock.sendto(data, (self.back.ip, self.back.port))

    def send_back(self, now: int) -> None:
        """What the node has to send in this frame."""
        if self.client is None:
            return
        number = len(self.downlink.sent)
        match self.downlink_mode:
            case Downlink.AUDIO:
                self.downlink.sent.append(now)
                self.reply(self._audio(number))
            case Downlink.REPORTS if self._due(now, REPORT):
                self.reply(self._report())
            case Downlink.PROBES if now - self.heard > PROBE and self._due(now, PROBE):
                self.reply(self._report())

    _reported = 0

    def _due(self, now: int, interval: int) -> bool:
        if now - self._reported < interval:
            return False
        self._reported = now
        return True

    def _report(self) -> bytes:
        return _RTCP.pack(0x80, 201, 5, self.ssrc ^ 1, self.tag, 0)


def _read(data: bytes, tag: bytes) -> tuple[bool, int] | None:
    """Whether it is audio, and its number; None without the right tag."""
    if len(data) >= _RTP.size and data[1] == 111:
        *_, found, number = _RTP.unpack_from(data)
        return (True, number) if found == tag else None
    if len(data) >= _RTCP.size and data[1] == 201:
        *_, found, number = _RTCP.unpack_from(data)
        return (False, number) if found == tag else None
    return None


class Node:
    """A transceiver: one socket and its calls. What it cannot place is kept in ``strange``."""

    def __init__(self, traffic: "Traffic", number: int) -> None:
        self.number = number
        self.sock = traffic.open("127.0.0.1", self._receive)
        self.address = Address.of(*self.sock.getsockname())
        self.strange: list[tuple[bytes, Address]] = []
        self._by_ufrag: dict[bytes, Call] = {}
        self._by_ssrc: dict[int, Call] = {}

    def take(self, call: Call) -> None:
        self._by_ufrag[call.ufrag] = call
        self._by_ssrc[call.ssrc] = call

    def _receive(self, data: bytes, sender: Address, at: int) -> None:
        leg = forward.decode_untrusted(data)
        payload = data[forward.HEADER_LENGTH :]
        if payload[:2] == stun.BINDING_REQUEST.to_bytes(2, "big"):
            name = stun.peek_username_untrusted(payload) or b""
            call = self._by_ufrag.get(name.partition(b":")[0])
            if call is not None:
                call.answer(payload, leg, sender)
                return
        elif len(payload) >= 12:
            call = self._by_ssrc.get(int.from_bytes(payload[8:12], "big"))
            if call is not None and _read(payload, call.tag) is not None:
                call.hear(payload, leg, sender, at)
                return
        self.strange.append((payload, leg.client))


class Forger:
    """Sends UDP from whatever IPv4 address it likes. Root only."""

    def __init__(self) -> None:
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def send(self, data: bytes, source: Address, to: Address) -> None:
        # The kernel fills in the length, the identification and the checksum of IP; a UDP checksum
        # of 0 says that there is none.
        packet = _IP_AND_UDP.pack(
            *(0x45, 0, 0, 0, 0, 64, socket.IPPROTO_UDP, 0, source.packed, to.packed),
            *(source.port, to.port, 8 + len(data), 0),
        )
        self._sock.sendto(packet + data, (to.ip, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._sock.close()


class Traffic:
    """All calls of a test, running in a thread of their own for the length of a ``with`` block."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._selector = selectors.DefaultSelector()
        self._heap: list[tuple[int, int, Callable[[int], int | None]]] = []
        self._order = itertools.count()
        self._lock = threading.RLock()
        self._sockets: list[socket.socket] = []
        self._ending = False
        self._failure: BaseException | None = None
        self._skew = time.time_ns() - time.monotonic_ns()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self.lateness = 0
        """Nanoseconds by which a packet was sent too late at most: what to take off a figure
        before the relay is blamed for it."""

    # What a test does

    def node(self, number: int) -> Node:
        with self._lock:
            return Node(self, number)

    def call(
        self,
        node: Node,
        relay: Address,
        *,
        check_every: float | None = 2.5,
        downlink: Downlink = Downlink.AUDIO,
        keyring: KeyRing = KEYRING,
        host: str = "127.0.0.1",
    ) -> Call:
        """A call that begins now: with checks every 20 ms until one is answered, as clients do."""
        with self._lock:
            made = Call(
                self,
                node,
                relay,
                check_every=check_every,
                downlink=downlink,
                keyring=keyring,
                host=host,
            )
            node.take(made)
            self.calls.append(made)
            # Calls do not keep step with one another, nor do the two ends of one.
            now, phase = time.monotonic_ns(), random.Random(made.ssrc)
            self._at(now, self._checking(made))
            self._at(now + phase.randrange(FRAME), self._talking(made))
            self._at(now + phase.randrange(FRAME), self._replying(made))
        return made

    def end(self, call: Call) -> None:
        """Neither end sends any more. (The node forgets nothing and releases nothing.)"""
        call.ended = True

    def until(self, condition: Callable[[], object], what: str, within: float = 30.0) -> None:
        """Wait for ``condition``; fail with ``what`` and the state of the calls."""
        deadline = time.monotonic() + within
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {within:g} s: {what}\n{self.story()}")
            time.sleep(0.005)
        self.check()

    def check(self) -> None:
        """Raises what has ended the thread, if anything has."""
        if self._failure is not None:
            raise self._failure

    def settle(self, calls: Sequence[Call] = ()) -> None:
        """Stop the audio of all calls, or of some, and wait until nothing of it arrives any more:
        what has not by then is lost."""
        chosen = calls or self.calls
        for call in chosen:
            call.talks = False
        time.sleep(0.1)
        last = 0
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            seen = sum(len(c.uplink.arrivals) + len(c.downlink.arrivals) for c in chosen)
            if seen == last:
                return
            last = seen
            time.sleep(0.3)

    def story(self) -> str:
        return "\n".join(
            f"{call.address} to {call.relay}: {len(call.answers)} of {call.checks} checks answered,"
            f" up {len(call.uplink.arrivals)} of {len(call.uplink.sent)},"
            f" down {len(call.downlink.arrivals)} of {len(call.downlink.sent)}"
            for call in self.calls
        )

    # Sockets

    def open(
        self, host: str, receive: Callable[[bytes, Address, int], None], port: int = 0
    ) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        with contextlib.suppress(PermissionError):  # root may have more than the system's maximum
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 4 << 20)
        sock.bind((host, port))
        self._sockets.append(sock)
        self._selector.register(sock, selectors.EVENT_READ, receive)
        return sock

    def shut(self, sock: socket.socket) -> None:
        with self._lock:
            self._selector.unregister(sock)
            self._sockets.remove(sock)
            sock.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._ending = True
        self._thread.join()
        for sock in self._sockets:
            sock.close()
        self._selector.close()
        if kind is None:
            self.check()

    # The thread

    def _run(self) -> None:
        try:
            while not self._ending:
                self._turn()
        except BaseException as failure:
            self._failure = failure

    def _turn(self) -> None:
        with self._lock:
            due = self._heap[0][0] if self._heap else time.monotonic_ns() + 10_000_000
        wait = max(0.0, min((due - time.monotonic_ns()) / 1e9, 0.01))
        ready = self._selector.select(wait)
        with self._lock:
            for key, _ in ready:
                if key.fileobj in self._sockets:
                    self._drain(key.fileobj, key.data)  # type: ignore[arg-type]
            while self._heap and self._heap[0][0] <= (now := time.monotonic_ns()):
                due, _, act = heapq.heappop(self._heap)
                self.lateness = max(self.lateness, now - due)
                following = act(now)
                if following is not None:
                    # A packet that could not be sent in time is still sent, as an encoder would.
                    self._at(due + following, act)

    def _at(self, due: int, act: Callable[[int], int | None]) -> None:
        heapq.heappush(self._heap, (due, next(self._order), act))

    def _drain(self, sock: socket.socket, receive: Callable[[bytes, Address, int], None]) -> None:
        for _ in range(256):
            try:
                data, ancillary, _, name = sock.recvmsg(4096, 64)
            except BlockingIOError:
                return
            except OSError:
                continue
            at = time.monotonic_ns()
            for level, kind, value in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
                    seconds, nanoseconds = _TIMESTAMP.unpack(value[: _TIMESTAMP.size])
                    at = seconds * 1_000_000_000 + nanoseconds - self._skew
            receive(data, Address.of(*name), at)

    # What is to be sent when. Each returns nanoseconds to its next turn, or None for never.

    @staticmethod
    def _checking(call: Call) -> Callable[[int], int | None]:
        def act(_: int) -> int | None:
            if call.ended:
                return None
            if call.answers and call.check_every is None:
                return None
            call.send(call.check())
            if not call.answers or call.check_every is None:
                return FRAME
            if call.is_paced:
                return call.check_every
            call.is_paced = True  # calls that begin together do not check together for ever
            return random.Random(call.ssrc).randrange(call.check_every)

        return act

    @staticmethod
    def _talking(call: Call) -> Callable[[int], int | None]:
        def act(now: int) -> int | None:
            if call.ended:
                return None
            if call.answers and call.talks:
                call.send_audio(now)
            return FRAME

        return act

    @staticmethod
    def _replying(call: Call) -> Callable[[int], int | None]:
        def act(now: int) -> int | None:
            if call.ended:
                return None
            if call.talks:
                call.send_back(now)
            return FRAME

        return act
