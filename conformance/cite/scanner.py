"""What the repository's own text says about requirements: the ids it names, the tests it has.

Source is read, never imported: a test that needs a browser is a test all the same, and a file that
cannot be imported here still names what it names.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping

from attrs import frozen

from .model import ID, Problem, Requirement, Role

_MENTION = re.compile(rf"(?<![\w/])(?:{ID.pattern})(?![\w/-]|\.[0-9A-Za-z])")
"""An id in running text. A name of a case goes on where an id ends."""
_REFERENCE = re.compile(
    r"(?P<file>tests/[\w/]+\.py)::(?P<name>\w+(?:::\w+)?)(?P<parameters>\[.+\])?"
)

SPEAK_FOR: tuple[tuple[str, frozenset[Role]], ...] = (
    ("tests/stunroute/stun/", frozenset(Role)),
    ("tests/stunroute/test_demux.py", frozenset(Role)),
    ("tests/stunroute/test_hint.py", frozenset(Role)),
    ("tests/stunroute/test_address.py", frozenset(Role)),
    ("tests/stunroute/", frozenset([Role.RELAY])),
    ("tests/transceiver/", frozenset([Role.SERVER])),
)
"""For whom the tests below a path can speak; the first that fits. Both roles parse STUN and tell
kinds of packets apart with the same code; all other tests drive one of the two. Tests that stand
elsewhere drive whole calls."""


@frozen(slots=True)
class Mention:
    """An id that stands in a file, and in which line."""

    id: str
    file: str
    line: int

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"


def mentions(file: str, text: str) -> list[Mention]:
    """The ids that ``text`` names, wherever they stand: comments, docstrings, arguments."""
    return [
        Mention(found[0], file, number)
        for number, line in enumerate(text.splitlines(), 1)
        for found in _MENTION.finditer(line)
    ]


def unknown_mentions(found: Iterable[Mention], known: frozenset[str]) -> list[Problem]:
    """Ids that are named and that nobody wrote down."""
    return [
        Problem(mention.place, f"names {mention.id}, which is in no file of requirements")
        for mention in found
        if mention.id not in known
    ]


def roles_of(reference: str) -> frozenset[Role]:
    """For whom a test can speak."""
    for prefix, roles in SPEAK_FOR:
        if reference.startswith(prefix):
            return roles
    return frozenset(Role)


def find_tests(text: str) -> dict[str, bool]:
    """The tests of a file as pytest would name them, without parameters, and whether each has any.

    Methods are ``Class::method``. A state machine of Hypothesis counts by the name under which its
    ``TestCase`` is kept.
    """
    found: dict[str, bool] = {}
    for node in ast.parse(text).body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() if node.name.startswith("test"):
                found[node.name] = _is_parametrized(node)
            case ast.ClassDef() if node.name.startswith("Test"):
                found |= {f"{node.name}::{name}": varied for name, varied in _methods(node)}
            case ast.Assign(targets=[ast.Name(name)], value=ast.Attribute(attr="TestCase")):
                found[name] = False
    return found


def _methods(node: ast.ClassDef) -> Iterator[tuple[str, bool]]:
    inherited = _is_parametrized(node)
    for child in node.body:
        match child:
            case ast.FunctionDef() | ast.AsyncFunctionDef() if child.name.startswith("test"):
                yield child.name, inherited or _is_parametrized(child)


def _is_parametrized(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    return any("parametrize" in ast.unparse(decorator) for decorator in node.decorator_list)


class Suite:
    """The tests of the repository. ``files`` is the text of its Python files by path; each is
    parsed once, and only if somebody refers to it."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files
        self._tests: dict[str, dict[str, bool]] = {}

    def wrong(self, reference: str) -> str:
        """What is wrong with a reference to a test, empty if nothing is."""
        parts = _REFERENCE.fullmatch(reference)
        if parts is None:
            return f"{reference!r} is not written tests/FILE.py::name"
        file, name = parts["file"], parts["name"]
        if file not in self._files:
            return f"there is no {file}"
        try:
            if file not in self._tests:
                self._tests[file] = find_tests(self._files[file])
        except SyntaxError as error:
            return f"{file} cannot be parsed: line {error.lineno}"
        if name not in self._tests[file]:
            return f"{file} has no test {name}"
        if parts["parameters"] and not self._tests[file][name]:
            return f"{name} has no parameters"
        return ""


def wrong_references(requirements: Iterable[Requirement], suite: Suite) -> list[Problem]:
    """What is wrong with the tests that requirements name."""
    return [
        Problem(requirement.id, what)
        for requirement in requirements
        for reference in requirement.tests
        if (what := suite.wrong(reference))
    ]
