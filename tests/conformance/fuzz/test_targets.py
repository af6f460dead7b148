"""Every function that reads what strangers sent is fuzzed, and bears a first round of it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType

import pytest

from conformance.fuzz import catalogue, discover, smoke
from conformance.fuzz.seeds import KINDS
from fuzzing import seeds

TARGETS = catalogue.targets()
COVERED = catalogue.covered()
CORES = 40
"""Inputs that a core is given here; a function is given ten times as many."""


def test_every_function_that_reads_strangers_bytes_is_a_target_or_says_whose() -> None:
    assert catalogue.missing() == []


def test_the_sources_are_really_read() -> None:
    names = {one.name for one in discover.functions()}
    assert len(names) >= 156
    assert {
        "stunroute.stun.message.decode_untrusted",
        "transceiver.dtls.wire.Reader.take_untrusted",
        "conformance.story._stun_untrusted",
    } <= names


def test_tables_name_nothing_that_is_not_there() -> None:
    found = {one.name for one in discover.functions()}
    named = {name for name in TARGETS if name.endswith(discover.SUFFIX)}
    assert named | set(COVERED) <= found
    assert not set(TARGETS) & set(COVERED)


def test_what_is_covered_is_covered_by_a_target() -> None:
    assert {one.by for one in COVERED.values()} <= set(TARGETS)
    assert all(one.reason for one in COVERED.values())


def test_functions_are_found_wherever_they_stand(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text(
        "class A:\n"
        "    class B:\n"
        "        def one_untrusted(self, data: bytes) -> int: ...\n"
        "def two_untrusted(data: bytes, offset: int = 0) -> int:\n"
        "    def three_untrusted(text: str) -> None: ...\n"
        "if True:\n"
        "    async def four_untrusted(text: str | bytes) -> None: ...\n"
        "def five_untrusted(data: bytes, *, strict: bool) -> int: ...\n"
        "def six_untrusted(kind: int) -> int: ...\n"
        "def trusted(data: bytes) -> int: ...\n"
    )
    found = {one.name: one.takes for one in discover._in_module(source, "m")}
    assert found == {
        "m.A.B.one_untrusted": None,
        "m.two_untrusted": "bytes",
        "m.two_untrusted.three_untrusted": None,
        "m.four_untrusted": "str | bytes",
        "m.five_untrusted": None,
        "m.six_untrusted": None,
    }


@pytest.mark.parametrize(
    "name", [one.name for one in discover.functions() if ".<locals>" not in one.name]
)
def test_names_lead_to_functions(name: str) -> None:
    assert callable(discover.resolve(name))


def test_a_name_that_leads_nowhere_is_an_error() -> None:
    with pytest.raises(LookupError):
        discover.resolve("nobody.knows_untrusted")


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_begins_with_seeds_of_a_kind_that_there_is(name: str) -> None:
    kind = TARGETS[name].seeds
    assert kind in KINDS
    assert seeds().of(kind)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_bears_its_seeds_and_what_becomes_of_them(name: str) -> None:
    target = TARGETS[name]
    runs = CORES if target.operations or target.is_core else 10 * CORES
    count, escape = smoke.run(target, seeds().of(target.seeds), runs)
    if escape is not None:
        raise AssertionError(f"{escape.data.hex()}") from escape.error
    assert count >= runs


def _codes(name: str) -> Iterator[CodeType]:
    function = discover.resolve(name)
    yield getattr(function, "__wrapped__", function).__code__


@pytest.mark.parametrize("by", sorted({one.by for one in COVERED.values() if one.traced}))
def test_who_covers_a_function_calls_it(by: str) -> None:
    """Watched in one run, because watching makes it slow."""
    target = TARGETS[by]
    wanted = {
        code: one.name
        for one in COVERED.values()
        if one.by == by and one.traced
        for code in _codes(one.name)
    }
    run = target.make()
    called: set[CodeType] = set()

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code in wanted:
            called.add(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        for data in smoke.inputs(target, seeds().of(target.seeds), 120):
            run(data)
    finally:
        sys.setprofile(before)
    assert [wanted[code] for code in set(wanted) - called] == []


def test_patterns_choose_targets() -> None:
    assert [one.name for one in catalogue.matching(["core.dtls-*"])] == [
        "core.dtls-client",
        "core.dtls-server",
    ]
    assert [one.name for one in catalogue.matching(["demux.classify"])] == [
        "stunroute.demux.classify"
    ]
    assert catalogue.matching(["nobody"]) == []
    assert len(catalogue.matching([])) == len(TARGETS)
