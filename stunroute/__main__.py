"""The command line: ``stunroute relay`` and the helpers of ``stunroute hint``.

Exit codes: 0 after a stop that was asked for, 1 when the relay cannot run (an address is taken), 2
when it was told something that makes no sense. Every complaint is one line on standard error.
"""

import asyncio
import gc
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

import click
from attrs import asdict

from .config import load
from .errors import ConfigError
from .hint import Hint, HintConfiguration, KeyRing
from .relay import Relay
from .settings import RelaySettings
from .trace import Drop
from .udp.plain import RelayServer

PREFIX = "STUNROUTE_RELAY"
CONFIG_VARIABLE = f"{PREFIX}_CONFIG"

_CONFIG = click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar=CONFIG_VARIABLE,
    help="The settings, a TOML file. [env: STUNROUTE_RELAY_CONFIG]",
)


def _settings(config: Path | None, options: dict[str, object]) -> RelaySettings:
    environ = {name: text for name, text in os.environ.items() if name != CONFIG_VARIABLE}
    return load(RelaySettings, path=config, environ=environ, prefix=PREFIX, options=options)


def _keyring(settings: RelaySettings) -> KeyRing:
    return settings.hint.keyring(wall=time.time(), now=time.monotonic())


def _refuse(problem: object, code: int) -> NoReturn:
    click.echo(f"stunroute: {problem}", err=True)
    sys.exit(code)


def _say(event: str, **facts: object) -> None:
    """One structured line on standard output."""
    click.echo(json.dumps({"event": event, **facts}))


@click.group()
@click.version_option(package_name="stunroute", prog_name="stunroute", version="0.1.0")
def main() -> None:
    """A UDP relay that routes WebRTC by the ICE ufrag."""


@main.command()
@_CONFIG
@click.option("--inner", metavar="IP:PORT", help="Where transceivers reach the relay.")
@click.option("--listen", metavar="IP:PORT", multiple=True, help="A public address; repeatable.")
@click.option("--verify", metavar="edge|owner", help="Who checks MESSAGE-INTEGRITY.")
@click.option("--set", "pairs", metavar="KEY=VALUE", multiple=True, help="Any setting, dotted.")
@click.option("--check", is_flag=True, help="Only say whether the settings make sense.")
def relay(
    config: Path | None,
    inner: str | None,
    listen: tuple[str, ...],
    verify: str | None,
    pairs: tuple[str, ...],
    check: bool,
) -> None:
    """Run the relay until SIGTERM or SIGINT.

    Settings come from the file, then from STUNROUTE_RELAY_SECTION__KEY in the environment, then
    from options.
    """
    options: dict[str, object] = {"inner": inner, "verify": verify}
    if listen:
        options["listen"] = [{"bind": address} for address in listen]
    try:
        for pair in pairs:
            key, separator, value = pair.partition("=")
            if not separator:
                raise ConfigError("--set", "is not KEY=VALUE")
            options[key] = value
        settings = _settings(config, options)
        keyring = _keyring(settings)
        directory = settings.directory.build()
        Relay(settings.core, keyring, directory)
    except ConfigError as error:
        _refuse(error, 2)
    if check:
        click.echo("stunroute: the settings make sense")
        return
    server = RelayServer(settings, keyring, directory)
    try:
        asyncio.run(_run(server))
    except OSError as error:
        _refuse(f"cannot start: {error.strerror or error}", 1)


async def _run(server: RelayServer) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await server.start()
    gc.collect()
    gc.freeze()  # what exists now lives as long as the program; no need to look at it again
    _say(
        "started",
        listen=[str(public.address) for public in server.public.values()],
        advertise=[str(address) for address in server.public],
        inner=str(server.inner.address),
        pid=os.getpid(),
    )
    try:
        await stopped.wait()
    finally:
        await server.close()
        counters = asdict(server.relay.counters, filter=lambda a, _: a.name != "drops")
        drops = {drop.value: n for drop, n in server.relay.counters.drops.most_common()}
        _say(
            "stopped",
            flows=server.relay.flows,
            **counters,
            socket_errors=server.sockets.errors,
            drops=drops,
        )


@main.group()
def hint() -> None:
    """Help with routing hints."""


@hint.command()
@click.option("--id", "identifier", default="0", help="One character, 0-9 or a-y.")
def keygen(identifier: str) -> None:
    """Print a fresh configuration of keys, ready for the settings file."""
    try:
        fresh = HintConfiguration.generate(identifier, os.urandom)
    except ConfigError as error:
        _refuse(error, 2)
    click.echo("[[hint.configurations]]")
    click.echo(f'id = "{fresh.identifier}"')
    click.echo(f'routing_key = "{fresh.routing_key.hex()}"')
    click.echo(f'password_key = "{(fresh.password_key or b"").hex()}"')


@hint.command()
@_CONFIG
@click.argument("ufrag")
def decode(config: Path | None, ufrag: str) -> None:
    """Say what UFRAG says under the keys of the settings. Exit code 1 if nothing."""
    try:
        keyring = _keyring(_settings(config, {}))
    except ConfigError as error:
        _refuse(error, 2)
    match keyring.decode_untrusted(ufrag.encode(), time.monotonic()):
        case Hint() as found:
            _say(
                "hint",
                configuration=found.configuration,
                cluster=found.cluster,
                node=found.node,
                nonce=found.nonce.hex(),
            )
        case Drop() as reason:
            _refuse(f"no hint: {reason.value}", 1)


if __name__ == "__main__":
    main()
