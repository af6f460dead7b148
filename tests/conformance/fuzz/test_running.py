"""Targets under atheris in processes of their own, and the command that starts them."""

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from conformance.commands import fuzz
from conformance.fuzz import campaign, catalogue, runner
from conformance.fuzz.child import Keeper, guarded, signature
from conformance.fuzz.runner import Finding, Place, Turn
from fuzzing import FRAGILE
from tools import unavailable

ROOT = Path(__file__).parents[3]
FAST = catalogue.targets()["transceiver.dtls.record.decode_untrusted"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'tests'}")
    return Place(tmp_path / "state")


@pytest.fixture
def atheris() -> None:
    if find_spec("atheris") is None:
        unavailable("there is no atheris for this Python or this machine")


def in_child(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let children run ``script`` in the place of ``conformance.fuzz.child``."""
    usual = runner.command

    def command(*arguments: object, **options: object) -> list[str]:
        line = usual(*arguments, **options)  # type: ignore[arg-type]
        return [line[0], "-c", script, *line[3:]]

    monkeypatch.setattr(runner, "command", command)


PLANTED = """
import sys
from conformance.fuzz import catalogue, child
from fuzzing import FRAGILE
catalogue.targets()[FRAGILE.name] = FRAGILE
child.main(sys.argv[1:])
"""
FALLEN = """
import os, sys
import atheris
atheris.Setup(["x", *sys.argv[3:]], lambda data: os.abort() if data[:1] == b"A" else None)
atheris.Fuzz()
"""


@pytest.mark.usefixtures("atheris")
class TestAtheris:
    def test_a_run_tells_how_much_and_how_far(self, place: Place) -> None:
        turn = runner.run(FAST, place, runs=3000)
        assert turn.executions >= 3000
        assert turn.edges > 5
        assert turn.corpus > 0
        assert turn.findings == ()
        assert turn.failure == ""
        assert any(place.corpus(FAST).iterdir())

    def test_a_core_is_mutated_by_operations(self, place: Place) -> None:
        turn = runner.run(catalogue.targets()["core.ice"], place, runs=200)
        assert (turn.failure, turn.findings) == ("", ())
        assert turn.edges > 100

    def test_what_escapes_is_written_down_once_for_each_place(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        in_child(monkeypatch, PLANTED)
        folder = place.seeds(FRAGILE)
        for number, seed in enumerate((b"AB", b"\xff", b"\xff\xff", b"KKKK", b"KKKKK")):
            (folder / str(number)).write_bytes(seed)
        turn = runner.run(FRAGILE, place, runs=400)
        assert sorted(one.what.partition(" at ")[0] for one in turn.findings) == [
            "Violation",
            "ZeroDivisionError",
        ]
        for one in turn.findings:
            note = (place.findings / one.file).with_suffix(".txt").read_text()
            assert "Traceback" in note
        assert turn.executions >= 400

    def test_what_takes_the_process_with_it_is_a_finding(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        in_child(monkeypatch, FALLEN)
        (place.seeds(FAST) / "seed").write_bytes(b"ABC")
        turn = runner.run(FAST, place, runs=100)
        (found,) = turn.findings
        assert found.what == "crash"
        assert (place.findings / found.file).read_bytes()[:1] == b"A"

    def test_a_child_that_does_not_start_is_a_failure(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        in_child(monkeypatch, "raise SystemExit('no such luck')")
        turn = runner.run(FAST, place, runs=1)
        assert "no such luck" in turn.failure
        assert turn.executions == 0

    def test_a_child_that_never_ends_is_ended(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        in_child(monkeypatch, "import time; time.sleep(600)")
        monkeypatch.setattr(runner, "GRACE", 1.0)
        assert "did not come to its end" in runner.run(FAST, place, seconds=0).failure

    def test_the_command_prints_it(self, tmp_path: Path) -> None:
        (tmp_path / "seeds").mkdir()  # a place that is there already is not filled anew
        given = ["record.decode_untrusted", "--runs", "500", "--state", str(tmp_path)]
        done = CliRunner().invoke(fuzz.command, given)
        assert done.exit_code == 0, done.output
        assert "executions, " in done.output
        assert " edges, " in done.output

    def test_a_campaign_ends_with_its_child_and_goes_on_later(self, tmp_path: Path) -> None:
        line = [sys.executable, "-m", "conformance", "fuzz", "demux.classify"]
        line += ["--campaign", "--state", str(tmp_path)]
        (tmp_path / "seeds").mkdir()
        process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL)
        try:
            corpus = tmp_path / "corpus"
            for _ in range(300):
                if corpus.exists():
                    break
                time.sleep(0.1)
            assert (tmp_path / "pid").read_text() == f"{process.pid}\n"
            process.terminate()
            assert process.wait(20) == 128 + 15
        finally:
            process.kill()
        left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
        assert str(tmp_path) not in left.stdout


def test_errors_are_told_apart_by_their_place(tmp_path: Path) -> None:
    keeper = Keeper("core.fragile", tmp_path)
    one = guarded(FRAGILE.make(), keeper)
    for data in (b"\xff", b"\xffZ", b"KKK", b"AB", b"fine"):
        one(data)
    names = sorted(path.name for path in tmp_path.glob("*.bin"))
    assert len(names) == 2
    assert {(tmp_path / name).read_bytes() for name in names} == {b"\xff", b"KKK"}


def test_a_place_is_the_last_of_ours() -> None:
    try:
        catalogue.targets()["stunroute.demux.classify"].make()("text")  # type: ignore[arg-type]
    except Exception as error:
        found = signature(error)
    assert "stunroute.demux:classify" in found or "parsers_relay" in found


class TestCommand:
    def test_it_lists_targets_and_who_covers_the_others(self) -> None:
        done = CliRunner().invoke(fuzz.command, ["--list"])
        assert done.exit_code == 0
        for name in (*catalogue.targets(), *catalogue.covered()):
            assert name in done.output

    def test_a_target_that_there_is_not_is_an_error(self) -> None:
        assert CliRunner().invoke(fuzz.command, ["nobody"]).exit_code == 2

    @pytest.mark.parametrize("option", ["--campaign", "--summarise"])
    def test_a_campaign_wants_a_place(self, option: str) -> None:
        done = CliRunner().invoke(fuzz.command, [option])
        assert done.exit_code == 2

    def test_replay_says_what_an_input_does(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(catalogue.targets(), FRAGILE.name, FRAGILE)
        path = tmp_path / "found.bin"
        path.write_bytes(b"AB")
        given = ["--replay", str(path), FRAGILE.name]
        assert CliRunner().invoke(fuzz.command, given).exit_code == 0
        path.write_bytes(b"K" + bytes(9))
        done = CliRunner().invoke(fuzz.command, [*given, "--minimise"])
        assert done.exit_code == fuzz.EXIT_FOUND
        assert "no long input begins with K" in done.output
        assert (tmp_path / "found.min.bin").read_bytes() == b"K\x00\x00"
        given[-1] = "core.*"
        assert CliRunner().invoke(fuzz.command, given).exit_code == 2

    @pytest.mark.parametrize("engine", ["smoke", "hypothesis"])
    def test_other_engines_need_no_atheris(
        self, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = ["core.jitter", "--engine", engine, "--runs", "20", "--state", str(tmp_path)]
        done = CliRunner().invoke(fuzz.command, given)
        assert done.exit_code == 0
        assert "core.jitter: " in done.output
        assert not list(tmp_path.iterdir())

    def test_what_they_find_can_be_replayed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(catalogue.targets(), FRAGILE.name, FRAGILE)
        given = [FRAGILE.name, "--engine", "smoke", "--runs", "50", "--state", str(tmp_path)]
        done = CliRunner().invoke(fuzz.command, given)
        assert done.exit_code == fuzz.EXIT_FOUND
        (found,) = tmp_path.iterdir()
        assert f"conformance fuzz --replay {found} {FRAGILE.name}" in done.output


# --- campaigns ----------------------------------------------------------------------------------


def test_every_target_has_a_turn_before_any_has_two(tmp_path: Path) -> None:
    running = campaign.Campaign(Place(tmp_path))
    targets = {one.name: one for one in catalogue.matching(["*.rtp.*", "core.*"])}
    for _ in targets:
        name = running.next(targets).name
        assert name not in running.totals
        running.totals.setdefault(name, campaign.Total()).add(Turn(name, 5, 10.0))
    assert running.next(targets).is_core  # for they weigh more


def test_who_finds_more_has_more_turns(tmp_path: Path) -> None:
    running = campaign.Campaign(Place(tmp_path))
    names = ["transceiver.srtp.rtp.peek_ssrc_untrusted", "transceiver.srtp.rtp.audio_untrusted"]
    targets = {name: catalogue.targets()[name] for name in names}
    for name, new in zip(names, (0, 1), strict=True):
        running.totals.setdefault(name, campaign.Total()).add(Turn(name, 5, 10.0, new=new))
    assert running.next(targets).name == names[1]


def test_totals_outlive_the_process_and_add_up(tmp_path: Path) -> None:
    place = Place(tmp_path)
    running = campaign.Campaign(place)
    finding = Finding("core.ice", "core.ice-abc.bin", "Violation at somewhere")
    for turn in (
        Turn("core.ice", 100, 2.0, edges=7, corpus=3, findings=(finding,)),
        Turn("core.ice", 50, 1.0, edges=9, corpus=2, failure="ended with 1"),
        Turn("core.sctp", 10, 1.0, edges=1),
    ):
        running.totals.setdefault(turn.target, campaign.Total()).add(turn)
    running.save()
    again = campaign.Campaign.load(place)
    assert again.totals == running.totals
    path = tmp_path / "summary.json"
    summary = campaign.write_summary(again, path)
    assert json.loads(path.read_text()) == summary
    assert (summary["executions"], summary["seconds"], summary["findings"]) == (160, 4, 1)
    assert summary["by_target"]["core.ice"] == {
        "executions": 150,
        "seconds": 3,
        "executions_per_second": 50,
        "edges": 9,
        "inputs": 3,
        "findings": ["Violation at somewhere"],
    }


def test_a_campaign_ends_where_it_was_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "run", lambda target, *_, **__: Turn(target.name, 40, 1.0, edges=1))
    running = campaign.Campaign(Place(tmp_path))
    running.run(("*.rtp.*",), campaign.Plan(until=100))
    assert running.executions == 120
    running.run(("*.rtp.*",), campaign.Plan(seconds=0.0))
    assert campaign.Campaign.load(Place(tmp_path)).executions == 120


@pytest.mark.parametrize("path", [campaign.SUMMARY, campaign.FIRST], ids=lambda path: path.stem)
def test_a_committed_summary_adds_up(path: Path) -> None:
    summary = json.loads(path.read_text())
    rows = summary["by_target"].values()
    assert summary["executions"] == sum(one["executions"] for one in rows)
    assert summary["findings"] == sum(len(one["findings"]) for one in rows)
    assert summary["targets"] == len(rows) > 100


def test_what_is_said_of_the_campaigns() -> None:
    """All of the later one was seen; of the first, this much certainly was not."""
    summary, first = (json.loads(path.read_text()) for path in (campaign.SUMMARY, campaign.FIRST))
    assert summary["blind_executions"] == 0
    assert all(one["edges"] for one in summary["by_target"].values())
    assert first["executions"] >= 10**8
    blind = [one["executions"] for one in first["by_target"].values() if not one["edges"]]
    assert (len(blind), sum(blind)) == (3, 26_440_492)
