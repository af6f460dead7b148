"""What a relay makes of one packet, on its way up and on its way down.

A relay delivers it or it does not, and everything else that it could do is wrong. So cases about
relays share a few oracles, which are here, and ``relayed`` makes cases of them; where one packet is
all that is sent, ``lone`` does the rest as well.
"""

from collections.abc import Callable, Iterable

from conformance.case import (
    Blocked,
    Case,
    Observed,
    Oracle,
    Rule,
    Seen,
    Steps,
    Unsupported,
)
from conformance.relay_stage import Delivery, Node, Reception, RelayStage, Session
from stunroute import forward, stun
from stunroute.address import Address
from stunroute.errors import DecodeError

from .profiles import RELAY

TRIES = 4
PATIENT = 4
"""Times the stage's patience: what ought to arrive is waited for longer, since that costs nothing
when it does."""
SPREADS = 0.6
"""Seconds that the processes of one relay may take to tell each other of a source."""


class Routed(Seen):
    """What became of a packet that a client sent."""

    DELIVERED = "delivered to its node, whole, with a true header"
    ALTERED = "delivered to its node, changed or with a false header"
    ELSEWHERE = "delivered to another node"
    TWICE = "delivered more than once"
    ANSWERED = "answered to the client"
    NOWHERE = "delivered nowhere"
    DEAD = "delivered nowhere, nor is a good check afterwards"

    @property
    def is_grave(self) -> bool:
        return self in (Routed.ELSEWHERE, Routed.DEAD)


class Returned(Seen):
    """What became of a packet that a node sent towards a client."""

    DELIVERED = "delivered to its client, whole, from the public address"
    ALTERED = "delivered to its client, changed"
    FOREIGN = "delivered to its client from another address than the public one"
    ELSEWHERE = "delivered to somebody else"
    TWICE = "delivered more than once"
    NOWHERE = "delivered nowhere"
    DEAD = "delivered nowhere, nor is a good check afterwards"

    @property
    def is_grave(self) -> bool:
        return self in (Returned.ELSEWHERE, Returned.DEAD)


ASTRAY = (Routed.ALTERED, Routed.ELSEWHERE, Routed.TWICE, Routed.ANSWERED, Routed.DEAD)
"""Never right."""
PASSES = Oracle(good=(Routed.DELIVERED,), bad=(*ASTRAY, Routed.NOWHERE))
STOPS = Oracle(good=(Routed.NOWHERE,), bad=(*ASTRAY, Routed.DELIVERED))
MAY_PASS = Oracle(good=(Routed.DELIVERED, Routed.NOWHERE), bad=ASTRAY)
"""The node can judge it as well as the relay: what matters is that nothing else comes of it."""

ADRIFT = (
    Returned.ALTERED,
    Returned.FOREIGN,
    Returned.ELSEWHERE,
    Returned.TWICE,
    Returned.DEAD,
)
"""Never right on the way down."""
RETURNS = Oracle(good=(Returned.DELIVERED,), bad=(*ADRIFT, Returned.NOWHERE))
REFUSED = Oracle(good=(Returned.NOWHERE,), bad=(*ADRIFT, Returned.DELIVERED))


def relayed(
    rule: Rule, *, sends: str, oracle: Oracle, lasts: float = 0.0
) -> Callable[[Steps], Case]:
    """``rule.asked`` for a relay, by one of the oracles above."""
    return rule.asked(
        sends=sends,
        profiles=RELAY,
        good=oracle.good,
        bad=oracle.bad,
        lenient=oracle.lenient,
        lasts=lasts,
    )


def lone(
    rule: Rule, *, sends: str, oracle: Oracle, packet: Callable[[RelayStage, Session], bytes]
) -> Case:
    """A case of one packet: a new client sends what ``packet`` makes of a session on the first
    node."""

    @relayed(rule, sends=sends, oracle=oracle)
    def steps(stage: RelayStage) -> Observed:
        (node,) = need_nodes(stage, 1)
        patient = Routed.NOWHERE in oracle.bad
        data = packet(stage, stage.mint(node))
        told = route(stage, data, stage.client(), node, patient=patient)
        return silent_or_dead(stage, told, node)

    return steps


# Up


def route(
    stage: RelayStage,
    data: bytes,
    client: Address,
    node: Node,
    *,
    patient: bool = False,
    to: Address | None = None,
) -> tuple[Routed, str]:
    """Send ``data`` from a client's socket; what becomes of it, if it belongs to ``node``.
    ``patient``: it ought to arrive. ``to``: a public address, if not the first."""
    stage.up(data, client, to=to)
    return follow(stage, data, client, node, patient=patient, to=to)


def follow(
    stage: RelayStage,
    data: bytes,
    client: Address,
    node: Node,
    *,
    patient: bool = False,
    to: Address | None = None,
) -> tuple[Routed, str]:
    """What becomes of a packet that has just been sent."""
    came = stage.some(stage.patience * (PATIENT if patient else 1))
    answers = [each for each in came if isinstance(each, Reception)]
    if answers:
        return Routed.ANSWERED, f"{len(answers[0].payload)} bytes to {_who(answers[0].client)}"
    deliveries = [each for each in came if isinstance(each, Delivery)]
    if not deliveries:
        return Routed.NOWHERE, ""
    if any(each.node != node for each in deliveries):
        return Routed.ELSEWHERE, ""
    if len(deliveries) > 1:
        return Routed.TWICE, f"{len(deliveries)} times"
    wrong = faults(stage, deliveries[0], data, client, to)
    return (Routed.ALTERED, wrong) if wrong else (Routed.DELIVERED, "")


def faults(
    stage: RelayStage, delivery: Delivery, data: bytes, client: Address, to: Address | None = None
) -> str:
    """What is wrong with a delivery; empty if nothing is."""
    if delivery.leg is None:
        return "the header cannot be read"
    if delivery.payload != data:
        return "the payload is not what was sent"
    if delivery.leg.client != client:
        return "the header names another client"
    if delivery.leg.proxy != (to or stage.public):
        return "the header names another public address"
    return ""


def route_each(
    stage: RelayStage, packets: Iterable[bytes], client: Address, node: Node
) -> tuple[Routed, str]:
    """Send several that ought to arrive, one after the other: the first that fares otherwise, or
    how the last did."""
    told = (Routed.NOWHERE, "nothing was sent")
    for data in packets:
        told = route(stage, data, client, node, patient=True)
        if told[0] is not Routed.DELIVERED:
            return told[0], f"{len(data)} bytes, {data[:4].hex()}... {told[1]}"
    return told


def route_none(
    stage: RelayStage, packets: Iterable[bytes], client: Address, node: Node
) -> tuple[Routed, str]:
    """Send several that ought to go nowhere, all at once; the worst that becomes of one."""
    sent = list(packets)
    for data in sent:
        stage.up(data, client)
    for each in stage.all():
        if isinstance(each, Reception):
            return Routed.ANSWERED, f"{len(each.payload)} bytes"
        if each.node != node:
            return Routed.ELSEWHERE, each.payload[:4].hex()
        if each.payload not in sent:
            return Routed.ALTERED, each.payload[:4].hex()
        return Routed.DELIVERED, each.payload[:4].hex()
    return silent_or_dead(stage, (Routed.NOWHERE, ""), node)


def silent_or_dead(stage: RelayStage, told: tuple[Routed, str], node: Node) -> tuple[Routed, str]:
    """``NOWHERE`` becomes ``DEAD`` where a fresh client's good check is lost as well."""
    if told[0] is Routed.NOWHERE and not is_alive(stage, node):
        return Routed.DEAD, ""
    return told


def is_alive(stage: RelayStage, node: Node) -> bool:
    """Whether a good check of a new client reaches its node."""
    client, session = stage.client(), stage.mint(node)
    for _ in range(TRIES):
        if route(stage, stage.check(session), client, node)[0] is Routed.DELIVERED:
            return True
    return False


def flow(
    stage: RelayStage, session: Session, client: Address, to: Address | None = None
) -> Delivery:
    """Make a flow: a good check, delivered, and answered by its node with success. Returns the
    delivery, by which the node sends. Raises Blocked."""
    for _ in range(TRIES):
        stage.up(stage.check(session), client, "check", to=to)
        for each in stage.some():
            if isinstance(each, Delivery) and each.node == session.node:
                answer(stage, session, each)
                if any(
                    isinstance(heard, Reception) and heard.client == client
                    for heard in stage.some()
                ):
                    return each
    raise Blocked("a good check and its answer do not get through")


def teach(stage: RelayStage, source: int, client: Address, node: Node) -> None:
    """A known client sends some RTP of a source. Raises Blocked."""
    for _ in range(3):
        if route(stage, rtp(stage, source), client, node, patient=True)[0] is not Routed.DELIVERED:
            raise Blocked("media of a known client does not get through")


def known_source(stage: RelayStage, client: Address, node: Node) -> int:
    """A source of media that the relay knows, of a new flow of ``client``. Raises Unsupported where
    it knows none: from another address it does not route it."""
    flow(stage, stage.mint(node), client)
    source = drawn(stage)
    teach(stage, source, client, node)
    stage.all(SPREADS)
    if route(stage, rtp(stage, source), stage.client(), node)[0] is not Routed.DELIVERED:
        raise Unsupported("does not route media of unknown addresses by its source")
    return source


def answer(stage: RelayStage, session: Session, delivery: Delivery) -> None:
    """The node answers a check."""
    try:
        request = stun.decode_untrusted(delivery.payload)
    except DecodeError as error:
        raise Blocked(f"a check reached its node changed: {error}") from error
    mapped = delivery.leg.client if delivery.leg is not None else stage.public
    success = stun.binding_success(request, mapped, stun.IntegrityKey(session.password))
    stage.down(success, delivery, note="answer")


# Down


def send_back(
    stage: RelayStage, payload: bytes, delivery: Delivery, client: Address, *, patient: bool = False
) -> tuple[Returned, str]:
    """The node of a delivery sends ``payload`` to a client; what becomes of it."""
    stage.down(payload, delivery, client=client)
    return follow_back(stage, payload, client, patient=patient)


def follow_back(
    stage: RelayStage,
    payload: bytes,
    client: Address,
    *,
    patient: bool = False,
    to: Address | None = None,
) -> tuple[Returned, str]:
    """What becomes of a packet that a node has just sent. ``to``: the public address that it is to
    come from, if not the first."""
    came = stage.some(stage.patience * (PATIENT if patient else 1))
    if not came:
        return Returned.NOWHERE, ""
    for each in came:
        if isinstance(each, Delivery):
            return Returned.ELSEWHERE, "came back to a node"
        if each.client != client:
            return Returned.ELSEWHERE, _who(each.client)
        if each.payload != payload:
            return Returned.ALTERED, f"{len(each.payload)} bytes for {len(payload)}"
        if each.source != (to or stage.public):
            return Returned.FOREIGN, str(each.source)
    if len(came) > 1:
        return Returned.TWICE, f"{len(came)} times"
    return Returned.DELIVERED, ""


def refused_or_dead(
    stage: RelayStage, told: tuple[Returned, str], node: Node
) -> tuple[Returned, str]:
    """As ``silent_or_dead``."""
    if told[0] is Returned.NOWHERE and not is_alive(stage, node):
        return Returned.DEAD, ""
    return told


# What is sent


def rtp(stage: RelayStage, ssrc: int | None = None, *, size: int = 172) -> bytes:
    """RTP of Opus in the form of SRTP; a source that nobody knows, unless it is named."""
    source = stage.entropy(4) if ssrc is None else ssrc.to_bytes(4, "big")
    return b"\x80\x6f" + stage.entropy(6) + source + bytes(size - 12)


def rtcp(stage: RelayStage, ssrc: int) -> bytes:
    """A receiver report in the form of SRTCP."""
    return b"\x81\xc9\x00\x07" + ssrc.to_bytes(4, "big") + stage.entropy(42)


def dtls(stage: RelayStage) -> bytes:
    """A record of application data."""
    return b"\x17\xfe\xfd\x00\x01" + stage.entropy(6) + b"\x00\x20" + stage.entropy(32)


def drawn(stage: RelayStage) -> int:
    """A synchronisation source."""
    return int.from_bytes(stage.entropy(4), "big")


def indication(stage: RelayStage) -> bytes:
    """A Binding indication that bears FINGERPRINT and nothing else."""
    kind = stun.MessageClass.INDICATION
    return stun.build(stun.Method.BINDING, kind, stage.entropy(12))


def response(stage: RelayStage) -> bytes:
    """A success response to a request of an owner that is a full ICE agent."""
    kind = stun.MessageClass.SUCCESS
    key = stun.IntegrityKey(stage.entropy(16))
    return stun.build(stun.Method.BINDING, kind, stage.entropy(12), integrity=key)


def release(stage: RelayStage, delivery: Delivery, node: Node | None = None) -> None:
    """The node of a delivery, or another one, says that it is done with its client."""
    if delivery.leg is None:
        raise Blocked("a header on the leg cannot be read")
    header = forward.encode(delivery.leg.client, delivery.leg.proxy)
    stage.down_raw(header, node or delivery.node, delivery.inner, "release")


def need_nodes(stage: RelayStage, number: int) -> tuple[Node, ...]:
    """The first nodes. Raises Unsupported where there are fewer."""
    if len(stage.nodes) < number:
        raise Unsupported(f"needs {number} next hops (--next-hop)")
    return stage.nodes[:number]


def _who(client: Address) -> str:
    return f"port {client.port}"
