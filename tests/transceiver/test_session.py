"""The phase table, whole: every phase meets every cause."""

import itertools

import pytest

from transceiver.events import Phase
from transceiver.session import TRANSITIONS, Cause

EXPECTED = {
    (Phase.NEW, Cause.CHECKED): Phase.CHECKING,
    (Phase.CHECKING, Cause.ANSWERED): Phase.HANDSHAKING,
    (Phase.CHECKING, Cause.SECURED): Phase.ESTABLISHED,
    (Phase.HANDSHAKING, Cause.SECURED): Phase.ESTABLISHED,
    (Phase.ESTABLISHED, Cause.SILENT): Phase.DISCONNECTED,
    (Phase.DISCONNECTED, Cause.HEARD): Phase.ESTABLISHED,
}


@pytest.mark.parametrize(("phase", "cause"), list(itertools.product(Phase, Cause)))
def test_every_phase_meets_every_cause(phase: Phase, cause: Cause) -> None:
    if cause is Cause.ENDED:
        expected: Phase | None = Phase.CLOSED
    else:
        expected = EXPECTED.get((phase, cause))
    assert TRANSITIONS.get((phase, cause)) is expected


def test_nothing_leaves_closed() -> None:
    left = [after for (before, _), after in TRANSITIONS.items() if before is Phase.CLOSED]
    assert set(left) == {Phase.CLOSED}


def test_every_phase_but_the_first_can_be_reached() -> None:
    reached = {Phase.NEW}
    while more := {a for (b, _), a in TRANSITIONS.items() if b in reached} - reached:
        reached |= more
    assert reached == set(Phase)
