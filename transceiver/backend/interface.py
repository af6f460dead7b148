"""What stands between a call and an application.

A backend never meets WebRTC. It is given a ``Call``, through which audio goes out, and it is told
what happens in that call, one event after the other. That is little enough for an echo. Whoever
wants sound in place of packets, and the events of the Realtime protocol, writes an ``agent.Agent``,
which ``line.on_line`` makes into a backend. What passes here:

- *audio in*: an ``AudioReceived`` event. *Messages*: ``ChannelOpened``, ``MessageReceived`` and
  their like in, ``Call.send_message`` out. A backend lets pass what it does not know.
- *audio out*: ``Call.send_audio``, one packet's worth, sent now. A backend that makes audio faster
  than it is heard puts a ``playout.Playout`` in between, which sends each frame when it is due;
  ``flush`` and the playout position are asked of that.
- *the end*: an ``Ended`` event from the call's side, ``Call.hang_up`` from the backend's.

Nothing here waits. Methods of both sides return at once, and everything runs on one event loop; a
backend that has to wait for something does so in a task of its own and keeps its own bounded queue
(``task.in_task`` makes one out of a coroutine). What a backend raises ends its own call and no
other.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

from attrs import field, frozen

from stunroute.instant import Instant
from transceiver.events import AudioReceived, Event


@frozen(slots=True)
class CallRequest:
    """What a call was asked for with, beside its offer.

    ``session`` is the Realtime session object of the request, validated, empty where there was
    none; ``model`` names the application (of the session, or of the query); ``owner`` says who
    opened the call: an account, empty where no keys are asked for, and after a slash the client
    secret if it was one; ``channel`` is the number of the negotiated events channel (``?dcid=``),
    None where the client announces its channels itself.
    """

    session: Mapping[str, Any] = field(factory=dict, repr=False)
    model: str | None = None
    owner: str = ""
    channel: int | None = None


class SendAudio(Protocol):
    """``Call.send_audio`` of some call."""

    def __call__(self, payload: bytes, timestamp: int, marker: bool = False) -> bool: ...


class Call(Protocol):
    """One call, as its backend holds it. It may be kept after the call has ended: then nothing is
    sent, and nothing scheduled runs."""

    @property
    def id(self) -> str:
        """``rtc_...``, as signalling and logs name the call."""

    @property
    def request(self) -> CallRequest:
        """What the call was asked for with."""

    @property
    def codec(self) -> str:
        """What the audio is in both directions: ``opus``, ``PCMU`` or ``PCMA``; empty where the
        call has data channels and no audio."""

    @property
    def clock_rate(self) -> int:
        """Ticks of the codec's RTP clock in one second."""

    def now(self) -> Instant:
        """A reading of the clock that the call runs by, in seconds."""

    def call_at(self, when: Instant, callback: Callable[[], None]) -> Callable[[], None]:
        """Run ``callback`` at ``when`` unless the call ends first; returns what takes it back."""

    def send_audio(self, payload: bytes, timestamp: int, marker: bool = False) -> bool:
        """Send one packet of audio now. ``timestamp`` counts the media clock from any origin (only
        its low 32 bits count); ``marker`` says that a talkspurt begins (RFC 3551, 4.1). False where
        nothing was sent because the call cannot carry audio yet, or any more."""

    def open_channel(self, label: str, *, protocol: str = "", ordered: bool = True) -> int | None:
        """Open a data channel; its number. It can be sent on at once, its ``ChannelOpened`` comes
        when the client has agreed. None where the call has no channels (yet, or any more) or as
        many as it may have."""

    def send_message(self, channel: int, message: str | bytes) -> bool:
        """Send a message on a channel. False where nothing was taken: the channel is not open, the
        message is longer than the client takes, or too much waits already."""

    def close_channel(self, channel: int) -> None:
        """Close a channel; what was taken before is still sent. Its ``ChannelClosed`` follows."""

    def buffered_amount(self, channel: int) -> int:
        """Bytes taken on that channel that have not been sent for the first time."""

    def hang_up(self) -> None:
        """End the call. Its ``Ended`` follows as for any other end."""


class Backend(Protocol):
    """The application's side of one call."""

    def receive(self, event: Event) -> None:
        """Something happened: in order, the last one is ``Ended``. Must return without waiting."""


@runtime_checkable
class Listening(Protocol):
    """A backend that has a shorter way for audio than for everything else: 50 packets a second of
    each call pass whoever stands on it."""

    def listen(self) -> Callable[[AudioReceived], None]:
        """What takes each ``AudioReceived`` in place of ``receive``. Asked once, when the backend
        has been made; in order with all other events, and nothing after ``Ended``."""


class Attachment(Protocol):
    """A connection for events beside the client's own channel."""

    def receive(self, text: str | bytes) -> None:
        """An event that came on it."""

    def detach(self) -> None:
        """It is gone."""


@runtime_checkable
class Attachable(Protocol):
    """A backend that carries on a conversation of events."""

    def attach(self, send: Callable[[str], None], close: Callable[[], None]) -> Attachment:
        """Add a connection: ``send`` is given every event for it, ``close`` is called when the call
        is over. Raises NoEvents where there are as many as may be."""


BackendFactory: TypeAlias = Callable[[Call], Backend]
"""Makes the backend of a call that has just been answered. What it raises refuses the call."""
