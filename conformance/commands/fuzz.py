"""``conformance fuzz``: what strangers may say, said millions of times."""

import hashlib
import os
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

if TYPE_CHECKING:
    from conformance.fuzz.target import Target

EXIT_FOUND = 1
EXIT_FAILED = 2
RUNS = 300
"""Inputs for each target where no number is given, for the engines that do not go by time."""

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@frozen(slots=True)
class Options:
    """What the command line says beside the targets."""

    seconds: int
    runs: int | None
    jobs: int
    corpus: Path | None
    state: Path | None
    engine: str
    only_list: bool
    replay: Path | None
    minimise: bool
    campaign: bool
    until: int | None
    hours: float | None
    turn: int
    summarise: bool


@click.command("fuzz")
@click.argument("patterns", nargs=-1, metavar="[TARGET-GLOB]...")
@click.option("--seconds", default=10, show_default=True, help="How long each target runs.")
@click.option("--runs", type=int, help="How many inputs each target is given, instead of a time.")
@click.option("--jobs", default=1, show_default=True, help="Targets at a time.")
@click.option("--corpus", type=_FOLDER, envvar="STUNROUTE_CORPUS", help="A folder of more seeds.")
@click.option("--state", type=_FOLDER, help="Where corpora and findings are kept between runs.")
@click.option(
    "--engine",
    type=click.Choice(["atheris", "hypothesis", "smoke"]),
    default="atheris",
    show_default=True,
    help="Guided by coverage; rows of operations, made smaller; a fixed set of mutations.",
)
@click.option(
    "--list", "only_list", is_flag=True, help="Print the targets, and what covers others."
)
@click.option("--replay", type=_FILE, help="Give the target this one input.")
@click.option("--minimise", is_flag=True, help="With --replay: write a smaller input beside it.")
@click.option("--campaign", is_flag=True, help="Go on for hours, taking turns; needs --state.")
@click.option("--until", type=int, help="With --campaign: end after so many executions in all.")
@click.option("--hours", type=float, help="With --campaign: end after so long.")
@click.option("--turn", default=30, show_default=True, help="With --campaign: seconds of a turn.")
@click.option("--summarise", is_flag=True, help="Write the summary of the campaign in --state.")
def command(patterns: tuple[str, ...], **given: Any) -> None:
    """Fuzz what reads bytes of the network: every function whose name ends in _untrusted, and the
    cores.

    TARGET-GLOB is a name of --list or a pattern for some ("core.*", "*.rtp.*"); all targets where
    there is none.

    \b
    Exit status:
      0  nothing was found
      1  an input broke a promise, crashed, hung, or took too much memory
      2  the command line makes no sense, or a target could not be run
    """
    sys.exit(_carry_out(patterns, Options(**given)))


def _carry_out(patterns: tuple[str, ...], options: Options) -> int:
    from conformance.fuzz import catalogue

    targets = catalogue.matching(patterns)
    if not targets:
        raise click.UsageError(f"no target fits {' '.join(patterns)}; see --list")
    if options.only_list:
        return _list(targets, with_covered=not patterns)
    if options.replay is not None:
        if len(targets) != 1:
            raise click.UsageError("--replay takes the name of one target")
        return _replay(targets[0], options.replay, options.minimise)
    if options.summarise:
        return _summarise(options)
    if options.engine != "atheris":
        return _without_atheris(targets, options)
    if find_spec("atheris") is None:
        raise click.UsageError(
            "there is no atheris here: pip install atheris, or take --engine smoke"
        )
    if options.campaign:
        return _campaign(patterns, options)
    with tempfile.TemporaryDirectory(prefix="conformance-fuzz-") as fresh:
        return _run(targets, options, options.state or Path(fresh))


def _list(targets: "list[Target]", *, with_covered: bool) -> int:
    from conformance.fuzz import catalogue

    for target in targets:
        click.echo(f"{target.name}  ({target.seeds}, up to {target.length} bytes)")
    for one in catalogue.covered().values() if with_covered else ():
        click.echo(f"{one.name}  covered by {one.by}: {one.reason}")
    return 0


def _run(targets: "list[Target]", options: Options, root: Path) -> int:
    from conformance.fuzz import runner

    place = runner.prepare(root, options.corpus)
    status = 0

    def one(target: "Target") -> runner.Turn:
        return runner.run(target, place, seconds=options.seconds, runs=options.runs)

    jobs = max(1, min(options.jobs, os.cpu_count() or 1))
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        for turn in pool.map(one, targets):
            click.echo(
                f"{turn.target}: {turn.executions} executions, {turn.rate:.0f} per second, "
                f"{turn.edges} edges, {turn.new} new inputs, {turn.corpus} in the corpus"
            )
            if turn.failure:
                click.echo(f"  {turn.failure}", err=True)
                status = EXIT_FAILED
            for finding in turn.findings:
                status = status or EXIT_FOUND
                path = place.findings / finding.file
                if options.state is None:
                    path = _kept(path.read_bytes(), Path.cwd() / finding.file)
                click.echo(f"  {finding.what}\n  {runner.reproducer(finding.target, path)}")
    return status


def _kept(data: bytes, path: Path) -> Path:
    path.write_bytes(data)
    return path


def _replay(target: "Target", path: Path, minimise: bool) -> int:
    from conformance.fuzz import smoke

    one = target.make()
    escape = smoke.attempt(one, path.read_bytes())
    if escape is None:
        click.echo(f"{target.name} bears {path} ({path.stat().st_size} bytes)")
        return 0
    if minimise:
        escape = smoke.minimised(one, escape)
        shorter = _kept(escape.data, path.with_name(f"{path.stem}.min.bin"))
        click.echo(f"{len(escape.data)} bytes are left in {shorter}")
    click.echo("".join(traceback.format_exception(escape.error)), nl=False)
    return EXIT_FOUND


def _without_atheris(targets: "list[Target]", options: Options) -> int:
    from conformance.fuzz import corpus, runner, sequences, smoke

    seeds = corpus.collect(corpus=options.corpus)
    folder = options.state or Path.cwd()
    engine = smoke.run if options.engine == "smoke" else sequences.run
    status = 0
    for target in targets:
        if options.engine == "hypothesis" and not target.operations:
            continue  # it is about orders, and an input of bytes has none
        begun = time.perf_counter()
        count, escape = engine(target, seeds.of(target.seeds), options.runs or RUNS)
        rate = count / (time.perf_counter() - begun)
        click.echo(f"{target.name}: {count} executions, {rate:.0f} per second")
        if escape is not None:
            status = EXIT_FOUND
            folder.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256(escape.data).hexdigest()[:12]
            path = _kept(escape.data, folder / f"{target.name}-{digest}.bin")
            click.echo(f"  {type(escape.error).__name__}: {escape.error}")
            click.echo(f"  {runner.reproducer(target.name, path)}")
    return status


def _state(options: Options) -> Path:
    if options.state is None:
        raise click.UsageError("a campaign needs --state, where its totals are kept")
    return options.state


def _campaign(patterns: tuple[str, ...], options: Options) -> int:
    from conformance.fuzz import campaign, runner

    state = _state(options)
    campaign.note_process(state)
    campaign.end_on_signal()
    place = runner.prepare(state, options.corpus)
    seconds = None if options.hours is None else options.hours * 3600
    plan = campaign.Plan(turn=options.turn, until=options.until, seconds=seconds)
    running = campaign.Campaign.load(place)
    running.run(patterns, plan)
    return EXIT_FOUND if any(one.findings for one in running.totals.values()) else 0


def _summarise(options: Options) -> int:
    from conformance.fuzz import campaign, runner

    loaded = campaign.Campaign.load(runner.Place(_state(options)))
    summary = campaign.write_summary(loaded)
    click.echo(
        f"{summary['executions']} executions of {summary['targets']} targets, "
        f"{summary['executions_per_second']} per second, {summary['findings']} findings"
    )
    return 0
