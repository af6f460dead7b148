"""The file of ``transceiver serve``: what it gives the cores, and what is refused by name."""

import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from attrs import fields

from calls import of_kind, talk
from pair import Rig, endpoint_config
from stunroute.address import Address
from stunroute.errors import ConfigError
from stunroute.hint import Hint
from stunroute.trace import Drop
from transceiver import settings
from transceiver.config import (
    ChannelLimits,
    DtlsLimits,
    EndpointConfig,
    IceLimits,
    SctpLimits,
    SessionLimits,
    SrtpLimits,
)
from transceiver.events import AudioReceived, Ended, MessageReceived
from transceiver.settings import TransceiverSettings, load

KEY = "00112233445566778899aabbccddeeff"
PASSWORD_KEY = "ab" * 32
WALL = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOW = 5000.0

MINIMAL = f"""
cluster = 1
node = 7

[udp]
listen = "10.1.0.2:5000"
candidates = ["203.0.113.1:3478", "[2001:db8::1]:3478"]
relays = ["10.1.0.1:4000"]

[[hint.configurations]]
id = "0"
routing_key = "{KEY}"
password_key = "{PASSWORD_KEY}"
"""


@pytest.fixture
def read(tmp_path):
    def read(text: str, environ=None, **options) -> TransceiverSettings:
        path = tmp_path / "transceiver.toml"
        path.write_text(text)
        return load(path, environ or {}, {k.replace("__", "."): v for k, v in options.items()})

    return read


def test_the_least_that_works(read):
    config = read(MINIMAL).endpoint_config()
    assert config == EndpointConfig(
        cluster=1,
        node=7,
        candidates=(Address.parse("203.0.113.1:3478"), Address.parse("[2001:db8::1]:3478")),
        relays=frozenset({Address.parse("10.1.0.1:4000")}),
    )


def other(inner, index):
    """Not the default of a bound, and within what it may be."""
    return min(inner.default + index + 1, settings._MOST.get(inner.name, 1 << 60))


def test_every_bound_of_the_core_can_be_set(read):
    text = MINIMAL.replace("node = 7", 'node = 7\ndata = false\ncodecs = ["PCMA", "opus"]')
    text += "[limits]\nsessions = 3\nretry_after = 1.5\nevents = 9\n"
    wanted = {"sessions": 3, "retry_after": 1.5, "events": 9}
    limits = {
        "session": SessionLimits,
        "ice": IceLimits,
        "dtls": DtlsLimits,
        "srtp": SrtpLimits,
        "sctp": SctpLimits,
        "channel": ChannelLimits,
    }
    for name, schema in limits.items():
        text += f"[limits.{name}]\n"
        for index, inner in enumerate(fields(schema)):
            text += f"{inner.name} = {other(inner, index)}\n"
    config = read(text).endpoint_config()
    for name, value in wanted.items():
        assert getattr(config, name) == value
    for name, schema in limits.items():
        for index, inner in enumerate(fields(schema)):
            assert getattr(getattr(config, name), inner.name) == other(inner, index)
    assert config.codecs == ("PCMA", "opus")
    assert config.data is False
    # Whatever the core's config may hold one day can be set from here.
    assert {inner.name for inner in fields(EndpointConfig)} == {
        "cluster", "node", "candidates", "relays", "codecs", "data", *wanted, *limits
    }  # fmt: skip


def test_environment_over_file_and_options_over_both(read):
    environ = {
        "TRANSCEIVER_NODE": "8",
        "TRANSCEIVER_UDP__RELAYS": "10.1.0.3:4000, 10.1.0.4:4000",
        "TRANSCEIVER_BACKEND__OPTIONS__DELAY": "0.5",
        "TRANSCEIVER_SERVICE_HOST": "10.0.0.1",
    }
    found = read(MINIMAL, environ)
    assert found.node == 8
    assert [str(relay) for relay in found.udp.relays] == ["10.1.0.3:4000", "10.1.0.4:4000"]
    assert found.backend.options == {"delay": "0.5"}
    assert read(MINIMAL, environ, node="9").node == 9


def test_settings_without_a_file():
    found = load(
        None,
        {},
        {
            "cluster": 1,
            "node": 2,
            "udp.listen": "127.0.0.1:0",
            "udp.candidates": "127.0.0.1:3478",
            "udp.relays": "127.0.0.1:4000",
            "hint.configurations.0.id": "a",
            "hint.configurations.0.routing_key": KEY,
            "hint.configurations.0.password_key": PASSWORD_KEY,
        },
    )
    assert found.backend.name == "echo"
    assert found.http.listen == Address.parse("127.0.0.1:8080")


def test_dates_become_readings_of_the_process_clock(read):
    begin = (WALL + timedelta(minutes=1)).isoformat()
    text = (
        MINIMAL
        + f"""
read_from = 2026-01-01T00:00:00Z
[[hint.configurations]]
id = "1"
routing_key = "{KEY[::-1]}"
password_key = "{PASSWORD_KEY}"
read_from = 2026-01-01T00:00:00Z
mint_from = {begin}
read_until = 2026-11-21T14:00:00+01:00
"""
    )
    keyring = read(text).keyring(wall=WALL.timestamp(), now=NOW)
    assert keyring.mint(1, 7, bytes, NOW).startswith("0")
    assert keyring.mint(1, 7, bytes, NOW + 59).startswith("0")
    ufrag = keyring.mint(1, 7, bytes, NOW + 60)
    assert ufrag.startswith("1")
    assert isinstance(keyring.decode_untrusted(ufrag.encode(), NOW + 3599), Hint)
    assert keyring.decode_untrusted(ufrag.encode(), NOW + 3600) is Drop.HINT_OUTSIDE_WINDOW


def test_no_configuration_to_mint_under_is_refused_at_the_start(read):
    found = read(MINIMAL + "mint_from = 2027-01-01T00:00:00Z\n")
    with pytest.raises(ConfigError, match=r"^hint\.configurations: .*minted"):
        found.keyring(wall=WALL.timestamp(), now=NOW)


@pytest.mark.parametrize(
    ("line", "instead", "key"),
    [
        ("cluster = 1", "", "cluster"),
        ("cluster = 1", "cluster = 65536", "cluster"),
        ("cluster = 1", "cluster = -1", "cluster"),
        ("node = 7", "node = 4294967296", "node"),
        ("node = 7", "nodes = 7", "nodes"),
        ("node = 7", "node = 7\ndrain = -1.0", "drain"),
        ("node = 7", "node = 7\ncodecs = []", "codecs"),
        ("node = 7", 'node = 7\ncodecs = ["opus", "G722"]', "codecs.1"),
        ("node = 7", 'node = 7\ncodecs = ["opus", "opus"]', "codecs.1"),
        ('listen = "10.1.0.2:5000"', "", "udp.listen"),
        ('listen = "10.1.0.2:5000"', 'listen = "edge.example:5000"', "udp.listen"),
        ('relays = ["10.1.0.1:4000"]', "relays = []", "udp.relays"),
        ('relays = ["10.1.0.1:4000"]', 'relays = ["10.1.0.1"]', "udp.relays.0"),
        ('relays = ["10.1.0.1:4000"]', 'relays = ["10.1.0.1:0"]', "udp.relays.0"),
        ('relays = ["10.1.0.1:4000"]', 'relays = ["[2001:db8::2]:4000"]', "udp.relays.0"),
        (
            'relays = ["10.1.0.1:4000"]',
            'relays = ["10.1.0.1:4000"]\nreceive_buffer = 2147483648',
            "udp.receive_buffer",
        ),
        ('"[2001:db8::1]:3478"', '"[::]:3478"', "udp.candidates.1"),
        ('"[2001:db8::1]:3478"', '"0.0.0.0:3478"', "udp.candidates.1"),
        ('id = "0"', "", "hint.configurations.0.id"),
        ('id = "0"', 'id = "z"', "hint.configurations.0.id"),
        (f'routing_key = "{KEY}"', 'routing_key = "00"', "hint.configurations.0.routing_key"),
        (f'password_key = "{PASSWORD_KEY}"', "", "hint.configurations.0.password_key"),
        (
            f'password_key = "{PASSWORD_KEY}"',
            'password_key = "00"',
            "hint.configurations.0.password_key",
        ),
        ("[[hint.configurations]]", "[backend]\nname=1\n[[hint.configurations]]", "backend.name"),
        ("[[hint.configurations]]", "[http]\nport=1\n[[hint.configurations]]", "http.port"),
        (
            "[[hint.configurations]]",
            "[limits.ice]\nrestart_overlap=-1\n[[hint.configurations]]",
            "limits.ice.restart_overlap",
        ),
        (
            "[[hint.configurations]]",
            "[limits]\nsessions=0\n[[hint.configurations]]",
            "limits.sessions",
        ),
    ],
)
def test_what_cannot_work_is_refused_by_its_key(read, line, instead, key):
    assert line in MINIMAL
    with pytest.raises(ConfigError) as caught:
        read(MINIMAL.replace(line, instead))
    assert caught.value.key == key
    assert "\n" not in str(caught.value)


LIMITS = {
    "session": SessionLimits,
    "ice": IceLimits,
    "dtls": DtlsLimits,
    "srtp": SrtpLimits,
    "sctp": SctpLimits,
    "channel": ChannelLimits,
}
BOUNDS = [(table, inner.name) for table, schema in LIMITS.items() for inner in fields(schema)]


@pytest.mark.parametrize(("table", "name"), BOUNDS)
def test_every_bound_has_an_end(read, table, name):
    least = settings._LEAST.get(name, 0)
    most = settings._MOST.get(name)
    wrong = [least - 1] if most is None else [least - 1, most + 1]
    if name.endswith(("_interval", "resend", "resend_initial", "resend_maximum")):
        wrong += [0, float("nan")]  # it would come again at once, for ever
    for value in wrong:
        with pytest.raises(ConfigError) as caught:
            read(f"{MINIMAL}\n[limits.{table}]\n{name} = {value}\n")
        assert caught.value.key == f"limits.{table}.{name}"
    for value in (least, *([] if most is None else [most])):
        found = read(f"{MINIMAL}\n[limits.{table}]\n{name} = {value}\n").endpoint_config()
        assert getattr(getattr(found, table), name) == value


def test_nothing_makes_an_acknowledgement_wait_for_more_than_half_a_second(read):
    """rfc9260/6.2/14 and rfc9260/6.2/15."""
    read(f"{MINIMAL}\n[limits.sctp]\ndelayed_ack = 0.5\n")
    with pytest.raises(ConfigError):
        read(f"{MINIMAL}\n[limits.sctp]\ndelayed_ack = 0.501\n")


@pytest.mark.parametrize("table", ["ice", "dtls", "srtp"])
def test_the_least_of_every_bound_still_carries_a_call(read, table):
    text = f"{MINIMAL}\n[limits.{table}]\n"
    for inner in fields(LIMITS[table]):
        text += f"{inner.name} = {settings._LEAST.get(inner.name, 0)}\n"
    limits = getattr(read(text).endpoint_config(), table)
    rig = Rig.build(config=endpoint_config(**{table: limits}))
    client = rig.client()
    rig.establish(client)
    talk(rig, client)
    rig.run(10.0)
    assert len(of_kind(rig, AudioReceived)) == 5
    assert not of_kind(rig, Ended)


@pytest.mark.parametrize("table", ["sctp", "channel"])
def test_the_least_of_every_bound_still_carries_a_message(read, table):
    text = f"{MINIMAL}\n[limits.{table}]\n"
    for inner in fields(LIMITS[table]):
        text += f"{inner.name} = {settings._LEAST.get(inner.name, 0)}\n"
    limits = getattr(read(text).endpoint_config(), table)
    rig = Rig.build(config=endpoint_config(**{table: limits}))
    client = rig.client(contents=("audio", "data"))
    call = rig.establish(client)
    rig.run(1.0)
    number = client.with_channels(lambda channels: channels.open("c", now=rig.now), rig.now)
    rig.run(1.0)
    message = bytes(60_000)
    client.with_channels(lambda channels: channels.send(number, message, rig.now), rig.now)
    rig.run(10.0)
    assert [event.message for event in of_kind(rig, MessageReceived)] == [message]
    assert rig.endpoint.send_message(call, number, b"back", rig.now)


def test_no_secret_is_shown(read):
    shown = repr(read(MINIMAL))
    for secret in (KEY, PASSWORD_KEY):
        assert secret not in shown
        assert repr(bytes.fromhex(secret))[2:-1] not in shown


def test_the_file_in_the_documentation_is_one(read):
    block = settings.__doc__.partition("::\n")[2].partition("\nThe environment")[0]
    text = "\n".join(line[4:] for line in block.splitlines())
    found = read(text)
    assert found.identity == Path("identity.pem")
    assert found.endpoint_config().sessions == 1000
    assert found.drain == 10.0
    # It shows every key of the top level.
    assert set(tomllib.loads(text)) == {inner.name for inner in fields(TransceiverSettings)}
