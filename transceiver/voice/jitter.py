"""Packets that come unevenly, to be played evenly.

Everything is measured on the sender's clock, by timestamps. The *position* is the timestamp to be
played next; the *transit* of a packet is its arrival less its timestamp, and the least transit of
the last seconds is that of a packet that nothing held up. How far the position lags behind such a
packet is what is held back, and it ought to be the *target*: as much as most packets come late, and
a frame more, so that the packet after a lost one is mostly there with its copy of it.

What is held back changes only where nobody hears it. Sound is not stretched, because those who
listen here are mostly recognisers of speech. An empty buffer waits with the position where it is,
and so holds back more from then on; the listener drops a quiet frame where there is too much, and
adds one where there is too little (``surplus``). Beyond ``limits.target_maximum`` the oldest goes.

A gap in timestamps under consecutive sequence numbers is silence that the sender did not send
(DTX). A gap in both is a loss. Time in which nothing came counts towards either, so that after a
silence or an outage the call goes on with the delay that it had.

Sequence numbers or timestamps that leap backwards, or sequence numbers that leap too far ahead,
are another source's: what waits is given up, and it begins anew.
"""

from bisect import bisect_left
from typing import Final, TypeAlias

from attrs import define, field, frozen

from stunroute.instant import Instant
from transceiver.config import VoiceLimits

from .codec import FRAME

WINDOW: Final = 5.0
"""The least transit is that of this many seconds at least, and of twice as many at most."""
MISORDER: Final = 100
"""A packet this far behind the newest is late; farther, it is another source's (RFC 3550, A.1)."""
DROPOUT: Final = 3000
"""A packet this far ahead of the newest follows a loss; farther, it is another source's."""
_BIN: Final = 0.01  # seconds of lateness that are counted together
_MEMORY: Final = 1.005  # how much more each packet counts than the one before
_RARE: Final = 0.03  # the share of packets that may come later than the target allows for
_HEAVY: Final = 1e9
_LEAST: Final = 0.0025
"""Seconds that are made up at a time at least, as long as the shortest packet of Opus: one of G.711
may hold a single sample, and what came after it would be made up sample by sample."""


@frozen(slots=True)
class Frame:
    """Decode this."""

    payload: bytes = field(repr=False)


@frozen(slots=True)
class Missing:
    """Make up sound for so many ticks of the media clock. ``following``: the packet that comes
    next, which may carry a copy of the end of the hole."""

    ticks: int
    following: bytes | None = field(default=None, repr=False)


@frozen(slots=True)
class Silence:
    """Nothing is to be heard for so many ticks."""

    ticks: int


Item: TypeAlias = Frame | Missing | Silence


@define(slots=True)
class Counters:
    """What became of packets."""

    received: int = 0
    duplicates: int = 0
    late: int = 0
    """Came when their time had passed."""
    lost: int = 0
    """Had not come when their time was there (late ones among them)."""
    discarded: int = 0
    """Came, and were given up: too much was waiting, or another source began."""
    restarts: int = 0
    """Other sources."""


@frozen(slots=True)
class _Packet:
    sequence: int
    timestamp: int  # does not wrap
    duration: int
    payload: bytes = field(repr=False)


@define(slots=True)
class JitterBuffer:
    """One source's packets; ``clock_rate`` is the media clock in Hz.

    ``insert`` at arrival, then ``pull`` for each piece of sound that is to be played now, starting
    with ``begins``.
    """

    clock_rate: int
    limits: VoiceLimits = field(factory=VoiceLimits)
    counters: Counters = field(init=False, factory=Counters)
    target: float = field(init=False)
    """Seconds to be held back, as of now."""
    _packets: list[_Packet] = field(init=False, factory=list, repr=False)  # by sequence
    _newest: _Packet | None = field(init=False, default=None, repr=False)
    _raw: int = field(init=False, default=0)  # its timestamp as it came
    _begins: Instant | None = field(init=False, default=None)
    _playing: bool = field(init=False, default=False)
    _position: int = field(init=False, default=0)
    _played: int = field(init=False, default=0)  # sequence of the last packet given out
    _duration: int = field(init=False, default=0)  # and its length
    _made_up: int = field(init=False, default=0)  # ticks since,
    _bridged: bool = field(init=False, default=False)  # some of what was lost since was made up
    _waiting: int = field(init=False, default=0)  # and those given out while nothing was there
    _least: float = field(init=False, default=0.0)  # transit in this window,
    _least_before: float = field(init=False, default=0.0)  # and in the one before
    _window_ends: Instant = field(init=False, default=0.0)
    _lateness: list[float] = field(init=False, repr=False)  # weight by bin
    _weight: float = field(init=False, default=1.0)
    _total: float = field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        self.target = self.limits.target
        self._lateness = [0.0] * (int(self.limits.target_maximum / _BIN) + 1)

    @property
    def begins(self) -> Instant | None:
        """When the first of what waits is to be played; None before there was any, or after
        ``restart``."""
        return self._begins

    # --- arrival -----------------------------------------------------------------------------

    def insert(
        self, payload: bytes, sequence: int, timestamp: int, duration: int, now: Instant
    ) -> None:
        """A packet has come: ``sequence`` extended by rollovers, ``timestamp`` 32 bits,
        ``duration`` in ticks."""
        self.counters.received += 1
        packet = self._place(payload, sequence, timestamp, duration)
        self._measure(packet, now)
        if self._playing and sequence <= self._played:
            self.counters.late += 1
            return
        at = bisect_left(self._packets, sequence, key=lambda waiting: waiting.sequence)
        if at < len(self._packets) and self._packets[at].sequence == sequence:
            self.counters.duplicates += 1
            return
        self._packets.insert(at, packet)
        if self._begins is None:
            self._begins = now + self.target
        if len(self._packets) > self.limits.packets:
            self._give_up(self._packets[0])

    def restart(self) -> None:
        """Forget the source: the next packet begins anew."""
        self.counters.discarded += len(self._packets)
        self._packets.clear()
        self._newest, self._begins = None, None
        self._playing = False

    def _place(self, payload: bytes, sequence: int, timestamp: int, duration: int) -> _Packet:
        """The packet with a timestamp that does not wrap; another source's begins anew."""
        newest = self._newest
        if newest is not None:
            step = ((timestamp - self._raw + 0x80000000) & 0xFFFFFFFF) - 0x80000000
            ahead = sequence - newest.sequence
            if -MISORDER <= ahead <= 0:
                return _Packet(sequence, newest.timestamp + step, duration, payload)
            if 0 < ahead <= DROPOUT and step >= 0:
                timestamp_count = newest.timestamp + step
                self._newest = _Packet(sequence, timestamp_count, duration, payload)
                self._raw = timestamp
                return self._newest
            self.counters.restarts += 1
            self.restart()
        self._newest = _Packet(sequence, timestamp, duration, payload)
        self._raw = timestamp
        return self._newest

    def _measure(self, packet: _Packet, now: Instant) -> None:
        """Take a packet's transit into account."""
        transit = now - packet.timestamp / self.clock_rate
        late = transit - min(self._least, self._least_before)
        if self._begins is None or (
            not self._packets and self._playing and late > self.limits.target_maximum
        ):
            # The first, or the sender's clock has stood still, or the way has become longer.
            self._least = self._least_before = transit
            self._window_ends = now + WINDOW
            late = 0.0
        elif now >= self._window_ends:
            self._least, self._least_before = transit, self._least
            self._window_ends = now + WINDOW
        else:
            self._least = min(self._least, transit)
        self._note(max(0.0, late))

    def _note(self, late: float) -> None:
        """Count a packet that came ``late`` seconds after the quickest, and set the target."""
        bins = self._lateness
        bins[min(int(late / _BIN), len(bins) - 1)] += self._weight
        self._total += self._weight
        self._weight *= _MEMORY
        if self._weight > _HEAVY:
            self._lateness = bins = [weight / _HEAVY for weight in bins]
            self._total = sum(bins)
            self._weight /= _HEAVY
        later, at = bins[-1], len(bins) - 1
        while later <= _RARE * self._total:
            at -= 1
            later += bins[at]
        wanted = (at + 1) * _BIN + FRAME
        self.target = min(max(wanted, self.limits.target), self.limits.target_maximum)

    # --- playing -----------------------------------------------------------------------------

    def surplus(self, now: Instant) -> float:
        """Seconds held back beyond the target, negative where it is less; 0 where nothing is to be
        played."""
        if not self._playing or not self._packets:
            return 0.0
        return self._lag(self._position, now) - self.target

    def pull(self, now: Instant) -> Item:
        """What is to be played from ``now`` on, after what was pulled before."""
        if not self._playing and not self._begin(now):
            return Silence(self._ticks(FRAME))
        self._shed(now)
        if not self._packets:
            ticks = min(self._duration, self._ticks(FRAME))
            self._waiting += ticks
            return self._make_up(ticks)
        head = self._packets[0]
        gap = self._waited(head.timestamp - self._position, now)
        if gap > 0:
            return self._bridge(head, gap)
        del self._packets[0]
        self.counters.lost += head.sequence - self._played - 1
        self._played, self._duration = head.sequence, max(head.duration, self._ticks(_LEAST))
        self._made_up, self._bridged = 0, False
        self._position = head.timestamp + head.duration
        return Frame(head.payload)

    def _begin(self, now: Instant) -> bool:
        if self._begins is None or now < self._begins or not self._packets:
            return False
        head = self._packets[0]
        self._playing = True
        self._position, self._played, self._duration = (
            head.timestamp,
            head.sequence - 1,
            max(head.duration, self._ticks(_LEAST)),
        )
        self._made_up = self._waiting = 0
        self._bridged = False
        return True

    def _shed(self, now: Instant) -> None:
        """Give up what is too old to be heard, and what has been made up in part already."""
        while self._packets:
            head = self._packets[0]
            consecutive = head.sequence == self._played + 1 and not self._bridged
            if self._lag(head.timestamp, now) > self.limits.target_maximum + FRAME:
                self._give_up(head)
            elif head.timestamp < self._position and not consecutive:
                del self._packets[0]
                self.counters.late += 1
            else:
                return

    def _give_up(self, head: _Packet) -> None:
        del self._packets[0]
        self.counters.discarded += 1
        if self._playing:
            self.counters.lost += head.sequence - self._played - 1
            self._played = head.sequence
            self._position = max(self._position, head.timestamp + head.duration)

    def _waited(self, gap: int, now: Instant) -> int:
        """What is left of a gap before the next packet, after the time in which nothing came; and
        after a leap of the clock, the sender's or ours."""
        skipped = self._waiting
        self._waiting = 0
        ahead = self._lag(self._position, now) - self.target
        if ahead > self.limits.target_maximum:
            skipped = max(skipped, int(ahead * self.clock_rate))
        skipped = max(0, min(gap, skipped))
        self._position += skipped
        return gap - skipped

    def _bridge(self, head: _Packet, gap: int) -> Item:
        """A piece of the gap before ``head``."""
        if head.sequence == self._played + 1:
            ticks = min(gap, self._ticks(FRAME))
            self._position += ticks
            return Silence(ticks)
        self._bridged = True
        if gap <= head.duration:
            self._position += gap
            return Missing(gap, head.payload)
        ticks = min(gap - head.duration, self._duration)
        self._position += ticks
        return self._make_up(ticks)

    def _make_up(self, ticks: int) -> Item:
        if self._made_up + ticks > self._ticks(self.limits.conceal):
            return Silence(ticks)
        self._made_up += ticks
        return Missing(ticks)

    def _lag(self, timestamp: int, now: Instant) -> float:
        """How long after a packet that nothing held up ``timestamp`` would be played now."""
        least = min(self._least, self._least_before)
        return now - timestamp / self.clock_rate - least

    def _ticks(self, seconds: float) -> int:
        return round(seconds * self.clock_rate)
