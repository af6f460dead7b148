"""The way to a Realtime server, against a server on loopback that follows the published schema."""

import asyncio
import contextlib
import itertools
import json
import logging
from base64 import b64decode

import pytest
from websockets.asyncio.server import serve

from lines import FakeLine, run, until
from realtime_server import RealtimeServer, check, tone
from stunroute.config import load
from stunroute.errors import ConfigError
from transceiver.backend.agent import ClientEvent, Ended, Heard, Started
from transceiver.backend.interface import CallRequest
from transceiver.backend.realtime import (
    EVENTS,
    Dialect,
    KeyHeader,
    RealtimeAgent,
    RealtimeOptions,
    address,
    factory,
    read_key,
)

MODEL = "gpt-realtime"
FRAME = bytes(960)
SECRET = "sk-not-to-be-seen"  # noqa: S105 (a marker)


@contextlib.asynccontextmanager
async def conversation(server, session=None, **options):
    """An agent whose call is established, its line, and the server's end once it is there."""
    line = FakeLine(request=CallRequest(session or {}, MODEL))
    agent = factory(RealtimeOptions(server.url, **options))(line)
    agent.receive(Started())
    try:
        yield agent, line
    finally:
        agent.receive(Ended("over"))
        await until(
            lambda: not [task for task in asyncio.all_tasks() if task.get_name() == line.id]
        )
    assert line.failure is None


def kinds(line):
    return [event["type"] for event in line.sent]


async def opened(line):
    await until(lambda: "session.created" in kinds(line))


@pytest.mark.parametrize("dialect", Dialect)
def test_the_session_that_the_call_was_asked_for_with_is_the_one_the_client_sees(dialect):
    asked = {
        "type": "realtime",
        "model": MODEL,
        "instructions": "Be brief.",
        "audio": {
            "input": {"turn_detection": {"type": "server_vad", "threshold": 0.7}},
            "output": {"voice": "marin", "format": {"type": "audio/pcmu"}},
        },
    }

    async def story():
        async with (
            RealtimeServer(beta=dialect is Dialect.BETA) as server,
            conversation(server, asked, dialect=dialect) as (agent, line),
        ):
            assert agent.speaks_realtime
            assert agent.rate == 24000
            await opened(line)
            await asyncio.sleep(0.02)
            (talk,) = server.conversations
            assert talk.connection.request.path == f"/v1/realtime?model={MODEL}"
            assert kinds(line) == ["session.created"]
            session = line.sent[0]["session"]
            assert session["id"].startswith("sess_")
            assert session["instructions"] == "Be brief."
            assert session["audio"]["output"]["voice"] == "marin"
            assert session["audio"]["input"]["turn_detection"]["threshold"] == 0.7
            for way in ("input", "output"):
                assert session["audio"][way]["format"] == {"type": "audio/pcm", "rate": 24000}
            (update,) = talk.events("session.update")
            assert "model" not in update["session"]
            check(line.sent[0])

    run(story)


@pytest.mark.parametrize("dialect", Dialect)
def test_sound_goes_both_ways(dialect):
    async def story():
        async with (
            RealtimeServer(beta=dialect is Dialect.BETA) as server,
            conversation(server, dialect=dialect) as (agent, line),
        ):
            await opened(line)
            (talk,) = server.conversations
            pieces = [bytes([number, 0]) * 480 for number in range(10)]
            for piece in pieces:
                agent.hear(piece)
            await until(lambda: len(talk.heard) == 9600)
            assert bytes(talk.heard) == b"".join(pieces)
            await talk.say(tone(0.25), "la")
            await until(lambda: "response.done" in kinds(line))
            deltas = [e["delta"] for e in line.sent if e["type"] == "response.output_audio.delta"]
            assert b"".join(map(b64decode, deltas)) == tone(0.25)
            # It is the line that plays what is in events.
            assert line.said == b""
            for event in line.sent:
                check(event)

    run(story)


def test_events_of_the_client_keep_their_place_in_its_sound():
    async def story():
        async with RealtimeServer() as server, conversation(server) as (agent, line):
            agent.hear(FRAME)  # less than a batch, before anything is connected
            agent.receive(ClientEvent({"type": "input_audio_buffer.commit", "event_id": "c1"}))
            agent.receive(ClientEvent({"type": "response.create"}))
            await until(lambda: "response.done" in kinds(line))
            (talk,) = server.conversations
            assert [event["type"] for event in talk.received] == [
                "session.update",
                "input_audio_buffer.commit",
                "response.create",
            ]
            assert bytes(talk.heard) == FRAME
            assert kinds(line)[:2] == ["session.created", "input_audio_buffer.committed"]

    run(story)


def test_client_events_reach_a_server_of_the_beta_in_its_shapes():
    async def story():
        async with (
            RealtimeServer(beta=True) as server,
            conversation(server, dialect=Dialect.BETA) as (agent, line),
        ):
            session = {"type": "realtime", "audio": {"output": {"voice": "sage"}}}
            agent.receive(ClientEvent({"type": "session.update", "session": session}))
            response = {"output_modalities": ["text"], "max_output_tokens": 5}
            agent.receive(ClientEvent({"type": "response.create", "response": response}))
            await until(lambda: "response.done" in kinds(line))
            (talk,) = server.conversations
            assert talk.received[1]["session"] == {"voice": "sage"}
            assert talk.received[2]["response"] == {
                "modalities": ["text"],
                "max_response_output_tokens": 5,
            }
            assert kinds(line)[:2] == ["session.created", "session.updated"]
            assert line.sent[1]["session"]["audio"]["output"]["voice"] == "sage"

    run(story)


def test_a_session_that_the_server_refuses_is_told_and_the_call_goes_on():
    async def story():
        asked = {"type": "realtime", "audio": {"output": {"voice": "nobody"}}}
        async with RealtimeServer() as server, conversation(server, asked) as (_, line):
            await until(lambda: len(line.sent) == 2)
            assert kinds(line) == ["session.created", "error"]
            assert line.sent[0]["session"]["audio"]["output"]["voice"] == "alloy"
            assert line.sent[1]["error"]["param"] == "session.audio.output.voice"
            assert line.standing == []

    run(story)


def test_a_connection_that_breaks_begins_anew_with_the_session_as_the_client_left_it():
    async def story():
        asked = {"type": "realtime", "instructions": "Be brief."}
        async with RealtimeServer() as server, conversation(server, asked) as (agent, line):
            await opened(line)
            change = {"type": "realtime", "audio": {"output": {"voice": "cedar"}}}
            agent.receive(ClientEvent({"type": "session.update", "session": change}))
            await until(lambda: "session.updated" in kinds(line))
            server.conversations[0].drop()
            await until(lambda: line.standing)
            agent.receive(ClientEvent({"type": "response.create"}))
            agent.hear(FRAME * 2)
            await until(lambda: "response.done" in kinds(line))
            assert line.standing == ["lost: the connection broke", "restored"]
            _, talk = server.conversations
            assert talk.session["instructions"] == "Be brief."
            assert talk.session["audio"]["output"]["voice"] == "cedar"
            assert bytes(talk.heard) == FRAME * 2
            assert kinds(line).count("session.updated") == 1  # to the client's own update

    run(story)


def test_a_server_that_is_away_is_waited_for():
    async def story():
        server = RealtimeServer()
        await server.open()
        await server.close()
        async with conversation(server) as (agent, line):
            await until(lambda: line.standing)
            assert line.standing[0].startswith("lost: it cannot be reached")
            for _ in range(EVENTS):
                agent.receive(ClientEvent({"type": "input_audio_buffer.clear"}))
            assert line.sent == []
            agent.receive(ClientEvent({"type": "response.create", "event_id": "mine"}))
            (error,) = line.sent
            check(error)
            assert error["error"]["code"] == "backend_unavailable"
            assert error["error"]["event_id"] == "mine"
            await server.open()
            await until(lambda: line.standing[1:] == ["restored"])
            (talk,) = server.conversations
            await until(lambda: len(talk.events("input_audio_buffer.clear")) == EVENTS)
            assert talk.events("response.create") == []
        await server.close()

    run(story)


def test_a_server_that_does_not_read_is_given_up_when_too_much_waits():
    async def story():
        async with RealtimeServer() as server, conversation(server, queue=0.5) as (agent, line):
            await opened(line)
            (talk,) = server.conversations
            talk.stall()
            while "error" not in kinds(line):
                agent.hear(FRAME * 10)
                await asyncio.sleep(0)
            assert line.sent[-1]["error"]["code"] == "backend_slow"
            check(line.sent[-1])
            assert agent.uplink.outbox.lost > 0
            assert line.standing == []
            while len(server.conversations) == 1:
                agent.receive(ClientEvent({"type": "input_audio_buffer.clear"}))
                await asyncio.sleep(0)
            await until(lambda: line.standing[1:] == ["restored"])
            assert line.standing[0] == "lost: it does not keep up, and too much waits for it"
            refused = [event["error"]["code"] for event in line.sent if event["type"] == "error"]
            assert refused[1:] == ["backend_unavailable"] * agent.uplink.outbox.refused
            talk.wake()
            await until(lambda: talk.over)

    run(story)


def test_a_server_that_answers_no_ping_is_given_up():
    async def story():
        async with (
            RealtimeServer() as server,
            conversation(server, ping=0.1) as (_, line),
        ):
            await opened(line)
            server.conversations[0].stall()
            await until(lambda: len(server.conversations) == 2)
            assert line.standing[0].startswith("lost: ")
            server.conversations[0].wake()
            await until(lambda: server.conversations[0].over)

    run(story)


@pytest.mark.parametrize(
    ("options", "header"),
    [
        ({"key": SECRET}, "authorization"),
        ({"key": SECRET, "key_header": KeyHeader.API_KEY}, "api-key"),
    ],
)
def test_the_key_is_where_the_server_looks_for_it_and_nowhere_else(options, header, caplog):
    caplog.set_level(logging.DEBUG)

    async def story():
        async with (
            RealtimeServer(key=SECRET, header=header) as server,
            conversation(server, **options) as (agent, line),
        ):
            await opened(line)
            assert SECRET not in repr(agent)
            assert SECRET not in repr(agent.options)

    run(story)
    logged = [record for record in caplog.records if record.name != "websockets.server"]
    assert SECRET not in "".join(map(str, logged))


@pytest.mark.parametrize(("status", "key"), [(401, "wrong"), (503, None)])
def test_a_refusal_is_told_by_its_status(status, key):
    async def story():
        async with (
            RealtimeServer(key=SECRET, refusal=None if key else status) as server,
            conversation(server, key=key) as (_, line),
        ):
            await until(lambda: line.standing)
            assert line.standing == [f"lost: it answered {status}"]

    run(story)


@pytest.mark.parametrize(
    "messages",
    [
        ["{", "[]", "null", '"text"', "{}", '{"type":7}', '{"type":"a","b":NaN}', b"\x00"],
        ["[" * 100_000],
    ],
)
def test_what_is_no_event_is_counted_and_ignored(messages):
    async def story():
        done = asyncio.Event()

        async def rave(connection):
            for message in messages:
                await connection.send(message)
            await connection.send('{"type":"session.created","session":{}}')
            await connection.send('{"type":"session.updated","session":{}}')
            await done.wait()

        async with serve(rave, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            line = FakeLine()
            agent = RealtimeAgent(line, RealtimeOptions(f"ws://127.0.0.1:{port}"))
            agent.receive(Started())
            await until(lambda: line.sent)
            assert kinds(line) == ["session.created"]
            assert agent.unread == len(messages)
            agent.receive(Ended("over"))
            done.set()

    run(story)


def test_a_server_that_closes_with_a_reason_is_quoted_and_one_that_says_nothing_is_not():
    async def story():
        reasons = itertools.chain([(4000, "too old"), (1000, "")], itertools.repeat((1001, "")))

        async def close(connection):
            code, reason = next(reasons)
            await connection.recv()
            await connection.send(json.dumps({"type": "hello"}))
            await connection.close(code, reason)

        async with serve(close, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            line = FakeLine()
            agent = RealtimeAgent(line, RealtimeOptions(f"ws://127.0.0.1:{port}"))
            agent.receive(Started())
            await until(lambda: len(line.standing) >= 3)
            assert line.standing[:3] == [
                "lost: it closed the connection (4000, too old)",
                "restored",
                "lost: it closed the connection (1000)",
            ]
            agent.receive(Ended("over"))
            await asyncio.sleep(0.01)

    run(story)


def test_a_server_of_something_else_is_waited_for_like_any_other():
    async def story():
        async def greet(reader, writer):
            writer.write(b"220 mail.example ESMTP\r\n")
            writer.close()

        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        line = FakeLine()
        agent = RealtimeAgent(line, RealtimeOptions(f"ws://127.0.0.1:{port}"))
        agent.receive(Started())
        await until(lambda: line.standing)
        assert line.standing[0].startswith("lost: ")
        agent.receive(Ended("over"))
        await asyncio.sleep(0.01)
        server.close()

    run(story)


def test_the_end_of_the_call_closes_the_connection():
    async def story():
        async with RealtimeServer() as server, conversation(server) as (agent, line):
            await opened(line)
            agent.receive(Heard(1.0))
            agent.receive(Ended("over"))
            (talk,) = server.conversations
            await until(lambda: talk.over)
            assert talk.connection.close_code == 1000
            assert line.standing == []

    run(story)


def test_nobody_is_connected_to_before_the_call_is_established():
    async def story():
        async with RealtimeServer() as server:
            agent = RealtimeAgent(FakeLine(), RealtimeOptions(server.url))
            agent.receive(ClientEvent({"type": "response.create"}))
            await asyncio.sleep(0.05)
            agent.receive(Ended("over"))
            assert server.conversations == []

    run(story)


def test_a_conversation_with_a_server_that_listens():
    async def story():
        async with RealtimeServer(listens=True) as server, conversation(server) as (agent, line):
            await opened(line)
            for _ in range(25):
                agent.hear(tone(0.02))
            for _ in range(31):
                agent.hear(FRAME)
            await until(lambda: "response.output_audio.delta" in kinds(line))
            for _ in range(4):
                agent.hear(tone(0.02))
            await until(lambda: "response.done" in kinds(line))
            response = line.sent[-1]["response"]
            assert response["status"] == "cancelled"
            assert response["status_details"]["reason"] == "turn_detected"
            starts = [e for e in line.sent if e["type"] == "input_audio_buffer.speech_started"]
            assert [event["audio_start_ms"] for event in starts] == [0, 1120]

    run(story)


# Options


@pytest.mark.parametrize(
    ("url", "configured", "asked", "expected"),
    [
        ("wss://api.example/v1/realtime", None, "m 1", "wss://api.example/v1/realtime?model=m%201"),
        ("wss://api.example/v1/realtime", "mine", "m", "wss://api.example/v1/realtime?model=mine"),
        ("wss://api.example/v1/realtime", None, None, "wss://api.example/v1/realtime"),
        ("ws://a/r?x=1", None, "m", "ws://a/r?x=1&model=m"),
        ("ws://a/r?model=this", "mine", "m", "ws://a/r?model=this"),
        (
            "wss://a.example/openai/realtime?api-version=2024-10-01-preview&deployment=d",
            None,
            "m",
            "wss://a.example/openai/realtime?api-version=2024-10-01-preview&deployment=d",
        ),
    ],
)
def test_the_model_is_named_in_the_address(url, configured, asked, expected):
    assert address(RealtimeOptions(url, configured), asked) == expected


def structured(options):
    return load(RealtimeOptions, path=None, environ={}, prefix="", options=options)


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({}, "url"),
        ({"url": "https://api.example"}, "url"),
        ({"url": "wss://"}, "url"),
        ({"url": "wss://host:port"}, "url"),
        ({"url": "wss://user:password@host"}, "url"),
        ({"url": "wss://host/#part"}, "url"),
        ({"url": "wss://host/a b"}, "url"),
        ({"url": "wss://host/\u00e9"}, "url"),
        ({"url": "wss://host", "dialect": "old"}, "dialect"),
        ({"url": "wss://host", "batch": 0.2}, "batch"),
        ({"url": "wss://host", "queue": 0}, "queue"),
        ({"url": "wss://host", "timeout": 0}, "timeout"),
        ({"url": "wss://host", "ping": 100}, "ping"),
        ({"url": "wss://host", "secret": "x"}, "secret"),
    ],
)
def test_options_that_make_no_sense_are_named(options, key):
    with pytest.raises(ConfigError) as caught:
        structured(options)
    assert caught.value.key == key


def test_options_come_as_text():
    found = structured({"url": "wss://host", "dialect": "beta", "key_header": "api-key"})
    assert (found.dialect, found.key_header) == (Dialect.BETA, KeyHeader.API_KEY)


def test_the_key_comes_from_one_of_three_places(tmp_path, monkeypatch):
    file = tmp_path / "key"
    file.write_text(f"{SECRET}\n")
    monkeypatch.setenv("A_KEY", SECRET)
    monkeypatch.setenv("EMPTY", "")
    url = "wss://host"
    assert read_key(RealtimeOptions(url)) is None
    assert read_key(RealtimeOptions(url, key=SECRET)) == SECRET
    assert read_key(RealtimeOptions(url, key_file=file)) == SECRET
    assert read_key(RealtimeOptions(url, key_variable="A_KEY")) == SECRET
    for options in (
        {"key": "two\r\nlines"},
        {"key": ""},
        {"key_file": tmp_path / "none"},
        {"key_variable": "EMPTY"},
        {"key_variable": "NOT_THERE"},
    ):
        with pytest.raises(ConfigError) as caught:
            factory(RealtimeOptions(url, **options))
        assert caught.value.key == next(iter(options))
        assert SECRET not in str(caught.value)
