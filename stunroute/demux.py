"""What a datagram is, by its first octet.

STUN, ZRTP, DTLS, TURN channel data, QUIC and RTP share one port because their first octets do not
overlap (RFC 7983, brought up to date by RFC 9443); RTP and RTCP tell themselves apart by the
second (RFC 5761). The two tables below are that division, whole: no comparison can be off by one
where there is none.
"""

from enum import Enum, unique


@unique
class Kind(Enum):
    """A protocol that may share the port. The value is the metric label."""

    __hash__ = object.__hash__  # counted for every packet: identity hashes in C

    EMPTY = "empty"
    STUN = "stun"
    ZRTP = "zrtp"
    DTLS = "dtls"
    TURN_CHANNEL = "turn-channel"
    QUIC = "quic"
    RTP = "rtp"
    RTCP = "rtcp"
    UNKNOWN = "unknown"


LAST_STUN_OCTET = 3
"""First octets up to this one are STUN's."""

_BY_FIRST_OCTET = (
    *[Kind.STUN] * (LAST_STUN_OCTET + 1),  # 0..3
    *[Kind.UNKNOWN] * 12,  # 4..15
    *[Kind.ZRTP] * 4,  # 16..19
    *[Kind.DTLS] * 44,  # 20..63
    *[Kind.TURN_CHANNEL] * 16,  # 64..79
    *[Kind.QUIC] * 48,  # 80..127
    *[Kind.RTP] * 64,  # 128..191
    *[Kind.QUIC] * 64,  # 192..255
)

# An RTCP packet type (192..223) stands where RTP has its marker bit and payload type, so payload
# types 64..95 are not given to RTP streams that share a port with RTCP (RFC 5761, 4).
_BY_SECOND_OCTET = (
    *[Kind.RTP] * 192,  # 0..191
    *[Kind.RTCP] * 32,  # 192..223
    *[Kind.RTP] * 32,  # 224..255
)


def classify(data: bytes) -> Kind:
    """The kind of a datagram. Takes anything, reads two octets at most, never raises.

    A lone octet in RTP's range is RTP: whoever parses it will find it too short.
    """
    if not data:
        return Kind.EMPTY
    kind = _BY_FIRST_OCTET[data[0]]
    if kind is Kind.RTP and len(data) > 1:
        return _BY_SECOND_OCTET[data[1]]
    return kind
