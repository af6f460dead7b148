"""Keys, hashes, checksum."""

import hashlib
import hmac

from hypothesis import example, given
from hypothesis import strategies as st

import strategies
from stunroute import stun


@given(strategies.stun_passwords, st.binary(max_size=200))
@example(bytes(64), b"")
@example(bytes(65), b"")
def test_prekeyed_hmac_is_hmac(password: bytes, data: bytes) -> None:
    key = stun.IntegrityKey(password)
    for _ in range(2):  # a second use must not see what the first hashed
        assert key.sha1(data) == hmac.digest(password, data, "sha1")
        assert key.sha256(data) == hmac.digest(password, data, "sha256")


def test_a_key_does_not_show_its_password() -> None:
    assert "sesame" not in repr(stun.IntegrityKey(b"sesame"))


def test_long_term_keys() -> None:
    # RFC 8489, 18.5.1
    parts = (b"user", b"realm", b"pass")
    joined = b"user:realm:pass"
    assert stun.long_term_key(*parts) == hashlib.md5(joined).digest()
    sha256 = stun.long_term_key(*parts, stun.PasswordAlgorithm.SHA_256)
    assert sha256 == hashlib.sha256(joined).digest()


def test_checksum_is_masked() -> None:
    # CRC-32 of "123456789" is 0xCBF43926 in every catalogue of CRCs.
    assert stun.checksum(b"123456789") == 0xCBF43926 ^ 0x5354554E
