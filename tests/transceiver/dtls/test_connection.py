"""Records, alerts, endings, and what a caller can do."""

import pytest

from dtls_pair import (
    LIMITS,
    Pair,
    drops,
    entropy_of,
    established,
    events,
    identity_of,
    make_connection,
    transmits,
)
from dtls_states import (
    advance_to,
    forge,
    joined,
    map_drops,
    peer_of,
    split,
)
from stunroute.trace import Drop
from transceiver.config import DtlsLimits
from transceiver.dtls import (
    ApplicationData,
    DtlsConnection,
    Failed,
    Fingerprint,
    HandshakeComplete,
    PeerClosed,
    Role,
    SendQueueFull,
    Stage,
    client12,
    record,
    server12,
)
from transceiver.dtls.messages import HandshakeType, Message
from transceiver.dtls.record import ContentType
from transceiver.keying import SrtpProfile

# --- records ------------------------------------------------------------------------------------


def test_what_is_wrong_with_a_datagram_ends_its_reading() -> None:
    """DTLS 11: two records in one datagram, the second cut. ``Drop.DTLS_RECORD_MALFORMED``."""
    pair = established()
    pair.client.send(b"one", 1.0)
    pair.client.send(b"two", 1.0)
    first, second = transmits(pair.client)
    assert pair.server.receive_datagram(first + second[:-1], 1.0)
    assert events(pair.server)[0] == ApplicationData(b"one")
    assert pair.server.receive_datagram(first + second, 1.0)
    seen = events(pair.server)
    assert seen[-1] == ApplicationData(b"two")
    assert pair.server.receive_datagram(b"\x17", 1.0) is False
    assert drops(pair.server) == [Drop.DTLS_RECORD_MALFORMED]


def test_replays() -> None:
    """DTLS 8. ``Drop.DTLS_REPLAY``."""
    pair = established()
    pair.client.send(b"once", 1.0)
    (datagram,) = transmits(pair.client)
    assert pair.server.receive_datagram(datagram, 1.0) is True
    assert pair.server.receive_datagram(datagram, 1.0) is False
    assert events(pair.server) == [ApplicationData(b"once"), *map_drops(Drop.DTLS_REPLAY)]


def test_a_forged_number_does_not_move_the_window() -> None:
    """DTLS 8. ``Drop.DTLS_AUTHENTICATION``."""
    pair = established()
    pair.client.send(b"honest", 1.0)
    (datagram,) = transmits(pair.client)
    (one,) = split(datagram)
    for number in (1 << 48 | 1 << 40, 1 << 48 | (1 << 48) - 1):
        forged = record.encode(one.content_type, number, one.fragment)
        assert pair.server.receive_datagram(forged, 1.0) is False
    assert drops(pair.server) == [Drop.DTLS_AUTHENTICATION] * 2
    assert pair.server.receive_datagram(datagram, 1.0) is True


def test_records_too_short_to_be_protected() -> None:
    """DTLS 11: shorter than its AEAD."""
    pair = established()
    for length in range(25):
        pair.server.receive_datagram(record.encode(23, 1 << 48 | 50 + length, bytes(length)), 1.0)
    assert drops(pair.server) == [Drop.DTLS_AUTHENTICATION] * 25


@pytest.mark.parametrize("role", Role)
def test_plaintext_after_keys(role: Role) -> None:
    """DTLS 7. ``Drop.DTLS_PLAINTEXT``."""
    pair = established()
    subject = pair.side(role)
    for content_type, content in (
        (ContentType.ALERT, b"\x02\x28"),
        (ContentType.ALERT, b"\x01\x00"),
        (ContentType.APPLICATION_DATA, b"data"),
        (ContentType.HANDSHAKE, Message.of(HandshakeType.CLIENT_HELLO, 9, b"").raw),
    ):
        assert subject.receive_datagram(record.encode(content_type, 99, content), 1.0) is False
        assert drops(subject) == [Drop.DTLS_PLAINTEXT]
    assert subject.receive_datagram(record.encode(20, 99, b"\x01"), 1.0) is False
    assert events(subject) == [], "a late ChangeCipherSpec says nothing (DTLS 11)"
    assert transmits(subject) == []
    assert subject.stage is Stage.ESTABLISHED


def test_alerts_in_the_clear_are_noted_and_not_obeyed() -> None:
    """DTLS 6, 7. ``Drop.DTLS_ALERT_UNAUTHENTICATED``."""
    client = make_connection(Role.CLIENT)
    client.start(0.0)
    client.receive_datagram(record.encode(ContentType.ALERT, 0, b"\x02\x2a"), 0.0)
    assert drops(client) == [Drop.DTLS_ALERT_UNAUTHENTICATED]
    assert client.refusal == "an alert in the clear: 02 2a"
    assert client.stage is Stage.HANDSHAKING


def test_types_and_epochs_that_cannot_be() -> None:
    """``Drop.DTLS_RECORD_TYPE`` (heartbeat, connection id) and ``Drop.DTLS_EPOCH``."""
    pair = established()
    for content_type in (0, 19, 24, 25, 26, 255):
        pair.server.receive_datagram(record.encode(content_type, 1 << 48 | 60, bytes(40)), 1.0)
        assert drops(pair.server) == [Drop.DTLS_RECORD_TYPE]
    pair.server.receive_datagram(record.encode(23, 2 << 48, bytes(40)), 1.0)
    assert drops(pair.server) == [Drop.DTLS_EPOCH]
    pair.server.receive_datagram(record.encode(23, 1 << 48 | 60, bytes(40), 0xFEFF), 1.0)
    assert drops(pair.server) == [Drop.DTLS_EPOCH]


def test_records_of_the_next_epoch_are_kept_within_bounds() -> None:
    """DTLS 9: a Finished that overtakes waits for its keys. ``Drop.DTLS_RECORDS_AHEAD``."""
    pair, server, waiting = advance_to(Role.SERVER, server12.AwaitCertificate)
    for datagram in transmits(server):
        pair.client.receive_datagram(datagram, 0.0)
    waiting += [one for datagram in transmits(pair.client) for one in split(datagram)]
    finished = waiting.pop()
    assert finished.epoch == 1
    assert server.receive_datagram(joined([finished]), 0.0) is False
    assert server.receive_datagram(joined(waiting), 0.0) is True
    assert server.stage is Stage.ESTABLISHED

    _, server, _ = advance_to(Role.SERVER, server12.AwaitCertificate)
    for index in range(LIMITS.records_ahead + 3):
        server.receive_datagram(record.encode(22, 1 << 48 | index, bytes(40)), 0.0)
    assert drops(server) == [Drop.DTLS_RECORDS_AHEAD] * 3
    assert len(server._ahead) == LIMITS.records_ahead


def test_data_that_overtakes_the_finished_waits_for_it() -> None:
    """DTLS 10: nothing is delivered before the handshake has been verified to the end."""
    pair, server, waiting = advance_to(Role.SERVER, server12.AwaitFinished)
    while waiting and waiting[0].epoch == 0:
        waiting.pop(0)
    (finished,) = waiting
    early = [
        pair.client._sender.sealed(ContentType.APPLICATION_DATA, bytes([65 + index]))
        for index in range(LIMITS.records_ahead + 1)
    ]
    events(server)
    for datagram in early:
        assert server.receive_datagram(datagram, 0.0) is True
    assert drops(server) == [Drop.DTLS_RECORDS_AHEAD]
    assert server.receive_datagram(joined([finished]), 0.0)
    complete, *rest = events(server)
    assert isinstance(complete, HandshakeComplete)
    assert rest == [ApplicationData(bytes([65 + index])) for index in range(LIMITS.records_ahead)]


def test_fragments_that_make_no_sense() -> None:
    """``Drop.DTLS_FRAGMENT_MALFORMED``; the message after it in the same record is not found."""
    pair = Pair.make()
    pair.server.receive_datagram(record.encode(22, 0, b"\x01\x00\x00\x05" + bytes(3)), 0.0)
    assert drops(pair.server) == [Drop.DTLS_FRAGMENT_MALFORMED]
    pair.server.receive_datagram(record.encode(22, 0, bytes(12 + 11)), 0.0)
    assert Drop.DTLS_FRAGMENT_MALFORMED in drops(pair.server)
    pair.run()
    assert pair.settled


def test_a_message_longer_than_the_bound_is_refused_whole_too() -> None:
    """DTLS 11: oversized."""
    server = make_connection(Role.SERVER, limits=DtlsLimits(message_length=100))
    server.receive_datagram(forge(HandshakeType.CLIENT_HELLO, 0, bytes(101)), 0.0)
    assert drops(server) == [Drop.DTLS_FRAGMENT_OVERSIZED]


def test_several_messages_in_one_record() -> None:
    """DTLS 11."""
    pair, client, _ = advance_to(Role.CLIENT, client12.AwaitServerHello)
    pair.server.receive_datagram(joined([]), 0.0)
    flight = [one for d in [*transmits(pair.server)] for one in split(d)]
    if not flight:
        pair.server.handle_timeout(0.4)
        flight = [one for d in transmits(pair.server) for one in split(d)]
    content = b"".join(one.fragment for one in flight)
    client.receive_datagram(record.encode(22, 5, content), 0.0)
    assert isinstance(client._machine.state, client12.AwaitFinished)  # type: ignore[attr-defined]


# --- authentic, and wrong -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "states"), [(Role.CLIENT, client12), (Role.SERVER, server12)], ids=str
)
@pytest.mark.parametrize(
    ("type_", "body"),
    [(HandshakeType.FINISHED, bytes(12)), (HandshakeType.FINISHED, b""), (99, b"")],
)
def test_a_wrong_finished_under_the_keys_is_fatal(
    role: Role, states: object, type_: int, body: bytes
) -> None:
    """DTLS 11: only the peer can have sealed it. The peer is told."""
    pair, subject, _ = advance_to(role, states.AwaitFinished)  # type: ignore[attr-defined]
    events(subject)
    peer = peer_of(pair, role)
    if not peer._sender.armed:
        completed = subject._machine.state.completed  # type: ignore[attr-defined]
        peer._sender.arm(completed.secrets.protections()[1 if role is Role.CLIENT else 0])
    wrong = Message.of(type_, subject._reassembly.expected, body)
    assert subject.receive_datagram(peer._sender.sealed(ContentType.HANDSHAKE, wrong.raw), 0.0)
    (failed,) = events(subject)
    assert isinstance(failed, Failed)
    assert subject.stage is Stage.CLOSED
    assert subject.next_timeout() is None
    (alert,) = transmits(subject)
    assert split(alert)[0].content_type == ContentType.ALERT
    assert split(alert)[0].epoch == 1


@pytest.mark.parametrize("role", Role)
def test_alerts_under_the_keys(role: Role) -> None:
    for content, outcome in (
        (b"\x02\x28", Failed("the peer gave up with alert 40")),
        (b"\x01\x00", PeerClosed()),
        (b"\x02\x00", PeerClosed()),
    ):
        pair = established()
        subject, peer = pair.side(role), peer_of(pair, role)
        assert subject.receive_datagram(peer._sender.sealed(ContentType.ALERT, content), 1.0)
        assert events(subject) == [outcome]
        assert subject.stage is Stage.CLOSED
    pair = established()
    subject, peer = pair.side(role), peer_of(pair, role)
    assert subject.receive_datagram(peer._sender.sealed(ContentType.ALERT, b"\x01\x5a"), 1.0)
    assert events(subject) == []
    assert subject.stage is Stage.ESTABLISHED


def test_authentic_and_meaningless() -> None:
    """``Drop.DTLS_CONTENT``."""
    pair = established()
    for content_type, content in (
        (ContentType.ALERT, b""),
        (ContentType.ALERT, b"\x02\x28\x00"),
        (ContentType.CHANGE_CIPHER_SPEC, b"\x01"),
    ):
        assert pair.server.receive_datagram(pair.client._sender.sealed(content_type, content), 1.0)
        assert drops(pair.server) == [Drop.DTLS_CONTENT]
    empty = pair.client._sender.sealed(ContentType.APPLICATION_DATA, b"")
    assert pair.server.receive_datagram(empty, 1.0), "a sign of life"
    assert events(pair.server) == []


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("type_", [HandshakeType.HELLO_REQUEST, HandshakeType.CLIENT_HELLO])
@pytest.mark.parametrize("sequence", [0, 20])
def test_a_second_handshake_is_refused(role: Role, type_: int, sequence: int) -> None:
    """DTLS 11. ``Drop.DTLS_RENEGOTIATION``, and a no_renegotiation alert."""
    pair = established()
    subject, peer = pair.side(role), peer_of(pair, role)
    wish = Message.of(type_, sequence, b"")
    assert subject.receive_datagram(peer._sender.sealed(ContentType.HANDSHAKE, wish.raw), 1.0)
    assert drops(subject) == [Drop.DTLS_RENEGOTIATION]
    (alert,) = transmits(subject)
    assert peer.receive_datagram(alert, 1.0)
    assert peer.stage is subject.stage is Stage.ESTABLISHED


# --- the caller's side --------------------------------------------------------------------------


def test_before_the_start_and_after_the_end() -> None:
    """``Drop.DTLS_CLOSED``."""
    client = make_connection(Role.CLIENT)
    assert client.receive_datagram(b"\x16" + bytes(20), 0.0) is False
    assert drops(client) == [Drop.DTLS_CLOSED]
    assert client.next_timeout() is None
    client.start(0.0)
    client.start(0.0)
    assert len(transmits(client)) == 1
    client.close(0.0)
    client.close(0.0)
    assert transmits(client) == []
    client.send(b"too late", 0.0)
    client.start(0.0)
    client.handle_timeout(100.0)
    assert transmits(client) == []
    assert client.receive_datagram(b"\x16" + bytes(20), 0.0) is False
    assert drops(client) == [Drop.DTLS_CLOSED]


def test_records_behind_a_close_notify_are_not_read() -> None:
    pair = established()
    pair.client.close(1.0)
    pair.server.receive_datagram(transmits(pair.client)[0] + record.encode(23, 1 << 48, b""), 1.0)
    assert events(pair.server) == [PeerClosed(), *map_drops(Drop.DTLS_CLOSED)]


def test_the_queue_before_the_handshake_is_bounded() -> None:
    client = make_connection(Role.CLIENT, limits=DtlsLimits(outgoing_messages=2))
    client.send(b"1", 0.0)
    client.send(b"2", 0.0)
    with pytest.raises(SendQueueFull):
        client.send(b"3", 0.0)
    with pytest.raises(ValueError):
        client.send(bytes(16385), 0.0)


def test_what_is_sealed_at_once_goes_behind_what_waits() -> None:
    """``sealed`` gives the datagram that ``send`` would have queued, if nothing is queued."""
    early = make_connection(Role.CLIENT)
    assert early.sealed(b"too early", 0.0) is None
    pair = established()
    one = pair.client.sealed(b"one", 1.0)
    assert one is not None
    assert pair.server.receive_datagram(one, 1.0)
    pair.client.send(b"two", 1.0)
    assert pair.client.sealed(b"three", 1.0) is None
    for datagram in transmits(pair.client):
        assert pair.server.receive_datagram(datagram, 1.0)
    assert events(pair.server) == [ApplicationData(each) for each in (b"one", b"two", b"three")]
    with pytest.raises(ValueError, match="longer"):
        pair.client.sealed(bytes(record.MAXIMUM_PLAINTEXT + 1), 1.0)
    pair.client.close(1.0)
    transmits(pair.client)
    assert pair.client.sealed(b"over", 1.0) is None
    assert transmits(pair.client) == []


def test_arguments_that_make_no_sense() -> None:
    for change in ({"fingerprints": ()}, {"profiles": ()}):
        with pytest.raises(ValueError):
            DtlsConnection(
                **{
                    "role": Role.CLIENT,
                    "identity": identity_of("a"),
                    "fingerprints": (identity_of("b").fingerprint,),
                    "entropy": entropy_of("a"),
                    "limits": LIMITS,
                }
                | change
            )
    with pytest.raises(ValueError):
        DtlsConnection(
            role=Role.CLIENT,
            identity=identity_of("a"),
            fingerprints=(Fingerprint("sha-1", bytes(20)),),
            entropy=entropy_of("a"),
            limits=LIMITS,
        )


@pytest.mark.parametrize("algorithm", ["sha-256", "sha-384", "sha-512"])
def test_each_hash_of_a_fingerprint(algorithm: str) -> None:
    """DTLS 12."""
    pair = Pair.make()
    wanted = Fingerprint.of(identity_of("server").certificate_der, algorithm)
    pair.client = DtlsConnection(
        role=Role.CLIENT,
        identity=identity_of("client"),
        fingerprints=(wanted, Fingerprint("sha-1", bytes(20))),
        entropy=entropy_of("x"),
        limits=LIMITS,
        profiles=tuple(SrtpProfile),
    )
    pair.run()
    complete = pair.completion(Role.CLIENT)
    assert complete is not None
    assert complete.peer_fingerprint == wanted


def test_sequence_numbers_end_a_connection_rather_than_begin_again() -> None:
    pair = established()
    pair.client._sender._sealed = (2 << 48) - 1
    pair.client.send(b"the last", 1.0)
    assert len(transmits(pair.client)) == 1
    pair.client.send(b"one more", 1.0)
    assert events(pair.client) == [Failed("the sequence numbers are used up")]
    assert pair.client.stage is Stage.CLOSED
    with pytest.raises(RuntimeError):
        pair.client._sender.sealed(23, b"")


def test_the_key_log_is_for_those_who_ask() -> None:
    assert established().client.key_log_line is None
    pair = established(key_log=True)
    assert pair.client.key_log_line == pair.server.key_log_line
    assert (pair.client.key_log_line or "").startswith("CLIENT_RANDOM ")


def test_nothing_secret_in_a_repr() -> None:
    pair = established(key_log=True)
    secret = (pair.client.key_log_line or "").split()[2]
    for side in (pair.client, pair.server):
        text = repr(side)
        assert secret not in text
        assert bytes.fromhex(secret).__repr__()[2:-1] not in text
