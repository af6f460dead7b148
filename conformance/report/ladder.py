"""A trail as a ladder: who stands where, and an arrow for each datagram.

Drawn by hand as SVG, with classes in place of colours, so that the page's style decides and the
dark one needs no second picture. What comes many times in a row is one arrow with a number, silence
that somebody has waited through is a break in the lines, and a long trail ends with the number of
what is not drawn.
"""

from collections.abc import Iterable
from html import escape

from attrs import define, field, frozen

from stunroute.instant import Instant

from .decoding import Account, Lane, Remark, Told

MOST_ROWS = 60
SILENCE = 0.25
"""Seconds without a datagram that are shown as a gap."""
SERIES = 3
"""So many of a kind in a row become one arrow."""

_TIME_WIDTH = 66
_MARGIN = 84
_STEPS = {1: 0, 2: 540, 3: 330}
_CLOSE_STEP = 250
_SHORTEST_LABEL = 26
_HEAD = 54
_ARROW, _NOTE, _GAP, _END = 36, 30, 34, 44
_CHARACTER = 6.7
"""Width of a character of a label, about."""


@frozen(slots=True)
class Arrow:
    """One datagram, or ``count`` of a kind: ``number`` is the first one's in the capture."""

    at: Instant
    count: int
    source: int
    destination: int
    sent: bool
    label: str
    note: str
    number: int | None


@frozen(slots=True)
class Gap:
    """Nothing for so many seconds."""

    seconds: float


Row = Arrow | Gap | Remark


def rows(account: Account) -> list[Row]:
    """What is drawn, in order, all of it."""
    out: list[Row] = []
    last: Instant | None = None
    for run in _runs(account.rows):
        first = run[0]
        if last is not None and first.at - last >= SILENCE:
            out.append(Gap(first.at - last))
        last = run[-1].at
        if isinstance(first, Remark):
            out.append(first)
        else:
            out.append(_arrow(first, run))
    return out


def _arrow(first: Told, run: list[Told | Remark]) -> Arrow:
    label = first.label if len(run) == 1 else f"{first.series} ×{len(run)}"
    return Arrow(
        first.at,
        len(run),
        first.source,
        first.destination,
        first.sent,
        label,
        first.note,
        first.number,
    )


def _runs(told: Iterable[Told | Remark]) -> Iterable[list[Told | Remark]]:
    """Neighbours of one kind together, as far as they are many and follow close upon each other."""
    run: list[Told | Remark] = []
    for row in told:
        if run and not _continues(run[-1], row):
            yield from _taken(run)
            run = []
        run.append(row)
    if run:
        yield from _taken(run)


def _taken(run: list[Told | Remark]) -> Iterable[list[Told | Remark]]:
    return [run] if len(run) >= SERIES else [[row] for row in run]


def _continues(before: Told | Remark, row: Told | Remark) -> bool:
    if isinstance(before, Remark) or isinstance(row, Remark):
        return False
    kinds = [(it.source, it.destination, it.series, it.note) for it in (before, row)]
    return kinds[0] == kinds[1] and row.at - before.at < SILENCE


# --- drawing --------------------------------------------------------------------------------------


@define(slots=True)
class _Drawing:
    """Grows downwards. ``x`` are the lanes."""

    x: list[float]
    width: float
    y: float = _HEAD
    parts: list[str] = field(factory=list)
    breaks: list[tuple[float, float]] = field(factory=list)
    _said: str = ""

    def time(self, at: Instant, y: float) -> None:
        """Said once for rows of the same time."""
        text = f"{at:.3f}"
        if text != self._said:
            self._said = text
            self.parts.append(
                f'<text class="time" x="{_TIME_WIDTH - 14}" y="{_n(y)}">{text}</text>'
            )

    def arrow(self, row: Arrow) -> None:
        begin, end = self.x[row.source], self.x[row.destination]
        y = self.y + 26
        self.time(row.at, y + 4)
        towards = 1 if end >= begin else -1
        way = "sent" if row.sent else "received"
        number = "" if row.number is None else f' data-packet="{row.number}"'
        tip = end - 2 * towards
        head = f"M{_n(tip)} {_n(y)}l{-9 * towards} -4.5v9z"
        label, x = self._label(row, (begin + end) / 2)
        self.parts.append(
            f'<g class="{way}"{number}><line x1="{_n(begin)}" y1="{_n(y)}" '
            f'x2="{_n(tip - 6 * towards)}" y2="{_n(y)}"/><path d="{head}"/>'
            f'<text x="{_n(x)}" y="{_n(y - 7)}">{label}</text></g>'
        )
        self.y += _ARROW

    def _label(self, row: Arrow, middle: float) -> tuple[str, float]:
        """As much of it as there is room for, and where its middle stands."""
        span = abs(self.x[row.source] - self.x[row.destination])
        room = max(int((span + 40) / _CHARACTER), _SHORTEST_LABEL)
        label = _cut(row.label, room)
        note = _cut(row.note, room - len(label) - 3) if room - len(label) > 8 else ""
        if note.casefold() == label.casefold():
            note = ""
        half = (len(label) + (len(note) + 3 if note else 0)) * _CHARACTER / 2
        x = min(max(middle, _TIME_WIDTH + 4 + half), self.width - 4 - half)
        said = f' <tspan class="called">· {escape(note)}</tspan>' if note else ""
        return f"{escape(label)}{said}", x

    def remark(self, row: Remark) -> None:
        y = self.y + 6
        self.time(row.at, y + 14)
        text = _cut(row.text, int((self.x[-1] - self.x[0] + 80) / _CHARACTER))
        wide = len(text) * _CHARACTER + 22
        x = (self.x[0] + self.x[-1]) / 2
        self.parts.append(
            f'<g class="remark"><rect x="{_n(x - wide / 2)}" y="{_n(y)}" width="{_n(wide)}" '
            f'height="20" rx="10"/><text x="{_n(x)}" y="{_n(y + 14)}">{escape(text)}</text></g>'
        )
        self.y += _NOTE

    def gap(self, row: Gap) -> None:
        self.breaks.append((self.y + 6, self.y + _GAP - 2))
        x, y = (self.x[0] + self.x[-1]) / 2, self.y + 22
        self.parts.append(f'<text class="gap" x="{_n(x)}" y="{_n(y)}">{row.seconds:.2f} s</text>')
        self.y += _GAP

    def end(self, more: int, verdict: str, seen: str) -> None:
        if more:
            x = (self.x[0] + self.x[-1]) / 2
            self.breaks.append((self.y + 6, self.y + _GAP - 2))
            self.parts.append(
                f'<text class="gap" x="{_n(x)}" y="{_n(self.y + 22)}">… {more} more</text>'
            )
            self.y += _GAP
        text = _cut(seen, int((self.width - _TIME_WIDTH - 40) / _CHARACTER))
        left, right = self.x[0] - 60, self.x[-1] + 60
        wide = max(right - left, len(text) * _CHARACTER + 30)
        x = min((left + right) / 2, self.width - wide / 2 - 2)
        self.parts.append(
            f'<g class="end {verdict}"><rect x="{_n(x - wide / 2)}" y="{_n(self.y + 12)}" '
            f'width="{_n(wide)}" height="26" rx="6"/><text x="{_n(x)}" y="{_n(self.y + 29)}">'
            f"{escape(text)}</text></g>"
        )
        self.y += _END

    def lanes(self, lanes: tuple[Lane, ...]) -> str:
        out = []
        bottom = self.y - _END + 12
        for lane, x in zip(lanes, self.x, strict=True):
            top = float(_HEAD)
            for begin, end in [*self.breaks, (bottom, bottom)]:
                if begin > top:
                    out.append(_line("lane", x, top, begin))
                if end > begin:
                    out.append(_line("lane silent", x, begin, end))
                top = end
            out.append(
                f'<text class="who" x="{_n(x)}" y="20">{escape(lane.title)}</text>'
                f'<text class="where" x="{_n(x)}" y="38">{escape(lane.below)}</text>'
            )
        return "".join(out)


def draw(account: Account, *, verdict: str, seen: str, title: str) -> str:
    """The ladder as one ``svg`` element; empty where nothing happened. ``verdict`` is the class of
    the box at its end, which says ``seen``; ``title`` is for who does not see the picture."""
    if not account.lanes or not account.datagrams:
        return ""
    found = rows(account)
    drawn = found[:MOST_ROWS]
    step = _STEPS.get(len(account.lanes), _CLOSE_STEP)
    x = [_TIME_WIDTH + _MARGIN + step * number for number in range(len(account.lanes))]
    drawing = _Drawing([float(each) for each in x], x[-1] + _MARGIN)
    for row in drawn:
        match row:
            case Arrow():
                drawing.arrow(row)
            case Remark():
                drawing.remark(row)
            case Gap():
                drawing.gap(row)
    shown = sum(row.count for row in drawn if isinstance(row, Arrow))
    more = account.left_out + len(account.datagrams) - shown
    drawing.end(more, verdict, seen)
    lanes = drawing.lanes(account.lanes)
    width, height = _n(drawing.width), _n(drawing.y + 4)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="ladder" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img"><title>{escape(title)}</title>{lanes}'
        f"{''.join(drawing.parts)}</svg>"
    )


def _line(name: str, x: float, top: float, bottom: float) -> str:
    return f'<path class="{name}" d="M{_n(x)} {_n(top)}V{_n(bottom)}"/>'


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: max(room - 1, 1)].rstrip() + "…"


def _n(number: float) -> str:
    """A coordinate, short."""
    return f"{number:.1f}".removesuffix(".0")
