"""Entries: only a relay with the key makes one, for one client, and not for ever."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stunroute.address import Address
from stunroute.errors import DecodeError
from stunroute.store.entry import LENGTH, SECOND, SHARDS, SKEW, VERSION, Entry, EntryCodec

KEY = bytes(range(32))
NOW = 1_790_000_000 * SECOND
TTL = 120 * SECOND
CODEC = EntryCodec(KEY, "stunroute:", TTL)
CLIENT, OTHER = Address.of("192.0.2.1", 5000), Address.of("192.0.2.1", 5001)
A, B = Address.of("10.0.0.1", 4000), Address.of("10.0.0.2", 4000)

addresses = st.builds(Address, st.binary(min_size=16, max_size=16), st.integers(0, 65535))
moments = st.integers(0, NOW)


def value(entry: Entry | None = None, *, written: int = NOW, codec: EntryCodec = CODEC) -> bytes:
    return codec.encode(CLIENT, entry or Entry(NOW, A), written)


def test_the_bytes() -> None:
    encoded = value(Entry(NOW - 1, A, released=True))
    assert len(encoded) == LENGTH
    assert encoded[:1] == bytes([VERSION])
    assert int.from_bytes(encoded[1:9], "big") == 2 * (NOW - 1) + 1
    assert int.from_bytes(encoded[9:17], "big") == NOW
    assert encoded[17:35] == A
    # Made once with SHA-256 alone, by the definition of HMAC (RFC 2104, 2).
    assert CODEC.name(CLIENT) == b"stunroute:{d}ec7271f3f231aee5b5d0a6443bed747"
    assert value().hex()[70:] == "01d5badd70aaa1071cbf26389cea79d9"


@settings(max_examples=100)
@given(addresses, addresses, moments, st.booleans(), st.integers(-SKEW, TTL + SKEW))
def test_round_trip(
    client: Address, next_hop: Address, made: int, released: bool, age: int
) -> None:
    entry = Entry(made, next_hop, released)
    assert CODEC.decode_untrusted(client, CODEC.encode(client, entry, NOW - age), NOW) == entry


@settings(max_examples=100)
@given(st.binary(max_size=2 * LENGTH) | st.binary(min_size=LENGTH, max_size=LENGTH))
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(DecodeError):
        CODEC.decode_untrusted(CLIENT, garbage, NOW)


@settings(max_examples=100)
@given(st.integers(0, 8 * LENGTH - 1))
def test_any_bit_counts(bit: int) -> None:
    changed = bytearray(value())
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DecodeError, match="not authentic"):
        CODEC.decode_untrusted(CLIENT, bytes(changed), NOW)


@pytest.mark.parametrize("length", range(LENGTH))
def test_a_part_is_refused(length: int) -> None:
    with pytest.raises(DecodeError):
        CODEC.decode_untrusted(CLIENT, value()[:length], NOW)


def test_an_entry_belongs_to_its_client() -> None:
    with pytest.raises(DecodeError, match="not authentic"):
        CODEC.decode_untrusted(OTHER, value(), NOW)


def test_an_entry_of_another_key_is_refused() -> None:
    foreign = EntryCodec(bytes(32), "stunroute:", TTL)
    with pytest.raises(DecodeError, match="not authentic"):
        CODEC.decode_untrusted(CLIENT, value(codec=foreign), NOW)


@pytest.mark.parametrize(
    ("entry", "written", "problem"),
    [
        (Entry(NOW, A), NOW - TTL - SKEW - 1, "too old"),
        (Entry(NOW, A), NOW + SKEW + 1, "from the future"),
        (Entry(NOW + SKEW + 1, A), NOW, "from the future"),
        (Entry(0, A), NOW - TTL - SKEW, None),
        (Entry(NOW + SKEW, A), NOW + SKEW, None),
    ],
)
def test_an_entry_has_its_time(entry: Entry, written: int, problem: str | None) -> None:
    """However long its flow has lasted; it is the writing that must be recent."""
    encoded = value(entry, written=written)
    if problem is None:
        assert CODEC.decode_untrusted(CLIENT, encoded, NOW) == entry
        return
    with pytest.raises(DecodeError, match=problem):
        CODEC.decode_untrusted(CLIENT, encoded, NOW)


def test_another_version_is_refused_even_if_authentic(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("stunroute.store.entry.VERSION", VERSION + 1)
        later = value()
    with pytest.raises(DecodeError, match="version"):
        CODEC.decode_untrusted(CLIENT, later, NOW)


@given(moments, moments, st.booleans(), st.booleans())
def test_the_later_flow_is_of_the_greater_generation_and_a_release_of_the_next(
    one: int, other: int, one_released: bool, other_released: bool
) -> None:
    first, second = Entry(one, A, one_released), Entry(other, B, other_released)
    assert (first.generation < second.generation) == ((one, one_released) < (other, other_released))
    assert first.generation <= CODEC.latest(NOW)


def test_the_greatest_generation_is_exact_in_a_double() -> None:
    for now in (NOW, 1 << 60):
        assert float(CODEC.latest(now)) == CODEC.latest(now) <= 1 << 53


def test_names_tell_nothing_and_do_not_collide() -> None:
    names = {CODEC.name(Address.of("192.0.2.1", port)) for port in range(2000)}
    assert len(names) == 2000
    assert {CODEC.shard(name) for name in names} == {b"%x" % digit for digit in range(SHARDS)}
    for name in names:
        assert len(name) == len(b"stunroute:{0}") + 31
        assert CLIENT.host not in name
    assert EntryCodec(bytes(32), "stunroute:", TTL).name(CLIENT) not in names
