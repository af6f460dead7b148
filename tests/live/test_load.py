"""A load at our own programs: relay, transceiver, HTTP, over UDP."""

import json
import signal
import subprocess
import sys
import time

import pytest

from demo import Demo
from namespace import Namespace
from source import ROOT
from tools import require_root

pytestmark = pytest.mark.live


def load_command(demo: Demo, network: Namespace, *options: str) -> list[str]:
    command = [
        *(sys.executable, "-m", "conformance", "load", "--json", "--data"),
        *("--calls", f"{demo.page}v1/realtime/calls", "--allow", network.address),
    ]
    return network.command([*command, *options])


def test_fifty_calls_at_once_lose_nothing() -> None:
    require_root()
    with Namespace() as network, Demo(network) as demo:
        command = load_command(demo, network, "--sessions", "50", "--seconds", "5")
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr + done.stdout
    told = json.loads(done.stdout)
    assert told["established"] == 50
    assert told["audio"]["sent"] > 5_000
    assert told["audio"]["lost"] < 0.01
    assert told["messages"]["answered"] >= 0.95 * told["messages"]["sent"]


def up(demo: Demo) -> int:
    """How many calls the demo's one transceiver has."""
    calls: int = demo.get("/healthz", demo.state["transceivers"][0]["http"])[1]["calls"]
    return calls


def until(demo: Demo, calls: int) -> bool:
    """Whether it comes to so many, within a minute."""
    ends = time.monotonic() + 60
    while up(demo) != calls:
        if time.monotonic() > ends:
            return False
        time.sleep(0.1)
    return True


def test_an_interrupted_load_leaves_no_call_behind() -> None:
    require_root()
    with Namespace() as network, Demo(network) as demo:
        command = load_command(demo, network, "--sessions", "5", "--seconds", "3600")
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert until(demo, 5)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
        assert until(demo, 0)
    told = json.loads(output)
    assert told["stopped_early"]
    assert told["sessions"] == 5
