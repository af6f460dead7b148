"""``conformance peers`` as one types it. What it starts is tried in tests/live/test_peers.py."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from conformance.commands.peers import command
from conformance.peers import PEERS, installing


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> object:
    """The command with an empty folder of peers, and this process's signals left alone."""
    monkeypatch.setattr("conformance.commands.peers.signal", lambda *_: None)
    monkeypatch.setenv(installing.VARIABLE, str(tmp_path))

    def act(*arguments: str) -> Result:
        return CliRunner().invoke(command, arguments)

    return act


@pytest.mark.parametrize("arguments", [(), ("--list",)])
def test_there_is_a_list(run, arguments: tuple[str, ...]) -> None:
    told = run(*arguments)
    assert told.exit_code == 0
    for peer in PEERS:
        assert f" {peer.name} " in told.stdout
    assert "lacks werift" in told.stdout or "lacks nodejs" in told.stdout


@pytest.mark.parametrize("verb", ["start", "run", "check", "install"])
def test_an_unknown_peer_makes_no_sense(run, verb: str) -> None:
    told = run(verb, "nobody")
    assert told.exit_code == 2
    assert "there is no peer nobody; there are aiortc, " in told.stderr


@pytest.mark.parametrize("verb", ["start", "run", "check"])
def test_one_that_is_not_installed_says_how_it_is(run, verb: str) -> None:
    told = run(verb, "werift")
    assert told.exit_code == 1
    assert "conformance peers install werift" in told.stderr


def test_the_prefix_is_an_option(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Path] = []
    monkeypatch.setattr("conformance.peers.use_prefix", told.append)
    assert run("--prefix", str(tmp_path / "there")).exit_code == 0
    assert told == [tmp_path / "there"]
