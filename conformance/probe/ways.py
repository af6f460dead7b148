"""Which way a server's packets go, and calls that have changed their credentials.

Where a server sends to is what most attacks on ICE aim at, and what most of its faults come out
in. It shows by audio: while ours goes in, whatever comes out is looked for at every socket that we
have. A server that gives no audio back cannot be asked.
"""

from functools import partial
from typing import Any

from conformance.case import Blocked, Seen, Unsupported
from conformance.client import AnswerError, read_answer_untrusted
from conformance.stage import Refused, Stage
from conformance.trail import Crossing
from stunroute.address import Address
from stunroute.demux import Kind, classify

from .audio import OPUS_SILENCE, STEP
from .call import Call, open_call

PACKETS = 4
PACE = 0.02


class Way(Seen):
    """Where audio goes that the server sends."""

    OLD = "to the address that it went to before"
    NEW = "to the new address"
    BOTH = "to both addresses"
    NOWHERE = "to neither address"


def settled(stage: Stage, **options: Any) -> Call:
    """A call that is up, has its pair nominated and gives audio back. From now on its client sends
    no check that the case does not ask for. Raises Blocked and Unsupported."""
    call = open_call(stage, contents=("audio",), **options)
    call.establish()
    if not call.run_until(lambda: call.client.nominated, 3.0):
        raise Blocked("no nomination was answered")
    call.client.keepalives = False
    call.run(0.1)
    if call.socket not in destinations(call):
        raise Unsupported("sends no audio back")
    return call


def speak(call: Call, packets: int = PACKETS) -> None:
    """Send some audio from the client's socket, at its pace."""
    for _ in range(packets):
        timestamp = call.client.sequence * STEP
        call.act(partial(call.client.send_audio, OPUS_SILENCE, timestamp))
        call.run(PACE)


def destinations(call: Call) -> set[Address]:
    """Which of our sockets audio comes to while we send some. What was under way before does not
    count."""
    speak(call)
    before = len(_arrivals(call))
    speak(call)
    call.run_until(lambda: len(_arrivals(call)) > before, call.stage.patience)
    call.run(PACE)
    return set(_arrivals(call)[before:])


def _arrivals(call: Call) -> list[Address]:
    """The sockets that RTP has come to so far, one for each packet."""
    return [
        entry.near
        for entry in call.stage.trail.entries
        if isinstance(entry, Crossing) and not entry.sent and classify(entry.data) is Kind.RTP
    ]


def way(call: Call, old: Address, new: Address) -> Way:
    """Where audio goes now."""
    found = destinations(call)
    match old in found, new in found:
        case True, False:
            return Way.OLD
        case False, True:
            return Way.NEW
        case True, True:
            return Way.BOTH
        case _:
            return Way.NOWHERE


class Renewed(Seen):
    """What an offer with new credentials came to."""

    NEW = "the answer has a new ufrag and a new password"
    HALF = "the answer has changed one of the two and not the other"
    SAME = "the answer has the old credentials"
    REFUSED = "the offer was refused"


def renew(call: Call) -> Renewed:
    """Restart ICE: offer new credentials and take what is answered. The client does not act on it
    (see ``go_on``), but checks of the case have the new names. Raises Unsupported where the server
    takes no second offer, Blocked where its answer makes no sense."""
    return take(call, call.client.restart())


def take(call: Call, offer: str) -> Renewed:
    """``renew`` with an offer of the case's own."""
    stage = call.stage
    if stage.door is None:
        raise Unsupported("there is no signalling")
    stage.note(f"another offer\n{offer}")
    try:
        text = stage.door.reoffer(call.name, offer)
    except Refused as refusal:
        stage.note(f"refused: {refusal}")
        return take_fragment(call, offer)
    return _learn(call, text)


def take_fragment(call: Call, offer: str) -> Renewed:
    """``take`` by a fragment of SDP (RFC 8840), which is how ICE is restarted over WHIP."""
    door = call.stage.door
    if door is None:
        raise Unsupported("there is no signalling")
    wanted = ("a=ice-ufrag:", "a=ice-pwd:", "a=candidate:", "a=mid:", "m=", "a=group:")
    lines = [line for line in offer.splitlines() if line.startswith(wanted)]
    call.stage.note("a fragment")
    try:
        text = door.restart(call.name, "".join(f"{line}\r\n" for line in lines))
    except Refused as refusal:
        call.stage.note(f"refused: {refusal}")
        return Renewed.REFUSED
    return Renewed.SAME if text is None else _learn(call, text)


def _learn(call: Call, text: str) -> Renewed:
    before = call.told
    try:
        told = read_answer_untrusted(text, before)
    except AnswerError as error:
        raise Blocked(str(error)) from error
    call.stage.note(f"another answer\n{text}")
    call.answer, call.told = text, told
    match told.ufrag == before.ufrag, told.password == before.password:
        case True, True:
            return Renewed.SAME
        case False, False:
            return Renewed.NEW
    return Renewed.HALF


def need_renewal(call: Call) -> None:
    """``renew``, where the question is what comes after. Raises Unsupported and Blocked."""
    match renew(call):
        case Renewed.NEW:
            return
        case Renewed.REFUSED:
            raise Unsupported("the server does not let ICE be restarted")
        case renewed:
            raise Blocked(f"ICE was not restarted: {renewed.value}")


def go_on(call: Call) -> None:
    """Let the client take the newest answer and check by it. Raises Blocked where no check is
    answered."""
    call.client.keepalives = True
    call.act(lambda: call.client.accept(call.answer, call.stage.now))
    done = call.run_until(lambda: call.client.nominated, 5.0)
    call.client.keepalives = False
    if not done:
        raise Blocked("after the restart no check is answered")
