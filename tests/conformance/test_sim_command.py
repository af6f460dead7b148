"""The command: what it prints, what it leaves behind, how it ends."""

import json
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from conformance import capture
from conformance.__main__ import main
from conformance.commands import sim
from conformance.sim import totals
from conformance.sim.faults import Fault
from conformance.sim.layout import Feature
from conformance.sim.world import Settings
from transceiver.endpoint import Endpoint


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["sim", *arguments], catch_exceptions=False)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def mixed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transceiver that answers somebody else."""
    send = Endpoint.send_audio

    def wrong(self: Endpoint, call: str, *rest: Any) -> bool:
        return send(self, self.calls[-1], *rest)

    monkeypatch.setattr(Endpoint, "send_audio", wrong)


def test_a_green_seed() -> None:
    result = invoke("--seed", "3", "--sessions", "3", "--faults", "nat,relay", "--minutes", "0.3")
    assert result.exit_code == 0
    assert "1 seeds" in result.output
    assert "separation of echoes" in " ".join(result.output.split())
    assert "failures" not in result.output


def test_figures_as_json() -> None:
    result = invoke("--seeds", "3", "--sessions", "2", "--faults", "loss", "--json")
    figures = json.loads(result.stdout)
    assert result.exit_code == 0
    assert figures["seeds"] == 3
    assert figures["failures"] == []
    assert figures["faults"]["loss"] >= 3
    assert figures["rules"]["leaks"] == 3


def test_a_failure_prints_the_command_that_repeats_it(here: Path, mixed_up: None) -> None:
    result = invoke("--seed", "8", "--seeds", "2", "--sessions", "3", "--faults", "nat,loss")
    assert result.exit_code == sim.EXIT_BROKEN
    lines = [line.strip() for line in result.stderr.splitlines()]
    again = next(line for line in lines if line.startswith("conformance sim --seed 8 "))
    repeated = invoke(*shlex.split(again)[2:])
    assert repeated.exit_code == sim.EXIT_BROKEN
    told = [line for line in lines if line.startswith("seed 8 broke a rule: separation")]
    assert told
    assert told[0] in repeated.stderr


def test_the_command_that_repeats_a_run_names_its_features() -> None:
    assert "--features" not in totals.command(Settings(3))
    assert totals.command(Settings(3, features=())).endswith("--features none")
    named = totals.command(Settings(3, features=(Feature.TIERS, Feature.IPV6)))
    assert named.endswith("--features tiers,ipv6")


def test_a_failure_leaves_a_capture_with_its_keys(here: Path, mixed_up: None) -> None:
    result = invoke("--seed", "8", "--sessions", "3", "--faults", "none")
    assert "the last that happened" in result.stderr
    packets = list(capture.read(here / "sim-8.pcap"))
    assert len(packets) > 50
    assert all(packet.is_udp for packet in packets)
    assert (here / "sim-8.keys").read_text().startswith("CLIENT_RANDOM ")


def test_a_trace_and_a_capture_of_a_green_seed(here: Path) -> None:
    result = invoke(
        *("--seed", "1", "--sessions", "2", "--faults", "relay", "--minutes", "0.2"),
        *("--trace", "trace.txt", "--pcap", "green.pcap"),
    )
    assert result.exit_code == 0
    lines = (here / "trace.txt").read_text().splitlines()
    assert any("relay until" in line for line in lines)
    assert any("RTP" in line for line in lines)
    assert len(list(capture.read(here / "green.pcap"))) > 50


def test_a_summary_says_what_a_campaign_has_done(here: Path) -> None:
    result = invoke("--seeds", "4", "--sessions", "2", "--faults", "nat", "--summary", "sum.toml")
    assert result.exit_code == 0
    told = tomllib.loads((here / "sum.toml").read_text())
    assert told["seeds"] == 4
    assert told["failures"] == 0
    assert told["faults"]["nat"] >= 4
    assert told["rules"]["ownership"] > 0
    assert told["recovered"]["living sessions, audio"]["count"] > 0


def test_a_summary_names_its_failures(here: Path, mixed_up: None) -> None:
    invoke("--seed", "8", "--sessions", "3", "--faults", "none", "--summary", "sum.toml")
    told = tomllib.loads((here / "sum.toml").read_text())
    assert told["failures"] == len(told["failure"]) >= 1
    assert told["failure"][0]["command"].startswith("conformance sim --seed 8 ")


def test_several_processes_find_the_same() -> None:
    arguments = ("--seeds", "4", "--sessions", "2", "--faults", "all", "--json")
    alone, together = (json.loads(invoke(*arguments, "--jobs", jobs).stdout) for jobs in ("1", "2"))
    for figures in (alone, together):
        del figures["cpu_seconds"]
    assert alone == together


@pytest.mark.parametrize(
    "arguments",
    [
        ("--faults", "gremlins"),
        ("--features", "ipv5"),
        ("--sessions", "0"),
        ("--seeds", "2", "--trace", "x"),
        ("--minutes", "0"),
    ],
)
def test_nonsense_is_refused(arguments: tuple[str, ...], here: Path) -> None:
    assert invoke(*arguments).exit_code == 2


def test_the_benchmark_says_what_it_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    small = Settings(seed=1, sessions=5, kinds=(), minutes=0.5, plain=True)
    monkeypatch.setattr(sim, "BENCHMARK", small)
    figures = json.loads(invoke("--benchmark", "--json").stdout)
    assert figures["audio_reduced_by"] == 50
    assert figures["session_seconds_per_second"] > 0
    assert "reduced by 50" in invoke("--benchmark").output


def test_the_campaign_that_is_committed_was_green() -> None:
    told = tomllib.loads(Path(sim.totals.__file__).with_name("campaign.toml").read_text())
    assert told["seeds"] >= 10_000
    assert told["failures"] == 0
    assert told["kinds"] == "all"
    assert {kind.value for kind in Fault} <= set(told["faults"])
