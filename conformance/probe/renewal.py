"""Calls whose credentials change while they last: restarts of ICE, and further offers at all.

There are two ways to look at one. A case about the wire has a ``Call`` with a client, renews it and
sends checks under the new names. A case about signalling has an ``Exchange`` of texts alone, and
reads each answer whole. A server that takes no further offers says so by refusing one that changes
nothing; then no case can ask what it does with others.
"""

import re
from typing import TypeAlias

from attrs import frozen

from conformance.case import Blocked, Seen, Unsupported
from conformance.client import AnswerError, ice_text, read_answer_untrusted
from conformance.stage import Refused, Stage

from .call import Call, need_door
from .sdp import Text, cut, plain

Credentials: TypeAlias = tuple[str | None, str | None]
"""ufrag and password."""


class Renewed(Seen):
    """What an offer to a call that is there came to."""

    NEW = "the answer has a new ufrag and a new password"
    HALF = "the answer has changed one of the two and not the other"
    SAME = "the answer has the old credentials"
    UNSOUND = "the answer breaks a rule"
    REFUSED = "the offer was refused"


def renew(call: Call) -> Renewed:
    """Restart ICE: offer new credentials and take what is answered. The client does not act on it
    (see ``go_on``), but checks of the case have the new names. Raises Unsupported where the server
    takes no second offer, Blocked where its answer makes no sense."""
    return renew_by(call, call.client.restart())


def renew_by(call: Call, offer: str) -> Renewed:
    """``renew`` with an offer of the case's own."""
    stage = call.stage
    door = need_door(stage)
    stage.note(f"another offer\n{offer}")
    try:
        text = door.reoffer(call.name, offer)
    except Refused as refusal:
        stage.note(f"refused: {refusal}")
        return renew_by_fragment(call, offer)
    return _learn(call, text)


def renew_by_fragment(call: Call, offer: str) -> Renewed:
    """The same by a fragment of SDP (RFC 8840), which is how ICE is restarted over WHIP."""
    door = need_door(call.stage)
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
    return compared((before.ufrag, before.password), (told.ufrag, told.password))


def compared(old: Credentials, new: Credentials) -> Renewed:
    """Which halves of the credentials are new."""
    match old[0] == new[0], old[1] == new[1]:
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


# --- by the texts alone ---------------------------------------------------------------------------


@frozen(slots=True)
class Exchange:
    """A call with its first offer and answer."""

    call: str
    offer: str
    answer: str

    @property
    def text(self) -> Text:
        return cut(self.answer)


def open_texts(stage: Stage) -> Exchange:
    """Open a call. Raises Unsupported without a door, Blocked where it is refused."""
    door = need_door(stage)
    offer = plain(stage)
    try:
        opened = door.open(offer)
    except Refused as error:
        raise Blocked(f"a plain offer is refused: {error}") from error
    return Exchange(opened.call, offer, opened.answer)


def reoffer(stage: Stage, first: Exchange, offer: str) -> str:
    """The answer to a further offer. Raises Unsupported where even an unchanged one is refused,
    Refused where this one is."""
    door = need_door(stage)
    try:
        door.reoffer(first.call, raised(first.offer))
    except Refused as error:
        raise Unsupported(f"takes no further offers: {error}") from error
    return door.reoffer(first.call, offer)


def raised(offer: str, by: int = 1) -> str:
    """With the version in the o= line raised, as every further offer has it."""
    return re.sub(
        r"(o=\S+ \S+ )(\d+)", lambda found: f"{found[1]}{int(found[2]) + by}", offer, count=1
    )


def fresh(stage: Stage, offer: str, *, ufrag: bool = True, password: bool = True) -> str:
    """With new credentials of ICE, or one half of them."""
    if ufrag:
        offer = re.sub(r"a=ice-ufrag:\S+", f"a=ice-ufrag:{ice_text(stage.entropy, 8)}", offer)
    if password:
        offer = re.sub(r"a=ice-pwd:\S+", f"a=ice-pwd:{ice_text(stage.entropy, 24)}", offer)
    return offer


def told_credentials(text: Text) -> Credentials:
    """ufrag and password of the first section that has them."""
    for section in text.sections:
        found = (text.of(section, "ice-ufrag"), text.of(section, "ice-pwd"))
        if found != (None, None):
            return found
    return None, None
