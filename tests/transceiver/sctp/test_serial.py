import pytest
from hypothesis import given
from hypothesis import strategies as st

from transceiver.sctp.serial import distance, distance16, unwrap


@pytest.mark.parametrize(
    ("later", "earlier", "expected"),
    [
        (5, 3, 2),
        (3, 5, -2),
        (0, 0xFFFF_FFFF, 1),
        (0xFFFF_FFFF, 0, -1),
        (0x7FFF_FFFF, 0, 0x7FFF_FFFF),
        (0x8000_0000, 0, -0x8000_0000),
        (0, 0x8000_0000, -0x8000_0000),
    ],
)
def test_distances(later: int, earlier: int, expected: int) -> None:
    assert distance(later, earlier) == expected


def test_distances_of_sequence_numbers() -> None:
    assert distance16(0, 0xFFFF) == 1
    assert distance16(0xFFFF, 0) == -1
    assert distance16(0x7FFF, 0) == 0x7FFF
    assert distance16(0x8000, 0) == -0x8000


@given(near=st.integers(-(1 << 40), 1 << 40), step=st.integers(-(1 << 31), (1 << 31) - 1))
def test_unwrapping_finds_the_nearest(near: int, step: int) -> None:
    meant = near + step
    assert unwrap(meant & 0xFFFF_FFFF, near) == meant
    assert distance(meant & 0xFFFF_FFFF, near & 0xFFFF_FFFF) == step
