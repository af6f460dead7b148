"""HMAC with a prepared key against the standard library's."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stunroute.keyed import keyed, prekeyed


@pytest.mark.parametrize("name", ["sha1", "sha256"])
@given(st.binary(max_size=140), st.lists(st.binary(max_size=200), min_size=1, max_size=3))
def test_one_key_serves_many_messages(name: str, key: bytes, messages: list[bytes]) -> None:
    algorithm = getattr(hashlib, name)
    mac = prekeyed(algorithm, key)
    for message in messages:
        assert mac(message) == keyed(algorithm, key, message) == hmac.digest(key, message, name)
