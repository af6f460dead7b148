"""Further offers for a live call, and restarts of ICE.

A server that takes no further offers at all says so by refusing a plain one; then no case can ask
what it does with others.
"""

import re

from attrs import frozen

from conformance.case import Blocked, Unsupported
from conformance.client import ice_text
from conformance.stage import Refused, Stage

from .sdp import Text, cut, plain


@frozen(slots=True)
class Later:
    """A call with its first offer and answer."""

    call: str
    offer: str
    answer: str

    @property
    def text(self) -> Text:
        return cut(self.answer)


def begin(stage: Stage) -> Later:
    """Open a call. Raises Unsupported without a door, Blocked where it is refused."""
    if stage.door is None:
        raise Unsupported("there is no signalling: only an address was given")
    offer = plain(stage)
    try:
        opened = stage.door.open(offer)
    except Refused as error:
        raise Blocked(f"a plain offer is refused: {error}") from error
    return Later(opened.call, offer, opened.answer)


def again(stage: Stage, first: Later, offer: str) -> str:
    """The answer to a further offer. Raises Unsupported where even an unchanged one is refused,
    Refused where this one is."""
    if stage.door is None:
        raise Unsupported("there is no signalling: only an address was given")
    try:
        stage.door.reoffer(first.call, raised(first.offer))
    except Refused as error:
        raise Unsupported(f"takes no further offers: {error}") from error
    return stage.door.reoffer(first.call, offer)


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


def credentials(text: Text) -> tuple[str | None, str | None]:
    """ufrag and password of the first section that has them."""
    for section in text.sections:
        found = (text.of(section, "ice-ufrag"), text.of(section, "ice-pwd"))
        if found != (None, None):
            return found
    return None, None
