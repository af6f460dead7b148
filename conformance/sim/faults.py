"""What goes wrong, and when: a plan drawn from the seed before anything happens.

A fault is a *spell*: a kind, a beginning, an end, where it strikes and how hard. ``all`` means that
each seed suffers from some of the kinds, drawn for it: a bug that needs two faults to meet hides
well when all twenty rage at once.
"""

from collections.abc import Iterable, Mapping
from enum import Enum, unique
from typing import Any

from attrs import field, frozen

from stunroute.instant import Instant

from .dice import Dice


@unique
class Fault(Enum):
    """The value is its name on the command line."""

    LOSS = "loss"  # in bursts, on clients' ways
    DELAY = "delay"  # and jitter
    REORDER = "reorder"
    DUPLICATE = "duplicate"
    CORRUPT = "corrupt"
    MTU = "mtu"  # longer datagrams vanish
    BLACKOUT = "blackout"  # nothing passes, either way or one way
    LEG = "leg"  # any of the above between relay and transceiver
    NAT = "nat"  # a client gets another address, maybe one that somebody had before
    RELAY = "relay"  # all workers of a relay are killed, and come back empty
    WORKER = "worker"  # one is; its clients come to the others meanwhile
    TRANSCEIVER = "transceiver"  # is killed, with all its sessions
    DRAIN = "drain"  # takes no more calls, ends those it has, goes, comes back
    STORE_SLOW = "store-slow"
    STORE_STALE = "store-stale"  # answers from the past
    STORE_LIES = "store-lies"  # entries of others, spoilt ones, and a next hop made up
    STORE_GONE = "store-gone"  # does not answer, and may come back empty
    CLOCK = "clock"  # of one process, forward; its time of day either way
    SIGNALLING = "signalling"  # refuses, or answers late


NETWORK = (
    *(Fault.LOSS, Fault.DELAY, Fault.REORDER, Fault.DUPLICATE, Fault.CORRUPT, Fault.MTU),
    Fault.BLACKOUT,
)
"""What may happen to a link."""
STORE = (Fault.STORE_SLOW, Fault.STORE_STALE, Fault.STORE_LIES, Fault.STORE_GONE)
_SOME = 0.45
"""How likely a seed under ``all`` suffers from a kind."""
_SPELLS = 3
"""Of a kind, at most, in each round."""
_ROUND = 45.0
"""Seconds."""


class UnknownFault(ValueError):
    """No kind of that name."""


@frozen(slots=True)
class Spell:
    """``where`` is a number by which whoever strikes picks the victim; ``strength`` is from 0 to
    1."""

    kind: Fault
    begins: Instant
    ends: Instant
    where: int
    strength: float


@frozen(slots=True)
class Plan:
    """``kinds`` is what this seed suffers from."""

    kinds: tuple[Fault, ...]
    spells: tuple[Spell, ...] = field(repr=False)


def parse(text: str) -> tuple[Fault, ...]:
    """``all``, ``none``, or names with commas between them. Raises UnknownFault."""
    match text.strip():
        case "all":
            return tuple(Fault)
        case "none" | "":
            return ()
    known = {kind.value: kind for kind in Fault}
    chosen = []
    for name in text.split(","):
        if name.strip() not in known:
            raise UnknownFault(f"{name.strip()!r} is none of {', '.join(known)}")
        chosen.append(known[name.strip()])
    return tuple(dict.fromkeys(chosen))


def draw(kinds: Iterable[Fault], begins: Instant, ends: Instant, dice: Dice) -> Plan:
    """A plan for the time from ``begins`` to ``ends``; nothing lasts beyond. All kinds mean some of
    them."""
    chosen = tuple(kinds)
    if chosen == tuple(Fault):
        chosen = tuple(kind for kind in Fault if dice.happens(_SOME)) or (dice.pick(chosen),)
    rounds = max(1, round((ends - begins) / _ROUND))
    spells = [
        _spell(kind, begins, ends, dice)
        for kind in chosen
        for _ in range(rounds)
        for _ in range(1 + dice.below(_SPELLS))
    ]
    return Plan(chosen, tuple(sorted(spells, key=lambda spell: spell.begins)))


def _spell(kind: Fault, begins: Instant, ends: Instant, dice: Dice) -> Spell:
    start = dice.between(begins, begins + (ends - begins) * 0.9)
    lasts = dice.between(0.2, 3.0) if dice.happens(0.5) else dice.between(3.0, 15.0)
    return Spell(kind, start, min(start + lasts, ends), dice.below(1 << 30), dice.unit())


def conditions(kind: Fault, strength: float, dice: Dice) -> Mapping[str, Any]:
    """What a fault of the network makes of a link's conditions."""
    match kind:
        case Fault.LOSS:
            return {
                "to_bad": 0.02 + 0.2 * strength,
                "to_good": dice.between(0.1, 0.5),
                "loss_good": 0.02 * strength,
                "loss_bad": 0.4 + 0.6 * strength,
            }
        case Fault.DELAY:
            return {"delay": 0.05 + 0.5 * strength, "jitter": 0.2 * strength}
        case Fault.REORDER:
            return {"reorder": 0.1 + 0.6 * strength, "spread": dice.between(0.01, 0.8)}
        case Fault.DUPLICATE:
            return {"duplicate": 0.1 + 0.9 * strength}
        case Fault.CORRUPT:
            return {"corrupt": 0.02 + 0.5 * strength}
        case Fault.MTU:
            return {"mtu": 100 + int(1132 * strength)}
        case Fault.BLACKOUT:
            return {"cut": True}
    raise ValueError(f"{kind} is no fault of a link")
