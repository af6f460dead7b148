"""``conformance fuzz``: what strangers may say, said millions of times."""

import hashlib
import os
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from conformance.fuzz.target import Target

EXIT_FOUND = 1
EXIT_FAILED = 2


@click.command("fuzz")
@click.argument("patterns", nargs=-1, metavar="[TARGET-GLOB]...")
@click.option("--seconds", default=10, show_default=True, help="How long each target runs.")
@click.option("--runs", type=int, help="How many inputs each target is given, instead of a time.")
@click.option("--jobs", default=1, show_default=True, help="Targets at a time.")
@click.option(
    "--corpus",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    envvar="STUNROUTE_CORPUS",
    help="A folder of other people's corpora, for more seeds.",
)
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where corpora and findings are kept from run to run.",
)
@click.option(
    "--engine",
    type=click.Choice(["atheris", "hypothesis", "smoke"]),
    default="atheris",
    show_default=True,
    help="Coverage-guided; sequences that are made smaller; a fixed set of mutations.",
)
@click.option("--list", "only_list", is_flag=True, help="Print the targets and what covers others.")
@click.option(
    "--replay",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Give the target this one input.",
)
@click.option("--minimise", is_flag=True, help="With --replay: make the input smaller first.")
@click.option("--campaign", is_flag=True, help="Go on for hours, taking turns; needs --state.")
@click.option("--until", type=int, help="With --campaign: end after so many executions in all.")
@click.option("--hours", type=float, help="With --campaign: end after so long.")
@click.option("--summarise", is_flag=True, help="Write the campaign's summary into the repository.")
def command(
    patterns: tuple[str, ...],
    seconds: int,
    runs: int | None,
    jobs: int,
    corpus: Path | None,
    state: Path | None,
    engine: str,
    only_list: bool,
    replay: Path | None,
    minimise: bool,
    campaign: bool,
    until: int | None,
    hours: float | None,
    summarise: bool,
) -> None:
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
    from conformance.fuzz import catalogue

    if only_list:
        _list(patterns)
        return
    if summarise or campaign:
        if state is None:
            raise click.UsageError("a campaign needs --state, where its totals are kept")
        _campaign(patterns, state, corpus, until, hours, run=campaign)
        return
    targets = catalogue.matching(patterns)
    if not targets:
        raise click.UsageError(f"no target fits {' '.join(patterns)}; see --list")
    if replay is not None:
        if len(targets) != 1:
            raise click.UsageError("--replay takes the name of one target")
        sys.exit(_replay(targets[0], replay, minimise))
    if engine != "atheris":
        sys.exit(_without_atheris(targets, engine, runs or 300, corpus, state or Path.cwd()))
    with tempfile.TemporaryDirectory(prefix="conformance-fuzz-") as fresh:
        sys.exit(_run(targets, state or Path(fresh), corpus, seconds, runs, jobs, state is None))


def _list(patterns: tuple[str, ...]) -> None:
    from conformance.fuzz import catalogue

    for target in catalogue.matching(patterns):
        click.echo(f"{target.name}  ({target.seeds}, up to {target.length} bytes)")
    if not patterns:
        for one in catalogue.covered().values():
            click.echo(f"{one.name}  covered by {one.by}: {one.reason}")


def _campaign(
    patterns: tuple[str, ...],
    state: Path,
    corpus: Path | None,
    until: int | None,
    hours: float | None,
    *,
    run: bool,
) -> None:
    from conformance.fuzz import campaign as campaigns
    from conformance.fuzz import runner

    if run:
        campaigns.note_process(state)
        campaigns.end_on_signal()
        place = runner.prepare(state, corpus)
        plan = campaigns.Plan(until=until, seconds=None if hours is None else hours * 3600)
        campaigns.Campaign.load(place).run(patterns, plan)
    else:
        summary = campaigns.write_summary(campaigns.Campaign.load(runner.Place(state)))
        click.echo(
            f"{summary['executions']} executions of {summary['targets']} targets, "
            f"{summary['executions_per_second']} per second, {summary['findings']} findings"
        )


def _run(
    targets: "list[Target]",
    root: Path,
    corpus: Path | None,
    seconds: int,
    runs: int | None,
    jobs: int,
    fleeting: bool,
) -> int:
    from conformance.fuzz import runner

    place = runner.prepare(root, corpus)
    status = 0
    with ThreadPoolExecutor(max_workers=max(1, min(jobs, os.cpu_count() or 1))) as pool:
        turns = pool.map(lambda one: runner.run(one, place, seconds=seconds, runs=runs), targets)
        for turn in turns:
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
                if fleeting:
                    kept = Path.cwd() / finding.file
                    kept.write_bytes(path.read_bytes())
                    path = kept
                click.echo(f"  {finding.what}")
                click.echo(f"  conformance fuzz --replay {path} {finding.target}")
    return status


def _replay(target: "Target", path: Path, minimise: bool) -> int:
    from conformance.fuzz import smoke

    one = target.make()
    escape = smoke.attempt(one, path.read_bytes())
    if escape is None:
        click.echo(f"{target.name} bears {path} ({path.stat().st_size} bytes)")
        return 0
    if minimise:
        escape = smoke.minimised(one, escape)
        shorter = path.with_name(f"{path.stem}.min.bin")
        shorter.write_bytes(escape.data)
        click.echo(f"{len(escape.data)} bytes are left in {shorter}")
    click.echo("".join(traceback.format_exception(escape.error)), nl=False)
    return EXIT_FOUND


def _without_atheris(
    targets: "list[Target]", engine: str, runs: int, corpus: Path | None, state: Path
) -> int:
    from conformance.fuzz import corpus as corpora
    from conformance.fuzz import sequences, smoke

    seeds = corpora.collect(corpus=corpus)
    status = 0
    for target in targets:
        begun = time.perf_counter()
        if engine == "smoke":
            count, escape = smoke.run(target, seeds.of(target.seeds), runs)
        elif target.operations:
            count, escape = sequences.run(target, seeds.of(target.seeds), runs)
        else:
            continue
        rate = count / (time.perf_counter() - begun)
        click.echo(f"{target.name}: {count} executions, {rate:.0f} per second")
        if escape is not None:
            status = EXIT_FOUND
            digest = hashlib.sha256(escape.data).hexdigest()[:12]
            path = state / f"{target.name}-{digest}.bin"
            path.write_bytes(escape.data)
            click.echo(f"  {type(escape.error).__name__}: {escape.error}")
            click.echo(f"  conformance fuzz --replay {path} {target.name}")
    return status
