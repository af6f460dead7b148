"""What the library is not trusted with: answers without an end, and options of each kind of URL."""

import asyncio
from types import SimpleNamespace

import pytest
from redis.exceptions import InvalidResponse, RedisClusterException, RedisError

from redis_server import RedisServer, cluster_of_one, sentinel_of
from stunroute.errors import DecodeError
from stunroute.store import client as module
from stunroute.store.client import LINES_AT_ONCE, STRING_LENGTH, BoundedParser, RedisClient
from stunroute.store.url import parse

LINES = 20 * LINES_AT_ONCE


def parser(data: bytes) -> BoundedParser:
    stream = asyncio.StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    made = BoundedParser(65_536)
    encoder = SimpleNamespace(decode=lambda value: value)
    made.on_connect(SimpleNamespace(_reader=stream, encoder=encoder))
    return made


@pytest.mark.parametrize("element", [b":1\r\n", b"$-1\r\n", b"$0\r\n\r\n", b"+\r\n", b"*0\r\n"])
def test_the_loop_turns_while_a_long_answer_is_read(element: bytes) -> None:
    async def story() -> None:
        turns = 0

        def turn() -> None:
            nonlocal turns
            turns += 1
            asyncio.get_running_loop().call_soon(turn)

        turn()
        answer = await parser(b"*%d\r\n" % LINES + element * LINES).read_response()
        assert len(answer) == LINES
        assert turns >= LINES / LINES_AT_ONCE

    asyncio.run(story())


def test_a_deadline_ends_an_answer_without_an_end() -> None:
    async def story() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await parser(b"*999999999\r\n" + b":1\r\n" * LINES).read_response()

    asyncio.run(story())


@pytest.mark.parametrize("length", [b"-2", b"%d" % (STRING_LENGTH + 1), b"9" * 40])
def test_no_string_of_any_length_is_waited_for(length: bytes) -> None:
    async def story() -> None:
        with pytest.raises(InvalidResponse):
            await parser(b"$" + length + b"\r\n").read_response()

    asyncio.run(story())


def test_every_kind_of_connection_has_the_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's constructors do not all pass the parser on."""

    async def refused(url: str) -> None:
        client = RedisClient(parse(url), lambda name: name)
        try:
            for call in (client.read([b"name"]), client.write({b"name": b"value"}, 1, 1000)):
                with pytest.raises((RedisError, RedisClusterException, DecodeError)):
                    await call
        finally:
            await client.aclose()

    async def story() -> None:
        with RedisServer(tcp=True) as server, sentinel_of(server, "calls") as sentinel:
            for url in (
                server.url,
                f"unix://{server.path}",
                f"redis+sentinel://127.0.0.1:{sentinel.port}/calls",
            ):
                with server.client() as direct:
                    direct.set("name", "a value")
                await refused(url)
        with cluster_of_one() as server:
            await refused(f"redis+cluster://127.0.0.1:{server.port}")

    monkeypatch.setattr(module, "STRING_LENGTH", -1)
    monkeypatch.setattr(module, "SCRIPT", "return 'a value'")
    asyncio.run(story())


@pytest.mark.parametrize(
    ("answer", "count"), [([], 1), ([b"x", b"y"], 1), (b"xy", 2), ([1], 1), (["x"], 1), (None, 1)]
)
def test_answers_of_another_shape_are_refused(answer: object, count: int) -> None:
    class Owner:
        async def execute_command(self, *arguments: object) -> object:
            return answer

    async def story() -> None:
        client = RedisClient(parse("redis://127.0.0.1"), lambda name: name)
        client._reads = client._writes = Owner()  # type: ignore[assignment]
        with pytest.raises(DecodeError):
            await client.read([b"name"] * count)
        with pytest.raises(DecodeError):
            await client.write({b"name": b"value"}, 1, 1000)

    asyncio.run(story())


@pytest.mark.parametrize("count", [-1, 2, "1", None, 1.0])
def test_counts_that_cannot_be_are_refused(count: object) -> None:
    class Owner:
        async def execute_command(self, *arguments: object) -> object:
            return count

    async def story() -> None:
        client = RedisClient(parse("redis://127.0.0.1"), lambda name: name)
        client._writes = Owner()  # type: ignore[assignment]
        with pytest.raises(DecodeError):
            await client.write({b"name": b"value"}, 1, 1000)

    asyncio.run(story())


def test_a_cluster_is_asked_group_by_group() -> None:
    asked: list[tuple[object, ...]] = []

    class Owner:
        async def execute_command(self, *arguments: object) -> object:
            asked.append(arguments)
            return list(arguments[1:]) if arguments[0] == "MGET" else 0

    async def story() -> None:
        client = RedisClient(parse("redis+cluster://127.0.0.1"), lambda name: name[:1])
        client._reads = client._writes = Owner()  # type: ignore[assignment]
        names = [b"b1", b"a1", b"b2", b"a2"]
        assert await client.read(names) == names
        assert asked == [("MGET", b"a1", b"a2"), ("MGET", b"b1", b"b2")]
        asked.clear()
        assert await client.write({name: name.upper() for name in names}, 7, 1000) == 0
        assert [arguments[2:] for arguments in asked] == [
            (2, b"a1", b"a2", 7, 1000, b"A1", b"A2"),
            (2, b"b1", b"b2", 7, 1000, b"B1", b"B2"),
        ]

    asyncio.run(story())
