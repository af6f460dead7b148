"""Where a relay sends a client's packets."""

from conformance.case import Observed, Profile, case
from conformance.probe.routing import Routed, flow, need_nodes, route, silent_or_dead
from conformance.relay_stage import RelayStage

_WRONG = (Routed.ALTERED, Routed.ELSEWHERE, Routed.TWICE, Routed.ANSWERED)


@case(
    "relay/routing/first-check",
    "A new client's check goes to the node that its hint names, unchanged, behind a header that "
    "names the client and the public address.",
    sends="a signed check whose USERNAME begins with a hint",
    profiles=(Profile.RELAY,),
    good=(Routed.DELIVERED,),
    bad=(*_WRONG, Routed.NOWHERE, Routed.DEAD),
)
def first_check(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    return route(stage, stage.check(stage.mint(node)), stage.client(), node)


@case(
    "relay/routing/each-node",
    "Checks of different clients go each to its own node.",
    sends="two clients' checks with hints of two nodes",
    profiles=(Profile.RELAY,),
    good=(Routed.DELIVERED,),
    bad=(*_WRONG, Routed.NOWHERE, Routed.DEAD),
)
def each_node(stage: RelayStage) -> Observed:
    for node in need_nodes(stage, 2):
        told = route(stage, stage.check(stage.mint(node)), stage.client(), node)
        if told[0] is not Routed.DELIVERED:
            return told
    return Routed.DELIVERED


@case(
    "relay/routing/stranger-media",
    "RTP of a client that has no flow, and whose source nobody knows, goes nowhere.",
    sends="an RTP packet from a new socket",
    profiles=(Profile.RELAY,),
    good=(Routed.NOWHERE,),
    bad=(*_WRONG, Routed.DELIVERED, Routed.DEAD),
)
def stranger_media(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    packet = b"\x80\x6f" + stage.entropy(10) + bytes(160)
    return silent_or_dead(stage, route(stage, packet, stage.client(), node), node)


@case(
    "relay/routing/media-follows-the-check",
    "What is not STUN follows the flow that a check has made.",
    sends="a check, and then RTP from the same socket",
    profiles=(Profile.RELAY,),
    good=(Routed.DELIVERED,),
    bad=(*_WRONG, Routed.NOWHERE, Routed.DEAD),
)
def media_follows(stage: RelayStage) -> Observed:
    node = need_nodes(stage, 2)[1]
    client, session = stage.client(), stage.mint(node)
    flow(stage, session, client)
    packet = b"\x80\x6f" + stage.entropy(10) + bytes(160)
    return silent_or_dead(stage, route(stage, packet, client, node), node)
