"""All mutants, and which cases notice them.

A case that fails on the whole server as well has noticed nothing; so the whole one is asked first,
and what it does not pass counts for no mutant.
"""

import importlib
import pkgutil
from collections.abc import Iterable
from functools import cache

from attrs import frozen

from conformance import mutants
from conformance.case import Case, Verdict
from conformance.drivers.memory import MemoryDriver
from conformance.runner import run_case

from .model import Mutant

NOTICED = frozenset({Verdict.FAIL, Verdict.BLOCKED})
"""A case that is blocked has noticed something, though it cannot say what."""


@cache
def load() -> tuple[Mutant, ...]:
    """Every mutant, sorted by name. Raises ValueError where two have the same one."""
    found: dict[str, Mutant] = {}
    for module in pkgutil.walk_packages(mutants.__path__, f"{mutants.__name__}."):
        if module.name == __name__:
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Mutant) and found.setdefault(value.name, value) is not value:
                raise ValueError(f"two mutants are named {value.name}")
    return tuple(found[name] for name in sorted(found))


@frozen(slots=True)
class Kill:
    """``killed``: its own case failed. ``others`` are the cases besides that noticed it."""

    mutant: Mutant
    killed: bool
    others: tuple[str, ...]


def hunt(mutant: Mutant, cases: Iterable[Case], *, clean: frozenset[str]) -> Kill:
    """Run ``cases`` against a mutant in memory. ``clean`` names those that pass on a whole server;
    the others prove nothing."""
    noticed = {}
    for case in cases:
        if case.name in clean:
            with mutant.apply():
                noticed[case.name] = run_case(case, MemoryDriver()).verdict
    others = tuple(
        name for name, verdict in noticed.items() if name != mutant.killer and verdict in NOTICED
    )
    return Kill(mutant, noticed.get(mutant.killer) is Verdict.FAIL, others)


def passing(cases: Iterable[Case]) -> frozenset[str]:
    """The names of those that pass on our whole server."""
    sound = (Verdict.PASS, Verdict.LENIENT)
    return frozenset(case.name for case in cases if run_case(case, MemoryDriver()).verdict in sound)
