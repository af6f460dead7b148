"""``conformance peers``: other people's servers, to point the suite at."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT, SIGTERM, signal

import click
from rich.console import Console
from rich.table import Table

from conformance import peers
from conformance.commands import matrix
from conformance.peers import Door, Peer, PeerError, Running
from conformance.peers.running import AWAY_SECONDS

EXIT_FAILED = 1
EXIT_UNKNOWN = 2

_name = click.argument("name", metavar="NAME")
_names = click.argument("names", nargs=-1, metavar="[NAME]...")


@click.group("peers", invoke_without_command=True)
@click.option("--list", "listing", is_flag=True, help="Print what there is; so does no command.")
@click.option(
    "--prefix",
    type=click.Path(file_okay=False, path_type=Path),
    help=f"Where things from npm and built ones lie. [env: {peers.VARIABLE}]",
)
@click.pass_context
def command(context: click.Context, listing: bool, prefix: Path | None) -> None:
    """Start other people's WebRTC and STUN servers, each behind a door that `run` knows.

    None is part of this project: they come from PyPI, npm and Debian, and are installed with
    `conformance peers install`. They listen on loopback, or in a network namespace of their own
    where they take no loopback address (that needs root).
    """
    # A peer is ended with its block, which a plain SIGTERM would not leave in good order.
    signal(SIGTERM, lambda *_: sys.exit(128 + SIGTERM))
    if prefix is not None:
        peers.use_prefix(prefix)
    if listing or context.invoked_subcommand is None:
        _list()


def _list() -> None:
    table = Table()
    for title in ("peer", "implementation", "door", "ICE", "echoes", "profiles", "here"):
        # Names are for copying: what is too long for a narrow terminal goes on in the next line.
        table.add_column(title, overflow="fold")
    for peer in peers.PEERS:
        lacks = ", ".join(package.name for package in peers.missing(peer))
        where = "in a namespace" if peer.needs_namespace else "yes"
        table.add_row(
            peer.name,
            peer.title,
            peer.door.value,
            peer.ice.value,
            " ".join(sorted(peer.echoes)),
            " ".join(peer.profiles),
            f"lacks {lacks}" if lacks else where,
        )
    Console(width=None if sys.stdout.isatty() else 160).print(table)


@command.command("start")
@_name
@click.option("--json", "as_json", is_flag=True, help="One line of JSON.")
def start_command(name: str, as_json: bool) -> None:
    """Start a peer, print where it is, and stay until interrupted."""
    leave = threading.Event()
    for number in (SIGINT, SIGTERM):
        signal(number, lambda *_: leave.set())
    with _started(name) as running:
        inside = running.namespace.path if running.namespace else None
        if as_json:
            told = {
                "name": name,
                "door": running.door.value,
                "url": running.url,
                "version": running.version,
                "namespace": inside,
            }
            click.echo(json.dumps(told))
        else:
            click.echo(f"{running.peer.title} {running.version}: {running.url}")
            enter = running.command([])
            line = [*enter, "conformance", "run", f"--{running.door.value}", running.url]
            click.echo(" ".join(line))
        sys.stdout.flush()
        leave.wait()


@command.command("run", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@_name
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[RUN-OPTION]...")
def run_command(name: str, arguments: tuple[str, ...]) -> None:
    """Start a peer, judge it with `conformance run`, and end it.

    What follows NAME is given to `conformance run`: --profile, names of cases, --known and so on.
    The exit status is that of `conformance run`. A peer that ends or answers no more is started
    again, and that is told; it makes the status 1 where it would have been 0.
    """
    with _started(name, revive=True) as running:
        told = [f"--{running.door.value}", running.url, "--wait", f"{AWAY_SECONDS:g}"]
        argv = [sys.executable, "-m", "conformance", "run", *told, *arguments]
        click.echo(f"{running.peer.title} {running.version}", err=True)
        status = subprocess.run(running.command(argv)).returncode
    for loss in running.losses:
        click.echo(f"{name} had to be started again: {loss}", err=True)
    if running.losses:
        status = status or EXIT_FAILED
    sys.exit(status)


@command.command("check")
@_names
def check_command(names: tuple[str, ...]) -> None:
    """Start peers one by one and call each with aiortc: does it work here, and what comes back?

    Without names, all that are installed.

    \b
    Exit status:
      0  every one of them did what is said of it
      1  one did not, or could not be started
      2  there is no such peer
    """
    failed = False
    for name in names:
        _peer(name)
    for name in names or [peer.name for peer in peers.PEERS if not peers.missing(peer)]:
        try:
            with _started(name) as running:
                complaints = _complaints(running)
                said = "; ".join(complaints) or "works"
                click.echo(f"{name} {running.version}: {said}")
                failed |= bool(complaints)
        except SystemExit:
            failed = True
    sys.exit(EXIT_FAILED if failed else 0)


def _complaints(running: Running) -> list[str]:
    """What a peer does not do. Where it answers STUN alone, starting it has asked already."""
    if running.door is Door.STUN:
        return []
    kinds = ",".join(sorted(running.peer.echoes))
    argv = [sys.executable, "-m", "conformance.peers.call", running.url, kinds]
    done = subprocess.run(running.command(argv), capture_output=True, text=True, timeout=60)
    if done.returncode:
        return [done.stderr.strip().splitlines()[-1]]
    tried = json.loads(done.stdout)
    if not tried["connected"]:
        return [tried["problem"] or "no connection"]
    return [f"no {kind} comes back" for kind in sorted(running.peer.echoes) if not tried[kind]]


@command.command("install")
@_names
def install_command(names: tuple[str, ...]) -> None:
    """Install what peers need: with pip and npm, and as root with apt-get. Without names, for
    all."""
    failed = False
    for name in names or peers.by_name():
        try:
            peers.install(_peer(name))
            click.echo(f"{name}: there")
        except PeerError as error:
            click.echo(str(error), err=True)
            failed = True
    sys.exit(EXIT_FAILED if failed else 0)


command.add_command(matrix.command)


def _peer(name: str) -> Peer:
    found = peers.by_name().get(name)
    if found is None:
        click.echo(f"there is no peer {name}; there are {', '.join(peers.by_name())}", err=True)
        sys.exit(EXIT_UNKNOWN)
    return found


@contextmanager
def _started(name: str, *, revive: bool = False) -> Iterator[Running]:
    _peer(name)
    try:
        with peers.start(name, revive=revive) as running:
            yield running
    except PeerError as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_FAILED)
