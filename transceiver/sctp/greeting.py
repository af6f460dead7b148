"""Packets to a peer with which there is no association, or not yet, or no longer.

They are made of what has come and of what is given here, and leave nothing behind. An INIT is
answered with a signed cookie and forgotten; what comes out of the blue (RFC 9260 section 8.4) is
answered with the tag that it bore. All of them carry a checksum, whatever the peer accepts: it may
be one that has never said so (RFC 9653 section 5.2).
"""

from attrs import define, field

from stunroute.instant import Entropy, Instant
from transceiver.config import SctpLimits

from . import cookie as cookies
from . import packet as packets
from .causes import Cause, StaleCookie
from .chunks import (
    Abort,
    Chunk,
    CookieAck,
    CookieEcho,
    Error,
    Init,
    ShutdownAck,
    ShutdownComplete,
)
from .cookie import Cookie, Peer
from .handshake import make_init, make_init_ack
from .packet import Packet

_TAG_LENGTH = 4


@define(slots=True)
class Greeter:
    """``ports`` are ours and the peer's. ``zero_checksum``: say that we take packets without."""

    entropy: Entropy = field(repr=False)
    limits: SctpLimits
    ports: tuple[int, int]
    zero_checksum: bool
    _key: bytes = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._key = self.entropy(cookies.KEY_LENGTH)

    def new_tag(self) -> int:
        """A verification tag: any number but 0."""
        return int.from_bytes(self.entropy(_TAG_LENGTH), "big") or 1

    def new_tsn(self) -> int:
        return int.from_bytes(self.entropy(_TAG_LENGTH), "big")

    def packet(self, tag: int, *chunks: Chunk) -> bytes:
        """A packet of ``chunks``, with a checksum."""
        return packets.encode(*self.ports, tag, chunks)

    def init(self, tag: int, tsn: int) -> bytes:
        """The packet with our INIT."""
        init = make_init(tag, tsn, self.limits, zero_checksum=self.zero_checksum)
        return self.packet(0, init)

    def answer(self, received: Init, own_tag: int, own_tsn: int, tie: bytes, now: Instant) -> bytes:
        """The packet with the INIT ACK that offers ``own_tag`` and ``own_tsn``. ``tie`` is that of
        the association that stands (``cookie``)."""
        cookie = Cookie(now, own_tag, own_tsn, tie, Peer.of(received))
        sealed = cookies.seal(cookie, self._key, self.ports)
        zero = self.zero_checksum
        chunk = make_init_ack(received, cookie, sealed, self.limits, zero_checksum=zero)
        return self.packet(received.tag, chunk)

    def read_untrusted(self, cookie: bytes) -> Cookie:
        """What ``answer`` put into a cookie. Raises ``DecodeError`` for any other bytes."""
        return cookies.open_untrusted(cookie, self._key, self.ports)

    def refusal(self, tag: int, cause: Cause) -> bytes:
        """The packet that turns down the INIT or INIT ACK with the tag ``tag``."""
        return self.packet(tag, Abort((cause,)))

    def stale(self, cookie: Cookie, now: Instant) -> bytes:
        """The packet that says by how much a cookie is too old."""
        late = now - cookie.created - self.limits.cookie_lifetime
        staleness = min(int(late * 1_000_000), 0xFFFF_FFFF)
        return self.packet(cookie.peer.tag, Error((StaleCookie(staleness),)))

    def out_of_the_blue(self, packet: Packet) -> bytes | None:
        """The answer to a packet that belongs to no association, None where it gets none."""
        match packet.chunks[0]:
            case Abort() | ShutdownComplete() | CookieAck() | Error() | CookieEcho():
                return None
            case Init(tag=tag):
                return self.packet(tag, Abort()) if tag else None
            case ShutdownAck():
                return self.packet(packet.tag, ShutdownComplete(reflected=True))
            case _:
                return self.packet(packet.tag, Abort(reflected=True))
