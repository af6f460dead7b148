"""The relay as a target: clients, transceivers, a store and an upstream relay, all of them free to
say what they like.

The setting says how the relay is set up: its first bit whether the edge verifies, its second
whether there is a store, its third whether somebody listens. Then come operations; the upper half
of a kind names who acts::

    0-3  a client's datagram, as it is            9  an upstream relay's datagram
      4  a right check, with more attributes     10  a client's RTP with a source of few
      5  a check with its integrity broken       11  the store answers
      6  a transceiver's packet to a client      12  time passes
      7  a transceiver's datagram, as it is      13  other workers' sources
      8  a transceiver lets a client go          14  other settings
                                                 15  a check for another node

What is asked of the outcome: a route leads to a next hop that the directory knows; where the edge
verifies, only who signed has a flow; what goes down goes to the client that the header names;
tables stay within their bounds; drops are counted, each once; and no timer stays due.
"""

from collections.abc import Iterator

from attrs import define, evolve, field

from stunroute import forward, stun
from stunroute.address import Address
from stunroute.config import RelayConfig, Verify
from stunroute.directory import NextHop, NodeState, StaticDirectory
from stunroute.flow import Flow
from stunroute.hint import HintConfiguration, KeyRing
from stunroute.relay import Downlink, Held, Relay, Release
from stunroute.trace import Drop, Record

from .operations import decode as operations_of
from .operations import encode
from .play import drained, expire, played
from .stock import Stream
from .target import Run, insist

CLIENTS = (
    *(Address.of(f"198.51.100.{1 + n // 2}", 4000 + n) for n in range(12)),
    Address.of("2001:db8::7", 4000),
    Address.of("198.51.100.9", 0),
    Address.of("239.1.1.1", 5000),
    Address.of("0.0.0.0", 5000),
)
PROXY, OTHER_PROXY = Address.of("192.0.2.1", 3478), Address.of("192.0.2.2", 3478)
NODES = tuple(Address.of(f"10.0.0.{n}", 4000) for n in range(1, 4))
UPSTREAM = Address.of("10.0.9.9", 4000)
CONFIG = RelayConfig(
    flows=6,
    contenders=3,
    sources_elsewhere=8,
    edge_networks=4,
    sessions=4,
    waiting_clients=3,
    waiting_packets=2,
    changes=16,
    legs=8,
)
_STATES = (NodeState.ACTIVE, NodeState.DRAINING, NodeState.DRAINED)
DIRECTORY = StaticDirectory(
    {(1, n): NextHop(address, _STATES[n % 3]) for n, address in enumerate(NODES)}
)
RING = KeyRing([HintConfiguration("0", bytes(range(16)), bytes(range(32)))])
UFRAGS = tuple(RING.mint(1, n, Stream(f"ufrag {n}"), 0.0).encode() for n in range(4))
_PASSWORDS = tuple(stun.IntegrityKey(RING.password(ufrag)) for ufrag in UFRAGS)
_SSRCS = (7, 8, 9, 0xFFFFFFFF)


@define(slots=True)
class Scene:
    relay: Relay
    verifies: bool
    signed: set[Address] = field(factory=set)
    """Clients that have sent a check with the right integrity."""
    now: float = 0.0
    dropped: int = 0
    said: list[object] = field(factory=list)
    records: list[Record] = field(factory=list)

    def note(self, outcome: object) -> None:
        self.dropped += isinstance(outcome, Drop)
        if isinstance(outcome, Flow):  # which lives on and changes
            outcome = outcome.client, outcome.next_hop
        self.said.append(outcome)

    def up(self, data: bytes, client: Address, *, relayed: bool = False) -> None:
        if relayed:
            route = self.relay.route_relay(data, UPSTREAM, self.now)
        else:
            route = self.relay.route_client(data, client, PROXY, self.now)
        self.note(route)
        if isinstance(route, Flow):
            insist(DIRECTORY.knows(route.next_hop), "a route leads to somebody that is known")
            insist(relayed or route.client == client, "a flow is its client's")
        insist(route is not Held.HELD or self.relay.config.store, "only a store is waited for")

    def down(self, data: bytes, sender: Address) -> None:
        route = self.relay.route_transceiver(data, sender, self.now)
        self.note(route)
        match route:
            case (
                Downlink(client=client, payload=payload) | Release(client=client, upstream=payload)
            ):
                insist(data[2:18] == client.host, "what goes down goes to whom the header names")
                insist(DIRECTORY.knows(sender), "only the fleet sends down")
                if isinstance(route, Downlink):
                    insist(payload == data[forward.HEADER_LENGTH :], "the payload is unchanged")

    def check(self, client: Address) -> None:
        """What can be seen at once after each operation."""
        if (flow := self.relay.flow(client)) is not None:
            self.check_flow(flow)
        self.said += drained(self.relay.next_request)

    def check_flow(self, flow: Flow) -> None:
        insist(flow.client.is_sendable, "a flow leads to somebody")
        if flow.verified:
            insist(flow.client in self.signed, "a verified flow is of one who signed")

    def check_all(self) -> None:
        """Tables and the flows in them. They are in hundreds of parts, nearly all of them empty, so
        it is done before time passes and at the end."""
        insist(self.relay.flows <= CONFIG.flows, "flows are bounded")
        insist(self.relay.contenders <= CONFIG.contenders, "contenders are bounded")
        for flow in self.relay.some_flows(CONFIG.flows):
            self.check_flow(flow)


def _check(node: int, transaction: bytes, extra: bytes, right: bool) -> bytes:
    """A check for a session on ``node``. ``extra`` becomes attributes: type, length, value."""
    attributes = [
        (int(stun.Attribute.USERNAME), UFRAGS[node] + b":peer"),
        (int(stun.Attribute.PRIORITY), bytes(4)),
    ]
    at = 0
    while at + 3 <= len(extra) and len(attributes) < 12:
        value = extra[at + 3 : at + 3 + extra[at + 2]]
        attributes.append((int.from_bytes(extra[at : at + 2], "big"), value))
        at += 3 + extra[at + 2]
    data = stun.build(
        stun.Method.BINDING,
        stun.MessageClass.REQUEST,
        transaction[:12].ljust(12, b"\x00"),
        attributes,
        integrity=_PASSWORDS[node],
        sha256=bool(extra[:1] > b"\xf0"),
    )
    return data if right else data[:-10] + bytes((data[-10] ^ 1,)) + data[-9:]


def make() -> Run:
    """The target."""

    def play(data: bytes) -> object:
        setting, row = operations_of(data)
        verify = Verify.EDGE if setting & 1 else Verify.OWNER
        records: list[Record] = []
        relay = Relay(
            evolve(CONFIG, verify=verify, store=bool(setting & 2)),
            RING,
            DIRECTORY,
            proxies=(PROXY, OTHER_PROXY),
            upstream={OTHER_PROXY: UPSTREAM},
            observe=records.append if setting & 4 else None,
            shares_sources=bool(setting & 8),
        )
        scene = Scene(relay, bool(setting & 1), records=records)
        for kind, argument in row:
            _carry_out(scene, kind & 15, kind >> 4, argument)
            scene.check(CLIENTS[kind >> 4])
        scene.check_all()
        insist(relay.counters.drops.total() >= scene.dropped, "drops are counted")
        return scene.said

    return played(play)


def _carry_out(scene: Scene, kind: int, who: int, argument: bytes) -> None:
    client, node = CLIENTS[who], who % 3
    match kind:
        case 0 | 1 | 2 | 3:
            scene.up(argument, client)
        case 4 | 15:
            node = node if kind == 4 else 3
            scene.signed.add(client)
            scene.up(_check(node, argument, argument[12:], right=True), client)
        case 5:
            scene.up(_check(node, argument, argument[12:], right=False), client)
        case 6 if argument:
            header = forward.encode(CLIENTS[argument[0] & 15], PROXY)
            scene.down(header + argument[1:], NODES[node])
        case 7:
            scene.down(argument, NODES[node] if who < 12 else UPSTREAM)
        case 8 if argument:
            scene.down(forward.encode(CLIENTS[argument[0] & 15], PROXY), NODES[node])
        case 9:
            header = forward.encode(client, OTHER_PROXY)
            scene.up(
                argument[1:] if argument[:1] < b"\x20" else header + argument, client, relayed=True
            )
        case 10 if argument:
            ssrc = _SSRCS[argument[0] & 3].to_bytes(4, "big")
            scene.up(b"\x80\x60" + bytes(6) + ssrc + argument[1:], client)
        case _:
            _around(scene, kind, who, argument)


def _around(scene: Scene, kind: int, who: int, argument: bytes) -> None:
    """What is neither a client's nor a transceiver's doing."""
    relay, how = scene.relay, argument[0] if argument else 0
    match kind:
        case 11:
            hop = None if how & 4 else (*NODES, UPSTREAM)[how & 3]
            made = None if how & 8 else scene.now - how / 16
            scene.note(relay.restore(CLIENTS[who], hop, scene.now, made))
        case 12:
            scene.check_all()
            scene.now += how / 4
            expire(relay, scene.now, lambda: None)
        case 13:
            relay.learn_sources({_SSRCS[how & 3]: (*NODES, UPSTREAM)[how >> 2 & 3]}, scene.now)
            scene.note(sorted(relay.take_sources().items()))
        case 14:
            config = evolve(relay.config, idle_timeout=1.0 + how)
            relay.reconfigure(
                config, RING, DIRECTORY, upstream={OTHER_PROXY: UPSTREAM}, now=scene.now
            )


def _rows() -> Iterator[bytes]:
    rtp = (10, b"\x00" + bytes(20))
    talk = [(4, b"t"), rtp, (6, b"\x00\x80\x60hello"), (0x10 | 10, b"\x00"), (12, b"\x04")]
    for setting in range(16):
        yield encode(setting, [*talk, (0x20 | 4, b"u"), (8, b"\x00"), (12, b"\xff"), *talk])
    yield encode(2, [rtp, (11, b"\x00"), rtp, (12, b"\x01"), (11, b"\x04")])
    yield encode(1, [(5, b"t"), (4, b"t" * 12 + b"\x80\x22\x03abc"), (15, b"x"), rtp])
    yield encode(8, [(13, b"\x00"), (0x30 | 10, b"\x00"), (14, b"\x05"), (9, b"\x80\x60abc")])
    yield encode(
        0, [(4, b"a"), (0x10 | 4, b"b"), (0x01, b"\x01\x01"), (7, b"\x56\xec" + bytes(40))]
    )


SEEDS = tuple(_rows())
