"""Ids in running text, and tests found without importing anything."""

import pytest

from conformance.cite import scanner
from conformance.cite.model import Level, Requirement, Role
from conformance.cite.scanner import Suite, find_tests, mentions, roles_of

TEXT = '''
"""A file of tests."""
import pytest
from elsewhere import Machine

TestMachine = Machine.TestCase
TestOther: object = 3

def helper(): ...

def test_plain(): ...

async def test_waits(): ...

@pytest.mark.parametrize("x", [1])
def test_many(x): ...

class TestGroup:
    def test_inside(self): ...
    @pytest.mark.parametrize("x", [1])
    def test_many(self, x): ...
    def helper(self): ...

@pytest.mark.parametrize("x", [1])
class TestAllVaried:
    def test_inside(self, x): ...

class Helper:
    def test_never(self): ...
'''


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# see rfc8489/6.3.1/2.", ["rfc8489/6.3.1/2"]),
        ("(rfc8489/5/1, rfc8445/B.1/12)", ["rfc8489/5/1", "rfc8445/B.1/12"]),
        ('name="rfc8489/6.3.1/unknown-required-attribute"', []),
        ('name="rfc8489/6.3.1/420-twice"', []),
        ('name="rfc8489/6.3.1/2/more"', []),
        ("rfc8489/6.3.1/2.5", []),
        ("rfc8489/6.3.1/22nd", []),
        ("https://www.rfc-editor.org/rfc/rfc8489/5/1", []),
        ("xrfc8489/5/1 rfc8489 rfc84/5/1", []),
    ],
)
def test_ids_are_found_and_names_of_cases_are_not(text: str, found: list[str]) -> None:
    assert [mention.id for mention in mentions("a.py", text)] == found


def test_a_mention_knows_its_line() -> None:
    (mention,) = mentions("a/b.py", "\n\n# rfc8489/5/1\n")
    assert mention.place == "a/b.py:3"
    assert scanner.unknown_mentions([mention], frozenset(["rfc8489/5/1"])) == []
    (problem,) = scanner.unknown_mentions([mention], frozenset())
    assert str(problem) == "a/b.py:3: names rfc8489/5/1, which is in no file of requirements"


def test_tests_are_read_from_the_source() -> None:
    assert find_tests(TEXT) == {
        "TestMachine": False,
        "test_plain": False,
        "test_waits": False,
        "test_many": True,
        "TestGroup::test_inside": False,
        "TestGroup::test_many": True,
        "TestAllVaried::test_inside": True,
    }


@pytest.mark.parametrize(
    ("reference", "wrong"),
    [
        ("tests/a/test_x.py::test_plain", ""),
        ("tests/a/test_x.py::test_many", ""),
        ("tests/a/test_x.py::test_many[1-two words]", ""),
        ("tests/a/test_x.py::TestGroup::test_inside", ""),
        ("tests/a/test_x.py::TestMachine", ""),
        ("tests/a/test_x.py::test_plain[1]", "has no parameters"),
        ("tests/a/test_x.py::test_gone", "has no test test_gone"),
        ("tests/a/test_x.py::test_inside", "has no test test_inside"),
        ("tests/a/test_x.py::Helper::test_never", "has no test"),
        ("tests/a/test_x.py::helper", "has no test"),
        ("tests/a/test_y.py::test_plain", "there is no tests/a/test_y.py"),
        ("tests/a/test_x.py", "is not written"),
        ("stunroute/x.py::test_plain", "is not written"),
        ("tests/broken.py::test_x", "cannot be parsed: line 2"),
    ],
)
def test_references_to_tests(reference: str, wrong: str) -> None:
    suite = Suite({"tests/a/test_x.py": TEXT, "tests/broken.py": "x = 1\ndef\n"})
    said = suite.wrong(reference)
    assert wrong in said
    assert bool(said) is bool(wrong)
    requirement = Requirement("rfc9999/1/1", Level.MUST, (Role.RELAY,), "Be.", (reference,))
    assert len(scanner.wrong_references([requirement], suite)) == bool(wrong)


@pytest.mark.parametrize(
    ("reference", "roles"),
    [
        ("tests/stunroute/stun/test_message.py::test_x", {Role.RELAY, Role.SERVER}),
        ("tests/stunroute/test_demux.py::test_x", {Role.RELAY, Role.SERVER}),
        ("tests/stunroute/test_relay.py::test_x", {Role.RELAY}),
        ("tests/stunroute/udp/test_server.py::test_x", {Role.RELAY}),
        ("tests/transceiver/test_ice.py::test_x", {Role.SERVER}),
        ("tests/live/test_calls.py::test_x", {Role.RELAY, Role.SERVER}),
    ],
)
def test_a_test_speaks_for_what_it_drives(reference: str, roles: set[Role]) -> None:
    assert roles_of(reference) == roles
