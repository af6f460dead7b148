"""A backend that lets callers hear themselves: the smallest proof that a call works end to end.

Frames go back as they came, packet for packet, without being decoded, after a delay of one's
choice. What takes thought is time. The sequence numbers of the echo are the call's own, so what
the network lost stays lost and what it reordered must not go out backwards; the timestamps follow
the client's, because the gaps between them (silence, a lost packet) are part of what is heard.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from attrs import Attribute, define, field, frozen

from stunroute.errors import ConfigError
from stunroute.instant import Instant
from transceiver.events import (
    AudioReceived,
    ChannelClosed,
    ChannelDrained,
    Ended,
    Event,
    MessageReceived,
)

from . import agent
from .agent import AgentEvent
from .playout import Outlet, Playout


class EchoCall(Outlet, Protocol):
    """What an echo needs of a call: a ``Call`` and a ``Line`` have it."""

    def send_message(self, channel: int, message: str | bytes) -> bool: ...
    def buffered_amount(self, channel: int) -> int: ...


RESYNCHRONISE = 5.0
"""Seconds by which an arriving timestamp may stray from the clock before it is taken for another
source's. Silence, jitter and reordering stay far below it; a new source starts anywhere in 32 bits
(RFC 3550, 5.1) and gets past this test one time in nine thousand at 48 kHz."""
WAITING = 16_777_216
"""Characters or bytes of messages that wait in one call for room to go back."""


@frozen(slots=True)
class EchoOptions:
    """``delay``: seconds between a frame's arrival and its echo, at most 60. ``frames``: how many
    may wait for it; what comes beyond that is let go (512 are ten seconds of 20 ms frames)."""

    delay: float = field(default=0.0)
    frames: int = field(default=512)

    @delay.validator
    def _check_delay(self, attribute: "Attribute[float]", value: float) -> None:
        if not 0.0 <= value <= 60.0:
            raise ConfigError(attribute.name, "is not between 0 and 60 seconds")

    @frames.validator
    def _check_frames(self, attribute: "Attribute[int]", value: int) -> None:
        if not 1 <= value <= 65536:
            raise ConfigError(attribute.name, "is not between 1 and 65536")


@define(slots=True)
class Timeline:
    """Turns the 32-bit timestamps of what arrives into one count that does not wrap, and that goes
    on without a leap when the client starts another source."""

    _last: int | None = field(init=False, default=None)  # the newest count given out
    _raw: int = field(init=False, default=0)  # the timestamp it stood for
    _at: Instant = field(init=False, default=0.0)  # when that arrived

    def place(self, timestamp: int, clock_rate: int, now: Instant) -> tuple[int, bool]:
        """The count for ``timestamp``, arrived at ``now``, and whether a source begins with it."""
        if self._last is None:
            self._last, self._raw, self._at = timestamp, timestamp, now
            return timestamp, True
        step = ((timestamp - self._raw + 0x80000000) & 0xFFFFFFFF) - 0x80000000
        elapsed = (now - self._at) * clock_rate
        begins = abs(step - elapsed) > RESYNCHRONISE * clock_rate
        if begins:
            step = max(1, round(elapsed))
        count = self._last + step
        if step > 0:
            self._last, self._raw, self._at = count, timestamp, now
        return count, begins


@define(slots=True, eq=False)
class Echo:
    """The echo of one call, of its audio and of its messages: a ``Backend`` by itself, and an
    ``Agent`` that takes packets."""

    call: EchoCall = field(repr=False)
    options: EchoOptions = field(factory=EchoOptions)
    playout: Playout = field(init=False)
    lost: int = field(init=False, default=0)
    """Messages that did not go back: longer than the client takes, or too many for ``WAITING``."""
    _messages: dict[int, deque[str | bytes]] = field(init=False, factory=dict, repr=False)
    _held: int = field(init=False, default=0)  # characters or bytes in them
    _timeline: Timeline = field(init=False, factory=Timeline)

    def __attrs_post_init__(self) -> None:
        self.playout = Playout(self.call, self.options.frames)

    @property
    def rate(self) -> None:
        """It takes packets."""

    @property
    def speaks_realtime(self) -> bool:
        """It does not."""
        return False

    def hear(self, pcm: bytes) -> None:
        """Nothing: the sound of the call comes as packets."""

    def receive(self, event: Event | AgentEvent) -> None:
        """Send audio and messages back, let everything else pass."""
        match event:
            case AudioReceived():
                self._return(event)
            case MessageReceived(channel=channel, message=message):
                self._send_back(channel, message)
            case ChannelDrained(channel=channel):
                self._drained(channel)
            case ChannelClosed(channel=channel):
                self._held -= sum(map(len, self._messages.pop(channel, ())))
            case Ended() | agent.Ended() | agent.Interrupted():
                self.playout.flush()
            case _:
                pass

    def listen(self) -> Callable[[AudioReceived], None]:
        """See ``interface.Listening``."""
        return self._return

    def _return(self, event: AudioReceived) -> None:
        now = self.call.now()
        count, begins = self._timeline.place(event.timestamp, event.clock_rate, now)
        marker = event.marker or begins
        self.playout.play(event.payload, count, marker, now + self.options.delay, now)

    def _send_back(self, channel: int, message: str | bytes) -> None:
        """A client that sends more quickly than it takes has its messages wait for it here."""
        if channel not in self._messages and self.call.send_message(channel, message):
            return
        if self._held + len(message) > WAITING or not self.call.buffered_amount(channel):
            self.lost += 1
            return
        self._messages.setdefault(channel, deque()).append(message)
        self._held += len(message)

    def _drained(self, channel: int) -> None:
        """There is room again, for whoever waits: the room is that of all channels."""
        for number, waiting in list(self._messages.items()):
            while waiting and self.call.send_message(number, waiting[0]):
                self._held -= len(waiting.popleft())
            if waiting and number == channel and not self.call.buffered_amount(channel):
                self._held -= len(waiting.popleft())  # not for want of room
                self.lost += 1
            if not waiting:
                del self._messages[number]


def factory(options: EchoOptions) -> Callable[[EchoCall], Echo]:
    """Echoes that share ``options``; as good for calls as for lines."""
    return lambda call: Echo(call, options)


__all__ = ["RESYNCHRONISE", "Echo", "EchoOptions", "Timeline", "factory"]
