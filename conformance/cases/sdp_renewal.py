"""Further offers: what stays, and what an ICE restart changes.

The texts alone are read here, without a client behind them; what checks come to after a restart is
asked in ``ice_restart``.
"""

from conformance.case import Case, Observed, case
from conformance.probe.profiles import SDP_AND_SIGNALING
from conformance.probe.renewal import (
    Renewed,
    compared,
    fresh,
    open_texts,
    raised,
    reoffer,
    told_credentials,
)
from conformance.probe.sdp import cut, faults
from conformance.stage import Refused, Stage


def _offer_again(stage: Stage, *, ufrag: bool, password: bool) -> Observed:
    first = open_texts(stage)
    offer = raised(fresh(stage, first.offer, ufrag=ufrag, password=password), 2)
    try:
        answer = reoffer(stage, first, offer)
    except Refused as error:
        return Renewed.REFUSED, str(error)
    if wrong := faults(offer, answer):
        return Renewed.UNSOUND, "; ".join(wrong)
    return compared(told_credentials(first.text), told_credentials(cut(answer)))


@case(
    "rfc8839/4.4.3/nothing-new",
    "A further offer with the credentials of before restarts nothing: the answer has its own of "
    "before too.",
    sends="an offer, and the same offer again with its version raised",
    profiles=SDP_AND_SIGNALING,
    good=(Renewed.SAME,),
    bad=(Renewed.NEW, Renewed.HALF, Renewed.UNSOUND, Renewed.REFUSED),
)
def nothing_new(stage: Stage) -> Observed:
    return _offer_again(stage, ufrag=False, password=False)


@case(
    "rfc8839/4.4.3/restart",
    "A further offer with a new ufrag and a new password restarts ICE: both are new in the answer.",
    sends="an offer, and a further one with fresh credentials",
    profiles=SDP_AND_SIGNALING,
    good=(Renewed.NEW,),
    bad=(Renewed.SAME, Renewed.HALF, Renewed.UNSOUND, Renewed.REFUSED),
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
        good=(Renewed.NEW, Renewed.REFUSED),
        lenient=(Renewed.SAME,),
        bad=(Renewed.HALF, Renewed.UNSOUND),
        traps=("STUN and ICE 8",),
    )
    def steps(stage: Stage) -> Observed:
        return _offer_again(stage, ufrag=ufrag, password=not ufrag)

    return steps


HALVES = (_half("ufrag", ufrag=True), _half("password", ufrag=False))
