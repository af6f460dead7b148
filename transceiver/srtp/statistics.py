"""What is counted per source, and what the reports say about it (RFC 3550 section 6.4, appendix A).

Reception follows the appendix: A.1 for which sequence numbers count, A.3 for loss, A.8 for jitter.
Two choices are ours. There is no probation unless asked for: it protects a receiver from stray
packets that merely look like RTP, and a packet that has authenticated under SRTP is no stray. And
when a source jumps far enough that A.1 starts its count afresh, the extended sequence number goes
on upward instead of back to zero, so that whoever orders by it is not confused.

Round trips are measured against the sender reports that really were sent. A peer can name any
number as the last report it saw; one that we do not remember gives no measurement.
"""

from collections import OrderedDict

from attrs import define, field

from stunroute.instant import Instant

from .rtcp import (
    ReportBlock,
    SenderReport,
    compact_ntp,
    delay_from_seconds,
    ntp_from_instant,
    seconds_from_delay,
)

MAXIMUM_DROPOUT = 3000
"""A gap forward of this many packets is believed at once (RFC 3550 A.1)."""

MAXIMUM_MISORDER = 100
"""A packet this far behind the newest is late; farther, it is the first of a new beginning."""

_SEEN = (1 << MAXIMUM_MISORDER) - 1  # a bit for each packet that a late one may be compared with
_REMEMBERED_REPORTS = 16  # sender reports of ours that a round trip may be measured against
_NEGATIVE_TOLERANCE = 0.05  # seconds a round trip may come out below zero by rounding and drift


def _signed32(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - 0x100000000 if value & 0x80000000 else value


@define(slots=True)
class SourceStatistics:
    """Reception of one source. ``clock_rate`` is the media clock in Hz, ``probation`` the number
    of packets in sequence that a new source must show before it counts (0: none)."""

    clock_rate: int
    probation: int = 0
    received: int = field(default=0, init=False)
    """Packets counted, duplicates and late ones among them (RFC 3550 section 6.4.1)."""
    octets: int = field(default=0, init=False)
    """Sum of their lengths as given."""
    duplicates: int = field(default=0, init=False)
    """Packets seen before, as far back as late packets are taken."""
    jitter: float = field(default=0.0, init=False)
    """Interarrival jitter in units of the media clock (RFC 3550 A.8)."""
    last_arrival: Instant | None = field(default=None, init=False)
    """When the newest packet that counted came."""
    _started: bool = field(default=False, init=False)
    _highest: int = field(default=0, init=False)
    _base: int = field(default=0, init=False)
    _expected_before: int = field(default=0, init=False)
    _received_before: int = field(default=0, init=False)
    _bad: int | None = field(default=None, init=False)
    _awaited: int | None = field(default=None, init=False)
    _on_probation: int = field(default=0, init=False)
    _seen: int = field(default=0, init=False)
    _last_timestamp: int = field(default=0, init=False)
    _report_ntp: int | None = field(default=None, init=False)
    _report_at: Instant = field(default=0.0, init=False)

    def receive(self, sequence: int, timestamp: int, arrival: Instant, length: int) -> int | None:
        """Count one packet: 16-bit ``sequence``, 32-bit ``timestamp``, ``length`` in octets.

        Returns its extended sequence number (negative for one that was sent before a wrap and came
        after the first packet seen), or None for a packet not to be used: a duplicate, one on
        probation, or the first after an implausible jump.
        """
        behind: int | None
        if sequence - self._highest & 0xFFFF == 1 and self._started:
            # The next in order, as nearly all are: it cannot be late, nor seen before.
            self._highest += 1
            if self._seen != _SEEN:  # of a window that is full none is shifted out but a bit set
                self._seen = (self._seen << 1 | 1) & _SEEN
            self._bad = None
            self.received += 1
            self.octets += length
            behind = 0
        else:
            behind = self._place(sequence)
            if behind is None:
                return None
            self.received += 1
            self.octets += length
            if self._seen >> behind & 1:
                self.duplicates += 1
                return None
            self._seen |= 1 << behind
        if self.last_arrival is not None:
            elapsed = (arrival - self.last_arrival) * self.clock_rate
            # _signed32, without the call
            step = (timestamp - self._last_timestamp + 0x80000000 & 0xFFFFFFFF) - 0x80000000
            difference = abs(elapsed - step)
            self.jitter += (difference - self.jitter) / 16.0
        self.last_arrival = arrival
        self._last_timestamp = timestamp
        return self._highest - behind

    def _place(self, sequence: int) -> int | None:
        """How far behind the newest packet this one is, by A.1; the newest moves where it is newer.

        None for a packet that does not count.
        """
        if not self._started:
            return self._begin(sequence)
        delta = sequence - self._highest & 0xFFFF
        if delta < MAXIMUM_DROPOUT:
            self._highest += delta
            self._seen = self._seen << delta & _SEEN
            self._bad = None
            return 0
        if delta > 0x10000 - MAXIMUM_MISORDER:
            return 0x10000 - delta
        if sequence != self._bad:
            self._bad = sequence + 1 & 0xFFFF
            return None
        self._restart(self._highest + delta)
        return 0

    def _begin(self, sequence: int) -> int | None:
        if self._awaited is None or sequence != self._awaited:
            self._on_probation = self.probation
        if self._on_probation > 0:
            self._on_probation -= 1
            self._awaited = sequence + 1 & 0xFFFF
            if self._on_probation:
                return None
        self._restart(sequence)
        return 0

    def _restart(self, extended: int) -> None:
        self._started = True
        self._highest = self._base = extended
        self.received = self._expected_before = self._received_before = 0
        self._seen = 0
        self._bad = None
        self.last_arrival = None

    @property
    def highest(self) -> int | None:
        """The highest extended sequence number, None before the first packet that counts."""
        return self._highest if self._started else None

    @property
    def jitter_seconds(self) -> float:
        """Interarrival jitter in seconds."""
        return self.jitter / self.clock_rate

    @property
    def expected(self) -> int:
        """Packets that the source must have sent since the first that counted (RFC 3550 A.3)."""
        return self._highest - self._base + 1 if self._started else 0

    @property
    def lost(self) -> int:
        """Expected less received; negative where duplicates outnumber the losses."""
        return self.expected - self.received

    def note_sender_report(self, report: SenderReport, now: Instant) -> None:
        """A sender report of this source has come."""
        self._report_ntp = report.ntp
        self._report_at = now

    def report_block(self, ssrc: int, now: Instant) -> ReportBlock:
        """What a report says about this source, and the end of an interval for its loss."""
        expected = self.expected - self._expected_before
        lost = expected - (self.received - self._received_before)
        self._expected_before = self.expected
        self._received_before = self.received
        return ReportBlock(
            ssrc=ssrc,
            fraction_lost=min(lost * 256 // expected, 255) if expected > 0 and lost > 0 else 0,
            cumulative_lost=min(max(self.lost, -0x800000), 0x7FFFFF),
            highest_sequence=self._highest & 0xFFFFFFFF,
            jitter=min(int(self.jitter), 0xFFFFFFFF),
            last_sender_report=0 if self._report_ntp is None else compact_ntp(self._report_ntp),
            delay_since_last=0
            if self._report_ntp is None
            else delay_from_seconds(now - self._report_at),
        )


@define(slots=True)
class SenderStatistics:
    """What we send under one SSRC, and what the peer says it received of it."""

    ssrc: int
    clock_rate: int
    packets: int = field(default=0, init=False)
    octets: int = field(default=0, init=False)
    """Payload octets: neither headers nor padding (RFC 3550 section 6.4.1)."""
    round_trip_time: float | None = field(default=None, init=False)
    """The newest measurement, in seconds."""
    remote_fraction_lost: float | None = field(default=None, init=False)
    """0 to 1, since the peer's report before its last."""
    remote_lost: int | None = field(default=None, init=False)
    remote_jitter_seconds: float | None = field(default=None, init=False)
    _timestamp: int = field(default=0, init=False)
    _at: Instant | None = field(default=None, init=False)
    _reports: OrderedDict[int, Instant] = field(factory=OrderedDict, init=False)

    def sent(self, timestamp: int, length: int, now: Instant) -> None:
        """One RTP packet has left, with this RTP timestamp and ``length`` octets of payload."""
        self.packets += 1
        self.octets += length
        self._timestamp = timestamp
        self._at = now

    def sender_report(self, now: Instant, reports: tuple[ReportBlock, ...] = ()) -> SenderReport:
        """The report to send now; it is remembered for round trips. Its RTP timestamp is the media
        clock at ``now``, carried on from the last packet sent."""
        ntp = ntp_from_instant(now)
        self._reports[compact_ntp(ntp)] = now
        self._reports.move_to_end(compact_ntp(ntp))
        if len(self._reports) > _REMEMBERED_REPORTS:
            self._reports.popitem(last=False)
        elapsed = 0.0 if self._at is None else now - self._at
        return SenderReport(
            self.ssrc,
            ntp,
            self._timestamp + round(elapsed * self.clock_rate) & 0xFFFFFFFF,
            self.packets & 0xFFFFFFFF,
            self.octets & 0xFFFFFFFF,
            reports,
        )

    def receive_report_block(self, block: ReportBlock, now: Instant) -> float | None:
        """Take in what the peer reports about this SSRC (a block about another is ignored).

        Returns the round-trip time in seconds where the block gives one: it must name a report that
        we remember, and the delay it claims must fit into the time that has passed.
        """
        if block.ssrc != self.ssrc:
            return None
        self.remote_fraction_lost = block.fraction_lost / 256.0
        self.remote_lost = block.cumulative_lost
        self.remote_jitter_seconds = block.jitter / self.clock_rate
        if not block.last_sender_report:  # zero says that the peer has seen none
            return None
        sent_at = self._reports.get(block.last_sender_report)
        if sent_at is None:
            return None
        measured = now - sent_at - seconds_from_delay(block.delay_since_last)
        if measured < -_NEGATIVE_TOLERANCE:
            return None
        self.round_trip_time = max(measured, 0.0)
        return self.round_trip_time
