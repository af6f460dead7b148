"""What happened, told from pictures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pictures import CONFIGURATIONS, START, relay, worker
from stunroute.operations import history
from stunroute.operations.history import History, duration
from stunroute.status import ConfigurationStatus, Happening, RelayStatus, StoreStatus, WorkerStatus
from stunroute.trace import Drop


def told(*pictures: RelayStatus) -> list[str]:
    """What is to be seen after these pictures."""
    story = History()
    for status in pictures:
        story.observe(status)
    return [happening.text for happening in story.happenings()]


def later(second: float, **facts: object) -> RelayStatus:
    return relay(second, worker(**facts))  # type: ignore[arg-type]


QUIET = relay(1, worker())


def test_nothing_happened() -> None:
    assert told(*[relay(second, worker()) for second in range(1, 20)]) == []


@pytest.mark.parametrize(
    ("counter", "words"),
    [
        ("healed", "flows made again from the downlink"),
        ("restored", "flows restored from the store"),
        ("moved", "flows moved to other sessions"),
        ("by_ssrc", "packets of unknown addresses found their flows by SSRC"),
        ("requests_lost", "changes were not queued for the store"),
    ],
)
def test_healing_is_one_sentence_that_grows_and_ends(counter: str, words: str) -> None:
    counts = [10 * min(n, 3) for n in range(10)]
    made = counter in ("healed", "restored")
    pictures = [
        later(2 + n, counters={counter: count, "made": count * made})
        for n, count in enumerate(counts)
    ]
    for number in (2, 3):
        (text,) = told(QUIET, *pictures[:number])
        assert text == f"{10 * (number - 1)} {words}, going on"
    (text,) = told(QUIET, *pictures)
    assert text == f"30 {words}, within 2 s"


def test_what_healed_before_the_first_picture_is_told() -> None:
    first = later(0.5, counters={"healed": 300, "made": 300})
    assert told(first) == ["300 flows made again from the downlink, going on"]


def test_checks_are_told_of_after_a_start_only() -> None:
    young = later(2, counters={"made": 40})
    assert told(QUIET, young) == ["40 flows made by checks, after the start, going on"]
    old = [later(100 + n, counters={"made": 40 * n}) for n in range(5)]
    assert told(*old) == []


def test_a_worker_that_was_replaced() -> None:
    before = relay(1, worker(flows=12, counters={"healed": 5, "made": 5}))
    after = relay(9, worker(pid=900, started=START + 8, flows=3, counters={"healed": 3, "made": 3}))
    texts = told(before, after)
    assert "worker 0 is a new process; 12 flows of the former are lost" in texts
    assert "3 flows made again from the downlink, going on" in texts


def test_a_worker_that_gave_no_answer_for_a_while_goes_on_where_it_was() -> None:
    pictures = [relay(1, worker()), relay(2, wanted=1), later(3, counters={"healed": 1, "made": 1})]
    assert told(*pictures) == ["1 flow made again from the downlink, going on"]


@pytest.mark.parametrize("drop", Drop)
def test_a_flood_begins_and_ends(drop: Drop) -> None:
    few = [later(n, drops={drop.value: 10 * n}) for n in range(1, 8)]
    assert told(*few) == []
    flood = [later(8 + n, drops={drop.value: 70 + 5_000 * min(n, 4)}) for n in range(12)]
    assert told(*few, *flood[:3]) == [f"10,000 dropped: {drop.value}, up to 5,000/s, going on"]
    assert told(*few, *flood) == [f"20,000 dropped: {drop.value}, within 3 s, up to 5,000/s"]


def test_a_burst_of_few_is_no_flood_however_close_pictures_are() -> None:
    close = [relay(1 + n / 100, worker(drops={"no-flow": 30 * n})) for n in range(3)]
    assert told(*close) == []


def test_the_kernel_and_the_sockets() -> None:
    assert told(QUIET, later(2, kernel_drops=7)) == [
        "7 packets lost by the kernel: the public socket's buffer was full, going on"
    ]
    assert told(QUIET, later(2, errors=3)) == []
    assert told(QUIET, later(2, errors=300)) == [
        "300 errors of the public socket: somebody it sends to is gone, up to 300/s, going on"
    ]


def test_flows_that_expire_in_bulk() -> None:
    before = relay(1, worker(flows=100))
    assert told(before, later(2, flows=90, counters={"expired": 10})) == []
    assert told(before, later(2, flows=60, counters={"expired": 40})) == [
        "40 flows of worker 0 expired: nobody sent for a while"
    ]


def test_the_breaker_of_the_store() -> None:
    states = ["closed", "open", "half-open", "open", "half-open", "closed", "closed"]
    pictures = [
        later(1 + n, store=StoreStatus(state, last_error="TimeoutError"))
        for n, state in enumerate(states)
    ]
    assert told(*pictures) == [
        "worker 0: the store fails (TimeoutError), and is left alone between tries",
        "worker 0: the store is in use again",
    ]
    assert told(later(1, store=StoreStatus("open"))) == [
        "worker 0: the store fails, and is left alone between tries"
    ]


def test_a_store_that_lies() -> None:
    before = later(1, store=StoreStatus("closed"))
    assert told(before, later(2, store=StoreStatus("closed", refused=2))) == [
        "2 values in the store did not authenticate, going on"
    ]


def test_a_loop_that_was_held_up_is_told_once_and_again_when_it_gets_much_worse() -> None:
    lags = [0.01, 0.2, 0.2, 0.3, 0.5, 0.5]
    texts = told(*[later(1 + n, loop_lag=lag) for n, lag in enumerate(lags)])
    assert texts == ["worker 0 was held up for 200 ms", "worker 0 was held up for 500 ms"]


def test_a_rotation_of_hint_keys() -> None:
    old, new = (ConfigurationStatus(name, True, True, True) for name in "01")
    unread = ConfigurationStatus("1", False, False, True)
    unminted = ConfigurationStatus("1", True, False, True)
    used = ConfigurationStatus("1", True, True, True, checks=3)
    ended = ConfigurationStatus("0", False, False, True)
    steps = [
        (old,),
        (old, unread),
        (old, unminted),
        (old, new),
        (old, used),
        (ended, used),
        (used,),
    ]
    pictures = [later(1 + n, configurations=step) for n, step in enumerate(steps)]
    assert told(*pictures) == [
        "hint configuration 1 is known now, not read yet",
        "hint configuration 1 is read now",
        "hint configuration 1 may be minted under now",
        "first check under hint configuration 1",
        "hint configuration 0 is read no more",
        "hint configuration 0 is minted under no more",
        "hint configuration 0 is gone",
    ]


def test_of_two_workers_a_configuration_is_told_once() -> None:
    more = (*CONFIGURATIONS, ConfigurationStatus("1", True, True, True))
    first = relay(1, worker(0), worker(1))
    second = relay(2, worker(0, configurations=more), worker(1, configurations=more))
    assert told(first, second, second) == ["hint configuration 1 is known now, read"]


def test_others_stand_where_they_belong_and_what_goes_on_stands_last() -> None:
    story = History()
    story.observe(relay(1, worker(flows=5)))
    story.observe(relay(3, worker(flows=5, loop_lag=0.3, counters={"healed": 1})))
    texts = [entry.text for entry in story.happenings([Happening(START + 2, "a reload")])]
    assert texts == [
        "a reload",
        "worker 0 was held up for 300 ms",
        "1 flow made again from the downlink, going on",
    ]


def test_a_clock_that_is_put_back_ends_what_was_going_on() -> None:
    texts = told(later(100, counters={"healed": 5}), relay(50, worker(counters={"healed": 5})))
    assert texts == ["5 flows made again from the downlink"]


WORKERS = st.builds(
    worker,
    st.integers(0, 2),
    pid=st.sampled_from([100, 200]),
    flows=st.integers(0, 1000),
    counters=st.dictionaries(
        st.sampled_from(["made", "healed", "restored", "moved", "expired", "by_ssrc"]),
        st.integers(0, 10_000),
    ),
    drops=st.dictionaries(st.sampled_from([drop.value for drop in Drop]), st.integers(0, 10_000)),
    kernel_drops=st.integers(0, 100),
    errors=st.integers(0, 1000),
    store=st.none() | st.builds(StoreStatus, st.sampled_from(["closed", "open", "half-open"])),
    loop_lag=st.floats(0, 10),
)


@given(st.lists(st.lists(WORKERS, max_size=3), max_size=40), st.data())
def test_any_pictures_make_a_bounded_story_in_order(
    pictures: list[list[WorkerStatus]], data: st.DataObject
) -> None:
    story = History()
    at, news = 0.0, 0
    for workers in pictures:
        at += data.draw(st.floats(-2, 20))
        news += len(story.observe(relay(at, *{each.worker: each for each in workers}.values())))
        happenings = story.happenings()
        assert len(happenings) <= history.SHOWN
        ended = [entry.at for entry in happenings if not entry.text.endswith("going on")]
        assert ended == sorted(ended)
        for happening in happenings:
            assert "\n" not in happening.text
            assert len(happening.text) < 120
    # What is over is told once: nothing is over that was not news.
    ended = [entry for entry in story.happenings() if not entry.text.endswith("going on")]
    assert len(ended) <= news


def test_many_of_one_sort_do_not_push_out_the_few_of_another() -> None:
    story = History()
    story.observe(relay(1, worker(store=StoreStatus("closed"))))
    story.observe(relay(2, worker(loop_lag=5.0, store=StoreStatus("closed"))))
    for n in range(2_000):
        story.observe(relay(3 + 10 * n, worker(counters={"healed": n}, loop_lag=5.0)))
    texts = [entry.text for entry in story.happenings()]
    assert "worker 0 was held up for 5,000 ms" in texts
    assert len(texts) <= history.PER_SORT + 2


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (0.4, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (97_200, "1 d 3 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
