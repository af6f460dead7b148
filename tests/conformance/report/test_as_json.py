"""The JSON report and its schema."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.case import Verdict
from conformance.report import as_json
from reports import HOSTILE, a_result, a_run, one_of_each, sent


def test_a_report_comes_back_as_it_was() -> None:
    run = one_of_each()
    assert as_json.read(as_json.render(run)) == as_json.report(run)


def test_the_fields_are_those_of_version_1() -> None:
    """Who reads reports relies on these names: add to them, and take none away."""
    document = json.loads(as_json.render(one_of_each()))
    assert document["format"] == "stunroute-conformance"
    assert document["version"] == 1
    assert set(document) == {
        *("format", "version", "subject", "options", "began", "seconds", "program", "seed"),
        *("strict", "counts", "failing", "outlived", "results", "nobody", "remarks"),
    }
    assert set(document["results"][0]) == {
        *("name", "requirement", "sends", "level", "profiles", "source", "link", "requirements"),
        *("traps", "driver", "verdict", "fails", "known", "seen", "detail", "seconds", "sent"),
        *("received", "rerun"),
    }


def test_what_is_said_of_a_case() -> None:
    result = a_result(verdict=Verdict.FAIL, detail="why", entries=[sent(0.0, b"1234")])
    (told,) = as_json.report(a_run(result)).results
    assert (told.verdict, told.fails, told.known) == ("fail", True, None)
    assert (told.seen, told.detail) == ("no answer", "why")
    assert (told.sent, told.received) == (as_json.Traffic(1, 4), as_json.Traffic(0, 0))
    assert told.link == "https://www.rfc-editor.org/rfc/rfc8489.html#section-6.3.1"


def test_counts_have_every_verdict() -> None:
    report = as_json.report(one_of_each())
    assert report.counts == {verdict.value: 1 for verdict in Verdict} | {"fail": 2}
    assert report.failing == 3


def test_no_password_and_no_control_character_leaves() -> None:
    text = as_json.render(a_run(a_result(verdict=Verdict.FAIL, detail=HOSTILE)))
    text.encode()
    assert "sEcReT" not in text
    assert "\x1b" not in as_json.read(text).results[0].detail


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_another_version_is_refused(version: Any) -> None:
    document = json.loads(as_json.render(one_of_each())) | {"version": version}
    with pytest.raises(as_json.ReportError, match="version"):
        as_json.read(json.dumps(document))


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"version": 1}', "[" * 100_000])
def test_what_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(as_json.ReportError):
        as_json.read(text)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
)


@given(key=st.sampled_from(["results", "counts", "outlived", "seconds", "options"]), value=_VALUES)
def test_a_field_of_another_kind_raises_nothing_else(key: str, value: Any) -> None:
    document = json.loads(as_json.render(one_of_each())) | {key: value}
    with contextlib.suppress(as_json.ReportError):
        as_json.read(json.dumps(document))
