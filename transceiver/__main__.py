"""``transceiver``, the program.

``serve`` runs one node of a fleet from its configuration; ``demo`` brings up a fleet on this
machine. This module only joins the parts: the clock, the operating system's randomness and its
signals enter here and nowhere further in.

Exit codes: 0 after a drain, 1 where it cannot run (an address is taken), 2 where a setting makes no
sense. One line on standard error says which.
"""

import asyncio
import contextlib
import gc
import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from stunroute.address import Address
from stunroute.errors import ConfigError

from . import settings as settings_of
from .settings import TransceiverSettings

if TYPE_CHECKING:
    from .aio import TransceiverServer

EXTRA = frozenset(
    [
        "google_crc32c",
        "httpx",
        "pylibsrtp",
        "python_multipart",
        "starlette",
        "uvicorn",
        "websockets",
    ]
)
"""What the extra ``transceiver`` brings, by the names of its modules."""
CONFIG_VARIABLE = f"{settings_of.ENVIRONMENT}_CONFIG"


class _Commands(click.Group):
    """Commands that are imported when they are asked for, so that one does not cost the others."""

    elsewhere: Mapping[str, str] = {"demo": "transceiver.demo:demo"}

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """As ever, but a missing extra is one line and not a traceback."""
        try:
            return super().main(*args, **kwargs)
        except ModuleNotFoundError as error:
            if error.name not in EXTRA:
                raise
            extra = "pip install 'stunroute[transceiver]'"
            _refuse(f"needs {error.name}; install the extra: {extra}", 2)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self.elsewhere})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        where = self.elsewhere.get(cmd_name)
        if where is None:
            return super().get_command(ctx, cmd_name)
        module, _, name = where.partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """A WebRTC endpoint that stands behind a stunroute relay."""


def _options(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    options = {}
    for setting in given:
        key, separator, value = setting.partition("=")
        if not separator or not key:
            raise click.BadParameter(f"{setting!r} is not KEY=VALUE")
        options[key] = value
    return options


@main.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    envvar=CONFIG_VARIABLE,
    help="The settings, a TOML file; help(transceiver.settings) describes it. "
    f"[env: {CONFIG_VARIABLE}]",
)
@click.option(
    "--set",
    "options",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_options,
    help="A setting by its dotted key, over the file's and the environment's.",
)
@click.option(
    "--record",
    "directory",
    type=click.Path(path_type=Path),
    help="Write each call into this directory, decryptable by whoever has it. Test tones only!",
)
@click.option("-v", "--verbose", is_flag=True, help="Log each call's beginning and end.")
def serve(
    path: Path | None, options: dict[str, str], directory: Path | None, verbose: bool
) -> None:
    """Answer calls and keep them until told to stop.

    SIGHUP reads the settings again: hint keys, relays, candidates, codecs and most limits change
    for the calls that begin then, API keys and the other nodes at once, and what cannot change
    while the program runs is named in the log.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("transceiver").setLevel(logging.INFO if verbose else logging.WARNING)
    # Whoever sends a signal wants to see that it was heard.
    logging.getLogger("transceiver.serve").setLevel(logging.INFO)
    # It would tell of each bad form that a stranger sends.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    environ = {name: text for name, text in os.environ.items() if name != CONFIG_VARIABLE}

    def load() -> TransceiverSettings:
        return settings_of.load(path, environ, options)

    try:
        asyncio.run(_serve(load, directory))
    except ConfigError as error:
        _refuse(error, 2)
    except _Unbound as error:
        _refuse(error, 1)


@main.command()
@click.argument("name", default="default")
def key(name: str) -> None:
    """Make an API key for the account NAME.

    The key is printed once, and kept nowhere: in the settings goes its hash, which is printed, too.
    """
    from .http.accounts import digest, new_key

    try:
        made = new_key(os.urandom)
        entry = settings_of.ApiKey(name, digest(made))
    except ConfigError as error:
        raise click.BadParameter(f"{name!r} {error.problem}", param_hint="NAME") from None
    click.echo(f"{made}\n")
    click.echo("# For each transceiver's file; the key itself goes to whoever calls.")
    click.echo(f'[[http.keys]]\nname = "{entry.name}"\nsha256 = "{entry.sha256.hex()}"')


def _refuse(problem: object, code: int) -> NoReturn:
    click.echo(f"transceiver: {problem}", err=True)
    sys.exit(code)


class _Unbound(Exception):
    """An address that cannot be had."""


async def _serve(load: Callable[[], TransceiverSettings], directory: Path | None) -> None:
    from stunroute.web import HttpServer

    from .http import EVENT_BYTES
    from .node import assemble

    settings = load()
    stopping = _signals()
    node = assemble(settings, directory)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, node.reload, load)
    http = settings.http
    web = HttpServer(node.app(), http.listen, http.connections, messages=EVENT_BYTES)
    try:
        inner = await _bound("udp.listen", node.server.start())
        outer = await _bound("http.listen", web.start())
        click.echo(
            f"node {settings.cluster}/{settings.node}: "
            f"calls at http://{outer}/v1/realtime/calls, relays at udp {inner}"
        )
        # What is here now stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        await stopping.wait()
        stopping.clear()
        await _until(node.server.stop(node.settings.drain), stopping, node.server)
    finally:
        await node.server.stop()
        await web.stop()
        await node.owners.aclose()
        node.close()


async def _bound(key: str, start: Any) -> Address:
    try:
        bound: Address = await start
    except OSError as error:
        raise _Unbound(f"{key}: cannot be bound: {error.strerror or error}") from None
    return bound


def _signals() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    return told


async def _until(drain: Any, again: asyncio.Event, server: "TransceiverServer") -> None:
    """Drain; being told a second time ends what calls are left at once."""
    draining = asyncio.ensure_future(drain)
    impatient = asyncio.ensure_future(again.wait())
    await asyncio.wait({draining, impatient}, return_when=asyncio.FIRST_COMPLETED)
    impatient.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await impatient
    if not draining.done():
        server.end_all()
    await draining


if __name__ == "__main__":
    main()
