"""A client whose address changes.

After a NAT has rebound, the first packet from the new address is usually SRTP and names nobody; the
next check comes seconds later. A relay that knows which flow a source of media belongs to can
route it meanwhile. It need not, but what it must not do is take such a packet for proof.
"""

from conformance.case import Level, Observed, Rule, Unsupported
from conformance.probe.routing import (
    PASSES,
    RETURNS,
    SPREADS,
    STOPS,
    Routed,
    drawn,
    dtls,
    flow,
    known_source,
    need_nodes,
    relayed,
    release,
    route,
    route_each,
    route_none,
    rtcp,
    rtp,
    send_back,
    silent_or_dead,
    teach,
)
from conformance.relay_stage import RelayStage


@relayed(
    Rule(
        "relay/rebinding/check-moves",
        "A check from the new address makes a flow there, and media follows it.",
        traps=("STUN and ICE 7", "Facts"),
    ),
    sends="a check of a live session from a second socket, and then RTP from there",
    oracle=PASSES,
)
def check_moves(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    session, old, new = stage.mint(node), stage.client(), stage.client()
    flow(stage, session, old)
    return route_each(stage, (stage.check(session), rtp(stage), dtls(stage)), new, node)


@relayed(
    Rule(
        "relay/rebinding/downlink-to-the-new-address",
        "The node reaches the client at its new address once a check has come from there.",
        traps=("Facts",),
    ),
    sends="a check of a live session from a second socket, and media of the node to there",
    oracle=RETURNS,
)
def downlink_to_the_new_address(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    session, new = stage.mint(node), stage.client()
    flow(stage, session, stage.client())
    mine = flow(stage, session, new)
    return send_back(stage, rtp(stage), mine, new, patient=True)


@relayed(
    Rule(
        "relay/rebinding/rtp-by-its-source",
        "RTP from an unknown address whose source belongs to exactly one live flow goes where that "
        "flow goes.",
        level=Level.SHOULD,
        requirements=("rfc8445/12.2/4",),
        traps=("SRTP, RTP, RTCP 3", "Facts"),
    ),
    sends="RTP of a live source from a second socket",
    oracle=PASSES,
    lasts=SPREADS,
)
def rtp_by_its_source(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    source, old = drawn(stage), stage.client()
    flow(stage, stage.mint(node), old)
    teach(stage, source, old, node)
    stage.all(SPREADS)
    return route(stage, rtp(stage, source), stage.client(), node)


@relayed(
    Rule(
        "relay/rebinding/rtcp-by-its-source",
        "RTCP from an unknown address goes where the one live flow of its sender's source goes.",
        level=Level.SHOULD,
        traps=("Facts",),
    ),
    sends="RTCP of a live source from a second socket",
    oracle=PASSES,
    lasts=SPREADS,
)
def rtcp_by_its_source(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    source, old = drawn(stage), stage.client()
    flow(stage, stage.mint(node), old)
    teach(stage, source, old, node)
    stage.all(SPREADS)
    return route(stage, rtcp(stage, source), stage.client(), node)


@relayed(
    Rule(
        "relay/rebinding/source-of-two-owners",
        "A source that flows to two nodes carry says nothing: what names only it goes nowhere.",
        traps=("Facts",),
    ),
    sends="RTP and RTCP from a new socket with a source that two clients of two nodes use",
    oracle=STOPS,
    lasts=SPREADS,
)
def source_of_two_owners(stage: RelayStage) -> Observed:
    source = drawn(stage)
    nodes = need_nodes(stage, 2)
    for node in nodes:
        client = stage.client()
        flow(stage, stage.mint(node), client)
        teach(stage, source, client, node)
    stage.all(SPREADS)
    packets = (rtp(stage, source), rtcp(stage, source))
    return route_none(stage, packets, stage.client(), nodes[0])


@relayed(
    Rule(
        "relay/rebinding/source-makes-no-flow",
        "A source is no proof: what else comes from that address goes nowhere.",
        traps=("DTLS 6", "Facts"),
    ),
    sends="RTP of a live source from a second socket, and then DTLS from there",
    oracle=STOPS,
)
def source_makes_no_flow(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    source, old, new = drawn(stage), stage.client(), stage.client()
    flow(stage, stage.mint(node), old)
    teach(stage, source, old, node)
    route(stage, rtp(stage, source), new, node)
    return route_none(stage, (dtls(stage), rtp(stage)), new, node)


@relayed(
    Rule(
        "relay/rebinding/source-moves-no-flow",
        "A source moves no flow: the client that has it is reached as before.",
        traps=("Facts",),
    ),
    sends="RTP of a live source from a second socket, and media of the node to the first",
    oracle=RETURNS,
)
def source_moves_no_flow(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    source, old = drawn(stage), stage.client()
    mine = flow(stage, stage.mint(node), old)
    teach(stage, source, old, node)
    route(stage, rtp(stage, source), stage.client(), node)
    return send_back(stage, rtp(stage), mine, old, patient=True)


@relayed(
    Rule(
        "relay/rebinding/both-addresses-at-once",
        "While media comes from the new address, DTLS from the old one still follows its flow.",
        traps=("SRTP, RTP, RTCP 3",),
    ),
    sends="RTP of a live source from a second socket, and DTLS from the first",
    oracle=PASSES,
)
def both_addresses_at_once(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    source, old, new = drawn(stage), stage.client(), stage.client()
    flow(stage, stage.mint(node), old)
    teach(stage, source, old, node)
    for _ in range(2):
        route(stage, rtp(stage, source), new, node)
        told = route(stage, dtls(stage), old, node, patient=True)
        if told[0] is not Routed.DELIVERED:
            return told
    return told


@relayed(
    Rule(
        "relay/rebinding/source-of-a-released-flow",
        "A source dies with its flow.",
        level=Level.SHOULD,
    ),
    sends="a release, and then RTP of the flow's source from another socket",
    oracle=STOPS,
)
def source_of_a_released_flow(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    source, old = drawn(stage), stage.client()
    mine = flow(stage, stage.mint(node), old)
    teach(stage, source, old, node)
    release(stage, mine)
    stage.some()
    if route(stage, dtls(stage), old, node)[0] is Routed.DELIVERED:
        raise Unsupported("does not release flows")
    return route_none(stage, (rtp(stage, source), rtcp(stage, source)), stage.client(), node)


@relayed(
    Rule(
        "relay/rebinding/too-short-for-a-source",
        "A packet that ends before its source is nobody's.",
        traps=("SRTP, RTP, RTCP 2",),
    ),
    sends="the first bytes of a live source's RTP and RTCP from a second socket",
    oracle=STOPS,
)
def too_short_for_a_source(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    source, old = drawn(stage), stage.client()
    flow(stage, stage.mint(node), old)
    teach(stage, source, old, node)
    packets = [rtp(stage, source)[:size] for size in (1, 2, 4, 8, 11)]
    packets += [rtcp(stage, source)[:size] for size in (2, 4, 7)]
    return route_none(stage, packets, stage.client(), node)


@relayed(
    Rule(
        "relay/rebinding/twice",
        "A client that rebinds again before its next check is found again.",
        level=Level.SHOULD,
        traps=("Facts",),
    ),
    sends="RTP of a live source from a second, third and fourth socket",
    oracle=PASSES,
    lasts=SPREADS,
)
def twice(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    source = known_source(stage, stage.client(), node)
    for _ in range(2):
        told = route(stage, rtp(stage, source), stage.client(), node)
        if told[0] is not Routed.DELIVERED:
            return told
    return silent_or_dead(stage, told, node)


@relayed(
    Rule(
        "relay/rebinding/check-after-media",
        "The check that follows media from the new address is routed like any other, and what "
        "follows it is the flow's.",
        traps=("STUN and ICE 7", "Facts"),
    ),
    sends="RTP of a live source from a second socket, then a check and DTLS from there",
    oracle=PASSES,
)
def check_after_media(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    session, old, new = stage.mint(node), stage.client(), stage.client()
    source = drawn(stage)
    flow(stage, session, old)
    teach(stage, source, old, node)
    route(stage, rtp(stage, source), new, node)
    packets = (stage.check(session), dtls(stage), rtp(stage, source))
    return route_each(stage, packets, new, node)
