"""Messages of our own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies
from stunroute import stun
from stunroute.address import Address

TRANSACTION = bytes(range(12))
KEY = stun.IntegrityKey(b"the password of a session")


def request(method: int = 1, **options: bool) -> stun.Message:
    return stun.decode_untrusted(
        stun.build(
            method,
            stun.MessageClass.REQUEST,
            TRANSACTION,
            [(stun.Attribute.USERNAME, b"ab:cd")],
            integrity=KEY,
            **options,
        )
    )


@given(strategies.stun_checks(), strategies.addresses)
def test_success_is_what_build_says(check: tuple[bytes, bytes], mapped: Address) -> None:
    asked = stun.decode_untrusted(check[0])
    key = stun.IntegrityKey(check[1])
    data = stun.binding_success(asked, mapped, key)
    value = stun.encode_xor_address(mapped, asked.transaction_id)
    assert data == stun.build(
        stun.Method.BINDING,
        stun.MessageClass.SUCCESS,
        asked.transaction_id,
        [(stun.Attribute.XOR_MAPPED_ADDRESS, value)],
        integrity=key,
    )
    answer = stun.decode_untrusted(data)
    assert answer.xor_mapped_address == mapped
    assert answer.verify_integrity(key)
    assert answer.fingerprint_ok


@pytest.mark.parametrize("address", ["192.0.2.1:5", "[2001:db8::1]:5"])
def test_answers_bear_the_integrity_of_the_request(address: str) -> None:
    # RFC 8489, 9.1.3
    mapped = Address.parse(address)
    success = stun.decode_untrusted(stun.binding_success(request(sha256=True), mapped, KEY))
    assert success.integrity_is_sha256
    assert success.verify_integrity(KEY)
    assert success.xor_mapped_address == mapped
    error = stun.decode_untrusted(stun.binding_error(request(sha256=True), 487, key=KEY))
    assert error.integrity_is_sha256
    assert error.verify_integrity(KEY)


@pytest.mark.parametrize("length", range(8))
def test_padding_is_written_as_zeros(length: int) -> None:
    """RFC 8489, 14: up to a multiple of four, and counted in no attribute's length."""
    value = b"x" * length
    data = stun.build(
        1, stun.MessageClass.SUCCESS, TRANSACTION, [(0x8022, value)], fingerprint=False
    )
    assert data[20:] == b"\x80\x22\x00" + bytes((length,)) + value + bytes(-length % 4)


def test_error_with_unknown_attributes() -> None:
    data = stun.binding_error(
        request(),
        stun.ErrorCode.UNKNOWN_ATTRIBUTE,
        key=KEY,
        attributes=[
            (stun.Attribute.UNKNOWN_ATTRIBUTES, stun.encode_unknown_attributes((0x4000, 0x0003)))
        ],
    )
    answer = stun.decode_untrusted(data)
    assert answer.message_class is stun.MessageClass.ERROR
    assert answer.transaction_id == TRANSACTION
    assert answer.error_code == (420, "Unknown Attribute")
    assert answer.unknown_attributes == (0x4000, 0x0003)
    assert answer.verify_integrity(KEY)


def test_error_to_a_stranger_is_not_signed() -> None:
    answer = stun.decode_untrusted(stun.binding_error(request(), 401, "Who?"))
    assert answer.error_code == (401, "Who?")
    assert not answer.has_integrity
    assert answer.fingerprint_ok


def test_error_keeps_the_method() -> None:
    assert stun.decode_untrusted(stun.binding_error(request(3), 400)).method == 3


def test_request_says_all_of_a_check() -> None:
    data = stun.binding_request(
        TRANSACTION,
        b"ab:cd",
        1845501695,
        KEY,
        controlled=2**64 - 1,
        use_candidate=True,
        attributes=[(stun.Attribute.SOFTWARE, b"x")],
    )
    check = stun.decode_untrusted(data)
    assert check.username == b"ab:cd"
    assert check.priority == 1845501695
    assert check.ice_controlled == 2**64 - 1
    assert check.ice_controlling is None
    assert check.use_candidate
    assert check.software == "x"
    assert check.verify_integrity(KEY)
    assert check.fingerprint_ok


@given(st.binary(max_size=30).filter(lambda value: len(value) != 12))
def test_transaction_id_has_twelve_bytes(transaction_id: bytes) -> None:
    with pytest.raises(ValueError, match="12 bytes"):
        stun.build(1, stun.MessageClass.REQUEST, transaction_id)


def test_largest_message() -> None:
    room = 65535 - 44 - 24 - 4 - 20 - 3
    data = stun.build(
        1, stun.MessageClass.REQUEST, TRANSACTION, [(0x8022, bytes(room))], integrity=KEY
    )
    assert stun.decode_untrusted(data).verify_integrity(KEY)


@pytest.mark.parametrize(
    "attribute", [(0x8022, bytes(65500)), (0x8022, bytes(70000)), (-1, b""), (0x10000, b"")]
)
def test_what_does_not_fit(attribute: tuple[int, bytes]) -> None:
    with pytest.raises(ValueError):
        stun.build(1, stun.MessageClass.REQUEST, TRANSACTION, [attribute])


def test_attributes_that_do_not_fit_together() -> None:
    with pytest.raises(ValueError, match="65535"):
        stun.build(1, stun.MessageClass.REQUEST, TRANSACTION, [(0x8022, bytes(40000))] * 2)
