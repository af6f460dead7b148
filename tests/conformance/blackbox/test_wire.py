"""What the harness may send, and where."""

import socket

import pytest

from conformance.blackbox import wire as wire_module
from conformance.blackbox.wire import (
    PORTS,
    SOCKETS,
    Bounds,
    Leash,
    UdpWire,
    hosts_of,
    is_ours,
    resolve,
    unused_ports,
)
from conformance.wire import Arrival, Forbidden
from stunroute.address import Address

LOCAL = Address.of("127.0.0.1", 0)


def wire_to(*addresses: Address, bounds: Bounds | None = None) -> UdpWire:
    return UdpWire(
        hosts=hosts_of(address for address in addresses if not address.port),
        addresses=frozenset(address for address in addresses if address.port),
        bind="127.0.0.1",
        bounds=bounds or Bounds(),
    )


@pytest.fixture
def peer():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(5)
        yield made


def address_of(sock: socket.socket) -> Address:
    return Address.of(*sock.getsockname())


def test_a_datagram_goes_and_comes_back(peer) -> None:
    wire = wire_to(LOCAL)
    try:
        ours = wire.open()
        wire.send(b"hello", ours, address_of(peer))
        data, source = peer.recvfrom(100)
        assert (data, Address.of(*source)) == (b"hello", ours)
        peer.sendto(b"you too", source)
        arrival = wire.receive(wire.now + 5)
        assert arrival is not None
        assert (arrival.data, arrival.source, arrival.socket) == (
            b"you too",
            address_of(peer),
            ours,
        )
    finally:
        wire.close()


def test_nothing_is_sent_where_nobody_allowed_it(peer) -> None:
    stranger = Address.of("127.0.0.2", 9)
    wire = wire_to(address_of(peer))
    try:
        ours = wire.open()
        assert wire.may_send_to(address_of(peer))
        assert not wire.may_send_to(stranger)
        assert not wire.may_send_to(Address.of("127.0.0.1", address_of(peer).port ^ 1))
        with pytest.raises(Forbidden, match="not given"):
            wire.send(b"x", ours, stranger)
    finally:
        wire.close()


def test_addresses_that_are_nobodys_are_never_sent_to() -> None:
    wire = wire_to(Address.of("255.255.255.255", 0), Address.of("224.0.0.1", 0), LOCAL)
    try:
        for host in ("255.255.255.255", "224.0.0.1"):
            assert not wire.may_send_to(Address.of(host, 5000))
        assert not wire.may_send_to(LOCAL)
    finally:
        wire.close()


@pytest.mark.parametrize(
    ("bounds", "said"),
    [(Bounds(bytes=3), "3 bytes"), (Bounds(seconds=-1.0), "s")],
)
def test_a_case_that_sends_too_much_is_stopped(peer, bounds: Bounds, said: str) -> None:
    wire = wire_to(LOCAL, bounds=bounds)
    try:
        with pytest.raises(Forbidden, match=said):
            wire.send(b"four", wire.open(), address_of(peer))
    finally:
        wire.close()


def test_sockets_are_bounded() -> None:
    wire = wire_to(LOCAL)
    try:
        for _ in range(SOCKETS):
            wire.open()
        with pytest.raises(Forbidden):
            wire.open()
    finally:
        wire.close()


def test_silence_ends_at_its_time(peer) -> None:
    wire = wire_to(LOCAL)
    try:
        wire.open()
        until = wire.now + 0.01
        assert wire.receive(until) is None
        assert wire.now >= until
    finally:
        wire.close()


class Flooded(UdpWire):
    """Whenever it looks there is something."""

    def _collect(self, wait: float) -> None:
        if not self._inbox:
            self._inbox.append(Arrival(self.now, b"x", LOCAL, LOCAL))


def test_a_flood_does_not_put_off_the_end_of_waiting() -> None:
    wire = Flooded(hosts=frozenset(), addresses=frozenset(), bind="127.0.0.1")
    try:
        until = wire.now + 0.05
        while wire.receive(until) is not None:
            pass
        assert wire.now >= until
    finally:
        wire.close()


def test_what_has_come_in_time_is_told_to_who_asks_late(peer) -> None:
    wire = wire_to(LOCAL)
    try:
        until = wire.now
        peer.sendto(b"x", (wire.open().ip, next(iter(wire._sockets)).port))
        assert wire.receive(until) is not None
        assert wire.receive(until) is None
    finally:
        wire.close()


def test_a_case_that_only_listens_ends_as_well() -> None:
    wire = wire_to(LOCAL, bounds=Bounds(seconds=0.0))
    try:
        with pytest.raises(Forbidden, match="has run"):
            wire.receive(wire.now + 3600)
    finally:
        wire.close()


def test_a_case_that_has_to_last_may() -> None:
    assert Bounds(seconds=5.0).beyond(2.5).seconds == 7.5


def test_a_run_that_is_stopped_sends_and_waits_no_more(peer) -> None:
    wire = wire_to(LOCAL)
    try:
        ours = wire.open()
        wire.leash.stopped.set()
        for act in (
            lambda: wire.send(b"x", ours, address_of(peer)),
            lambda: wire.receive(wire.now + 3600),
        ):
            with pytest.raises(Forbidden, match="stopped"):
                act()
    finally:
        wire.close()


def test_cases_side_by_side_share_the_rate_of_the_run() -> None:
    leash = Leash(rate=1.0, burst=3)
    assert [leash.take(5.0) for _ in range(4)] == [True, True, True, False]
    assert leash.take(6.0)


def test_a_socket_reaches_its_own_family_alone() -> None:
    wire = wire_to(LOCAL, Address.of("::1", 0))
    try:
        assert wire.may_send_to(Address.of("127.0.0.1", 9))
        assert wire.may_send_to(Address.of("::ffff:127.0.0.1", 9))  # the same
        assert not wire.may_send_to(Address.of("::1", 9))
        wire.bind = "::1"
        assert wire.may_send_to(Address.of("::1", 9))
        assert not wire.may_send_to(Address.of("127.0.0.1", 9))
    finally:
        wire.close()


def test_this_machine_may_be_given_whole(monkeypatch) -> None:
    ours, theirs = Address.of("192.0.2.1", 9), Address.of("192.0.2.2", 9)
    asked = []

    def is_ours(address: Address) -> bool:
        asked.append(address)
        return address == ours

    monkeypatch.setattr(wire_module, "is_ours", is_ours)
    wire = wire_to(LOCAL)
    try:
        assert not wire.may_send_to(ours)
        wire.here = True
        assert wire.may_send_to(ours)
        assert wire.may_send_to(ours)
        assert asked == [ours]
        assert not wire.may_send_to(theirs)
    finally:
        wire.close()


def test_loopback_is_ours_and_documentation_is_not() -> None:
    assert is_ours(LOCAL)
    assert is_ours(Address.of("127.9.9.9", 9))
    assert not is_ours(Address.of("198.51.100.1", 9))


def test_nothing_is_sent_to_who_would_not_hear_it(peer) -> None:
    wire = wire_to(LOCAL)
    wire.hushed = "nobody listens"
    try:
        with pytest.raises(Forbidden, match="nobody listens"):
            wire.send(b"hello", wire.open(), address_of(peer))
    finally:
        wire.close()


def test_a_literal_address_is_its_own_resolution() -> None:
    assert resolve("127.0.0.1") == (LOCAL,)


def test_ports_that_are_taken_are_passed_over(peer) -> None:
    taken = address_of(peer).port
    wire = wire_to(LOCAL)
    wire.ports = iter([taken, taken, 0])
    try:
        assert wire.open().port not in (0, taken)
        wire.ports = iter([taken] * 3)
        with pytest.raises(OSError, match="taken"):
            wire.open()
    finally:
        wire.close()


def test_no_port_comes_twice_before_all_have_come() -> None:
    drawn = unused_ports()
    assert {next(drawn) for _ in PORTS} == set(PORTS)
