"""Where a relay sends a client's packets.

A check goes where its hint says, and what follows from the same address goes after it. These are
the plain cases, which everything else in the ``relay_`` files varies.
"""

from collections.abc import Callable

from conformance.case import Blocked, Level, Observed, Rule
from conformance.probe.routing import (
    MAY_PASS,
    PASSES,
    STOPS,
    Routed,
    drawn,
    dtls,
    flow,
    indication,
    lone,
    need_nodes,
    relayed,
    response,
    route,
    route_each,
    route_none,
    rtcp,
    rtp,
    silent_or_dead,
)
from conformance.relay_stage import Delivery, RelayStage

SMALL = (1, 2, 3, 4, 11, 12, 19, 20, 37, 38, 39, 255, 256, 576, 1024, 1199, 1200)
"""What any WebRTC client sends, and the sizes at which headers begin and end."""
LARGE = (1201, 1232, 1252, 1280, 1400, 1434, 1435, 1471, 1472)
"""Up to what fits one Ethernet frame over IPv4."""


@relayed(
    Rule(
        "relay/routing/first-check",
        "A new client's check goes to the node that its hint names, unchanged, behind a header "
        "that names the client and the public address.",
        requirements=("rfc8445/7.3/1",),
    ),
    sends="a signed check whose USERNAME begins with a hint",
    oracle=PASSES,
)
def first_check(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    data = stage.check(stage.mint(node))
    return route(stage, data, stage.client(), node, patient=True)


@relayed(
    Rule("relay/routing/each-node", "Checks of different clients go each to its own node."),
    sends="two clients' checks with hints of two nodes",
    oracle=PASSES,
)
def each_node(stage: RelayStage) -> Observed:
    for node in need_nodes(stage, 2):
        data = stage.check(stage.mint(node))
        told = route(stage, data, stage.client(), node, patient=True)
        if told[0] is not Routed.DELIVERED:
            return told
    return Routed.DELIVERED


@relayed(
    Rule(
        "relay/routing/two-ports-of-one-host",
        "Two clients at one address are told apart by their ports: each one's media goes to its "
        "own node.",
    ),
    sends="checks of two sockets with hints of two nodes, and then RTP from each",
    oracle=PASSES,
)
def two_ports(stage: RelayStage) -> Observed:
    calls = [(node, stage.client()) for node in need_nodes(stage, 2)]
    for node, client in calls:
        flow(stage, stage.mint(node), client)
    for node, client in (*calls, *reversed(calls)):
        told = route(stage, rtp(stage), client, node, patient=True)
        if told[0] is not Routed.DELIVERED:
            return told
    return Routed.DELIVERED


@relayed(
    Rule(
        "relay/routing/stranger-media",
        "RTP of a client that has no flow, and whose source nobody knows, goes nowhere.",
    ),
    sends="an RTP packet from a new socket",
    oracle=STOPS,
)
def stranger_media(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    return silent_or_dead(stage, route(stage, rtp(stage), stage.client(), node), node)


@relayed(
    Rule(
        "relay/routing/media-follows-the-check",
        "What is not STUN follows the flow that a check has made.",
    ),
    sends="a check, and then RTP from the same socket",
    oracle=PASSES,
)
def media_follows(stage: RelayStage) -> Observed:
    node = need_nodes(stage, 2)[1]
    client = stage.client()
    flow(stage, stage.mint(node), client)
    return silent_or_dead(stage, route(stage, rtp(stage), client, node, patient=True), node)


@relayed(
    Rule(
        "relay/routing/media-before-the-answer",
        "A flow does not wait for the owner's answer: what follows a good check closely goes where "
        "the check went.",
        level=Level.SHOULD,
        traps=("DTLS 4",),
    ),
    sends="a check and DTLS right behind it",
    oracle=PASSES,
)
def media_before_the_answer(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    client = stage.client()
    told = route(stage, stage.check(stage.mint(node)), client, node, patient=True)
    if told[0] is not Routed.DELIVERED:
        raise Blocked("a good check does not get through")
    return route(stage, dtls(stage), client, node, patient=True)


@relayed(
    Rule(
        "relay/routing/every-small-size",
        "Payloads of any size that clients use arrive byte for byte.",
    ),
    sends="packets of 1 to 1,200 bytes over one flow",
    oracle=PASSES,
)
def every_small_size(stage: RelayStage) -> Observed:
    return _sizes(stage, SMALL)


@relayed(
    Rule(
        "relay/routing/a-full-frame",
        "A client's largest datagram over Ethernet arrives whole, though the header of the leg "
        "makes it larger than a frame.",
        level=Level.SHOULD,
    ),
    sends="packets of 1,201 to 1,472 bytes over one flow",
    oracle=PASSES,
)
def a_full_frame(stage: RelayStage) -> Observed:
    return _sizes(stage, LARGE)


def _sizes(stage: RelayStage, sizes: tuple[int, ...]) -> Observed:
    (node,) = need_nodes(stage, 1)
    client = stage.client()
    flow(stage, stage.mint(node), client)
    packets = ((b"\x80" + stage.entropy(size))[:size] for size in sizes)
    return route_each(stage, packets, client, node)


@relayed(
    Rule(
        "relay/routing/an-empty-datagram",
        "An empty datagram is not forwarded: on the leg it would be a header that carries nothing. "
        "The flow goes on.",
        level=Level.SHOULD,
    ),
    sends="an empty datagram from a known client, and then RTP",
    oracle=PASSES,
)
def an_empty_datagram(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    client = stage.client()
    flow(stage, stage.mint(node), client)
    stage.up(b"", client, "nothing")
    return silent_or_dead(stage, route(stage, rtp(stage), client, node, patient=True), node)


empty_datagram_of_a_stranger = lone(
    Rule(
        "relay/routing/an-empty-datagram-of-a-stranger",
        "An empty datagram of a client that has no flow goes nowhere.",
    ),
    sends="an empty datagram from a new socket",
    oracle=STOPS,
    packet=lambda stage, session: b"",
)


@relayed(
    Rule(
        "relay/routing/stun-of-a-known-client",
        "Responses and indications name nobody, and follow the flow.",
        traps=("Facts",),
    ),
    sends="a success response, and an indication that bears FINGERPRINT alone, from a known client",
    oracle=PASSES,
)
def stun_of_a_known_client(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    client = stage.client()
    flow(stage, stage.mint(node), client)
    return route_each(stage, (response(stage), indication(stage)), client, node)


@relayed(
    Rule(
        "relay/routing/stun-of-a-stranger",
        "Responses and indications of a client that has no flow go nowhere.",
        traps=("STUN and ICE 4",),
    ),
    sends="a success response and an indication from a new socket",
    oracle=STOPS,
)
def stun_of_a_stranger(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    packets = (response(stage), indication(stage))
    return route_none(stage, packets, stage.client(), node)


@relayed(
    Rule(
        "relay/routing/checks-during-the-call",
        "Checks go on for as long as a call does, and so does their way to its node.",
        requirements=("rfc8445/11/13",),
    ),
    sends="checks and RTP in turn",
    oracle=PASSES,
)
def checks_during_the_call(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    session, client = stage.mint(node), stage.client()
    flow(stage, session, client)
    packets = [make for _ in range(4) for make in (stage.check(session), rtp(stage))]
    return route_each(stage, packets, client, node)


@relayed(
    Rule(
        "relay/routing/one-inner-address",
        "A client's packets come to its node from one address of the relay, whatever they are.",
    ),
    sends="a check, DTLS, RTP, RTCP and a check again",
    oracle=PASSES,
)
def one_inner_address(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    session, client = stage.mint(node), stage.client()
    first = flow(stage, session, client)
    source = drawn(stage)
    packets = (dtls(stage), rtp(stage, source), rtcp(stage, source), stage.check(session))
    for data in packets:
        stage.up(data, client)
        came = [each for each in stage.some(stage.patience * 4) if isinstance(each, Delivery)]
        if not came:
            return Routed.NOWHERE, data[:4].hex()
        if any(each.node != node for each in came):
            return Routed.ELSEWHERE
        if any(each.inner != first.inner for each in came):
            return Routed.ALTERED, f"{came[0].inner} after {first.inner}"
    return Routed.DELIVERED


@relayed(
    Rule(
        "relay/routing/other-protocols-of-a-known-client",
        "What is neither STUN, DTLS nor RTP may follow the flow of a known client, and does "
        "nothing else.",
    ),
    sends="a QUIC, a ZRTP and a TURN channel packet from a known client",
    oracle=MAY_PASS,
)
def other_protocols(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    client = stage.client()
    flow(stage, stage.mint(node), client)
    told: tuple[Routed, str] = (Routed.NOWHERE, "")
    for first in (0x10, 0x40, 0x50, 0xC0):
        told = route(stage, bytes([first]) + stage.entropy(30), client, node)
        if told[0] not in MAY_PASS.good:
            return told
    return silent_or_dead(stage, told, node)


@relayed(
    Rule(
        "relay/routing/five-seconds-without-a-packet",
        "A client may leave five seconds between its packets and still has its flow.",
    ),
    sends="RTP 5.5 s after the last check",
    oracle=PASSES,
    lasts=5.5,
)
def five_seconds(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    client = stage.client()
    flow(stage, stage.mint(node), client)
    stage.all(5.5)
    return silent_or_dead(stage, route(stage, rtp(stage), client, node, patient=True), node)


@relayed(
    Rule(
        "relay/routing/media-keeps-the-flow",
        "A client that sends no STUN after nomination keeps its flow by its media.",
        traps=("Facts",),
    ),
    sends="RTP every 5 s for 70 s, and no check after the first",
    oracle=PASSES,
    lasts=70.0,
)
def media_keeps_the_flow(stage: RelayStage) -> Observed:
    return _keeps_the_flow(stage, rtp)


@relayed(
    Rule(
        "relay/routing/indications-keep-the-flow",
        "A client that sends nothing but indications after nomination keeps its flow by them.",
        level=Level.SHOULD,
        traps=("Facts",),
    ),
    sends="a bare indication every 5 s for 70 s",
    oracle=PASSES,
    lasts=70.0,
)
def indications_keep_the_flow(stage: RelayStage) -> Observed:
    return _keeps_the_flow(stage, indication)


def _keeps_the_flow(stage: RelayStage, make: Callable[[RelayStage], bytes]) -> Observed:
    """One packet every 5 s for 70 s, until one does not arrive."""
    (node,) = need_nodes(stage, 1)
    client = stage.client()
    flow(stage, stage.mint(node), client)
    for _ in range(14):
        stage.all(5.0)
        told = route(stage, make(stage), client, node, patient=True)
        if told[0] is not Routed.DELIVERED:
            return told
    return Routed.DELIVERED


@relayed(
    Rule(
        "relay/routing/a-forgotten-client",
        "A flow that nobody has used for minutes is forgotten: the address may be somebody else's "
        "by then.",
        level=Level.SHOULD,
    ),
    sends="RTP a minute and a half after the last packet either way",
    oracle=STOPS,
    lasts=90.0,
)
def a_forgotten_client(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    client = stage.client()
    flow(stage, stage.mint(node), client)
    stage.all(90.0)
    return silent_or_dead(stage, route(stage, rtp(stage), client, node), node)
