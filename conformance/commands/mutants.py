"""``conformance mutants``: does the suite notice broken servers?"""

import sys
from fnmatch import fnmatchcase

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from conformance import catalogue
from conformance.mutants.hunt import Kill, hunt, load, passing

EXIT_ALIVE = 1
EXIT_NOISY = 3


@click.command("mutants")
@click.argument("patterns", nargs=-1, metavar="[MUTANT...]")
@click.option("--list", "listing", is_flag=True, help="List them and run nothing.")
@click.option("--others", is_flag=True, help="Name every other case that noticed.")
@click.option(
    "--few",
    default=25,
    show_default=True,
    type=click.IntRange(0),
    help="How many other cases may notice a mutant.",
)
def command(patterns: tuple[str, ...], listing: bool, others: bool, few: int) -> None:
    """Break our own server in one place at a time, and ask it all the cases.

    MUTANT is a name or a glob. Each must be failed by the case that names its defect, and noticed
    by few others: what everything notices tells nobody what is wrong.

    \b
    Exit status:
      0  every mutant was killed by its case, and few others noticed
      1  at least one was not
      2  the command line makes no sense
      3  at least one was noticed by more than --few others
    """
    chosen = [
        each for each in load() if not patterns or any(fnmatchcase(each.name, p) for p in patterns)
    ]
    if not chosen:
        raise click.UsageError("no mutant fits; see --list")
    if listing:
        for each in chosen:
            click.echo(f"{each.name}  [{each.killer}]\n    {each.breaks}")
        return
    console = Console(stderr=True)
    cases = catalogue.load()
    clean = passing(cases)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("mutants", total=len(chosen))
        kills = []
        for each in chosen:
            kills.append(hunt(each, cases, clean=clean))
            bar.advance(task)
    _show(kills, others)
    if not all(kill.killed for kill in kills):
        sys.exit(EXIT_ALIVE)
    sys.exit(EXIT_NOISY if any(len(kill.others) > few for kill in kills) else 0)


def _show(kills: list[Kill], others: bool) -> None:
    table = Table("mutant", "killed by its case", "others")
    for kill in kills:
        names = "\n".join(kill.others) if others else ""
        told = Text(kill.mutant.killer if kill.killed else f"ALIVE: {kill.mutant.killer}")
        table.add_row(Text(kill.mutant.name), told, f"{len(kill.others)}\n{names}".strip())
    console = Console()
    console.print(table)
    killed = sum(kill.killed for kill in kills)
    console.print(f"{killed} of {len(kills)} killed by the cases that name their defects")
