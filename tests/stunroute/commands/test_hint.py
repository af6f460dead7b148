"""``stunroute hint`` as it is typed."""

import os
import stat
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fleet import CLUSTER, CONFIGURATION, KEYRING
from stunroute.__main__ import main
from stunroute.commands.rotation import configurations_of

assert CONFIGURATION.password_key is not None
SECRETS = (CONFIGURATION.routing_key.hex(), CONFIGURATION.password_key.hex())
SETTINGS = f"""
inner = "127.0.0.1:0"
[[listen]]
bind = "127.0.0.1:0"
# Kept.
[[hint.configurations]]
id = "0"
routing_key = "{SECRETS[0]}"
password_key = "{SECRETS[1]}"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "relay.toml"
    path.write_text(SETTINGS)
    return path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["hint", *arguments])


class TestEncode:
    def test_what_is_minted_can_be_read(self, config: Path) -> None:
        result = invoke("encode", "--config", str(config), str(CLUSTER), "7")
        ufrag = result.stdout.strip()
        assert result.exit_code == 0
        hint = KEYRING.decode_untrusted(ufrag.encode(), 0.0)
        assert (hint.cluster, hint.node) == (CLUSTER, 7)  # type: ignore[union-attr]
        shown = invoke("decode", "--config", str(config), ufrag)
        assert '"node": 7' in shown.stdout

    def test_the_password_is_that_of_the_ufrag(self, config: Path) -> None:
        result = invoke("encode", "--config", str(config), "1", "2", "--password")
        ufrag, password = result.stdout.split()
        assert KEYRING.password(ufrag.encode()).decode() == password

    def test_no_two_are_alike(self, config: Path) -> None:
        arguments = ("encode", "--config", str(config), "1", "2")
        assert invoke(*arguments).stdout != invoke(*arguments).stdout

    def test_without_a_password_key(self, config: Path) -> None:
        config.write_text(SETTINGS.replace(f'password_key = "{SECRETS[1]}"', ""))
        assert invoke("encode", "--config", str(config), "1", "2").exit_code == 0
        result = invoke("encode", "--config", str(config), "1", "2", "--password")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "no password key" in result.stderr

    def test_when_nothing_may_be_minted(self, config: Path) -> None:
        config.write_text(SETTINGS + "mint_from = 2999-01-01T00:00:00Z\n")
        result = invoke("encode", "--config", str(config), "1", "2")
        assert result.exit_code == 1
        assert "may be minted" in result.stderr

    @pytest.mark.parametrize(
        "numbers", [("65536", "0"), ("0", "4294967296"), ("-1", "0"), ("x", "0")]
    )
    def test_numbers_out_of_range(self, config: Path, numbers: tuple[str, str]) -> None:
        assert invoke("encode", "--config", str(config), "--", *numbers).exit_code == 2


class TestRotate:
    def test_printed(self, config: Path) -> None:
        result = invoke("rotate", "--config", str(config))
        assert result.exit_code == 0
        (table,) = tomllib.loads(result.stdout)["hint"]["configurations"]
        assert table["id"] == "1"
        assert (table["mint_from"] - table["read_from"]).total_seconds() == 600
        assert config.read_text() == SETTINGS
        assert table["routing_key"] not in result.stderr
        assert "1. Give configuration 1 to every relay now" in result.stderr
        for secret in SECRETS:
            assert secret not in result.output

    def test_written(self, config: Path) -> None:
        config.chmod(0o640)
        result = invoke("rotate", "--config", str(config), "--write", "--lead", "1h30m")
        assert (result.exit_code, result.stdout) == (0, "")
        assert stat.S_IMODE(config.stat().st_mode) == 0o640
        old, new = configurations_of(config.read_text())
        assert "# Kept." in config.read_text()
        assert old.read_until is not None
        assert new.read_from is not None
        assert (old.read_until - new.read_from).total_seconds() == 5400 + 3600 + 600
        assert new.routing_key.hex() not in result.stderr
        assert os.listdir(config.parent) == [config.name]
        check = CliRunner().invoke(main, ["relay", "--config", str(config), "--check"])
        assert check.exit_code == 0
        again = invoke("rotate", "--config", str(config), "--write")
        assert again.exit_code == 2
        assert "let that rotation end" in again.stderr

    def test_through_a_link(self, config: Path) -> None:
        link = config.with_name("link.toml")
        link.symlink_to(config.name)
        assert invoke("rotate", "--config", str(link), "--write").exit_code == 0
        assert link.is_symlink()
        assert len(configurations_of(config.read_text())) == 2

    def test_the_file_of_a_transceiver_will_do(self, config: Path) -> None:
        config.write_text("cluster = 1\n" + SETTINGS.replace("inner", "# inner"))
        assert invoke("rotate", "--config", str(config)).exit_code == 0

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (("--id", "0"), "'0' is in use"),
            (("--id", "z"), "not one character"),
            (("--lead", "soon"), "no duration"),
            (("--lead", "10m5"), None),
            (("--lead", "-5m"), "no duration"),
            (("--lead", ""), "no duration"),
        ],
    )
    def test_refusals(self, config: Path, arguments: tuple[str, ...], problem: str | None) -> None:
        result = invoke("rotate", "--config", str(config), *arguments)
        assert result.exit_code == (0 if problem is None else 2)
        assert problem is None or problem in result.stderr

    def test_files_that_are_not_there_or_not_text(self, config: Path) -> None:
        result = invoke("rotate", "--config", str(config.with_name("none")))
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        config.write_bytes(b"\xff")
        result = invoke("rotate", "--config", str(config))
        assert "not UTF-8" in result.stderr

    def test_a_file_that_cannot_be_edited_stays(self, config: Path) -> None:
        text = 'hint = { configurations = [{ id = "0", routing_key = "' + "ab" * 16 + '" }] }\n'
        config.write_text(text)
        result = invoke("rotate", "--config", str(config), "--write")
        assert result.exit_code == 2
        assert config.read_text() == text
        assert "ab" * 16 not in result.output
