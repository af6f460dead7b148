"""Mutations that depend on a number alone.

libFuzzer brings its own for bytes; these are for rows of operations, and for runs without it. All
draw from ``Dice``, a splitmix64: the same seed gives the same inputs on every machine and in every
version of Python.
"""

from collections.abc import Callable, Sequence

from attrs import define

from . import operations
from .operations import Operation

_MASK = (1 << 64) - 1
_ODD_SIZES = (0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 255)
_ODD_BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF)


@define(slots=True)
class Dice:
    """Numbers that look random and follow from ``state``."""

    state: int

    def roll(self) -> int:
        """64 bits."""
        self.state = (self.state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self.state
        mixed = ((mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & _MASK
        return mixed ^ mixed >> 31

    def below(self, limit: int) -> int:
        """0 to ``limit`` - 1; 0 where ``limit`` is not positive."""
        return self.roll() % limit if limit > 0 else 0

    def take(self, choices: Sequence[bytes]) -> bytes:
        return choices[self.below(len(choices))] if choices else b""

    def octets(self, count: int) -> bytes:
        words = (self.roll().to_bytes(8, "big") for _ in range(-(-count // 8)))
        return b"".join(words)[:count]


def mutated(data: bytes, dice: Dice, longest: int, others: Sequence[bytes] = ()) -> bytes:
    """``data`` after one to four changes, cut to ``longest`` bytes. ``others`` are inputs that
    pieces may be taken from."""
    out = bytearray(data)
    for _ in range(1 + dice.below(4)):
        _change(out, dice, others)
    return bytes(out[:longest])


def _change(out: bytearray, dice: Dice, others: Sequence[bytes]) -> None:
    at = dice.below(len(out))
    match dice.below(9):
        case 0 if out:
            out[at] ^= 1 << dice.below(8)
        case 1 if out:
            out[at] = _ODD_BYTES[dice.below(len(_ODD_BYTES))]
        case 2 if out:
            out[at] = (out[at] + 1 + dice.below(4) * 84) & 0xFF
        case 3:
            del out[at : at + 1 + dice.below(8)]
        case 4:
            out[at:at] = dice.octets(_ODD_SIZES[dice.below(9)])
        case 5:
            del out[at:]
        case 6:
            size = 1 + dice.below(16)
            out[at:at] = out[at : at + size]
        case 7:
            other = dice.take(others)
            begin = dice.below(len(other))
            size = _ODD_SIZES[dice.below(len(_ODD_SIZES))]
            out[at : at + (size if dice.below(2) else 0)] = other[begin : begin + size]
        case _:
            width = (1, 2, 4)[dice.below(3)]
            value = _ODD_SIZES[dice.below(len(_ODD_SIZES))] if dice.below(2) else dice.roll()
            out[at : at + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, "big")


def mutated_operations(
    data: bytes,
    dice: Dice,
    longest: int,
    change: Callable[[bytes, int], bytes],
    others: Sequence[bytes] = (),
) -> bytes:
    """A row of operations after a change that leaves it one. ``change`` alters the argument of one
    operation, which may get as long as its second argument says."""
    setting, row = operations.decode(data)
    if dice.below(16) == 0:
        setting = dice.below(256)
    for _ in range(1 + dice.below(3)):
        _change_row(row, dice, longest, change, others)
    return operations.encode(setting, row[: operations.MOST])[:longest]


def _change_row(
    row: list[Operation],
    dice: Dice,
    longest: int,
    change: Callable[[bytes, int], bytes],
    others: Sequence[bytes],
) -> None:
    at = dice.below(len(row))
    match dice.below(8):
        case 0 | 1 | 2 if row:
            kind, argument = row[at]
            row[at] = kind, change(argument, min(longest, len(argument) + 64))
        case 3 if row:
            row[at] = dice.below(256), row[at][1]
        case 4 if row:
            del row[at]
        case 5 if row:
            row.insert(dice.below(len(row) + 1), row[at])
        case 6:
            _, other = operations.decode(dice.take(others))
            begin = dice.below(len(other))
            row[at:at] = other[begin : begin + 1 + dice.below(4)]
        case _:
            row.insert(at, (dice.below(16), dice.octets(dice.below(12))))
