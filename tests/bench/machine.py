"""Which cores the two sides of a measurement get, and how they keep them on a busy machine.

Whoever imports this finds the packages of the checkout that it lies in, and so do the programs that
are started then, whether or not the packages are installed.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

CORES = tuple(sorted(os.sched_getaffinity(0)))
GENERATOR_CORES = CORES[:1]
FORWARDER_CORES = CORES[-1:]

ROOT = str(Path(__file__).parent.parent.parent)
if ROOT not in sys.path:
    sys.path.insert(1, ROOT)  # behind the script's own folder
sys.path.append(f"{ROOT}/tests")  # for what the tests share
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH"))))

_start_lock = threading.Lock()


def start(command: list[str], cores: tuple[int, ...]) -> subprocess.Popen[str]:
    """Start a program on ``cores``, in a session of its own and, where it is allowed, ahead of
    everything else on the machine; its standard output is a pipe."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("STUNROUTE_")}
    with _start_lock:
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores)
        try:
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
                start_new_session=True,
            )
        finally:
            os.sched_setaffinity(0, before)
    # Not real-time: threads of one program must still share their core.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process.pid, -19)
        Path(f"/proc/{process.pid}/autogroup").write_text("-19")
    return process


def family(pid: int) -> list[int]:
    """A process and its children, grandchildren included."""
    found, queue = [], [pid]
    while queue:
        pid = queue.pop()
        found.append(pid)
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                queue += map(int, (task / "children").read_text().split())
    return found


def resident(pid: int) -> int:
    """Bytes that a process has in core."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


def kernel_drops(port: int) -> int:
    """Packets that found the receive buffer full, of all IPv4 sockets bound to ``port``."""
    total = 0
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        words = line.split()
        if int(words[1].rpartition(":")[2], 16) == port:
            total += int(words[-1])
    return total


def begin() -> None:
    """Say what this runs on, and see to it that what is started is ended when this is told to."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(describe(), flush=True)


def describe() -> str:
    """One line on what this runs on."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    kernel = os.uname().release.split("-")[0]
    return f"{model[1] if model else os.uname().machine}, {len(CORES)} cores, Linux {kernel}"
