"""The connections that events go to, and the names that things get on the way.

Both exchanges say things to everybody or to one connection, refuse events, and number what they
make; here is what they share. Names are unique within a call and no secrets, so they are counted
from one random stem.
"""

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from attrs import define, field

from stunroute.instant import Instant
from transceiver.config import RealtimeLimits

from .exchange import Output, ToClient
from .wire import SERVER, EventError

_STEM = 9
"""Random bytes of a stem."""
_BURST = 4.0
"""Seconds' worth of work that may be asked for in one go."""
_EVENT_COST = 4096
"""What an event counts for beyond its bytes."""
_COMPLAINT_INTERVAL = 1.0

LOST = "backend_lost"
"""The code of the ``error`` event that says the backend is away."""
RESTORED = "backend.restored"
"""The type of the event that says it is back: the one event that the public protocol has not."""


def lost(detail: str) -> EventError:
    """What is said when the backend is away."""
    message = f"The backend is away; the call goes on without it: {detail}"
    return EventError(message, code=LOST, type=SERVER)


@define(slots=True)
class Names:
    """Makes names: ``event_...``, ``item_...``, ``resp_...``. ``entropy`` is asked once."""

    entropy: Callable[[int], bytes] = field(repr=False)
    _stem: str = field(init=False)
    _made: Counter[str] = field(init=False, factory=Counter)

    def __attrs_post_init__(self) -> None:
        self._stem = self.entropy(_STEM).hex()

    def new(self, kind: str) -> str:
        """A name that has not been given before."""
        self._made[kind] += 1
        return f"{kind}_{self._stem}{self._made[kind]:04x}"


@define(slots=True)
class Clients:
    """Who is connected, and what waits to be carried out.

    ``outputs`` is drained by the caller after every verb, so it needs no bound of its own.
    """

    names: Names
    limits: RealtimeLimits
    outputs: deque[Output] = field(init=False, factory=deque)
    sources: dict[int, None] = field(init=False, factory=dict)
    closed: bool = field(init=False, default=False)
    _paid_until: Instant = field(init=False, default=float("-inf"))
    """Up to when the clients' allowance is used; what they ask for is paid for when it is done."""
    _complain_at: Instant = field(init=False, default=float("-inf"))

    def admit(self, text: str | bytes, source: int, now: Instant) -> bool:
        """Whether an event is to be read: others wait for the time that a client's events take, and
        a few bytes may ask for very many."""
        self._paid_until = max(self._paid_until, now - _BURST)
        if self._paid_until <= now:
            self.charge(_EVENT_COST + len(text))
            return True
        if now >= self._complain_at:
            self._complain_at = now + _COMPLAINT_INTERVAL
            message = "Too many events in too little time; some are not read."
            self.refuse(EventError(message, code="rate_limit_exceeded"), source)
        return False

    def charge(self, size: int) -> None:
        """So many bytes are written for an event."""
        self._paid_until += size / self.limits.work

    def put(self, output: Output) -> None:
        """Something to be carried out. After the end there is nothing."""
        if not self.closed:
            self.outputs.append(output)

    def tell(self, type: str, to: int | None = None, **fields: Any) -> None:
        """An event of ours."""
        event = {"type": type, "event_id": self.names.new("event"), **fields}
        self.put(ToClient(event, to))

    def refuse(self, error: EventError, to: int | None) -> None:
        """An ``error`` event."""
        self.tell("error", to, error=error.body())

    def connected(self, source: int) -> bool:
        """Whether there is room for one more."""
        if self.closed or (
            source not in self.sources and len(self.sources) >= self.limits.connections
        ):
            return False
        self.sources[source] = None
        return True

    def disconnected(self, source: int) -> None:
        self.sources.pop(source, None)

    def next_output(self) -> Output | None:
        return self.outputs.popleft() if self.outputs else None

    def end(self) -> None:
        """Nothing is said any more, nor what waits."""
        self.closed = True
        self.outputs.clear()
        self.sources.clear()


def event_id_of(event: dict[str, Any]) -> str | None:
    """The client's name for its event."""
    event_id = event.get("event_id")
    return event_id if isinstance(event_id, str) else None
