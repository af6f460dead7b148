"""Settings: where they come from, what is wrong with them, and the relay's bounds.

A program's settings are one attrs class, nested as far as it likes. ``load`` fills it from a TOML
file, then from the environment, then from command-line options, each over the one before, and
refuses with one line whatever it does not understand: a misspelt key that is ignored is found on
the day the default hurts. No message quotes a value, because it could be a key.

The environment variable of ``limits.flows`` under the prefix ``STUNROUTE_RELAY`` is
``STUNROUTE_RELAY_LIMITS__FLOWS``; a number names an entry of a list, as in
``STUNROUTE_RELAY_HINT__CONFIGURATIONS__0__PASSWORD_KEY``. A list of plain values may be written
with commas.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import datetime
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_origin

import cattrs
from attrs import Attribute, field, fields, frozen
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ForbiddenExtraKeysError,
    IterableValidationNote,
)

from .address import Address
from .errors import ConfigError

T = TypeVar("T")

_PORT_RANGE = re.compile(r"(.*:[0-9]+)-([0-9]{1,5})")

# Kubernetes tells every container of a service called stunroute-relay by variables such as
# STUNROUTE_RELAY_SERVICE_HOST and STUNROUTE_RELAY_PORT_3478_UDP. Nobody meant them as settings.
_SERVICE_LINK = re.compile(r"SERVICE_(HOST|PORT)(_.*)?|PORT(_.*)?")


class Verify(Enum):
    """Where MESSAGE-INTEGRITY of a check is verified: at the ``EDGE``, before the check makes or
    refreshes any state, or by the ``OWNER`` of the session alone."""

    EDGE = "edge"
    OWNER = "owner"


def redacted(value: object) -> str:
    """What stands in a ``repr`` in place of a secret; whether there is one may be known."""
    return "None" if value is None else "<redacted>"


def at_least(minimum: float) -> Callable[[object, "Attribute[Any]", Any], None]:
    """An attrs validator for numbers. Raises ConfigError under the attribute's name."""

    def validate(_: object, attribute: "Attribute[Any]", value: Any) -> None:
        if not value >= minimum:
            raise ConfigError(attribute.name, f"is less than {minimum:g}")

    return validate


def between(minimum: float, maximum: float) -> Callable[[object, "Attribute[Any]", Any], None]:
    """As ``at_least``, with an end above."""
    check_least = at_least(minimum)

    def validate(instance: object, attribute: "Attribute[Any]", value: Any) -> None:
        check_least(instance, attribute, value)
        if value > maximum:
            raise ConfigError(attribute.name, f"is more than {maximum:.0f}")

    return validate


SOCKET_BUFFER = 2**31 - 1
"""The most that the kernel can be asked for."""


@frozen(slots=True)
class RelayConfig:
    """The bounds and durations of the relay's core. Durations are seconds."""

    verify: Verify | None = None
    """None: at the edge for every hint configuration whose password key is known here."""
    flows: int = field(default=1_000_000, validator=at_least(1))
    """Live flows; a check of one more client is dropped (``FLOWS_FULL``)."""
    idle_timeout: float = field(default=30.0, validator=at_least(0.001))
    """Length of a generation: a flow is forgotten when it was silent through a whole one, that is
    after between one and two times this long. Clients may leave 5 s between checks."""
    takeover_idle: float = field(default=10.0, validator=at_least(0))
    """How long a flow's owner or its session's checks must have been silent before another session
    may take the client address over."""
    takeover_unchecked: float = field(default=15.0, validator=at_least(0))
    """How long the client's checks must have named another next hop alone before that session may
    take over from an owner that still sends. Clients check every 6 s at the latest (RFC 7675, 5.1),
    so the default outlasts a lost check, which nobody who forges addresses can bring about. An
    owner whose client has left would else hold the address until its consent ends, after 30 s. From
    a client that sends no checks, against that RFC, whoever forges its address and has a session
    can take it after this long; a large number keeps such clients safe."""
    contenders: int = field(default=65_536, validator=at_least(1))
    """Client addresses with a second session that waits to take over; a check of one more is
    dropped (``FLOWS_FULL``)."""
    ssrcs_per_flow: int = field(default=4, validator=at_least(0))
    """Synchronisation sources remembered of a flow, so that its RTP is known again behind a rebound
    NAT; later ones are not learnt."""
    ssrc_peeks: int = field(default=16, validator=at_least(0))
    """Packets of a new flow that are looked at for an SSRC."""
    ssrc_peeks_later: int = field(default=2, validator=at_least(0))
    """The same in each later generation of a flow."""
    sources_elsewhere: int = field(default=65_536, validator=between(0, 1 << 20))
    """Synchronisation sources of other workers' flows that are remembered, and of own ones that
    wait to be told to them."""
    by_ssrc_rate: float = field(default=10_000.0, validator=at_least(0))
    """Packets per second, and at once, that are routed by SSRC; more are dropped (``NO_FLOW``)."""
    by_source_rate: float = field(default=500.0, validator=at_least(0.001))
    """The same for each SSRC by itself, so that who has a call of his own cannot use up what all
    others have; counted for as many as ``by_ssrc_rate`` lets through in a second."""
    heal_rate: float = field(default=5_000.0, validator=at_least(0))
    """Flows per second that packets from transceivers may make; more are dropped
    (``LEG_HEAL_RATE``). The clients that were left out have another packet 20 ms later."""
    heal_burst: float = field(default=10_000.0, validator=at_least(0))
    """How many of them at once."""
    edge_keys: int = field(default=65_536, validator=between(1, 1 << 30))
    """Derived passwords that are remembered; the one longest unused is derived again."""
    edge_rate: float = field(default=1_000.0, validator=at_least(1))
    """Checks per second that are verified for one network (IPv4 /24, IPv6 /56), and apart from it
    for one client whose flow has been verified before; more are dropped (``EDGE_RATE``)."""
    edge_burst: float = field(default=2_000.0, validator=at_least(1))
    """How many of them at once."""
    edge_networks: int = field(default=16_384, validator=at_least(1))
    """Networks that are counted apart at a time; all others share what one of them has."""
    session_rate: float = field(default=4.0, validator=at_least(0.001))
    """Flows and contenders per second that the checks of one session may make, from one address
    each; more are dropped (``SESSION_RATE``). A client has few addresses, but who has recorded a
    check can send it from all there are."""
    session_burst: float = field(default=64.0, validator=at_least(1))
    """How many of them at once."""
    sessions: int = field(default=65_536, validator=at_least(1))
    """Sessions that are counted at a time; of more, those that made a flow last."""
    cached: int = field(default=131_072, validator=at_least(1))
    """Answers that the batched adapter keeps for each socket; when there are more it begins
    anew."""
    legs: int = field(default=65_536, validator=between(1, 1 << 30))
    """Headers of the leg that are remembered; the one longest unused is read again."""
    store: bool = False
    """Whether a store is attached; without one nothing waits and no changes are queued."""
    waiting_clients: int = field(default=1_024, validator=at_least(0))
    """Unknown clients whose packets wait for the store's answer; of more, packets are dropped."""
    waiting_packets: int = field(default=8, validator=at_least(1))
    """Packets that wait per client; more are dropped."""
    waiting_time: float = field(default=0.25, validator=at_least(0))
    """How long they wait."""
    lookup_rate: float = field(default=10_000.0, validator=at_least(0))
    """Unknown clients that the store is asked for in a second, and at once; packets of more are
    dropped. To ask for one costs many times what to drop its packet does."""
    changes: int = field(default=65_536, validator=at_least(1))
    """Changes queued for the store; a newer one is not queued, and counted."""


def load(
    schema: type[T],
    *,
    path: Path | None,
    environ: Mapping[str, str],
    prefix: str,
    options: Mapping[str, object],
) -> T:
    """The settings of ``schema`` from the TOML file ``path`` (if any), the variables of ``environ``
    that begin with ``prefix`` and an underscore, and ``options``, whose keys are dotted names and
    of which those that are None count as not given.

    Raises ConfigError naming the dotted key of the first thing wrong, or the file.
    """
    document = _read(path) if path is not None else {}
    for name, text in sorted(environ.items()):
        if prefix and name.startswith(f"{prefix}_"):
            rest = name[len(prefix) + 1 :]
            if rest and not _SERVICE_LINK.fullmatch(rest):
                _put(document, rest.lower().split("__"), text)
    for key, value in options.items():
        if value is not None:
            _put(document, key.split("."), value)
    try:
        return _converter().structure(document, schema)
    except Exception as error:
        raise _located(error) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(path), f"is not TOML: {error}") from None
    except UnicodeDecodeError:
        raise ConfigError(str(path), "is not TOML: it is not UTF-8") from None
    except RecursionError:
        raise ConfigError(str(path), "is nested too deeply") from None
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from None


def _put(document: dict[str, Any], keys: list[str], value: object) -> None:
    """Set a value deep in a document, making the tables on the way there."""
    here: dict[str, Any] | list[Any] = document
    for depth, key in enumerate(keys[:-1]):
        wants_list = keys[depth + 1].isdecimal()
        fresh: dict[str, Any] | list[Any] = [] if wants_list else {}
        here = _step(here, key, fresh, keys)
    if isinstance(here, dict):
        here[keys[-1]] = value
    else:
        index = _index(here, keys[-1], keys)
        here[index : index + 1] = [value]


def _step(
    here: dict[str, Any] | list[Any], key: str, fresh: dict[str, Any] | list[Any], keys: list[str]
) -> dict[str, Any] | list[Any]:
    if isinstance(here, dict):
        there = here.setdefault(key, fresh)
    else:
        index = _index(here, key, keys)
        if index == len(here):
            here.append(fresh)
        there = here[index]
    if not isinstance(there, dict | list):
        raise ConfigError(".".join(keys), "lies below a key that is no table")
    return there


def _index(here: list[Any], key: str, keys: list[str]) -> int:
    if not key.isdecimal() or int(key) > len(here):
        raise ConfigError(".".join(keys), f"{key!r} is not the number of an entry or of the next")
    return int(key)


# Structuring. cattrs would convert (``int("7")``, ``bool("no")``); a setting is taken as it is
# meant or refused, except that the environment can only say everything as text.


def _integer(value: object, _: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9_]+", value):
        return int(value)
    raise ValueError("is not a whole number")


def _number(value: object, _: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    raise ValueError("is not a number")


def _boolean(value: object, _: object) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise ValueError("is neither true nor false")


def _text(value: object, _: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError("is not text")


def _octets(value: object, _: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return bytes.fromhex(value)
        except ValueError:
            pass
    raise ValueError("is not hexadecimal text")


def _path(value: object, _: object) -> Path:
    if isinstance(value, Path):
        return value
    if isinstance(value, str) and value:
        return Path(value)
    raise ValueError("is not a path")


def _address(value: object, _: object) -> Address:
    if isinstance(value, Address):
        return value
    if isinstance(value, str):
        try:
            return Address.parse(value)
        except ValueError:
            pass
    raise ValueError("is not IP:PORT or [IP]:PORT")


def _addresses(value: object) -> list[Address]:
    """An address in a list may stand for those of consecutive ports, ``IP:FIRST-LAST``: so are the
    inner addresses of a relay's workers."""
    if not isinstance(value, str) or not (found := _PORT_RANGE.fullmatch(value)):
        return [_address(value, Address)]
    first = _address(found[1], Address)
    last = int(found[2])
    if not first.port <= last < 65536:
        raise ValueError("ends before its first port or after 65535")
    return [Address(first.host, port) for port in range(first.port, last + 1)]


def _moment(value: object, _: object) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("is not a date and time") from None
    if not isinstance(value, datetime):
        raise ValueError("is not a date and time")
    if value.tzinfo is None:
        raise ValueError("has no UTC offset; write ...Z")
    return value


def _member(value: object, enum: type[Enum]) -> Enum:
    if isinstance(value, enum):
        return value
    for member in enum:
        if member.value == value:
            return member
    raise ValueError(f"is not one of {', '.join(str(member.value) for member in enum)}")


def _is_sequence(type_: Any) -> bool:
    origin, arguments = get_origin(type_), get_args(type_)
    if origin is tuple:
        return len(arguments) == 2 and arguments[1] is Ellipsis
    return origin in (list, frozenset)


def _sequence_hook(type_: Any, converter: cattrs.Converter) -> Callable[[object, Any], Any]:
    element = get_args(type_)[0]
    collect = get_origin(type_)
    structure = converter.get_structure_hook(element)

    def hook(value: object, _: Any) -> Any:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, list | tuple | frozenset):
            raise ValueError("is not a list")
        entries = []
        for index, entry in enumerate(value):
            try:
                if element is Address:
                    entries.extend(_addresses(entry))
                else:
                    entries.append(structure(entry, element))
            except Exception as error:
                raise _located(error, str(index)) from None
        return collect(entries)

    return hook


def _class_hook(type_: Any, converter: cattrs.Converter) -> Callable[[object, Any], Any]:
    structure = cattrs.gen.make_dict_structure_fn(
        type_, converter, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True
    )

    def hook(value: object, target: Any) -> Any:
        if isinstance(value, type_):
            return value
        if not isinstance(value, Mapping):
            raise ValueError("is not a table")
        return structure(cast("Mapping[str, Any]", value), target)

    return hook


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=True)
    hooks: tuple[tuple[type, Callable[[object, Any], Any]], ...] = (
        (int, _integer),
        (float, _number),
        (bool, _boolean),
        (str, _text),
        (bytes, _octets),
        (Path, _path),
        (Address, _address),
        (datetime, _moment),
    )
    for type_, hook in hooks:
        # By exact type: only so does it replace cattrs' own hook for the primitive ones.
        converter.register_structure_hook(type_, hook)
    converter.register_structure_hook_func(lambda t: t is object, lambda value, _: value)
    converter.register_structure_hook_func(
        lambda t: isinstance(t, type) and issubclass(t, Enum), _member
    )
    converter.register_structure_hook_factory(_is_sequence, _sequence_hook)
    converter.register_structure_hook_factory(
        lambda t: hasattr(t, "__attrs_attrs__") and t is not Address, _class_hook
    )
    return converter


# Errors. cattrs collects everything that is wrong in nested groups; the first one is reported.


def _located(error: Exception, *path: str) -> ConfigError:
    """``error`` as a ConfigError whose key is the dotted way to it."""
    if isinstance(error, BaseValidationError):
        first = min(error.exceptions, key=_urgency)
        step = _step_of(first)
        return _located(first, *path, step) if step is not None else _located(first, *path)
    if isinstance(error, ForbiddenExtraKeysError):
        return _unknown_key(error, path)
    if isinstance(error, ConfigError):
        return ConfigError(".".join((*path, error.key)), error.problem)
    key = ".".join(path) or "settings"
    if isinstance(error, KeyError):
        return ConfigError(key, "is missing")
    if isinstance(error, ValueError) and type(error) is ValueError:
        return ConfigError(key, " ".join(str(error).split()))
    return ConfigError(key, "is not valid")


def _urgency(error: Exception) -> int:
    """A misspelt key is told first: it is often the reason why another one is missing."""
    return 0 if isinstance(error, ForbiddenExtraKeysError) else 1


def _step_of(error: Exception) -> str | None:
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return note.name
        if isinstance(note, IterableValidationNote):
            return str(note.index)
    return None


def _unknown_key(error: ForbiddenExtraKeysError, path: tuple[str, ...]) -> ConfigError:
    name = min(error.extra_fields)
    known = [attribute.name for attribute in fields(error.cl)]
    near = get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return ConfigError(".".join((*path, name)), f"is not a setting{hint}")
