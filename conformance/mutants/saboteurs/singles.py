"""What no family reaches: saboteurs for one case each.

They are no mutants because a mutant has to be failed, which a case of a SHOULD does to nobody, or
because the harness's own calls would notice them, and so nearly every case.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import conformance.drivers.relay as driver
from conformance.drivers.relay import RelayServer
from conformance.drivers.virtual import VirtualWire
from conformance.mutants.model import swapped
from conformance.mutants.offers import refusing
from stunroute.address import Address
from transceiver.dtls import connection
from transceiver.dtls.messages import HandshakeType, Message

from .model import Saboteur, staged

_MOVED = Address.of(driver.INNER.ip, driver.INNER.port + 1)


@contextmanager
def _moves() -> Iterator[None]:
    restart, inner = RelayServer.restart, driver.INNER

    def elsewhere(server: RelayServer) -> None:
        restart(server)
        vars(driver)["INNER"] = _MOVED

    def wire(server: RelayServer, addresses: frozenset[Address]) -> VirtualWire:
        return VirtualWire(server, addresses | {_MOVED})

    with (
        swapped(driver, "INNER", inner),
        swapped(driver, "VirtualWire", wire),
        swapped(RelayServer, "restart", elsewhere),
    ):
        yield


@contextmanager
def _large() -> Iterator[None]:
    """A chain of certificates, and each flight in one datagram whatever the path takes."""

    def pack(honest: Any, parts: Any, sender: Any, mtu: int) -> Any:
        return honest(parts, sender, 9000)

    def of(honest: Any, kind: int, sequence: int, body: bytes) -> Any:
        if kind == HandshakeType.CERTIFICATE:
            chain = body[3:] * 6
            body = len(chain).to_bytes(3, "big") + chain
        return honest(kind, sequence, body)

    with staged() as turn, turn.swapped(connection, "pack", pack), turn.swapped(Message, "of", of):
        yield


@contextmanager
def _longer_ufrags() -> Iterator[None]:
    with refusing(r"^a=ice-ufrag:[^\r\n]{1,4}\r?$"):
        yield


@contextmanager
def _plain_ufrags() -> Iterator[None]:
    with refusing(r"^a=ice-ufrag:.*[+/]"):
        yield


SABOTEURS = (
    Saboteur("single/ufrags-of-five", "It wants more than four characters.", _longer_ufrags),
    Saboteur("single/plain-ufrags", "It wants letters and digits in a ufrag.", _plain_ufrags),
    Saboteur("single/moves-at-a-restart", "After a restart its inner address is another.", _moves),
    Saboteur("single/large-datagrams", "Its flights go out in one large datagram.", _large),
)
