"""A relay with more public addresses than one, of either IP version.

A client chooses among the candidates of an answer, and may choose anew while its call is up. So the
header of the leg has to say where a packet came in, and what goes back has to leave from there: the
client, and every NAT before it, takes it from nowhere else. These cases need a relay that has
further addresses (``--also``).
"""

from conformance.case import Blocked, Observed, Rule, Unsupported
from conformance.probe.routing import (
    PASSES,
    RETURNS,
    Returned,
    Routed,
    flow,
    follow,
    follow_back,
    need_nodes,
    relayed,
    route,
    rtp,
)
from conformance.relay_stage import Delivery, RelayStage, Session
from stunroute import forward
from stunroute.address import Address


@relayed(
    Rule(
        "relay/addresses/header-of-an-ipv6-client",
        "An IPv6 client stands in the header by the sixteen bytes of its address as they are, and "
        "so does the IPv6 address that it has sent to.",
        traps=("STUN and ICE 11",),
    ),
    sends="a good check over IPv6",
    oracle=PASSES,
)
def header_of_an_ipv6_client(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    public = _ipv6(stage)
    client = stage.client(public)
    data = stage.check(stage.mint(node))
    stage.up(data, client, to=public)
    ports = client.port.to_bytes(2, "big") + public.port.to_bytes(2, "big")
    wanted = b"\x56\xec" + client.packed + public.packed + ports
    until = stage.now + stage.patience * 4
    while (arrival := stage.wire.receive(until)) is not None:
        if arrival.socket == client:
            return Routed.ANSWERED, f"{len(arrival.data)} bytes"
        if arrival.socket != node.address:
            return Routed.ELSEWHERE, str(arrival.socket)
        if arrival.data == wanted + data:
            return Routed.DELIVERED
        return Routed.ALTERED, arrival.data[:38].hex()
    return Routed.NOWHERE


@relayed(
    Rule(
        "relay/addresses/down-to-an-ipv6-client",
        "What a node sends to an IPv6 client arrives there, and from the IPv6 address that the "
        "client has sent to.",
    ),
    sends="a check over IPv6, and packets of its node",
    oracle=RETURNS,
)
def down_to_an_ipv6_client(stage: RelayStage) -> Observed:
    public = _ipv6(stage)
    return _returns(stage, stage.client(public), public)


@relayed(
    Rule(
        "relay/addresses/header-names-the-one-asked",
        "The header names that public address to which the client has sent.",
    ),
    sends="a good check to each of the relay's addresses",
    oracle=PASSES,
)
def header_names_the_one_asked(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    told: tuple[Routed, str] = (Routed.NOWHERE, "")
    for public in _all(stage):
        data = stage.check(stage.mint(node))
        told = route(stage, data, stage.client(public), node, patient=True, to=public)
        if told[0] is not Routed.DELIVERED:
            return told[0], f"at {public}: {told[1]}"
    return told


@relayed(
    Rule(
        "relay/addresses/replies-from-the-one-asked",
        "What goes back to a client leaves from that public address to which it has sent.",
    ),
    sends="checks of different clients to each of the relay's addresses, and packets of their node",
    oracle=RETURNS,
)
def replies_from_the_one_asked(stage: RelayStage) -> Observed:
    told: tuple[Returned, str] = (Returned.NOWHERE, "")
    for public in _all(stage):
        told = _returns(stage, stage.client(public), public)
        if told[0] is not Returned.DELIVERED:
            return told
    return told


@relayed(
    Rule(
        "relay/addresses/replies-by-the-header",
        "Where a client has sent to two public addresses, what goes back leaves from the one that "
        "its node names.",
    ),
    sends="checks of one client to two addresses, and packets of its node for each in turn",
    oracle=RETURNS,
)
def replies_by_the_header(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    first, second = _two_of_a_family(stage)
    session, client = stage.mint(node), stage.client(first)
    came = {public: _flow(stage, session, client, public) for public in (first, second)}
    told: tuple[Returned, str] = (Returned.NOWHERE, "")
    for public in (first, second, first):
        told = _back(stage, came[public], client, public)
        if told[0] is not Returned.DELIVERED:
            return told
    return told


@relayed(
    Rule(
        "relay/addresses/turning-in-mid-call",
        "A client that goes over to another of the relay's addresses keeps its node, and what is "
        "still under way to the first one arrives as well.",
    ),
    sends="a check to one address, a check and RTP to another, and RTP to the first again",
    oracle=PASSES,
)
def turning_in_mid_call(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    first, second = _two_of_a_family(stage)
    session, client = stage.mint(node), stage.client(first)
    for public in (first, second):
        _flow(stage, session, client, public)
    told: tuple[Routed, str] = (Routed.NOWHERE, "")
    for public in (second, first, second):
        data = rtp(stage)
        stage.up(data, client, to=public)
        told = follow(stage, data, client, node, patient=True, to=public)
        if told[0] is not Routed.DELIVERED:
            return told[0], f"at {public}: {told[1]}"
    return told


def _all(stage: RelayStage) -> tuple[Address, ...]:
    """Every public address that we can send to. Raises Unsupported for one alone."""
    if not stage.beside:
        raise Unsupported("no other address of the relay is known (--also)")
    return (stage.public, *stage.beside)


def _ipv6(stage: RelayStage) -> Address:
    for public in (stage.public, *stage.beside):
        if not public.is_ipv4:
            return public
    raise Unsupported("no IPv6 address of the relay is known (--also)")


def _two_of_a_family(stage: RelayStage) -> tuple[Address, Address]:
    """Between which one socket of a client can choose."""
    publics = (stage.public, *stage.beside)
    for is_ipv4 in (True, False):
        found = [each for each in publics if each.is_ipv4 is is_ipv4]
        if len(found) > 1:
            return found[0], found[1]
    raise Unsupported("no two addresses of one IP version are known (--also)")


def _returns(stage: RelayStage, client: Address, public: Address) -> tuple[Returned, str]:
    (node,) = need_nodes(stage, 1)
    delivery = _flow(stage, stage.mint(node), client, public)
    return _back(stage, delivery, client, public)


def _flow(stage: RelayStage, session: Session, client: Address, public: Address) -> Delivery:
    """As ``flow``, but where the answer comes from is another question."""
    delivery = flow(stage, session, client, public)
    if delivery.leg is None or delivery.leg != forward.Leg(client, public):
        raise Blocked("the header of a check is wrong")
    return delivery


def _back(
    stage: RelayStage, delivery: Delivery, client: Address, public: Address
) -> tuple[Returned, str]:
    payload = rtp(stage)
    stage.down(payload, delivery)
    return follow_back(stage, payload, client, patient=True, to=public)
