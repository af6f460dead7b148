"""Reading pictures, and subtracting one from another."""

from hypothesis import given
from hypothesis import strategies as st

from pictures import START, worker
from stunroute.operations import picture
from stunroute.relay import Counters
from stunroute.status import StoreStatus
from stunroute.trace import Origin

COUNTS = st.integers(0, 1 << 40)


def test_kinds_sum_up_to_the_packets_whether_they_were_looked_at_or_not() -> None:
    found = picture.kinds(
        worker(
            counters={"uplink_packets": 10, "downlink_packets": 7},
            kinds={("uplink", "rtp"): 6, ("uplink", "other"): 1},
        )
    )
    assert found["uplink", "rtp"] == 6
    assert found["uplink", "other"] == 4
    assert found["downlink", "other"] == 7
    assert set(found) == {(way, kind) for way in picture.DIRECTIONS for kind in picture.KINDS}


def test_every_origin_is_counted() -> None:
    counters = {"made": 10, "healed": 1, "restored": 2, "answered": 3}
    assert picture.made(counters) == {
        Origin.CHECK: 4,
        Origin.DOWNLINK: 1,
        Origin.STORE: 2,
        Origin.ANSWER: 3,
    }
    assert set(picture.made({})) == set(Origin)
    assert counters.keys() <= Counters().scalars().keys()


def test_every_count_of_the_store_is_subtracted() -> None:
    counts = {
        name
        for name in StoreStatus.__slots__
        if name[0] != "_" and isinstance(getattr(StoreStatus("closed"), name), int)
    }
    assert set(picture.STORE_COUNTS) == counts - {"waiting"}


@given(COUNTS, COUNTS, COUNTS, COUNTS, st.booleans())
def test_what_happened_between_two_pictures(
    made: int, drops: int, more: int, kernel: int, replaced: bool
) -> None:
    old = worker(counters={"made": made}, drops={"no-flow": drops}, kernel_drops=kernel)
    pid = 200 if replaced else 100
    new = worker(
        pid=pid,
        counters={"made": made + more},
        drops={"no-flow": drops + more},
        kernel_drops=kernel + more,
        store=StoreStatus("closed", lookups=more),
    )
    change = picture.between(old, new, 2.0, START + 5.0)
    assert change.counters["made"] == more + (made if replaced else 0)
    assert change.drops["no-flow"] == more + (drops if replaced else 0)
    # The sockets are the supervisor's, and outlive the worker.
    assert change.lost_by_kernel == more
    assert change.store["lookups"] == more
    assert change.age == 5.0
    assert change.per_second("made") == change.counters["made"] / 2


def test_no_time_has_no_rate() -> None:
    change = picture.between(None, worker(counters={"made": 5}), 0.0, START)
    assert change.per_second("made") == 0.0
    assert change.counters["made"] == 5
