"""The beta of the Realtime protocol and back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_server import check
from transceiver.backend.dialect import (
    event_to_beta,
    event_to_current,
    session_to_beta,
    session_to_current,
)

CURRENT = {
    "type": "realtime",
    "id": "sess_1",
    "output_modalities": ["audio"],
    "max_output_tokens": 100,
    "instructions": "Be brief.",
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": {"model": "whisper-1"},
            "noise_reduction": None,
            "turn_detection": {"type": "server_vad"},
        },
        "output": {"format": {"type": "audio/pcmu"}, "voice": "alloy", "speed": 1.5},
    },
}
BETA = {
    "id": "sess_1",
    "modalities": ["text", "audio"],
    "max_response_output_tokens": 100,
    "instructions": "Be brief.",
    "input_audio_format": "pcm16",
    "output_audio_format": "g711_ulaw",
    "input_audio_transcription": {"model": "whisper-1"},
    "input_audio_noise_reduction": None,
    "turn_detection": {"type": "server_vad"},
    "voice": "alloy",
    "speed": 1.5,
}


def test_a_session_is_flat_in_the_one_and_nested_in_the_other():
    assert session_to_beta(CURRENT) == BETA
    assert session_to_current(BETA) == CURRENT
    assert session_to_current(CURRENT) == CURRENT
    for event, beta in (({"session": CURRENT}, False), ({"session": BETA}, True)):
        check({"type": "session.update", **event}, beta=beta, server=False)


@pytest.mark.parametrize("modalities", [["text"], []])
def test_a_session_of_words_alone_stays_one(modalities):
    assert session_to_beta({"output_modalities": modalities})["modalities"] == modalities
    assert session_to_current({"modalities": modalities})["output_modalities"] == modalities


@pytest.mark.parametrize(
    ("beta", "current"),
    [
        ("response.audio.delta", "response.output_audio.delta"),
        ("response.audio.done", "response.output_audio.done"),
        ("response.audio_transcript.delta", "response.output_audio_transcript.delta"),
        ("response.audio_transcript.done", "response.output_audio_transcript.done"),
        ("response.text.delta", "response.output_text.delta"),
        ("response.text.done", "response.output_text.done"),
        ("response.output_audio.delta", "response.output_audio.delta"),
        ("response.done", "response.done"),
        ("error", "error"),
        ("somebody.new", "somebody.new"),
    ],
)
def test_events_have_the_names_of_today(beta, current):
    assert event_to_current({"type": beta, "delta": "x"}) == {"type": current, "delta": "x"}


def test_what_an_assistant_says_has_the_names_of_today():
    said = {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "audio"}, {"type": "text"}],
    }
    heard = {"type": "message", "role": "user", "content": [{"type": "input_audio"}, 7]}
    event = {"type": "response.done", "response": {"output": [said, heard, None], "voice": "ash"}}
    found = event_to_current(event)["response"]
    kinds = [part["type"] for part in found["output"][0]["content"]]
    assert kinds == ["output_audio", "output_text"]
    assert found["output"][1:] == [heard, None]
    assert found["audio"] == {"output": {"voice": "ash"}}
    item = event_to_current({"type": "conversation.item.created", "item": said})["item"]
    assert item == found["output"][0]
    assert event_to_beta({"type": "conversation.item.create", "item": item})["item"] == said
    asked = {"type": "response.create", "response": {"input": [item]}}
    assert event_to_beta(asked)["response"] == {"input": [said]}


def test_a_part_kept_its_name():
    event = {"type": "response.content_part.added", "part": {"type": "audio"}}
    assert event_to_current(event) == event


KEYS = (
    *("type", "session", "item", "response", "audio", "input", "output", "format", "content"),
    *("modalities", "output_modalities", "voice", "input_audio_format"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["audio", "text", "pcm16", ""]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=100)
@given(
    st.dictionaries(st.sampled_from(["type", "session", "item", "response", "part"]), JSON),
)
def test_any_object_passes_and_is_left_alone(event):
    before = repr(event)
    for change in (event_to_beta, event_to_current):
        found = change(event)
        assert set(found) == set(event)
    assert repr(event) == before
