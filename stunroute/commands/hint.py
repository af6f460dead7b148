"""``stunroute hint``: keys of the routing hint, and single hints.

What prints keys does so because it was asked for keys, on standard output and nowhere else; no
other command prints any.
"""

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from stunroute.errors import ConfigError
from stunroute.hint import Hint, HintConfiguration, HintError
from stunroute.settings import Configuration
from stunroute.trace import Drop

from . import rotation
from .common import CONFIG_VARIABLE, Commands, config_option, keyring_of, refuse, say, settings_of

T = TypeVar("T", bound=Callable[..., Any])

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def _duration(_: click.Context, __: click.Parameter, text: str) -> timedelta:
    """``90``, ``90s``, ``10m``, ``1h30m``, ``2d``."""
    parts = re.findall(r"(\d{1,9})([smhd]?)", text)
    if not parts or "".join(map("".join, parts)) != text:
        raise click.BadParameter(f"{text!r} is no duration such as 90s, 10m or 1h30m")
    return timedelta(seconds=sum(int(number) * _UNITS[unit] for number, unit in parts))


def _duration_option(name: str, default: str, text: str) -> Callable[[T], T]:
    return click.option(
        name,
        callback=_duration,
        metavar="DURATION",
        default=default,
        show_default=True,
        help=text,
    )


@click.group(cls=Commands)
def hint() -> None:
    """Help with routing hints and their keys."""


@hint.command()
@click.option("--id", "identifier", default="0", help="One character, 0-9 or a-y.")
def keygen(identifier: str) -> None:
    """Print a fresh configuration of keys, ready for the settings file."""
    try:
        fresh = HintConfiguration.generate(identifier, os.urandom)
    except ConfigError as error:
        refuse(error, 2)
    made = Configuration(fresh.identifier, fresh.routing_key, fresh.password_key)
    click.echo(rotation.table(made), nl=False)


@hint.command()
@config_option
@click.argument("cluster", type=click.IntRange(0, (1 << 16) - 1))
@click.argument("node", type=click.IntRange(0, (1 << 32) - 1))
@click.option("--password", is_flag=True, help="Print the ice-pwd on a second line.")
def encode(config: Path | None, cluster: int, node: int, password: bool) -> None:
    """Mint a ufrag for a session on NODE of CLUSTER under the keys of the settings."""
    try:
        keyring = keyring_of(settings_of(config, {}))
    except ConfigError as error:
        refuse(error, 2)
    try:
        ufrag = keyring.mint(cluster, node, os.urandom, time.monotonic())
        lines = [ufrag, keyring.password(ufrag.encode()).decode()] if password else [ufrag]
    except HintError as error:
        refuse(error, 1)
    click.echo("\n".join(lines))


@hint.command()
@config_option
@click.argument("ufrag")
def decode(config: Path | None, ufrag: str) -> None:
    """Say what UFRAG says under the keys of the settings. Exit code 1 if nothing."""
    try:
        keyring = keyring_of(settings_of(config, {}))
    except ConfigError as error:
        refuse(error, 2)
    match keyring.decode_untrusted(ufrag.encode(), time.monotonic()):
        case Hint() as found:
            say(
                "hint",
                configuration=found.configuration,
                cluster=found.cluster,
                node=found.node,
                nonce=found.nonce.hex(),
            )
        case Drop() as reason:
            refuse(f"no hint: {reason.value}", 1)


@hint.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar=CONFIG_VARIABLE,
    required=True,
    help=f"The settings of a relay or a transceiver. [env: {CONFIG_VARIABLE}]",
)
@_duration_option(
    "--lead",
    "10m",
    "Until minting under the new keys begins: as long as it takes to reload every relay.",
)
@_duration_option(
    "--session-cap", "1h", "A call's longest life (transceivers' limits.session.maximum_length)."
)
@_duration_option("--drain", "10m", "What is added to that: drains, and clocks that differ.")
@click.option("--id", "identifier", help="The new id; left out, the next in turn that is free.")
@click.option("--prune", is_flag=True, help="Let go of configurations that have ended.")
@click.option("--write", is_flag=True, help="Edit the file, in place of printing what to add.")
def rotate(
    config: Path,
    lead: timedelta,
    session_cap: timedelta,
    drain: timedelta,
    identifier: str | None,
    prune: bool,
    write: bool,
) -> None:
    """Plan the change to new keys, and say who is to be given what by when.

    The new configuration is printed on standard output, keys and all, or written into the file with
    --write; what there is to do is said on standard error. No call notices a rotation.
    """
    try:
        text = _read(config)
        known = rotation.configurations_of(text)
        planned = rotation.plan(
            known,
            now=datetime.now(UTC),
            lead=lead,
            keep=session_cap + drain,
            entropy=os.urandom,
            identifier=identifier,
            prune=prune,
        )
        if write:
            _replace(config, rotation.edited(text, planned))
    except ConfigError as error:
        refuse(error, 2)
    if not write:
        click.echo(rotation.table(planned.fresh), nl=False)
    else:
        click.echo(f"{config} has configuration {planned.fresh.id} now.", err=True)
    for number, step in enumerate(rotation.instructions(planned), 1):
        click.echo(f"{number}. {step}", err=True)


def _read(path: Path) -> str:
    try:
        # Line ends stay what they are.
        return path.read_bytes().decode()
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(str(path), "is not TOML: it is not UTF-8") from None


def _replace(path: Path, text: str) -> None:
    """All or nothing: a relay that reads the file meanwhile finds the old one or the new one. Its
    mode and, where that is allowed, its owner stay. Raises ConfigError."""
    target = path.resolve()
    try:
        before = target.stat()
        # Made for its owner's eyes alone; it gets its mode when it is whole.
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode())
                with contextlib.suppress(PermissionError):
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
                os.fchmod(file.fileno(), before.st_mode & 0o7777)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise
    except OSError as error:
        raise ConfigError(str(path), f"cannot be written: {error.strerror}") from None
