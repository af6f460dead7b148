"""Backends that are mean: the call goes on, and so do the others on the same loop."""

import asyncio
import contextlib
import json

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode

from lines import FakeLine, run, until
from transceiver.backend import audiosocket, realtime
from transceiver.backend.agent import Ended, Started
from transceiver.backend.audiosocket_frames import Voice, encode
from transceiver.backend.uplink import TURN
from transceiver.realtime.wire import write

CREATED = '{"type":"session.created","session":{}}'
DELTA = '{"type":"response.output_text.delta","delta":"x"}'
MANY = 3000


@contextlib.asynccontextmanager
async def on_a_call(factory):
    line = FakeLine()
    agent = factory(line)
    agent.receive(Started())
    try:
        yield agent, line
    finally:
        agent.receive(Ended("over"))
        await until(
            lambda: not [task for task in asyncio.all_tasks() if task.get_name() == line.id]
        )
    assert line.failure is None


async def longest_turn(taken, all_of_it):
    """How much is taken between two turns of this task, until all of it has been."""
    longest = before = taken()
    while before < all_of_it:
        await asyncio.sleep(0)
        now = taken()
        longest, before = max(longest, now - before), now
    return longest


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"x.y","number":1e999}',
        '{"type":"x.y","text":"\\ud800"}',
        f'{{"type":"x.y","deep":{"[" * 900}{"]" * 900}}}',
        f'{{"type":"x.y","number":{"1" * 4000}}}',
    ],
)
def test_what_no_client_could_read_is_no_event(text):
    """It was an exception in the middle of the call: JSON's reader takes what its writer does
    not."""

    async def greet(connection):
        for message in (CREATED, text, DELTA):
            await connection.send(message)
        await connection.wait_closed()

    async def story():
        async with serve(greet, "127.0.0.1", 0, compression=None) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            options = realtime.RealtimeOptions(url)
            async with on_a_call(realtime.factory(options)) as (agent, line):
                await until(lambda: json.loads(DELTA) in line.sent)
                assert agent.unread == 1
                for event in line.sent:
                    write(event).encode()

    run(story)


def test_a_flood_of_events_leaves_turns_to_others():
    async def flood(connection):
        frames = [Frame(Opcode.TEXT, text.encode()) for text in [CREATED, *[DELTA] * MANY]]
        data = b"".join(frame.serialize(mask=False) for frame in frames)
        connection.transport.write(data)
        await connection.wait_closed()

    async def story():
        async with serve(flood, "127.0.0.1", 0, compression=None) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            options = realtime.RealtimeOptions(url)
            async with on_a_call(realtime.factory(options)) as (_, line):
                longest = await longest_turn(lambda: len(line.sent), MANY + 1)
                assert longest <= TURN + 1  # the first comes with the one that was held back

    run(story)


def test_a_flood_of_tiny_sounds_leaves_turns_to_others():
    async def flood(reader, writer):
        writer.write(encode(Voice(8000, b"ab")) * MANY)
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    async def story():
        async with await asyncio.start_server(flood, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            options = audiosocket.AudioSocketOptions(f"127.0.0.1:{port}")
            async with on_a_call(audiosocket.factory(options)) as (_, line):
                longest = await longest_turn(lambda: len(line.said) // 2, MANY)
                assert longest <= 2 * TURN  # the end of one piece read and the start of the next

    run(story)


def test_a_redirection_is_not_followed_and_gets_no_key():
    """Whoever answers there has not been given the key by anybody."""
    asked = []

    def elsewhere(connection, request):
        asked.append(request.headers.get("Authorization"))
        return connection.respond(403, "")

    async def nobody(connection: ServerConnection) -> None:
        raise AssertionError("nobody comes here")

    async def story():
        async with serve(nobody, "127.0.0.1", 0, process_request=elsewhere) as other:
            target = f"ws://127.0.0.1:{other.sockets[0].getsockname()[1]}/"

            def redirect(connection, request):
                answer = connection.respond(307, "")
                answer.headers["Location"] = target
                return answer

            async with serve(nobody, "127.0.0.1", 0, process_request=redirect) as server:
                url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
                options = realtime.RealtimeOptions(url, key="sk-not-for-strangers")
                async with on_a_call(realtime.factory(options)) as (_, line):
                    await until(lambda: line.standing)
                    assert line.standing == ["lost: it answered 307"]
        assert not asked

    run(story)
