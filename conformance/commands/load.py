"""``conformance load``: many calls at a live server."""

import asyncio
import json
import signal
import sys
from typing import Any
from urllib.parse import urlsplit

import click
from rich.console import Console

from conformance.blackbox.wire import resolve
from conformance.load import Load, Plan
from stunroute.address import Address

EXIT_FAILED = 1
EXIT_UNREACHABLE = 3
MOST_SESSIONS = 20_000
LONGEST = 86_400.0
RATE = click.FloatRange(0.01, 10_000)


@click.command("load")
@click.option("--whip", metavar="URL", help="A server's WHIP endpoint.")
@click.option("--calls", metavar="URL", help="A server's /v1/realtime/calls.")
@click.option(
    "--sessions",
    default=10,
    show_default=True,
    type=click.IntRange(1, MOST_SESSIONS),
    help="Calls.",
)
@click.option("--ramp", default=10.0, show_default=True, type=RATE, help="Calls begun per second.")
@click.option(
    "--seconds",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0.1, LONGEST),
    help="How long all talk once the last has begun.",
)
@click.option(
    "--pace",
    default=0.02,
    show_default=True,
    type=click.FloatRange(0.005, 10),
    help="Seconds between two packets of a call's audio.",
)
@click.option("--data", is_flag=True, help="A data channel beside the audio, a message a second.")
@click.option("--token", help="A bearer token for HTTP.")
@click.option(
    "--allow",
    multiple=True,
    metavar="HOST[:PORT]",
    help="Another address that answers may lead to; nothing else is ever sent to.",
)
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON.")
def command(whip: str | None, calls: str | None, as_json: bool, **options: Any) -> None:
    """Call a server many times at once, talk, and measure.

    Echoes are measured where the server sends back what it is sent. Everything is hung up at the
    end, also after Ctrl-C.

    \b
    Exit status:
      0  every call came up and none was lost
      1  at least one failed; the figures say why
      2  the command line makes no sense
      3  there is no way to the server
    """
    url = whip or calls
    if url is None or (whip and calls):
        raise click.UsageError("one of --whip and --calls")
    token = options["token"]
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    wanted = {name: options[name] for name in ("sessions", "ramp", "seconds", "pace", "data")}
    try:
        allowed = (_allowed(each) for each in options["allow"])
        hosts = (*resolve(urlsplit(url).hostname or ""), *allowed)
        plan = Plan(url, hosts, **wanted, headers=headers)
        told = asyncio.run(_run(plan))
    except OSError as error:
        click.echo(f"no way to {url}: {error}", err=True)
        sys.exit(EXIT_UNREACHABLE)
    if as_json:
        click.echo(json.dumps(told))
    else:
        _show(told)
    sys.exit(EXIT_FAILED if told["failures"] else 0)


def _allowed(text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError:
        return resolve(text)[0]


async def _run(plan: Plan) -> dict[str, Any]:
    load = Load(plan)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, load.stop)
    try:
        return await load.run()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _show(told: dict[str, Any]) -> None:
    console = Console(highlight=False)
    audio, messages = told["audio"], told["messages"]
    console.print(f"{told['established']} of {told['sessions']} calls came up")
    for name, count in told["failures"].items():
        console.print(f"  {count} failed: {name}", style="red")
    for title, times in (
        ("offer to answer", told["answer_ms"]),
        ("offer to keys", told["establish_ms"]),
        ("echo of audio", audio["round_trip_ms"]),
        ("echo of a message", messages["round_trip_ms"]),
    ):
        if times is not None:
            shown = ", ".join(f"{name} {value:g} ms" for name, value in times.items())
            console.print(f"{title}: {shown}")
    lost = "no echoes" if audio["lost"] is None else f"{audio['lost']:.3%} lost"
    console.print(f"{audio['sent']} packets of audio, {lost}; {messages['sent']} messages")
    console.print(
        f"this program took {told['own_cpu']:.0%} of a core and was at most "
        f"{told['longest_lateness_ms']:g} ms late"
        + (f"; {audio['skipped']} packets left out" if audio["skipped"] else "")
    )
