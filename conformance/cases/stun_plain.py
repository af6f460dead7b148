"""A STUN server that serves everybody (RFC 8489, section 12), and its old clients (section 11).

These are for servers without credentials: one that wants a USERNAME has other rules, which are
asked in the other ``stun_`` files.
"""

from conformance.case import Level, Observed, Seen, Unsupported, case
from conformance.probe.profiles import STUN
from conformance.probe.stun import (
    Answered,
    Asker,
    ask,
    check,
    credentials,
    is_alive,
    probe,
    reach,
)
from conformance.probe.stun_draft import Draft
from conformance.probe.stun_questions import FAULTS, REFUSALS
from conformance.stage import Stage
from conformance.wire import Arrival
from stunroute import stun
from stunroute.errors import DecodeError
from stunroute.stun.attributes import decode_address_untrusted


def _plain(stage: Stage) -> Asker:
    """Raises Unsupported where credentials are wanted."""
    asker = reach(stage)
    if credentials(asker) is not None:
        raise Unsupported("the server wants credentials")
    return asker


@case(
    "rfc8489/12/binding",
    "A Binding request without any attribute is answered with the address it came from.",
    sends="the header of a Binding request",
    profiles=STUN,
    good=(Answered.SUCCESS,),
    bad=(*FAULTS, *REFUSALS, Answered.SILENCE),
    requirements=("rfc8489/12/1", "rfc8489/12/6"),
)
def binding(stage: Stage) -> Observed:
    asker = _plain(stage)
    return probe(asker, Draft(stage.entropy(12)).message()).observed


@case(
    "rfc8489/12/fingerprint-not-required",
    "A server may use FINGERPRINT and must not require it.",
    sends="a Binding request with SOFTWARE and without FINGERPRINT",
    profiles=STUN,
    good=(Answered.SUCCESS,),
    bad=(*FAULTS, *REFUSALS, Answered.SILENCE),
    requirements=("rfc8489/12/6",),
)
def fingerprint_not_required(stage: Stage) -> Observed:
    asker = _plain(stage)
    software = [(int(stun.Attribute.SOFTWARE), b"conformance")]
    return probe(asker, check(asker, attributes=software, fingerprint=False)).observed


@case(
    "rfc8489/12/fingerprint-taken",
    "A request with a FINGERPRINT that is right is answered.",
    sends="a Binding request with FINGERPRINT",
    profiles=STUN,
    good=(Answered.SUCCESS,),
    bad=(*FAULTS, *REFUSALS, Answered.SILENCE),
    requirements=("rfc8489/12/1",),
)
def fingerprint_taken(stage: Stage) -> Observed:
    asker = _plain(stage)
    return probe(asker, check(asker)).observed


class Old(Seen):
    """What a client from before the magic cookie gets."""

    SERVED = "a response with MAPPED-ADDRESS that is right"
    CONFUSED = "a response that it cannot use"
    SILENCE = "silence"
    DEAD = "silence, and so does the next good request"


@case(
    "rfc8489/11/client-of-rfc-3489",
    "A client without the magic cookie is served by the rules of its time: MAPPED-ADDRESS, and its "
    "own 128 bits of transaction id.",
    sends="a Binding request of RFC 3489",
    profiles=STUN,
    level=Level.SHOULD,
    good=(Old.SERVED,),
    lenient=(Old.SILENCE,),
    bad=(Old.CONFUSED, Old.DEAD),
)
def client_of_rfc_3489(stage: Stage) -> Observed:
    asker = _plain(stage)
    cookie = b"\x99" + stage.entropy(3)
    begun = Draft(stage.entropy(12), cookie=cookie)
    asker.send(begun.message(), note="no magic cookie")
    until = stage.now + stage.patience
    while (arrival := asker.receive(until)) is not None:
        if arrival.data[8:20] == begun.transaction_id:
            return _old(arrival, cookie)
    return Old.SILENCE if is_alive(asker) else Old.DEAD


def _old(arrival: Arrival, cookie: bytes) -> Observed:
    """The response of a classic server, read the way its client does."""
    if arrival.data[4:8] != cookie:
        return Old.CONFUSED, "another transaction id"
    modern = arrival.data[:4] + stun.MAGIC_COOKIE.to_bytes(4, "big") + arrival.data[8:]
    try:
        message = stun.decode_untrusted(modern)
        value = message.value(stun.Attribute.MAPPED_ADDRESS)
        if message.message_class is not stun.MessageClass.SUCCESS or value is None:
            return Old.CONFUSED, "no success with MAPPED-ADDRESS"
        mapped = decode_address_untrusted(value)
    except DecodeError as error:
        return Old.CONFUSED, str(error)
    return Old.SERVED if mapped == arrival.socket else (Old.CONFUSED, f"it says {mapped}")


class Flooded(Seen):
    """What a server does about many requests that are worth nothing."""

    QUIET = "no answer that is longer than its question, and good requests are served"
    LOUD = "answers several times as long as their questions"
    DEAD = "good requests are not served any more"


@case(
    "traps/stun/amplification",
    "A server is no lever for attacks: what it answers to the smallest request is not many times "
    "as long.",
    sends="the header of a Binding request",
    profiles=STUN,
    level=Level.SHOULD,
    good=(Flooded.QUIET,),
    bad=(Flooded.LOUD, Flooded.DEAD),
)
def amplification(stage: Stage) -> Observed:
    asker = _plain(stage)
    reply = ask(asker, Draft(stage.entropy(12)).message())
    if reply.message is None:
        return Flooded.DEAD
    size = len(reply.message.raw)
    return (Flooded.QUIET if size <= 160 else Flooded.LOUD), f"{size} bytes for 20"
