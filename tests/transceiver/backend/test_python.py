"""Agents that are Python classes: what runs when, in which order, and what too much leads to."""

import asyncio
import gc
import sys
import weakref
from pathlib import Path

import pytest

from lines import FakeLine, run, until
from stunroute.config import load
from stunroute.errors import ConfigError
from transceiver.backend import python
from transceiver.backend.agent import (
    ClientEvent,
    Ended,
    Heard,
    Interrupted,
    ResponseRequested,
    SessionChanged,
    SpeechStarted,
    SpeechStopped,
    Started,
)
from transceiver.backend.python import (
    WAITING,
    PythonOptions,
    TooSlow,
    VoiceAgent,
    factory,
    in_process,
)
from transceiver.events import (
    AudioReceived,
    ChannelClosed,
    ChannelDrained,
    ChannelOpened,
    MessageReceived,
)

FRAME = bytes(960)
EVENTS = [
    (Started(), ("start",)),
    (SpeechStarted(1.5), ("speech_started", 1.5)),
    (SpeechStopped(2.5), ("speech_stopped", 2.5)),
    (Interrupted(0.5, 1.0), ("interrupted", 0.5, 1.0)),
    (Heard(3.0), ("heard", 3.0)),
    (ResponseRequested({"x": 1}, "hi"), ("response_requested", {"x": 1}, "hi")),
    (SessionChanged({"voice": "a"}), ("session_changed", {"voice": "a"})),
    (ChannelOpened("c", 2, "chat", "", True, False), ("channel_opened", 2, "chat")),
    (MessageReceived("c", 2, b"m"), ("message", 2, b"m")),
    (ChannelDrained("c", 2), ("channel_drained", 2)),
    (ChannelClosed("c", 2), ("channel_closed", 2)),
    (Ended("over"), ("end", "over")),
]
IGNORED = [ClientEvent({}), AudioReceived("c", "opus", b"", 0, 0, 48000, False)]


def logging_agent(waits):
    """An agent that writes down what happens, in plain methods or in async ones."""

    class Logger(VoiceAgent):
        def __init__(self):
            self.seen = []

    def plain(name):
        return lambda self, *arguments: self.seen.append((name, *arguments))

    def waiting(name):
        async def method(self, *arguments):
            await asyncio.sleep(0)
            self.seen.append((name, *arguments))

        return method

    for _, (name, *_) in [*EVENTS, (None, ("audio",))]:
        setattr(Logger, f"on_{name}", (waiting if waits else plain)(name))
    return Logger


def test_an_agent_is_not_kept_when_it_is_done():
    """It has some seconds after the end of the call, and those are not waited for."""

    class Quick(VoiceAgent):
        async def on_start(self):
            pass

    async def story():
        line = FakeLine()
        agent = in_process(Quick)(line)
        agent.receive(Started())
        agent.receive(Ended("over"))
        kept = weakref.ref(agent)
        del agent
        await until(
            lambda: not [task for task in asyncio.all_tasks() if task.get_name() == line.id]
        )
        gc.collect()
        assert kept() is None

    run(story)


def test_an_end_that_fails_leaves_no_task_behind():
    class Bad(VoiceAgent):
        async def on_start(self):
            pass

        def on_end(self, reason):
            raise RuntimeError("nothing was saved")

    async def story():
        line = FakeLine()
        agent = in_process(Bad)(line)
        agent.receive(Started())
        with pytest.raises(RuntimeError):
            agent.receive(Ended("over"))
        await until(
            lambda: not [task for task in asyncio.all_tasks() if task.get_name() == line.id]
        )

    run(story)


@pytest.mark.parametrize("waits", [False, True])
def test_everything_reaches_its_method_in_order(waits):
    async def story():
        line = FakeLine()
        agent = in_process(logging_agent(waits))(line)
        assert (agent.rate, agent.speaks_realtime) == (24000, False)
        assert agent.agent.line is line
        for event in IGNORED:
            agent.receive(event)
        for event, _ in EVENTS[:-1]:
            agent.receive(event)
        agent.hear(FRAME)
        agent.receive(EVENTS[-1][0])
        expected = [entry for _, entry in EVENTS[:-1]] + [("audio", FRAME), EVENTS[-1][1]]
        await until(lambda: agent.agent.seen == expected)
        await until(lambda: len(asyncio.all_tasks()) == 1)
        assert line.failure is None

    run(story)


def test_an_agent_that_overrides_nothing_is_one():
    async def story():
        agent = in_process(VoiceAgent)(FakeLine())
        agent.hear(FRAME)
        for event, _ in EVENTS:
            agent.receive(event)
        assert len(asyncio.all_tasks()) == 1

    run(story)


def test_plain_methods_do_not_wait_for_async_ones():
    class Thinker(VoiceAgent):
        rate = 16000
        cut = None

        async def on_speech_stopped(self, at):
            self.go = asyncio.Event()
            await self.go.wait()
            if self.cut is None:
                self.play(FRAME)

        def on_interrupted(self, played, unplayed):
            self.cut = played
            self.go.set()

    async def story():
        line = FakeLine()
        agent = in_process(Thinker)(line)
        assert agent.rate == 16000
        agent.receive(SpeechStopped(1.0))
        await until(lambda: hasattr(agent.agent, "go"))
        agent.receive(Interrupted(0.0, 0.0))
        agent.receive(Ended("over"))
        await until(lambda: len(asyncio.all_tasks()) == 1)
        assert agent.agent.cut == 0.0
        assert line.said == b""

    run(story)


def test_the_verbs_are_the_line_s():
    async def story():
        line = FakeLine()
        agent = in_process(VoiceAgent)(line).agent
        agent.play(FRAME)
        agent.say("words")
        agent.finish()
        line.pass_time(0.01)
        assert agent.flush() == 0.01
        agent.send({"type": "x"})
        assert agent.send_message(1, "text")
        agent.hang_up()
        assert bytes(line.said) == FRAME
        assert line.words == ["words"]
        assert line.finished == 1
        assert line.sent == [{"type": "x"}]
        assert line.messages == [(1, "text")]
        assert line.hung_up

    run(story)


class Stuck(VoiceAgent):
    def __init__(self):
        self.go = asyncio.Event()
        self.heard = []
        self.turns = 0

    async def on_start(self):
        await self.go.wait()

    async def on_audio(self, pcm):
        self.heard.append(pcm)

    async def on_speech_stopped(self, at):
        self.turns += 1


def test_the_oldest_sound_goes_first_and_is_counted():
    async def story():
        agent = in_process(Stuck)(FakeLine())
        agent.receive(Started())
        await asyncio.sleep(0)
        for number in range(WAITING + 10):
            agent.hear(number.to_bytes(2, "big"))
        for _ in range(5):
            agent.receive(SpeechStopped(1.0))
        assert agent.agent.lost == 15
        agent.agent.go.set()
        agent.receive(Ended("over"))
        await until(lambda: len(asyncio.all_tasks()) == 1)
        assert agent.agent.turns == 5
        # One more had to go for the end itself.
        kept = range(16, WAITING + 10)
        assert agent.agent.heard == [number.to_bytes(2, "big") for number in kept]

    run(story)


def test_an_agent_for_which_too_much_waits_that_is_no_sound_has_failed():
    async def story():
        agent = in_process(Stuck)(FakeLine())
        agent.receive(Started())
        await asyncio.sleep(0)
        for _ in range(WAITING):
            agent.receive(SpeechStopped(1.0))
        with pytest.raises(TooSlow):
            agent.receive(SpeechStopped(1.0))
        with pytest.raises(TooSlow):
            agent.hear(FRAME)
        agent.receive(Ended("failed"))
        await until(lambda: len(asyncio.all_tasks()) == 1)

    run(story)


def test_an_agent_that_does_not_come_to_its_end_is_cancelled(monkeypatch):
    monkeypatch.setattr(python, "GRACE", 0.01)

    async def story():
        agent = in_process(Stuck)(FakeLine())
        agent.receive(Started())
        await asyncio.sleep(0)
        agent.receive(Ended("over"))
        await until(lambda: len(asyncio.all_tasks()) == 1)

    run(story)


@pytest.mark.parametrize("waits", [False, True])
def test_what_a_method_raises_ends_its_own_call(waits):
    class Broken(VoiceAgent):
        def on_start(self):
            raise ZeroDivisionError

    class BrokenLater(VoiceAgent):
        async def on_start(self):
            raise ZeroDivisionError

    async def story():
        line = FakeLine()
        agent = in_process(BrokenLater if waits else Broken)(line)
        if not waits:
            with pytest.raises(ZeroDivisionError):
                agent.receive(Started())
            return
        agent.receive(Started())
        await until(lambda: line.failure)
        assert isinstance(line.failure, ZeroDivisionError)
        agent.receive(Ended("failed"))

    run(story)


# Options

MODULE = """
from transceiver.backend.python import VoiceAgent

class Agent(VoiceAgent):
    def __init__(self, name="nobody"):
        self.name = name

nothing = 7
"""


def structured(**options):
    return load(PythonOptions, path=None, environ={}, prefix="", options=options)


def test_a_class_is_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [*sys.path])
    (tmp_path / "agent_of_a_test.py").write_text(MODULE)
    options = {"agent": "agent_of_a_test:Agent", "directory": str(tmp_path)}
    made = factory(structured(**options))
    one, other = made(FakeLine()), made(FakeLine())
    assert one.agent is not other.agent
    assert one.agent.name == "nobody"
    named = factory(structured(**options, arguments={"name": "somebody"}))(FakeLine())
    assert named.agent.name == "somebody"
    for name in ("nothing", "missing"):
        with pytest.raises(ConfigError, match=r"^agent: "):
            factory(structured(agent=f"agent_of_a_test:{name}"))
    with pytest.raises(ConfigError, match=r"^agent: cannot be imported"):
        factory(structured(agent="no_such_module_here:Agent"))


@pytest.mark.parametrize("agent", ["", "module", "module:", ":Class", "a b:C", "a..b:C", "a:b:c"])
def test_a_name_that_is_none_is_refused(agent):
    with pytest.raises(ConfigError) as caught:
        structured(agent=agent)
    assert caught.value.key == "agent"


def test_the_example_says_back_what_it_hears(monkeypatch):
    monkeypatch.setattr("sys.path", [*sys.path])
    examples = Path(__file__).parents[2] / "examples"

    async def story():
        line = FakeLine()
        agent = factory(structured(agent="parrot:Parrot", directory=str(examples)))(line)
        agent.receive(Started())
        for number in range(100):
            agent.hear(bytes([number, 0]) * 480)
        agent.receive(SpeechStarted(1.9))
        agent.hear(b"\x64\x00" * 480)
        agent.receive(SpeechStopped(2.5))
        await until(lambda: line.finished)
        expected = b"".join(bytes([number, 0]) * 480 for number in range(75, 101))
        assert bytes(line.said) == expected
        agent.receive(Ended("over"))
        await until(lambda: len(asyncio.all_tasks()) == 1)

    run(story)
