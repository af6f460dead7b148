"""What a relay's server and its adapter know of one another.

The server owns the core, the clock, the store and the timer; the adapter owns the sockets and
whatever it does to be quick. Two adapters fit the same seam, and one can be tested against the
other.
"""

from typing import Protocol

from stunroute.address import Address
from stunroute.instant import Instant
from stunroute.relay import Relay
from stunroute.settings import RelaySettings
from stunroute.status import SocketStatus
from stunroute.trace import FlowRecord


class Host(Protocol):
    """The server, as its adapter sees it."""

    settings: RelaySettings
    relay: Relay

    def now(self) -> Instant:
        """The reading of the clock that every verb of the core gets."""
        ...

    def settle(self) -> None:
        """To be called after verbs of the core: serves its requests and sets its timer."""
        ...


class Adapter(Protocol):
    """The sockets, as the server sees them."""

    name: str

    async def open(self) -> None:
        """Begin to read. Raises OSError."""
        ...

    def drain(self) -> None:
        """Forward what the sockets hold now, as far as that can be told."""
        ...

    async def close(self) -> None:
        """Stop, and close the sockets."""
        ...

    def flow_changed(self, record: FlowRecord) -> None:
        """The core has changed a flow: what is cached of it holds no more."""
        ...

    def forget(self) -> None:
        """Nothing that is cached holds any more."""
        ...

    def merge(self) -> None:
        """Let the core's counters include what has passed without it."""
        ...

    def send_inner(self, data: bytes, to: Address, now: Instant) -> None:
        """Send ``data``, its header included, on the inner leg."""
        ...

    def sockets(self) -> tuple[SocketStatus, ...]: ...
