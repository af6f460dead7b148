"""The channel between a supervisor and a worker: questions, answers, ends."""

import asyncio
import pickle
import socket
import struct
from collections.abc import Awaitable, Callable

import pytest

from stunroute.errors import ConfigError
from stunroute.udp import channel as module
from stunroute.udp.channel import OUTSTANDING, Channel, ChannelError

TIMEOUT = 20


class Ends:
    """Both ends in one loop. What is asked of ``far`` is answered by ``answer``."""

    def __init__(self, answer: Callable[[object], object] = lambda body: body) -> None:
        self.answer = answer
        self.heard: list[object] = []
        self.closed: list[str] = []
        self.near: Channel
        self.far: Channel

    async def open(self) -> None:
        one, other = socket.socketpair()
        self.near = await Channel.open(one, self.heard.append, lambda: self.closed.append("near"))
        self.far = await Channel.open(other, self._far, lambda: self.closed.append("far"))

    def _far(self, body: object) -> object:
        return self.answer(body)


def run(story: Callable[[Ends], Awaitable[None]], ends: Ends | None = None) -> Ends:
    made = ends or Ends()

    async def whole() -> None:
        await made.open()
        async with asyncio.timeout(TIMEOUT):
            await story(made)
        made.near.abort()
        made.far.abort()
        await asyncio.sleep(0)

    asyncio.run(whole())
    return made


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_answers_belong_to_their_questions() -> None:
    async def story(ends: Ends) -> None:
        bodies: list[object] = [None, 1, "text", bytes(300_000), ConfigError("a.b", "is wrong")]
        answers = await asyncio.gather(*map(ends.near.ask, bodies))
        assert answers[:-1] == bodies[:-1]
        assert str(answers[-1]) == "a.b: is wrong"

    run(story)


def test_both_ends_may_ask_and_tell() -> None:
    async def story(ends: Ends) -> None:
        ends.far.tell("news")
        assert await ends.far.ask("question") is None
        assert ends.heard == ["news", "question"]

    run(story)


def test_a_message_may_come_in_any_pieces() -> None:
    async def story(ends: Ends) -> None:
        whole = b"".join(
            struct.pack(">I", len(data)) + data
            for data in (pickle.dumps(message) for message in ("one", "two", "x" * 1000))
        )
        for at in range(len(whole)):
            ends.near.data_received(whole[at : at + 1])
        assert ends.heard == ["one", "two", "x" * 1000]
        ends.near.data_received(whole)
        assert len(ends.heard) == 6

    run(story)


@pytest.mark.parametrize("data", [struct.pack(">I", 1 << 31), struct.pack(">I", 3) + b"abc"])
def test_an_end_that_is_out_of_its_mind_is_left(data: bytes) -> None:
    async def story(ends: Ends) -> None:
        answer = ends.near.ask("anything")
        ends.near.data_received(data)
        with pytest.raises(ChannelError):
            await answer
        await until(lambda: ends.closed == ["near", "far"])

    assert run(story).heard == []


def test_the_end_of_one_is_seen_by_the_other() -> None:
    async def story(ends: Ends) -> None:
        ends.far.tell("last words")
        answer = ends.near.ask("too late")
        ends.far.abort()
        with pytest.raises(ChannelError):
            await answer
        await until(lambda: "near" in ends.closed)
        with pytest.raises(ChannelError):
            await ends.near.ask("much too late")
        ends.near.tell("to nobody")

    assert run(story).heard == ["last words"]


def test_last_words_are_heard_however_long_they_are() -> None:
    long = bytes(5_000_000)

    async def story(ends: Ends) -> None:
        ends.far.tell(long)
        await until(lambda: ends.heard == [long])
        assert ends.closed == []
        ends.near.abort()
        await until(lambda: "far" in ends.closed)

    run(story)


def test_questions_to_one_that_does_not_answer_are_bounded() -> None:
    async def story(ends: Ends) -> None:
        one, other = socket.socketpair()
        lone = await Channel.open(one, ends.heard.append, lambda: None)
        for _ in range(OUTSTANDING):
            # A cancelled question still waits in the other's buffer.
            lone.ask("hello").cancel()
        with pytest.raises(ChannelError, match="too many"):
            await lone.ask("hello")
        lone.abort()
        other.close()

    run(story)


def test_a_question_that_was_given_up_is_answered_in_vain() -> None:
    async def story(ends: Ends) -> None:
        ends.near.ask("first").cancel()
        assert await ends.near.ask("second") == "second"

    run(story)


def test_a_message_that_is_too_long_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST", 1000)

    async def story(ends: Ends) -> None:
        with pytest.raises(ChannelError, match="too long"):
            ends.near.tell(bytes(1001))
        with pytest.raises(ChannelError, match="too long"):
            await ends.near.ask(bytes(1001))
        assert await ends.near.ask("short") == "short"

    run(story)
