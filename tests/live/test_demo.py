"""The demo's manners as a program: how it starts, says what is wrong, and ends."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from demo import RELAY_PORT, Demo, alive, demo_command, gone
from namespace import Namespace
from source import ROOT
from tools import require_root

pytestmark = pytest.mark.live

HTTP_PORT = 8080


@pytest.fixture(scope="module")
def network() -> Iterator[Namespace]:
    require_root()
    with Namespace() as made:
        yield made


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where programs started by this test make their temporary directories."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_every_process_and_removes_the_keys(
    network: Namespace, scratch: Path, number: signal.Signals
) -> None:
    with Demo(network, "--transceivers", "2") as demo:
        pids = demo.pids
        assert len(pids) == 3
        assert all(map(alive, pids))
        (made,) = scratch.iterdir()
        assert made.stat().st_mode & 0o077 == 0
        demo.process.send_signal(number)
        assert demo.process.wait(30) == 0
        assert gone(pids, within=0.0)
        assert list(scratch.iterdir()) == []


def test_the_page_is_announced_to_a_person(network: Namespace, scratch: Path) -> None:
    with _started(network, "--transceivers", "2") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        relay = f"{network.address}:{RELAY_PORT}"
        assert line == (
            f"Open http://127.0.0.1:{HTTP_PORT}/ and press Call "
            f"(2 transceivers behind udp {relay}; Ctrl-C stops).\n"
        )
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=30)
    assert (process.returncode, out, errors) == (0, "", "")


@pytest.mark.parametrize("option", ["--udp", "--http"])
def test_a_port_in_use_is_one_line(network: Namespace, scratch: Path, option: str) -> None:
    kind = socket.SOCK_DGRAM if option == "--udp" else socket.SOCK_STREAM
    with network.inside(lambda: socket.socket(socket.AF_INET, kind)) as taken:
        taken.bind(("127.0.0.1", 0))
        if option == "--http":
            taken.listen()
        address = "{}:{}".format(*taken.getsockname())
        with _started(network, option, address) as process:
            out, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert (out, errors) == ("", f"transceiver: {option}: {address}: Address already in use\n")
    assert list(scratch.iterdir()) == []


def test_a_transceiver_that_dies_ends_the_demo(network: Namespace, scratch: Path) -> None:
    with _started(network, "--json", "--transceivers", "2") as process:
        assert process.stdout is not None
        process.stdout.readline()
        relay, first, second = _children(process.pid)
        os.kill(second, signal.SIGKILL)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors == "transceiver: transceiver 2 ended by itself, exit code -9\n"
    assert gone([relay, first], within=0.0)
    assert list(scratch.iterdir()) == []


def _started(network: Namespace, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        network.command(demo_command(*options)),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _children(pid: int) -> Sequence[int]:
    """The processes that ``pid`` has started, oldest first."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]
