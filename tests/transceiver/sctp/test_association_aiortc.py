"""aiortc's SCTP at the other end of an association, beneath any data channel.

aiortc takes its time from the event loop, so these talk in real time; what is tested is what
arrives and never when.
"""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from aiortc import RTCSctpCapabilities, RTCSctpTransport

from aiortc_channels import Wire
from sctp_pair import make_association
from transceiver.sctp.events import Closed, Connected, Event, MessageReceived
from transceiver.sctp.states import State


class Talk:
    """``loss`` of all packets vanish, by a seeded chance."""

    def __init__(self, loss: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.ours = make_association("ours")
        self.events: list[Event] = []
        self.heard: list[tuple[int, int, bytes]] = []
        self.forwarded = 0
        self._chance, self._loss = Random(3), loss
        self._inbox: list[bytes] = []
        wire: Any = Wire("server", self._inbox.append)
        self.theirs = RTCSctpTransport(wire, 5000)
        self.theirs._receive = self._hear  # type: ignore[method-assign]
        self.task = self.loop.create_task(self._run())

    @property
    def now(self) -> float:
        return self.loop.time()

    @property
    def messages(self) -> list[bytes]:
        return [event.payload for event in self.events if isinstance(event, MessageReceived)]

    async def _hear(self, stream: int, ppid: int, data: bytes) -> None:
        self.heard.append((stream, ppid, data))

    def _lost(self) -> bool:
        return self._chance.random() < self._loss

    async def _run(self) -> None:
        while True:
            arrived, self._inbox[:] = list(self._inbox), []
            for data in arrived:
                if not self._lost():
                    self.ours.receive_packet(data, self.now)
            due = self.ours.next_timeout()
            if due is not None and due <= self.now:
                self.ours.handle_timeout(self.now)
            # Before anybody else runs: who sees a new state sees what was told of it, too.
            while (event := self.ours.next_event()) is not None:
                self.events.append(event)
            while (data := self.ours.next_transmit()) is not None:
                if not self._lost():
                    await self.theirs._handle_data(data)
            await asyncio.sleep(0.001)

    async def until(self, done: Callable[[], bool]) -> None:
        """The time limit of the test ends it where it never comes."""
        while not done():
            if self.task.done():
                self.task.result()
            await asyncio.sleep(0.005)


def talk(story: Callable[[Talk], Awaitable[None]], loss: float = 0.0) -> None:
    async def main() -> None:
        both = Talk(loss)
        try:
            async with asyncio.timeout(60):
                both.ours.connect(both.now)
                await both.theirs.start(RTCSctpCapabilities(262_144), 5000)
                await both.until(lambda: any(isinstance(e, Connected) for e in both.events))
                await both.until(lambda: both.theirs.state == "connected")
                await story(both)
        finally:
            both.task.cancel()
            await both.theirs.stop()

    asyncio.run(main())


SIZES = (1, 1163, 1164, 5_000, 70_000, 200_000)


def test_messages_both_ways() -> None:
    async def story(both: Talk) -> None:
        for size in SIZES:
            both.ours.send(1, 53, bytes(size), both.now)
            await both.theirs._send(2, 51, bytes(size))
        await both.until(lambda: len(both.heard) == len(SIZES) == len(both.messages))
        assert [(stream, ppid, len(data)) for stream, ppid, data in both.heard] == [
            (1, 53, size) for size in SIZES
        ]
        assert [len(message) for message in both.messages] == list(SIZES)

    talk(story)


def test_messages_before_there_is_a_peer() -> None:
    """DATA on a COOKIE ECHO, or right behind it, is understood."""

    async def main() -> None:
        both = Talk(0.0)
        try:
            async with asyncio.timeout(60):
                both.ours.send(1, 51, b"early", both.now)
                both.ours.connect(both.now)
                await both.theirs.start(RTCSctpCapabilities(262_144), 5000)
                await both.until(lambda: both.heard == [(1, 51, b"early")])
        finally:
            both.task.cancel()
            await both.theirs.stop()

    asyncio.run(main())


def test_messages_that_are_given_up() -> None:
    """By us and by aiortc, one packet in ten being lost: FORWARD-TSN is understood both ways."""

    async def story(both: Talk) -> None:
        count = 60
        for number in range(count):
            data = number.to_bytes(2, "big") * 400
            both.ours.send(1, 53, data, both.now, retransmissions=0)
            await both.theirs._send(2, 53, data, max_retransmits=0)
            await asyncio.sleep(0.002)
        both.ours.send(1, 53, b"last", both.now)
        await both.theirs._send(2, 53, b"last")
        await both.until(lambda: both.messages[-1:] == [b"last"])
        await both.until(lambda: bool(both.heard) and both.heard[-1][2] == b"last")
        for arrived in (both.messages, [data for _, _, data in both.heard]):
            numbers = [int.from_bytes(data[:2], "big") for data in arrived[:-1]]
            assert numbers == sorted(set(numbers))
            assert 0 < len(numbers) < count

    talk(story, loss=0.1)


def test_we_close() -> None:
    async def story(both: Talk) -> None:
        both.ours.send(1, 51, b"last words", both.now)
        both.ours.shutdown(both.now)
        await both.until(lambda: both.ours.state is State.CLOSED)
        assert both.heard == [(1, 51, b"last words")]
        assert both.events[-1] == Closed("closed", False)
        await both.until(lambda: both.theirs.state == "closed")

    talk(story)


def test_we_give_up() -> None:
    async def story(both: Talk) -> None:
        both.ours.abort(both.now, "enough")
        await both.until(lambda: both.theirs.state == "closed")

    talk(story)


def test_aiortc_gives_up() -> None:
    async def story(both: Talk) -> None:
        await both.theirs.stop()
        await both.until(lambda: both.ours.state is State.CLOSED)
        assert both.events[-1] == Closed("the peer gave up", True)

    talk(story)
