"""Files of requirements: what is read, and every way in which one is refused."""

from pathlib import Path

import pytest

from conformance.cite import loader
from conformance.cite.model import Level, Problem, Role, is_id, order

GOOD = """
rfc = 9999
title = "Pigeons"

[[requirement]]
id = "rfc9999/1.2/3"
level = "MUST NOT"
applies = ["server", "relay"]
text = "A pigeon is not fed (1.5 grains at most) while it flies."
tests = ["tests/test_pigeon.py::test_hunger"]

[[not_applicable]]
ids = ["rfc9999/A.1/1", "rfc9999/2/1"]
reason = "Concerns owls."
"""


def problems(text: str, name: str = "rfc9999.toml") -> list[str]:
    _, found = loader.loads(text, name)
    return [str(problem) for problem in found]


def test_a_file_is_read() -> None:
    document, found = loader.loads(GOOD, "rfc9999.toml")
    assert found == []
    assert document is not None
    assert (document.rfc, document.title, document.name) == (9999, "Pigeons", "rfc9999")
    (requirement,) = document.requirements
    assert requirement.level is Level.MUST_NOT
    assert requirement.level.absolute
    assert requirement.applies == (Role.SERVER, Role.RELAY)
    assert requirement.section == "1.2"
    assert requirement.tests == ("tests/test_pigeon.py::test_hunger",)
    assert document.not_applicable[0].ids == ("rfc9999/A.1/1", "rfc9999/2/1")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("rfc = 9999", "rfc =", "is not TOML"),
        ("rfc = 9999", 'rfc = "9999"', "does not begin with"),
        ("rfc = 9999", "rfc = 9998", "holds RFC 9998"),
        ('title = "Pigeons"', "", "does not begin with"),
        ('title = "Pigeons"', 'title = "Pigeons"\ntittle = 1', "'tittle' is no key"),
        ('"MUST NOT"', '"SHALL"', "is not one of MUST, MUST NOT"),
        ('["server", "relay"]', '["client"]', "is not one of relay, server"),
        ('["server", "relay"]', "[]", "names no role"),
        ('["server", "relay"]', '["relay", "relay"]', "names a role twice"),
        ('["tests/test_pigeon.py::test_hunger"]', '"tests"', "is not a list of texts"),
        ("tests =", "test =", "extra fields found (test)"),
        ("text =", "# text =", "required field missing"),
        ("flies.", "flies", "not one sentence"),
        ("flies.", "flies. It is fed later.", "not one sentence"),
        ("flies.", f"flies{'.x' * 200}.", "more than 400 characters"),
        ('hunger"]', 'hunger", "tests/test_pigeon.py::test_hunger"]', "names a test twice"),
        ('hunger"]', 'hunger"]\nexcluded = "Rare."', "has tests and is excluded"),
        ('tests = ["tests/test_pigeon.py::test_hunger"]', 'excluded = " "', "without a reason"),
        ("rfc9999/1.2/3", "rfc9998/1.2/3", "stands in rfc9999.toml"),
        ("rfc9999/1.2/3", "rfc9999/1.2/fat-pigeon", "is no id"),
        ("rfc9999/A.1/1", "rfc9999/A.1", "is no id"),
        ('"Concerns owls."', '""', "is not applicable without a reason"),
        ('["rfc9999/A.1/1", "rfc9999/2/1"]', "[]", "names no ids"),
        ("[[not_applicable]]", "[not_applicable]", "is not written [[not_applicable]]"),
    ],
)
def test_what_is_refused(old: str, new: str, expected: str) -> None:
    assert old in GOOD
    found = problems(GOOD.replace(old, new))
    assert any(expected in problem for problem in found), found


def test_all_that_is_wrong_is_told_at_once_with_its_id() -> None:
    found = problems(GOOD.replace('"MUST NOT"', '"OUGHT"').replace('["server", "relay"]', "[1]"))
    assert len(found) == 2
    assert all(problem.startswith("rfc9999/1.2/3: ") for problem in found)


def test_ids_are_unique_over_all_files(tmp_path: Path) -> None:
    twice = GOOD + '[[not_applicable]]\nids = ["rfc9999/2/1", "rfc9999/1.2/3"]\nreason = "Owls."\n'
    (tmp_path / "rfc9999.toml").write_text(twice + GOOD.split("\n\n")[1])
    found = {str(problem) for problem in loader.load(tmp_path).problems}
    assert found == {
        "rfc9999/1.2/3: is a requirement twice",
        "rfc9999/2/1: is not applicable twice",
        "rfc9999/1.2/3: is a requirement and not applicable",
    }


def test_a_file_that_is_no_text_is_a_problem_and_the_others_are_read(tmp_path: Path) -> None:
    (tmp_path / "rfc9999.toml").write_text(GOOD)
    (tmp_path / "rfc9000.toml").write_bytes(b"\xff")
    (tmp_path / "rfc10000.toml").write_text('rfc = 10000\ntitle = "Owls"\n')
    loaded = loader.load(tmp_path)
    assert [document.rfc for document in loaded.documents] == [9999, 10000]
    assert [problem.place for problem in loaded.problems] == ["rfc9000.toml"]


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        ("rfc8489/6.3.1/2", True),
        ("rfc10000/B.1/12", True),
        ("rfc8489/6.3.1/unknown-required-attribute", False),
        ("rfc8489/6.3.1/420-twice", False),
        ("rfc8489/6.3.1", False),
        ("rfc8489//1", False),
        ("whip/4.2/1", False),
    ],
)
def test_ids_and_names_of_cases_are_told_apart(text: str, yes: bool) -> None:
    assert is_id(text) is yes


def test_ids_sort_as_people_read_them() -> None:
    names = ["rfc9/14.1/1", "rfc9/6.10/1", "rfc9/B.1/1", "rfc9/6.2/10", "rfc9/6.2/9", "rfc9/6/a"]
    assert sorted(names, key=order) == [
        "rfc9/6/a",
        "rfc9/6.2/9",
        "rfc9/6.2/10",
        "rfc9/6.10/1",
        "rfc9/14.1/1",
        "rfc9/B.1/1",
    ]


def test_problems_say_where() -> None:
    assert str(Problem("here", "is wrong")) == "here: is wrong"
