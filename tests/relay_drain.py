"""``python tests/relay_drain.py SETTINGS CLUSTER/NODE STATE``: give a node of a relay that
``relay_again`` has started another state, and return when the relay has read it.

What ``conformance run --drain`` is given for our own relay, which reads its settings again at
SIGHUP and says so in its log.
"""

import os
import signal
import sys
import time
from pathlib import Path

PATIENCE = 30.0
"""Seconds that a loaded machine may take to read a file."""
_READ = b"reloaded: "


def drain(settings: Path, cluster: str, node: str, state: str) -> None:
    """Write the state into the settings, and have the relay read them."""
    log = settings.with_suffix(".err")
    before = log.read_bytes().count(_READ)
    lines = []
    blocks = settings.read_text().split("[[directory.nodes]]\n")
    for block in blocks:
        wanted = f"cluster = {cluster}\nnode = {node}\n"
        kept = [line for line in block.splitlines() if not line.startswith("state = ")]
        if block.startswith(wanted):
            kept.insert(2, f'state = "{state}"')
        lines.append("\n".join(kept) + "\n")
    whole = settings.with_suffix(".new")
    whole.write_text("[[directory.nodes]]\n".join(lines))
    whole.replace(settings)
    os.kill(int(settings.with_suffix(".pid").read_text()), signal.SIGHUP)
    deadline = time.monotonic() + PATIENCE
    while log.read_bytes().count(_READ) == before:
        if time.monotonic() > deadline:
            raise RuntimeError(log.read_text())
        time.sleep(0.005)


if __name__ == "__main__":
    drain(Path(sys.argv[1]), *sys.argv[2].split("/"), sys.argv[3])
