"""What the README shows is run, so that it cannot go stale."""

import json
import re
import shlex
from pathlib import Path

import pytest
from click import Command, Group
from click.testing import CliRunner

import conformance.__main__
import stunroute.__main__
import transceiver.__main__
import transceiver.settings
from conformance.expectations import parse
from stunroute import config
from stunroute.settings import RelaySettings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PROGRAMS: dict[str, Command] = {
    "stunroute": stunroute.__main__.main,
    "transceiver": transceiver.__main__.main,
    "conformance": conformance.__main__.main,
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    parts = [part for line in lines for part in line.split("&&")]
    return [shlex.split(part) for part in parts if part.strip()]


EXAMPLES = {path.read_text(): path for path in sorted((ROOT / "tests/examples").glob("*.*"))}
"""Programs shown whole; other tests run them as what they are."""


@pytest.mark.parametrize("source", blocks("python"))
def test_python_snippets_run(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if source in EXAMPLES:
        return
    monkeypatch.chdir(tmp_path)
    for name, text in zip(("relay.toml", "transceiver.toml"), blocks("toml"), strict=False):
        (tmp_path / name).write_text(text)
    exec(compile(source, "README.md", "exec"), {})


def test_the_agents_shown_are_those_that_are_tested() -> None:
    shown = {*blocks("python"), *blocks("js")}
    missing = [path.name for text, path in EXAMPLES.items() if text not in shown]
    assert missing == []


@pytest.mark.parametrize("source", blocks("json"))
def test_json_snippets_are_json(source: str) -> None:
    json.loads(source)


def test_settings_shown_are_settings(tmp_path: Path) -> None:
    relay, node, known = blocks("toml")
    for text, load in ((relay, load_relay), (node, load_node), (known, load_known)):
        path = tmp_path / "settings.toml"
        path.write_text(text)
        load(path)


def load_relay(path: Path) -> None:
    config.load(RelaySettings, path=path, environ={}, prefix="STUNROUTE_RELAY", options={})


def load_node(path: Path) -> None:
    transceiver.settings.load(path, {}, {})


def load_known(path: Path) -> None:
    assert parse(path.read_text()).known


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_commands_exist_with_the_options_shown(command: list[str]) -> None:
    program, *arguments = command
    name = Path(program).name
    if name == "sh":
        assert (ROOT / arguments[0]).is_file()
        return
    if name == "python":
        assert (ROOT / arguments[0]).exists()
        return
    if name in ("tox", "pip"):
        return
    current = PROGRAMS[name]
    while isinstance(current, Group) and arguments:
        context = current.make_context(name, [], resilient_parsing=True)
        found = current.get_command(context, arguments.pop(0))
        assert found is not None
        current = found
    known = {option for parameter in current.params for option in parameter.opts}
    wanted = {word for word in arguments if word.startswith("--")}
    assert wanted <= known
    shown = CliRunner().invoke(current, ["--help"])
    assert shown.exit_code == 0


def test_the_two_commands_set_up_what_they_run() -> None:
    first, second = blocks("sh")[:2]
    assert first.startswith("sh .ci/setup demo && ")
    assert second.startswith("sh .ci/setup tests && ")


def test_no_figure_is_missing() -> None:
    assert "FIGURES" not in README
