"""Our own server and relay under settings that nobody would choose.

Every bound and every duration of the cores is a number in their configuration. A case that asks
what a bound is for fails where it is one, a case that asks for a duration where it is a tenth or
ten times that.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from conformance.client import seeded
from conformance.drivers import memory
from conformance.drivers import relay as relays
from conformance.mutants.model import swapped
from stunroute.config import RelayConfig
from stunroute.errors import ConfigError
from transceiver.config import EndpointConfig

from .model import Saboteur

_TIMES = {"least": None, "tenth": 0.1, "tenfold": 10.0}


_SHORTEST = 0.02
"""Seconds: with none at all a timer is due again as soon as it was served."""
_LEFT_ALONE = frozenset({"sctp.packet"})
"""No packet is made that fits in less than a header, and its maker tries for ever."""


def _value(old: Any, times: float | None) -> Any:
    new = 0 if times is None else old * times
    return int(max(new, 1)) if isinstance(old, int) else max(new, _SHORTEST)


def _numbers(config: Any) -> Iterable[tuple[str, Any]]:
    """Names and values of what is a number in a configuration, with dots where it is nested."""
    for each in attrs.fields(type(config)):
        value = getattr(config, each.name)
        if attrs.has(type(value)):
            yield from ((f"{each.name}.{name}", number) for name, number in _numbers(value))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield each.name, value


def _changed(config: Any, name: str, value: Any) -> Any:
    head, _, rest = name.partition(".")
    inner = _changed(getattr(config, head), rest, value) if rest else value
    return attrs.evolve(config, **{head: inner})


def _setting(name: str, does: str, owner: Any, config: str, made: Callable[..., Any]) -> Saboteur:
    @contextmanager
    def apply() -> Iterator[None]:
        with swapped(owner, config, made):
            yield

    return Saboteur(name, does, apply)


def _maker(of: Any, name: str, value: Any) -> Callable[..., Any]:
    return lambda **given: _changed(of(**given), name, value)


def _family(area: str, of: Any, given: dict[str, Any], owner: Any) -> Iterable[Saboteur]:
    for name, old in _numbers(of(**given)):
        if name in given or name in _LEFT_ALONE:
            continue
        for how, times in _TIMES.items():
            value = _value(old, times)
            make = _maker(of, name, value)
            try:
                if value == old or make(**given) is None:
                    continue
            except (ConfigError, ValueError):
                continue
            told = f"{area}/{name.replace('_', '-')}-{how}"
            yield _setting(told, f"Its {name} is {value}.", owner, of.__name__, make)


_ENDPOINT: dict[str, Any] = {
    "cluster": 1,
    "node": 7,
    "candidates": (memory.PUBLIC,),
    "relays": frozenset({memory.INNER}),
}


def _nothing_drawn(count: int) -> bytes:
    return bytes(count)


@contextmanager
def _dull() -> Iterator[None]:
    def drawn(name: str) -> Callable[[int], bytes]:
        return _nothing_drawn if name.startswith("endpoint") else seeded(name)

    with swapped(memory, "seeded", drawn):
        yield


SABOTEURS = (
    *_family("endpoint", EndpointConfig, _ENDPOINT, memory),
    *_family("relay-config", RelayConfig, {}, relays),
    Saboteur("endpoint/no-entropy", "All that it draws is zero.", _dull),
)
