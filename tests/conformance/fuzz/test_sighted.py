"""No target is fuzzed blind: what it tests is instrumented, and the fuzzer sees where inputs lead.

A whole campaign once gave some parsers nothing but speed: their modules had been imported before
atheris could take hold of them, and inputs went through them by the million without one being kept.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from conformance.fuzz import campaign, catalogue, child, discover, runner
from conformance.fuzz.runner import Place, Turn
from fuzzing import seeds
from tools import unavailable

ROOT = Path(__file__).parents[3]
TARGETS = catalogue.targets()
SEEDS = 6
"""Of each kind. More would take longer and see no more than that there is something to see."""

CENSUS = """
import dis, os, re, sys
from pathlib import Path
from conformance.fuzz import catalogue, child, discover
import atheris

root, targets = Path(sys.argv[1]), catalogue.targets()
early = sorted({name for one in targets.values() for name in child.too_early(one, sys.modules)})
assert not early, early
every = next(one for one in targets.values() if not one.is_core)
with atheris.instrument_imports(
    include=child.PACKAGES, exclude=child.left_alone(every), enable_loader_override=False
):
    runs = {name: one.make() for name, one in targets.items()}

def watched(name):
    if name.startswith("core."):
        return True
    function = discover.resolve(name)
    code = getattr(function, "__wrapped__", function).__code__
    branches = any("JUMP" in one.opname for one in dis.get_instructions(code))
    return "_trace_branch" in code.co_names or not branches

def fuzz(name):
    said = os.open(root / "said", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 2)
    arguments = [str(root / "seeds" / targets[name].seeds), "-runs=20"]
    child.fuzz(targets[name], runs[name], root / "findings", arguments)

for name in targets:
    pid = os.fork()
    if not pid:
        fuzz(name)
    os.waitpid(pid, 0)
    counts = re.findall(r"cov: (\\d+)", (root / "said").read_text(errors="replace"))
    print(name, counts[-1] if counts else 0, int(watched(name)), flush=True)
"""


@pytest.fixture(scope="module")
def census(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, bool]]:
    """Edges that a short run of each target saw, and whether the function of its name is watched.
    All in children of one process, which instruments everything once: for each target anew that
    takes minutes."""
    if find_spec("atheris") is None:
        unavailable("there is no atheris for this Python or this machine")
    root = tmp_path_factory.mktemp("census")
    for kind in seeds().kinds():
        folder = root / "seeds" / kind
        folder.mkdir(parents=True)
        for number, data in enumerate(seeds().of(kind)[:SEEDS]):
            (folder / str(number)).write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", CENSUS, str(root)],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = (line.split() for line in done.stdout.splitlines())
    return {name: (int(edges), watched == "1") for name, edges, watched in rows}


def test_the_fuzzer_sees_where_every_target_leads(census: dict[str, tuple[int, bool]]) -> None:
    assert set(census) == set(TARGETS)
    assert [name for name, (edges, _) in census.items() if not edges] == []
    assert all(edges > 50 for name, (edges, _) in census.items() if TARGETS[name].is_core)


def test_every_function_is_watched_itself(census: dict[str, tuple[int, bool]]) -> None:
    """Edges of what it calls are not enough. A function without a branch has none of its own."""
    assert [name for name, (_, watched) in census.items() if not watched] == []


def test_a_child_begins_with_nothing_imported_that_it_tests() -> None:
    script = "import sys; from conformance.fuzz import child; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    modules = done.stdout.split()
    assert "conformance.fuzz.catalogue" in modules
    assert {
        name: found for name, one in TARGETS.items() if (found := child.too_early(one, modules))
    } == {}


def test_a_child_that_comes_too_late_does_not_begin() -> None:
    script = (
        "import sys, transceiver.sctp.chunks; from conformance.fuzz import catalogue, child;"
        "print(child.too_early(catalogue.targets()['core.sctp'], sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "'transceiver.sctp.chunks'" in done.stdout


def test_neither_targets_nor_peers_are_watched() -> None:
    core, story = TARGETS["core.endpoint"], TARGETS["conformance.story._stun_untrusted"]
    for target in (core, story):
        alone = set(child.left_alone(target))
        assert {"conformance.fuzz.play", "conformance.fuzz.cores_endpoint"} <= alone
        assert "transceiver.endpoint" not in alone
        assert alone < set(discover.modules())
    assert "conformance.client.core" in child.left_alone(core)
    assert "conformance.client.answer" not in child.left_alone(story)
    assert "conformance.story" not in child.left_alone(story)


def test_a_turn_without_an_edge_is_a_failure_and_counts_as_blind(tmp_path: Path) -> None:
    said = "#8\tDONE   cov: 0 ft: 0 corp: 1/1b\nstat::number_of_executed_units: 8\n"
    target = TARGETS["stunroute.demux.classify"]
    turn = runner._read(target, Place(tmp_path), said, 0, 1.0, set())
    assert turn.failure == runner.BLIND
    assert (turn.executions, turn.sighted) == (8, 0)
    running = campaign.Campaign(Place(tmp_path))
    total = running.totals.setdefault(target.name, campaign.Total())
    total.add(turn)
    total.add(Turn(target.name, 5, 1.0, edges=3))
    summary = campaign.summarise(running)
    assert (summary["executions"], summary["blind_executions"]) == (5, 8)
