"""JUnit XML as CI systems read it."""

from xml.etree import ElementTree

import pytest

from conformance.case import Level, Verdict
from conformance.expectations import Known
from conformance.report import junit
from conformance.report.run import Run
from reports import HOSTILE, a_result, a_run, one_of_each


def read(run: Run) -> ElementTree.Element:
    return ElementTree.fromstring(junit.render(run))


def outcome(root: ElementTree.Element, name: str) -> str:
    (test,) = (test for test in root.iter("testcase") if test.get("name") == name)
    return next((child.tag for child in test if child.tag != "system-out"), "passed")


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (Verdict.PASS, "passed"),
        (Verdict.LENIENT, "passed"),
        (Verdict.NOTED, "passed"),
        (Verdict.FAIL, "failure"),
        (Verdict.BLOCKED, "failure"),
        (Verdict.UNSUPPORTED, "skipped"),
        (Verdict.BROKEN, "error"),
    ],
)
def test_each_verdict_has_its_outcome(verdict: Verdict, expected: str) -> None:
    assert outcome(read(one_of_each()), f"rfc8489/6/{verdict.value}") == expected


def test_a_known_failure_is_skipped_with_its_reason() -> None:
    root = read(one_of_each())
    assert outcome(root, "traps/stun/lived-with") == "skipped"
    assert any("Nobody minds." in test.get("message", "") for test in root.iter("skipped"))


def test_lenient_fails_a_strict_run() -> None:
    result = a_result("rfc8489/6/a", Verdict.LENIENT, level=Level.SHOULD)
    assert outcome(read(a_run(result, strict=True)), "rfc8489/6/a") == "failure"


def test_a_known_failure_that_passes_is_a_failing_test() -> None:
    root = read(a_run(a_result("rfc8489/6/a"), known=[Known("rfc8489/*", "it was so")]))
    assert outcome(root, "rfc8489/6/a") == "passed"
    assert outcome(root, "rfc8489/*") == "failure"
    assert root.get("failures") == "1"


def test_the_counts_are_those_of_the_tests() -> None:
    root = read(one_of_each())
    counted = {key: root.get(key) for key in ("tests", "failures", "errors", "skipped")}
    assert counted == {"tests": "8", "failures": "2", "errors": "1", "skipped": "2"}
    for key in counted:
        assert sum(int(suite.get(key, "")) for suite in root.iter("testsuite")) == int(
            root.get(key, "")
        )


def test_a_failure_says_what_was_asked_and_how_to_ask_again() -> None:
    root = read(a_run(a_result(verdict=Verdict.FAIL, detail="nothing came")))
    (failure,) = root.iter("failure")
    assert failure.get("message") == "no answer: nothing came"
    assert failure.text is not None
    assert "What is asked is answered. (MUST, RFC 8489, section 6.3.1)" in failure.text
    assert "conformance run --whip http://server.example/whip rfc8489" in failure.text


@pytest.mark.parametrize("verdict", [each for each in Verdict if each is not Verdict.PASS])
def test_what_a_hostile_server_says_stays_text(verdict: Verdict) -> None:
    text = junit.render(a_run(a_result(verdict=verdict, detail=HOSTILE), subject=HOSTILE))
    text.encode()
    root = ElementTree.fromstring(text)
    assert not list(root.iter("script"))
    assert "sEcReT" not in text
    (test,) = root.iter("testcase")
    said = [text for each in test.iter() for text in (each.text or "", *each.attrib.values())]
    assert any("<script>alert(1)</script>" in text for text in said)


def test_the_same_run_gives_the_same_document() -> None:
    assert junit.render(one_of_each()) == junit.render(one_of_each())
