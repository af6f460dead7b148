"""Calls through a relay with a real Redis: what it gains, and what it may do without harm."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from peers import Downlink
from redis_server import KEY, Proxy, RedisServer
from stage import CALLS, Stage, opened


def settings(url: str) -> str:
    """The table of a store that is given up soon and tried again soon."""
    return f'[store]\nurl = "{url}"\nkey = "{KEY.hex()}"\n'


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as made:
        yield made


@pytest.fixture
def stages(tmp_path: Path) -> Iterator[Callable[[str], Stage]]:
    with ExitStack() as end:
        yield lambda url: end.enter_context(opened(tmp_path, extra=settings(url)))


@pytest.fixture
def stage(stages: Callable[[str], Stage], server: RedisServer) -> Stage:
    return stages(server.url)


def written(server: RedisServer) -> int:
    """Entries that the store has."""
    with server.client() as client:
        return int(client.dbsize())


class TestRecovered:
    """The hardest case: the client never checks again, and the node is silent."""

    def test_by_what_the_store_remembers(self, stage: Stage, server: RedisServer) -> None:
        calls = stage.calls(check_every=None, downlink=Downlink.SILENT)
        stage.until(lambda: written(server) >= CALLS, "the store knows all calls")
        stage.restart()
        stage.until_heard(calls)
        told = stage.relay.stop()
        assert (told["made"], told["restored"], told["healed"]) == (CALLS, CALLS, 0)

    def test_by_another_relay_of_the_fleet(
        self, stages: Callable[[str], Stage], server: RedisServer, tmp_path: Path
    ) -> None:
        """The network hands the clients' packets to a relay that has never seen them."""
        stage = stages(server.url)
        calls = stage.calls(check_every=None)
        stage.until(lambda: written(server) >= CALLS, "the store knows all calls")
        other = tmp_path / "other"
        other.mkdir()
        with opened(other, nodes=stage.relay.options.nodes, extra=settings(server.url)) as second:
            for call in calls:
                call.relay = second.relay.public
            stage.until_heard(calls, 20)
            assert {call.back for call in calls} == {second.relay.inner}
            assert second.relay.stop()["restored"] == CALLS

    def test_the_next_check_does_it_where_the_store_was_emptied(
        self, stage: Stage, server: RedisServer
    ) -> None:
        calls = stage.calls(downlink=Downlink.SILENT)
        stage.until(lambda: written(server) >= CALLS, "the store knows all calls")
        stage.relay.kill()
        server.kill()
        server.start()
        stage.relay.start()
        stage.until_heard(calls)
        assert stage.relay.stop()["restored"] == 0


def killed(server: RedisServer) -> None:
    server.kill()


def paused(server: RedisServer) -> None:
    server.pause()


def filled(server: RedisServer) -> None:
    server.fill()


def emptied(server: RedisServer) -> None:
    server.kill()
    server.start()


BREAKAGES = [killed, paused, filled, emptied]


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda breakage: breakage.__name__)
class TestBroken:
    def test_calls_lose_nothing_and_new_ones_come_up(
        self, stage: Stage, server: RedisServer, breakage: Callable[[RedisServer], None]
    ) -> None:
        calls = stage.calls()
        breakage(server)
        stage.until_heard(calls, 20)
        late = stage.calls()
        strangers = [stage.traffic.open("127.0.0.1", lambda *_: None) for _ in range(50)]
        for stranger in strangers:  # each makes the relay ask the store
            stranger.sendto(b"\x16" * 60, (stage.relay.public.ip, stage.relay.public.port))
        stage.until_heard([*calls, *late], 50)
        stage.assert_whole([*calls, *late])
        server.resume()

    def test_a_relay_that_is_killed_meanwhile_is_healed_by_the_calls(
        self, stage: Stage, server: RedisServer, breakage: Callable[[RedisServer], None]
    ) -> None:
        calls = stage.calls(check_every=None)
        stage.until(lambda: written(server) >= CALLS, "the store knows all calls")
        breakage(server)
        stage.restart()
        stage.until_heard(calls)
        server.resume()

    def test_it_is_used_again_once_it_is_back(
        self, stage: Stage, server: RedisServer, breakage: Callable[[RedisServer], None]
    ) -> None:
        calls = stage.calls()
        breakage(server)
        stage.until_heard(calls, 50)
        server.resume()
        if breakage is killed:
            server.start()
        if breakage is filled:
            server.empty()
        # What was written in the meantime may be lost; what is made now is not, once the breaker
        # has tried the server again.
        known: set[bytes] = set()

        def remembers_a_new_call() -> bool:
            with server.client() as client:
                known.update(client.keys())
            before = len(known)
            stage.calls(1)
            with server.client() as client:
                known.update(client.keys())
            return len(known) > before

        stage.until(remembers_a_new_call, "a new call is remembered")
        stage.assert_whole(calls)


@contextmanager
def garbling(server: RedisServer) -> Iterator[Proxy]:
    """A proxy that passes on for as long as its ``tamper`` does, in a thread of its own."""
    loop = asyncio.new_event_loop()
    ready, done = threading.Event(), asyncio.Event()
    proxy = Proxy(server)

    async def live() -> None:
        async with proxy:
            ready.set()
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(live(),), name="proxy")
    thread.start()
    try:
        assert ready.wait(20)
        yield proxy
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()
        loop.close()


async def random_octets(data: bytes) -> bytes | None:
    return os.urandom(len(data))


async def wrong_types(_: bytes) -> bytes | None:
    return b"*-1\r\n:7\r\n+OK\r\n$3\r\nabc\r\n"


async def an_endless_string(_: bytes) -> bytes | None:
    return b"$536870912\r\n" + b"x" * 60_000


async def hang_up(_: bytes) -> bytes | None:
    return None


GARBAGE = [random_octets, wrong_types, an_endless_string, hang_up]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: garbage.__name__)
def test_garbage_costs_no_packet_of_a_call(
    server: RedisServer,
    stages: Callable[[str], Stage],
    garbage: Callable[[bytes], object],
) -> None:
    with garbling(server) as proxy:
        stage = stages(proxy.url)
        calls = stage.calls()
        stage.until(lambda: written(server) >= CALLS, "the store is in use")
        proxy.tamper = garbage  # type: ignore[assignment]
        late = stage.calls()
        strangers = [stage.traffic.open("127.0.0.1", lambda *_: None) for _ in range(20)]
        for _ in range(5):
            for stranger in strangers:
                stranger.sendto(b"\x16" * 60, (stage.relay.public.ip, stage.relay.public.port))
            stage.until_heard([*calls, *late], 10)
        stage.assert_whole([*calls, *late])
        stage.restart()
        for call in (*calls, *late):
            call.talks = True
        stage.until_heard([*calls, *late])


def test_what_others_write_into_the_store_steers_nobody(stage: Stage, server: RedisServer) -> None:
    """Whoever may write to Redis and has no key: values of other entries, cut, changed, made up."""
    calls = stage.calls(check_every=None, downlink=Downlink.SILENT)
    stage.until(lambda: written(server) >= CALLS, "the store knows all calls")
    stage.relay.kill()
    with server.client() as client:
        names = sorted(client.keys())
        values = [client.get(name) for name in names]
        assert all(values)
        swapped = values[1:] + values[:1]
        damaged = [
            swapped[0],
            values[1][:-1],
            bytes([values[2][0] ^ 1]) + values[2][1:],
            os.urandom(len(values[3])),
        ]
        for name, value in zip(names, damaged, strict=False):
            client.set(name, value)
    stage.relay.start()
    sent = [len(call.uplink.sent) for call in calls]
    stage.until(
        lambda: all(
            len(call.uplink.sent) > count + 25 for call, count in zip(calls, sent, strict=True)
        ),
        "clients go on talking",
    )
    told = stage.relay.stop()
    assert (told["made"], told["restored"]) == (0, 0)
    assert stage.other.strange == []
