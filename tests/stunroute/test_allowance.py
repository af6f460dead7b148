"""So many in a second: of one thing, or of each of very many."""

from hypothesis import given
from hypothesis import strategies as st

from stunroute.allowance import Allowances, TokenBucket


def made(rate: float = 2.0, burst: float = 3.0, bound: int = 2) -> Allowances[str]:
    return Allowances(rate, burst, bound)


def taken(allowances: Allowances[str], key: str, now: float = 0.0) -> int:
    return sum(allowances.take(key, now) for _ in range(20))


def test_a_burst_at_once_and_the_rate_from_then_on() -> None:
    allowances = made()
    assert taken(allowances, "a") == 3
    assert taken(allowances, "a", 0.5) == 1
    assert taken(allowances, "a", 1.6) == 2
    assert taken(allowances, "a", 100.0) == 3


def test_each_key_has_its_own() -> None:
    allowances = made()
    assert [taken(allowances, key) for key in "ab"] == [3, 3]


def test_those_that_were_used_last_are_remembered() -> None:
    allowances = made()
    taken(allowances, "a")
    assert allowances.take("b", 0.0)
    assert allowances.take("c", 0.0)
    assert len(allowances) == 2
    assert taken(allowances, "b") == 2
    assert taken(allowances, "c") == 2


def test_a_clock_that_goes_back_gives_none() -> None:
    allowances = made()
    taken(allowances, "a", 10.0)
    assert taken(allowances, "a", 1.0) == 0


@given(
    st.floats(0.1, 1e6),
    st.integers(1, 50),
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 1)), max_size=200),
)
def test_never_more_than_burst_and_rate_allow(
    rate: float, burst: int, visits: list[tuple[str, float]]
) -> None:
    allowances = made(rate, burst)
    now, got = 0.0, dict.fromkeys("ab", 0)
    for key, pause in visits:
        now += pause
        got[key] += allowances.take(key, now)
        assert got[key] <= burst + rate * now + 1


class TestTokenBucket:
    def test_gives_its_burst_and_then_its_rate(self) -> None:
        bucket = TokenBucket(10.0, 3.0)
        assert [bucket.take(5.0) for _ in range(4)] == [True, True, True, False]
        assert not bucket.take(5.05)
        assert bucket.take(5.11)
        assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]

    def test_a_clock_that_goes_back_gives_nothing(self) -> None:
        bucket = TokenBucket(10.0, 1.0)
        assert bucket.take(5.0)
        assert not bucket.take(1.0)
        assert not bucket.take(5.0)
