"""API keys, and who a request is from."""

import hashlib
import os
import re

import pytest
from starlette.requests import HTTPConnection

from pair import seeded
from transceiver.http import accounts
from transceiver.http.access import Access, Caller
from transceiver.http.accounts import ApiKeys, digest, new_key
from transceiver.http.client_secrets import ClientSecrets
from transceiver.http.refusals import Refusal
from transceiver.settings import ApiKey, HttpSettings

FIRST, SECOND, THIRD = (new_key(seeded(name)) for name in "abc")
KEYS = (
    ApiKey("shop", digest(FIRST)),
    ApiKey("bank", digest(SECOND)),
    ApiKey("shop", digest(THIRD)),
)


def test_a_key_has_all_its_randomness_and_is_kept_as_its_hash():
    assert new_key(bytes) == "sk-" + "A" * 43
    assert re.fullmatch(r"sk-[A-Za-z0-9_-]{43}", FIRST)
    assert FIRST != SECOND
    assert digest(FIRST) == hashlib.sha256(FIRST.encode()).digest()


def test_each_key_is_its_accounts():
    keys = ApiKeys(KEYS)
    found = [keys.account_of_untrusted(key) for key in (FIRST, SECOND, THIRD)]
    assert found == ["shop", "bank", "shop"]
    assert keys.accounts == {"shop", "bank"}
    assert FIRST not in repr(keys)


@pytest.mark.parametrize(
    "key", ["", "sk-", FIRST[:-1], FIRST + "A", FIRST.lower(), "é" * 40, "\udcff", "\x00"]
)
def test_nobodys_key(key):
    assert ApiKeys(KEYS).account_of_untrusted(key) is None
    assert ApiKeys().account_of_untrusted(key) is None


def test_every_hash_is_compared_in_constant_time(monkeypatch):
    """Neither whether a key fitted nor which may show in how much is done."""
    compared = []
    plain = accounts.hmac.compare_digest
    monkeypatch.setattr(
        accounts.hmac, "compare_digest", lambda a, b: compared.append(a) or plain(a, b)
    )
    for key in (FIRST, SECOND, "sk-wrong"):
        ApiKeys(KEYS).account_of_untrusted(key)
    assert compared == [key.sha256 for key in KEYS] * 3


def connection(token=None, *, header=None, subprotocols=()):
    header = f"Bearer {token}" if header is None and token is not None else header
    headers = [] if header is None else [(b"authorization", header.encode("latin-1"))]
    return HTTPConnection({"type": "http", "headers": headers, "subprotocols": list(subprotocols)})


def access(keys=KEYS, wall=1000.0):
    return Access(ApiKeys(keys), ClientSecrets(bytes(32), os.urandom), lambda: wall)


@pytest.mark.parametrize(
    "header", [f"Bearer {FIRST}", f"bearer {FIRST}", f"BEARER   {FIRST} ".rstrip()]
)
def test_a_bearer_token_says_who(header):
    assert access().caller(connection(header=header)) == Caller("shop")


def test_a_page_names_its_key_among_the_subprotocols():
    subprotocols = ["realtime", f"openai-insecure-api-key.{FIRST}", "openai-beta.realtime-v1"]
    assert access().caller(connection(subprotocols=subprotocols)) == Caller("shop")


@pytest.mark.parametrize(
    ("asked", "challenge"),
    [
        (connection(), "Bearer"),
        (connection(header=""), "Bearer"),
        (connection(header="Bearer "), "Bearer"),
        (connection(header=f"Basic {FIRST}"), "Bearer"),
        (connection(subprotocols=["realtime"]), "Bearer"),
        (connection("sk-wrong"), 'Bearer error="invalid_token"'),
        (connection("ek_wrong"), 'Bearer error="invalid_token"'),
        (connection("é"), 'Bearer error="invalid_token"'),
        (connection(subprotocols=["openai-insecure-api-key.x"]), 'Bearer error="invalid_token"'),
    ],
)
def test_whoever_has_no_key_is_refused(asked, challenge):
    with pytest.raises(Refusal) as caught:
        access().caller(asked)
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
    assert caught.value.headers == {"WWW-Authenticate": challenge}
    assert "wrong" not in str(caught.value)


def test_without_keys_everybody_is_the_same():
    for asked in (connection(), connection("sk-whatever"), connection(header="Basic x")):
        assert access(()).caller(asked) == Caller("")


@pytest.mark.parametrize("keys", [(), KEYS])
def test_a_client_secret_says_who_and_with_what(keys):
    doors = access(keys)
    account = "shop" if keys else ""
    value = doors.secrets.seal(account, {"model": "m"}, 1001)
    caller = doors.caller(connection(value))
    assert (caller.account, caller.session, caller.expired) == (account, {"model": "m"}, False)
    assert caller.owner == f"{account}/{caller.secret}"
    assert doors.opener(connection(value)) == caller


@pytest.mark.parametrize("expires_at", [0, 999, 1000])
def test_an_expired_secret_opens_nothing_and_still_has_its_calls(expires_at):
    doors = access()
    value = doors.secrets.seal("shop", {}, expires_at)
    with pytest.raises(Refusal) as caught:
        doors.opener(connection(value))
    assert (caught.value.status, caught.value.code) == (401, "token_expired")
    caller = doors.caller(connection(value))
    assert caller.expired
    assert caller.may_use(caller.owner)


def test_the_secrets_of_an_account_end_with_its_last_key():
    before, after = access(), access(KEYS[1:2])
    value = before.secrets.seal("shop", {}, 2000)
    assert before.caller(connection(value)).account == "shop"
    with pytest.raises(Refusal):
        after.caller(connection(value))
    nameless = before.secrets.seal("", {}, 2000)
    with pytest.raises(Refusal):
        before.caller(connection(nameless))  # made when no keys were asked for
    with pytest.raises(Refusal):
        access(()).caller(connection(value))


@pytest.mark.parametrize(
    ("caller", "owner", "may"),
    [
        (Caller("shop"), "shop", True),
        (Caller("shop"), "shop/1", True),
        (Caller("shop"), "shopping", False),
        (Caller("shop"), "shopping/1", False),
        (Caller("shop"), "bank", False),
        (Caller("shop"), "", False),
        (Caller("shop", "1"), "shop/1", True),
        (Caller("shop", "1"), "shop", False),
        (Caller("shop", "1"), "shop/2", False),
        (Caller("shop", "1"), "bank/1", False),
        (Caller(""), "", True),
        (Caller(""), "/1", True),
        (Caller("", "1"), "/1", True),
        (Caller("", "1"), "", False),
        (Caller("", "1"), "/2", False),
    ],
)
def test_whose_calls_one_may_use(caller, owner, may):
    assert caller.may_use(owner) is may


def test_settings_make_it():
    key = bytes(range(32))
    one, two = (Access.of(HttpSettings(keys=KEYS, secret=key)) for _ in range(2))
    value = one.secrets.seal("shop", {}, 1 << 40)
    assert two.caller(connection(value)).account == "shop"
    assert two.caller(connection(FIRST)).account == "shop"
    # Without a key for secrets each has its own.
    other = Access.of(HttpSettings(keys=KEYS))
    with pytest.raises(Refusal):
        other.caller(connection(value))
    assert repr(key)[2:-1] not in repr(one)
