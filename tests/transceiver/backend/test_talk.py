"""The agent that answers: what it says and when, and what it does with espeak-ng."""

import asyncio
import stat
import struct
import sys
from array import array
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lines import FakeLine, run, until
from stunroute.config import load
from stunroute.errors import ConfigError
from tools import require_tool
from transceiver.backend import talk
from transceiver.backend.agent import (
    Ended,
    Heard,
    Interrupted,
    ResponseRequested,
    SpeechStarted,
    SpeechStopped,
    Started,
)
from transceiver.backend.talk import (
    SENTENCE,
    TalkAgent,
    TalkOptions,
    Voice,
    answers_by_itself,
    at_our_rate,
    factory,
    from_wave,
    tune,
)
from transceiver.realtime.session import SESSION_RATE


def talker(line, program=None, **options):
    return TalkAgent(line, Voice(TalkOptions(**options), program))


def loudest(pcm):
    return max(map(abs, array("h", bytes(pcm))))


def test_each_turn_of_the_client_is_answered():
    async def story():
        line = FakeLine()
        agent = talker(line, count=3)
        assert (agent.rate, agent.speaks_realtime) == (SESSION_RATE, False)
        agent.receive(Started())
        agent.hear(bytes(960))
        agent.receive(SpeechStarted(1.0))
        agent.receive(SpeechStopped(3.5))
        await until(lambda: line.finished)
        first = "You spoke for 2.5 seconds."
        assert line.words == [first, " This is answer number 1.", " 1, 2, 3."]
        assert bytes(line.said) == tune(5) + tune(5) + tune(3)
        agent.receive(Heard(4.0))
        agent.receive(SpeechStopped(9.0))  # its start was never told
        await until(lambda: line.finished == 2)
        assert line.words[3] == "You spoke for 0.0 seconds."
        assert line.words[4] == " This is answer number 2."
        agent.receive(Ended("over"))

    run(story)


def test_a_greeting_is_said_at_the_start():
    async def story():
        line = FakeLine()
        agent = talker(line, greeting="Hello.")
        agent.receive(Started())
        await until(lambda: line.finished)
        assert line.words == ["Hello."]
        assert agent.turns == 0

    run(story)


def test_what_the_client_writes_is_read_to_it():
    async def story():
        line = FakeLine()
        agent = talker(line, count=0)
        agent.receive(ResponseRequested({}, "good morning"))
        await until(lambda: line.finished)
        assert line.words == ["You wrote: good morning", " This is answer number 1."]
        agent.receive(ResponseRequested())
        await until(lambda: line.finished == 2)
        assert line.words[2] == "You asked me to speak."

    run(story)


def test_who_cuts_in_is_told_so_in_the_next_answer():
    async def story():
        line = FakeLine()
        agent = talker(line, count=0)
        agent.receive(SpeechStopped(1.0))
        await until(lambda: line.finished)
        agent.receive(Interrupted(1.25, 3.0))
        agent.receive(SpeechStarted(2.0))
        agent.receive(SpeechStopped(3.0))
        await until(lambda: line.finished == 2)
        assert line.words[3] == " Before that you cut me off after 1.2 seconds."
        agent.receive(SpeechStopped(4.0))
        await until(lambda: line.finished == 3)
        assert "cut me off" not in "".join(line.words[4:])

    run(story)


SLOW = "import sys, time; sys.stdin.read(); time.sleep(600)"


def program(tmp_path, text):
    """A program that stands for espeak-ng."""
    path = tmp_path / "speaker"
    path.write_text(f"#!{sys.executable}\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.parametrize(
    "event", [Interrupted(0.0, 0.0), SpeechStarted(5.0), Ended("over"), ResponseRequested()]
)
def test_an_answer_in_the_making_is_given_up(tmp_path, event):
    async def story():
        line = FakeLine()
        agent = talker(line, program(tmp_path, SLOW))
        agent.receive(SpeechStopped(1.0))
        await asyncio.sleep(0.05)
        (first,) = asyncio.all_tasks() - {asyncio.current_task()}
        agent.receive(event)
        await asyncio.wait([first])
        assert first.cancelled()
        assert (line.words, bytes(line.said)) == ([], b"")
        agent.receive(Ended("over"))
        await until(lambda: len(asyncio.all_tasks()) == 1)
        assert line.failure is None

    run(story)


def test_answers_taken_back_at_once_cost_no_process_each(monkeypatch):
    async def story():
        spoken = []

        async def speak(self, sentence):
            spoken.append(sentence)
            return b"\0\0"

        monkeypatch.setattr(Voice, "speak", speak)
        line = FakeLine()
        agent = talker(line, count=0)
        agent.receive(Started())
        begun = line.now()
        for _ in range(50):
            agent.receive(ResponseRequested())
            await asyncio.sleep(0)
            agent.receive(Interrupted(0.0, 0.0))
        starts = len([sentence for sentence in spoken if sentence.startswith("You asked")])
        assert starts <= 1 + (line.now() - begun) / talk.BREATH
        agent.receive(ResponseRequested())
        await until(lambda: line.finished)

    run(story)


def test_a_session_may_keep_it_from_answering_by_itself():
    detection = {"type": "server_vad", "create_response": False}

    async def story():
        line = FakeLine(session={"audio": {"input": {"turn_detection": detection}}})
        agent = talker(line)
        agent.receive(SpeechStarted(1.0))
        agent.receive(SpeechStopped(2.0))
        assert len(asyncio.all_tasks()) == 1
        agent.receive(ResponseRequested())
        agent.receive(SpeechStarted(3.0))
        await until(lambda: line.finished)
        agent.receive(Ended("over"))

    run(story)


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        ({}, True),
        ({"audio": None}, True),
        ({"audio": {"input": {"turn_detection": None}}}, True),
        ({"audio": {"input": {"turn_detection": {"type": "server_vad"}}}}, True),
        ({"audio": {"input": {"turn_detection": {"create_response": True}}}}, True),
        ({"audio": {"input": {"turn_detection": {"create_response": False}}}}, False),
    ],
)
def test_a_session_asks_for_an_answer(session, expected):
    assert answers_by_itself(session) is expected


# The voice


def test_espeak_speaks():
    path = require_tool("espeak-ng")

    async def story():
        voice = Voice(TalkOptions(), path)
        short, long = await asyncio.gather(
            voice.speak("One."), voice.speak("One, two, three, four, five, six, seven, eight.")
        )
        assert voice.failed == 0
        assert len(long) > len(short) > SESSION_RATE // 5
        assert loudest(short) > 3000
        # Words that look like an option, or like a program's, are words.
        assert len(await voice.speak("-f /etc/passwd $(reboot)")) > SESSION_RATE
        assert voice.failed == 0

    run(story)


@pytest.mark.parametrize(
    "text",
    [
        "import sys; sys.exit(1)",
        "print('no wave')",
        "import sys; sys.stdin.close(); print('no wave' * 10000)",
        SLOW,
        None,
    ],
)
def test_where_the_program_fails_there_is_a_tune(tmp_path, monkeypatch, text):
    monkeypatch.setattr(talk, "PATIENCE", 0.3)

    async def story():
        path = str(tmp_path / "missing") if text is None else program(tmp_path, text)
        voice = Voice(TalkOptions(), path)
        assert await voice.speak("two words") == tune(2)
        assert voice.failed == 1

    run(story)


def test_what_the_program_gives_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(talk, "LONGEST", 100_000)
    endless = (
        "import sys, struct\n"
        "head = b'WAVEfmt ' + struct.pack('<IHHIIHH', 16, 1, 1, 24000, 48000, 2, 16)\n"
        "sys.stdout.buffer.write(b'RIFF....' + head + b'data' + b'\\xff' * 4)\n"
        "while True: sys.stdout.buffer.write(b'ab' * 10000)"
    )

    async def story():
        voice = Voice(TalkOptions(), program(tmp_path, endless))
        sound = await voice.speak("for ever")
        assert 90_000 < len(sound) < 300_000
        assert sound[:4] == b"abab"

    run(story)


def test_a_program_that_has_spoken_ends_by_itself(tmp_path):
    lingers = (
        "import os, sys, time\n"
        "sys.stdin.read()\n"
        "os.close(1)\n"
        "time.sleep(0.2)\n"
        "open(__file__ + '.ended', 'w').close()\n"
        "os._exit(0)"
    )

    async def story():
        path = program(tmp_path, lingers)
        await Voice(TalkOptions(), path).speak("word")
        assert (tmp_path / "speaker.ended").exists()

    run(story)


def test_only_so_much_of_a_sentence_is_said(tmp_path):
    echo = "import sys; open(__file__ + '.said', 'w').write(sys.stdin.read())"

    async def story():
        path = program(tmp_path, echo)
        await Voice(TalkOptions(), path).speak("word\n" * 500)
        with open(f"{path}.said") as file:
            assert file.read() == ("word " * 500)[:SENTENCE] + "\n"

    run(story)


def wave(rate=22050, pcm=b"abcd", channels=1, bits=16, coding=1, length=None, extra=b""):
    form = struct.pack("<HHIIHH", coding, channels, rate, rate * 2, 2, bits)
    length = len(pcm) if length is None else length
    return (
        b"RIFF....WAVE" + extra + b"fmt " + struct.pack("<I", len(form)) + form
        + b"data" + struct.pack("<I", length) + pcm
    )  # fmt: skip


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (wave(), (22050, b"abcd")),
        (wave(length=0x7FFFF000), (22050, b"abcd")),
        (wave(length=2), (22050, b"ab")),
        (wave(pcm=b"abc"), (22050, b"ab")),
        (wave(extra=b"LIST\x03\x00\x00\x00abc\x00"), (22050, b"abcd")),
        (wave(channels=2), None),
        (wave(bits=8), None),
        (wave(coding=3), None),
        (wave(rate=1), None),
        (wave()[:20], None),
        (b"RIFF....WAVEdata\x02\x00\x00\x00ab", None),
        (b"", None),
    ],
)
def test_a_wave_file_is_read(data, expected):
    assert from_wave(data) == expected


@given(st.binary(max_size=80), st.integers(0, 44))
def test_any_octets_are_a_wave_file_or_none(data, keep):
    from_wave(wave()[:keep] + data)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 48000])
def test_sound_keeps_its_length_and_pitch_at_our_rate(rate):
    ramp = struct.pack(f"<{rate}h", *(index * 30000 // rate for index in range(rate)))
    made = array("h", at_our_rate(rate, ramp))
    assert len(made) == SESSION_RATE
    assert all(later >= earlier for earlier, later in pairwise(made))
    assert made[SESSION_RATE // 2] == pytest.approx(15000, abs=10)
    assert at_our_rate(rate, b"") == b""


def test_a_tune_is_heard():
    assert loudest(tune(3)) > 5000
    assert len(tune(4)) > len(tune(3)) > len(tune(0)) > 0


# Options


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"voice": ""}, "voice"),
        ({"voice": "-f"}, "voice"),
        ({"voice": "../en"}, "voice"),
        ({"speed": 10}, "speed"),
        ({"count": -1}, "count"),
        ({"cuont": 1}, "cuont"),
    ],
)
def test_options_that_make_no_sense_are_named(options, key):
    with pytest.raises(ConfigError) as caught:
        load(TalkOptions, path=None, environ={}, prefix="", options=options)
    assert caught.value.key == key


def test_configuration_makes_a_talker():
    agent = factory(load(TalkOptions, path=None, environ={}, prefix="", options={"voice": "de"}))
    assert agent(FakeLine()).voice.options.voice == "de"
