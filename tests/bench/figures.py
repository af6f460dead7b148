"""Medians and tables, the same for every benchmark here."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from attrs import frozen


def median(values: Iterable[float]) -> float:
    """Zero for none."""
    found = list(values)
    return statistics.median(found) if found else 0.0


@frozen(slots=True)
class Goal:
    """``least``: the ratio is to be so much or more; else at most so much."""

    value: float
    least: bool = True

    def met(self, value: float) -> bool:
        return value >= self.value if self.least else value <= self.value

    def beside(self, value: float) -> str:
        """What to print after a figure: the goal, and whether it was met."""
        sign = "≥" if self.least else "≤"
        return f"goal {sign} {self.value:g}, {'met' if self.met(value) else 'missed'}"


def at_least(value: float) -> Goal:
    return Goal(value)


def at_most(value: float) -> Goal:
    return Goal(value, least=False)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median over rounds of the ratio within one round: what slows the whole machine down for a
    while does not change it."""
    return median(a / b for a, b in zip(ours, theirs, strict=True) if b)


def table(
    title: str,
    columns: Sequence[str],
    rows: Mapping[str, Sequence[float]],
    show: Callable[[float], str] = "{:,.0f}".format,
) -> None:
    """Rows of figures by name, a column each."""
    width = max(10, *(len(column) + 2 for column in columns))
    first = max([12, *(len(name) + 2 for name in rows)])
    print(title)
    print(" " * (first + 2) + "".join(f"{column:>{width}}" for column in columns))
    for name, values in rows.items():
        cells = "".join(f"{show(value):>{width}}" for value in values)
        print(f"  {name:{first}}{cells}", flush=True)


def line(what: str, value: str, goal: str = "") -> None:
    """One figure with its name in front and, in brackets, its goal."""
    print(f"  {what:58} {value:>16}" + (f"  ({goal})" if goal else ""), flush=True)
