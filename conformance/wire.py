"""What a case sends and receives over: sockets and a clock, real or virtual.

Steps are written as if they waited: ``receive`` returns when a datagram has come or a time is up.
What waiting means is the driver's business. In memory it moves a virtual clock from one deadline to
the next; over UDP it blocks in the kernel. This is the one place where the drivers differ, and a
case cannot tell which one it runs on.
"""

from typing import Protocol

from attrs import field, frozen

from stunroute.address import Address
from stunroute.instant import Instant


@frozen(slots=True)
class Arrival:
    """A datagram that came from ``source`` to ``socket``, one of ours. ``at`` is by the wire's
    clock, in seconds."""

    at: Instant
    data: bytes = field(repr=False)
    source: Address
    socket: Address


class Forbidden(Exception):
    """The case wanted to send where nobody has allowed it to, or more than it may."""


class Wire(Protocol):
    """Sockets, and the clock that goes with them. Addresses are the sockets' names."""

    @property
    def now(self) -> Instant:
        """Seconds from any origin; never goes back."""

    def open(self) -> Address:
        """A new socket: its address, as the other side will see it. Raises Forbidden where the
        case has too many, OSError where there is none to be had."""

    def send(self, data: bytes, socket: Address, destination: Address) -> None:
        """A datagram from one of our sockets. Raises Forbidden, and then nothing has left."""

    def receive(self, until: Instant) -> Arrival | None:
        """The next datagram at any of our sockets; None when the clock says ``until`` and none has
        come. Raises Forbidden where the case's time is up."""

    def may_send_to(self, address: Address) -> bool:
        """Whether this is an address that the harness was given."""
