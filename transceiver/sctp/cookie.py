"""What the answer to an INIT has to remember, given to the peer to keep (RFC 9260 section 5.1.3).

An INIT is answered without a trace here. All that would be remembered travels in the state cookie,
under a key that is this association's own, and comes back with the COOKIE ECHO::

     +----------------+--------------------------+-----------------+
     | created (8)    | own tag (4), TSN (4)     | tie (8)         |
     +----------------+------------+-------------+-----------------+
     | peer's tag (4), window (4), outbound (2), inbound (2), TSN (4), what it can (1)
     +--------------------------------------------------------------+
     | HMAC-SHA256 of all before it and of the two ports, first 16 bytes
     +--------------------------------------------------------------+

Integers are big-endian, ``created`` is a reading of our clock, a float. Nothing in it is secret:
the peer knows it all, but for the clock, whose zero means nothing.
"""

import hashlib
import hmac
from struct import Struct
from typing import Final

from attrs import frozen

from stunroute.errors import DecodeError
from stunroute.instant import Instant

from .chunks import ForwardTsn, Init, InitAck, ReConfig
from .parameters import (
    DTLS_ERROR_DETECTION,
    ForwardTsnSupported,
    SupportedExtensions,
    ZeroChecksumAcceptable,
)

KEY_LENGTH: Final = 32
TIE_LENGTH: Final = 8
NO_TIE: Final = bytes(TIE_LENGTH)
_MAC_LENGTH: Final = 16
_BODY: Final = Struct("!dII8sIIHHIB")
_PORTS: Final = Struct("!HH")

_FORWARD_TSN: Final = 1
_RECONFIG: Final = 2
_ZERO_CHECKSUM: Final = 4


@frozen(slots=True)
class Peer:
    """The other side, as its INIT or INIT ACK describes it: the tag that packets to it carry, the
    bytes it has room for, the streams it wants to send on and those it takes, its first TSN, and
    what it understands."""

    tag: int
    window: int
    outbound: int
    inbound: int
    tsn: int
    forward_tsn: bool = False
    reconfig: bool = False
    zero_checksum: bool = False

    @classmethod
    def of(cls, chunk: Init | InitAck) -> "Peer":
        forward_tsn = reconfig = zero_checksum = False
        for parameter in chunk.parameters:
            match parameter:
                case ForwardTsnSupported():
                    forward_tsn = True
                case SupportedExtensions(types):
                    forward_tsn |= ForwardTsn.type in types
                    reconfig |= ReConfig.type in types
                case ZeroChecksumAcceptable(method):
                    zero_checksum |= method == DTLS_ERROR_DETECTION
        return cls(
            chunk.tag,
            chunk.window,
            chunk.outbound,
            chunk.inbound,
            chunk.tsn,
            forward_tsn,
            reconfig,
            zero_checksum,
        )


@frozen(slots=True)
class Cookie:
    """``own_tag`` and ``own_tsn`` are what the INIT ACK announced. ``tie`` names the association
    that there was when it was made, ``NO_TIE`` if none was."""

    created: Instant
    own_tag: int
    own_tsn: int
    tie: bytes
    peer: Peer


def _mac(key: bytes, ports: tuple[int, int], body: bytes) -> bytes:
    return hmac.digest(key, _PORTS.pack(*ports) + body, hashlib.sha256)[:_MAC_LENGTH]


def seal(cookie: Cookie, key: bytes, ports: tuple[int, int]) -> bytes:
    """The cookie as bytes for the peer, signed under ``key``. ``ports``: ours and the peer's."""
    peer = cookie.peer
    can = (
        (_FORWARD_TSN if peer.forward_tsn else 0)
        | (_RECONFIG if peer.reconfig else 0)
        | (_ZERO_CHECKSUM if peer.zero_checksum else 0)
    )
    body = _BODY.pack(
        cookie.created,
        cookie.own_tag,
        cookie.own_tsn,
        cookie.tie,
        peer.tag,
        peer.window,
        peer.outbound,
        peer.inbound,
        peer.tsn,
        can,
    )
    return body + _mac(key, ports, body)


def open_untrusted(data: bytes, key: bytes, ports: tuple[int, int]) -> Cookie:
    """The cookie that ``seal`` made ``data`` of. Raises ``DecodeError`` for any other bytes."""
    body, mac = data[: _BODY.size], data[_BODY.size :]
    if len(body) < _BODY.size or not hmac.compare_digest(mac, _mac(key, ports, body)):
        raise DecodeError("a cookie that is not ours")
    created, own_tag, own_tsn, tie, tag, window, outbound, inbound, tsn, can = _BODY.unpack(body)
    peer = Peer(
        tag,
        window,
        outbound,
        inbound,
        tsn,
        bool(can & _FORWARD_TSN),
        bool(can & _RECONFIG),
        bool(can & _ZERO_CHECKSUM),
    )
    return Cookie(created, own_tag, own_tsn, tie, peer)
