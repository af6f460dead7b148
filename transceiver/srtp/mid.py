"""Which section of the description a source belongs to, told and heard (RFC 8843, 9.2 and 15).

The name of the section (its MID) goes with packets as a header extension and with reports as an
item of the source description. How often is left open, with the advice to think of loss and of
what it costs. Here every packet names it from the first on until a report of the peer's shows that
one of these has arrived, which is when the peer cannot but know, and that is a matter of one
reporting interval. A peer that never reports has had ``NAMED`` packets by then, and reports go on
to name it for as long as the call lasts: there it costs a few octets in five seconds. An SSRC of
ours never changes within a call, so there is one beginning, and one more where a later offer has
given the extension another number.

What the peer names is believed over its payload type: a source that says that it belongs to another
section than ours is not decoded, until it says otherwise. Of two words of one source the later in
its sequence counts, not the one that came later. Sequence numbers wrap, so a word that is not said
again is moved along behind what follows it: else, after half a cycle, a newer one would look older.
"""

from collections.abc import Iterable

from attrs import define, field

from . import rtcp, rtp

NAMED = 500
"""Packets that name the section where no report comes: 10 s of audio in frames of 20 ms, which is
twice the interval of RFC 3550 (6.2)."""

BEHIND = 0x4000
"""Packets that a word may lie behind the newest packet of its source before it is moved along."""


def _is_ahead(sequence: int, other: int) -> bool:
    """Whether a sequence number is later than another, of 16 bits each."""
    return 0 < (sequence - other) & 0xFFFF < 0x8000


@define(slots=True)
class SectionName:
    """The one section of audio: its ``mid``, up to 16 octets of UTF-8, and the ``extension`` number
    (1 to 14) that the answer gave it. ``first`` is the sequence number of our next packet;
    ``sources`` bounds how many sources of other sections are remembered."""

    mid: str
    extension: int
    first: int
    sources: int
    block: bytes = field(init=False)
    """The extension block of a packet that names the section; empty once none has to."""
    _value: bytes = field(init=False)
    _left: int = field(init=False, default=NAMED)
    _elsewhere: dict[int, int] = field(init=False, factory=dict)
    """Sources of other sections, with the sequence number of the packet that said so."""

    def __attrs_post_init__(self) -> None:
        self._value = self.mid.encode()
        self.block = rtp.encode_extensions(((self.extension, self._value),))

    @property
    def item(self) -> tuple[int, bytes]:
        """What a source description says."""
        return rtcp.MID, self._value

    def named(self) -> None:
        """A packet has gone out with the ``block``."""
        self._left -= 1
        if not self._left:
            self.block = b""

    def reported(self, highest: int, following: int) -> None:
        """The peer has reported ``highest`` as the newest sequence number that it has of us; our
        next packet's is ``following``."""
        if (highest - self.first) & 0xFFFF < (following - self.first) & 0xFFFF:
            self.block = b""

    def is_elsewhere(self, ssrc: int, sequence: int) -> bool:
        """A packet without a name has come. Whether its source has said that it belongs to another
        section."""
        said = self._elsewhere.get(ssrc)
        if said is None:
            return False
        if _is_ahead(sequence, said + BEHIND):
            self._elsewhere[ssrc] = sequence - BEHIND & 0xFFFF
        return True

    def heard(
        self, ssrc: int, sequence: int, extensions: Iterable[tuple[int, bytes]], newest: int | None
    ) -> bool:
        """A packet with header extensions has come. ``newest`` is the highest sequence number that
        its source was heard with in our section, None where it has not been. Whether the packet
        belongs to another section."""
        value = next((value for number, value in extensions if number == self.extension), None)
        if value is None:
            return self.is_elsewhere(ssrc, sequence)
        said = self._elsewhere.get(ssrc)
        if said is not None and not _is_ahead(sequence, said):
            return True
        if value == self._value:
            self._elsewhere.pop(ssrc, None)
            return False
        if said is None and newest is not None and not _is_ahead(sequence, newest):
            return False
        if said is None and len(self._elsewhere) >= self.sources:
            del self._elsewhere[next(iter(self._elsewhere))]
        self._elsewhere[ssrc] = sequence
        return True

    def described(self, chunks: Iterable[rtcp.Chunk]) -> None:
        """A source description has come. The name of another section changes nothing: those that
        the peer has beside ours are its own affair, and this one was told by what was heard."""
        for chunk in chunks:
            if self.item in chunk.items:
                self._elsewhere.pop(chunk.ssrc, None)
