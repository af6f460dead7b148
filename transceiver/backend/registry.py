"""Backends that configuration can name.

A program that embeds the transceiver hands over a ``BackendFactory`` of its own and needs none of
this.
"""

from collections.abc import Callable, Mapping

from stunroute.config import load
from stunroute.errors import ConfigError

from .echo import EchoOptions
from .echo import factory as echo
from .interface import BackendFactory


def _echo(options: Mapping[str, object]) -> BackendFactory:
    return echo(load(EchoOptions, path=None, environ={}, prefix="", options=options))


BACKENDS: Mapping[str, Callable[[Mapping[str, object]], BackendFactory]] = {"echo": _echo}
"""What ``backend.name`` may be, and what makes it of ``backend.options``."""


def named(name: str, options: Mapping[str, object]) -> BackendFactory:
    """The backend that the settings ``backend.name`` and ``backend.options`` ask for. Raises
    ConfigError under those keys."""
    make = BACKENDS.get(name)
    if make is None:
        raise ConfigError("backend.name", f"is {name!r}; there is {', '.join(sorted(BACKENDS))}")
    try:
        return make(options)
    except ConfigError as error:
        raise ConfigError(f"backend.options.{error.key}", error.problem) from None
