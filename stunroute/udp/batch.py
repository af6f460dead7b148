"""Many datagrams in one system call: ``recvmmsg`` and ``sendmmsg`` of Linux, by ctypes.

A datagram through the kernel costs some microseconds, and what Python does around a call to it
costs as much again. So one call moves up to 64 datagrams, and everything that a call needs is laid
out once, in one anonymous mapping (the *arena*): buffers, addresses, I/O vectors, message headers.
The fields that differ from batch to batch (lengths, first octets, flags) lie at a fixed distance
from one another, so that a strided memoryview reads or writes one of them for a whole batch.

The layout of ``struct mmsghdr`` that is written down here is the one of 64-bit little-endian Linux.
``is_supported`` proves it on a pair of sockets before anybody relies on it.
"""

import ctypes
import errno
import mmap
import socket
import sys
from collections.abc import Callable, Sequence
from functools import cache
from struct import Struct
from typing import Any

from attrs import frozen

from stunroute.address import Address

BATCH = 64
"""Datagrams in a call; with 16 each costs a twentieth more, beyond 64 nothing is gained."""
STRIDE = 2112
"""Bytes from one buffer to the next. Not a multiple of 2,048: those would share cache lines and
cost up to twice as much."""
BUFFER = 2086
"""The length of a buffer: the relay's longest payload with its header."""
NEEDS = "it needs recvmmsg and sendmmsg of 64-bit little-endian Linux"

NAME_LENGTH = 28  # of a sockaddr_in6; a sockaddr_in has 16
_MESSAGE = 64  # bytes of a struct mmsghdr
_VECTOR = 16  # bytes of a struct iovec
_IPV4_NAME = Struct("<H2s4s8x")  # family, port, address, zeros
_IPV6_NAME = Struct("<H2s4x16s4x")  # family, port, flow information, address, scope
_MAPPED = bytes(10) + b"\xff\xff"

Call = Callable[..., int]
"""``recvmmsg`` or ``sendmmsg``: descriptor, message headers, their number, flags, and for the
former a timeout, which is always None; the number of datagrams moved, or -1 with an errno."""


@cache
def libc() -> tuple[Call, Call] | None:
    """``recvmmsg`` and ``sendmmsg``, or None where the C library has them not. They get no
    ``argtypes``: arguments that are made once and are ctypes objects already need no conversion,
    which is a third of the cost of a call. The interpreter's lock is kept: neither call waits, and
    who gives the lock away for a call may wait for it afterwards for milliseconds."""
    if sys.platform != "linux" or sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    library = ctypes.PyDLL(None, use_errno=True)
    try:
        return library.recvmmsg, library.sendmmsg
    except AttributeError:
        return None


class Arena:
    """One mapping, handed out piece by piece. Never given back."""

    __slots__ = ("_base", "_end", "octets", "view")

    def __init__(self, size: int) -> None:
        """``size`` in bytes. Untouched pages cost nothing."""
        self.octets = mmap.mmap(-1, size)
        """The mapping itself: its slices are bytes in one step, those of the view in two."""
        self.view = memoryview(self.octets)
        self._base = ctypes.addressof(ctypes.c_char.from_buffer(self.octets))
        self._end = 0

    def take(self, size: int) -> int:
        """The offset of ``size`` bytes, at the beginning of a cache line."""
        offset, self._end = self._end, self._end + (size + 63 & ~63)
        if self._end > len(self.octets):
            raise ValueError("the arena is too small")
        return offset

    def address(self, offset: int) -> int:
        return self._base + offset

    def words(self, offset: int, size: int) -> memoryview:
        return self.view[offset : offset + size].cast("Q")


class Messages:
    """The headers of a batch, each with ``vectors`` I/O vectors."""

    __slots__ = ("_arena", "_fd", "_pointers", "flags", "lengths", "vectors", "words")

    def __init__(self, arena: Arena, fd: int, vectors: int, names: int, distance: int) -> None:
        """``names`` is the offset of the first of the addresses, ``distance`` that between two."""
        self._arena = arena
        self._fd = ctypes.c_int(fd)
        headers = arena.take(_MESSAGE * BATCH)
        first = arena.take(_VECTOR * vectors * BATCH)
        self.words = arena.words(headers, _MESSAGE * BATCH)
        self.vectors = arena.words(first, _VECTOR * vectors * BATCH)
        for n in range(BATCH):
            self.words[8 * n] = arena.address(names + n * distance)
            self.words[8 * n + 1] = NAME_LENGTH
            self.words[8 * n + 2] = arena.address(first + n * vectors * _VECTOR)
            self.words[8 * n + 3] = vectors
        self.flags = arena.view[headers + 48 : headers + _MESSAGE * BATCH : _MESSAGE]
        """The low octet of each message's flags: not zero if it was cut."""
        self.lengths = self.words[7::8]
        """Bytes received; the upper half of the word is padding."""
        self._pointers = [
            ctypes.c_void_p(arena.address(headers + n * _MESSAGE)) for n in range(BATCH)
        ]

    def name_length(self, length: int) -> None:
        """The length of the addresses to send to: 16 or 28."""
        self.words[1::8] = memoryview(length.to_bytes(8, "little") * BATCH).cast("Q")

    def arguments(self, start: int) -> tuple[Any, Any]:
        """Descriptor and pointer for a call that begins with message ``start``."""
        return self._fd, self._pointers[start]


COUNTS = [ctypes.c_uint(n) for n in range(BATCH + 1)]


def name_of(address: Address, family: int) -> bytes:
    """The 28 bytes of a raw socket address, for a socket of ``family``; an IPv4 one is 16 bytes
    long and padded. Raises ValueError where the family has no such address."""
    if family == socket.AF_INET6:
        return _IPV6_NAME.pack(socket.AF_INET6, address[16:], address[:16])
    if not address.is_ipv4:
        raise ValueError("an IPv4 socket reaches no IPv6 address")
    return _IPV4_NAME.pack(socket.AF_INET, address[16:], address[12:16]).ljust(NAME_LENGTH, b"\0")


def packed_of(name: bytes) -> bytes:
    """The 18 bytes of the address in a raw socket address, or in the first 8 bytes of an IPv4
    one."""
    if name[0] == socket.AF_INET:
        return b"".join((_MAPPED, name[4:8], name[2:4]))
    return name[8:24] + name[2:4]


def address_of(name: bytes) -> Address:
    """As ``packed_of``, as an ``Address``."""
    return Address.of_octets(packed_of(name))


def low_halves(words: memoryview, first: int, step: int) -> memoryview:
    """The lowest 16 bits of every ``step``-th of some 64-bit words, from ``first`` on."""
    return words.cast("B").cast("H")[4 * first :: 4 * step]


def name_length(family: int) -> int:
    return 16 if family == socket.AF_INET else NAME_LENGTH


class BatchReader:
    """Reads what a non-blocking socket has, up to a batch at a time."""

    def __init__(self, sock: socket.socket, length: int = BUFFER) -> None:
        """``length`` is the longest datagram that is read whole, at most ``BUFFER``. Raises
        OSError where ``is_supported`` says no."""
        self._receive, _ = _calls()
        arena = self._arena = Arena(1 << 18)
        names = arena.take(NAME_LENGTH * BATCH)
        buffers = arena.take(STRIDE * BATCH)
        self._starts = range(buffers, buffers + STRIDE * BATCH, STRIDE)
        self._messages = Messages(arena, sock.fileno(), 1, names, NAME_LENGTH)
        for n in range(BATCH):
            self._messages.vectors[2 * n] = arena.address(buffers + n * STRIDE)
            self._messages.vectors[2 * n + 1] = length
        self._names = [Struct("28s" * n) for n in range(BATCH + 1)]
        self._names_at = names
        self._addresses: dict[bytes, Address] = {}
        self._fd, self._pointer = self._messages.arguments(0)
        self.errors = 0

    def read(self) -> list[tuple[bytes | None, Address]]:
        """The datagrams that have arrived, at most a batch, each with its sender; None in place of
        one that was too long. Errors of the socket are counted and passed over."""
        count = self._receive(self._fd, self._pointer, COUNTS[BATCH], 0, None)
        if count <= 0:
            if ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
                self.errors += 1
            return []
        lengths = self._messages.lengths[:count].tolist()
        flags = self._messages.flags[:count].tobytes()
        names = self._names[count].unpack_from(self._arena.view, self._names_at)
        octets, known = self._arena.octets, self._addresses
        found: list[tuple[bytes | None, Address]] = []
        for start, length, cut, name in zip(self._starts, lengths, flags, names, strict=False):
            address = known.get(name) or self._address(name)
            found.append((None if cut else octets[start : start + length], address))
        return found

    def _address(self, name: bytes) -> Address:
        if len(self._addresses) >= 4096:
            self._addresses.clear()
        address = self._addresses[name] = address_of(name)
        return address


class BatchWriter:
    """Sends datagrams, a batch in a call."""

    def __init__(self, sock: socket.socket) -> None:
        """Raises OSError where ``is_supported`` says no."""
        _, self._send = _calls()
        self._family = sock.family
        arena = self._arena = Arena(1 << 18)
        self._names = arena.take(NAME_LENGTH * BATCH)
        self._buffers = arena.take(STRIDE * BATCH)
        self._messages = Messages(arena, sock.fileno(), 1, self._names, NAME_LENGTH)
        self._messages.name_length(name_length(sock.family))
        for n in range(BATCH):
            self._messages.vectors[2 * n] = arena.address(self._buffers + n * STRIDE)
        self._known: dict[Address, bytes] = {}
        self._written: list[bytes | None] = [None] * BATCH
        """The names that stand in the arena: whoever sends to few addresses writes few anew."""
        self.errors = 0
        """Datagrams that the kernel refused one by one."""
        self.unsent = 0
        """Datagrams that it had no room for, or that are longer than a buffer."""

    def write(self, datagrams: Sequence[tuple[bytes, Address]]) -> int:
        """Send them in order. What the kernel does not take now is let go of and counted. Returns
        how many were sent."""
        sent = 0
        for start in range(0, len(datagrams), BATCH):
            count = self._fill(datagrams[start : start + BATCH])
            outcome = send_all(self._send, self._messages, count)
            self.errors += outcome.refused
            self.unsent += outcome.unsent
            sent += outcome.sent
        return sent

    def _fill(self, datagrams: Sequence[tuple[bytes, Address]]) -> int:
        octets, vectors, written = self._arena.octets, self._messages.vectors, self._written
        count = 0
        for data, address in datagrams:
            if len(data) > STRIDE:
                self.unsent += 1
                continue
            name = self._known.get(address)
            if name is None:
                try:
                    name = name_of(address, self._family)
                except ValueError:
                    self.errors += 1
                    continue
                if len(self._known) >= 4096:
                    self._known.clear()
                self._known[address] = name
            if written[count] is not name:
                at = self._names + count * NAME_LENGTH
                octets[at : at + NAME_LENGTH] = written[count] = name
            at = self._buffers + count * STRIDE
            octets[at : at + len(data)] = data
            vectors[2 * count + 1] = len(data)
            count += 1
        return count


@frozen(slots=True)
class Sent:
    """What became of a batch: ``refused`` are those that the kernel would not have, ``unsent``
    those that it had no room for."""

    sent: int
    refused: int
    unsent: int


def send_all(send: Call, messages: Messages, count: int, start: int = 0) -> Sent:
    """Send the first ``count`` of ``messages``, of which ``start`` are sent already. When the
    kernel takes fewer than it is given it has met an error at the next one, and tells which only if
    that one is asked for again: then it is refused and the rest goes on behind it. When there is no
    room in the kernel the rest is not sent."""
    refused = 0
    while start < count:
        moved = send(*messages.arguments(start), COUNTS[count - start], 0)
        if moved > 0:
            start += moved
            continue
        match ctypes.get_errno():
            case errno.EINTR:
                continue
            case errno.EAGAIN | errno.ENOBUFS:
                return Sent(start - refused, refused, count - start)
        refused += 1
        start += 1
    return Sent(count - refused, refused, 0)


@cache
def is_supported() -> bool:
    """Whether all of this works here: tried once, with a few datagrams over loopback."""
    if libc() is None:
        return False
    try:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there,
        ):
            for sock in (here, there):
                sock.bind(("127.0.0.1", 0))
            there.settimeout(1.0)
            to, source = (Address.of(*sock.getsockname()) for sock in (there, here))
            sample = [(bytes([n]) * (n + 1), to) for n in range(3)]
            if BatchWriter(here).write(sample) != len(sample):
                return False
            there.recv(1, socket.MSG_PEEK)  # loopback has delivered them all by now
            there.setblocking(False)
            return BatchReader(there).read() == [(data, source) for data, _ in sample]
    except OSError:
        return False


def _calls() -> tuple[Call, Call]:
    calls = libc()
    if calls is None:
        raise OSError(NEEDS)
    return calls
