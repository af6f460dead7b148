"""The plain adapter: asyncio's datagram protocols around the relay's core.

One socket per public address and one inner socket. The loop's clock is the core's clock. A
datagram is handed to the core and, with the header put on or taken off, sent at once; when the
kernel takes no more, a bounded backlog waits, and what does not fit is dropped and counted. Nothing
is logged for a packet: counters say it all, and a log line costs more than a packet does.
"""

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, cast

from attrs import define

from stunroute.address import Address
from stunroute.directory import Directory
from stunroute.flow import Flow
from stunroute.hint import KeyRing
from stunroute.instant import Instant
from stunroute.relay import Downlink, Relay, Release
from stunroute.settings import Listen, RelaySettings
from stunroute.store import NoStore, Store, serve
from stunroute.trace import Drop, Observe

DATAGRAM_LENGTH = 2048
"""The longest datagram that is forwarded. asyncio allocates its receive buffer anew for every
packet, 256 KiB of it unless told otherwise; packets of real clients stay below 1,500 bytes."""


@define(slots=True)
class SocketCounters:
    """What only the sockets see."""

    errors: int = 0
    """ICMP errors and failed sends. The other end is gone, or its host; the flow's timeout will
    tell whether for good."""


class _Socket(asyncio.DatagramProtocol):
    """What public and inner sockets have in common."""

    def __init__(self, server: "RelayServer") -> None:
        self.server = server
        self.transport: Any = None
        self.address = Address(bytes(16), 0)
        self._sockaddr = _mapped_sockaddr
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.transport.max_size = DATAGRAM_LENGTH + 1  # one more, to see that it was too long
        sock = transport.get_extra_info("socket")
        if sock.family == socket.AF_INET:
            self._sockaddr = _plain_sockaddr
        host, port = sock.getsockname()[:2]
        self.address = Address.of(host, port)

    def error_received(self, exc: Exception) -> None:
        self.server.sockets.errors += 1

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)

    def send(self, data: bytes, to: Address, now: Instant) -> None:
        if self.transport.get_write_buffer_size() > self.server.backlog:
            self.server.relay.drop(Drop.SEND_BACKLOG, to, now)
            return
        self.transport.sendto(data, self._sockaddr(to))


class _Public(_Socket):
    def __init__(self, server: "RelayServer", advertise: Address | None) -> None:
        super().__init__(server)
        self._advertise = advertise

    @property
    def proxy(self) -> Address:
        """What the leg's header calls this socket."""
        return self._advertise or self.address

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._proxy = self.proxy

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        server = self.server
        now = server.now()
        client = Address.of(addr[0], addr[1])
        if len(data) > DATAGRAM_LENGTH:
            server.relay.drop(Drop.TOO_LONG, client, now)
            return
        route = server.relay.route_client(data, client, self._proxy, now)
        if isinstance(route, Flow):
            server.inner.send(route.header + data, route.next_hop, now)
        server.settle()


class _Inner(_Socket):
    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        server = self.server
        now = server.now()
        sender = Address.of(addr[0], addr[1])
        if len(data) > DATAGRAM_LENGTH:
            server.relay.drop(Drop.TOO_LONG, sender, now)
        elif sender in server.upstream_relays:
            route = server.relay.route_relay(data, sender, now)
            if isinstance(route, Flow):
                self.send(data, route.next_hop, now)
        else:
            self._downlink(data, sender, now)
        server.settle()

    def _downlink(self, data: bytes, sender: Address, now: Instant) -> None:
        route = self.server.relay.route_transceiver(data, sender, now)
        match route:
            case Downlink(upstream=None):
                self.server.public[route.proxy].send(route.payload, route.client, now)
            case Downlink(upstream=relay) | Release(upstream=relay) if relay is not None:
                self.send(data, relay, now)


class RelayServer:
    """A relay on sockets. ``start`` binds them, ``close`` closes them; in between it runs by
    itself on the loop it was started on."""

    def __init__(
        self,
        settings: RelaySettings,
        keyring: KeyRing,
        directory: Directory,
        *,
        store: Store | None = None,
        observe: Observe | None = None,
    ) -> None:
        self._settings = settings
        self._keyring = keyring
        self._directory = directory
        self._store = store or NoStore()
        self._observe = observe
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at: Instant | None = None
        self.sockets = SocketCounters()
        self.backlog = settings.sockets.backlog
        self.public: dict[Address, _Public] = {}
        self.upstream_relays = frozenset(settings.upstreams.values())
        self.relay: Relay
        self.inner: _Inner

    async def start(self) -> None:
        """Raises OSError if an address cannot be bound, ConfigError if the core refuses its
        settings; no socket is left open then."""
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        opened: list[socket.socket] = []
        try:
            inner = _bind(self._settings.inner, self._settings, dual_stack=True)
            opened.append(inner)
            for listen in self._settings.listen:
                dual_stack = not _has_ipv4_twin(listen, self._settings.listen)
                opened.append(_bind(listen.bind, self._settings, dual_stack=dual_stack))
            proxies = [
                listen.advertise or _bound(sock)
                for listen, sock in zip(self._settings.listen, opened[1:], strict=True)
            ]
            self.relay = Relay(
                self._settings.core,
                self._keyring,
                self._directory,
                proxies=proxies,
                upstream=self._settings.upstreams,
                observe=self._observe,
            )
            # The inner socket first: a public one must never receive what it cannot pass on.
            self.inner = await self._open(inner, _Inner(self))
            for listen, sock in zip(self._settings.listen, opened[1:], strict=True):
                public = await self._open(sock, _Public(self, listen.advertise))
                self.public[public.proxy] = public
        except BaseException:
            for sock in opened:
                sock.close()
            raise

    async def _open(self, sock: socket.socket, protocol: Any) -> Any:
        await self._loop.create_datagram_endpoint(lambda: protocol, sock=sock)
        return protocol

    async def close(self) -> None:
        """Close the sockets; what waits in a backlog is not sent any more."""
        if self._timer is not None:
            self._timer.cancel()
        await self._store.aclose()
        protocols = [*self.public.values(), self.inner]
        for protocol in protocols:
            protocol.transport.abort()
        for protocol in protocols:
            with contextlib.suppress(asyncio.CancelledError):
                await protocol.closed

    def settle(self) -> None:
        """After every verb in: serve the core's requests and set the timer."""
        if self.relay.config.store:
            serve(self.relay, self._store, self._answer)
        wakes_at = self.relay.next_timeout()
        if wakes_at != self._wakes_at:
            if self._timer is not None:
                self._timer.cancel()
            self._wakes_at = wakes_at
            self._timer = None if wakes_at is None else self._loop.call_at(wakes_at, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._wakes_at = None
        # The loop may call a timer early by its clock's resolution; its deadline has come then.
        self.relay.handle_timeout(self.now() + 0.001)
        self.settle()

    def _answer(
        self, client: Address, next_hop: Address | None, made: Instant | None = None
    ) -> None:
        now = self.now()
        for transmit in self.relay.restore(client, next_hop, now, made):
            self.inner.send(transmit.data, transmit.address, now)


@lru_cache(maxsize=65_536)
def _plain_sockaddr(address: Address) -> tuple[str, int]:
    return address.ip, address.port


@lru_cache(maxsize=65_536)
def _mapped_sockaddr(address: Address) -> tuple[str, int]:
    """For a socket of IPv6: an IPv4 address in its mapped form."""
    return (f"::ffff:{address.ip}" if address.is_ipv4 else address.ip), address.port


def _bound(sock: socket.socket) -> Address:
    host, port = cast("tuple[str, int]", sock.getsockname()[:2])
    return Address.of(host, port)


def _has_ipv4_twin(listen: Listen, others: Sequence[Listen]) -> bool:
    """Whether another socket takes IPv4 at this port, so that an IPv6 one must not."""
    return any(
        other is not listen and other.bind.is_ipv4 and other.bind.port == listen.bind.port
        for other in others
    )


def _bind(address: Address, settings: RelaySettings, *, dual_stack: bool) -> socket.socket:
    family = socket.AF_INET if address.is_ipv4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual_stack)
        # The kernel gives what it allows; less than asked for is no reason not to start.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, settings.sockets.receive_buffer)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, settings.sockets.send_buffer)
        sock.bind((address.ip, address.port))
    except BaseException:
        sock.close()
        raise
    return sock
