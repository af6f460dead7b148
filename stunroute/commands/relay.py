"""``stunroute relay``: the supervisor with its workers, and what operators reach it by.

Metrics, health and the admin socket are the supervisor's, on its loop: they answer while a worker
is being replaced, and no worker waits for whoever reads them. They are there before the first
worker is, so that a probe is told that the relay is starting rather than nothing.
"""

import asyncio
import contextlib
import importlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import click

from stunroute.errors import ConfigError
from stunroute.operations import log
from stunroute.operations.watch import Watch
from stunroute.settings import Operations, RelaySettings
from stunroute.status import Happening, RelayStatus
from stunroute.store import Store
from stunroute.udp.supervisor import Supervisor, check

from .common import config_option, refuse, say, settings_of

_log = logging.getLogger("stunroute")
_flows_log = logging.getLogger(log.HAPPENINGS)


@click.command()
@config_option
@click.option("--inner", metavar="IP:PORT", help="Where transceivers reach the relay.")
@click.option("--listen", metavar="IP:PORT", multiple=True, help="A public address; repeatable.")
@click.option("--verify", metavar="edge|owner", help="Who checks MESSAGE-INTEGRITY.")
@click.option("--workers", metavar="N", help="Processes on the public port, one per core.")
@click.option("--http", metavar="IP:PORT", help="Where /metrics, /healthz and /readyz are.")
@click.option("--admin", metavar="PATH", help="The admin socket, for stunroute top and flows.")
@click.option("--log", metavar="text|json", help="How log lines on standard error look.")
@click.option("--set", "pairs", metavar="KEY=VALUE", multiple=True, help="Any setting, dotted.")
@click.option("-v", "--verbose", is_flag=True, help="Log what happens to flows, too.")
@click.option(
    "--check", "only_check", is_flag=True, help="Only say whether the settings make sense."
)
def relay(
    config: Path | None,
    listen: tuple[str, ...],
    pairs: tuple[str, ...],
    verbose: bool,
    only_check: bool,
    **plain: str | None,
) -> None:
    """Run the relay until SIGTERM or SIGINT.

    Settings come from the file, then from STUNROUTE_RELAY_SECTION__KEY in the environment, then
    from options. SIGHUP reads them again: hint keys, next hops and limits change between two
    packets, and what cannot change while the relay runs is named in the log.
    """
    try:
        load = _loader(config, listen, pairs, plain)
        settings = load()
        check(settings)
        make_store = _store_maker(settings)
    except ConfigError as error:
        refuse(error, 2)
    if only_check:
        click.echo("stunroute: the settings make sense")
        return
    log.set_up(settings.operations.log, verbose=verbose)
    try:
        asyncio.run(_run(load, settings.operations, make_store))
    except ConfigError as error:
        refuse(error, 2)
    except OSError as error:
        refuse(f"cannot start: {error.strerror or error}", 1)


def _loader(
    config: Path | None,
    listen: tuple[str, ...],
    pairs: tuple[str, ...],
    plain: dict[str, str | None],
) -> Callable[[], RelaySettings]:
    """What reads the settings, now and at each reload. Raises ConfigError."""
    where = {"http": "operations.http", "admin": "operations.admin", "log": "operations.log"}
    options: dict[str, object] = {where.get(name, name): text for name, text in plain.items()}
    if listen:
        options["listen"] = [{"bind": address} for address in listen]
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            raise ConfigError("--set", "is not KEY=VALUE")
        options[key] = value
    return lambda: settings_of(config, options)


def _store_maker(settings: RelaySettings) -> Callable[[RelaySettings], Store | None]:
    """What makes a worker's store. Raises ConfigError where none could be made."""
    from stunroute.store.redis import check_store, make_store

    check_store(settings.store)
    if settings.store is not None:
        # A worker that is replaced has the library then, and need not read it from the disk.
        importlib.import_module("stunroute.store.client")
    return lambda current: make_store(current.store)


async def _run(
    load: Callable[[], RelaySettings],
    operations: Operations,
    make_store: Callable[[RelaySettings], Store | None],
) -> None:
    watch = Watch()
    reached: dict[str, str | None] = {}

    def announce(event: str, /, **facts: object) -> None:
        say(event, **facts, **(reached if event == "started" else {}))

    supervisor = Supervisor(
        load,
        make_store=make_store,
        say=announce,
        log=_report,
        watch=lambda status: _look(watch, status),
    )
    async with _reachable(operations, watch, supervisor) as names:
        reached.update(names)
        await supervisor.run()


def _report(happening: Happening) -> None:
    _log.info("%s", happening.text)


def _look(watch: Watch, status: RelayStatus) -> None:
    """Show a picture. It comes from the supervisor's beat, which must go on whatever is wrong with
    the view of things."""
    try:
        for happening in watch.see(status):
            _flows_log.info("%s", happening.text)
    except Exception:
        _log.exception("a picture of the relay could not be shown")


@contextlib.asynccontextmanager
async def _reachable(
    operations: Operations, watch: Watch, supervisor: Supervisor
) -> AsyncIterator[dict[str, str | None]]:
    """Serve what operators asked for. Gives where, by the names of the settings. Raises OSError."""
    async with contextlib.AsyncExitStack() as stack:
        names: dict[str, str | None] = {"http": None, "admin": None}
        if operations.http is not None:
            from stunroute.operations.http import server

            web = server(watch, supervisor, operations.http)
            names["http"] = str(await web.start())
            stack.push_async_callback(web.stop)
        if operations.admin is not None:
            from stunroute.operations.admin import AdminServer

            admin = AdminServer(operations.admin, watch, supervisor)
            await admin.start()
            names["admin"] = str(operations.admin)
            stack.push_async_callback(admin.stop)
        yield names
