"""No case is weak: what is kept as its killer still makes it fail."""

import pytest

from conformance import catalogue
from conformance.mutants import weak

CASES = {each.name: each for each in catalogue.load()}
KILLERS = weak.killers()
EXCUSED = weak.excused()
HINT = "run: python -m conformance mutants --weak --write"


@pytest.mark.parametrize("name", sorted(KILLERS.keys() & CASES.keys()))
def test_its_killer_makes_it_fail(name: str) -> None:
    breaker = weak.breakers().get(KILLERS[name])
    assert breaker is not None, f"nothing is named {KILLERS[name]} any more; {HINT} '{name}'"
    assert weak.fails(CASES[name], breaker), f"lives with {KILLERS[name]} now; {HINT} '{name}'"


def test_every_case_has_a_killer_or_an_excuse() -> None:
    weaklings = sorted(CASES.keys() - KILLERS.keys() - EXCUSED.keys())
    assert weaklings == [], f"nothing is known to make these fail; {HINT}"


def test_nothing_is_kept_of_cases_that_are_gone() -> None:
    assert sorted((KILLERS.keys() | EXCUSED.keys()) - CASES.keys()) == []


def test_no_case_is_excused_that_can_fail() -> None:
    assert sorted(KILLERS.keys() & EXCUSED.keys()) == []


def test_every_excuse_has_a_reason() -> None:
    assert [name for name, reason in EXCUSED.items() if len(reason.split()) < 4] == []
