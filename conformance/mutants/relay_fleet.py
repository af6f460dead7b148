"""Relays that mix up their own addresses, their tiers, or who has been drained."""

from collections.abc import Iterator
from typing import Any

from attrs import evolve

import conformance.drivers.relay as driver
from conformance.drivers.relay import RelayServer
from conformance.drivers.virtual import Emission
from conformance.relay_stage import Node
from stunroute import forward
from stunroute.address import IPV4_PREFIX, Address
from stunroute.directory import NextHop, NodeState, StaticDirectory
from stunroute.instant import Instant
from stunroute.relay import Downlink, Relay, Release
from stunroute.trace import Drop

from .model import mutant, swapped
from .relay import owners_unchecked

# Public addresses


@mutant(
    "relay/ipv6-cut-to-ipv4",
    "It has room for four bytes of a client's address, and writes IPv6 clients as IPv4 ones.",
    killer="relay/addresses/header-of-an-ipv6-client",
)
def ipv6_cut_to_ipv4() -> Iterator[None]:
    whole = RelayServer.next_emission

    def emit(self: RelayServer) -> Emission | None:
        emission = whole(self)
        if emission is None or emission.source != driver.INNER:
            return emission
        client = forward.decode_untrusted(emission.data).client
        if client.is_ipv4:
            return emission
        return evolve(emission, data=b"\x56\xec" + _cut(client) + emission.data[18:])

    with swapped(RelayServer, "next_emission", emit):
        yield


def _cut(client: Address) -> bytes:
    return IPV4_PREFIX + client.packed[-4:]


@mutant(
    "relay/ipv6-clients-unanswered",
    "It answers the checks of IPv6 clients and sends them no media.",
    killer="relay/addresses/down-to-an-ipv6-client",
)
def ipv6_clients_unanswered() -> Iterator[None]:
    whole = Relay.route_transceiver

    def route(self: Relay, data: bytes, sender: Address, now: Instant) -> Any:
        found = whole(self, data, sender, now)
        if not isinstance(found, Downlink) or found.client.is_ipv4:
            return found
        return Drop.NO_WAY_BACK if found.payload[:1] == b"\x80" else found

    with swapped(Relay, "route_transceiver", route):
        yield


@mutant(
    "relay/first-address-in-the-header",
    "It names its first public address in the header, wherever a client has sent to.",
    killer="relay/addresses/header-names-the-one-asked",
)
def first_address_in_the_header() -> Iterator[None]:
    whole = Relay.route_client

    def route(self: Relay, data: bytes, client: Address, proxy: Address, now: Instant) -> Any:
        return whole(self, data, client, driver.PUBLIC, now)

    with swapped(Relay, "route_client", route):
        yield


@mutant(
    "relay/second-address-for-checks-alone",
    "It answers checks from where they came in, and sends media from its first address.",
    killer="relay/addresses/replies-from-the-one-asked",
)
def second_address_for_checks_alone() -> Iterator[None]:
    whole = RelayServer.next_emission

    def emit(self: RelayServer) -> Emission | None:
        emission = whole(self)
        if emission is None or emission.source not in driver.BESIDE:
            return emission
        is_media = emission.data[:1] == b"\x80"
        return evolve(emission, source=driver.PUBLIC) if is_media else emission

    with swapped(RelayServer, "next_emission", emit):
        yield


@mutant(
    "relay/replies-from-the-last-one",
    "It sends to a client from the address that the client sent to last, whatever its node names.",
    killer="relay/addresses/replies-by-the-header",
)
def replies_from_the_last_one() -> Iterator[None]:
    whole = Relay.route_transceiver

    def route(self: Relay, data: bytes, sender: Address, now: Instant) -> Any:
        found = whole(self, data, sender, now)
        if not isinstance(found, Downlink):
            return found
        flow = self.flow(found.client)
        return found if flow is None else evolve(found, proxy=flow.proxy)

    with swapped(Relay, "route_transceiver", route):
        yield


@mutant(
    "relay/one-address-at-a-time",
    "It knows a client only at the address at which its last check came in.",
    killer="relay/addresses/turning-in-mid-call",
)
def one_address_at_a_time() -> Iterator[None]:
    whole = Relay.route_client

    def route(self: Relay, data: bytes, client: Address, proxy: Address, now: Instant) -> Any:
        flow = self.flow(client)
        if flow is not None and flow.proxy != proxy and data[:1] == b"\x80":
            return Drop.NO_FLOW
        return whole(self, data, client, proxy, now)

    with swapped(Relay, "route_client", route):
        yield


# Drained nodes


@mutant(
    "relay/drain-ignored",
    "It sends new calls to a node that has been drained.",
    killer="relay/drain/no-new-calls",
)
def drain_ignored() -> Iterator[None]:
    whole = StaticDirectory.resolve

    def resolve(self: StaticDirectory, cluster: int, node: int) -> NextHop | None:
        found = whole(self, cluster, node)
        return None if found is None else NextHop(found.address)

    with swapped(StaticDirectory, "resolve", resolve):
        yield


@mutant(
    "relay/drain-ends-calls",
    "It forgets the flows of a node that is drained.",
    killer="relay/drain/media-goes-on",
)
def drain_ends_calls() -> Iterator[None]:
    whole = RelayServer.told

    def told(self: RelayServer, directory: StaticDirectory, now: Instant) -> None:
        gone = {node.address for node in _drained(directory)}
        for flow in self.relay.some_flows(1000):
            if flow.next_hop in gone:
                self.relay._flows.release(flow.client, flow.next_hop, now)
        whole(self, directory, now)

    with swapped(RelayServer, "told", told):
        yield


@mutant(
    "relay/drained-node-unheard",
    "It takes nothing from a node that has been drained.",
    killer="relay/drain/its-node-still-sends",
)
def drained_node_unheard() -> Iterator[None]:
    whole = Relay.route_transceiver

    def route(self: Relay, data: bytes, sender: Address, now: Instant) -> Any:
        directory = self._directory
        assert isinstance(directory, StaticDirectory)
        if sender in {node.address for node in _drained(directory)}:
            return Drop.LEG_STRANGER
        return whole(self, data, sender, now)

    with swapped(Relay, "route_transceiver", route):
        yield


@mutant(
    "relay/drained-for-good",
    "It keeps a node drained until it is started again, whatever its directory says later.",
    killer="relay/drain/comes-back",
)
def drained_for_good() -> Iterator[None]:
    whole = RelayServer.told

    def told(self: RelayServer, directory: StaticDirectory, now: Instant) -> None:
        if _drained(directory):
            whole(self, directory, now)

    with swapped(RelayServer, "told", told):
        yield


def _drained(directory: StaticDirectory) -> list[Node]:
    found = [(node, directory.resolve(node.cluster, node.number)) for node in driver.NODES]
    return [node for node, hop in found if hop is not None and hop.state is NodeState.DRAINED]


# Tiers


@mutant(
    "relay/tier-in-its-own-name",
    "It writes its own public address over that of the relay in front.",
    killer="relay/tiers/header-goes-through",
)
def tier_in_its_own_name() -> Iterator[None]:
    whole = RelayServer.next_emission

    def emit(self: RelayServer) -> Emission | None:
        emission = whole(self)
        if emission is None or emission.source != driver.INNER:
            return emission
        leg = forward.decode_untrusted(emission.data)
        is_up = emission.destination != driver.UPSTREAM.node.address
        if not is_up or leg.proxy != driver.UPSTREAM.public:
            return emission
        return evolve(emission, data=forward.encode(leg.client, driver.PUBLIC) + emission.data[38:])

    with swapped(RelayServer, "next_emission", emit):
        yield


@mutant(
    "relay/tier-for-checks-alone",
    "It hands on checks of a relay in front, and knows no flows of its clients.",
    killer="relay/tiers/media-follows",
)
def tier_for_checks_alone() -> Iterator[None]:
    whole = Relay.route_relay

    def route(self: Relay, data: bytes, sender: Address, now: Instant) -> Any:
        is_stun = data[forward.HEADER_LENGTH : forward.HEADER_LENGTH + 1] == b"\0"
        return whole(self, data, sender, now) if is_stun else Drop.NO_FLOW

    with swapped(Relay, "route_relay", route):
        yield


@mutant(
    "relay/tier-bypassed",
    "It sends to the clients of a relay in front itself.",
    killer="relay/tiers/answers-go-back-the-same-way",
)
def tier_bypassed() -> Iterator[None]:
    whole = Relay.route_transceiver

    def route(self: Relay, data: bytes, sender: Address, now: Instant) -> Any:
        found = whole(self, data, sender, now)
        return evolve(found, upstream=None) if isinstance(found, Downlink) else found

    with swapped(Relay, "route_transceiver", route):
        yield


@mutant(
    "relay/release-kept-to-itself",
    "It ends its own flow at a release and does not tell the relay in front.",
    killer="relay/tiers/release-is-handed-on",
)
def release_kept_to_itself() -> Iterator[None]:
    whole = Relay.route_transceiver

    def route(self: Relay, data: bytes, sender: Address, now: Instant) -> Any:
        found = whole(self, data, sender, now)
        return evolve(found, upstream=None) if isinstance(found, Release) else found

    with swapped(Relay, "route_transceiver", route):
        yield


@mutant(
    "relay/anybody-in-front",
    "It takes whoever names a public address of the relay in front for that relay.",
    killer="relay/tiers/only-the-relay-in-front-speaks-for-it",
)
def anybody_in_front() -> Iterator[None]:
    whole = RelayServer._from_leg
    known = frozenset(node.address for node in driver.NODES)

    def from_leg(self: RelayServer, data: bytes, source: Address, now: Instant) -> None:
        proxy = driver.UPSTREAM.public
        names_it = data[18:34] == proxy.host and source not in known
        whole(self, data, driver.UPSTREAM.node.address if names_it else source, now)

    with swapped(RelayServer, "_from_leg", from_leg):
        yield


@mutant(
    "relay/relay-in-front-says-anything",
    "It takes packets of the relay in front for any public address, its own among them.",
    killer="relay/tiers/it-speaks-for-itself-alone",
)
def relay_in_front_says_anything() -> Iterator[None]:
    def route(self: Relay, data: bytes, sender: Address, now: Instant) -> Any:
        leg = forward.decode_untrusted(data)
        return self.route_client(data[forward.HEADER_LENGTH :], leg.client, leg.proxy, now)

    with swapped(Relay, "route_relay", route):
        yield


@mutant(
    "relay/owner-unchecked-in-front",
    "It lets every node send to every client of a relay in front.",
    killer="relay/tiers/another-nodes-client",
)
def owner_unchecked_in_front() -> Iterator[None]:
    with owners_unchecked(lambda proxy: proxy == driver.UPSTREAM.public):
        yield
