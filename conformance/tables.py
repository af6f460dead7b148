"""TOML as sidecars are made of it: tables from which everything is taken by name and type, and the
text of values.

A sidecar is a file that anybody may have edited. What is read out of it is asked for by name, must
be of the type it is asked as, and nothing may be left over; each refusal names its key. Writing is
ours because the standard library has none, and because a step must be one line.
"""

import json
import math
from collections.abc import Iterator
from typing import Any, TypeVar

from stunroute.address import Address
from stunroute.errors import StunrouteError

T = TypeVar("T")


class SidecarError(StunrouteError):
    """A sidecar that cannot be read. ``key`` is the dotted name of what is at fault, as in
    ``steps.3.at`` (steps count from 1), or empty for the file as a whole."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}" if key else problem)
        self.key = key
        self.problem = problem


# --- reading ------------------------------------------------------------------------------------


class Table:
    """A TOML table from which values are taken by name and type; what is left over is unknown."""

    def __init__(self, name: str, values: dict[str, Any]) -> None:
        self.name = name
        self._values = dict(values)

    def dotted(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key

    def fail(self, key: str, problem: str) -> SidecarError:
        return SidecarError(self.dotted(key), problem)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def take(self, key: str, kind: type[T], default: T | None = None) -> T:
        if key not in self._values:
            if default is not None:
                return default
            raise self.fail(key, "is missing")
        return self._typed(key, self._values.pop(key), kind)

    def _typed(self, key: str, value: Any, kind: type[T]) -> T:
        if kind is float and type(value) is int:
            try:
                value = float(value)
            except OverflowError:
                raise self.fail(key, "is out of range") from None
        if type(value) is not kind:
            raise self.fail(key, f"is {type(value).__name__}, not {kind.__name__}")
        if value != value:
            raise self.fail(key, "is not a number")
        return value

    def table(self, key: str) -> "Table":
        return Table(self.dotted(key), self.take(key, dict))

    def tables(self, key: str) -> Iterator["Table"]:
        for number, value in enumerate(self.take(key, list, []), start=1):
            dotted = self.dotted(f"{key}.{number}")
            if not isinstance(value, dict):
                raise SidecarError(dotted, f"is {type(value).__name__}, not a table")
            yield Table(dotted, value)

    def many(self, key: str, kind: type[T]) -> tuple[T, ...]:
        values = self.take(key, list, [])
        return tuple(self._typed(f"{key}.{n}", v, kind) for n, v in enumerate(values, start=1))

    def strings(self) -> dict[str, str]:
        return {key: self.take(key, str) for key in list(self._values)}

    def hexadecimal(self, key: str) -> bytes:
        return self.unhex(key, self.take(key, str))

    def unhex(self, key: str, text: str) -> bytes:
        try:
            return bytes.fromhex(text)
        except ValueError:
            raise self.fail(key, "is not hexadecimal") from None

    def address(self, key: str) -> Address:
        return self.parse_address(key, self.take(key, str))

    def parse_address(self, key: str, text: str) -> Address:
        try:
            return Address.parse(text)
        except ValueError:
            raise self.fail(key, f"{text!r} is not HOST:PORT") from None

    def names(self) -> list[str]:
        """What has not been taken yet."""
        return list(self._values)

    def pop(self, key: str) -> Any:
        """A value of whatever type it has."""
        return self._values.pop(key)

    def finish(self) -> None:
        for key in self._values:
            raise self.fail(key, "is not known")


# --- writing ------------------------------------------------------------------------------------


def write_table(name: str, values: dict[str, Any]) -> list[str]:
    inner = {key: value for key, value in values.items() if isinstance(value, dict)}
    plain = {key: value for key, value in values.items() if key not in inner}
    lines = [f"\n[{name}]\n", *write_pairs(plain)]
    for key, value in inner.items():
        lines += write_table(f"{name}.{_key(key)}", value)
    return lines


def write_pairs(values: dict[str, Any]) -> Iterator[str]:
    return (f"{_key(key)} = {write_value(value)}\n" for key, value in values.items())


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("_", "a").replace("-", "a").isalnum()
    return key if bare else write_value(key)


def write_value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return "nan" if math.isnan(value) else repr(value)
        case str():
            # JSON's escapes are TOML's, but for the one control character that JSON lets pass.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case dict():
            inner = ", ".join(f"{_key(key)}={write_value(item)}" for key, item in value.items())
            return f"{{{inner}}}"
        case list() | tuple():
            return f"[{', '.join(map(write_value, value))}]"
    raise TypeError(f"a sidecar cannot hold {type(value).__name__}")


def write_text(text: str) -> str:
    """A string over several lines. A carriage return is written as an escape, since a reader may
    change the bare one together with the end of the line."""
    return '"""\n' + "\n".join(write_value(line)[1:-1] for line in text.split("\n")) + '"""'
