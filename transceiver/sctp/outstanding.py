"""DATA chunks that are sent and not acknowledged, in the order of their TSNs.

The TSNs that are out follow one another without a hole, so the chunks are a queue: what a SACK
acknowledges without gaps is taken from its front, each chunk once, and nothing else is looked at.
Only a SACK that reports gaps is compared with the chunks it speaks of. A chunk is encoded once,
when it is first sent, and repeated as it was.

What is found missing goes on a second queue, of what is to be sent again. Chunks leave that queue
late, when their turn has come and they are seen to have been acknowledged or given up meanwhile.

A message may be given up (RFC 3758) when one of its chunks would have to be sent again and its time
or its number of attempts is over. Its chunks stay in their places until FORWARD-TSN has told the
peer and the peer has answered.
"""

from collections import deque
from enum import Enum
from itertools import islice
from typing import Final

from attrs import define, field

from stunroute.instant import Instant

from .chunks import ForwardTsn, Sack
from .sendqueue import Outgoing, SendQueue
from .serial import TSN_MASK, unwrap

MISSES: Final = 3
"""Reports after which a chunk counts as lost (RFC 9260, 7.2.4)."""


class Fate(Enum):
    FLYING = "flying"
    ARRIVED = "arrived"  # a gap block names it; the cumulative TSN has not come to it
    LOST = "lost"  # to be sent again
    ABANDONED = "abandoned"


FLYING, ARRIVED, LOST, ABANDONED = Fate


@define(slots=True, eq=False)
class Sent:
    """One chunk. ``tsn`` is unwrapped, ``chunk`` what goes on the wire."""

    tsn: int
    chunk: bytes = field(repr=False)
    size: int
    message: Outgoing
    fate: Fate = FLYING
    sendings: int = 1
    misses: int = 0
    fresh_from: int = 0
    """Only the arrival of this TSN or a later one shows this chunk to be missing: what was sent
    before its own last sending tells nothing about that."""


# One for each SACK: made in a third of the time that a frozen one takes.
@define(slots=True)
class Acknowledged:
    """What a SACK has brought. ``size``: bytes acknowledged for the first time; ``flight``: bytes
    that were in flight before; ``advanced``: the cumulative TSN rose; ``lost``: chunks now count
    as lost that did not; ``round_trip``: seconds, where they could be measured. ``late``: a newer
    one had overtaken it, and it says nothing."""

    size: int
    flight: int
    advanced: bool = False
    lost: bool = False
    round_trip: float | None = None
    late: bool = False


@define(slots=True)
class Outstanding:
    """``next_tsn`` is the first that will be used, unwrapped. ``partial``: the peer understands
    FORWARD-TSN, so that what is sent may be given up."""

    next_tsn: int
    queue: SendQueue
    partial: bool = False
    cumulative: int = field(init=False)
    """The last TSN up to which everything is acknowledged, unwrapped."""
    flight: int = field(default=0, init=False)
    """Bytes of chunks thought to be under way."""
    abandoned: int = field(default=0, init=False)
    """How many chunks have been given up, and the peer has not heard."""
    lost: deque[Sent] = field(factory=deque, init=False)
    """What may have to be sent again: ``peek_lost`` knows."""
    sent: deque[Sent] = field(factory=deque, init=False)
    """All that is out, by TSN."""
    _probe: Sent | None = field(default=None, init=False)
    """The chunk by which the next round trip is measured, sent only once, at ``_probed_at``."""
    _probed_at: Instant = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self.cumulative = self.next_tsn - 1

    def __len__(self) -> int:
        return len(self.sent)

    # Sending

    def add(self, message: Outgoing, chunk: bytes, now: Instant) -> None:
        """``chunk``, a part of ``message`` with the TSN ``next_tsn``, is being sent for the first
        time."""
        size = len(chunk)
        item = Sent(self.next_tsn, chunk, size, message)
        self.sent.append(item)
        self.next_tsn += 1
        self.flight += size
        message.unacknowledged += 1
        message.stream.unacknowledged += 1
        if self._probe is None:
            self._probe = item
            self._probed_at = now

    def peek_lost(self, now: Instant) -> Sent | None:
        """The next chunk to be sent again. Those whose messages may not be tried again are given
        up here."""
        lost = self.lost
        while lost:
            item = lost[0]
            if item.fate is LOST:
                if not self._hopeless(item, now):
                    return item
                self._abandon(item)
            lost.popleft()
        return None

    def resend(self, item: Sent) -> bytes:
        """The chunk that ``peek_lost`` gave is being sent again."""
        self.lost.popleft()
        item.fate = FLYING
        item.sendings += 1
        item.misses = 0
        item.fresh_from = self.next_tsn
        self.flight += item.size
        return item.chunk

    @property
    def first_is(self) -> Fate | None:
        """What has become of the earliest chunk."""
        return self.sent[0].fate if self.sent else None

    # Hearing of it

    def receive(self, sack: Sack, now: Instant, *, recovering: bool = False) -> Acknowledged | None:
        """Take a SACK. None if it acknowledges what was never sent; then nothing has changed."""
        cumulative = unwrap(sack.cumulative, self.cumulative)
        gaps = _merged(sack.gaps) if sack.gaps else []
        highest = cumulative + gaps[-1][1] if gaps else cumulative
        if highest >= self.next_tsn:
            return None
        flight = self.flight
        if cumulative < self.cumulative:
            return Acknowledged(0, flight, late=True)
        advanced = cumulative > self.cumulative
        probe = self._probe
        size = self._advance(cumulative) if advanced else 0
        lost = False
        if gaps:
            size, lost = self._receive_gaps(gaps, size, recovering=recovering and advanced, now=now)
        if self.sent and self.sent[0].fate is ARRIVED:
            lost |= self._take_back(gaps)
        round_trip = None
        if probe is not None and (probe.tsn <= cumulative or probe.fate is ARRIVED):
            round_trip = now - self._probed_at
            self._probe = None
        return Acknowledged(size, flight, advanced, lost, round_trip)

    def has_not_sent(self, cumulative: int) -> bool:
        """Whether a SACK with that cumulative TSN speaks of what was never sent."""
        return unwrap(cumulative, self.cumulative) >= self.next_tsn

    def pop(self, count: int, now: Instant) -> tuple[int, float | None]:
        """``receive`` of a SACK that acknowledges the first ``count`` chunks, of which there are so
        many, and says nothing of others. Bytes acknowledged for the first time, and the round trip
        in seconds where it could be measured."""
        probe = self._probe
        size = self._advance(self.cumulative + count)
        if probe is None or (probe.tsn > self.cumulative and probe.fate is not ARRIVED):
            return size, None
        self._probe = None
        return size, now - self._probed_at

    def _advance(self, cumulative: int) -> int:
        """Forget the chunks up to ``cumulative``; the bytes that are acknowledged by it."""
        sent, size, flight = self.sent, 0, self.flight
        for _ in range(cumulative - self.cumulative):
            item = sent.popleft()
            fate = item.fate
            if fate is FLYING:
                size += item.size
                flight -= item.size
            elif fate is LOST:
                size += item.size
            elif fate is ABANDONED:
                self.abandoned -= 1
            item.fate = ARRIVED
            message = item.message
            message.stream.unacknowledged -= 1
            message.unacknowledged -= 1
            if message.taken and not message.unacknowledged:
                self.queue.release(message)
        self.flight = flight
        self.cumulative = cumulative
        return size

    def _receive_gaps(
        self, gaps: list[tuple[int, int]], size: int, *, recovering: bool, now: Instant
    ) -> tuple[int, bool]:
        """Note what has come beyond the cumulative TSN, and count what has not. ``size`` bytes
        were acknowledged before. What they are now, and whether anything counts as lost.

        ``recovering``: the cumulative TSN rose during a recovery, and every report of a miss counts
        (RFC 9260, 7.2.4), not only those of chunks sent before one that has just come."""
        newest = self.cumulative if size else 0
        base = self.cumulative
        missing: list[Sent] = []
        blocks = iter(gaps)
        start, end = next(blocks)
        for item in self.sent:
            offset = item.tsn - base
            while offset > end:
                start, end = next(blocks, (0, 0))
                if not end:
                    break
            if not end:
                break
            fate = item.fate
            if offset < start:
                if fate is FLYING:
                    missing.append(item)
            elif fate is FLYING or fate is LOST:
                if fate is FLYING:
                    self.flight -= item.size
                size += item.size
                item.fate = ARRIVED
                newest = item.tsn
        lost = False
        for item in missing:
            # One that was found hopeless may have taken others with it.
            if item.fate is FLYING and newest >= item.fresh_from:
                if recovering or item.tsn < newest:
                    item.misses += 1
                if item.misses >= MISSES:
                    self._lose(item, now)
                    lost = True
        return size, lost

    def _take_back(self, gaps: list[tuple[int, int]]) -> bool:
        """The cumulative TSN stands before a chunk that was reported to have come: the peer has
        let go what it had not delivered, as it may (RFC 9260, 6.2). Whatever it does not report
        now has to be sent again. Whether there is any such."""
        first = self.cumulative
        kept = {first + offset for start, end in gaps for offset in range(start, end + 1)}
        gone = [item for item in self.sent if item.fate is ARRIVED and item.tsn not in kept]
        for item in gone:
            item.fate = LOST
        self.lost.extend(gone)
        return bool(gone)

    # Losing and giving up

    def _lose(self, item: Sent, now: Instant) -> None:
        self.flight -= item.size
        if self._probe is item:
            self._probe = None
        item.fate = LOST
        if self._hopeless(item, now):
            self._abandon(item)
        else:
            self.lost.append(item)

    def lose_all(self, now: Instant) -> None:
        """Nothing that is out is thought to be under way any more."""
        self._probe = None
        self.lost.clear()
        for item in tuple(self.sent):
            if item.fate is FLYING:
                self._lose(item, now)
            elif item.fate is LOST:
                self.lost.append(item)

    def give_up(self, message: Outgoing) -> None:
        """Give up a message that is begun and not finished. ``partial`` only."""
        if self.sent and self.sent[-1].message is message:
            self._abandon(self.sent[-1])
        elif self.queue.discard(message):
            self._end(message)

    def _hopeless(self, item: Sent, now: Instant) -> bool:
        message = item.message
        if not self.partial:
            return False
        attempts = message.retransmissions
        return (attempts is not None and item.sendings > attempts) or message.expired(now)

    def _abandon(self, item: Sent) -> None:
        """Give up the message that ``item`` is of: the chunks that are out, and the rest."""
        message = item.message
        if self.queue.discard(message):
            self._end(message)
        index = item.tsn - self.cumulative - 1
        while index and self.sent[index - 1].message is message:
            index -= 1
        for other in islice(self.sent, index, None):
            if other.message is not message:
                break
            self._let_go(other)

    def _end(self, message: Outgoing) -> None:
        """Should the peer have got every chunk so far of a message of which no more will come, it
        must learn that before another message may follow. So the last chunk, which it will never
        see, takes a TSN and is given up at once."""
        message.unacknowledged += 1
        message.stream.unacknowledged += 1
        self.sent.append(Sent(self.next_tsn, b"", 0, message, ABANDONED))
        self.abandoned += 1
        self.next_tsn += 1

    def _let_go(self, item: Sent) -> None:
        if item.fate is FLYING:
            self.flight -= item.size
        if self._probe is item:
            self._probe = None
        if item.fate is not ABANDONED:
            self.abandoned += 1
        item.fate = ABANDONED
        item.chunk = b""

    def forward(self, space: int) -> tuple[ForwardTsn, int]:
        """What tells the peer not to wait for what was given up, in ``space`` bytes, and up to
        which TSN, unwrapped, it goes. The first chunk must have been given up."""
        room = (space - 8) // 4
        cumulative = self.cumulative
        streams: dict[int, int] = {}
        for item in self.sent:
            if item.fate is not ABANDONED:
                break
            message = item.message
            if message.ordered:
                number = message.stream.number
                if number not in streams and len(streams) >= room:
                    break
                streams[number] = message.ssn
            cumulative = item.tsn
        return ForwardTsn(cumulative & TSN_MASK, tuple(streams.items())), cumulative


def _merged(gaps: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
    """The blocks sorted, and one where they touch: a peer may send as many as it likes in any
    order, and what is done for each chunk must not be done for each block that names it."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(gaps):
        if merged and start <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
