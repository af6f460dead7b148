"""What the supervisor remembers for a worker's successor."""

from hypothesis import given
from hypothesis import strategies as st

from fleet import A, B
from stunroute.udp.memory import SourceMemory


def test_what_was_told_is_recalled_the_later_of_two() -> None:
    memory = SourceMemory(30.0, 10)
    assert memory.recall(0.0) == {}
    memory.learn({1: A, 2: A}, 0.0)
    memory.learn({2: B}, 1.0)
    assert memory.recall(2.0) == {1: A, 2: B}


def test_it_is_forgotten_after_one_to_two_lifetimes() -> None:
    memory = SourceMemory(30.0, 10)
    memory.learn({1: A}, 0.0)
    memory.learn({2: A}, 29.0)
    memory.learn({3: A}, 31.0)
    assert memory.recall(59.0) == {1: A, 2: A, 3: A}
    assert memory.recall(62.0) == {3: A}
    assert memory.recall(1000.0) == {}


def test_a_long_silence_forgets_at_once() -> None:
    memory = SourceMemory(30.0, 10)
    memory.learn({1: A}, 0.0)
    assert memory.recall(61.0) == {}


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 40)), max_size=60))
def test_it_is_bounded_and_keeps_what_it_has(told: list[tuple[int, float]]) -> None:
    memory = SourceMemory(30.0, 3)
    now = 0.0
    for ssrc, pause in told:
        now += pause
        memory.learn({ssrc: A}, now)
        assert len(memory.recall(now)) <= 6
