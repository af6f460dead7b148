"""Cases that cannot fail.

``search`` plays a case on mutants and saboteurs until one makes its oracle say *bad*. To be blocked
is not enough: a case that only ever notices that nothing works says nothing about its question.

What was found is kept in ``killers.toml``, so that one run per case shows that each can still fail.
A case that nothing makes fail is weak, unless ``excused.toml`` says why that is right.
"""

import importlib
import pkgutil
import tomllib
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias
from zlib import crc32

from attrs import frozen

from conformance import catalogue
from conformance.case import Case, Profile, Seen
from conformance.runner import run_case

from . import hunt, saboteurs
from .model import Mutant
from .models import driver_for
from .saboteurs.model import Saboteur

_LIKELY = 16
_DEAD = "DEAD"
"""What vocabularies call a server that answers no more."""
KILLERS = Path(__file__).with_name("killers.toml")
EXCUSED = Path(__file__).with_name("excused.toml")

Breaker: TypeAlias = Mutant | Saboteur


@cache
def breakers() -> Mapping[str, Breaker]:
    """All mutants and then all saboteurs, by name. Raises ValueError where two have the same."""
    found: dict[str, Breaker] = {each.name: each for each in hunt.load()}
    for module in _modules():
        for each in module.SABOTEURS:
            if found.setdefault(each.name, each) is not each:
                raise ValueError(f"two that break a server are named {each.name}")
    return found


def fails(case: Case, breaker: Breaker) -> Seen | None:
    """What the case says of a server that is so broken, if its oracle calls it bad."""
    with breaker.apply():
        seen = run_case(case, driver_for(case)).seen
    return seen if seen in case.bad else None


def search(case: Case) -> str | None:
    """The name of something that makes the case fail; of something that merely kills the server
    only where nothing else does, for that a case can see by its last question.

    The mutants whose case it is are tried first, then what has made most others of its profile
    fail. The rest comes in no order, always the same: neighbours in a family are much alike, and to
    go through one after the other would take longest."""
    known = breakers()
    own = [each.name for each in hunt.load() if each.killer == case.name]
    rest = sorted(
        (name for name in known if _concerns(name, case)),
        key=lambda name: crc32(name.encode()),
    )
    deadly = None
    for name in dict.fromkeys([*own, *_likely(case.profiles), *rest]):
        seen = fails(case, known[name]) if name in known else None
        if seen is not None and seen.name != _DEAD:
            return name
        if seen is not None and deadly is None:
            deadly = name
    return deadly


@cache
def _likely(profiles: tuple[Profile, ...]) -> tuple[str, ...]:
    """What makes most cases of these profiles fail, as far as that is kept."""
    kept = killers()
    found = Counter(
        kept[each.name]
        for each in catalogue.load()
        if each.profiles == profiles and each.name in kept
    )
    return tuple(name for name, _ in found.most_common(_LIKELY))


def _concerns(name: str, case: Case) -> bool:
    """Whether that one is tried: chunks of SCTP say nothing about relays."""
    profiles = _profiles().get(name, ())
    return not profiles or any(each in case.profiles for each in profiles)


@cache
def _profiles() -> Mapping[str, tuple[Profile, ...]]:
    """Of the saboteurs that break one part of a server: whose cases they concern."""
    return {
        each.name: module.PROFILES
        for module in _modules()
        if hasattr(module, "PROFILES")
        for each in module.SABOTEURS
    }


@cache
def _modules() -> tuple[Any, ...]:
    """Of saboteurs, those that concern one part first."""
    prefix = f"{saboteurs.__name__}."
    found = [
        importlib.import_module(module.name)
        for module in pkgutil.iter_modules(saboteurs.__path__, prefix)
    ]
    with_them = [module for module in found if hasattr(module, "SABOTEURS")]
    return tuple(sorted(with_them, key=lambda module: not hasattr(module, "PROFILES")))


@frozen(slots=True)
class Sight:
    """What is known of a case. ``killer`` names what makes it fail, None where nothing does.
    ``excuse`` is why that is right, None where nobody has said so."""

    case: str
    killer: str | None
    excuse: str | None

    @property
    def fault(self) -> str | None:
        """What is wrong, in a few words."""
        if self.killer is None and self.excuse is None:
            return "nothing makes it fail"
        if self.killer is not None and self.excuse is not None:
            return f"is excused, though {self.killer} makes it fail"
        return None


def look(name: str) -> Sight:
    """Search for what makes the case of that name fail, beginning with what is kept."""
    case = next(each for each in catalogue.load() if each.name == name)
    kept = killers().get(name, "")
    if kept not in breakers() or fails(case, breakers()[kept]) is None:
        kept = search(case) or ""
    return Sight(name, kept or None, excused().get(name))


def killers() -> dict[str, str]:
    """What was found for each case, by the case's name."""
    return dict(tomllib.loads(KILLERS.read_text("utf-8")))


def excused() -> dict[str, str]:
    """The reason for each case that nothing makes fail, by its name."""
    groups = tomllib.loads(EXCUSED.read_text("utf-8")).get("excused", [])
    return {name: group["reason"] for group in groups for name in group["cases"]}


def write_killers(found: Mapping[str, str]) -> None:
    """Keep what was found."""
    lines = [f'"{name}" = "{found[name]}"\n' for name in sorted(found)]
    KILLERS.write_text(_HEAD + "".join(lines), "utf-8")


_HEAD = """\
# What makes each case fail: a mutant or a saboteur. Written by
# `conformance mutants --weak --write`.

"""
