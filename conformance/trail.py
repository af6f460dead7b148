"""What a case sent and received: the raw material of a report's ladder and its pcap.

Bounded: a case that is answered with a flood keeps its beginning, and the number of what it does
not keep.
"""

from attrs import define, field, frozen

from stunroute.address import Address
from stunroute.instant import Instant

MOST_CROSSINGS = 2000
MOST_BYTES = 1_000_000
"""Of datagrams that are kept; the longest of our own cases has a third of it."""
MOST_NOTES = 200
LONGEST_NOTE = 20_000
"""Characters; a server may answer with any amount of SDP."""


@frozen(slots=True)
class Crossing:
    """One datagram between ``near``, a socket of ours, and ``far``. ``at`` is by the wire's clock,
    in seconds. ``sent`` by us or not. ``note`` is what the case calls it."""

    at: Instant
    near: Address
    far: Address
    sent: bool
    data: bytes = field(repr=False)
    note: str = ""


@frozen(slots=True)
class Note:
    """A remark between the datagrams: a step begun, an offer posted. Its first line says what; the
    lines after it, an SDP say, are shown on demand."""

    at: Instant
    text: str


@define(slots=True)
class Trail:
    """In order. ``secrets`` are lines of a key log (the form that NSS and Wireshark know), so that
    a pcap of the trail can be read. ``left_out`` counts the datagrams that are not kept; the bytes
    are those of all."""

    entries: list[Crossing | Note] = field(factory=list)
    secrets: list[str] = field(factory=list, repr=False)
    left_out: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    _notes: int = 0
    _kept: int = 0

    def cross(self, crossing: Crossing) -> None:
        """Keep a datagram, or count it where there are too many."""
        if crossing.sent:
            self.sent_bytes += len(crossing.data)
        else:
            self.received_bytes += len(crossing.data)
        if len(self.entries) >= MOST_CROSSINGS or self._kept + len(crossing.data) > MOST_BYTES:
            self.left_out += 1
        else:
            self._kept += len(crossing.data)
            self.entries.append(crossing)

    def note(self, at: Instant, text: str) -> None:
        """Keep a remark, cut to ``LONGEST_NOTE``; beyond ``MOST_NOTES`` none is kept."""
        if self._notes < MOST_NOTES:
            self._notes += 1
            self.entries.append(Note(at, text[:LONGEST_NOTE]))

    def keep_secret(self, line: str) -> None:
        """Keep a line of a key log, once."""
        if line not in self.secrets and len(self.secrets) < MOST_NOTES:
            self.secrets.append(line)
