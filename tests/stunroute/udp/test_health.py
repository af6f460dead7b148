"""When a worker counts as hung, and when it is started again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stunroute.udp.health import HUNG_AFTER, Backoff, Heartbeat, LoopLag


class TestBackoff:
    def test_deaths_in_a_row_are_answered_ever_more_slowly(self) -> None:
        backoff = Backoff()
        delays = []
        for now in range(9):
            backoff.started(now)
            delays.append(backoff.ended(now + 0.5))
        assert delays == pytest.approx([0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])

    def test_a_long_life_is_forgiven_what_was_before_it(self) -> None:
        backoff = Backoff()
        for _ in range(5):
            backoff.started(0.0)
            backoff.ended(29.9)
        backoff.started(100.0)
        assert backoff.ended(129.9) > 1
        backoff.started(200.0)
        assert backoff.ended(230.0) == 0
        backoff.started(230.0)
        assert backoff.ended(231.0) == backoff.first

    @given(st.lists(st.floats(0, 29.9), min_size=1, max_size=200))
    def test_there_is_no_storm(self, lives: list[float]) -> None:
        """However short their lives, workers that die young are few."""
        backoff, now, births = Backoff(), 0.0, []
        for life in lives:
            births.append(now)
            backoff.started(now)
            now += life + backoff.ended(now + life)
        for first, tenth in zip(births, births[9:], strict=False):
            assert tenth - first >= 3


class TestHeartbeat:
    def test_a_worker_that_answers_is_asked_at_every_beat(self) -> None:
        heartbeat = Heartbeat()
        for _ in range(100):
            assert heartbeat.beat()
            heartbeat.answered()
            assert not heartbeat.is_hung

    def test_a_worker_that_does_not_answer_is_asked_once_and_then_hung(self) -> None:
        heartbeat = Heartbeat()
        assert heartbeat.beat()
        for _ in range(HUNG_AFTER):
            assert not heartbeat.is_hung
            assert not heartbeat.beat()
        assert heartbeat.is_hung

    def test_a_late_answer_is_an_answer(self) -> None:
        heartbeat = Heartbeat()
        for _ in range(HUNG_AFTER):
            heartbeat.beat()
        heartbeat.answered()
        assert heartbeat.missed == 0
        assert heartbeat.beat()
        assert not heartbeat.is_hung


class TestLoopLag:
    def test_the_longest_delay_is_told_for_at_least_a_window_and_at_most_two(self) -> None:
        lag = LoopLag(window=10.0)
        lag.was_late(0.5, 3.0)
        for tenth in range(30, 400):
            now = tenth / 10
            lag.was_late(0.001, now)
            if now < 13:
                assert lag.longest(now) == 0.5
            if now >= 23:
                assert lag.longest(now) == 0.001

    def test_to_look_takes_nothing_away(self) -> None:
        lag = LoopLag()
        lag.was_late(0.2, 1.0)
        assert [lag.longest(now) for now in (1.0, 1.0, 2.0, 15.9)] == [0.2] * 4

    def test_nothing_measured_is_nothing(self) -> None:
        lag = LoopLag(window=10.0)
        assert lag.longest(5.0) == 0.0
        lag.was_late(1.0, 6.0)
        assert lag.longest(1000.0) == 0.0
