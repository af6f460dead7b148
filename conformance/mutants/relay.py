"""Relays that route, trust or forget in the wrong places."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from attrs import evolve

import conformance.drivers.relay as driver
from conformance.drivers.relay import RelayServer
from conformance.drivers.virtual import Emission
from stunroute import demux, forward, hint, stun
from stunroute.address import Address
from stunroute.config import RelayConfig
from stunroute.directory import StaticDirectory
from stunroute.edge import Edge
from stunroute.flow import Flow, FlowTable
from stunroute.hint import Hint, KeyRing
from stunroute.instant import Instant
from stunroute.relay import Relay
from stunroute.trace import Drop

from .model import mutant, swapped

# Hints


@mutant(
    "relay/hint-padding-unchecked",
    "It takes any block that deciphers to a known node for a hint, whatever its last bytes are.",
    killer="relay/hint/nonzero-tail",
)
def hint_padding_unchecked() -> Iterator[None]:
    zeros = bytes(5)
    careless = SimpleNamespace(compare_digest=lambda one, other: other == zeros or one == other)
    with swapped(hint, "hmac", careless):
        yield


@mutant(
    "relay/hint-number-cut-to-a-block",
    "It cuts the number in a hint to 128 bits, so that each hint has a second spelling.",
    killer="relay/hint/more-than-a-block",
)
def hint_number_cut() -> Iterator[None]:
    whole = KeyRing.decode_untrusted

    def decode(self: KeyRing, ufrag: bytes, now: Instant) -> Hint | Drop:
        try:
            number = int(ufrag[1:], 36)
        except ValueError:
            return Drop.HINT_MALFORMED
        if number >= 1 << 128 and len(ufrag) == hint.UFRAG_LENGTH:
            ufrag = ufrag[:1] + _base36(number % (1 << 128))
        return whole(self, ufrag, now)

    with swapped(KeyRing, "decode_untrusted", decode):
        yield


def _base36(number: int) -> bytes:
    digits = b""
    for _ in range(25):
        number, digit = divmod(number, 36)
        digits = b"0123456789abcdefghijklmnopqrstuvwxyz"[digit : digit + 1] + digits
    return digits


@mutant(
    "relay/configuration-id-ignored",
    "It tries the key that it has on hints of every configuration.",
    killer="relay/hint/unknown-configuration",
)
def configuration_ignored() -> Iterator[None]:
    whole = KeyRing.decode_untrusted

    def decode(self: KeyRing, ufrag: bytes, now: Instant) -> Hint | Drop:
        return whole(self, known(self) + ufrag[1:], now)

    def password(self: KeyRing, ufrag: bytes) -> bytes:
        return whole_password(self, known(self) + ufrag[1:])

    def known(self: KeyRing) -> bytes:
        return self.configurations[0].identifier.encode()

    whole_password = KeyRing.password
    with swapped(KeyRing, "decode_untrusted", decode), swapped(KeyRing, "password", password):
        yield


@mutant(
    "relay/unknown-node-to-the-first",
    "It sends checks for nodes that it does not know to the first that it does.",
    killer="relay/hint/unknown-node",
)
def unknown_node_to_the_first() -> Iterator[None]:
    whole = StaticDirectory.resolve

    def resolve(self: StaticDirectory, cluster: int, node: int) -> Any:
        first = driver.NODES[0]
        return whole(self, cluster, node) or whole(self, first.cluster, first.number)

    with swapped(StaticDirectory, "resolve", resolve):
        yield


@mutant(
    "relay/cluster-ignored",
    "It looks nodes up by their number alone.",
    killer="relay/hint/other-cluster",
)
def cluster_ignored() -> Iterator[None]:
    whole = StaticDirectory.resolve

    def resolve(self: StaticDirectory, cluster: int, node: int) -> Any:
        return whole(self, driver.CLUSTER, node)

    with swapped(StaticDirectory, "resolve", resolve):
        yield


@mutant(
    "relay/username-cut-at-34",
    "It has room for 34 bytes of USERNAME and refuses longer ones.",
    killer="relay/hint/more-than-34-octets",
)
def username_cut() -> Iterator[None]:
    whole = stun.peek_username_untrusted

    def peek(data: bytes) -> bytes | None:
        username = whole(data)
        return None if username is None or len(username) > 34 else username

    with swapped(stun, "peek_username_untrusted", peek):
        yield


@mutant(
    "relay/last-username-counts",
    "It keeps the last USERNAME of a check.",
    killer="relay/hint/two-usernames",
)
def last_username_counts() -> Iterator[None]:
    def peek(data: bytes) -> bytes | None:
        found = stun.decode_untrusted(data)
        names = [value for kind, value in found.attributes if kind == stun.Attribute.USERNAME]
        return names[-1] if names and found.username is not None else None

    with swapped(stun, "peek_username_untrusted", peek):
        yield


@mutant(
    "relay/second-half-of-username",
    "It reads the hint behind the colon if there is none before it.",
    killer="relay/hint/in-the-second-half",
)
def second_half() -> Iterator[None]:
    whole = stun.peek_username_untrusted

    def peek(data: bytes) -> bytes | None:
        username = whole(data)
        ours, colon, theirs = (username or b"").partition(b":")
        return theirs + colon + ours if len(theirs) == hint.UFRAG_LENGTH else username

    with swapped(stun, "peek_username_untrusted", peek):
        yield


@mutant(
    "relay/edge-does-not-verify",
    "It has the password key and lets checks in unread.",
    killer="relay/edge/wrong-password",
)
def edge_does_not_verify() -> Iterator[None]:
    with swapped(Edge, "verify", lambda self, check, ufrag: True):
        yield


# STUN and other protocols


@mutant(
    "relay/cookie-unchecked",
    "It takes what begins like a request for one, with or without the magic cookie.",
    killer="rfc8489/5/relay-cookie",
)
def cookie_unchecked() -> Iterator[None]:
    whole = Relay.route_client

    def route(self: Relay, data: bytes, client: Address, proxy: Address, now: Instant) -> Any:
        cookie = stun.MAGIC_COOKIE.to_bytes(4, "big")
        is_request = data[:2] == b"\x00\x01" and data[4:8] != cookie
        mended = data[:4] + cookie + data[8:] if is_request else data
        return whole(self, mended, client, proxy, now)

    with swapped(Relay, "route_client", route):
        yield


@mutant(
    "relay/quic-taken-for-rtp",
    "Its range for RTP is one too wide at each end.",
    killer="rfc9443/3/relay-quic-is-not-media",
)
def quic_taken_for_rtp() -> Iterator[None]:
    octets = list(demux._BY_FIRST_OCTET)
    octets[127] = octets[192] = demux.Kind.RTP
    with swapped(demux, "_BY_FIRST_OCTET", tuple(octets)):
        yield


@mutant(
    "relay/stun-server-of-its-own",
    "It answers requests that name nobody, as a STUN server would.",
    killer="relay/hostile/no-reflection",
)
def stun_server_of_its_own() -> Iterator[None]:
    whole = RelayServer.receive

    def receive(
        self: RelayServer, data: bytes, source: Address, destination: Address, now: Instant
    ) -> None:
        whole(self, data, source, destination, now)
        if data[:2] == b"\x00\x01" and stun.HEADER_LENGTH <= len(data) < 40:
            refusal = b"\x01\x11\x00\x00" + data[4 : stun.HEADER_LENGTH]
            self._out.append(Emission(refusal, destination, source))

    with swapped(RelayServer, "receive", receive):
        yield


@mutant(
    "relay/unknown-attributes-dropped",
    "It writes a check anew and leaves out what it does not know.",
    killer="relay/stun/network-cost",
)
def unknown_attributes_dropped() -> Iterator[None]:
    whole = RelayServer.next_emission

    def emit(self: RelayServer) -> Emission | None:
        emission = whole(self)
        if emission is None or b"\xc0\x57\x00\x04" not in emission.data:
            return emission
        at = emission.data.index(b"\xc0\x57\x00\x04")
        return evolve(emission, data=emission.data[:at] + emission.data[at + 8 :])

    with swapped(RelayServer, "next_emission", emit):
        yield


# Flows


@mutant(
    "relay/address-before-hint",
    "It looks a check's sender up first and reads the hint of strangers alone.",
    killer="relay/sharing/each-check-by-its-hint",
)
def address_before_hint() -> Iterator[None]:
    whole = Relay.route_client

    def route(self: Relay, data: bytes, client: Address, proxy: Address, now: Instant) -> Any:
        return self.flow(client) or whole(self, data, client, proxy, now)

    with swapped(Relay, "route_client", route):
        yield


@mutant(
    "relay/check-moves-the-flow",
    "It moves a flow with every check, so that a forged address pulls a call away.",
    killer="relay/sharing/check-does-not-move",
)
def check_moves_the_flow() -> Iterator[None]:
    whole = FlowTable.check

    def check(
        self: FlowTable,
        client: Address,
        proxy: Address,
        next_hop: Address,
        verified: bool,
        now: Instant,
    ) -> Flow | Drop:
        live = self.flow(client)
        if live is not None and live.next_hop != next_hop:
            self.release(client, live.next_hop, now)
        return whole(self, client, proxy, next_hop, verified, now)

    with swapped(FlowTable, "check", check):
        yield


@mutant(
    "relay/answer-moves-the-flow",
    "It moves a flow with the answer of another node, though its owner is there.",
    killer="relay/sharing/answer-does-not-move",
)
def answer_moves_the_flow() -> Iterator[None]:
    with swapped(driver, "RelayConfig", lambda: RelayConfig(takeover_idle=0.0)):
        yield


@mutant(
    "relay/port-ignored",
    "It knows clients by their address without the port.",
    killer="relay/routing/two-ports-of-one-host",
)
def port_ignored() -> Iterator[None]:
    whole = FlowTable.uplink

    def uplink(self: FlowTable, client: Address, now: Instant) -> Flow | None:
        neighbours = [each for each in self if each.host == client.host]
        return whole(self, min(neighbours, default=client), now)

    with swapped(FlowTable, "uplink", uplink):
        yield


@mutant(
    "relay/twin-released",
    "It ends the flow when the session that only waited for the address ends.",
    killer="relay/sharing/loser-hangs-up",
)
def twin_released() -> Iterator[None]:
    whole = FlowTable.release

    def release(self: FlowTable, client: Address, sender: Address, now: Instant) -> Drop | None:
        contender, live = self.contender(client), self.flow(client)
        if contender is not None and live is not None and contender.next_hop == sender:
            whole(self, client, live.next_hop, now)
        return whole(self, client, sender, now)

    with swapped(FlowTable, "release", release):
        yield


@mutant(
    "relay/anybody-releases",
    "It takes a release from every node.",
    killer="relay/sharing/release-by-another-node",
)
def anybody_releases() -> Iterator[None]:
    whole = FlowTable.release

    def release(self: FlowTable, client: Address, sender: Address, now: Instant) -> Drop | None:
        live = self.flow(client)
        return whole(self, client, sender if live is None else live.next_hop, now)

    with swapped(FlowTable, "release", release):
        yield


@mutant(
    "relay/first-owner-of-a-source",
    "It routes media of an unknown address to the first flow that has its source, of several.",
    killer="relay/rebinding/source-of-two-owners",
)
def first_owner_of_a_source() -> Iterator[None]:
    def by_ssrc(self: FlowTable, ssrc: int | None) -> Flow | None:
        entry = None if ssrc is None else self.sources.get(ssrc)
        if isinstance(entry, set):
            return min(entry, key=lambda flow: flow.next_hop)
        return entry if isinstance(entry, Flow) else None

    with swapped(FlowTable, "by_ssrc", by_ssrc):
        yield


@mutant(
    "relay/source-makes-a-flow",
    "It takes a known source of media for proof, and makes a flow of it.",
    killer="relay/rebinding/source-makes-no-flow",
)
def source_makes_a_flow() -> Iterator[None]:
    whole = Relay.route_client

    def route(self: Relay, data: bytes, client: Address, proxy: Address, now: Instant) -> Any:
        found = whole(self, data, client, proxy, now)
        if isinstance(found, Flow) and self.flow(client) is None:
            self._flows.check(client, proxy, found.next_hop, False, now)
        return found

    with swapped(Relay, "route_client", route):
        yield


# The leg


@mutant(
    "relay/open-reflector",
    "It takes packets on the leg from anybody.",
    killer="relay/leg/stranger",
)
def open_reflector() -> Iterator[None]:
    with swapped(StaticDirectory, "knows", lambda self, address: True):
        yield


@contextmanager
def owners_unchecked(where: Callable[[Address], bool]) -> Iterator[None]:
    """Whoever sends to a client passes for its owner, at the public addresses ``where`` names."""
    whole = FlowTable.downlink

    def downlink(
        self: FlowTable,
        client: Address,
        proxy: Address,
        sender: Address,
        answers: bool,
        now: Instant,
    ) -> Flow | Drop:
        live = self.flow(client)
        owner = live.next_hop if live is not None and where(proxy) else sender
        return whole(self, client, proxy, owner, answers, now)

    with swapped(FlowTable, "downlink", downlink):
        yield


@mutant(
    "relay/owner-unchecked",
    "It lets every node send to every client.",
    killer="relay/leg/another-nodes-client",
)
def owner_unchecked() -> Iterator[None]:
    with owners_unchecked(lambda proxy: True):
        yield


@mutant(
    "relay/short-buffer",
    "It has room for 1,100 bytes and cuts what is longer.",
    killer="relay/routing/every-small-size",
)
def short_buffer() -> Iterator[None]:
    whole = RelayServer.receive

    def receive(
        self: RelayServer, data: bytes, source: Address, destination: Address, now: Instant
    ) -> None:
        whole(self, data[:1100], source, destination, now)

    with swapped(RelayServer, "receive", receive):
        yield


@mutant(
    "relay/magic-unchecked",
    "It does not look at the first two bytes on the leg.",
    killer="relay/leg/another-magic",
)
def magic_unchecked() -> Iterator[None]:
    whole = Relay.route_transceiver

    def route(self: Relay, data: bytes, sender: Address, now: Instant) -> Any:
        return whole(self, b"\x56\xec" + data[2:], sender, now)

    with swapped(Relay, "route_transceiver", route):
        yield


@mutant(
    "relay/leg-on-the-public-side",
    "It reads the header of the leg wherever a packet begins like one.",
    killer="relay/leg/header-of-a-client",
)
def leg_on_the_public_side() -> Iterator[None]:
    whole = RelayServer.receive

    def receive(
        self: RelayServer, data: bytes, source: Address, destination: Address, now: Instant
    ) -> None:
        if destination == driver.PUBLIC and data[:2] == b"\x56\xec" and len(data) > 38:
            leg = forward.decode_untrusted(data)
            self._out.append(Emission(data[38:], leg.proxy, leg.client))
            return
        whole(self, data, source, destination, now)

    with swapped(RelayServer, "receive", receive):
        yield


@mutant(
    "relay/restart-forgets-the-keys",
    "It comes back from a restart without its hint keys.",
    killer="relay/recovery/next-check",
)
def restart_forgets_the_keys() -> Iterator[None]:
    def restart(self: RelayServer) -> None:
        self.relay = driver.make_relay(KeyRing(()))

    with swapped(RelayServer, "restart", restart):
        yield
