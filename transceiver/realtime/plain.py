"""The protocol as the edge holds it, for an agent that only hears and says.

The client sees the server's side of a Realtime conversation: items, responses, turns,
interruptions. The agent sees none of that. What it says becomes a response when it says it, for an
agent need not ask before it speaks; what a client asks for with ``response.create`` is a response
at once, since the client waits for it, and fails if nothing follows. When an agent has said all is
known by ``finish``, or by its sound running out.

An interruption takes two steps. Silence comes first and is asked for with ``Flush``; only its
answer says how much was heard, and then the client is told everything: what was cleared, that the
response is over, and where its item was cut. An answer may also come unasked, when the agent
silences itself.
"""

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field

from stunroute.instant import Instant
from transceiver.config import RealtimeLimits

from . import conversation as items
from . import response as responses
from .clients import LOST, RESTORED, Clients, Names, event_id_of, lost
from .conversation import Conversation
from .exchange import (
    Changed,
    Flush,
    Hear,
    JsonObject,
    Output,
    Respond,
    ToAgent,
    ToClient,
)
from .playback import Playback
from .response import Response, Told
from .session import SESSION_RATE, effective, merge, turn_detection, validate
from .shape import missing, wrong_value
from .sound import pcm_untrusted
from .wire import SERVER, EventError, read_untrusted, write

LEAST_COMMIT = 0.1
"""Seconds of input that a client may commit at least."""
CLIENT_EVENTS = (
    "session.update",
    *("input_audio_buffer.append", "input_audio_buffer.commit", "input_audio_buffer.clear"),
    "output_audio_buffer.clear",
    *("conversation.item.create", "conversation.item.retrieve"),
    *("conversation.item.delete", "conversation.item.truncate"),
    *("response.create", "response.cancel"),
)
"""What a client may send."""


@define(slots=True)
class PlainExchange:
    """The conversation of a plain agent's call; an ``Exchange``.

    ``asked`` is the validated session object of the request, ``model`` what the call was opened
    for. ``entropy`` gives random bytes, once.
    """

    entropy: Callable[[int], bytes] = field(repr=False)
    asked: Mapping[str, Any] = field(factory=dict, repr=False)
    model: str | None = None
    limits: RealtimeLimits = field(factory=RealtimeLimits)
    session: dict[str, Any] = field(init=False, repr=False)
    _session_size: int = field(init=False)
    _clients: Clients = field(init=False)
    _names: Names = field(init=False)
    _items: Conversation = field(init=False)
    _playback: Playback = field(init=False, factory=Playback)
    _response: Response | None = field(init=False, default=None)
    _reason: str | None = field(init=False, default=None)
    """Why silence has been asked for, until it is there."""
    _turn: str | None = field(init=False, default=None)
    """The item that the turn being spoken will be."""
    _written: list[str] = field(init=False, factory=list)
    _written_length: int = field(init=False, default=0)
    _input: float = field(init=False, default=0.0)
    """Seconds of input sent as events since the last commit."""
    _since: Instant | None = field(init=False, default=None)
    """When the input not yet committed began; None before the call is established."""
    _origin: float = field(init=False, default=0.0)
    """What the clock shows where the input audio begins."""
    _quiet_since: Instant | None = field(init=False, default=None)
    """When the agent was heard to its end and nobody has said anything since."""
    _voiced: bool = field(init=False, default=False)
    """Whether the agent has made any sound."""
    _lost: bool = field(init=False, default=False)
    _conversation: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._names = Names(self.entropy)
        self._clients = Clients(self._names, self.limits)
        self._items = Conversation(self.limits)
        self._conversation = self._names.new("conv")
        self.session = effective(self.asked, id=self._names.new("sess"), model=self.model)
        self._session_size = len(write(self.session))

    # --- connections ------------------------------------------------------------------------------

    def open(self, now: Instant) -> None:
        self._since = self._origin = now

    def connected(self, source: int, now: Instant) -> bool:
        if not self._clients.connected(source):
            return False
        self._clients.tell("session.created", source, session=self.session)
        return True

    def disconnected(self, source: int) -> None:
        self._clients.disconnected(source)

    def end(self, now: Instant) -> None:
        self._quiet_since = None
        self._response = None
        self._clients.end()

    def next_output(self) -> Output | None:
        return self._clients.next_output()

    # --- the client -------------------------------------------------------------------------------

    def receive_untrusted(self, text: str | bytes, source: int, now: Instant) -> None:
        if not self._clients.admit(text, source, now):
            return
        event: dict[str, Any] = {}
        try:
            event = read_untrusted(text, self.limits)
            self._receive(event, source, now)
        except EventError as error:
            error.event_id = error.event_id or event_id_of(event)
            self._clients.refuse(error, source)

    def _receive(self, event: dict[str, Any], source: int, now: Instant) -> None:
        match event["type"]:
            case "session.update":
                self._update(event)
            case "input_audio_buffer.append":
                self._append(event)
            case "input_audio_buffer.commit":
                self._commit_wanted(now)
            case "input_audio_buffer.clear":
                self._drain(now)
                self._clients.tell("input_audio_buffer.cleared")
            case "output_audio_buffer.clear":
                if self._playback.busy:
                    self._silence("client_cancelled")
            case "conversation.item.create":
                self._create_item(event)
            case "conversation.item.retrieve":
                items.NAMED(event, "")
                item = self._items.get(event["item_id"])
                self._clients.charge(self._items.size(event["item_id"]))
                self._clients.tell("conversation.item.retrieved", source, item=item)
            case "conversation.item.delete":
                items.NAMED(event, "")
                self._items.remove(event["item_id"])
                self._clients.tell("conversation.item.deleted", item_id=event["item_id"])
            case "conversation.item.truncate":
                self._truncate(event)
            case "response.create":
                self._create_response(event, now)
            case "response.cancel":
                self._cancel(event)
            case other:
                raise wrong_value("type", other, CLIENT_EVENTS)

    def _update(self, event: dict[str, Any]) -> None:
        if "session" not in event:
            raise missing("session")
        update = validate(event["session"])
        if update.get("model") not in (None, self.session["model"]):
            raise EventError(
                "The model of a session cannot be changed.",
                code="invalid_value",
                param="session.model",
            )
        update.pop("model", None)
        if update.get("type", self.session["type"]) != self.session["type"]:
            raise EventError(
                "The type of a session cannot be changed.",
                code="invalid_value",
                param="session.type",
            )
        voice = ((update.get("audio") or {}).get("output") or {}).get("voice")
        if self._voiced and voice not in (None, self.session["audio"]["output"]["voice"]):
            raise EventError(
                "Cannot update a conversation's voice if assistant audio is present.",
                code="cannot_update_voice",
                param="session.audio.output.voice",
            )
        session = merge(self.session, update)
        size = len(write(session))
        # One that the call began with may be longer already: it may shrink.
        if size > max(self.limits.session_bytes, self._session_size):
            raise EventError(
                f"The session would be longer than {self.limits.session_bytes} characters.",
                code="session_too_large",
                param="session",
            )
        self.session, self._session_size = session, size
        self._clients.charge(size)
        self._clients.tell("session.updated", session=self.session)
        self._clients.put(Changed(self.session))

    def _append(self, event: dict[str, Any]) -> None:
        wanted = self.session["audio"]["input"].get("format") or {}
        if wanted.get("type", "audio/pcm") != "audio/pcm":
            raise EventError(
                "Audio in events must be audio/pcm; that of the call comes by RTP.",
                code="invalid_value",
                param="audio",
            )
        pcm = pcm_untrusted(event.get("audio"), "audio")
        self._input += len(pcm) / 2 / SESSION_RATE
        if pcm:
            self._clients.put(Hear(pcm, SESSION_RATE))

    def _commit_wanted(self, now: Instant) -> None:
        heard = self._input + (0.0 if self._since is None else now - self._since)
        if heard < LEAST_COMMIT:
            raise EventError(
                f"Error committing input audio buffer: expected at least "
                f"{LEAST_COMMIT * 1000:.0f}ms of audio, but the buffer only has "
                f"{heard * 1000:.0f}ms.",
                code="input_audio_buffer_commit_empty",
            )
        turn, self._turn = self._turn or self._names.new("item"), None
        self._commit(turn, now)

    def _create_item(self, event: dict[str, Any]) -> None:
        items.CREATE(event, "")
        said = event["item"]
        name = said.get("id") or self._names.new("item")
        if name in self._items:
            raise EventError(
                "An item with that id exists already.", code="item_already_exists", param="item.id"
            )
        place = self._items.place_after(event.get("previous_item_id"))
        item = {
            **items.without_audio(said),
            "id": name,
            "object": "realtime.item",
            "status": "completed",
        }
        previous = self._items.add(item, place)
        for kind in ("conversation.item.added", "conversation.item.done"):
            self._clients.tell(kind, previous_item_id=previous, item=item)
        words = items.words_of(item)[: self.limits.transcript - self._written_length]
        if words:
            self._written.append(words)
            self._written_length += len(words)
        self._clients.put(ToAgent(event))

    def _truncate(self, event: dict[str, Any]) -> None:
        items.TRUNCATE(event, "")
        name, part, until = event["item_id"], event["content_index"], event["audio_end_ms"]
        self._items.truncate(name, part, until)
        self._told_cut(name, part, until)

    def _told_cut(self, name: str, part: int, until: int) -> None:
        self._clients.tell(
            "conversation.item.truncated", item_id=name, content_index=part, audio_end_ms=until
        )

    # --- responses --------------------------------------------------------------------------------

    def _create_response(self, event: dict[str, Any], now: Instant) -> None:
        responses.CREATE(event, "")
        if (active := self._response) is not None:
            raise EventError(
                f"Conversation already has an active response in progress: {active.id}. "
                "Wait until it is finished before creating a new one.",
                code="conversation_already_has_active_response",
            )
        self._respond(event.get("response") or {}, now)

    def _respond(self, asked: dict[str, Any], now: Instant) -> None:
        """The agent is asked to speak."""
        self._begin_response(asked, now)
        text = "\n".join(self._written)
        if isinstance(asked.get("input"), list):
            known = (one for one in asked["input"] if one.get("type") != "item_reference")
            text = "\n".join(words for words in map(items.words_of, known) if words)
        self._written, self._written_length = [], 0
        self._clients.put(Respond(asked, text))

    def _begin_response(self, asked: dict[str, Any], now: Instant) -> Response:
        aside = asked.get("conversation") == "none"
        begun = Response(
            id=self._names.new("resp"),
            conversation=None if aside else self._conversation,
            asked=asked,
            session=self.session,
            since=now,
            longest=self.limits.transcript,
        )
        self._response = begun
        self._quiet_since = None
        self._tell(begun.created())
        return begun

    def _cancel(self, event: dict[str, Any]) -> None:
        responses.CANCEL(event, "")
        wanted = event.get("response_id")
        if self._response is None or wanted not in (None, self._response.id):
            raise EventError(
                "Cancellation failed: no active response found.", code="response_cancel_not_active"
            )
        self._silence("client_cancelled")

    def _silence(self, reason: str) -> None:
        """Ask for silence, once."""
        if self._reason is None:
            self._reason = reason
            self._clients.put(Flush())

    def _speaking(self, now: Instant) -> Response:
        """The response that the agent speaks in, with its item."""
        current = self._response or self._begin_response({}, now)
        current.since = now
        if current.item is None:
            current.item = self._names.new("item")
            previous = None
            if current.conversation is not None:
                previous = self._items.add(current.message("in_progress"))
            self._tell(*current.begin(previous))
        return current

    def _finish(self, status: str, details: dict[str, Any] | None = None) -> None:
        """The response in progress is over."""
        if (over := self._response) is None:
            return
        self._response = None
        if over.item is not None and over.conversation is not None:
            self._items.replace(over.message(status))
        previous = None if over.item is None else self._items.before(over.item)
        self._tell(*over.done(status, previous, details))
        self._told_stopped(self._playback.response_done(over.id))

    def _fail(self, code: str, message: str) -> None:
        error = {"type": SERVER, "code": code, "message": message}
        self._finish("failed", {"type": "failed", "error": error})

    def _tell(self, *told: Told) -> None:
        for kind, fields in told:
            self._clients.tell(kind, **fields)

    # --- the agent --------------------------------------------------------------------------------

    def speaking(self, now: Instant) -> bool:
        if self._clients.closed:
            return False
        current = self._speaking(now)
        if current.text_only:
            return False
        self._voiced = True
        if self._playback.open is None:
            self._playback.begin(current.id, current.item or "")
        return True

    def said(self, text: str, now: Instant) -> None:
        if text and not self._clients.closed:
            self._tell(*self._speaking(now).said(text))

    def finish(self, now: Instant) -> None:
        self._playback.complete()
        self._finish("completed")

    def agent_event(self, event: JsonObject, now: Instant) -> None:
        told = dict(event)
        told.setdefault("event_id", self._names.new("event"))
        self._clients.put(ToClient(told))

    # --- sound ------------------------------------------------------------------------------------

    def playback_started(self, now: Instant) -> None:
        stopped, started = self._playback.started()
        self._told_stopped(stopped)
        self._quiet_since = None
        if started is not None:
            self._clients.tell("output_audio_buffer.started", response_id=started)

    def playback_ended(self, played: float, now: Instant) -> None:
        growing = self._playback.open
        utterance, stopped = self._playback.ended()
        if utterance is not None:
            self._items.spoken(utterance.item, played)
        if utterance is not None and utterance is growing:
            self._finish("completed")
        self._told_stopped(stopped)
        self._wait(now)

    def _told_stopped(self, response: str | None) -> None:
        if response is not None:
            self._clients.tell("output_audio_buffer.stopped", response_id=response)

    def flushed(self, played: float, unplayed: float, now: Instant) -> None:
        reason, self._reason = self._reason, None
        cleared = self._playback.clear()
        for response in cleared.responses:
            self._clients.tell("output_audio_buffer.cleared", response_id=response)
        details = (
            {"type": "cancelled"} if reason is None else {"type": "cancelled", "reason": reason}
        )
        self._finish("cancelled", details)
        for utterance in cleared.utterances:
            heard = played if utterance.begun else 0.0
            self._items.spoken(utterance.item, heard)
            self._items.cut(utterance.item, utterance.part)
            self._told_cut(utterance.item, utterance.part, int(heard * 1000))
        self._wait(now)

    # --- turns ------------------------------------------------------------------------------------

    def speech_started(self, at: float, now: Instant, playing: bool) -> None:
        detection = turn_detection(self.session)
        if detection is None:
            return
        self._origin = now - at
        self._quiet_since = None
        self._turn = self._names.new("item")
        start = max(0, int((at - detection.prefix) * 1000))
        self._clients.tell(
            "input_audio_buffer.speech_started", audio_start_ms=start, item_id=self._turn
        )
        speaks = playing or self._playback.busy or self._response is not None
        if detection.interrupts and speaks:
            self._silence("turn_detected")

    def speech_stopped(self, at: float, now: Instant) -> None:
        detection = turn_detection(self.session)
        if detection is None and self._turn is None:
            return
        self._origin = now - at
        turn, self._turn = self._turn or self._names.new("item"), None
        self._clients.tell(
            "input_audio_buffer.speech_stopped", audio_end_ms=int(at * 1000), item_id=turn
        )
        self._commit(turn, now)

    def _drain(self, now: Instant) -> None:
        """There is no input from before ``now``."""
        self._input = 0.0
        if self._since is not None:
            self._since = now

    def _commit(self, turn: str, now: Instant) -> None:
        """What was heard becomes an item."""
        self._drain(now)
        item = {
            "id": turn,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_audio", "transcript": None}],
        }
        previous = self._items.add(item)
        self._clients.tell("input_audio_buffer.committed", previous_item_id=previous, item_id=turn)
        for kind in ("conversation.item.added", "conversation.item.done"):
            self._clients.tell(kind, previous_item_id=previous, item=item)

    # --- time -------------------------------------------------------------------------------------

    def _wait(self, now: Instant) -> None:
        """It may be the client's turn now."""
        if self._response is None and not self._playback.busy and self._turn is None:
            self._quiet_since = now

    def _idle_at(self) -> Instant | None:
        """When the client will have been silent for as long as it said that it would not be."""
        detection = turn_detection(self.session)
        if self._quiet_since is None or detection is None or detection.idle is None:
            return None
        return self._quiet_since + detection.idle

    def next_timeout(self) -> Instant | None:
        if self._clients.closed:
            return None
        ends = [] if (idle := self._idle_at()) is None else [idle]
        if self._response is not None and not self._playback.busy:
            ends.append(self._response.since + self.limits.answer_wait)
        return min(ends, default=None)

    def handle_timeout(self, now: Instant) -> None:
        due = self.next_timeout()
        if due is None or now < due:
            return
        if self._quiet_since is not None and due == self._idle_at():
            self._prompt(self._quiet_since, now)
        elif self._response is not None and self._response.item is not None:
            self._finish("completed")
        else:
            self._fail("no_answer", "The agent did not answer.")

    def _prompt(self, since: Instant, now: Instant) -> None:
        """The agent is to speak to a client that has been silent for too long."""
        self._quiet_since = None
        turn = self._names.new("item")
        self._clients.tell(
            "input_audio_buffer.timeout_triggered",
            audio_start_ms=self._position(since),
            audio_end_ms=self._position(now),
            item_id=turn,
        )
        self._commit(turn, now)
        self._respond({}, now)

    def _position(self, when: Instant) -> int:
        """Where in the input audio that is, in milliseconds."""
        return max(0, int((when - self._origin) * 1000))

    # --- what stands behind the agent -------------------------------------------------------------

    def backend_lost(self, detail: str, now: Instant) -> None:
        if self._lost:
            return
        self._lost = True
        self._clients.refuse(lost(detail), None)
        self._playback.complete()
        self._fail(LOST, detail)

    def backend_restored(self, now: Instant) -> None:
        if self._lost:
            self._lost = False
            self._clients.tell(RESTORED)
