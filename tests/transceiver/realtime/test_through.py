"""What passes to an agent that speaks the protocol itself, and what the edge puts in."""

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_events import CHANNEL, SIDE, Carrier, conforms, entropy, json_values, through
from transceiver.config import RealtimeLimits
from transceiver.realtime import (
    Changed,
    Finish,
    Flush,
    Play,
    ThroughExchange,
    ToAgent,
    ToClient,
)
from transceiver.realtime.plain import CLIENT_EVENTS

CURRENT = "response.output_audio"
BETA = "response.audio"


def upstream(carrier: Carrier, kind: str, **fields: Any) -> list[Any]:
    """What comes of an event of the agent's server."""
    event = {"type": kind, "event_id": "theirs", **fields}
    return carrier.after(carrier.exchange.agent_event, event, carrier.now)


def delta(
    carrier: Carrier, pcm: bytes, response: str = "r", item: str = "i", family: str = CURRENT
) -> list[Any]:
    return upstream(
        carrier,
        f"{family}.delta",
        response_id=response,
        item_id=item,
        content_index=0,
        delta=base64.b64encode(pcm).decode(),
    )


def created(carrier: Carrier, response: str = "r") -> None:
    upstream(carrier, "response.created", response={"id": response, "status": "in_progress"})


def done(carrier: Carrier, response: str = "r") -> list[Any]:
    return upstream(carrier, "response.done", response={"id": response, "status": "completed"})


# --- the client's events --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [*(kind for kind in CLIENT_EVENTS if kind != "output_audio_buffer.clear"), "x.y"]
)
def test_the_clients_events_pass_untouched(kind: str) -> None:
    carrier = through()
    event = {"type": kind, "event_id": "e", "session": {"mood": 1}, "x": [None, 1.5, "ä"]}
    assert carrier.send(**event) == [ToAgent(event)]


def test_what_is_no_event_is_answered_at_the_edge() -> None:
    carrier = through()
    carrier.after(carrier.exchange.receive_untrusted, "{", SIDE, 1.0)
    assert carrier.error() == ("invalid_event", None)
    (answer,) = carrier.outputs
    assert isinstance(answer, ToClient)
    assert answer.to == SIDE
    conforms(answer.event)


@pytest.mark.parametrize(
    ("said", "passed"),
    [
        (
            {"audio": {"input": {"format": {"type": "audio/pcmu"}, "x": 1}, "output": {"y": 2}}},
            {
                "audio": {
                    "input": {"format": {"type": "audio/pcm", "rate": 24000}, "x": 1},
                    "output": {"y": 2},
                }
            },
        ),
        (
            {"input_audio_format": "g711_ulaw", "output_audio_format": "g711_alaw", "voice": "v"},
            {"input_audio_format": "pcm16", "output_audio_format": "pcm16", "voice": "v"},
        ),
        (
            {"audio": {"output": {"format": 3}}},
            {"audio": {"output": {"format": {"type": "audio/pcm", "rate": 24000}}}},
        ),
        ({"audio": {"output": 7, "input": None}}, {"audio": {"output": 7, "input": None}}),
        ({"audio": "x"}, {"audio": "x"}),
        ("x", "x"),
    ],
)
def test_the_formats_of_audio_are_the_edges(said: Any, passed: Any) -> None:
    carrier = through()
    (output,) = carrier.send(type="session.update", session=said)
    assert output == ToAgent({"type": "session.update", "session": passed})


# --- the session ----------------------------------------------------------------------------------


def test_clients_are_greeted_when_the_server_has_greeted_us() -> None:
    carrier = through()
    session = {"id": "sess_theirs", "type": "realtime", "instructions": "a"}
    outputs = upstream(carrier, "session.created", session=session)
    told = {"type": "session.created", "event_id": "theirs", "session": session}
    assert outputs == [ToClient(told), Changed(session)]
    assert carrier.exchange.session == session
    assert carrier.after(carrier.exchange.connected, SIDE, 1.0) == [ToClient(told, SIDE)]


def test_a_later_connection_is_greeted_with_the_session_as_it_stands() -> None:
    carrier = through()
    upstream(carrier, "session.created", session={"instructions": "a"})
    updated = {"instructions": "b"}
    assert upstream(carrier, "session.updated", session=updated)[1] == Changed(updated)
    carrier.after(carrier.exchange.connected, SIDE, 1.0)
    assert carrier.one("session.created")["session"] == updated


def test_a_server_that_greets_us_again_is_not_heard_by_the_client() -> None:
    carrier = through()
    upstream(carrier, "session.created", session={"instructions": "a"})
    again = {"instructions": "c"}
    assert upstream(carrier, "session.created", session=again) == [Changed(again)]
    carrier.after(carrier.exchange.connected, SIDE, 1.0)
    assert carrier.one("session.created")["session"] == again


def test_connections_are_bounded_and_nothing_comes_after_the_end() -> None:
    exchange = ThroughExchange(entropy, limits=RealtimeLimits(connections=1))
    assert exchange.connected(CHANNEL, 0.0)
    assert not exchange.connected(SIDE, 0.0)
    exchange.disconnected(CHANNEL)
    assert exchange.connected(SIDE, 0.0)
    exchange.agent_event({"type": "x"}, 0.0)
    exchange.end(0.0)
    exchange.agent_event({"type": "x"}, 0.0)
    assert exchange.next_output() is None
    assert exchange.next_timeout() is None


# --- sound ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [CURRENT, BETA])
def test_sound_is_taken_out_and_its_hearing_told(family: str) -> None:
    carrier = through()
    created(carrier)
    assert delta(carrier, b"abcd", family=family) == [Play(b"abcd")]
    assert delta(carrier, b"ef", family=family) == [Play(b"ef")]
    carrier.after(carrier.exchange.playback_started, 1.1)
    started = carrier.one("output_audio_buffer.started")
    assert started["response_id"] == "r"
    conforms(started)
    outputs = upstream(carrier, f"{family}.done", response_id="r", item_id="i")
    assert outputs[0] == Finish()
    assert carrier.told() == [f"{family}.done"]
    assert done(carrier)[0] == ToClient(
        {
            "type": "response.done",
            "event_id": "theirs",
            "response": {"id": "r", "status": "completed"},
        }
    )
    assert carrier.told() == ["response.done"]
    carrier.after(carrier.exchange.playback_ended, 0.1, 1.3)
    stopped = carrier.one("output_audio_buffer.stopped")
    assert stopped["response_id"] == "r"
    conforms(stopped)


def test_the_end_of_the_sound_is_told_after_the_end_of_the_response() -> None:
    carrier = through()
    created(carrier)
    delta(carrier, b"ab")
    carrier.exchange.playback_started(1.1)
    upstream(carrier, f"{CURRENT}.done")
    assert carrier.after(carrier.exchange.playback_ended, 0.1, 1.3) == []
    done(carrier)
    assert carrier.told() == ["response.done", "output_audio_buffer.stopped"]


def test_a_response_may_be_done_before_it_is_heard() -> None:
    carrier = through()
    created(carrier)
    delta(carrier, b"ab")
    assert done(carrier)[0] == Finish()
    carrier.after(carrier.exchange.playback_started, 1.1)
    assert carrier.told() == ["output_audio_buffer.started"]
    carrier.after(carrier.exchange.playback_ended, 0.1, 1.3)
    assert carrier.told() == ["output_audio_buffer.stopped"]


def test_items_of_one_response_are_heard_as_one() -> None:
    carrier = through()
    created(carrier)
    delta(carrier, b"ab", item="i")
    assert delta(carrier, b"cd", item="j") == [Finish(), Play(b"cd")]
    carrier.after(carrier.exchange.playback_started, 1.1)
    assert carrier.told() == ["output_audio_buffer.started"]
    assert carrier.after(carrier.exchange.playback_ended, 0.1, 1.2) == []
    assert carrier.after(carrier.exchange.playback_started, 1.2) == []
    done(carrier)
    assert carrier.told() == ["response.done"]
    carrier.after(carrier.exchange.playback_ended, 0.1, 1.3)
    assert carrier.told() == ["output_audio_buffer.stopped"]


def test_samples_are_put_together_again() -> None:
    carrier = through()
    assert delta(carrier, b"a") == []
    assert delta(carrier, b"bc") == [Play(b"ab")]
    assert delta(carrier, b"def") == [Play(b"cdef")]
    delta(carrier, b"g")
    assert delta(carrier, b"hi", item="j") == [Finish(), Play(b"hi")]


@pytest.mark.parametrize("sound", [None, 1, "not base64!", "ä"])
def test_sound_that_is_none_is_let_go(sound: object) -> None:
    carrier = through()
    assert upstream(carrier, f"{CURRENT}.delta", delta=sound, response_id="r") == []


@pytest.mark.parametrize("kind", ["started", "stopped", "cleared"])
def test_what_only_the_edge_knows_is_not_taken_from_the_server(kind: str) -> None:
    assert upstream(through(), f"output_audio_buffer.{kind}", response_id="r") == []


# --- interruption ---------------------------------------------------------------------------------


def heard(carrier: Carrier) -> None:
    """A response of two items; of the first, 0.31 s have been heard."""
    created(carrier)
    delta(carrier, b"ab" * 24000, item="i")
    delta(carrier, b"ab", item="j")
    carrier.exchange.playback_started(1.1)
    carrier.carry()
    carrier.playing = (0.31, 0.69)


def cuts(carrier: Carrier) -> list[tuple[str, int]]:
    sent = [output.event for output in carrier.outputs if isinstance(output, ToAgent)]
    assert all(event["type"] == "conversation.item.truncate" for event in sent)
    return [(event["item_id"], event["audio_end_ms"]) for event in sent]


def test_speech_interrupts_and_the_server_is_told_what_was_heard() -> None:
    carrier = through()
    heard(carrier)
    outputs = upstream(carrier, "input_audio_buffer.speech_started", audio_start_ms=1)
    assert outputs[1] == Flush()
    assert carrier.told() == [
        "input_audio_buffer.speech_started",
        "output_audio_buffer.cleared",
    ]
    conforms(carrier.one("output_audio_buffer.cleared"))
    assert cuts(carrier) == [("i", 310), ("j", 0)]


@pytest.mark.parametrize("said", ["current", "beta"])
def test_speech_interrupts_nothing_where_the_session_says_so(said: str) -> None:
    carrier = through()
    detection = {"type": "server_vad", "interrupt_response": False}
    session: dict[str, Any] = {"turn_detection": detection}
    if said == "current":
        session = {"audio": {"input": session}}
    upstream(carrier, "session.created", session=session)
    heard(carrier)
    upstream(carrier, "input_audio_buffer.speech_started")
    assert carrier.told() == ["input_audio_buffer.speech_started"]


def test_speech_interrupts_nothing_where_nothing_is_heard() -> None:
    carrier = through()
    created(carrier)
    upstream(carrier, "input_audio_buffer.speech_started")
    assert carrier.told() == ["input_audio_buffer.speech_started"]
    assert cuts(carrier) == []


def test_the_client_clears_what_is_heard_and_the_rest_of_it_is_let_go() -> None:
    carrier = through()
    heard(carrier)
    assert carrier.send(type="output_audio_buffer.clear")[0] == Flush()
    assert carrier.told() == ["output_audio_buffer.cleared"]
    assert cuts(carrier) == [("i", 310), ("j", 0)]
    assert delta(carrier, b"late", item="k") == []
    assert delta(carrier, b"next", response="s") == [Play(b"next")]


def test_what_a_server_still_sends_of_an_interrupted_response_is_let_go() -> None:
    carrier = through()
    heard(carrier)
    upstream(carrier, "input_audio_buffer.speech_started")
    assert delta(carrier, b"late", item="k") == []
    assert delta(carrier, b"next", response="s") == [Play(b"next")]


def test_the_client_clears_a_response_before_it_is_heard() -> None:
    carrier = through()
    created(carrier)
    assert carrier.send(type="output_audio_buffer.clear") == []
    assert delta(carrier, b"late") == []


def test_the_servers_refusal_of_our_cut_is_ours_alone() -> None:
    carrier = through()
    heard(carrier)
    carrier.send(type="output_audio_buffer.clear")
    (first, _) = [output.event for output in carrier.outputs if isinstance(output, ToAgent)]
    assert upstream(carrier, "error", error={"event_id": first["event_id"]}) == []
    assert upstream(carrier, "error", error={"event_id": "the client's"})
    assert upstream(carrier, "error", error="odd")


def test_an_agent_may_play_and_silence_itself() -> None:
    carrier = through()
    assert carrier.exchange.speaking(1.0)
    carrier.exchange.said("unsaid", 1.0)
    assert carrier.after(carrier.exchange.playback_started, 1.0) == []
    carrier.exchange.finish(1.0)
    assert carrier.after(carrier.exchange.flushed, 0.1, 0.2, 1.0) == []
    assert carrier.after(carrier.exchange.playback_ended, 0.1, 1.0) == []


def test_the_edge_does_not_listen() -> None:
    carrier = through()
    heard(carrier)
    assert carrier.after(carrier.exchange.speech_started, 1.0, 1.0, True) == []
    assert carrier.after(carrier.exchange.speech_stopped, 1.0, 1.0) == []
    assert carrier.after(carrier.exchange.handle_timeout, 99.0) == []


# --- what stands behind ---------------------------------------------------------------------------


def test_of_a_response_in_progress_only_what_is_short_is_kept() -> None:
    carrier = through()
    carrier.after(carrier.exchange.connected, CHANNEL, 0.0)
    response = {"id": "r", "status": "in_progress", "instructions": "x" * 100_000, "output": [{}]}
    upstream(carrier, "response.created", response=response)
    outputs = carrier.after(carrier.exchange.backend_lost, "gone", 2.0)
    events = [output.event for output in outputs if isinstance(output, ToClient)]
    (failed,) = [event for event in events if event["type"] == "response.done"]
    assert failed["response"]["id"] == "r"
    assert "instructions" not in failed["response"]


def test_a_lost_server_is_told_and_its_responses_have_failed() -> None:
    carrier = through()
    heard(carrier)
    outputs = carrier.after(carrier.exchange.backend_lost, "gone", 2.0)
    assert Finish() in outputs
    assert carrier.told() == ["error", "response.done"]
    for event in carrier.events():
        conforms(event)
    failed = carrier.one("response.done")["response"]
    assert (failed["id"], failed["status"]) == ("r", "failed")
    assert carrier.after(carrier.exchange.backend_lost, "gone", 2.0) == []
    carrier.exchange.playback_ended(1.0, 3.0)
    carrier.exchange.playback_started(3.0)
    carrier.after(carrier.exchange.playback_ended, 0.1, 3.1)
    assert carrier.told() == ["output_audio_buffer.stopped"]
    carrier.after(carrier.exchange.backend_restored, 4.0)
    assert carrier.told() == ["backend.restored"]
    assert carrier.after(carrier.exchange.backend_restored, 4.0) == []


def test_responses_that_never_end_are_forgotten() -> None:
    carrier = through()
    for number in range(100):
        created(carrier, str(number))
    carrier.after(carrier.exchange.backend_lost, "gone", 2.0)
    failed = [event["response"]["id"] for event in carrier.events("response.done")]
    assert failed == [str(number) for number in range(36, 100)]


KINDS = st.sampled_from(
    [
        *("session.created", "session.updated", f"{CURRENT}.delta", f"{BETA}.done"),
        *("response.created", "response.done", "input_audio_buffer.speech_started", "error"),
    ]
)


@given(st.lists(st.tuples(KINDS, st.dictionaries(
    st.sampled_from(["session", "response", "delta", "response_id", "item_id", "error"]),
    json_values, max_size=4)), max_size=8))  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_a_hostile_server_breaks_nothing(said: list[tuple[str, dict[str, Any]]]) -> None:
    carrier = through()
    for kind, fields in said:
        upstream(carrier, kind, **fields)
        carrier.after(carrier.exchange.playback_started, 1.0)
    carrier.send(type="output_audio_buffer.clear")
    carrier.after(carrier.exchange.backend_lost, "x", 1.0)
    assert carrier.events("error")
