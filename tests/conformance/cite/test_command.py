"""The program: its statuses, and the project's own requirements."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from conformance.case import Case, Level, Profile, Seen, case
from conformance.cite.coverage import HEADING
from conformance.cite.model import Role
from conformance.commands import cite

ROOT = Path(__file__).parents[3]
ASKED = """
rfc = 9999
title = "Pigeons"

[[requirement]]
id = "rfc9999/1/1"
level = "MUST"
applies = ["relay"]
text = "Be a pigeon."
tests = ["tests/test_pigeon.py::test_feathers"]

[[requirement]]
id = "rfc9999/1/2"
level = "MUST"
applies = ["server"]
text = "Fly."
"""


class Flight(Seen):
    FLEW = "flew"
    FELL = "fell"


def made(name: str, level: Level, profiles: tuple[Profile, ...], *ids: str) -> Case:
    return case(
        name,
        "Fly.",
        sends="nothing",
        profiles=profiles,
        good=(Flight.FLEW,),
        bad=(Flight.FELL,),
        level=level,
        requirements=ids,
    )(lambda stage: Flight.FLEW)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of pigeons, without cases."""
    for folder in ("stunroute", "transceiver", "conformance/requirements", "tests"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "tests/test_pigeon.py").write_text("def test_feathers(): ...\n")
    (tmp_path / "conformance/requirements/rfc9999.toml").write_text(ASKED)
    monkeypatch.setattr("conformance.catalogue.load", tuple)
    return tmp_path


def run(checkout: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cite.command, ["--repository", str(checkout), *arguments])


def test_what_is_open_is_counted_and_no_error(checkout: Path) -> None:
    result = run(checkout, "--open")
    assert result.exit_code == 0
    assert "relay: 100.0 % answered by a case or a test (1 of 1" in result.stdout
    assert "server: 0.0 % answered by a case or a test (0 of 1; goal 60.0 %: not" in result.stdout
    assert "open: rfc9999/1/2 (server) Fly." in result.stdout


def test_what_is_wrong_is_listed(checkout: Path) -> None:
    (checkout / "tests/test_pigeon.py").write_text("def test_beak(): ...  # rfc9999/1/9\n")
    result = run(checkout)
    assert result.exit_code == cite.EXIT_WRONG
    assert "rfc9999/1/1: tests/test_pigeon.py has no test test_feathers" in result.stdout
    assert "tests/test_pigeon.py:1: names rfc9999/1/9" in result.stdout


def test_a_snapshot_holds_until_coverage_changes(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(checkout, "--check").exit_code == cite.EXIT_UNREADABLE
    assert run(checkout, "--snapshot").exit_code == 0
    assert (checkout / cite.SNAPSHOT).read_text().startswith(HEADING)
    assert run(checkout, "--check").exit_code == 0
    flies = made("rfc9999/1/flies", Level.MUST, (Profile.DTLS,), "rfc9999/1/2")
    monkeypatch.setattr("conformance.catalogue.load", lambda: (flies,))
    result = run(checkout, "--check")
    assert result.exit_code == cite.EXIT_CHANGED
    assert "- rfc9999/1/2 server=open" in result.stdout
    assert "+ rfc9999/1/2 server=case <- rfc9999/1/flies" in result.stdout


def test_the_page_is_written(checkout: Path, tmp_path: Path) -> None:
    assert run(checkout, "--html", str(tmp_path / "page.html")).exit_code == 0
    assert (tmp_path / "page.html").read_text("utf-8").startswith("<!doctype html>")
    result = run(checkout, "--html", str(tmp_path / "missing" / "page.html"))
    assert result.exit_code == cite.EXIT_UNREADABLE


def test_elsewhere_it_says_what_it_needs(checkout: Path) -> None:
    shutil.rmtree(checkout / "tests")
    result = run(checkout)
    assert result.exit_code == cite.EXIT_UNREADABLE
    assert "not a checkout of the project" in result.stderr


def test_options_that_exclude_each_other(checkout: Path) -> None:
    assert run(checkout, "--check", "--snapshot").exit_code == cite.EXIT_UNREADABLE


def test_cases_that_cannot_be_loaded(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> tuple[Case, ...]:
        raise ValueError("two cases are named x/1/y")

    monkeypatch.setattr("conformance.catalogue.load", load)
    result = run(checkout)
    assert result.exit_code == cite.EXIT_UNREADABLE
    assert "two cases are named" in result.stderr


def test_a_case_speaks_for_the_roles_of_its_profiles() -> None:
    found = cite.witnesses(
        [
            made("x/1/a", Level.MUST, (Profile.RELAY,), "rfc9999/1/1", "rfc9999/1/1"),
            made("x/1/b", Level.SHOULD, (Profile.STUN, Profile.RELAY), "rfc9999/1/1"),
            made("x/1/c", Level.MUST, (Profile.SDP,)),
        ]
    )
    assert [(w.name, w.roles, w.fails) for w in found.pop("rfc9999/1/1")] == [
        ("x/1/a", {Role.RELAY}, True),
        ("x/1/b", {Role.RELAY, Role.SERVER}, False),
    ]
    assert found == {}


def test_our_requirements_agree_with_the_project_and_the_snapshot_is_current() -> None:
    """If this fails after a change of cases, tests or requirements: look at what it prints, and
    if that is meant, run ``conformance cite --snapshot`` and commit its difference."""
    result = run(ROOT, "--check")
    assert result.exit_code == 0, result.stdout
