"""What the data channels of a session tell their owner, in the order in which it happened."""

from typing import TypeAlias

from attrs import define, field, frozen

from stunroute.trace import Drop


@frozen(slots=True)
class Opened:
    """``channel`` can be used: the peer has opened it, or agreed to ours. ``negotiated``: its
    number came from signalling and nobody announced it."""

    channel: int
    label: str
    protocol: str
    ordered: bool
    negotiated: bool


# The only event in great numbers, and made in a third of the time of a frozen one.
@define(slots=True)
class Message:
    """A whole message: ``str`` for text, ``bytes`` for binary, possibly empty."""

    channel: int
    message: str | bytes = field(repr=False)


@frozen(slots=True)
class Drained:
    """What waits on ``channel`` has fallen to the threshold or below."""

    channel: int


@frozen(slots=True)
class Closed:
    """``channel`` is gone. Its number may be used again, by either side."""

    channel: int


@frozen(slots=True)
class Ended:
    """The association is over, and each channel had its ``Closed``. The last event."""

    detail: str


@frozen(slots=True)
class Dropped:
    """A packet, or something in it, was let go."""

    drop: Drop


Event: TypeAlias = Opened | Message | Drained | Closed | Ended | Dropped
