"""Client addresses, short of what tells who it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stunroute.address import Address
from stunroute.operations.redaction import redacted


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("198.51.100.7:50000", "198.51.100.x:50000"),
        ("[::ffff:198.51.100.7]:50000", "198.51.100.x:50000"),
        ("[2001:db8:1:2::3]:443", "[2001:db8:1:x]:443"),
        ("[::1]:1", "[0:0:0:x]:1"),
    ],
)
def test_what_is_shown(address: str, shown: str) -> None:
    assert redacted(Address.parse(address)) == shown


@given(st.binary(min_size=6, max_size=6), st.binary(min_size=10, max_size=10))
def test_clients_of_one_network_look_alike(network: bytes, rest: bytes) -> None:
    if network == bytes(6):
        network = b"\x20" + network[1:]  # not a mapped address
    assert redacted(Address(network + rest, 1)) == redacted(Address(network + bytes(10), 1))
