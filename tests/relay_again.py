"""``python tests/relay_again.py SETTINGS``: kill the relay with these settings, start it anew, and
return when it listens.

What ``conformance run --restart`` is given for our own relay. The relay outlives the command that
starts it, so its pid is kept beside its settings, and what it says in a file, not in a pipe.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PATIENCE = 30.0
"""Seconds that a loaded machine may take to start a process or to end one."""


def restart(settings: Path) -> None:
    """End it, if it runs, and start it."""
    end(settings)
    told = settings.with_suffix(".out")
    with told.open("wb") as said, settings.with_suffix(".err").open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "stunroute", "relay", "--config", str(settings)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=errors,
            cwd=Path(__file__).parents[1],
            start_new_session=True,
        )
    settings.with_suffix(".pid").write_text(str(process.pid))
    deadline = time.monotonic() + PATIENCE
    while b"\n" not in told.read_bytes():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(settings.with_suffix(".err").read_text())
        time.sleep(0.005)


def end(settings: Path) -> None:
    """``kill -9``, and wait until it is gone."""
    pid_file = settings.with_suffix(".pid")
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text())
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    while _runs(pid):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{pid} does not end")
        time.sleep(0.002)
    pid_file.unlink()


def _runs(pid: int) -> bool:
    """A zombie, whose parent has not asked after it yet, has no sockets any more."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


if __name__ == "__main__":
    restart(Path(sys.argv[1]))
