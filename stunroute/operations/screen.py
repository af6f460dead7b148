"""How ``top`` draws what there is to see, in whatever room the terminal has.

Every line is counted before it is drawn: what must be seen (who forwards how much, what is lost)
stands first and always, what happened lately gets all the lines that are left. From ``WIDE`` on it
stands beside the rest. A colour never says what words or numbers do not say too.
"""

import textwrap
from collections.abc import Iterable
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stunroute.status import RelayStatus, WorkerStatus
from stunroute.trace import Origin

from .history import LAG, duration
from .model import Model
from .picture import DIRECTIONS, KINDS, Change

WIDE = 120
WORKERS = 8
"""Rows of workers on a screen of 24 lines; of more, the busiest are shown."""
HAPPENINGS = 4
"""Lines for what happened that are left in any case."""
REASONS = 4
ARROWS = {"uplink": "↑", "downlink": "↓"}
STORE_STATES = {
    "closed": ("in use", "green"),
    "open": ("left alone", "bold red"),
    "half-open": ("being tried", "yellow"),
}


def draw(model: Model, width: int, height: int) -> RenderableType:
    """One picture of ``width`` columns and at most ``height`` lines."""
    status = model.status
    if status is None:
        return _line(model.problem or "waiting for the relay", "yellow")
    head: list[RenderableType] = [_heading(status)]
    if model.problem is not None:
        since = _clock(model.lost_at, model.lost_at)
        text = f" since {since} {model.problem}; trying again "
        head.append(_line(text, "black on yellow"))
    room = max(3, min(WORKERS, height - 16)) if height < 40 else height // 3
    rows = _busiest(model, status, room)
    head.append(_workers(model, status, rows, width))
    used = len(head) + len(rows) + (len(status.workers) > 1) + 1
    facts = _facts(model)
    if width >= WIDE:
        room = max(HAPPENINGS, height - used - 1)
        both = Table.grid(expand=True, padding=(0, 3, 0, 0))
        both.add_column(width=72)
        both.add_column(ratio=1)
        both.add_row(Group(*facts[:room]), Group(*_happenings(model, width - 77, room - 1)))
        return Group(*head, Text(), both)
    room = height - used - len(facts) - 1
    if room < HAPPENINGS:
        facts = facts[: len(facts) - (HAPPENINGS - room)]
        room = HAPPENINGS
    lines = [*facts, *_happenings(model, width, room)]
    return Group(*head, *lines[: height - used])


def _line(text: str | Text, style: str = "") -> Text:
    line = Text(text, style) if isinstance(text, str) else text
    line.no_wrap = True
    line.overflow = "ellipsis"
    return line


def _heading(status: RelayStatus) -> RenderableType:
    grid = Table.grid(expand=True)
    grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    text = Text.assemble(
        (f"stunroute {status.version}", "bold"),
        f"  up {duration(status.at - status.started)}  ",
    )
    up = len(status.workers)
    text.append(f"{up} of {status.wanted} workers", "" if up == status.wanted else "bold red")
    text.append(f"  {_many(status.restarts, 'restart')}", "yellow" if status.restarts else "")
    text.append(f"  {_many(status.reloads, 'reload')}")
    grid.add_row(text, _clock(status.at, status.at))
    return grid


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


# --- workers --------------------------------------------------------------------------------------


def _busiest(model: Model, status: RelayStatus, room: int) -> list[WorkerStatus]:
    def work(worker: WorkerStatus) -> float:
        change = model.changes.get(worker.worker)
        return sum(change.per_second(f"{way}_packets") for way in DIRECTIONS) if change else 0.0

    chosen = sorted(status.workers, key=work, reverse=True)[:room]
    return sorted(chosen, key=lambda worker: worker.worker)


def _workers(
    model: Model, status: RelayStatus, rows: list[WorkerStatus], width: int
) -> RenderableType:
    wide = width >= WIDE
    table = Table(box=None, padding=(0, 1, 0, 0), expand=True, header_style="dim")
    names = [
        "worker",
        "↑ pkt/s",
        "Mbit/s",
        "↓ pkt/s",
        "Mbit/s",
        "flows",
        "drops/s",
        "kernel",
        "lag",
    ]
    names += ["waiting", "errors", "pid", "up", "adapter"] if wide else []
    for name in names:
        table.add_column(name, justify="left" if name == "worker" else "right", no_wrap=True)
    for worker in rows:
        change = model.changes.get(worker.worker)
        lag = Text(f"{worker.loop_lag * 1000:,.0f} ms", "yellow" if worker.loop_lag >= LAG else "")
        cells = [str(worker.worker), *_traffic([change] if change else [], [worker]), lag]
        if wide:
            cells += [
                f"{worker.contenders:,}",
                f"{sum(entry.errors for entry in worker.sockets):,}",
                str(worker.pid),
                duration(status.at - worker.started),
                worker.adapter,
            ]
        table.add_row(*cells)
    if len(status.workers) > 1:
        name = "all" if len(rows) == len(status.workers) else f"all {len(status.workers)}"
        table.add_row(name, *_traffic(model.changes.values(), status.workers), style="bold")
    return table


def _traffic(changes: Iterable[Change], workers: Iterable[WorkerStatus]) -> list[str | Text]:
    """Packets and bits each way, flows, drops per second, what the kernel dropped in all."""
    changes, workers = list(changes), list(workers)
    cells: list[str | Text] = []
    for way in DIRECTIONS:
        packets = sum(change.per_second(f"{way}_packets") for change in changes)
        octets = sum(change.per_second(f"{way}_bytes") for change in changes)
        cells += [f"{packets:,.0f}", _mbit(octets)] if changes else ["-", "-"]
    cells.append(f"{sum(worker.flows for worker in workers):,}")
    dropped = sum(change.rate(change.dropped) for change in changes)
    cells.append(Text(f"{dropped:,.0f}", "yellow" if dropped >= 0.5 else "") if changes else "-")
    lost = sum(entry.kernel_drops for worker in workers for entry in worker.sockets)
    losing = any(change.lost_by_kernel for change in changes)
    cells.append(Text(f"{lost:,}", "bold red" if losing else "yellow" if lost else ""))
    return cells


def _mbit(octets: float) -> str:
    mbit = octets * 8 / 1e6
    return f"{mbit:,.2f}" if mbit < 10 else f"{mbit:,.1f}" if mbit < 100 else f"{mbit:,.0f}"


# --- facts, one line each -------------------------------------------------------------------------


def _facts(model: Model) -> list[Text]:
    """The most important first: where there is little room the last are left out."""
    return [
        *_kinds(model),
        _flows(model),
        _changed(model),
        *_store(model),
        *_drops(model),
        *_hints(model),
    ]


def _fact(name: str, *parts: str | tuple[str, str]) -> Text:
    return _line(Text.assemble((f"{name:<8}", "bold cyan"), *parts))


def _kinds(model: Model) -> list[Text]:
    rates = model.kinds()
    lines = []
    for way in DIRECTIONS:
        parts = [f"{kind} {rates.get((way, kind), 0.0):,.0f}" for kind in KINDS]
        lines.append(_fact(f"{ARROWS[way]} /s", "  ".join(parts) if rates else "-"))
    return lines


def _rate(per_second: float) -> str:
    return f" ({per_second:,.0f}/s)" if per_second >= 0.5 else ""


def _flows(model: Model) -> Text:
    words = {
        Origin.CHECK: "check",
        Origin.DOWNLINK: "downlink",
        Origin.STORE: "store",
        Origin.ANSWER: "answer",
    }
    parts = [f"{words[origin]} {count:,}{_rate(rate)}" for origin, count, rate in model.made()]
    return _fact("made by", "  ".join(parts))


def _changed(model: Model) -> Text:
    counters = model.counters()
    parts = []
    for name, word in (
        ("moved", "moved"),
        ("released", "released"),
        ("expired", "expired"),
        ("by_ssrc", "by SSRC"),
        ("held", "held"),
    ):
        parts.append(f"{word} {counters.get(name, 0):,}{_rate(model.per_second(name))}")
    return _fact("flows", "  ".join(parts))


def _store(model: Model) -> list[Text]:
    stores = model.stores()
    if not stores:
        return [_fact("store", ("none: a restarted relay learns from checks and downlink", "dim"))]
    parts: list[str | tuple[str, str]] = []
    states = {store.state for _, store in stores}
    for state in sorted(states):
        words, style = STORE_STATES.get(state, (state, "yellow"))
        who = [str(worker.worker) for worker, store in stores if store.state == state]
        parts.append((words, style))
        parts.append(f" ({','.join(who)})  " if len(states) > 1 else "  ")
    errors = {store.last_error for _, store in stores if store.last_error}
    if errors and states != {"closed"}:
        parts.append((f"{', '.join(sorted(errors))}  ", "yellow"))
    for name in ("lost", "refused", "timeouts", "errors", "waiting"):
        count = sum(getattr(store, name) for _, store in stores)
        if count:
            parts.append((f"{name} {count:,}  ", "" if name == "waiting" else "yellow"))
    parts.append(f"{max(store.latency for _, store in stores) * 1000:,.1f} ms")
    for name in ("written", "hits", "misses"):
        count = sum(getattr(store, name) for _, store in stores)
        rate = sum(change.rate(change.store.get(name, 0)) for change in model.changes.values())
        parts.append(f"  {name} {count:,}{_rate(rate)}")
    return [_fact("store", *parts)]


def _drops(model: Model) -> list[Text]:
    rows = model.drops()
    if not rows:
        return [_fact("drops", ("none", "dim"))]
    lines = []
    for index, (reason, count, rate) in enumerate(rows[:REASONS]):
        style = "yellow" if rate >= 1 else ""
        more = len(rows) - REASONS
        rest = f"  and {_many(more, 'other reason')}" if more > 0 and index == REASONS - 1 else ""
        lines.append(
            _fact(
                "" if index else "drops",
                (f"{rate:>7,.0f}/s", style),
                f"{count:>13,}  {reason}",
                (rest, "dim"),
            )
        )
    return lines


def _hints(model: Model) -> list[Text]:
    assert model.status is not None
    found: dict[str, list[int]] = {}
    uses: dict[str, list[str]] = {}
    for worker in model.status.workers:
        for entry in worker.configurations:
            checks = found.setdefault(entry.id, [0, 0])
            checks[0] += entry.checks
            uses[entry.id] = [
                "read" if entry.readable else "not read",
                *(["may be minted"] if entry.mintable else []),
                "verified here" if entry.verified else "verified by the owner",
            ]
    for change in model.changes.values():
        for identifier, count in change.checks.items():
            if identifier in found:
                found[identifier][1] += round(change.rate(count))
    lines = []
    for index, (identifier, (count, rate)) in enumerate(sorted(found.items())):
        text = f"{identifier}: {', '.join(uses[identifier])}, checks {count:,}{_rate(rate)}"
        lines.append(_fact("" if index else "hints", text))
    return lines


# --- what happened --------------------------------------------------------------------------------


def _clock(at: float, now: float) -> str:
    moment = datetime.fromtimestamp(at).astimezone()
    return moment.strftime("%H:%M:%S" if now - at < 86_400 else "%d %b  ")


def _plain(text: str) -> str:
    """What a terminal would obey is shown as a question mark."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _happenings(model: Model, width: int, room: int) -> list[Text]:
    """At most ``room`` lines, the newest first."""
    assert model.status is not None
    title = _line("what happened, the newest first", "dim")
    now = model.status.at
    lines: list[Text] = []
    for happening in model.happenings:
        for index, piece in enumerate(textwrap.wrap(_plain(happening.text), max(20, width - 10))):
            when = " " * 8 if index else _clock(happening.at, now)
            lines.append(_line(Text.assemble((when, "dim"), "  ", piece)))
        if len(lines) >= room - 1:
            break
    if not lines:
        lines = [_line("nothing yet", "dim")]
    return [title, *lines[: max(1, room - 1)]]
