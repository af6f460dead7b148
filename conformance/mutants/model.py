"""A mutant, and how it is put on and taken off.

It swaps attributes of our own modules and classes while a block lasts, so that the cores need no
switch for being wrong.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeAlias

from attrs import field, frozen

_ABSENT = object()
Breaking: TypeAlias = Callable[[], AbstractContextManager[None]]


@frozen(slots=True)
class Mutant:
    """``breaks`` says in one sentence what this server does wrong. ``killer`` is the case that says
    so too. ``apply`` breaks our cores for the length of a ``with`` block."""

    name: str
    breaks: str
    killer: str
    apply: Breaking = field(repr=False, eq=False)


def mutant(
    name: str, breaks: str, *, killer: str
) -> Callable[[Callable[[], Iterator[None]]], Mutant]:
    """Make a mutant of a generator function that breaks something, yields once, and mends it.
    Raises ValueError unless the name is AREA/MISTAKE and ``breaks`` a sentence."""
    if len(name.split("/")) != 2 or not (breaks[:1].isupper() and breaks.endswith(".")):
        raise ValueError(f"{name!r} is not AREA/MISTAKE, or {breaks!r} no sentence")

    def make(breaking: Callable[[], Iterator[None]]) -> Mutant:
        return Mutant(name, breaks, killer, contextmanager(breaking))

    return make


@contextmanager
def swapped(owner: Any, name: str, replacement: Any) -> Iterator[None]:
    """``owner.name`` is ``replacement`` inside the block. ``owner`` is a module or a class. Raises
    AttributeError where it has no such name: the code has moved on, and the mutant has to."""
    there = vars(owner).get(name, _ABSENT)
    getattr(owner, name)
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        if there is _ABSENT:
            delattr(owner, name)
        else:
            setattr(owner, name, there)
