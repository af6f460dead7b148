"""Servers whose answers promise what cannot be kept."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from attrs import evolve

from stunroute.instant import Instant
from transceiver.endpoint import Answered, Endpoint

from .model import Mutant, mutant, swapped


def _written(name: str, breaks: str, killer: str, edit: Callable[[str, str], str]) -> Mutant:
    """One that answers otherwise: ``edit`` has the offer and the honest answer."""

    @mutant(name, breaks, killer=killer)
    def answering() -> Iterator[None]:
        def open_call(self: Endpoint, offer: str, now: Instant, **more: Any) -> Answered:
            answered = honest(self, offer, now, **more)
            return evolve(answered, answer=edit(offer, answered.answer))

        honest = Endpoint.open_call
        with swapped(Endpoint, "open_call", open_call):
            yield

    return answering


def _candidate(line: str) -> Callable[[str, str], str]:
    """One more, behind the first."""
    return lambda offer, answer: re.sub(
        r"^(a=candidate:[^\r\n]*)",
        lambda found: f"{found[1]}\r\n{line}",
        answer,
        count=1,
        flags=re.M,
    )


loopback = _written(
    "sdp/loopback-among-candidates",
    "It offers its loopback address to clients.",
    "rfc8445/5.1.1.1/no-loopback",
    _candidate("a=candidate:7 1 udp 2130706000 127.0.0.1 3478 typ host"),
)


def _as_rtcp(offer: str, answer: str) -> str:
    taken = re.sub(r"^(m=audio \d+ \S+) [^\r\n]*", r"\1 72", answer, flags=re.M)
    return re.sub(r"^a=rtpmap:\d+ [^\r\n]*", "a=rtpmap:72 opus/48000/2", taken, flags=re.M)


reads_as_rtcp = _written(
    "sdp/number-that-reads-as-rtcp",
    "It takes a payload type that nobody can tell from RTCP.",
    "rfc5761/5.1.1/number-that-reads-as-rtcp",
    lambda offer, answer: _as_rtcp(offer, answer) if " 72" in offer else answer,
)

preference_of_127 = _written(
    "sdp/type-preference-of-127",
    "Its candidates have the largest priority that a number of 31 bits can be.",
    "rfc8445/5.1.2.1/type-preferences",
    lambda offer, answer: re.sub(
        r"^(a=candidate:\S+ \d+ \S+) \d+", r"\1 2147483647", answer, flags=re.M
    ),
)


def _again(offer: str, answer: str) -> str:
    """The first candidate once more, under another foundation and a priority of its own."""
    found = re.search(r"^a=candidate:\S+ (\d+ \S+) (\d+) ([^\r\n]*)", answer, re.M)
    if found is None:
        return answer
    kind, priority, rest = found.groups()
    return _candidate(f"a=candidate:other {kind} {int(priority) - 1} {rest}")(offer, answer)


two_foundations = _written(
    "sdp/foundation-for-each-candidate",
    "It counts its candidates up, and calls that their foundation.",
    "rfc8445/5.2/foundations",
    _again,
)


@mutant(
    "sdp/credentials-in-turn",
    "Each restart answers with the credentials of the one before the last.",
    killer="rfc8445/9/never-the-same-again",
)
def credentials_in_turn() -> Iterator[None]:
    told: list[list[str]] = []

    def reoffer(self: Endpoint, call: str, offer: str, now: Instant) -> str:
        answer = honest(self, call, offer, now)
        told.append(re.findall(r"^a=ice-(?:ufrag|pwd):[^\r\n]*", answer, re.M))
        for fresh, old in zip(told[-1], told[-3] if len(told) > 2 else told[-1], strict=True):
            answer = answer.replace(fresh, old)
        return answer

    honest = Endpoint.reoffer
    with swapped(Endpoint, "reoffer", reoffer):
        yield


def _line(line: str) -> Callable[[str, str], str]:
    """One more in the first section."""
    return lambda offer, answer: re.sub(
        r"^(a=mid:[^\r\n]*)", lambda found: f"{found[1]}\r\n{line}", answer, count=1, flags=re.M
    )


candidate_of_a_name = _written(
    "sdp/name-among-candidates",
    "It offers its host name to clients as a candidate.",
    "rfc8839/5.1/no-names",
    _candidate("a=candidate:7 1 udp 2130706000 media7.example.org 3478 typ host"),
)
foundation_outside_the_grammar = _written(
    "sdp/foundation-outside-the-grammar",
    "One of its candidates has a foundation with a hyphen.",
    "rfc8839/5.1/candidate-lines",
    _candidate("a=candidate:host-7 1 udp 2130706000 203.0.113.1 3478 typ host"),
)
remote_candidates = _written(
    "sdp/remote-candidates",
    "It names the client's candidates, which only a controlling agent does.",
    "rfc8839/5.2/no-remote-candidates",
    _line("a=remote-candidates:1 192.0.2.33 50000"),
)
pacing = _written(
    "sdp/paces-what-it-never-sends",
    "It tells at what pace it sends checks, though as a lite agent it sends none.",
    "rfc8839/4.3.2/lite-has-no-pacing",
    _line("a=ice-pacing:50"),
)
mismatch = _written(
    "sdp/sees-a-mismatch",
    "It says that the default candidate is missing from every offer.",
    "rfc8839/5.3/no-mismatch",
    _line("a=ice-mismatch"),
)
