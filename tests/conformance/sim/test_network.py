"""The network does to datagrams what its conditions say, no more, and the same each time."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.sim.dice import Dice
from conformance.sim.network import Conditions, Link, spoiled

MANY = 20_000


def carried(conditions: Conditions, count: int = MANY, size: int = 100) -> list[list[float]]:
    """When what was sent arrives, a list for each datagram; one is sent each millisecond."""
    link = Link(Dice("network"), conditions)
    data = bytes(size)
    return [[at for at, _ in link.carry(data, number / 1000)] for number in range(count)]


def test_a_healthy_link_delivers_all_in_order_and_in_time() -> None:
    arrivals = carried(Conditions(delay=0.05))
    assert arrivals == [[number / 1000 + 0.05] for number in range(MANY)]


def test_jitter_delays_and_keeps_the_order() -> None:
    flat = [at for each in carried(Conditions(delay=0.05, jitter=0.02)) for at in each]
    assert flat == sorted(flat)
    assert all(0.05 <= at - number / 1000 <= 0.07 for number, at in enumerate(flat))


@pytest.mark.parametrize(
    "conditions",
    [
        Conditions(to_bad=0.05, to_good=0.2, loss_good=0.01, loss_bad=0.8),
        Conditions(loss_good=0.1),
        Conditions(to_bad=0.01, to_good=0.05, loss_bad=1.0),
    ],
)
def test_losses_are_as_many_as_the_conditions_say(conditions: Conditions) -> None:
    lost = sum(not each for each in carried(conditions)) / MANY
    assert lost == pytest.approx(conditions.loss, rel=0.15)


def bursts(conditions: Conditions) -> float:
    """How many are lost in a row on average."""
    lengths = Counter[int]()
    row = 0
    for each in carried(conditions):
        if each:
            lengths[row] += 1
            row = 0
        else:
            row += 1
    del lengths[0]
    return sum(length * count for length, count in lengths.items()) / lengths.total()


def test_losses_come_in_bursts() -> None:
    alone = Conditions(loss_good=0.1)
    together = Conditions(to_bad=0.0112, to_good=0.1, loss_bad=1.0)
    assert alone.loss == pytest.approx(together.loss, rel=0.02)
    assert bursts(alone) < 1.3
    assert bursts(together) == pytest.approx(10, rel=0.2)


def test_reordering_happens_as_often_as_it_should() -> None:
    flat = [at for each in carried(Conditions(reorder=0.2, spread=0.1)) for at in each]
    overtaken = sum(later < earlier for earlier, later in pairwise(flat))
    assert len(flat) == MANY
    assert 0.1 < overtaken / MANY < 0.25


def test_copies_are_as_many_as_they_should_be_and_never_early() -> None:
    arrivals = carried(Conditions(duplicate=0.3))
    assert sum(len(each) == 2 for each in arrivals) / MANY == pytest.approx(0.3, rel=0.05)
    assert all(first <= second for first, second in (each for each in arrivals if len(each) == 2))


def test_what_is_too_long_never_arrives() -> None:
    assert all(carried(Conditions(mtu=100), count=100, size=100))
    assert not any(carried(Conditions(mtu=100), count=100, size=101))


def test_nothing_passes_a_cut_link() -> None:
    assert not any(carried(Conditions(cut=True), count=100))


def test_spoilt_datagrams_are_as_many_as_they_should_be() -> None:
    link = Link(Dice("spoilt"), Conditions(corrupt=0.25))
    data = bytes(range(100))
    spoilt = sum(link.carry(data, 0.0)[0][1] != data for _ in range(MANY))
    assert spoilt / MANY == pytest.approx(0.25, rel=0.1)
    assert link.events["corrupted"] >= spoilt


@given(st.binary(max_size=200), st.integers())
def test_spoilt_data_is_no_longer_than_it_was(data: bytes, seed: int) -> None:
    assert len(spoiled(data, Dice(str(seed)))) <= len(data)


def test_a_link_is_mended_by_name() -> None:
    link = Link(Dice("mend"), Conditions(delay=0.03))
    link.change({"cut": True, "delay": 1.0})
    link.change({"loss_good": 0.5})
    link.mend(["cut", "delay"])
    assert link.conditions == Conditions(delay=0.03, loss_good=0.5)
    link.mend(["loss_good"])
    assert link.conditions == Conditions(delay=0.03)


def test_equal_seeds_give_equal_networks() -> None:
    conditions = Conditions(jitter=0.1, loss_good=0.2, reorder=0.2, duplicate=0.2, corrupt=0.2)

    def all_of(seed: str) -> list[object]:
        link = Link(Dice(seed), conditions)
        return [link.carry(b"datagram", number) for number in range(500)]

    assert all_of("one") == all_of("one")
    assert all_of("one") != all_of("other")


def test_dice_are_even() -> None:
    dice = Dice("even")
    counted = Counter(dice.below(10) for _ in range(MANY))
    assert all(count == pytest.approx(MANY / 10, rel=0.1) for count in counted.values())
    assert sum(dice.unit() for _ in range(MANY)) / MANY == pytest.approx(0.5, abs=0.01)
    assert sum(dice.waiting(3.0) for _ in range(MANY)) / MANY == pytest.approx(3.0, rel=0.05)
    assert len(dice.octets(13)) == 13
