"""The command line, and the relay as a program of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fleet import CLUSTER, CONFIGURATION, check, dtls, forged, leg, success, ufrag
from stunroute import __main__ as program
from stunroute.address import Address
from stunroute.hint import HintConfiguration

ROOT = Path(program.__file__).parents[1]
TIMEOUT = 20


def settings_text(node: Address, inner: str = "127.0.0.1:0") -> str:
    assert CONFIGURATION.password_key is not None
    return f"""
inner = "{inner}"
[[listen]]
bind = "127.0.0.1:0"
[[hint.configurations]]
id = "0"
routing_key = "{CONFIGURATION.routing_key.hex()}"
password_key = "{CONFIGURATION.password_key.hex()}"
[[directory.nodes]]
cluster = {CLUSTER}
node = 1
address = "{node}"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "relay.toml"
    path.write_text(settings_text(Address.of("127.0.0.1", 9)))
    return path


def invoke(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(program.main, arguments, env=environ)


class TestCheck:
    def test_good_settings(self, config: Path) -> None:
        result = invoke("relay", "--config", str(config), "--check")
        assert (result.exit_code, result.stdout) == (0, "stunroute: the settings make sense\n")

    def test_options_and_environment_go_over_the_file(self, config: Path) -> None:
        arguments = ("relay", "--config", str(config), "--check")
        good = (
            *arguments,
            "--listen",
            "127.0.0.1:1",
            "--inner",
            "127.0.0.1:2",
            "--verify",
            "owner",
        )
        assert invoke(*good, "--set", "limits.flows=5").exit_code == 0
        for bad in (
            ("--listen", "nowhere"),
            ("--inner", "nowhere"),
            ("--verify", "somebody"),
            ("--set", "limits.flows=0"),
            ("--set", "limits.flows"),
        ):
            assert invoke(*arguments, *bad).exit_code == 2
        result = invoke(*arguments, STUNROUTE_RELAY_LIMITS__FLOWS="none")
        assert result.exit_code == 2
        assert result.stderr == "stunroute: limits.flows: is not a whole number\n"

    def test_the_file_may_be_named_by_the_environment(self, config: Path) -> None:
        assert invoke("relay", "--check", STUNROUTE_RELAY_CONFIG=str(config)).exit_code == 0

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("lisen = 1", "lisen: is not a setting; did you mean 'listen'?"),
            ("inner = [", "is not TOML"),
            ("", "listen: is missing"),
        ],
    )
    def test_bad_settings_are_one_line_and_exit_code_2(
        self, tmp_path: Path, text: str, line: str
    ) -> None:
        path = tmp_path / "bad.toml"
        path.write_text(text)
        result = invoke("relay", "--config", str(path))
        assert result.exit_code == 2
        assert line in result.stderr
        assert result.stderr.count("\n") == 1
        assert result.stdout == ""

    def test_edge_without_a_password_key(self, config: Path) -> None:
        text = "".join(
            line for line in config.read_text().splitlines(True) if "password" not in line
        )
        config.write_text(text)
        assert invoke("relay", "--config", str(config), "--check").exit_code == 0
        result = invoke("relay", "--config", str(config), "--check", "--verify", "edge")
        assert result.exit_code == 2
        assert "hint.configurations.0.password_key" in result.stderr

    def test_an_address_that_is_taken_is_exit_code_1(self, config: Path) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            arguments = ("relay", "--config", str(config), "--inner", f"127.0.0.1:{port}")
            result = invoke(*arguments)
        assert result.exit_code == 1
        assert "cannot start" in result.stderr


class TestHint:
    def test_keygen_prints_a_configuration_that_is_accepted(self) -> None:
        result = invoke("hint", "keygen", "--id", "b")
        table = tomllib.loads(result.stdout)["hint"]["configurations"][0]
        configuration = HintConfiguration(
            table["id"], bytes.fromhex(table["routing_key"]), bytes.fromhex(table["password_key"])
        )
        assert configuration.identifier == "b"
        assert invoke("hint", "keygen").stdout != invoke("hint", "keygen").stdout

    def test_keygen_refuses_a_bad_id(self) -> None:
        assert invoke("hint", "keygen", "--id", "z").exit_code == 2

    def test_decode(self, config: Path) -> None:
        result = invoke("hint", "decode", "--config", str(config), ufrag(1).decode())
        facts = json.loads(result.stdout)
        assert (facts["configuration"], facts["cluster"], facts["node"]) == ("0", CLUSTER, 1)

    def test_decode_of_what_is_none(self, config: Path) -> None:
        result = invoke("hint", "decode", "--config", str(config), "Zz+/")
        assert result.exit_code == 1
        assert result.stderr == "stunroute: no hint: hint-malformed\n"
        assert invoke("hint", "decode", "--config", "/nowhere", "x").exit_code == 2


class Program:
    """A relay process."""

    def __init__(self, config: Path, *arguments: str) -> None:
        environ = {k: v for k, v in os.environ.items() if not k.startswith("STUNROUTE_RELAY")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stunroute", "relay", "--config", str(config), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environ,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate(timeout=TIMEOUT)
        self.started: dict[str, Any] = json.loads(line)
        self.public = Address.parse(self.started["listen"][0])
        self.inner = Address.parse(self.started["inner"])

    def stop(self, number: signal.Signals) -> tuple[int, dict[str, Any], str]:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=TIMEOUT)
        return self.process.returncode, json.loads(out.splitlines()[-1]), err

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate(timeout=TIMEOUT)


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """A transceiver's and a client's."""
    opened = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for sock in opened:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(TIMEOUT)
    yield opened
    for sock in opened:
        sock.close()


def name_of(sock: socket.socket) -> Address:
    return Address.of(*sock.getsockname())


class TestProgram:
    def test_a_call_through_a_relay_that_is_restarted(
        self, tmp_path: Path, sockets: list[socket.socket]
    ) -> None:
        node, client = sockets
        config = tmp_path / "relay.toml"
        config.write_text(settings_text(name_of(node)))
        relay = Program(config)
        try:
            public = (relay.public.ip, relay.public.port)
            inner = (relay.inner.ip, relay.inner.port)
            for data in (b"", b"\x00", dtls(), os.urandom(1200), forged(1), check(1)[:-3]):
                client.sendto(data, public)
            request = check(1)
            client.sendto(request, public)
            data, sender = node.recvfrom(4096)
            assert data == leg(name_of(client), request, relay.public)
            assert sender == inner
            answer = success()
            node.sendto(leg(name_of(client), answer, relay.public), inner)
            assert client.recvfrom(4096) == (answer, public)
            code, stopped, err = relay.stop(signal.SIGTERM)
        finally:
            relay.kill()
        assert (code, err) == (0, "")
        assert stopped["event"] == "stopped"
        assert (stopped["uplink_packets"], stopped["downlink_packets"]) == (1, 1)
        assert stopped["drops"]["edge-integrity"] == 1
        assert sum(stopped["drops"].values()) == 6

        # The same addresses again, and a call whose downlink never paused.
        arguments = ("--inner", str(relay.inner), "--listen", str(relay.public))
        relay = Program(config, *arguments)
        try:
            node.sendto(leg(name_of(client), b"media", relay.public), inner)
            assert client.recvfrom(4096) == (b"media", public)
            client.sendto(dtls(b"back"), public)
            assert node.recvfrom(4096)[0] == leg(name_of(client), dtls(b"back"), relay.public)
            code, stopped, err = relay.stop(signal.SIGINT)
        finally:
            relay.kill()
        assert (code, err) == (0, "")
        assert (stopped["healed"], stopped["drops"]) == (1, {})

    def test_a_bad_file_is_exit_code_2_and_one_line(self, tmp_path: Path) -> None:
        path = tmp_path / "bad.toml"
        path.write_text(settings_text(Address.of("127.0.0.1", 9)).replace("routing_key", "rooting"))
        done = subprocess.run(
            [sys.executable, "-m", "stunroute", "relay", "--config", str(path)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=TIMEOUT,
            check=False,
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            "stunroute: hint.configurations.0.rooting: is not a setting; "
            "did you mean 'routing_key'?\n"
        )
