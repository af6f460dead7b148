"""What passes between the Realtime protocol and whatever carries it.

The protocol has two ways of being held (``plain`` for an agent that knows nothing of it,
``through`` for one that speaks it itself), and whoever carries events and sound should not care
which. So both are an ``Exchange``: told what happened, they leave outputs, in order, that say what
to do. Neither keeps a clock, a socket or a sample of sound.

Outputs are fetched until there are none after every verb, and carried out in their order; one of
them, ``Flush``, is answered with a verb again (``flushed``), because only whoever paces the sound
knows how much of it was heard.
"""

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

from attrs import field, frozen

from stunroute.instant import Instant

JsonObject: TypeAlias = Mapping[str, Any]


@frozen(slots=True)
class ToClient:
    """An event for the client: to the connection ``to``, or to all of them where that is None."""

    event: dict[str, Any] = field(repr=False)
    to: int | None = None


@frozen(slots=True)
class ToAgent:
    """An event of the client that the edge does not answer (``agent.ClientEvent``)."""

    event: dict[str, Any] = field(repr=False)


@frozen(slots=True)
class Play:
    """Sound of the agent that came as an event: PCM, 16 bits signed, little-endian, mono, 24 kHz.
    To be queued behind what waits."""

    pcm: bytes = field(repr=False)


@frozen(slots=True)
class Finish:
    """What was to play is complete: ``playback_ended`` is owed when it has been sent."""


@frozen(slots=True)
class Flush:
    """Silence what is being said. ``flushed`` is owed at once. A plain agent is to be told
    (``agent.Interrupted``), whether or not anything played: it may be about to speak."""


@frozen(slots=True)
class Hear:
    """Sound of the client that came as an event, for the agent: PCM as ``Play``, at ``rate``."""

    pcm: bytes = field(repr=False)
    rate: int


@frozen(slots=True)
class Respond:
    """The agent is asked to speak (``agent.ResponseRequested``)."""

    response: dict[str, Any] = field(repr=False)
    text: str = field(repr=False)


@frozen(slots=True)
class Changed:
    """The session object as it stands from now on, whole (``agent.SessionChanged``);
    ``session.turn_detection`` reads the voice activity's settings from it."""

    session: dict[str, Any] = field(repr=False)


Output: TypeAlias = ToClient | ToAgent | Play | Finish | Flush | Hear | Respond | Changed


class Exchange(Protocol):
    """The conversation of events of one call. No verb raises for what it is given."""

    @property
    def session(self) -> dict[str, Any]:
        """The session object as it stands. Not to be changed by the caller."""

    def open(self, now: Instant) -> None:
        """The call is established, so its input audio begins."""

    def connected(self, source: int, now: Instant) -> bool:
        """A connection for events is there: the client's channel or one on the side. It is
        greeted with ``session.created``. False where there are as many as may be: it is to be
        closed."""

    def disconnected(self, source: int) -> None:
        """That connection is gone. An unknown one is ignored."""

    def receive_untrusted(self, text: str | bytes, source: int, now: Instant) -> None:
        """A message that came on a connection. One that is no good is answered there with an
        ``error`` event and otherwise ignored."""

    def speech_started(self, at: float, now: Instant, playing: bool) -> None:
        """The edge's voice activity heard speech begin, ``at`` seconds into the input audio.
        ``playing``: the agent's sound is going out or waits to."""

    def speech_stopped(self, at: float, now: Instant) -> None:
        """The edge's voice activity heard it end."""

    def agent_event(self, event: JsonObject, now: Instant) -> None:
        """What the agent gave to ``Line.send``."""

    def speaking(self, now: Instant) -> bool:
        """A plain agent gives sound to play. False: the client has asked for text alone, and the
        sound is not to be played."""

    def said(self, text: str, now: Instant) -> None:
        """A plain agent gives the words of what it says."""

    def finish(self, now: Instant) -> None:
        """A plain agent has given all of its utterance."""

    def playback_started(self, now: Instant) -> None:
        """The first of an utterance's sound goes out."""

    def playback_ended(self, played: float, now: Instant) -> None:
        """An utterance has been sent to its end; ``played`` seconds of it."""

    def flushed(self, played: float, unplayed: float, now: Instant) -> None:
        """What was playing has been silenced, for a ``Flush`` or because the agent wanted it:
        ``played`` seconds of the utterance had been sent, ``unplayed`` had not."""

    def backend_lost(self, detail: str, now: Instant) -> None:
        """What stands behind the agent is away."""

    def backend_restored(self, now: Instant) -> None:
        """It is back."""

    def end(self, now: Instant) -> None:
        """The call is over: nothing comes out any more."""

    def next_output(self) -> Output | None: ...

    def next_timeout(self) -> Instant | None:
        """When ``handle_timeout`` wants to be called."""

    def handle_timeout(self, now: Instant) -> None: ...
