"""Round trips and deadlines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transceiver.config import SctpLimits
from transceiver.sctp.timers import RoundTrip, Timer

LIMITS = SctpLimits()


def test_the_values_are_those_of_libwebrtc() -> None:
    assert (LIMITS.rto_initial, LIMITS.rto_minimum, LIMITS.rto_maximum) == (0.5, 0.4, 10.0)
    assert LIMITS.delayed_ack == 0.2
    assert RoundTrip(LIMITS).timeout == 0.5


def test_the_first_measurement_sets_and_later_ones_smooth() -> None:
    """RFC 9260, 6.3.1, rules C2 and C3."""
    trip = RoundTrip(LIMITS)
    trip.measure(1.0)
    assert (trip.smoothed, trip.timeout) == (1.0, 3.0)
    trip.measure(2.0)
    # The variation is taken before the mean: 3/4 of 0.5 and 1/4 of 1; 7/8 of 1 and 1/8 of 2.
    assert trip.smoothed == 1.125
    assert trip.timeout == pytest.approx(1.125 + 4 * 0.625)


def test_a_delayed_acknowledgement_is_not_taken_for_a_loss() -> None:
    """However steady the path was before."""
    trip = RoundTrip(LIMITS)
    for _ in range(1000):
        trip.measure(0.5)
    assert trip.timeout >= 0.5 + LIMITS.delayed_ack


@given(st.lists(st.one_of(st.none(), st.floats(0, 100)), max_size=50))
def test_it_stays_within_bounds(story: list[float | None]) -> None:
    trip = RoundTrip(LIMITS)
    for seconds in story:
        if seconds is None:
            before = trip.timeout
            trip.back_off()
            assert trip.timeout == min(2 * before, LIMITS.rto_maximum)
        else:
            trip.measure(seconds)
        assert LIMITS.rto_minimum <= trip.timeout <= LIMITS.rto_maximum


def test_a_measurement_ends_the_backing_off() -> None:
    trip = RoundTrip(LIMITS)
    for _ in range(10):
        trip.back_off()
    assert trip.timeout == LIMITS.rto_maximum
    trip.measure(0.1)
    assert trip.timeout == LIMITS.rto_minimum


def test_a_timer_comes_back_after_twice_as_long() -> None:
    timer = Timer(10.0)
    assert timer.deadline is None
    assert not timer.expired(1e9)
    timer.start(0.0, 3.0)
    assert not timer.expired(2.9)
    assert timer.expired(3.0)
    assert timer.deadline == 9.0
    assert timer.expired(9.0)
    assert timer.deadline == 19.0  # 10, for 12 is too much
    assert timer.expired(50.0)
    assert timer.deadline == 60.0
    timer.stop()
    assert timer.deadline is None
    timer.start(60.0, 1.0)
    assert timer.deadline == 61.0
