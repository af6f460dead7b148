"""The ``conformance`` program.

Standard output is the result, in tables and lines for people or in JSON for programs; progress goes
to standard error, and only to a terminal. The exit status tells scripts what people read in the
table.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
from attrs import frozen

try:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from . import capture, golden
    from .capture import CaptureError
    from .commands import cite, fuzz, load, mutants, peers, run, sim
    from .replay import Exact, Verdict, replay
    from .story import Teller
    from .tables import SidecarError
except ModuleNotFoundError as error:
    raise SystemExit(
        f"conformance needs {error.name}; install the extra: pip install 'stunroute[conformance]'"
    ) from None

EXIT_PARTED = 1
EXIT_UNREADABLE = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="stunroute", prog_name="conformance")
def main() -> None:
    """Judge anybody's WebRTC server or relay, try ours in hard conditions, replay its calls."""


@frozen(slots=True)
class Outcome:
    """What became of one recording. ``unreadable`` says why there is no verdict."""

    path: Path
    verdict: Verdict | None
    unreadable: str = ""
    golden: str = ""

    @property
    def word(self) -> str:
        if self.verdict is None:
            return "unreadable"
        if not isinstance(self.verdict, Exact):
            return "parted"
        return "golden differs" if self.golden else "exact"

    @property
    def sentence(self) -> str:
        return self.unreadable or self.golden or str(self.verdict)


_files = click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="FILE...",
)


@main.command("replay")
@_files
@click.option("--trace", is_flag=True, help="Tell the story of each replay, packet by packet.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per recording and line.")
@click.option("--golden", "with_golden", is_flag=True, help="Compare the story with NAME.jsonl.")
@click.option("--update-golden", is_flag=True, help="Write NAME.jsonl for exact replays.")
@click.option(
    "--no-checks",
    is_flag=True,
    help="Ignore the checks in the sidecar: what would a changed recording have led to?",
)
@click.option("--show-addresses", is_flag=True, help="Do not redact addresses.")
def replay_command(
    files: tuple[Path, ...],
    trace: bool,
    as_json: bool,
    with_golden: bool,
    update_golden: bool,
    no_checks: bool,
    show_addresses: bool,
) -> None:
    """Replay recordings and compare every byte the transceiver sends.

    FILE is a capture with its sidecar beside it (NAME.pcap and NAME.toml), or a directory, of which
    all such pairs are taken.

    \b
    Exit status:
      0  every recording came out exactly
      1  at least one parted, or differs from its golden trace
      2  a file cannot be read, or the command line makes no sense
    """
    if with_golden and update_golden:
        raise click.UsageError("--golden and --update-golden exclude each other")
    if show_addresses and (with_golden or update_golden):
        raise click.UsageError("golden traces hold no addresses")
    outcomes = []
    for path in _with_progress(_recordings(files)):
        witness = golden.Trace(show_addresses=show_addresses)
        outcome = _replay_one(path, witness, not no_checks, with_golden, update_golden)
        outcomes.append(outcome)
        if as_json:
            click.echo(golden.dumps(_outcome_dict(outcome, witness if trace else None)))
        elif trace:
            click.echo(f"{path}:")
            for line in witness.lines:
                click.echo(line)
    if not as_json:
        _summarise(outcomes)
    sys.exit(_status(outcomes))


def _recordings(files: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for path in files:
        if not path.is_dir():
            found.append(path.with_suffix(".pcap") if path.suffix == ".toml" else path)
            continue
        inside = [p for p in sorted(path.rglob("*.pcap")) if p.with_suffix(".toml").exists()]
        if not inside:
            raise click.UsageError(f"{path} holds no recording (NAME.pcap with NAME.toml)")
        found += inside
    return found


def _with_progress(paths: list[Path]) -> Iterator[Path]:
    console = Console(stderr=True)
    if len(paths) < 2 or not console.is_terminal:
        yield from paths
        return
    with Progress(console=console, transient=True) as progress:
        yield from progress.track(paths, description="replaying")


def _replay_one(
    path: Path, witness: golden.Trace, checks: bool, with_golden: bool, update_golden: bool
) -> Outcome:
    try:
        verdict = replay(path, checks=checks, witness=witness)
    except CaptureError as error:
        return Outcome(path, None, unreadable=str(error))
    except SidecarError as error:
        return Outcome(path, None, unreadable=f"{path.with_suffix('.toml')}: {error}")
    except OSError as error:
        return Outcome(path, None, unreadable=f"{path}: {error.strerror}")
    differs = ""
    if isinstance(verdict, Exact) and with_golden:
        differs = golden.compare(path, golden.render(witness, verdict))
    elif isinstance(verdict, Exact) and update_golden:
        golden.write(path, golden.render(witness, verdict))
    return Outcome(path, verdict, golden=differs)


def _outcome_dict(outcome: Outcome, witness: golden.Trace | None) -> dict[str, Any]:
    told: dict[str, Any] = {"file": str(outcome.path)}
    if outcome.verdict is None:
        told |= {"verdict": "unreadable", "what": outcome.unreadable}
    else:
        told |= golden.verdict_dict(outcome.verdict)
    if outcome.golden:
        told["golden"] = outcome.golden
    if witness is not None:
        told["trace"] = [line.as_dict() for line in witness.lines]
    return told


def _summarise(outcomes: list[Outcome]) -> None:
    table = Table("recording", "verdict", "steps", "packets", "draws")
    for outcome in outcomes:
        counts = ["", "", ""]
        if isinstance(outcome.verdict, Exact):
            verdict = outcome.verdict
            counts = [str(verdict.steps), str(verdict.packets), str(verdict.draws)]
        table.add_row(outcome.path.stem, outcome.word, *counts)
    Console().print(table)
    for outcome in outcomes:
        if outcome.word != "exact":
            click.echo(f"{outcome.path.name}: {outcome.sentence}")


def _status(outcomes: list[Outcome]) -> int:
    words = Counter(outcome.word for outcome in outcomes)
    if words["unreadable"]:
        return EXIT_UNREADABLE
    return EXIT_PARTED if words["parted"] or words["golden differs"] else 0


@main.command("inspect")
@_files
@click.option("--json", "as_json", is_flag=True, help="One JSON object per packet and line.")
@click.option("--show-addresses", is_flag=True, help="Do not redact addresses.")
@click.option("--all", "everything", is_flag=True, help="Also packets that are not UDP.")
def inspect_command(
    files: tuple[Path, ...], as_json: bool, show_addresses: bool, everything: bool
) -> None:
    """Tell what any pcap or pcapng capture says, one line per UDP packet.

    \b
    Exit status:
      0  all was read
      2  a file is broken (the packets before the break are told) or cannot be read
    """
    status = 0
    for path in files:
        if len(files) > 1 and not as_json:
            click.echo(f"{path}:")
        teller = Teller(show_addresses=show_addresses)
        skipped: Counter[str] = Counter()
        try:
            for packet in capture.read(path):
                if packet.is_udp or packet.fragment or everything:
                    line = teller.tell(packet)
                    click.echo(golden.dumps(line.as_dict()) if as_json else str(line))
                else:
                    skipped[packet.note] += 1
        except CaptureError as error:
            click.echo(str(error), err=True)
            status = EXIT_UNREADABLE
        if skipped and not as_json:
            notes = ", ".join(f"{count} {note}" for note, count in skipped.most_common(5))
            click.echo(
                f"      {skipped.total()} packets that are not UDP ({notes}): --all", err=True
            )
    sys.exit(status)


main.add_command(cite.command)
main.add_command(fuzz.command)
main.add_command(load.command)
main.add_command(peers.command)
main.add_command(run.command)
main.add_command(sim.command)
main.add_command(mutants.command)


if __name__ == "__main__":
    main()
