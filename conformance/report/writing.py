"""Reports into files: who asked for which, and where they go.

The forms only make text, so that tests and other programs can have it; files are written here
alone.
"""

from pathlib import Path

from attrs import frozen

from conformance.runner import Result

from . import as_json, html, junit
from .files import file_name, key_log, pcapng
from .run import Run, crossings

STDOUT = "-"


@frozen(slots=True)
class Wanted:
    """What the command line asked for. ``json`` may be ``-``, standard output. ``captures`` is a
    directory, made where it is missing; ``keep_all`` keeps the captures of cases that are well,
    there and in the page."""

    junit: Path | None = None
    json: str | None = None
    html: Path | None = None
    captures: Path | None = None
    keep_all: bool = False

    @property
    def takes_stdout(self) -> bool:
        """Whether standard output belongs to a program."""
        return self.json == STDOUT


def write(run: Run, wanted: Wanted) -> str:
    """Write all that goes into files; gives what is for standard output. Raises OSError."""
    if wanted.junit is not None:
        _write(wanted.junit, junit.render(run))
    if wanted.html is not None:
        _write(wanted.html, html.render(run, keep_all=wanted.keep_all))
    if wanted.captures is not None:
        for result in run.results:
            if wanted.keep_all or not run.well(result):
                _capture(wanted.captures, run, result)
    if wanted.json is None:
        return ""
    text = as_json.render(run)
    if wanted.takes_stdout:
        return text
    _write(Path(wanted.json), text)
    return ""


def _capture(directory: Path, run: Run, result: Result) -> None:
    """Nothing for a case in which nothing crossed."""
    if not sum(crossings(result)):
        return
    directory.mkdir(parents=True, exist_ok=True)
    name = file_name(result.case.name)
    (directory / f"{name}.pcapng").write_bytes(pcapng(result.trail, run.began))
    if result.trail.secrets:
        (directory / f"{name}.keys").write_text(key_log(result.trail), encoding="ascii")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
