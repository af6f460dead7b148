"""A line that is not connected to a call: what an agent does with it is written down.

It keeps the sound that is played as one utterance after the other and never sends any of it by
itself; ``pass_time`` says how much of it has been heard. ``clock`` is the loop's where one runs,
or a number that the test moves.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from attrs import define, field

from transceiver.backend.agent import JsonObject
from transceiver.backend.interface import CallRequest

TIMEOUT = 20.0
"""Seconds after which a test's story has failed. Not a measure of anything."""


async def until(condition: Callable[[], object]) -> None:
    """Wait for ``condition``, for as long as the caller's own timeout allows."""
    while not condition():
        await asyncio.sleep(0.002)


def run(story: Callable[[], Any]) -> None:
    """Run a story of coroutines to its end."""

    async def whole() -> None:
        async with asyncio.timeout(TIMEOUT):
            await story()

    asyncio.run(whole())


@define(slots=True, eq=False)
class FakeLine:
    """See ``agent.Line``. What raises through ``call_at`` is kept in ``failure``, as a call would
    end with it."""

    id: str = "rtc_line"
    request: CallRequest = field(factory=CallRequest)
    session: JsonObject = field(factory=dict)
    clock: Callable[[], float] | None = None
    rate: int = 24000
    said: bytearray = field(init=False, factory=bytearray)
    """All sound that was played."""
    waiting_bytes: int = field(init=False, default=0)
    played_bytes: int = field(init=False, default=0)
    lost: float = field(init=False, default=0.0)
    finished: int = field(init=False, default=0)
    flushes: list[float] = field(init=False, factory=list)
    """What each flush said had been played."""
    sent: list[dict[str, Any]] = field(init=False, factory=list)
    words: list[str] = field(init=False, factory=list)
    packets: list[tuple[bytes, int, bool]] = field(init=False, factory=list)
    messages: list[tuple[int, str | bytes]] = field(init=False, factory=list)
    standing: list[str] = field(init=False, factory=list)
    """``lost: detail`` and ``restored``, in order."""
    hung_up: bool = field(init=False, default=False)
    failure: BaseException | None = field(init=False, default=None)

    def now(self) -> float:
        return self.clock() if self.clock is not None else asyncio.get_running_loop().time()

    def call_at(self, when: float, callback: Callable[[], None]) -> Callable[[], None]:
        def guarded() -> None:
            try:
                callback()
            except Exception as failure:
                self.failure = failure

        loop = asyncio.get_running_loop()
        return loop.call_later(max(0.0, when - self.now()), guarded).cancel

    def play(self, pcm: bytes) -> None:
        self.said += pcm
        self.waiting_bytes += len(pcm)

    def pass_time(self, seconds: float) -> float:
        """So much of what waits is heard; what there was of it."""
        step = min(self.waiting_bytes, 2 * int(seconds * self.rate))
        self.waiting_bytes -= step
        self.played_bytes += step
        return step / 2 / self.rate

    def finish(self) -> None:
        self.finished += 1

    def flush(self) -> float:
        played = self.played
        self.flushes.append(played)
        self.waiting_bytes = self.played_bytes = 0
        return played

    @property
    def played(self) -> float:
        return self.played_bytes / 2 / self.rate

    @property
    def waiting(self) -> float:
        return self.waiting_bytes / 2 / self.rate

    def send(self, event: JsonObject) -> None:
        self.sent.append(dict(event))

    def say_text(self, text: str) -> None:
        self.words.append(text)

    def send_audio(self, payload: bytes, timestamp: int, marker: bool = False) -> bool:
        self.packets.append((payload, timestamp, marker))
        return True

    def send_message(self, channel: int, message: str | bytes) -> bool:
        self.messages.append((channel, message))
        return True

    def buffered_amount(self, channel: int) -> int:
        return 0

    def backend_lost(self, detail: str) -> None:
        self.standing.append(f"lost: {detail}")

    def backend_restored(self) -> None:
        self.standing.append("restored")

    def hang_up(self) -> None:
        self.hung_up = True
