"""Further offers: what stays, and what an ICE restart changes."""

from conformance.case import Case, Observed, Seen, case
from conformance.probe.later import again, begin, credentials, fresh, raised
from conformance.probe.profiles import SDP_AND_SIGNALING
from conformance.probe.sdp import cut, faults
from conformance.stage import Refused, Stage


class Restarted(Seen):
    """What an answer to a further offer says of ICE."""

    KEPT = "the same ufrag and password"
    BOTH_NEW = "a new ufrag and a new password"
    HALF = "one of ufrag and password is new"
    UNSOUND = "an answer that breaks a rule"
    REFUSED = "a refusal"


def _offer_again(stage: Stage, *, ufrag: bool, password: bool) -> Observed:
    first = begin(stage)
    offer = raised(fresh(stage, first.offer, ufrag=ufrag, password=password), 2)
    try:
        answer = again(stage, first, offer)
    except Refused as error:
        return Restarted.REFUSED, str(error)
    if wrong := faults(offer, answer):
        return Restarted.UNSOUND, "; ".join(wrong)
    old, new = credentials(first.text), credentials(cut(answer))
    same = [one == other for one, other in zip(old, new, strict=True)]
    if all(same):
        return Restarted.KEPT
    return Restarted.HALF if any(same) else Restarted.BOTH_NEW


@case(
    "rfc8839/4.4.3/nothing-new",
    "A further offer with the credentials of before restarts nothing: the answer has its own of "
    "before too.",
    sends="an offer, and the same offer again with its version raised",
    profiles=SDP_AND_SIGNALING,
    good=(Restarted.KEPT,),
    bad=(Restarted.BOTH_NEW, Restarted.HALF, Restarted.UNSOUND, Restarted.REFUSED),
)
def nothing_new(stage: Stage) -> Observed:
    return _offer_again(stage, ufrag=False, password=False)


@case(
    "rfc8839/4.4.3/restart",
    "A further offer with a new ufrag and a new password restarts ICE: both are new in the answer.",
    sends="an offer, and a further one with fresh credentials",
    profiles=SDP_AND_SIGNALING,
    good=(Restarted.BOTH_NEW,),
    bad=(Restarted.KEPT, Restarted.HALF, Restarted.UNSOUND, Restarted.REFUSED),
    traps=("STUN and ICE 8",),
)
def restart(stage: Stage) -> Observed:
    return _offer_again(stage, ufrag=True, password=True)


def _half(name: str, *, ufrag: bool) -> Case:
    @case(
        f"rfc8839/4.4.1.1.1/{name}-alone",
        f"A further offer in which the {name} alone is new is a restart or an error; the answer "
        "changes both or neither of its own.",
        sends=f"an offer, and a further one with a fresh {name} and the rest of before",
        profiles=SDP_AND_SIGNALING,
        good=(Restarted.BOTH_NEW, Restarted.REFUSED),
        lenient=(Restarted.KEPT,),
        bad=(Restarted.HALF, Restarted.UNSOUND),
        traps=("STUN and ICE 8",),
    )
    def steps(stage: Stage) -> Observed:
        return _offer_again(stage, ufrag=ufrag, password=not ufrag)

    return steps


HALVES = (_half("ufrag", ufrag=True), _half("password", ufrag=False))
