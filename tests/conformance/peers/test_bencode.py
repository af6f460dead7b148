"""Bencode, read and written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.peers.bencode import DEPTH, decode_untrusted, encode
from stunroute.errors import DecodeError

_values = st.recursive(
    st.integers(-(10**18), 10**18) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


def depth(value: object) -> int:
    """How deep lists and dictionaries lie in one another."""
    match value:
        case list():
            return 1 + max(map(depth, value), default=0)
        case dict():
            return 1 + max(map(depth, value.values()), default=0)
        case _:
            return 1


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (0, b"i0e"),
        (-42, b"i-42e"),
        (b"", b"0:"),
        ("spam", b"4:spam"),
        ("é", b"2:\xc3\xa9"),
        ([1, "a"], b"li1e1:ae"),
        ({"b": 1, "a": {}}, b"d1:ade1:bi1ee"),
        ({"z": 0, "é": 1, "Z": 2}, b"d1:Zi2e1:zi0e2:\xc3\xa9i1ee"),
    ],
)
def test_it_is_written(value: object, data: bytes) -> None:
    assert encode(value) == data  # type: ignore[arg-type]


@given(_values.filter(lambda value: depth(value) <= DEPTH))
def test_what_is_written_is_read(value: object) -> None:
    assert decode_untrusted(encode(value)) == value  # type: ignore[arg-type]


def test_keys_are_read_in_any_order() -> None:
    assert decode_untrusted(b"d1:b1:x1:ai1ee") == {"b": b"x", "a": 1}


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "no number"),
        (b"i", "no number"),
        (b"ie", "no number"),
        (b"i-e", "no number"),
        (b"i--1e", "no number"),
        (b"i01e", "no number"),
        (b"i+1e", "no number"),
        (b"i 1e", "no number"),
        (b"i-0e", "minus zero"),
        (b"i" + b"1" * 30 + b"e", "no number"),
        (b"01:a", "no number"),
        (b"-1:a", "no number"),
        (b"5:spam", "cut short"),
        (b"99999999999999999999:a", "cut short"),
        (b"li1e", "no number"),
        (b"di1ei1ee", "no number"),
        (b"d1:ae", "no number"),
        (b"d1:ai1e1:ai2ee", "twice"),
        (b"d1:\xffi1ee", "no text"),
        (b"i1ei2e", "3 bytes after"),
        (b"l" * (DEPTH + 1) + b"e" * (DEPTH + 1), "deeply"),
        (b"x", "no number"),
    ],
)
def test_what_is_no_value_is_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(DecodeError, match=complaint):
        decode_untrusted(data)


def test_it_may_be_as_deep_as_allowed() -> None:
    assert encode(decode_untrusted(b"l" * DEPTH + b"e" * DEPTH)) == b"l" * DEPTH + b"e" * DEPTH


@given(st.binary(max_size=60) | st.text("dlie0123456789:-a", max_size=60).map(str.encode))
def test_anything_is_read_or_refused(data: bytes) -> None:
    try:
        value = decode_untrusted(data)
    except DecodeError:
        return
    # What was taken says the same when it is written again, but for the order of keys.
    assert decode_untrusted(encode(value)) == value  # type: ignore[arg-type]
