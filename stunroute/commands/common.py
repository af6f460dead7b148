"""What commands have in common: where settings come from, and how things are said.

Exit codes: 0 after what was asked for, 1 where it cannot be had (an address is taken, no relay
answers), 2 where what was asked for makes no sense. Every complaint is one line on standard error.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import click

from stunroute.config import load
from stunroute.hint import KeyRing
from stunroute.settings import RelaySettings

PREFIX = "STUNROUTE_RELAY"
CONFIG_VARIABLE = f"{PREFIX}_CONFIG"

EXTRAS = {
    "redis": "store",
    "prometheus_client": "operations",
    "starlette": "operations",
    "uvicorn": "operations",
    "rich": "operations",
}
"""Which extra brings a module."""

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar=CONFIG_VARIABLE,
    help=f"The settings, a TOML file; help(stunroute.settings) describes it. "
    f"[env: {CONFIG_VARIABLE}]",
)


class Commands(click.Group):
    """A group in which a missing extra is one line and not a traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **kwargs)
        except ModuleNotFoundError as error:
            name = (error.name or "").partition(".")[0]
            if name not in EXTRAS:
                raise
            refuse(f"needs {name}; install the extra: pip install 'stunroute[{EXTRAS[name]}]'", 2)


def settings_of(config: Path | None, options: Mapping[str, object]) -> RelaySettings:
    """From the file, over it the environment, over both ``options``. Raises ConfigError."""
    environ = {name: text for name, text in os.environ.items() if name != CONFIG_VARIABLE}
    return load(RelaySettings, path=config, environ=environ, prefix=PREFIX, options=options)


def keyring_of(settings: RelaySettings) -> KeyRing:
    """On this machine's monotonic clock. Raises ConfigError."""
    return settings.hint.keyring(wall=time.time(), now=time.monotonic())


def refuse(problem: object, code: int) -> NoReturn:
    """Say what is wrong in one line, and leave."""
    click.echo(f"stunroute: {problem}", err=True)
    sys.exit(code)


def say(event: str, /, **facts: object) -> None:
    """One structured line on standard output."""
    click.echo(json.dumps({"event": event, **facts}))
