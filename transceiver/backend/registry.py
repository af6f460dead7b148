"""Backends that configuration can name.

A program that embeds the transceiver hands over a ``BackendFactory`` of its own (or an agent's,
through ``line.on_line``) and needs none of this. The modules of agents are imported when one is
asked for: not every transceiver has the libraries that each of them needs.
"""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from attrs import define, field

from stunroute.config import load
from stunroute.errors import ConfigError
from transceiver.config import RealtimeLimits, VoiceLimits
from transceiver.voice import codec

from .agent import AgentFactory
from .interface import Backend, BackendFactory, Call
from .line import on_line

Options = Mapping[str, object]
_T = TypeVar("_T")


def _options(kind: type[_T], options: Options) -> _T:
    return load(kind, path=None, environ={}, prefix="", options=options)


def _echo(options: Options) -> AgentFactory:
    from . import echo

    return echo.factory(_options(echo.EchoOptions, options))


def _realtime(options: Options) -> AgentFactory:
    from . import realtime

    return realtime.factory(_options(realtime.RealtimeOptions, options))


def _audiosocket(options: Options) -> AgentFactory:
    from . import audiosocket

    return audiosocket.factory(_options(audiosocket.AudioSocketOptions, options))


def _python(options: Options) -> AgentFactory:
    from . import python

    return python.factory(_options(python.PythonOptions, options))


def _talk(options: Options) -> AgentFactory:
    from . import talk

    return talk.factory(_options(talk.TalkOptions, options))


AGENTS: Mapping[str, Callable[[Options], AgentFactory]] = {
    "audiosocket": _audiosocket,
    "echo": _echo,
    "python": _python,
    "realtime": _realtime,
    "talk": _talk,
}
"""What ``backend.name`` may be, and what makes it of ``backend.options``."""
_PACKETS = frozenset({"echo"})
"""Those that take the audio as it comes and need no library to decode it."""


class Wanted(Protocol):
    """A backend's name and options (``settings.BackendSettings``)."""

    @property
    def name(self) -> str: ...

    @property
    def options(self) -> dict[str, object]: ...


@define(slots=True, eq=False)
class Chosen:
    """Gives each call the backend of the model that it asks for, or the usual one."""

    usual: BackendFactory
    by_model: Mapping[str, BackendFactory] = field(factory=dict)

    def __call__(self, call: Call) -> Backend:
        return self.by_model.get(call.request.model or "", self.usual)(call)


def named(
    name: str,
    options: Options,
    *,
    voice: VoiceLimits | None = None,
    events: RealtimeLimits | None = None,
    key: str = "backend",
) -> BackendFactory:
    """The backend that the settings ``backend.name`` and ``backend.options`` ask for. Raises
    ConfigError under those keys, also where it needs sound and there is nothing to decode with."""
    make = AGENTS.get(name)
    if make is None:
        raise ConfigError(f"{key}.name", f"is {name!r}; there is {', '.join(sorted(AGENTS))}")
    if name not in _PACKETS:
        try:
            codec.require()
        except codec.VoiceUnavailable as error:
            raise ConfigError(f"{key}.name", f"is {name!r}: {error}") from None
    try:
        return on_line(make(options), voice, events)
    except ConfigError as error:
        raise ConfigError(f"{key}.options.{error.key}", error.problem) from None


def configured(
    usual: Wanted,
    by_model: Mapping[str, Wanted],
    voice: VoiceLimits | None = None,
    events: RealtimeLimits | None = None,
) -> Chosen:
    """What the settings ``backend`` and ``backends`` come to. Raises ConfigError."""

    def make(wanted: Wanted, key: str) -> BackendFactory:
        return named(wanted.name, wanted.options, voice=voice, events=events, key=key)

    return Chosen(
        make(usual, "backend"),
        {model: make(wanted, f"backends.{model}") for model, wanted in by_model.items()},
    )
