"""Inputs that the fuzzer found something with, each under the name of its target and of what was
wrong. What was wrong has been mended, so now the targets bear them."""

from pathlib import Path

import pytest

from conformance.fuzz import catalogue

FINDINGS = sorted((Path(__file__).parent / "findings").glob("*.bin"))


def test_there_are_some() -> None:
    assert FINDINGS


@pytest.mark.parametrize("path", FINDINGS, ids=lambda path: path.stem)
def test_what_was_found_is_borne(path: Path) -> None:
    name, _, what = path.stem.partition("--")
    assert what
    catalogue.targets()[name].make()(path.read_bytes())
