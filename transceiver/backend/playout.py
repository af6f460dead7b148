"""Frames that are to be heard later, in the order in which they are to be heard.

A receiver takes a timestamp that runs backwards for a loss or a new stream, and makes it audible.
So what leaves here only ever goes forward, whatever order it was put in. It is a small core of its
own with the call as its clock: the queue is data, and there is at most one timer, for its head.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from attrs import define, field, frozen

from stunroute.instant import Instant


class Outlet(Protocol):
    """Where packets leave, and the clock they leave by: what a ``Call`` and a ``Line`` share."""

    def now(self) -> Instant: ...
    def call_at(self, when: Instant, callback: Callable[[], None]) -> Callable[[], None]: ...
    def send_audio(self, payload: bytes, timestamp: int, marker: bool = False) -> bool: ...


@frozen(slots=True)
class _Frame:
    due: Instant
    payload: bytes
    timestamp: int
    marker: bool


@define(slots=True, eq=False)
class Playout:
    """The outgoing audio of one call.

    ``frames`` bounds what waits. When that many wait, the newcomer is refused: if the head went
    instead, a delay longer than the queue would empty it from the front for ever and nothing would
    be heard at all.
    """

    call: Outlet = field(repr=False)
    frames: int = 512
    refused: int = field(init=False, default=0)
    """Frames let go because the queue was full."""
    late: int = field(init=False, default=0)
    """Frames let go because a newer one had been taken before."""
    position: int | None = field(init=False, default=None)
    """Timestamp of the frame sent last, None before the first: how far the client has heard."""
    _newest: int | None = field(init=False, default=None)
    _waiting: deque[_Frame] = field(init=False, factory=deque, repr=False)
    _cancel: Callable[[], None] | None = field(init=False, default=None, repr=False)

    def play(
        self,
        payload: bytes,
        timestamp: int,
        marker: bool,
        due: Instant,
        now: Instant | None = None,
    ) -> bool:
        """Send a frame at ``due``, or after what waits already where that is later.

        ``timestamp`` counts the media clock and does not wrap; ``now`` spares a look at the clock
        where somebody has just looked. False where the frame is let go:
        not newer than one taken before, or no room.
        """
        if self._newest is not None and timestamp <= self._newest:
            self.late += 1
            return False
        if not self._waiting and due <= (self.call.now() if now is None else now):
            self._newest = timestamp
            if self.call.send_audio(payload, timestamp, marker):
                self.position = timestamp
            return True
        if len(self._waiting) >= self.frames:
            self.refused += 1
            return False
        self._newest = timestamp
        self._waiting.append(_Frame(due, payload, timestamp, marker))
        self._schedule()
        return True

    @property
    def waiting(self) -> int:
        """Frames not sent yet."""
        return len(self._waiting)

    def flush(self) -> int:
        """Let go of all that waits (the client has interrupted); how many frames that was."""
        flushed = len(self._waiting)
        self._waiting.clear()
        self._newest = self.position
        if self._cancel is not None:
            self._cancel()
            self._cancel = None
        return flushed

    def _send(self, payload: bytes, timestamp: int, marker: bool) -> None:
        if self.call.send_audio(payload, timestamp, marker):
            self.position = timestamp

    def _schedule(self) -> None:
        if self._cancel is None and self._waiting:
            self._cancel = self.call.call_at(self._waiting[0].due, self._on_due)

    def _on_due(self) -> None:
        self._cancel = None
        now = self.call.now()
        while self._waiting and self._waiting[0].due <= now:
            frame = self._waiting.popleft()
            self._send(frame.payload, frame.timestamp, frame.marker)
        self._schedule()
