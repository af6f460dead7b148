"""The leg between relay and node: 38 bytes before each payload, in both directions.

Up, the header says who has sent the packet and to which address. Down, it says to whom it goes. So
a relay that believed anybody on the leg would send anything that a stranger likes to anybody.
"""

from conformance.case import Blocked, Level, Observed, Rule, Unsupported
from conformance.probe.routing import (
    PASSES,
    REFUSED,
    RETURNS,
    Returned,
    Routed,
    flow,
    follow_back,
    indication,
    need_nodes,
    refused_or_dead,
    relayed,
    response,
    rtp,
    send_back,
)
from conformance.relay_stage import Delivery, RelayStage
from stunroute import forward, stun
from stunroute.address import Address

SIZES = (1, 2, 37, 38, 39, 255, 256, 576, 1024, 1200)
LARGE = (1201, 1252, 1400, 1434, 1435, 1472)
MAPPED = bytes(10) + b"\xff\xff"

BY_CHANCE = REFUSED.lenient_about(Returned.DELIVERED)
"""It comes out right, though for another reason than what the header says."""


@relayed(
    Rule(
        "relay/leg/header-of-38-octets",
        "The header is 0x56ec, the client's and the relay's address in sixteen bytes each, and "
        "their ports in two each, all big-endian; IPv4 is written as ::ffff:a.b.c.d.",
        traps=("STUN and ICE 11",),
    ),
    sends="a good check",
    oracle=PASSES,
)
def header(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    client = stage.client()
    data = stage.check(stage.mint(node))
    stage.up(data, client)
    until = stage.now + stage.patience * 4
    while (arrival := stage.wire.receive(until)) is not None:
        if arrival.socket != node.address:
            return Routed.ELSEWHERE, str(arrival.socket)
        wanted = (b"\x56\xec" + _octets(client) + _octets(stage.public) + _port(client)) + _port(
            stage.public
        )
        if arrival.data == wanted + data:
            return Routed.DELIVERED
        return Routed.ALTERED, arrival.data[:38].hex()
    return Routed.NOWHERE


def _octets(address: Address) -> bytes:
    return MAPPED + address.packed if address.is_ipv4 else address.packed


def _port(address: Address) -> bytes:
    return address.port.to_bytes(2, "big")


@relayed(
    Rule(
        "relay/leg/down-in-every-size",
        "What a node sends arrives at its client byte for byte and from the public address.",
    ),
    sends="packets of 1 to 1,200 bytes from a node",
    oracle=RETURNS,
)
def down_in_every_size(stage: RelayStage) -> Observed:
    return _down(stage, SIZES)


@relayed(
    Rule(
        "relay/leg/down-in-full-frames",
        "A packet arrives whole also where its header makes it larger than a frame of Ethernet.",
        level=Level.SHOULD,
    ),
    sends="packets of 1,201 to 1,472 bytes from a node",
    oracle=RETURNS,
)
def down_in_full_frames(stage: RelayStage) -> Observed:
    return _down(stage, LARGE)


def _down(stage: RelayStage, sizes: tuple[int, ...]) -> Observed:
    (node,) = need_nodes(stage, 1)
    client = stage.client()
    mine = flow(stage, stage.mint(node), client)
    for size in sizes:
        payload = (b"\x80" + stage.entropy(size))[:size]
        told = send_back(stage, payload, mine, client, patient=True)
        if told[0] is not Returned.DELIVERED:
            return told
    return Returned.DELIVERED


@relayed(
    Rule("relay/leg/down-to-each-client", "The header says which client a packet is for."),
    sends="packets of one node to two of its clients in turn",
    oracle=RETURNS,
)
def down_to_each_client(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    clients = [stage.client(), stage.client()]
    calls = [(client, flow(stage, stage.mint(node), client)) for client in clients]
    for client, mine in (*calls, *reversed(calls)):
        told = send_back(stage, rtp(stage), mine, client, patient=True)
        if told[0] is not Returned.DELIVERED:
            return told
    return Returned.DELIVERED


@relayed(
    Rule(
        "relay/leg/down-of-any-kind",
        "What a node sends is not looked at: errors, requests, indications and bytes that mean "
        "nothing reach the client.",
    ),
    sends="STUN of each class, and packets with first bytes of every protocol, from a node",
    oracle=RETURNS,
)
def down_of_any_kind(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    session, client = stage.mint(node), stage.client()
    mine = flow(stage, session, client)
    refusal = stun.build(stun.Method.BINDING, stun.MessageClass.ERROR, stage.entropy(12))
    packets = [stage.check(session), response(stage), indication(stage), refusal, mine.payload]
    packets += [bytes([first]) + stage.entropy(20) for first in (4, 16, 22, 64, 80, 128, 192)]
    for payload in packets:
        told = send_back(stage, payload, mine, client, patient=True)
        if told[0] is not Returned.DELIVERED:
            return told[0], f"{payload[:4].hex()}... {told[1]}"
    return Returned.DELIVERED


@relayed(
    Rule(
        "relay/leg/another-nodes-client",
        "A node does not reach a client whose live call is another node's.",
    ),
    sends="a packet to a client from a node that it has never asked",
    oracle=REFUSED,
)
def another_nodes_client(stage: RelayStage) -> Observed:
    one, other = need_nodes(stage, 2)
    client = stage.client()
    mine = flow(stage, stage.mint(one), client)
    payload = rtp(stage)
    stage.down_raw(_headed(mine) + payload, other, mine.inner, "of another node")
    return refused_or_dead(stage, follow_back(stage, payload, client), one)


@relayed(
    Rule(
        "relay/leg/another-nodes-success",
        "A node does not reach another node's client with a success response either, to a check "
        "that it has never been sent.",
    ),
    sends="a success response to a client from a node that it has never asked",
    oracle=REFUSED,
)
def another_nodes_success(stage: RelayStage) -> Observed:
    one, other = need_nodes(stage, 2)
    client = stage.client()
    mine = flow(stage, stage.mint(one), client)
    payload = response(stage)
    stage.down_raw(_headed(mine) + payload, other, mine.inner, "of another node")
    return refused_or_dead(stage, follow_back(stage, payload, client), one)


@relayed(
    Rule(
        "relay/leg/stranger",
        "A host that is none of the nodes sends nothing through the relay: it is no open "
        "reflector.",
    ),
    sends="packets to a known and an unknown client from another host to the inner address",
    oracle=REFUSED,
)
def stranger(stage: RelayStage) -> Observed:
    if stage.elsewhere is None:
        raise Unsupported("the harness has no second host to send from")
    return _from(stage, stage.elsewhere())


@relayed(
    Rule(
        "relay/leg/stranger-on-a-nodes-host",
        "Another port of a node's host sends nothing through the relay: a node is its whole "
        "address.",
        level=Level.SHOULD,
    ),
    sends="packets to a known and an unknown client from a new socket to the inner address",
    oracle=REFUSED,
)
def stranger_on_a_nodes_host(stage: RelayStage) -> Observed:
    return _from(stage, stage.client())


def _from(stage: RelayStage, socket: Address) -> Observed:
    (node,) = need_nodes(stage, 1)
    client = stage.client()
    mine = flow(stage, stage.mint(node), client)
    payload = rtp(stage)
    for victim in (client, stage.client()):
        header = forward.encode(victim, stage.public)
        stage.down_raw(header + payload, socket, mine.inner, "of a stranger")
        told = follow_back(stage, payload, victim)
        if told[0] is not Returned.NOWHERE:
            return told
    return refused_or_dead(stage, told, node)


@relayed(
    Rule("relay/leg/strangers-release", "A stranger releases nobody."),
    sends="a header without payload from another host to the inner address, and RTP of the client",
    oracle=RETURNS,
)
def strangers_release(stage: RelayStage) -> Observed:
    one, other = need_nodes(stage, 2)
    if stage.elsewhere is None:
        raise Unsupported("the harness has no second host to send from")
    client = stage.client()
    mine = flow(stage, stage.mint(one), client)
    stage.down_raw(_headed(mine), stage.elsewhere(), mine.inner, "a stranger's release")
    # Had it worked, the client would be anybody's.
    payload = rtp(stage)
    stage.down_raw(_headed(mine) + payload, other, mine.inner, "of another node")
    told = follow_back(stage, payload, client)
    if told[0] is Returned.DELIVERED:
        return Returned.ELSEWHERE, "the client is another node's now"
    return send_back(stage, rtp(stage), mine, client, patient=True)


@relayed(
    Rule(
        "relay/leg/header-of-a-client",
        "A header on the public side is payload: nobody sends to a client by way of it.",
    ),
    sends="a packet with a good header to the public address, from a client with and without flow",
    oracle=REFUSED,
)
def header_of_a_client(stage: RelayStage) -> Observed:
    one, other = need_nodes(stage, 2)
    victim, caller = stage.client(), stage.client()
    mine = flow(stage, stage.mint(one), victim)
    flow(stage, stage.mint(other), caller)
    payload = rtp(stage)
    for socket in (stage.client(), caller):
        stage.up(_headed(mine) + payload, socket, "header and payload")
        for each in stage.some():
            # To its own node it may go, as the payload of a known client.
            if not isinstance(each, Delivery):
                return Returned.DELIVERED, "to the client that the header names"
            if each.node != other or each.leg is None or each.leg.client != caller:
                return Returned.ELSEWHERE
    return refused_or_dead(stage, (Returned.NOWHERE, ""), one)


@relayed(
    Rule("relay/leg/another-magic", "What does not begin with 0x56ec is nothing."),
    sends="a packet of a node with other first bytes",
    oracle=REFUSED,
)
def another_magic(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    client = stage.client()
    mine = flow(stage, stage.mint(node), client)
    payload = rtp(stage)
    for magic in (b"\x56\xed", b"\xec\x56", b"\x00\x00"):
        stage.down_raw(magic + _headed(mine)[2:] + payload, node, mine.inner, "another magic")
    return refused_or_dead(stage, follow_back(stage, payload, client), node)


@relayed(
    Rule("relay/leg/cut-header", "A header that is cut is nothing, wherever the cut is."),
    sends="the first bytes of a header, none to 37, from a node",
    oracle=REFUSED,
)
def cut_header(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    client = stage.client()
    mine = flow(stage, stage.mint(node), client)
    whole = _headed(mine)
    for size in (0, 1, 2, 3, 17, 18, 33, 34, 35, 36, 37):
        stage.down_raw(whole[:size], node, mine.inner, "a piece of a header")
    told = follow_back(stage, b"", client)
    if told[0] is Returned.NOWHERE:
        # The flow has to be there still.
        payload = rtp(stage)
        if send_back(stage, payload, mine, client, patient=True)[0] is not Returned.DELIVERED:
            return Returned.DEAD, "the client's flow is gone"
    return told


@relayed(
    Rule(
        "relay/leg/another-public-address",
        "A node sends from the public addresses that the relay has, and from no other.",
    ),
    sends="packets whose headers name another port of the relay's, and another host",
    oracle=BY_CHANCE,
)
def another_public_address(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    client = stage.client()
    mine = flow(stage, stage.mint(node), client)
    payload = rtp(stage)
    wrong = (
        Address(stage.public.host, stage.public.port ^ 1),
        Address.of("192.0.2.254", stage.public.port),
    )
    for proxy in (each for each in wrong if each not in stage.beside):
        stage.down_raw(forward.encode(client, proxy) + payload, node, mine.inner, "another")
        told = follow_back(stage, payload, client)
        if told[0] is not Returned.NOWHERE:
            return told
    return refused_or_dead(stage, (Returned.NOWHERE, ""), node)


@relayed(
    Rule(
        "relay/leg/client-without-mapping",
        "An IPv4 client is ::ffff:a.b.c.d; ::a.b.c.d is another address, which nobody here has.",
        traps=("STUN and ICE 11",),
    ),
    sends="a packet whose header names the client as ::a.b.c.d",
    oracle=BY_CHANCE,
)
def client_without_mapping(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    client = stage.client()
    if not client.is_ipv4:
        raise Unsupported("its clients come over IPv6")
    mine = flow(stage, stage.mint(node), client)
    payload = rtp(stage)
    compatible = Address(bytes(12) + client.packed, client.port)
    stage.down_raw(forward.encode(compatible, stage.public) + payload, node, mine.inner)
    return refused_or_dead(stage, follow_back(stage, payload, client), node)


@relayed(
    Rule(
        "relay/leg/nobodys-address",
        "A packet for port 0, or for the unspecified address, goes nowhere, and the relay goes on.",
    ),
    sends="packets whose headers name no address that can be sent to",
    oracle=REFUSED,
)
def nobodys_address(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    client = stage.client()
    mine = flow(stage, stage.mint(node), client)
    payload = rtp(stage)
    nobody = [Address(client.host, 0), Address(bytes(16), client.port), Address(bytes(16), 0)]
    if client.is_ipv4:
        nobody.append(Address.of("0.0.0.0", client.port))
    for address in nobody:
        stage.down_raw(forward.encode(address, stage.public) + payload, node, mine.inner)
    return refused_or_dead(stage, follow_back(stage, payload, client), node)


def _headed(delivery: Delivery) -> bytes:
    """The header by which a delivery is answered."""
    if delivery.leg is None:
        raise Blocked("a header on the leg cannot be read")
    return forward.encode(delivery.leg.client, delivery.leg.proxy)
