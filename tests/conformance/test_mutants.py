"""Every mutant is killed by the case that names its defect."""

import pytest

from conformance import catalogue
from conformance.case import Verdict
from conformance.drivers.memory import MemoryDriver
from conformance.mutants.hunt import hunt, load
from conformance.mutants.model import mutant, swapped
from conformance.runner import run_case

CASES = {case.name: case for case in catalogue.load()}
MUTANTS = load()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_its_case_kills_it(mutant) -> None:
    case = CASES[mutant.killer]
    sound = run_case(case, MemoryDriver()).verdict
    assert sound in (Verdict.PASS, Verdict.LENIENT)
    kill = hunt(mutant, [case], clean=frozenset({case.name}))
    assert kill.killed, f"{mutant.killer} lives with it: {mutant.breaks}"
    assert run_case(case, MemoryDriver()).verdict is sound, "the mutant was not taken off"


def test_what_is_swapped_comes_back() -> None:
    class Base:
        def speak(self) -> str:
            return "moo"

    class Heir(Base):
        pass

    with swapped(Heir, "speak", lambda self: "quack"):
        assert Heir().speak() == "quack"
        assert Base().speak() == "moo"
    assert "speak" not in vars(Heir)
    with swapped(Base, "speak", lambda self: "quack"):
        assert Heir().speak() == "quack"
    assert Heir().speak() == "moo"


def test_a_name_that_is_gone_is_an_error() -> None:
    with pytest.raises(AttributeError), swapped(Verdict, "gone", None):
        pass


@pytest.mark.parametrize(
    ("name", "breaks"),
    [("cow", "It says quack."), ("farm/cow", "says quack"), ("farm/cow/leg", "It has five.")],
)
def test_mutants_have_an_area_and_a_sentence(name: str, breaks: str) -> None:
    with pytest.raises(ValueError, match=name):
        mutant(name, breaks, killer="rfc1/2/moo")
