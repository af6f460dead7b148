"""How much may be under way at once (RFC 9260 section 7.2).

This is the arithmetic alone: it is told what was acknowledged and what was lost, and has no idea
of chunks. Sizes are bytes of DATA chunks with their headers and padding. TSNs are unwrapped
(``serial``). The window begins at ten packets, as libwebrtc's does; the four of the RFC are from
a time of slower links, and a data channel is often done before a window has grown.
"""

from typing import Final

from attrs import define, field

_INITIAL_PACKETS: Final = 10
_LEAST_PACKETS: Final = 4


@define(slots=True)
class Congestion:
    """``packet`` is what DATA chunks may take in one packet. ``window`` is the bound on the bytes
    in flight; one packet may exceed it, when the flight has not reached it (RFC 9260, 6.1)."""

    packet: int
    window: int = field(init=False)
    threshold: int = field(default=1 << 32, init=False)
    """Up to here the window grows by what is acknowledged, beyond by a packet in a round trip."""
    _partial: int = field(default=0, init=False)
    _exit: int | None = field(default=None, init=False)
    """The TSN whose acknowledgement ends the recovery, while there is one."""

    def __attrs_post_init__(self) -> None:
        self.window = _INITIAL_PACKETS * self.packet

    @property
    def recovering(self) -> bool:
        return self._exit is not None

    def acknowledge(self, size: int, flight: int, *, advanced: bool, drained: bool) -> None:
        """``size`` bytes were acknowledged for the first time, when ``flight`` bytes were in
        flight. ``advanced``: by it the cumulative TSN rose; ``drained``: nothing is left."""
        full = flight + self.packet > self.window
        if self.window <= self.threshold:
            # Acknowledgements are counted in bytes and never for more than a packet, so that a
            # peer gains nothing by sending many small ones.
            if advanced and full and not self.recovering:
                self.window += min(size, self.packet)
        else:
            self._partial += size
            if self._partial >= self.window:
                if full and not self.recovering:
                    self._partial -= self.window
                    self.window += self.packet
                else:
                    self._partial = self.window
        if drained:
            self._partial = 0

    def reach(self, cumulative: int) -> None:
        """All TSNs up to ``cumulative`` have come: that may be the end of a recovery."""
        if self._exit is not None and cumulative >= self._exit:
            self._exit = None

    def lose(self, highest: int) -> bool:
        """Chunks were found missing, with TSNs up to ``highest`` sent. True if a recovery begins
        by this; while it lasts further losses are the same event."""
        if self._exit is not None:
            return False
        self._exit = highest
        self.threshold = self._halved()
        self.window = self.threshold
        self._partial = 0
        return True

    def time_out(self) -> None:
        """No acknowledgement has come for so long that nothing is thought to be under way."""
        self._exit = None
        self.threshold = self._halved()
        self.window = self.packet
        self._partial = 0

    def rest(self, timeouts: int) -> None:
        """Nothing was sent for as many retransmission timeouts: what was known of the path ages
        (RFC 9260, 7.2.1)."""
        if timeouts and self.window > _LEAST_PACKETS * self.packet:
            self.threshold = self.window
            # A shift by more than the window has bits changes nothing any more.
            self.window = max(self.window >> min(timeouts, 64), _LEAST_PACKETS * self.packet)

    def _halved(self) -> int:
        return max(self.window // 2, _LEAST_PACKETS * self.packet)
