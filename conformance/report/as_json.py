"""A run as JSON, for programs.

The form is stable: fields are added, never taken away or given another meaning, within one
``version``. Who reads it should ignore what he does not know. The records below are the
documentation; ``render`` writes one, and ``read`` gives it back.
"""

import json
from typing import Literal

import cattrs
from attrs import field, frozen

from conformance.case import Verdict
from conformance.runner import Result
from stunroute.errors import StunrouteError

from .plain import one_line, plain
from .run import Run, crossings

FORMAT = "stunroute-conformance"
VERSION = 1


class ReportError(StunrouteError):
    """Not a report, or one of another version."""


@frozen(slots=True)
class Traffic:
    """How many datagrams went one way, and the bytes of their payloads. ``datagrams`` counts those
    that the trail kept (2000 at most, both ways together), ``bytes`` counts all."""

    datagrams: int
    bytes: int


@frozen(slots=True)
class KnownFailure:
    """An entry of the known-failures file: a glob of case names, and why nobody minds."""

    case: str
    reason: str


@frozen(slots=True)
class CaseReport:
    """One case. ``level`` is MUST, SHOULD or MAY; ``verdict`` one of pass, lenient, noted, fail,
    blocked, unsupported, broken; ``fails`` whether it fails the run. ``known`` is the reason in the
    known-failures file, null without an entry. ``seen`` is what was observed, from the case's
    closed vocabulary, null where the steps came to no end; ``detail`` the particulars, for people.
    ``seconds`` is what it took. ``link`` leads to the RFC's section, null where no RFC says it."""

    name: str
    requirement: str
    sends: str
    level: str
    profiles: list[str]
    source: str
    link: str | None
    requirements: list[str]
    traps: list[str]
    driver: str
    verdict: str
    fails: bool
    known: str | None
    seen: str | None
    detail: str
    seconds: float
    sent: Traffic
    received: Traffic
    rerun: str


@frozen(slots=True)
class Report:
    """All of it. ``began`` is ISO 8601 with its offset, ``seconds`` what the run took; ``program``
    is the version of stunroute. ``counts`` has every verdict, ``failing`` is the number of cases
    that fail the run, ``outlived`` the known failures that pass now. ``results`` are in the order
    of the cases' names unless the run had another. ``nobody`` says why nothing was asked, where
    nobody was there; ``remarks`` what concerns more than one case."""

    format: Literal["stunroute-conformance"]
    version: Literal[1]
    subject: str
    options: list[str]
    began: str
    seconds: float
    program: str
    seed: str
    strict: bool
    counts: dict[str, int]
    failing: int
    outlived: list[KnownFailure]
    results: list[CaseReport]
    nobody: str | None = None
    remarks: list[str] = field(factory=list)


def render(run: Run) -> str:
    """The report of a run, indented, with a line end at its end."""
    document = cattrs.unstructure(report(run))
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def read(text: str) -> Report:
    """The other way. Raises ReportError."""
    try:
        document = json.loads(text)
        if isinstance(document, dict) and document.get("version") != VERSION:
            raise ReportError(f"version {document.get('version')!r} is not {VERSION}")
        return cattrs.Converter().structure(document, Report)
    except (ValueError, RecursionError) as error:
        raise ReportError(f"not JSON: {error}") from error
    except (cattrs.BaseValidationError, TypeError, AttributeError, KeyError) as error:
        raise ReportError(f"not a report: {'; '.join(cattrs.transform_error(error))}") from error


def report(run: Run) -> Report:
    """A run as the records above."""
    counts = run.counts
    return Report(
        format="stunroute-conformance",
        version=1,
        subject=one_line(run.subject),
        options=[one_line(option) for option in run.options],
        began=run.began,
        seconds=round(run.seconds, 6),
        program=run.version,
        seed=run.seed,
        strict=run.strict,
        counts={verdict.value: counts[verdict] for verdict in Verdict},
        failing=sum(run.fails(result) for result in run.results),
        outlived=[KnownFailure(entry.case, entry.reason) for entry in run.outlived],
        results=[_case(run, result) for result in run.results],
        nobody=one_line(run.nobody) or None,
        remarks=[one_line(remark) for remark in run.remarks],
    )


def _case(run: Run, result: Result) -> CaseReport:
    case, trail, known = result.case, result.trail, run.known(result)
    sent, received = crossings(result)
    return CaseReport(
        name=case.name,
        requirement=case.requirement,
        sends=case.sends,
        level=case.level.value,
        profiles=[profile.value for profile in case.profiles],
        source=case.source,
        link=case.link,
        requirements=list(case.requirements),
        traps=list(case.traps),
        driver=result.driver,
        verdict=result.verdict.value,
        fails=run.fails(result),
        known=None if known is None else known.reason,
        seen=None if result.seen is None else str(result.seen.value),
        detail=plain(result.detail),
        seconds=round(result.seconds, 6),
        sent=Traffic(sent, trail.sent_bytes),
        received=Traffic(received, trail.received_bytes),
        rerun=one_line(run.rerun(result)),
    )
