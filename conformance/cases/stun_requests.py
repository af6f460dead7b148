"""What a server does with requests: RFC 8489, section 6.3, and what may be in them."""

from conformance.case import Observed, case
from conformance.probe.profiles import ICE, STUN_AND_ICE
from conformance.probe.stun import Answered, check, need_credentials, probe, reach
from conformance.stage import Stage

_FAULTS = (
    Answered.UNSOUND,
    Answered.UNAUTHENTICATED,
    Answered.ROLE_CONFLICT,
    Answered.OTHER_ERROR,
    Answered.GARBAGE,
    Answered.DEAD,
)


@case(
    "rfc8489/6.3.1/unknown-required-attribute",
    "A request with a comprehension-required attribute that the server does not know is refused "
    "with 420, which lists it.",
    sends="a signed check that carries attribute 0x7ffe",
    profiles=STUN_AND_ICE,
    good=(Answered.UNKNOWN_ATTRIBUTE,),
    bad=(*_FAULTS, Answered.SUCCESS, Answered.BAD_REQUEST, Answered.SILENCE),
    traps=("STUN and ICE 3",),
)
def unknown_required_attribute(stage: Stage) -> Observed:
    asker = reach(stage)
    reply = probe(asker, check(asker, attributes=[(0x7FFE, b"what")]))
    listed = reply.message.unknown_attributes if reply.message is not None else None
    if reply.kind is Answered.UNKNOWN_ATTRIBUTE and listed != (0x7FFE,):
        return Answered.UNSOUND, f"UNKNOWN-ATTRIBUTES lists {listed}"
    return reply.observed


@case(
    "rfc8489/9.1.3/wrong-password",
    "A request whose integrity does not verify is not answered as if it did.",
    sends="a check signed with another password",
    profiles=ICE,
    good=(Answered.UNAUTHENTICATED,),
    lenient=(Answered.SILENCE, Answered.BAD_REQUEST),
    bad=(
        Answered.SUCCESS,
        Answered.UNSOUND,
        Answered.UNKNOWN_ATTRIBUTE,
        Answered.ROLE_CONFLICT,
        Answered.OTHER_ERROR,
        Answered.GARBAGE,
        Answered.DEAD,
    ),
    traps=("STUN and ICE 5",),
)
def wrong_password(stage: Stage) -> Observed:
    asker = reach(stage)
    need_credentials(asker)
    return probe(asker, check(asker, password=b"not the password that was told")).observed
