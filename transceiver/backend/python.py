"""An agent as a Python class: the shortest way to a first one.

A class says what it does when something happens, each in a method of its own. A plain method runs
at once, on the loop that carries all calls, so it must not wait. An ``async`` one may: those run in
one task, one after the other in the order in which things happened, so that an agent needs no locks
and can think without losing what is said meanwhile. What waits for it is bounded; the oldest of the
client's voice goes first.

A plain method does not wait for the async ones before it. That is how an agent that is busy
answering learns that it has been interrupted.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from importlib import import_module
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from attrs import Attribute, define, field, frozen

from stunroute.errors import ConfigError
from transceiver.events import (
    AudioReceived,
    ChannelClosed,
    ChannelDrained,
    ChannelOpened,
    MessageReceived,
)
from transceiver.realtime.session import SESSION_RATE

from .agent import (
    Agent,
    AgentEvent,
    AgentFactory,
    ClientEvent,
    Ended,
    Heard,
    Interrupted,
    JsonObject,
    Line,
    ResponseRequested,
    SessionChanged,
    SpeechStarted,
    SpeechStopped,
    Started,
)
from .task import failed_in

WAITING = 1024
"""Things that may wait for an agent's async methods. When there are more the oldest of the client's
voice goes, and is counted; when none of it is left, the agent has failed and the call ends."""
GRACE = 5.0
"""Seconds after the end of the call for which async methods may go on."""


class TooSlow(Exception):
    """More than ``WAITING`` things wait for an agent's async methods."""


class VoiceAgent:
    """The base of an agent. One object for each call; ``line`` is there before any method runs.

    ``rate`` is in samples per second, 8000, 16000, 24000 or 48000. Sound is PCM, 16 bits signed,
    little-endian, mono. Every ``on_`` method may be plain or ``async``; what one of them raises
    ends the call.
    """

    rate: ClassVar[int] = SESSION_RATE
    speaks_realtime: ClassVar[bool] = False
    line: Line
    lost: int = 0
    """Pieces of the client's voice, 20 ms each, that went unheard because ``on_audio`` is slow."""

    def on_start(self) -> Any:
        """The call is established."""

    def on_audio(self, pcm: bytes) -> Any:
        """20 ms of the client, at real time, silence included."""

    def on_speech_started(self, at: float) -> Any:
        """The client began to speak, ``at`` seconds into the call's input audio."""

    def on_speech_stopped(self, at: float) -> Any:
        """The client's turn is over."""

    def on_interrupted(self, played: float, unplayed: float) -> Any:
        """What the agent said was silenced: ``played`` seconds of it had been heard."""

    def on_heard(self, played: float) -> Any:
        """What ``finish`` closed has been heard to its end."""

    def on_response_requested(self, response: JsonObject, text: str) -> Any:
        """The client asks for a response; ``text`` is what it has written."""

    def on_session_changed(self, session: JsonObject) -> Any:
        """The Realtime session, as it stands from now on."""

    def on_channel_opened(self, channel: int, label: str) -> Any:
        """A data channel of the client's own."""

    def on_message(self, channel: int, message: str | bytes) -> Any:
        """A message on one."""

    def on_channel_drained(self, channel: int) -> Any:
        """What waited on one has been sent, or nearly."""

    def on_channel_closed(self, channel: int) -> Any:
        """It is gone."""

    def on_end(self, reason: str) -> Any:
        """The call is over; the last that happens."""

    def play(self, pcm: bytes) -> None:
        """See ``Line.play``."""
        self.line.play(pcm)

    def say(self, text: str) -> None:
        """The words of what is played, for the client's transcript: ``Line.say_text``."""
        self.line.say_text(text)

    def finish(self) -> None:
        """See ``Line.finish``."""
        self.line.finish()

    def flush(self) -> float:
        """See ``Line.flush``."""
        return self.line.flush()

    def send(self, event: JsonObject) -> None:
        """See ``Line.send``."""
        self.line.send(event)

    def send_message(self, channel: int, message: str | bytes) -> bool:
        """See ``Line.send_message``."""
        return self.line.send_message(channel, message)

    def buffered_amount(self, channel: int) -> int:
        """See ``Line.buffered_amount``."""
        return self.line.buffered_amount(channel)

    def hang_up(self) -> None:
        """See ``Line.hang_up``."""
        self.line.hang_up()


Work: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


@define(slots=True, eq=False)
class _Inbox:
    """What async methods still have to do, in order. Sound may go, nothing else."""

    _work: deque[tuple[int, Work]] = field(init=False, factory=deque)
    _sound: deque[tuple[int, Work]] = field(init=False, factory=deque)
    _order: int = field(init=False, default=0)
    _filled: asyncio.Event = field(init=False, factory=asyncio.Event)

    def put(self, work: Work, *, sound: bool) -> bool:
        """Add ``work``. False where older sound had to go for it. Raises TooSlow."""
        full = len(self._work) + len(self._sound) >= WAITING
        if full and not self._sound:
            raise TooSlow(f"{WAITING} things wait for the agent")
        if full:
            self._sound.popleft()
        self._order += 1
        (self._sound if sound else self._work).append((self._order, work))
        self._filled.set()
        return not full

    async def next(self) -> Work:
        while not self._work and not self._sound:
            self._filled.clear()
            await self._filled.wait()
        first = min((queue for queue in (self._work, self._sound) if queue), key=lambda q: q[0][0])
        return first.popleft()[1]


@define(slots=True, eq=False)
class InProcess:
    """Carries what happens in a call to the methods of a ``VoiceAgent``."""

    line: Line = field(repr=False)
    agent: VoiceAgent
    rate: int | None = field(init=False)
    speaks_realtime: bool = field(init=False)
    _inbox: _Inbox = field(init=False, factory=_Inbox, repr=False)
    _task: asyncio.Task[None] | None = field(init=False, default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        self.agent.line = self.line
        self.rate = self.agent.rate
        self.speaks_realtime = self.agent.speaks_realtime

    def hear(self, pcm: bytes) -> None:
        """See ``agent.Agent``."""
        self._do(self.agent.on_audio, pcm, sound=True)

    def receive(self, event: AgentEvent) -> None:
        """See ``agent.Agent``."""
        agent = self.agent
        match event:
            case Started():
                self._do(agent.on_start)
            case SpeechStarted(at):
                self._do(agent.on_speech_started, at)
            case SpeechStopped(at):
                self._do(agent.on_speech_stopped, at)
            case Interrupted(played, unplayed):
                self._do(agent.on_interrupted, played, unplayed)
            case Heard(played):
                self._do(agent.on_heard, played)
            case ResponseRequested(response, text):
                self._do(agent.on_response_requested, response, text)
            case SessionChanged(session):
                self._do(agent.on_session_changed, session)
            case ChannelOpened():
                self._do(agent.on_channel_opened, event.channel, event.label)
            case MessageReceived():
                self._do(agent.on_message, event.channel, event.message)
            case ChannelDrained():
                self._do(agent.on_channel_drained, event.channel)
            case ChannelClosed():
                self._do(agent.on_channel_closed, event.channel)
            case Ended(reason):
                self._end(reason)
            case ClientEvent() | AudioReceived():
                pass  # for agents of other kinds

    def _do(self, method: Callable[..., Any], *arguments: Any, sound: bool = False) -> None:
        if not iscoroutinefunction(method):
            method(*arguments)
            return
        if not self._inbox.put(partial(method, *arguments), sound=sound):
            self.agent.lost += 1
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work(), name=self.line.id)
            self._task.add_done_callback(partial(failed_in, self.line))

    def _end(self, reason: str) -> None:
        try:
            self._do(self.agent.on_end, reason)
            self._inbox.put(self._rest, sound=False)
        except TooSlow:
            self._stop()
        except Exception:
            self._stop()
            raise
        if self._task is not None:
            timer = asyncio.get_running_loop().call_later(GRACE, self._task.cancel)
            self._task.add_done_callback(lambda _: timer.cancel())

    async def _work(self) -> None:
        while True:
            work = await self._inbox.next()
            await work()

    async def _rest(self) -> None:
        """The last thing there is to do."""
        self._stop()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()


def in_process(make: Callable[[], VoiceAgent]) -> AgentFactory:
    """Agents that ``make`` (a class, or any callable) gives one of for each call."""

    def factory_of_one(line: Line) -> Agent:
        return InProcess(line, make())

    return factory_of_one


@frozen(slots=True)
class PythonOptions:
    """``agent`` names a class, ``package.module:Class``, that derives from ``VoiceAgent`` (or a
    callable that makes one); ``directory`` is where its module is looked for first, ``arguments``
    what it is called with, by name."""

    agent: str = field()
    directory: Path | None = None
    arguments: Mapping[str, object] = field(factory=dict, repr=False)

    @agent.validator
    def _check_agent(self, attribute: "Attribute[str]", value: str) -> None:
        module, _, name = value.partition(":")
        if not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
            raise ConfigError(attribute.name, "is not package.module:Class")


def factory(options: PythonOptions) -> AgentFactory:
    """Agents of the class that ``options`` names. Imports it; raises ConfigError where there is
    none."""
    module, _, name = options.agent.partition(":")
    if options.directory is not None and str(options.directory) not in sys.path:
        sys.path.insert(0, str(options.directory))
    try:
        found = getattr(import_module(module), name, None)
    except ImportError as error:
        raise ConfigError("agent", f"cannot be imported: {error}") from None
    if not callable(found):
        raise ConfigError("agent", f"is nothing that can be called in {module}")
    return in_process(partial(found, **options.arguments))
