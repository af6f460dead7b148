"""What strangers do to a relay, and that nobody else notices.

The numbers are small: a suite is no flood. They are large enough to show a relay that answers,
that stops, or that lets a stranger's packets touch a live call.
"""

from conformance.case import Observed, Rule
from conformance.probe import hints
from conformance.probe.routing import (
    PASSES,
    RETURNS,
    STOPS,
    Returned,
    Routed,
    flow,
    indication,
    is_alive,
    need_nodes,
    relayed,
    response,
    route,
    route_none,
    rtp,
    send_back,
    silent_or_dead,
)
from conformance.probe.stun_draft import Draft
from conformance.relay_stage import Delivery, Node, Reception, RelayStage
from stunroute import stun
from stunroute.address import Address

FLOOD = 300
SOCKETS = 6


def _forgeries(stage: RelayStage, number: int) -> list[bytes]:
    """Checks with ufrags that nobody has minted."""
    forged = []
    for turn in range(number):
        ufrag = b"abcdef0123"[turn % 10 :][:1] + stage.entropy(13).hex()[:25].encode()
        draft = Draft(stage.entropy(12)).add(stun.Attribute.USERNAME, ufrag + b":peer")
        forged.append(draft.sign(stage.entropy(16)).close().message())
    return forged


@relayed(
    Rule(
        "relay/hostile/no-reflection",
        "A relay answers nobody: whatever a stranger sends, nothing comes back.",
        requirements=("rfc8445/7.3/7",),
        traps=("STUN and ICE 4", "STUN and ICE 5"),
    ),
    sends="requests, responses, broken STUN, TURN, DTLS, QUIC, RTP and RTCP from a stranger",
    oracle=STOPS,
)
def no_reflection(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    ask = stun.MessageClass.REQUEST
    packets = [
        stun.build(method, ask, stage.entropy(12)) for method in (0x001, 0x003, 0x004, 0x008)
    ]
    packets += [packets[0][:-8], response(stage), indication(stage)]
    packets += _forgeries(stage, 4)
    packets += [
        bytes([first]) + stage.entropy(60) for first in (4, 16, 22, 23, 64, 80, 128, 129, 192, 255)
    ]
    return route_none(stage, packets, stage.client(), node)


@relayed(
    Rule(
        "relay/hostile/short-datagrams",
        "Datagrams shorter than a STUN header are nothing.",
        traps=("STUN and ICE 1",),
    ),
    sends="the first 1 to 24 bytes of a check",
    oracle=STOPS,
)
def short_datagrams(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    check = stage.check(stage.mint(node))
    packets = [check[:size] for size in range(1, 25)]
    return route_none(stage, packets, stage.client(), node)


@relayed(
    Rule(
        "relay/hostile/unknown-ufrags",
        "A run of checks with unknown ufrags reaches nobody, and the relay serves on: a new call "
        "begins, and a live one does not notice.",
        traps=("STUN and ICE 10",),
    ),
    sends="300 checks with unknown ufrags from six sockets, and RTP of a live call",
    oracle=PASSES,
)
def unknown_ufrags(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    client = stage.client()
    flow(stage, stage.mint(node), client)
    strangers = [stage.client() for _ in range(SOCKETS)]
    for turn, data in enumerate(_forgeries(stage, FLOOD)):
        stage.up(data, strangers[turn % SOCKETS])
    return _goes_on(stage, client, node)


@relayed(
    Rule(
        "relay/hostile/noise",
        "Noise of every length and first byte changes nothing for a live call.",
    ),
    sends="200 datagrams of drawn bytes from a stranger, and RTP of a live call",
    oracle=PASSES,
)
def noise(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    client, stranger = stage.client(), stage.client()
    flow(stage, stage.mint(node), client)
    for turn in range(200):
        stage.up(stage.entropy(1 + turn * 7 % 300), stranger)
    return _goes_on(stage, client, node)


@relayed(
    Rule(
        "relay/hostile/broken-stun-of-a-known-client",
        "Broken STUN from a client's own address does not end its flow: anybody can forge that.",
        traps=("STUN and ICE 1", "STUN and ICE 5"),
    ),
    sends="cut, lengthened and falsely named checks from a known client, and then its RTP",
    oracle=PASSES,
)
def broken_stun_of_a_known_client(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    session, client = stage.mint(node), stage.client()
    flow(stage, session, client)
    check = stage.check(session)
    for data in (b"\0", check[:19], check[:20], check[:-4], check + bytes(4), b"\3" + check[1:]):
        stage.up(data, client, "broken")
    for data in _forgeries(stage, 20):
        stage.up(data, client, "unknown")
    return _goes_on(stage, client, node)


@relayed(
    Rule(
        "relay/hostile/hints-of-every-length",
        "USERNAMEs of every length up to the longest are read without harm.",
        traps=("STUN and ICE 2",),
    ),
    sends="checks with USERNAMEs of 0 to 763 bytes and beyond, and RTP of a live call",
    oracle=PASSES,
)
def hints_of_every_length(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    session, client, stranger = stage.mint(node), stage.client(), stage.client()
    flow(stage, session, client)
    for size in (*range(40), 63, 64, 127, 128, 255, 256, 511, 512, 762, 764, 1024, 1300):
        name = hints.unknown_identifier(stage) + b"0" * size
        draft = Draft(stage.entropy(12)).add(stun.Attribute.USERNAME, name[:size])
        stage.up(draft.sign(session.password).close().message(), stranger)
    return _goes_on(stage, client, node)


@relayed(
    Rule(
        "relay/hostile/lengths-that-lie",
        "Attributes that claim more than there is, one after the other, are read without harm.",
        traps=("STUN and ICE 1",),
    ),
    sends="a check with the length of each attribute in turn set to 0xffff, 0xfffd and one more",
    oracle=STOPS,
)
def lengths_that_lie(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    session = stage.mint(node)
    packets = []
    for claimed in (0xFFFF, 0xFFFD, 0xFFFC, 0x8000, 0x0400):
        draft = Draft(stage.entropy(12)).add(0xC0DE, b"four", length=claimed)
        draft.add(stun.Attribute.USERNAME, session.ufrag + b":peer")
        packets.append(draft.sign(session.password).close().message())
    return route_none(stage, packets, stage.client(), node)


@relayed(
    Rule(
        "relay/hostile/check-from-many-addresses",
        "A check that was recorded and is sent again from elsewhere takes nothing from the client: "
        "its node still reaches it.",
        traps=("STUN and ICE 5",),
    ),
    sends="the check of a live session from twenty other sockets, and media of the node",
    oracle=RETURNS,
)
def check_from_many_addresses(stage: RelayStage) -> Observed:
    (node,) = need_nodes(stage, 1)
    session, client = stage.mint(node), stage.client()
    mine = flow(stage, session, client)
    for _ in range(20):
        stage.up(mine.payload, stage.client(), "sent again")
    if any(isinstance(each, Reception) for each in stage.some()):
        return Returned.ELSEWHERE, "the relay has answered"
    return send_back(stage, rtp(stage), mine, client, patient=True)


def _goes_on(stage: RelayStage, client: Address, node: Node) -> Observed:
    """After what strangers have sent: what has come of it, and whether a live call and a new one
    are served. What came from the client's own address may have reached its own node."""
    for each in stage.all():
        match each:
            case Reception():
                return Routed.ANSWERED, f"{len(each.payload)} bytes"
            case Delivery() if each.node != node or each.leg is None or each.leg.client != client:
                return Routed.ELSEWHERE, f"a stranger's {each.payload[:4].hex()} was delivered"
    told = route(stage, rtp(stage), client, node, patient=True)
    if told[0] is Routed.DELIVERED and not is_alive(stage, node):
        return Routed.DEAD, "to new calls"
    return silent_or_dead(stage, told, node)
