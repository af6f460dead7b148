"""The way to a backend elsewhere: how it is tried again, and what ends it. What it says to the
client is tested with the agents that use it."""

import asyncio

import pytest

from lines import FakeLine, run, until
from transceiver.backend.outbox import Note, Outbox, Sound
from transceiver.backend.uplink import STEADY, Backoff, Lost, Uplink, until_first


def test_each_wait_is_twice_as_long_up_to_the_longest():
    backoff = Backoff(0.2, 10.0)
    waits = [backoff.after(0.0, 0.0) for _ in range(9)]
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0]
    assert backoff.after(STEADY, 1.0) == 5.0
    assert backoff.after(STEADY + 1, 0.5) == pytest.approx(0.15)
    assert backoff.after(0.0, 0.0) == 0.4


def linked(converse):
    """An uplink that holds its connections by ``converse(uplink)``, and hardly waits."""
    link = Uplink(FakeLine(), Outbox(100, 2, 100), lambda: converse(link), Backoff(0.001, 0.002))
    return link


def test_what_waits_is_handed_out_in_order_and_none_is_the_end():
    async def story():
        seen = []

        async def converse(link):
            link.up()
            while (entry := await link.next()) is not None:
                seen.append(entry)
            seen.append(None)

        link = linked(converse)
        link.hear(b"ab")
        link.put("one", 3)
        link.begin()
        link.begin()  # once is enough
        await until(lambda: len(seen) == 2)
        link.hear(b"cd")
        await until(lambda: len(seen) == 3)
        link.end()
        await until(lambda: len(asyncio.all_tasks()) == 1)
        assert seen == [Sound(b"ab"), Note("one", 3), Sound(b"cd"), None]
        assert link.line.standing == []
        link.hear(b"ef")
        assert link.put("two", 3)  # taken, and of no more concern
        link.begin()
        assert len(asyncio.all_tasks()) == 1

    run(story)


def test_the_client_is_told_once_however_often_it_fails():
    async def story():
        tries = []

        async def converse(link):
            tries.append(None)
            if len(tries) < 5:
                raise Lost(f"try {len(tries)}")
            link.up()
            await link.next()

        link = linked(converse)
        link.begin()
        await until(lambda: len(link.line.standing) == 2)
        assert link.line.standing == ["lost: try 1", "restored"]
        link.end()
        await until(lambda: len(asyncio.all_tasks()) == 1)

    run(story)


def test_a_connection_that_just_ends_was_closed():
    async def story():
        async def converse(link):
            link.up()

        link = linked(converse)
        link.begin()
        await until(lambda: link.line.standing)
        assert link.line.standing[0] == "lost: the connection was closed"
        link.end()
        await until(lambda: len(asyncio.all_tasks()) == 1)

    run(story)


@pytest.mark.parametrize("connected", [False, True])
def test_what_hangs_is_cancelled_at_the_end(connected, monkeypatch):
    monkeypatch.setattr("transceiver.backend.uplink.GRACE", 0.01)

    async def story():
        began = asyncio.Event()

        async def converse(link):
            if connected:
                link.up()
            began.set()
            await asyncio.Event().wait()

        link = linked(converse)
        link.begin()
        await began.wait()
        link.end()
        await until(lambda: len(asyncio.all_tasks()) == 1)
        assert (link.line.standing, link.line.failure) == ([], None)

    run(story)


def test_events_may_fill_up_while_nobody_is_there_and_end_a_connection_that_takes_none():
    async def story():
        gates = [asyncio.Event(), asyncio.Event()]
        taken = []

        async def converse(link):
            await gates[0].wait()
            link.up()
            await gates[1].wait()
            while (entry := await link.next()) is not None:
                taken.append(entry.body)

        link = linked(converse)
        link.begin()
        assert [link.put(number, 1) for number in range(3)] == [True, True, False]
        await asyncio.sleep(0.01)
        assert link.line.standing == []
        gates[0].set()
        await until(lambda: link.connected)
        assert not link.put(4, 1)
        await until(lambda: link.line.standing)
        assert link.line.standing[0] == "lost: it does not keep up, and too much waits for it"
        gates[1].set()
        await until(lambda: taken == [0, 1])
        link.end()
        await until(lambda: len(asyncio.all_tasks()) == 1)

    run(story)


def test_a_mistake_of_ours_ends_the_call_and_no_other():
    async def story():
        async def converse(link):
            raise ZeroDivisionError

        link = linked(converse)
        link.begin()
        await until(lambda: link.line.failure)
        assert isinstance(link.line.failure, ZeroDivisionError)
        link.end()

    run(story)


def test_the_first_of_several_that_is_done_ends_the_others():
    async def story():
        ended = []

        async def hang():
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("hang")

        async def fail():
            await asyncio.sleep(0)
            raise Lost("enough")

        with pytest.raises(Lost, match="enough"):
            await until_first(hang(), fail())
        assert ended == ["hang"]
        outer = asyncio.create_task(until_first(hang(), hang()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        outer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outer
        assert len(ended) == 3

    run(story)
