"""Reading messages: structure, order, integrity, and what hostile ones get."""

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from stun_reader import GETTERS, KEY, read_everything
from stunroute import stun
from stunroute.address import Address
from stunroute.errors import DecodeError
from stunroute.stun import message as module
from stunroute.stun.header import MAXIMUM_ATTRIBUTES

TRANSACTION = bytes(range(12))
ADDRESS = Address.of("192.0.2.1", 32853)


def message(*attributes: tuple[int, bytes], **options: Any) -> bytes:
    return stun.build(1, stun.MessageClass.REQUEST, TRANSACTION, attributes, **options)


# Round trips


@given(
    strategies.stun_methods,
    strategies.stun_classes,
    strategies.stun_transaction_ids,
    strategies.stun_attribute_lists,
)
def test_round_trip(
    method: int,
    message_class: stun.MessageClass,
    transaction_id: bytes,
    attributes: list[tuple[int, bytes]],
) -> None:
    data = stun.build(method, message_class, transaction_id, attributes, fingerprint=False)
    decoded = stun.decode_untrusted(data)
    assert decoded.raw == data
    assert decoded.method == method
    assert decoded.message_class is message_class
    assert decoded.transaction_id == transaction_id
    assert decoded.attributes == tuple(attributes)
    assert not decoded.has_integrity
    assert not decoded.verify_integrity(KEY)
    assert decoded.fingerprint_ok is None


@given(strategies.stun_attribute_lists, strategies.stun_passwords, st.booleans())
def test_signed_round_trip(
    attributes: list[tuple[int, bytes]], password: bytes, sha256: bool
) -> None:
    key = stun.IntegrityKey(password)
    decoded = stun.decode_untrusted(message(*attributes, integrity=key, sha256=sha256))
    assert decoded.attributes[: len(attributes)] == tuple(attributes)
    assert decoded.has_integrity
    assert decoded.integrity_is_sha256 is sha256
    assert decoded.verify_integrity(key)
    assert not decoded.verify_integrity(stun.IntegrityKey(password + b"x"))
    assert decoded.fingerprint_ok is True


def test_every_getter() -> None:
    values = {
        "username": (stun.Attribute.USERNAME, b"ab:cd", b"ab:cd"),
        "priority": (stun.Attribute.PRIORITY, stun.encode_uint32(7), 7),
        "use_candidate": (stun.Attribute.USE_CANDIDATE, b"", True),
        "ice_controlling": (stun.Attribute.ICE_CONTROLLING, stun.encode_uint64(8), 8),
        "ice_controlled": (stun.Attribute.ICE_CONTROLLED, stun.encode_uint64(9), 9),
        "nomination": (stun.Attribute.NOMINATION, stun.encode_uint32(3), 3),
        "network_cost": (
            stun.Attribute.NETWORK_COST,
            stun.encode_network_cost(stun.NetworkCost(1, 900)),
            stun.NetworkCost(1, 900),
        ),
        "xor_mapped_address": (
            stun.Attribute.XOR_MAPPED_ADDRESS,
            stun.encode_xor_address(ADDRESS, TRANSACTION),
            ADDRESS,
        ),
        "mapped_address": (stun.Attribute.MAPPED_ADDRESS, stun.encode_address(ADDRESS), ADDRESS),
        "alternate_server": (
            stun.Attribute.ALTERNATE_SERVER,
            stun.encode_address(ADDRESS),
            ADDRESS,
        ),
        "error_code": (
            stun.Attribute.ERROR_CODE,
            stun.encode_error_code(438),
            (438, "Stale Nonce"),
        ),
        "unknown_attributes": (
            stun.Attribute.UNKNOWN_ATTRIBUTES,
            stun.encode_unknown_attributes([0x4000, 0x4001]),
            (0x4000, 0x4001),
        ),
        "software": (stun.Attribute.SOFTWARE, stun.encode_text("größer"), "größer"),
        "realm": (stun.Attribute.REALM, stun.encode_text("example.org"), "example.org"),
        "nonce": (stun.Attribute.NONCE, b"\xff\x00", b"\xff\x00"),
        "userhash": (stun.Attribute.USERHASH, stun.userhash(b"u", b"r"), stun.userhash(b"u", b"r")),
        "password_algorithm": (
            stun.Attribute.PASSWORD_ALGORITHM,
            stun.encode_password_algorithms([stun.Algorithm(2)]),
            stun.Algorithm(2),
        ),
        "password_algorithms": (
            stun.Attribute.PASSWORD_ALGORITHMS,
            stun.encode_password_algorithms([stun.Algorithm(2), stun.Algorithm(1, b"p")]),
            (stun.Algorithm(2), stun.Algorithm(1, b"p")),
        ),
    }
    of_the_message = {
        "method",
        "message_class",
        "transaction_id",
        "attributes",
        "has_integrity",
        "integrity_is_sha256",
        "fingerprint_ok",
    }
    assert set(values) | of_the_message == set(GETTERS)
    full = stun.decode_untrusted(message(*((type, value) for type, value, _ in values.values())))
    bare = stun.decode_untrusted(message())
    for name, (type, value, expected) in values.items():
        assert getattr(full, name) == expected
        assert full.value(type) == value
        assert getattr(bare, name) == (False if name == "use_candidate" else None)
        assert bare.value(type) is None


def test_repr_shows_names_and_no_values() -> None:
    data = message((6, b"ab:cd"), (0x4000, b""), integrity=KEY)
    text = repr(stun.decode_untrusted(data))
    assert "USERNAME, 0x4000, MESSAGE-INTEGRITY, FINGERPRINT" in text
    assert "ab:cd" not in text


def test_equal_by_bytes() -> None:
    data = message((6, b"ab"))
    assert stun.decode_untrusted(data) == stun.decode_untrusted(bytes(data))
    assert stun.decode_untrusted(data) != stun.decode_untrusted(message((6, b"ac")))


# Structure: hostile input


@pytest.mark.parametrize("size", range(20))
def test_below_twenty_bytes(size: int) -> None:
    """TRAPS "STUN and ICE 1"."""
    with pytest.raises(DecodeError, match="shorter"):
        stun.decode_untrusted(message((6, b"ab:cd"))[:size])


@given(strategies.stun_messages(), st.data())
def test_every_truncation_is_refused(data: bytes, draw: st.DataObject) -> None:
    """TRAPS "STUN and ICE 1"."""
    with pytest.raises(DecodeError):
        stun.decode_untrusted(data[: draw.draw(st.integers(0, len(data) - 1))])


@pytest.mark.parametrize("lie", [-20, -4, -1, 1, 4, 20, 0xFFFF])
def test_length_that_is_not_the_datagrams(lie: int) -> None:
    """TRAPS "STUN and ICE 1"."""
    data = message((6, b"ab:cd"), integrity=KEY)
    length = (len(data) - 20 + lie) & 0xFFFF
    with pytest.raises(DecodeError, match="length field"):
        stun.decode_untrusted(data[:2] + struct.pack("!H", length) + data[4:])


@pytest.mark.parametrize("length", [9, 12, 0x7FFF, 0xFFFC, 0xFFFF])
def test_attribute_past_the_end(length: int) -> None:
    """TRAPS "STUN and ICE 1": the length 0xFFFF among them."""
    data = message((6, b"ab:cdefg"), fingerprint=False)
    with pytest.raises(DecodeError, match="past the end"):
        stun.decode_untrusted(data[:22] + struct.pack("!H", length) + data[24:])


def test_header_bits_cookie_and_multiple_of_four() -> None:
    data = message((6, b"ab"))
    for first in (0x40, 0x80, 0xC0):
        with pytest.raises(DecodeError, match="first two bits"):
            stun.decode_untrusted(bytes((first,)) + data[1:])
    with pytest.raises(DecodeError, match="cookie"):  # RFC 3489
        stun.decode_untrusted(data[:4] + bytes(4) + data[8:])
    with pytest.raises(DecodeError, match="multiple of four"):
        stun.decode_untrusted(data[:2] + struct.pack("!H", len(data) - 20 + 2) + data[4:] + b"\0\0")


def test_header_alone_is_a_message() -> None:
    data = message(fingerprint=False)
    assert stun.decode_untrusted(data).attributes == ()


def test_attributes_are_bounded() -> None:
    most = [(0x8022, b"")] * MAXIMUM_ATTRIBUTES
    assert len(stun.decode_untrusted(message(*most, fingerprint=False)).attributes) == len(most)
    with pytest.raises(DecodeError, match="too many"):
        stun.decode_untrusted(message(*most, fingerprint=True))


@settings(max_examples=300)
@given(strategies.stun_mutated() | st.binary(max_size=120))
def test_anything_raises_only_decode_errors(data: bytes) -> None:
    read_everything(data)


@given(strategies.stun_attribute_lists)
def test_anything_behind_a_sound_header_raises_only_decode_errors(
    attributes: list[tuple[int, bytes]],
) -> None:
    assert read_everything(message(*attributes)) is not None


def test_padding_need_not_be_zero() -> None:
    # Measured: some clients send what was in their buffer, and RFC 5769 pads with spaces.
    data = message((6, b"ab:cd"), fingerprint=False)
    decoded = stun.decode_untrusted(data[:-3] + b"\xff \x01")
    assert decoded.username == b"ab:cd"


# Which attribute counts


def test_first_of_a_kind_counts() -> None:
    """TRAPS "STUN and ICE 2": a duplicated USERNAME, the first one is meant."""
    decoded = stun.decode_untrusted(message((6, b"first"), (6, b"second"), integrity=KEY))
    assert decoded.username == b"first"
    assert [value for type, value in decoded.attributes if type == 6] == [b"first", b"second"]


@pytest.mark.parametrize("name", [b"a_b:c-d", b"a+b/c:d+e", b"abcd:efgh  ", b"x" * 32 + b":y", b""])
def test_usernames_seen_in_the_field(name: bytes) -> None:
    """TRAPS "STUN and ICE 2"."""
    assert stun.decode_untrusted(message((6, name), integrity=KEY)).username == name


def test_unknown_comprehension_required() -> None:
    """TRAPS "STUN and ICE 3": detected in order, once each; 0xC057 and its kind are ignored."""
    decoded = stun.decode_untrusted(
        message(
            (0x4007, b"x"),
            (0xC057, bytes(4)),
            (6, b"ab"),
            (0x0003, bytes(4)),
            (0x4007, b""),
            (0x7FFF, b""),
            (0x8000, b""),
            (0xC070, b"flight"),
            integrity=KEY,
        )
    )
    assert decoded.unknown_comprehension_required() == (0x4007, 0x0003, 0x7FFF)


def test_ordinary_check_holds_nothing_unknown() -> None:
    """TRAPS "STUN and ICE 3"."""
    check = stun.binding_request(
        TRANSACTION,
        b"ab:cd",
        1,
        KEY,
        controlling=1,
        use_candidate=True,
        attributes=[(0xC057, bytes(4)), (0xC001, bytes(4)), (0xC071, b""), (0xC070, b"")],
    )
    assert stun.decode_untrusted(check).unknown_comprehension_required() == ()


def integrity(data: bytes, type: int, length: int, key: stun.IntegrityKey = KEY) -> bytes:
    """``data`` with an integrity of ``length`` bytes appended, whatever it holds already."""
    total = len(data) - 20 + 4 + length
    data = data[:2] + struct.pack("!H", total) + data[4:]
    mac = key.sha1(data) if type == 0x08 else key.sha256(data)
    return data + struct.pack("!HH", type, length) + mac[:length]


def with_more(data: bytes, *attributes: tuple[int, bytes]) -> bytes:
    more = message(*attributes, fingerprint=False)[20:]
    return data[:2] + struct.pack("!H", len(data) - 20 + len(more)) + data[4:] + more


def test_attributes_behind_the_integrity_are_not_read() -> None:
    # RFC 8489, 14.5: somebody on the way may have added them.
    signed = message((0x24, bytes(4)), integrity=KEY, fingerprint=False)
    extended = with_more(signed, (6, b"evil"), (0x25, b""), (0x4000, b""))
    decoded = stun.decode_untrusted(extended)
    assert decoded.verify_integrity(KEY)
    assert decoded.username is None
    assert not decoded.use_candidate
    assert decoded.unknown_comprehension_required() == ()
    assert len(decoded.attributes) == 5
    assert stun.peek_username_untrusted(extended) is None


def test_sha256_decides_beside_the_other() -> None:
    """RFC 8489, 9.1.3: so that nobody on the way can bring a session down to SHA-1."""
    stranger = stun.IntegrityKey(b"another password")
    bare = message((6, b"ab"), fingerprint=False)
    both = stun.decode_untrusted(integrity(integrity(bare, 0x08, 20), 0x1C, 32))
    assert both.integrity_is_sha256
    assert both.verify_integrity(KEY)
    forged = stun.decode_untrusted(integrity(integrity(bare, 0x08, 20), 0x1C, 32, stranger))
    assert not forged.verify_integrity(KEY)
    # Behind the longer one the other is not read any more (14.6).
    reverse = stun.decode_untrusted(integrity(integrity(bare, 0x1C, 32), 0x08, 20, stranger))
    assert reverse.value(0x08) is None
    assert reverse.verify_integrity(KEY)


@pytest.mark.parametrize("length", range(0, 36, 4))
def test_truncated_sha256(length: int) -> None:
    """RFC 8489, 14.6: 16 to 32 bytes where the usage allows it, all 32 where it does not."""
    data = integrity(message((6, b"ab"), fingerprint=False), 0x1C, length)
    if length > 32:
        data = data + bytes(length - 32)
    decoded = stun.decode_untrusted(data)
    assert decoded.verify_integrity(KEY) is (length == 32)
    assert decoded.verify_integrity(KEY, sha256_minimum=16) is (16 <= length <= 32)
    assert decoded.verify_integrity(KEY, sha256_minimum=0) is (16 <= length <= 32)
    assert decoded.verify_integrity(KEY, sha256_minimum=24) is (24 <= length <= 32)


@pytest.mark.parametrize("length", [17, 19, 30])
def test_sha256_of_odd_length(length: int) -> None:
    data = message((6, b"ab"), (0x1C, bytes(length)))
    assert not stun.decode_untrusted(data).verify_integrity(KEY, sha256_minimum=16)


@pytest.mark.parametrize("length", [0, 4, 19, 21, 32])
def test_integrity_of_wrong_length(length: int) -> None:
    decoded = stun.decode_untrusted(message((6, b"ab"), (0x08, bytes(length))))
    assert decoded.has_integrity
    assert not decoded.verify_integrity(KEY)


@given(strategies.stun_checks(), st.data())
def test_one_changed_bit_is_noticed(check: tuple[bytes, bytes], draw: st.DataObject) -> None:
    data, password = check
    bit = draw.draw(st.integers(0, len(data) * 8 - 1))
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    try:
        decoded = stun.decode_untrusted(bytes(changed))
    except DecodeError:
        return
    assert decoded.fingerprint_ok is not True
    if bit // 8 < len(data) - 32:
        assert not decoded.verify_integrity(stun.IntegrityKey(password))


def test_fingerprint_has_to_be_right_last_and_four_bytes() -> None:
    data = message((6, b"ab"), integrity=KEY)
    assert stun.decode_untrusted(data).fingerprint_ok is True
    assert stun.decode_untrusted(data[:-1] + bytes((data[-1] ^ 1,))).fingerprint_ok is False
    assert stun.decode_untrusted(with_more(data, (0x8022, b""))).fingerprint_ok is False
    assert stun.decode_untrusted(with_more(data, (0x8028, data[-4:]))).fingerprint_ok is False
    short = message((0x8028, bytes(3)), fingerprint=False)
    assert stun.decode_untrusted(short).fingerprint_ok is False


# The cache of layouts


@pytest.fixture(autouse=True)
def _fresh_layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_layouts", {})


@given(st.lists(strategies.stun_messages() | strategies.stun_mutated(), max_size=6))
def test_the_cache_changes_nothing(datagrams: list[bytes]) -> None:
    def views() -> list[Any]:
        seen: list[Any] = []
        for data in datagrams:
            try:
                decoded = stun.decode_untrusted(data)
            except DecodeError as error:
                seen.append(str(error))
            else:
                seen.append((decoded.attributes, decoded.has_integrity, decoded.fingerprint_ok))
        return seen

    module._layouts.clear()
    cold = views()
    for data in datagrams:
        try:
            module._keep(stun.decode_untrusted(data)._layout)
        except DecodeError:
            continue
    assert views() == cold


def test_only_authentic_layouts_are_kept() -> None:
    data = message((6, b"ab"), integrity=KEY)
    stranger = stun.decode_untrusted(data)
    assert not stranger.verify_integrity(stun.IntegrityKey(b"guess"))
    assert module._layouts == {}
    assert stranger.verify_integrity(KEY)
    again = stun.decode_untrusted(message((6, b"cd"), integrity=KEY))
    assert again._layout is stranger._layout
    assert again.username == b"cd"


def test_same_length_another_layout() -> None:
    first = message((6, b"abcd"), (0x24, bytes(4)), integrity=KEY)
    second = message((0x24, b"abcd"), (6, bytes(4)), integrity=KEY)
    assert stun.decode_untrusted(first).verify_integrity(KEY)
    assert stun.decode_untrusted(second).username == bytes(4)
    assert stun.decode_untrusted(first).username == b"abcd"


def test_layouts_are_bounded() -> None:
    def check(size: int) -> stun.Message:
        decoded = stun.decode_untrusted(message((0x8022, bytes(size)), integrity=KEY))
        assert decoded.verify_integrity(KEY)
        return decoded

    first = check(0)
    for size in range(4, 4 * (module.MAXIMUM_LAYOUTS + 1), 4):
        check(size)
        assert len(module._layouts) <= module.MAXIMUM_LAYOUTS
    assert first.verify_integrity(KEY)  # its layout was let go of and comes back
    assert stun.decode_untrusted(first.raw)._layout is first._layout
