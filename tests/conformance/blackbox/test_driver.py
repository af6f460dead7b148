"""Which of the addresses that were given the sockets are bound toward."""

import pytest

from conformance.blackbox.driver import _reached
from stunroute.address import Address

HERE, LAN, FAR = (Address.of(host, 0) for host in ("127.0.0.1", "10.0.0.5", "192.0.2.1"))


@pytest.mark.parametrize(
    ("known", "reached"),
    [
        ((HERE,), HERE),
        ((HERE, LAN), LAN),
        ((FAR, LAN), FAR),
        ((FAR, HERE), FAR),
        ((Address.of("::1", 0), Address.of("2001:db8::1", 0)), Address.of("2001:db8::1", 0)),
    ],
)
def test_media_on_another_host_is_not_sent_from_loopback(
    known: tuple[Address, ...], reached: Address
) -> None:
    assert _reached(known) == reached
