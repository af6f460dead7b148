"""How long to wait for an answer, and until when (RFC 9260 section 6.3).

Two things are kept apart. ``RoundTrip`` knows how long an answer may take: it learns that from
every answer that can be told from an answer to an earlier sending. A ``Timer`` is one deadline. It
belongs to what is waited for, an INIT or a request or the data that are out, and dies with it; each
time it runs out it waits twice as long. Nothing here counts to a last attempt: whether the peer
is there at all is decided by ICE, which ends the session and everything in it.
"""

from typing import Final

from attrs import define, field

from stunroute.instant import Instant
from transceiver.config import SctpLimits

_ALPHA: Final = 1 / 8
_BETA: Final = 1 / 4


@define(slots=True)
class RoundTrip:
    """The retransmission timeout, ``timeout``, and what it is made of; in seconds."""

    limits: SctpLimits
    timeout: float = field(init=False)
    smoothed: float | None = field(default=None, init=False)
    _variation: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self.timeout = self.limits.rto_initial

    def measure(self, seconds: float) -> None:
        """An answer took ``seconds``. It must not be one that an earlier sending of the same may
        have drawn (RFC 9260, 6.3.1, rule C5)."""
        if self.smoothed is None:
            self.smoothed = seconds
            self._variation = seconds / 2
        else:
            difference = abs(self.smoothed - seconds)
            self._variation += _BETA * (difference - self._variation)
            self.smoothed += _ALPHA * (seconds - self.smoothed)
        # On a steady path the variation goes to nothing, and then the first acknowledgement that
        # the peer delays, as it may, would pass for a loss.
        margin = max(4 * self._variation, self.limits.delayed_ack)
        self.timeout = self._bounded(self.smoothed + margin)

    def back_off(self) -> None:
        """Wait twice as long, until the next measurement says otherwise."""
        self.timeout = self._bounded(self.timeout * 2)

    def _bounded(self, seconds: float) -> float:
        return min(max(seconds, self.limits.rto_minimum), self.limits.rto_maximum)


@define(slots=True)
class Timer:
    """A deadline that comes back, each time after twice as long but never after more than
    ``maximum``. None: it is not running."""

    maximum: float
    deadline: Instant | None = field(default=None, init=False)
    _interval: float = field(default=0.0, init=False)

    def start(self, now: Instant, seconds: float) -> None:
        """Run out ``seconds`` from now, whether it was running or not."""
        self._interval = seconds
        self.deadline = now + seconds

    def stop(self) -> None:
        self.deadline = None

    def expired(self, now: Instant) -> bool:
        """Whether it has run out; then it runs again."""
        if self.deadline is None or now < self.deadline:
            return False
        self._interval = min(self._interval * 2, self.maximum)
        self.deadline = now + self._interval
        return True
