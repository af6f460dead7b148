"""A relay on loopback sockets, with either adapter."""

import asyncio
import inspect
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from attrs import evolve

from fleet import CLUSTER, CONFIGURATION, KEYRING, check, dtls, leg, success
from stunroute import forward
from stunroute.address import Address
from stunroute.config import RelayConfig, Verify
from stunroute.directory import NextHop, StaticDirectory
from stunroute.errors import ConfigError
from stunroute.hint import HintConfiguration, KeyRing
from stunroute.instant import Instant
from stunroute.settings import (
    Adapter,
    Configuration,
    Hints,
    Listen,
    RelaySettings,
    Sockets,
    StoreSettings,
    Upstream,
)
from stunroute.store import Answer, NoStore, Store
from stunroute.trace import Drop
from stunroute.udp import batched
from stunroute.udp.batch import is_supported
from stunroute.udp.server import RelayServer
from stunroute.udp.sockets import DATAGRAM_LENGTH, mapped_sockaddr, plain_sockaddr

ANY = Address.of("127.0.0.1", 0)
HINTS = Hints((Configuration("0", CONFIGURATION.routing_key, CONFIGURATION.password_key),))


@pytest.fixture(autouse=True, params=Adapter, ids=lambda choice: choice.value)
def adapter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Adapter:
    """Everything here holds for both."""
    if request.param is Adapter.BATCHED and not is_supported():
        pytest.skip("no recvmmsg here")
    monkeypatch.setattr(World, "adapter", request.param, raising=False)
    return request.param


class Peer:
    """A socket of a client or a transceiver."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.bind((host, 0))
        self.sock.setblocking(False)
        self.address = Address.of(*self.sock.getsockname()[:2])

    def send(self, data: bytes, to: Address) -> None:
        self.sock.sendto(data, (to.ip, to.port))

    async def receive(self) -> tuple[bytes, Address]:
        loop = asyncio.get_running_loop()
        data, name = await asyncio.wait_for(loop.sock_recvfrom(self.sock, 4096), 5)
        return data, Address.of(*name[:2])


class World:
    """A relay, a transceiver that is node 1, a client."""

    adapter: Adapter

    def __init__(self, listen: tuple[Listen, ...], **more: Any) -> None:
        self.node, self.client = Peer(), Peer()
        self.store: Store | None = more.pop("store", None)
        sockets = evolve(more.pop("sockets", Sockets()), adapter=self.adapter)
        self.settings = RelaySettings(listen=listen, inner=ANY, hint=HINTS, sockets=sockets, **more)
        directory = StaticDirectory({(CLUSTER, 1): NextHop(self.node.address)})
        self.server = RelayServer(self.settings, KEYRING, directory, store=self.store)

    @property
    def public(self) -> Address:
        return self.server.public[0]

    @property
    def drops(self) -> dict[Drop, int]:
        return dict(self.server.relay.counters.drops)

    async def until(self, condition: Callable[[], object]) -> None:
        for _ in range(500):
            if condition():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it did not come to that")

    async def connect(self) -> None:
        """A check goes up, its answer comes down."""
        request = check(1)
        self.client.send(request, self.public)
        data, inner = await self.node.receive()
        header = forward.decode_untrusted(data)
        assert data == leg(self.client.address, request, header.proxy)
        assert inner == self.server.inner
        answer = success()
        self.node.send(data[: forward.HEADER_LENGTH] + answer, inner)
        assert await self.client.receive() == (answer, self.public)


def run(story: Callable[[World], Awaitable[None]], *listen: Listen, **more: Any) -> None:
    async def whole() -> None:
        world = World(listen or (Listen(ANY),), **more)
        await world.server.start()
        try:
            await story(world)
        finally:
            await world.server.close()
            world.node.sock.close()
            world.client.sock.close()

    asyncio.run(whole())


def test_a_packet_goes_up_and_its_answer_down() -> None:
    async def story(world: World) -> None:
        await world.connect()
        for length in (1, 172, DATAGRAM_LENGTH):
            data = b"\x16" * length
            world.client.send(data, world.public)
            received, _ = await world.node.receive()
            assert received == leg(world.client.address, data, world.public)
        assert world.server.counters.uplink_packets == 4

    run(story)


def test_garbage_is_counted_and_nothing_is_answered() -> None:
    async def story(world: World) -> None:
        await world.connect()
        stranger = Peer()
        for data in (b"\x00", dtls(), b"\x40turn", b"\xff" * 1200, check(1)[:-1]):
            stranger.send(data, world.public)
        stranger.send(b"", world.public)
        stranger.send(b"", world.server.inner)
        stranger.send(leg(world.client.address, b"x", world.public), world.server.inner)
        world.node.send(b"junk", world.server.inner)
        await world.until(lambda: sum(world.drops.values()) == 9)
        assert world.drops == {
            Drop.STUN_MALFORMED: 2,
            Drop.NO_FLOW: 1,
            Drop.NOT_OURS: 2,
            Drop.EMPTY: 1,
            Drop.LEG_STRANGER: 2,
            Drop.LEG_MALFORMED: 1,
        }
        with pytest.raises(BlockingIOError):
            stranger.sock.recv(100)
        stranger.sock.close()

    run(story)


def test_what_would_be_cut_is_dropped() -> None:
    async def story(world: World) -> None:
        await world.connect()
        world.client.send(b"\x16" * (DATAGRAM_LENGTH + 1), world.public)
        long = leg(world.client.address, bytes(DATAGRAM_LENGTH + 1), world.public)
        world.node.send(long, world.server.inner)
        await world.until(lambda: world.drops == {Drop.TOO_LONG: 2})

    run(story)


def test_the_advertised_address_is_the_headers_and_selects_the_socket() -> None:
    advertised = Address.of("192.0.2.1", 3478)

    async def story(world: World) -> None:
        await world.connect()
        _, second = world.server.public
        assert world.server.proxies == (advertised, second)
        world.client.send(dtls(), second)
        data, inner = await world.node.receive()
        assert forward.decode_untrusted(data).proxy == second
        world.node.send(leg(world.client.address, b"down", second), inner)
        assert await world.client.receive() == (b"down", second)
        world.node.send(leg(world.client.address, b"down", advertised), inner)
        assert await world.client.receive() == (b"down", world.public)

    run(story, Listen(ANY, advertised), Listen(ANY))


def test_an_ipv6_socket_serves_both_families() -> None:
    """Trap 11: IPv4 peers of a dual-stack socket are mapped on the way in and out."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("no dual-stack sockets here")

    async def story(world: World) -> None:
        port = world.public.port
        other = Peer("::1")
        for peer, host in ((world.client, "127.0.0.1"), (other, "::1")):
            peer.send(check(1), Address.of(host, port))
            data, inner = await world.node.receive()
            assert forward.decode_untrusted(data).client == peer.address
            world.node.send(data[: forward.HEADER_LENGTH] + b"down", inner)
            assert (await peer.receive())[0] == b"down"
        other.sock.close()

    run(story, Listen(Address.of("::", 0), Address.of("192.0.2.1", 3478)))


def test_sockaddrs_by_family() -> None:
    four, six = Address.of("192.0.2.1", 5), Address.of("2001:db8::1", 5)
    assert plain_sockaddr(four) == ("192.0.2.1", 5)
    assert mapped_sockaddr(four) == ("::ffff:192.0.2.1", 5)
    assert mapped_sockaddr(six) == ("2001:db8::1", 5)


def test_both_families_at_one_port_have_a_socket_each() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("no dual-stack sockets here")
    spare = Peer()
    port = spare.address.port
    spare.sock.close()

    async def story(world: World) -> None:
        assert {public.port for public in world.server.public} == {port}

    run(story, Listen(Address.of("::", port)), Listen(Address.of("0.0.0.0", port)))


def test_a_node_that_is_gone_is_an_error_counted_not_raised() -> None:
    async def story(world: World) -> None:
        await world.connect()
        world.node.sock.close()
        for _ in range(5):
            world.client.send(dtls(), world.public)
            await asyncio.sleep(0.01)
        world.client.send(b"\x16" * 100, world.public)
        assert world.server.relay.flows == 1

    run(story)


def test_errors_of_a_plain_socket_are_counted(adapter: Adapter) -> None:
    if adapter is not Adapter.PLAIN:
        pytest.skip("the batched adapter's are counted in test_batched.py")

    async def story(world: World) -> None:
        world.server._adapter.inner.error_received(ConnectionRefusedError())
        assert [each.errors for each in world.server.sockets] == [1, 0]

    run(story)


def test_a_full_send_buffer_drops_instead_of_growing(adapter: Adapter) -> None:
    if adapter is not Adapter.PLAIN:
        pytest.skip("the batched adapter keeps nothing back: test_batched.py")

    class Stuck:
        sent = 0

        def get_write_buffer_size(self) -> int:
            return 101

        def sendto(self, data: bytes, to: object) -> None:
            self.sent += 1

    async def story(world: World) -> None:
        await world.connect()
        inner = world.server._adapter.inner
        real, inner.transport = inner.transport, Stuck()
        world.client.send(dtls(), world.public)
        await world.until(lambda: world.drops == {Drop.SEND_BACKLOG: 1})
        assert inner.transport.sent == 0
        inner.transport = real

    run(story, sockets=Sockets(backlog=100))


def test_the_timer_forgets_idle_flows() -> None:
    async def story(world: World) -> None:
        await world.connect()
        await world.until(lambda: world.server.relay.counters.expired == 1)
        assert world.server.relay.flows == 0
        await world.connect()

    run(story, limits=RelayConfig(idle_timeout=0.05))


def test_a_release_sends_nothing() -> None:
    async def story(world: World) -> None:
        await world.connect()
        world.node.send(leg(world.client.address, b"", world.public), world.server.inner)
        await world.until(lambda: world.server.relay.counters.released == 1)
        with pytest.raises(BlockingIOError):
            world.client.sock.recv(100)

    run(story)


class Late:
    """A store that answers after a moment."""

    def __init__(self, next_hop: Callable[[], Address]) -> None:
        self.next_hop = next_hop
        self.closed = False

    def lookup(self, client: Address, answer: Answer) -> None:
        asyncio.get_running_loop().call_later(0.02, answer, client, self.next_hop())

    def record(self, client: Address, next_hop: Address, made: Instant) -> None:
        """Not kept."""

    def forget(self, client: Address, next_hop: Address, made: Instant) -> None:
        """Not kept."""

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.close()


def test_the_store_is_asked_and_its_answer_used() -> None:
    worlds: list[World] = []
    store = Late(lambda: worlds[0].node.address)

    async def story(world: World) -> None:
        worlds.append(world)
        world.client.send(dtls(), world.public)
        data, _ = await world.node.receive()
        assert data == leg(world.client.address, dtls(), world.public)

    run(story, store=store, limits=RelayConfig(store=True, waiting_time=5.0))
    assert store.closed


def test_a_relay_in_front_passes_its_header_through() -> None:
    front = Peer()
    public = Address.of("198.51.100.1", 3478)

    async def story(world: World) -> None:
        client = Address.of("203.0.113.5", 5000)
        request = leg(client, check(1), public)
        front.send(request, world.server.inner)
        assert (await world.node.receive())[0] == request
        for payload in (success(), b""):
            world.node.send(leg(client, payload, public), world.server.inner)
            assert (await front.receive())[0] == leg(client, payload, public)
        front.send(b"x" * 50, world.server.inner)
        await world.until(lambda: world.drops == {Drop.LEG_MALFORMED: 1})

    run(story, upstream=(Upstream(front.address, (public,)),))
    front.sock.close()


def test_an_address_that_is_taken_leaves_no_socket_open() -> None:
    taken = Peer()

    async def whole() -> None:
        world = World((Listen(ANY), Listen(taken.address)))
        with pytest.raises(OSError, match="in use"):
            await world.server.start()
        world.node.sock.close()
        world.client.sock.close()

    asyncio.run(whole())
    taken.sock.close()


def test_settings_that_the_core_refuses_leave_no_socket_open() -> None:
    async def whole() -> None:
        world = World((Listen(ANY),), verify=Verify.EDGE)
        keyless = KeyRing([HintConfiguration("0", CONFIGURATION.routing_key)])
        server = RelayServer(world.settings, keyless, StaticDirectory({}))
        with pytest.raises(ConfigError, match="password_key"):
            await server.start()
        world.node.sock.close()
        world.client.sock.close()

    asyncio.run(whole())


def test_settings_that_do_not_go_with_what_stays_change_nothing() -> None:
    """The store stays for the life of the process, so the limits must go with it."""
    kept = StoreSettings(url="redis://localhost", key=bytes(16), ttl=70.0)

    async def story(world: World) -> None:
        await world.connect()
        world.server.settings = evolve(world.settings, store=kept)
        wrong = evolve(world.settings, limits=RelayConfig(idle_timeout=60.0))
        with pytest.raises(ConfigError, match="ttl"):
            world.server.reload(wrong, KEYRING, StaticDirectory({}))
        assert world.server.relay.flows == 1
        assert world.server.relay.config.idle_timeout == 30.0

    run(story)


class Immediate(NoStore):
    """Answers at once, as one does that is left alone. ``deepest`` is how deep in calls it was."""

    deepest = 0

    def lookup(self, client: Address, answer: Answer) -> None:
        self.deepest = max(self.deepest, len(inspect.stack(0)))
        answer(client, None)


def test_a_store_that_answers_at_once_is_not_asked_from_within_its_answer() -> None:
    """A batch's look-ups would stand on top of one another, and the stack is finite."""
    store = Immediate()

    async def story(world: World) -> None:
        for number in range(10):
            stranger = Address.of("203.0.113.1", 1000 + number)
            world.server.relay.route_client(dtls(), stranger, world.server.proxies[0], 0.0)
        store.deepest = 0
        world.server.settle()
        ten = store.deepest
        world.server.relay.route_client(
            dtls(), Address.of("203.0.113.2", 9), world.server.proxies[0], 0.0
        )
        store.deepest = 0
        world.server.settle()
        assert ten == store.deepest
        await world.until(lambda: world.drops[Drop.NO_FLOW] == 11)

    run(story, store=store, limits=RelayConfig(store=True))


class TestChoice:
    """Which adapter it is where the settings name none, or one that cannot work."""

    def chosen(self, wanted: Adapter | None) -> str:
        async def whole() -> str:
            sockets = Sockets(adapter=wanted)
            settings = RelaySettings(listen=(Listen(ANY),), inner=ANY, hint=HINTS, sockets=sockets)
            server = RelayServer(settings, KEYRING, StaticDirectory({}))
            await server.start()
            try:
                return server.status().adapter
            finally:
                await server.close()

        return asyncio.run(whole())

    def test_the_quicker_one_where_it_works(self) -> None:
        assert self.chosen(None) == ("batched" if is_supported() else "plain")

    def test_the_plain_one_by_itself_elsewhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(batched, "is_supported", lambda: False)
        assert self.chosen(None) == "plain"

    def test_a_demand_that_cannot_be_met_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(batched, "is_supported", lambda: False)
        with pytest.raises(OSError, match="recvmmsg"):
            self.chosen(Adapter.BATCHED)
