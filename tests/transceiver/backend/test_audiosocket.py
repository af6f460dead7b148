"""Agents behind AudioSocket, against servers on loopback and real processes."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from attrs import define, field

from lines import FakeLine, run, until
from realtime_server import check
from stunroute.config import load
from stunroute.errors import ConfigError
from tools import require_tool
from transceiver.backend.agent import Ended, Heard, Interrupted, Started
from transceiver.backend.audiosocket import (
    NOTES,
    AudioSocketAgent,
    AudioSocketOptions,
    factory,
    identity,
    target,
)
from transceiver.backend.audiosocket_frames import (
    Digit,
    Failure,
    Flush,
    FrameReader,
    Hangup,
    Identity,
    Voice,
    encode,
)

EXAMPLES = Path(__file__).parents[2] / "examples"
FRAME = bytes(320)


@define(eq=False)
class Peer:
    """An agent at the other end of the socket, in the hands of the test."""

    writer: asyncio.StreamWriter
    reader: asyncio.StreamReader
    frames: list = field(factory=list)
    closed: bool = False

    async def listen(self):
        frames = FrameReader()
        with contextlib.suppress(OSError):
            while data := await self.reader.read(4096):
                self.frames += frames.receive_untrusted(data)
        self.closed = True

    def say(self, *frames):
        self.writer.write(b"".join(map(encode, frames)))


@define(eq=False)
class Server:
    """Listens for connections of the edge. ``reads``: whether what comes is read."""

    peers: list[Peer] = field(factory=list)
    reads: bool = True
    address: str = ""
    _server: asyncio.Server | None = None

    async def open(self, path=None, port=0):
        if path is not None:
            self._server = await asyncio.start_unix_server(self._meet, path)
            self.address = f"unix:{path}"
        else:
            self._server = await asyncio.start_server(self._meet, "127.0.0.1", port)
            port = self._server.sockets[0].getsockname()[1]
            self.address = f"127.0.0.1:{port}"
        return self

    async def _meet(self, reader, writer):
        peer = Peer(writer, reader)
        self.peers.append(peer)
        if self.reads:
            await peer.listen()
            writer.close()

    async def close(self):
        self._server.close()
        for peer in self.peers:
            peer.writer.transport.abort()
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def conversation(server=None, *, path=None, **options):
    """An agent whose call is established, its line, and its peer once it is there."""
    server = server or await Server().open(path)
    line = FakeLine(rate=options.get("rate", 8000))
    agent = factory(AudioSocketOptions(server.address, **options))(line)
    agent.receive(Started())
    try:
        yield agent, line, server
    finally:
        agent.receive(Ended("over"))
        await asyncio.sleep(0)
        await server.close()
        await asyncio.sleep(0)
    assert line.failure is None


@pytest.mark.parametrize("rate", [8000, 24000])
@pytest.mark.parametrize("unix", [False, True])
def test_sound_goes_both_ways(tmp_path, rate, unix):
    async def story():
        path = str(tmp_path / "agent") if unix else None
        async with conversation(path=path, rate=rate) as (agent, line, server):
            assert agent.rate == rate
            assert not agent.speaks_realtime
            agent.hear(b"\x01\x00" * 160)
            await until(lambda: server.peers and len(server.peers[0].frames) == 2)
            (peer,) = server.peers
            assert peer.frames == [Identity(identity(line.id)), Voice(rate, b"\x01\x00" * 160)]
            peer.say(Voice(rate, b"\x02\x00" * 7), Voice(rate, b"\x03\x00"))
            await until(lambda: len(line.said) == 16)
            assert bytes(line.said) == b"\x02\x00" * 7 + b"\x03\x00"
            assert line.standing == []

    run(story)


def test_the_identity_can_be_computed_from_the_call():
    assert identity("rtc_abc") == uuid.uuid5(uuid.NAMESPACE_URL, "rtc_abc").bytes


def test_nobody_is_connected_to_before_the_call_is_established():
    async def story():
        server = await Server().open()
        agent = AudioSocketAgent(FakeLine(), AudioSocketOptions(server.address))
        agent.hear(FRAME)
        await asyncio.sleep(0.05)
        agent.receive(Ended("over"))
        agent.receive(Started())
        await asyncio.sleep(0.05)
        assert server.peers == []
        await server.close()

    run(story)


def test_the_end_of_the_call_is_said():
    async def story():
        async with conversation() as (agent, line, server):
            await until(lambda: server.peers and server.peers[0].frames)
            agent.receive(Ended("over"))
            await until(lambda: server.peers[0].closed)
            assert server.peers[0].frames[-1] == Hangup()
            assert line.standing == []
            agent.hear(FRAME)  # nobody is there any more

    run(story)


def test_an_agent_that_hangs_up_ends_the_call():
    async def story():
        async with conversation() as (_, line, server):
            await until(lambda: server.peers)
            server.peers[0].say(Hangup())
            await until(lambda: line.hung_up)
            await until(lambda: server.peers[0].closed)
            assert len(server.peers) == 1
            assert line.standing == []

    run(story)


def test_the_agent_may_ask_for_silence():
    async def story():
        async with conversation() as (_, line, server):
            await until(lambda: server.peers)
            server.peers[0].say(Voice(8000, FRAME), Flush(), Voice(8000, b"ab"))
            await until(lambda: len(line.said) == 322)
            assert line.flushes == [0.0]
            assert line.waiting_bytes == 2

    run(story)


def test_the_agent_is_told_that_the_client_cut_in():
    async def story():
        async with conversation() as (agent, line, server):
            await until(lambda: server.peers and server.peers[0].frames)
            (peer,) = server.peers
            agent.receive(Interrupted(played=1.25, unplayed=3.0))
            await until(lambda: len(peer.frames) == 2)
            assert peer.frames[1] == Flush(1250)
            # What the agent had sent before it heard of that is not played; its own flush ends it.
            peer.say(Voice(8000, FRAME), Flush(), Voice(8000, b"ab"))
            await until(lambda: line.said)
            assert bytes(line.said) == b"ab"
            assert agent.discarded == len(FRAME)

    run(story)


def test_an_agent_that_knows_no_flush_is_heard_again_after_a_moment():
    async def story():
        time = [100.0]
        server = await Server().open()
        line = FakeLine(clock=lambda: time[0], rate=8000)
        agent = AudioSocketAgent(line, AudioSocketOptions(server.address))
        agent.receive(Started())
        await until(lambda: server.peers and agent.uplink.connected)
        agent.receive(Interrupted(1.0, 1.0))
        server.peers[0].say(Voice(8000, FRAME))
        await until(lambda: agent.discarded)
        time[0] += 0.31
        server.peers[0].say(Voice(8000, b"ab"))
        await until(lambda: line.said)
        assert bytes(line.said) == b"ab"
        agent.receive(Ended("over"))
        await server.close()

    run(story)


def test_an_agent_that_dies_is_connected_to_again():
    async def story():
        async with conversation() as (agent, line, server):
            await until(lambda: server.peers and server.peers[0].frames)
            server.peers[0].writer.close()
            await until(lambda: line.standing)
            assert line.standing == ["lost: it closed the connection"]
            agent.receive(Interrupted(1.0, 1.0))  # says nothing to whom it does not concern
            agent.hear(FRAME)
            await until(lambda: len(server.peers) == 2 and len(server.peers[1].frames) == 2)
            assert server.peers[1].frames[1:] == [Voice(8000, FRAME)]
            await until(lambda: line.standing[1:] == ["restored"])
            assert not line.hung_up

    run(story)


def test_an_agent_that_is_not_there_yet_is_waited_for(tmp_path):
    async def story():
        path = str(tmp_path / "agent")
        line = FakeLine()
        agent = AudioSocketAgent(line, AudioSocketOptions(f"unix:{path}"))
        agent.receive(Started())
        await until(lambda: line.standing)
        assert line.standing == ["lost: it cannot be reached: No such file or directory"]
        server = await Server().open(path)
        await until(lambda: server.peers and line.standing[-1] == "restored")
        assert len(line.standing) == 2
        agent.receive(Ended("over"))
        await server.close()

    run(story)


@pytest.mark.parametrize(
    ("octets", "detail"),
    [
        (encode(Failure(3)), "it reported an error, code 3"),
        (encode(Failure()), "it reported an error"),
        (encode(Voice(24000, FRAME)), "it broke the protocol: sound at 24000 Hz, not at 8000"),
        (b"\x10\x00\x01a", "it broke the protocol: sound that ends in half a sample"),
    ],
)
def test_what_an_agent_may_not_say_ends_its_connection(octets, detail):
    async def story():
        async with conversation() as (_, line, server):
            await until(lambda: server.peers)
            server.peers[0].writer.write(octets)
            await until(lambda: line.standing)
            assert line.standing[0] == f"lost: {detail}"
            assert not line.said

    run(story)


def test_what_is_for_the_other_direction_is_ignored():
    async def story():
        async with conversation() as (_, line, server):
            await until(lambda: server.peers)
            server.peers[0].say(Identity(bytes(16)), Digit("1"), Voice(8000, b"ab"))
            await until(lambda: line.said)
            assert line.standing == []

    run(story)


def complaints(line):
    return [event["error"]["code"] for event in line.sent if event["type"] == "error"]


def test_for_an_agent_that_does_not_read_the_oldest_sound_goes_and_the_client_is_told():
    async def story():
        server = Server(reads=False)
        await server.open()
        async with conversation(server, queue=1.0) as (agent, line, _):
            await until(lambda: server.peers)
            for _ in range(2):
                lost = agent.uplink.outbox.lost
                while agent.uplink.outbox.lost < lost + 16000:
                    agent.hear(bytes(8000))
                    await asyncio.sleep(0)
            assert complaints(line) == ["backend_slow"]
            check(line.sent[0])
            # It wakes up and takes what waits. When it is slow again that is told again.
            listening = asyncio.create_task(server.peers[0].listen())
            await until(lambda: not agent.uplink.outbox.ready)
            await asyncio.sleep(0.01)
            listening.cancel()
            while len(complaints(line)) == 1:
                agent.hear(bytes(8000))
                await asyncio.sleep(0)
            assert line.standing == []
            assert len(server.peers) == 1
            for _ in range(NOTES + 1):
                agent.receive(Interrupted(1.0, 1.0))
            await until(lambda: line.standing)
            assert line.standing == ["lost: it does not keep up, and too much waits for it"]

    run(story)


def test_a_frozen_agent_does_not_hold_the_call_s_end():
    async def story():
        server = Server(reads=False)
        await server.open()
        line = FakeLine()
        agent = AudioSocketAgent(line, AudioSocketOptions(server.address))
        agent.receive(Started())
        await until(lambda: server.peers)
        while not line.sent:
            agent.hear(bytes(32000))
            await asyncio.sleep(0)
        agent.receive(Heard(1.0))
        agent.receive(Ended("over"))
        others = asyncio.all_tasks() - {asyncio.current_task()}
        held = [task for task in others if task.get_name() == line.id]
        assert len(held) == 1
        await asyncio.wait(held)
        await server.close()

    run(story)


# The examples, as processes


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize("name", ["agent.py", "agent.mjs"])
def test_the_examples_say_back_what_they_hear(name):
    program = sys.executable if name.endswith(".py") else require_tool("node")
    port = free_port()
    process = subprocess.Popen(
        [program, str(EXAMPLES / name), str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=dict(os.environ),
    )
    tone = [bytes([index, 0x20]) * 160 for index in range(20)]

    async def story():
        line = FakeLine(rate=8000)
        agent = AudioSocketAgent(line, AudioSocketOptions(f"127.0.0.1:{port}"))
        agent.receive(Started())
        await until(lambda: agent.uplink.connected)
        for turn in range(2):
            for frame in [FRAME] * 5 + tone + [FRAME] * 40:
                agent.hear(frame)
                await asyncio.sleep(0)
            expected = (b"".join(tone) + FRAME * 29) * (turn + 1)
            await until(lambda expected=expected: len(line.said) >= len(expected))
            assert bytes(line.said) == expected
        agent.receive(Ended("over"))
        await asyncio.sleep(0.05)

    try:
        run(story)
    finally:
        process.kill()
        _, errors = process.communicate()
    assert errors == b""


# Options


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:9092", ("127.0.0.1", 9092)),
        ("agent.example:1", ("agent.example", 1)),
        ("[::1]:65535", ("::1", 65535)),
        ("unix:/run/agent", "/run/agent"),
        ("unix:", None),
        ("::1:1", None),
        ("host", None),
        ("host:", None),
        ("host:0", None),
        ("host:65536", None),
        (":9092", None),
        ("", None),
    ],
)
def test_an_address_is_a_path_or_host_and_port(address, expected):
    assert target(address) == expected


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({}, "address"),
        ({"address": "nowhere"}, "address"),
        ({"address": "a:1", "rate": 12000}, "rate"),
        ({"address": "a:1", "queue": 0.0}, "queue"),
        ({"address": "a:1", "queue": float("nan")}, "queue"),
        ({"address": "a:1", "timeout": 61.0}, "timeout"),
        ({"adress": "a:1"}, "adress"),
    ],
)
def test_options_that_make_no_sense_are_named(options, key):
    with pytest.raises(ConfigError) as caught:
        load(AudioSocketOptions, path=None, environ={}, prefix="", options=options)
    assert caught.value.key == key
