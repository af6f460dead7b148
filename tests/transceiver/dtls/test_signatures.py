import contextlib
import json
import warnings
from collections.abc import Iterator
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from hypothesis import given
from hypothesis import strategies as st

from corpus import corpus_path
from dtls_pair import NOT_BEFORE, identity_of
from stunroute.errors import DecodeError
from transceiver.dtls.signatures import ECDSA_SHA256, SCHEMES, public_key_untrusted, verifies

DATA = b"what is signed"


def certificate(key: object) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "peer")])
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())  # type: ignore[attr-defined]
        .serial_number(7)
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_BEFORE + timedelta(days=1))
        .sign(key, digest)  # type: ignore[arg-type]
        .public_bytes(Encoding.DER)
    )


def test_keys_that_are_accepted_and_that_are_not() -> None:
    p256, long = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)
    assert public_key_untrusted(certificate(p256)) == p256.public_key()
    assert public_key_untrusted(certificate(long)) == long.public_key()
    for key in (
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 1024),
        ed25519.Ed25519PrivateKey.generate(),
        dsa.generate_private_key(2048),
    ):
        with pytest.raises(DecodeError):
            public_key_untrusted(certificate(key))


@pytest.fixture
def strict() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def refused_or_read(der: bytes) -> None:
    with contextlib.suppress(DecodeError):
        public_key_untrusted(der)


def test_a_certificate_with_any_byte_changed_raises_nothing_else(strict: None) -> None:
    """Every place with every value: a version that X.509 does not have was found by chance."""
    good = identity_of("a").certificate_der
    for place in range(len(good)):
        for value in range(256):
            refused_or_read(good[:place] + bytes([value]) + good[place + 1 :])


def test_a_certificate_cut_anywhere_raises_nothing_else(strict: None) -> None:
    good = identity_of("a").certificate_der
    for length in range(len(good)):
        refused_or_read(good[:length])


@given(data=st.binary(max_size=100))
def test_no_certificate_at_all_raises_nothing_else(data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refused_or_read(data)


def test_every_rsa_scheme() -> None:
    """As peers with RSA certificates sign: PKCS #1 and PSS, with each hash."""
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key()
    for code, digest in ((4, hashes.SHA256()), (5, hashes.SHA384()), (6, hashes.SHA512())):
        pkcs1 = key.sign(DATA, padding.PKCS1v15(), digest)
        pss = key.sign(DATA, padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH), digest)
        assert verifies(public, code << 8 | 1, pkcs1, DATA)
        assert verifies(public, 0x0800 | code, pss, DATA)
        assert not verifies(public, code << 8 | 1, pss, DATA)
        assert not verifies(public, 0x0800 | code, pkcs1, DATA)
        assert not verifies(public, code << 8 | 1, pkcs1, DATA + b"!")
        assert not verifies(public, code << 8 | 3, pkcs1, DATA), "not a scheme of RSA"


def test_ecdsa_schemes_and_weak_ones() -> None:
    identity = identity_of("a")
    public = identity.private_key.public_key()
    signature = identity.sign(DATA)
    assert verifies(public, ECDSA_SHA256, signature, DATA)
    for scheme in range(65536):
        if scheme not in SCHEMES:
            assert not verifies(public, scheme, signature, DATA)
    for scheme in SCHEMES[1:]:
        assert not verifies(public, scheme, signature, DATA)
    for wrong in (b"", signature[:-1], bytes(70), signature + b"\x00"):
        assert not verifies(public, ECDSA_SHA256, wrong, DATA)


def test_ecdsa_vectors() -> None:
    path = corpus_path("wycheproof", "testvectors_v1", "ecdsa_secp256r1_sha256_test.json")
    count = 0
    for group in json.loads(path.read_text())["testGroups"]:
        key = load_der_public_key(bytes.fromhex(group["publicKeyDer"]))
        assert isinstance(key, ec.EllipticCurvePublicKey)
        for test in group["tests"]:
            valid = verifies(
                key, ECDSA_SHA256, bytes.fromhex(test["sig"]), bytes.fromhex(test["msg"])
            )
            assert valid is (test["result"] == "valid"), test
            count += 1
    assert count > 300
