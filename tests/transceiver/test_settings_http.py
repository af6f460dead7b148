"""The ``[http]`` table: who may call, and where the other nodes are."""

from pathlib import Path

import pytest
from attrs import evolve

from stunroute.address import Address
from stunroute.errors import ConfigError
from transceiver.config import VoiceLimits
from transceiver.settings import ApiKey, Elsewhere, HttpSettings, TransceiverSettings, load

HASH = "9f" * 32
SECRET = "60" * 32
MINIMAL = f"""
cluster = 1
node = 7

[udp]
listen = "10.1.0.2:5000"
candidates = ["203.0.113.1:3478"]
relays = ["10.1.0.1:4000"]

[[hint.configurations]]
id = "0"
routing_key = "{"ab" * 16}"
password_key = "{"cd" * 32}"

[http]
"""
KEY = f'[[http.keys]]\nname = "shop"\nsha256 = "{HASH}"\n'
NODE = '[[http.nodes]]\ncluster = 1\nnode = 8\nurl = "http://10.1.0.3:8080"\n'


@pytest.fixture
def read(tmp_path: Path):
    def read(text: str, environ=None) -> TransceiverSettings:
        path = tmp_path / "transceiver.toml"
        path.write_text(MINIMAL + text)
        return load(path, environ or {}, {})

    return read


def test_everything_is_there(read):
    text = f'secret = "{SECRET}"\nelsewhere = "redirect"\nlisten = "0.0.0.0:80"\n{KEY}{NODE}'
    http = read(text).http
    assert http.keys == (ApiKey("shop", bytes.fromhex(HASH)),)
    assert [(node.cluster, node.node, node.url) for node in http.nodes] == [
        (1, 8, "http://10.1.0.3:8080")
    ]
    assert http.elsewhere is Elsewhere.REDIRECT
    assert http.secret == bytes.fromhex(SECRET)
    for kept in (HASH, SECRET, repr(bytes.fromhex(SECRET))[2:-1], repr(bytes.fromhex(HASH))[2:-1]):
        assert kept not in repr(http)


def test_a_key_by_the_environment(read):
    prefix = "TRANSCEIVER_HTTP__KEYS__0__"
    http = read("", {f"{prefix}NAME": "shop", f"{prefix}SHA256": HASH}).http
    assert [key.name for key in http.keys] == ["shop"]


@pytest.mark.parametrize("listen", ["0.0.0.0:80", "10.1.0.2:80", "[::]:80"])
def test_no_one_calls_from_elsewhere_without_a_key_unless_that_is_meant(read, listen):
    with pytest.raises(ConfigError) as caught:
        read(f'listen = "{listen}"\n')
    assert caught.value.key == "http.keys"
    assert read(f'listen = "{listen}"\nopen = true\n').http.open
    assert read(f'listen = "{listen}"\n{KEY}').http.keys


@pytest.mark.parametrize("listen", ["127.0.0.1:80", "127.1.2.3:80", "[::1]:80"])
def test_this_machine_needs_no_key(read, listen):
    assert read(f'listen = "{listen}"\n').http.listen == Address.parse(listen)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (KEY.replace("shop", ""), "http.keys.0.name"),
        (KEY.replace("shop", "a/b"), "http.keys.0.name"),
        (KEY.replace("shop", "a" * 65), "http.keys.0.name"),
        (KEY.replace(HASH, HASH[2:]), "http.keys.0.sha256"),
        (KEY.replace(HASH, "not hexadecimal"), "http.keys.0.sha256"),
        ('secret = "ab"\n', "http.secret"),
        ('elsewhere = "perhaps"\n', "http.elsewhere"),
        (NODE, "http.secret"),
        (f'secret = "{SECRET}"\n{NODE}{NODE}', "http.nodes.1"),
        *(
            (
                f'secret = "{SECRET}"\n{NODE.replace("http://10.1.0.3:8080", url)}',
                "http.nodes.0.url",
            )
            for url in (
                "",
                "10.1.0.3:8080",
                "ftp://a",
                "http://",
                "http://a:99999",
                "http://[::1",
                "http://a/?b",
                "http://a/#b",
                "http://user:password@a",
            )
        ),
        (f'secret = "{SECRET}"\n{NODE.replace("node = 8", "node = -1")}', "http.nodes.0.node"),
    ],
)
def test_what_cannot_work_is_refused_by_its_key(read, text, key):
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert caught.value.key == key
    assert HASH not in str(caught.value)
    assert "password" not in caught.value.problem.replace("name or password", "")


def test_keys_and_nodes_change_while_it_runs_and_the_rest_waits(read):
    running = read(f'secret = "{SECRET}"\n')
    wanted = read(f'secret = "{"61" * 32}"\nlisten = "127.0.0.1:81"\nconnections = 2\n{KEY}{NODE}')
    settings, waiting = running.reloaded(wanted)
    assert waiting == ("http.listen", "http.connections", "http.secret")
    assert settings.http == evolve(running.http, keys=wanted.http.keys, nodes=wanted.http.nodes)


def test_bounds_of_what_backends_are_made_with_wait_too(read):
    running = read("")
    limits = evolve(running.limits, sessions=3, voice=VoiceLimits(queue=5.0))
    settings, waiting = running.reloaded(evolve(running, limits=limits))
    assert waiting == ("limits.voice",)
    assert settings.limits == evolve(running.limits, sessions=3)


def test_a_reload_does_not_open_what_was_closed(read):
    running = read(f'listen = "0.0.0.0:80"\n{KEY}')
    wanted = evolve(running, http=HttpSettings())
    with pytest.raises(ConfigError) as caught:
        running.reloaded(wanted)
    assert caught.value.key == "http.keys"
