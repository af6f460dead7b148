"""The program from outside: what it prints, how it ends, what it refuses."""

import contextlib
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from transceiver import __main__ as program
from transceiver import node, settings
from transceiver.__main__ import main
from transceiver.http import ApiKeys

ROOT = Path(__file__).parents[2]

SETTINGS = f"""
cluster = 1
node = 7

[udp]
listen = "127.0.0.1:0"
candidates = ["127.0.0.1:3478"]
relays = ["127.0.0.1:4000"]

[[hint.configurations]]
id = "0"
routing_key = "{"ab" * 16}"
password_key = "{"cd" * 32}"

[http]
listen = "127.0.0.1:0"
"""

OFFER = "\r\n".join(
    [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "c=IN IP4 0.0.0.0",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:abcdefghijklmnopqrstuvwx",
        "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
        "a=setup:actpass",
        "a=mid:0",
        "a=sendrecv",
        "a=rtcp-mux",
        "a=rtpmap:111 opus/48000/2",
        "",
    ]
)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "transceiver.toml"
    path.write_text(SETTINGS)
    return path


@contextlib.contextmanager
def running(config, *arguments):
    """The program and the address of its signalling."""
    command = [sys.executable, "-m", "transceiver", "serve", "--config", str(config), *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        hurry = threading.Timer(30, process.kill)
        hurry.start()
        try:
            line = process.stdout.readline()
            found = re.search(r"http://\S+/v1/realtime/calls", line)
            assert found, line + process.stderr.read()
            yield process, found[0], line
        finally:
            if process.poll() is None:
                process.kill()
            hurry.cancel()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serves_one_line_long_and_leaves_when_told(config, number):
    with running(config) as (process, calls, line):
        assert re.fullmatch(
            r"node 1/7: calls at http://127\.0\.0\.1:\d+/v1/realtime/calls, "
            r"relays at udp 127\.0\.0\.1:\d+\n",
            line,
        )
        health = httpx.get(calls.removesuffix("/v1/realtime/calls") + "/healthz")
        assert health.json() == {"status": "ok", "calls": 0}
        sdp = {"Content-Type": "application/sdp"}
        assert httpx.post(calls, content=b"nonsense", headers=sdp).status_code == 400
        process.send_signal(number)
        output, errors = process.communicate(timeout=20)
        assert process.returncode == 0
        assert (output, errors) == ("", "")


def test_a_call_is_ended_by_leaving(config):
    with running(config, "-v", "--set", "drain=30") as (process, calls, _):
        sdp = {"Content-Type": "application/sdp"}
        made = httpx.post(calls, content=OFFER, headers=sdp)
        assert made.status_code == 201, made.text
        process.send_signal(signal.SIGTERM)
        health = calls.removesuffix("/v1/realtime/calls") + "/healthz"
        while httpx.get(health).status_code != 503:
            pass
        assert httpx.post(calls, content=OFFER, headers=sdp).status_code == 503
        process.send_signal(signal.SIGTERM)  # once more: at once
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 0
        assert "ended, drained" in errors
        assert "a=" not in errors


def test_the_signal_reloads_the_keys_and_calls_stay_up(config):
    fresh = f'''
[[hint.configurations]]
id = "1"
routing_key = "{"12" * 16}"
password_key = "{"34" * 32}"
'''
    sdp = {"Content-Type": "application/sdp"}
    with running(config) as (process, calls, _):

        def told(pattern):
            process.send_signal(signal.SIGHUP)
            line = process.stderr.readline()
            assert re.search(pattern, line), line

        first = httpx.post(calls, content=OFFER, headers=sdp).headers["Location"]
        config.write_text(SETTINGS + "[nonsense")
        told(r"WARNING transceiver\.serve: reload refused, the old settings stay: .*not TOML")
        assert "/rtc_0" in httpx.post(calls, content=OFFER, headers=sdp).headers["Location"]
        # Of the former keys nothing is left here; the calls minted under them stay.
        before, _, behind = SETTINGS.partition("[[hint")
        config.write_text(f"{before}{fresh}[http]{behind.partition('[http]')[2]}")
        told(r"INFO transceiver\.serve: reloaded: hint configurations 1, 1 relays")
        assert "/rtc_1" in httpx.post(calls, content=OFFER, headers=sdp).headers["Location"]
        health = calls.removesuffix("/v1/realtime/calls") + "/healthz"
        assert httpx.get(health).json()["calls"] == 3
        assert first.rpartition("/")[2].startswith("rtc_0")
        process.terminate()
        _, errors = process.communicate(timeout=20)
        assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("cluster = 1", ""), r"transceiver: cluster: is missing"),
        (("node = 7", "nod = 7"), r"transceiver: nod: is not a setting.*node.*"),
        (('"127.0.0.1:4000"', '"relay"'), r"transceiver: udp\.relays\.0: .*"),
        (('id = "0"', 'id = "00"'), r"transceiver: hint\.configurations\.0\.id: .*"),
        (("node = 7", 'node = 7\nidentity = "gone.pem"'), r"transceiver: identity: cannot be.*"),
        (("node = 7", 'node = 7\nidentity = "{path}"'), r"transceiver: identity: holds no .*"),
        (("[http]", '[backend]\nname = "choe"\n[http]'), r"transceiver: backend\.name: .*echo.*"),
        (("[http]", "[backend.options]\ndelay = -1\n[http]"), r"transceiver: .*options\.delay: .*"),
    ],
)
def test_a_bad_setting_is_one_line_and_two(config, change, message):
    old, new = change
    assert old in SETTINGS
    config.write_text(SETTINGS.replace(old, new.format(path=config)))
    outcome = CliRunner().invoke(main, ["serve", "--config", str(config)])
    assert outcome.exit_code == 2
    assert re.fullmatch(message + "\n", outcome.output), outcome.output
    assert "abab" not in outcome.output


def test_a_missing_file_is_one_line_and_two(tmp_path):
    outcome = CliRunner().invoke(main, ["serve", "--config", str(tmp_path / "gone.toml")])
    assert outcome.exit_code == 2
    assert outcome.output.count("\n") == 1
    assert "gone.toml" in outcome.output


def test_an_option_that_is_no_setting(config):
    outcome = CliRunner().invoke(main, ["serve", "--config", str(config), "--set", "drain"])
    assert outcome.exit_code == 2
    assert "KEY=VALUE" in outcome.output


@pytest.mark.parametrize("key", ["udp.listen", "http.listen"])
def test_an_address_in_use_names_its_setting(config, key):
    kind = socket.SOCK_DGRAM if key == "udp.listen" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        arguments = ["serve", "--config", str(config), "--set", f"{key}={address}"]
        outcome = CliRunner().invoke(main, arguments)
    assert outcome.exit_code == 1
    assert re.fullmatch(rf"transceiver: {key}: cannot be bound: .*\n", outcome.output)


def test_recording_without_its_extra_says_what_to_install(config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "conformance.recorder", None)
    arguments = ["serve", "--config", str(config), "--record", str(tmp_path / "calls")]
    outcome = CliRunner().invoke(main, arguments)
    assert outcome.exit_code == 2
    assert re.fullmatch(r"transceiver: --record: .*stunroute\[conformance\].*\n", outcome.output)


def test_recording_to_what_is_no_directory(config):
    arguments = ["serve", "--config", str(config), "--record", str(config)]
    outcome = CliRunner().invoke(main, arguments)
    assert outcome.exit_code == 2
    assert outcome.output.startswith("transceiver: --record: ")


def test_help_names_the_commands():
    outcome = CliRunner().invoke(main, ["serve", "--help"])
    assert outcome.exit_code == 0
    assert "--record" in outcome.output
    assert {"serve", "demo", "key"} <= set(program.main.list_commands(None))


def test_a_key_is_shown_once_and_its_entry_is_what_the_settings_take(config):
    outcome = CliRunner().invoke(main, ["key", "shop"])
    assert outcome.exit_code == 0
    key, entry = outcome.output.split("\n\n")
    assert key not in entry
    config.write_text(f"{SETTINGS}\n{entry}")
    found = settings.load(config, {}, {}).http
    assert ApiKeys(found.keys).account_of_untrusted(key) == "shop"
    again = CliRunner().invoke(main, ["key", "shop"]).output
    assert again.split("\n\n")[0] != key


@pytest.mark.parametrize("name", ["", "a/b", "a" * 65, "ü"])
def test_a_key_for_an_account_that_cannot_be(name):
    outcome = CliRunner().invoke(main, ["key", name])
    assert outcome.exit_code == 2
    assert "sk-" not in outcome.output
    assert "Invalid value for NAME" in outcome.output


def test_an_identity_is_read_from_its_file(config, tmp_path):
    from datetime import UTC, datetime

    from transceiver.dtls import Identity

    identity = Identity.generate(bytes, not_before=datetime(2026, 1, 1, tzinfo=UTC))
    pem = tmp_path / "identity.pem"
    pem.write_text(identity.to_pem())
    found = node._identity(pem)
    assert found.fingerprint == identity.fingerprint


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"]])
def test_a_missing_extra_is_one_line(arguments, monkeypatch, capsys):
    for name in [name for name in sys.modules if name.partition(".")[0] == "httpx"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "transceiver.demo", raising=False)
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(SystemExit) as caught:
        main.main(arguments, prog_name="transceiver")
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert (
        said
        == "transceiver: needs httpx; install the extra: pip install 'stunroute[transceiver]'\n"
    )
