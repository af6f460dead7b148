"""Hours of fuzzing, on one core, that can be stopped at any moment and added to later.

Every target first gets a turn of the same length. From then on a turn goes to the target whose time
so far is least for its weight; a target whose corpus grew in its last turn weighs more, since there
is more to be found. Totals are written after every turn, so a campaign that is killed has lost one
turn at most, and one that is started again goes on from where it was.

``summarise`` makes of the totals the file that is committed: what was run, how fast, how far.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from attrs import asdict, define, field, frozen

from . import catalogue, runner
from .runner import Finding, Place, Turn
from .target import Target

SUMMARY = Path(__file__).parent / "campaign.json"
"""The summary that is committed."""
FIRST = SUMMARY.with_name("campaign-first.json")
"""That of an earlier campaign, as it was written then. Some of it was blind: three targets never
had an edge, others not in their first turns, and no turn was marked for it. So its executions are
not added to those of the other."""


@define(slots=True)
class Total:
    """What became of one target in all turns."""

    executions: int = 0
    blind: int = 0
    """Executions of turns in which no edge was seen. They are not among the others."""
    seconds: float = 0.0
    turns: int = 0
    edges: int = 0
    features: int = 0
    corpus: int = 0
    grown: bool = True
    failures: int = 0
    failure: str = ""
    findings: dict[str, str] = field(factory=dict)
    """By the input's file, what it did."""

    def add(self, turn: Turn) -> None:
        self.executions += turn.sighted
        self.blind += turn.executions - turn.sighted
        self.seconds = round(self.seconds + turn.seconds, 3)
        self.turns += 1
        self.edges = max(self.edges, turn.edges)
        self.features = max(self.features, turn.features)
        self.corpus = max(self.corpus, turn.corpus)
        self.grown = turn.new > 0
        if turn.failure:
            self.failures += 1
            self.failure = turn.failure
        for finding in turn.findings:
            self.findings[finding.file] = finding.what


@frozen(slots=True)
class Plan:
    """``first`` and ``turn`` are seconds of a target's first turn and of each later one; ``until``
    executions end the campaign, and so do ``seconds``, whichever is first (None: neither)."""

    first: int = 10
    turn: int = 30
    seconds: float | None = None
    until: int | None = None


@define(slots=True)
class Campaign:
    """Totals under ``place``, by target."""

    place: Place
    totals: dict[str, Total] = field(factory=dict)

    @classmethod
    def load(cls, place: Place) -> "Campaign":
        path = place.root / "totals.json"
        if not path.exists():
            return cls(place)
        stored: dict[str, dict[str, Any]] = json.loads(path.read_text())
        return cls(place, {name: Total(**values) for name, values in stored.items()})

    def save(self) -> None:
        path = self.place.root / "totals.json"
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps({name: asdict(one) for name, one in self.totals.items()}))
        fresh.replace(path)

    @property
    def executions(self) -> int:
        return sum(one.executions for one in self.totals.values())

    def next(self, targets: dict[str, Target]) -> Target:
        """Whose turn it is."""
        return min(targets.values(), key=self._due)

    def _told(self, finding: Finding) -> str:
        path = self.place.findings / finding.file
        return f"{finding.what}\n  {runner.reproducer(finding.target, path)}"

    def _due(self, target: Target) -> float:
        total = self.totals.get(target.name)
        if total is None:
            return -1.0
        weight = target.weight * (3.0 if total.grown else 1.0) * (2.0 if target.is_core else 1.0)
        return total.seconds / weight * (1.0 + 4.0 * (total.failures / total.turns))

    def run(self, patterns: tuple[str, ...], plan: Plan) -> None:
        """Turn after turn, each with the targets and the code as they are by then."""
        ends = None if plan.seconds is None else time.monotonic() + plan.seconds
        targets = {target.name: target for target in catalogue.matching(patterns)}
        while (ends is None or time.monotonic() < ends) and (
            plan.until is None or self.executions < plan.until
        ):
            target = self.next(targets)
            total = self.totals.setdefault(target.name, Total())
            seconds = plan.turn if total.turns else plan.first
            turn = runner.run(target, self.place, seconds=seconds)
            total.add(turn)
            self.save()
            print(
                f"{target.name}: {turn.executions} executions, {turn.rate:.0f}/s, "
                f"{turn.edges} edges, {turn.corpus} inputs; {self.executions} in all"
                + "".join(f"\n  {self._told(one)}" for one in turn.findings)
                + (f"\n  {turn.failure}" if turn.failure else ""),
                flush=True,
            )


def summarise(campaign: Campaign) -> dict[str, Any]:
    """The summary: totals, then a line for each target."""
    totals = dict(sorted(campaign.totals.items()))
    seconds = sum(one.seconds for one in totals.values())
    findings = sum(len(one.findings) for one in totals.values())
    return {
        "executions": campaign.executions,
        "blind_executions": sum(one.blind for one in totals.values()),
        "seconds": round(seconds),
        "executions_per_second": round(campaign.executions / seconds) if seconds else 0,
        "targets": len(totals),
        "findings": findings,
        "by_target": {
            name: {
                "executions": one.executions,
                "seconds": round(one.seconds),
                "executions_per_second": round(one.executions / one.seconds) if one.seconds else 0,
                "edges": one.edges,
                "inputs": one.corpus,
                "findings": sorted(one.findings.values()),
            }
            for name, one in totals.items()
        },
    }


def write_summary(campaign: Campaign, path: Path = SUMMARY) -> dict[str, Any]:
    """Write the summary to ``path``, one line for each target; returns it."""
    summary = summarise(campaign)
    lines = [
        f"    {json.dumps(name)}: {json.dumps(values)}"
        for name, values in summary["by_target"].items()
    ]
    head = {key: value for key, value in summary.items() if key != "by_target"}
    text = json.dumps(head, indent=2).removesuffix("\n}")
    inner = ",\n".join(lines)
    path.write_text(f'{text},\n  "by_target": {{\n{inner}\n  }}\n}}\n')
    return summary


def end_on_signal() -> None:
    """Let SIGTERM end the campaign and, with it, the child whose turn it is."""

    def end(number: int, _: object) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, end)


def note_process(root: Path) -> None:
    """Write down which process this is, for whoever wants to end it."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "pid").write_text(f"{os.getpid()}\n")
