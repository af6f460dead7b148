"""Offers with one thing changed, and what is wrong with the answers.

An offer is text here, and is changed as text: what a case wants to send, no writer of good offers
would write. An answer is read whole, against its offer, by every rule that an answer has to keep
whatever was asked; so a case that only wants to see its change accepted notices a broken answer
too.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from attrs import frozen

from conformance.case import Blocked, Seen, Unsupported
from conformance.client import Client, is_number
from conformance.stage import Refused, Stage

from .call import need_door

_ICE_CHAR = re.compile(r"[A-Za-z0-9+/]+")
_MEDIA = re.compile(r"m=(\S+) (\d+)(?:/\d+)? (\S+) (.+)")
_OPPOSITE = {
    "sendrecv": {"sendrecv", "sendonly", "recvonly", "inactive"},
    "sendonly": {"recvonly", "inactive"},
    "recvonly": {"sendonly", "inactive"},
    "inactive": {"inactive"},
}
_SETUP = {
    "actpass": {"active", "passive"},
    "active": {"passive", "holdconn"},
    "passive": {"active", "holdconn"},
}


class Offered(Seen):
    """What became of an offer."""

    ANSWERED = "a sound answer"
    UNSOUND = "an answer that breaks a rule"
    REFUSED = "a refusal"
    BROKE = "an error of the server's own, or no response at all"
    DEAD = "afterwards not even a plain offer is answered"

    @property
    def is_grave(self) -> bool:
        return self is Offered.DEAD


ANSWERED = (Offered.ANSWERED,)
FAULTS = (Offered.UNSOUND, Offered.BROKE, Offered.DEAD)
"""Never right."""
NOT_ANSWERED = (*FAULTS, Offered.REFUSED)
"""With FAULTS, the oracle of an offer that has to be answered."""


@frozen(slots=True)
class Section:
    """A media section of a description: its ``m=`` line in parts, and all its lines."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    lines: tuple[str, ...]

    @property
    def rejected(self) -> bool:
        return self.port == 0 and "a=bundle-only" not in self.lines

    def values(self, name: str) -> tuple[str, ...]:
        """Of every attribute of that name; empty text for a flag."""
        return _values(self.lines, name)

    def first(self, name: str) -> str | None:
        found = self.values(name)
        return found[0] if found else None


@frozen(slots=True)
class Text:
    """A description cut into its session part and its sections."""

    session: tuple[str, ...]
    sections: tuple[Section, ...]

    def values(self, name: str) -> tuple[str, ...]:
        """Of the session's attributes."""
        return _values(self.session, name)

    def of(self, section: Section, name: str) -> str | None:
        """An attribute of a section, or the session's where the section has none."""
        found = section.first(name)
        if found is None and (above := self.values(name)):
            return above[0]
        return found


@frozen(slots=True)
class Posed:
    """An offer and what became of it. ``text`` is the answer cut up; None without one."""

    kind: Offered
    detail: str
    offer: Text
    call: str = ""
    answer: str = ""
    text: Text | None = None

    @property
    def observed(self) -> tuple[Offered, str]:
        """For a case to return."""
        return self.kind, self.detail

    def is_rejected(self, index: int) -> bool:
        """Whether there is an answer which rejects that section."""
        if self.text is None or len(self.text.sections) <= index:
            return False
        return self.text.sections[index].rejected


def cut(description: str) -> Text:
    """Into lines and sections; whatever is no ``m=`` line that can be read stays a line."""
    session: list[str] = []
    sections: list[list[str]] = []
    for line in description.replace("\r\n", "\n").split("\n"):
        if _MEDIA.fullmatch(line):
            sections.append([line])
        elif line:
            (sections[-1] if sections else session).append(line)
    return Text(tuple(session), tuple(_section(lines) for lines in sections))


def _section(lines: list[str]) -> Section:
    found = _MEDIA.fullmatch(lines[0])
    if found is None:
        raise ValueError("not a media line")
    kind, port, protocol, formats = found.groups()
    return Section(kind, int(port[:6]), protocol, tuple(formats.split()), tuple(lines))


def _values(lines: Iterable[str], name: str) -> tuple[str, ...]:
    prefix = f"a={name}:"
    return tuple(
        line.removeprefix(prefix) if line.startswith(prefix) else ""
        for line in lines
        if line.startswith(prefix) or line == f"a={name}"
    )


def pose(
    stage: Stage,
    change: Callable[[str], str] = lambda offer: offer,
    *,
    strict: bool = True,
    **options: Any,
) -> Posed:
    """Offer what ``change`` makes of a plain offer. ``options`` are the client's. Without
    ``strict`` any answer is taken for sound. Raises Unsupported where there is no door."""
    door = need_door(stage)
    offer = change(plain(stage, **options))
    stage.note(f"offer\n{offer}")
    try:
        opened = door.open(offer)
    except Refused as error:
        broke = error.status is not None and error.status >= 500
        broke = broke or (error.status is None and door.http is not None)
        kind = Offered.BROKE if broke else Offered.REFUSED
        if not answers(stage):
            kind = Offered.DEAD
        return Posed(kind, str(error), cut(offer))
    stage.note(f"answer\n{opened.answer}")
    wrong = faults(offer, opened.answer) if strict else []
    return Posed(
        Offered.UNSOUND if wrong else Offered.ANSWERED,
        "; ".join(wrong),
        cut(offer),
        opened.call,
        opened.answer,
        cut(opened.answer),
    )


def plain(stage: Stage, **options: Any) -> str:
    """A plain offer of a new client, with audio unless told otherwise."""
    return Client(
        entropy=stage.entropy, address=stage.open_socket(), announces=True, **options
    ).offer()


def answers(stage: Stage) -> bool:
    """Whether a plain offer is answered."""
    if stage.door is None:
        return False
    try:
        stage.door.open(plain(stage))
    except Refused:
        return False
    return True


def need_answer(stage: Stage, **options: Any) -> Posed:
    """A plain offer's answer. Raises Blocked where there is none."""
    posed = pose(stage, strict=False, **options)
    if posed.text is None:
        raise Blocked(f"a plain offer is refused: {posed.detail}")
    return posed


def need_data(stage: Stage) -> None:
    """Raises Unsupported where a plain offer of a data channel is not taken."""
    posed = need_answer(stage, contents=("data",))
    if posed.text is None or not posed.text.sections or posed.text.sections[0].rejected:
        raise Unsupported("the server takes no data channels")


# --- what is wrong with an answer -----------------------------------------------------------------


def faults(offer: str, answer: str) -> list[str]:
    """Every rule that the answer breaks, in a few words each."""
    asked, told = cut(offer), cut(answer)
    wrong = [*_lines(answer), *_session(asked, told)]
    kinds = [section.kind for section in asked.sections]
    if [section.kind for section in told.sections] != kinds:
        return [*wrong, "the sections are not those of the offer"]
    for index, (theirs, ours) in enumerate(zip(asked.sections, told.sections, strict=True)):
        said = _section_faults(asked, told, theirs, ours)
        wrong += [f"section {index}: {each}" for each in said]
    return wrong


def _lines(answer: str) -> list[str]:
    wrong = []
    if not answer.endswith("\r\n"):
        wrong.append("the last line does not end in CRLF")
    if re.search(r"(?<!\r)\n|\r(?!\n)", answer):
        wrong.append("a line does not end in CRLF")
    lines = answer.replace("\r\n", "\n").removesuffix("\n").split("\n")
    if any(not re.match(r"[a-z]=", line) for line in lines):
        wrong.append("a line is not TYPE=VALUE")
    order = "".join(line[:1] for line in lines[:3])
    if order != "vos" or lines[0] != "v=0":
        wrong.append("it does not begin with v=0, o=, s=")
    if not any(line.startswith("t=") for line in lines):
        wrong.append("no t= line")
    return wrong


def _session(asked: Text, told: Text) -> list[str]:
    wrong = []
    origin = next((line for line in told.session if line.startswith("o=")), "")
    if not re.fullmatch(r"o=\S+ \d+ \d+ IN IP[46] \S+", origin):
        wrong.append("the o= line cannot be read")
    offered = {mid for value in asked.values("group") for mid in value.split()[1:]}
    refused = {s.first("mid") for s in told.sections if s.rejected}
    for value in told.values("group"):
        mids = value.split()[1:]
        if not offered.issuperset(mids):
            wrong.append("its group names what the offer's does not")
        if refused.intersection(mids):
            wrong.append("a rejected section is in a group")
    return wrong


def _section_faults(asked: Text, told: Text, theirs: Section, ours: Section) -> list[str]:
    wrong = []
    if ours.protocol != theirs.protocol:
        wrong.append("another protocol than was offered")
    if theirs.first("mid") is not None and ours.first("mid") not in (theirs.first("mid"), None):
        wrong.append("another mid than was offered")
    if ours.rejected:
        return wrong
    if theirs.first("mid") is not None and ours.first("mid") is None:
        wrong.append("no mid")
    wrong += _transport(asked, told, theirs, ours)
    if ours.kind in ("audio", "video"):
        wrong += _media(asked, told, theirs, ours)
    elif ours.kind == "application" and "webrtc-datachannel" in ours.formats:
        port = ours.first("sctp-port")
        if port is None or not is_number(port) or not 0 < int(port) < 65536:
            wrong.append("no a=sctp-port")
    return wrong


def _transport(asked: Text, told: Text, theirs: Section, ours: Section) -> list[str]:
    wrong = []
    for name, least in (("ice-ufrag", 4), ("ice-pwd", 22)):
        value = told.of(ours, name)
        if value is None or not _ICE_CHAR.fullmatch(value) or not least <= len(value) <= 256:
            wrong.append(f"a={name} is missing or breaks its grammar")
    setup = asked.of(theirs, "setup") or "actpass"
    if told.of(ours, "setup") not in _SETUP.get(setup, {"active", "passive"}):
        wrong.append(f"a=setup:{told.of(ours, 'setup')} to {setup}")
    if told.of(ours, "fingerprint") is None:
        wrong.append("no a=fingerprint")
    if ours.values("ice-lite"):
        wrong.append("a=ice-lite in a section")
    return wrong


def _media(asked: Text, told: Text, theirs: Section, ours: Section) -> list[str]:
    wrong = []
    if not set(ours.formats) <= set(theirs.formats):
        wrong.append("a payload type that was not offered")
    maps = dict(value.split(" ", 1) for value in theirs.values("rtpmap") if " " in value)
    for value in ours.values("rtpmap"):
        number, _, name = value.partition(" ")
        if number in maps and maps[number].lower() != name.lower():
            wrong.append(f"payload type {number} means something else")
    if direction(told, ours) not in _OPPOSITE[direction(asked, theirs)]:
        wrong.append(f"{direction(told, ours)} to {direction(asked, theirs)}")
    if theirs.values("rtcp-mux") and not ours.values("rtcp-mux"):
        wrong.append("no a=rtcp-mux")
    if not theirs.values("rtcp-mux") and ours.values("rtcp-mux"):
        wrong.append("a=rtcp-mux that was not offered")
    offered = {value.split()[0].partition("/")[0] for value in theirs.values("extmap")}
    ids = {value.split()[0].partition("/")[0] for value in ours.values("extmap")}
    if not ids <= offered:
        wrong.append("a header extension that was not offered")
    return wrong


def direction(text: Text, section: Section) -> str:
    """Of a section; what the session says, and sendrecv, where it says nothing."""
    for lines in (section.lines, text.session):
        for name in _OPPOSITE:
            if f"a={name}" in lines:
                return name
    return "sendrecv"
