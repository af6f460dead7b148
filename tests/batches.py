"""The batched adapter between stand-ins for the kernel, beside a core that is asked the same."""

import ctypes
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import evolve

from fleet import CONFIGURATION, DIRECTORY, KEYRING, OTHER_PROXY, A, B, check, leg, rtp
from stunroute import forward
from stunroute.address import Address
from stunroute.config import RelayConfig
from stunroute.flow import Flow
from stunroute.relay import Downlink, Relay
from stunroute.settings import Configuration, Hints, Listen, RelaySettings
from stunroute.trace import Drop
from stunroute.udp.batch import STRIDE, name_of
from stunroute.udp.batched import BatchedAdapter
from stunroute.udp.sockets import DATAGRAM_LENGTH, bind_all

FOUR, SIX = Address.of("127.0.0.1", 0), Address.of("::1", 0)
HINTS = Hints((Configuration("0", CONFIGURATION.routing_key, CONFIGURATION.password_key),))
CONFIG = RelayConfig(
    flows=4, contenders=2, ssrc_peeks=3, ssrc_peeks_later=0, heal_rate=10.0, heal_burst=3.0
)
"""A flow is not looked at again in later generations: with the adapter that happens when the core
is next told of its use, up to a second later than without, and here both must agree at once."""
SENDERS = (A, B, Address.of("10.0.0.99", 4000))


class Kernel:
    """Stands in for both system calls of one lane. ``arriving`` are datagrams with their senders'
    names, ``sent`` what went out, by the descriptor of its socket."""

    def __init__(self, world: "World", lane: Any) -> None:
        self.world = world
        self.lane = lane
        self.arriving: deque[tuple[bytes, bytes]] = deque()
        self.outcomes: deque[int | tuple[int, int]] = deque()
        lane.receive, lane.send = self.receive, self.send

    def receive(self, fd: Any, messages: Any, count: Any, flags: int, timeout: None) -> int:
        """Write as the kernel does: names, what fits of each datagram, its length."""
        lane, n = self.lane, 0
        while self.arriving and n < count.value:
            name, data = self.arriving.popleft()
            at = lane.keys_at + n * (28 if lane.overhead == 0 else 72)
            lane.arena.view[at : at + len(name)] = name
            apart, payload = data[: lane.overhead], data[lane.overhead :][: DATAGRAM_LENGTH + 1]
            if apart:
                lane.arena.view[at + 28 : at + 28 + len(apart)] = apart
            lane.buffers[n * STRIDE : n * STRIDE + len(payload)] = payload
            lane.received.words[8 * n + 7] = len(apart) + len(payload)
            n += 1
        return n if n else -1

    def send(self, fd: Any, pointer: Any, count: Any, flags: int) -> int:
        """Follow the pointers as the kernel does."""
        outcome = self.outcomes.popleft() if self.outcomes else count.value
        if isinstance(outcome, tuple):
            ctypes.set_errno(outcome[1])
            return outcome[0]
        taken = min(outcome, count.value)
        for n in range(taken):
            words = (ctypes.c_uint64 * 8).from_address(pointer.value + 64 * n)
            name = ctypes.string_at(words[0], words[1])
            data = b""
            for vector in range(words[3]):
                base, length = (ctypes.c_uint64 * 2).from_address(words[2] + 16 * vector)
                data += ctypes.string_at(base, length)
            self.world.sent.append((fd.value, name, data))
        return taken


class World:
    """An adapter between stand-ins for the kernel, and a core by itself that is asked the same."""

    def __init__(self, *binds: Address, inner: Address = FOUR, **config: Any) -> None:
        listen = tuple(Listen(bind) for bind in binds or (FOUR,))
        self.settings = RelaySettings(listen=listen, inner=inner, hint=HINTS)
        (self.bound,) = bind_all(self.settings)
        self.proxies = tuple(
            Address.of("192.0.2.1", 3478 + n) if sock.family == socket.AF_INET else OTHER_PROXY
            for n, sock in enumerate(self.bound.public)
        )
        self.clock = 0.0
        self.config = evolve(CONFIG, **config)
        self.alone = self._core(None)
        self.relay = self._core(lambda record: self.adapter.flow_changed(record))
        self.adapter = BatchedAdapter(self, self.bound, self.proxies)
        self.sent: list[tuple[int, bytes, bytes]] = []
        self.kernels = [Kernel(self, lane) for lane in self.adapter.public]
        self.inner = Kernel(self, self.adapter.inner)

    def _core(self, changed: Callable[[Any], None] | None) -> Relay:
        return Relay(self.config, KEYRING, DIRECTORY, proxies=self.proxies, changed=changed)

    def now(self) -> float:
        return self.clock

    def settle(self) -> None:
        pass

    def name(self, address: Address, sock: socket.socket) -> bytes:
        return name_of(address, sock.family)[: 16 if sock.family == socket.AF_INET else 28]

    # What the adapter does, and what the core alone would have done

    def uplink(self, index: int, datagrams: list[tuple[Address, bytes]]) -> None:
        sock, kernel = self.bound.public[index], self.kernels[index]
        kernel.arriving += [(self.name(client, sock), data) for client, data in datagrams]
        self.run(kernel)

    def downlink(self, datagrams: list[tuple[Address, bytes]]) -> None:
        sock = self.bound.inner
        self.inner.arriving += [(self.name(sender, sock), data) for sender, data in datagrams]
        self.run(self.inner)

    def run(self, kernel: Kernel) -> None:
        while kernel.arriving:
            kernel.lane.step()

    def expect_uplink(self, index: int, datagrams: list[tuple[Address, bytes]]) -> list[Any]:
        expected, inner = [], self.bound.inner
        for client, data in datagrams:
            if len(data) > DATAGRAM_LENGTH:
                self.alone.drop(Drop.TOO_LONG, client, self.clock)
                continue
            flow = self.alone.route_client(data, client, self.proxies[index], self.clock)
            if isinstance(flow, Flow):
                name = self.name(flow.next_hop, inner)
                header = forward.encode(client, self.proxies[index])
                expected.append((inner.fileno(), name, header + data))
        return expected

    def expect_downlink(self, datagrams: list[tuple[Address, bytes]]) -> list[Any]:
        expected = []
        for sender, data in datagrams:
            if len(data) > DATAGRAM_LENGTH + forward.HEADER_LENGTH:
                self.alone.drop(Drop.TOO_LONG, sender, self.clock)
                continue
            route = self.alone.route_transceiver(data, sender, self.clock)
            if isinstance(route, Downlink):
                sock = self.bound.public[self.proxies.index(route.proxy)]
                if sock.family == socket.AF_INET and not route.client.is_ipv4:
                    continue
                expected.append((sock.fileno(), self.name(route.client, sock), route.payload))
        return expected

    def pass_time(self, seconds: float) -> None:
        self.adapter.touch()
        self.clock += seconds
        for core in (self.relay, self.alone):
            while (due := core.next_timeout()) is not None and due <= self.clock:
                core.handle_timeout(self.clock)

    def compare(self) -> None:
        """Both cores have counted the same and hold the same flows."""
        self.adapter.touch()
        self.adapter.merge()
        mine, theirs = self.relay.counters, self.alone.counters
        assert +mine.drops == +theirs.drops
        assert mine.scalars() == theirs.scalars()
        assert +mine.uplink_kinds == +theirs.uplink_kinds
        assert +mine.downlink_kinds == +theirs.downlink_kinds
        flows = [
            {(flow.client, flow.next_hop, flow.peeks, flow.ssrcs) for flow in core.some_flows(100)}
            for core in (self.relay, self.alone)
        ]
        assert flows[0] == flows[1]


def by_socket(sent: list[tuple[int, bytes, bytes]]) -> dict[int, list[tuple[bytes, bytes]]]:
    """Order is kept per socket."""
    found: dict[int, list[tuple[bytes, bytes]]] = {}
    for fd, name, data in sent:
        found.setdefault(fd, []).append((name, data))
    return found


def check_uplink(world: World, datagrams: list[tuple[Address, bytes]], index: int = 0) -> None:
    world.sent.clear()
    expected = world.expect_uplink(index, datagrams)
    world.uplink(index, datagrams)
    assert world.sent == expected
    world.compare()


def check_downlink(world: World, datagrams: list[tuple[Address, bytes]]) -> None:
    world.sent.clear()
    expected = world.expect_downlink(datagrams)
    world.downlink(datagrams)
    assert by_socket(world.sent) == by_socket(expected)
    world.compare()


CLIENTS4 = [Address.of("198.51.100.7", 50_000 + n) for n in range(5)]
CLIENTS6 = [Address.of("2001:db8::7", 50_000 + n) for n in range(3)]
CALLER, NEIGHBOUR = CLIENTS4[:2]


def established(world: World, *clients: Address) -> None:
    """Calls whose answers are cached both ways."""
    for client in clients:
        check_uplink(world, [(client, check(1)), *[(client, rtp(1))] * 5])
        check_downlink(world, [(A, leg(client, rtp(2), world.proxies[0]))] * 2)
        assert world.adapter.public[0].key_of(client) in world.adapter.public[0].cache
