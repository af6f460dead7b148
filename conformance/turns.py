"""The journal of one call, cut into turns.

An endpoint's journal is a flat list. What belongs together is one input and all that it caused:
the datagrams that left, the datagrams that were let go, the deadline that came out of it. That is
a turn. The recorder writes turns down and replay compares them, so both cut the journal here.
"""

from collections import deque
from typing import TypeAlias

from attrs import define, field

from transceiver import journal

Input: TypeAlias = journal.Opened | journal.Received | journal.Fired | journal.Acted


@define(slots=True)
class Turn:
    """``settled`` is None where the input was refused with an exception (a re-offer that cannot
    be read)."""

    input: Input
    sent: list[journal.Sent] = field(factory=list)
    dropped: list[str] = field(factory=list)
    settled: journal.Settled | None = None


@define(slots=True)
class Cutter:
    """Feed it every entry of one call; take whole turns out of it."""

    _open: Turn | None = None
    _whole: deque[Turn] = field(factory=deque)

    def feed(self, entry: journal.Entry) -> None:
        """Raises ValueError for an output that no input stands before: an endpoint makes none, and
        a record that lacks one must not pass for whole."""
        match entry:
            case journal.Sent() if self._open is not None:
                self._open.sent.append(entry)
            case journal.Dropped() if self._open is not None:
                self._open.dropped.append(entry.drop.value)
            case journal.Settled() if self._open is not None:
                self._open.settled = entry
                self.flush()
            case journal.Opened() | journal.Received() | journal.Fired() | journal.Acted():
                self.flush()
                self._open = Turn(entry)
            case _:
                raise ValueError("an output that no input stands before")

    def flush(self) -> None:
        """What is open is whole: nothing more will come of its input."""
        if self._open is not None:
            self._whole.append(self._open)
            self._open = None

    def take(self) -> Turn | None:
        return self._whole.popleft() if self._whole else None
