from hypothesis import given, settings
from hypothesis import strategies as st

from transceiver.sctp.tsns import Tsns


def blocks(seen: set[int], cumulative: int) -> list[tuple[int, int]]:
    """The runs in ``seen`` beyond the cumulative TSN, as offsets."""
    found: list[tuple[int, int]] = []
    for tsn in sorted(tsn - cumulative for tsn in seen if tsn > cumulative):
        if found and found[-1][1] == tsn - 1:
            found[-1] = (found[-1][0], tsn)
        else:
            found.append((tsn, tsn))
    return found


@given(
    steps=st.lists(st.tuples(st.booleans(), st.integers(1, 60)), max_size=80),
    start=st.sampled_from([-1, 0, (1 << 32) - 30]),
)
@settings(max_examples=100)
def test_against_a_set(steps: list[tuple[bool, int]], start: int) -> None:
    """Arrivals anywhere, and now and then a FORWARD-TSN, to what a plain set says."""
    tsns, seen = Tsns(start), set[int]()
    for forward, step in steps:
        tsn = start + step
        assert tsns.has(tsn) is (tsn in seen)
        if tsn in seen:
            continue
        if forward and step % 5 == 0:
            tsns.forward(tsn)
            seen |= set(range(start + 1, tsn + 1))
        elif tsn == tsns.cumulative + 1:
            tsns.advance()
            seen.add(tsn)
        else:
            tsns.note(tsn)
            seen.add(tsn)
        cumulative = start
        while cumulative + 1 in seen:
            cumulative += 1
        assert tsns.cumulative == cumulative
        expected = blocks(seen, cumulative)
        assert tsns.has_gaps is bool(expected)
        assert list(tsns.gaps(1000)) == expected
        assert list(tsns.gaps(2)) == expected[:2]
        assert all(tsns.has(tsn) for tsn in seen)
        assert not tsns.has(cumulative + 1)


def test_nothing_has_come_before_the_first() -> None:
    tsns = Tsns(9)
    assert tsns.has(9)
    assert not tsns.has(10)
    assert tsns.gaps(5) == ()
