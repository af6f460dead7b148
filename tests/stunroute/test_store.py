"""The seam to a store: each request of the core reaches it as what it is."""

from fleet import CLIENTS, PROXY, A, check, dtls, leg, relay
from stunroute.address import Address
from stunroute.config import RelayConfig
from stunroute.instant import Instant
from stunroute.store import Answer, NoStore, Store, serve
from stunroute.trace import Drop

CLIENT, OTHER = CLIENTS[:2]


class Remembering:
    """A store in memory."""

    def __init__(self) -> None:
        self.known: dict[Address, tuple[Address, Instant]] = {}
        self.closed = False

    def lookup(self, client: Address, answer: Answer) -> None:
        answer(client, *self.known.get(client, (None, None)))

    def record(self, client: Address, next_hop: Address, made: Instant) -> None:
        self.known[client] = next_hop, made

    def forget(self, client: Address, next_hop: Address, made: Instant) -> None:
        if self.known.get(client) == (next_hop, made):
            del self.known[client]

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.close()


def test_a_relay_that_restarts_finds_its_clients_in_the_store() -> None:
    store = Remembering()
    first = relay(config=RelayConfig(store=True))
    first.route_client(check(1), CLIENT, PROXY, 1.0)
    serve(first, store, lambda client, next_hop, made=None: None)
    assert store.known == {CLIENT: (A, 1.0)}

    second = relay(config=RelayConfig(store=True))
    second.route_client(dtls(), CLIENT, PROXY, 2.0)
    sent: list[Address] = []

    def answer(client: Address, next_hop: Address | None, made: Instant | None = None) -> None:
        sent.extend(transmit.address for transmit in second.restore(client, next_hop, 2.0, made))

    serve(second, store, answer)
    assert sent == [A]
    second.route_transceiver(leg(CLIENT), A, 2.0)
    serve(second, store, answer)
    assert store.known == {}


def test_no_store_answers_at_once_that_it_knows_nothing() -> None:
    core = relay(config=RelayConfig(store=True))
    core.route_client(check(1), CLIENT, PROXY, 0.0)
    core.route_transceiver(leg(CLIENT), A, 0.0)
    core.route_client(dtls(), OTHER, PROXY, 0.0)
    store: Store = NoStore()

    def answer(client: Address, next_hop: Address | None, made: Instant | None = None) -> None:
        assert made is None
        assert core.restore(client, next_hop, 0.0) == []

    serve(core, store, answer)
    assert core.counters.drops[Drop.NO_FLOW] == 1
    assert core.next_request() is None
    store.close()
