"""Conversations of real browsers with agents, by the buttons of the demo's page.

The page measures an interruption at the ear: from the click, or from the first loud sample of the
voice that cuts in, to the last loud sample of the agent's. In it are the way of the event to the
server, what the browser's jitter buffer holds (20 ms on a quiet machine, much more on a busy one)
and its audio's way through the page. The server's own part is told apart by its word that it has
let go of what waited.
"""

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from browser import Browser, launch, names
from demo import Demo, Page
from namespace import Namespace
from realtime_server import Conversation, RealtimeServer
from source import ROOT
from tools import require_root, require_tool
from voices import speech

pytestmark = pytest.mark.live

SILENT_WITHIN = {"chromium": 500.0, "firefox": 1500.0}
"""Milliseconds from the server's word to silence at the ear, of which the aim is 60: room for a
machine that does other things too. What stands in Firefox for sound hardware takes the sound in
bursts, for which its jitter buffer holds some 200 ms where it aims at 60."""
TONE = 660.0
"""The page's test tone in Hz."""
GONE = -50.0
"""dBFS below which nothing is heard."""


@pytest.fixture(scope="module")
def network() -> Iterator[Namespace]:
    require_root()
    with Namespace() as made:
        yield made


@pytest.fixture(scope="module", params=["chromium", "firefox"])
def browser(request: pytest.FixtureRequest, network: Namespace) -> Iterator[Browser]:
    require_tool(*names(request.param))
    with launch(request.param, namespace=network) as made:
        yield made


def told(page: Page, cut: dict[str, Any]) -> None:
    """What an interruption cost, for whoever runs with ``-rP``; and that it was one."""
    figures = {
        "by": cut["by"],
        "asked to word": round(cut["cleared"] - cut["began"]),
        "word to silence": round(cut["silent"] - cut["cleared"]),
        "heard of it": cut["heard"],
    }
    print(page.browser.name, figures)
    assert cut["silent"] - cut["cleared"] < SILENT_WITHIN[page.browser.name]
    assert cut["heard"] > 0


def stays_silent(page: Page, seconds: float = 0.6) -> None:
    """The agent says no more."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        report = page.report()
        assert not report["conversation"]["playing"]
        assert (report["level"] or -99) < GONE
        time.sleep(0.05)


def kinds(report: dict[str, Any]) -> list[str]:
    return [each["type"] for each in report["events"]["types"]]


def said(report: dict[str, Any], who: str = "agent") -> list[str]:
    return [turn["text"] for turn in report["conversation"]["said"] if turn["who"] == who]


def until_quiet(page: Page) -> dict[str, Any]:
    """The agent has said what it had to say."""
    return page.until(lambda report: said(report) and not report["conversation"]["playing"])


# --- the talker -----------------------------------------------------------------------------------


def test_a_talker_is_heard_silenced_by_the_button_and_called_again(
    browser: Browser, network: Namespace
) -> None:
    require_tool("espeak-ng")
    with Demo(network) as demo:
        page = Page(browser, demo)
        before = page.call_agent("talk")
        assert before["conversation"]["model"] == "talk"
        page.until_heard()
        assert said(until_quiet(page)) != []

        page.write("What do you say?")
        report = page.until_heard()
        assert said(report, "you") == ["What do you say?"]
        time.sleep(1.0)
        browser.click("#interrupt")
        cut = page.until_cut()
        assert cut["by"] == "button"
        told(page, cut)
        stays_silent(page)
        report = page.report()
        assert kinds(report).count("output_audio_buffer.cleared") == 1
        assert "error" not in kinds(report)
        assert report["conversation"]["said"][-1]["cut"] == cut["heard"]

        browser.click("#reconnect")
        again = page.until(lambda report: report["call"] not in (None, before["call"]))
        assert again["backend"] == "talk"
        report = page.until_events()
        assert report["conversation"]["cuts"] == []
        page.until_heard()
        page.hang_up()
        leave(page)


def test_a_talker_that_is_spoken_over_is_cut_off(browser: Browser, network: Namespace) -> None:
    with Demo(network) as demo:
        page = Page(browser, demo)
        page.call_agent("talk")
        page.until_heard()
        until_quiet(page)
        page.write("Go on.")
        page.until_heard()
        page.speak_over(1.2)
        cut = page.until_cut()
        assert cut["by"] == "speech"
        told(page, cut)
        report = page.until(lambda report: any("cut me off" in text for text in said(report)))
        order = kinds(report)
        began, cleared = "input_audio_buffer.speech_started", "output_audio_buffer.cleared"
        assert order.index(began) < order.index(cleared)
        assert "conversation.item.truncated" in order
        page.hang_up()
        leave(page)


def test_the_echo_is_there_beside_the_agents(browser: Browser, network: Namespace) -> None:
    with Demo(network, "--backend", "talk") as demo:
        page = Page(browser, demo)
        page.choose("echo")
        report = page.call()
        assert report["backend"] == "echo"
        assert page.tone() == pytest.approx(TONE, rel=0.02)
        assert browser.evaluate("document.querySelector('#interrupt').disabled")
        page.hang_up()
        leave(page)


def test_without_the_libraries_for_sound_there_is_still_the_echo(
    browser: Browser, network: Namespace, tmp_path: Path
) -> None:
    for name in ("numpy", "opuslib_next"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not here')\n")
    with Demo(network, environ={"PYTHONPATH": str(tmp_path)}) as demo:
        missing = {each["name"]: each["missing"] for each in demo.state["backends"]}
        assert missing["echo"] is None
        assert "stunroute[audio]" in missing["talk"]
        page = Page(browser, demo)
        page.choose("echo")
        assert browser.evaluate("document.querySelector('#backend option[value=talk]').disabled")
        page.call()
        assert page.tone() == pytest.approx(TONE, rel=0.02)
        page.hang_up()
        leave(page)


def leave(page: Page) -> None:
    """No call is left that a demo would have to end while it stops."""
    page.browser.navigate("data:text/html,")


# --- a microphone ---------------------------------------------------------------------------------

RATE = 48000
TURN, OVER = 9.0, 14.0
"""Seconds into the recording at which the person speaks: when the greeting is over, and while the
answer, some ten seconds long, is being said."""


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """What a person says in the half minute of a call."""
    sound = np.zeros(RATE * 30, np.int16)
    for at in (TURN, OVER):
        voice = speech(RATE, 1.5, loudness=6000.0)
        sound[round(at * RATE) :][: len(voice)] = voice
    path = tmp_path / "person.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(sound.astype("<i2").tobytes())
    return path


def test_a_person_with_a_microphone_takes_turns_and_cuts_in(
    network: Namespace, recording: Path
) -> None:
    require_tool(*names("chromium"))
    with (
        launch("chromium", namespace=network, microphone=recording) as browser,
        Demo(network) as demo,
    ):
        page = Page(browser, demo)
        page.call_agent("talk", "#call")
        page.until(lambda report: any("You spoke for" in text for text in said(report)), 60.0)
        cut = page.until_cut()
        assert cut["by"] == "speech"
        told(page, cut)
        page.until(lambda report: any("cut me off" in text for text in said(report)))


# --- agents of one's own --------------------------------------------------------------------------


class Running:
    """A Realtime server on a loop of its own, inside ``network``."""

    def __init__(self, network: Namespace) -> None:
        self.server = RealtimeServer(listens=True)
        self.loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=lambda: network.inside(self._run))

    def _run(self) -> None:
        try:
            self.loop.run_until_complete(self._serve())
        except BaseException as failure:
            self._failure = failure
        finally:
            self._ready.set()
            self.loop.close()

    async def _serve(self) -> None:
        async with self.server:
            self._ready.set()
            await self._stop.wait()

    def do(self, act: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            await act()

        asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)

    @property
    def talks(self) -> list[Conversation]:
        return self.server.conversations

    def __enter__(self) -> "Running":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        if self._failure is not None:
            raise self._failure


def test_a_realtime_server_of_ones_own_is_interrupted_and_reconnected(
    browser: Browser, network: Namespace
) -> None:
    with Running(network) as running, Demo(network, "--agent", running.server.url) as demo:
        page = Page(browser, demo)
        before = page.call_agent("own")
        page.speak_over(1.0)
        page.until_heard()
        browser.click("#interrupt")
        cut = page.until_cut()
        assert cut["by"] == "button"
        told(page, cut)
        stays_silent(page)

        page.speak_over(1.0)
        page.until_heard()
        page.speak_over(1.0)
        cut = page.until_cut(2)
        assert cut["by"] == "speech"
        told(page, cut)
        (talk,) = running.talks
        page.until(lambda _: len(talk.truncated) == 2)
        assert said(page.report())[0] == "This is answer 1."

        running.do(running.server.close)
        page.until(lambda report: report["conversation"]["lost"])
        assert page.report()["phase"] == "live"
        running.do(running.server.open)
        page.until(lambda report: not report["conversation"]["lost"])

        browser.click("#reconnect")
        page.until(lambda report: report["call"] not in (None, before["call"]))
        page.until_events()
        page.write("Hello")
        page.until_heard()
        page.hang_up()
        leave(page)


def is_the_tone(heard: float | None) -> bool:
    return heard is not None and heard == pytest.approx(TONE, rel=0.03)


@contextlib.contextmanager
def parrot(network: Namespace) -> Iterator[str]:
    """The README's agent; its address."""
    program = ROOT / "tests" / "examples" / "agent.py"
    process = subprocess.Popen(network.command([sys.executable, str(program), "9092"]))
    try:
        yield "127.0.0.1:9092"
    finally:
        process.kill()
        process.wait()


def test_an_audiosocket_agent_of_ones_own_is_interrupted_and_reconnected(
    browser: Browser, network: Namespace
) -> None:
    with parrot(network) as address, Demo(network, "--agent", address) as demo:
        page = Page(browser, demo)
        before = page.call_agent("own")
        for number, by in enumerate(("button", "speech"), 1):
            page.speak_over(2.5)
            page.until(lambda report: is_the_tone(report["tone"]["heard"]))
            if by == "button":
                browser.click("#interrupt")
            else:
                page.speak_over(0.6)
            cut = page.until_cut(number)
            assert cut["by"] == by
            told(page, cut)
            stays_silent(page)
        browser.click("#reconnect")
        page.until(lambda report: report["call"] not in (None, before["call"]))
        page.until_events()
        page.speak_over(1.0)
        page.until_heard()
        page.hang_up()
        leave(page)
