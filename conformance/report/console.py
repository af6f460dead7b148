"""A run for people in front of a terminal: first the sum of each part, then what is not well.

Names of cases are for copying, so nothing here is ever cut: what is too long for the line goes on
in the next one.
"""

from collections import Counter
from collections.abc import Iterable

from attrs import define, field
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from conformance.case import Verdict
from conformance.runner import Result

from .plain import one_line
from .run import Run, group, said

STYLES = {
    Verdict.PASS: "green",
    Verdict.LENIENT: "yellow",
    Verdict.NOTED: "cyan",
    Verdict.FAIL: "bold red",
    Verdict.BLOCKED: "red",
    Verdict.UNSUPPORTED: "dim",
    Verdict.BROKEN: "bold magenta",
}
_ORDER = (
    Verdict.PASS,
    Verdict.UNSUPPORTED,
    Verdict.NOTED,
    Verdict.LENIENT,
    Verdict.BLOCKED,
    Verdict.FAIL,
    Verdict.BROKEN,
)
"""The worst last: that is what stands above the prompt."""
_ALIVE = frozenset({Verdict.PASS, Verdict.LENIENT})
"""Verdicts that nobody gets by not being there."""
MOST_BESIDE = 3
"""Parts none of whose cases could be asked that have a line of their own."""
CROWD = 10
"""So many blocked cases with one reason are told as one."""


def show(run: Run, console: Console, *, everything: bool = False) -> None:
    """Print the sum, and every result that is not a pass (``everything``: those too). Cases that
    could not be asked are shown as one line for each reason, and so are those that many share a
    reason for being blocked: one server that is not there is one thing to say."""
    if run.nobody:
        text = f"nobody is there, so nothing was judged: {one_line(run.nobody)}"
        console.print(Text(text, style="bold red"), soft_wrap=True)
        return
    if run.results:
        console.print(_sum(run))
    for verdict in _ORDER:
        results = [result for result in run.results if result.verdict is verdict]
        if not results or (verdict is Verdict.PASS and not everything):
            continue
        console.print()
        console.print(Text(f"{verdict.value} ({len(results)})", style=STYLES[verdict]))
        if verdict is Verdict.UNSUPPORTED and not everything:
            _reasons(console, results)
        elif verdict is Verdict.BLOCKED and not everything:
            _results(console, run, _without_crowds(console, run, results))
        else:
            _results(console, run, results)
    _end(run, console)


def _sum(run: Run) -> Table:
    """Parts down, verdicts across."""
    present = [verdict for verdict in Verdict if run.counts[verdict]]
    counts: dict[str, Counter[Verdict]] = {}
    for result in run.results:
        counts.setdefault(group(result.case), Counter())[result.verdict] += 1
    # Whoever asks a server need not scroll past all that asks relays.
    beside = [name for name, counted in counts.items() if set(counted) == {Verdict.UNSUPPORTED}]
    if MOST_BESIDE < len(beside) < len(counts):
        others = sum((counts.pop(name) for name in beside), Counter[Verdict]())
        counts[f"{len(beside)} parts that cannot be asked here"] = others
    table = Table(box=None, pad_edge=False, show_footer=len(counts) > 1)
    table.add_column("", "all", overflow="fold")
    for verdict in present:
        table.add_column(
            Text(verdict.value, style=STYLES[verdict]),
            str(run.counts[verdict]),
            justify="right",
            overflow="fold",
        )
    for name, counted in counts.items():
        cells = [
            Text(str(counted[verdict]), style=STYLES[verdict]) if counted[verdict] else Text("·")
            for verdict in present
        ]
        table.add_row(Text(name), *cells)
    return table


def _reasons(console: Console, results: Iterable[Result]) -> None:
    reasons = Counter(one_line(said(result)) for result in results)
    for reason, count in reasons.most_common():
        _print(console, f"{count} × {reason}", 2)


def _without_crowds(console: Console, run: Run, results: list[Result]) -> list[Result]:
    """Prints the reasons that a crowd shares, and returns the results that are left. What is a
    known failure is shown by name, with what is known."""
    reasons = Counter(one_line(said(result)) for result in results if run.known(result) is None)
    crowds = {reason for reason, count in reasons.items() if count >= CROWD}
    for reason, count in reasons.most_common():
        if reason in crowds:
            _print(console, f"{count} × {reason}", 2)
    return [
        result
        for result in results
        if run.known(result) is not None or one_line(said(result)) not in crowds
    ]


def _results(console: Console, run: Run, results: Iterable[Result]) -> None:
    for result in results:
        _print(console, result.case.name, 2)
        judged = result.seen is not None and result.verdict is not Verdict.PASS
        if judged:
            _print(console, one_line(result.case.requirement), 6)
        if what := one_line(said(result)):
            _print(console, f"seen: {what}" if judged else what, 6, "dim")
        if (known := run.known(result)) is not None:
            _print(console, f"known: {one_line(known.reason)}", 6, "italic")


def _print(console: Console, text: str, indent: int, style: str = "") -> None:
    """Wrapped behind the indent; a word that is longer than the line is folded."""
    line = Text(text, style=style, overflow="fold")
    console.print(Padding(line, (0, 0, 0, indent), expand=False), highlight=False)


def _end(run: Run, console: Console) -> None:
    counts, total = run.counts, len(run.results)
    parts = [f"{counts[verdict]} {verdict.value}" for verdict in Verdict if counts[verdict]]
    cases = "1 case" if total == 1 else f"{total} cases"
    console.print()
    console.print(f"{cases} in {run.seconds:.1f} s: {', '.join(parts)}", highlight=False)
    for remark in run.remarks:
        console.print(Text(one_line(remark), style="yellow"), soft_wrap=True)
    for entry in run.outlived:
        said_of = one_line(f"known failure that passes now: {entry.case} ({entry.reason})")
        console.print(Text(said_of, style="bold red"), soft_wrap=True)
    if counts[Verdict.BLOCKED] and not set(counts) & _ALIVE:
        text = "nothing went well: is it there, and is the command line right?"
        console.print(Text(text, style="bold red"))
    failing = [result for result in run.results if run.fails(result)]
    if failing:
        console.print("again, the first that fails:", style="dim")
        again = Text(f"  {one_line(run.rerun(failing[0]))}")
        console.print(again, soft_wrap=True, highlight=False)


# --- while it runs --------------------------------------------------------------------------------


class _Bar(Progress):
    """The bar, and under it the case that was done last, however long its name is."""

    last = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        yield Text(self.last, style="dim", overflow="fold")


@define(slots=True)
class Meter:
    """A progress bar with the counts by verdict. A context manager; on a console that is no
    terminal it shows nothing."""

    console: Console
    total: int
    _counts: Counter[Verdict] = field(factory=Counter)
    _bar: _Bar = field(init=False)

    @_bar.default
    def _make_bar(self) -> _Bar:
        return _Bar(
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )

    def __enter__(self) -> "Meter":
        self._bar.start()
        self._bar.add_task("", total=self.total)
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def done(self, result: Result) -> None:
        """One more. Calls may not overlap."""
        self._counts[result.verdict] += 1
        self._bar.last = result.case.name
        self._bar.update(self._bar.task_ids[0], advance=1, description=self.said)

    @property
    def said(self) -> str:
        """The counts so far, with rich's marks."""
        return "  ".join(
            f"[{STYLES[verdict]}]{self._counts[verdict]} {verdict.value}[/]"
            for verdict in Verdict
            if self._counts[verdict]
        )
