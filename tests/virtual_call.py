"""A call on a virtual clock, for backends: what they do with it is written down."""

import json
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any

from attrs import define, field

from transceiver.backend.interface import CallRequest


@define(eq=False)
class VirtualCall:
    """See ``interface.Call``. ``advance`` moves the clock and runs what is due."""

    codec: str = "PCMU"
    clock_rate: int = 8000
    request: CallRequest = field(factory=CallRequest)
    id: str = "rtc_virtual"
    time: float = 1000.0
    takes: Callable[[int, str | bytes], bool] = field(default=lambda channel, message: True)
    sent: list[tuple[float, bytes, int, bool]] = field(factory=list)
    messages: list[tuple[int, str | bytes]] = field(factory=list)
    closed: list[int] = field(factory=list)
    hung_up: bool = False
    _timers: list[list[Any]] = field(factory=list)
    _turn: Any = field(factory=count)

    def now(self) -> float:
        return self.time

    def call_at(self, when: float, callback: Callable[[], None]) -> Callable[[], None]:
        entry = [when, next(self._turn), callback]
        heappush(self._timers, entry)

        def cancel() -> None:
            entry[2] = None

        return cancel

    def send_audio(self, payload: bytes, timestamp: int, marker: bool = False) -> bool:
        self.sent.append((self.time, payload, timestamp, marker))
        return True

    def open_channel(self, label: str, *, protocol: str = "", ordered: bool = True) -> int | None:
        return None

    def send_message(self, channel: int, message: str | bytes) -> bool:
        if not self.takes(channel, message):
            return False
        self.messages.append((channel, message))
        return True

    def close_channel(self, channel: int) -> None:
        self.closed.append(channel)

    def buffered_amount(self, channel: int) -> int:
        return 0

    def hang_up(self) -> None:
        self.hung_up = True

    def advance(self, seconds: float) -> None:
        until = self.time + seconds
        while self._timers and self._timers[0][0] <= until:
            when, _, callback = heappop(self._timers)
            if callback is not None:
                self.time = max(self.time, when)
                callback()
        self.time = until

    @property
    def timers(self) -> int:
        """How many run."""
        return sum(entry[2] is not None for entry in self._timers)

    def events(self, channel: int | None = None) -> list[dict[str, Any]]:
        """The events sent, on that channel or on any."""
        return [
            json.loads(message)
            for number, message in self.messages
            if channel in (None, number) and isinstance(message, str)
        ]

    def kinds(self, channel: int | None = None) -> list[str]:
        return [event["type"] for event in self.events(channel)]
