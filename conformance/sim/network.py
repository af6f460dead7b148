"""What happens to a datagram between two sockets.

Each direction of each way is a ``Link`` with dice of its own. It is steady, in order and without
loss unless its ``Conditions`` say otherwise; those change while a fault lasts. Losses come in
bursts: the link is in a good or a bad state, and each datagram may tip it into the other (the
two-state model of Gilbert and Elliott).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import define, evolve, field, frozen

from stunroute.instant import Instant

from .dice import Dice

DUPLICATE_DELAY = 0.02
"""Seconds by which a copy comes later, at most."""
ETHERNET = 1472
"""Bytes of UDP payload that fit."""


@frozen(slots=True)
class Conditions:
    """Times in seconds, the others probabilities per datagram. ``to_bad`` and ``to_good`` tip the
    link over, ``loss_good`` and ``loss_bad`` are what it loses in either state; ``reorder``: lets a
    datagram overtake and be overtaken, by up to ``spread``; ``mtu``: bytes of payload, what is
    longer is lost; ``cut``: nothing passes."""

    delay: float = 0.01
    jitter: float = 0.0
    to_bad: float = 0.0
    to_good: float = 1.0
    loss_good: float = 0.0
    loss_bad: float = 0.0
    reorder: float = 0.0
    spread: float = 0.1
    duplicate: float = 0.0
    corrupt: float = 0.0
    mtu: int = ETHERNET
    cut: bool = False

    @property
    def loss(self) -> float:
        """What share of datagrams is lost in the long run."""
        bad = self.to_bad / (self.to_bad + self.to_good) if self.to_bad else 0.0
        return bad * self.loss_bad + (1 - bad) * self.loss_good


@define(slots=True, eq=False, repr=False)
class Link:
    """One direction. ``events`` counts what was done to datagrams, by name; it may be shared."""

    dice: Dice
    conditions: Conditions
    events: Counter[str] = field(factory=Counter)
    usual: Conditions = field(init=False)
    """Those it began with."""
    _bad: bool = False
    _latest: Instant = 0.0

    def __attrs_post_init__(self) -> None:
        self.usual = self.conditions

    def change(self, values: Mapping[str, Any]) -> None:
        """Go on under other conditions, given by name."""
        self.conditions = evolve(self.conditions, **values)

    def mend(self, names: Iterable[str]) -> None:
        """Let these conditions be as usual again, whatever the others are by now."""
        self.change({name: getattr(self.usual, name) for name in names})

    def carry(self, data: bytes, now: Instant) -> list[tuple[Instant, bytes]]:
        """What arrives of a datagram that is sent now, and when: nothing, it, or it and copies."""
        now_conditions, dice = self.conditions, self.dice
        if now_conditions.cut:
            return self._lost("cut")
        if len(data) > now_conditions.mtu:
            return self._lost("too long")
        if now_conditions.to_bad or now_conditions.loss_good:
            tips = now_conditions.to_good if self._bad else now_conditions.to_bad
            if dice.happens(tips):
                self._bad = not self._bad
            loss = now_conditions.loss_bad if self._bad else now_conditions.loss_good
            if dice.happens(loss):
                return self._lost("lost")
        arrives = now + now_conditions.delay
        if now_conditions.jitter:
            arrives += dice.unit() * now_conditions.jitter
        if now_conditions.reorder and dice.happens(now_conditions.reorder):
            arrives += dice.unit() * now_conditions.spread
            self.events["reordered"] += 1
        else:
            arrives = self._latest = max(arrives, self._latest)
        if now_conditions.corrupt and dice.happens(now_conditions.corrupt):
            data = spoiled(data, dice)
            self.events["corrupted"] += 1
        if now_conditions.duplicate and dice.happens(now_conditions.duplicate):
            self.events["duplicated"] += 1
            return [(arrives, data), (arrives + dice.unit() * DUPLICATE_DELAY, data)]
        return [(arrives, data)]

    def _lost(self, why: str) -> list[tuple[Instant, bytes]]:
        self.events[why] += 1
        return []


def spoiled(data: bytes, dice: Dice) -> bytes:
    """``data`` with a few octets changed, or without its end."""
    if not data:
        return data
    if dice.happens(0.2):
        return data[: dice.below(len(data))]
    changed = bytearray(data)
    for _ in range(1 + dice.below(3)):
        changed[dice.below(len(changed))] ^= 1 + dice.below(255)
    return bytes(changed)
