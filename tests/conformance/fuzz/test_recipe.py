"""Copies of a core are whole, do not know one another, and share only what cannot change."""

import functools
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from itertools import count
from typing import NamedTuple

import pytest
from attrs import define, field, frozen

from conformance.fuzz.recipe import recipe


@frozen(slots=True)
class Told:
    """Frozen, with something in it that is not."""

    number: int
    notes: list[str] = field(factory=list)


@frozen(slots=True)
class Fixed:
    parts: tuple[int, ...]


class Pair(NamedTuple):
    one: object
    other: object


@define(slots=True, eq=False)
class Node:
    name: str
    told: Told
    fixed: Fixed
    peers: list["Node"] = field(factory=list)
    say: Callable[[], str] | None = None
    unset: int = field(init=False)

    def speak(self) -> str:
        return self.name


class Plain:
    """Without slots."""

    def __init__(self) -> None:
        self.values = {"a": [1]}


for _one in (Told, Fixed, Node, Plain):
    _one.__module__ = "conformance.made_up"  # only what is ours is copied


def make() -> Node:
    node = Node("first", Told(1, ["note"]), Fixed((1, 2)))
    other = Node("second", node.told, node.fixed, [node], node.speak)
    node.peers.append(other)
    return node


def test_what_hangs_together_hangs_together_in_the_copy() -> None:
    node = make()
    copy = recipe(node)
    one, two = copy(), copy()
    assert one is not two
    assert one is not node
    (other,) = one.peers
    assert other.peers == [one]
    assert other.say is not None
    one.name = "renamed"
    assert other.say() == "renamed"
    assert two.peers[0].say() == "first"  # type: ignore[misc]
    assert one.told is other.told is not node.told
    assert not hasattr(one, "unset")


def test_what_changes_in_a_copy_changes_nowhere_else() -> None:
    node = make()
    copy = recipe(node)
    one = copy()
    one.told.notes.append("more")
    one.peers.clear()
    again = copy()
    assert again.told.notes == node.told.notes == ["note"]
    assert len(again.peers) == len(node.peers) == 1


def test_what_is_frozen_through_and_through_is_shared() -> None:
    node = make()
    one = recipe(node)()
    assert one.fixed is node.fixed
    assert one.told is not node.told


def test_containers() -> None:
    node = Node("x", Told(1), Fixed(()))
    whole = {
        "deque": deque([node, 1], maxlen=3),
        "default": defaultdict(list, {1: [2]}),
        "counter": Counter("aab"),
        "ordered": OrderedDict(b=1, a=2),
        "set": {1, 2},
        "nodes": {node},
        "bytearray": bytearray(b"abc"),
        "tuple": (1, [node]),
        "named": Pair(node, [1]),
        "plain": Plain(),
        "empty": [],
        "append": None,
    }
    whole["append"] = whole["empty"].append  # type: ignore[attr-defined]
    one = recipe(whole)()
    for name in ("default", "counter", "ordered", "set", "bytearray", "empty"):
        assert one[name] == whole[name]
        assert one[name] is not whole[name]
        assert type(one[name]) is type(whole[name])
    copied = one["tuple"][1][0]  # type: ignore[index]
    assert copied is not node
    assert one["deque"] == deque([copied, 1], maxlen=3)
    assert one["deque"].maxlen == 3  # type: ignore[attr-defined]
    assert one["nodes"] == {copied}
    assert one["named"] == Pair(copied, [1])
    one["plain"].values["a"].append(2)  # type: ignore[attr-defined]
    assert whole["plain"].values == {"a": [1]}  # type: ignore[attr-defined]
    one["append"](5)  # type: ignore[operator]
    assert one["empty"] == [5]
    assert whole["empty"] == []


def test_a_count_goes_on_in_each_copy_from_where_it_was() -> None:
    numbers = count(3)
    next(numbers)
    copy = recipe([numbers])
    for _ in range(2):
        (one,) = copy()
        assert [next(one), next(one)] == [4, 5]
    assert next(numbers) == 4


def closing_over(kept: list[int]) -> Callable[[], int]:
    return lambda: len(kept)


@pytest.mark.parametrize(
    "thing",
    [
        closing_over([1]),
        (number for number in (1, 2)),
        iter(functools.partial(int), 5),
        functools.partial(int, "1"),
        memoryview(b"abc"),
    ],
    ids=["closure", "generator", "iterator", "partial", "view"],
)
def test_what_cannot_be_copied_is_an_error(thing: object) -> None:
    with pytest.raises(TypeError):
        recipe([thing])
