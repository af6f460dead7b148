"""The command around a load; what a load does is tested in ``test_load``."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from conformance.__main__ import main
from conformance.commands import load
from conformance.load import Plan
from stunroute.address import Address

TOLD: dict[str, Any] = {
    "sessions": 2,
    "established": 2,
    "failures": {},
    "stopped_early": False,
    "answer_ms": {"p50": 1.0, "p95": 2.0, "p99": 3.0, "max": 4.0},
    "establish_ms": None,
    "audio": {"sent": 9, "echoed": 9, "lost": 0.0, "round_trip_ms": None, "skipped": 0},
    "messages": {"sent": 0, "answered": 0, "round_trip_ms": None},
    "drops": {},
    "seconds": 1.0,
    "own_cpu": 0.1,
    "longest_lateness_ms": 1.5,
}


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["load", *arguments], catch_exceptions=False)


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """What would have been run."""
    asked: list[Plan] = []

    async def run(plan: Plan) -> dict[str, Any]:
        asked.append(plan)
        return TOLD | {"failures": {"refused 503": 1} if plan.headers else {}}

    monkeypatch.setattr(load, "_run", run)
    return asked


def test_options_become_a_plan(plans: list[Plan]) -> None:
    result = invoke(
        *("--whip", "http://127.0.0.1:9/whip", "--sessions", "2", "--ramp", "5", "--data"),
        *("--allow", "192.0.2.1:7", "--seconds", "3", "--json"),
    )
    assert result.exit_code == 0
    assert json.loads(result.stdout) == TOLD
    hosts = (Address.of("127.0.0.1", 0), Address.of("192.0.2.1", 7))
    assert plans == [Plan("http://127.0.0.1:9/whip", hosts, 2, 5.0, 3.0, 0.02, True, {})]


def test_failures_make_the_exit_status(plans: list[Plan]) -> None:
    result = invoke("--calls", "http://127.0.0.1:9/x", "--token", "secret")
    assert result.exit_code == load.EXIT_FAILED
    assert "1 failed: refused 503" in result.stdout
    assert "secret" not in result.output
    assert plans[0].headers == {"Authorization": "Bearer secret"}


def test_figures_for_people(plans: list[Plan]) -> None:
    output = invoke("--calls", "http://127.0.0.1:9/x").stdout
    assert "2 of 2 calls came up" in output
    assert "offer to answer: p50 1 ms, p95 2 ms, p99 3 ms, max 4 ms" in output
    assert "9 packets of audio, 0.000% lost" in output


def test_a_host_that_nobody_knows() -> None:
    assert invoke("--whip", "http://no-such-host.invalid/x").exit_code == load.EXIT_UNREACHABLE


@pytest.mark.parametrize(
    "arguments",
    [(), ("--whip", "http://127.0.0.1/", "--calls", "http://127.0.0.1/"), ("--sessions", "0")],
)
def test_nonsense_is_refused(arguments: tuple[str, ...]) -> None:
    assert invoke(*arguments).exit_code == 2
