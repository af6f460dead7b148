"""The socket of the leg: datagrams from the kernel to a core and back, one way or the other.

*Batched*: one call to the kernel reads up to 64 datagrams, and all that the core says to them goes
out with one more. Nothing waits in here: what the kernel does not take is let go of, as a network
would, and the buffer that the kernel keeps is the bound.

*Plain*: asyncio's own transport, a datagram at a time, for systems without those calls. It keeps
what the kernel does not take, so the bound is ours to hold.

Whoever opens a link sees the same of both, and a test holds them to it. Errors that the socket
reports are counted and passed over: datagrams are not answered for, and the next one may get there.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypeAlias, cast

from attrs import define

from stunroute import forward
from stunroute.address import Address, Transmit
from stunroute.settings import Adapter
from stunroute.udp.batch import BATCH, NEEDS, BatchReader, BatchWriter, is_supported

LARGEST_DATAGRAM = 2048 + forward.HEADER_LENGTH
"""A longer datagram is let go; nobody's path carries more than an Ethernet frame's 1500 bytes, and
the plain way allocates the whole of it for every read. It is what relays forward at most."""

BATCHES = 4
"""Batches that are read before the loop's other work has its turn."""

Arrival: TypeAlias = tuple[bytes | None, Address]
"""A datagram and its sender; None stands for one that is too long."""

Receive: TypeAlias = Callable[[Sequence[Arrival]], None]


@define(slots=True)
class Counters:
    """What a server has seen. Packets the core let go are counted there (``Endpoint.drops``)."""

    received: int = 0
    sent: int = 0
    unsent: int = 0
    """Let go because the kernel was behind and its buffer, or ours, was full."""
    errors: int = 0
    """Errors that the socket reported (an ICMP message, an interface that is gone)."""
    backend_failures: int = 0


class Link(Protocol):
    """An open socket. ``name`` is the way it works, as settings call it."""

    name: str

    def send(self, transmits: Sequence[Transmit]) -> None:
        """Send in order, and count."""

    async def close(self) -> None:
        """Read no more, and give the socket back."""


async def open_link(
    listen: Address,
    counters: Counters,
    receive: Receive,
    *,
    adapter: Adapter | None,
    send_buffer: int,
    receive_buffer: int,
) -> tuple[Link, Address]:
    """Bind ``listen`` and begin; the address bound. ``receive`` gets what arrives, in order.
    ``adapter`` None is the batched way wherever it works. Buffers are bytes; see
    ``TransceiverServer``. Raises OSError where the address, or that adapter, cannot be had."""
    batched = is_supported() and adapter is not Adapter.PLAIN
    if adapter is Adapter.BATCHED and not batched:
        raise OSError(f"no batched adapter: {NEEDS}")
    family = socket.AF_INET if listen.is_ipv4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.bind((listen.ip, listen.port))
        host, port = sock.getsockname()[:2]
        bound = Address.of(host, port)
        if batched:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
            return BatchedLink(sock, counters, receive), bound
        return await PlainLink.on(sock, counters, receive, send_buffer), bound
    except BaseException:
        sock.close()
        raise


class BatchedLink:
    """By ``recvmmsg`` and ``sendmmsg``."""

    name = Adapter.BATCHED.value

    def __init__(self, sock: socket.socket, counters: Counters, receive: Receive) -> None:
        self._socket = sock
        self._counters = counters
        self._receive = receive
        self._reader = BatchReader(sock, LARGEST_DATAGRAM)
        self._writer = BatchWriter(sock)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._read)

    def _read(self) -> None:
        for _ in range(BATCHES):
            arrivals = self._reader.read()
            if arrivals:
                self._receive(arrivals)
            if len(arrivals) < BATCH:
                break
        self._counters.errors += self._reader.errors
        self._reader.errors = 0

    def send(self, transmits: Sequence[Transmit]) -> None:
        counters, writer = self._counters, self._writer
        counters.sent += writer.write([(each.data, each.address) for each in transmits])
        counters.unsent += writer.unsent
        counters.errors += writer.errors
        writer.unsent = writer.errors = 0

    async def close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()


@lru_cache(maxsize=4096)
def _socket_address(address: Address, family: int) -> tuple[str, int]:
    """As the socket layer wants it: an IPv4 address on an IPv6 socket in its mapped form."""
    if family == socket.AF_INET6 and address.is_ipv4:
        return f"::ffff:{address.ip}", address.port
    return address.ip, address.port


class _Transport(Protocol):
    """What is used of asyncio's datagram transports, which have more than their base class says."""

    def sendto(self, data: bytes, addr: tuple[str, int]) -> None: ...
    def get_write_buffer_size(self) -> int: ...
    def close(self) -> None: ...


class PlainLink(asyncio.DatagramProtocol):
    """By asyncio's datagram transport."""

    name = Adapter.PLAIN.value

    def __init__(self, family: int, counters: Counters, receive: Receive, buffer: int) -> None:
        self._family = family
        self._counters = counters
        self._receive = receive
        self._buffer = buffer
        self._transport: _Transport
        self._closed = asyncio.Event()

    @classmethod
    async def on(
        cls, sock: socket.socket, counters: Counters, receive: Receive, buffer: int
    ) -> "PlainLink":
        link = cls(sock.family, counters, receive, buffer)
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: link, sock=sock)
        return link

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if hasattr(transport, "max_size"):  # asyncio's own; other loops read by their means
            transport.max_size = LARGEST_DATAGRAM + 1  # one more, to see that it was too long
        self._transport = cast("_Transport", transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        whole = data if len(data) <= LARGEST_DATAGRAM else None
        self._receive([(whole, Address.of(addr[0], addr[1]))])

    def error_received(self, exc: Exception) -> None:
        self._counters.errors += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set()

    def send(self, transmits: Sequence[Transmit]) -> None:
        counters = self._counters
        for transmit in transmits:
            if self._transport.get_write_buffer_size() > self._buffer:
                counters.unsent += 1
                continue
            errors = counters.errors
            self._transport.sendto(transmit.data, _socket_address(transmit.address, self._family))
            # What the socket refuses is told to ``error_received`` before ``sendto`` returns.
            counters.sent += counters.errors == errors

    async def close(self) -> None:
        self._transport.close()
        await self._closed.wait()
