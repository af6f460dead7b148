"""One call's audio in the clear: RTP and RTCP packets on one side, frames on the other.

What arrives here has been authenticated, what leaves will be protected; neither keys nor sockets
are known in this room. It keeps the books of RFC 3550: a source's sequence and jitter on the way
in, packet and octet counts on the way out, and the reports that tell the peer about both.
"""

from attrs import define, field, frozen

from stunroute.instant import Entropy, Instant
from stunroute.trace import Drop

from .config import SessionLimits
from .events import AudioReceived
from .srtp import SectionName, rtcp, rtp
from .srtp.statistics import SenderStatistics, SourceStatistics


@frozen(slots=True)
class SourceLearned:
    """The peer sends under this synchronisation source (SSRC)."""

    ssrc: int


@frozen(slots=True)
class SourceForgotten:
    """A source made room for a newer one, or said goodbye."""

    ssrc: int


@define(slots=True)
class AudioStream:
    """The state of one audio stream in both directions.

    ``call`` is its id. ``payload_type`` is the one the offer gave our ``codec``, ``clock_rate`` its
    media clock in Hz. Our SSRC, first sequence number and timestamp offset are random (RFC 3550,
    5.1), from ``entropy``.
    """

    call: str
    codec: str
    payload_type: int
    clock_rate: int
    ssrc: int
    cname: str
    entropy: Entropy = field(repr=False)
    limits: SessionLimits
    changes: list[SourceLearned | SourceForgotten] = field(factory=list)
    """Sources learned or forgotten since the caller last emptied this list."""
    sender: SenderStatistics = field(init=False)
    flowing: bool = field(init=False, default=False)
    """Audio has come since the last probe: one packet more brings no probe nearer."""
    _sources: dict[int, SourceStatistics] = field(init=False, factory=dict)
    _newest: SourceStatistics | None = field(init=False, default=None)  # the last of _sources
    _newest_ssrc: int = field(init=False, default=0)
    _sequence: int = field(init=False)
    _timestamp_offset: int = field(init=False)
    _section: SectionName | None = field(init=False, default=None)
    _naming: bool = field(init=False, default=False)  # whether our packets name the section
    _report_at: Instant | None = field(init=False, default=None)
    _sent_at_report: int = field(init=False, default=0)
    packets_in: int = field(init=False, default=0)
    _arrived_at: Instant | None = field(init=False, default=None)
    _probes: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self.sender = SenderStatistics(ssrc=self.ssrc, clock_rate=self.clock_rate)
        self._sequence = rtp.initial_sequence(self.entropy)
        self._timestamp_offset = int.from_bytes(self.entropy(4), "big")

    def belongs_to(self, mid: str | None, extension: int | None) -> None:
        """The newest answer puts this stream into the section ``mid``, and lets packets name it in
        the header extension of that number. Without either nothing is named (RFC 8843, 9.1)."""
        section = self._section
        if mid is None or extension is None:
            self._section, self._naming = None, False
        elif section is None or (section.mid, section.extension) != (mid, extension):
            bound = self.limits.remote_sources
            self._section = SectionName(mid, extension, self._sequence, bound)
            self._naming = True

    def start(self, now: Instant) -> None:
        """Media may flow from ``now`` on; schedules the first report."""
        self._schedule(now, 0.5)

    def receive_rtp_untrusted(self, data: bytes, now: Instant) -> AudioReceived | Drop:
        """Account for one decrypted RTP packet and return its audio, or why there is none. Raises
        DecodeError where it is no RTP packet."""
        kind, marker, sequence, timestamp, ssrc, payload, extensions = rtp.audio_untrusted(data)
        if extensions and self._is_elsewhere(ssrc, sequence, extensions):
            return Drop.RTP_SECTION
        if kind != self.payload_type:
            return Drop.RTP_PAYLOAD_TYPE
        source = self._newest
        if source is None or ssrc != self._newest_ssrc:
            if self._section is not None and self._section.is_elsewhere(ssrc, sequence):
                return Drop.RTP_SECTION
            source = self._source(ssrc)
        extended = source.receive(sequence, timestamp, now, len(payload))
        self.packets_in += 1
        self._arrived_at = now
        if not self.flowing:
            self._probes, self.flowing = 0, True
        if extended is None:
            return Drop.RTP_DISCONTINUITY
        if not payload:
            return Drop.RTP_NO_PAYLOAD
        return AudioReceived(
            self.call, self.codec, payload, extended, timestamp, self.clock_rate, marker
        )

    def _is_elsewhere(
        self, ssrc: int, sequence: int, extensions: tuple[tuple[int, bytes], ...]
    ) -> bool:
        """Whether a packet with header extensions belongs to another section than ours."""
        if self._section is None:
            return False
        source = self._sources.get(ssrc)
        newest = None if source is None else source.highest
        if not self._section.heard(ssrc, sequence, extensions, newest):
            return False
        self._forget(ssrc)
        return True

    def _source(self, ssrc: int) -> SourceStatistics:
        """The books of a source, which is the most recently heard now and so the last."""
        source = self._sources.pop(ssrc, None)
        if source is None:
            if len(self._sources) >= self.limits.remote_sources:
                self._forget(next(iter(self._sources)))
            source = SourceStatistics(clock_rate=self.clock_rate)
            self.changes.append(SourceLearned(ssrc))
        self._sources[ssrc] = self._newest = source
        self._newest_ssrc = ssrc
        return source

    def _forget(self, ssrc: int) -> None:
        source = self._sources.pop(ssrc, None)
        if source is not None:
            if source is self._newest:
                self._newest = None
            self.changes.append(SourceForgotten(ssrc))

    def receive_rtcp_untrusted(self, data: bytes, now: Instant) -> None:
        """Take in one decrypted compound or reduced-size RTCP packet. Raises DecodeError."""
        for packet in rtcp.decode_compound_untrusted(data):
            match packet:
                case rtcp.SenderReport():
                    if source := self._sources.get(packet.ssrc):
                        source.note_sender_report(packet, now)
                    self._take_blocks(packet.reports, now)
                case rtcp.ReceiverReport():
                    self._take_blocks(packet.reports, now)
                case rtcp.Bye():
                    for ssrc in packet.ssrcs:
                        self._forget(ssrc)
                case rtcp.SourceDescription():
                    if self._section is not None:
                        self._section.described(packet.chunks)
                case _:
                    pass  # feedback asks nothing of a sender of audio

    def _take_blocks(self, blocks: tuple[rtcp.ReportBlock, ...], now: Instant) -> None:
        for block in blocks:
            self.sender.receive_report_block(block, now)
            if self._naming and self._section is not None and block.ssrc == self.ssrc:
                self._section.reported(block.highest_sequence, self._sequence)
                self._naming = bool(self._section.block)

    def packetise(self, payload: bytes, timestamp: int, marker: bool, now: Instant) -> bytes:
        """Our next RTP packet. ``timestamp`` is in units of the media clock from any origin."""
        wire_timestamp = (timestamp + self._timestamp_offset) & 0xFFFFFFFF
        sequence = self._sequence
        self._sequence = (sequence + 1) & 0xFFFF
        self.sender.sent(wire_timestamp, len(payload), now)
        packet = rtp.encode_audio(
            self.payload_type, marker, sequence, wire_timestamp, self.ssrc, payload
        )
        return self._named(packet) if self._naming else packet

    def _named(self, packet: bytes) -> bytes:
        """The packet, which also says what section it belongs to."""
        section = self._section
        if section is None:
            return packet
        named = rtp.extended(packet, section.block)
        section.named()
        self._naming = bool(section.block)
        return named

    @property
    def next_report(self) -> Instant | None:
        """When a report is due, None before ``start``."""
        return self._report_at

    def report(self, now: Instant) -> bytes:
        """The compound packet that is due now (RFC 3550, 6.4), and schedule the next."""
        self._schedule(now, 0.5 + int.from_bytes(self.entropy(2), "big") / 0x10000)
        packet = rtcp.encode_compound([self._own_report(now), self._description()])
        self._sent_at_report = self.sender.packets
        return packet

    @property
    def next_probe(self) -> Instant | None:
        """When to ask whether the peer is still to be reached, None where there is no reason to:
        its audio flows, never did, or has been missing for so long that it may be meant."""
        if self._arrived_at is None or self._probes >= self.limits.probes:
            return None
        return self._arrived_at + (self._probes + 1) * self.limits.probe_interval

    def probe(self, now: Instant) -> bytes:
        """A report before its time, which RFC 4585 (3.2) allows. What counts is that something
        goes down the path: a relay that was restarted makes its flow from it, and the peer's audio
        finds its way again without waiting for the peer's next check."""
        self._probes += 1
        self.flowing = False
        return rtcp.encode_compound([self._own_report(now), self._description()])

    def goodbye(self, now: Instant) -> bytes:
        """The compound packet that takes our source away (RFC 3550, 6.6)."""
        packets = [self._own_report(now), self._description(), rtcp.Bye((self.ssrc,))]
        return rtcp.encode_compound(packets)

    def _own_report(self, now: Instant) -> rtcp.SenderReport | rtcp.ReceiverReport:
        blocks = tuple(
            source.report_block(ssrc, now) for ssrc, source in list(self._sources.items())[-31:]
        )
        if self.sender.packets > self._sent_at_report:
            return self.sender.sender_report(now, blocks)
        return rtcp.ReceiverReport(self.ssrc, blocks)

    def _description(self) -> rtcp.SourceDescription:
        items = [(rtcp.CNAME, self.cname.encode())]
        if self._section is not None:
            items.append(self._section.item)
        return rtcp.SourceDescription((rtcp.Chunk(self.ssrc, tuple(items)),))

    def _schedule(self, now: Instant, factor: float) -> None:
        self._report_at = now + self.limits.report_interval * factor

    @property
    def current(self) -> SourceStatistics | None:
        """The source heard last: the one whose jitter and loss describe the call now."""
        return next(reversed(self._sources.values()), None)
