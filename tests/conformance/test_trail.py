"""What is kept of what a case sends and receives."""

from conformance.trail import LONGEST_NOTE, MOST_BYTES, MOST_CROSSINGS, MOST_NOTES, Crossing, Trail
from stunroute.address import Address

HERE, THERE = Address.of("127.0.0.1", 1), Address.of("127.0.0.1", 2)


def crossing(data: bytes) -> Crossing:
    return Crossing(0.0, HERE, THERE, False, data)


def test_a_flood_of_small_datagrams_is_kept_to_its_beginning() -> None:
    trail = Trail()
    for _ in range(MOST_CROSSINGS + 3):
        trail.cross(crossing(b"x"))
    assert len(trail.entries) == MOST_CROSSINGS
    assert trail.left_out == 3
    assert trail.received_bytes == MOST_CROSSINGS + 3


def test_a_flood_of_large_datagrams_as_well() -> None:
    trail = Trail()
    for _ in range(40):
        trail.cross(crossing(bytes(65_000)))
    assert sum(len(each.data) for each in trail.entries) <= MOST_BYTES
    assert len(trail.entries) + trail.left_out == 40
    trail.cross(crossing(b"x"))
    assert trail.entries[-1].data == b"x"


def test_notes_are_bounded() -> None:
    trail = Trail()
    for _ in range(MOST_NOTES + 1):
        trail.note(0.0, "x" * (LONGEST_NOTE + 1))
    assert len(trail.entries) == MOST_NOTES
    assert {len(each.text) for each in trail.entries} == {LONGEST_NOTE}
