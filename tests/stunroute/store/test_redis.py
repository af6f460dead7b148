"""The store by itself, over a library that the test plays: what is gathered, bounded, repeated and
given up. What a real server does is in test_redis_server.py."""

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from redis_server import KEY, wait_until
from stunroute.address import Address
from stunroute.errors import ConfigError, DecodeError
from stunroute.instant import Instant
from stunroute.settings import StoreSettings
from stunroute.store import NoStore
from stunroute.store import redis as module
from stunroute.store.entry import SECOND, Entry, EntryCodec
from stunroute.store.redis import RedisStore, check_store, make_store

CLIENTS = [Address.of("192.0.2.1", 5000 + index) for index in range(1000)]
CLIENT, OTHER, THIRD = CLIENTS[:3]
A, B = Address.of("10.0.0.1", 4000), Address.of("10.0.0.2", 4000)
CODEC = EntryCodec(KEY, "stunroute:", 120 * SECOND)
URL = "redis://127.0.0.1"
QUICK: dict[str, Any] = {"write_interval": 0.001, "pause": 0.01, "longest_pause": 0.02}


class Played:
    """A library. ``problem`` is raised instead of answering, and hung on if it is an event."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes | None] = {}
        self.reads: list[list[bytes]] = []
        self.writes: list[dict[bytes, bytes]] = []
        self.problem: Exception | asyncio.Event | None = None
        self.closed = False

    async def _answer(self) -> None:
        problem = self.problem
        await asyncio.sleep(0)
        match problem:
            case asyncio.Event():
                await problem.wait()
            case Exception():
                raise problem

    async def read(self, names: Sequence[bytes]) -> list[bytes | None]:
        self.reads.append(list(names))
        await self._answer()
        return [self.values.get(name) for name in names]

    async def write(self, values: dict[bytes, bytes], latest: int, ttl: int) -> int:
        self.writes.append(values)
        await self._answer()
        self.values.update(values)
        return 0

    async def aclose(self) -> None:
        self.closed = True

    def entry(self, client: Address, now: float) -> Entry:
        value = self.values[CODEC.name(client)]
        assert value is not None
        return CODEC.decode_untrusted(client, value, round(now * SECOND))


class Wall:
    """A wall clock that the test sets."""

    def __init__(self) -> None:
        self.offset = 1_790_000_000.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.offset


Story = Callable[[RedisStore, Played, Wall], Awaitable[None]]


def run(story: Story, **settings: Any) -> None:
    async def main() -> None:
        client, wall = Played(), Wall()
        store = RedisStore(StoreSettings(URL, KEY, **(QUICK | settings)), client, wall=wall)
        await wait_until(lambda: client.reads)  # that which connects
        client.reads.clear()
        try:
            await story(store, client, wall)
        finally:
            await store.aclose()
        assert client.closed

    asyncio.run(main())


def now() -> Instant:
    return asyncio.get_running_loop().time()


class Asked:
    """Look-ups and their answers."""

    def __init__(self, store: RedisStore) -> None:
        self.store = store
        self.answers: dict[Address, tuple[Address | None, Instant | None]] = {}

    def ask(self, *clients: Address) -> None:
        for client in clients:
            self.store.lookup(client, self._take)

    def _take(self, client: Address, next_hop: Address | None, made: Instant | None = None) -> None:
        assert client not in self.answers
        self.answers[client] = next_hop, made

    async def all(self, *clients: Address) -> list[Address | None]:
        self.ask(*clients)
        await wait_until(lambda: len(self.answers) == len(clients))
        return [self.answers[client][0] for client in clients]


# --- changes ----------------------------------------------------------------------------------


def test_changes_are_gathered_and_the_last_one_of_a_client_is_written() -> None:
    async def story(store: RedisStore, client: Played, wall: Wall) -> None:
        made = now()
        store.record(CLIENT, A, made)
        store.record(OTHER, A, made)
        store.record(CLIENT, B, made + 1)
        store.forget(OTHER, A, made)
        assert store.status().waiting == 2
        assert client.writes == []
        await wait_until(lambda: store.status().written == 2)
        assert len(client.writes) == 1
        found = client.entry(CLIENT, wall() + 1)
        assert (found.next_hop, found.released) == (B, False)
        found = client.entry(OTHER, wall())
        assert (found.next_hop, found.released) == (A, True)
        assert store.status().waiting == 0

    run(story)


def test_of_two_changes_the_later_flow_is_right_not_the_later_call() -> None:
    async def story(store: RedisStore, client: Played, wall: Wall) -> None:
        made = now()
        store.record(CLIENT, B, made)
        store.record(CLIENT, A, made - 1)
        store.forget(OTHER, A, made)
        store.record(OTHER, A, made)
        store.forget(THIRD, A, made - 1)
        store.record(THIRD, B, made)
        await wait_until(lambda: store.status().written == 3)
        assert client.entry(CLIENT, wall()).next_hop == B
        assert client.entry(OTHER, wall()).released
        assert client.entry(THIRD, wall()).next_hop == B

    run(story)


def test_batches_are_as_large_as_allowed() -> None:
    async def story(store: RedisStore, client: Played, wall: Wall) -> None:
        for each in CLIENTS[:25]:
            store.record(each, A, now())
        await wait_until(lambda: store.status().written == 25)
        assert [len(batch) for batch in client.writes] == [10, 10, 5]

    run(story, batch=10)


def test_the_loop_turns_between_two_batches() -> None:
    async def story(store: RedisStore, client: Played, wall: Wall) -> None:
        turns = 0

        def turn() -> None:
            nonlocal turns
            turns += 1
            if len(client.writes) < 20:
                asyncio.get_running_loop().call_soon(turn)

        for each in CLIENTS[:20]:
            store.record(each, A, now())
        turn()
        await wait_until(lambda: store.status().written == 20)
        assert turns > 20

    run(story, batch=1)


def test_what_waits_is_bounded_and_the_oldest_is_lost() -> None:
    async def story(store: RedisStore, client: Played, wall: Wall) -> None:
        for each in CLIENTS[:5]:
            store.record(each, A, now())
        store.record(CLIENTS[2], B, now())
        assert (store.status().waiting, store.status().lost) == (3, 2)
        await wait_until(lambda: store.status().written == 3)
        assert list(client.writes[0]) == [CODEC.name(each) for each in CLIENTS[2:5]]

    run(story, changes=3)


def test_what_could_not_be_written_is_written_later_and_first() -> None:
    async def story(store: RedisStore, client: Played, wall: Wall) -> None:
        client.problem = ConnectionError("gone")
        for each in CLIENTS[:4]:
            store.record(each, A, now())
        await wait_until(lambda: store.status().state == "open")
        store.record(CLIENTS[1], B, now() + 1)  # newer than what failed
        store.record(CLIENTS[4], A, now())
        client.problem = None
        client.writes.clear()
        await wait_until(lambda: store.status().written == 5)
        assert list(client.writes[0]) == [CODEC.name(each) for each in CLIENTS[:2]]
        assert client.entry(CLIENTS[1], wall() + 1).next_hop == B
        status = store.status()
        assert (status.state, status.lost, status.waiting) == ("closed", 0, 0)
        assert status.errors >= 3
        assert status.last_error == "ConnectionError"

    run(story, batch=2)


def test_a_batch_that_comes_back_to_a_full_queue_is_lost() -> None:
    async def story(store: RedisStore, client: Played, wall: Wall) -> None:
        client.problem = asyncio.Event()
        store.record(CLIENT, A, now())
        store.record(OTHER, A, now())
        await wait_until(lambda: client.writes)
        store.record(OTHER, B, now())
        store.record(THIRD, A, now())
        client.problem = None
        await wait_until(lambda: store.status().written == 2)
        assert (store.status().timeouts, store.status().lost) == (1, 1)
        assert client.entry(OTHER, wall()).next_hop == B
        assert CODEC.name(CLIENT) not in client.values

    run(story, changes=2, write_timeout=0.05)


def test_an_open_breaker_is_not_asked_until_its_pause_is_over() -> None:
    async def story(store: RedisStore, client: Played, wall: Wall) -> None:
        client.problem = DecodeError("nonsense")
        store.record(CLIENT, A, now())
        await wait_until(lambda: store.status().state == "open")
        tried = len(client.writes)
        store.record(OTHER, A, now())
        await asyncio.sleep(0.1)
        assert len(client.writes) == tried
        assert store.status().waiting == 2

    run(story, pause=60.0, longest_pause=60.0)


# --- look-ups ---------------------------------------------------------------------------------


def test_lookups_of_one_turn_are_asked_together() -> None:
    async def story(store: RedisStore, client: Played, wall: Wall) -> None:
        made = round(wall() * SECOND) - 5 * SECOND
        client.values[CODEC.name(OTHER)] = CODEC.encode(OTHER, Entry(made, B), made)
        asked = Asked(store)
        assert await asked.all(CLIENT, OTHER) == [None, B]
        assert client.reads == [[CODEC.name(CLIENT), CODEC.name(OTHER)]]
        when = asked.answers[OTHER][1]
        assert when is not None
        assert when + wall.offset == pytest.approx(made / SECOND, abs=1e-3)
        status = store.status()
        assert (status.lookups, status.hits, status.misses, status.refused) == (2, 1, 1, 0)

    run(story)


def test_a_stamp_comes_back_as_the_same_microsecond() -> None:
    """Else each relay that repeats it would seem to know something newer."""

    async def story(store: RedisStore, client: Played, wall: Wall) -> None:
        made = round(wall() * SECOND) - 7
        client.values[CODEC.name(CLIENT)] = CODEC.encode(CLIENT, Entry(made, A), made)
        asked = Asked(store)
        assert await asked.all(CLIENT) == [A]
        when = asked.answers[CLIENT][1]
        assert when is not None
        store.record(CLIENT, A, when)
        await wait_until(lambda: store.status().written == 1)
        assert client.entry(CLIENT, wall()).made == made

    run(story)


def test_a_released_flow_is_no_answer_and_a_forged_one_neither() -> None:
    async def story(store: RedisStore, client: Played, wall: Wall) -> None:
        made = round(wall() * SECOND)
        released = CODEC.encode(CLIENT, Entry(made, A, True), made)
        client.values[CODEC.name(CLIENT)] = released
        client.values[CODEC.name(OTHER)] = released
        assert await Asked(store).all(CLIENT, OTHER) == [None, None]
        status = store.status()
        assert (status.hits, status.misses, status.refused) == (0, 2, 1)

    run(story)


def test_more_lookups_than_allowed_are_answered_at_once() -> None:
    async def story(store: RedisStore, client: Played, wall: Wall) -> None:
        asked = Asked(store)
        asked.ask(*CLIENTS[:5])
        assert list(asked.answers) == CLIENTS[3:5]
        assert store.status().unasked == 2
        await wait_until(lambda: len(asked.answers) == 5)
        assert len(client.reads) == 2
        again = Asked(store)
        again.ask(*CLIENTS[5:8])
        assert again.answers == {}
        await wait_until(lambda: len(again.answers) == 3)

    run(story, lookups=3, batch=2)


def test_lookups_gather_behind_reads_that_are_under_way() -> None:
    async def story(store: RedisStore, client: Played, wall: Wall) -> None:
        gate = client.problem = asyncio.Event()
        asked = Asked(store)
        for each in CLIENTS[: module.READS]:
            asked.ask(each)
            await asyncio.sleep(0.002)
        await wait_until(lambda: len(client.reads) == module.READS)
        late = CLIENTS[module.READS : module.READS + 5]
        for each in late:
            asked.ask(each)
            await asyncio.sleep(0.002)
        assert len(client.reads) == module.READS
        gate.set()
        await wait_until(lambda: len(asked.answers) == module.READS + 5)
        assert client.reads[module.READS :] == [[CODEC.name(each) for each in late]]

    run(story, lookup_timeout=10.0)


def test_waiting_for_other_reads_counts_as_waiting() -> None:
    async def story(store: RedisStore, client: Played, wall: Wall) -> None:
        client.problem = asyncio.Event()
        asked = Asked(store)
        for each in CLIENTS[: module.READS + 2]:
            asked.ask(each)
            await asyncio.sleep(0.002)
        await wait_until(lambda: len(asked.answers) == module.READS + 2)
        assert set(asked.answers.values()) == {(None, None)}

    run(story, lookup_timeout=0.05, failures=1000)


def test_an_answer_that_its_receiver_chokes_on_stops_nothing() -> None:
    async def story(store: RedisStore, client: Played, wall: Wall) -> None:
        def choke(_: Address, next_hop: Address | None, made: Instant | None = None) -> None:
            raise ArithmeticError

        complaints: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: complaints.append(context["exception"]))
        store.lookup(CLIENT, choke)
        assert await Asked(store).all(OTHER) == [None]
        store.lookup(CLIENT, choke)
        await wait_until(lambda: len(client.reads) == 2)
        assert await Asked(store).all(OTHER) == [None]
        gc.collect()
        await wait_until(lambda: complaints)
        assert all(isinstance(each, ArithmeticError) for each in complaints)

    run(story, batch=1)


def test_a_lookup_waits_no_longer_than_allowed() -> None:
    async def story(store: RedisStore, client: Played, wall: Wall) -> None:
        client.problem = asyncio.Event()
        assert await Asked(store).all(CLIENT, OTHER) == [None, None]
        status = store.status()
        assert (status.timeouts, status.errors, status.last_error) == (1, 0, "TimeoutError")

    run(story, lookup_timeout=0.01)


def test_while_reading_fails_nobody_waits_and_it_comes_back_by_itself() -> None:
    async def story(store: RedisStore, client: Played, wall: Wall) -> None:
        client.problem = ConnectionError("gone")
        while store.status().state == "closed":
            await Asked(store).all(CLIENT)
        asked = Asked(store)
        asked.ask(CLIENT)
        assert asked.answers == {CLIENT: (None, None)}
        assert store.status().unasked == 1
        tried = len(client.reads)
        await wait_until(lambda: len(client.reads) > tried + 2)  # by itself
        assert CODEC.name(CLIENT) not in client.reads[-1]
        client.problem = None
        await wait_until(lambda: store.status().state == "closed")
        made = round(wall() * SECOND)
        client.values[CODEC.name(CLIENT)] = CODEC.encode(CLIENT, Entry(made, A), made)
        assert await Asked(store).all(CLIENT) == [A]

    run(story, failures=2)


def test_one_failure_is_followed_up_though_nobody_asks_again() -> None:
    async def story(store: RedisStore, client: Played, wall: Wall) -> None:
        client.problem = ConnectionError("gone")
        assert await Asked(store).all(CLIENT) == [None]
        assert store.status().state == "closed"
        await wait_until(lambda: store.status().state == "open")
        client.problem = None
        await wait_until(lambda: store.status().state == "closed")
        tried = len(client.reads)
        await asyncio.sleep(0.1)
        assert len(client.reads) == tried  # all is well, and no more of it

    run(story)


def test_a_breaker_that_opens_between_lookup_and_asking_answers_too() -> None:
    async def story(store: RedisStore, client: Played, wall: Wall) -> None:
        client.problem = ConnectionError("gone")
        first, second = Asked(store), Asked(store)
        first.ask(CLIENT)
        await asyncio.sleep(0)  # it is asked
        while not first.answers:
            second.answers.clear()
            second.ask(OTHER)
            await asyncio.sleep(0)
        await wait_until(lambda: second.answers)
        assert second.answers == {OTHER: (None, None)}

    run(story, failures=1, pause=60.0, longest_pause=60.0)


def test_failing_writes_do_not_keep_from_reading() -> None:
    """A full server still answers."""

    async def story(store: RedisStore, client: Played, wall: Wall) -> None:
        made = round(wall() * SECOND)
        client.values[CODEC.name(CLIENT)] = CODEC.encode(CLIENT, Entry(made, A), made)
        client.problem = ConnectionError("full")
        store.record(OTHER, A, now())
        await wait_until(lambda: store.status().state == "open")
        client.problem = None
        assert await Asked(store).all(CLIENT) == [A]

    run(story, pause=60.0, longest_pause=60.0)


# --- clocks -----------------------------------------------------------------------------------


def test_a_clock_that_creeps_changes_no_stamp_and_one_that_is_set_does() -> None:
    async def story(store: RedisStore, client: Played, wall: Wall) -> None:
        made = now()
        stamps = []
        for step in (0.0, 0.4, 100.0):
            wall.offset += step
            await Asked(store).all(CLIENT)  # which reads the clock
            client.values.clear()
            store.record(CLIENT, A, made)
            await wait_until(lambda: client.values)
            stamps.append(client.entry(CLIENT, wall()).made)
        assert stamps[0] == stamps[1]
        assert stamps[2] - stamps[1] == pytest.approx(100.4 * SECOND, abs=SECOND / 10)

    run(story)


# --- the end ----------------------------------------------------------------------------------


def test_a_graceful_stop_writes_what_waits() -> None:
    async def story(store: RedisStore, client: Played, wall: Wall) -> None:
        for each in CLIENTS[:25]:
            store.record(each, A, now())
        await store.aclose()
        assert sum(map(len, client.writes)) == 25
        assert (store.status().lost, client.closed) == (0, True)
        await store.aclose()

    run(story, write_interval=10.0, batch=10)


@pytest.mark.parametrize("batches", [1, 3])
def test_a_graceful_stop_waits_no_longer_than_a_second_or_so(
    monkeypatch: pytest.MonkeyPatch, batches: int
) -> None:
    monkeypatch.setattr(module, "CLOSING_TIME", 0.05)

    async def story(store: RedisStore, client: Played, wall: Wall) -> None:
        client.problem = asyncio.Event()
        for each in CLIENTS[:batches]:
            store.record(each, A, now())
        if batches > 1:
            await wait_until(lambda: client.writes)  # one is under way
        await store.aclose()
        status = store.status()
        assert (status.written, status.lost, status.waiting) == (0, batches, 0)

    run(story, batch=1, write_timeout=60.0)


def test_a_graceful_stop_does_not_try_a_store_that_fails() -> None:
    async def story(store: RedisStore, client: Played, wall: Wall) -> None:
        client.problem = ConnectionError("gone")
        store.record(CLIENT, A, now())
        await wait_until(lambda: store.status().state == "open")
        tried = len(client.writes)
        await store.aclose()
        assert len(client.writes) == tried
        assert store.status().lost == 1

    run(story, pause=60.0, longest_pause=60.0)


def test_after_close_nothing_happens_any_more() -> None:
    async def story(store: RedisStore, client: Played, wall: Wall) -> None:
        client.problem = asyncio.Event()
        asked = Asked(store)
        asked.ask(CLIENT)
        store.record(CLIENT, A, now())
        await wait_until(lambda: client.writes and client.reads)
        asked.ask(OTHER)  # gathered, not asked yet
        store.record(OTHER, A, now())
        store.close()
        store.close()
        asked.ask(THIRD)
        store.record(THIRD, A, now())
        store.forget(THIRD, A, now())
        await wait_until(lambda: client.closed)
        assert asked.answers == {}
        assert len(client.writes) == len(client.reads) == 1
        await wait_until(lambda: store.status().lost == 2)

    run(story)


def test_a_library_that_cannot_close_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stubborn(Played):
        async def aclose(self) -> None:
            self.closed = True
            raise OSError("no")

    monkeypatch.setitem(globals(), "Played", Stubborn)

    async def story(store: RedisStore, client: Played, wall: Wall) -> None:
        await store.aclose()

    run(story)


# --- making one -------------------------------------------------------------------------------


def test_no_settings_make_no_store() -> None:
    check_store(None)
    assert isinstance(make_store(None), NoStore)


def test_settings_that_make_no_sense_are_refused() -> None:
    for make in (make_store, check_store):
        with pytest.raises(ConfigError, match=r"store\.url"):
            make(StoreSettings("http://user:hunter2@cache", KEY))


def test_without_the_library_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "stunroute.store.client", None)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    for make in (make_store, check_store):
        with pytest.raises(ConfigError, match=r"stunroute\[store\]"):
            make(StoreSettings(URL, KEY))
