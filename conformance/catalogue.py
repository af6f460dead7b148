"""All cases, by name.

Found by importing every module of ``conformance.cases`` and taking the cases that it defines: a new
one needs no list. Names are unique, which ``load`` checks.
"""

import importlib
import pkgutil
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from functools import cache

from . import cases
from .case import Case, Profile


@cache
def load() -> tuple[Case, ...]:
    """Every case, sorted by name. Raises ValueError where two have the same one."""
    return tuple(each for each, _ in files())


@cache
def files() -> tuple[tuple[Case, str], ...]:
    """Every case with the name of its file, ``stun_header`` say; sorted, and raising, likewise."""
    found: dict[str, tuple[Case, str]] = {}
    for module in pkgutil.walk_packages(cases.__path__, f"{cases.__name__}."):
        file = module.name.removeprefix(f"{cases.__name__}.")
        for value in vars(importlib.import_module(module.name)).values():
            for each in value if isinstance(value, tuple) else (value,):
                if not isinstance(each, Case):
                    continue
                if found.setdefault(each.name, (each, file))[0] is not each:
                    raise ValueError(f"two cases are named {each.name}")
    return tuple(found[name] for name in sorted(found))


def select(
    known: Iterable[Case], patterns: Collection[str] = (), profiles: Collection[Profile] = ()
) -> list[Case]:
    """Those whose name fits one of the globs (``rfc8489/*``; ``*`` takes slashes too), if there are
    any, and that belong to one of the profiles, if there are any."""
    return [
        each
        for each in known
        if (not patterns or any(fnmatchcase(each.name, pattern) for pattern in patterns))
        and (not profiles or any(profile in profiles for profile in each.profiles))
    ]
