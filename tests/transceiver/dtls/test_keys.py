import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus import corpus_path
from dtls_pair import entropy_of
from stunroute.errors import DecodeError
from transceiver.dtls.keys import (
    Prf,
    Secrets,
    X25519Exchange,
    new_exchange,
    protection,
)
from transceiver.dtls.parameters import SUITES, CipherSuite, Group
from transceiver.keying import SrtpProfile

RANDOMS = (bytes(32), bytes([1]) * 32)


@given(secret=st.binary(max_size=200), data=st.binary(max_size=200))
def test_hmac_is_hmac(secret: bytes, data: bytes) -> None:
    for name in ("sha256", "sha384"):
        keyed = Prf(getattr(hashlib, name), secret)
        assert keyed.hmac(data) == keyed.hmac(data) == hmac.digest(secret, data, name)


def test_prf_published_vector() -> None:
    """The TLS 1.2 PRF with SHA-256, as published on the TLS mailing list."""
    secret = bytes.fromhex("9bbe436ba940f017b17652849a71db35")
    seed = bytes.fromhex("a0ba9f936cda311827a6f796ffd5198c")
    output = bytes.fromhex(
        "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a"
        "6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab"
        "4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701"
        "87347b66"
    )
    assert Prf(hashlib.sha256, secret).expand(b"test label", seed, 100) == output


@pytest.mark.parametrize("group", Group)
def test_both_halves_agree(group: Group) -> None:
    one, two = new_exchange(group, entropy_of("one")), new_exchange(group, entropy_of("two"))
    assert one.group is group
    assert one.shared_untrusted(two.public) == two.shared_untrusted(one.public)
    assert new_exchange(group, entropy_of("one")).public == one.public != two.public


@pytest.mark.parametrize("group", Group)
@given(public=st.binary(max_size=70))
def test_any_public_value_is_used_or_refused(group: Group, public: bytes) -> None:
    try:
        shared = new_exchange(group, entropy_of("one")).shared_untrusted(public)
    except DecodeError:
        return
    assert len(shared) == 32


def test_values_that_would_make_the_secret_known() -> None:
    exchange = X25519Exchange.generate(entropy_of("one"))
    for public in (bytes(32), bytes([1]) + bytes(31)):
        with pytest.raises(DecodeError):
            exchange.shared_untrusted(public)
    p256 = new_exchange(Group.SECP256R1, entropy_of("one"))
    for public in (b"\x00", b"\x04" + bytes(64), p256.public[:-1], b"\x02" + p256.public[1:33]):
        with pytest.raises(DecodeError):
            p256.shared_untrusted(public)


def test_x25519_vectors() -> None:
    path = corpus_path("wycheproof", "testvectors_v1", "x25519_test.json")
    count = 0
    for group in json.loads(path.read_text())["testGroups"]:
        for test in group["tests"]:
            exchange = X25519Exchange.generate(lambda _, t=test: bytes.fromhex(t["private"]))
            shared = bytes.fromhex(test["shared"])
            if any(shared):
                assert exchange.shared_untrusted(bytes.fromhex(test["public"])) == shared
            else:
                with pytest.raises(DecodeError):
                    exchange.shared_untrusted(bytes.fromhex(test["public"]))
            count += 1
    assert count > 100


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
@given(
    number=st.integers(0, (1 << 64) - 1),
    plaintext=st.binary(max_size=100),
    content_type=st.integers(0, 255),
)
def test_sealed_opens_and_nothing_else_does(
    suite: CipherSuite, number: int, plaintext: bytes, content_type: int
) -> None:
    key, nonce = bytes(range(suite.key_length)), bytes(range(suite.fixed_nonce))
    cipher = protection(suite, key, nonce)
    sealed = cipher.seal(content_type, number, plaintext)
    assert len(sealed) == len(plaintext) + cipher.overhead
    assert cipher.open_untrusted(content_type, number, sealed) == plaintext
    assert cipher.seal(content_type, number, plaintext) == sealed, "nothing is random"
    for wrong in (
        lambda: cipher.open_untrusted(content_type ^ 1, number, sealed),
        lambda: cipher.open_untrusted(content_type, number ^ 1, sealed),
        lambda: cipher.open_untrusted(content_type, number, sealed[:-1]),
        lambda: cipher.open_untrusted(content_type, number, sealed[:-1] + bytes([sealed[-1] ^ 1])),
        lambda: cipher.open_untrusted(content_type, number, sealed[: cipher.overhead - 1]),
        lambda: cipher.open_untrusted(content_type, number, b""),
        lambda: cipher.open_untrusted(content_type, number, bytes((1 << 14) + 30)),
    ):
        with pytest.raises(DecodeError):
            wrong()


def test_gcm_nonces_are_epoch_and_sequence_number() -> None:
    """DTLS 8: never random."""
    cipher = protection(SUITES[0], bytes(16), bytes(4))
    for number in (0, 1 << 48, 1 << 48 | 77):
        assert cipher.seal(23, number, b"x")[:8] == number.to_bytes(8)


@pytest.mark.parametrize("profile", SrtpProfile)
def test_srtp_keys_are_seen_from_each_side(profile: SrtpProfile) -> None:
    secrets = Secrets(SUITES[0], bytes(48), *RANDOMS)
    client = secrets.srtp_keys(profile, client=True)
    server = secrets.srtp_keys(profile, client=False)
    assert (client.local, client.remote) == (server.remote, server.local)
    assert client.local != client.remote
    assert len(client.local) == profile.key_length + profile.salt_length
    assert "local" not in repr(client)


def test_key_log_line() -> None:
    secrets = Secrets(SUITES[0], bytes([7]) * 48, *RANDOMS)
    assert secrets.key_log_line == f"CLIENT_RANDOM {'00' * 32} {'07' * 48}"
    assert "07" * 8 not in repr(secrets)
