"""A draft says what it is told, and nothing is wrong with it but that."""

import pytest

from conformance.client import seeded
from conformance.probe.stun import Bare, check
from conformance.probe.stun_draft import TIE_BREAKER, Draft, draft
from conformance.stage import Stage
from stunroute import stun
from stunroute.address import Address
from stunroute.errors import DecodeError

PASSWORD = b"a password of some length"
KEY = stun.IntegrityKey(PASSWORD)


def asker(seed: str = "draft", *, known: bool = True) -> Bare:
    address = Address.of("192.0.2.1", 3478)
    stage = Stage(wire=None, entropy=seeded(seed))  # type: ignore[arg-type]
    ufrag, password = ("ours", PASSWORD.decode()) if known else (None, None)
    return Bare(stage, address, address, ufrag, password)


@pytest.mark.parametrize("known", [True, False])
def test_an_honest_draft_is_a_good_check(known: bool) -> None:
    one, other = asker(known=known), asker(known=known)
    assert draft(one).seal(one) == check(other, controlling=TIE_BREAKER)


def test_integrities_and_fingerprint_verify() -> None:
    begun = Draft(bytes(12)).add(stun.Attribute.USERNAME, b"a:b")
    message = stun.decode_untrusted(begun.sign(PASSWORD).sign_sha256(PASSWORD).close().message())
    assert message.verify_integrity(KEY)
    assert message.integrity_is_sha256
    assert message.fingerprint_ok


@pytest.mark.parametrize("kind", ["sign", "sign_sha256"])
def test_a_flipped_integrity_is_wrong_in_one_bit(kind: str) -> None:
    right = getattr(Draft(bytes(12)), kind)(PASSWORD).message()
    wrong = getattr(Draft(bytes(12)), kind)(PASSWORD, flipped=True).message()
    assert right[:-1] == wrong[:-1]
    assert right[-1] ^ wrong[-1] == 1
    assert not stun.decode_untrusted(wrong).verify_integrity(KEY)


@pytest.mark.parametrize("size", [4, 12, 16, 30])
def test_a_cut_sha256_is_the_beginning_of_the_right_one_for_its_length(size: int) -> None:
    message = stun.decode_untrusted(Draft(bytes(12)).sign_sha256(PASSWORD, size=size).message())
    value = message.value(stun.Attribute.MESSAGE_INTEGRITY_SHA256)
    assert value is not None
    assert len(value) == size
    allowed = message.verify_integrity(KEY, sha256_minimum=16)
    assert allowed is (size == 16), "a usage that allows sixteen octets finds it right"
    assert not message.verify_integrity(KEY)


def test_a_sha1_of_another_length_is_cut_or_filled() -> None:
    long = Draft(bytes(12)).sign(PASSWORD, size=24).message()
    assert long.endswith(bytes(4))
    assert len(Draft(bytes(12)).sign(PASSWORD, size=0).message()) == stun.HEADER_LENGTH + 4


def test_lengths_lie_when_told_to() -> None:
    begun = Draft(bytes(12)).add(0xBFFF, b"what", length=400)
    with pytest.raises(DecodeError, match="past the end"):
        stun.decode_untrusted(begun.message())
    with pytest.raises(DecodeError, match="length field"):
        stun.decode_untrusted(Draft(bytes(12)).message(length=4))


def test_padding_is_what_it_is_told_to_be() -> None:
    assert Draft(bytes(12)).add(0x8022, b"pytho", padding=0xFF).body.endswith(b"pytho\xff\xff\xff")


def test_a_flipped_fingerprint_is_wrong() -> None:
    assert stun.decode_untrusted(Draft(bytes(12)).close(flipped=True).message()).fingerprint_ok is (
        False
    )


def test_first_stands_before_all_others() -> None:
    begun = draft(asker(), first=(stun.Attribute.USERNAME, b"nobody:else"))
    message = stun.decode_untrusted(begun.message())
    assert [value for kind, value in message.attributes if kind == stun.Attribute.USERNAME] == [
        b"nobody:else",
        b"ours:probe",
    ]
