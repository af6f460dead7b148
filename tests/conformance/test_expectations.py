"""Files of known failures."""

import pytest

from conformance import catalogue
from conformance.case import Verdict
from conformance.expectations import ExpectationError, Expectations, Known, parse
from conformance.report.run import Run
from conformance.runner import Result

CASE = catalogue.load()[0]
ENTRY = Known(CASE.name, "we live with it")


def run_of(verdict: Verdict, *known: Known, strict: bool = False) -> Run:
    results = (Result(CASE, "memory", verdict),)
    return Run("us", ("--memory",), "now", 0.0, "1", results, Expectations(known), strict)


def test_entries_are_read_in_order() -> None:
    read = parse('[[known]]\ncase = "rfc1/*"\nreason = "a"\n[[known]]\ncase = "*"\nreason = "b"\n')
    assert read.of("rfc1/2/x") == Known("rfc1/*", "a")
    assert read.of("rfc2/2/x") == Known("*", "b")
    assert parse("").of("rfc1/2/x") is None


@pytest.mark.parametrize(
    "text",
    [
        "what",
        "[[known]]\ncase = 'a'\n",
        "[[known]]\ncase = 'a'\nreason = ' '\n",
        "[[known]]\ncase = ''\nreason = 'r'\n",
        "[[known]]\ncase = 'a'\nreason = 'r'\nwhy = 1\n",
        "other = 1\n",
    ],
)
def test_what_is_no_such_file_says_so(text: str) -> None:
    with pytest.raises(ExpectationError):
        parse(text)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_known_failure_does_not_fail_the_run(verdict: Verdict) -> None:
    grave = {Verdict.FAIL, Verdict.BLOCKED, Verdict.BROKEN}
    (result,) = run_of(verdict).results
    assert run_of(verdict).fails(result) is (verdict in grave)
    strictly = run_of(verdict, strict=True).fails(result)
    assert strictly is (verdict in grave | {Verdict.LENIENT})
    assert run_of(verdict, ENTRY).fails(result) is (verdict is Verdict.BROKEN)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_an_entry_that_passes_now_is_told(verdict: Verdict) -> None:
    outlived = [ENTRY] if verdict is Verdict.PASS else []
    assert run_of(verdict, ENTRY).outlived == outlived


def test_an_entry_with_one_case_left_is_not_outlived() -> None:
    second = catalogue.load()[1]
    results = (Result(CASE, "memory", Verdict.PASS), Result(second, "memory", Verdict.FAIL))
    everything = Expectations((Known("*", "all of it"),))
    assert everything.outlived(results) == []
    assert everything.outlived(results[:1]) == list(everything.known)
