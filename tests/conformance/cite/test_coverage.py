"""Who answers what: roles apart, shares, contradictions, snapshots and their differences."""

import pytest

from conformance.cite import page
from conformance.cite.check import check
from conformance.cite.coverage import Answer, Coverage, Figures, changes, count, cover, snapshot
from conformance.cite.loader import Loaded
from conformance.cite.model import Document, Inapplicable, Level, Requirement, Role, Witness

BOTH = (Role.RELAY, Role.SERVER)
RELAY_TEST = "tests/stunroute/test_relay.py::test_x"
SERVER_TEST = "tests/transceiver/test_ice.py::test_x"
FILES = dict.fromkeys(
    ("tests/stunroute/test_relay.py", "tests/transceiver/test_ice.py"), "def test_x(): ..."
)


def asked(ordinal: int, *, level: Level = Level.MUST, **changes: object) -> Requirement:
    values = {"applies": BOTH, "text": "Be a pigeon.", **changes}
    return Requirement(f"rfc9999/1/{ordinal}", level, **values)  # type: ignore[arg-type]


def document(*requirements: Requirement) -> Document:
    others = (Inapplicable(("rfc9999/2/1",), "Owls."),)
    return Document(9999, "Pigeons & <owls>", requirements, others)


def case(name: str, *roles: Role, fails: bool = True) -> Witness:
    return Witness(name, frozenset(roles or BOTH), fails)


def covered(*requirements: Requirement, **cases: Witness) -> Coverage:
    named = {f"rfc9999/1/{key[1:]}": [witness] for key, witness in cases.items()}
    return cover([document(*requirements)], named)


def test_an_answer_is_for_the_roles_that_it_drives() -> None:
    found = covered(
        asked(1, tests=(RELAY_TEST,)), asked(2, excluded="Rare."), c1=case("c/1/a", *BOTH[1:])
    )
    first, second = found.entries
    assert (first.answer(Role.RELAY), first.answer(Role.SERVER)) == (Answer.TEST, Answer.CASE)
    assert second.answer(Role.RELAY) is Answer.EXCLUDED
    (alone,) = covered(asked(1, tests=(RELAY_TEST,))).entries
    assert alone.answer(Role.SERVER) is Answer.OPEN
    (by_both,) = covered(asked(1, tests=(RELAY_TEST,)), c1=case("c/1/a")).entries
    assert by_both.answer(Role.RELAY) is Answer.BOTH


def test_a_case_that_would_not_fail_answers_no_must() -> None:
    lenient = case("c/1/a", fails=False)
    found = covered(asked(1), asked(2, level=Level.SHOULD), c1=lenient, c2=lenient)
    assert [entry.answer(Role.RELAY) for entry in found.entries] == [Answer.OPEN, Answer.CASE]
    assert "rfc9999/1/1 relay=open server=open <- c/1/a" in snapshot(found)


def test_figures_add_up() -> None:
    figures = count([*Answer, Answer.OPEN])
    assert figures == Figures(total=6, by_case=2, by_test=2, answered=3, excluded=1, open=2)
    assert figures.share == 3 / 5
    assert figures.share_of_all == 1 / 2
    assert Figures().share == 1.0


def test_only_absolute_requirements_of_the_role_are_counted() -> None:
    found = covered(
        asked(1, applies=(Role.SERVER,), tests=(SERVER_TEST,)),
        asked(2, level=Level.SHOULD),
        asked(3, level=Level.MUST_NOT),
    )
    assert found.figures(Role.SERVER).total == 2
    assert found.figures(Role.RELAY, found.documents[0]) == Figures(total=1, open=1)


def wrong(*requirements: Requirement, **cases: Witness) -> list[str]:
    named = {key.replace("_", "/"): [witness] for key, witness in cases.items()}
    loaded = Loaded((document(*requirements),), ())
    return [str(problem) for problem in check(loaded, FILES, named).problems]


@pytest.mark.parametrize(
    ("id_", "changes", "witness", "expected"),
    [
        ("rfc9999_1_1", {}, case("c/1/a"), None),
        ("rfc9999_1_1", {"level": Level.SHOULD}, case("c/1/a", fails=False), None),
        ("rfc9999_1_9", {}, case("c/1/a"), "in no file of requirements"),
        ("rfc9999_x", {}, case("c/1/a"), "which is no id"),
        ("rfc9999_2_1", {}, case("c/1/a"), "said to be not applicable"),
        ("rfc9999_1_1", {"excluded": "Rare."}, case("c/1/a"), "said to be excluded"),
        ("rfc9999_1_1", {"applies": BOTH[1:]}, case("c/1/a", Role.RELAY), "binds a server alone"),
    ],
)
def test_what_a_case_may_not_name(
    id_: str, changes: dict[str, object], witness: Witness, expected: str | None
) -> None:
    found = wrong(asked(1, **changes), **{id_: witness})
    if expected is None:
        assert found == []
    else:
        assert [expected in problem for problem in found] == [True]
        assert found[0].startswith("case c/1/a: ")


def test_what_a_requirement_may_not_name() -> None:
    gone = SERVER_TEST + "_gone"
    assert wrong(asked(1, tests=(gone,))) == [
        "rfc9999/1/1: tests/transceiver/test_ice.py has no test test_x_gone"
    ]
    assert wrong(asked(1, applies=(Role.RELAY,), tests=(SERVER_TEST,))) == [
        f"rfc9999/1/1: {SERVER_TEST} drives neither role that it binds"
    ]


def test_a_test_that_is_gone_answers_nothing() -> None:
    requirements = asked(1, tests=(SERVER_TEST,)), asked(2, tests=(SERVER_TEST + "_gone",))
    found = check(Loaded((document(*requirements),), ()), FILES, {}).coverage
    assert [e.answer(Role.SERVER) for e in found.entries] == [Answer.TEST, Answer.OPEN]
    assert "rfc9999/1/2 relay=open server=open\n" in snapshot(found)


def test_code_may_name_what_is_written_down_and_nothing_else() -> None:
    text = "# rfc9999/1/1 and rfc9999/2/1, but rfc9999/1/2\n"
    files = FILES | {"stunroute/a.py": text, "tests/conformance/cite/test_b.py": text}
    found = check(Loaded((document(asked(1)),), ()), files, {})
    assert [problem.place for problem in found.problems] == ["stunroute/a.py:1"]


def test_a_snapshot_has_a_sorted_line_for_each() -> None:
    found = covered(
        asked(10, excluded="Rare."),
        asked(2, applies=(Role.SERVER,), tests=(SERVER_TEST,)),
        asked(3),
        c3=case("c/1/a", Role.SERVER),
    )
    assert snapshot(found).splitlines()[2:] == [
        f"rfc9999/1/2 server=test <- {SERVER_TEST}",
        "rfc9999/1/3 relay=open server=case <- c/1/a",
        "rfc9999/1/10 relay=excluded server=excluded",
    ]


def test_lost_coverage_shows_as_a_difference() -> None:
    before = snapshot(covered(asked(1), asked(2), c1=case("c/1/a")))
    after = snapshot(covered(asked(1), asked(3), c3=case("c/1/a")))
    assert changes(before, before) == []
    assert changes(before, after) == [
        "- rfc9999/1/1 relay=case server=case <- c/1/a",
        "+ rfc9999/1/1 relay=open server=open",
        "- rfc9999/1/2 relay=open server=open",
        "+ rfc9999/1/3 relay=case server=case <- c/1/a",
    ]


def test_the_page_says_everything_and_needs_nothing() -> None:
    loaded = Loaded((document(asked(1, text="A < B & C."), asked(2, excluded="Rare <b>.")),), ())
    text = page.render(check(loaded, FILES, {"rfc9999/1/1": [case("c/1/a")], "rfc9999/9/9": []}))
    for words in (
        "A &lt; B &amp; C.",
        "Rare &lt;b&gt;.",
        "Pigeons &amp; &lt;owls&gt;",
        'id="rfc9999/1/1" data-rfc="rfc9999" data-relay="case" data-server="case"',
        "<code>c/<wbr>1/<wbr>a</code>",
        "1 bind neither role",
        "prefers-color-scheme: dark",
    ):
        assert words in text
    for outside in ("src=", "<link", "@import", "url("):
        assert outside not in text


def test_shares_are_never_rounded_up() -> None:
    assert page.percent(1999 / 2000) == "99.9 %"
    assert page.percent(1.0) == "100.0 %"


def test_what_we_do_not_keep_is_told_and_counts_as_asked() -> None:
    found = covered(asked(1), asked(2, deviates="Because."), c2=case("c/2/a"))
    assert [each.id for each in found.deviations] == ["rfc9999/1/2"]
    assert found.figures(Role.SERVER).open == 1
    assert "rfc9999/1/2 relay=case server=case deviates <- c/2/a" in snapshot(found)
