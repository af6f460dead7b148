"""The way a session's packets take."""

from attrs import field, frozen

from stunroute import forward
from stunroute.address import Address


@frozen(slots=True)
class Path:
    """One way between a client and this transceiver.

    ``client`` is where the client's packets come from as the relay sees it (after any NAT),
    ``proxy`` the relay's public address that the client sent to, ``relay`` the inner address from
    which the relay reached us and to which packets for the client go back.
    """

    client: Address
    proxy: Address
    relay: Address
    header: bytes = field(init=False, eq=False, repr=False)
    """What the relay wants in front of a packet that goes back this way."""

    @header.default
    def _header(self) -> bytes:
        return forward.encode(self.client, self.proxy)
