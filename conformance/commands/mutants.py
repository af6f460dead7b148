"""``conformance mutants``: does the suite notice broken servers?"""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from fnmatch import fnmatchcase
from multiprocessing import get_context
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from conformance import catalogue
from conformance.mutants import weak
from conformance.mutants.hunt import Kill, hunt, load, passing
from conformance.mutants.model import Mutant

EXIT_ALIVE = 1
EXIT_NOISY = 3
EXIT_WEAK = 4


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
@click.option(
    "--weak",
    "weakly",
    is_flag=True,
    help="Look for cases that cannot fail instead; the globs are of cases then.",
)
@click.option("--write", is_flag=True, help="With --weak: keep what makes each case fail.")
@click.option(
    "--jobs",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="With --weak: cases at a time, each in a process.",
)
def command(patterns: tuple[str, ...], **options: Any) -> None:
    """Break our own server in one place at a time, and ask it all the cases.

    MUTANT is a name or a glob. Each must be failed by the case that names its defect, and noticed
    by few others: what everything notices tells nobody what is wrong.

    With --weak it is the cases that are on trial: each must be made to fail, by a mutant or by one
    of some thousand saboteurs that break a server bluntly. What makes it fail is kept in
    conformance/mutants/killers.toml and tried first, so that only new cases take their time,
    seconds each. A case that nothing makes fail needs a reason in excused.toml.

    \b
    Exit status:
      0  every mutant was killed by its case, and few others noticed; no case is weak
      1  at least one was not
      2  the command line makes no sense
      3  at least one was noticed by more than --few others
      4  a case cannot fail and is not excused, or is excused and can
    """
    if options["weakly"]:
        wrong = _find_weak(patterns, options["write"], options["jobs"])
        sys.exit(EXIT_WEAK if wrong else 0)
    if options["write"]:
        raise click.UsageError("--write goes with --weak")
    chosen = [
        each for each in load() if not patterns or any(fnmatchcase(each.name, p) for p in patterns)
    ]
    if not chosen:
        raise click.UsageError("no mutant fits; see --list")
    if options["listing"]:
        for each in chosen:
            click.echo(f"{each.name}  [{each.killer}]\n    {each.breaks}")
        return
    kills = _hunt(chosen)
    _show(kills, options["others"])
    if not all(kill.killed for kill in kills):
        sys.exit(EXIT_ALIVE)
    sys.exit(EXIT_NOISY if any(len(kill.others) > options["few"] for kill in kills) else 0)


def _hunt(chosen: list[Mutant]) -> list[Kill]:
    console = Console(stderr=True)
    cases = catalogue.load()
    clean = passing(cases)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("mutants", total=len(chosen))
        kills = []
        for each in chosen:
            kills.append(hunt(each, cases, clean=clean))
            bar.advance(task)
    return kills


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


def _find_weak(patterns: tuple[str, ...], write: bool, jobs: int) -> bool:
    """Whether something is wrong with a case."""
    names = [case.name for case in catalogue.select(catalogue.load(), patterns)]
    if not names:
        raise click.UsageError("no case fits; see conformance run --list")
    sights = []
    bar_console = Console(stderr=True)
    with Progress(console=bar_console, transient=True, disable=not bar_console.is_terminal) as bar:
        task = bar.add_task("cases", total=len(names))
        for sight in _look_at_all(names, jobs):
            sights.append(sight)
            if sight.fault:
                bar.console.print(f"{sight.case}: {sight.fault}", markup=False, soft_wrap=True)
            bar.advance(task)
    if write:
        known = {each.name for each in catalogue.load()}
        kept = {name: by for name, by in weak.killers().items() if name in known}
        kept |= {each.case: each.killer for each in sights if each.killer}
        weak.write_killers({name: by for name, by in kept.items() if _still(name, by, sights)})
    _tell_weak(sights)
    return any(each.fault for each in sights)


def _still(name: str, killer: str, sights: list[weak.Sight]) -> bool:
    """Whether what is kept of a case has not been refuted just now."""
    return not any(each.case == name and each.killer != killer for each in sights)


def _look_at_all(names: list[str], jobs: int) -> Iterator[weak.Sight]:
    if jobs == 1:
        yield from map(weak.look, names)
        return
    workers = min(jobs, os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(weak.look, names)


def _tell_weak(sights: list[weak.Sight]) -> None:
    mutants = {each.name for each in load()}
    by_mutant = sum(each.killer in mutants for each in sights)
    by_saboteur = sum(each.killer is not None for each in sights) - by_mutant
    excused = sum(each.killer is None and each.excuse is not None for each in sights)
    faults = sum(each.fault is not None for each in sights)
    click.echo(
        f"{len(sights)} cases: {by_mutant} fail on a mutant, {by_saboteur} on a saboteur, "
        f"{excused} are excused, {faults} need a look"
    )
