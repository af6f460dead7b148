"""The seam to a store that several relays share.

A relay that was restarted, or that a client's packets have just been rerouted to, may ask others
what it cannot know. A store keeps ``client address -> next hop`` for a while. The relay works
without one: the client's next check, or its session's next downlink packet, makes the flow again.
Only a client that sends no more checks while its session sends nothing either is lost until it
restarts ICE, and that is the case a store is for.

A store is written behind and read on a miss. None of its methods may block or raise: what it cannot
do it leaves undone.
"""

from collections.abc import Callable
from typing import Protocol, TypeAlias

from stunroute.address import Address
from stunroute.relay import Relay
from stunroute.waiting import Forget, Lookup, Remember

Answer: TypeAlias = Callable[[Address, Address | None], None]
"""Called with a client and its next hop, or None if nobody has it."""


class Store(Protocol):
    """What the adapter needs of a store. All methods return at once."""

    def lookup(self, client: Address, answer: Answer) -> None:
        """Call ``answer`` when it is known where ``client`` belongs, at once, later or never."""
        ...

    def record(self, client: Address, next_hop: Address) -> None:
        """``client`` belongs to ``next_hop``: a flow was made, has moved or lives on."""
        ...

    def forget(self, client: Address, next_hop: Address) -> None:
        """``client`` does not belong to ``next_hop`` any more. If the store has another next hop
        for it by now, that one stays."""
        ...

    def close(self) -> None:
        """No more calls will come; answers to earlier ones are not wanted either."""
        ...


class NoStore:
    """The embedded default: remembers nothing."""

    def lookup(self, client: Address, answer: Answer) -> None:
        answer(client, None)

    def record(self, client: Address, next_hop: Address) -> None:
        """Nothing is kept."""

    def forget(self, client: Address, next_hop: Address) -> None:
        """Nothing was kept."""

    def close(self) -> None:
        """Nothing is open."""


def serve(relay: Relay, store: Store, answer: Answer) -> None:
    """Hand everything the core wants of the store to it. To be called after the verbs in."""
    while (request := relay.next_request()) is not None:
        match request:
            case Lookup(client):
                store.lookup(client, answer)
            case Remember(client, next_hop):
                store.record(client, next_hop)
            case Forget(client, next_hop):
                store.forget(client, next_hop)
