"""What may answer the calls of a demo.

A client chooses by the name it gives as its call's model, so each choice is a table of the
transceivers' settings, and one of them is the usual one. Here the demo's command line becomes those
tables and the list that its page shows. What cannot be had is on that list too, with the reason:
whoever looks for it then knows what to install or to add.
"""

import json
import re
from collections.abc import Mapping, Sequence

from attrs import field, frozen

from stunroute.errors import ConfigError

from .backend.audiosocket import AudioSocketOptions
from .backend.python import PythonOptions
from .backend.realtime import RealtimeOptions

ECHO, TALK, OWN = NAMES = ("echo", "talk", "own")
"""By these a call names its backend."""
GREETING = "Hello. Say something, or write to me. You may cut me off."

_SOCKET = re.compile(r"unix:.*|.*:[0-9]+")


@frozen(slots=True)
class Application:
    """A backend by its ``name`` in ``backend.registry``, with its ``options``."""

    name: str
    options: Mapping[str, object] = field(factory=dict, repr=False)


@frozen(slots=True)
class Choice:
    """``title`` and ``detail`` are for people. ``converses``: there are events to see, and somebody
    to interrupt. ``application`` is None where the choice cannot be had; ``missing`` says why."""

    name: str
    title: str
    detail: str
    converses: bool
    application: Application | None
    missing: str = ""

    def shown(self) -> dict[str, object]:
        """What a page is told."""
        return {
            "name": self.name,
            "title": self.title,
            "detail": self.detail,
            "converses": self.converses,
            "missing": self.missing or None,
        }


def application_at(address: str, key_variable: str | None = None) -> Application:
    """What an address of a person's own agent stands for: ``ws://`` and ``wss://`` a Realtime
    server, its key in the environment variable ``key_variable`` if that is given; ``host:port`` and
    ``unix:/path`` an AudioSocket; ``package.module:Class`` a Python class. Raises ConfigError where
    it is none of them; whether anybody is there is not tried."""
    try:
        if "://" in address:
            RealtimeOptions(address, key_variable=key_variable)
            key = {} if key_variable is None else {"key_variable": key_variable}
            return Application("realtime", {"url": address, **key})
        if key_variable is not None:
            raise ConfigError("key", "is for a Realtime server, which this is not")
        if _SOCKET.fullmatch(address):
            AudioSocketOptions(address)
            return Application("audiosocket", {"address": address})
        PythonOptions(address)
        return Application("python", {"agent": address})
    except ConfigError as error:
        raise ConfigError("agent", error.problem) from None


def choices(
    *, delay: float, own: tuple[str, Application] | None, soundless: str = "", speech: bool = True
) -> tuple[Choice, ...]:
    """All there are. ``delay`` is the echo's, in seconds; ``own`` an agent's address and what it
    stands for; ``soundless`` says why sound cannot be decoded here, and is empty where it can;
    ``speech``: whether there is a program that speaks."""
    words = "It speaks" if speech else "It plays a tune for each sentence, as there is no espeak-ng"
    talk = Application("talk", {"greeting": GREETING})
    if own is None:
        address, mine, problem = "none", None, "needs --agent ADDRESS on the demo's command line"
    else:
        (address, mine), problem = own, soundless
    return (
        Choice(
            ECHO,
            "Echo",
            "What you say comes back, packet by packet.",
            False,
            Application("echo", {"delay": delay}),
        ),
        Choice(
            TALK,
            "A talker",
            f"{words}, answers when you stop, and can be interrupted.",
            True,
            None if soundless else talk,
            soundless,
        ),
        Choice(
            OWN,
            "Your own agent",
            f"At {address}.",
            True,
            None if problem else mine,
            problem,
        ),
    )


def usual(found: Sequence[Choice], name: str) -> Choice:
    """The choice for calls that name none. Raises ConfigError where it cannot be had."""
    chosen = next(choice for choice in found if choice.name == name)
    if chosen.application is None:
        raise ConfigError("backend", f"{name} cannot be had: {chosen.missing}")
    return chosen


def tables(found: Sequence[Choice], name: str) -> str:
    """The choices as tables of a transceiver's settings, in TOML; the one with ``name`` is the
    usual one."""
    text = ""
    for choice in found:
        if choice.application is not None:
            text += _table(f"backends.{choice.name}", choice.application)
    application = usual(found, name).application
    assert application is not None
    return _table("backend", application) + text


def _table(name: str, application: Application) -> str:
    options = ", ".join(f"{key} = {_value(each)}" for key, each in application.options.items())
    return f'[{name}]\nname = "{application.name}"\noptions = {{ {options} }}\n'


def _value(value: object) -> str:
    """A string or number in TOML, whose strings are JSON's except that they have no surrogates and
    no bare DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
