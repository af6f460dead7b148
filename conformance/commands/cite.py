"""``conformance cite``: who answers which requirement, and whether that is still so."""

import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import click
from rich.console import Console
from rich.table import Table

from conformance.case import Case, Level, Profile
from conformance.cite import coverage, page, repository
from conformance.cite.check import check
from conformance.cite.coverage import Answer, Coverage
from conformance.cite.loader import load
from conformance.cite.model import Role, Witness

EXIT_WRONG = 1
EXIT_UNREADABLE = 2
EXIT_CHANGED = 3

SNAPSHOT = "conformance/requirements/coverage.txt"
GOALS = {Role.RELAY: 1.0, Role.SERVER: 0.6}
"""What share of a role's requirements is to be answered by a case or a test."""


@click.command("cite")
@click.option(
    "--repository",
    "root",
    type=click.Path(file_okay=False, path_type=Path),
    help="The checkout to read; else the one this program runs from, or the current directory.",
)
@click.option("--open", "list_open", is_flag=True, help="List what nothing answers.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Write the report as one HTML page.",
)
@click.option("--snapshot", is_flag=True, help=f"Rewrite {SNAPSHOT}.")
@click.option("--check", "compare", is_flag=True, help=f"Fail where {SNAPSHOT} says otherwise.")
def command(
    root: Path | None, list_open: bool, html: Path | None, snapshot: bool, compare: bool
) -> None:
    """Hold the requirements of the RFCs against the cases, the tests and the code.

    Every id that code, tests and cases name must be written down in conformance/requirements, every
    test named there must exist. What neither a case nor a test answers and nobody has excluded is
    open; that is counted, and is no error.

    The headline is the share that a case or a test answers, of the absolute requirements (MUST and
    MUST NOT) that are not excluded. "of all" counts the excluded ones as unanswered.

    \b
    Exit status:
      0  files, code, tests and cases agree
      1  they do not: the problems are listed
      2  a file cannot be read or written, this is no checkout, or the command line is wrong
      3  --check: the committed snapshot is not the current one
    """
    if snapshot and compare:
        raise click.UsageError("--snapshot and --check exclude each other")
    root = _root(root)
    try:
        files = repository.python_files(root)
        loaded = load(root / "conformance" / "requirements")
    except (OSError, UnicodeDecodeError) as error:
        _unreadable(str(error))
    finding = check(loaded, files, witnesses(_cases()))
    text = coverage.snapshot(finding.coverage)
    try:
        if html is not None:
            html.write_text(page.render(finding), "utf-8")
        if snapshot:
            (root / SNAPSHOT).write_text(text, "utf-8")
    except OSError as error:
        _unreadable(str(error))
    _print(finding.coverage, list_open)
    for problem in finding.problems:
        click.echo(str(problem))
    changed = _changes(root / SNAPSHOT, text) if compare else []
    for line in changed:
        click.echo(line)
    sys.exit(EXIT_WRONG if finding.problems else EXIT_CHANGED if changed else 0)


def _root(named: Path | None) -> Path:
    beside = Path(__file__).resolve().parents[2]
    for root in (named,) if named is not None else (beside, Path.cwd()):
        if repository.is_repository(root):
            return root
    return _unreadable(
        "the tests and the code have to be there to be read, and this is not a checkout of the "
        "project: run it in one, or name it with --repository"
    )


def _unreadable(what: str) -> NoReturn:
    click.echo(what, err=True)
    sys.exit(EXIT_UNREADABLE)


def _cases() -> tuple[Case, ...]:
    from conformance import catalogue

    try:
        return catalogue.load()
    except (ImportError, ValueError) as error:
        _unreadable(f"the cases cannot be loaded: {error}")


def witnesses(cases: Iterable[Case]) -> dict[str, list[Witness]]:
    """Cases by the ids that they name. A case of the profile ``relay`` speaks for relays, one of
    any other for servers."""
    found: defaultdict[str, list[Witness]] = defaultdict(list)
    for case in cases:
        profiles = set(case.profiles)
        roles = {Role.RELAY} if Profile.RELAY in profiles else set()
        if profiles - {Profile.RELAY}:
            roles.add(Role.SERVER)
        witness = Witness(case.name, frozenset(roles), fails=case.level is Level.MUST)
        for id_ in dict.fromkeys(case.requirements):
            found[id_].append(witness)
    return dict(found)


def _changes(path: Path, text: str) -> list[str]:
    try:
        committed = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        _unreadable(f"{path}: {error}")
    return coverage.changes(committed, text)


# --- what is printed ------------------------------------------------------------------------------


def _print(found: Coverage, list_open: bool) -> None:
    console = Console()
    for role in Role:
        console.print(_table(found, role))
        figures = found.figures(role)
        goal = f"goal {page.percent(GOALS[role])}"
        met = "reached" if figures.share >= GOALS[role] else "not reached"
        click.echo(
            f"{role.value}: {page.percent(figures.share)} answered by a case or a test "
            f"({figures.answered} of {figures.total - figures.excluded}; {goal}: {met}), "
            f"{page.percent(figures.share_of_all)} of all {figures.total}\n"
        )
    for requirement in found.deviations:
        click.echo(f"not kept by our own server: {requirement.id} ({requirement.deviates})")
    if list_open:
        for entry in found.entries:
            requirement = entry.requirement
            roles = [role for role in requirement.applies if entry.answer(role) is Answer.OPEN]
            if roles and requirement.level.absolute:
                names = ", ".join(role.value for role in roles)
                click.echo(f"open: {requirement.id} ({names}) {requirement.text}")


def _table(found: Coverage, role: Role) -> Table:
    heads = ("total", "by case", "by test", "excluded", "open", "answered", "of all")
    table = Table(title=role.value, title_justify="left", show_footer=True)
    total = found.figures(role)
    table.add_column("RFC", footer="all")
    for head, foot in zip(heads, page.cells(total), strict=True):
        table.add_column(head, foot, justify="right")
    for document in found.documents:
        figures = found.figures(role, document)
        if figures.total:
            table.add_row(str(document.rfc), *page.cells(figures))
    return table
