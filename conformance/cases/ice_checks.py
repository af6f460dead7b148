"""Connectivity checks and the roles of those who send them: RFC 8445, sections 7.3 and 16.1.

A lite agent is always controlled, a full one may change its role: where the two may differ, the
oracle knows both.
"""

from functools import partial

from conformance.case import Observed, Oracle, Rule, Seen, Unsupported, case
from conformance.probe.call import Call, open_call
from conformance.probe.profiles import ICE
from conformance.probe.stun import (
    Answered,
    Asker,
    ask,
    check,
    need_credentials,
    need_life,
    probe,
    reach,
    validate,
)
from conformance.probe.stun_draft import draft
from conformance.probe.stun_questions import FAULTS, REFUSALS, TAKEN, question
from conformance.stage import Stage
from conformance.wire import Arrival
from stunroute import stun
from stunroute.demux import Kind, classify

MOST = 2**64 - 1

CONFLICT = Oracle(
    good=(Answered.ROLE_CONFLICT,),
    bad=(
        *FAULTS,
        Answered.SUCCESS,
        Answered.BAD_REQUEST,
        Answered.UNAUTHENTICATED,
        Answered.UNKNOWN_ATTRIBUTE,
        Answered.SILENCE,
    ),
)

YIELDING = Oracle(
    good=(Answered.SUCCESS, Answered.ROLE_CONFLICT),
    bad=(
        *FAULTS,
        Answered.BAD_REQUEST,
        Answered.UNAUTHENTICATED,
        Answered.UNKNOWN_ATTRIBUTE,
        Answered.SILENCE,
    ),
)
"""A full agent with the larger tie-breaker changes its role and says yes; a lite one cannot."""

EITHER = Oracle(
    good=(Answered.SUCCESS, Answered.BAD_REQUEST, Answered.ROLE_CONFLICT),
    lenient=(Answered.SILENCE,),
    bad=(*FAULTS, Answered.UNAUTHENTICATED, Answered.UNKNOWN_ATTRIBUTE),
)
"""No rule says, and no harm may come of it."""

ROLES = (
    question(
        Rule(
            "rfc8445/7.3.1.1/controlled-with-the-largest-tie-breaker",
            "A check that claims the server's own role, with a tie-breaker that nobody's is larger "
            "than, is refused with 487.",
            requirements=("rfc8445/7.3.1.1/2", "rfc8445/7.3.1.1/3", "rfc8445/6.1.1/2"),
            traps=("STUN and ICE 6",),
        ),
        sends="a check in the controlled role with the largest tie-breaker there is",
        oracle=CONFLICT,
        profiles=ICE,
        request=lambda asker: check(asker, controlling=None, controlled=MOST),
    ),
    question(
        Rule(
            "rfc8445/7.3.1.1/controlled-with-the-smallest-tie-breaker",
            "A check that claims the server's own role, with the smallest tie-breaker, makes a "
            "full agent change its role; a lite one, which cannot, refuses it with 487.",
            requirements=("rfc8445/7.3.1.1/2", "rfc8445/7.3.1.1/3"),
            traps=("STUN and ICE 6",),
        ),
        sends="a check in the controlled role with the smallest tie-breaker there is",
        oracle=YIELDING,
        profiles=ICE,
        request=lambda asker: check(asker, controlling=None, controlled=0),
    ),
    *(
        question(
            Rule(
                f"rfc8445/7.3.1.1/controlling-with-the-{slug}-tie-breaker",
                "Toward a controlled agent the controlling role makes no conflict, whatever the "
                "tie-breaker is.",
                requirements=("rfc8445/7.3.1.1/2", "rfc8445/6.1.1/2"),
                traps=("STUN and ICE 6",),
            ),
            sends=f"a check in the controlling role with the {slug} tie-breaker there is",
            oracle=TAKEN,
            profiles=ICE,
            request=partial(check, controlling=value),
        )
        for slug, value in (("smallest", 0), ("largest", MOST))
    ),
    question(
        Rule(
            "rfc8445/7.3.1.1/no-role",
            "A check that claims no role is of an older kind of agent; it can be no conflict.",
            requirements=("rfc8445/7.3.1.1/2",),
            traps=("STUN and ICE 6",),
        ),
        sends="a signed check with neither ICE-CONTROLLING nor ICE-CONTROLLED",
        oracle=Oracle(
            good=(Answered.SUCCESS,),
            lenient=(Answered.BAD_REQUEST,),  # ICE demands one of a sender
            bad=(
                *FAULTS,
                Answered.SILENCE,
                Answered.UNAUTHENTICATED,
                Answered.UNKNOWN_ATTRIBUTE,
                Answered.ROLE_CONFLICT,
            ),
        ),
        profiles=ICE,
        request=partial(check, controlling=None),
    ),
    question(
        Rule(
            "rfc8445/7.3.1.1/both-roles",
            "A check that claims both roles breaks nothing.",
            traps=("STUN and ICE 6",),
        ),
        sends="a signed check with ICE-CONTROLLING and ICE-CONTROLLED",
        oracle=EITHER,
        profiles=ICE,
        request=partial(check, controlled=1),
    ),
)

PRIORITIES = tuple(
    question(
        Rule(
            f"rfc8445/16.1/priority-{slug}", "PRIORITY is any number of 32 bits to whoever answers."
        ),
        sends=f"a good check with priority {value}",
        oracle=TAKEN,
        profiles=ICE,
        request=partial(check, priority=value),
    )
    for slug, value in (("one", 1), ("largest-of-ice", 2**31 - 1), ("all-ones", 2**32 - 1))
)


def _as_chromium(asker: Asker) -> bytes:
    """The attributes of a check in the order that libwebrtc has them, its own among them."""
    username, _ = need_credentials(asker)
    begun = draft(asker, username=b"", priority=b"", controlling=b"")
    begun.add(stun.Attribute.USERNAME, username)
    begun.add(0xC057, b"\0\x01\0\x0a")
    begun.add(stun.Attribute.ICE_CONTROLLING, stun.encode_uint64(0x1122334455667788))
    begun.add(stun.Attribute.USE_CANDIDATE)
    begun.add(stun.Attribute.PRIORITY, stun.encode_uint32(1853824767))
    return begun.seal(asker)


def _as_test_vector(asker: Asker) -> bytes:
    """The attributes of RFC 5769's sample request, its padding of spaces included; the names and
    the role are those of this call."""
    username, password = need_credentials(asker)
    begun = draft(asker, username=b"", priority=b"", controlling=b"")
    begun.add(stun.Attribute.SOFTWARE, b"STUN test client", padding=0x20)
    begun.add(stun.Attribute.PRIORITY, bytes.fromhex("6e0001ff"))
    begun.add(stun.Attribute.ICE_CONTROLLING, bytes.fromhex("932ff9b151263b36"))
    begun.add(stun.Attribute.USERNAME, username, padding=0x20)
    return begun.sign(password).close().message()


def _sample_request(asker: Asker) -> bytes:
    """RFC 5769, section 2.1, byte for byte: right for a session that is not ours."""
    begun = draft(asker, username=b"", priority=b"", controlling=b"")
    begun.transaction_id = bytes.fromhex("b7e7a701bc34d686fa87dfae")
    begun.add(stun.Attribute.SOFTWARE, b"STUN test client")
    begun.add(stun.Attribute.PRIORITY, bytes.fromhex("6e0001ff"))
    begun.add(stun.Attribute.ICE_CONTROLLED, bytes.fromhex("932ff9b151263b36"))
    begun.add(stun.Attribute.USERNAME, b"evtj:h6vY", padding=0x20)
    return begun.sign(b"VOkJxbRl1RmTxUk/WvJxBt").close().message()


SHAPES = (
    question(
        Rule(
            "traps/ice/check-of-chromium",
            "A check in the shape that Chromium gives it is answered.",
            traps=("STUN and ICE 3", "Facts"),
        ),
        sends="USERNAME, network cost, role, USE-CANDIDATE, PRIORITY, integrity, FINGERPRINT",
        oracle=TAKEN,
        profiles=ICE,
        request=_as_chromium,
    ),
    question(
        Rule(
            "rfc5769/2.1/shape-of-the-sample-request",
            "A request in the shape of the sample request is answered.",
            requirements=("rfc8489/14/4",),
            traps=("Facts",),
        ),
        sends="the sample request with this call's names, in the controlling role",
        oracle=TAKEN,
        profiles=ICE,
        request=_as_test_vector,
    ),
    question(
        Rule(
            "rfc5769/2.1/sample-request",
            "The sample request, which the whole world can copy, is nobody's check here.",
            requirements=("rfc8489/9.1.3/5",),
            traps=("Facts",),
        ),
        sends="the sample request, byte for byte",
        oracle=Oracle(
            good=(Answered.UNAUTHENTICATED,),
            lenient=(Answered.SILENCE, Answered.BAD_REQUEST),
            bad=(*FAULTS, Answered.SUCCESS, Answered.UNKNOWN_ATTRIBUTE, Answered.ROLE_CONFLICT),
        ),
        profiles=ICE,
        request=_sample_request,
    ),
)


class Switched(Seen):
    """What became of a client that changed its role."""

    ANSWERED = "487, and then success in the other role"
    AGAIN = "487 again after the client has changed its role"
    ACCEPTED = "success in both roles: the server has changed its own"
    WRONG = "another answer"
    DEAD = "no answer in the other role"


@case(
    "rfc8445/7.2.5.1/one-switch",
    "After a 487 the client changes its role once, and its checks are answered with success.",
    sends="a check in the controlled role with the largest tie-breaker, then one in the "
    "controlling role with another",
    profiles=ICE,
    good=(Switched.ANSWERED,),
    lenient=(Switched.ACCEPTED,),
    bad=(Switched.AGAIN, Switched.WRONG, Switched.DEAD),
    requirements=("rfc8445/7.3.1.1/3", "rfc8445/6.1.1/2"),
    traps=("STUN and ICE 6",),
)
def one_switch(stage: Stage) -> Observed:
    asker = reach(stage)
    need_credentials(asker)
    first = probe(asker, check(asker, controlling=None, controlled=MOST))
    if first.kind not in (Answered.ROLE_CONFLICT, Answered.SUCCESS):
        return Switched.WRONG, first.kind.value
    second = probe(asker, check(asker, controlling=0x7766554433221100, nominate=True))
    match second.kind:
        case Answered.SUCCESS if first.kind is Answered.SUCCESS:
            return Switched.ACCEPTED
        case Answered.SUCCESS:
            return Switched.ANSWERED
        case Answered.ROLE_CONFLICT:
            return Switched.AGAIN
        case Answered.SILENCE | Answered.DEAD:
            return Switched.DEAD
    return Switched.WRONG, second.kind.value


@case(
    "rfc8839/4.2.4/first-check-at-once",
    "As soon as the answer is out, checks are answered.",
    sends="a check as the first thing after the answer",
    profiles=ICE,
    good=(Answered.SUCCESS,),
    bad=(*FAULTS, *REFUSALS, Answered.SILENCE),
    requirements=("rfc8839/4.2.4/1", "rfc8445/5.3/7", "rfc8445/7.3/1", "rfc8445/7.3/2"),
)
def first_check_at_once(stage: Stage) -> Observed:
    call = open_call(stage)
    return probe(call, check(call)).observed


@case(
    "rfc8445/7.3.1.3/from-an-address-nobody-named",
    "A check from an address that is none of the offer's candidates is answered like any other: it "
    "is peer-reflexive.",
    sends="an offer with one candidate, and a check from another socket",
    profiles=ICE,
    good=(Answered.SUCCESS,),
    bad=(*FAULTS, *REFUSALS, Answered.SILENCE),
    requirements=("rfc8445/7.3/1",),
)
def from_an_address_nobody_named(stage: Stage) -> Observed:
    call = open_call(stage)
    reply = ask(call, check(call, nominate=True), socket=stage.open_socket())
    if reply.kind is Answered.SILENCE:
        need_life(call)
    return reply.observed


@case(
    "rfc8445/8.1.2/checks-on-a-running-call",
    "Checks are answered for as long as a call lasts, also those on pairs that are not in use.",
    sends="checks from the client's socket and from another one in a call that is up",
    profiles=ICE,
    good=(Answered.SUCCESS,),
    bad=(*FAULTS, *REFUSALS, Answered.SILENCE),
    requirements=("rfc8445/11/13", "rfc8445/7.3/1"),
)
def checks_on_a_running_call(stage: Stage) -> Observed:
    call = open_call(stage)
    call.establish()
    for socket in (call.socket, stage.open_socket()):
        reply = ask(call, check(call), socket=socket)
        if reply.kind is not Answered.SUCCESS:
            return reply.observed
    return Answered.SUCCESS


class Early(Seen):
    """What comes from a server before any check."""

    NOTHING = "nothing but checks, and then the first check is answered"
    DATA = "something else than checks"


def _unasked(call: Call, arrivals: list[Arrival]) -> Observed:
    """``arrivals`` are what came besides checks."""
    call.reticent = False
    need_life(call)
    if not arrivals:
        return Early.NOTHING
    return Early.DATA, ", ".join(classify(each.data).value for each in arrivals[:4])


@case(
    "rfc8445/12.1.1/nothing-before-a-check",
    "Before a check has made a pair valid nothing is sent but checks: no DTLS, no media.",
    sends="an offer that leaves it to the server to begin DTLS, and nothing else for a while",
    profiles=ICE,
    good=(Early.NOTHING,),
    bad=(Early.DATA,),
    requirements=("rfc8445/12.1.1/1", "rfc8445/12.1/4", "rfc7675/5.1/1"),
)
def nothing_before_a_check(stage: Stage) -> Observed:
    call = open_call(stage, setup="passive")
    call.reticent = True
    return _unasked(call, call.listen(2 * stage.patience))


@case(
    "rfc7675/5.1/nothing-after-a-forged-check",
    "A check that proves nothing gives no consent: nothing is sent but refusals.",
    sends="an offer that leaves it to the server to begin DTLS, and a check with another password",
    profiles=ICE,
    good=(Early.NOTHING,),
    bad=(Early.DATA,),
    requirements=("rfc7675/5.1/1", "rfc8445/12.1.1/1"),
    traps=("STUN and ICE 5",),
)
def nothing_after_a_forged_check(stage: Stage) -> Observed:
    call = open_call(stage, setup="passive")
    call.reticent = True
    call.send(check(call, password=b"not the password that was told", nominate=True))
    heard = call.listen(2 * stage.patience)
    return _unasked(call, [each for each in heard if classify(each.data) is not Kind.STUN])


@case(
    "rfc7675/5.1/nothing-where-nobody-checked",
    "Packets go to addresses that checks have come from, and to no other candidate of the offer.",
    sends="an offer with one candidate, and all checks from another socket, until the call is up",
    profiles=ICE,
    good=(Early.NOTHING,),
    bad=(Early.DATA,),
    requirements=("rfc7675/5.1/1", "rfc8445/12.1/2"),
)
def nothing_where_nobody_checked(stage: Stage) -> Observed:
    call = open_call(stage)
    named = call.rebind()
    call.establish()
    call.run(0.2)
    there = [each for each in call.strays if each.socket == named]
    heard = [each for each in there if classify(each.data) is not Kind.STUN]
    return _unasked(call, heard)


class Framed(Seen):
    """What is behind a TCP candidate."""

    FRAMED = "a check in a frame is answered in a frame"
    SILENCE = "silence"


@case(
    "rfc4571/2/framed-check",
    "Over TCP every packet stands in a frame with its length before it, whatever pieces the stream "
    "comes in.",
    sends="a check in a frame, in two pieces",
    profiles=ICE,
    good=(Framed.FRAMED,),
    bad=(Framed.SILENCE,),
    traps=("STUN and ICE 12",),
)
def framed_check(stage: Stage) -> Observed:
    call = open_call(stage)
    if not any(candidate.transport == "tcp" for candidate in call.told.candidates):
        raise Unsupported("the server offers no TCP candidate")
    raise Unsupported("the harness has UDP sockets only, and cannot speak to the TCP candidate")


@case(
    "rfc8445/7.3/validated-three-times",
    "Several addresses of one client are validated side by side, each with its own.",
    sends="nominations from three sockets, then a check from each again",
    profiles=ICE,
    good=(Answered.SUCCESS,),
    bad=(*FAULTS, *REFUSALS, Answered.SILENCE),
    requirements=("rfc8445/7.3/1",),
    traps=("STUN and ICE 7",),
)
def validated_three_times(stage: Stage) -> Observed:
    asker = reach(stage)
    need_credentials(asker)
    sockets = [asker.socket, stage.open_socket(), stage.open_socket()]
    for socket in sockets:
        validate(asker, socket=socket)
    for socket in sockets:
        reply = ask(asker, check(asker), socket=socket)
        if reply.kind is Answered.SILENCE:
            reply = ask(asker, check(asker), socket=socket)
        if reply.kind is not Answered.SUCCESS:
            return reply.observed
    return Answered.SUCCESS
