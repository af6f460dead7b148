"""The receiving side of an association: DATA in, messages out, and the SACK between.

No policy on the network here: whoever owns an ``Inbound`` decides when to acknowledge (with
``Acknowledgement``), and what to answer to what is refused.

**Room.** Two bounds hold for what is kept: bytes, which the SACK advertises, and entries, because
a byte in each of a million chunks is not a million bytes. Chunks beyond a gap may fill them. The
one chunk that everything waits for, the next in the sequence, may go over them by as much as one
message may need, or the chunks behind it would hold the room that it needs, for ever. (RFC 9260
section 6.2 would have the last of the others thrown out for it, which were acknowledged.) Fetching
messages makes room; while too many wait to be fetched nothing is taken.
"""

from collections import deque
from collections.abc import Sequence

from attrs import define

from stunroute.trace import Drop
from transceiver.config import SctpLimits

from .chunks import Data, ForwardTsn, Sack
from .events import MessageReceived
from .packet import HEADER_LENGTH
from .reassembly import Reassembly
from .serial import TSN_MASK, unwrap
from .tsns import Tsns

_HALF = 0x8000_0000
_SACK_LENGTH = 16
"""Of a SACK chunk without gaps and duplicates."""
DUPLICATES = 32
"""TSNs remembered for the next SACK because they came again; further ones are not reported."""


@define(slots=True, eq=False, init=False)
class Inbound:
    """``first_tsn`` is the initial TSN of the peer's INIT or INIT ACK."""

    _limits: SctpLimits
    _tsns: Tsns
    _reassembly: Reassembly
    ready: deque[MessageReceived]
    """Whole messages in their turn; ``next_message`` fetches them."""
    oversized: dict[int, None]
    """Streams for ``next_oversized``."""
    _duplicates: list[int]
    _advertised: int
    _most_in_turn: int

    def __init__(self, first_tsn: int, limits: SctpLimits) -> None:
        self._limits = limits
        self._tsns = Tsns(first_tsn - 1)
        self._reassembly = Reassembly(self._tsns, limits.message)
        self.ready = self._reassembly.ready
        self.oversized = self._reassembly.oversized
        self._duplicates = []
        self._advertised = limits.receive_window
        self._most_in_turn = limits.receive_window + limits.message

    @property
    def cumulative(self) -> int:
        """The last TSN before the first gap, modulo 2^32."""
        return self._tsns.cumulative & TSN_MASK

    @property
    def has_gaps(self) -> bool:
        return self._tsns.has_gaps

    @property
    def blocked(self) -> bool:
        """Too many messages wait to be fetched."""
        return len(self._reassembly.ready) >= self._limits.events

    @property
    def window(self) -> int:
        """Bytes there is room for: what a SACK advertises."""
        if self.blocked:
            return 0
        return max(0, self._limits.receive_window - self._reassembly.used)

    @property
    def window_has_opened(self) -> bool:
        """There is so much more room than the last SACK said that the peer should hear of it."""
        return self.window - self._advertised >= self._limits.receive_window // 4

    def receive(self, data: Data) -> Drop | None:
        """Take a DATA chunk. None, or why it was let go:

        ``SCTP_WINDOW`` there is no room, or it lies too far ahead: the peer will send it again;
        ``SCTP_DUPLICATE`` it has come before, or its stream is beyond its sequence number;
        ``SCTP_STREAM`` there is no such stream (to be answered with an ERROR);
        ``SCTP_FRAGMENT`` it does not fit what stands beside it, and one or both are lost;
        ``SCTP_MESSAGE_TOO_LONG`` it completes a message that was longer than announced.

        Its TSN counts as received, except with ``SCTP_WINDOW``. The payload must not be empty."""
        tsns, reassembly, limits = self._tsns, self._reassembly, self._limits
        tsn = tsns.cumulative + 1
        ahead = (data.tsn - tsn) & TSN_MASK
        used = reassembly.used + len(data.payload)
        if ahead == 0:
            if (
                used > self._most_in_turn
                or len(reassembly.ready) >= limits.events
                or reassembly.kept > 2 * limits.chunks_ahead
            ):
                return Drop.SCTP_WINDOW
            tsns.advance()
        else:
            tsn += ahead
            if ahead >= _HALF or tsns.has(tsn):
                if len(self._duplicates) < DUPLICATES:
                    self._duplicates.append(data.tsn)
                return Drop.SCTP_DUPLICATE
            if (
                used > limits.receive_window
                or ahead > limits.chunks_ahead
                or reassembly.kept > limits.chunks_ahead
                or self.blocked
            ):
                return Drop.SCTP_WINDOW
            tsns.note(tsn)
        if data.stream >= limits.streams:
            return Drop.SCTP_STREAM
        return reassembly.take(tsn, data)

    def receive_in_turn(
        self, tsn: int, stream: int, ssn: int, ppid: int, flags: int, payload: bytes
    ) -> bool:
        """``receive`` without a record, for a chunk that is the next in the sequence while nothing
        is missing, and that is taken. False: it is none of these, and nothing has changed."""
        tsns, reassembly, limits = self._tsns, self._reassembly, self._limits
        following = tsns.cumulative + 1
        if (
            tsn != following & TSN_MASK
            or tsns.has_gaps
            or reassembly.used + len(payload) > self._most_in_turn
            or len(reassembly.ready) >= limits.events
            or reassembly.kept > 2 * limits.chunks_ahead
            or stream >= limits.streams
            or not reassembly.take_in_turn(following, stream, ssn, ppid, flags, payload)
        ):
            return False
        tsns.cumulative = following
        return True

    def receive_forward(self, chunk: ForwardTsn) -> bool:
        """Take a FORWARD-TSN. False if it says nothing new; then a SACK has been lost, and another
        is to be sent at once (RFC 3758, 3.6)."""
        tsn = unwrap(chunk.cumulative, self._tsns.cumulative)
        if tsn <= self._tsns.cumulative:
            return False
        self._tsns.forward(tsn)
        self._reassembly.forward(tsn)
        # Each stream once, however often it is named: all that waits on it is looked at.
        for stream, ssn in dict(chunk.streams).items():
            if stream < self._limits.streams:
                self._reassembly.pass_to(stream, ssn)
        return True

    def sack(self) -> Sack:
        """The acknowledgement as it is now, within one packet. Duplicates are reported once."""
        window = self.window
        self._advertised = window
        tsns = self._tsns
        if not tsns.has_gaps and not self._duplicates:
            return Sack(tsns.cumulative & TSN_MASK, window)
        room = (self._limits.packet - HEADER_LENGTH - _SACK_LENGTH) // 4
        gaps = tsns.gaps(room)
        duplicates = tuple(self._duplicates[: room - len(gaps)])
        self._duplicates.clear()
        return Sack(tsns.cumulative & TSN_MASK, window, gaps, duplicates)

    def next_message(self) -> MessageReceived | None:
        """The next whole message in its turn; fetching it makes room."""
        if not self.ready:
            return None
        message = self.ready.popleft()
        self._reassembly.used -= len(message.payload)
        return message

    def next_oversized(self) -> int | None:
        """A stream on which a message was let go because it was longer than announced."""
        if not self.oversized:
            return None
        stream = next(iter(self.oversized))
        del self.oversized[stream]
        return stream

    def reset_streams(self, streams: Sequence[int]) -> None:
        """The peer has reset its outgoing ``streams``, none named: all of them. Call it once
        ``cumulative`` has reached the last TSN that the peer's request names."""
        self._reassembly.reset(streams or None)
