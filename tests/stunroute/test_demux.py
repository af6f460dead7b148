"""The division of the first octet, written down a second time as ranges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stunroute.demux import Kind, classify

# RFC 7983 as RFC 9443 leaves it
RANGES = [
    (0, 3, Kind.STUN),
    (4, 15, Kind.UNKNOWN),
    (16, 19, Kind.ZRTP),
    (20, 63, Kind.DTLS),
    (64, 79, Kind.TURN_CHANNEL),
    (80, 127, Kind.QUIC),
    (128, 191, Kind.RTP),
    (192, 255, Kind.QUIC),
]


@pytest.mark.parametrize(("first", "last", "kind"), RANGES)
def test_every_first_octet(first: int, last: int, kind: Kind) -> None:
    """TRAPS "STUN and ICE 13": the edges (64, 127, 128, 192) are where others were off by one,
    and QUIC's two ranges came with RFC 9443."""
    for octet in range(first, last + 1):
        assert classify(bytes((octet, 0))) is kind
        assert classify(bytes((octet,))) is kind


def test_ranges_are_all() -> None:
    assert [octet for first, last, _ in RANGES for octet in range(first, last + 1)] == [*range(256)]


@pytest.mark.parametrize("first", [128, 129, 143, 160, 191])
def test_rtcp_by_the_second_octet(first: int) -> None:
    """RFC 5761, 4: packet types 192 to 223; RTP's marker bit makes payload types 64 to 95 them."""
    for second in range(256):
        expected = Kind.RTCP if 192 <= second <= 223 else Kind.RTP
        assert classify(bytes((first, second))) is expected


@pytest.mark.parametrize(("second", "kind"), [(200, Kind.RTCP), (111, Kind.RTP), (239, Kind.RTP)])
def test_known_packets(second: int, kind: Kind) -> None:
    # A sender report; Opus as payload type 111 without and with the marker.
    assert classify(bytes((0x80, second)) + bytes(10)) is kind


@pytest.mark.parametrize("first", [0, 22, 64, 127, 192])
def test_second_octet_means_nothing_elsewhere(first: int) -> None:
    """TRAPS "STUN and ICE 13"."""
    assert len({classify(bytes((first, second))) for second in range(256)}) == 1


def test_nothing() -> None:
    assert classify(b"") is Kind.EMPTY


@given(st.binary(max_size=64))
def test_never_raises_and_reads_two_octets(data: bytes) -> None:
    assert classify(data) is classify(data[:2])
