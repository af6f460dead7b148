"""A node that has been drained: its directory says that it is to get no more calls.

What is up there goes on to its end, as far as the relay is concerned. Only who runs a relay can
drain a node of its directory, so these cases need a command that does it (``--drain``).
"""

from contextlib import AbstractContextManager

from conformance.case import Observed, Rule, Unsupported
from conformance.probe.routing import (
    PASSES,
    RETURNS,
    STOPS,
    flow,
    need_nodes,
    relayed,
    route,
    rtp,
    send_back,
    silent_or_dead,
)
from conformance.relay_stage import Node, RelayStage


@relayed(
    Rule(
        "relay/drain/no-new-calls",
        "A new client's check goes nowhere if its node has been drained; another node's does.",
    ),
    sends="a good check with the hint of a drained node, and one with another's",
    oracle=STOPS,
)
def no_new_calls(stage: RelayStage) -> Observed:
    gone, other = need_nodes(stage, 2)
    session = stage.mint(gone)
    with _drained(stage, gone):
        told = route(stage, stage.check(session), stage.client(), gone)
        return silent_or_dead(stage, told, other)


@relayed(
    Rule(
        "relay/drain/media-goes-on",
        "What a client of a drained node sends still reaches it: its call goes on.",
    ),
    sends="a good check, and RTP after its node has been drained",
    oracle=PASSES,
)
def media_goes_on(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    client = stage.client()
    flow(stage, stage.mint(node), client)
    with _drained(stage, node):
        return route(stage, rtp(stage), client, node, patient=True)


@relayed(
    Rule(
        "relay/drain/its-node-still-sends",
        "What a drained node sends still reaches its client.",
    ),
    sends="a good check, and a packet of its node after that has been drained",
    oracle=RETURNS,
)
def its_node_still_sends(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    client = stage.client()
    mine = flow(stage, stage.mint(node), client)
    with _drained(stage, node):
        return send_back(stage, rtp(stage), mine, client, patient=True)


@relayed(
    Rule(
        "relay/drain/comes-back",
        "A node that is active again after it had been drained gets calls again.",
    ),
    sends="a good check with the hint of a node that has been drained and is active again",
    oracle=PASSES,
)
def comes_back(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    with _drained(stage, node):
        stage.note("drained, and active again")
    return route(stage, stage.check(stage.mint(node)), stage.client(), node, patient=True)


def _drained(stage: RelayStage, node: Node) -> AbstractContextManager[None]:
    if stage.drained is None:
        raise Unsupported("nobody can drain a node of its directory (--drain)")
    return stage.drained(node)
