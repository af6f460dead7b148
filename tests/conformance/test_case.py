"""Cases and their oracles."""

import attrs
import pytest

from conformance import catalogue
from conformance.case import (
    Blocked,
    Level,
    Oracle,
    Profile,
    Rule,
    Seen,
    Unsupported,
    Verdict,
    case,
)
from conformance.drivers.memory import MemoryDriver, SimulatedDriver
from conformance.runner import run_case
from conformance.stage import Refused

CASES = catalogue.load()


class Light(Seen):
    GREEN = "green"
    AMBER = "amber"
    RED = "red"


def make(
    level=Level.MUST, good=(Light.GREEN,), bad=(Light.RED,), lenient=(Light.AMBER,), steps=None
):
    return case(
        "rfc1/2.3/a-light",
        "It is green.",
        sends="a look",
        profiles=(Profile.STUN,),
        level=level,
        good=good,
        bad=bad,
        lenient=lenient,
        without={"udp": "it is dark there"},
    )(steps or (lambda stage: Light.GREEN))


@pytest.mark.parametrize(
    ("level", "verdict"),
    [(Level.MUST, Verdict.FAIL), (Level.SHOULD, Verdict.LENIENT), (Level.MAY, Verdict.NOTED)],
)
def test_the_level_says_how_bad_a_wrong_outcome_is(level: Level, verdict: Verdict) -> None:
    judged = make(level)
    assert judged.judge(Light.GREEN) is Verdict.PASS
    assert judged.judge(Light.AMBER) is Verdict.LENIENT
    assert judged.judge(Light.RED) is verdict


@pytest.mark.parametrize(
    ("good", "bad", "lenient"),
    [
        ((Light.GREEN,), (Light.RED,), ()),
        ((Light.GREEN,), (Light.RED, Light.AMBER), (Light.AMBER,)),
    ],
)
def test_an_oracle_names_every_outcome_once(good, bad, lenient) -> None:
    with pytest.raises(ValueError, match="no partition"):
        make(good=good, bad=bad, lenient=lenient)


def test_what_is_grave_is_so_at_any_level() -> None:
    class Fate(Seen):
        WELL = "well"
        DEAD = "dead"

        @property
        def is_grave(self) -> bool:
            return self is Fate.DEAD

    for level in Level:
        assert make(level, (Fate.WELL,), (Fate.DEAD,), ()).judge(Fate.DEAD) is Verdict.FAIL


@pytest.mark.parametrize(("good", "bad"), [((), tuple(Light)), (tuple(Light), ())])
def test_a_case_can_pass_and_can_fail(good, bad) -> None:
    with pytest.raises(ValueError, match="something"):
        make(good=good, bad=bad, lenient=())


def test_another_vocabulary_is_the_harness_at_fault() -> None:
    class Other(Seen):
        BLUE = "blue"

    result = run_case(make(steps=lambda stage: Other.BLUE), MemoryDriver())
    assert result.verdict is Verdict.BROKEN
    assert "Other.BLUE" in result.detail


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (Unsupported("no door"), Verdict.UNSUPPORTED),
        (Blocked("no answer"), Verdict.BLOCKED),
        (Refused("the server is gone"), Verdict.BLOCKED),
        (ZeroDivisionError("oops"), Verdict.BROKEN),
    ],
)
def test_what_steps_raise_has_a_verdict(error: Exception, verdict: Verdict) -> None:
    def steps(stage):
        raise error

    result = run_case(make(steps=steps), MemoryDriver())
    assert result.verdict is verdict
    assert str(error) in result.detail


def test_a_driver_that_cannot_ask_says_why() -> None:
    driver = MemoryDriver(name="udp")
    result = run_case(make(), driver)
    assert (result.verdict, result.detail) == (Verdict.UNSUPPORTED, "it is dark there")


def test_names_lead_to_their_source() -> None:
    made = make()
    assert made.source == "RFC 1, section 2.3"
    assert made.link == "https://www.rfc-editor.org/rfc/rfc1.html#section-2.3"


def test_names_have_three_parts() -> None:
    with pytest.raises(ValueError, match="SOURCE"):
        case(
            "rfc1/light",
            "",
            sends="",
            profiles=(),
            good=(Light.GREEN,),
            bad=(Light.RED, Light.AMBER),
        )


@pytest.mark.parametrize("traps", [("no such trap",), ("Facts", "Facts")])
def test_traps_are_known_and_named_once(traps: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="no traps"):
        Rule("rfc1/2.3/a-light", "It is green.", traps=traps)


def test_a_case_says_all_that_its_rule_says() -> None:
    rule = Rule(
        "rfc1/2.3/a-light",
        "It is green.",
        level=Level.SHOULD,
        requirements=("rfc1/2.3/1",),
        traps=("Facts",),
    )
    asked = rule.asked(
        sends="a look", profiles=(), good=(Light.GREEN,), bad=(Light.RED, Light.AMBER)
    )(lambda stage: Light.RED)
    assert [getattr(asked, each.name) for each in attrs.fields(Rule)] == [
        getattr(rule, each.name) for each in attrs.fields(Rule)
    ]
    assert asked.judge(Light.RED) is Verdict.LENIENT


def test_what_an_oracle_puts_up_with_is_wrong_no_more() -> None:
    strict = Oracle(good=(Light.GREEN,), bad=(Light.RED, Light.AMBER))
    assert strict.lenient_about(Light.AMBER) == Oracle(
        good=(Light.GREEN,), bad=(Light.RED,), lenient=(Light.AMBER,)
    )


def test_selection_is_by_glob_and_profile() -> None:
    assert catalogue.select(CASES) == list(CASES)
    chosen = catalogue.select(CASES, ["rfc8489/*"], [Profile.ICE_LITE])
    assert chosen
    assert all(each.name.startswith("rfc8489/") for each in chosen)
    assert catalogue.select(CASES, ["nothing/*"]) == []


@pytest.mark.parametrize("driver", [MemoryDriver(), SimulatedDriver()], ids=lambda d: d.name)
@pytest.mark.parametrize("each", CASES, ids=lambda each: each.name)
def test_our_own_cores_pass(each, driver) -> None:
    """And send the same when they are asked again."""
    result, again = (run_case(each, driver) for _ in range(2))
    sound = (Verdict.PASS, Verdict.LENIENT, Verdict.UNSUPPORTED)
    assert result.verdict in sound, f"{result.seen} {result.detail}"
    assert result.trail.entries == again.trail.entries
