"""Numbers that begin again at zero (RFC 1982, as RFC 9260 section 1.6 uses it).

TSNs count modulo 2^32, stream sequence numbers modulo 2^16. Which of two is later is only a
question where they lie less than half the circle apart. Inside an association numbers that last
longer than a packet are better kept *unwrapped*, as integers that never begin again: ``unwrap``
finds the one that is meant, and comparison is then that of integers.
"""

TSN_MASK = 0xFFFF_FFFF
SSN_MASK = 0xFFFF

_TSN_HALF = 0x8000_0000
_SSN_HALF = 0x8000


def distance(later: int, earlier: int) -> int:
    """How far the TSN ``later`` lies ahead of ``earlier``: -2^31 to 2^31 - 1, negative where it
    lies behind. At half the circle it is behind, seen from either."""
    return ((later - earlier + _TSN_HALF) & TSN_MASK) - _TSN_HALF


def distance16(later: int, earlier: int) -> int:
    """The same for stream sequence numbers: -2^15 to 2^15 - 1."""
    return ((later - earlier + _SSN_HALF) & SSN_MASK) - _SSN_HALF


def unwrap(tsn: int, near: int) -> int:
    """The integer nearest to ``near`` (itself unwrapped) that is ``tsn`` modulo 2^32."""
    return near + ((tsn - near + _TSN_HALF) & TSN_MASK) - _TSN_HALF
