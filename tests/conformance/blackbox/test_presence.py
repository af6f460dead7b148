"""Whether anybody is there: what a run makes of what its trials find."""

import threading
from collections.abc import Iterable, Iterator

import pytest
from attrs import evolve

from conformance.blackbox import presence
from conformance.blackbox.presence import Finding, Presence
from conformance.case import Blocked, Seen, Verdict
from conformance.runner import Result
from conformance.trail import Crossing
from reports import CLIENT, SERVER, a_result

HERE = Finding()
NOBODY = Finding(nobody="a knock got no answer")
SILENT = Finding(silent="a call is opened, but nothing comes")


class Ended(Seen):
    DEAD = "dead"

    @property
    def is_grave(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def soon(monkeypatch) -> None:
    monkeypatch.setattr(presence, "BETWEEN", 0.0)
    monkeypatch.setattr(presence, "RETURNING", 0.0)


def finding(told: Iterable[Finding], **options) -> tuple[Presence, list[Finding]]:
    """A presence whose trials find that, one after the other, and what they have found by now."""
    left: Iterator[Finding] = iter(told)
    found: list[Finding] = []

    def trial() -> Finding:
        found.append(next(left))
        return found[-1]

    return Presence(trial, **options), found


def dead(*, heard: bool = False, sent: bool = True) -> Result:
    """A case that a server has not survived."""
    sending = Crossing(0.0, CLIENT, SERVER, True, b"?")
    hearing = Crossing(0.0, CLIENT, SERVER, False, b"!")
    crossed = [each for each, wanted in ((sending, sent), (hearing, heard)) if wanted]
    return evolve(a_result(verdict=Verdict.FAIL, entries=crossed), seen=Ended.DEAD)


def test_who_is_there_is_asked_once() -> None:
    looking, found = finding([HERE])
    assert looking.at_start() is HERE
    looking.need()
    looking.need()
    assert found == [HERE]


def test_a_cheap_trial_is_made_before_each_case() -> None:
    looking, found = finding([HERE] * 3, before_each=True)
    looking.at_start()
    looking.need()
    looking.need()
    assert len(found) == 3


def test_nobody_at_the_start_is_not_waited_for() -> None:
    looking, found = finding([NOBODY])
    assert looking.at_start() is NOBODY
    assert len(found) == 1


def test_who_is_not_up_yet_is_waited_for_when_that_is_wanted() -> None:
    looking, found = finding([NOBODY, NOBODY, HERE], wait=60.0)
    assert looking.at_start() is HERE
    assert len(found) == 3


def test_who_has_gone_is_waited_for_once_and_then_blocks_the_rest() -> None:
    looking, found = finding([HERE, NOBODY])
    looking.at_start()
    looking.need()
    looking.doubt()
    for _ in range(3):
        with pytest.raises(Blocked, match="nobody is there any more: a knock got no answer"):
            looking.need()
    assert len(found) == 2


def test_who_comes_back_is_asked_on() -> None:
    looking, found = finding([HERE, NOBODY, HERE], wait=60.0)
    looking.at_start()
    looking.doubt()
    looking.need()
    looking.need()
    assert found == [HERE, NOBODY, HERE]
    assert looking.gone is None


def test_nobody_waits_on_after_an_interruption() -> None:
    stopped = threading.Event()
    stopped.set()
    looking, found = finding([NOBODY] * 2, wait=3600.0, stopped=stopped)
    assert looking.at_start() is NOBODY
    assert len(found) == 1


def test_a_server_that_dies_of_a_case_leaves_the_next_ones_in_peace() -> None:
    looking, found = finding([HERE, SILENT, HERE])
    looking.at_start()
    looking.weigh(dead())
    assert looking.silent == SILENT.silent
    looking.need()  # too soon to look again
    assert len(found) == 2
    looking._again = 0.0
    looking.need()
    assert looking.silent is None


@pytest.mark.parametrize(
    "result",
    [dead(heard=True), dead(sent=False), a_result(verdict=Verdict.FAIL)],
    ids=["heard", "nothing sent", "not dead"],
)
def test_only_silence_of_the_dead_is_a_reason_to_look(result: Result) -> None:
    looking, found = finding([HERE])
    looking.at_start()
    looking.weigh(result)
    assert found == [HERE]


def test_a_server_that_is_gone_with_the_case_that_ended_it_is_looked_for_before_the_next() -> None:
    looking, found = finding([HERE, NOBODY, NOBODY])
    looking.at_start()
    looking.weigh(dead())
    with pytest.raises(Blocked):
        looking.need()
    assert len(found) == 3
