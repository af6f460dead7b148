"""What the cases are about, taken together, and how they are worded."""

import inspect
import re
import textwrap
from collections import Counter

import pytest

from conformance import cases, catalogue
from conformance.case import Level, Profile, Seen, Verdict, case
from conformance.drivers.memory import MemoryDriver
from conformance.runner import run_case
from conformance.traps import FACTS, TRAPS

LEAST = {
    "STUN and ICE": 90,
    "demultiplexing": 20,
    "DTLS": 80,
    "SRTP, RTP, RTCP": 40,
    "SCTP and data channels": 40,
    "SDP and signalling": 30,
    "relay": 30,
}
AREAS = {
    "stun": "STUN and ICE",
    "ice": "STUN and ICE",
    "demux": "demultiplexing",
    "dtls": "DTLS",
    "srtp": "SRTP, RTP, RTCP",
    "rtp": "SRTP, RTP, RTCP",
    "rtcp": "SRTP, RTP, RTCP",
    "sctp": "SCTP and data channels",
    "channels": "SCTP and data channels",
    "sdp": "SDP and signalling",
    "signaling": "SDP and signalling",
    "relay": "relay",
}
NUMBERS = {
    "STUN and ICE": 13,
    "DTLS": 13,
    "SRTP, RTP, RTCP": 3,
    "SCTP and data channels": 3,
    "SDP": 2,
}
LEANS_ON_ANOTHER = re.compile(r"(And|Nor|So does|So do|Not even|the same( for|,| with))\b")
"""How a sentence begins that cannot be read without the one before it."""


class Light(Seen):
    GREEN = "green"
    RED = "red"


def make(*traps: str) -> None:
    case(
        "rfc1/2.3/a-light",
        "It is green.",
        sends="a look",
        profiles=(Profile.STUN,),
        good=(Light.GREEN,),
        bad=(Light.RED,),
        level=Level.MUST,
        traps=traps,
    )


def test_every_area_has_its_share() -> None:
    count = Counter(AREAS[file.partition("_")[0]] for _, file in catalogue.files())
    assert {area: count[area] for area, least in LEAST.items() if count[area] < least} == {}
    assert count.total() >= 300


def test_relay_cases_have_files_of_their_own() -> None:
    for each, file in catalogue.files():
        assert (Profile.RELAY in each.profiles) is file.startswith("relay_"), each.name


def test_traps_are_numbered_without_a_gap() -> None:
    expected = [f"{area} {n}" for area, most in NUMBERS.items() for n in range(1, most + 1)]
    assert list(TRAPS) == [*expected, FACTS]


@pytest.mark.parametrize("trap", TRAPS)
def test_every_trap_is_a_case(trap: str) -> None:
    assert any(trap in each.traps for each in catalogue.load())


@pytest.mark.parametrize(
    "traps", [("STUN 1",), ("DTLS 14",), ("Facts: offers",), ("DTLS 1", "DTLS 1")]
)
def test_traps_have_one_spelling(traps: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="no traps"):
        make(*traps)
    make("DTLS 1", FACTS)


@pytest.mark.parametrize("each", catalogue.load(), ids=lambda each: each.name)
def test_sentences_can_be_read_alone(each) -> None:
    assert re.fullmatch(r"([A-Z0-9]|libwebrtc|ufrag).*\.", each.requirement)
    assert not each.sends.endswith(".")
    for text in (each.requirement, each.sends):
        assert not LEANS_ON_ANOTHER.match(text), text
        assert "  " not in text
        assert "—" not in text


def test_the_example_of_the_guide_is_a_case() -> None:
    """It is what contributors begin with."""
    guide = inspect.getdoc(cases) or ""
    example = re.search(r"whole one::\n\n((?:    [^\n]*\n|\n)+)", guide)
    assert example is not None
    written: dict[str, object] = {}
    exec(textwrap.dedent(example[1]), written)
    assert run_case(written["another_password"], MemoryDriver()).verdict is Verdict.PASS
