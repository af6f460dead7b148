"""What a case plays on: a wire, a door to signalling, and a trail of it all.

A ``Stage`` stands before a server: a call is opened at its ``door``, or there is a bare ``target``
that was given on the command line. A relay has a stage of its own, ``conformance.relay_stage``,
on which the harness plays both sides. Everything that is sent or received through a stage is in its
trail.
"""

from collections.abc import Mapping
from typing import Protocol

from attrs import define, field, frozen

from stunroute.address import Address
from stunroute.instant import Entropy, Instant

from .trail import Crossing, Trail
from .wire import Arrival, Wire

PATIENCE = 0.5
"""Seconds after which an answer that ought to come at once does not come any more."""


@frozen(slots=True)
class Opened:
    """A call was opened. ``call`` names it at the door from now on, ``answer`` is SDP."""

    call: str
    answer: str = field(repr=False)


class Refused(Exception):
    """The door turned a request down, or said nothing in time: ``status`` is HTTP's where there was
    a response by HTTP."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text if status is None else f"{status}: {text}")
        self.status = status


@frozen(slots=True)
class Response:
    """An answer by HTTP; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Http(Protocol):
    """Plain requests to the signalling resource, for cases that ask about HTTP itself."""

    @property
    def url(self) -> str:
        """Where calls are opened."""

    @property
    def style(self) -> str:
        """``whip`` or ``calls``."""

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        """``url`` may be relative to the resource. The headers that the command line gave, a bearer
        token among them, are added unless ``headers`` names them. Any status is a response. Raises
        Forbidden for another origin, Refused where no response comes."""


class Door(Protocol):
    """Signalling. Offers and answers are SDP. All raise Refused."""

    @property
    def http(self) -> Http | None:
        """None where calls are opened in memory."""

    def open(self, offer: str) -> Opened:
        """An offer for a new call: its answer, and a name for it."""

    def reoffer(self, call: str, offer: str) -> str:
        """A further offer for a live call: the answer."""

    def restart(self, call: str, fragment: str) -> str | None:
        """A fragment (RFC 8840): the fragment in answer, None where there is none."""

    def hang_up(self, call: str) -> None:
        """End a call."""


@frozen(slots=True)
class Target:
    """An address to ask, with the credentials (RFC 8445, section 5.3) of a session there if it has
    one."""

    address: Address
    ufrag: str | None = None
    password: str | None = field(default=None, repr=False)


@define(slots=True)
class Stage:
    """See the module. ``entropy`` is the case's own, so that a rerun draws the same. ``patience``
    is in seconds: what ought to come at once and has not come by then is taken for lost."""

    wire: Wire
    entropy: Entropy
    trail: Trail = field(factory=Trail)
    door: Door | None = None
    target: Target | None = None
    patience: float = PATIENCE

    @property
    def now(self) -> Instant:
        """The wire's clock, in seconds."""
        return self.wire.now

    def open_socket(self) -> Address:
        """A new socket of ours. Raises Forbidden where the case has too many, OSError."""
        return self.wire.open()

    def send(self, data: bytes, socket: Address, destination: Address, note: str = "") -> None:
        """A datagram from one of our sockets. Raises Forbidden."""
        self.wire.send(data, socket, destination)
        self.trail.cross(Crossing(self.now, socket, destination, True, data, note))

    def receive(self, until: Instant) -> Arrival | None:
        """The next datagram; None when the clock says ``until`` and none has come."""
        arrival = self.wire.receive(until)
        if arrival is not None:
            crossing = Crossing(arrival.at, arrival.socket, arrival.source, False, arrival.data)
            self.trail.cross(crossing)
        return arrival

    def listen(self, seconds: float) -> list[Arrival]:
        """All that comes in that time."""
        until = self.now + seconds
        heard = []
        while (arrival := self.receive(until)) is not None:
            heard.append(arrival)
        return heard

    def note(self, text: str) -> None:
        """A remark for the trail."""
        self.trail.note(self.now, text)
