"""The test vectors of RFC 5769 and RFC 8489, B.1, typed in again so that every clone has them."""

import json

import pytest

from corpus import corpus_path
from stunroute import stun
from stunroute.address import Address
from stunroute.errors import DecodeError

TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
KEY = stun.IntegrityKey(PASSWORD)

REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae"
    "802200105354554e207465737420636c69656e74"
    "002400046e0001ff80290008932ff9b151263b36"
    "000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
    "80280004e57a3bcf"
)
IPV4_RESPONSE = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
    "80280004c07d4c96"
)
IPV6_RESPONSE = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014a382954e4be67bf11784c97c8292c275bfe3ed41"
    "80280004c8fb0b4c"
)
LONG_TERM_REQUEST = bytes.fromhex(
    "000100602112a44278ad3433c6ad72c029da412e"
    "00060012e3839ee38388e383aae38383e382afe382b90000"
    "0015001c662f2f3439396b39353464364f4c33346f4c394653547679363473410"
    "014000b6578616d706c652e6f726700"
    "00080014f67024656dd64a3e02b8e0712e85c9a28ca89666"
)
# RFC 8489, B.1. The RFC prints 0x9c for the length, which counts the header.
B1_AS_PRINTED = bytes.fromhex(
    "0001009c2112a44278ad3433c6ad72c029da412e"
    "001e00204a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704"
    "001500296f624d61744a6f733241414143662f2f3439396b39353464364f4c33346f4c39"
    "4653547679363473410000000014000b6578616d706c652e6f726700"
    "001c0020e4686c8f0edeb59013e07090010a93efccbccc544c0a45d9f830aa6d6f735a01"
)
B1_REPAIRED = B1_AS_PRINTED[:3] + b"\x88" + B1_AS_PRINTED[4:]

USERNAME = "マトリックス".encode()
REALM = b"example.org"
LONG_TERM_PASSWORD = b"TheMatrIX"  # after OpaqueString


def test_sample_request() -> None:
    """RFC 5769, 2.1. Its USERNAME is padded with spaces."""
    message = stun.decode_untrusted(REQUEST)
    assert message.method == stun.Method.BINDING
    assert message.message_class is stun.MessageClass.REQUEST
    assert message.transaction_id == TRANSACTION
    assert message.software == "STUN test client"
    assert message.priority == 0x6E0001FF
    assert message.ice_controlled == 0x932FF9B151263B36
    assert message.username == b"evtj:h6vY"
    assert stun.peek_username_untrusted(REQUEST) == b"evtj:h6vY"
    assert message.verify_integrity(KEY)
    assert message.fingerprint_ok is True


@pytest.mark.parametrize(
    ("data", "address"),
    [
        (IPV4_RESPONSE, "192.0.2.1:32853"),
        (IPV6_RESPONSE, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
    ],
)
def test_sample_responses(data: bytes, address: str) -> None:
    """RFC 5769, 2.2 and 2.3."""
    message = stun.decode_untrusted(data)
    assert message.message_class is stun.MessageClass.SUCCESS
    assert message.software == "test vector"
    assert message.xor_mapped_address == Address.parse(address)
    assert message.verify_integrity(KEY)
    assert message.fingerprint_ok is True
    value = stun.encode_xor_address(Address.parse(address), TRANSACTION)
    assert message.value(stun.Attribute.XOR_MAPPED_ADDRESS) == value


def test_sample_request_with_long_term_credentials() -> None:
    """RFC 5769, 2.4."""
    message = stun.decode_untrusted(LONG_TERM_REQUEST)
    assert message.username == USERNAME
    assert message.realm == "example.org"
    assert message.nonce == b"f//499k954d6OL34oL9FSTvy64sA"
    key = stun.long_term_key(USERNAME, REALM, LONG_TERM_PASSWORD)
    assert message.verify_integrity(stun.IntegrityKey(key))
    assert message.fingerprint_ok is None
    assert (
        stun.build(
            stun.Method.BINDING,
            stun.MessageClass.REQUEST,
            message.transaction_id,
            [
                (stun.Attribute.USERNAME, USERNAME),
                (stun.Attribute.NONCE, b"f//499k954d6OL34oL9FSTvy64sA"),
                (stun.Attribute.REALM, REALM),
            ],
            integrity=stun.IntegrityKey(key),
            fingerprint=False,
        )
        == LONG_TERM_REQUEST
    )


def test_b1_as_printed_is_malformed() -> None:
    with pytest.raises(DecodeError, match="length field"):
        stun.decode_untrusted(B1_AS_PRINTED)


def test_b1_repaired() -> None:
    """With the length it should have, the structure is sound, and USERHASH is as computed. Its
    hash was made under the printed length, so it verifies under neither."""
    message = stun.decode_untrusted(B1_REPAIRED)
    assert message.userhash == stun.userhash(USERNAME, REALM)
    assert message.realm == "example.org"
    assert message.nonce == b"obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA"
    assert message.integrity_is_sha256
    sha256 = stun.PasswordAlgorithm.SHA_256
    key = stun.IntegrityKey(stun.long_term_key(USERNAME, REALM, LONG_TERM_PASSWORD, sha256))
    assert not message.verify_integrity(key)
    assert key.sha256(B1_AS_PRINTED[:-36]) == B1_AS_PRINTED[-32:]
    attributes = message.attributes[:-1]
    ours = stun.decode_untrusted(
        stun.build(
            stun.Method.BINDING,
            stun.MessageClass.REQUEST,
            message.transaction_id,
            attributes,
            integrity=key,
            sha256=True,
            fingerprint=False,
        )
    )
    assert len(ours.raw) == len(B1_REPAIRED)
    assert ours.verify_integrity(key)


@pytest.mark.corpus
def test_vectors_are_those_of_the_corpus() -> None:
    samples = json.loads(corpus_path("vectors", "rfc5769.json").read_text())
    ours = [REQUEST, IPV4_RESPONSE, IPV6_RESPONSE, LONG_TERM_REQUEST]
    assert [bytes.fromhex(sample["hex"]) for sample in samples] == ours
    b1 = json.loads(corpus_path("vectors", "rfc8489_b1.json").read_text())
    assert bytes.fromhex(b1["hex"]) == B1_AS_PRINTED
    assert bytes.fromhex(b1["correct_length_field"]) == B1_REPAIRED[2:4]
