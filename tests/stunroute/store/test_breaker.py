"""The breaker: every state against every input."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stunroute.store.breaker import (
    Breaker,
    BreakerConfig,
    Closed,
    HalfOpen,
    Open,
    State,
    Ticket,
)

CONFIG = BreakerConfig(failures=3, pause=1.0, longest_pause=3.0)


def closed(failures: int) -> tuple[Breaker, Ticket | None]:
    breaker = Breaker(CONFIG)
    for _ in range(failures):
        fail(breaker, 0.0)
    return breaker, breaker.attempt(0.0)


def opened() -> tuple[Breaker, Ticket | None]:
    """Open until 1.0, and the ticket of an attempt from before."""
    breaker, early = closed(0)
    for _ in range(3):
        fail(breaker, 0.0)
    return breaker, early


def half_open() -> tuple[Breaker, Ticket | None]:
    breaker, _ = opened()
    return breaker, breaker.attempt(1.0)


def fail(breaker: Breaker, now: float) -> None:
    ticket = breaker.attempt(now)
    assert ticket is not None
    breaker.failed(ticket, now)


MADE = {
    "fresh": lambda: closed(0),
    "failed": lambda: closed(2),
    "open": opened,
    "half-open": half_open,
}


@pytest.mark.parametrize(
    ("made", "before", "attempted", "at_its_time", "succeeded", "failed"),
    [
        # After: an attempt at 0.9, one at 1.0, a success, a failure at 5.0.
        ("fresh", Closed(), Closed(), Closed(), Closed(), Closed(1)),
        ("failed", Closed(2), Closed(2), Closed(2), Closed(), Open(6.0, 1.0)),
        ("open", Open(1.0, 1.0), Open(1.0, 1.0), HalfOpen(1.0), Open(1.0, 1.0), Open(1.0, 1.0)),
        ("half-open", HalfOpen(1.0), HalfOpen(1.0), HalfOpen(1.0), Closed(), Open(7.0, 2.0)),
    ],
)
def test_every_state_against_every_input(
    made: str, before: State, attempted: State, at_its_time: State, succeeded: State, failed: State
) -> None:
    breaker, ticket = MADE[made]()
    assert ticket is not None
    assert breaker.state == before
    assert breaker.is_closed == isinstance(before, Closed)
    assert breaker.retry_at() == (1.0 if made == "open" else None)
    may = breaker.attempt(0.9) is not None
    assert (breaker.state, may) == (attempted, isinstance(before, Closed))
    may = breaker.attempt(1.0) is not None
    assert (breaker.state, may) == (at_its_time, not isinstance(before, HalfOpen))

    breaker, ticket = MADE[made]()
    assert ticket is not None
    breaker.succeeded(ticket)
    assert breaker.state == succeeded

    breaker, ticket = MADE[made]()
    assert ticket is not None
    breaker.failed(ticket, 5.0)
    assert breaker.state == failed


def test_only_failures_in_a_row_open_it() -> None:
    breaker = Breaker(CONFIG)
    for _ in range(5):
        fail(breaker, 0.0)
        fail(breaker, 0.0)
        ticket = breaker.attempt(0.0)
        assert ticket is not None
        breaker.succeeded(ticket)
    assert breaker.state == Closed()


def test_the_pause_doubles_up_to_its_bound_and_begins_anew_after_a_success() -> None:
    breaker, _ = opened()
    now, pauses = 0.0, []
    for _ in range(4):
        state = breaker.state
        assert isinstance(state, Open)
        pauses.append(state.pause)
        now = state.until
        fail(breaker, now)
    assert pauses == [1.0, 2.0, 3.0, 3.0]
    until = breaker.retry_at()
    assert until == now + 3.0
    ticket = breaker.attempt(until)
    assert ticket is not None
    breaker.succeeded(ticket)
    for _ in range(3):
        fail(breaker, 100.0)
    assert breaker.state == Open(101.0, 1.0)


def test_one_attempt_at_a_time_while_it_is_half_open() -> None:
    breaker, ticket = half_open()
    assert ticket is not None
    assert breaker.attempt(50.0) is None


@pytest.mark.parametrize("works", [True, False])
def test_a_report_from_another_time_changes_nothing(works: bool) -> None:
    early = Breaker(CONFIG).attempt(0.0)
    assert early is not None
    for breaker, _ in (opened(), half_open()):
        before = breaker.state
        if works:
            breaker.succeeded(early)
        else:
            breaker.failed(early, 9.0)
        assert breaker.state == before


class BreakerRules(RuleBasedStateMachine):
    """Whatever the order of attempts and reports: at most one attempt while it is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.breaker = Breaker(CONFIG)
        self.tickets: list[Ticket] = []
        self.trial: Ticket | None = None

    @rule(step=st.floats(0.0, 4.0))
    def time_passes(self, step: float) -> None:
        self.now += step

    @rule()
    def attempt(self) -> None:
        was_closed = self.breaker.is_closed
        ticket = self.breaker.attempt(self.now)
        if ticket is None:
            assert not was_closed
            return
        if was_closed:
            self.tickets.append(ticket)
        else:
            assert self.trial is None, "two trials at once"
            self.trial = ticket

    @precondition(lambda self: self.tickets)
    @rule(works=st.booleans())
    def report(self, works: bool) -> None:
        ticket = self.tickets.pop(0)
        before = self.breaker.state
        if works:
            self.breaker.succeeded(ticket)
        else:
            self.breaker.failed(ticket, self.now)
        if not isinstance(before, Closed):
            assert self.breaker.state == before

    @precondition(lambda self: self.trial is not None)
    @rule(works=st.booleans())
    def report_trial(self, works: bool) -> None:
        assert self.trial is not None
        if works:
            self.breaker.succeeded(self.trial)
        else:
            self.breaker.failed(self.trial, self.now)
        self.trial = None
        assert self.breaker.is_closed == works

    @invariant()
    def bounds_hold(self) -> None:
        match self.breaker.state:
            case Closed(failures):
                assert failures < CONFIG.failures
            case Open(until, pause):
                assert until <= self.now + pause
                assert pause <= CONFIG.longest_pause
            case HalfOpen():
                assert self.trial is not None


TestBreakerRules = BreakerRules.TestCase
TestBreakerRules.settings = settings(max_examples=60, stateful_step_count=40)
