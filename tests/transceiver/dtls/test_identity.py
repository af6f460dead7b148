import contextlib
import hashlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from dtls_pair import NOT_BEFORE, entropy_of, identity_of
from stunroute.errors import DecodeError
from transceiver.dtls.identity import DIGESTS, Fingerprint, Identity, find_fingerprint


def test_same_entropy_same_certificate() -> None:
    first = Identity.generate(entropy_of("a"), not_before=NOT_BEFORE)
    second = Identity.generate(entropy_of("a"), not_before=NOT_BEFORE)
    other = Identity.generate(entropy_of("b"), not_before=NOT_BEFORE)
    assert first.certificate_der == second.certificate_der
    assert first.sign(b"data") == second.sign(b"data")
    assert first.certificate_der != other.certificate_der


def test_the_certificate_says_nothing() -> None:
    zone = timezone(timedelta(hours=2))
    identity = Identity.generate(
        entropy_of("a"),
        not_before=datetime(2026, 5, 1, 2, tzinfo=zone),
        not_after=datetime(2026, 5, 3),
    )
    certificate = x509.load_der_x509_certificate(identity.certificate_der)
    assert certificate.subject.rfc4514_string() == "CN=stunroute"
    assert certificate.issuer == certificate.subject
    assert certificate.not_valid_before_utc == datetime(2026, 5, 1, tzinfo=UTC)
    assert certificate.not_valid_after_utc == datetime(2026, 5, 3, tzinfo=UTC)
    assert 0 < certificate.serial_number < 1 << 127
    assert len(list(certificate.extensions)) == 0
    certificate.verify_directly_issued_by(certificate)
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(identity.sign(b"data"), b"data", ec.ECDSA(SHA256()))
    assert identity.certificate_list.endswith(identity.certificate_der)
    assert "private" not in repr(identity)


def test_thirty_days_by_default() -> None:
    certificate = x509.load_der_x509_certificate(identity_of("a").certificate_der)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == timedelta(days=30)


def test_pem() -> None:
    identity = identity_of("a")
    again = Identity.from_pem(identity.to_pem())
    assert again.certificate_der == identity.certificate_der
    assert again.fingerprint == identity.fingerprint
    assert again.sign(b"x") == identity.sign(b"x")


def test_pem_that_does_not_fit_together() -> None:
    ours, theirs = identity_of("a").to_pem(), identity_of("b").to_pem()
    mark = "-----BEGIN CERTIFICATE-----"
    with pytest.raises(ValueError, match="another key"):
        Identity.from_pem(ours.split(mark)[0] + mark + theirs.split(mark)[1])
    with pytest.raises(ValueError):
        Identity.from_pem("nothing")
    p384 = ec.generate_private_key(ec.SECP384R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    with pytest.raises(ValueError, match="P-256"):
        Identity.from_pem(p384.decode() + mark + ours.split(mark)[1])


@given(algorithm=st.sampled_from(sorted(DIGESTS)), data=st.binary())
def test_fingerprints_round_trip(algorithm: str, data: bytes) -> None:
    fingerprint = Fingerprint.of(data, algorithm)
    assert fingerprint.supported
    assert Fingerprint.parse_untrusted(str(fingerprint)) == fingerprint
    assert fingerprint.digest == hashlib.new(algorithm.replace("-", ""), data).digest()


def test_fingerprints_as_clients_write_them() -> None:
    """DTLS 12: capitals in the name, small letters in the digits, other hash functions."""
    digest = bytes(range(32))
    for text in (
        "sha-256 " + digest.hex(":").upper(),
        "SHA-256 " + digest.hex(":"),
        " Sha-256  " + digest.hex(":").upper() + " ",
    ):
        assert Fingerprint.parse_untrusted(text) == Fingerprint("sha-256", digest)
    old = Fingerprint.parse_untrusted("sha-1 " + bytes(20).hex(":"))
    assert not old.supported
    for wrong in (
        "",
        "sha-256",
        "sha-256 AA",
        "sha-256 " + digest.hex(),
        "sha-256 " + digest.hex(":") + ":",
        "sha-256 " + "+1:" * 31 + "+1",
        "sha-256 " + digest.hex(":").replace("0", "g", 1),
        "sha-384 " + digest.hex(":"),
    ):
        with pytest.raises(DecodeError):
            Fingerprint.parse_untrusted(wrong)


@given(st.text(max_size=60))
def test_any_text_parses_or_raises_decode_error(text: str) -> None:
    with contextlib.suppress(DecodeError):
        Fingerprint.parse_untrusted(text)


def test_which_fingerprint_decides() -> None:
    """DTLS 12: several lines. Those of the strongest hash decide, any of them will do."""
    certificate = b"not even a certificate"
    right = {name: Fingerprint.of(certificate, name) for name in DIGESTS}
    wrong = {name: Fingerprint.of(b"other", name) for name in DIGESTS}
    for name in DIGESTS:
        assert find_fingerprint(certificate, [right[name]]) == right[name]
        assert find_fingerprint(certificate, [wrong[name], right[name]]) == right[name]
        assert find_fingerprint(certificate, [wrong[name]]) is None
    assert find_fingerprint(certificate, [right["sha-256"], wrong["sha-512"]]) is None
    assert find_fingerprint(certificate, [wrong["sha-256"], right["sha-512"]]) is not None
    assert find_fingerprint(certificate, [Fingerprint("sha-1", bytes(20))]) is None
    assert find_fingerprint(certificate, []) is None
