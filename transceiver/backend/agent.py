"""An application that wants sound and events, and no packets.

A ``Backend`` gets the packets of its call. Few applications want those: a model hears and says
PCM, and speaks of sessions, responses and interruptions. An *agent* is that application, and a
*line* is the call as the agent holds it. Between the two and the call stands ``line.OnLine``,
which decodes and encodes, paces what the agent says, listens for the client's voice, and holds the
conversation of Realtime events with the client.

Methods of both sides return at once and run on the one event loop. An agent that has to wait does
so in a task of its own, with a bounded queue of its own. What it raises ends its own call.

Two kinds of agents differ in who speaks the Realtime protocol with the client. For a *plain* agent
the edge does: it makes the items and responses out of what the agent says and when. An agent with
``speaks_realtime`` does it itself (it is the way to a Realtime server): the client's events reach
it untouched as ``ClientEvent``, and what it gives to ``Line.send`` reaches the client untouched,
except for what only the edge can know, which is how much of the sound has been heard.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

from attrs import field, frozen

from stunroute.instant import Instant
from transceiver.events import (
    AudioReceived,
    ChannelClosed,
    ChannelDrained,
    ChannelOpened,
    MessageReceived,
)

from .interface import CallRequest

JsonObject: TypeAlias = Mapping[str, Any]


@frozen(slots=True)
class Started:
    """The call is established: audio flows from here on."""


@frozen(slots=True)
class SpeechStarted:
    """The client has begun to speak. ``at`` is where in the call's input audio, in seconds. What
    the agent was saying has been silenced already if the session's turn detection says so; then an
    ``Interrupted`` came first."""

    at: float


@frozen(slots=True)
class SpeechStopped:
    """The client has stopped speaking: its turn is over. ``at`` as above."""

    at: float


@frozen(slots=True)
class Interrupted:
    """What the agent had said was silenced. ``played`` seconds of the current utterance had been
    sent to the client, ``unplayed`` had not."""

    played: float
    unplayed: float


@frozen(slots=True)
class Heard:
    """The utterance that ``Line.finish`` closed has been sent to the client to its end."""

    played: float


@frozen(slots=True)
class ResponseRequested:
    """The client asks a plain agent to speak now (``response.create``); ``response`` is its
    object, possibly empty. ``text`` is what the client has written since the last response."""

    response: JsonObject = field(factory=dict)
    text: str = ""


@frozen(slots=True)
class SessionChanged:
    """The Realtime session object as it stands from now on."""

    session: JsonObject = field(repr=False)


@frozen(slots=True)
class ClientEvent:
    """An event of the client that the edge does not answer, as it came."""

    event: JsonObject = field(repr=False)


@frozen(slots=True)
class Ended:
    """The call is over; the last an agent hears of it."""

    reason: str


AgentEvent: TypeAlias = (
    Started
    | SpeechStarted
    | SpeechStopped
    | Interrupted
    | Heard
    | ResponseRequested
    | SessionChanged
    | ClientEvent
    | ChannelOpened
    | ChannelDrained
    | ChannelClosed
    | MessageReceived
    | AudioReceived
    | Ended
)
"""``ChannelOpened`` and its like concern the client's own channels: the one for events is not among
them. ``AudioReceived`` goes to agents that want packets, those with no ``rate``."""


class Line(Protocol):
    """A call as its agent holds it. It may be kept after the end; then nothing is done."""

    @property
    def id(self) -> str:
        """``rtc_...``"""

    @property
    def request(self) -> CallRequest:
        """What the call was asked for with."""

    @property
    def session(self) -> JsonObject:
        """The Realtime session object as it stands."""

    def now(self) -> Instant:
        """A reading of the clock that the call runs by, in seconds."""

    def call_at(self, when: Instant, callback: Callable[[], None]) -> Callable[[], None]:
        """Run ``callback`` at ``when`` unless the call ends first; returns what takes it back."""

    def play(self, pcm: bytes) -> None:
        """Say this after what waits already: PCM, 16 bits signed, little-endian, mono, at the
        agent's ``rate``, of any length; the next piece goes on where this one ends. May come faster
        than it is heard; beyond the bound (``VoiceLimits.queue``) the oldest is lost."""

    def finish(self) -> None:
        """The utterance is complete: ``Heard`` follows when it has been sent to its end. Where an
        agent never says so, an utterance ends when its sound has run out for a while."""

    def flush(self) -> float:
        """Silence: drop what waits. How many seconds of the current utterance the client had been
        sent. No ``Interrupted`` follows; the agent knows."""

    @property
    def played(self) -> float:
        """Seconds of the current utterance that have been sent to the client, 0 between two."""

    @property
    def waiting(self) -> float:
        """Seconds of sound that wait to be sent."""

    @property
    def lost(self) -> float:
        """Seconds of sound that were let go for want of room."""

    def send(self, event: JsonObject) -> None:
        """An event for the client, on its events channel and on every connection on the side."""

    def say_text(self, text: str) -> None:
        """The words of what a plain agent is saying, for the client's transcript; goes with the
        current utterance, or begins one."""

    def send_audio(self, payload: bytes, timestamp: int, marker: bool = False) -> bool:
        """One packet, now: for agents without a ``rate``. As ``Call.send_audio``."""

    def send_message(self, channel: int, message: str | bytes) -> bool:
        """A message on one of the client's own channels. As ``Call.send_message``."""

    def buffered_amount(self, channel: int) -> int:
        """As ``Call.buffered_amount``. When it has fallen, a ``ChannelDrained`` says so."""

    def backend_lost(self, detail: str) -> None:
        """What stands behind the agent has gone away; the client is told. The call stays up."""

    def backend_restored(self) -> None:
        """It is back; the client is told."""

    def hang_up(self) -> None:
        """End the call."""


class Agent(Protocol):
    """The application's side of one call."""

    @property
    def rate(self) -> int | None:
        """Samples per second in both directions: 8000, 16000, 24000 or 48000. None: the agent
        takes ``AudioReceived`` events and gives packets to ``Line.send_audio``."""

    @property
    def speaks_realtime(self) -> bool:
        """Whether the agent holds the conversation of Realtime events itself."""

    def hear(self, pcm: bytes) -> None:
        """20 ms of what the client says, as ``Line.play`` takes it; silence included, always at the
        pace of real time. Must return without waiting."""

    def receive(self, event: AgentEvent) -> None:
        """Something happened: in order, the last one is ``Ended``. Must return without waiting."""


AgentFactory: TypeAlias = Callable[[Line], Agent]
"""Makes the agent of a call that has just been answered. What it raises refuses the call."""
