"""What a worker does in its last moments, by itself; its life is in ``test_supervisor``."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from stunroute.udp.worker import drain

LONG = 60.0


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A socket that is read and one that sends to it."""
    reader = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    reader.setblocking(False)
    reader.bind(("127.0.0.1", 0))
    sender.connect(reader.getsockname())
    yield reader, sender
    reader.close()
    sender.close()


def drained(reader: socket.socket, within: float, *, reading: bool, endless: bool = False) -> int:
    """How many packets were read, one for each turn of the loop, until ``drain`` was done."""
    read = 0

    async def story(sender: socket.socket) -> None:
        loop = asyncio.get_running_loop()

        def receive() -> None:
            nonlocal read
            reader.recv(2048)
            read += 1
            if endless:
                sender.send(b"another")

        if reading:
            loop.add_reader(reader, receive)
        async with asyncio.timeout(LONG / 2):
            await drain((reader,), within)
        loop.remove_reader(reader)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(reader.getsockname())
        asyncio.run(story(sender))
    return read


def test_everything_that_was_there_is_read(pair: tuple[socket.socket, socket.socket]) -> None:
    reader, sender = pair
    for _ in range(100):
        sender.send(b"")  # an empty datagram is one too
    assert drained(reader, LONG, reading=True) == 100


def test_where_nothing_is_there_is_nothing_to_wait_for(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    reader, _ = pair
    assert drained(reader, LONG, reading=False) == 0


def test_packets_that_never_cease_are_not_waited_for(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    reader, sender = pair
    sender.send(b"first")
    sender.send(b"second")
    assert drained(reader, 0.05, reading=True, endless=True) > 0


def test_a_reader_that_has_stopped_is_not_waited_for(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    reader, sender = pair
    sender.send(b"unread")
    assert drained(reader, 0.05, reading=False) == 0
