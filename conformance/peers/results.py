"""What was found, in a form small enough to be committed: all that did not pass, and counts.

The reports of the runs themselves stay where they were made; this is what MATRIX.md is written
from, so that it can be written again without asking anybody.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import cattrs
from attrs import field, frozen

from .areas import Area
from .asking import WRONG, Asked, Told
from .errors import PeerError
from .table import by_name

FILE = Path(__file__).resolve().parent / "results.json"
LONGEST = 200
"""Characters of what was seen."""
_COUNTED_ALONE = frozenset({"pass", "unsupported"})


@frozen(slots=True)
class AreaResults:
    """``counts`` is by verdict. ``cases`` is by verdict too: names, and what was seen; what passed
    is not in it. ``unsupported`` is by reason."""

    counts: dict[str, int]
    cases: dict[str, dict[str, str]] = field(factory=dict)
    unsupported: dict[str, list[str]] = field(factory=dict)

    def failures(self) -> dict[str, str]:
        """What somebody has to look at, and what was seen."""
        return {
            name: seen
            for verdict in sorted(WRONG)
            for name, seen in self.cases.get(verdict, {}).items()
        }


@frozen(slots=True)
class PeerResults:
    """``date`` is that of its last run. ``flaky`` are cases that went wrong once and well when
    asked alone. ``losses`` says how it ended or fell silent while it was asked."""

    version: str
    date: str
    areas: dict[str, AreaResults]
    flaky: list[str] = field(factory=list)
    losses: list[str] = field(factory=list)

    def failures(self) -> Iterator[tuple[Area, str, str]]:
        """Area, case, and what was seen, in the order of the matrix."""
        for area in Area:
            found = self.areas.get(area.value)
            for name, seen in sorted(found.failures().items()) if found else ():
                yield area, name, seen


@frozen(slots=True)
class Results:
    """Of all peers that were asked, by name, in the order of their table."""

    peers: dict[str, PeerResults]


def of(told: Told) -> PeerResults:
    """What is kept of a peer's run."""
    areas: dict[str, list[Asked]] = {}
    for each in told.cases:
        areas.setdefault(each.area, []).append(each)
    return PeerResults(
        told.version,
        told.date,
        {area.value: _area(areas[area.value]) for area in Area if area.value in areas},
        [each.name for each in told.cases if each.flaky],
        [_short(loss) for loss in told.losses],
    )


def _area(asked: Iterable[Asked]) -> AreaResults:
    found = AreaResults({})
    for each in sorted(asked, key=lambda each: each.name):
        found.counts[each.verdict] = found.counts.get(each.verdict, 0) + 1
        if each.verdict == "unsupported":
            found.unsupported.setdefault(_short(each.said), []).append(each.name)
        elif each.verdict not in _COUNTED_ALONE:
            found.cases.setdefault(each.verdict, {})[each.name] = _short(each.said)
    return found


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def read(text: str) -> Results:
    """Raises PeerError."""
    try:
        return cattrs.Converter(forbid_extra_keys=True).structure(json.loads(text), Results)
    except (ValueError, TypeError, AttributeError, cattrs.BaseValidationError) as error:
        raise PeerError(f"no results of peers: {error}") from error


def render(results: Results) -> str:
    """Sorted throughout, so that a new run changes the lines that it has to."""
    document = cattrs.unstructure(results)
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def ordered(results: Results) -> list[tuple[str, PeerResults]]:
    """Peers in the order of their table; who is no more in it is left out."""
    return [(name, results.peers[name]) for name in by_name() if name in results.peers]
