"""Checks of JSON values, put together like the descriptions they enforce.

A check takes a value and the path by which the client would name it, and raises ``EventError`` with
that path as ``param``. Fields that a record does not know are let pass: whoever stands behind the
edge may know more than it does.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from .wire import EventError, quoted

Check: TypeAlias = Callable[[object, str], None]

TEXT_LENGTH = 262_144
"""Characters of a string that has no bound of its own."""
ARRAY_LENGTH = 1024
"""Members of an array that has no bound of its own."""


def kind_of(value: object) -> str:
    """What a value is in words of JSON."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a decimal"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"


def wrong_type(path: str, expected: str, value: object) -> EventError:
    return EventError(
        f"Invalid type for '{path}': expected {expected}, but got {kind_of(value)} instead.",
        code="invalid_type",
        param=path,
    )


def wrong_value(path: str, value: str, supported: tuple[str, ...]) -> EventError:
    listed = ", ".join(f"'{one}'" for one in supported)
    return EventError(
        f"Invalid value: '{quoted(value)}'. Supported values are: {listed}.",
        code="invalid_value",
        param=path,
    )


def missing(path: str) -> EventError:
    return EventError(
        f"Missing required parameter: '{path}'.", code="missing_required_parameter", param=path
    )


def anything(value: object, path: str) -> None:
    """Every value is good."""


def boolean(value: object, path: str) -> None:
    """``true`` or ``false``."""
    if not isinstance(value, bool):
        raise wrong_type(path, "a boolean", value)


def text(longest: int = TEXT_LENGTH) -> Check:
    """A string of at most ``longest`` characters."""

    def check(value: object, path: str) -> None:
        if not isinstance(value, str):
            raise wrong_type(path, "a string", value)
        if len(value) > longest:
            raise EventError(
                f"Invalid '{path}': string too long. At most {longest} characters are allowed.",
                code="string_above_max_length",
                param=path,
            )

    return check


def choice(*supported: str) -> Check:
    """One of these strings."""

    def check(value: object, path: str) -> None:
        if not isinstance(value, str):
            raise wrong_type(path, "a string", value)
        if value not in supported:
            raise wrong_value(path, value, supported)

    return check


def integer(low: int, high: int) -> Check:
    """A whole number from ``low`` to ``high``."""

    def check(value: object, path: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type(path, "an integer", value)
        _within(value, low, high, path, "integer")

    return check


def number(low: float, high: float) -> Check:
    """A number from ``low`` to ``high``."""

    def check(value: object, path: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong_type(path, "a decimal", value)
        _within(value, low, high, path, "decimal")

    return check


def _within(value: float, low: float, high: float, path: str, kind: str) -> None:
    if value < low:
        problem, code = f"below the minimum of {low}", f"{kind}_below_min_value"
    elif value > high:
        problem, code = f"above the maximum of {high}", f"{kind}_above_max_value"
    else:
        return
    raise EventError(f"Invalid '{path}': {kind} {problem}.", code=code, param=path)


def array(of: Check, longest: int = ARRAY_LENGTH) -> Check:
    """An array of at most ``longest`` members that are all ``of``."""

    def check(value: object, path: str) -> None:
        if not isinstance(value, list):
            raise wrong_type(path, "an array", value)
        if len(value) > longest:
            raise EventError(
                f"Invalid '{path}': array too long. At most {longest} members are allowed.",
                code="array_above_max_length",
                param=path,
            )
        for index, member in enumerate(value):
            of(member, f"{path}[{index}]")

    return check


def nullable(of: Check) -> Check:
    """``null``, or what ``of`` takes."""

    def check(value: object, path: str) -> None:
        if value is not None:
            of(value, path)

    return check


def record(fields: Mapping[str, Check], required: tuple[str, ...] = ()) -> Check:
    """An object with these fields, those that are there checked, others let pass."""

    def check(value: object, path: str) -> None:
        known = as_object(value, path)
        for name in required:
            if name not in known:
                raise missing(f"{path}.{name}" if path else name)
        for name, of in fields.items():
            if name in known:
                of(known[name], f"{path}.{name}" if path else name)

    return check


def tagged(kinds: Mapping[str, Check], *, tag: str = "type", default: str | None = None) -> Check:
    """An object whose ``tag`` says which of ``kinds`` it is; without one it is ``default``."""

    def check(value: object, path: str) -> None:
        kind = as_object(value, path).get(tag, default)
        if kind is None:
            raise missing(f"{path}.{tag}")
        choice(*kinds)(kind, f"{path}.{tag}")
        kinds[kind](value, path)

    return check


def either(words: tuple[str, ...], otherwise: Check) -> Check:
    """One of these strings, or what ``otherwise`` takes where it is no string."""

    def check(value: object, path: str) -> None:
        if isinstance(value, str):
            choice(*words)(value, path)
        else:
            otherwise(value, path)

    return check


def as_object(value: object, path: str) -> dict[str, Any]:
    """``value``, which is an object. Raises EventError."""
    if not isinstance(value, dict):
        raise wrong_type(path, "an object", value)
    return value
