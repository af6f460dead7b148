"""What everybody who looks is shown."""

from pictures import START, relay, worker
from stunroute.operations.watch import Watch
from stunroute.status import Happening


def test_before_the_first_picture_there_is_none() -> None:
    watch = Watch()
    assert watch.latest is None
    assert watch.age == float("inf")


def test_the_latest_picture_with_what_happened() -> None:
    watch = Watch()
    assert watch.see(relay(1, worker())) == []
    news = watch.see(relay(2, worker(loop_lag=0.4), happenings=(Happening(START + 1.5, "reload"),)))
    assert [happening.text for happening in news] == ["worker 0 was held up for 400 ms"]
    assert watch.latest is not None
    assert [happening.text for happening in watch.latest.happenings] == [
        "reload",
        "worker 0 was held up for 400 ms",
    ]
    assert watch.latest.workers == (worker(loop_lag=0.4),)
    assert watch.age < 60


def test_it_knows_since_when_if_the_relay_does_not_tell() -> None:
    watch = Watch()
    watch.see(relay(1, worker(), started=0.0))
    assert watch.latest is not None
    assert watch.latest.started > START / 2
