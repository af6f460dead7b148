"""What a relay makes of one packet."""

from conformance.case import Blocked, Seen, Unsupported
from conformance.relay_stage import Delivery, Node, Reception, RelayStage, Session
from stunroute import stun
from stunroute.address import Address
from stunroute.errors import DecodeError

TRIES = 4


class Routed(Seen):
    """What became of a packet that a client sent."""

    DELIVERED = "delivered to its node, whole, with a true header"
    ALTERED = "delivered to its node, changed or with a false header"
    ELSEWHERE = "delivered to another node"
    TWICE = "delivered more than once"
    ANSWERED = "answered to the client"
    NOWHERE = "delivered nowhere"
    DEAD = "delivered nowhere, nor is a good check afterwards"


def route(
    stage: RelayStage, data: bytes, client: Address, node: Node, *, within: float | None = None
) -> tuple[Routed, str]:
    """Send ``data`` from a client's socket; what becomes of it, if it belongs to ``node``."""
    stage.up(data, client)
    return follow(stage, data, client, node, within=within)


def follow(
    stage: RelayStage, data: bytes, client: Address, node: Node, *, within: float | None = None
) -> tuple[Routed, str]:
    """What becomes of a packet that has just been sent."""
    came = stage.all(within)
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
    wrong = faults(stage, deliveries[0], data, client)
    return (Routed.ALTERED, wrong) if wrong else (Routed.DELIVERED, "")


def faults(stage: RelayStage, delivery: Delivery, data: bytes, client: Address) -> str:
    """What is wrong with a delivery; empty if nothing is."""
    if delivery.leg is None:
        return "the header cannot be read"
    if delivery.payload != data:
        return "the payload is not what was sent"
    if delivery.leg.client != client:
        return "the header names another client"
    if delivery.leg.proxy != stage.public:
        return "the header names another public address"
    return ""


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


def flow(stage: RelayStage, session: Session, client: Address) -> Delivery:
    """Make a flow: a good check, delivered, and answered by its node with success. Returns the
    delivery, by which the node sends. Raises Blocked."""
    for _ in range(TRIES):
        stage.up(stage.check(session), client, "check")
        for each in stage.all():
            if isinstance(each, Delivery) and each.node == session.node:
                answer(stage, session, each)
                if _hears(stage, client):
                    return each
    raise Blocked("a good check and its answer do not get through")


def answer(stage: RelayStage, session: Session, delivery: Delivery) -> None:
    """The node answers a check."""
    try:
        request = stun.decode_untrusted(delivery.payload)
    except DecodeError as error:
        raise Blocked(f"a check reached its node changed: {error}") from error
    mapped = delivery.leg.client if delivery.leg is not None else stage.public
    success = stun.binding_success(request, mapped, stun.IntegrityKey(session.password))
    stage.down(success, delivery, note="answer")


def need_nodes(stage: RelayStage, number: int) -> tuple[Node, ...]:
    """The first nodes. Raises Unsupported where there are fewer."""
    if len(stage.nodes) < number:
        raise Unsupported(f"needs {number} next hops (--next-hop)")
    return stage.nodes[:number]


def _hears(stage: RelayStage, client: Address) -> bool:
    return any(isinstance(each, Reception) and each.client == client for each in stage.all())


def _who(client: Address) -> str:
    return f"port {client.port}"
