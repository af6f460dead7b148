"""Heartbeats (RFC 9260 section 8.3).

While data flow, acknowledgements tell how long the way is. When none do, a heartbeat asks now and
then; it also keeps what stands between from forgetting the flow. One that stays unanswered is
nothing to us: whether the peer lives is ICE's to find out.

Another one goes when T3 has run out. What is sent again cannot tell how long the way is, because
its acknowledgement may be that of the first sending (RFC 9260, 6.3.1, rule C5), and so nothing
would end the longer wait until new data go, which come last: after a few losses in a row each
further one would cost up to ``rto_maximum``. A heartbeat's answer can be told from all others.
"""

from typing import Final

from attrs import define, field

from stunroute.instant import Entropy, Instant

from .chunks import Heartbeat

_NONCE_LENGTH: Final = 8


@define(slots=True)
class Heartbeats:
    """``interval`` is seconds."""

    interval: float
    deadline: Instant
    _nonce: bytes = field(default=b"", init=False)
    _sent_at: Instant = field(default=0.0, init=False)

    def due(self, entropy: Entropy, now: Instant, *, idle: bool, overdue: bool) -> Heartbeat | None:
        """A heartbeat to be sent, if it is time for one and no data are under way, or if those
        that are have not been acknowledged when they should (``overdue``)."""
        periodic = now >= self.deadline
        if periodic:
            self.deadline = now + self.interval
        if not (overdue or (periodic and idle)):
            return None
        self._nonce, self._sent_at = entropy(_NONCE_LENGTH), now
        return Heartbeat(self._nonce)

    def answered(self, info: bytes, now: Instant) -> float | None:
        """The round trip in seconds, if ``info`` answers the last heartbeat for the first time."""
        if not self._nonce or info != self._nonce:
            return None
        self._nonce = b""
        return now - self._sent_at
