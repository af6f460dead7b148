"""Against OpenSSL in memory, in both roles."""

import time
from collections.abc import Iterator
from datetime import timedelta
from functools import lru_cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL

from dtls_openssl import PROFILE_NAMES, Certified, OpenSslPeer, make_context
from dtls_pair import LIMITS, NOT_BEFORE, drops, entropy_of, events, identity_of, transmits
from stunroute.trace import Drop
from transceiver.config import DtlsLimits
from transceiver.dtls import (
    ApplicationData,
    Dropped,
    DtlsConnection,
    Event,
    Fingerprint,
    HandshakeComplete,
    PeerClosed,
    Role,
    Stage,
)
from transceiver.keying import SrtpProfile

OTHER = {Role.CLIENT: Role.SERVER, Role.SERVER: Role.CLIENT}


@lru_cache
def rsa_certified() -> Certified:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "peer")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_BEFORE + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    return Certified(certificate, key)


def ours(
    role: Role,
    theirs: Fingerprint,
    *,
    limits: DtlsLimits = LIMITS,
    profiles: tuple[SrtpProfile, ...] = tuple(SrtpProfile),
    srtp_required: bool = True,
) -> DtlsConnection:
    return DtlsConnection(
        role=role,
        identity=identity_of("ours"),
        fingerprints=(theirs,),
        entropy=entropy_of("ours"),
        limits=limits,
        profiles=profiles,
        srtp_required=srtp_required,
        key_log=True,
    )


def exchange(
    connection: DtlsConnection,
    peer: OpenSslPeer,
    *,
    lose: Iterator[bool] = iter(()),  # noqa: B008
    patience: float = 0.0,
) -> list[Event]:
    """Carry datagrams until neither side has one. ``lose`` says for each whether it is lost;
    ``patience`` is how long OpenSSL's real timer is waited for. Our clock is virtual."""
    seen: list[Event] = []
    now = 0.0
    connection.start(now)
    peer.advance()
    end = time.monotonic() + patience
    idle = 0
    while idle < 12:
        ours_out, theirs_out = transmits(connection), peer.transmits()
        for datagram in ours_out:
            if not next(lose, False):
                peer.receive(datagram)
        for datagram in theirs_out:
            if not next(lose, False):
                connection.receive_datagram(datagram, now)
        seen += events(connection)
        if ours_out or theirs_out:
            idle = 0
        elif peer.done and connection.stage is not Stage.HANDSHAKING:
            break
        elif (due := connection.next_timeout()) is not None and idle % 2 == 0:
            now = max(now, due)
            connection.handle_timeout(now)
            idle += 1
        elif time.monotonic() < end:
            time.sleep(0.05)
            now += 0.05
            peer.tick()
        else:
            idle += 1
    return seen


def completion(seen: list[Event]) -> HandshakeComplete:
    found = [event for event in seen if isinstance(event, HandshakeComplete)]
    assert len(found) == 1, seen
    return found[0]


def check_keys(complete: HandshakeComplete, role: Role, peer: OpenSslPeer) -> None:
    """The keys are those that OpenSSL exports, the right way round."""
    profile = complete.keys.profile
    assert peer.selected_profile() == PROFILE_NAMES[profile]
    material = peer.srtp_material(profile)
    key, salt = profile.key_length, profile.salt_length
    client = material[:key] + material[2 * key : 2 * key + salt]
    server = material[key : 2 * key] + material[2 * key + salt :]
    local, remote = (client, server) if role is Role.CLIENT else (server, client)
    assert (complete.keys.local, complete.keys.remote) == (local, remote)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
@pytest.mark.parametrize(
    ("ciphers", "suite"),
    [
        (b"ECDHE+AESGCM:ECDHE+CHACHA20", "AES_128_GCM_SHA256"),
        (b"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384", "AES_256_GCM_SHA384"),
        (b"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305", "CHACHA20_POLY1305_SHA256"),
        (b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256", "AES_128_GCM_SHA256"),
    ],
)
@pytest.mark.parametrize("group", [None, ec.SECP256R1()], ids=["any-group", "p256-only"])
def test_handshake_data_and_close(
    role: Role, kind: str, ciphers: bytes, suite: str, group: ec.EllipticCurve | None
) -> None:
    certified = rsa_certified() if kind == "rsa" else Certified.of(identity_of("theirs"))
    peer = OpenSslPeer(OTHER[role], make_context(certified, ciphers=ciphers, group=group))
    connection = ours(role, certified.fingerprint)
    connection.send(b"queued before the keys", 0.0)
    seen = exchange(connection, peer)
    complete = completion(seen)
    authentication = "RSA" if kind == "rsa" and role is Role.CLIENT else "ECDSA"
    if ciphers.startswith(b"ECDHE+") and role is Role.CLIENT:
        assert complete.cipher_suite.startswith(f"TLS_ECDHE_{authentication}_WITH_")
    else:
        assert complete.cipher_suite == f"TLS_ECDHE_{authentication}_WITH_{suite}"
    assert complete.peer_fingerprint == certified.fingerprint
    assert not [event for event in seen if not isinstance(event, HandshakeComplete)]
    check_keys(complete, role, peer)

    assert peer.received == [b"queued before the keys"]
    peer.connection.send(b"from OpenSSL")
    for datagram in peer.transmits():
        assert connection.receive_datagram(datagram, 1.0)
    connection.send(b"to OpenSSL", 1.0)
    for datagram in transmits(connection):
        peer.receive(datagram)
    assert events(connection) == [ApplicationData(b"from OpenSSL")]
    assert peer.received[-1] == b"to OpenSSL"

    peer.connection.shutdown()
    for datagram in peer.transmits():
        assert connection.receive_datagram(datagram, 2.0)
    assert events(connection) == [PeerClosed()]
    for datagram in transmits(connection):
        peer.receive(datagram)
    assert isinstance(peer.failure, SSL.ZeroReturnError)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("profile", SrtpProfile)
def test_each_srtp_profile(role: Role, profile: SrtpProfile) -> None:
    certified = Certified.of(identity_of("theirs"))
    peer = OpenSslPeer(OTHER[role], make_context(certified, profiles=(profile,)))
    complete = completion(exchange(ours(role, certified.fingerprint), peer))
    assert complete.keys.profile is profile
    check_keys(complete, role, peer)


@pytest.mark.parametrize("role", Role)
def test_a_peer_of_data_channels_alone_may_do_without_srtp(role: Role) -> None:
    certified = Certified.of(identity_of("theirs"))
    peer = OpenSslPeer(OTHER[role], make_context(certified, profiles=()))
    connection = ours(role, certified.fingerprint, srtp_required=False)
    assert completion(exchange(connection, peer)).keys is None
    connection.send(b"to OpenSSL", 1.0)
    for datagram in transmits(connection):
        peer.receive(datagram)
    assert peer.received == [b"to OpenSSL"]


@pytest.mark.parametrize("role", Role)
def test_a_peer_of_audio_may_not(role: Role) -> None:
    certified = Certified.of(identity_of("theirs"))
    peer = OpenSslPeer(OTHER[role], make_context(certified, profiles=()))
    connection = ours(role, certified.fingerprint)
    connection.start(0.0)
    peer.advance()
    seen: list[Event] = []
    for _ in range(6):
        for datagram in transmits(connection):
            peer.receive(datagram)
        for datagram in peer.transmits():
            connection.receive_datagram(datagram, 0.0)
        seen += events(connection)
    assert Dropped(Drop.DTLS_NOT_NEGOTIABLE) in seen
    assert connection.stage is Stage.HANDSHAKING


@pytest.mark.parametrize("role", Role)
def test_where_srtp_is_not_required_it_is_used_with_a_peer_that_does(role: Role) -> None:
    certified = Certified.of(identity_of("theirs"))
    peer = OpenSslPeer(OTHER[role], make_context(certified))
    complete = completion(exchange(ours(role, certified.fingerprint, srtp_required=False), peer))
    check_keys(complete, role, peer)


def test_as_server_our_preference_decides() -> None:
    certified = Certified.of(identity_of("theirs"))
    theirs = (SrtpProfile.AES128_CM_SHA1_80, SrtpProfile.AEAD_AES_256_GCM)
    peer = OpenSslPeer(Role.CLIENT, make_context(certified, profiles=theirs))
    complete = completion(exchange(ours(Role.SERVER, certified.fingerprint), peer))
    assert complete.keys.profile is SrtpProfile.AEAD_AES_256_GCM


@pytest.mark.parametrize("role", Role)
def test_close_notify_of_ours_reaches_openssl(role: Role) -> None:
    certified = Certified.of(identity_of("theirs"))
    peer = OpenSslPeer(OTHER[role], make_context(certified))
    connection = ours(role, certified.fingerprint)
    completion(exchange(connection, peer))
    connection.close(1.0)
    for datagram in transmits(connection):
        peer.receive(datagram)
    assert isinstance(peer.failure, SSL.ZeroReturnError)


def test_renegotiation_is_refused() -> None:
    """DTLS 11. Names ``Drop.DTLS_RENEGOTIATION``."""
    certified = Certified.of(identity_of("theirs"))
    peer = OpenSslPeer(Role.CLIENT, make_context(certified))
    connection = ours(Role.SERVER, certified.fingerprint)
    completion(exchange(connection, peer))
    assert peer.connection.renegotiate()
    peer.done = False
    peer.advance()
    for datagram in peer.transmits():
        assert connection.receive_datagram(datagram, 1.0)
    assert Drop.DTLS_RENEGOTIATION in drops(connection)
    for datagram in transmits(connection):
        peer.receive(datagram)
    assert connection.stage is Stage.ESTABLISHED


def test_key_log_line_is_what_openssl_logs() -> None:
    lines: list[bytes] = []
    certified = Certified.of(identity_of("theirs"))
    context = make_context(certified)
    context.set_keylog_callback(lambda _connection, line: lines.append(line))
    connection = ours(Role.CLIENT, certified.fingerprint)
    completion(exchange(connection, OpenSslPeer(Role.SERVER, context)))
    assert connection.key_log_line is not None
    assert connection.key_log_line.encode() in lines


@pytest.mark.parametrize("mtu", [256, 300, 600])
@pytest.mark.parametrize("role", Role)
def test_small_datagrams_on_both_sides(role: Role, mtu: int) -> None:
    """DTLS 1: fragments of 230 bytes and thereabouts, both ways."""
    certified = rsa_certified()
    peer = OpenSslPeer(OTHER[role], make_context(certified), mtu=mtu)
    connection = ours(role, certified.fingerprint, limits=DtlsLimits(mtu=mtu))
    check_keys(completion(exchange(connection, peer)), role, peer)


def test_openssl_asks_for_a_cookie() -> None:
    """DTLS 2: HelloVerifyRequest is answered."""
    certified = Certified.of(identity_of("theirs"))
    context = make_context(certified)
    context.set_options(SSL.OP_COOKIE_EXCHANGE)
    context.set_cookie_generate_callback(lambda _connection: b"a cookie")
    context.set_cookie_verify_callback(lambda _connection, cookie: cookie == b"a cookie")
    peer = OpenSslPeer(Role.SERVER, context)
    complete = completion(exchange(ours(Role.CLIENT, certified.fingerprint), peer))
    check_keys(complete, Role.CLIENT, peer)


def test_openssl_without_a_certificate_gets_nowhere() -> None:
    certified = Certified.of(identity_of("theirs"))
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_tlsext_use_srtp(b"SRTP_AEAD_AES_128_GCM")
    connection = ours(Role.SERVER, certified.fingerprint)
    peer = OpenSslPeer(Role.CLIENT, context)
    connection.start(0.0)
    peer.advance()
    for _ in range(3):
        for datagram in peer.transmits():
            connection.receive_datagram(datagram, 0.0)
        for datagram in transmits(connection):
            peer.receive(datagram)
    assert Drop.DTLS_FINGERPRINT in drops(connection)
    assert connection.stage is Stage.HANDSHAKING
    assert connection.refusal == "the peer has no certificate"


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("lost", [{2}, {3, 5}, {4, 6}, {1, 8}])
def test_loss(role: Role, lost: set[int]) -> None:
    """DTLS 3 among them: the last flight of either side."""
    certified = Certified.of(identity_of("theirs"))
    peer = OpenSslPeer(OTHER[role], make_context(certified))
    connection = ours(role, certified.fingerprint)
    pattern = iter([index in lost for index in range(20)])
    seen = exchange(connection, peer, lose=pattern, patience=4.0)
    check_keys(completion(seen), role, peer)
    assert peer.done
