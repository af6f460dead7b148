"""Runs to report on: made by hand where every byte matters, played where a real call does."""

from collections.abc import Iterable
from functools import cache

from conformance import catalogue
from conformance.case import Case, Level, Profile, Seen, Verdict, case
from conformance.drivers.memory import MemoryDriver
from conformance.expectations import Expectations, Known
from conformance.report.run import Run
from conformance.runner import Result, run_case
from conformance.trail import Crossing, Note, Trail
from stunroute.address import Address

CLIENT = Address.of("192.0.2.33", 50000)
SERVER = Address.of("203.0.113.1", 3478)
BEGAN = "2026-05-04T10:20:30+00:00"
HOSTILE = (
    "<script>alert(1)</script> \"'& ]]> \x00\x1b[31m\u202e\ud800 a=ice-pwd:sEcReTpAsSwOrD0123456789"
)
"""What a server could say to harm whoever reads of it."""


class Answer(Seen):
    GOOD = "a good answer"
    BAD = "no answer"


def a_case(
    name: str = "rfc8489/6.3.1/example", level: Level = Level.MUST, **changes: object
) -> Case:
    values: dict[str, object] = {
        "sends": "a request",
        "profiles": (Profile.STUN,),
        "good": (Answer.GOOD,),
        "bad": (Answer.BAD,),
        "level": level,
        "requirements": ("rfc8489/6.3.1/2",),
        "traps": ("STUN and ICE 1",),
    }
    make = case(name, "What is asked is answered.", **(values | changes))  # type: ignore[arg-type]
    return make(lambda stage: Answer.GOOD)


def a_result(
    name: str = "rfc8489/6.3.1/example",
    verdict: Verdict = Verdict.PASS,
    detail: str = "",
    entries: Iterable[Crossing | Note] = (),
    level: Level = Level.MUST,
    **changes: object,
) -> Result:
    trail = Trail()
    for entry in entries:
        if isinstance(entry, Crossing):
            trail.cross(entry)
        else:
            trail.note(entry.at, entry.text)
    seen = Answer.GOOD if verdict is Verdict.PASS else Answer.BAD
    asked = verdict not in (Verdict.UNSUPPORTED, Verdict.BLOCKED, Verdict.BROKEN)
    return Result(
        a_case(name, level, **changes),
        "memory",
        verdict,
        seen if asked else None,
        detail,
        trail,
        0.25,
    )


def sent(at: float, data: bytes, note: str = "", near: Address = CLIENT) -> Crossing:
    return Crossing(at, near, SERVER, True, data, note)


def received(at: float, data: bytes, near: Address = CLIENT) -> Crossing:
    return Crossing(at, near, SERVER, False, data)


def a_run(*results: Result, known: Iterable[Known] = (), **changes: object) -> Run:
    values: dict[str, object] = {
        "subject": "http://server.example/whip",
        "options": ("--whip", "http://server.example/whip"),
        "began": BEGAN,
        "seconds": 1.5,
        "version": "0.1.0",
        "results": results,
        "expectations": Expectations(tuple(known)),
    }
    return Run(**(values | changes))  # type: ignore[arg-type]


def one_of_each() -> Run:
    """Every verdict once, and a failure that is known."""
    results = [
        a_result(f"rfc8489/6/{verdict.value}", verdict, detail=f"it was {verdict.value}")
        for verdict in Verdict
    ]
    results.append(a_result("traps/stun/lived-with", Verdict.FAIL))
    return a_run(*results, known=[Known("traps/*", "Nobody minds.")])


@cache
def played(name: str) -> Result:
    """A case of the catalogue against our own cores."""
    (found,) = catalogue.select(catalogue.load(), [name])
    return run_case(found, MemoryDriver())
