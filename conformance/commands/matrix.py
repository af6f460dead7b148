"""``conformance peers matrix``: ask all peers the suite, and write down what became of it."""

from fnmatch import fnmatchcase
from pathlib import Path

import click

from conformance import peers
from conformance.peers import PeerError, asking
from conformance.peers.areas import Area

EXIT_FAILED = 1
EXIT_UNKNOWN = 2


@click.command("matrix")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where reports are kept. [default: matrix in the folder of peers]",
)
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(1, 32))
@click.option("--patience", default=1.0, show_default=True, help="Seconds, as for `run`.")
@click.option("--minutes", default=30.0, show_default=True, help="For one peer, at most.")
@click.option(
    "--area",
    "areas",
    multiple=True,
    type=click.Choice([area.name.lower() for area in Area]),
    help="Ask cases of this area alone.",
)
@click.option("--case", "globs", multiple=True, metavar="GLOB", help="Ask these cases alone.")
def command(names: tuple[str, ...], state: Path | None, **options: object) -> None:
    """Ask peers the suite."""
    state = state or peers.prefix() / "matrix"
    globs = options["globs"]
    areas = [Area[name.upper()] for name in options["areas"]] or list(Area)
    manner = asking.Manner(
        state=state,
        jobs=options["jobs"],
        patience=options["patience"],
        seconds=options["minutes"] * 60,
        areas=areas,
        only=lambda case: not globs or any(fnmatchcase(case, glob) for glob in globs),
        say=lambda text: click.echo(text, err=True),
    )
    for name in names or peers.by_name():
        try:
            asking.ask(peers.by_name()[name], manner)
        except PeerError as error:
            click.echo(str(error), err=True)
