"""The settings of the relay program."""

import re
import textwrap
from pathlib import Path

import pytest

from stunroute import settings as module
from stunroute.address import Address
from stunroute.config import Verify, load
from stunroute.errors import ConfigError
from stunroute.hint import Hint
from stunroute.settings import RelaySettings
from stunroute.trace import Drop

MINIMAL = """
inner = "10.0.0.5:4000"
[[listen]]
bind = "192.0.2.1:3478"
[[hint.configurations]]
id = "0"
routing_key = "00112233445566778899aabbccddeeff"
"""


def loaded(tmp_path: Path, text: str) -> RelaySettings:
    path = tmp_path / "relay.toml"
    path.write_text(text)
    return load(RelaySettings, path=path, environ={}, prefix="", options={})


def example() -> str:
    """The TOML in the module's documentation."""
    assert module.__doc__ is not None
    return textwrap.dedent(module.__doc__.partition("::\n")[2])


def test_the_documented_example_is_accepted_whole(tmp_path: Path) -> None:
    settings = loaded(tmp_path, example())
    assert settings.core.verify is Verify.EDGE
    assert settings.upstreams == {Address.of("198.51.100.1", 3478): Address.of("10.2.0.5", 4000)}
    directory = settings.directory.build()
    hop = directory.resolve(1, 7)
    assert hop is not None
    assert hop.address == Address.of("10.0.0.7", 4000)
    assert directory.resolve(2, 99) is not None


def test_the_minimum(tmp_path: Path) -> None:
    settings = loaded(tmp_path, MINIMAL)
    assert settings.core.verify is None
    assert settings.upstreams == {}
    assert settings.core == settings.limits


def test_wall_clock_windows_become_monotonic_ones(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        MINIMAL + "read_from = 1970-01-02T00:00:00Z\nread_until = 1970-01-03T00:00:00Z\n"
        "mint_from = 1970-01-02T12:00:00Z\n",
    )
    day = 86_400
    ring = settings.hint.keyring(wall=0.5 * day, now=100.0)
    (configuration,) = ring.configurations
    assert configuration.read_from == pytest.approx(100.0 + 0.5 * day)
    assert configuration.mint_from == pytest.approx(100.0 + day)
    assert configuration.read_until == pytest.approx(100.0 + 1.5 * day)
    name = ring.mint(1, 2, bytes, 100.0 + day).encode()
    assert ring.decode_untrusted(name, 100.0) is Drop.HINT_OUTSIDE_WINDOW
    assert isinstance(ring.decode_untrusted(name, 100.0 + day), Hint)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (('routing_key = "00', 'routing_key = "'), "hint.configurations.0.routing_key: is not 16"),
        (('id = "0"', 'id = "z"'), "hint.configurations.0.id: is not one character"),
        (('inner = "10.0.0.5:4000"', ""), "inner: is missing"),
        (('bind = "192', 'bnid = "192'), "listen.0.bnid: is not a setting; did you mean 'bind'?"),
        (('[[listen]]\nbind = "192.0.2.1:3478"', "listen = []"), "listen: is empty"),
        (("[[listen]]", '[[listen]]\nbind = "192.0.2.1:3478"\n[[listen]]'), "listen.1: has the"),
    ],
)
def test_what_makes_no_sense(tmp_path: Path, change: tuple[str, str], line: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(line)):
        loaded(tmp_path, MINIMAL.replace(*change))


def test_no_hint_configuration_at_all(tmp_path: Path) -> None:
    text = MINIMAL.partition("[[hint")[0]
    with pytest.raises(ConfigError, match="hint: is missing"):
        loaded(tmp_path, text)
    with pytest.raises(ConfigError, match=r"hint\.configurations: is empty"):
        loaded(tmp_path, text + "[hint]\nconfigurations = []\n")


def test_what_only_building_shows(tmp_path: Path) -> None:
    node = '[[directory.nodes]]\ncluster = 1\nnode = 7\naddress = "10.0.0.7:4000"\n'
    with pytest.raises(ConfigError, match=r"directory\.nodes\.1: names a node a second time"):
        loaded(tmp_path, MINIMAL + node + node).directory.build()
    cluster = '[[directory.clusters]]\ncluster = 1\nrelay = "10.0.0.7:4000"\n'
    with pytest.raises(ConfigError, match=r"directory\.clusters\.1: names"):
        loaded(tmp_path, MINIMAL + cluster + cluster).directory.build()
    twice = MINIMAL + '[[hint.configurations]]\nid = "0"\nrouting_key = "' + "00" * 16 + '"\n'
    with pytest.raises(ConfigError, match=r"hint\.configurations\.1\.id"):
        loaded(tmp_path, twice).hint.keyring(wall=0.0, now=0.0)


def test_secrets_do_not_show(tmp_path: Path) -> None:
    text = repr(loaded(tmp_path, example()))
    assert "redacted" in text
    assert "aabbcc" not in text
    assert "\\x" not in text.replace("\\x00", "").partition("hint=")[2].partition("directory=")[0]


@pytest.mark.parametrize(
    ("inner", "hop", "problem"),
    [
        ("10.0.0.5:4000", "10.0.0.7:4000", None),
        ("[::]:4000", "10.0.0.7:4000", None),
        ("[::]:4000", "[2001:db8::7]:4000", None),
        ("[2001:db8::5]:4000", "[2001:db8::7]:4000", None),
        ("10.0.0.5:4000", "[2001:db8::7]:4000", "cannot be reached from 10.0.0.5"),
        ("0.0.0.0:4000", "[2001:db8::7]:4000", "cannot be reached from 0.0.0.0"),
        ("[2001:db8::5]:4000", "10.0.0.7:4000", "cannot be reached from 2001:db8::5"),
        ("10.0.0.5:4000", "10.0.0.7:0", "has no port"),
        ("10.0.0.5:4000", "0.0.0.0:4000", "is the unspecified address"),
    ],
)
@pytest.mark.parametrize("kind", ["node", "cluster"])
def test_next_hops_that_no_packet_could_reach(
    tmp_path: Path, kind: str, inner: str, hop: str, problem: str | None
) -> None:
    text = MINIMAL.replace("10.0.0.5:4000", inner)
    if kind == "node":
        key = "directory.nodes.0.address"
        text += f'[[directory.nodes]]\ncluster = 1\nnode = 7\naddress = "{hop}"\n'
    else:
        key = "directory.clusters.0.relay"
        text += f'[[directory.clusters]]\ncluster = 1\nrelay = "{hop}"\n'
    if problem is None:
        assert loaded(tmp_path, text).directory.build()
    else:
        with pytest.raises(ConfigError, match=re.escape(f"{key}: {problem}")):
            loaded(tmp_path, text)


@pytest.mark.parametrize("name", ["receive_buffer", "send_buffer"])
def test_a_buffer_larger_than_the_kernel_can_be_asked_for(tmp_path: Path, name: str) -> None:
    assert loaded(tmp_path, f"{MINIMAL}\n[sockets]\n{name} = {2**31 - 1}\n")
    with pytest.raises(ConfigError, match=rf"sockets\.{name}: is more than 2147483647"):
        loaded(tmp_path, f"{MINIMAL}\n[sockets]\n{name} = {2**31}\n")


@pytest.mark.parametrize(("ttl", "idle", "wrong"), [(120, 60, True), (121, 60, False)])
def test_entries_do_not_lapse_while_their_flows_live(
    tmp_path: Path, ttl: int, idle: int, wrong: bool
) -> None:
    store = f'[store]\nurl = "redis://cache"\nkey = "{"00" * 16}"\nttl = {ttl}\n'
    text = f"{MINIMAL}\n[limits]\nidle_timeout = {idle}\n{store}"
    if not wrong:
        assert loaded(tmp_path, text).store
        return
    with pytest.raises(ConfigError, match=r"store\.ttl: is no longer than two"):
        loaded(tmp_path, text)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("4000", "65534"), "workers: are more than there are ports from that of inner on"),
        (("inner", "workers = 257\ninner"), "workers: is more than 256"),
    ],
)
def test_workers_that_cannot_all_be_reached(
    tmp_path: Path, change: tuple[str, str], line: str
) -> None:
    text = MINIMAL.replace(*change)
    text = text if "workers" in text else "workers = 3\n" + text
    with pytest.raises(ConfigError, match=re.escape(line)):
        loaded(tmp_path, text)


def test_the_last_port_may_be_the_last_worker_s(tmp_path: Path) -> None:
    settings = loaded(tmp_path, "workers = 2\n" + MINIMAL.replace("4000", "65534"))
    assert settings.inner_of(1).port == 65535


def test_more_sockets_than_there_is_room_for(tmp_path: Path) -> None:
    more = "".join(f'[[listen]]\nbind = "192.0.2.1:{4000 + n}"\n' for n in range(64))
    with pytest.raises(ConfigError, match="listen: has more than 64 entries"):
        loaded(tmp_path, MINIMAL + more)


@pytest.mark.parametrize("name", ["routing_key", "password_key"])
def test_a_key_has_one_use(tmp_path: Path, name: str) -> None:
    """What a relay tells a store under its key would else be told under the key of hints."""
    key = "00112233445566778899aabbccddeeff"
    other = "".join(f"{n:02x}" for n in range(16))
    text = MINIMAL.replace(key, key if name == "routing_key" else other)
    text += f'password_key = "{key if name == "password_key" else other}"\n'
    text += f'[store]\nurl = "redis://localhost"\nkey = "{key}"\n'
    with pytest.raises(ConfigError, match=r"store.key: is a key of hint.configurations.0") as found:
        loaded(tmp_path, text)
    assert key not in str(found.value)
