"""Short ways to say what happens in a call, for tests over ``pair.Rig``."""

from typing import Any

from pair import HOME, INNER, PUBLIC, Client, Rig
from stunroute import forward, stun
from stunroute.address import Address
from stunroute.trace import Drop
from transceiver.events import (
    Phase,
    PhaseChanged,
)

OTHER_INNER = Address.of("10.1.0.9", 4000)
ELSEWHERE = Address.of("192.0.2.99", 40000)


def of_kind(rig: Rig, kind: type) -> list[Any]:
    return [event for event in rig.events if isinstance(event, kind)]


def phases(rig: Rig) -> list[Phase]:
    return [event.phase for event in of_kind(rig, PhaseChanged)]


def drops(rig: Rig) -> dict[Drop, int]:
    return dict(rig.endpoint.drops)


def deliver(rig: Rig, payload: bytes, client: Address = HOME) -> None:
    """Hand a datagram to the endpoint past the relay, as one that let it through would."""
    header = forward.encode(client, PUBLIC)
    rig.endpoint.receive_datagram(header + payload, INNER, rig.now)
    rig.settle()


def talk(rig: Rig, client: Client, packets: int = 5, first: int = 0) -> None:
    for index in range(first, first + packets):
        client.send_audio(b"voice %d" % index, 960 * index)
        rig.run(0.02)


def check_for(client: Client, *, wrong: bool = False) -> bytes:
    password = "not the password" if wrong else client.remote_password
    return stun.build(
        stun.Method.BINDING,
        stun.MessageClass.REQUEST,
        b"transaction!",
        [
            (0x0006, f"{client.remote_ufrag}:{client.ufrag}".encode()),
            (0x0024, (1).to_bytes(4, "big")),
            (0x802A, (5).to_bytes(8, "big")),
        ],
        integrity=stun.IntegrityKey(password.encode()),
    )


def deliver_only(rig: Rig, payload: bytes) -> None:
    header = forward.encode(HOME, PUBLIC)
    rig.endpoint.receive_datagram(header + payload, INNER, rig.now)
