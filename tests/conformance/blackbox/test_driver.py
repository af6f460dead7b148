"""Stages before a server that is reached by HTTP and UDP."""

import pytest

from conformance import catalogue
from conformance.blackbox import driver as drivers
from conformance.blackbox.driver import UdpDriver
from stunroute.address import Address

(CASE,) = catalogue.select(catalogue.load(), ["rfc8489/6.3.1/unknown-required-attribute"])
FOUR, SIX = Address.of("127.0.0.1", 0), Address.of("::1", 0)


def test_a_name_is_resolved_once(monkeypatch) -> None:
    """Where it leads later is nobody that was given."""
    led = iter([(FOUR,), (Address.of("192.0.2.1", 0),)])
    monkeypatch.setattr(drivers, "resolve", lambda name: next(led))
    driver = UdpDriver(url="http://server.test/whip")
    for _ in range(2):
        with driver.stage(CASE) as stage:
            assert stage.wire.may_send_to(Address.of("127.0.0.1", 9))
            assert not stage.wire.may_send_to(Address.of("192.0.2.1", 9))


def test_ipv4_goes_first(monkeypatch) -> None:
    monkeypatch.setattr(drivers, "resolve", lambda name: (SIX, FOUR))
    assert UdpDriver(url="http://server.test/").known() == (FOUR, SIX)


def test_all_is_shut_when_hanging_up_fails(monkeypatch) -> None:
    def fails(door) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(drivers.HttpDoor, "hang_up_all", fails)
    with (
        pytest.raises(KeyboardInterrupt),
        UdpDriver(url="http://127.0.0.1:1/").stage(CASE) as stage,
    ):
        stage.open_socket()
    assert not stage.wire._sockets
    assert stage.door.http._client.is_closed
