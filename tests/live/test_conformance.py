"""Our own programs before the suite, over UDP, as anybody's would be."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from demo import Demo
from namespace import Namespace
from source import ROOT
from tools import require_root

pytestmark = pytest.mark.live


def test_our_servers_pass_every_case(tmp_path: Path) -> None:
    """Several cases at a time, so this is a little load test of the relay as well. Signalling is on
    loopback and the demo names the machine's other address, as it would for anybody."""
    require_root()
    report = tmp_path / "report.json"
    with Namespace() as network, Demo(network) as demo:
        command = [
            *(sys.executable, "-m", "conformance", "run"),
            *("--calls", f"{demo.page}v1/realtime/calls"),
            *("--jobs", "4", "--patience", "1.5", "--json", str(report)),
        ]
        done = subprocess.run(
            network.command(command), cwd=ROOT, capture_output=True, text=True, timeout=900
        )
    assert done.returncode == 0, done.stdout
    verdicts = Counter(each["verdict"] for each in json.loads(report.read_text())["results"])
    assert verdicts["pass"] > 300, verdicts
