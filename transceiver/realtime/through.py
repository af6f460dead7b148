"""The protocol as an agent holds it that speaks it itself.

Such an agent, the way to a Realtime server, sends its sound as events and knows nothing of RTP. So
nearly everything passes: the client's events reach it, and its events the client, as they are. The
edge takes out the sound, and puts in what only it can know, as the public API does for calls by
WebRTC: when the sound began to be heard, when it ended, and when it was cut.

A server makes sound faster than it is heard, so at an interruption most of what it sent may be
unheard. It is told how much was: ``conversation.item.truncate``, in the client's stead. Its refusal
of that event, if any, is ours alone and does not reach the client. What it still sends of a
response that was silenced is let go.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field

from stunroute.instant import Instant
from transceiver.config import RealtimeLimits

from .clients import LOST, RESTORED, Clients, Names, lost
from .exchange import Changed, Finish, Flush, JsonObject, Output, Play, ToAgent, ToClient
from .playback import Playback
from .session import SESSION_RATE, effective, turn_detection
from .sound import bytes_untrusted
from .wire import SERVER, EventError, read_untrusted

_REMEMBERED = 64
"""Responses in progress, silenced responses and events of ours, each, of which the oldest is
forgotten."""
_SHORT = 256
"""Characters of a field of a response in progress that is remembered."""
_PCM = {"type": "audio/pcm", "rate": SESSION_RATE}


@define(slots=True)
class ThroughExchange:
    """The conversation of a call whose agent speaks Realtime; an ``Exchange``.

    Arguments as for ``PlainExchange``; ``session`` is what was asked for until the agent's server
    has said what it is.
    """

    entropy: Callable[[int], bytes] = field(repr=False)
    asked: Mapping[str, Any] = field(factory=dict, repr=False)
    model: str | None = None
    limits: RealtimeLimits = field(factory=RealtimeLimits)
    session: dict[str, Any] = field(init=False, repr=False)
    _clients: Clients = field(init=False)
    _names: Names = field(init=False)
    _created: dict[str, Any] | None = field(init=False, default=None)
    """The first ``session.created``, with the session as it stands."""
    _playback: Playback = field(init=False, factory=Playback)
    _silencing: bool = field(init=False, default=False)
    _rest: bytes = field(init=False, default=b"")
    """Half a sample that waits for its other half."""
    _active: dict[str, dict[str, Any]] = field(init=False, factory=dict)
    """Responses in progress."""
    _silenced: deque[str] = field(init=False)
    _ours: deque[str] = field(init=False)
    """Ids of events sent in the client's stead."""
    _lost: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._names = Names(self.entropy)
        self._clients = Clients(self._names, self.limits)
        self._silenced = deque(maxlen=_REMEMBERED)
        self._ours = deque(maxlen=_REMEMBERED)
        self.session = effective(self.asked, id=self._names.new("sess"), model=self.model)

    # --- connections ------------------------------------------------------------------------------

    def open(self, now: Instant) -> None:
        """Nothing depends on it here: the agent's server has a clock of its own."""

    def connected(self, source: int, now: Instant) -> bool:
        """As the protocol says; greeted when the agent's server has greeted us."""
        if not self._clients.connected(source):
            return False
        if self._created is not None:
            self._clients.put(ToClient(self._created, source))
        return True

    def disconnected(self, source: int) -> None:
        self._clients.disconnected(source)

    def end(self, now: Instant) -> None:
        self._clients.end()

    def next_output(self) -> Output | None:
        return self._clients.next_output()

    def next_timeout(self) -> Instant | None:
        return None

    def handle_timeout(self, now: Instant) -> None:
        """Nothing here waits for a time."""

    # --- the client -------------------------------------------------------------------------------

    def receive_untrusted(self, text: str | bytes, source: int, now: Instant) -> None:
        if not self._clients.admit(text, source, now):
            return
        try:
            event = read_untrusted(text, self.limits)
        except EventError as error:
            self._clients.refuse(error, source)
            return
        match event["type"]:
            case "output_audio_buffer.clear":
                self._silenced.extend(self._active)
                self._silence()
            case "session.update":
                self._clients.put(ToAgent(_with_our_formats(event)))
            case _:
                self._clients.put(ToAgent(event))

    def speech_started(self, at: float, now: Instant, playing: bool) -> None:
        """The agent's server listens for itself."""

    def speech_stopped(self, at: float, now: Instant) -> None:
        """As above."""

    # --- the agent's server -----------------------------------------------------------------------

    def agent_event(self, event: JsonObject, now: Instant) -> None:
        told = dict(event)
        match told.get("type"):
            case "session.created" | "session.updated":
                self._session_said(told)
            case "response.output_audio.delta" | "response.audio.delta":
                self._sound(told)
            case "response.output_audio.done" | "response.audio.done":
                self._sound_complete()
                self._pass(told)
            case "response.created":
                self._response_created(told)
                self._pass(told)
            case "response.done":
                self._sound_complete()
                self._pass(told)
                self._response_done(told)
            case "input_audio_buffer.speech_started":
                self._pass(told)
                detection = turn_detection(self.session)
                if detection is None or detection.interrupts:
                    self._silence()
            case "error" if self._is_ours(told):
                pass
            case (
                "output_audio_buffer.started"
                | "output_audio_buffer.stopped"
                | "output_audio_buffer.cleared"
            ):
                pass  # it cannot know
            case _:
                self._pass(told)

    def _pass(self, event: dict[str, Any]) -> None:
        self._clients.put(ToClient(event))

    def _session_said(self, event: dict[str, Any]) -> None:
        session = event.get("session")
        known = dict(session) if isinstance(session, Mapping) else self.session
        first = self._created is None
        created = event if self._created is None else self._created
        self._created = {**created, "type": "session.created", "session": known}
        self.session = known
        if event.get("type") == "session.updated" or first:
            self._pass(event)
        self._clients.put(Changed(known))

    def _sound(self, event: dict[str, Any]) -> None:
        response, item = _name(event, "response_id"), _name(event, "item_id") or ""
        if response in self._silenced:
            return
        try:
            data = bytes_untrusted(event.get("delta"), "delta")
        except EventError:
            return
        growing = self._playback.open
        if growing is None or (growing.response, growing.item) != (response, item):
            self._sound_complete()
            part = event.get("content_index")
            self._playback.begin(response, item, part if isinstance(part, int) else 0)
        data = self._rest + data
        whole = len(data) - len(data) % 2
        self._rest = data[whole:]
        if whole:
            self._clients.put(Play(data[:whole]))

    def _sound_complete(self) -> None:
        self._rest = b""
        if self._playback.complete():
            self._clients.put(Finish())

    def _response_created(self, event: dict[str, Any]) -> None:
        response = event.get("response")
        if isinstance(response, Mapping) and (name := _name(response, "id")) is not None:
            # What a failure of it will say. Its instructions and tools are known to the client, and
            # may be as long as an event can be.
            self._active[name] = {
                field: value
                for field, value in response.items()
                if isinstance(value, str) and len(value) <= _SHORT
            } | {"output": []}
            if len(self._active) > _REMEMBERED:
                del self._active[next(iter(self._active))]

    def _response_done(self, event: dict[str, Any]) -> None:
        response = event.get("response")
        if isinstance(response, Mapping) and (name := _name(response, "id")) is not None:
            self._active.pop(name, None)
            self._told_stopped(self._playback.response_done(name))

    def _is_ours(self, event: dict[str, Any]) -> bool:
        """Whether an error answers an event that we sent in the client's stead."""
        error = event.get("error")
        return isinstance(error, Mapping) and _name(error, "event_id") in self._ours

    # --- sound ------------------------------------------------------------------------------------

    def _silence(self) -> None:
        """Ask for silence, once, where there is any sound."""
        if self._playback.busy and not self._silencing:
            self._silencing = True
            self._clients.put(Flush())

    def speaking(self, now: Instant) -> bool:
        """The agent plays something that is part of no response: nobody is told."""
        if self._playback.open is None:
            self._playback.begin(None)
        return not self._clients.closed

    def said(self, text: str, now: Instant) -> None:
        """The agent's server says the words."""

    def finish(self, now: Instant) -> None:
        self._playback.complete()

    def playback_started(self, now: Instant) -> None:
        stopped, started = self._playback.started()
        self._told_stopped(stopped)
        if started is not None:
            self._clients.tell("output_audio_buffer.started", response_id=started)

    def playback_ended(self, played: float, now: Instant) -> None:
        _, stopped = self._playback.ended()
        self._told_stopped(stopped)

    def _told_stopped(self, response: str | None) -> None:
        if response is not None:
            self._clients.tell("output_audio_buffer.stopped", response_id=response)

    def flushed(self, played: float, unplayed: float, now: Instant) -> None:
        self._silencing = False
        self._rest = b""
        cleared = self._playback.clear()
        for response in cleared.responses:
            self._silenced.append(response)
            self._clients.tell("output_audio_buffer.cleared", response_id=response)
        for utterance in cleared.utterances:
            if utterance.item:
                heard = played if utterance.begun else 0.0
                self._truncate(utterance.item, utterance.part, int(heard * 1000))

    def _truncate(self, item: str, part: int, until: int) -> None:
        event_id = self._names.new("edge")
        self._ours.append(event_id)
        event = {
            "type": "conversation.item.truncate",
            "event_id": event_id,
            "item_id": item,
            "content_index": part,
            "audio_end_ms": until,
        }
        self._clients.put(ToAgent(event))

    # --- what stands behind the agent -------------------------------------------------------------

    def backend_lost(self, detail: str, now: Instant) -> None:
        """As the protocol says; responses in progress have failed, and what has come of their
        sound is still heard."""
        if self._lost:
            return
        self._lost = True
        self._clients.refuse(lost(detail), None)
        self._sound_complete()
        error = {"type": SERVER, "code": LOST, "message": detail}
        for name, response in list(self._active.items()):
            failed = {
                **response,
                "status": "failed",
                "status_details": {"type": "failed", "error": error},
            }
            self._clients.tell("response.done", response=failed)
            self._told_stopped(self._playback.response_done(name))
        self._active.clear()

    def backend_restored(self, now: Instant) -> None:
        if self._lost:
            self._lost = False
            self._clients.tell(RESTORED)


def _name(event: Mapping[str, Any], field: str) -> str | None:
    """A field that is a string, None where it is not."""
    value = event.get(field)
    return value if isinstance(value, str) else None


def _with_our_formats(event: dict[str, Any]) -> dict[str, Any]:
    """A ``session.update`` that leaves the formats of audio as the edge needs them, in the current
    form and in the older one. What is no session object is left to the server's judgement."""
    session = event.get("session")
    if not isinstance(session, dict):
        return event
    session = dict(session)
    for name in ("input_audio_format", "output_audio_format"):
        if name in session:
            session[name] = "pcm16"
    if isinstance(audio := session.get("audio"), dict):
        session["audio"] = audio = dict(audio)
        for side in ("input", "output"):
            if isinstance(part := audio.get(side), dict) and "format" in part:
                audio[side] = {**part, "format": dict(_PCM)}
    return {**event, "session": session}
