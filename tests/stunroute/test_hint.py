"""The routing hint, against vectors and against a second implementation written from the page."""

import hashlib
import hmac
import itertools

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from hypothesis import given
from hypothesis import strategies as st

from stunroute.errors import ConfigError
from stunroute.hint import Hint, HintConfiguration, HintError, KeyRing
from stunroute.trace import Drop

ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
ALPHABET62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

FIRST = HintConfiguration("0", bytes(range(16)), bytes(range(32)))
LAST = HintConfiguration("y", bytes.fromhex("ffeeddccbbaa99887766554433221100"), b"\xff" * 32)

# Published for other implementers: the keys above, cluster, node, nonce, ufrag, password.
VECTORS = [
    (FIRST, 0, 0, "0000000000", "0brc4ye70fjcibvq12kgszdwft", "eEEtEN1lBW3dzUX4IIUUvCD2NHzyfpQK"),
    (FIRST, 1, 7, "0102030405", "01qjnsvuz4nannpjm6vdfyh4gw", "ODtniIlVcR9ZHIeG0n48BSDd1GIkCDt2"),
    (
        FIRST,
        0x1234,
        0x89ABCDEF,
        "cafebabe00",
        "0cgelrq35z982c0acf0wnh609u",
        "H3aE08k50FihwOmadPpyr49zypcitt46",
    ),
    (
        LAST,
        0xFFFF,
        0xFFFFFFFF,
        "ffffffffff",
        "y23tv70i7c52varleapgsm1p8l",
        "jYRiAE15HLAQwp9DlkIMPFl0ZrxyKv2K",
    ),
]


def encipher(key: bytes, block: bytes) -> bytes:
    return Cipher(AES(key), ECB()).encryptor().update(block)


def digits(number: int, alphabet: str, count: int) -> str:
    text = ""
    while len(text) < count:
        text = alphabet[number % len(alphabet)] + text
        number //= len(alphabet)
    return text


def ufrag_of(configuration: HintConfiguration, block: bytes) -> bytes:
    number = int.from_bytes(encipher(configuration.routing_key, block), "big")
    return (configuration.identifier + digits(number, ALPHABET, 25)).encode()


@pytest.mark.parametrize(
    ("configuration", "cluster", "node", "nonce", "ufrag", "password"), VECTORS
)
def test_published_vectors(
    configuration: HintConfiguration,
    cluster: int,
    node: int,
    nonce: str,
    ufrag: str,
    password: str,
) -> None:
    ring = KeyRing([FIRST, LAST])
    only = KeyRing([configuration])
    assert only.mint(cluster, node, lambda n: bytes.fromhex(nonce)[:n], 0.0) == ufrag
    assert ring.decode_untrusted(ufrag.encode(), 0.0) == Hint(
        configuration.identifier, cluster, node, bytes.fromhex(nonce)
    )
    assert ring.password(ufrag.encode()) == password.encode()


@pytest.mark.parametrize(
    ("configuration", "cluster", "node", "nonce", "ufrag", "password"), VECTORS
)
def test_vectors_follow_from_the_published_definition(
    configuration: HintConfiguration,
    cluster: int,
    node: int,
    nonce: str,
    ufrag: str,
    password: str,
) -> None:
    block = cluster.to_bytes(2, "big") + node.to_bytes(4, "big") + bytes.fromhex(nonce) + bytes(5)
    assert ufrag_of(configuration, block) == ufrag.encode()
    assert configuration.password_key is not None
    mac = hmac.new(configuration.password_key, ufrag.encode(), hashlib.sha256).digest()
    assert digits(int.from_bytes(mac, "big"), ALPHABET62, 32) == password


@given(
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.binary(min_size=5, max_size=5),
    st.binary(min_size=16, max_size=16),
    st.sampled_from(ALPHABET[:-1]),
)
def test_round_trip(cluster: int, node: int, nonce: bytes, key: bytes, identifier: str) -> None:
    ring = KeyRing([HintConfiguration(identifier, key, b"p" * 32)])
    ufrag = ring.mint(cluster, node, lambda _: nonce, 0.0)
    assert len(ufrag) == 26
    assert set(ufrag) <= set(ALPHABET)
    hint = Hint(identifier, cluster, node, nonce)
    assert ring.decode_untrusted(ufrag.encode(), 0.0) == hint
    password = ring.password(ufrag.encode())
    assert len(password) == 32
    assert password.isalnum()


@given(st.binary(max_size=40))
def test_anything_decodes_to_a_reason(data: bytes) -> None:
    assert isinstance(KeyRing([FIRST]).decode_untrusted(data, 0.0), Drop)


@given(st.text(ALPHABET, min_size=25, max_size=25))
def test_a_guessed_body_is_forged(body: str) -> None:
    assert KeyRing([FIRST]).decode_untrusted(b"0" + body.encode(), 0.0) is Drop.HINT_FORGED


@given(st.integers(0, 25), st.sampled_from(ALPHABET))
def test_no_character_of_a_hint_can_be_changed(position: int, character: str) -> None:
    ufrag = VECTORS[1][4]
    changed = ufrag[:position] + character + ufrag[position + 1 :]
    result = KeyRing([FIRST]).decode_untrusted(changed.encode(), 0.0)
    assert isinstance(result, Drop) == (changed != ufrag)


@pytest.mark.parametrize(
    "ufrag",
    [
        b"",
        b"0" * 25,
        b"0" * 27,
        VECTORS[0][4].upper().encode(),
        b"0" * 25 + b"_",  # int() would take these four
        b"0" + b" " * 24 + b"0",
        b"0+" + b"0" * 24,
        b"0" + "٣".encode() * 12 + b"0",
        b"0" * 25 + b"/",
        b"z" * 4,  # too short to be anything of ours, marked or not
    ],
)
def test_malformed(ufrag: bytes) -> None:
    assert KeyRing([FIRST]).decode_untrusted(ufrag, 0.0) is Drop.HINT_MALFORMED


def test_unroutable_and_unknown_configurations_have_their_own_reasons() -> None:
    ring = KeyRing([FIRST])
    assert ring.decode_untrusted(b"z" + b"a" * 25, 0.0) is Drop.HINT_UNROUTABLE
    assert ring.decode_untrusted(b"1" + b"a" * 25, 0.0) is Drop.HINT_UNKNOWN_CONFIGURATION
    assert KeyRing([]).decode_untrusted(b"0" * 26, 0.0) is Drop.HINT_UNKNOWN_CONFIGURATION


def test_a_body_beyond_128_bits_is_forged() -> None:
    """The same block has a second spelling, 2**128 higher; only the lower one is a hint."""
    ufrag = VECTORS[1][4]
    higher = "0" + digits(int(ufrag[1:], 36) + 2**128, ALPHABET, 25)
    ring = KeyRing([FIRST])
    assert isinstance(ring.decode_untrusted(ufrag.encode(), 0.0), Hint)
    assert ring.decode_untrusted(higher.encode(), 0.0) is Drop.HINT_FORGED
    assert ring.decode_untrusted(b"0" + b"z" * 25, 0.0) is Drop.HINT_FORGED


@pytest.mark.parametrize("position", range(11, 16))
def test_each_of_the_last_five_bytes_must_be_zero(position: int) -> None:
    block = bytearray(16)
    block[position] = 1
    assert KeyRing([FIRST]).decode_untrusted(ufrag_of(FIRST, bytes(block)), 0.0) is Drop.HINT_FORGED


def test_a_hint_is_read_only_inside_its_window() -> None:
    entropy = itertools.repeat(b"abcde")
    always = KeyRing([FIRST])
    ufrag = always.mint(1, 2, lambda _: next(entropy), 0.0).encode()
    ring = KeyRing([HintConfiguration("0", FIRST.routing_key, None, 10.0, 20.0, 30.0)])
    assert ring.decode_untrusted(ufrag, 9.9) is Drop.HINT_OUTSIDE_WINDOW
    assert isinstance(ring.decode_untrusted(ufrag, 10.0), Hint)
    assert isinstance(ring.decode_untrusted(ufrag, 29.9), Hint)
    assert ring.decode_untrusted(ufrag, 30.0) is Drop.HINT_OUTSIDE_WINDOW


def test_minting_follows_the_windows() -> None:
    old = HintConfiguration("a", bytes(16), None, 0.0, 0.0, 100.0)
    new = HintConfiguration("b", b"k" * 16, None, 40.0, 50.0)
    reserve = HintConfiguration("c", b"r" * 16, None, 0.0, float("inf"))
    for ring in (KeyRing([old, new, reserve]), KeyRing([reserve, new, old])):
        minted = {t: ring.mint(0, 0, bytes, t)[0] for t in (0.0, 45.0, 50.0, 99.0, 1000.0)}
        assert minted == {0.0: "a", 45.0: "a", 50.0: "b", 99.0: "b", 1000.0: "b"}
    with pytest.raises(HintError):
        KeyRing([old]).mint(0, 0, bytes, 100.0)
    with pytest.raises(HintError):
        KeyRing([reserve]).mint(0, 0, bytes, 1e9)


def test_of_two_that_began_together_the_later_one_mints() -> None:
    other = HintConfiguration("1", b"k" * 16)
    assert KeyRing([FIRST, other]).mint(0, 0, bytes, 0.0)[0] == "1"
    assert KeyRing([other, FIRST]).mint(0, 0, bytes, 0.0)[0] == "0"


@pytest.mark.parametrize(("cluster", "node"), [(-1, 0), (65536, 0), (0, -1), (0, 2**32)])
def test_minting_out_of_range_is_the_callers_mistake(cluster: int, node: int) -> None:
    with pytest.raises(ValueError, match="16 bits"):
        KeyRing([FIRST]).mint(cluster, node, bytes, 0.0)


def test_password_needs_its_key() -> None:
    ring = KeyRing([HintConfiguration("0", bytes(16)), LAST])
    assert not ring.can_verify("0")
    assert ring.can_verify("y")
    assert not ring.can_verify("q")
    for ufrag in (b"0" * 26, b"q" * 26, b""):
        with pytest.raises(HintError):
            ring.password(ufrag)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (("z", bytes(16)), "id"),
        (("A", bytes(16)), "id"),
        (("", bytes(16)), "id"),
        (("00", bytes(16)), "id"),
        (("0", bytes(15)), "routing_key"),
        (("0", bytes(32)), "routing_key"),
        (("0", bytes(16), bytes(15)), "password_key"),
        (("0", bytes(16), bytes(16)), "password_key"),
        (("0", bytes(16), None, 5.0, 4.0), "mint_from"),
        (("0", bytes(16), None, 5.0, 5.0, 5.0), "read_until"),
    ],
)
def test_a_configuration_that_makes_no_sense(arguments: tuple[object, ...], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        HintConfiguration(*arguments)  # type: ignore[arg-type]
    assert caught.value.key == key


def test_two_configurations_of_one_id_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"hint\.configurations\.1\.id"):
        KeyRing([FIRST, HintConfiguration("0", b"k" * 16)])


def test_generate_draws_both_keys_from_entropy() -> None:
    numbers = itertools.count()
    configuration = HintConfiguration.generate("5", lambda n: bytes([next(numbers)]) * n)
    assert configuration.routing_key == bytes(16)
    assert configuration.password_key == b"\x01" * 32


def test_secrets_do_not_show() -> None:
    for text in (repr(FIRST), repr(KeyRing([FIRST]))):
        assert repr(FIRST.routing_key) not in text
        assert FIRST.routing_key.hex() not in text
        assert "\\x01\\x02" not in text
    assert KeyRing([FIRST, LAST]).configurations == (FIRST, LAST)
