"""The table that a terminal gets."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from conformance.case import Verdict

from .run import Run

STYLES = {
    Verdict.PASS: "green",
    Verdict.LENIENT: "yellow",
    Verdict.NOTED: "cyan",
    Verdict.FAIL: "bold red",
    Verdict.BLOCKED: "magenta",
    Verdict.UNSUPPORTED: "dim",
    Verdict.BROKEN: "bold white on red",
}


def show(run: Run, console: Console, *, everything: bool = False) -> None:
    """What is not well, one row each, and the counts; with ``everything`` all cases."""
    table = Table("case", "verdict", "seen", title=run.subject, title_justify="left")
    for result in run.results:
        well = result.verdict in (Verdict.PASS, Verdict.UNSUPPORTED)
        if well and not everything:
            continue
        seen = result.seen.value if result.seen is not None else ""
        what = ": ".join(part for part in (seen, result.detail) if part)
        known = run.known(result)
        if known is not None:
            what = f"{what} (known: {known.reason})"
        verdict = Text(result.verdict.value, style=STYLES[result.verdict])
        table.add_row(Text(result.case.name), verdict, Text(what))
    if table.row_count:
        console.print(table)
    counts = run.counts
    parts = [f"{counts[verdict]} {verdict.value}" for verdict in Verdict if counts[verdict]]
    console.print(f"{len(run.results)} cases in {run.seconds:.1f} s: {', '.join(parts)}")
    for entry in run.outlived:
        said = f"known failure that passes now: {entry.case} ({entry.reason})"
        console.print(said, soft_wrap=True)
    failing = [result for result in run.results if run.fails(result)]
    if failing:
        console.print("again, the first that fails:", style="dim")
        console.print(f"  {run.rerun(failing[0])}", soft_wrap=True)
