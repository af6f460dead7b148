"""Two sessions that have one client address.

A client may use a port again for its next call, or restart ICE towards another node from the
address it has. Anybody may forge that address. So a check goes where its own hint says, and the
flow moves only when the call that has it is over.
"""

from conformance.case import Blocked, Level, Observed, Rule
from conformance.probe.routing import (
    PASSES,
    RETURNS,
    STOPS,
    Returned,
    Routed,
    answer,
    flow,
    follow_back,
    need_nodes,
    relayed,
    release,
    route,
    route_each,
    rtp,
    send_back,
    silent_or_dead,
)
from conformance.relay_stage import Delivery, RelayStage, Session
from stunroute.address import Address

TAKEOVER = 12.0
"""Seconds of silence after which an address may be another call's."""


def _contend(stage: RelayStage, session: Session, client: Address, *, answered: bool) -> Delivery:
    """A check of another session from an address that has a flow, and the answer to it. Raises
    Blocked."""
    stage.up(stage.check(session), client, "check of another session")
    for each in stage.some(stage.patience * 4):
        if isinstance(each, Delivery) and each.node == session.node:
            if answered:
                answer(stage, session, each)
                stage.some()
            return each
    raise Blocked("a check of another session does not reach its node")


@relayed(
    Rule(
        "relay/sharing/each-check-by-its-hint",
        "A check goes where its hint says, though its sender has a flow to another node.",
        traps=("STUN and ICE 8", "STUN and ICE 9"),
    ),
    sends="a check with a hint of a second node from an address that has a flow to the first",
    oracle=PASSES,
)
def each_check_by_its_hint(stage: RelayStage) -> Observed:
    one, other = need_nodes(stage, 2)
    session, client = stage.mint(one), stage.client()
    flow(stage, session, client)
    for each in (stage.mint(other), session, stage.mint(other), session):
        told = route(stage, stage.check(each), client, each.node, patient=True)
        if told[0] is not Routed.DELIVERED:
            return told
    return told


@relayed(
    Rule(
        "relay/sharing/check-does-not-move",
        "A check alone does not move a live call: whoever can forge an address could pull it away.",
        traps=("STUN and ICE 5", "STUN and ICE 9"),
    ),
    sends="a check with a hint of a second node, and then RTP from the same address",
    oracle=PASSES,
)
def check_does_not_move(stage: RelayStage) -> Observed:
    one, other = need_nodes(stage, 2)
    client = stage.client()
    flow(stage, stage.mint(one), client)
    _contend(stage, stage.mint(other), client, answered=False)
    return silent_or_dead(stage, route(stage, rtp(stage), client, one, patient=True), one)


@relayed(
    Rule(
        "relay/sharing/answer-does-not-move",
        "The second node's answer does not move a live call either: whoever forged the address "
        "has a good session too.",
        traps=("STUN and ICE 5", "STUN and ICE 9"),
    ),
    sends="a check with a hint of a second node, its success response, media of the first between "
    "them, and then RTP",
    oracle=PASSES,
)
def answer_does_not_move(stage: RelayStage) -> Observed:
    one, other = need_nodes(stage, 2)
    client = stage.client()
    mine = flow(stage, stage.mint(one), client)
    second = stage.mint(other)
    for _ in range(2):
        send_back(stage, rtp(stage), mine, client, patient=True)
        _contend(stage, second, client, answered=True)
    return silent_or_dead(stage, route(stage, rtp(stage), client, one, patient=True), one)


@relayed(
    Rule(
        "relay/sharing/downlink-of-the-first",
        "While another session knocks, the first node still reaches its client.",
        traps=("STUN and ICE 9",),
    ),
    sends="a check with a hint of a second node, and then media of the first",
    oracle=RETURNS,
)
def downlink_of_the_first(stage: RelayStage) -> Observed:
    one, other = need_nodes(stage, 2)
    client = stage.client()
    mine = flow(stage, stage.mint(one), client)
    _contend(stage, stage.mint(other), client, answered=True)
    return send_back(stage, rtp(stage), mine, client, patient=True)


@relayed(
    Rule(
        "relay/sharing/answer-of-the-second",
        "The second node's answer reaches the client that has asked it.",
        traps=("STUN and ICE 9",),
    ),
    sends="a check with a hint of a second node, and that node's success response",
    oracle=RETURNS,
)
def answer_of_the_second(stage: RelayStage) -> Observed:
    one, other = need_nodes(stage, 2)
    client, second = stage.client(), stage.mint(other)
    flow(stage, stage.mint(one), client)
    knock = _contend(stage, second, client, answered=False)
    return send_back(stage, b"\x01\x01" + rtp(stage)[2:], knock, client, patient=True)


@relayed(
    Rule(
        "relay/sharing/restart-on-the-same-node",
        "After an ICE restart the checks of both ufrags and all media reach the node, from the "
        "address that the client has had all along.",
        traps=("STUN and ICE 8",),
    ),
    sends="a check with a second hint of the same node, and then RTP and checks with both",
    oracle=PASSES,
)
def restart_on_the_same_node(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    old, new, client = stage.mint(node), stage.mint(node), stage.client()
    flow(stage, old, client)
    sessions = (new, old, new, new)
    packets = [data for each in sessions for data in (stage.check(each), rtp(stage))]
    return route_each(stage, packets, client, node)


@relayed(
    Rule(
        "relay/sharing/released-then-called",
        "When the first node has released the address, the next call from it is served at once.",
        level=Level.SHOULD,
        traps=("STUN and ICE 8", "STUN and ICE 9"),
    ),
    sends="a release, a check with a hint of a second node, and RTP",
    oracle=PASSES,
)
def released_then_called(stage: RelayStage) -> Observed:
    one, other = need_nodes(stage, 2)
    client = stage.client()
    release(stage, flow(stage, stage.mint(one), client))
    flow(stage, stage.mint(other), client)
    return silent_or_dead(stage, route(stage, rtp(stage), client, other, patient=True), other)


@relayed(
    Rule(
        "relay/sharing/called-then-released",
        "A call that waits for the address has it when the first node releases it.",
        level=Level.SHOULD,
        traps=("STUN and ICE 8", "STUN and ICE 9"),
    ),
    sends="a check with a hint of a second node, its answer, a release by the first, and RTP",
    oracle=PASSES,
)
def called_then_released(stage: RelayStage) -> Observed:
    one, other = need_nodes(stage, 2)
    client = stage.client()
    mine = flow(stage, stage.mint(one), client)
    _contend(stage, stage.mint(other), client, answered=True)
    release(stage, mine)
    stage.some()
    return silent_or_dead(stage, route(stage, rtp(stage), client, other, patient=True), other)


@relayed(
    Rule(
        "relay/sharing/after-a-silence",
        "When the first call has fallen silent, the second has the address once its node has "
        "answered.",
        level=Level.SHOULD,
        traps=("STUN and ICE 8",),
    ),
    sends="checks and answers of a second session for 12 s of the first one's silence, and RTP",
    oracle=PASSES,
    lasts=TAKEOVER,
)
def after_a_silence(stage: RelayStage) -> Observed:
    return _outlasted(stage, TAKEOVER)


@relayed(
    Rule(
        "relay/sharing/after-a-minute",
        "When the first call has been silent for more than a minute, the second has the address at "
        "the latest.",
        traps=("STUN and ICE 8",),
    ),
    sends="checks and answers of a second session for 75 s of the first one's silence, and RTP",
    oracle=PASSES,
    lasts=75.0,
)
def after_a_minute(stage: RelayStage) -> Observed:
    return _outlasted(stage, 75.0)


def _outlasted(stage: RelayStage, seconds: float) -> Observed:
    one, other = need_nodes(stage, 2)
    client, second = stage.client(), stage.mint(other)
    flow(stage, stage.mint(one), client)
    until = stage.now + seconds
    while stage.now < until:
        _contend(stage, second, client, answered=True)
        stage.all(2.5)
    _contend(stage, second, client, answered=True)
    return silent_or_dead(stage, route(stage, rtp(stage), client, other, patient=True), other)


@relayed(
    Rule(
        "relay/sharing/loser-hangs-up",
        "That the second session ends does not end the first.",
        traps=("STUN and ICE 9",),
    ),
    sends="a check with a hint of a second node, a release by that one, and RTP",
    oracle=PASSES,
)
def loser_hangs_up(stage: RelayStage) -> Observed:
    one, other = need_nodes(stage, 2)
    client = stage.client()
    flow(stage, stage.mint(one), client)
    release(stage, _contend(stage, stage.mint(other), client, answered=True))
    stage.some()
    return silent_or_dead(stage, route(stage, rtp(stage), client, one, patient=True), one)


@relayed(
    Rule(
        "relay/sharing/release-by-another-node",
        "A node that has no session with a client cannot release it.",
    ),
    sends="a release by a node that the client has never asked, and RTP",
    oracle=PASSES,
)
def release_by_another_node(stage: RelayStage) -> Observed:
    one, other = need_nodes(stage, 2)
    client = stage.client()
    release(stage, flow(stage, stage.mint(one), client), other)
    stage.some()
    return silent_or_dead(stage, route(stage, rtp(stage), client, one, patient=True), one)


@relayed(
    Rule(
        "relay/sharing/release-of-a-neighbour",
        "A release ends the flow of the client it names and nobody else's on that node.",
        traps=("STUN and ICE 9",),
    ),
    sends="a release of one of two clients of a node, and RTP of the other",
    oracle=PASSES,
)
def release_of_a_neighbour(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    gone, there = stage.client(), stage.client()
    mine = flow(stage, stage.mint(node), gone)
    flow(stage, stage.mint(node), there)
    release(stage, mine)
    stage.some()
    return silent_or_dead(stage, route(stage, rtp(stage), there, node, patient=True), node)


@relayed(
    Rule(
        "relay/sharing/released-is-unknown",
        "A client that was released is a stranger: its media goes nowhere.",
        level=Level.SHOULD,
    ),
    sends="a release, and RTP",
    oracle=STOPS,
)
def released_is_unknown(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    client = stage.client()
    release(stage, flow(stage, stage.mint(node), client))
    stage.some()
    return silent_or_dead(stage, route(stage, rtp(stage), client, node), node)


@relayed(
    Rule(
        "relay/sharing/release-is-silent",
        "A release is the relay's business: the client gets no empty datagram.",
        level=Level.SHOULD,
    ),
    sends="a release, and then media of the node to another of its clients",
    oracle=RETURNS,
)
def release_is_silent(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    gone, there = stage.client(), stage.client()
    mine = flow(stage, stage.mint(node), gone)
    flow(stage, stage.mint(node), there)
    release(stage, mine)
    payload = rtp(stage)
    stage.down(payload, mine, client=there)
    told = follow_back(stage, payload, there, patient=True)
    return told if told[0] is not Returned.NOWHERE else (Returned.DEAD, "")
