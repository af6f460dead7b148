"""Offers as clients send them, seen by ICE: what is in them may be odd, and the call comes up.

What the answer says to such offers is asked in ``sdp_attributes``; here a client goes on from the
answer, because a server may answer soundly and then wait for ever for the candidate that it could
not read.
"""

from collections.abc import Callable

from conformance.case import Blocked, Case, Level, Observed, Rule, Seen, case
from conformance.probe.call import open_call
from conformance.probe.profiles import ICE
from conformance.probe.sdp_changes import in_each_section, instead
from conformance.stage import Stage


class Came(Seen):
    """What became of a call."""

    UP = "the call came up"
    NOT_UP = "the offer was answered, but the call did not come up"
    REFUSED = "the offer was refused"


_PLAIN = "abcDEF"
"""A ufrag neither short nor long: the harness's own are as short as may be."""


def _comes_up(rule: Rule, offer: str, edit: Callable[[str], str] = str, *, ufrag: str = "") -> Case:
    """A call whose offer ``edit`` has changed, and to which that must not matter."""

    @rule.asked(
        sends=f"an offer {offer}, and a client that goes on from there",
        profiles=ICE,
        good=(Came.UP,),
        bad=(Came.NOT_UP, Came.REFUSED),
    )
    def steps(stage: Stage) -> Observed:
        try:
            call = open_call(stage, edit=edit, ufrag=ufrag)
        except Blocked as blocked:
            open_call(stage, ufrag=_PLAIN)  # whoever refuses everything has nothing against this
            return Came.REFUSED, str(blocked)
        try:
            call.establish()
        except Blocked as blocked:
            open_call(stage, ufrag=_PLAIN).establish()
            return Came.NOT_UP, str(blocked)
        return Came.UP

    return steps


def _only_local(offer: str) -> str:
    """The one candidate is behind a name of mDNS."""
    lines = [line if not line.startswith("a=candidate:") else _LOCAL for line in offer.splitlines()]
    return "\r\n".join(lines) + "\r\n"


_LOCAL = (
    "a=candidate:1 1 udp 2113937151 0b1c2d3e-4f50-4a6b-8c7d-9e0f1a2b3c4d.local 50123 typ host "
    "generation 0 network-cost 999"
)

CANDIDATES = tuple(
    _comes_up(rule, f"with {what}", edit)
    for rule, what, edit in (
        (
            Rule(
                "rfc8839/5.1/local-name-among-candidates",
                "A candidate behind a name is ignored, and the others are not.",
                requirements=("rfc8839/5.1/2",),
                traps=("STUN and ICE 11",),
            ),
            "a .local candidate beside a plain one",
            in_each_section(_LOCAL),
        ),
        (
            Rule(
                "traps/ice/only-local-names",
                "An offer whose only candidates are names is answered: the client's checks will "
                "tell where it is.",
                requirements=("rfc8839/5.1/2",),
                traps=("STUN and ICE 11", "Facts"),
            ),
            "nothing but a .local candidate",
            _only_local,
        ),
        (
            Rule(
                "rfc8839/5.1/unknown-extension-of-a-candidate",
                "What stands behind a candidate's type and is not known is ignored.",
                requirements=("rfc8839/5.1/10",),
            ),
            "a candidate with extensions that nobody knows",
            in_each_section(
                "a=candidate:7 1 udp 2113937150 192.0.2.77 50124 typ host generation 0 ufrag abcd "
                "network-id 3 colour blue"
            ),
        ),
        (
            Rule(
                "rfc8839/5.1/unknown-transport",
                "A candidate of a transport that is not known is ignored.",
                requirements=("rfc8839/5.1/2",),
            ),
            "a candidate over SCTP",
            in_each_section("a=candidate:7 1 sctp 2113937150 192.0.2.77 9 typ host"),
        ),
        (
            Rule(
                "rfc8839/5.1/tcp-candidate",
                "Candidates over TCP are ignored by who speaks UDP alone.",
                traps=("STUN and ICE 12", "Facts"),
            ),
            "candidates over TCP, active and passive",
            in_each_section(
                "a=candidate:8 1 tcp 1518280447 192.0.2.77 9 typ host tcptype active\r\n"
                "a=candidate:8 1 tcp 1518214911 192.0.2.77 50125 typ host tcptype passive"
            ),
        ),
        (
            Rule(
                "traps/ice/component-2",
                "Candidates for RTCP are ignored where it shares RTP's port.",
                traps=("Facts",),
            ),
            "a candidate for component 2",
            in_each_section("a=candidate:1 2 udp 2130706430 192.0.2.77 50126 typ host"),
        ),
        (
            Rule(
                "rfc8839/5.1/ipv6-candidate",
                "A candidate of another address family is ignored where nothing can be done with "
                "it.",
                requirements=("rfc8839/5.1/2",),
            ),
            "a candidate with an IPv6 address",
            in_each_section("a=candidate:9 1 udp 2122252543 2001:db8::77 50127 typ host"),
        ),
        (
            Rule(
                "traps/ice/option-sped",
                "ICE options that nobody knows are ignored, those of DTLS in STUN too.",
                traps=("STUN and ICE 7", "Facts"),
            ),
            "a=ice-options:trickle sped googspedv1 renomination",
            instead("a=ice-options:trickle", "a=ice-options:trickle sped googspedv1 renomination"),
        ),
    )
)

UFRAGS = tuple(
    _comes_up(rule, f"whose ufrag {what}", ufrag=ufrag)
    for rule, what, ufrag in (
        (
            Rule(
                "rfc8839/5.4/shortest-ufrag",
                "A ufrag of four characters is taken.",
                traps=("Facts",),
            ),
            "has four characters",
            "a1B2",
        ),
        (
            Rule(
                "traps/ice/ufrag-of-32",
                "A ufrag of 32 characters is taken whole: USERNAME is not cut.",
                requirements=("rfc8445/7.3/4",),
                traps=("STUN and ICE 2", "Facts"),
            ),
            "has 32 characters",
            "abcdefghijklmnopqrstuvwxyz012345",
        ),
        (
            Rule(
                "rfc8839/5.4/longest-ufrag",
                "A ufrag of 256 characters is taken, though nobody may send one.",
                requirements=("rfc8839/5.4/5", "rfc8489/14.3/2"),
                traps=("STUN and ICE 2",),
            ),
            "has 256 characters",
            "abcdefgh" * 32,
        ),
        (
            Rule(
                "rfc8839/5.4/ufrag-with-plus-and-slash",
                "Plus and slash are characters of ICE's as good as any.",
                traps=("Facts",),
            ),
            "is +/+/",
            "+/+/",
        ),
        (
            Rule(
                "traps/ice/ufrag-outside-the-grammar",
                "Ufrags of some clients have characters that the grammar does not: they are "
                "compared like any other.",
                level=Level.SHOULD,
                traps=("STUN and ICE 2", "Facts"),
            ),
            "has an underscore and a hyphen",
            "a_b-c_d-",
        ),
    )
)


def _nominates(slug: str, requirement: str, what: str, at_once: bool) -> Case:
    @case(
        f"traps/ice/{slug}",
        requirement,
        sends=f"an offer, and checks of which {what} nominates",
        profiles=ICE,
        good=(Came.UP,),
        bad=(Came.NOT_UP, Came.REFUSED),
        traps=("STUN and ICE 7", "Facts"),
    )
    def steps(stage: Stage) -> Observed:
        call = open_call(stage, nominate_at_once=at_once)
        try:
            call.establish()
        except Blocked as blocked:
            return Came.NOT_UP, str(blocked)
        return Came.UP

    return steps


NOMINATIONS = (
    _nominates(
        "nominated-at-once",
        "A client may nominate with its very first check, as Firefox does.",
        "the first already",
        True,
    ),
    _nominates(
        "nominated-by-the-second-check",
        "A client may nominate with its second check only, as libwebrtc does toward a lite agent.",
        "the second is the first that",
        False,
    ),
)
