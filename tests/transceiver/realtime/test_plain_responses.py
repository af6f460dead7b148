"""Responses of a plain agent: made, heard, interrupted, missed.

Every event that comes out in these tests is held against the public models by the carrier.
"""

import pytest

from realtime_events import Carrier, entropy, message, plain, speak
from transceiver.config import RealtimeLimits
from transceiver.realtime import (
    Flush,
    PlainExchange,
    Respond,
    ToClient,
)
from transceiver.realtime.plain import CLIENT_EVENTS
from transceiver.realtime.session import validate

BEGINNING = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
]
END = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
    "response.done",
]


# --- responses ------------------------------------------------------------------------------------


def test_what_an_agent_says_becomes_a_response() -> None:
    carrier = plain()
    assert speak(carrier, "Hello") == [
        *BEGINNING,
        "response.output_audio_transcript.delta",
        "output_audio_buffer.started",
    ]
    carrier.after(carrier.exchange.said, " there", 1.1)
    assert carrier.one("response.output_audio_transcript.delta")["delta"] == " there"
    carrier.after(carrier.exchange.finish, 1.2)
    assert carrier.told() == END
    done = carrier.one("response.done")["response"]
    assert (done["status"], done["status_details"]) == ("completed", None)
    assert done["output"] == [carrier.one("conversation.item.done")["item"]]
    assert done["output"][0]["content"] == [{"type": "output_audio", "transcript": "Hello there"}]
    carrier.after(carrier.exchange.playback_ended, 2.5, 3.7)
    assert carrier.told() == ["output_audio_buffer.stopped"]
    assert carrier.events()[0]["response_id"] == done["id"]


def test_words_may_come_before_the_sound() -> None:
    carrier = plain()
    carrier.after(carrier.exchange.said, "Hello", 1.0)
    assert carrier.told() == [*BEGINNING, "response.output_audio_transcript.delta"]
    carrier.after(carrier.exchange.speaking, 1.0)
    assert carrier.told() == []


def test_an_utterance_that_runs_dry_is_complete() -> None:
    carrier = plain()
    speak(carrier)
    carrier.after(carrier.exchange.playback_ended, 1.0, 2.3)
    assert carrier.told() == [*END, "output_audio_buffer.stopped"]
    assert speak(carrier) == [*BEGINNING, "output_audio_buffer.started"]


def test_responses_may_wait_to_be_heard() -> None:
    carrier = plain()
    names = []
    for words in ("one", "two"):
        carrier.exchange.speaking(1.0)
        carrier.exchange.said(words, 1.0)
        carrier.after(carrier.exchange.finish, 1.0)
        names.append(carrier.one("response.done")["response"]["id"])
    for name in names:
        carrier.after(carrier.exchange.playback_started, 2.0)
        assert carrier.one("output_audio_buffer.started")["response_id"] == name
        carrier.after(carrier.exchange.playback_ended, 1.0, 3.0)
        assert carrier.one("output_audio_buffer.stopped")["response_id"] == name


def test_a_client_that_asks_gets_a_response_at_once() -> None:
    carrier = plain()
    for text in ("one", "two"):
        carrier.send(type="conversation.item.create", item=message(text))
    asked = {"instructions": "sing", "metadata": {"a": "b"}}
    created, respond = carrier.send(type="response.create", response=asked)
    assert respond == Respond(asked, "one\ntwo")
    assert isinstance(created, ToClient)
    response = created.event["response"]
    assert (response["status"], response["metadata"]) == ("in_progress", {"a": "b"})
    told = speak(carrier, "la")
    assert told == [
        *BEGINNING[1:],
        "response.output_audio_transcript.delta",
        "output_audio_buffer.started",
    ]
    carrier.after(carrier.exchange.finish, 2.0)
    assert carrier.one("response.done")["response"]["id"] == response["id"]
    assert carrier.send(type="response.create")[-1] == Respond({}, "")


def test_one_response_at_a_time() -> None:
    carrier = plain()
    carrier.send(type="response.create")
    carrier.send(type="response.create")
    assert carrier.error() == ("conversation_already_has_active_response", None)


def test_an_answer_to_other_input_than_the_conversation() -> None:
    carrier = plain()
    carrier.send(type="conversation.item.create", item=message("unrelated"))
    asked = {
        "conversation": "none",
        "input": [message("this"), {"type": "item_reference", "id": "x"}, message("and that")],
    }
    created, respond = carrier.send(type="response.create", response=asked)
    assert respond == Respond(asked, "this\nand that")
    assert isinstance(created, ToClient)
    assert created.event["response"]["conversation_id"] is None
    assert "conversation.item.added" not in speak(carrier)
    carrier.after(carrier.exchange.finish, 1.0)
    assert carrier.told() == [kind for kind in END if kind != "conversation.item.done"]


def test_a_client_may_want_words_alone() -> None:
    carrier = plain(validate({"output_modalities": ["text"]}))
    assert carrier.after(carrier.exchange.said, "Hello", 1.0)
    assert carrier.told() == [*BEGINNING, "response.output_text.delta"]
    assert not carrier.exchange.speaking(1.0)
    carrier.after(carrier.exchange.finish, 1.0)
    assert carrier.told() == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]
    output = carrier.one("response.done")["response"]["output"]
    assert output[0]["content"] == [{"type": "output_text", "text": "Hello"}]
    carrier.send(type="response.create", response={"output_modalities": ["audio"]})
    assert carrier.exchange.speaking(1.0)


def test_words_are_bounded() -> None:
    carrier = plain(limits=RealtimeLimits(transcript=5))
    carrier.exchange.speaking(1.0)
    carrier.exchange.said("abc", 1.0)
    carrier.exchange.said("def", 1.0)
    assert carrier.after(carrier.exchange.said, "ghi", 1.0)
    assert [
        event["delta"] for event in carrier.events("response.output_audio_transcript.delta")
    ] == ["abc", "de"]
    carrier.send(type="conversation.item.create", item=message("0123456789"))
    carrier.exchange.finish(1.0)
    carrier.send(type="response.create")
    assert carrier.outputs[-1] == Respond({}, "01234")


def test_an_agent_that_does_not_answer_has_failed() -> None:
    carrier = plain()
    carrier.send(type="response.create")
    due = carrier.exchange.next_timeout()
    assert due == carrier.now + RealtimeLimits().answer_wait
    assert carrier.after(carrier.exchange.handle_timeout, due - 0.1) == []
    carrier.after(carrier.exchange.handle_timeout, due)
    response = carrier.one("response.done")["response"]
    assert response["status"] == "failed"
    assert response["status_details"]["error"]["code"] == "no_answer"
    assert response["output"] == []
    assert carrier.exchange.next_timeout() is None


def test_words_without_sound_and_end_are_complete_after_a_while() -> None:
    carrier = plain()
    carrier.exchange.said("x", 1.0)
    carrier.exchange.said("y", 2.0)
    due = carrier.exchange.next_timeout()
    assert due == 2.0 + RealtimeLimits().answer_wait
    carrier.after(carrier.exchange.handle_timeout, due)
    assert carrier.one("response.done")["response"]["status"] == "completed"


# --- interruption ---------------------------------------------------------------------------------


def test_speech_interrupts_what_is_said() -> None:
    carrier = plain()
    carrier.playing = (0.75, 4.0)
    speak(carrier, "Hello")
    carrier.after(carrier.exchange.speech_started, 2.0, 2.0, True)
    assert Flush() in carrier.outputs
    assert carrier.told() == [
        "input_audio_buffer.speech_started",
        "output_audio_buffer.cleared",
        *END,
        "conversation.item.truncated",
    ]
    done = carrier.one("response.done")["response"]
    assert done["status"] == "cancelled"
    assert done["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert done["output"][0]["status"] == "incomplete"
    truncated = carrier.one("conversation.item.truncated")
    assert (truncated["audio_end_ms"], truncated["content_index"]) == (750, 0)
    item = truncated["item_id"]
    carrier.send(type="conversation.item.retrieve", item_id=item)
    content = carrier.one("conversation.item.retrieved")["item"]["content"]
    assert content == [{"type": "output_audio", "transcript": ""}]


def test_speech_interrupts_what_is_made_and_still_heard() -> None:
    carrier = plain()
    carrier.playing = (0.5, 1.0)
    speak(carrier)
    carrier.exchange.finish(1.0)
    carrier.exchange.speaking(1.0)
    carrier.after(carrier.exchange.finish, 1.0)
    carrier.after(carrier.exchange.speech_started, 2.0, 2.0, True)
    assert carrier.told() == [
        "input_audio_buffer.speech_started",
        "output_audio_buffer.cleared",
        "output_audio_buffer.cleared",
        "conversation.item.truncated",
        "conversation.item.truncated",
    ]
    cuts = [event["audio_end_ms"] for event in carrier.events("conversation.item.truncated")]
    assert cuts == [500, 0]


def test_speech_interrupts_nothing_where_the_client_does_not_want_it() -> None:
    detection = {"type": "server_vad", "interrupt_response": False}
    carrier = plain(validate({"turn_detection": detection}))
    speak(carrier)
    carrier.after(carrier.exchange.speech_started, 2.0, 2.0, True)
    assert carrier.told() == ["input_audio_buffer.speech_started"]
    assert Flush() not in carrier.outputs


def test_speech_interrupts_nothing_where_nothing_is_said() -> None:
    carrier = plain()
    assert Flush() not in carrier.after(carrier.exchange.speech_started, 2.0, 2.0, False)


def test_speech_calls_a_response_off_that_has_not_begun() -> None:
    carrier = plain()
    carrier.send(type="response.create")
    assert Flush() in carrier.after(carrier.exchange.speech_started, 2.0, 2.0, False)
    assert carrier.told() == ["input_audio_buffer.speech_started", "response.done"]


def test_the_client_cancels_a_response() -> None:
    carrier = plain()
    speak(carrier)
    carrier.send(type="response.cancel", response_id="resp_other")
    assert carrier.error() == ("response_cancel_not_active", None)
    carrier.playing = (0.02, 1.0)
    carrier.send(type="response.cancel")
    assert carrier.one("response.done")["response"]["status_details"] == {
        "type": "cancelled",
        "reason": "client_cancelled",
    }
    assert carrier.one("conversation.item.truncated")["audio_end_ms"] == 20


def test_the_client_clears_what_is_heard() -> None:
    carrier = plain()
    assert carrier.send(type="output_audio_buffer.clear") == []
    speak(carrier)
    carrier.exchange.finish(1.0)
    carrier.after(carrier.exchange.finish, 1.0)
    carrier.playing = (0.1, 1.0)
    assert carrier.send(type="output_audio_buffer.clear")[0] == Flush()
    assert carrier.told() == ["output_audio_buffer.cleared", "conversation.item.truncated"]
    assert carrier.send(type="output_audio_buffer.clear") == []


def test_an_agent_may_silence_itself() -> None:
    carrier = plain()
    speak(carrier)
    carrier.after(carrier.exchange.flushed, 0.3, 0.5, 2.0)
    assert Flush() not in carrier.outputs
    done = carrier.one("response.done")["response"]
    assert done["status_details"] == {"type": "cancelled"}
    assert carrier.one("output_audio_buffer.cleared")["response_id"] == done["id"]
    assert speak(carrier)[0] == "response.created"


def test_silence_is_asked_for_once() -> None:
    exchange = PlainExchange(entropy)
    exchange.speaking(1.0)
    exchange.speech_started(1.0, 1.0, True)
    exchange.speech_started(1.0, 1.0, True)
    outputs = list(iter(exchange.next_output, None))
    assert outputs.count(Flush()) == 1


def test_the_client_truncates_what_it_has_heard() -> None:
    carrier = plain()
    speak(carrier, "Hello")
    carrier.after(carrier.exchange.finish, 1.0)
    item = carrier.one("conversation.item.done")["item"]["id"]
    carrier.exchange.playback_ended(1.0, 2.0)
    truncate = {"type": "conversation.item.truncate", "item_id": item}
    carrier.send(**truncate, content_index=0, audio_end_ms=1001)
    assert carrier.error() == ("invalid_value", "audio_end_ms")
    carrier.send(**truncate, content_index=1, audio_end_ms=10)
    assert carrier.error() == ("invalid_value", "content_index")
    carrier.send(**truncate, content_index=0, audio_end_ms=1000)
    assert carrier.told() == ["conversation.item.truncated"]
    carrier.send(type="conversation.item.retrieve", item_id=item)
    assert carrier.one("conversation.item.retrieved")["item"]["content"][0]["transcript"] == ""


def test_the_client_truncates_nothing_but_the_agents_sound() -> None:
    carrier = plain()
    carrier.send(type="conversation.item.create", item=message("x", id="mine"))
    carrier.send(type="conversation.item.truncate", item_id="mine", content_index=0, audio_end_ms=0)
    assert carrier.error() == ("invalid_value", "item_id")


# --- time, and what stands behind -----------------------------------------------------------------


def idle() -> Carrier:
    detection = {"type": "server_vad", "idle_timeout_ms": 5000}
    carrier = plain(validate({"turn_detection": detection}))
    speak(carrier)
    carrier.exchange.finish(1.0)
    carrier.after(carrier.exchange.playback_ended, 1.0, 10.0)
    return carrier


def test_a_client_that_stays_silent_is_spoken_to() -> None:
    carrier = idle()
    assert carrier.exchange.next_timeout() == 15.0
    carrier.after(carrier.exchange.handle_timeout, 15.0)
    assert carrier.told() == [
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    triggered = carrier.events()[0]
    assert (triggered["audio_start_ms"], triggered["audio_end_ms"]) == (10000, 15000)
    assert carrier.outputs[-1] == Respond({}, "")


def test_positions_are_those_of_the_input_audio() -> None:
    carrier = plain(validate({"turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000}}))
    carrier.exchange.speech_started(1.0, 2.0, False)
    carrier.exchange.speech_stopped(2.0, 3.5)
    carrier.after(carrier.exchange.playback_ended, 1.0, 10.0)
    carrier.after(carrier.exchange.handle_timeout, 15.0)
    assert carrier.one("input_audio_buffer.timeout_triggered")["audio_end_ms"] == 13500


@pytest.mark.parametrize("what", ["speech", "response", "off"])
def test_a_client_is_not_spoken_to_when_something_happens(what: str) -> None:
    carrier = idle()
    match what:
        case "speech":
            carrier.exchange.speech_started(11.0, 11.0, False)
        case "response":
            speak(carrier)
        case _:
            update = {"audio": {"input": {"turn_detection": None}}}
            carrier.send(type="session.update", session=update)
    assert carrier.exchange.next_timeout() is None
    carrier.after(carrier.exchange.handle_timeout, 15.0)
    assert "input_audio_buffer.timeout_triggered" not in carrier.told()


def test_a_lost_backend_is_told_once_and_so_is_its_return() -> None:
    carrier = plain()
    assert carrier.after(carrier.exchange.backend_restored, 1.0) == []
    carrier.send(type="response.create")
    carrier.after(carrier.exchange.backend_lost, "gone", 2.0)
    assert carrier.told() == ["error", "response.done"]
    error = carrier.one("error")["error"]
    assert (error["type"], error["code"]) == ("server_error", "backend_lost")
    assert "gone" in error["message"]
    assert carrier.one("response.done")["response"]["status"] == "failed"
    assert carrier.after(carrier.exchange.backend_lost, "gone", 2.0) == []
    carrier.after(carrier.exchange.backend_restored, 3.0)
    assert carrier.told() == ["backend.restored"]


def test_what_a_lost_backend_had_said_is_heard_to_its_end() -> None:
    carrier = plain()
    speak(carrier)
    carrier.after(carrier.exchange.backend_lost, "gone", 2.0)
    assert carrier.told() == ["error", *END]
    carrier.after(carrier.exchange.playback_ended, 1.0, 3.0)
    assert carrier.told() == ["output_audio_buffer.stopped"]


def test_an_agents_own_events_reach_every_client() -> None:
    carrier = plain()
    carrier.strict = False
    (told,) = carrier.after(carrier.exchange.agent_event, {"type": "mood"}, 1.0)
    assert isinstance(told, ToClient)
    assert told.to is None
    assert told.event["type"] == "mood"
    assert told.event["event_id"].startswith("event_")
    carrier.after(carrier.exchange.agent_event, {"type": "mood", "event_id": "own"}, 1.0)
    assert carrier.events()[0]["event_id"] == "own"


def test_every_event_of_a_client_is_dealt_with() -> None:
    for kind in CLIENT_EVENTS:
        carrier = plain()
        carrier.send(type=kind)
        assert not [error for error in carrier.events("error") if error["error"]["param"] == "type"]
