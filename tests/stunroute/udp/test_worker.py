"""A worker's loop and its last moments; its life and death are in ``test_supervisor``."""

import asyncio
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fleet import check, dtls, leg
from relay_process import PATIENCE, Options, RelayProcess
from stunroute.address import Address
from stunroute.errors import ConfigError
from stunroute.hint import KeyRing
from stunroute.settings import Configuration, Hints, Listen, Loop, RelaySettings
from stunroute.udp import worker as module
from stunroute.udp.sockets import BoundSockets
from stunroute.udp.worker import Assignment, Worker, drain, loop_of

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


class Wall:
    """A wall clock that is set by hand."""

    def __init__(self) -> None:
        self.reads = 1_000_000_000.0

    def time(self) -> float:
        return self.reads


class Served:
    """What a worker serves, as far as its keys go."""

    def __init__(self, keyring: KeyRing) -> None:
        self.keyring = keyring
        self.reloads = 0

    def reload(self, settings: RelaySettings, keyring: KeyRing, directory: Any) -> tuple[str, ...]:
        self.keyring = keyring
        self.reloads += 1
        return ()


@pytest.mark.parametrize("step", [7200.0, -7200.0])
def test_dates_in_the_settings_follow_a_wall_clock_that_is_set(
    monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    """A machine that has slept, or started without the time of day, would otherwise read hints in
    the wrong hours until it is reloaded."""
    wall = Wall()
    monkeypatch.setattr(module, "time", wall)
    half_way = datetime.fromtimestamp(wall.reads + step / 2, UTC)
    if step > 0:
        configuration = Configuration("0", bytes(16), read_from=half_way)
    else:
        configuration = Configuration("0", bytes(16), read_until=half_way)
    settings = RelaySettings(
        listen=(Listen(Address.of("127.0.0.1", 0)),),
        inner=Address.of("127.0.0.1", 0),
        hint=Hints((configuration,)),
    )
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    async def story() -> None:
        made = Worker(Assignment(0, settings, BoundSockets(sock, ()), Served, lambda _: None))
        made._loop = loop = asyncio.get_running_loop()
        served = made._server = Served(made._keyring(settings))  # type: ignore[assignment]

        def readable() -> bool:
            return served.keyring.configurations[0].is_readable(loop.time())

        made._mind_the_clock()
        assert (served.reloads, readable()) == (0, False)
        wall.reads += step
        made._mind_the_clock()
        assert (served.reloads, readable()) == (1, True)

    asyncio.run(story())
    sock.close()


class TestLoop:
    def test_asyncio_needs_nothing(self) -> None:
        assert loop_of(Loop.ASYNCIO) is None

    def test_one_that_is_not_installed_is_a_wrong_setting(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "uvloop", None)
        with pytest.raises(ConfigError, match=r"sockets\.loop: cannot be had"):
            loop_of(Loop.UVLOOP)

    @pytest.mark.parametrize("adapter", ["batched", "plain"])
    def test_a_relay_on_uvloop(
        self, tmp_path: Path, pair: tuple[socket.socket, socket.socket], adapter: str
    ) -> None:
        pytest.importorskip("uvloop")
        node, _ = pair
        node.settimeout(PATIENCE)
        address = Address.of(*node.getsockname())
        extra = f'[sockets]\nloop = "uvloop"\nadapter = "{adapter}"\n'
        relay = RelayProcess(tmp_path, Options({1: address}, workers=2, extra=extra))
        with relay, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.bind(("127.0.0.1", 0))
            client.settimeout(PATIENCE)
            me = Address.of(*client.getsockname())
            inners = [(inner.ip, inner.port) for inner in relay.inners]
            for number in range(100):
                sent = check(1) if number == 0 else dtls(b"%d" % number)
                client.sendto(sent, (relay.public.ip, relay.public.port))
                data, sender = node.recvfrom(4096)
                assert data == leg(me, sent, relay.public)
                assert sender in inners
                node.sendto(leg(me, dtls(b"back"), relay.public), sender)
                assert client.recvfrom(4096)[0] == dtls(b"back")
            stopped = relay.stop()
        assert (stopped["uplink_packets"], stopped["downlink_packets"]) == (100, 100)
        assert relay.complaints == ""
