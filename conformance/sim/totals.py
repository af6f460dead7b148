"""Many runs, added up: what a campaign has done, as the file that is committed says it.

Only sums, counts and the commands that repeat what failed: a file of millions of runs is read by
people, and its diff shows what one more campaign has added.
"""

from collections import Counter
from collections.abc import Mapping

from attrs import define, field, frozen

from .layout import Feature
from .world import Report, Settings

_TENTHS = 10


@frozen(slots=True)
class Outcome:
    """A run that failed. ``command`` runs it again."""

    command: str
    rule: str
    what: str


@define(slots=True)
class Totals:
    """``recovered`` counts recoveries by class and tenth of a second; ``mismatches`` are seeds
    that gave another trace when they were run again."""

    seeds: int = 0
    first: int = 0
    again: int = 0
    sessions: int = 0
    calls: int = 0
    packets: int = 0
    virtual_seconds: float = 0.0
    session_seconds: float = 0.0
    cpu_seconds: float = 0.0
    faults: Counter[str] = field(factory=Counter)
    drops: Counter[str] = field(factory=Counter)
    events: Counter[str] = field(factory=Counter)
    passed: Counter[str] = field(factory=Counter)
    recovered: dict[str, Counter[int]] = field(factory=dict)
    failures: list[Outcome] = field(factory=list)

    def add(self, report: Report, seconds: float) -> None:
        """``seconds`` of CPU it took."""
        if not self.seeds:
            self.first = report.settings.seed
        self.seeds += 1
        self.sessions += report.settings.sessions
        self.calls += report.calls
        self.packets += report.packets
        self.virtual_seconds += report.seconds
        self.session_seconds += report.session_seconds
        self.cpu_seconds += seconds
        self.faults.update(report.faults)
        self.drops.update(report.drops)
        self.events.update(report.events)
        self.passed.update(report.passed)
        classes: Mapping[str, list[float]] = {
            "living sessions, audio": report.recovered_living,
            "lost sessions, audio": report.recovered_lost,
            "messages": report.recovered_messages,
        }
        for name, times in classes.items():
            counted = self.recovered.setdefault(name, Counter())
            counted.update(round(seconds * _TENTHS) for seconds in times)
        if report.failure is not None:
            failure = report.failure
            outcome = Outcome(command(report.settings), failure.rule, failure.what)
            self.failures.append(outcome)

    def quantiles(self, name: str) -> tuple[int, float, float, float]:
        """How many recovered, and within how many seconds half of them, 99 of 100, and all."""
        counted = self.recovered.get(name, Counter())
        total = counted.total()
        found = []
        for share in (0.5, 0.99, 1.0):
            seen = 0
            for tenths in sorted(counted):
                seen += counted[tenths]
                if seen >= share * total:
                    found.append(tenths / _TENTHS)
                    break
        return (total, *found) if total else (0, 0.0, 0.0, 0.0)  # type: ignore[return-value]


def command(settings: Settings) -> str:
    """The one that runs this again."""
    kinds = ",".join(kind.value for kind in settings.kinds) or "none"
    if kinds == ",".join(kind.value for kind in Settings(0).kinds):
        kinds = "all"
    parts = [f"conformance sim --seed {settings.seed}", f"--sessions {settings.sessions}"]
    parts.append(f"--faults {kinds}")
    if settings.features != tuple(Feature):
        having = ",".join(feature.value for feature in settings.features) or "none"
        parts.append(f"--features {having}")
    if settings.minutes is not None:
        parts.append(f"--minutes {settings.minutes:g}")
    if settings.pace != Settings(0).pace:
        parts.append(f"--pace {settings.pace:g}")
    return " ".join(parts)


def as_toml(totals: Totals, faults: str, features: str) -> str:
    """The summary of a campaign. Keys of tables are sorted, so that a diff shows what changed."""
    lines = [
        "# Written by `conformance sim --summary`; see conformance/sim.",
        f"seeds = {totals.seeds}",
        f"first_seed = {totals.first}",
        f"run_twice = {totals.again}",
        f'kinds = "{faults}"',
        f'features = "{features}"',
        f"failures = {len(totals.failures)}",
        f"sessions = {totals.sessions}",
        f"calls = {totals.calls}",
        f"packets = {totals.packets}",
        f"virtual_seconds = {totals.virtual_seconds:.0f}",
        f"session_seconds = {totals.session_seconds:.0f}",
        f"cpu_seconds = {totals.cpu_seconds:.0f}",
    ]
    for name in totals.recovered:
        count, half, most, longest = totals.quantiles(name)
        lines += ["", f'[recovered."{name}"]', f"count = {count}"]
        lines += [f"p50 = {half}", f"p99 = {most}", f"longest = {longest}"]
    tables = {"faults": totals.faults, "rules": totals.passed, "events": totals.events}
    for table, counted in (*tables.items(), ("drops", totals.drops)):
        lines += ["", f"[{table}]"]
        lines += [f'"{name}" = {count}' for name, count in sorted(counted.items())]
    for outcome in totals.failures:
        lines += ["", "[[failure]]", f'command = "{outcome.command}"', f'rule = "{outcome.rule}"']
        text = outcome.what.splitlines()[0].replace("\\", "/").replace('"', "'")
        lines.append(f'what = "{text}"')
    return "\n".join(lines) + "\n"
