"""Anything at all, from anybody, at a relay's sockets while a call is up.

Real sockets and both adapters: nothing may be raised into the loop, nothing sent to strangers, and
the call must go on. What a listed transceiver may write into its headers is part of it; its clients
are on this machine, or nowhere, so that nothing leaves it."""

import asyncio
import socket
from typing import Any

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batches import HINTS
from fleet import CLUSTER, KEYRING, check, dtls, forged, indication, leg, rtcp, rtp, success
from stunroute import forward
from stunroute.address import Address
from stunroute.config import RelayConfig
from stunroute.directory import NextHop, StaticDirectory
from stunroute.settings import Adapter, Listen, RelaySettings
from stunroute.trace import Drop
from stunroute.udp.batch import is_supported
from stunroute.udp.server import RelayServer
from stunroute.udp.sockets import DATAGRAM_LENGTH

LOOPBACK = Address.of("127.0.0.1", 0)
STRANGERS = 3
PATIENCE = 20.0

_known = [check(1), forged(1), check(7), success(), indication(), rtp(1), rtp(2), rtcp(1), dtls()]
_lengths = [0, 1, 2, 4, 19, 20, 37, 38, 39, 57, 58]
_lengths += [DATAGRAM_LENGTH + n for n in (-1, 0, 1, 37, 38, 39)] + [9000]
_datagrams = st.one_of(
    st.sampled_from(_known),
    st.tuples(st.integers(0, 255), st.sampled_from(_lengths)).map(lambda p: bytes([p[0]]) * p[1]),
    st.tuples(st.sampled_from(_known), st.sampled_from(_lengths)).map(lambda p: p[0][: p[1]]),
    st.tuples(st.sampled_from(_known), st.binary(max_size=8), st.integers(0, 60)).map(
        lambda p: p[0][: p[2]] + p[1] + p[0][p[2] + len(p[1]) :]
    ),
    st.binary(max_size=80),
)
_clients = st.builds(
    Address.of,
    st.sampled_from(["127.0.0.9", "::1", "0.0.0.0", "255.255.255.255", "239.1.1.1", "ff02::1"]),
    st.sampled_from([0, 1, 65535]),
)
_legs = st.one_of(
    _datagrams,
    st.tuples(_clients, _datagrams, st.booleans()),
    st.tuples(_clients, _datagrams, st.booleans(), st.sampled_from([0, 1, 2, 18, 34, 37, 38])),
)
"""As it is, or behind a header, which names the relay's own address or another, cut or whole."""
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("public"), st.integers(0, STRANGERS - 1), _datagrams),
        st.tuples(st.just("inner"), st.integers(0, STRANGERS - 1), _legs),
        st.tuples(st.just("node"), st.just(0), _legs),
    ),
    min_size=10,
    max_size=120,
)


def endpoint() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    return sock


def address_of(sock: socket.socket) -> Address:
    return Address.of(*sock.getsockname())


class Scene:
    """A relay, its node and a client in a call, and strangers."""

    def __init__(self, adapter: Adapter, bind: Address) -> None:
        self.node, self.client = endpoint(), endpoint()
        self.strangers = [endpoint() for _ in range(STRANGERS)]
        made = RelaySettings(
            listen=(Listen(bind),),
            inner=LOOPBACK,
            hint=HINTS,
            limits=RelayConfig(flows=8, contenders=4, ssrc_peeks=2, heal_burst=2.0, cached=4),
        )
        directory = StaticDirectory({(CLUSTER, 1): NextHop(address_of(self.node))})
        sockets = evolve(made.sockets, adapter=adapter)
        self.server = RelayServer(evolve(made, sockets=sockets), KEYRING, directory)
        self.raised: list[dict[str, Any]] = []

    async def run(self, steps: list[tuple[str, int, Any]]) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.raised.append(context))
        await self.server.start()
        self.public = ("127.0.0.1", self.server.public[0].port)
        self.proxy = self.server.proxies[0]
        self.inner = (self.server.inner.ip, self.server.inner.port)
        try:
            await self.up(check(1))
            await self.down(success())
            for number, (where, who, what) in enumerate(steps):
                self.send(where, who, what)
                if number % 8 == 7:
                    await asyncio.sleep(0)  # no more than a small socket buffer holds
                if number % 40 == 39:
                    await self.media(number)
            await self.media(len(steps))
            assert self.raised == []
            for stranger in self.strangers:
                with pytest.raises(BlockingIOError):
                    stranger.recv(4096)
        finally:
            await self.server.close()
            for sock in (self.node, self.client, *self.strangers):
                sock.close()

    def send(self, where: str, who: int, what: Any) -> None:
        sender = self.node if where == "node" else self.strangers[who]
        match what:
            case bytes():
                data = what
            case (client, payload, ours, *cut):
                data = leg(client, payload, self.proxy if ours else LOOPBACK)
                data = data[: cut[0]] if cut else data
        sender.sendto(data, self.public if where == "public" else self.inner)

    async def media(self, number: int) -> None:
        """Enough of it to pass by both ways, in the core and without it, one by one and at once."""
        for n in range(3):
            await self.up(rtp(1, 100 + n))
            await self.down(rtp(2, 100 + n))
        burst = [dtls(b"%d %d" % (number, n)) for n in range(5)]
        for data in burst:
            self.client.sendto(data, self.public)
            self.node.sendto(leg(address_of(self.client), data, self.proxy), self.inner)
        for data in burst:
            await self.arrives(self.node, leg(address_of(self.client), data, self.proxy))
            await self.arrives(self.client, data)

    async def up(self, data: bytes) -> None:
        self.client.sendto(data, self.public)
        await self.arrives(self.node, leg(address_of(self.client), data, self.proxy))

    async def down(self, data: bytes) -> None:
        self.node.sendto(leg(address_of(self.client), data, self.proxy), self.inner)
        await self.arrives(self.client, data)

    async def arrives(self, sock: socket.socket, wanted: bytes) -> None:
        """What strangers had forwarded to the node is passed over; the client gets nothing else."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE):
            while (got := await loop.sock_recv(sock, 65_536)) != wanted:
                assert sock is self.node, got
                client = forward.decode_untrusted(got).client
                assert client in {address_of(each) for each in self.strangers}


@pytest.mark.parametrize("adapter", Adapter, ids=lambda choice: choice.value)
@pytest.mark.parametrize("bind", [LOOPBACK, Address.of("::", 0)], ids=["IPv4", "dual"])
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(steps=_steps)
def test_whatever_comes_the_call_goes_on(
    adapter: Adapter, bind: Address, steps: list[tuple[str, int, Any]]
) -> None:
    if adapter is Adapter.BATCHED and not is_supported():
        pytest.skip("no recvmmsg here")
    asyncio.run(Scene(adapter, bind).run(steps))


@pytest.mark.parametrize("adapter", Adapter, ids=lambda choice: choice.value)
def test_every_length_at_every_socket(adapter: Adapter) -> None:
    if adapter is Adapter.BATCHED and not is_supported():
        pytest.skip("no recvmmsg here")
    scene = Scene(adapter, LOOPBACK)
    limits = [*range(64), *range(DATAGRAM_LENGTH - 2, DATAGRAM_LENGTH + 42)]
    steps: list[tuple[str, int, Any]] = [
        (where, 0, bytes([first]) * length)
        for length in limits
        for where in ("public", "inner", "node")
        for first in (0, 0x16, 0x80)
    ]
    asyncio.run(scene.run(steps))
    drops = scene.server.relay.counters.drops
    assert drops[Drop.EMPTY] == 3
    assert drops[Drop.TOO_LONG] == 3 * 41 + 2 * 3 * 3
