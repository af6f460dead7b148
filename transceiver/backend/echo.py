"""A backend that lets callers hear themselves: the smallest proof that a call works end to end.

Frames go back as they came, packet for packet, without being decoded, after a delay of one's
choice. What takes thought is time. The sequence numbers of the echo are the call's own, so what
the network lost stays lost and what it reordered must not go out backwards; the timestamps follow
the client's, because the gaps between them (silence, a lost packet) are part of what is heard.
"""

from collections.abc import Callable
from typing import Protocol

from attrs import Attribute, define, field, frozen

from stunroute.errors import ConfigError
from stunroute.instant import Instant
from transceiver.events import AudioReceived, Ended, Event, MessageReceived

from . import agent
from .agent import AgentEvent
from .playout import Outlet, Playout


class EchoCall(Outlet, Protocol):
    """What an echo needs of a call: a ``Call`` and a ``Line`` have it."""

    def send_message(self, channel: int, message: str | bytes) -> bool: ...


RESYNCHRONISE = 5.0
"""Seconds by which an arriving timestamp may stray from the clock before it is taken for another
source's. Silence, jitter and reordering stay far below it; a new source starts anywhere in 32 bits
(RFC 3550, 5.1) and gets past this test one time in nine thousand at 48 kHz."""


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
                now = self.call.now()
                count, begins = self._timeline.place(event.timestamp, event.clock_rate, now)
                marker = event.marker or begins
                self.playout.play(event.payload, count, marker, now + self.options.delay)
            case MessageReceived(channel=channel, message=message):
                self.call.send_message(channel, message)
            case Ended() | agent.Ended() | agent.Interrupted():
                self.playout.flush()
            case _:
                pass


def factory(options: EchoOptions) -> Callable[[EchoCall], Echo]:
    """Echoes that share ``options``; as good for calls as for lines."""
    return lambda call: Echo(call, options)


__all__ = ["RESYNCHRONISE", "Echo", "EchoOptions", "Timeline", "factory"]
