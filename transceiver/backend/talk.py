"""An agent that answers, for demonstrations and for the ears of whoever builds on this.

It understands nothing. When the client has stopped speaking it says how long that was, says how it
was interrupted if it was, and counts aloud, which is long enough to be interrupted again. Its voice
is espeak-ng where that is installed, a process for each sentence; where it is not, a little tune
stands for each sentence and the words go to the transcript alone.
"""

import asyncio
import contextlib
import math
import re
import shutil
import struct
from array import array
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from attrs import Attribute, define, field, frozen

from stunroute.config import between
from stunroute.errors import ConfigError
from transceiver.realtime.session import SESSION_RATE, turn_detection

from .agent import (
    AgentEvent,
    AgentFactory,
    Ended,
    Interrupted,
    Line,
    ResponseRequested,
    SpeechStarted,
    SpeechStopped,
    Started,
)
from .task import failed_in

PROGRAM = "espeak-ng"
PROCESSES = 4
"""Sentences spoken at once, all calls together; more wait."""
BREATH = 0.25
"""Seconds from the beginning of one answer to that of the next, in one call."""
SENTENCE = 300
"""Characters of one sentence at most; of a longer one the rest is not said."""
LONGEST = 4_000_000
"""Bytes that the program may give for one sentence, a minute and a half; what is beyond is not
heard."""
PATIENCE = 10.0
"""Seconds for one sentence."""
NOTES = (262, 294, 330, 392, 440, 523)
"""Of the tune, in Hz."""
NOTE = 0.11

_VOICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]{0,31}")


@frozen(slots=True)
class TalkOptions:
    """``voice`` as ``espeak-ng --voices`` lists them, ``speed`` in words per minute; ``greeting``
    is said when the call begins, ``count`` is how far an answer counts."""

    voice: str = field(default="en")
    speed: int = field(default=170, validator=between(80, 450))
    greeting: str = ""
    count: int = field(default=12, validator=between(0, 100))

    @voice.validator
    def _check_voice(self, attribute: "Attribute[str]", value: str) -> None:
        if not _VOICE.fullmatch(value):
            raise ConfigError(attribute.name, "is no name of a voice")


def from_wave(data: bytes) -> tuple[int, bytes] | None:
    """Rate and PCM of a WAVE file with one channel of 16 bits, whatever it says of its length: who
    writes to a pipe does not know that yet. None where it is not one."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return None
    rate, start = 0, 12
    while start + 8 <= len(data):
        kind, length = (
            data[start : start + 4],
            int.from_bytes(data[start + 4 : start + 8], "little"),
        )
        start += 8
        if kind == b"fmt " and start + 16 <= len(data):
            coding, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", data, start)
            if (coding, channels, bits) != (1, 1, 16) or not 4000 <= rate <= 192000:
                return None
        if kind == b"data":
            pcm = data[start : start + length]
            return (rate, pcm[: len(pcm) // 2 * 2]) if rate else None
        start += length + length % 2
    return None


def at_our_rate(rate: int, pcm: bytes) -> bytes:
    """PCM at ``SESSION_RATE``, by straight lines between samples: good enough for this voice."""
    import numpy as np  # whoever has a call with sound has it

    samples = np.frombuffer(pcm, "<i2")
    if rate == SESSION_RATE or not len(samples):
        return pcm
    at = np.arange(len(samples) * SESSION_RATE // rate) * (rate / SESSION_RATE)
    made = np.interp(at, np.arange(len(samples)), samples)
    return bytes(np.rint(made).astype("<i2"))


@lru_cache(maxsize=32)
def tune(words: int) -> bytes:
    """A note for each word, PCM at ``SESSION_RATE``, and a pause."""
    length = int(NOTE * SESSION_RATE)
    samples = array("h")
    for word in range(words):
        turn = 2 * math.pi * NOTES[word * 5 % len(NOTES)] / SESSION_RATE
        for index in range(length):
            swell = math.sin(math.pi * index / length)
            samples.append(round(9000 * swell * math.sin(turn * index)))
    samples.extend([0] * (length * 2))
    return samples.tobytes()


@define(slots=True, eq=False)
class Voice:
    """Makes sound of sentences; shared by all calls of one configuration. ``program`` is a path,
    None where there is none."""

    options: TalkOptions
    program: str | None
    failed: int = field(init=False, default=0)
    """Sentences that the program did not speak."""
    _free: asyncio.Semaphore = field(init=False, factory=lambda: asyncio.Semaphore(PROCESSES))

    async def speak(self, sentence: str) -> bytes:
        """PCM at ``SESSION_RATE``."""
        text = " ".join(sentence.split())[:SENTENCE]
        if self.program is not None:
            async with self._free:
                found = from_wave(await self._spoken(self.program, text))
            if found is not None and found[1]:
                return at_our_rate(*found)
            self.failed += 1
        return tune(min(len(text.split()), 20))

    async def _spoken(self, program: str, text: str) -> bytes:
        """What the program writes when it is given ``text``; as much as there is in time."""
        arguments = ("-v", self.options.voice, "-s", str(self.options.speed))
        try:
            process = await asyncio.create_subprocess_exec(
                program, *arguments, "--stdin", "--stdout", stdin=PIPE, stdout=PIPE, stderr=DEVNULL
            )
        except OSError:
            return b""
        found = bytearray()
        try:
            async with asyncio.timeout(PATIENCE):
                if await _converse(process, text, found):
                    await process.wait()
        except TimeoutError:
            return b""
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return bytes(found)


async def _converse(process: Process, text: str, found: bytearray) -> bool:
    """Whether the program has written all it had: then it is left to end by itself, since killing
    what has just ended takes its exit status from the event loop."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{text}\n".encode())
    process.stdin.close()
    while len(found) < LONGEST and (piece := await process.stdout.read(65536)):
        found += piece
    return len(found) < LONGEST


@define(slots=True, eq=False)
class TalkAgent:
    """One call's talker."""

    line: Line = field(repr=False)
    voice: Voice
    rate: int = field(init=False, default=SESSION_RATE)
    speaks_realtime: bool = field(init=False, default=False)
    turns: int = field(init=False, default=0)
    _speech: float | None = field(init=False, default=None)  # when the client began to speak
    _cut: float | None = field(init=False, default=None)  # what was heard of what was interrupted
    _answer: asyncio.Task[None] | None = field(init=False, default=None)
    _next: float = field(init=False, default=0.0)
    """When it may begin to talk again: an answer that is taken back at once has cost a process."""

    def hear(self, pcm: bytes) -> None:
        """See ``agent.Agent``. It does not listen; the edge does."""

    def receive(self, event: AgentEvent) -> None:
        """See ``agent.Agent``."""
        match event:
            case Started():
                if self.voice.options.greeting:
                    self._say([self.voice.options.greeting])
            case SpeechStarted(at):
                self._speech = at
                if answers_by_itself(self.line.session):
                    self._stop()
            case SpeechStopped(at):
                length = at - (at if self._speech is None else self._speech)
                self._speech = None
                if answers_by_itself(self.line.session):
                    self._respond(f"You spoke for {length:.1f} seconds.")
            case ResponseRequested(_, text):
                self._respond(f"You wrote: {text}" if text else "You asked me to speak.")
            case Interrupted(played, _):
                self._stop()
                self._cut = played
            case Ended():
                self._stop()
            case _:
                pass

    def _respond(self, first: str) -> None:
        self.turns += 1
        sentences = [first]
        if self._cut:
            sentences.append(f"Before that you cut me off after {self._cut:.1f} seconds.")
        sentences.append(f"This is answer number {self.turns}.")
        if count := self.voice.options.count:
            sentences.append(", ".join(map(str, range(1, count + 1))) + ".")
        self._cut = None
        self._say(sentences)

    def _say(self, sentences: Sequence[str]) -> None:
        self._stop()
        loop = asyncio.get_running_loop()
        self._answer = loop.create_task(self._talk(sentences), name=self.line.id)
        self._answer.add_done_callback(partial(failed_in, self.line))

    async def _talk(self, sentences: Sequence[str]) -> None:
        await asyncio.sleep(max(0.0, self._next - self.line.now()))
        self._next = self.line.now() + BREATH
        for number, sentence in enumerate(sentences):
            sound = await self.voice.speak(sentence)
            self.line.say_text(f" {sentence}" if number else sentence)
            self.line.play(sound)
        self.line.finish()

    def _stop(self) -> None:
        if self._answer is not None:
            self._answer.cancel()


def answers_by_itself(session: Mapping[str, Any]) -> bool:
    """Whether a session asks for an answer when the client has stopped speaking: its turn detection
    does, unless ``create_response`` is false."""
    detection = turn_detection(session)
    return detection is None or detection.responds


def factory(options: TalkOptions) -> AgentFactory:
    """Agents that talk with one voice."""
    voice = Voice(options, shutil.which(PROGRAM))
    return lambda line: TalkAgent(line, voice)
