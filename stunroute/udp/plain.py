"""The plain adapter: asyncio's datagram protocols around the relay's core.

For platforms without ``recvmmsg`` and ``sendmmsg``, and the yardstick for the adapter that has
them: what it does with a packet is all there is to do. A datagram is handed to the core and, with
the header put on or taken off, sent at once; when the kernel takes no more, a bounded backlog
waits, and what does not fit is dropped and counted.
"""

import asyncio
import contextlib
import socket
from typing import Any

from stunroute.address import Address
from stunroute.flow import Flow
from stunroute.forward import HEADER_LENGTH
from stunroute.instant import Instant
from stunroute.relay import Downlink, Release
from stunroute.status import SocketStatus
from stunroute.trace import Drop, FlowRecord

from .ports import Host
from .sockets import (
    DATAGRAM_LENGTH,
    BoundSockets,
    bound_address,
    kernel_drops,
    mapped_sockaddr,
    plain_sockaddr,
)


class _Socket(asyncio.DatagramProtocol):
    """What public and inner sockets have in common."""

    def __init__(self, adapter: "PlainAdapter", sock: socket.socket) -> None:
        self.adapter = adapter
        self.socket = sock
        self.address = bound_address(sock)
        self.errors = 0
        self.transport: Any = None
        self._sockaddr = plain_sockaddr if sock.family == socket.AF_INET else mapped_sockaddr
        self.closed = asyncio.get_running_loop().create_future()

    def itself(self) -> "_Socket":
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        if hasattr(transport, "max_size"):
            # asyncio allocates its buffer anew for every packet, 256 KiB of it unless told
            # otherwise. One byte more than is forwarded, to see that a datagram is too long.
            transport.max_size = HEADER_LENGTH + DATAGRAM_LENGTH + 1

    def error_received(self, exc: Exception) -> None:
        self.errors += 1

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)

    def send(self, data: bytes, to: Address, now: Instant) -> None:
        adapter = self.adapter
        if self.transport.get_write_buffer_size() > adapter.backlog:
            adapter.host.relay.drop(Drop.SEND_BACKLOG, to, now)
            return
        self.transport.sendto(data, self._sockaddr(to))


class _Public(_Socket):
    def __init__(self, adapter: "PlainAdapter", sock: socket.socket, proxy: Address) -> None:
        super().__init__(adapter, sock)
        self._proxy = proxy

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        adapter = self.adapter
        now = adapter.host.now()
        client = Address.of(addr[0], addr[1])
        if len(data) > DATAGRAM_LENGTH:
            adapter.host.relay.drop(Drop.TOO_LONG, client, now)
            return
        route = adapter.host.relay.route_client(data, client, self._proxy, now)
        if isinstance(route, Flow):
            adapter.inner.send(route.header + data, route.next_hop, now)
        adapter.host.settle()


class _Inner(_Socket):
    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        host = self.adapter.host
        now = host.now()
        sender = Address.of(addr[0], addr[1])
        if len(data) > HEADER_LENGTH + DATAGRAM_LENGTH:
            host.relay.drop(Drop.TOO_LONG, sender, now)
        elif host.relay.is_upstream(sender):
            route = host.relay.route_relay(data, sender, now)
            if isinstance(route, Flow):
                self.send(data, route.next_hop, now)
        else:
            self._downlink(data, sender, now)
        host.settle()

    def _downlink(self, data: bytes, sender: Address, now: Instant) -> None:
        route = self.adapter.host.relay.route_transceiver(data, sender, now)
        match route:
            case Downlink(upstream=None):
                self.adapter.public[route.proxy].send(route.payload, route.client, now)
            case Downlink(upstream=relay) | Release(upstream=relay) if relay is not None:
                self.send(data, relay, now)


class PlainAdapter:
    """See ``ports.Adapter``."""

    name = "plain"

    def __init__(self, host: Host, bound: BoundSockets, proxies: tuple[Address, ...]) -> None:
        self.host = host
        self.backlog = host.settings.sockets.backlog
        self.inner = _Inner(self, bound.inner)
        self.public = {
            proxy: _Public(self, sock, proxy)
            for proxy, sock in zip(proxies, bound.public, strict=True)
        }

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        # The inner socket first: a public one must never receive what it cannot pass on.
        for protocol in (self.inner, *self.public.values()):
            await loop.create_datagram_endpoint(protocol.itself, sock=protocol.socket)

    async def close(self) -> None:
        protocols = (self.inner, *self.public.values())
        for protocol in protocols:
            if protocol.transport is not None:
                protocol.transport.abort()
        for protocol in protocols:
            if protocol.transport is not None:
                with contextlib.suppress(asyncio.CancelledError):
                    await protocol.closed

    def drain(self) -> None:
        """The loop has read what there was."""

    def flow_changed(self, record: FlowRecord) -> None:
        """Nothing is cached here."""

    def forget(self) -> None:
        """Nothing is cached here."""

    def merge(self) -> None:
        """Nothing is counted here."""

    def send_inner(self, data: bytes, to: Address, now: Instant) -> None:
        self.inner.send(data, to, now)

    def sockets(self) -> tuple[SocketStatus, ...]:
        roles = [("inner", self.inner), *(("public", each) for each in self.public.values())]
        return tuple(
            SocketStatus(role, str(each.address), each.errors, kernel_drops(each.socket))
            for role, each in roles
        )
