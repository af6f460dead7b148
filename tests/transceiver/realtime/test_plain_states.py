"""A plain conversation in every state it can be in, met by everything that can happen to it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_events import CHANNEL, Carrier, json_values, plain
from transceiver.config import RealtimeLimits
from transceiver.realtime import Flush, Respond
from transceiver.realtime.plain import CLIENT_EVENTS
from transceiver.realtime.session import validate

# --- the product ----------------------------------------------------------------------------------


def quiet(carrier: Carrier) -> None:
    """Nobody says anything."""


def asked(carrier: Carrier) -> None:
    """The client has asked for a response that has not begun."""
    carrier.send(type="response.create")


def wording(carrier: Carrier) -> None:
    """The agent has given words and no sound."""
    carrier.exchange.said("a", 1.0)


def queued(carrier: Carrier) -> None:
    """Sound waits to be sent."""
    carrier.exchange.speaking(1.0)


def sounding(carrier: Carrier) -> None:
    """Sound is being sent, and more may come."""
    queued(carrier)
    carrier.exchange.playback_started(1.0)


def finished(carrier: Carrier) -> None:
    """Sound is being sent, and it is all there."""
    sounding(carrier)
    carrier.exchange.finish(1.0)


def finished_and_asked(carrier: Carrier) -> None:
    """Another response has been asked for meanwhile."""
    finished(carrier)
    asked(carrier)


STATES = (quiet, asked, wording, queued, sounding, finished, finished_and_asked)
NEW = ["response.created"]
BUSY = ["error"]
ITEM = [
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
]
DONE = ["response.done"]
ALL_DONE = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
    "response.done",
]
STARTED = ["output_audio_buffer.started"]
STOPPED = ["output_audio_buffer.stopped"]
CLEARED = ["output_audio_buffer.cleared"]
CUT = ["conversation.item.truncated"]

HAPPENINGS: dict[str, Callable[[Carrier], Any]] = {
    "create": lambda carrier: carrier.send(type="response.create"),
    "cancel": lambda carrier: carrier.send(type="response.cancel"),
    "clear": lambda carrier: carrier.send(type="output_audio_buffer.clear"),
    "speaking": lambda carrier: carrier.after(carrier.exchange.speaking, 2.0),
    "finish": lambda carrier: carrier.after(carrier.exchange.finish, 2.0),
    "started": lambda carrier: carrier.after(carrier.exchange.playback_started, 2.0),
    "ended": lambda carrier: carrier.after(carrier.exchange.playback_ended, 0.5, 2.0),
    "flushed": lambda carrier: carrier.after(carrier.exchange.flushed, 0.5, 0.1, 2.0),
    "lost": lambda carrier: carrier.after(carrier.exchange.backend_lost, "x", 2.0),
    "late": lambda carrier: carrier.after(carrier.exchange.handle_timeout, 99.0),
}
TABLE: dict[Callable[[Carrier], None], dict[str, list[str]]] = {
    quiet: {
        "create": NEW,
        "cancel": BUSY,
        "clear": [],
        "speaking": NEW + ITEM,
        "finish": [],
        "started": [],
        "ended": [],
        "flushed": [],
        "lost": BUSY,
        "late": [],
    },
    asked: {
        "create": BUSY,
        "cancel": DONE,
        "clear": [],
        "speaking": ITEM,
        "finish": DONE,
        "started": [],
        "ended": [],
        "flushed": DONE,
        "lost": BUSY + DONE,
        "late": DONE,
    },
    wording: {
        "create": BUSY,
        "cancel": ALL_DONE,
        "clear": [],
        "speaking": [],
        "finish": ALL_DONE,
        "started": [],
        "ended": [],
        "flushed": ALL_DONE,
        "lost": BUSY + ALL_DONE,
        "late": ALL_DONE,
    },
    queued: {
        "create": BUSY,
        "cancel": CLEARED + ALL_DONE + CUT,
        "clear": CLEARED + ALL_DONE + CUT,
        "speaking": [],
        "finish": ALL_DONE,
        "started": STARTED,
        "ended": ALL_DONE,
        "flushed": CLEARED + ALL_DONE + CUT,
        "lost": BUSY + ALL_DONE,
        "late": [],
    },
    sounding: {
        "create": BUSY,
        "cancel": CLEARED + ALL_DONE + CUT,
        "clear": CLEARED + ALL_DONE + CUT,
        "speaking": [],
        "finish": ALL_DONE,
        "started": [],
        "ended": ALL_DONE + STOPPED,
        "flushed": CLEARED + ALL_DONE + CUT,
        "lost": BUSY + ALL_DONE,
        "late": [],
    },
    finished: {
        "create": NEW,
        "cancel": BUSY,
        "clear": CLEARED + CUT,
        "speaking": NEW + ITEM,
        "finish": [],
        "started": [],
        "ended": STOPPED,
        "flushed": CLEARED + CUT,
        "lost": BUSY,
        "late": [],
    },
    finished_and_asked: {
        "create": BUSY,
        "cancel": CLEARED + DONE + CUT,
        "clear": CLEARED + DONE + CUT,
        "speaking": ITEM,
        "finish": DONE,
        "started": [],
        "ended": STOPPED,
        "flushed": CLEARED + DONE + CUT,
        "lost": BUSY + DONE,
        "late": [],
    },
}


def brought_to(state: Callable[[Carrier], None]) -> Carrier:
    carrier = plain()
    state(carrier)
    carrier.carry()
    return carrier


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
@pytest.mark.parametrize("happening", HAPPENINGS)
def test_what_is_told(state: Callable[[Carrier], None], happening: str) -> None:
    carrier = brought_to(state)
    HAPPENINGS[happening](carrier)
    assert carrier.told() == TABLE[state][happening]


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_speech_interrupts_exactly_what_can_be_interrupted(
    state: Callable[[Carrier], None],
) -> None:
    carrier = brought_to(state)
    outputs = carrier.after(carrier.exchange.speech_started, 2.0, 2.0, False)
    assert carrier.told() == [
        "input_audio_buffer.speech_started",
        *TABLE[state]["flushed"],
    ]
    assert (Flush() in outputs) == (state is not quiet)


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
@pytest.mark.parametrize("kind", CLIENT_EVENTS)
def test_every_event_meets_every_state(state: Callable[[Carrier], None], kind: str) -> None:
    carrier = brought_to(state)
    carrier.send(type=kind, event_id="mine")
    for error in carrier.events("error"):
        assert error["error"]["event_id"] == "mine"
    carrier.send(type="session.update", session={})
    assert carrier.told() == ["session.updated"]


# --- any order ------------------------------------------------------------------------------------

ITEM_NAMES = ("a", "b", "root")
client_events = st.one_of(
    st.fixed_dictionaries({"type": st.sampled_from(CLIENT_EVENTS)}),
    st.fixed_dictionaries(
        {
            "type": st.just("conversation.item.create"),
            "item": st.fixed_dictionaries(
                {
                    "type": st.just("message"),
                    "role": st.just("user"),
                    "content": st.just([{"type": "input_text", "text": "x"}]),
                },
                optional={"id": st.sampled_from(ITEM_NAMES)},
            ),
        },
        optional={"previous_item_id": st.sampled_from(ITEM_NAMES)},
    ),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["conversation.item.delete", "conversation.item.retrieve"]),
            "item_id": st.sampled_from(ITEM_NAMES),
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("session.update"),
            "session": st.sampled_from(
                [
                    {"output_modalities": ["text"]},
                    {"output_modalities": ["audio"]},
                    {"turn_detection": None},
                    {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000}},
                ]
            ),
        }
    ),
    st.dictionaries(
        st.sampled_from(["type", "session", "item", "response", "audio", "item_id", "event_id"]),
        st.sampled_from(CLIENT_EVENTS) | json_values,
        max_size=4,
    ),
)
VERBS = ("speaking", "said", "finish", "started", "ended", "flushed", "speech", "silence", "later")
steps = st.lists(st.sampled_from(VERBS) | client_events, max_size=25)


def step(carrier: Carrier, what: str | dict[str, Any]) -> None:
    exchange, now = carrier.exchange, carrier.now
    match what:
        case dict():
            carrier.exchange.receive_untrusted(json.dumps(what), CHANNEL, now)
        case "speaking":
            exchange.speaking(now)
        case "said":
            exchange.said("w", now)
        case "finish":
            exchange.finish(now)
        case "started":
            exchange.playback_started(now)
        case "ended":
            exchange.playback_ended(0.1, now)
        case "flushed":
            exchange.flushed(0.1, 0.2, now)
        case "speech":
            exchange.speech_started(now, now, False)
        case "silence":
            exchange.speech_stopped(now, now)
        case _:
            carrier.now = exchange.next_timeout() or now + 1.0
            exchange.handle_timeout(carrier.now)
    carrier.carry()


def follows_the_protocol(events: list[dict[str, Any]]) -> None:
    """What clients rely on in the order of events."""
    active: str | None = None
    items: set[str] = set()
    heard: str | None = None
    for event in events:
        match event["type"]:
            case "response.created":
                assert active is None
                active = event["response"]["id"]
            case "response.done":
                assert event["response"]["id"] == active
                active = None
            case "conversation.item.added":
                assert event["item"]["id"] not in items
                items.add(event["item"]["id"])
            case "conversation.item.done":
                assert event["item"]["id"] in items
            case "conversation.item.deleted":
                items.remove(event["item_id"])
            case "output_audio_buffer.started":
                assert heard is None
                heard = event["response_id"]
            case "output_audio_buffer.stopped":
                assert event["response_id"] == heard
                assert active != heard
                heard = None
            case "output_audio_buffer.cleared":
                heard = None if event["response_id"] == heard else heard
            case kind if kind.startswith("response."):
                assert event["response_id"] == active


@given(steps)
@settings(max_examples=100, deadline=None)
def test_any_order_of_things_follows_the_protocol(what: list[str | dict[str, Any]]) -> None:
    carrier = plain(validate({"turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000}}))
    for one in what:
        step(carrier, one)
    follows_the_protocol(carrier.events())
    flushes = carrier.outputs.count(Flush())
    responds = [output for output in carrier.outputs if isinstance(output, Respond)]
    assert flushes + len(responds) <= len(what)


@given(steps)
@settings(max_examples=25, deadline=None)
def test_the_same_happenings_say_the_same(what: list[str | dict[str, Any]]) -> None:
    def said() -> list[object]:
        carrier = plain(limits=RealtimeLimits(items=2))
        for one in what:
            step(carrier, one)
        return list(carrier.outputs)

    assert said() == said()
