"""Many datagrams in a system call, over loopback sockets."""

import socket
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies import addresses
from stunroute.address import Address
from stunroute.udp import batch
from stunroute.udp.batch import (
    BATCH,
    BUFFER,
    STRIDE,
    Arena,
    BatchReader,
    BatchWriter,
    address_of,
    is_supported,
    low_halves,
    name_of,
    packed_of,
)

pytestmark = pytest.mark.skipif(not is_supported(), reason="no recvmmsg here")

Make = Callable[..., tuple[socket.socket, Address]]


@pytest.fixture
def make() -> Iterator[Make]:
    opened: list[socket.socket] = []

    def bound(host: str = "127.0.0.1") -> tuple[socket.socket, Address]:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        opened.append(sock)
        if host == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind((host, 0))
        sock.setblocking(False)
        return sock, Address.of(*sock.getsockname()[:2])

    yield bound
    for sock in opened:
        sock.close()


@given(addresses)
def test_names_of_sockets_round_trip(address: Address) -> None:
    name = name_of(address, socket.AF_INET6)
    assert len(name) == 28
    assert address_of(name) == packed_of(name) == address
    if address.is_ipv4:
        name = name_of(address, socket.AF_INET)
        assert address_of(name) == address_of(name[:8]) == address
    else:
        with pytest.raises(ValueError, match="IPv6"):
            name_of(address, socket.AF_INET)


def test_low_halves() -> None:
    words = memoryview(bytearray(8 * 12)).cast("Q")
    for n in range(12):
        words[n] = n << 32 | 1000 + n
    assert low_halves(words, 1, 3).tolist() == [1001, 1004, 1007, 1010]


def test_an_arena_is_bounded() -> None:
    arena = Arena(4096)
    assert (arena.take(1), arena.take(64), arena.take(65), arena.take(1)) == (0, 64, 128, 256)
    with pytest.raises(ValueError, match="small"):
        arena.take(4096)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("count", [0, 1, BATCH, 2 * BATCH + 3])
def test_what_is_written_is_read(make: Make, host: str, count: int) -> None:
    here, source = make(host)
    there, to = make(host)
    sent = [(bytes([n % 256]) * (n * 13 % BUFFER), to) for n in range(count)]
    writer, reader = BatchWriter(here), BatchReader(there)
    assert writer.write(sent) == count
    found: list[tuple[bytes | None, Address]] = []
    while more := reader.read():
        assert len(more) <= BATCH
        found += more
    assert found == [(data, source) for data, _ in sent]
    assert (writer.errors, writer.unsent, reader.errors) == (0, 0, 0)


def test_a_dual_stack_socket_speaks_both(make: Make) -> None:
    here, _ = make("::")
    port = here.getsockname()[1]
    four, four_at = make("127.0.0.1")
    six, six_at = make("::1")
    four.sendto(b"four", ("127.0.0.1", port))
    six.sendto(b"six", ("::1", port))
    assert sorted(BatchReader(here).read()) == sorted([(b"four", four_at), (b"six", six_at)])
    assert BatchWriter(here).write([(b"to four", four_at), (b"to six", six_at)]) == 2
    assert four.recv(100) == b"to four"
    assert six.recv(100) == b"to six"


def test_what_is_too_long_is_told_by_none(make: Make) -> None:
    here, source = make()
    there, to = make()
    reader = BatchReader(there, 100)
    for length in (99, 100, 101, 1000):
        here.sendto(bytes(length), (to.ip, to.port))
    assert reader.read() == [
        (bytes(99), source),
        (bytes(100), source),
        (None, source),
        (None, source),
    ]


def test_one_that_cannot_be_sent_does_not_keep_the_others(make: Make) -> None:
    here, _ = make()
    there, to = make()
    writer = BatchWriter(here)
    nowhere = Address.of("255.255.255.255", 9)  # a broadcast, which needs a permission
    unreachable = Address.of("2001:db8::1", 9)
    datagrams = [(b"1", to), (b"2", nowhere), (b"3", to), (b"4", unreachable), (b"5", to)]
    assert writer.write([*datagrams, (bytes(STRIDE + 1), to)]) == 3
    assert [there.recv(10) for _ in range(3)] == [b"1", b"3", b"5"]
    assert (writer.errors, writer.unsent) == (2, 1)


def test_an_error_of_the_socket_is_counted(make: Make) -> None:
    here, _ = make()
    there, to = make()
    here.connect((to.ip, to.port))
    there.close()
    reader = BatchReader(here)
    here.send(b"x")  # answered by ICMP: port unreachable
    assert reader.read() == []
    assert reader.errors == 1
    assert reader.read() == []
    assert reader.errors == 1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=100))
def test_any_datagrams(payloads: list[bytes]) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there,
    ):
        for sock in (here, there):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        to = Address.of(*there.getsockname())
        BatchWriter(here).write([(payload, to) for payload in payloads])
        reader = BatchReader(there)
        found = []
        while more := reader.read():
            found += more
        assert [data for data, _ in found] == payloads


def test_where_the_calls_are_missing_nobody_relies_on_them(
    monkeypatch: pytest.MonkeyPatch, make: Make
) -> None:
    monkeypatch.setattr(batch, "libc", lambda: None)
    assert not batch.is_supported.__wrapped__()
    sock, _ = make()
    with pytest.raises(OSError, match="recvmmsg"):
        BatchReader(sock)
    with pytest.raises(OSError, match="recvmmsg"):
        BatchWriter(sock)


def test_a_layout_that_is_not_ours_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on another architecture: what is read back is not what was sent."""
    monkeypatch.setattr(batch, "_VECTOR", 24)
    assert not batch.is_supported.__wrapped__()
