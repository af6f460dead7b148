"""One connection against what it must not be impressed by: every state meets everything."""

import random

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

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
from stunroute.trace import Drop
from transceiver.config import DtlsLimits
from transceiver.dtls import (
    ApplicationData,
    Dropped,
    DtlsConnection,
    Failed,
    Fingerprint,
    HandshakeComplete,
    PeerClosed,
    Role,
    SendQueueFull,
    Stage,
    client12,
    handshake12,
    record,
    server12,
)
from transceiver.dtls.extensions import Extension, decode_block_untrusted, encode_block
from transceiver.dtls.messages import HandshakeType, Message, decode_client_hello_untrusted
from transceiver.dtls.record import ContentType, Record
from transceiver.dtls.signatures import PublicKey
from transceiver.dtls.wire import Reader
from transceiver.keying import SrtpProfile

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


# --- every state meets every message ----------------------------------------------------------


@pytest.mark.parametrize(("role", "state"), EVERY_STATE)
@pytest.mark.parametrize("type_", [*HandshakeType, 99])
@pytest.mark.parametrize("body", [b"", b"\x00", bytes(60), b"\xff" * 60], ids=len)
def test_a_forged_message_of_any_type_in_any_state(
    role: Role, state: type, type_: int, body: bytes
) -> None:
    """DTLS 6: nothing unauthenticated ends a connection; the honest peer's flight goes through.
    Names ``Drop.DTLS_MESSAGE_MALFORMED`` and ``Drop.DTLS_MESSAGE_UNEXPECTED``."""
    pair, subject, waiting = advance_to(role, state)
    events(subject)
    before = subject._reassembly.expected
    subject.receive_datagram(forge(type_, before, body), 0.5)
    seen = events(subject)
    assert not [event for event in seen if isinstance(event, Failed | HandshakeComplete)]
    if seen:
        assert subject._reassembly.expected == subject._flight_start or state.__name__ in (
            "AwaitFinished",
            "Done",
        )
    finish(pair, subject, waiting)


def test_what_the_refusals_are_called() -> None:
    pair, subject, _ = advance_to(Role.CLIENT, client12.AwaitCertificate)
    subject.receive_datagram(forge(HandshakeType.FINISHED, 1, bytes(12)), 0.0)
    assert drops(subject) == [Drop.DTLS_MESSAGE_UNEXPECTED]
    assert subject.refusal == "a message out of turn"
    assert isinstance(subject._machine.state, client12.AwaitServerHello)  # type: ignore[attr-defined]
    subject.receive_datagram(forge(HandshakeType.SERVER_HELLO, 0, b"short"), 0.0)
    assert drops(subject) == [Drop.DTLS_MESSAGE_MALFORMED]
    pair.run()
    assert pair.settled
    assert pair.client.refusal is None


@pytest.mark.parametrize(("role", "state"), EVERY_STATE)
@pytest.mark.parametrize("content_type", [*ContentType, 24, 25, 0, 255])
@pytest.mark.parametrize("epoch", [0, 1, 2, 65535])
@pytest.mark.parametrize("content", [b"", b"\x02\x28", bytes(50)], ids=len)
def test_a_forged_record_of_any_kind_in_any_state(
    role: Role, state: type, content_type: int, epoch: int, content: bytes
) -> None:
    """DTLS 6, 7: also alerts, also application data."""
    pair, subject, waiting = advance_to(role, state)
    events(subject)
    forged = record.encode(content_type, epoch << 48 | 7777, content)
    assert subject.receive_datagram(forged, 0.5) is False
    seen = events(subject)
    assert all(hasattr(event, "drop") for event in seen)
    assert transmits(subject) == [], "nothing forged is answered"
    finish(pair, subject, waiting)


@pytest.mark.parametrize(("role", "state"), EVERY_STATE)
@given(data=st.binary(max_size=200))
@settings(max_examples=30, deadline=None)
def test_any_bytes_in_any_state(role: Role, state: type, data: bytes) -> None:
    _, subject, _ = advance_to(role, state)
    events(subject)
    assert subject.receive_datagram(data, 0.5) is False
    assert subject.stage is not Stage.CLOSED


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_spoilt_copies_before_the_honest_datagrams(seed: int) -> None:
    """DTLS 6: messages that are almost right, and come first, delay and no more. What stands in
    a hello beside its random, and a CertificateRequest, are left alone: who can change those has
    seen the random, and that the handshake fails then is what protects it from being talked down.
    """
    chance = random.Random(seed)
    pair = Pair.make(lambda datagram: [0.01])
    pair.client.start(0.0)
    spoils = 0
    for _ in range(400):
        pair.collect()
        if pair.settled:
            break
        if pair._wire and spoils < 12:
            at, order, role, datagram = chance.choice(pair._wire)
            if places := spoilable(datagram):
                spoilt = bytearray(datagram)
                spoilt[chance.choice(places)] ^= chance.randrange(1, 256)
                pair._wire.append((at, -order, role, bytes(spoilt)))
                spoils += 1
        pair.step()
    assert pair.settled


def spoilable(datagram: bytes) -> list[int]:
    """Where a stranger may put something else."""
    places: list[int] = []
    offset = 0
    while offset < len(datagram):
        one, end = record.decode_untrusted(datagram, offset)
        body = offset + record.HEADER_LENGTH
        if one.epoch == 1 or one.content_type == ContentType.CHANGE_CIPHER_SPEC:
            places += range(offset, end)
        elif one.fragment[0] in (HandshakeType.CLIENT_HELLO, HandshakeType.SERVER_HELLO):
            places += range(body + 14, body + 46)
        elif one.fragment[0] != HandshakeType.CERTIFICATE_REQUEST:
            # The type stays: of a HelloVerifyRequest or a hello others have spoken.
            places += range(body + 1, end)
        offset = end
    return places


# --- strangers' handshakes ----------------------------------------------------------------------


@pytest.mark.parametrize("order", ["before", "after", "both"])
def test_a_strangers_hello_does_not_spoil_the_peers(order: str) -> None:
    """DTLS 6: the race for the ClientHello, in which the attacker may even come first."""
    pair = Pair.make()
    stranger = make_connection(Role.CLIENT, name="stranger")
    pair.client.start(0.0)
    stranger.start(0.0)
    honest, forged = transmits(pair.client)[0], transmits(stranger)[0]
    script = {
        "before": [forged, honest],
        "after": [honest, forged],
        "both": [forged, honest, forged.replace(forged[30:40], bytes(10))],
    }[order]
    answers = []
    for hello in script:
        pair.server.receive_datagram(hello, 0.0)
        answers.append(transmits(pair.server)[0])
    pair.client.receive_datagram(answers[script.index(honest)], 0.0)
    pair.run()
    assert pair.settled
    assert pair.now < 1.0


def test_a_hello_that_comes_back_is_answered_as_before() -> None:
    pair = Pair.make()
    stranger = make_connection(Role.CLIENT, name="stranger")
    pair.client.start(0.0)
    stranger.start(0.0)
    honest, forged = transmits(pair.client)[0], transmits(stranger)[0]
    contents = []
    for hello in (honest, forged, honest):
        pair.server.receive_datagram(hello, 0.0)
        contents.append([one.fragment for one in split(transmits(pair.server)[0])])
    assert contents[0] == contents[2] != contents[1]
    state = pair.server._machine.state  # type: ignore[attr-defined]
    assert len(state.answers) == 2


def test_answered_hellos_are_bounded() -> None:
    server = make_connection(Role.SERVER, limits=DtlsLimits(answered_hellos=3))
    for index in range(8):
        stranger = make_connection(Role.CLIENT, name=f"stranger {index}")
        stranger.start(0.0)
        server.receive_datagram(transmits(stranger)[0], 0.0)
        assert len(transmits(server)) == 1
    assert len(server._machine.state.answers) == 3  # type: ignore[attr-defined]


def test_a_stranger_with_another_certificate() -> None:
    """DTLS 10: the certificate is not even parsed. ``Drop.DTLS_FINGERPRINT``; then the peer."""
    for role in Role:
        pair = Pair.make()
        impostor = make_connection(
            Role.SERVER if role is Role.CLIENT else Role.CLIENT, name="impostor", peer=role.value
        )
        subject = pair.side(role)
        subject.start(0.0)
        impostor.start(0.0)
        for _ in range(4):
            for datagram in transmits(subject):
                impostor.receive_datagram(datagram, 0.0)
            for datagram in transmits(impostor):
                subject.receive_datagram(datagram, 0.0)
        assert Drop.DTLS_FINGERPRINT in drops(subject)
        assert subject.refusal == "the certificate is not the one that the SDP names"
        assert subject.stage is Stage.HANDSHAKING
        assert subject.next_timeout() is not None


def test_a_certificate_is_not_parsed_before_its_digest_matches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DTLS 10."""
    parse = handshake12.public_key_untrusted

    def trap(certificate: bytes) -> PublicKey:
        assert certificate != identity_of("impostor").certificate_der
        return parse(certificate)

    monkeypatch.setattr(handshake12, "public_key_untrusted", trap)
    test_a_stranger_with_another_certificate()


@pytest.mark.parametrize("role", Role)
def test_the_right_certificate_without_its_key(role: Role) -> None:
    """DTLS 10: certificates are no secret; ``Drop.DTLS_SIGNATURE`` is for who only shows one."""
    pair = Pair.make()
    other = "server" if role is Role.CLIENT else "client"
    thief = evolve(identity_of("thief"), certificate_der=identity_of(other).certificate_der)
    impostor = DtlsConnection(
        role=Role(other),
        identity=thief,
        fingerprints=(identity_of(role.value).fingerprint,),
        entropy=entropy_of("thief"),
        limits=LIMITS,
    )
    subject = pair.side(role)
    subject.start(0.0)
    impostor.start(0.0)
    for _ in range(4):
        for datagram in transmits(subject):
            impostor.receive_datagram(datagram, 0.0)
        for datagram in transmits(impostor):
            subject.receive_datagram(datagram, 0.0)
    assert Drop.DTLS_SIGNATURE in drops(subject)
    assert subject.stage is Stage.HANDSHAKING
    pair.run()
    if role is Role.CLIENT:
        assert pair.settled, "the honest server is heard all the same"


# --- what is negotiated -------------------------------------------------------------------------


def rewritten_hello(datagram: bytes, change: object) -> bytes:
    """A ClientHello with its extensions changed by ``change(dictionary)``."""
    (one,) = split(datagram)
    hello = decode_client_hello_untrusted(one.fragment[12:])
    block = dict(hello.extensions)
    change(block)  # type: ignore[operator]
    end = one.fragment[12:].index(encode_block(hello.extensions.items()))
    body = one.fragment[12 : 12 + end] + encode_block(block.items())
    return forge(HandshakeType.CLIENT_HELLO, 0, body)


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("extended master secret", lambda b: b.pop(Extension.EXTENDED_MASTER_SECRET)),
        ("use SRTP", lambda b: b.pop(Extension.USE_SRTP)),
        ("in common", lambda b: b.update({Extension.USE_SRTP: bytes.fromhex("0002000500")})),
        ("in common", lambda b: b.update({Extension.SUPPORTED_GROUPS: bytes.fromhex("00020018")})),
        ("in common", lambda b: b.pop(Extension.SUPPORTED_GROUPS)),
        ("signature", lambda b: b.pop(Extension.SIGNATURE_ALGORITHMS)),
        ("renegotiation", lambda b: b.update({Extension.RENEGOTIATION_INFO: b"\x02ab"})),
        ("1.2", lambda b: b.update({Extension.SUPPORTED_VERSIONS: bytes.fromhex("02fefc")})),
    ],
)
def test_hellos_that_cannot_be_agreed_with(why: str, change: object) -> None:
    """DTLS 11: extended master secret demanded. ``Drop.DTLS_NOT_NEGOTIABLE``."""
    pair = Pair.make()
    pair.client.start(0.0)
    honest = transmits(pair.client)[0]
    pair.server.receive_datagram(rewritten_hello(honest, change), 0.0)
    assert drops(pair.server) == [Drop.DTLS_NOT_NEGOTIABLE]
    assert why in (pair.server.refusal or "")
    assert transmits(pair.server) == []
    pair.server.receive_datagram(honest, 0.0)
    pair.run()
    assert pair.settled


@pytest.mark.parametrize(
    "versions",
    ["04fefcfefd", "06feff fefd fefc", "04fefc0303"],
    ids=["Chromium", "all", "Firefox"],
)
def test_a_hello_of_dtls_1_3_is_answered_with_1_2(versions: str) -> None:
    """DTLS 1: Firefox writes 1.2 as TLS does."""
    pair = Pair.make()
    pair.client.start(0.0)
    hello = rewritten_hello(
        transmits(pair.client)[0],
        lambda b: b.update({Extension.SUPPORTED_VERSIONS: bytes.fromhex(versions)}),
    )
    pair.server.receive_datagram(hello, 0.0)
    (first, *_) = split(transmits(pair.server)[0])
    assert first.fragment[0] == HandshakeType.SERVER_HELLO
    assert first.fragment[12:14] == b"\xfe\xfd"
    assert not first.fragment[14:46].endswith((b"DOWNGRD\x00", b"DOWNGRD\x01"))


def test_an_mki_is_not_echoed() -> None:
    """DTLS 13."""
    pair = Pair.make()
    pair.client.start(0.0)
    with_mki = bytes.fromhex("0004 0007 0001 04 6d6b6921")
    hello = rewritten_hello(
        transmits(pair.client)[0], lambda b: b.update({Extension.USE_SRTP: with_mki})
    )
    pair.server.receive_datagram(hello, 0.0)
    (first, *_) = split(transmits(pair.server)[0])
    block = decode_block_untrusted(Reader(first.fragment[12 + 2 + 32 + 1 + 2 + 1 :]))
    assert block[Extension.USE_SRTP] == bytes.fromhex("0002 0007 00")
    assert b"mki!" not in first.fragment


def server_hello_with(change: object) -> tuple[Pair, bytes]:
    pair = Pair.make()
    pair.client.start(0.0)
    pair.server.receive_datagram(transmits(pair.client)[0], 0.0)
    flight = split(transmits(pair.server)[0])
    body = flight[0].fragment[12:]
    fixed, rest = body[: 2 + 32 + 1 + 2 + 1], body[2 + 32 + 1 + 2 + 1 :]
    block = decode_block_untrusted(Reader(rest))
    fixed, block = change(fixed, block)  # type: ignore[operator]
    return pair, forge(HandshakeType.SERVER_HELLO, 0, fixed + encode_block(block.items()))


@pytest.mark.parametrize(
    "change",
    [
        lambda f, b: (b"\xfe\xff" + f[2:], b),
        lambda f, b: (f[:-3] + b"\x00\x2f\x00", b),
        lambda f, b: (f[:-1] + b"\x01", b),
        lambda f, b: (f, {k: v for k, v in b.items() if k != Extension.EXTENDED_MASTER_SECRET}),
        lambda f, b: (f, {k: v for k, v in b.items() if k != Extension.USE_SRTP}),
        lambda f, b: (f, b | {Extension.USE_SRTP: bytes.fromhex("0002000703616263")}),
        lambda f, b: (f, b | {Extension.USE_SRTP: bytes.fromhex("0004000700 0800")}),
        lambda f, b: (f, b | {Extension.USE_SRTP: bytes.fromhex("0002000200")}),
        lambda f, b: (f, b | {Extension.RENEGOTIATION_INFO: b"\x01a"}),
        lambda f, b: (f, b | {Extension.SUPPORTED_VERSIONS: b"\xfe\xfc"}),
        lambda f, b: (f, b | {0x1234: b""}),
    ],
    ids=[
        *("version", "suite", "compression", "no-ems", "no-srtp", "mki", "two-profiles"),
        *("profile", "renegotiation", "not-offered", "unknown"),
    ],
)
def test_server_hellos_that_answer_what_was_not_asked(change: object) -> None:
    """DTLS 11, 13."""
    pair, forged = server_hello_with(change)
    pair.client.receive_datagram(forged, 0.0)
    assert drops(pair.client) == [Drop.DTLS_NOT_NEGOTIABLE]
    pair.now = 1.0
    pair.run()
    assert pair.settled


# --- HelloVerifyRequest -------------------------------------------------------------------------


def test_cookies_are_asked_for_only_on_request() -> None:
    """DTLS 2."""
    pair = Pair(make_connection(Role.CLIENT), make_connection(Role.SERVER, verify_hello=True))
    pair.run()
    assert pair.settled
    assert [role for role, _, _ in pair.sent] == [Role.CLIENT, Role.SERVER] * 3
    assert len(established().sent) == 4


def test_a_lost_verify_request_is_sent_again() -> None:
    """DTLS 2."""
    pair = Pair(make_connection(Role.CLIENT), make_connection(Role.SERVER, verify_hello=True))
    pair.client.start(0.0)
    hello = transmits(pair.client)[0]
    for _ in range(3):
        pair.server.receive_datagram(hello, 0.0)
        (request,) = transmits(pair.server)
        assert split(request)[0].fragment[0] == HandshakeType.HELLO_VERIFY_REQUEST
    assert pair.server.next_timeout() is None
    pair.client.receive_datagram(request, 0.0)
    pair.run()
    assert pair.settled


def test_a_second_hello_with_a_cookie_that_somebody_else_asked_for() -> None:
    """DTLS 2: message_seq 1 and a cookie, and this server has never seen the first hello."""
    pair = Pair.make()
    pair.client.start(0.0)
    transmits(pair.client)
    request = forge(HandshakeType.HELLO_VERIFY_REQUEST, 0, b"\xfe\xff\x06cookie")
    pair.client.receive_datagram(request, 0.0)
    pair.run()
    assert pair.settled
    # The first hello, delayed, is of the past; another client's first hello is not.
    assert pair.drops(Role.SERVER) == []


def test_the_hello_before_the_cookie_is_of_the_past() -> None:
    """DTLS 2. ``Drop.DTLS_OLD_MESSAGE``."""
    pair = Pair.make()
    pair.client.start(0.0)
    (first,) = transmits(pair.client)
    pair.client.receive_datagram(
        forge(HandshakeType.HELLO_VERIFY_REQUEST, 0, b"\xfe\xff\x06cookie"), 0.0
    )
    (second,) = transmits(pair.client)
    pair.server.receive_datagram(second, 0.0)
    pair.server.receive_datagram(first, 0.0)
    assert drops(pair.server) == [Drop.DTLS_OLD_MESSAGE]
    stranger = make_connection(Role.CLIENT, name="stranger")
    stranger.start(0.0)
    pair.server.receive_datagram(transmits(stranger)[0], 0.0)
    assert drops(pair.server) == []


def test_a_later_cookie_than_ours_is_refused() -> None:
    _, server, _ = advance_to(Role.SERVER, server12.AwaitCertificate)
    hello = server._machine.state.answers[-1].hello  # type: ignore[attr-defined]
    server.receive_datagram(forge(HandshakeType.CLIENT_HELLO, 1, hello.body), 0.0)
    assert drops(server) == [Drop.DTLS_MESSAGE_UNEXPECTED]


def test_verify_requests_are_answered_within_bounds() -> None:
    client = make_connection(Role.CLIENT)
    client.start(0.0)
    transmits(client)
    for index in range(LIMITS.hello_verifications):
        cookie = b"\xfe\xfd\x01" + bytes([index])
        client.receive_datagram(forge(HandshakeType.HELLO_VERIFY_REQUEST, index, cookie), 0.0)
        (hello,) = transmits(client)
        body = split(hello)[0].fragment
        assert decode_client_hello_untrusted(body[12:]).cookie == bytes([index])
        assert int.from_bytes(body[4:6]) == index + 1
    client.receive_datagram(
        forge(HandshakeType.HELLO_VERIFY_REQUEST, LIMITS.hello_verifications, cookie), 0.0
    )
    assert transmits(client) == []
    assert drops(client) == [Drop.DTLS_MESSAGE_UNEXPECTED]


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


def map_drops(*members: Drop) -> list[object]:
    return [Dropped(member) for member in members]


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
