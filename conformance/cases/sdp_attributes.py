"""Attributes of offers as they come in the field, and what the answer says to them.

Each offer has one thing changed that clients really write, and the answer is read whole: one that
takes the oddity and breaks another rule has not passed. Whether the call then comes up is asked in
``ice_offer`` and ``dtls_srtp``.
"""

import re
from collections.abc import Callable

from conformance.case import Case, Level, Observed, Rule, case
from conformance.probe.profiles import DTLS_AND_SDP, SDP, SRTP_AND_SDP
from conformance.probe.sdp import ANSWERED, FAULTS, NOT_ANSWERED, Offered, direction, pose
from conformance.probe.sdp_changes import added, hoisted, instead, renaming, without
from conformance.stage import Stage


def _taken(rule: Rule, sends: str, change: Callable[[str], str]) -> Case:
    """A case of an offer that has to be answered soundly."""

    @rule.asked(sends=sends, profiles=SDP, good=ANSWERED, bad=NOT_ANSWERED)
    def steps(stage: Stage) -> Observed:
        return pose(stage, change).observed

    return steps


TAKEN = (
    _taken(
        Rule(
            "rfc8839/5.4/credentials-at-the-session",
            "ufrag, password, fingerprint and setup may stand at the session and then hold for "
            "every section.",
            traps=("Facts",),
        ),
        "an offer whose transport attributes stand before the first section",
        hoisted,
    ),
    _taken(
        Rule(
            "rfc8839/4.2.5/options-with-a-comma",
            "ICE options that the grammar does not have are ignored.",
            traps=("Facts",),
        ),
        "a=ice-options:ice2,trickle",
        instead("a=ice-options:trickle", "a=ice-options:ice2,trickle"),
    ),
    _taken(
        Rule(
            "rfc8839/4.2.5/unknown-options",
            "ICE options that nobody knows are ignored.",
            traps=("Facts",),
        ),
        "a=ice-options:trickle sped googspedv1",
        instead("a=ice-options:trickle", "a=ice-options:trickle sped googspedv1"),
    ),
    _taken(
        Rule(
            "rfc8839/5.1/no-candidates",
            "An offer without candidates is answered: its agent is learned from its checks.",
            traps=("STUN and ICE 11", "Facts"),
        ),
        "an offer without any a=candidate",
        without("a=candidate|a=end-of"),
    ),
    _taken(
        Rule(
            "rfc8839/5.1/names-for-candidates",
            "Candidates with names instead of addresses are ignored, not fatal.",
            traps=("STUN and ICE 11", "Facts"),
        ),
        "an offer whose only candidate is a .local name",
        lambda offer: re.sub(
            r"(a=candidate:1 1 udp \d+ )\S+( \d+)",
            r"\g<1>4d3a7b0c-0000-4000-8000-0123456789ab.local\g<2>",
            offer,
        ),
    ),
    _taken(
        Rule(
            "rfc8839/5.1/candidates-of-every-kind",
            "Candidates that cannot be used (TCP, component 2, another family, unknown types and "
            "extensions) are ignored.",
            requirements=("rfc8839/5.1/1",),
            traps=("Facts",),
        ),
        "an offer with TCP, component-2, IPv6, relayed and unknown candidates beside a good one",
        added(
            "a=candidate:2 2 udp 2113937150 192.0.2.9 9 typ host",
            "a=candidate:3 1 tcp 1518280447 192.0.2.9 9 typ host tcptype active",
            "a=candidate:4 1 udp 2122260223 2001:db8::9 9 typ host generation 0 network-id 1",
            "a=candidate:5 1 udp 41885439 192.0.2.9 9 typ relay raddr 0.0.0.0 rport 0",
            "a=candidate:6 1 sctp 1 192.0.2.9 9 typ shy with its own words",
        ),
    ),
    _taken(
        Rule(
            "rfc8122/5/fingerprint-in-capitals",
            "The name of a hash function is the same in capitals.",
            traps=("DTLS 12", "Facts"),
        ),
        "a=fingerprint:SHA-256 with the right digest",
        renaming(lambda line: line.replace("sha-256", "SHA-256")),
    ),
    _taken(
        Rule(
            "rfc8122/5/fingerprint-in-small-letters",
            "The digits of a fingerprint may be small letters.",
            level=Level.SHOULD,  # the grammar has capitals
            traps=("DTLS 12",),
        ),
        "a=fingerprint with its digits in lower case",
        renaming(lambda line: line.lower()),
    ),
    _taken(
        Rule(
            "rfc8122/5.1/several-fingerprints",
            "Several fingerprints may be offered, also by functions that nobody knows.",
            traps=("DTLS 12",),
        ),
        "the right sha-256 fingerprint after one of an unknown function",
        renaming(lambda line: "sha-999 AA:BB", lambda line: line),
    ),
    _taken(
        Rule(
            "rfc8866/9/unknown-lines", "Attributes that nobody knows are ignored.", traps=("SDP 2",)
        ),
        "an offer with unknown attributes at the session and in the section",
        lambda offer: added("a=x-nobody-knows:this at all", "a=x-flag", "b=X-YZ:128")(
            offer.replace("t=0 0\r\n", "t=0 0\r\na=x-session:what\r\n")
        ),
    ),
    _taken(
        Rule(
            "rfc8866/6.6/opus-in-capitals",
            "Names of codecs are the same in capitals.",
            traps=("Facts",),
        ),
        "a=rtpmap:111 OPUS/48000/2",
        instead("opus/48000", "OPUS/48000"),
    ),
    _taken(
        Rule(
            "rfc8285/6/extensions-offered",
            "An answer has header extensions only from among those offered.",
        ),
        "an offer with audio level, MID and an unknown header extension",
        added(
            "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            "a=extmap:4/sendrecv urn:ietf:params:rtp-hdrext:sdes:mid",
            "a=extmap:14 urn:example:nobody:knows",
            "a=extmap-allow-mixed",
        ),
    ),
    _taken(
        Rule(
            "rfc8829/5.2.1/sources-described",
            "Lines about the client's sources and streams are taken or ignored.",
        ),
        "an offer with msid, ssrc and rtcp-fb lines",
        lambda offer: added(
            "a=msid:stream track",
            "a=ssrc:4021 cname:x",
            "a=ssrc:4021 msid:stream track",
            "a=ssrc:4021 mslabel:stream",
            "a=ssrc:4021 label:track",
            "a=rtcp-fb:111 transport-cc",
            "a=rtcp-rsize",
        )(re.sub(r"a=ssrc:[^\n]*\n", "", offer)),
    ),
)


def _mapped(number: int) -> Case:
    @case(
        f"rfc3264/6.1/opus-as-{number}",
        f"Opus that is offered as payload type {number} is answered as {number}.",
        sends=f"an offer whose Opus has payload type {number}",
        profiles=SDP,
        good=ANSWERED,
        bad=NOT_ANSWERED,
        traps=("SDP 2",),
    )
    def steps(stage: Stage) -> Observed:
        posed = pose(stage, codecs=((number, "opus/48000/2"),))
        if posed.text is not None and posed.text.sections[0].formats[:1] != (str(number),):
            return Offered.UNSOUND, f"answered as {posed.text.sections[0].formats}"
        return posed.observed

    return steps


MAPPED = tuple(_mapped(number) for number in (96, 109, 127))


def _turned(offered: str, answers: tuple[str, ...]) -> Case:
    said = " or ".join(answers)

    @case(
        f"rfc3264/6.1/to-{offered}",
        f"What is offered as {offered} is answered as {said}.",
        sends=f"an offer with a={offered}",
        profiles=SDP,
        good=ANSWERED,
        bad=NOT_ANSWERED,
    )
    def steps(stage: Stage) -> Observed:
        posed = pose(stage, instead("a=sendrecv", f"a={offered}"))
        if posed.text is not None:
            told = direction(posed.text, posed.text.sections[0])
            if told not in answers and not posed.is_rejected(0):
                return Offered.UNSOUND, f"answered as {told}"
        return posed.observed

    return steps


TURNED = (
    _turned("sendonly", ("recvonly", "inactive")),
    _turned("recvonly", ("sendonly", "inactive")),
    _turned("inactive", ("inactive",)),
)


def _roles(setup: str, answer: tuple[str, ...], requirements: tuple[str, ...] = ()) -> Case:
    said = " or ".join(answer)

    @case(
        f"rfc8842/5.3/setup-{setup}",
        f"To a=setup:{setup} the answer says {said}: exactly one side is the DTLS client.",
        sends=f"an offer with a=setup:{setup}",
        profiles=DTLS_AND_SDP,
        good=(Offered.ANSWERED,),
        lenient=(Offered.REFUSED,),
        bad=FAULTS,
        requirements=requirements,
        traps=("DTLS 5",),
    )
    def steps(stage: Stage) -> Observed:
        posed = pose(stage, setup=setup)
        if posed.text is not None and not posed.is_rejected(0):
            told = posed.text.of(posed.text.sections[0], "setup")
            if told not in answer:
                return Offered.UNSOUND, f"a=setup:{told}"
        return posed.observed

    return steps


ROLES = (
    _roles("actpass", ("active", "passive")),
    _roles("active", ("passive",)),
    _roles("passive", ("active",)),
)


@case(
    "rfc5761/5.1.1/no-mux-offered",
    "Where multiplexing RTP and RTCP is not offered, the answer does not claim it.",
    sends="an offer without a=rtcp-mux",
    profiles=SRTP_AND_SDP,
    good=(Offered.ANSWERED, Offered.REFUSED),
    bad=FAULTS,
    requirements=("rfc5761/5.1.1/3",),
)
def no_mux_offered(stage: Stage) -> Observed:
    return pose(stage, without("a=rtcp-mux")).observed


@case(
    "rfc3264/6/no-codec-in-common",
    "Where no codec is known the section is rejected or the offer refused.",
    sends="an offer of an audio section with one codec that nobody has",
    profiles=SDP,
    good=(Offered.ANSWERED, Offered.REFUSED),
    bad=FAULTS,
)
def no_codec(stage: Stage) -> Observed:
    posed = pose(stage, codecs=((101, "x-nobody/8000"),))
    if posed.text is not None and not posed.is_rejected(0):
        return Offered.UNSOUND, "a codec that cannot be known was taken"
    return posed.observed


@case(
    "rfc3264/6/pcmu-alone",
    "PCMU by its static payload type is taken, with or without a=rtpmap.",
    sends="an offer of PCMU alone, without a=rtpmap",
    profiles=SDP,
    good=(Offered.ANSWERED,),
    lenient=(Offered.REFUSED,),
    bad=FAULTS,
)
def pcmu_alone(stage: Stage) -> Observed:
    posed = pose(
        stage,
        without("a=rtpmap:0 "),
        codecs=((0, "PCMU/8000"),),
    )
    if posed.is_rejected(0):
        return Offered.REFUSED, "the section is rejected"
    return posed.observed
