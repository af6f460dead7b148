"""``conformance mutants``."""

import contextlib

import pytest
from click.testing import CliRunner

from conformance.commands import mutants
from conformance.mutants import weak
from conformance.mutants.model import Mutant, mutant, swapped
from stunroute import stun

KILLER = "rfc8489/6.3.1/unknown-required-attribute"


@mutant(
    "stun/takes-anything", "Answers requests with attributes that it does not know.", killer=KILLER
)
def takes_anything():
    with swapped(stun.Message, "unknown_comprehension_required", lambda message: ()):
        yield


HARMLESS = Mutant("stun/harmless", "Breaks nothing.", KILLER, contextlib.nullcontext)


@pytest.fixture
def asked(monkeypatch):
    def ask(*known: Mutant, arguments=()):
        monkeypatch.setattr(mutants, "load", lambda: known)
        cases = [case for case in mutants.catalogue.load() if case.name.startswith("rfc8489/6.3")]
        monkeypatch.setattr(mutants.catalogue, "load", lambda: cases)
        return CliRunner().invoke(mutants.command, list(arguments))

    return ask


def test_a_mutant_that_is_killed_is_status_0(asked) -> None:
    done = asked(takes_anything)
    assert done.exit_code == 0, done.output
    assert "1 of 1 killed" in done.output


def test_a_mutant_that_lives_is_status_1(asked) -> None:
    done = asked(HARMLESS)
    assert done.exit_code == 1
    assert "ALIVE" in done.output


def test_a_mutant_that_everything_notices_is_status_3(asked) -> None:
    @mutant("stun/dead", "Answers nothing.", killer=KILLER)
    def dead():
        with swapped(stun, "decode_untrusted", _refuse):
            yield

    def _refuse(data):
        raise stun.message.DecodeError("no")

    done = asked(dead, arguments=["--few=0", "--others"])
    assert done.exit_code == 3, done.output
    assert "rfc8489/6.3" in done.output


def test_mutants_are_listed(asked) -> None:
    done = asked(HARMLESS, arguments=["--list"])
    assert done.exit_code == 0
    assert "Breaks nothing." in done.output


def test_no_mutant_of_that_name_is_status_2(asked) -> None:
    assert asked(HARMLESS, arguments=["x*"]).exit_code == 2


def weakly(*arguments: str):
    return CliRunner().invoke(mutants.command, ["--weak", *arguments])


def test_a_case_that_can_fail_is_status_0() -> None:
    done = weakly("rfc8489/6.3.1/refused-nomination")
    assert done.exit_code == 0, done.output
    assert "1 cases: 1 fail on a mutant" in done.output


def test_a_case_that_cannot_fail_is_status_4(monkeypatch) -> None:
    monkeypatch.setattr(weak, "breakers", lambda: {"stun/harmless": HARMLESS})
    done = weakly(KILLER)
    assert done.exit_code == 4, done.output
    assert "nothing makes it fail" in done.output


def test_a_case_that_is_excused_is_status_0(monkeypatch) -> None:
    monkeypatch.setattr(weak, "breakers", lambda: {"stun/harmless": HARMLESS})
    monkeypatch.setattr(weak, "excused", lambda: {KILLER: "nobody asks it here any more"})
    done = weakly(KILLER)
    assert done.exit_code == 0, done.output
    assert "1 are excused" in done.output


def test_an_excuse_that_is_not_needed_is_status_4(monkeypatch) -> None:
    monkeypatch.setattr(weak, "excused", lambda: {KILLER: "nobody asks it here any more"})
    done = weakly(KILLER)
    assert done.exit_code == 4, done.output
    assert "is excused, though" in done.output


def test_what_makes_a_case_fail_is_kept(monkeypatch, tmp_path) -> None:
    kept = tmp_path / "killers.toml"
    kept.write_text(f'"{KILLER}" = "gone/for-good"\n"rfc1/1/gone" = "stun/takes-anything"\n')
    monkeypatch.setattr(weak, "KILLERS", kept)
    monkeypatch.setattr(weak, "breakers", lambda: {takes_anything.name: takes_anything})
    assert weakly("--write", KILLER).exit_code == 0
    assert weak.killers() == {KILLER: takes_anything.name}


def test_cases_are_looked_at_in_processes_of_their_own() -> None:
    done = weakly("--jobs=2", "rfc8489/6.3.1/re*")
    assert done.exit_code == 0, done.output
    assert "0 need a look" in done.output


def test_writing_goes_with_weak_alone() -> None:
    assert CliRunner().invoke(mutants.command, ["--write"]).exit_code == 2


def test_no_case_of_that_name_is_status_2() -> None:
    assert weakly("rfc1/*").exit_code == 2
