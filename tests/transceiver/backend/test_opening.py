"""The start of a conversation with a Realtime server: what the client sees of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_server import check
from transceiver.backend.opening import PCM, REMEMBERED, Asked, Opening, merged

CREATED = {"type": "session.created", "event_id": "e1", "session": {"id": "sess_1", "voice": "a"}}
UPDATED = {"type": "session.updated", "event_id": "e2", "session": {"id": "sess_1", "voice": "b"}}
ERROR = {"type": "error", "event_id": "e3", "error": {"message": "no"}}
SPEECH = {"type": "input_audio_buffer.speech_started", "event_id": "e4"}
SHOWN = {**CREATED, "session": UPDATED["session"]}


@pytest.mark.parametrize(
    ("events", "seen"),
    [
        ([CREATED], []),
        ([CREATED, UPDATED], [SHOWN]),
        ([CREATED, UPDATED, UPDATED], [SHOWN, UPDATED]),
        ([CREATED, UPDATED, CREATED], [SHOWN, CREATED]),
        ([CREATED, ERROR], [CREATED, ERROR]),
        ([CREATED, ERROR, UPDATED], [CREATED, ERROR, UPDATED]),
        ([CREATED, SPEECH, UPDATED], [CREATED, SPEECH, UPDATED]),
        ([CREATED, CREATED], [CREATED, CREATED]),
        ([UPDATED, CREATED], [UPDATED, CREATED]),
        ([SPEECH, CREATED], [SPEECH, CREATED]),
        ([CREATED, None, UPDATED], [CREATED, UPDATED]),
        ([CREATED, UPDATED, None], [SHOWN]),
        ([None, CREATED], [CREATED]),
        ([None, None], []),
    ],
)
def test_the_client_sees(events, seen):
    """None: enough was waited."""
    opening, found = Opening(), []
    for event in events:
        found += opening.expire() if event is None else opening.receive(event)
    assert found == seen


def test_an_update_without_a_session_shows_the_one_that_was_created():
    opening = Opening()
    opening.receive(CREATED)
    assert opening.receive({"type": "session.updated"}) == [CREATED]


def test_what_is_the_server_s_own_is_not_asked_for():
    session = {"id": "sess_1", "object": "realtime.session", "model": "m", "instructions": "Hi."}
    event = Asked({**session, "expires_at": 1, "client_secret": {"value": "x"}}).update()
    check(event, server=False)
    assert event["session"] == {
        "type": "realtime",
        "instructions": "Hi.",
        "audio": {"input": {"format": PCM}, "output": {"format": PCM}},
    }


def test_what_the_client_changes_is_asked_for_again():
    asked = Asked({"audio": {"input": {"turn_detection": {"type": "server_vad"}}}})
    asked.change({"audio": {"output": {"voice": "sage"}}, "tools": [1]})
    asked.change({"audio": {"input": {"turn_detection": None}}, "tools": []})
    session = asked.update()["session"]
    assert session["audio"]["input"] == {"turn_detection": None, "format": PCM}
    assert session["audio"]["output"] == {"voice": "sage", "format": PCM}
    assert session["tools"] == []


def test_what_is_remembered_of_a_session_is_bounded():
    asked = Asked({})
    asked.change({"instructions": "x"})
    asked.change({"prompt": "y" * REMEMBERED})
    assert asked.session == {"instructions": "x"}
    asked.change({"prompt": "y"})
    assert asked.session == {"instructions": "x", "prompt": "y"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=2), JSON, max_size=4)


@settings(max_examples=100)
@given(OBJECTS, OBJECTS)
def test_merging_twice_is_merging_once_and_leaves_its_arguments_alone(session, update):
    before = repr((session, update))
    once = merged(session, update)
    assert repr((session, update)) == before
    assert merged(once, update) == once
    assert set(once) == set(session) | set(update)
