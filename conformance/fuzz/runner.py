"""Starts children, reads what they say, and collects what they find.

A child may crash, hang or eat memory; that is what it is for. So this side trusts nothing of it but
files and lines of text, and ends it when its time is up.
"""

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from attrs import frozen

from . import corpus as corpora
from .child import FOUND
from .seeds import Seeds
from .target import Target

TIMEOUT = 10
"""Seconds that one input may take."""
MEMORY = 1200
"""MiB that a child may have."""
BLIND = "no edge was seen: what this target runs is not instrumented"
GRACE = 30.0
"""Seconds beyond its time until a child that does not end is ended."""


@frozen(slots=True)
class Finding:
    """``file`` is the input; ``what`` one line about it."""

    target: str
    file: str
    what: str


@frozen(slots=True)
class Turn:
    """What came of one child. ``edges`` and ``features`` are libFuzzer's measures of coverage at
    the end, ``new`` the inputs that this turn added to the corpus, ``corpus`` those that there are.
    ``failure`` says why there are no figures, or not all."""

    target: str
    executions: int = 0
    seconds: float = 0.0
    edges: int = 0
    features: int = 0
    new: int = 0
    corpus: int = 0
    findings: tuple[Finding, ...] = ()
    failure: str = ""

    @property
    def sighted(self) -> int:
        """Executions of which the fuzzer saw where they led."""
        return self.executions if self.edges else 0

    @property
    def rate(self) -> float:
        """Executions per second."""
        return self.executions / self.seconds if self.seconds else 0.0


@frozen(slots=True)
class Place:
    """Where a run keeps things: seeds by kind, a corpus for each target, findings."""

    root: Path

    def corpus(self, target: Target) -> Path:
        return _made(self.root / "corpus" / target.name)

    def seeds(self, target: Target) -> Path:
        return _made(self.root / "seeds" / target.seeds)

    @property
    def findings(self) -> Path:
        return _made(self.root / "findings")

    def write_seeds(self, seeds: Seeds) -> None:
        """Write out the seeds of every kind, each under its hash."""
        for kind in seeds.kinds():
            folder = _made(self.root / "seeds" / kind)
            for data in seeds.of(kind):
                (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def prepare(root: Path, corpus: Path | None) -> Place:
    """A place with the seeds of the repository, and of ``corpus``."""
    place = Place(root)
    if not (root / "seeds").exists():
        place.write_seeds(corpora.collect(corpus=corpus))
    return place


def command(target: Target, place: Place, *, seconds: int, runs: int | None) -> list[str]:
    """How a child is started."""
    limits = [f"-max_total_time={seconds}"] if runs is None else [f"-runs={runs}"]
    return [
        *(sys.executable, "-m", "conformance.fuzz.child", target.name, str(place.findings)),
        *(str(place.corpus(target)), str(place.seeds(target))),
        *limits,
        *(f"-max_len={target.length}", f"-timeout={TIMEOUT}", f"-rss_limit_mb={MEMORY}"),
        f"-artifact_prefix={place.findings}/{target.name}-",
        *("-print_final_stats=1", "-len_control=20", "-verbosity=1"),
    ]


def run(target: Target, place: Place, *, seconds: int = 10, runs: int | None = None) -> Turn:
    """One child from its start to its end. Never raises for what the child does."""
    before = {path.name for path in place.findings.iterdir()}
    started = time.monotonic()
    limit = seconds * 2 + GRACE if runs is None else 600.0
    child = subprocess.Popen(
        command(target, place, seconds=seconds, runs=runs),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        text=True,
        errors="replace",
    )
    try:
        _, said = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        _, said = child.communicate()
        said += "\nended: it did not come to its end"
    except BaseException:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        raise
    return _read(target, place, said, child.returncode, time.monotonic() - started, before)


_STATISTIC = re.compile(r"^stat::(\w+): +(\d+)$", re.MULTILINE)
_PROGRESS = re.compile(r"^#(\d+)\s.*?cov: (\d+) ft: (\d+) corp: (\d+)/", re.MULTILINE)
_DONE = re.compile(r"^Done (\d+) runs in (\d+) second", re.MULTILINE)


def _read(
    target: Target, place: Place, said: str, status: int, seconds: float, before: set[str]
) -> Turn:
    statistics = {name: int(value) for name, value in _STATISTIC.findall(said)}
    progress = _PROGRESS.findall(said)
    last = progress[-1] if progress else ("0", "0", "0", "0")
    executions = max(statistics.get("number_of_executed_units", 0), int(last[0]))
    after = {path.name for path in place.findings.iterdir()} - before
    findings = tuple(
        Finding(target.name, name, _about(place.findings / name, said))
        for name in sorted(after)
        if not name.endswith(".txt")
    )
    failure = ""
    if not executions or (status and not findings):
        tail = said.strip().splitlines()[-3:]
        failure = f"ended with {status}: {' | '.join(tail)}"[:400]
    elif not int(last[1]):
        failure = BLIND
    return Turn(
        target.name,
        executions,
        round(seconds, 3),
        int(last[1]),
        int(last[2]),
        statistics.get("new_units_added", 0),
        int(last[3]),
        findings,
        failure,
    )


def _about(path: Path, said: str) -> str:
    for line in said.splitlines():
        if line.startswith(f"{FOUND} {path.name} "):
            return line[len(FOUND) + len(path.name) + 2 :]
    return path.name.rpartition("-")[0].rpartition("-")[2]  # crash, timeout, oom, slow-unit


def reproducer(target: str, path: Path) -> str:
    """The command that gives a target that input again."""
    return f"conformance fuzz --replay {path} {target}"
