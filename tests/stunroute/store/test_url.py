"""Which store: the forms of its URL, and that none of a wrong one is quoted."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stunroute.errors import ConfigError
from stunroute.store.url import Cluster, Endpoint, Login, Sentinels, Single, Tls, Unix, parse

NOBODY = Login()
USER = Login("user", "p:ss/w@rd")
QUOTED = "user:p%3Ass%2Fw%40rd@"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://10.0.0.9", Single(("10.0.0.9", 6379), 0, NOBODY, None)),
        ("redis://cache:6380/3", Single(("cache", 6380), 3, NOBODY, None)),
        ("redis://[2001:db8::9]:6380/", Single(("2001:db8::9", 6380), 0, NOBODY, None)),
        (f"redis://{QUOTED}cache", Single(("cache", 6379), 0, USER, None)),
        ("redis://:secret@cache/1", Single(("cache", 6379), 1, Login(None, "secret"), None)),
        ("rediss://cache", Single(("cache", 6379), 0, NOBODY, Tls())),
        (
            "rediss://cache?ssl_ca_certs=%2Fetc%2Fca.pem&ssl_check_hostname=False",
            Single(("cache", 6379), 0, NOBODY, Tls("/etc/ca.pem", check_hostname=False)),
        ),
        (
            "rediss://cache?ssl_certfile=/a&ssl_keyfile=/b&ssl_check_hostname=true",
            Single(("cache", 6379), 0, NOBODY, Tls(None, "/a", "/b")),
        ),
        ("unix:///run/redis.sock", Unix("/run/redis.sock", 0, NOBODY)),
        (f"unix://{QUOTED}/run/a%20b?db=2", Unix("/run/a b", 2, USER)),
        (
            "redis+sentinel://a:1,b,[::1]:3/calls/4",
            Sentinels((("a", 1), ("b", 26379), ("::1", 3)), "calls", 4, NOBODY, NOBODY, None),
        ),
        (
            f"rediss+sentinel://{QUOTED}a/calls?sentinel_username=s&sentinel_password=t",
            Sentinels((("a", 26379),), "calls", 0, USER, Login("s", "t"), Tls()),
        ),
        ("redis+cluster://a,b:7000", Cluster((("a", 6379), ("b", 7000)), NOBODY, None)),
        (f"rediss+cluster://{QUOTED}a/", Cluster((("a", 6379),), USER, Tls())),
    ],
)
def test_the_forms(url: str, expected: Endpoint) -> None:
    assert parse(url) == expected


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "none of redis://"),
        ("http://hunter2:hunter2@cache", "none of redis://"),
        ("redis://user:hunter2/hunter2@cache", "names no host"),
        ("redis://hunter2@cache", "none of redis://"),
        ("redis://user:hunter2@", "names no host"),
        ("redis://user:hunter2@cache:", "names no host"),
        ("redis://user:hunter2@cache:0", "names no host"),
        ("redis://user:hunter2@cache:65536", "names no host"),
        ("redis://user:hunter2@::1:6379", "names no host"),
        ("redis://user:hunter2@a,b", "more than a host"),
        ("redis://user:hunter2@cache/1/2", "more than a host"),
        ("redis://user:hunter2@cache/first", "not a number"),
        ("redis://user:hunter2@cache/1234567", "not a number"),
        ("redis://user:hunter2@cache?socket_timeout=9", "option and takes none"),
        ("rediss://user:hunter2@cache?hunter2=9", "option other than ssl_ca_certs"),
        ("rediss://user:hunter2@cache?ssl_check_hostname=no", "neither true nor false"),
        ("redis+sentinel://user:hunter2@a", "names no service"),
        ("redis+sentinel://user:hunter2@a/b/c/d", "names no service"),
        ("redis+cluster://user:hunter2@a/1", "only one"),
        ("unix://cache/run/redis.sock", "no absolute path"),
        ("unix://", "no absolute path"),
        ("redis://user:hunter2@cache#hunter2", "none of redis://"),
    ],
)
def test_a_wrong_one_is_refused_and_not_quoted(url: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        parse(url)
    assert caught.value.key == "store.url"
    assert "hunter2" not in str(caught.value)


@settings(max_examples=100)
@given(
    st.sampled_from(["redis://", "unix://", "redis+sentinel://", "rediss+cluster://", ""]),
    st.text(max_size=40),
)
def test_nothing_else_is_raised(scheme: str, rest: str) -> None:
    with contextlib.suppress(ConfigError):
        parse(scheme + rest)


def test_passwords_are_not_shown() -> None:
    assert "hunter2" not in repr(parse("redis://user:hunter2@cache"))
