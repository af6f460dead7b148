"""aioice's STUN as an independent reader and writer: its bytes read here, ours read there."""

from typing import Any

import pytest
from aioice import stun as aioice
from hypothesis import given
from hypothesis import strategies as st

import strategies
from corpus import corpus_path
from stunroute import stun
from stunroute.address import Address

PASSWORD = b"the password of a session"
KEY = stun.IntegrityKey(PASSWORD)


def read_by_aioice(data: bytes, password: bytes) -> Any:
    """aioice's message, its integrity checked the way the installed version does it."""
    if not hasattr(aioice.Message, "check_message_integrity"):
        return aioice.parse_message(data, integrity_key=password)
    message = aioice.parse_message(data)
    assert message.check_message_integrity(password)
    return message


@given(strategies.stun_checks())
def test_our_checks_read_there(check: tuple[bytes, bytes]) -> None:
    data, password = check
    ours = stun.decode_untrusted(data)
    theirs = read_by_aioice(data, password)
    assert theirs.message_method == ours.method
    assert theirs.transaction_id == ours.transaction_id
    read = theirs.attributes
    assert read["USERNAME"].encode() == ours.username
    assert read["PRIORITY"] == ours.priority
    assert read.get("ICE-CONTROLLING") == ours.ice_controlling
    assert read.get("ICE-CONTROLLED") == ours.ice_controlled
    assert ("USE-CANDIDATE" in read) is ours.use_candidate
    # aioice writes attributes in the order it read them: the same bytes come back.
    assert bytes(theirs) == data


def same_address(pair: tuple[str, int], address: Address | None) -> bool:
    return Address.of(*pair) == address


@given(strategies.addresses)
def test_our_answers_read_there(mapped: Address) -> None:
    request = stun.decode_untrusted(
        stun.binding_request(bytes(12), b"ab:cd", 1, KEY, controlling=1)
    )
    theirs = read_by_aioice(stun.binding_success(request, mapped, KEY), PASSWORD)
    assert theirs.message_class == aioice.Class.RESPONSE
    assert same_address(theirs.attributes["XOR-MAPPED-ADDRESS"], mapped)


@given(st.integers(300, 699), st.text(min_size=1, max_size=127))
def test_our_errors_read_there(code: int, reason: str) -> None:
    request = stun.decode_untrusted(stun.binding_request(bytes(12), b"ab:cd", 1, KEY))
    theirs = read_by_aioice(stun.binding_error(request, code, reason, KEY), PASSWORD)
    assert theirs.message_class == aioice.Class.ERROR
    assert theirs.attributes["ERROR-CODE"] == (code, reason)


@given(
    strategies.stun_transaction_ids.filter(any),
    strategies.addresses,
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
    st.text(max_size=127),
    strategies.stun_passwords,
)
def test_their_messages_read_here(
    transaction_id: bytes,
    address: Address,
    priority: int,
    tie_breaker: int,
    software: str,
    password: bytes,
) -> None:
    theirs = aioice.Message(
        message_method=aioice.Method.BINDING,
        message_class=aioice.Class.RESPONSE,
        transaction_id=transaction_id,
        attributes={
            "XOR-MAPPED-ADDRESS": (address.ip, address.port),
            "MAPPED-ADDRESS": (address.ip, address.port),
            "PRIORITY": priority,
            "ICE-CONTROLLED": tie_breaker,
            "USE-CANDIDATE": None,
            "SOFTWARE": software,
            "ERROR-CODE": (487, "Role Conflict"),
        },
    )
    theirs.add_message_integrity(password)
    ours = stun.decode_untrusted(bytes(theirs))
    assert ours.message_class is stun.MessageClass.SUCCESS
    assert ours.transaction_id == transaction_id
    assert ours.xor_mapped_address == address
    assert ours.mapped_address == address
    assert ours.priority == priority
    assert ours.ice_controlled == tie_breaker
    assert ours.use_candidate
    assert ours.software == software
    assert ours.error_code == (487, "Role Conflict")
    assert ours.verify_integrity(stun.IntegrityKey(password))
    assert ours.fingerprint_ok is True


@pytest.mark.corpus
def test_their_own_test_messages() -> None:
    directory = corpus_path("fuzz", "aioice-bins")
    for path in sorted(directory.glob("*.bin")):
        data = path.read_bytes()
        ours = stun.decode_untrusted(data)
        theirs = aioice.parse_message(data)
        assert ours.transaction_id == theirs.transaction_id
        names = [stun.attribute_name(type) for type, _ in ours.attributes]
        assert [name for name in names if name in aioice.ATTRIBUTES_BY_NAME] == [*theirs.attributes]
        if "XOR-MAPPED-ADDRESS" in theirs.attributes:
            assert same_address(theirs.attributes["XOR-MAPPED-ADDRESS"], ours.xor_mapped_address)
