"""The table in the terminal."""

import io

import pytest
from rich.console import Console

from conformance.case import Verdict
from conformance.expectations import Known
from conformance.report import console
from conformance.report.run import Run
from reports import HOSTILE, a_result, a_run, one_of_each

LONG = "rfc8489/9.1.3/" + "-".join(["a-name-that-is-rather-long"] * 4)


def shown(run: Run, width: int = 80, *, everything: bool = False) -> str:
    file = io.StringIO()
    console.show(run, Console(file=file, width=width), everything=everything)
    return file.getvalue()


@pytest.mark.parametrize("width", [20, 32, 60, 80, 200])
def test_no_name_is_cut(width: int) -> None:
    text = shown(a_run(a_result(LONG, Verdict.FAIL, detail="word " * 60)), width)
    assert "…" not in text
    assert LONG in "".join(line.strip() for line in text.splitlines())


def test_nothing_is_wider_than_the_terminal_but_what_is_copied() -> None:
    text = shown(a_run(a_result(LONG, Verdict.BLOCKED, detail="word " * 60)), 40)
    body = text[: text.index("again, the first")]
    assert max(map(len, body.splitlines())) <= 40


def test_passes_are_summed_and_shown_on_demand() -> None:
    assert "rfc8489/6/pass" not in shown(one_of_each())
    assert "rfc8489/6/pass" in shown(one_of_each(), everything=True)


def test_the_sum_has_every_part_and_verdict() -> None:
    text = shown(one_of_each())
    stun = next(line for line in text.splitlines() if line.startswith("RFC 8489, STUN"))
    assert stun.split()[3:] == ["1"] * 7
    assert "8 cases in 1.5 s: 1 pass, 1 lenient, 1 noted, 2 fail" in text


def test_what_fails_stands_below_what_is_only_lenient() -> None:
    text = shown(one_of_each())
    assert text.index("rfc8489/6/lenient") < text.index("rfc8489/6/fail")


def test_what_blocks_a_crowd_is_told_once() -> None:
    crowd = [
        a_result(f"rfc8489/6/case-{index}", Verdict.BLOCKED, detail="nobody is there")
        for index in range(console.CROWD)
    ]
    text = shown(a_run(*crowd))
    assert f"{console.CROWD} × nobody is there" in " ".join(text.split())
    assert "rfc8489/6/case-1" not in text
    assert "nothing went well" in text
    fewer = shown(a_run(*crowd[1:], a_result("rfc8489/6/fine")))
    assert "rfc8489/6/case-1" in fewer
    assert "nothing went well" not in fewer
    assert "rfc8489/6/case-1" in shown(a_run(*crowd), everything=True)


def test_a_crowd_hides_no_known_failure() -> None:
    crowd = [
        a_result(f"rfc8489/6/case-{index}", Verdict.BLOCKED, detail="nobody is there")
        for index in range(console.CROWD + 1)
    ]
    text = shown(a_run(*crowd, known=[Known("rfc8489/6/case-3", "It is so.")]))
    assert "rfc8489/6/case-3" in text
    assert "known: It is so." in text
    assert "rfc8489/6/case-4" not in text[: text.index("again, the first")]


def test_a_known_failure_is_shown_with_its_reason() -> None:
    assert "known: Nobody minds." in shown(one_of_each())


def test_an_entry_that_has_outlived_its_reason_is_told() -> None:
    text = shown(a_run(a_result(), known=[Known("rfc8489/*", "it was so")]))
    assert "known failure that passes now: rfc8489/* (it was so)" in text


def test_terminals_get_no_orders_from_servers() -> None:
    text = shown(a_run(a_result(verdict=Verdict.FAIL, detail=HOSTILE + " [red]x[/]")))
    assert "\x1b" not in text
    assert "sEcReT" not in text
    assert "[red]x[/]" in " ".join(text.split())


def test_the_meter_counts_by_verdict_and_names_the_last_case() -> None:
    file = io.StringIO()
    terminal = Console(file=file, width=60, force_terminal=True, color_system=None)
    with console.Meter(terminal, 3) as meter:
        for verdict in (Verdict.PASS, Verdict.FAIL, Verdict.PASS):
            meter.done(a_result(LONG, verdict))
        assert "2 pass" in meter.said
        assert "1 fail" in meter.said
    text = file.getvalue()
    assert "3/3" in text
    assert "…" not in text


def test_the_meter_is_silent_where_nobody_looks() -> None:
    file = io.StringIO()
    with console.Meter(Console(file=file), 1) as meter:
        meter.done(a_result())
    assert file.getvalue() == ""


def test_parts_that_cannot_be_asked_share_a_line() -> None:
    """Unless nothing else is there, or they are few."""
    parts = [
        a_result(f"relay/part-{number}/case", Verdict.UNSUPPORTED, "asks a relay")
        for number in range(console.MOST_BESIDE + 1)
    ]
    text = shown(a_run(a_result(), *parts))
    assert "4 parts that cannot be asked here" in text
    assert "relay/part-1" not in text
    assert "relay/part-1" in shown(a_run(*parts))
    assert "relay/part-1" in shown(a_run(a_result(), *parts[1:]))


def test_what_was_asked_stands_before_what_was_seen() -> None:
    text = shown(a_run(a_result(verdict=Verdict.FAIL, detail="why")))
    assert text.index("What is asked is answered.") < text.index("seen: no answer: why")


def test_nobody_is_told_in_a_line_and_nothing_else() -> None:
    text = shown(a_run(nobody="POST got\nno response"))
    assert text == "nobody is there, so nothing was judged: POST got no response\n"


def test_remarks_stand_above_the_prompt() -> None:
    assert "It says nothing by UDP." in shown(
        a_run(a_result(), remarks=("It says nothing by UDP.",))
    )
