"""From fragments to messages, from messages to their order (RFC 9260 sections 6.5, 6.6 and 6.9).

The fragments of a message have consecutive TSNs. So what is kept are *runs*: fragments without a
gap between them that belong together. A fragment finds the run it prolongs by the TSN before or
after its own, joins two of them or begins one, however the network has shuffled them; a run with a
beginning and an end is a message. Most messages are one fragment and never become a run.

A message that is ordered waits for its stream sequence number, others are ready at once. What can
no longer become a message must not hold up those behind it: the peer gave it up (FORWARD-TSN), it
grew beyond the bound, or the TSN where it had to go on turned out to be something else. That last
one is what some stacks leave behind when they give up a message of which they had sent a part.
Such a message's sequence number counts as passed.
"""

from collections import deque
from collections.abc import Iterable
from enum import Enum
from typing import Final, TypeAlias

from attrs import define, field

from stunroute.trace import Drop

from .chunks import BEGINNING, ENDING, UNORDERED, Data
from .events import MessageReceived
from .serial import SSN_MASK, distance16
from .tsns import Tsns

_SMALL: Final = 512
"""Neighbours that are not longer than this together are kept as one, so that what a message costs
does not depend on how finely it was cut."""


class _Gone(Enum):
    """What stands in a message's turn when there is none."""

    TOO_LONG = "too long"
    GIVEN_UP = "given up"


_Turn: TypeAlias = MessageReceived | _Gone


@define(slots=True, eq=False)
class _Run:
    stream: int
    ssn: int
    ppid: int
    unordered: bool
    first: int
    last: int
    begins: bool
    ends: bool
    size: int
    pieces: deque[bytes]
    too_long: bool = False
    """Then there are no pieces: they are let go as they come."""

    def is_of(self, data: Data) -> bool:
        """Whether a neighbouring fragment can be of the same message."""
        return (
            data.stream == self.stream
            and data.unordered == self.unordered
            and (data.unordered or data.ssn == self.ssn)
        )

    def append(self, piece: bytes) -> None:
        if len(self.pieces[-1]) + len(piece) <= _SMALL:
            self.pieces[-1] += piece
        else:
            self.pieces.append(piece)

    def prepend(self, piece: bytes) -> None:
        if len(self.pieces[0]) + len(piece) <= _SMALL:
            self.pieces[0] = piece + self.pieces[0]
        else:
            self.pieces.appendleft(piece)


@define(slots=True, eq=False)
class Reassembly:
    """``tsns`` is what has come, kept by the owner; ``longest`` the bytes of a message at most.

    ``ready`` are the messages to be fetched, ``oversized`` the streams of those that were too long,
    ``used`` the bytes kept, those of ready messages included until the owner has subtracted them.
    """

    _tsns: Tsns
    _longest: int
    ready: deque[MessageReceived] = field(factory=deque, init=False)
    oversized: dict[int, None] = field(factory=dict, init=False)
    used: int = field(default=0, init=False)
    _by_first: dict[int, _Run] = field(factory=dict, init=False)
    _by_last: dict[int, _Run] = field(factory=dict, init=False)
    _expected: dict[int, int] = field(factory=dict, init=False)
    """The next sequence number of each stream that has had one."""
    _waiting: dict[int, dict[int, _Turn]] = field(factory=dict, init=False)
    _turns: int = field(default=0, init=False)
    """How many wait in all streams."""

    @property
    def kept(self) -> int:
        """Runs and messages that cannot be delivered yet."""
        return len(self._by_first) + self._turns

    def take(self, tsn: int, data: Data) -> Drop | None:
        """A fragment whose TSN (unwrapped) has not come before. None, or why it (or a neighbour,
        if it shows that one to be in vain) was let go."""
        if not (data.beginning and data.ending):
            return self._place(tsn, data)
        drop = None
        if self._by_first:
            _, _, drop = self._neighbours(tsn, data)
        payload = data.payload
        if len(payload) > self._longest:
            done = self._complete(data.stream, data.ssn, data.unordered, _Gone.TOO_LONG)
        else:
            self.used += len(payload)
            message = MessageReceived(data.stream, data.ppid, payload)
            done = self._complete(data.stream, data.ssn, data.unordered, message)
        return done or drop

    def take_in_turn(
        self, tsn: int, stream: int, ssn: int, ppid: int, flags: int, payload: bytes
    ) -> bool:
        """``take`` without a record, for a fragment up to which all has come and beyond which
        nothing has, where it is a whole message, begins one or goes on with the one that is begun,
        and no message waits for another. False: something is otherwise, and nothing has changed.
        """
        size, unordered = len(payload), flags & UNORDERED != 0
        runs, ready, run = self._by_last, flags & ENDING, None
        if flags & BEGINNING:
            if runs or size > self._longest:
                return False
        else:
            run = runs.get(tsn - 1)
            if (
                run is None
                or not run.begins
                or run.ends
                or run.too_long
                or run.stream != stream
                or run.unordered != unordered
                or (ssn != run.ssn and not unordered)
                or run.size + size > self._longest
            ):
                return False
        if ready and not unordered:
            if self._turns or ssn != self._expected.get(stream, 0):
                return False
            self._expected[stream] = (ssn + 1) & SSN_MASK
        self.used += size
        if run is None:
            if ready:
                self.ready.append(MessageReceived(stream, ppid, payload))
            else:
                begun = _Run(
                    stream, ssn, ppid, unordered, tsn, tsn, True, False, size, deque((payload,))
                )
                self._by_first[tsn] = runs[tsn] = begun
            return True
        del runs[tsn - 1]
        run.append(payload)
        if ready:
            del self._by_first[run.first]
            self.ready.append(MessageReceived(stream, run.ppid, b"".join(run.pieces)))
        else:
            runs[tsn] = run
            run.last = tsn
            run.size += size
        return True

    # --- fragments --------------------------------------------------------------------------------

    def _neighbours(self, tsn: int, data: Data) -> tuple[_Run | None, _Run | None, Drop | None]:
        """The runs that the fragment prolongs. Those that it ought to prolong and does not are
        given up: their next TSN has come, and it is another's."""
        drop = None
        left = self._by_last.get(tsn - 1)
        if left is not None and left.ends:
            left = None
        if left is not None and (data.beginning or not left.is_of(data)):
            self._give_up(left)
            left, drop = None, Drop.SCTP_FRAGMENT
        right = self._by_first.get(tsn + 1)
        if right is not None and right.begins:
            right = None
        if right is not None and (data.ending or not right.is_of(data)):
            self._give_up(right)
            right, drop = None, Drop.SCTP_FRAGMENT
        return left, right, drop

    def _place(self, tsn: int, data: Data) -> Drop | None:
        left, right, drop = self._neighbours(tsn, data)
        has = self._tsns.has
        if (left is None and not data.beginning and has(tsn - 1)) or (
            right is None and not data.ending and has(tsn + 1)
        ):
            # What it would have to go on with has come already and is not its like.
            for run in (left, right):
                if run is not None:
                    self._give_up(run)
            self._pass_over(data.stream, data.ssn, data.unordered)
            return Drop.SCTP_FRAGMENT
        self.used += len(data.payload)
        if left is not None:
            run = self._prolong(left, tsn, data)
            if right is not None:
                self._join(run, right)
        elif right is not None:
            run = self._prolong_backwards(right, tsn, data)
        else:
            run = self._begin(tsn, data)
        if run.too_long or run.size > self._longest:
            self._shed(run)
        if run.begins and run.ends:
            return self._finish(run) or drop
        return drop

    def _begin(self, tsn: int, data: Data) -> _Run:
        run = _Run(
            stream=data.stream,
            ssn=data.ssn,
            ppid=data.ppid,
            unordered=data.unordered,
            first=tsn,
            last=tsn,
            begins=data.beginning,
            ends=data.ending,
            size=len(data.payload),
            pieces=deque((data.payload,)),
        )
        self._by_first[tsn] = self._by_last[tsn] = run
        return run

    def _prolong(self, run: _Run, tsn: int, data: Data) -> _Run:
        del self._by_last[run.last]
        run.last = tsn
        run.ends = data.ending
        run.size += len(data.payload)
        run.append(data.payload)
        self._by_last[tsn] = run
        return run

    def _prolong_backwards(self, run: _Run, tsn: int, data: Data) -> _Run:
        del self._by_first[run.first]
        run.first = tsn
        run.begins = data.beginning
        run.ppid = data.ppid
        run.size += len(data.payload)
        run.prepend(data.payload)
        self._by_first[tsn] = run
        return run

    def _join(self, left: _Run, right: _Run) -> None:
        """What came last has closed the gap between the two."""
        del self._by_last[left.last], self._by_first[right.first]
        left.last = right.last
        left.ends = right.ends
        left.size += right.size
        left.too_long |= right.too_long
        left.pieces.extend(right.pieces)
        self._by_last[left.last] = left

    def _shed(self, run: _Run) -> None:
        """Keep the run, for its TSNs, and nothing of what is in it."""
        self.used -= sum(map(len, run.pieces))
        run.pieces = deque((b"",))
        run.too_long = True

    def _remove(self, run: _Run) -> None:
        del self._by_first[run.first], self._by_last[run.last]

    def _give_up(self, run: _Run) -> None:
        """The run will not become a message."""
        self._remove(run)
        self._shed(run)
        self._pass_over(run.stream, run.ssn, run.unordered)

    def _finish(self, run: _Run) -> Drop | None:
        self._remove(run)
        if run.too_long:
            return self._complete(run.stream, run.ssn, run.unordered, _Gone.TOO_LONG)
        message = MessageReceived(run.stream, run.ppid, b"".join(run.pieces))
        return self._complete(run.stream, run.ssn, run.unordered, message)

    # --- order ------------------------------------------------------------------------------------

    def _complete(self, stream: int, ssn: int, unordered: bool, turn: _Turn) -> Drop | None:
        """A message is whole, or what of it is left. Deliver it if it is its turn, and what waited
        for it."""
        if unordered:
            return self._deliver(stream, turn)
        expected = self._expected.get(stream, 0)
        if ssn != expected:
            return self._wait(stream, ssn, expected, turn)
        self._expected[stream] = (ssn + 1) & SSN_MASK
        drop = self._deliver(stream, turn)
        if self._turns:
            self._release(stream)
        return drop

    def _deliver(self, stream: int, turn: _Turn) -> Drop | None:
        if turn.__class__ is MessageReceived:
            self.ready.append(turn)
            return None
        if turn is _Gone.TOO_LONG:
            self.oversized[stream] = None
            return Drop.SCTP_MESSAGE_TOO_LONG
        return None

    def _wait(self, stream: int, ssn: int, expected: int, turn: _Turn) -> Drop | None:
        waiting = self._waiting.setdefault(stream, {})
        if distance16(ssn, expected) > 0 and ssn not in waiting:
            waiting[ssn] = turn
            self._turns += 1
            return None
        if not waiting:
            del self._waiting[stream]
        self._forget(turn)
        return Drop.SCTP_DUPLICATE

    def _forget(self, turn: _Turn) -> None:
        if isinstance(turn, MessageReceived):
            self.used -= len(turn.payload)

    def _release(self, stream: int) -> None:
        """Deliver what waits on ``stream`` and whose turn it is."""
        waiting = self._waiting.get(stream)
        if waiting is None:
            return
        ssn = self._expected[stream]
        while (turn := waiting.pop(ssn, None)) is not None:
            self._turns -= 1
            self._deliver(stream, turn)
            ssn = (ssn + 1) & SSN_MASK
        self._expected[stream] = ssn
        if not waiting:
            del self._waiting[stream]

    def _pass_over(self, stream: int, ssn: int, unordered: bool) -> None:
        """Nothing will come for that sequence number."""
        if not unordered:
            self._complete(stream, ssn, False, _Gone.GIVEN_UP)

    # --- what the peer says of messages -----------------------------------------------------------

    def forward(self, tsn: int) -> None:
        """The peer has given up what is missing up to ``tsn`` (unwrapped), and so every message
        of which a part is missing there."""
        for run in list(self._by_first.values()):
            if run.last < tsn or (not run.begins and run.first <= tsn + 1):
                self._give_up(run)

    def pass_to(self, stream: int, ssn: int) -> None:
        """The peer has given up ordered messages of ``stream`` up to ``ssn``: those that are whole
        wait for them no longer (RFC 3758, 3.6)."""
        expected = self._expected.get(stream, 0)
        if distance16(ssn, expected) < 0:
            return
        waiting = self._waiting.get(stream, {})
        passed = [at for at in waiting if distance16(at, ssn) <= 0]
        for at in sorted(passed, key=lambda at: distance16(at, expected)):
            self._turns -= 1
            self._deliver(stream, waiting.pop(at))
        self._expected[stream] = (ssn + 1) & SSN_MASK
        self._release(stream)

    def reset(self, streams: Iterable[int] | None) -> None:
        """The sequence numbers of these streams, None: of all, begin again at 0. What was waiting
        on them waits for nothing."""
        chosen = set(self._expected) | set(self._waiting) if streams is None else set(streams)
        for run in list(self._by_first.values()):
            if streams is None or run.stream in chosen:
                self._remove(run)
                self._shed(run)
        for stream in chosen:
            self._expected.pop(stream, None)
            for turn in self._waiting.pop(stream, {}).values():
                self._turns -= 1
                self._forget(turn)
