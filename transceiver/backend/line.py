"""A call as its agent holds it: the ``Backend`` that stands between packets and an agent.

Four parts meet here, none of which knows another: the ``Listener`` that makes sound of packets, the
``Speaker`` that makes packets of sound, the ``Exchange`` that holds the conversation of events with
the client, and the agent. Each of the first three is a core: told what happened and when, it says
what follows. This room asks them after every input, carries out what they say, and keeps one timer
for the next instant at which any of them wants to be asked.

Carrying out may lead to more of the same (an agent that hears the client speak may speak itself),
so nothing is carried out from within: a verb called in the middle of it leaves its mark and
returns, and whoever is at it already goes round again.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from attrs import define, field, frozen

from stunroute.instant import Instant
from transceiver import realtime
from transceiver.config import RealtimeLimits, VoiceLimits
from transceiver.errors import NoEvents
from transceiver.events import (
    EVENTS_CHANNEL,
    AudioReceived,
    ChannelClosed,
    ChannelDrained,
    ChannelOpened,
    Ended,
    Established,
    Event,
    MessageReceived,
)
from transceiver.realtime.exchange import Exchange
from transceiver.realtime.session import TurnDetection, effective, turn_detection
from transceiver.realtime.wire import write
from transceiver.voice.activity import EnergyActivity, SpeechBegan, VoiceActivity
from transceiver.voice.listener import Listener, Sound
from transceiver.voice.speaker import Flushed, Speaker, UtteranceEnded

from . import agent as told
from .agent import Agent, AgentEvent, AgentFactory, JsonObject
from .interface import (
    Attachment,
    Backend,
    BackendFactory,
    Call,
    CallRequest,
    Listening,
    SendAudio,
)

_FIRST_SIDE = 65536
"""Number of the first connection on the side; those below are data channels."""
_ROUNDS = 16
_OUTPUTS = 1024
"""Rounds in one go, and outputs carried out in each. An agent that answers every event with another
is cut short there, and goes on when the loop has seen to the other calls."""
_MISSED = 65_536
"""Characters of events that are kept for the first connection to come; the oldest go. An agent that
greets may be quicker than the client's channel, and a client that had not seen an answer begin
would know nothing of what it hears."""


MakeActivity: TypeAlias = Callable[[TurnDetection], VoiceActivity]
"""Makes what tells speech from silence in one call, as its session wants it."""


def by_energy(wanted: TurnDetection) -> VoiceActivity:
    """By loudness."""
    return EnergyActivity(wanted.threshold, wanted.prefix, wanted.silence)


@frozen(slots=True)
class _Side:
    """A connection for events beside the client's own channel."""

    line: "OnLine"
    source: int
    send: Callable[[str], None]
    close: Callable[[], None]

    def receive(self, text: str | bytes) -> None:
        self.line.receive_event_untrusted(text, self.source)

    def detach(self) -> None:
        self.line.detached(self.source)


@define(slots=True, eq=False)
class OnLine:
    """An agent on a call. ``Backend`` and ``Attachable`` to the one, ``Line`` to the other."""

    call: Call = field(repr=False)
    limits: VoiceLimits = field(factory=VoiceLimits, repr=False)
    events: RealtimeLimits = field(factory=RealtimeLimits, repr=False)
    activity: MakeActivity = field(default=by_energy, repr=False)
    now: Callable[[], Instant] = field(init=False, repr=False)
    send_audio: SendAudio = field(init=False, repr=False)
    """The call's own, as ``now``: an agent that takes packets uses both for each of them."""
    agent: Agent = field(init=False, repr=False)
    exchange: Exchange | None = field(init=False, default=None, repr=False)
    dropped_events: int = field(init=False, default=0)
    """Events that a data channel did not take (longer than the client takes, or too much waited),
    or that were too many before there was any."""
    _packets: bool = field(init=False, default=False)
    _listener: Listener | None = field(init=False, default=None)
    _speaker: Speaker | None = field(init=False, default=None)
    _sides: dict[int, _Side] = field(init=False, factory=dict, repr=False)
    _next_side: int = field(init=False, default=_FIRST_SIDE)
    _channels: set[int] = field(init=False, factory=set)
    _turned_away: set[int] = field(init=False, factory=set)
    """Channels for events beyond those there may be, until they are closed."""
    _missed: deque[str] | None = field(init=False, factory=deque, repr=False)
    """None from the first connection on."""
    _session: dict[str, Any] = field(init=False, factory=dict, repr=False)
    _resample: Callable[[bytes], bytes] | None = field(init=False, default=None, repr=False)
    _over: bool = field(init=False, default=False)
    _carrying: bool = field(init=False, default=False)
    _again: bool = field(init=False, default=False)
    _cancel: Callable[[], None] | None = field(init=False, default=None, repr=False)
    _wake_at: Instant = field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        self.now, self.send_audio = self.call.now, self.call.send_audio

    def begin(self, make: AgentFactory) -> None:
        """Make the agent, and what stands between it and the call. Raises what either does."""
        request = self.call.request
        self._session = effective(request.session, id="", model=request.model)
        self.agent = make(self)
        rate, codec = self.agent.rate, self.call.codec
        self._packets = rate is None
        self.exchange = realtime.make_exchange(
            speaks_realtime=self.agent.speaks_realtime,
            entropy=os.urandom,
            asked=request.session,
            model=request.model,
            limits=self.events,
        )
        if rate is not None and codec:
            self._listener = Listener(codec, self.call.clock_rate, rate, self.limits)
            self._speaker = Speaker(codec, self.call.clock_rate, rate, self.limits)
            self._watch(self.exchange.session)

    def _watch(self, session: JsonObject) -> None:
        """Listen for speech as the session wants it. An agent that speaks Realtime has a server
        that does so, and two opinions would be one too many."""
        if self._listener is None or self.agent.speaks_realtime:
            return
        wanted = turn_detection(session)
        self._listener.watch(None if wanted is None else self.activity(wanted))

    # --- the call's side: Backend ---------------------------------------------------------------

    def listen(self) -> Callable[[AudioReceived], None]:
        """See ``interface.Listening``: an agent that takes packets is given them by the call."""
        if not self._packets:
            return self._hear_packet
        return self.agent.listen() if isinstance(self.agent, Listening) else self.agent.receive

    def _hear_packet(self, event: AudioReceived) -> None:
        if self._listener is not None:
            self._listener.insert(event, self.now())
            self._settle()

    def receive(self, event: Event) -> None:
        """See ``interface.Backend``."""
        match event:
            case AudioReceived() if self._packets:
                self._inform(event)
                return
            case AudioReceived():
                self._hear_packet(event)
                return
            case Established():
                self._talk().open(self.now())
                self._inform(told.Started())
            case ChannelOpened(channel=channel, label=label) if label == EVENTS_CHANNEL:
                if self._talk().connected(channel, self.now()):
                    self._channels.add(channel)
                else:
                    self._turned_away.add(channel)
                    self.call.close_channel(channel)
            case MessageReceived(channel=channel, message=message) if channel in self._channels:
                self._talk().receive_untrusted(message, channel, self.now())
            case ChannelClosed(channel=channel) if channel in self._channels:
                self._channels.discard(channel)
                self._talk().disconnected(channel)
            case ChannelClosed(channel=channel) if channel in self._turned_away:
                self._turned_away.discard(channel)
            case MessageReceived(channel=channel) if channel in self._turned_away:
                return
            case ChannelDrained(channel=channel) if channel in self._channels:
                return
            case ChannelOpened() | ChannelDrained() | ChannelClosed() | MessageReceived():
                self._inform(event)
            case Ended():
                self._end(event)
                return
            case _:
                return
        self._settle()

    def _end(self, event: Ended) -> None:
        self._over = True
        if self._cancel is not None:  # it would keep all this until it is due
            self._cancel()
            self._cancel = None
        self._talk().end(self.now())
        sides, self._sides = self._sides, {}
        for side in sides.values():
            side.close()
        self.agent.receive(told.Ended(event.reason.value))

    def _inform(self, event: AgentEvent) -> None:
        """Tell the agent, unless the last thing it is told has been said: it may have hung up
        while it was told what came before this."""
        if not self._over:
            self.agent.receive(event)

    def _talk(self) -> Exchange:
        assert self.exchange is not None, "events come after the backend was made"
        return self.exchange

    # --- connections on the side: Attachable ----------------------------------------------------

    def attach(self, send: Callable[[str], None], close: Callable[[], None]) -> Attachment:
        """See ``interface.Attachable``."""
        side = _Side(self, self._next_side, send, close)
        self._next_side += 1
        if not self._talk().connected(side.source, self.now()):
            raise NoEvents("the call has as many connections for events as it may have")
        self._sides[side.source] = side
        self._settle()
        return side

    def receive_event_untrusted(self, text: str | bytes, source: int) -> None:
        """An event that came on a connection on the side."""
        if source in self._sides:
            self._talk().receive_untrusted(text, source, self.now())
            self._settle()

    def detached(self, source: int) -> None:
        """A connection on the side is gone."""
        if self._sides.pop(source, None) is not None:
            self._talk().disconnected(source)

    # --- the agent's side: Line -----------------------------------------------------------------

    @property
    def id(self) -> str:
        return self.call.id

    @property
    def request(self) -> CallRequest:
        return self.call.request

    @property
    def session(self) -> JsonObject:
        return self._session if self.exchange is None else self.exchange.session

    def call_at(self, when: Instant, callback: Callable[[], None]) -> Callable[[], None]:
        return self.call.call_at(when, callback)

    def play(self, pcm: bytes) -> None:
        if self._over or not pcm:
            return
        if self._talk().speaking(self.now()) and self._speaker is not None:
            self._speaker.play(pcm, self.now())
        self._settle()

    def finish(self) -> None:
        if self._over:
            return
        self._talk().finish(self.now())
        self._finish_sound()
        self._settle()

    def _finish_sound(self) -> None:
        if self._speaker is not None:
            self._speaker.finish(self.now())

    def flush(self) -> float:
        if self._over:
            return 0.0
        flushed = self._silence()
        self._settle()
        return flushed.played

    def _silence(self) -> Flushed:
        flushed = Flushed(0.0, 0.0)
        if self._speaker is not None:
            flushed = self._speaker.flush(self.now())
        self._talk().flushed(flushed.played, flushed.unplayed, self.now())
        return flushed

    @property
    def played(self) -> float:
        return 0.0 if self._speaker is None else self._speaker.played

    @property
    def waiting(self) -> float:
        return 0.0 if self._speaker is None else self._speaker.waiting

    @property
    def lost(self) -> float:
        return 0.0 if self._speaker is None else self._speaker.lost

    def send(self, event: JsonObject) -> None:
        if not self._over:
            self._talk().agent_event(event, self.now())
            self._settle()

    def say_text(self, text: str) -> None:
        if not self._over:
            self._talk().said(text, self.now())
            self._settle()

    def send_message(self, channel: int, message: str | bytes) -> bool:
        return channel not in self._channels and self.call.send_message(channel, message)

    def buffered_amount(self, channel: int) -> int:
        return self.call.buffered_amount(channel)

    def backend_lost(self, detail: str) -> None:
        if not self._over:
            self._talk().backend_lost(detail, self.now())
            self._settle()

    def backend_restored(self) -> None:
        if not self._over:
            self._talk().backend_restored(self.now())
            self._settle()

    def hang_up(self) -> None:
        self.call.hang_up()

    # --- between them ---------------------------------------------------------------------------

    def _settle(self) -> None:
        """Ask the cores until none has anything to say, and set the timer."""
        self._again = True
        if self._carrying:
            return
        self._carrying = True
        try:
            for _ in range(_ROUNDS):
                if not self._again or self._over:
                    break
                self._again = False
                self._speak()
                self._listen()
                self._carry_out()
        finally:
            self._carrying = False
        if not self._over:
            self._set_timer()

    def _speak(self) -> None:
        """Send the packets that are due, and tell how the utterance stands."""
        speaker, now = self._speaker, self.now()
        if speaker is None:
            return
        while (packet := speaker.next_packet(now)) is not None:
            self.call.send_audio(packet.payload, packet.timestamp, packet.marker)
        while (event := speaker.next_event()) is not None:
            self._again = True
            match event:
                case UtteranceEnded(played=played, finished=finished):
                    if not finished:
                        self._talk().finish(now)
                    self._talk().playback_ended(played, now)
                    self._carry_out()
                    self._inform(told.Heard(played))
                case _:
                    self._talk().playback_started(now)

    def _listen(self) -> None:
        """Tell the agent what there is to hear."""
        listener = self._listener
        if listener is None:
            return
        for heard in listener.pull(self.now()):
            if self._over:
                return
            match heard:
                case Sound(pcm=pcm):
                    self.agent.hear(pcm)
                case SpeechBegan(at=at):
                    playing = self._speaker is not None and (
                        self._speaker.speaking or self._speaker.waiting > 0.0
                    )
                    self._talk().speech_started(at, self.now(), playing)
                    self._carry_out()  # an Interrupted goes before
                    self._inform(told.SpeechStarted(at))
                case _:
                    self._talk().speech_stopped(heard.at, self.now())
                    self._carry_out()
                    self._inform(told.SpeechStopped(heard.at))

    def _carry_out(self) -> None:
        """Do what the exchange says."""
        exchange = self._talk()
        due = exchange.next_timeout()
        if due is not None and due <= self.now():
            exchange.handle_timeout(self.now())
        for _ in range(_OUTPUTS):
            output = exchange.next_output()
            match output:
                case None:
                    return
                case realtime.ToClient(event=event, to=to):
                    self._tell(event, to)
                case realtime.ToAgent(event=event):
                    self._inform(told.ClientEvent(event))
                case realtime.Play(pcm=pcm):
                    self._play(pcm)
                case realtime.Finish():
                    self._finish_sound()
                    self._again = True
                case realtime.Flush():
                    flushed = self._silence()
                    self._inform(told.Interrupted(flushed.played, flushed.unplayed))
                case realtime.Hear(pcm=pcm, rate=rate):
                    self._hear(pcm, rate)
                case realtime.Respond(response=response, text=text):
                    self._inform(told.ResponseRequested(response, text))
                case realtime.Changed(session=session):
                    self._watch(session)
                    self._inform(told.SessionChanged(session))
        self._again = True

    def _play(self, pcm: bytes) -> None:
        if self._speaker is not None:
            self._speaker.play(pcm, self.now())
            self._again = True

    def _hear(self, pcm: bytes, rate: int) -> None:
        """Sound that came as an event, for the agent in its own rate and in its usual pieces."""
        wanted = self.agent.rate
        if wanted is None:
            return
        if self._resample is None:
            self._resample = _converter(rate, wanted)
        size = rate // 50 * 2
        for start in range(0, len(pcm), size):
            if self._over:
                return
            piece = pcm[start : start + size]
            self.agent.hear(self._resample(piece.ljust(size, b"\0")))

    def _tell(self, event: dict[str, Any], to: int | None) -> None:
        """Send an event to one connection, or to all."""
        text = write(event)
        if self._missed is not None:
            if not self._channels and not self._sides:
                self._miss(self._missed, text)
                return
            missed, self._missed = self._missed, None
            greeting = event.get("type") == "session.created"
            for each in [text, *missed] if greeting else [*missed, text]:
                self._send(each, to)
            return
        self._send(text, to)

    def _miss(self, missed: deque[str], text: str) -> None:
        missed.append(text)
        while sum(map(len, missed)) > _MISSED:
            missed.popleft()
            self.dropped_events += 1

    def _send(self, text: str, to: int | None) -> None:
        for channel in sorted(self._channels) if to is None else [to]:
            if channel in self._channels and not self.call.send_message(channel, text):
                self.dropped_events += 1
        for side in self._reached(to):
            side.send(text)

    def _reached(self, to: int | None) -> Iterable[_Side]:
        if to is None:
            return list(self._sides.values())
        return [self._sides[to]] if to in self._sides else []

    # --- the timer ------------------------------------------------------------------------------

    def _set_timer(self) -> None:
        """Keep one timer, for whoever wants to be asked first."""
        wanted = [
            part.next_timeout()
            for part in (self._speaker, self._listener, self.exchange)
            if part is not None
        ]
        due = min((at for at in wanted if at is not None), default=None)
        if self._again:  # cut short
            due = self.now()
        if self._cancel is not None:
            if due is not None and self._wake_at <= due:
                return  # early enough: it costs less to wake once in vain
            self._cancel()
            self._cancel = None
        if due is not None:
            self._wake_at = due
            self._cancel = self.call.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._cancel = None
        self._settle()


def _converter(source: int, target: int) -> Callable[[bytes], bytes]:
    """From 20 ms at one rate to 20 ms at the other, over 48 kHz where neither divides the other."""
    import numpy as np

    from transceiver.voice.resample import Resampler

    if source % target and target % source:
        steps = [Resampler(source, 48000), Resampler(48000, target)]
    else:
        steps = [Resampler(source, target)]

    def convert(pcm: bytes) -> bytes:
        samples = np.frombuffer(pcm, "<i2")
        for step in steps:
            samples = step.convert(samples)
        return samples.astype("<i2").tobytes()

    return convert


def on_line(
    make: AgentFactory,
    limits: VoiceLimits | None = None,
    events: RealtimeLimits | None = None,
    *,
    activity: MakeActivity = by_energy,
) -> BackendFactory:
    """A backend that gives each call an agent of ``make``. ``activity`` makes what hears the client
    begin and stop to speak, where another is wanted than the edge's own."""

    def on_call(call: Call) -> Backend:
        line = OnLine(call, limits or VoiceLimits(), events or RealtimeLimits(), activity)
        line.begin(make)
        return line

    return on_call
