"""``conformance run`` and its exit status."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from conformance.__main__ import main

LENIENT = "rfc8489/9.1.3/wrong-password"
PASSING = "rfc8489/6.3.1/unknown-required-attribute"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["run", *arguments])


def test_cases_are_listed_without_asking_anybody() -> None:
    listed = run("--list", "rfc8489/9.1.3/wrong-password")
    assert listed.exit_code == 0
    assert LENIENT in listed.output
    assert PASSING not in listed.output


def test_what_passes_is_status_0() -> None:
    done = run("--memory", PASSING)
    assert done.exit_code == 0
    assert "1 cases" in done.output
    assert "1 pass" in done.output


def test_lenient_fails_only_a_strict_run() -> None:
    assert run("--memory", LENIENT).exit_code == 0
    strictly = run("--memory", "--strict", LENIENT)
    assert strictly.exit_code == 1
    assert f"conformance run --memory {LENIENT}" in strictly.output


def test_known_failures_are_told_from_others(tmp_path: Path) -> None:
    known = tmp_path / "known.toml"
    known.write_text(f'[[known]]\ncase = "{LENIENT}"\nreason = "strangers"\n')
    done = run("--memory", "--strict", "--known", str(known), LENIENT)
    assert done.exit_code == 0
    assert "strangers" in done.output


def test_a_known_failure_that_passes_is_status_3(tmp_path: Path) -> None:
    known = tmp_path / "known.toml"
    known.write_text(f'[[known]]\ncase = "{PASSING}"\nreason = "it was so"\n')
    done = run("--memory", "--known", str(known), PASSING)
    assert done.exit_code == 3
    assert "it was so" in done.output


def test_jobs_change_no_verdict() -> None:
    one, many = (run("--memory", "--all", "--jobs", jobs, "rfc8489/*") for jobs in ("1", "4"))
    cut = one.output.rindex("cases in")
    assert one.output[:cut] == many.output[: many.output.rindex("cases in")]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--memory", "--simulator"),
        ("--memory", "no/such/case"),
        ("--stun", "127.0.0.1"),
        ("--stun", "127.0.0.1:3478", "--ufrag", "x"),
        ("--stun", "no such host:1"),
        ("--whip", "http://127.0.0.1:1/", "--header", "nonsense"),
        ("--memory", "--known", "/nonexistent"),
    ],
)
def test_a_command_line_without_sense_is_status_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_a_server_that_is_not_there_blocks_its_cases() -> None:
    done = run("--whip", "http://127.0.0.1:1/whip", PASSING)
    assert done.exit_code == 1
    assert "blocked" in done.output
