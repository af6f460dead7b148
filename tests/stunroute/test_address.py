"""An address is its 18 bytes, and reads like an address."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import addresses
from stunroute.address import Address


@given(addresses)
def test_round_trips(address: Address) -> None:
    assert Address(address.host, address.port) == address
    assert Address.parse(str(address)) == address
    assert Address.of(address.ip, address.port) == address
    assert Address.of_octets(bytes(address)) == address
    assert pickle.loads(pickle.dumps(address)) == address
    assert isinstance(pickle.loads(pickle.dumps(address)), Address)
    assert repr(address) == f"Address({str(address)!r})"


@given(addresses)
def test_plain_bytes_find_it(address: Address) -> None:
    assert {address: 1}[bytes(address)] == 1  # type: ignore[index]
    assert {bytes(address): 1}[address] == 1
    assert len(address) == 18


def test_an_ipv4_address_and_its_mapped_form_are_one() -> None:
    address = Address.of("192.0.2.1", 3478)
    assert address == Address.of("::ffff:192.0.2.1", 3478)
    assert str(address) == "192.0.2.1:3478"
    assert address.is_ipv4
    assert address.packed == bytes([192, 0, 2, 1])
    assert str(Address.of("2001:db8::1", 5)) == "[2001:db8::1]:5"


@pytest.mark.parametrize(("host", "port"), [(bytes(4), 1), (bytes(17), 1), (bytes(16), 65536)])
def test_what_is_none_is_refused(host: bytes, port: int) -> None:
    with pytest.raises(ValueError, match="address"):
        Address(host, port)


@given(st.text(max_size=30))
def test_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = Address.parse(text)
    except ValueError:
        return
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("198.51.100.7", 0),
        ("2001:db8::7", 0),
        ("0.0.0.0", 9),
        ("0.1.2.3", 9),
        ("224.0.0.1", 9),
        ("255.255.255.255", 9),
        ("::", 9),
        ("ff02::1", 9),
    ],
)
def test_where_nothing_can_be_sent(host: str, port: int) -> None:
    assert not Address.of(host, port).is_sendable


@pytest.mark.parametrize("host", ["198.51.100.7", "127.0.0.1", "223.1.1.1", "::1", "fe80::1"])
def test_where_something_can_be_sent(host: str) -> None:
    assert Address.of(host, 1).is_sendable
    assert Address.of(host, 256).is_sendable
