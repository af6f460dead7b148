"""What the demo's page makes of events and of sound, where it needs no browser for it."""

import base64
import json
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from tools import require_tool
from transceiver.demo import WEB


def evaluate(module: str, script: str, **given: Any) -> Any:
    """What the body ``script`` returns in a program with ``module`` as ``m`` and ``given``."""
    code = base64.b64encode((WEB / module).read_bytes()).decode("ascii")
    arguments = ", ".join(given)
    program = (
        f"const m = await import('data:text/javascript;base64,{code}');\n"
        f"const main = ({{{arguments}}}) => {{ {script} }};\n"
        f"console.log(JSON.stringify(main({json.dumps(given)}) ?? null));\n"
    )
    done = subprocess.run(
        [require_tool("node"), "--input-type=module", "-"],
        input=program,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def follow(*steps: Mapping[str, Any]) -> Any:
    """The conversation after ``steps``: events with the time ``at``, or a person's ``do``ings."""
    script = """
        const c = new m.Conversation(), sent = [], cuts = [];
        for (const { at, do: act, text, ...event } of steps) {
            if (act === 'interrupt') sent.push(...c.interrupt(at));
            else if (act === 'write') sent.push(...c.write(text, at));
            else cuts.push(c.take(event, at));
        }
        return { ...c, sent, made: cuts.filter(Boolean).length };
    """
    return evaluate("conversation.js", script, steps=steps)


def event(kind: str, at: float, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "at": at, **fields}


SPEAKS = (
    event("session.created", 0, session={"model": "talk"}),
    event("response.created", 1, response={"id": "resp_1"}),
    event("response.output_audio_transcript.delta", 2, item_id="item_1", delta="One, "),
    event("response.output_audio_transcript.delta", 3, item_id="item_1", delta="two."),
    event("output_audio_buffer.started", 4, response_id="resp_1"),
)
CLEARED = event("output_audio_buffer.cleared", 1030, response_id="resp_1")
TRUNCATED = event("conversation.item.truncated", 1031, item_id="item_1", audio_end_ms=900)


def test_what_an_agent_says_is_one_turn() -> None:
    found = follow(*SPEAKS)
    assert (found["playing"], found["response"], found["sent"]) == (True, "resp_1", [])
    assert found["session"] == {"model": "talk"}
    assert found["turns"] == [{"who": "agent", "item": "item_1", "text": "One, two.", "cut": None}]
    found = follow(*SPEAKS, event("response.done", 5), event("output_audio_buffer.stopped", 6))
    assert (found["playing"], found["response"], found["cuts"]) == (False, None, [])


def test_the_button_stops_what_is_made_before_it_clears_what_waits() -> None:
    found = follow(*SPEAKS, {"do": "interrupt", "at": 1000}, CLEARED, TRUNCATED)
    assert [each["type"] for each in found["sent"]] == [
        "response.cancel",
        "output_audio_buffer.clear",
    ]
    (cut,) = found["cuts"]
    assert cut == {"by": "button", "asked": 1000, "cleared": 1030, "silent": None, "heard": 900}
    assert found["turns"][0]["cut"] == 900
    assert (found["playing"], found["made"]) == (False, 1)


def test_a_response_that_is_done_is_not_cancelled() -> None:
    found = follow(*SPEAKS, event("response.done", 5), {"do": "interrupt", "at": 1000})
    assert [each["type"] for each in found["sent"]] == ["output_audio_buffer.clear"]


@pytest.mark.parametrize(
    ("steps", "by", "asked"),
    [
        ([event("input_audio_buffer.speech_started", 1020)], "speech", 1020),
        ([{"do": "write", "at": 1001, "text": "stop"}], "message", 1001),
        ([], "agent", 1030),
        # Both are from too long ago to be why.
        ([event("input_audio_buffer.speech_started", -4000)], "agent", 1030),
        ([{"do": "interrupt", "at": -4000}], "agent", 1030),
        # The button was nearer.
        (
            [
                event("input_audio_buffer.speech_started", 500),
                event("input_audio_buffer.speech_stopped", 800),
                {"do": "interrupt", "at": 1000},
            ],
            "button",
            1000,
        ),
    ],
)
def test_a_cut_is_whosever_it_was(steps: list[dict[str, Any]], by: str, asked: float) -> None:
    (cut,) = follow(*SPEAKS, *steps, CLEARED)["cuts"]
    assert (cut["by"], cut["asked"]) == (by, asked)


def test_one_silence_may_clear_several_responses() -> None:
    again = {**CLEARED, "at": 1032, "response_id": "resp_2"}
    found = follow(*SPEAKS, CLEARED, again)
    assert (len(found["cuts"]), found["made"]) == (1, 1)
    later = {**CLEARED, "at": 3000}
    started = event("output_audio_buffer.started", 2000)
    assert len(follow(*SPEAKS, CLEARED, started, later)["cuts"]) == 2


def test_a_message_is_an_item_and_the_wish_for_an_answer() -> None:
    found = follow({"do": "write", "at": 1, "text": "Hello"})
    content = [{"type": "input_text", "text": "Hello"}]
    assert found["sent"] == [
        {
            "type": "conversation.item.create",
            "item": {"type": "message", "role": "user", "content": content},
        },
        {"type": "response.create"},
    ]
    assert [(turn["who"], turn["text"]) for turn in found["turns"]] == [("you", "Hello")]
    during = follow(*SPEAKS, {"do": "write", "at": 5, "text": "Wait"})["sent"]
    assert [each["type"] for each in during] == [
        "response.cancel",
        "output_audio_buffer.clear",
        "conversation.item.create",
        "response.create",
    ]


def test_it_is_told_who_speaks_and_whether_anybody_is_there() -> None:
    lost = {"code": "backend_lost", "message": "away"}
    steps = [
        event("input_audio_buffer.speech_started", 1, item_id="a"),
        event("input_audio_buffer.committed", 2, item_id="a"),
        event("error", 3, error={"code": "other", "message": "no"}),
        event("error", 4, error=lost),
    ]
    found = follow(*steps)
    assert (found["speaking"], found["lost"]) == (True, "away")
    assert [(turn["who"], turn["text"]) for turn in found["turns"]] == [("you", "")]
    stopped = event("input_audio_buffer.speech_stopped", 5)
    found = follow(*steps, stopped, event("backend.restored", 6))
    assert (found["speaking"], found["lost"]) == (False, None)


@pytest.mark.parametrize(
    "strange",
    [
        {"type": "error"},
        {"type": "response.created"},
        {"type": "session.created", "session": None},
        {"type": "response.output_text.delta", "delta": {"a": 1}},
        {"type": "conversation.item.truncated"},
        {"type": "output_audio_buffer.cleared"},
        {"type": "unheard.of"},
    ],
)
def test_strange_events_are_borne(strange: dict[str, Any]) -> None:
    follow({**strange, "at": 1})
    script = """
        const log = new m.Log(), row = log.add('received', strange, 0);
        return [m.gist(row), m.detail(row)];
    """
    glance, whole = evaluate("conversation.js", script, strange=strange)
    assert isinstance(glance, str)
    assert json.loads(whole) == strange


def test_what_is_kept_of_a_conversation_is_bounded() -> None:
    script = """
        const c = new m.Conversation(), delta = 'x'.repeat(900);
        for (let n = 0; n < 300; n++) {
            c.write('y'.repeat(9000), n);
            c.take({ type: 'output_audio_buffer.cleared' }, n * 1000);
            c.take({ type: 'response.output_text.delta', item_id: 'a', delta }, n);
        }
        return [c.turns.length, c.cuts.length, Math.max(...c.turns.map(t => t.text.length))];
    """
    assert evaluate("conversation.js", script) == [50, 20, 4000]


def logged(events: list[list[Any]], wanted: str = "", way: str = "both") -> Any:
    script = """
        const log = new m.Log();
        for (const [way, event] of events) log.add(way, event, 0);
        return log.rows.filter(row => m.matches(row, wanted, way))
            .map(row => [row.way, row.type, row.count, m.gist(row)]);
    """
    return evaluate("conversation.js", script, events=events, wanted=wanted, way=way)


WORDS, SOUND = "response.output_audio_transcript.delta", "response.output_audio.delta"


def delta(kind: str, text: str, item: str = "a") -> list[Any]:
    return ["received", {"type": kind, "item_id": item, "delta": text}]


def test_deltas_collapse_into_one_row_though_others_come_between() -> None:
    events = [
        delta(WORDS, "One"),
        delta(SOUND, "AAAA"),
        delta(WORDS, " two"),
        delta(SOUND, "BBBB"),
        delta(WORDS, "Other", "b"),
        ["sent", {"type": "response.cancel"}],
        ["sent", {"type": "response.cancel"}],
        ["sent", {"type": WORDS, "item_id": "a", "delta": "mine"}],
    ]
    assert logged(events) == [
        ["received", WORDS, 2, "One two"],
        ["received", SOUND, 2, "AAAABBBB"],
        ["received", WORDS, 1, "Other"],
        ["sent", "response.cancel", 1, ""],
        ["sent", "response.cancel", 1, ""],
        ["sent", WORDS, 1, "mine"],
    ]


@pytest.mark.parametrize(
    ("wanted", "way", "found"),
    [
        ("", "both", ["response.done", "response.create", WORDS, "error"]),
        ("response", "both", ["response.done", "response.create", WORDS]),
        ("RESPONSE -delta", "both", ["response.done", "response.create"]),
        ("error done", "both", ["response.done", "error"]),
        ("-response", "both", ["error"]),
        ("-", "both", ["response.done", "response.create", WORDS, "error"]),
        ("", "sent", ["response.create"]),
        ("response", "received", ["response.done", WORDS]),
    ],
)
def test_rows_are_found_by_words_of_their_type(wanted: str, way: str, found: list[str]) -> None:
    events = [
        ["received", {"type": "response.done"}],
        ["sent", {"type": "response.create"}],
        delta(WORDS, "One"),
        ["received", {"type": "error", "error": {"code": "no", "message": "Not so."}}],
    ]
    assert [kind for _, kind, _, _ in logged(events, wanted, way)] == found


@pytest.mark.parametrize(
    ("told", "glance"),
    [
        ({"error": {"code": "no", "message": "Not so."}}, "no: Not so."),
        ({"response": {"status": "cancelled", "status_details": {"reason": "r"}}}, "cancelled, r"),
        ({"response": {"status": "completed"}}, "completed"),
        ({"audio_end_ms": 1234}, "after 1.23 s"),
        ({"audio_start_ms": 0}, "at 0.00 s"),
        ({"transcript": "One."}, "One."),
        ({"item": {"role": "user", "content": [{"text": "Hello"}]}}, "Hello"),
        ({"item": {"role": "user", "content": [{"transcript": None}]}}, "user"),
        ({}, ""),
    ],
)
def test_a_row_shows_what_is_worth_a_glance(told: dict[str, Any], glance: str) -> None:
    assert logged([["received", {"type": "some", **told}]]) == [["received", "some", 1, glance]]


def test_the_log_and_its_rows_are_bounded() -> None:
    script = """
        const log = new m.Log();
        for (let n = 0; n < 2000; n++) log.add('sent', { type: `kind.${n % 7}` }, n);
        const before = [log.rows.length, log.oldest, log.sent, log.received];
        let row;
        for (let n = 0; n < 200; n++) {
            row = log.add('received', { type: 'a.delta', delta: 'x'.repeat(99) }, n);
        }
        return [before, row.count, m.gist(row).length, m.detail(row).length <= 4001];
    """
    assert evaluate("conversation.js", script) == [[400, 1600, 2000, 0], 200, 4000, True]


@pytest.mark.parametrize("message", ["", "{", "[]", "null", "3", '{"type": 3}', "\ud7ff"])
def test_a_message_that_is_no_event_is_shown_as_that(message: str) -> None:
    read = evaluate("conversation.js", "return m.read(message);", message=message)
    assert read == {"type": "(not an event)", "message": message}


# --- sound ----------------------------------------------------------------------------------------

SILENT_AT = """
    const l = new m.Loudness();
    for (const [at, level] of frames) l.add(at, level);
    return from === null ? l.beganBefore(until) : l.silentAt(from);
"""


def loudness(
    *spans: tuple[int, float | None], since: float | None = None, until: float = 0
) -> float | None:
    """``silentAt(since)``, or ``beganBefore(until)`` where that is None, after spans of so many
    milliseconds at a level."""
    frames: list[tuple[int, float | None]] = []
    for length, level in spans:
        frames += [(len(frames) * 10 + 10 * n + 10, level) for n in range(length // 10)]
    found = evaluate("ear.js", SILENT_AT, frames=frames, **{"from": since}, until=until)
    return None if found is None else float(found)


@pytest.mark.parametrize(
    ("spans", "since", "silent"),
    [
        ([(1000, -20.0), (400, None)], 900, 1000),
        ([(1000, -20.0), (400, -70.0)], 900, 1000),
        # A pause between two words is not the end.
        ([(1000, -20.0), (200, None), (100, -20.0), (300, None)], 900, 1300),
        # It was silent already.
        ([(500, -20.0), (1000, None)], 900, 900),
        # Not silent yet, or not for long enough.
        ([(1000, -20.0)], 900, None),
        ([(1000, -20.0), (200, None)], 900, None),
        ([], 900, None),
    ],
)
def test_silence_is_when_the_last_sound_ended(
    spans: list[tuple[int, float | None]], since: float, silent: float | None
) -> None:
    assert loudness(*spans, since=since) == silent


@pytest.mark.parametrize(
    ("spans", "until", "began"),
    [
        ([(1000, None), (200, -20.0)], 1200, 1000),
        ([(1000, -60.0), (200, -20.0)], 1200, 1000),
        # Well below a voice is no voice, though it is not silence.
        ([(1000, -46.0), (200, -20.0)], 1200, 1000),
        # What came before a pause was something else.
        ([(500, -20.0), (500, None), (200, -20.0)], 1200, 1000),
        ([(800, None), (100, -20.0), (100, None), (200, -20.0)], 1200, 800),
        # The voice has just ended, or had long ago, or was none.
        ([(1000, None), (200, -20.0), (100, None)], 1300, 1000),
        ([(200, -20.0), (800, None)], 1000, None),
        ([(1000, None)], 1000, None),
        ([], 1000, None),
    ],
)
def test_a_voice_is_followed_back_to_its_beginning(
    spans: list[tuple[int, float | None]], until: float, began: float | None
) -> None:
    assert loudness(*spans, until=until) == began
