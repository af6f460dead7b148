"""``conformance sim``: thousands of sessions, and everything going wrong, in virtual time."""

import json
import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
from attrs import evolve, frozen
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from conformance.sim import faults, layout, totals
from conformance.sim.record import Tape
from conformance.sim.totals import Totals
from conformance.sim.world import Report, Settings, World

EXIT_BROKEN = 1
EXIT_CRASHED = 3
PEOPLE = click.IntRange(1, 100_000)
AGAIN = 16
"""Of many seeds, each so-manieth is run twice to compare the traces; a single one always is."""
SHOWN = 5
"""Failures for which a capture is written."""
SUMMARY_EVERY = 50
BENCHMARK = Settings(seed=1, sessions=200, kinds=(), minutes=5.0, pace=1.0, plain=True)


@frozen(slots=True)
class Ran:
    """``differs``: run again it gave another trace; None where it was not."""

    report: Report
    seconds: float
    differs: bool | None = None


@click.command("sim")
@click.option("--seed", default=0, show_default=True, help="The first, or the only one.")
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1), help="How many.")
@click.option("--sessions", default=5, show_default=True, type=PEOPLE, help="People who call.")
@click.option(
    "--faults",
    "kinds",
    default="all",
    show_default=True,
    metavar="LIST",
    help="Kinds with commas between them, 'none', or 'all': of which each seed suffers some.",
)
@click.option(
    "--features",
    "having",
    default="all",
    show_default=True,
    metavar="LIST",
    help="What the fleet may have beyond IPv4 relays side by side: ipv6, addresses (several of a "
    "relay's), tiers (a relay before the others), 'none', or 'all'.",
)
@click.option("--minutes", type=click.FloatRange(0.1, 600), help="How long the faults go on.")
@click.option(
    "--pace",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.02, 10),
    help="Seconds between two packets of a client's audio; 0.02 is a real voice's.",
)
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1, 64))
@click.option("--trace", type=click.Path(dir_okay=False, path_type=Path), help="A line per packet.")
@click.option("--pcap", type=click.Path(dir_okay=False, path_type=Path), help="And a capture.")
@click.option("--summary", type=click.Path(dir_okay=False, path_type=Path), help="Totals as TOML.")
@click.option("--json", "as_json", is_flag=True, help="The totals as JSON on standard output.")
@click.option("--benchmark", is_flag=True, help="Measure session-seconds per second instead.")
def command(kinds: str, having: str, benchmark: bool, as_json: bool, **options: Any) -> None:
    """Run the real cores of relay, transceiver and client in a simulated network.

    Each seed is a run: calls come up, faults strike, all must recover within their bounds, all hang
    up, nothing may be left. Equal seeds give equal runs. What fails is run once more with a
    capture, and the one command that repeats it is printed.

    \b
    Exit status:
      0  every rule held in every run
      1  a rule was broken, or a seed gave two different traces
      2  the command line makes no sense
      3  a worker process of the simulator died
    """
    first = _settings(kinds, having, options)
    if benchmark:
        _benchmark(as_json)
        return
    seeds, trace, pcap = options["seeds"], options["trace"], options["pcap"]
    if trace is not None or pcap is not None:
        if seeds != 1:
            raise click.UsageError("--trace and --pcap are for one seed")
        _tape(first, trace, pcap)
    total = Totals()
    try:
        _campaign(first, seeds, options["jobs"], total, options["summary"], (kinds, having))
    except (OSError, RuntimeError) as error:  # a pool whose process has died
        click.echo(f"the simulator itself failed: {error}", err=True)
        sys.exit(EXIT_CRASHED)
    if as_json:
        click.echo(json.dumps(_figures(total)))
    else:
        _show(total)
    sys.exit(EXIT_BROKEN if total.failures else 0)


def _settings(kinds: str, having: str, options: dict[str, Any]) -> Settings:
    """Of the first seed. Raises UsageError."""
    try:
        chosen, features = faults.parse(kinds), layout.parse(having)
    except (faults.UnknownFault, layout.UnknownFeature) as error:
        raise click.UsageError(str(error)) from None
    return Settings(
        options["seed"],
        options["sessions"],
        chosen,
        options["minutes"],
        options["pace"],
        features=features,
    )


def _campaign(
    first: Settings,
    seeds: int,
    jobs: int,
    total: Totals,
    summary: Path | None,
    drawn: tuple[str, str],
) -> None:
    console = Console(stderr=True)
    columns = (TextColumn("seed {task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=seeds)
        for ran in _run_all(first, seeds, jobs):
            _count(total, ran)
            bar.update(task, advance=1, description=str(ran.report.settings.seed))
            done = total.seeds == seeds
            if summary is not None and (done or total.seeds % SUMMARY_EVERY == 0):
                fresh = summary.with_suffix(".part")
                fresh.write_text(totals.as_toml(total, *drawn))
                fresh.replace(summary)


def _run_all(first: Settings, seeds: int, jobs: int) -> Iterator[Ran]:
    """In the order of the seeds."""
    numbers = range(first.seed, first.seed + seeds)
    if jobs == 1 or seeds == 1:
        for number in numbers:
            yield _run(evolve(first, seed=number), seeds == 1 or number % AGAIN == 0)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(min(jobs, os.cpu_count() or 1), mp_context=context) as pool:
        under_way: deque[Future[Ran]] = deque()
        for number in numbers:
            under_way.append(pool.submit(_run, evolve(first, seed=number), number % AGAIN == 0))
            if len(under_way) >= 4 * jobs:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def _run(settings: Settings, twice: bool) -> Ran:
    began = time.process_time()
    report = World(settings).run()
    seconds = time.process_time() - began
    differs = World(settings).run().digest != report.digest if twice else None
    return Ran(report, seconds, differs)


def _count(total: Totals, ran: Ran) -> None:
    total.add(ran.report, ran.seconds)
    settings, failure = ran.report.settings, ran.report.failure
    again = totals.command(settings)
    if ran.differs is not None:
        total.again += 1
    if ran.differs:
        total.failures.append(totals.Outcome(again, "determinism", "two runs, two traces"))
        click.echo(f"seed {settings.seed} gave two different traces\n  {again}", err=True)
    if failure is not None:
        click.echo(f"seed {settings.seed} broke a rule: {failure.what}\n  {again}", err=True)
        if len(total.failures) <= SHOWN:
            _tape(settings, None, Path(f"sim-{settings.seed}.pcap"), tell=True)


def _tape(settings: Settings, trace: Path | None, pcap: Path | None, tell: bool = False) -> None:
    """Run it once more, recorded. The keys of a capture are beside it."""
    with ExitStack() as stack:
        lines = None if trace is None else stack.enter_context(trace.open("w"))
        tape = Tape(lines, captures=pcap is not None)
        World(settings, tape).run()
        if pcap is not None:
            from conformance.capture import Writer  # Scapy, which takes a second to come

            tape.write_capture(Writer(stack.enter_context(pcap.open("wb"))))
            pcap.with_suffix(".keys").write_text("".join(f"{line}\n" for line in tape.secrets))
    if tell:
        click.echo("the last that happened:", err=True)
        click.echo("".join(f"  {line}\n" for line in tape.last), err=True, nl=False)
        click.echo(f"the packets are in {pcap}", err=True)


def _benchmark(as_json: bool) -> None:
    """Idle-ish voice: no faults, one packet of audio a second instead of fifty."""
    settings = BENCHMARK
    ran = _run(settings, False)
    rate = ran.report.session_seconds / ran.seconds
    figures = {
        "session_seconds_per_second": round(rate),
        "sessions": settings.sessions,
        "virtual_seconds": round(ran.report.session_seconds / settings.sessions),
        "cpu_seconds": round(ran.seconds, 2),
        "packets": ran.report.packets,
        "packets_per_second": round(ran.report.packets / ran.seconds),
        "audio_reduced_by": round(settings.pace / 0.02),
    }
    if ran.report.failure is not None:
        click.echo(ran.report.failure.what, err=True)
        sys.exit(EXIT_BROKEN)
    if as_json:
        click.echo(json.dumps(figures))
        return
    click.echo(
        f"{figures['session_seconds_per_second']} session-seconds per second of one core: "
        f"{settings.sessions} calls of {figures['virtual_seconds']} s with "
        f"{1 / settings.pace:g} packet of audio per second each way "
        f"(a voice's 50, reduced by {figures['audio_reduced_by']}), their establishment included; "
        f"{figures['packets_per_second']} packets per second"
    )


def _figures(total: Totals) -> dict[str, object]:
    return {
        "seeds": total.seeds,
        "failures": [
            {"command": each.command, "rule": each.rule, "what": each.what}
            for each in total.failures
        ],
        "calls": total.calls,
        "packets": total.packets,
        "virtual_seconds": round(total.virtual_seconds),
        "session_seconds": round(total.session_seconds),
        "cpu_seconds": round(total.cpu_seconds, 2),
        "faults": dict(total.faults),
        "rules": dict(total.passed),
        "events": dict(total.events),
        "drops": dict(total.drops),
        "recovered": {name: total.quantiles(name) for name in total.recovered},
    }


def _show(total: Totals) -> None:
    console = Console()
    rate = total.session_seconds / total.cpu_seconds if total.cpu_seconds else 0.0
    console.print(
        f"{total.seeds} seeds, {total.calls} calls, {total.packets} packets, "
        f"{total.virtual_seconds:.0f} s of virtual time; {rate:.0f} session-seconds per second"
    )
    table = Table("recovery", "how many", "half within", "99 of 100", "longest", box=None)
    for name in total.recovered:
        count, *times = total.quantiles(name)
        table.add_row(name, str(count), *(f"{seconds:.1f} s" for seconds in times))
    console.print(table)
    for title, counted in (
        ("faults", total.faults),
        ("rules that held", total.passed),
        ("drops", total.drops),
    ):
        listed = ", ".join(f"{name} {count}" for name, count in counted.most_common())
        console.print(f"{title}: {listed or 'none'}", highlight=False)
    if total.failures:
        console.print(f"{len(total.failures)} failures", style="bold red")
        for each in total.failures:
            console.print(f"  {each.rule}: {each.command}", highlight=False, soft_wrap=True)
