"""Client secrets: what they hold, and that nobody else makes one."""

import os
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transceiver.http.client_secrets import LONGEST, PREFIX, ClientSecrets, SecretTooLong

KEY = bytes(range(32))
SESSION = {"model": "m", "instructions": "Sag «hallo».", "audio": {"output": {"voice": "v"}}}


def test_what_goes_in_comes_out():
    made = ClientSecrets(KEY, os.urandom)
    value = made.seal("shop", SESSION, 1_800_000_000)
    assert value.startswith(PREFIX)
    assert value.isascii()
    found = ClientSecrets(KEY, os.urandom).open_untrusted(value)
    assert found is not None
    assert (found.account, found.expires_at, found.session) == ("shop", 1_800_000_000, SESSION)
    assert "hallo" not in repr(found)


def test_each_has_a_name_of_its_own():
    made = ClientSecrets(KEY, os.urandom)
    names = {made.open_untrusted(made.seal("shop", {}, 1)).identifier for _ in range(10)}
    assert len(names) == 10
    assert not any("/" in name for name in names)


def test_nothing_of_it_can_be_read_and_the_key_is_not_shown():
    made = ClientSecrets(KEY, os.urandom)
    value = made.seal("shop", SESSION, 1)
    assert "shop" not in value
    assert "KEY" not in repr(made)


def test_a_long_session_goes_in_and_one_too_long_does_not():
    made = ClientSecrets(KEY, os.urandom)
    words = {"instructions": "Be brief and kind, and say what you mean. " * 500}
    assert len(made.seal("shop", words, 1)) <= LONGEST
    with pytest.raises(SecretTooLong):
        made.seal("shop", {"instructions": os.urandom(LONGEST).hex()}, 1)


def test_nobody_without_the_key_makes_one():
    value = ClientSecrets(KEY, os.urandom).seal("shop", {}, 1)
    assert ClientSecrets(bytes(32), os.urandom).open_untrusted(value) is None


def test_no_bit_of_it_can_be_changed():
    made = ClientSecrets(KEY, os.urandom)
    value = made.seal("shop", {}, 1)
    for index in range(len(PREFIX), len(value) - 1):  # the last one has bits that mean nothing
        other = "A" if value[index] != "A" else "B"
        assert made.open_untrusted(value[:index] + other + value[index + 1 :]) is None


@settings(max_examples=100)
@given(st.one_of(st.text(), st.binary().map(lambda data: urlsafe_b64encode(data).decode())))
def test_anything_else_is_none(text):
    made = ClientSecrets(KEY, os.urandom)
    for value in (text, PREFIX + text, f"{PREFIX}{text}=", PREFIX + "A" * LONGEST):
        assert made.open_untrusted(value) is None


@settings(max_examples=50)
@given(
    st.text(max_size=64),
    st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=32), max_size=8),
    st.integers(0, 1 << 40),
)
def test_round_trip(account, session, expires_at):
    made = ClientSecrets(KEY, os.urandom)
    found = made.open_untrusted(made.seal(account, session, expires_at))
    assert found is not None
    assert (found.account, found.session, found.expires_at) == (account, session, expires_at)
