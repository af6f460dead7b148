"""Asking a peer the suite, in pieces, so that one that hangs or dies spoils little.

Each piece is a ``conformance run`` of its own, with a limit of time. Whatever failed is asked once
more, alone, of a peer freshly started and with more patience: what is said about somebody else's
work should not be said of a busy machine. The second word counts, and where it is better than the
first the case is called flaky.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import cattrs
from attrs import Factory, define, evolve, frozen

from conformance.case import Case

from .areas import Area, asked_of
from .errors import PeerError
from .running import AWAY_SECONDS, Running, start
from .table import Peer

T = TypeVar("T")

PIECE = 40
"""Cases that are asked by one command."""
PIECE_AGAIN = 12
SECONDS_PER_CASE = 20.0
"""What a case may take on average, beyond what it says of itself, before its piece is given up."""
AGAIN = 3.0
"""How much more patient the second time is."""
WRONG = frozenset({"fail", "blocked", "broken"})
"""Verdicts that are asked again."""


@frozen(slots=True)
class Asked:
    """One case, as its last run told it. ``flaky``: that was better than the run before it."""

    name: str
    area: str
    verdict: str
    seen: str | None = None
    detail: str = ""
    seconds: float = 0.0
    rerun: str = ""
    flaky: bool = False

    @property
    def said(self) -> str:
        return ": ".join(part for part in (self.seen, self.detail) if part)


@frozen(slots=True)
class Told:
    """All that is known of a peer. ``losses`` says how it ended, and in which pieces."""

    name: str
    version: str
    date: str
    cases: tuple[Asked, ...]
    losses: tuple[str, ...] = ()


@frozen(slots=True)
class Manner:
    """How to ask. ``seconds`` bounds a peer's whole run, apart from the second asking."""

    state: Path
    jobs: int = 2
    patience: float = 1.0
    seconds: float = 1800.0
    areas: Collection[Area] = tuple(Area)
    only: Callable[[str], bool] = lambda _: True
    """Whether a case is asked, by its name. What is not keeps what was told of it before."""
    wrong: bool = False
    """Ask only what went wrong the last time, alone: a case may have been mended since."""
    say: Callable[[str], None] = lambda _: None


def load(state: Path, name: str) -> Told | None:
    """What is kept of a peer, None where it was never asked. Raises PeerError."""
    path = state / name / "report.json"
    try:
        return cattrs.structure(json.loads(path.read_text(encoding="utf-8")), Told)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, cattrs.BaseValidationError) as error:
        raise PeerError(f"{path} is no report of a peer: {error}") from error


def ask(peer: Peer, manner: Manner) -> Told:
    """Ask a peer, and keep what it told under ``manner.state``. Raises PeerError where it does not
    start."""
    folder = manner.state / peer.name
    folder.mkdir(parents=True, exist_ok=True)
    before = load(manner.state, peer.name)
    asking = _Asking(peer, manner, folder, before)
    if manner.wrong:
        wrong = [each for each in before.cases if asking.is_meant(each)] if before else []
    else:
        wrong = list(asking.first().values())
    asking.again([each for each in wrong if each.verdict in WRONG])
    return asking.keep()


@define(slots=True)
class _Asking:
    """One peer's examination."""

    peer: Peer
    manner: Manner
    folder: Path
    before: Told | None
    version: str = ""
    losses: list[str] = Factory(list)
    found: dict[str, Asked] = Factory(dict)

    def keep(self) -> Told:
        """Write down what is known by now. What was told before stays for cases that are not asked
        this time, and are still in the catalogue."""
        now = {case.name for cases in asked_of(self.peer).values() for case in cases}
        old = self.before.cases if self.before else ()
        kept = {each.name: each for each in old if each.name in now}
        cases = {**kept, **self.found}
        earlier = self.before.losses if self.before else ()
        losses = [*(each for each in earlier if not self._concerns(each)), *self.losses]
        told = Told(
            self.peer.name,
            self.version or (self.before.version if self.before else ""),
            f"{datetime.now(UTC):%Y-%m-%d}",
            tuple(cases[name] for name in sorted(cases)),
            tuple(losses),
        )
        text = json.dumps(cattrs.unstructure(told), indent=1, ensure_ascii=False)
        (self.folder / "report.json").write_text(text + "\n", encoding="utf-8")
        return told

    def is_meant(self, asked: Asked) -> bool:
        """Whether the manner is to ask this case, which may be gone since."""
        area = Area(asked.area)
        names = {case.name for case in asked_of(self.peer).get(area, ())}
        return area in self.manner.areas and self.manner.only(asked.name) and asked.name in names

    def _concerns(self, loss: str) -> bool:
        """Whether an earlier loss was in an area that is asked now: it would happen again."""
        where = loss.partition(": ")[0]
        asked = asked_of(self.peer)
        return any(
            where.startswith(f"{area.name.lower()}-")
            or any(case.name == where for case in asked.get(area, ()))
            for area in self.manner.areas
        )

    def first(self) -> dict[str, Asked]:
        """Every case once, an area at a time; each area has a peer of its own."""
        began = time.monotonic()
        for area, all_cases in asked_of(self.peer).items():
            cases = [case for case in all_cases if self.manner.only(case.name)]
            if area not in self.manner.areas or not cases:
                continue
            with start(self.peer.name, revive=True) as running:
                self.version = running.version
                for number, piece in enumerate(_pieces(cases, PIECE)):
                    if time.monotonic() - began > self.manner.seconds:
                        self.found |= _given_up(piece, area, "no time was left for it")
                        continue
                    title = f"{area.name.lower()}-{number}"
                    self.found |= self._ask(running, title, area, piece, again=False)
            self.keep()
        return self.found

    def again(self, wrong: Sequence[Asked]) -> None:
        """What went wrong, with nothing beside it."""
        known = {case.name: case for cases in asked_of(self.peer).values() for case in cases}
        by_area: dict[str, list[Case]] = {}
        for each in wrong:
            by_area.setdefault(each.area, []).append(known[each.name])
        for area, cases in by_area.items():
            for number, piece in enumerate(_pieces(cases, PIECE_AGAIN)):
                title = f"{Area(area).name.lower()}-again-{number}"
                told = self._alone(title, Area(area), piece)
                # What was mended in between is not flaky.
                self.found |= {
                    name: evolve(each, flaky=each.verdict not in WRONG and not self.manner.wrong)
                    for name, each in told.items()
                }
            self.keep()

    def _alone(self, title: str, area: Area, cases: Sequence[Case]) -> dict[str, Asked]:
        """A piece, of a peer of its own. Where the peer does not survive it, whatever went wrong in
        it is asked one by one, for the others may only have met nobody."""
        losses = len(self.losses)
        with start(self.peer.name, revive=True) as running:
            self.version = running.version
            found = self._ask(running, title, area, cases, again=True)
            lost = running.ended is not None or len(self.losses) > losses
        if not lost or len(cases) == 1:
            return found
        del self.losses[losses:]
        for number, case in enumerate(cases):
            if found[case.name].verdict in WRONG:
                found |= self._alone(f"{title}-{number}", area, [case])
        return found

    def _ask(
        self, running: Running, title: str, area: Area, cases: Sequence[Case], *, again: bool
    ) -> dict[str, Asked]:
        report = self.folder / f"{title}.json"
        report.unlink(missing_ok=True)
        began, losses = time.monotonic(), len(running.losses)
        limit = _limit(cases, 1 if again else self.manner.jobs)
        argv = self._command(running, report, cases, again=again)
        with (self.folder / f"{title}.log").open("wb") as log:
            process = subprocess.Popen(
                running.command(argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
            in_time = _wait(process, limit)
        if in_time and not report.is_file():
            raise PeerError(f"`conformance run` broke: see {log.name}")
        named = cases[0].name if len(cases) == 1 else title
        ends = [*running.losses[losses:], *([running.ended] if running.ended else [])]
        self.losses += [f"{named}: {how}" for how in ends[:1]]
        found = _read(report, area)
        took = time.monotonic() - began
        missing = [case for case in cases if case.name not in found]
        why = _nobody(report) or f"its piece was given up after {took:.0f} s"
        found |= _given_up(missing, area, why)
        wrong = sum(each.verdict in WRONG for each in found.values())
        self.manner.say(f"{self.peer.name} {title}: {wrong} of {len(found)} wrong, {took:.0f} s")
        return found

    def _command(
        self, running: Running, report: Path, cases: Sequence[Case], *, again: bool
    ) -> list[str]:
        patience = self.manner.patience * (AGAIN if again else 1.0)
        jobs = 1 if again else self.manner.jobs
        argv = [sys.executable, "-m", "conformance", "run", f"--{running.door.value}", running.url]
        argv += ["--jobs", str(jobs), "--patience", f"{patience:g}", "--json", str(report)]
        argv += ["--wait", f"{AWAY_SECONDS:g}"]
        if again:
            argv += ["--html", str(report.with_suffix(".html"))]
        return [*argv, *(case.name for case in cases)]


def _wait(process: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """Whether it ended by itself; where it did not, or where we are to end, it is ended."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    finally:
        process.kill()
        process.wait()
    return True


def _limit(cases: Sequence[Case], jobs: int) -> float:
    return 20.0 + sum(SECONDS_PER_CASE + 2 * case.lasts for case in cases) / jobs


def _pieces(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (items[at : at + size] for at in range(0, len(items), size))


def _given_up(cases: Iterable[Case], area: Area, why: str) -> dict[str, Asked]:
    return {case.name: Asked(case.name, area.value, "blocked", detail=why) for case in cases}


def _nobody(report: Path) -> str | None:
    """Why a run asked nothing, where it met nobody."""
    try:
        told = json.loads(report.read_text(encoding="utf-8"))["nobody"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None if told is None else str(told)


def _read(report: Path, area: Area) -> dict[str, Asked]:
    """What a report of ``conformance run`` says; nothing where it came to none."""
    try:
        results = json.loads(report.read_text(encoding="utf-8"))["results"]
    except (OSError, ValueError, KeyError):
        return {}
    wanted = ("name", "verdict", "seen", "detail", "seconds", "rerun")
    return {
        each["name"]: Asked(area=area.value, **{key: each[key] for key in wanted})
        for each in results
    }
