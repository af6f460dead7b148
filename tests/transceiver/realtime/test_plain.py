"""The server's side of the protocol, held for an agent that only hears and says.

Every event that comes out in these tests is held against the public models by the carrier.
"""

import base64
from typing import Any

import pytest

from realtime_events import CHANNEL, SIDE, Carrier, entropy, message, plain, speak
from transceiver.config import RealtimeLimits
from transceiver.realtime import (
    Changed,
    Hear,
    PlainExchange,
    Respond,
    ToAgent,
    ToClient,
)
from transceiver.realtime.session import validate

# --- connections ----------------------------------------------------------------------------------


def test_every_connection_is_greeted_alone() -> None:
    carrier = plain()
    for source in (SIDE, SIDE + 1):
        (greeting,) = carrier.after(carrier.exchange.connected, source, 1.0)
        assert isinstance(greeting, ToClient)
        assert greeting.to == source
        assert greeting.event["type"] == "session.created"
        assert greeting.event["session"] == carrier.exchange.session


def test_one_connection_too_many_is_refused_until_another_goes() -> None:
    exchange = PlainExchange(entropy, limits=RealtimeLimits(connections=2))
    assert [exchange.connected(source, 0.0) for source in (0, 1, 2)] == [True, True, False]
    assert exchange.connected(1, 0.0)
    exchange.disconnected(1)
    exchange.disconnected(7)
    assert exchange.connected(2, 0.0)


def test_after_the_end_nothing_comes_out() -> None:
    carrier = plain()
    carrier.exchange.said("x", 1.0)
    carrier.exchange.end(1.0)
    assert carrier.exchange.next_output() is None
    assert carrier.send(type="response.create") == []
    assert carrier.after(carrier.exchange.said, "x", 1.0) == []
    assert not carrier.exchange.speaking(1.0)
    assert not carrier.exchange.connected(5, 1.0)
    assert carrier.exchange.next_timeout() is None


def test_names_are_made_of_one_stem_and_never_twice() -> None:
    carrier = plain()
    ids = [carrier.exchange.session["id"]]
    for _ in range(3):
        carrier.send(type="conversation.item.create", item=message("x"))
        ids += [event["event_id"] for event in carrier.events()]
        ids.append(carrier.events()[0]["item"]["id"])
    assert len(set(ids)) == len(ids)
    assert {name.partition("_")[0] for name in ids} == {"sess", "event", "item"}


# --- bad events -----------------------------------------------------------------------------------


def test_a_bad_event_is_answered_where_it_came_from_and_names_itself() -> None:
    carrier = plain()
    (answer,) = carrier.send(SIDE, type="session.update", session={"audio": 1}, event_id="mine")
    assert isinstance(answer, ToClient)
    assert answer.to == SIDE
    assert answer.event["error"]["event_id"] == "mine"
    assert carrier.error() == ("invalid_type", "session.audio")


BAD: tuple[tuple[dict[str, Any], str, str | None], ...] = (
    ({"type": "session.dance"}, "invalid_value", "type"),
    ({"type": "session.update"}, "missing_required_parameter", "session"),
    ({"type": "session.update", "session": {"model": "n"}}, "invalid_value", "session.model"),
    (
        {"type": "session.update", "session": {"type": "transcription"}},
        "invalid_value",
        "session.type",
    ),
    ({"type": "input_audio_buffer.append"}, "missing_required_parameter", "audio"),
    ({"type": "input_audio_buffer.append", "audio": 1}, "invalid_type", "audio"),
    ({"type": "input_audio_buffer.append", "audio": "a b"}, "invalid_value", "audio"),
    ({"type": "input_audio_buffer.append", "audio": "AAAA"}, "invalid_value", "audio"),
    ({"type": "conversation.item.create"}, "missing_required_parameter", "item"),
    (
        {"type": "conversation.item.create", "item": {}},
        "missing_required_parameter",
        "item.type",
    ),
    (
        {"type": "conversation.item.create", "item": {"type": "message"}},
        "missing_required_parameter",
        "item.role",
    ),
    (
        {"type": "conversation.item.create", "item": {"type": "message", "role": "user"}},
        "missing_required_parameter",
        "item.content",
    ),
    (
        {
            "type": "conversation.item.create",
            "item": {"type": "message", "role": "user", "content": [{"type": "smell"}]},
        },
        "invalid_value",
        "item.content[0].type",
    ),
    (
        {"type": "conversation.item.create", "item": message("x"), "previous_item_id": "y"},
        "item_not_found",
        "previous_item_id",
    ),
    (
        {"type": "conversation.item.create", "item": {"type": "function_call_output"}},
        "missing_required_parameter",
        "item.call_id",
    ),
    ({"type": "conversation.item.retrieve"}, "missing_required_parameter", "item_id"),
    ({"type": "conversation.item.retrieve", "item_id": "x"}, "item_not_found", "item_id"),
    ({"type": "conversation.item.delete", "item_id": []}, "invalid_type", "item_id"),
    ({"type": "conversation.item.delete", "item_id": "x"}, "item_not_found", "item_id"),
    (
        {"type": "conversation.item.truncate", "item_id": "x", "content_index": 0},
        "missing_required_parameter",
        "audio_end_ms",
    ),
    (
        {
            "type": "conversation.item.truncate",
            "item_id": "x",
            "content_index": 0,
            "audio_end_ms": 1,
        },
        "item_not_found",
        "item_id",
    ),
    ({"type": "response.create", "response": 1}, "invalid_type", "response"),
    (
        {"type": "response.create", "response": {"output_modalities": ["x"]}},
        "invalid_value",
        "response.output_modalities[0]",
    ),
    (
        {"type": "response.create", "response": {"metadata": {"a": 1}}},
        "invalid_type",
        "response.metadata.a",
    ),
    (
        {"type": "response.create", "response": {"metadata": {str(n): "" for n in range(17)}}},
        "object_above_max_properties",
        "response.metadata",
    ),
    (
        {"type": "response.create", "response": {"input": [{"type": "item_reference"}]}},
        "missing_required_parameter",
        "response.input[0].id",
    ),
    ({"type": "response.cancel"}, "response_cancel_not_active", None),
    ({"type": "response.cancel", "response_id": 3}, "invalid_type", "response_id"),
    (
        {
            "type": "conversation.item.create",
            "item": {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_audio", "text": 5}],
            },
        },
        "invalid_type",
        "item.content[0].text",
    ),
)


@pytest.mark.parametrize(("event", "code", "param"), BAD)
def test_what_cannot_be_meant_is_named(event: dict[str, Any], code: str, param: str | None) -> None:
    carrier = plain()
    carrier.send(**event)
    assert carrier.error() == (code, param)
    carrier.send(type="session.update", session={"instructions": "still there"})
    assert carrier.told() == ["session.updated"]


def test_what_is_no_event_is_answered() -> None:
    carrier = plain()
    carrier.after(carrier.exchange.receive_untrusted, b"\x00\xff", CHANNEL, 1.0)
    assert carrier.error() == ("invalid_event", None)


# --- the session ----------------------------------------------------------------------------------


def test_an_update_is_told_to_all_and_to_the_agent() -> None:
    carrier = plain(validate({"instructions": "a", "voice": "alloy"}))
    updated, changed = carrier.send(type="session.update", session={"instructions": "b"})
    assert isinstance(updated, ToClient)
    assert updated.to is None
    assert updated.event["session"]["instructions"] == "b"
    assert updated.event["session"]["audio"]["output"]["voice"] == "alloy"
    assert changed == Changed(carrier.exchange.session)


def test_an_update_may_hold_nulls() -> None:
    carrier = plain()
    speak(carrier)
    before = carrier.exchange.session
    for audio in (None, {"input": None, "output": None}, {"output": {"voice": None}}):
        carrier.send(type="session.update", session={"audio": audio})
        assert carrier.told() == ["session.updated"]
    assert carrier.exchange.session == before


def test_the_same_model_may_be_said_again() -> None:
    carrier = plain()
    carrier.send(type="session.update", session={"model": "m"})
    assert carrier.told() == ["session.updated"]


def test_the_voice_stays_once_it_has_been_heard() -> None:
    carrier = plain(validate({"voice": "alloy"}))
    assert carrier.send(type="session.update", session={"voice": "echo"})
    speak(carrier)
    carrier.send(type="session.update", session={"voice": "echo"})
    assert carrier.told() == ["session.updated"]
    carrier.send(type="session.update", session={"audio": {"output": {"voice": "verse"}}})
    assert carrier.error() == ("cannot_update_voice", "session.audio.output.voice")


# --- input ----------------------------------------------------------------------------------------


def test_sound_in_events_is_heard() -> None:
    carrier = plain()
    pcm = bytes(range(8))
    audio = base64.b64encode(pcm).decode()
    assert carrier.send(type="input_audio_buffer.append", audio=audio) == [Hear(pcm, 24000)]
    assert carrier.send(type="input_audio_buffer.append", audio="") == []


def test_sound_in_events_is_pcm_alone() -> None:
    carrier = plain(validate({"input_audio_format": "g711_ulaw"}))
    carrier.send(type="input_audio_buffer.append", audio="AAAA")
    assert carrier.error() == ("invalid_value", "audio")


def test_a_turn_is_told_from_its_first_sound_to_its_item() -> None:
    carrier = plain()
    carrier.after(carrier.exchange.speech_started, 2.0, 2.1, False)
    started = carrier.one("input_audio_buffer.speech_started")
    assert started["audio_start_ms"] == 1700
    assert carrier.told() == ["input_audio_buffer.speech_started"]
    carrier.after(carrier.exchange.speech_stopped, 3.5, 3.6)
    assert carrier.told() == [
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    stopped, committed, added, done = carrier.events()
    assert stopped["audio_end_ms"] == 3500
    assert stopped["item_id"] == committed["item_id"] == started["item_id"]
    assert added["item"] == done["item"]
    assert added["item"]["id"] == started["item_id"]
    assert committed["previous_item_id"] is None
    assert not [output for output in carrier.outputs if isinstance(output, Respond)]


def test_items_follow_each_other() -> None:
    carrier = plain()
    names: list[str | None] = [None]
    for at in (1.0, 3.0):
        carrier.exchange.speech_started(at, at, False)
        carrier.after(carrier.exchange.speech_stopped, at + 1, at + 1)
        committed = carrier.one("input_audio_buffer.committed")
        assert committed["previous_item_id"] == names[-1]
        names.append(committed["item_id"])


def test_without_turn_detection_turns_are_the_clients() -> None:
    carrier = plain(validate({"turn_detection": None}))
    assert carrier.after(carrier.exchange.speech_started, 1.0, 1.0, True) == []
    assert carrier.after(carrier.exchange.speech_stopped, 2.0, 2.0) == []
    carrier.now = 3.0
    carrier.send(type="input_audio_buffer.commit")
    assert carrier.told() == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    carrier.now += 0.05
    carrier.send(type="input_audio_buffer.commit")
    assert carrier.error() == ("input_audio_buffer_commit_empty", None)


def test_a_turn_ends_although_detection_was_turned_off_meanwhile() -> None:
    carrier = plain()
    carrier.exchange.speech_started(1.0, 1.0, False)
    carrier.send(type="session.update", session={"audio": {"input": {"turn_detection": None}}})
    carrier.after(carrier.exchange.speech_stopped, 2.0, 2.0)
    assert "input_audio_buffer.committed" in carrier.told()


def test_a_turn_may_be_committed_while_it_is_spoken() -> None:
    carrier = plain()
    carrier.after(carrier.exchange.speech_started, 1.0, 1.0, False)
    turn = carrier.one("input_audio_buffer.speech_started")["item_id"]
    carrier.send(type="input_audio_buffer.commit")
    assert carrier.one("input_audio_buffer.committed")["item_id"] == turn
    carrier.after(carrier.exchange.speech_stopped, 2.0, 2.0)
    assert carrier.one("input_audio_buffer.committed")["item_id"] != turn


def test_what_is_cleared_cannot_be_committed() -> None:
    carrier = plain()
    carrier.send(type="input_audio_buffer.clear")
    assert carrier.told() == ["input_audio_buffer.cleared"]
    carrier.send(type="input_audio_buffer.commit")
    assert carrier.error() == ("input_audio_buffer_commit_empty", None)
    audio = base64.b64encode(bytes(4800)).decode()
    carrier.send(type="input_audio_buffer.append", audio=audio)
    carrier.send(type="input_audio_buffer.commit")
    assert "input_audio_buffer.committed" in carrier.told()


def test_before_the_call_is_established_there_is_no_input() -> None:
    carrier = Carrier(PlainExchange(entropy), now=5.0)
    carrier.send(type="input_audio_buffer.commit")
    assert carrier.error() == ("input_audio_buffer_commit_empty", None)


# --- items ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "item",
    [
        message("hello"),
        message("hello", id="mine", status="in_progress"),
        {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "x"}]},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "x"}],
        },
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_audio", "audio": "AAAA", "transcript": "x"},
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
            ],
        },
        {"type": "function_call", "name": "look", "arguments": "{}", "call_id": "c"},
        {"type": "function_call_output", "call_id": "c", "output": "seen"},
    ],
)
def test_an_item_is_made_shown_and_removed(item: dict[str, Any]) -> None:
    carrier = plain()
    carrier.send(type="conversation.item.create", item=item, event_id="e")
    added, done = carrier.events()
    assert [added["type"], done["type"]] == ["conversation.item.added", "conversation.item.done"]
    made = added["item"]
    assert made["status"] == "completed"
    assert made["id"] == item.get("id", made["id"])
    assert "AAAA" not in str(made)
    assert carrier.outputs[-1] == ToAgent(
        {"type": "conversation.item.create", "item": item, "event_id": "e"}
    )
    (shown,) = carrier.send(SIDE, type="conversation.item.retrieve", item_id=made["id"])
    assert isinstance(shown, ToClient)
    assert (shown.to, shown.event["item"]) == (SIDE, made)
    carrier.send(type="conversation.item.delete", item_id=made["id"])
    assert carrier.one("conversation.item.deleted")["item_id"] == made["id"]
    carrier.send(type="conversation.item.retrieve", item_id=made["id"])
    assert carrier.error() == ("item_not_found", "item_id")


def test_an_id_is_given_once() -> None:
    carrier = plain()
    carrier.send(type="conversation.item.create", item=message("x", id="mine"))
    carrier.send(type="conversation.item.create", item=message("x", id="mine"))
    assert carrier.error() == ("item_already_exists", "item.id")


def test_items_go_where_the_client_wants_them() -> None:
    carrier = plain()
    places = [("a", None, None), ("b", None, "a"), ("c", "a", "a"), ("d", "root", None)]
    for name, after, before in places:
        carrier.send(
            type="conversation.item.create", item=message(name, id=name), previous_item_id=after
        )
        assert [event["previous_item_id"] for event in carrier.events()] == [before, before]
    carrier.exchange.speech_started(1.0, 1.0, False)
    carrier.after(carrier.exchange.speech_stopped, 2.0, 2.0)
    assert carrier.one("input_audio_buffer.committed")["previous_item_id"] == "b"


@pytest.mark.parametrize("limits", [RealtimeLimits(items=3), RealtimeLimits(item_bytes=500)])
def test_the_oldest_items_are_forgotten(limits: RealtimeLimits) -> None:
    carrier = plain(limits=limits)
    for number in range(10):
        carrier.send(type="conversation.item.create", item=message("x", id=str(number)))
    known = []
    for number in range(10):
        carrier.send(type="conversation.item.retrieve", item_id=str(number))
        known += carrier.events("conversation.item.retrieved")
    assert [event["item"]["id"] for event in known] == ["7", "8", "9"]
