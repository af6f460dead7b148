"""What a relay knows again after it has forgotten everything.

It keeps nothing that cannot be made anew: from a client's next check, or from a packet of its node
to a client that nobody has. A client that sends no checks any more depends on the latter, or on a
store. Cases that need the relay killed want ``--restart``.
"""

from conformance.case import Level, Observed, Rule, Unsupported
from conformance.probe.routing import (
    MAY_PASS,
    PASSES,
    REFUSED,
    RETURNS,
    STOPS,
    Returned,
    Routed,
    drawn,
    dtls,
    flow,
    follow_back,
    need_nodes,
    refused_or_dead,
    relayed,
    release,
    route,
    route_each,
    route_none,
    rtp,
    send_back,
    silent_or_dead,
    teach,
)
from conformance.relay_stage import Delivery, Node, RelayStage
from stunroute import forward
from stunroute.address import Address

HEALS = RETURNS.lenient_about(Returned.NOWHERE)
"""A relay that waits for the next check loses a second or two of sound, and nothing else."""


def _restarted(stage: RelayStage) -> None:
    """The relay is killed, and an empty one is in its place. Raises Unsupported."""
    if stage.restart is None:
        raise Unsupported("nobody can restart it (--restart)")
    stage.note("the relay is killed and started")
    stage.restart()


@relayed(
    Rule(
        "relay/recovery/next-check", "After a restart the client's next check makes its flow again."
    ),
    sends="a check of a live session after a restart, and then RTP",
    oracle=PASSES,
)
def next_check(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    session, client = stage.mint(node), stage.client()
    flow(stage, session, client)
    _restarted(stage)
    packets = (stage.check(session), rtp(stage), dtls(stage))
    return route_each(stage, packets, client, node)


@relayed(
    Rule(
        "relay/recovery/inner-address",
        "A restarted relay has the inner address that it had: its nodes need not be told.",
        level=Level.SHOULD,
    ),
    sends="a check after a restart",
    oracle=PASSES,
)
def inner_address(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    session, client = stage.mint(node), stage.client()
    before = flow(stage, session, client)
    _restarted(stage)
    after = flow(stage, session, client)
    if after.inner != before.inner:
        return Routed.ALTERED, f"{after.inner} after {before.inner}"
    return Routed.DELIVERED


@relayed(
    Rule(
        "relay/recovery/by-the-downlink",
        "A packet of a listed node to a client that nobody has is delivered: a call heals from its "
        "next packet after a restart.",
        level=Level.SHOULD,
        traps=("Facts",),
    ),
    sends="media of a node to its client after a restart",
    oracle=HEALS,
)
def by_the_downlink(stage: RelayStage) -> Observed:
    _, client, mine = _forgotten(stage)
    return send_back(stage, rtp(stage), mine, client, patient=True)


@relayed(
    Rule(
        "relay/recovery/uplink-after-the-downlink",
        "A flow that the node's packet has made again is a flow: the client's media follows it.",
        traps=("Facts",),
    ),
    sends="media of a node to its client after a restart, and then the client's",
    oracle=PASSES,
)
def uplink_after_the_downlink(stage: RelayStage) -> Observed:
    node, client, mine = _forgotten(stage)
    _healed(stage, mine, client)
    return silent_or_dead(stage, route(stage, rtp(stage), client, node, patient=True), node)


@relayed(
    Rule(
        "relay/recovery/healed-is-owned",
        "A flow that a node's packet has made has an owner: another node does not reach that "
        "client.",
    ),
    sends="media of a node to its client after a restart, and then a packet of another node",
    oracle=REFUSED,
)
def healed_is_owned(stage: RelayStage) -> Observed:
    other = need_nodes(stage, 2)[1]
    node, client, mine = _forgotten(stage)
    _healed(stage, mine, client)
    payload = rtp(stage)
    stage.down_raw(forward.encode(client, stage.public) + payload, other, mine.inner)
    return refused_or_dead(stage, follow_back(stage, payload, client), node)


@relayed(
    Rule(
        "relay/recovery/stranger-on-the-leg",
        "A stranger's packet makes no flow and reaches nobody, though nobody has the client.",
    ),
    sends="a packet with a good header from another host after a restart",
    oracle=REFUSED,
)
def stranger_on_the_leg(stage: RelayStage) -> Observed:
    if stage.elsewhere is None:
        raise Unsupported("the harness has no second host to send from")
    node, client, mine = _forgotten(stage)
    payload, header = rtp(stage), forward.encode(client, stage.public)
    stage.down_raw(header + payload, stage.elsewhere(), mine.inner, "of a stranger")
    return refused_or_dead(stage, follow_back(stage, payload, client), node)


@relayed(
    Rule(
        "relay/recovery/release-heals-nothing",
        "A release of a client that nobody has makes nothing, and the client hears nothing of it.",
        level=Level.SHOULD,
    ),
    sends="a release after a restart, and then RTP of the client",
    oracle=STOPS,
)
def release_heals_nothing(stage: RelayStage) -> Observed:
    node, client, mine = _forgotten(stage)
    release(stage, mine)
    return route_none(stage, (rtp(stage),), client, node)


@relayed(
    Rule(
        "relay/recovery/media-of-a-forgotten-client",
        "After a restart media of a client that the relay had known reaches its own node, out of a "
        "store, or goes nowhere until there is a check.",
        traps=("Facts",),
    ),
    sends="RTP after a restart",
    oracle=MAY_PASS,
)
def media_of_a_forgotten_client(stage: RelayStage) -> Observed:
    node, client, _ = _forgotten(stage)
    return silent_or_dead(stage, route(stage, rtp(stage), client, node), node)


@relayed(
    Rule(
        "relay/recovery/media-of-a-stranger",
        "After a restart as before it, a stranger's media goes nowhere.",
    ),
    sends="RTP, with a source that was known before the restart, from a new socket",
    oracle=STOPS,
)
def media_of_a_stranger(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    source, client = drawn(stage), stage.client()
    flow(stage, stage.mint(node), client)
    teach(stage, source, client, node)
    _restarted(stage)
    return route_none(stage, (rtp(stage, source), dtls(stage)), stage.client(), node)


@relayed(
    Rule("relay/recovery/every-client", "All clients are served again, each by its own node."),
    sends="checks and RTP of six clients of two nodes after a restart",
    oracle=PASSES,
)
def every_client(stage: RelayStage) -> Observed:
    nodes = need_nodes(stage, 2)
    calls = [(stage.mint(nodes[turn % 2]), stage.client()) for turn in range(6)]
    for session, client in calls:
        flow(stage, session, client)
    _restarted(stage)
    for session, client in calls:
        packets = (stage.check(session), rtp(stage))
        told = route_each(stage, packets, client, session.node)
        if told[0] is not Routed.DELIVERED:
            return told
    return Routed.DELIVERED


@relayed(
    Rule(
        "relay/recovery/unknown-client",
        "What heals a call after a restart heals it at any time: a listed node reaches a client "
        "that nobody has.",
        level=Level.SHOULD,
    ),
    sends="media of a node to a client that has never sent anything",
    oracle=HEALS,
)
def unknown_client(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    mine = flow(stage, stage.mint(node), stage.client())
    return send_back(stage, rtp(stage), mine, stage.client(), patient=True)


@relayed(
    Rule(
        "relay/recovery/check-after-healing",
        "A client whose flow another node's packet has made is not lost to its own: its check goes "
        "where it says, and is answered.",
    ),
    sends="a packet of one node to an unknown client, and then that client's check for another",
    oracle=RETURNS,
)
def check_after_healing(stage: RelayStage) -> Observed:
    one, other = need_nodes(stage, 2)
    theirs, client = flow(stage, stage.mint(one), stage.client()), stage.client()
    send_back(stage, rtp(stage), theirs, client)
    mine = flow(stage, stage.mint(other), client)
    return send_back(stage, b"\x01\x01" + rtp(stage)[2:], mine, client, patient=True)


def _forgotten(stage: RelayStage) -> tuple[Node, Address, Delivery]:
    """A call, and a relay that was restarted after it."""
    (node,) = need_nodes(stage, 1)
    client = stage.client()
    mine = flow(stage, stage.mint(node), client)
    _restarted(stage)
    return node, client, mine


def _healed(stage: RelayStage, mine: Delivery, client: Address) -> None:
    told = send_back(stage, rtp(stage), mine, client, patient=True)
    if told[0] is not Returned.DELIVERED:
        raise Unsupported("does not make flows of what nodes send")
