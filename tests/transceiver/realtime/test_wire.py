"""Events as text: what is measured, what is refused, and how that is said."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_events import json_values
from transceiver.config import RealtimeLimits
from transceiver.realtime.wire import EventError, parse_untrusted, read_untrusted, write

LIMITS = RealtimeLimits()


def refused(text: str | bytes, limits: RealtimeLimits = LIMITS) -> EventError:
    with pytest.raises(EventError) as caught:
        read_untrusted(text, limits)
    return caught.value


def test_an_event_is_an_object_with_a_type() -> None:
    event = {"type": "response.create", "event_id": "e1", "x": [1, 2.5, None, "ä"]}
    assert read_untrusted(json.dumps(event), LIMITS) == event
    assert read_untrusted(json.dumps(event).encode(), LIMITS) == event


def test_an_error_has_the_shape_of_the_public_one() -> None:
    assert refused('{"event_id": "e1"}').body() == {
        "type": "invalid_request_error",
        "code": "missing_required_parameter",
        "message": "Missing required parameter: 'type'.",
        "param": "type",
        "event_id": "e1",
    }


@pytest.mark.parametrize(
    ("text", "code", "param"),
    [
        (b"\xff{}", "invalid_event", None),
        ("", "invalid_event", None),
        ("{", "invalid_event", None),
        ('{"type": "a"} x', "invalid_event", None),
        ("[]", "invalid_event", None),
        ("7", "invalid_event", None),
        ('{"type": "a", "x": NaN}', "invalid_event", None),
        ('{"type": "a", "x": -Infinity}', "invalid_event", None),
        ('{"type": "a", "x": 1e999}', "invalid_event", None),
        ('{"type": "a", "x": ' + "9" * 401 + "}", "invalid_event", None),
        ('{"type": "a", "x": ' + "9" * 5000 + "}", "invalid_event", None),
        ('{"type": "a", "x": "\\ud800"}', "invalid_event", None),
        ('{"type": "a", "\\udfff": 1}', "invalid_event", None),
        ("{}", "missing_required_parameter", "type"),
        ('{"type": null}', "missing_required_parameter", "type"),
        ('{"type": 1}', "invalid_type", "type"),
        ('{"type": "a", "event_id": 1}', "invalid_type", "event_id"),
        ('{"type": "a", "event_id": "' + "e" * 513 + '"}', "string_above_max_length", "event_id"),
    ],
)
def test_what_is_no_event_is_refused(text: str | bytes, code: str, param: str | None) -> None:
    error = refused(text)
    assert (error.code, error.param) == (code, param)


def test_the_longest_event_is_taken_and_one_byte_more_is_not() -> None:
    limits = RealtimeLimits(event=100)
    frame = len('{"type":""}')
    assert read_untrusted('{"type":"' + "a" * (100 - frame) + '"}', limits)
    assert refused('{"type":"' + "a" * (101 - frame) + '"}', limits).code == "event_too_large"


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_the_deepest_event_is_taken_and_one_level_more_is_not(opening: str) -> None:
    closing = "]" if opening == "[" else "}"

    def deep(levels: int) -> str:
        return '{"type":"a","x":' + opening * levels + "0" + closing * levels + "}"

    assert read_untrusted(deep(LIMITS.depth - 1), LIMITS)
    assert refused(deep(LIMITS.depth)).code == "event_too_deep"
    assert refused(opening * 100_000).code == "event_too_deep"


def test_brackets_in_strings_open_nothing() -> None:
    for text in ("[" * 100, '"[' * 100, "\\[" * 100, '\\"[{' * 100):
        event = {"type": "a", "x": text}
        assert read_untrusted(json.dumps(event), LIMITS) == event


def test_as_many_containers_as_may_be_are_taken_and_one_more_is_not() -> None:
    limits = RealtimeLimits(containers=100)
    assert read_untrusted('{"type":"a","x":[' + ",".join(["{}"] * 98) + "]}", limits)
    many = '{"type":"a","x":[' + ",".join(["[]"] * 99) + "]}"
    assert refused(many, limits).code == "event_too_large"


@pytest.mark.parametrize("text", ['"', '"' + '\\"' * 500_000, '["' * 40 + '\\"[' * 300_000])
def test_strings_without_an_end_cost_no_more_than_their_length(text: str) -> None:
    assert refused(text).code in {"invalid_event", "event_too_deep"}


def test_half_a_pair_in_text_is_told_from_a_whole_one() -> None:
    assert read_untrusted('{"type": "a", "x": "\\ud83d\\ude00"}', LIMITS)["x"] == "\U0001f600"


def test_events_can_be_written_and_read_again() -> None:
    event = {"type": "a", "x": "ä\u2028\x00", "y": [1.5, True, None]}
    assert parse_untrusted(write(event), LIMITS) == event
    assert " " not in write(event)


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=4), st.booleans())
@settings(max_examples=100, deadline=None)
def test_every_object_survives_the_way(fields: dict[str, object], ascii_only: bool) -> None:
    text = json.dumps(fields, ensure_ascii=ascii_only)
    assert parse_untrusted(write(parse_untrusted(text, LIMITS)), LIMITS) == fields


@given(st.binary(max_size=200) | st.text(max_size=200) | st.text('{}[]",:\\u d8e0', max_size=200))
@settings(max_examples=100, deadline=None)
def test_noise_is_read_or_refused(noise: str | bytes) -> None:
    try:
        event = read_untrusted(noise, LIMITS)
    except EventError as error:
        body = error.body()
    else:
        body = event
    assert json.loads(json.dumps(body)) == body
