"""MATRIX.md from results and judgements. The page's first half is written by hand and stays."""

from collections.abc import Iterable, Sequence

from attrs import field, frozen

from .areas import Area
from .errors import PeerError
from .judging import Fault, Judgement, judge
from .results import PeerResults, Results, ordered
from .table import by_name

MARK = "<!-- From here on it is written by `conformance peers matrix`. -->"
_FAULTS = {
    Fault.PEER: "the peer is wrong",
    Fault.TASTE: "a matter of taste",
    Fault.FRONT: "our front, or how it is started here",
    Fault.SUITE: "the suite cannot ask it fairly",
}
_INTRODUCTION = """\
A cell counts cases: pass / lenient / fail / blocked / unsupported. *Lenient* is a SHOULD that is
not followed, a MUST in a way that harms nobody, or a MAY that is not taken up; *blocked*: what must
work before the question did not; *unsupported*: the question cannot be asked there, and the report
says why. What failed or was blocked was asked again, alone, of a peer freshly started and with
three times the patience; only what went wrong both times is counted as wrong. Signalling has no
column: no peer here has a door by HTTP of its own."""
_JUDGED = """\
Whose fault it is, by hand, for what failed or was blocked. *Read*: how many of them were followed
up in the peer's source, where the judgement names the place; the others rest on what crossed and on
the RFC. *Flaky* passed when asked alone. *Started again*: how often the peer ended by itself, or
answered no more, while it was asked."""


@frozen(slots=True)
class _Group:
    """Failures that one judgement covers, in one area; or that none does."""

    area: Area
    judgement: Judgement | None
    cases: list[tuple[str, str]] = field(factory=list)


def page(before: str, results: Results, judgements: Sequence[Judgement]) -> str:
    """The whole page, from what it was before. Raises PeerError where it has no mark, or where a
    judgement fits nothing."""
    by_hand, found, _ = before.partition(MARK)
    if not found:
        raise PeerError(f"MATRIX.md has no line {MARK}")
    if idle := outlived(results, judgements):
        names = "".join(f"\n  {', '.join(each.cases)} at {', '.join(each.peers)}" for each in idle)
        raise PeerError(f"judgements that fit no failure:{names}")
    return f"{by_hand}{MARK}\n\n{_results(results, judgements)}"


def outlived(results: Results, judgements: Iterable[Judgement]) -> list[Judgement]:
    """Judgements that are the first to fit no failure at all."""
    left = list(judgements)
    every = tuple(left)
    for name, told in results.peers.items():
        for _, case, _ in told.failures():
            found = judge(every, name, case)
            if found in left:
                left.remove(found)
    return left


def _results(results: Results, judgements: Sequence[Judgement]) -> str:
    known = ordered(results)
    parts = [
        "## Results",
        _INTRODUCTION,
        _cells(known),
        _JUDGED,
        _faults(known, judgements),
        *(_peer(name, told, judgements) for name, told in known),
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(known: Iterable[tuple[str, PeerResults]]) -> str:
    areas = [area for area in Area if area is not Area.SIGNALING]
    rows = [
        [f"{name} {told.version}", told.date, *(_cell(told, area) for area in areas)]
        for name, told in known
    ]
    return _table(["peer", "asked on", *(area.value for area in areas)], rows)


def _cell(told: PeerResults, area: Area) -> str:
    found = told.areas.get(area.value)
    if found is None:
        return ""
    counts = found.counts
    lenient = counts.get("lenient", 0) + counts.get("noted", 0)
    failed = counts.get("fail", 0) + counts.get("broken", 0)
    numbers = [
        str(counts.get("pass", 0)),
        str(lenient),
        f"**{failed}**" if failed else "0",
        str(counts.get("blocked", 0)),
        str(counts.get("unsupported", 0)),
    ]
    return " / ".join(numbers)


def _faults(known: Iterable[tuple[str, PeerResults]], judgements: Sequence[Judgement]) -> str:
    rows = []
    for name, told in known:
        found = [judge(judgements, name, case) for _, case, _ in told.failures()]
        faults = [each.fault if each else None for each in found]
        read = sum(each is not None and bool(each.read) for each in found)
        numbers = [len(faults), *(faults.count(fault) for fault in (*_FAULTS, None)), read]
        rows.append([name, *map(str, [*numbers, len(told.flaky), len(told.losses)])])
    counted = ("wrong", *_FAULTS.values(), "not looked at yet", "read", "flaky", "started again")
    return _table(["peer", *counted], rows)


def _peer(name: str, told: PeerResults, judgements: Sequence[Judgement]) -> str:
    peer = by_name()[name]
    lines = [f"### {name}", "", f"{peer.title} {told.version}, by {peer.door.name}, {told.date}."]
    groups = _groups(name, told, judgements)
    if not groups:
        lines += ["", "Nothing failed."]
    area = None
    for group in groups:
        if group.area is not area:
            area = group.area
            lines += ["", f"**{area.value}**", ""]
        lines += _group(group)
    return "\n".join([*lines, *_losses(told), *_flaky(told)])


def _groups(name: str, told: PeerResults, judgements: Sequence[Judgement]) -> list[_Group]:
    found: dict[tuple[Area, Judgement | None], _Group] = {}
    for area, case, seen in told.failures():
        judgement = judge(judgements, name, case)
        group = found.setdefault((area, judgement), _Group(area, judgement))
        group.cases.append((case, seen))
    order = list(Area)
    return sorted(found.values(), key=lambda each: (order.index(each.area), not each.judgement))


def _group(group: _Group) -> list[str]:
    if group.judgement is None:
        head = f"- Not looked at yet ({len(group.cases)}):"
        return [head, *(f"  - `{case}`: {seen}" for case, seen in group.cases)]
    names = ", ".join(f"`{case}`" for case, _ in group.cases)
    said, note = _FAULTS[group.judgement.fault], " ".join(group.judgement.note.split())
    read = f" Read: {group.judgement.read}." if group.judgement.read else ""
    return [f"- {names}: {said}. {note}{read}"]


def _losses(told: PeerResults) -> list[str]:
    if not told.losses:
        return []
    return ["", "It had to be started again:", "", *(f"- {_quoted(each)}" for each in told.losses)]


def _quoted(text: str) -> str:
    return f"`` {text.replace('``', '')} ``"


def _flaky(told: PeerResults) -> list[str]:
    if not told.flaky:
        return []
    return ["", f"Flaky: {', '.join(f'`{each}`' for each in told.flaky)}."]
