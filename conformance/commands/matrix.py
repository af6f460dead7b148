"""``conformance peers matrix``: ask all peers the suite, and write down what became of it."""

import sys
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import click

from conformance import peers
from conformance.peers import PeerError, asking, judging, matrix, results
from conformance.peers.areas import Area

EXIT_FAILED = 1
EXIT_UNKNOWN = 2
PAGE = Path(matrix.__file__).resolve().parent.parent / "MATRIX.md"


@click.command("matrix")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where reports are kept. [default: matrix in the folder of peers]",
)
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(1, 32))
@click.option("--patience", default=1.0, show_default=True, help="Seconds, as for `run`.")
@click.option("--minutes", default=30.0, show_default=True, help="For a peer's first asking.")
@click.option(
    "--area",
    "areas",
    multiple=True,
    type=click.Choice([area.name.lower() for area in Area]),
    help="Ask cases of this area alone.",
)
@click.option("--case", "globs", multiple=True, metavar="GLOB", help="Ask these cases alone.")
@click.option("--wrong", is_flag=True, help="Ask again what went wrong, and nothing else.")
@click.option("--no-run", is_flag=True, help="Ask nobody: write the page again.")
@click.option("--collect", is_flag=True, help="Ask nobody: take what lies in --state.")
def command(names: tuple[str, ...], state: Path | None, **options: Any) -> None:
    """Ask peers the suite, and write conformance/MATRIX.md.

    Without names, all that are installed. Each peer's reports lie under --state; a run of some
    areas or cases alone leaves the others as they were. What did not pass goes to
    conformance/peers/results.json, and the page is made of that and of what is said by hand in
    conformance/peers/judged.

    \b
    Exit status:
      0  the page is written, whatever it says
      1  a peer could not be asked, or a judgement fits nothing
      2  there is no such peer
    """
    if unknown := set(names) - set(peers.by_name()):
        click.echo(f"there is no peer {', '.join(sorted(unknown))}", err=True)
        sys.exit(EXIT_UNKNOWN)
    state = (state or peers.prefix() / "matrix").absolute()
    failed = False
    try:
        if not options["no_run"]:
            if not options["collect"]:
                failed = _ask(names, _manner(state, options))
            _collect(state, names)
        _write()
    except PeerError as error:
        click.echo(str(error), err=True)
        failed = True
    sys.exit(EXIT_FAILED if failed else 0)


def _manner(state: Path, options: dict[str, Any]) -> asking.Manner:
    return asking.Manner(
        state=state,
        jobs=options["jobs"],
        patience=options["patience"],
        seconds=options["minutes"] * 60,
        areas=[Area[name.upper()] for name in options["areas"]] or tuple(Area),
        only=_only(options["globs"]),
        wrong=options["wrong"],
        say=lambda text: click.echo(text, err=True),
    )


def _only(globs: tuple[str, ...]) -> Callable[[str], bool]:
    return lambda case: not globs or any(fnmatchcase(case, glob) for glob in globs)


def _ask(names: tuple[str, ...], manner: asking.Manner) -> bool:
    """Whether one of them could not be asked."""
    failed = False
    here = [name for name, peer in peers.by_name().items() if not peers.missing(peer)]
    for name in names or here:
        try:
            asking.ask(peers.by_name()[name], manner)
        except PeerError as error:
            click.echo(f"{name}: {error}", err=True)
            failed = True
    return failed


def _collect(state: Path, names: tuple[str, ...]) -> None:
    """Bring results.json up to date with the reports."""
    known = results.read(results.FILE.read_text(encoding="utf-8"))
    for name in names or peers.by_name():
        told = asking.load(state, name)
        if told is not None:
            known.peers[name] = results.of(told)
    results.FILE.write_text(results.render(known), encoding="utf-8")


def _write() -> None:
    known = results.read(results.FILE.read_text(encoding="utf-8"))
    text = matrix.page(PAGE.read_text(encoding="utf-8"), known, judging.load())
    PAGE.write_text(text, encoding="utf-8")
