"""The session object: what is taken of it, how it is named when not, and how it is shown."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.realtime import RealtimeSessionCreateRequest

from realtime_events import json_values
from transceiver.realtime.session import (
    TurnDetection,
    effective,
    merge,
    turn_detection,
    validate,
)
from transceiver.realtime.wire import EventError

FULL: dict[str, Any] = {
    "type": "realtime",
    "model": "gpt-realtime",
    "instructions": "Be brief.",
    "output_modalities": ["audio"],
    "max_output_tokens": 200,
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "noise_reduction": {"type": "near_field"},
            "transcription": {"model": "whisper-1", "language": "en"},
            "turn_detection": {"type": "semantic_vad", "eagerness": "low"},
        },
        "output": {"format": {"type": "audio/pcmu"}, "speed": 1.25, "voice": {"id": "voice_1"}},
    },
    "tools": [{"type": "function", "name": "look", "parameters": {"type": "object"}}],
    "tool_choice": {"type": "function", "name": "look"},
    "prompt": {"id": "pmpt_1", "variables": {"name": "x"}},
    "include": ["item.input_audio_transcription.logprobs"],
    "tracing": {"workflow_name": "w", "metadata": {}},
    "truncation": {"type": "retention_ratio", "retention_ratio": 0.5},
}


def shown(session: dict[str, Any] | None = None) -> dict[str, Any]:
    return effective(validate(session or {}), id="sess_1", model="m")


def test_a_whole_session_is_taken_as_it_is() -> None:
    assert validate(FULL) == FULL


def test_fields_that_nobody_knows_are_kept() -> None:
    said = {"type": "realtime", "mood": [1], "audio": {"input": {"echo": 1}, "third": 2}}
    assert validate(said) == said


def test_an_empty_session_is_a_realtime_one() -> None:
    session = shown()
    assert session["type"] == "realtime"
    assert session["object"] == "realtime.session"
    assert session["id"] == "sess_1"
    assert session["model"] == "m"
    assert "expires_at" not in session
    assert session["audio"]["input"]["turn_detection"] == {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    }


def test_a_session_of_its_own_names_its_model_and_its_end() -> None:
    session = effective(validate({"model": "x"}), id="sess_1", model="m", expires_at=1234)
    assert (session["model"], session["expires_at"]) == ("x", 1234)
    assert effective({"model": None}, id="sess_1", model="m")["model"] == "m"


@pytest.mark.parametrize("session", [{}, FULL])
def test_what_is_shown_is_what_the_public_models_take(session: dict[str, Any]) -> None:
    model = RealtimeSessionCreateRequest.model_validate(shown(session), strict=True)
    assert model.audio is not None
    assert model.audio.input is not None


def nested(path: str, value: object) -> dict[str, Any]:
    """A session with ``value`` at that path."""
    head, _, rest = path.partition(".")
    return {head: nested(rest, value) if rest else value}


BAD_FIELDS: tuple[tuple[str, object, str, str], ...] = (
    # where, what is there, what of it is at fault, and how that is called
    ("type", "dance", "", "invalid_value"),
    ("model", 3, "", "invalid_type"),
    ("model", "m" * 257, "", "string_above_max_length"),
    ("instructions", {}, "", "invalid_type"),
    ("output_modalities", ["text", "audio"], "", "invalid_value"),
    ("output_modalities", ["smell"], "[0]", "invalid_value"),
    ("output_modalities", "text", "", "invalid_type"),
    ("max_output_tokens", "all", "", "invalid_value"),
    ("max_output_tokens", 0, "", "integer_below_min_value"),
    ("max_output_tokens", 1.5, "", "invalid_type"),
    ("max_output_tokens", True, "", "invalid_type"),
    ("audio", 1, "", "invalid_type"),
    ("audio.output.speed", 2, "", "decimal_above_max_value"),
    ("audio.output.speed", 0, "", "decimal_below_min_value"),
    ("audio.output.speed", "1", "", "invalid_type"),
    ("audio.output.speed", False, "", "invalid_type"),
    ("audio.output.voice", {}, ".id", "missing_required_parameter"),
    ("audio.output.voice", 7, "", "invalid_type"),
    ("audio.input.format", {}, ".type", "missing_required_parameter"),
    ("audio.input.format.type", "mp3", "", "invalid_value"),
    ("audio.input.format", {"type": "audio/pcm", "rate": 8}, ".rate", "integer_below_min_value"),
    ("audio.input.turn_detection.type", 1, "", "invalid_type"),
    (
        "audio.input.turn_detection",
        {"type": "server_vad", "threshold": 2},
        ".threshold",
        "decimal_above_max_value",
    ),
    (
        "audio.input.turn_detection",
        {"type": "server_vad", "create_response": "yes"},
        ".create_response",
        "invalid_type",
    ),
    ("audio.input.noise_reduction.type", "x", "", "invalid_value"),
    ("tools", [{"name": "x"}, {"type": "function"}], "[1].name", "missing_required_parameter"),
    ("tools", [{"type": "mcp"}], "[0].server_label", "missing_required_parameter"),
    ("tools", [{"name": "x"}] * 257, "", "array_above_max_length"),
    ("tool_choice", "never", "", "invalid_value"),
    ("tool_choice", {"type": "function"}, ".name", "missing_required_parameter"),
    (
        "truncation",
        {"type": "retention_ratio", "retention_ratio": 2.0},
        ".retention_ratio",
        "decimal_above_max_value",
    ),
    ("tracing", 1, "", "invalid_type"),
    ("modalities", ["smell"], "[0]", "invalid_value"),
    ("input_audio_format", "mp3", "", "invalid_value"),
    ("turn_detection.type", "x", "", "invalid_value"),
    ("temperature", 9, "", "decimal_above_max_value"),
)


@pytest.mark.parametrize(("path", "value", "within", "code"), BAD_FIELDS)
def test_an_error_names_the_field(path: str, value: object, within: str, code: str) -> None:
    with pytest.raises(EventError) as caught:
        validate(nested(path, value))
    assert (caught.value.param, caught.value.code) == (f"session.{path}{within}", code)
    assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize("said", [None, [], "realtime", 1, 1.5, False])
def test_a_session_is_an_object(said: object) -> None:
    with pytest.raises(EventError) as caught:
        validate(said)
    assert (caught.value.param, caught.value.code) == ("session", "invalid_type")


def test_errors_name_the_object_as_the_caller_does() -> None:
    with pytest.raises(EventError) as caught:
        validate({"audio": []}, "")
    assert caught.value.param == "audio"


def test_the_older_form_is_put_where_it_belongs_now() -> None:
    said = {
        "modalities": ["text", "audio"],
        "voice": "alloy",
        "input_audio_format": "g711_ulaw",
        "output_audio_format": "pcm16",
        "input_audio_transcription": {"model": "whisper-1"},
        "turn_detection": None,
        "max_response_output_tokens": "inf",
        "temperature": 0.8,
    }
    before = copy.deepcopy(said)
    assert validate(said) == {
        "output_modalities": ["audio"],
        "max_output_tokens": "inf",
        "temperature": 0.8,
        "audio": {
            "input": {
                "format": {"type": "audio/pcmu"},
                "transcription": {"model": "whisper-1"},
                "turn_detection": None,
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "alloy"},
        },
    }
    assert said == before


def test_the_older_form_does_not_overrule_the_newer() -> None:
    said = {"voice": "old", "audio": {"output": {"voice": "new"}, "input": None}}
    before = copy.deepcopy(said)
    assert validate(said)["audio"]["output"] == {"voice": "new"}
    assert said == before
    assert validate({"voice": "old", "audio": None})["audio"] == {"output": {"voice": "old"}}
    assert validate({"modalities": ["text"]}) == {"output_modalities": ["text"]}


def test_what_the_server_sets_is_not_taken_from_the_client() -> None:
    said = {"id": "sess_x", "object": "y", "expires_at": 1, "client_secret": {"value": "z"}}
    assert validate(said) == {}


def test_only_what_is_said_changes() -> None:
    session = shown(FULL)
    before = copy.deepcopy(session)
    update = validate({"instructions": "", "audio": {"output": {"speed": 0.5}}, "tools": []})
    merged = merge(session, update)
    assert session == before
    before["instructions"] = ""
    before["tools"] = []
    before["audio"]["output"]["speed"] = 0.5
    assert merged == before


def test_turn_detection_is_turned_off_changed_and_replaced() -> None:
    def detection(session: dict[str, Any], said: object) -> Any:
        update = validate({"audio": {"input": {"turn_detection": said}}})
        return merge(session, update)["audio"]["input"]["turn_detection"]

    session = shown({"turn_detection": {"type": "server_vad", "threshold": 0.9}})
    assert detection(session, None) is None
    changed = detection(session, {"type": "server_vad", "silence_duration_ms": 200})
    assert (changed["threshold"], changed["silence_duration_ms"]) == (0.9, 200)
    replaced = detection(session, {"type": "semantic_vad"})
    assert replaced == {
        "type": "semantic_vad",
        "eagerness": "auto",
        "create_response": True,
        "interrupt_response": True,
    }


def test_noise_reduction_keeps_its_strength_until_told_otherwise() -> None:
    first = {"audio": {"input": {"noise_reduction": {"type": "far_field", "strength": 0.4}}}}
    second = {"audio": {"input": {"noise_reduction": {"type": "near_field"}}}}
    merged = merge(shown(first), validate(second))
    assert merged["audio"]["input"]["noise_reduction"] == {"type": "near_field", "strength": 0.4}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, TurnDetection()),
        ({"turn_detection": None}, None),
        (
            {
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.75,
                    "prefix_padding_ms": 100,
                    "silence_duration_ms": 250,
                    "idle_timeout_ms": 6000,
                    "create_response": False,
                    "interrupt_response": False,
                }
            },
            TurnDetection(0.75, 0.1, 0.25, responds=False, interrupts=False, idle=6.0),
        ),
        (
            {"turn_detection": {"type": "semantic_vad", "eagerness": "high"}},
            TurnDetection(silence=0.3),
        ),
        ({"turn_detection": {"type": "semantic_vad"}}, TurnDetection(silence=0.6)),
    ],
)
def test_turn_detection_is_read_from_what_is_shown(
    said: dict[str, Any], expected: TurnDetection | None
) -> None:
    assert turn_detection(shown(said)) == expected


def test_turn_detection_of_a_backend_that_knows_no_measure() -> None:
    said = {"type": "server_vad", "threshold": 10**400, "silence_duration_ms": -(10**399)}
    found = turn_detection({"turn_detection": said})
    assert found is not None
    assert found.threshold == 1e9
    assert found.silence == -1e6


def test_turn_detection_is_read_from_the_older_form_of_a_backend() -> None:
    assert turn_detection({"turn_detection": {"type": "server_vad", "threshold": 0.25}}) == (
        TurnDetection(threshold=0.25)
    )
    assert turn_detection({"audio": 3}) is None


def refused(said: object) -> EventError | None:
    """What is said of a session, after it has been shown where nothing is."""
    try:
        session = effective(validate(said), id="sess_1", model=None)
    except EventError as error:
        return error
    json.dumps(session, allow_nan=False)
    turn_detection(session)
    return None


@given(json_values)
@settings(max_examples=100, deadline=None)
def test_hostile_sessions_are_taken_or_refused(said: object) -> None:
    error = refused(said)
    assert error is None or (error.param or "").startswith("session")


FIELDS = st.sampled_from(
    [*FULL, "voice", "speed", "modalities", "turn_detection", "input_audio_format", "id"]
)


@given(st.dictionaries(FIELDS, json_values, max_size=4))
@settings(max_examples=100, deadline=None)
def test_hostile_fields_are_taken_or_refused_by_name(said: dict[str, Any]) -> None:
    error = refused(said)
    assert error is None or (error.param or "").startswith("session.")


@given(json_values)
@settings(max_examples=50, deadline=None)
def test_a_backends_session_can_be_anything(session: object) -> None:
    for said in ({"audio": session}, {"audio": {"input": session}}, {"turn_detection": session}):
        found = turn_detection(said)
        assert found is None or isinstance(found, TurnDetection)
