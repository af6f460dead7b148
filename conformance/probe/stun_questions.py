"""Cases that ask one question in STUN and differ in one value.

A ``question`` is a case whose steps send one message and say what comes back. Its oracle is one
of the few below: what may become of a message is decided by why it is wrong, not by where.
"""

from collections.abc import Callable

from conformance.case import Case, Observed, Oracle, Profile, Rule
from conformance.stage import Stage

from .profiles import STUN_AND_ICE
from .stun import Answered, Asker, credentials, need_credentials, probe, reach, validate

FAULTS = (Answered.UNSOUND, Answered.OTHER_ERROR, Answered.GARBAGE, Answered.DEAD)
"""Never right."""
REFUSALS = (
    Answered.BAD_REQUEST,
    Answered.UNAUTHENTICATED,
    Answered.UNKNOWN_ATTRIBUTE,
    Answered.ROLE_CONFLICT,
)


TAKEN = Oracle(good=(Answered.SUCCESS,), bad=(*FAULTS, *REFUSALS, Answered.SILENCE))
"""The message is a good one."""

DISCARDED = Oracle(
    good=(Answered.SILENCE,),
    lenient=(Answered.BAD_REQUEST,),
    bad=(
        *FAULTS,
        Answered.SUCCESS,
        Answered.UNAUTHENTICATED,
        Answered.UNKNOWN_ATTRIBUTE,
        Answered.ROLE_CONFLICT,
    ),
)
"""The message breaks the rules of all messages (RFC 8489, 6.3). Who says 400 to it has read what it
should not, and answers a request all the same."""

OVERLOOKED = Oracle(
    good=(Answered.SILENCE,),
    lenient=(Answered.BAD_REQUEST, Answered.SUCCESS),
    bad=(*FAULTS, Answered.UNAUTHENTICATED, Answered.UNKNOWN_ATTRIBUTE, Answered.ROLE_CONFLICT),
)
"""The same, where a whole and authentic message stands inside: who answers that harms nobody."""

SILENT = Oracle(good=(Answered.SILENCE,), bad=(*FAULTS, *REFUSALS, Answered.SUCCESS))
"""Nobody may be answered who has asked nothing."""

INCOMPLETE = Oracle(
    good=(Answered.BAD_REQUEST,),
    lenient=(Answered.SILENCE,),
    bad=(
        *FAULTS,
        Answered.SUCCESS,
        Answered.UNAUTHENTICATED,
        Answered.UNKNOWN_ATTRIBUTE,
        Answered.ROLE_CONFLICT,
    ),
)
"""Proof is missing: 400. Silence is a choice that some servers make on purpose, lest a stranger
make them send; a client only learns later what is wrong."""

UNPROVED = Oracle(
    good=(Answered.UNAUTHENTICATED,),
    lenient=(Answered.SILENCE, Answered.BAD_REQUEST),
    bad=(*FAULTS, Answered.SUCCESS, Answered.UNKNOWN_ATTRIBUTE, Answered.ROLE_CONFLICT),
)
"""The proof is wrong: 401, and silence as above."""

UNREADABLE = Oracle(
    good=(Answered.BAD_REQUEST, Answered.SILENCE),
    lenient=(Answered.SUCCESS,),
    bad=(*FAULTS, Answered.UNAUTHENTICATED, Answered.UNKNOWN_ATTRIBUTE, Answered.ROLE_CONFLICT),
)
"""A value has not the form that its type has. No rule says what to do; a server that looks away
answers, one that looks refuses, and nobody falls over it."""


def question(
    rule: Rule,
    *,
    sends: str,
    oracle: Oracle,
    request: Callable[[Asker], bytes],
    profiles: tuple[Profile, ...] = STUN_AND_ICE,
    known: bool = True,
) -> Case:
    """A case that sends what ``request`` makes. Without the profile ``stun`` it needs a server
    with credentials. Where there are credentials a good check comes first, unless ``known`` is
    false: to a server that sorts by addresses what a stranger sends is nobody's anyhow."""

    @rule.asked(
        sends=sends, profiles=profiles, good=oracle.good, bad=oracle.bad, lenient=oracle.lenient
    )
    def steps(stage: Stage) -> Observed:
        asker = reach(stage)
        if Profile.STUN not in profiles:
            need_credentials(asker)
        if known and credentials(asker) is not None:
            validate(asker, nominate=False)
        return probe(asker, request(asker)).observed

    return steps
