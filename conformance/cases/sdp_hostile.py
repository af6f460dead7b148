"""Offers that nobody should send. A refusal is an answer; an error of the server's own is not.

An offer comes from whoever may call, which is often anybody. After a refusal a plain offer
has to be answered still.
"""

import re
from collections.abc import Callable

from conformance.case import Case, Level, Observed, Rule
from conformance.probe.profiles import SDP_AND_SIGNALING
from conformance.probe.sdp import FAULTS, Offered, pose
from conformance.probe.sdp_changes import without
from conformance.stage import Stage


def _refused(rule: Rule, sends: str, change: Callable[[str], str]) -> Case:
    """Has to be refused: an answer would promise what cannot be kept. Where only the grammar says
    so, which binds who writes an offer, it is better refused."""

    @rule.asked(
        sends=sends,
        profiles=SDP_AND_SIGNALING,
        good=(Offered.REFUSED,),
        bad=(Offered.ANSWERED, *FAULTS),
    )
    def steps(stage: Stage) -> Observed:
        posed = pose(stage, change, strict=False)
        if posed.text is not None and posed.text.sections and posed.is_rejected(0):
            return Offered.REFUSED, "the section is rejected"
        return posed.observed

    return steps


REFUSED = (
    _refused(
        Rule("rfc8866/5/no-description", "What is no session description is refused."),
        "text that is no SDP at all",
        lambda offer: "this is not what you wanted\r\n",
    ),
    _refused(Rule("rfc8866/5/empty", "An empty body is refused."), "nothing", lambda offer: ""),
    _refused(
        Rule(
            "rfc8866/5/another-version",
            "A description of another version of SDP is refused.",
            level=Level.SHOULD,
        ),
        "an offer that begins with v=1",
        lambda offer: offer.replace("v=0", "v=1", 1),
    ),
    _refused(
        Rule(
            "rfc8839/5.4/no-ufrag",
            "An offer without a ufrag is refused: no check could be told from a stranger's.",
        ),
        "an offer without a=ice-ufrag",
        without("a=ice-ufrag"),
    ),
    _refused(
        Rule("rfc8839/5.4/no-password", "An offer without a password is refused."),
        "an offer without a=ice-pwd",
        without("a=ice-pwd"),
    ),
    _refused(
        Rule(
            "rfc8842/5.1/no-fingerprint",
            "An offer without a fingerprint is refused: nobody could be authenticated.",
        ),
        "an offer without a=fingerprint",
        without("a=fingerprint"),
    ),
    _refused(
        Rule(
            "rfc8839/5.4/ufrag-of-strange-characters",
            "A ufrag with characters outside ICE's is refused.",
            level=Level.SHOULD,
        ),
        "an offer whose ufrag holds a space and a colon",
        lambda offer: re.sub(r"a=ice-ufrag:\S+", "a=ice-ufrag:a b:c", offer),
    ),
    _refused(
        Rule(
            "rfc8839/5.4/short-password",
            "A password of fewer than 22 characters is refused.",
            level=Level.SHOULD,
        ),
        "an offer whose password has 21 characters",
        lambda offer: re.sub(r"(a=ice-pwd:\S{21})\S*", r"\1", offer),
    ),
)


def _survived(rule: Rule, sends: str, change: Callable[[str], str]) -> Case:
    """May be answered or refused, and harms nobody else."""

    @rule.asked(
        sends=sends,
        profiles=SDP_AND_SIGNALING,
        good=(Offered.ANSWERED, Offered.REFUSED),
        bad=FAULTS,
    )
    def steps(stage: Stage) -> Observed:
        return pose(stage, change, strict=False).observed

    return steps


SURVIVED = (
    _survived(
        Rule(
            "rfc8866/5/bare-line-feeds", "Lines that end in a bare line feed are read or refused."
        ),
        "an offer whose lines end in LF",
        lambda offer: offer.replace("\r\n", "\n"),
    ),
    _survived(
        Rule(
            "rfc8866/5/no-last-line-end",
            "An offer whose last line does not end is read or refused.",
        ),
        "an offer without its last CRLF",
        lambda offer: offer.removesuffix("\r\n"),
    ),
    _survived(
        Rule("rfc8866/5/cut-short", "Half an offer is refused, or answered as far as it goes."),
        "the first half of an offer",
        lambda offer: offer[: len(offer) // 2],
    ),
    _survived(
        Rule("rfc8866/5/very-long", "An offer of 300,000 bytes is refused or answered."),
        "an offer with 6,000 unknown attributes",
        lambda offer: offer + "a=x-long:0123456789012345678901234567890123456789\r\n" * 6000,
    ),
    _survived(
        Rule("rfc8866/5/one-long-line", "A line of 100,000 characters is refused or ignored."),
        "an offer with one attribute of 100,000 characters",
        lambda offer: offer + "a=x-long:" + "x" * 100_000 + "\r\n",
    ),
    _survived(
        Rule(
            "rfc8839/5.1/a-thousand-candidates",
            "A thousand candidates are too many or are taken, but cost no session.",
        ),
        "an offer with 1,000 candidates at one address",
        lambda offer: (
            offer
            + "".join(
                f"a=candidate:{n} 1 udp {n} 192.0.2.1 {n} typ host\r\n" for n in range(1024, 2024)
            )
        ),
    ),
    _survived(
        Rule(
            "rfc8866/5.14/two-hundred-sections",
            "Two hundred sections are refused or rejected one by one.",
        ),
        "an offer with 200 video sections",
        lambda offer: (
            offer
            + "".join(
                f"m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v{n}\r\na=rtpmap:96 VP8/90000\r\n"
                for n in range(200)
            )
        ),
    ),
    _survived(
        Rule("rfc8843/7/a-mid-twice", "Two sections of one mid are refused or told apart."),
        "an offer with a second audio section that has the mid of the first",
        lambda offer: offer + offer[offer.index("m=audio") :],
    ),
    _survived(
        Rule(
            "rfc8866/5.14/ports-out-of-range", "Numbers out of their range are refused or ignored."
        ),
        "an offer with port 99999, payload type 300 and a negative rate",
        lambda offer: offer.replace("m=audio 9 ", "m=audio 99999 ").replace(
            "a=rtpmap:0 PCMU/8000", "a=rtpmap:300 PCMU/-8000"
        ),
    ),
    _survived(
        Rule(
            "rfc8866/5/control-characters",
            "Control characters and bytes outside ASCII are refused or ignored.",
        ),
        "an offer with NUL, DEL and letters outside ASCII in its lines",
        lambda offer: offer.replace("s=-", "s=\u00e9\u4e2d\x7f").replace(
            "a=sendrecv", "a=x-nul:\x00\r\na=sendrecv"
        ),
    ),
)
