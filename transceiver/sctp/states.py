"""The states of an association (RFC 9260 section 4), each with what only it needs.

What belongs to a state lives in it: the packet that is repeated, the deadline for that, whether an
answer is owed. When the state is left, they go with it, and no timer can run for what is past.
"""

from enum import Enum
from typing import TypeAlias

from attrs import define, field

from .timers import Timer


class State(Enum):
    """As the RFC names them."""

    CLOSED = "closed"
    COOKIE_WAIT = "cookie-wait"
    COOKIE_ECHOED = "cookie-echoed"
    ESTABLISHED = "established"
    SHUTDOWN_PENDING = "shutdown-pending"
    SHUTDOWN_SENT = "shutdown-sent"
    SHUTDOWN_RECEIVED = "shutdown-received"
    SHUTDOWN_ACK_SENT = "shutdown-ack-sent"


@define(slots=True)
class Closed:
    """``ended``: it has been open, or was to be; it will not be again."""

    ended: bool = False


@define(slots=True)
class CookieWait:
    """``packet`` is the INIT; ``timer`` is T1."""

    packet: bytes = field(repr=False)
    timer: Timer
    sendings: int = 1


@define(slots=True)
class CookieEchoed:
    """``cookie`` is the peer's; ``due``: it is to be sent now; ``timer`` is T1."""

    cookie: bytes = field(repr=False)
    timer: Timer
    due: bool = True
    sendings: int = 1


@define(slots=True)
class Established:
    pass


@define(slots=True)
class ShutdownPending:
    """We want to close, and have still to send, or to hear that it has come."""


@define(slots=True)
class ShutdownSent:
    """``due``: SHUTDOWN is to be sent now; ``timer`` is T2."""

    timer: Timer
    due: bool = True


@define(slots=True)
class ShutdownReceived:
    """The peer wants to close, and we have still to send, or to hear that it has come."""


@define(slots=True)
class ShutdownAckSent:
    """``due``: SHUTDOWN ACK is to be sent now; ``timer`` is T2."""

    timer: Timer
    due: bool = True


Standing: TypeAlias = (
    Closed
    | CookieWait
    | CookieEchoed
    | Established
    | ShutdownPending
    | ShutdownSent
    | ShutdownReceived
    | ShutdownAckSent
)

STATES: dict[type, State] = {
    Closed: State.CLOSED,
    CookieWait: State.COOKIE_WAIT,
    CookieEchoed: State.COOKIE_ECHOED,
    Established: State.ESTABLISHED,
    ShutdownPending: State.SHUTDOWN_PENDING,
    ShutdownSent: State.SHUTDOWN_SENT,
    ShutdownReceived: State.SHUTDOWN_RECEIVED,
    ShutdownAckSent: State.SHUTDOWN_ACK_SENT,
}
