"""The relay's sockets: bound once, for whoever is to use them.

Binding is apart from using because a relay of several workers binds in the supervisor. Sockets that
outlive a worker keep what the kernel has received for it, and the kernel's choice among sockets of
one port (``SO_REUSEPORT``, by a hash over both addresses) stays as it was, so that each client
stays with its worker.
"""

import socket
from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
from typing import cast

from attrs import frozen

from stunroute.address import Address
from stunroute.settings import Listen, RelaySettings

DATAGRAM_LENGTH = 2048
"""The longest payload that is forwarded. Packets of real clients stay below 1,500 bytes."""

_SO_MEMINFO = 55
_MEMORY = Struct("=9I")
_DROPS = 8  # the place of sk_drops in what SO_MEMINFO tells


@frozen(slots=True)
class BoundSockets:
    """One worker's sockets, bound and non-blocking. ``public`` is in the order of
    ``settings.listen``."""

    inner: socket.socket
    public: tuple[socket.socket, ...]

    def close(self) -> None:
        for sock in (self.inner, *self.public):
            sock.close()


def bind_all(settings: RelaySettings) -> tuple[BoundSockets, ...]:
    """The sockets of all workers. Raises OSError if an address cannot be had; nothing is left open
    then."""
    opened: list[socket.socket] = []
    shared = settings.workers > 1
    try:
        if shared:
            # Sharing a port is sharing it with anybody of the same user. Without sharing, the
            # kernel says whether somebody is there already.
            for listen in settings.listen:
                if listen.bind.port:
                    _bind_public(listen, settings, shared=False).close()
        inner = []
        for worker in range(settings.workers):
            inner.append(bind(settings.inner_of(worker), settings))
            opened.append(inner[-1])
        public: list[list[socket.socket]] = [[] for _ in range(settings.workers)]
        for listen in settings.listen:
            chosen = listen
            for worker in range(settings.workers):
                sock = _bind_public(chosen, settings, shared=shared)
                opened.append(sock)
                public[worker].append(sock)
                # Where the port was ours to choose, all workers take the one chosen first.
                chosen = Listen(bound_address(sock), listen.advertise)
    except BaseException:
        for sock in opened:
            sock.close()
        raise
    return tuple(BoundSockets(i, tuple(p)) for i, p in zip(inner, public, strict=True))


def bind(
    address: Address, settings: RelaySettings, *, shared: bool = False, dual_stack: bool = True
) -> socket.socket:
    """A bound UDP socket that does not block. Raises OSError."""
    family = socket.AF_INET if address.is_ipv4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual_stack)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # The kernel gives what it allows; less than asked for is no reason not to start.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, settings.sockets.receive_buffer)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, settings.sockets.send_buffer)
        sock.bind((address.ip, address.port))
    except BaseException:
        sock.close()
        raise
    return sock


def bound_address(sock: socket.socket) -> Address:
    host, port = cast("tuple[str, int]", sock.getsockname()[:2])
    return Address.of(host, port)


def kernel_drops(sock: socket.socket) -> int:
    """Packets that found the receive buffer of ``sock`` full; 0 where the kernel does not tell."""
    try:
        told = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMORY.size)
    except OSError:
        return 0
    return int(_MEMORY.unpack(told)[_DROPS]) if len(told) == _MEMORY.size else 0


@lru_cache(maxsize=65_536)
def plain_sockaddr(address: Address) -> tuple[str, int]:
    """For a socket of IPv4."""
    return address.ip, address.port


@lru_cache(maxsize=65_536)
def mapped_sockaddr(address: Address) -> tuple[str, int]:
    """For a socket of IPv6: an IPv4 address in its mapped form."""
    return (f"::ffff:{address.ip}" if address.is_ipv4 else address.ip), address.port


def _bind_public(listen: Listen, settings: RelaySettings, *, shared: bool) -> socket.socket:
    dual_stack = not _has_ipv4_twin(listen, settings.listen)
    return bind(listen.bind, settings, shared=shared, dual_stack=dual_stack)


def _has_ipv4_twin(listen: Listen, others: Sequence[Listen]) -> bool:
    """Whether another socket takes IPv4 at this port, so that an IPv6 one must not."""
    return any(other.bind.is_ipv4 and other.bind.port == listen.bind.port for other in others)
