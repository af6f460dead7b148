"""The seam to a store that several relays share.

A relay that was restarted, or that a client's packets have just been rerouted to, may ask others
what it cannot know. A store keeps ``client address -> next hop`` for a while. The relay works
without one: the client's next check, or its session's next downlink packet, makes the flow again.
Only a client that sends no more checks while its session sends nothing either is lost until it
restarts ICE, and that is the case a store is for.

A store is written behind and read on a miss. None of its methods may block or raise: what it cannot
do it leaves undone.
"""

from typing import Protocol

from stunroute.address import Address
from stunroute.instant import Instant
from stunroute.relay import Relay
from stunroute.waiting import Forget, Lookup, Remember


class Answer(Protocol):
    def __call__(
        self, client: Address, next_hop: Address | None, made: Instant | None = None
    ) -> None:
        """``client`` belongs to ``next_hop``, or None if nobody has it; ``made`` is when its flow
        was made or moved, maybe by another relay, as far as the clocks agree."""
        ...


class Store(Protocol):
    """What the adapter needs of a store. All methods but ``aclose`` return at once.

    Of two things said about a client, in whatever order and by whichever relay, the one about the
    flow that was ``made`` (or moved) later is right, and a release is later than its flow."""

    def lookup(self, client: Address, answer: Answer) -> None:
        """Call ``answer`` when it is known where ``client`` belongs, at once, later or never."""
        ...

    def record(self, client: Address, next_hop: Address, made: Instant) -> None:
        """``client`` belongs to ``next_hop``: a flow was made, has moved or lives on."""
        ...

    def forget(self, client: Address, next_hop: Address, made: Instant) -> None:
        """``client`` does not belong to ``next_hop`` any more: its flow was released. If the store
        has a later flow by now, that one stays."""
        ...

    def close(self) -> None:
        """No more calls will come; answers to earlier ones are not wanted either, and what is not
        written yet need not be."""
        ...

    async def aclose(self) -> None:
        """As ``close``, for a graceful stop: what is not written yet is written, if that takes no
        longer than a second or so."""
        ...


class NoStore:
    """The embedded default: remembers nothing."""

    def lookup(self, client: Address, answer: Answer) -> None:
        answer(client, None)

    def record(self, client: Address, next_hop: Address, made: Instant) -> None:
        """Nothing is kept."""

    def forget(self, client: Address, next_hop: Address, made: Instant) -> None:
        """Nothing was kept."""

    def close(self) -> None:
        """Nothing is open."""

    async def aclose(self) -> None:
        """Nothing is open."""


def serve(relay: Relay, store: Store, answer: Answer) -> None:
    """Hand everything the core wants of the store to it. To be called after the verbs in."""
    while (request := relay.next_request()) is not None:
        match request:
            case Lookup(client):
                store.lookup(client, answer)
            case Remember(client, next_hop, made):
                store.record(client, next_hop, made)
            case Forget(client, next_hop, made):
                store.forget(client, next_hop, made)
