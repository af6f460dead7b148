"""Every reason for letting go of a packet is met by name in some test."""

import ast
from pathlib import Path

from source import ROOT
from stunroute.trace import Drop


def named_drops(text: str) -> set[str]:
    """The members written as ``Drop.NAME`` (or ``trace.Drop.NAME``) in a module's code. Comments
    and strings do not count."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Attribute(attr=name, value=ast.Name("Drop") | ast.Attribute(attr="Drop")) if (
                name in Drop.__members__
            ):
                found.add(name)
    return found


def unmet(texts: list[str]) -> list[str]:
    named = set().union(*map(named_drops, texts))
    return [name for name in Drop.__members__ if name not in named]


def test_every_drop_is_met() -> None:
    own = Path(__file__).resolve()
    paths = [path for path in (ROOT / "tests").rglob("test_*.py") if path != own]
    assert unmet([path.read_text("utf-8") for path in paths]) == []


def test_every_drop_has_a_label_of_its_own() -> None:
    labels = [drop.value for drop in Drop]
    assert len(set(labels)) == len(labels)
    assert all(label == label.lower() and " " not in label for label in labels)


def test_a_missing_one_is_found() -> None:
    everything = "\n".join(f"assert x is Drop.{name}" for name in Drop.__members__)
    assert unmet([everything]) == []
    assert unmet([everything.replace("Drop.EMPTY", "Drop . EMPTY")]) == []
    assert unmet([everything.replace("Drop.EMPTY", "trace.Drop.EMPTY")]) == []
    for hidden in ("# Drop.EMPTY", "'Drop.EMPTY'", "Drop.EMPTY_HANDED", "Drap.EMPTY", "EMPTY"):
        spoilt = everything.replace("assert x is Drop.EMPTY", hidden)
        assert unmet([spoilt]) == ["EMPTY"]
    assert unmet([]) == list(Drop.__members__)
