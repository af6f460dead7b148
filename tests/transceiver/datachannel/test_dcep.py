"""What data channels say: identifiers and the messages of DCEP."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stunroute.errors import DecodeError
from transceiver.datachannel.messages import (
    BINARY,
    BINARY_EMPTY,
    TEXT,
    TEXT_EMPTY,
    Ack,
    Open,
    decode_untrusted,
    decode_user_message_untrusted,
    encode_user_message,
    to_utf8,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
milliseconds = st.integers(0, 0xFFFF_FFFF).map(lambda value: value / 1000)


@st.composite
def opens(draw: st.DrawFn) -> Open:
    lifetime, retransmissions = draw(
        st.one_of(
            st.just((None, None)),
            st.tuples(milliseconds, st.none()),
            st.tuples(st.none(), st.integers(0, 0xFFFF_FFFF)),
        )
    )
    priority = draw(st.integers(0, 0xFFFF))
    return Open(draw(texts), draw(texts), draw(st.booleans()), lifetime, retransmissions, priority)


@given(message=opens())
@settings(max_examples=100)
def test_round_trip(message: Open) -> None:
    assert decode_untrusted(message.encode()) == message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("02", Ack()),
        ("03 00 0000 00000000 0002 0000 6869", Open("hi")),
        ("03 80 0100 00000007 0001 0001 61 62", Open("a", "b", ordered=False, priority=256)),
        ("03 01 0000 00000003 0000 0000", Open("", retransmissions=3)),
        ("03 81 0000 00000003 0000 0000", Open("", ordered=False, retransmissions=3)),
        ("03 02 0000 000005dc 0000 0000", Open("", lifetime=1.5)),
        ("03 82 0000 000005dc 0000 0000", Open("", ordered=False, lifetime=1.5)),
    ],
)
def test_layouts(text: str, expected: Open | Ack) -> None:
    data = bytes.fromhex(text)
    assert decode_untrusted(data) == expected
    if data[1:2] != b"\x80":  # a parameter that means nothing there is not written again
        assert expected.encode() == data


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        "01",
        "04 00",
        "03",
        "03 00 0000 00000000 0002 00",
        "03 00 0000 00000000 0002 0000 68",
        "03 00 0000 00000000 0001 0000 6869",
        "03 00 0000 00000000 ffff ffff 68",
        "03 03 0000 00000000 0000 0000",
        "03 40 0000 00000000 0000 0000",
        "03 ff 0000 00000000 0000 0000",
        "03 00 0000 00000000 0001 0000 ff",
        "03 00 0000 00000000 0000 0002 c080",
    ],
)
def test_refusals(text: str) -> None:
    with pytest.raises(DecodeError):
        decode_untrusted(bytes.fromhex(text))


@given(data=st.one_of(st.binary(max_size=40), st.binary(max_size=30).map(b"\3".__add__)))
@settings(max_examples=100)
def test_any_bytes(data: bytes) -> None:
    try:
        message = decode_untrusted(data)
    except DecodeError:
        return
    assert decode_untrusted(message.encode()) == message


def test_what_does_not_fit_is_as_much_as_does() -> None:
    assert decode_untrusted(Open("", lifetime=1e9).encode()) == Open("", lifetime=4294967.295)
    longest = Open("", retransmissions=0xFFFF_FFFF)
    assert decode_untrusted(Open("", retransmissions=1 << 40).encode()) == longest


@given(message=st.one_of(texts, st.binary(max_size=40)))
@settings(max_examples=50)
def test_round_trip_of_messages(message: str | bytes) -> None:
    ppid, payload = encode_user_message(message)
    assert payload
    found = decode_user_message_untrusted(ppid, payload)
    assert type(found) is type(message)
    assert found == message


@pytest.mark.parametrize(
    ("ppid", "payload", "expected"),
    [
        (51, b"text", "text"),
        (53, b"bytes", b"bytes"),
        (54, b"text", "text"),
        (52, b"bytes", b"bytes"),
        (56, b"\0", ""),
        (57, b"\0", b""),
        (56, b"whatever", ""),
        (57, b"whatever", b""),
        (50, b"\2", None),
        (0, b"x", None),
        (55, b"x", None),
        (0xFFFF_FFFF, b"x", None),
    ],
)
def test_identifiers(ppid: int, payload: bytes, expected: str | bytes | None) -> None:
    assert decode_user_message_untrusted(ppid, payload) == expected


def test_identifiers_of_ours() -> None:
    assert encode_user_message("t") == (TEXT, b"t") == (51, b"t")
    assert encode_user_message(b"b") == (BINARY, b"b") == (53, b"b")
    assert encode_user_message("") == (TEXT_EMPTY, b"\0") == (56, b"\0")
    assert encode_user_message(b"") == (BINARY_EMPTY, b"\0") == (57, b"\0")


@given(payload=st.binary(max_size=20))
def test_text_is_utf8_or_refused(payload: bytes) -> None:
    try:
        found = decode_user_message_untrusted(TEXT, payload)
    except DecodeError:
        with pytest.raises(UnicodeDecodeError):
            payload.decode()
    else:
        assert found == payload.decode()


def test_half_a_pair_of_surrogates_has_no_utf8() -> None:
    assert to_utf8("a\ud83d!") == b"a?!"
