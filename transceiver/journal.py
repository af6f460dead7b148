"""What went into a session and what came out: the record that replay feeds on.

An endpoint built with ``journal=callable`` calls it with one of these for everything that crosses
the session's border, in the order it happened. Each carries ``call``, the session's id, and
``at``, the clock reading it was handed with. A fresh endpoint given the same ``Opened``,
``Received``, ``Fired`` and ``Acted`` must produce the same ``Sent``. Each of those four is closed
by a ``Settled`` once all that followed from it has been said.
"""

from typing import Any, TypeAlias

from attrs import field, frozen

from stunroute.address import Address
from stunroute.instant import Instant
from stunroute.trace import Drop

from .path import Path


@frozen(slots=True)
class Opened:
    """``Endpoint.open_call`` accepted ``offer`` and answered ``answer`` (SDP texts). ``data`` says
    whether it took data channels if there were any, ``channel`` the number of the negotiated one
    that it was asked for, None for none."""

    call: str
    at: Instant
    offer: str = field(repr=False)  # both hold passwords
    answer: str = field(repr=False)
    data: bool = False
    channel: int | None = None


@frozen(slots=True)
class Received:
    """A datagram of the client reached this session. ``payload`` is without the leg's header."""

    call: str
    at: Instant
    path: Path
    payload: bytes = field(repr=False)


@frozen(slots=True)
class Fired:
    """A deadline of this session was due and was served. ``reason`` says which."""

    call: str
    at: Instant
    reason: str


@frozen(slots=True)
class Acted:
    """The application called a verb of ``Endpoint`` by name. ``arguments`` holds str, int, float,
    bool, bytes and None only; the call id and the clock reading are not repeated in it."""

    call: str
    at: Instant
    verb: str
    arguments: dict[str, Any] = field(repr=False)  # an offer may be among them


@frozen(slots=True)
class Sent:
    """A datagram for the client left. ``payload`` is without the leg's header."""

    call: str
    at: Instant
    path: Path
    payload: bytes = field(repr=False)


@frozen(slots=True)
class Dropped:
    """A datagram of the client was let go. ``call`` is empty where no session was found."""

    call: str
    at: Instant
    drop: Drop
    client: Address | None


@frozen(slots=True)
class Settled:
    """The input at ``at`` has been dealt with. ``timeout`` is the session's next deadline (None:
    it is over), ``reason`` what that deadline is for: together they pin down state that no packet
    shows yet."""

    call: str
    at: Instant
    timeout: Instant | None
    reason: str


Entry: TypeAlias = Opened | Received | Fired | Acted | Sent | Dropped | Settled
