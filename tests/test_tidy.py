"""House rules that a reader would trip over: sizes, leftovers, strays, traces of a machine."""

import ast
import re
from pathlib import Path

import pytest

from source import ROOT, tracked

MODULE_LINES = 600
FUNCTION_LINES = 70
TOP_LEVEL = re.compile(
    r"pyproject\.toml|tox\.ini|README\.md|LICENSE|CHANGELOG\.md"
    r"|stunroute|transceiver|conformance|pcaps|tests|\..*"
)
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
MACHINE = re.compile(
    "|".join(
        [
            r"(?<![\w.])/(work|root|home|Users|mnt)/",
            r"(?i:index-url|extra-index|find-links|trusted-host)",
            r"(?i:https?://[^\s/]*(pypi|artifactory|nexus|registry|proxy|mirror)[^\s/]*\.)",
            r"(?i:\.(internal|corp|intra|lan)\b(?=[:/\"'\s]))",
        ]
    )
)
TEXT_SUFFIXES = frozenset(
    [".py", ".toml", ".ini", ".md", ".html", ".js", ".css", ".sdp", ".sh", ""]
)


def long_functions(text: str) -> list[str]:
    """Functions beyond the bound, from the first decorator to the last line."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            length = (node.end_lineno or first) - first + 1
            if length > FUNCTION_LINES:
                found.append(f"{node.name} has {length} lines")
    return found


def matches(pattern: re.Pattern[str], text: str) -> list[str]:
    return [
        f"line {number}: {line.strip()}"
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def strays(paths: list[Path]) -> list[str]:
    names = {path.parts[0] for path in paths}
    return sorted(name for name in names if not TOP_LEVEL.fullmatch(name))


def in_tests(path: Path) -> bool:
    return path.parts[0] == "tests"


# --- the repository ---------------------------------------------------------------------------


def test_modules_are_short() -> None:
    long = {
        str(path): length
        for path in tracked("*.py")
        if (length := len((ROOT / path).read_text("utf-8").splitlines())) > MODULE_LINES
    }
    assert long == {}


def test_functions_are_short() -> None:
    long = {
        str(path): found
        for path in tracked("*.py")
        if (found := long_functions((ROOT / path).read_text("utf-8")))
    }
    assert long == {}


def test_the_top_level_holds_what_belongs_there() -> None:
    assert strays(tracked()) == []


def test_nothing_is_left_unfinished() -> None:
    left = {
        str(path): found
        for path in tracked("*.py")
        if not in_tests(path) and (found := matches(UNFINISHED, (ROOT / path).read_text("utf-8")))
    }
    assert left == {}


def test_nothing_tells_of_a_machine() -> None:
    own = Path(__file__).resolve()
    texts = [path for path in tracked() if path.suffix in TEXT_SUFFIXES and ROOT / path != own]
    told = {
        str(path): found
        for path in texts
        if (found := matches(MACHINE, (ROOT / path).read_text("utf-8", errors="replace")))
    }
    assert told == {}


# --- the checks -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize("decorator", ["", "@one\n@two\n"])
def test_long_functions_are_found(kind: str, decorator: str) -> None:
    used = 1 + decorator.count("\n")
    for lines, long in ((FUNCTION_LINES - used, False), (FUNCTION_LINES - used + 1, True)):
        text = f"{decorator}{kind} f():\n" + "    x = 1\n" * lines
        assert bool(long_functions(text)) is long
        nested = "class C:\n" + "".join(f"    {line}\n" for line in text.splitlines())
        assert bool(long_functions(nested)) is long


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("# TODO: later", True),
        ("x = 1  # FIXME", True),
        ("raise NotImplementedError", True),
        ("raise NotImplementedError('soon')", True),
        ("TODOS = 1", False),
        ("return NotImplemented", False),
    ],
)
def test_leftovers_are_found(text: str, wrong: bool) -> None:
    assert bool(matches(UNFINISHED, text)) is wrong


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("open('/work/x')", True),
        ("see /home/somebody/x", True),
        ("cd /root/x", True),
        ("pip install --index-url https://example.org/simple x", True),
        ("https://pypi.example.net/simple", True),
        ("http://registry.example.net:8080/x", True),
        ("https://nexus-3.example.net/repository", True),
        ("relay.corp/x", True),
        ("a.internal:8080", True),
        ("https://www.iana.org/assignments/stun-parameters", False),
        ("transceiver.internal_name", False),
        ("$HOME/.pyenv/versions", False),
        ("the framework/home page", False),
        ("POST /v1/realtime/calls", False),
    ],
)
def test_traces_of_a_machine_are_found(text: str, wrong: bool) -> None:
    assert bool(matches(MACHINE, text)) is wrong


def test_strays_are_found() -> None:
    good = ["README.md", ".ci/run", "tests/x.py", "pcaps/x.pcap", "transceiver/sdp.py"]
    assert strays([Path(name) for name in good]) == []
    bad = ["notes.md", "scripts/x.sh", "README.md.bak", "tests.py"]
    assert strays([Path(name) for name in good + bad]) == [
        "README.md.bak",
        "notes.md",
        "scripts",
        "tests.py",
    ]
