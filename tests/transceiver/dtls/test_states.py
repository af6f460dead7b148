"""Every state meets everything, and no stranger ends a handshake."""

import random

import pytest
from attrs import evolve
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dtls_pair import (
    LIMITS,
    Pair,
    drops,
    entropy_of,
    events,
    identity_of,
    make_connection,
    transmits,
)
from dtls_states import (
    EVERY_STATE,
    advance_to,
    finish,
    forge,
    split,
)
from stunroute.errors import DecodeError
from stunroute.trace import Drop
from transceiver.config import DtlsLimits
from transceiver.dtls import (
    DtlsConnection,
    Failed,
    HandshakeComplete,
    Role,
    Stage,
    client12,
    handshake12,
    record,
)
from transceiver.dtls.messages import HandshakeType
from transceiver.dtls.record import ContentType
from transceiver.dtls.signatures import PublicKey


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
@example(seed=662)
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
        try:
            one, end = record.decode_untrusted(datagram, offset)
        except DecodeError:  # it has been spoilt here before
            break
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
