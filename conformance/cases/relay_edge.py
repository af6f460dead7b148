"""MESSAGE-INTEGRITY at the edge.

A relay that has the password key may hold checks to it before it makes state or lets a packet into
the private network. One that has not only routes, and the node verifies. Which of the two is asked
is what the stage says; the other question is unsupported.
"""

from collections.abc import Callable

from conformance.case import Case, Level, Observed, Rule, Unsupported
from conformance.probe.routing import (
    PASSES,
    STOPS,
    flow,
    lone,
    need_nodes,
    relayed,
    route,
    route_none,
    rtp,
    silent_or_dead,
)
from conformance.probe.stun_draft import Draft
from conformance.relay_stage import RelayStage, Session
from stunroute import stun

WRONG = b"not the password of this session"


def _need_edge(stage: RelayStage) -> None:
    if not stage.verifies:
        raise Unsupported("is not said to verify checks (--verifies)")


def _unproved(rule: Rule, sends: str, end: Callable[[Draft, Session], Draft]) -> Case:
    """A check with a good hint and no good proof, to a relay that verifies."""

    def packet(stage: RelayStage, session: Session) -> bytes:
        _need_edge(stage)
        draft = Draft(stage.entropy(12))
        draft.add(stun.Attribute.USERNAME, session.ufrag + b":peer")
        draft.add(stun.Attribute.PRIORITY, bytes(4))
        draft.add(stun.Attribute.ICE_CONTROLLING, bytes(8))
        return end(draft, session).close().message()

    return lone(rule, sends=sends, oracle=STOPS, packet=packet)


UNPROVED = (
    _unproved(
        Rule(
            "relay/edge/wrong-password",
            "A relay that verifies lets a check in only if it is signed with the session's "
            "password.",
            requirements=("rfc8445/7.3/2",),
            traps=("STUN and ICE 5",),
        ),
        "a check with a good hint, signed with another password",
        lambda draft, session: draft.sign(WRONG),
    ),
    _unproved(
        Rule(
            "relay/edge/password-of-another-session",
            "Each session has a password of its own.",
            requirements=("rfc8445/7.3/2",),
            traps=("STUN and ICE 5",),
        ),
        "a check with a good hint, signed with its ufrag",
        lambda draft, session: draft.sign(session.ufrag),
    ),
    _unproved(
        Rule(
            "relay/edge/unsigned",
            "A check that bears no integrity is not authentic.",
            requirements=("rfc8445/7.3/2",),
            traps=("STUN and ICE 5",),
        ),
        "a check with a good hint and no MESSAGE-INTEGRITY",
        lambda draft, session: draft,
    ),
    _unproved(
        Rule(
            "relay/edge/one-bit-of-the-hash",
            "Every bit of the hash counts.",
            requirements=("rfc8445/7.3/2",),
            traps=("STUN and ICE 5",),
        ),
        "a check with the last bit of MESSAGE-INTEGRITY turned over",
        lambda draft, session: draft.sign(session.password, flipped=True),
    ),
    _unproved(
        Rule(
            "relay/edge/short-hash",
            "MESSAGE-INTEGRITY has twenty bytes, and fewer prove nothing.",
            requirements=("rfc8445/7.3/2",),
            traps=("STUN and ICE 5",),
        ),
        "a check with the first four bytes of its hash",
        lambda draft, session: draft.sign(session.password, size=4),
    ),
    _unproved(
        Rule(
            "relay/edge/empty-hash",
            "A hash of no bytes proves nothing.",
            requirements=("rfc8445/7.3/2",),
            traps=("STUN and ICE 5",),
        ),
        "a check with a MESSAGE-INTEGRITY of no bytes",
        lambda draft, session: draft.sign(session.password, size=0),
    ),
    _unproved(
        Rule(
            "rfc8489/14.6/relay-short-sha256",
            "MESSAGE-INTEGRITY-SHA256 of fewer than sixteen bytes proves nothing.",
            requirements=("rfc8489/14.6/1",),
            traps=("STUN and ICE 5",),
        ),
        "a check with the first twelve bytes of its SHA-256",
        lambda draft, session: draft.sign_sha256(session.password, size=12),
    ),
    _unproved(
        Rule(
            "rfc8489/14.6/relay-unaligned-sha256",
            "The length of MESSAGE-INTEGRITY-SHA256 is a multiple of four, and any other proves "
            "nothing.",
            requirements=("rfc8489/14.6/1",),
            traps=("STUN and ICE 5",),
        ),
        "a check with the first eighteen bytes of its SHA-256",
        lambda draft, session: draft.sign_sha256(session.password, size=18),
    ),
    _unproved(
        Rule(
            "rfc8489/14.6/relay-sha256-of-nothing",
            "A MESSAGE-INTEGRITY-SHA256 that is wrong is not made good by its length.",
            requirements=("rfc8489/14.6/1",),
            traps=("STUN and ICE 5",),
        ),
        "a check with 32 bytes of SHA-256 under another password",
        lambda draft, session: draft.sign_sha256(WRONG),
    ),
)


@relayed(
    Rule(
        "relay/edge/unproved-makes-no-flow",
        "A check that does not verify leaves nothing behind.",
        requirements=("rfc8445/7.3/2",),
        traps=("STUN and ICE 5",),
    ),
    sends="a check with a wrong password, and then RTP from the same socket",
    oracle=STOPS,
)
def unproved_makes_no_flow(stage: RelayStage) -> Observed:
    _need_edge(stage)
    (node,) = need_nodes(stage, 1)
    client = stage.client()
    stage.up(stage.check(stage.mint(node), password=WRONG), client, "forged")
    return route_none(stage, (rtp(stage),), client, node)


@relayed(
    Rule(
        "relay/edge/unproved-during-a-call",
        "A check that does not verify is refused from a known client as well, whatever node it "
        "names, and the call goes on.",
        requirements=("rfc8445/7.3/2",),
        traps=("STUN and ICE 5",),
    ),
    sends="checks with wrong passwords and hints of two nodes from a known client, and then RTP",
    oracle=PASSES,
)
def unproved_during_a_call(stage: RelayStage) -> Observed:
    _need_edge(stage)
    one, other = need_nodes(stage, 2)
    session, client = stage.mint(one), stage.client()
    flow(stage, session, client)
    for each in (session, stage.mint(one), stage.mint(other)):
        stage.up(stage.check(each, password=WRONG), client, "forged")
    return silent_or_dead(stage, route(stage, rtp(stage), client, one, patient=True), one)


@relayed(
    Rule(
        "relay/edge/sha256",
        "A check that proves itself by MESSAGE-INTEGRITY-SHA256 alone is let in.",
        level=Level.MAY,
    ),
    sends="a check with MESSAGE-INTEGRITY-SHA256 of 32 bytes and no MESSAGE-INTEGRITY",
    oracle=PASSES,
)
def sha256(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    session = stage.mint(node)
    draft = Draft(stage.entropy(12)).add(stun.Attribute.USERNAME, session.ufrag + b":peer")
    data = draft.sign_sha256(session.password).close().message()
    return route(stage, data, stage.client(), node, patient=True)


@relayed(
    Rule(
        "relay/edge/left-to-the-node",
        "A relay that does not verify delivers a check whatever its proof: the node decides.",
    ),
    sends="a check with a wrong password",
    oracle=PASSES,
)
def left_to_the_node(stage: RelayStage) -> Observed:
    if stage.verifies:
        raise Unsupported("it verifies checks itself")
    (node,) = need_nodes(stage, 1)
    data = stage.check(stage.mint(node), password=WRONG)
    return route(stage, data, stage.client(), node, patient=True)
