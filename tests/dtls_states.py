"""Connections in each state of their handshake, and what strangers can send to them."""

from dtls_pair import (
    Pair,
    transmits,
)
from stunroute.trace import Drop
from transceiver.dtls import (
    Dropped,
    DtlsConnection,
    Role,
    Stage,
    client12,
    record,
    server12,
)
from transceiver.dtls.messages import Message
from transceiver.dtls.record import ContentType, Record

STATES = {
    Role.CLIENT: (
        client12.AwaitServerHello,
        client12.AwaitCertificate,
        client12.AwaitKeyExchange,
        client12.AwaitRequest,
        client12.AwaitDone,
        client12.AwaitFinished,
        client12.Done,
    ),
    Role.SERVER: (
        server12.AwaitClientHello,
        server12.AwaitCertificate,
        server12.AwaitKeyExchange,
        server12.AwaitVerify,
        server12.AwaitFinished,
        server12.Done,
    ),
}
EVERY_STATE = [(role, state) for role, states in STATES.items() for state in states]
UNPROTECTED = [
    (role, state) for role, state in EVERY_STATE if state.__name__ not in ("AwaitFinished", "Done")
]


def split(datagram: bytes) -> list[Record]:
    offset, found = 0, []
    while offset < len(datagram):
        one, offset = record.decode_untrusted(datagram, offset)
        found.append(one)
    return found


def joined(records: list[Record]) -> bytes:
    return b"".join(
        record.encode(one.content_type, one.number, one.fragment, one.version) for one in records
    )


def advance_to(role: Role, state: type) -> tuple[Pair, DtlsConnection, list[Record]]:
    """A pair in which ``role`` has reached ``state``, its connection, and what the honest peer
    has sent that it has not been given yet."""
    pair = Pair.make()
    pair.client.start(0.0)
    subject = pair.side(role)
    peer = pair.server if role is Role.CLIENT else pair.client
    waiting: list[Record] = []
    for _ in range(40):
        for datagram in transmits(subject):
            peer.receive_datagram(datagram, 0.0)
        if isinstance(subject._machine.state, state):  # type: ignore[attr-defined]
            pair.sent.clear()
            return pair, subject, waiting
        waiting += [one for datagram in transmits(peer) for one in split(datagram)]
        if waiting:
            subject.receive_datagram(joined([waiting.pop(0)]), 0.0)
    raise AssertionError(f"never came to {state}")


def finish(pair: Pair, subject: DtlsConnection, waiting: list[Record]) -> None:
    """Give ``subject`` what the honest peer said, and let both come to an end."""
    pair.now = max(pair.now, 1.0)
    if waiting:
        subject.receive_datagram(joined(waiting), pair.now)
    pair.run(until=100.0)
    assert pair.client.stage is pair.server.stage is Stage.ESTABLISHED, pair


def forge(type_: int, sequence: int, body: bytes, number: int = 900) -> bytes:
    """A handshake message in the clear, as anybody can make one."""
    return record.encode(ContentType.HANDSHAKE, number, Message.of(type_, sequence, body).raw)


def peer_of(pair: Pair, role: Role) -> DtlsConnection:
    return pair.server if role is Role.CLIENT else pair.client


def map_drops(*members: Drop) -> list[object]:
    return [Dropped(member) for member in members]
