"""Attribute values there and back, and what is refused."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies
from stunroute import stun
from stunroute.address import Address
from stunroute.errors import DecodeError
from stunroute.stun import attributes

TRANSACTION = bytes(range(12))


@given(strategies.addresses, strategies.stun_transaction_ids)
def test_xor_address_round_trip(address: Address, transaction_id: bytes) -> None:
    value = attributes.encode_xor_address(address, transaction_id)
    assert len(value) == (8 if address.is_ipv4 else 20)
    assert attributes.decode_xor_address_untrusted(value, transaction_id) == address


@given(strategies.addresses)
def test_address_round_trip(address: Address) -> None:
    value = attributes.encode_address(address)
    assert value[4:] == address.packed
    assert attributes.decode_address_untrusted(value) == address


def test_mapped_ipv4_is_ipv4() -> None:
    """TRAPS "STUN and ICE 11": on a dual-stack socket a peer is ``::ffff:192.0.2.1``; it is told
    its IPv4 address, and one that says it in 16 bytes means the same."""
    mapped = Address.of("::ffff:192.0.2.1", 5000)
    assert attributes.encode_address(mapped) == bytes.fromhex("0001 1388 c0000201")
    long_form = bytes.fromhex("0002 1388 00000000000000000000ffffc0000201")
    assert attributes.decode_address_untrusted(long_form) == Address.of("192.0.2.1", 5000)


def test_first_octet_of_an_address_is_ignored() -> None:
    value = attributes.encode_address(Address.of("192.0.2.1", 1))
    assert attributes.decode_address_untrusted(b"\xff" + value[1:]) == Address.of("192.0.2.1", 1)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
def test_integer_round_trip(small: int, large: int) -> None:
    assert attributes.decode_uint32_untrusted(attributes.encode_uint32(small)) == small
    assert attributes.decode_uint64_untrusted(attributes.encode_uint64(large)) == large


@given(st.integers(300, 699), st.text(min_size=1, max_size=127))
def test_error_code_round_trip(code: int, reason: str) -> None:
    value = attributes.encode_error_code(code, reason)
    assert attributes.decode_error_code_untrusted(value) == (code, reason)


def test_error_code_has_its_own_phrase() -> None:
    assert attributes.encode_error_code(487) == b"\0\0\x04\x57Role Conflict"
    assert attributes.encode_error_code(699) == b"\0\0\x06\x63"


def test_long_reason_phrases_are_refused() -> None:
    """RFC 8489, 14.8: fewer than 128 characters, however many octets those are."""
    assert attributes.encode_error_code(400, "\u1e9e" * 127)[4:].decode() == "\u1e9e" * 127
    with pytest.raises(ValueError):
        attributes.encode_error_code(400, "x" * 128)


def test_reserved_bits_of_an_error_code_are_ignored() -> None:
    assert attributes.decode_error_code_untrusted(b"\xff\xff\xfc\x14") == (420, "")


@given(st.lists(st.integers(0, 0xFFFF)))
def test_unknown_attributes_round_trip(types: list[int]) -> None:
    value = attributes.encode_unknown_attributes(types)
    assert attributes.decode_unknown_attributes_untrusted(value) == tuple(types)


algorithms = st.builds(stun.Algorithm, st.integers(0, 0xFFFF), st.binary(max_size=9))


@given(st.lists(algorithms, max_size=5))
def test_password_algorithms_round_trip(entries: list[stun.Algorithm]) -> None:
    value = attributes.encode_password_algorithms(entries)
    assert len(value) % 4 == 0
    assert attributes.decode_password_algorithms_untrusted(value) == tuple(entries)


def test_last_algorithm_may_lack_padding() -> None:
    value = attributes.encode_password_algorithms([stun.Algorithm(1, b"x")])
    assert attributes.decode_password_algorithm_untrusted(value[:5]) == stun.Algorithm(1, b"x")


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_network_cost_round_trip(network: int, cost: int) -> None:
    value = stun.NetworkCost(network, cost)
    assert attributes.decode_network_cost_untrusted(attributes.encode_network_cost(value)) == value


@given(st.text(max_size=127))
def test_text_round_trip(text: str) -> None:
    assert attributes.decode_text_untrusted(attributes.encode_text(text)) == text


@pytest.mark.parametrize("name", [b"", b"a_b-c+d/e:f", b"abcd:efgh   ", b"\xff\xfe", bytes(763)])
def test_username_is_bytes(name: bytes) -> None:
    """TRAPS "STUN and ICE 2": parsed by its bytes, not by the ICE grammar or UTF-8."""
    assert attributes.decode_username_untrusted(attributes.encode_username(name)) == name


def decode_xor(value: bytes) -> Address:
    return attributes.decode_xor_address_untrusted(value, TRANSACTION)


DECODERS: list[Callable[[bytes], Any]] = [
    decode_xor,
    attributes.decode_address_untrusted,
    attributes.decode_uint32_untrusted,
    attributes.decode_uint64_untrusted,
    attributes.decode_flag_untrusted,
    attributes.decode_username_untrusted,
    attributes.decode_text_untrusted,
    attributes.decode_opaque_untrusted,
    attributes.decode_userhash_untrusted,
    attributes.decode_error_code_untrusted,
    attributes.decode_unknown_attributes_untrusted,
    attributes.decode_password_algorithms_untrusted,
    attributes.decode_password_algorithm_untrusted,
    attributes.decode_network_cost_untrusted,
]


@pytest.mark.parametrize("decode", DECODERS)
@given(value=st.binary(max_size=40) | st.binary(min_size=500, max_size=800))
def test_decoders_raise_only_decode_errors(decode: Callable[[bytes], Any], value: bytes) -> None:
    with suppress(DecodeError):
        decode(value)


@pytest.mark.parametrize(
    ("decode", "value"),
    [
        (decode_xor, b""),
        (decode_xor, bytes.fromhex("0001 1388 c00002")),
        (decode_xor, bytes.fromhex("0003 1388 c0000201")),
        (attributes.decode_address_untrusted, bytes.fromhex("0002 1388 c0000201")),
        (attributes.decode_address_untrusted, b"\0\x01" + bytes(18)),
        (attributes.decode_uint32_untrusted, bytes(3)),
        (attributes.decode_uint64_untrusted, bytes(4)),
        (attributes.decode_flag_untrusted, b"\0"),
        (attributes.decode_username_untrusted, bytes(764)),
        (attributes.decode_text_untrusted, b"\xff"),
        (attributes.decode_text_untrusted, bytes(764)),
        (attributes.decode_opaque_untrusted, bytes(764)),
        (attributes.decode_userhash_untrusted, bytes(31)),
        (attributes.decode_error_code_untrusted, b"\0\0\x04"),
        (attributes.decode_error_code_untrusted, b"\0\0\x02\x63"),
        (attributes.decode_error_code_untrusted, b"\0\0\x07\x00"),
        (attributes.decode_error_code_untrusted, b"\0\0\x04\x64"),
        (attributes.decode_error_code_untrusted, b"\0\0\x04\x00\xc3"),
        (attributes.decode_unknown_attributes_untrusted, b"\0\x01\0"),
        (attributes.decode_password_algorithms_untrusted, b"\0\x01\0"),
        (attributes.decode_password_algorithms_untrusted, b"\0\x01\0\x05abcd"),
        (attributes.decode_password_algorithm_untrusted, b""),
        (attributes.decode_password_algorithm_untrusted, bytes(8)),
        (attributes.decode_network_cost_untrusted, bytes(3)),
    ],
)
def test_malformed_values(decode: Callable[[bytes], Any], value: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(value)


@pytest.mark.parametrize(
    ("encode", "argument"),
    [
        (attributes.encode_uint32, 2**32),
        (attributes.encode_uint32, -1),
        (attributes.encode_uint64, 2**64),
        (attributes.encode_username, bytes(764)),
        (attributes.encode_text, "x" * 128),
        (attributes.encode_error_code, 299),
        (attributes.encode_error_code, 700),
    ],
)
def test_what_cannot_be_said(encode: Callable[[Any], bytes], argument: Any) -> None:
    with pytest.raises(ValueError):
        encode(argument)
