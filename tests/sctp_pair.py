"""Two SCTP associations and a network of virtual time between them.

Deterministic: entropy is a seeded stream, the clock moves from one deadline to the next, and what
the network does to each packet is given by the test.
"""

import hashlib
from collections.abc import Callable
from heapq import heappop, heappush

from attrs import define, field

from stunroute.instant import Entropy, Instant
from stunroute.trace import Drop
from transceiver.config import SctpLimits
from transceiver.sctp import packet
from transceiver.sctp.association import Association
from transceiver.sctp.chunks import Chunk
from transceiver.sctp.events import Dropped, Event, MessageReceived

LIMITS = SctpLimits()


def entropy_of(seed: str) -> Entropy:
    """An endless stream of bytes that depends on ``seed`` alone."""
    counter = 0

    def entropy(length: int) -> bytes:
        nonlocal counter
        counter += 1
        return hashlib.shake_256(f"{seed}/{counter}".encode()).digest(length)

    return entropy


def make_association(
    name: str = "a", limits: SctpLimits = LIMITS, *, zero_checksum: bool = True
) -> Association:
    return Association(entropy=entropy_of(name), limits=limits, zero_checksum=zero_checksum)


def transmits(association: Association) -> list[bytes]:
    found = []
    while (data := association.next_transmit()) is not None:
        found.append(data)
    return found


def events(association: Association) -> list[Event]:
    found = []
    while (event := association.next_event()) is not None:
        found.append(event)
    return found


def chunks(data: bytes) -> tuple[Chunk, ...]:
    return packet.decode_untrusted(data, accept_zero_checksum=True).chunks


def kinds(data: bytes) -> list[str]:
    return [type(chunk).__name__ for chunk in chunks(data)]


Fate = Callable[[bytes], list[float]]
"""What becomes of a packet: the delay of each copy that arrives, none if it is lost."""


def prompt(data: bytes) -> list[float]:
    return [0.01]


@define
class Side:
    """One end and what it has said."""

    name: str
    association: Association
    fetching: bool = True
    """Whether its events are fetched, so that there is room for more."""
    events: list[Event] = field(factory=list)
    sent: list[tuple[Instant, bytes]] = field(factory=list)

    def messages(self, stream: int | None = None) -> list[bytes]:
        return [
            event.payload
            for event in self.events
            if isinstance(event, MessageReceived) and stream in (None, event.stream)
        ]

    def drops(self) -> list[Drop]:
        return [event.drop for event in self.events if isinstance(event, Dropped)]

    def others(self) -> list[Event]:
        """The events that are neither messages nor drops."""
        return [event for event in self.events if not isinstance(event, MessageReceived | Dropped)]


def drops(side: Side) -> list[Drop]:
    """What it says now that it has dropped."""
    return [event.drop for event in events(side.association) if isinstance(event, Dropped)]


@define
class Pair:
    """``fate`` decides about each packet of either side."""

    a: Side
    b: Side
    fate: Fate = prompt
    now: Instant = 0.0
    _flying: list[tuple[Instant, int, bool, bytes]] = field(factory=list, init=False)
    _count: int = field(default=0, init=False)

    @classmethod
    def make(
        cls,
        fate: Fate = prompt,
        limits: SctpLimits = LIMITS,
        other_limits: SctpLimits | None = None,
        *,
        zero: tuple[bool, bool] = (True, True),
        seed: str = "",
    ) -> "Pair":
        a = make_association(f"a{seed}", limits, zero_checksum=zero[0])
        b = make_association(f"b{seed}", other_limits or limits, zero_checksum=zero[1])
        return cls(Side("a", a), Side("b", b), fate)

    @classmethod
    def connected(
        cls, fate: Fate = prompt, limits: SctpLimits = LIMITS, **options: object
    ) -> "Pair":
        """A pair that stands, after an undisturbed handshake."""
        pair = cls.make(limits=limits, **options)  # type: ignore[arg-type]
        pair.a.association.connect(0.0)
        pair.run(0.1)
        assert pair.a.association.state.value == pair.b.association.state.value == "established"
        pair.fate = fate
        for side in (pair.a, pair.b):
            side.events.clear()
            side.sent.clear()
        return pair

    def settle(self) -> None:
        """Put what both sides have to say into the air, and fetch their events."""
        for side, to_b in ((self.a, True), (self.b, False)):
            for data in transmits(side.association):
                side.sent.append((self.now, data))
                for delay in self.fate(data):
                    self._count += 1
                    heappush(self._flying, (self.now + delay, self._count, to_b, data))
            if side.fetching:
                side.events.extend(events(side.association))

    def next_due(self) -> Instant | None:
        due = [item[0] for item in self._flying[:1]]
        for side in (self.a, self.b):
            timeout = side.association.next_timeout()
            if timeout is not None:
                due.append(timeout)
        return min(due, default=None)

    def run(self, seconds: float, *, until: Callable[[], bool] | None = None) -> None:
        """Let ``seconds`` pass, or less if ``until`` comes true."""
        end = self.now + seconds
        self.settle()
        for _ in range(200_000):
            if until is not None and until():
                return
            due = self.next_due()
            if due is None or due > end:
                break
            self.now = max(self.now, due)
            self._step()
            self.settle()
        else:
            raise AssertionError("they never come to rest")
        self.now = end

    def _step(self) -> None:
        while self._flying and self._flying[0][0] <= self.now:
            _, _, to_b, data = heappop(self._flying)
            (self.b if to_b else self.a).association.receive_packet(data, self.now)
            self.settle()
        for side in (self.a, self.b):
            timeout = side.association.next_timeout()
            if timeout is not None and timeout <= self.now:
                side.association.handle_timeout(self.now)
