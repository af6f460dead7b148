"""``stunroute top`` and ``stunroute flows``: a running relay through its admin socket."""

import json
from pathlib import Path

import click
from attrs import asdict, frozen

from stunroute.address import Address
from stunroute.errors import ConfigError
from stunroute.operations.admin import FLOWS, AdminClient, AdminError
from stunroute.operations.history import duration
from stunroute.operations.redaction import redacted
from stunroute.status import FlowStatus

from .common import config_option, refuse, settings_of

_admin_option = click.option(
    "--admin",
    type=click.Path(path_type=Path),
    help="The relay's admin socket; left out, what the settings say.",
)


def _client(admin: Path | None, config: Path | None) -> AdminClient:
    if admin is None:
        try:
            admin = settings_of(config, {}).operations.admin
        except ConfigError as error:
            refuse(f"--admin is not given, and the settings do not tell: {error}", 2)
    if admin is None:
        refuse("--admin is not given, and the settings name no operations.admin", 2)
    return AdminClient(admin)


@click.command()
@config_option
@_admin_option
@click.option("--once", "only_once", is_flag=True, help="Print one picture and end.")
def top(config: Path | None, admin: Path | None, only_once: bool) -> None:
    """Watch a running relay: who forwards how much, what is lost, what happened.

    Leave with q or Ctrl-C. Where there is no terminal, one picture is printed.
    """
    from rich.console import Console

    from stunroute.operations import top as viewer

    client = _client(admin, config)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=viewer.PLAIN_WIDTH)
    try:
        if only_once or not console.is_terminal:
            viewer.once(client, console)
        else:
            viewer.watch(client, console)
    except AdminError as error:
        refuse(error, 1)


@frozen(slots=True)
class _Row:
    """A flow as it is shown."""

    worker: int
    client: str
    next_hop: str
    made: str
    verified: bool
    age: float
    idle: float


@click.command()
@config_option
@_admin_option
@click.option(
    "--limit", type=click.IntRange(1, FLOWS), default=20, show_default=True, help="How many."
)
@click.option("--next-hop", metavar="IP:PORT", help="Of those, only flows to this transceiver.")
@click.option("--addresses", is_flag=True, help="Whole client addresses, not just their networks.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def flows(
    config: Path | None,
    admin: Path | None,
    limit: int,
    next_hop: str | None,
    addresses: bool,
    as_json: bool,
) -> None:
    """Show some of the flows of a running relay.

    The relay is asked for any flows, not for certain ones: to search its whole table would hold up
    its packets.
    """
    wanted = None
    if next_hop is not None:
        try:
            wanted = Address.parse(next_hop)
        except ValueError:
            refuse("--next-hop is not IP:PORT or [IP]:PORT", 2)
    try:
        # What is to be looked through is all that one answer may hold.
        found = _client(admin, config).flows(limit if wanted is None else FLOWS)
    except AdminError as error:
        refuse(error, 1)
    chosen = [flow for flow in found if wanted in (None, flow.next_hop)][:limit]
    rows = [_row(flow, addresses) for flow in chosen]
    if as_json:
        for row in rows:
            click.echo(json.dumps(asdict(row)))
        return
    _print(rows)
    if wanted is not None and len(found) == FLOWS:
        click.echo(f"stunroute: only {FLOWS:,} flows were looked through", err=True)


def _row(flow: FlowStatus, addresses: bool) -> _Row:
    return _Row(
        flow.worker,
        str(flow.client) if addresses else redacted(flow.client),
        str(flow.next_hop),
        flow.made,
        flow.verified,
        round(flow.age, 1),
        round(flow.idle, 1),
    )


def _print(rows: list[_Row]) -> None:
    table = [("WORKER", "CLIENT", "NEXT HOP", "MADE BY", "VERIFIED", "AGE", "IDLE")]
    for row in rows:
        verified = "here" if row.verified else "no"
        ages = duration(row.age), duration(row.idle)
        table.append((str(row.worker), row.client, row.next_hop, row.made, verified, *ages))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        click.echo(line.rstrip())
