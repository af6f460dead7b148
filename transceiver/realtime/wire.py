"""Events as text, and what is said about a bad one.

Whoever writes events is a stranger with a key. So a text is measured before it is parsed: its
length, and how deep and how often it opens objects and arrays, since a parser that recurses ends
where the caller's stack does, and that differs from one run to the next. What JSON allows and
others choke on (numbers beyond all bounds, halves of surrogate pairs) is refused here, once.

An error has the shape that the public API gives it: a message for people, a code for programs,
``param``, the dotted path of the field at fault, and the ``event_id`` that the client had chosen.
"""

import json
import re
from math import isfinite
from typing import Any, NoReturn

from stunroute.errors import DecodeError
from transceiver.config import RealtimeLimits

INVALID = "invalid_request_error"
"""The type of errors that are the client's."""
SERVER = "server_error"
"""The type of errors that are ours, or the backend's."""

EVENT_ID_LENGTH = 512
"""Characters of a client's event id at most, as the public API has it."""
_QUOTED = 64
"""Characters of a client's value that an error message repeats."""
_NUMBER_LENGTH = 400
"""Digits of an integer at most: more than any that a double can hold."""

# A whole string, or one that the text ends in: nothing is left to be tried twice.
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


class EventError(DecodeError):
    """An event, or an object of a request, that is no good.

    ``message`` is for people, ``code`` for programs, ``param`` the dotted path of the field at
    fault (None: the whole), ``event_id`` the client's name for the event, ``type`` the error's
    class.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        param: str | None = None,
        event_id: str | None = None,
        type: str = INVALID,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param
        self.event_id = event_id
        self.type = type

    def body(self) -> dict[str, Any]:
        """The ``error`` object, of an event and of an HTTP answer alike."""
        return {
            "type": self.type,
            "code": self.code,
            "message": self.message,
            "param": self.param,
            "event_id": self.event_id,
        }


def quoted(value: str) -> str:
    """A client's string, as a message may repeat it."""
    return value if len(value) <= _QUOTED else value[:_QUOTED] + "..."


def write(event: dict[str, Any]) -> str:
    """An event as text: JSON without spaces. Every event of ``read_untrusted``, and every one that
    an exchange makes, can be written."""
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def read_untrusted(text: str | bytes, limits: RealtimeLimits) -> dict[str, Any]:
    """The event in a message: an object with a ``type`` that is a string and, if at all, an
    ``event_id`` that is one. Raises EventError."""
    event = parse_untrusted(text, limits)
    event_id = event.get("event_id")
    if event_id is not None and not isinstance(event_id, str):
        raise EventError("'event_id' must be a string.", code="invalid_type", param="event_id")
    if event_id is not None and len(event_id) > EVENT_ID_LENGTH:
        raise EventError(
            f"'event_id' must have at most {EVENT_ID_LENGTH} characters.",
            code="string_above_max_length",
            param="event_id",
        )
    kind = event.get("type")
    if kind is None:
        raise EventError(
            "Missing required parameter: 'type'.",
            code="missing_required_parameter",
            param="type",
            event_id=event_id,
        )
    if not isinstance(kind, str):
        raise EventError(
            "'type' must be a string.", code="invalid_type", param="type", event_id=event_id
        )
    return event


def parse_untrusted(text: str | bytes, limits: RealtimeLimits) -> dict[str, Any]:
    """The JSON object that ``text`` is, which in bytes is UTF-8. Raises EventError."""
    if len(text) > limits.event:
        raise EventError(f"The event is longer than {limits.event} bytes.", code="event_too_large")
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError:
            _malformed("The event is not UTF-8.")
    _measure(text, limits)
    try:
        event = json.loads(
            text, parse_constant=_no_constant, parse_float=_finite, parse_int=_integer
        )
    except ValueError:
        _malformed("The event is not valid JSON.")
    if not isinstance(event, dict):
        _malformed("The event is not a JSON object.")
    if "\\u" in text:
        try:
            write(event).encode()
        except UnicodeEncodeError:
            _malformed("The event holds half of a surrogate pair.")
    return event


def _malformed(message: str) -> NoReturn:
    raise EventError(message, code="invalid_event") from None


def _measure(text: str, limits: RealtimeLimits) -> None:
    """Refuse what opens too many objects and arrays, or too many within each other."""
    opened = text.count("{") + text.count("[")
    if opened <= limits.depth:
        return
    depth = opened = 0
    for bracket in _BRACKET.finditer(_STRING.sub("", text)):
        if bracket[0] in "]}":
            depth -= 1
            continue
        depth += 1
        opened += 1
        if depth > limits.depth:
            raise EventError("The event is nested too deeply.", code="event_too_deep")
        if opened > limits.containers:
            raise EventError("The event has too many objects and arrays.", code="event_too_large")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(digits: str) -> float:
    value = float(digits)
    if not isfinite(value):
        raise ValueError
    return value


def _integer(digits: str) -> int:
    if len(digits) > _NUMBER_LENGTH:
        raise ValueError
    return int(digits)
