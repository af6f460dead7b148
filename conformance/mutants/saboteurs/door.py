"""Servers whose answers are short of a line, hold another value, or fit no offer at all."""

import re
from collections.abc import Callable, Iterable

from conformance.case import Profile
from conformance.stage import Opened, Refused
from transceiver.events import EndReason

from .model import Saboteur, TamperedDoor, lying

Edit = Callable[[str], str]
_LINES = 44
"""Ours have fewer."""


def _reading(edit: Edit) -> type[TamperedDoor]:
    """Offers and fragments are read otherwise."""

    class Reading(TamperedDoor):
        def open(self, offer: str) -> Opened:
            return TamperedDoor.open(self, edit(offer))

        def reoffer(self, call: str, offer: str) -> str:
            return TamperedDoor.reoffer(self, call, edit(offer))

        def restart(self, call: str, fragment: str) -> str | None:
            return TamperedDoor.restart(self, call, edit(fragment))

    return Reading


def _writing(edit: Edit) -> type[TamperedDoor]:
    """Answers are written otherwise."""

    class Writing(TamperedDoor):
        def open(self, offer: str) -> Opened:
            opened = TamperedDoor.open(self, offer)
            return Opened(opened.call, edit(opened.answer))

        def reoffer(self, call: str, offer: str) -> str:
            return edit(TamperedDoor.reoffer(self, call, offer))

        def restart(self, call: str, fragment: str) -> str | None:
            answer = TamperedDoor.restart(self, call, fragment)
            return None if answer is None else edit(answer)

    return Writing


def _rewriting(edit: Edit) -> type[TamperedDoor]:
    """Answers are written otherwise where there is a call already."""

    class Writing(TamperedDoor):
        def reoffer(self, call: str, offer: str) -> str:
            return edit(TamperedDoor.reoffer(self, call, offer))

        def restart(self, call: str, fragment: str) -> str | None:
            answer = TamperedDoor.restart(self, call, fragment)
            return None if answer is None else edit(answer)

    return Writing


def _line(at: int, change: Callable[[str], list[str]]) -> Edit:
    """Another line, or none, in the place of that one."""

    def edit(text: str) -> str:
        lines = text.splitlines()
        if at < len(lines):
            lines[at : at + 1] = change(lines[at])
        return "".join(f"{line}\r\n" for line in lines)

    return edit


def _counted_up(line: str) -> list[str]:
    return [re.sub(r"\d+", lambda found: str(int(found[0]) + 1), line)]


_CHANGES: dict[str, Callable[[str], list[str]]] = {
    "lost": lambda line: [],
    "doubled": lambda line: [line, line],
    "counted-up": _counted_up,
    "cut": lambda line: [line[:-1]],
    "longer": lambda line: [line + "x"],
    "empty": lambda line: [re.split("[:=]", line, maxsplit=2)[0]],
}

_ATTRIBUTES = (
    *("ice-ufrag", "ice-pwd", "ice-options", "ice-lite", "setup", "fingerprint", "mid", "group"),
    *("rtpmap", "fmtp", "rtcp-mux", "rtcp", "extmap", "ssrc", "msid", "candidate", "sctp-port"),
    *("max-message-size", "sctpmap", "ptime", "maxptime", "sendrecv", "sendonly", "recvonly"),
    *("inactive", "end-of-candidates", "bundle-only", "rtcp-fb", "tls-id", "extmap-allow-mixed"),
    *("rtcp-rsize", "identity", "crypto", "remote-candidates", "ice-pacing"),
)


def _without(name: str) -> Edit:
    return lambda text: re.sub(rf"^a={re.escape(name)}\b[^\r\n]*\r?\n", "", text, flags=re.M)


def _replaced(pattern: str, by: str) -> Edit:
    return lambda text: re.sub(pattern, by, text, flags=re.M)


_WRITTEN = {
    "active": (r"^a=setup:\S+", "a=setup:active"),
    "passive": (r"^a=setup:\S+", "a=setup:passive"),
    "actpass": (r"^a=setup:\S+", "a=setup:actpass"),
    "holdconn": (r"^a=setup:\S+", "a=setup:holdconn"),
    "sendrecv": (r"^a=(sendonly|recvonly|inactive)", "a=sendrecv"),
    "sendonly": (r"^a=(sendrecv|recvonly|inactive)", "a=sendonly"),
    "recvonly": (r"^a=(sendrecv|sendonly|inactive)", "a=recvonly"),
    "inactive": (r"^a=(sendrecv|sendonly|recvonly)", "a=inactive"),
    "rejected": (r"^m=(\w+) \d+", r"m=\1 0"),
    "discard-port": (r"^m=(\w+) \d+", r"m=\1 9"),
    "other-profile": (r"^(m=\w+ \d+) \S+", r"\1 RTP/AVP"),
    "other-format": (r"^(m=audio \d+ \S+) \d+", r"\1 0"),
    "more-formats": (r"^(m=audio [^\r\n]+)", r"\1 8"),
    "no-address": (r"^c=[^\r\n]+", "c=IN IP4 0.0.0.0"),
    "name-for-address": (r"^(a=candidate:\S+ 1 \S+ \d+) \S+", r"\1 host.local"),
    "second-component": (r"^(a=candidate:\S+) 1 ", r"\1 2 "),
    "no-group": (r"^a=group:BUNDLE [^\r\n]*\r\n", ""),
    "empty-group": (r"^a=group:BUNDLE [^\r\n]*", "a=group:BUNDLE"),
    "more-in-group": (r"^(a=group:BUNDLE[^\r\n]*)", r"\1 zz"),
    "other-mid": (r"^a=mid:[^\r\n]*", "a=mid:zz"),
    "one-ufrag": (r"^a=ice-ufrag:[^\r\n]*", "a=ice-ufrag:abcd"),
    "one-password": (r"^a=ice-pwd:[^\r\n]*", "a=ice-pwd:abcdefghijklmnopqrstuv"),
    "short-password": (r"^(a=ice-pwd:.{4})[^\r\n]*", r"\1"),
    "odd-ufrag": (r"^a=ice-ufrag:(\S+)", r"a=ice-ufrag:\1-_"),
    "odd-password": (r"^a=ice-pwd:(\S+)", r"a=ice-pwd:\1-_"),
    "sha-1": (r"^a=fingerprint:sha-256 (.{59})[^\r\n]*", r"a=fingerprint:sha-1 \1"),
    "small-message": (r"^a=max-message-size:\d+", "a=max-message-size:1"),
    "no-media": (r"^m=[\s\S]*", ""),
    "version": (r"^v=0", "v=1"),
    "same-origin": (r"^(o=\S+) \S+ \S+", r"\1 1 1"),
    "mirrored-extensions": (r"^(a=mid:[^\r\n]*)", "\\1\r\na=extmap:3 urn:x:none"),
    "full-agent": (r"^a=ice-lite\r\n", ""),
    "ice2": (r"^a=ice-options:[^\r\n]*", "a=ice-options:ice2 none"),
    "no-renomination": (r"^(a=ice-options:)[^\r\n]*", r"\1x"),
    "bundle-only": (r"^(a=mid:[^\r\n]*)", "\\1\r\na=bundle-only"),
    "crypto": (r"^(a=mid:[^\r\n]*)", "\\1\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x"),
    "tcp-candidate": (r"^(a=candidate:\S+ 1) udp", r"\1 tcp"),
}


# --- fits no offer ------------------------------------------------------------------------------


class _EchoesOffers(TamperedDoor):
    def open(self, offer: str) -> Opened:
        return Opened(TamperedDoor.open(self, offer).call, offer)

    def reoffer(self, call: str, offer: str) -> str:
        TamperedDoor.reoffer(self, call, offer)
        return offer

    def restart(self, call: str, fragment: str) -> str | None:
        TamperedDoor.restart(self, call, fragment)
        return fragment


class _FirstAnswer(TamperedDoor):
    """The first answer again for whatever comes later."""

    first: str = ""

    def open(self, offer: str) -> Opened:
        opened = TamperedDoor.open(self, offer)
        self.first = self.first or opened.answer
        return Opened(opened.call, self.first)

    def reoffer(self, call: str, offer: str) -> str:
        return self.first

    def restart(self, call: str, fragment: str) -> str | None:
        return self.first


_CANNED = (
    "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-lite\r\na=group:BUNDLE 0\r\n"
    "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:abcd\r\n"
    "a=ice-pwd:abcdefghijklmnopqrstuv\r\na=fingerprint:sha-256 "
    + ":".join(["AB"] * 32)
    + "\r\na=setup:passive\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=sendrecv\r\n"
    "a=candidate:1 1 udp 2130706431 203.0.113.1 3478 typ host\r\n"
)


class _TakesAnything(TamperedDoor):
    """An answer out of a drawer where ours is a refusal."""

    def open(self, offer: str) -> Opened:
        try:
            return TamperedDoor.open(self, offer)
        except Refused:
            return Opened("none", _CANNED)

    def reoffer(self, call: str, offer: str) -> str:
        try:
            return TamperedDoor.reoffer(self, call, offer)
        except Refused:
            return _CANNED

    def restart(self, call: str, fragment: str) -> str | None:
        try:
            return TamperedDoor.restart(self, call, fragment)
        except Refused:
            return _CANNED

    def hang_up(self, call: str) -> None:
        try:
            TamperedDoor.hang_up(self, call)
        except Refused:
            return


class _ShutsAfterwards(TamperedDoor):
    """One refusal, and nobody gets in any more."""

    shut: bool = False

    def open(self, offer: str) -> Opened:
        if self.shut:
            raise Refused("shut")
        try:
            return TamperedDoor.open(self, offer)
        except Refused:
            self.shut = True
            raise


class _HangsUpAfterwards(TamperedDoor):
    """Whatever is refused, or asked for, of a call ends it."""

    def reoffer(self, call: str, offer: str) -> str:
        try:
            return TamperedDoor.reoffer(self, call, offer)
        finally:
            self._end(call)

    def restart(self, call: str, fragment: str) -> str | None:
        try:
            return TamperedDoor.restart(self, call, fragment)
        finally:
            self._end(call)

    def _end(self, call: str) -> None:
        self.endpoint.close_call(call, EndReason.HANGUP, self.clock())


class _OneCall(TamperedDoor):
    """A second call ends the first."""

    last: str = ""

    def open(self, offer: str) -> Opened:
        if self.last in self.endpoint.calls:
            self.endpoint.close_call(self.last, EndReason.HANGUP, self.clock())
        opened = TamperedDoor.open(self, offer)
        self.last = opened.call
        return opened


def _refusing(*verbs: str) -> type[TamperedDoor]:
    class Refusing(TamperedDoor):
        def open(self, offer: str) -> Opened:
            if "open" in verbs:
                raise Refused("no")
            return TamperedDoor.open(self, offer)

        def reoffer(self, call: str, offer: str) -> str:
            if "reoffer" in verbs:
                raise Refused("no")
            return TamperedDoor.reoffer(self, call, offer)

        def restart(self, call: str, fragment: str) -> str | None:
            if "restart" in verbs:
                raise Refused("no")
            return TamperedDoor.restart(self, call, fragment)

        def hang_up(self, call: str) -> None:
            if "hang-up" not in verbs:
                TamperedDoor.hang_up(self, call)

    return Refusing


def _families() -> Iterable[Saboteur]:
    for how, change in _CHANGES.items():
        for at in range(_LINES):
            does = f"Line {at} of its answers is {how}."
            yield lying(f"answer/line-{at}-{how}", does, _writing(_line(at, change)))
    for name, (pattern, by) in _WRITTEN.items():
        edit = _replaced(pattern, by)
        yield lying(f"answer/{name}", f"Its answers say {name}.", _writing(edit))
        yield lying(f"answer/{name}-later", f"Later answers say {name}.", _rewriting(edit))
        yield lying(f"offer/{name}", f"It reads {name} in all offers.", _reading(edit))
    for name in _ATTRIBUTES:
        does = f"It does not read a={name}."
        yield lying(f"offer/without-{name}", does, _reading(_without(name)))
        yield lying(f"answer/without-{name}", f"It writes no a={name}.", _writing(_without(name)))
    yield lying("door/echoes", "It answers an offer with the offer.", _EchoesOffers)
    yield lying("door/first-answer", "It gives its first answer again.", _FirstAnswer)
    yield lying("door/takes-anything", "It refuses nothing.", _TakesAnything)
    yield lying("door/shuts", "After a refusal it refuses everything.", _ShutsAfterwards)
    yield lying("door/hangs-up", "It hangs up on whoever asks again.", _HangsUpAfterwards)
    yield lying("door/one-call", "It has one call at a time.", _OneCall)
    for verb in ("open", "reoffer", "restart", "hang-up"):
        yield lying(f"door/no-{verb}", f"It does not {verb}.", _refusing(verb))


PROFILES = (
    Profile.SDP,
    Profile.SIGNALING,
    Profile.ICE_LITE,
)
SABOTEURS = tuple(_families())
