"""The header of the leg."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import addresses
from stunroute import forward
from stunroute.address import Address
from stunroute.errors import DecodeError
from stunroute.forward import Leg

CLIENT = Address.of("192.0.2.1", 0x1234)
PROXY = Address.of("2001:db8::5", 3478)


def test_the_octets_are_those_of_the_published_protocol() -> None:
    assert forward.encode(CLIENT, PROXY).hex() == (
        "56ec00000000000000000000ffffc000020120010db800000000000000000000000512340d96"
    )


@given(addresses, addresses, st.binary(max_size=50))
def test_round_trip(client: Address, proxy: Address, payload: bytes) -> None:
    header = forward.encode(client, proxy)
    assert len(header) == forward.HEADER_LENGTH
    assert forward.decode_untrusted(header + payload) == Leg(client, proxy)


def test_a_mapped_client_and_a_plain_one_are_one_address() -> None:
    """Trap 11: a dual-stack socket names an IPv4 peer in IPv6."""
    mapped = Address.of("::ffff:192.0.2.1", 0x1234)
    assert forward.encode(mapped, PROXY) == forward.encode(CLIENT, PROXY)


@given(st.binary(max_size=80))
def test_anything_decodes_or_raises_decode_error(data: bytes) -> None:
    try:
        leg = forward.decode_untrusted(data)
    except DecodeError:
        return
    assert data.startswith(forward.encode(leg.client, leg.proxy))


@pytest.mark.parametrize("length", range(38))
def test_every_truncation_is_refused(length: int) -> None:
    with pytest.raises(DecodeError):
        forward.decode_untrusted(forward.encode(CLIENT, PROXY)[:length])


@pytest.mark.parametrize("bit", range(16))
def test_every_bit_of_the_magic_counts(bit: int) -> None:
    header = bytearray(forward.encode(CLIENT, PROXY))
    header[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DecodeError):
        forward.decode_untrusted(bytes(header))
