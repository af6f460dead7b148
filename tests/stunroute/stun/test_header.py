"""The message type and the look at USERNAME."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies
from stunroute import stun
from stunroute.errors import DecodeError
from stunroute.stun.header import MAXIMUM_ATTRIBUTES, MAXIMUM_USERNAME

TRANSACTION = bytes(range(12))


def request(*attributes: tuple[int, bytes]) -> bytes:
    return stun.build(1, stun.MessageClass.REQUEST, TRANSACTION, attributes, fingerprint=False)


# The message type (RFC 8489, 5): the class's bits stand inside the method's.


@pytest.mark.parametrize(
    ("method", "message_class", "expected"),
    [
        (1, stun.MessageClass.REQUEST, 0x0001),
        (1, stun.MessageClass.INDICATION, 0x0011),
        (1, stun.MessageClass.SUCCESS, 0x0101),
        (1, stun.MessageClass.ERROR, 0x0111),
        (8, stun.MessageClass.ERROR, 0x0118),
        (0xFFF, stun.MessageClass.REQUEST, 0x3EEF),
        (0xFFF, stun.MessageClass.ERROR, 0x3FFF),
    ],
)
def test_type(method: int, message_class: stun.MessageClass, expected: int) -> None:
    assert stun.encode_type(method, message_class) == expected
    assert stun.decode_type(expected) == (method, message_class)


def test_type_is_a_bijection() -> None:
    for number in range(0x4000):
        assert stun.encode_type(*stun.decode_type(number)) == number


@pytest.mark.parametrize("method", [-1, 0x1000])
def test_type_has_twelve_bits_of_method(method: int) -> None:
    with pytest.raises(ValueError, match="twelve bits"):
        stun.encode_type(method, stun.MessageClass.REQUEST)


# peek_username_untrusted


@given(strategies.stun_messages() | strategies.stun_mutated() | st.binary(max_size=80))
def test_peek_agrees_with_decode(data: bytes) -> None:
    peeked = stun.peek_username_untrusted(data)
    try:
        message = stun.decode_untrusted(data)
        is_request = (message.method, message.message_class) == (1, stun.MessageClass.REQUEST)
        assert peeked == (message.username if is_request else None)
    except DecodeError:
        pass  # what is behind USERNAME is the owner's to refuse


@given(strategies.stun_checks())
def test_peek_finds_the_name_of_every_check(check: tuple[bytes, bytes]) -> None:
    data, _ = check
    name = stun.peek_username_untrusted(data)
    assert name is not None
    assert name == stun.decode_untrusted(data).username


def test_peek_takes_the_first_username() -> None:
    # TRAPS "STUN and ICE 2"
    assert stun.peek_username_untrusted(request((6, b"first"), (6, b"second"))) == b"first"


@pytest.mark.parametrize("length", [0, 1, 4, 9, 33, 34, 35, 65, 513, 763])
def test_peek_cuts_nothing_off(length: int) -> None:
    # TRAPS "STUN and ICE 2": others have cut it at 34 bytes, or the ufrag at 4 characters.
    name = bytes(97 + i % 26 for i in range(length))
    assert stun.peek_username_untrusted(request((0x24, b"1234"), (6, name))) == name


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(request((6, b"abcd"))[:19], id="below-the-header"),
        pytest.param(request(), id="no-attribute"),
        pytest.param(request((6, b"abcd"))[:-4], id="cut"),
        pytest.param(request((6, b"abcd")) + b"\0\0\0\0", id="longer-than-its-length"),
        pytest.param(b"\x01\x01" + request((6, b"abcd"))[2:], id="a-response"),
        pytest.param(b"\x00\x11" + request((6, b"abcd"))[2:], id="an-indication"),
        pytest.param(b"\x00\x03" + request((6, b"abcd"))[2:], id="allocate"),
        pytest.param(request((6, b"abcd"))[:4] + bytes(16) + bytes(8), id="no-cookie"),
        pytest.param(request((6, bytes(MAXIMUM_USERNAME + 1))), id="too-long"),
        pytest.param(request((0x24, b"")), id="only-another"),
        pytest.param(request((0x08, bytes(20)), (6, b"abcd")), id="behind-integrity"),
        pytest.param(request((0x1C, bytes(32)), (6, b"abcd")), id="behind-sha256"),
        pytest.param(request((0x8028, bytes(4)), (6, b"abcd")), id="behind-fingerprint"),
        pytest.param(request(*[(0x8022, b"")] * MAXIMUM_ATTRIBUTES, (6, b"a")), id="too-far"),
    ],
)
def test_peek_finds_nobody(data: bytes) -> None:
    assert stun.peek_username_untrusted(data) is None


@pytest.mark.parametrize("length", [5, 8, 0x7FFF, 0xFFFF])
@pytest.mark.parametrize("type", [6, 0x24])
def test_peek_survives_lengths_that_lie(type: int, length: int) -> None:
    # TRAPS "STUN and ICE 1"
    data = request((type, b"abcd"))
    lying = data[:20] + struct.pack("!HH", type, length) + data[24:]
    assert stun.peek_username_untrusted(lying) is None


def test_peek_reads_up_to_its_bound() -> None:
    data = request(*[(0x8022, b"")] * (MAXIMUM_ATTRIBUTES - 1), (6, b"abcd"))
    assert stun.peek_username_untrusted(data) == b"abcd"
