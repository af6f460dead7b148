"""Bencode, in which rtpengine is spoken to: byte strings, integers, lists and dictionaries.

Strings go out as UTF-8 and come in as bytes. Keys of dictionaries are text, each there once; they
go out sorted by their bytes, as they should be, and come in as they are, for rtpengine sorts none.
"""

from stunroute.errors import DecodeError

Value = bytes | int | list["Value"] | dict[str, "Value"]
Said = str | bytes | int | list["Said"] | dict[str, "Said"]

DEPTH = 16
"""How deep lists and dictionaries may lie in one another."""
_DIGITS = frozenset(b"0123456789")


def encode(value: Said) -> bytes:
    """``value`` in bytes."""
    match value:
        case int():
            return b"i%de" % value
        case str():
            return encode(value.encode())
        case bytes():
            return b"%d:%b" % (len(value), value)
        case list():
            return b"l" + b"".join(encode(each) for each in value) + b"e"
        case dict():
            pairs = sorted((key.encode(), each) for key, each in value.items())
            return b"d" + b"".join(encode(key) + encode(each) for key, each in pairs) + b"e"


def decode_untrusted(data: bytes) -> Value:
    """The one value that ``data`` is. Raises DecodeError, also where bytes follow it."""
    value, at = _value(data, 0, DEPTH)
    if at != len(data):
        raise DecodeError(f"{len(data) - at} bytes after the value")
    return value


def _value(data: bytes, at: int, depth: int) -> tuple[Value, int]:
    if not depth:
        raise DecodeError("nested too deeply")
    match data[at : at + 1]:
        case b"i":
            return _integer(data, at + 1)
        case b"l":
            return _list(data, at + 1, depth - 1)
        case b"d":
            return _dictionary(data, at + 1, depth - 1)
        case _:
            return _string(data, at)


def _number(data: bytes, at: int, ends: bytes) -> tuple[int, int]:
    """A decimal number from ``at`` up to ``ends``, and where what follows begins."""
    end = data.find(ends, at, at + 21)
    digits = data[at:end] if end >= 0 else b""
    if not digits or not _DIGITS.issuperset(digits) or (digits[0] == 0x30 and len(digits) > 1):
        raise DecodeError(f"no number at byte {at}")
    return int(digits), end + 1


def _integer(data: bytes, at: int) -> tuple[int, int]:
    negative = data[at : at + 1] == b"-"
    number, end = _number(data, at + negative, b"e")
    if negative and not number:
        raise DecodeError("minus zero")
    return (-number if negative else number), end


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    length, start = _number(data, at, b":")
    if len(data) - start < length:
        raise DecodeError(f"a string of {length} bytes is cut short")
    return data[start : start + length], start + length


def _list(data: bytes, at: int, depth: int) -> tuple[Value, int]:
    found: list[Value] = []
    while data[at : at + 1] != b"e":
        value, at = _value(data, at, depth)
        found.append(value)
    return found, at + 1


def _dictionary(data: bytes, at: int, depth: int) -> tuple[Value, int]:
    found: dict[str, Value] = {}
    while data[at : at + 1] != b"e":
        key, at = _string(data, at)
        try:
            name = key.decode()
        except UnicodeDecodeError:
            raise DecodeError("a key is no text") from None
        if name in found:
            raise DecodeError("a key is there twice")
        found[name], at = _value(data, at, depth)
    return found, at + 1
