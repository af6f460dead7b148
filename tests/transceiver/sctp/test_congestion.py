"""The window, as RFC 9260, 7.2, moves it."""

from hypothesis import given
from hypothesis import strategies as st

from transceiver.sctp.congestion import Congestion

PACKET = 1000


def opened(window: int, threshold: int | None = None) -> Congestion:
    congestion = Congestion(PACKET)
    congestion.window = window
    if threshold is not None:
        congestion.threshold = threshold
    return congestion


def acknowledge(congestion: Congestion, size: int, flight: int, *, advanced: bool = True) -> int:
    """Bytes by which the window grows."""
    before = congestion.window
    congestion.acknowledge(size, flight, advanced=advanced, drained=False)
    return congestion.window - before


def test_it_begins_with_ten_packets() -> None:
    assert Congestion(PACKET).window == 10_000


def test_slow_start_grows_by_what_came_and_at_most_a_packet() -> None:
    assert acknowledge(opened(10_000), 300, 10_000) == 300
    assert acknowledge(opened(10_000), 5000, 10_000) == PACKET


def test_it_grows_only_where_it_was_made_use_of() -> None:
    assert acknowledge(opened(10_000), 1000, 8_000) == 0
    assert acknowledge(opened(10_000), 1000, 9_001) == PACKET
    assert acknowledge(opened(10_000, 5_000), 20_000, 8_000) == 0


def test_gaps_alone_do_not_open_it_in_slow_start() -> None:
    assert acknowledge(opened(10_000), 1000, 10_000, advanced=False) == 0


def test_congestion_avoidance_adds_a_packet_for_each_window() -> None:
    congestion = opened(10_000, 5_000)
    grown = [acknowledge(congestion, 1000, 10_000) for _ in range(10)]
    assert grown == [0] * 9 + [PACKET]
    # What is beyond the window counts for the next time.
    congestion = opened(10_000, 5_000)
    assert acknowledge(congestion, 15_000, 10_000) == PACKET
    assert [acknowledge(congestion, 1000, 11_000) for _ in range(6)] == [0] * 5 + [PACKET]


def test_acknowledgements_of_an_idle_flow_are_not_saved_up() -> None:
    congestion = opened(10_000, 5_000)
    for _ in range(100):
        assert acknowledge(congestion, 1000, 1000) == 0
    assert acknowledge(congestion, 1000, 10_000) == PACKET
    assert acknowledge(congestion, 1000, 11_000) == 0


def test_nothing_outstanding_begins_the_count_again() -> None:
    congestion = opened(10_000, 5_000)
    for _ in range(9):
        acknowledge(congestion, 1000, 10_000)
    congestion.acknowledge(0, 0, advanced=True, drained=True)
    assert acknowledge(congestion, 1000, 10_000) == 0


def test_a_loss_halves_it_once_in_a_recovery() -> None:
    congestion = opened(20_000)
    assert congestion.lose(100)
    assert (congestion.window, congestion.threshold) == (10_000, 10_000)
    assert congestion.recovering
    assert not congestion.lose(120)
    assert congestion.window == 10_000
    assert acknowledge(congestion, 1000, 20_000) == 0
    congestion.reach(99)
    assert congestion.recovering
    congestion.reach(100)
    assert not congestion.recovering
    assert congestion.lose(130)
    assert congestion.window == 5_000


def test_it_is_never_halved_below_four_packets() -> None:
    congestion = opened(5_000)
    congestion.lose(1)
    assert congestion.window == 4_000


def test_a_timeout_leaves_one_packet() -> None:
    congestion = opened(20_000)
    congestion.lose(7)
    congestion.time_out()
    assert (congestion.window, congestion.threshold) == (PACKET, 5_000)
    assert not congestion.recovering


def test_a_long_rest_is_a_new_beginning() -> None:
    congestion = opened(64_000)
    congestion.rest(0)
    assert congestion.window == 64_000
    congestion.rest(2)
    assert (congestion.window, congestion.threshold) == (16_000, 64_000)
    congestion.rest(1_000_000)
    assert congestion.window == 4_000
    congestion.window = PACKET
    congestion.rest(3)
    assert congestion.window == PACKET


EVENTS = st.one_of(
    st.tuples(st.just("ack"), st.integers(0, 50_000), st.integers(0, 200_000), st.booleans()),
    st.tuples(st.just("lose"), st.integers(0, 1000)),
    st.tuples(st.just("reach"), st.integers(0, 1000)),
    st.tuples(
        st.just("time"),
    ),
    st.tuples(st.just("rest"), st.integers(0, 10)),
)


@given(st.lists(EVENTS, max_size=60))
def test_one_packet_always_goes_and_growth_is_bounded(story: list[tuple]) -> None:  # type: ignore[type-arg]
    congestion = Congestion(PACKET)
    for event in story:
        before = congestion.window
        match event:
            case ("ack", size, flight, advanced):
                congestion.acknowledge(size, flight, advanced=advanced, drained=False)
            case ("lose", highest):
                congestion.lose(highest)
            case ("reach", cumulative):
                congestion.reach(cumulative)
            case ("time",):
                congestion.time_out()
            case ("rest", timeouts):
                congestion.rest(timeouts)
        assert congestion.window >= PACKET
        # A loss may raise what a timeout had left to four packets; nothing else more than one.
        assert congestion.window <= max(before + PACKET, 4 * PACKET)
