"""A session as its endpoint holds it, and what takes it off the lists by which it is found."""

from typing import TypeAlias, TypeVar

from attrs import define, field

from stunroute.address import Address
from stunroute.hint import Hint
from stunroute.instant import Entropy, Instant

from .path import Path
from .session import Session

_K = TypeVar("_K")


@define(slots=True, eq=False)
class Slot:
    """A session and what the endpoint keeps about it."""

    session: Session
    entropy: Entropy = field(repr=False)
    ufrags: list[bytes]
    hint: Hint
    addresses: dict[Address, Path] = field(factory=dict)
    sources: set[int] = field(factory=set)
    headers: list[bytes] = field(factory=list)
    """Those of the leg that are remembered as leading here alone."""
    scheduled: "Entry | None" = field(default=None, repr=False)


Entry: TypeAlias = tuple[Instant, int, Slot]


def remove(index: "dict[_K, list[Slot]]", key: _K, slot: Slot) -> None:
    """Take ``slot`` off the list under ``key``, and the list away with its last one."""
    holders = index.get(key)
    if holders and slot in holders:
        holders.remove(slot)
        if not holders:
            del index[key]
