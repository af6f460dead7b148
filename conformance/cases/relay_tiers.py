"""Two tiers: a relay in front, which the harness plays, hands on what it receives.

It sends with the header of the leg, as a relay does to a node, and the relay behind treats it as
what came to a public address of that one. The answers go back the same way. Only who runs a relay
can have it know of another one in front, so these cases need to be told that it does
(``--upstream``).
"""

from attrs import frozen

from conformance.case import Blocked, Observed, Rule, Unsupported
from conformance.probe.routing import (
    PASSES,
    PATIENT,
    REFUSED,
    RETURNS,
    STOPS,
    TRIES,
    Returned,
    Routed,
    flow,
    follow,
    need_nodes,
    refused_or_dead,
    relayed,
    rtp,
    silent_or_dead,
)
from conformance.relay_stage import Node, Reception, RelayStage, Session, Upstream
from stunroute import forward, stun
from stunroute.address import Address


@frozen(slots=True)
class Front:
    """The relay in front, a client that has sent to it as far as anybody can know, and the inner
    address of the relay that is asked."""

    stage: RelayStage
    upstream: Upstream
    inner: Address
    client: Address

    @property
    def header(self) -> bytes:
        """Of that client's packets."""
        return forward.encode(self.client, self.upstream.public)


@relayed(
    Rule(
        "relay/tiers/header-goes-through",
        "A check that a relay in front has received goes to the node that its hint names, behind "
        "the header that it came with.",
    ),
    sends="a good check behind a header that names a public address of the relay in front",
    oracle=PASSES,
)
def header_goes_through(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    front = _front(stage, node)
    return _handed(front, stage.check(stage.mint(node)), node)


@relayed(
    Rule(
        "relay/tiers/media-follows",
        "What is not STUN follows the check, through the relay in front as without one.",
    ),
    sends="a good check and then RTP, both handed on by the relay in front",
    oracle=PASSES,
)
def media_follows(stage: RelayStage) -> Observed:
    node = need_nodes(stage, 2)[1]
    front = _front(stage, node)
    _flow(front, stage.mint(node))
    return _handed(front, rtp(stage), node)


@relayed(
    Rule(
        "relay/tiers/answers-go-back-the-same-way",
        "What a node sends to a client of the relay in front goes to that relay's inner address, "
        "header and all, and to nobody else.",
    ),
    sends="packets of a node whose headers name the public address of the relay in front",
    oracle=RETURNS,
)
def answers_go_back(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    front = _front(stage, node)
    _flow(front, stage.mint(node))
    return _back(front, rtp(stage), node)


@relayed(
    Rule(
        "relay/tiers/release-is-handed-on",
        "A node's release of a client of the relay in front is handed on to that relay, whose flow "
        "is to end too.",
    ),
    sends="a header without payload that names the public address of the relay in front",
    oracle=RETURNS,
)
def release_is_handed_on(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    front = _front(stage, node)
    _flow(front, stage.mint(node))
    return _back(front, b"", node)


@relayed(
    Rule(
        "relay/tiers/only-the-relay-in-front-speaks-for-it",
        "A stranger's packet is not taken for one of the relay in front, whatever its header says.",
    ),
    sends="a good check behind a header of the relay in front, from another socket",
    oracle=STOPS,
)
def only_the_relay_in_front(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    front = _front(stage, node)
    stranger = stage.client()
    data = stage.check(stage.mint(node))
    stage.down_raw(front.header + data, stranger, front.inner, "of a stranger")
    told = follow(stage, data, front.client, node, to=front.upstream.public)
    return silent_or_dead(stage, told, node)


@relayed(
    Rule(
        "relay/tiers/it-speaks-for-itself-alone",
        "The relay in front speaks for its own public addresses: not for those of the relay "
        "behind, whose clients come to that one themselves.",
    ),
    sends="a good check behind a header that names a public address of the relay behind",
    oracle=STOPS,
)
def it_speaks_for_itself_alone(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    front = _front(stage, node)
    data = stage.check(stage.mint(node))
    header = forward.encode(front.client, stage.public)
    stage.down_raw(header + data, front.upstream.node, front.inner, "for another's address")
    return silent_or_dead(stage, follow(stage, data, front.client, node), node)


@relayed(
    Rule(
        "relay/tiers/another-nodes-client",
        "A node does not reach another node's client, through two relays as through one.",
    ),
    sends="a packet to a client of the relay in front, from a node that it has never asked",
    oracle=REFUSED,
)
def another_nodes_client(stage: RelayStage) -> Observed:
    one, other = need_nodes(stage, 2)
    front = _front(stage, one)
    _flow(front, stage.mint(one))
    told = _back(front, rtp(stage), other, patient=False)
    return refused_or_dead(stage, told, one)


def _front(stage: RelayStage, node: Node) -> Front:
    """Raises Unsupported, Blocked."""
    if stage.upstream is None:
        raise Unsupported("it knows of no relay in front of it (--upstream)")
    inner = flow(stage, stage.mint(node), stage.client()).inner
    return Front(stage, stage.upstream, inner, stage.client())


def _handed(front: Front, data: bytes, node: Node) -> tuple[Routed, str]:
    """What becomes of a packet that the relay in front hands on."""
    stage, upstream = front.stage, front.upstream
    stage.down_raw(front.header + data, upstream.node, front.inner, "handed on")
    return follow(stage, data, front.client, node, patient=True, to=upstream.public)


def _flow(front: Front, session: Session) -> None:
    """A good check of the client in front, and its node's answer. Raises Blocked."""
    stage = front.stage
    for _ in range(TRIES):
        data = stage.check(session)
        if _handed(front, data, session.node)[0] is Routed.DELIVERED:
            break
    else:
        raise Blocked("a good check of the relay in front does not get through")
    key = stun.IntegrityKey(session.password)
    success = stun.binding_success(stun.decode_untrusted(data), front.client, key)
    stage.down_raw(front.header + success, session.node, front.inner, "answer")
    stage.some()


def _back(
    front: Front, payload: bytes, node: Node, *, patient: bool = True
) -> tuple[Returned, str]:
    """What becomes of a packet of a node to the client in front."""
    stage, upstream = front.stage, front.upstream
    stage.down_raw(front.header + payload, node, front.inner)
    came = stage.some(stage.patience * (PATIENT if patient else 1))
    if not came:
        return Returned.NOWHERE, ""
    for each in came:
        if isinstance(each, Reception):
            return Returned.ELSEWHERE, f"a client's port {each.client.port}"
        if each.node != upstream.node:
            return Returned.ELSEWHERE, "came back to a node"
        if each.leg is None or each.payload != payload:
            return Returned.ALTERED, f"{len(each.payload)} bytes for {len(payload)}"
        if each.leg != forward.Leg(front.client, upstream.public):
            return Returned.FOREIGN, f"for {each.leg.client}, from {each.leg.proxy}"
    return (Returned.TWICE, f"{len(came)} times") if len(came) > 1 else (Returned.DELIVERED, "")
