"""A finished run, as every report reads it."""

import shlex
from collections import Counter

from attrs import field, frozen

from conformance.case import Case, Verdict
from conformance.expectations import Expectations, Known
from conformance.runner import Result
from conformance.trail import Crossing


@frozen(slots=True)
class Run:
    """``subject`` says what was asked (a URL, an address, our own cores), ``options`` the part of
    the command line that leads there, for reruns; ``began`` is a time of day in ISO 8601.
    ``nobody`` says why nothing was asked, where nobody was there; ``remarks`` what concerns more
    than one case, sentence by sentence."""

    subject: str
    options: tuple[str, ...]
    began: str
    seconds: float
    version: str
    results: tuple[Result, ...]
    expectations: Expectations = field(factory=Expectations)
    strict: bool = False
    seed: str = "0"
    nobody: str = ""
    remarks: tuple[str, ...] = ()

    def known(self, result: Result) -> Known | None:
        """The entry of the known-failures file for a result that is not well."""
        if result.verdict in (Verdict.PASS, Verdict.UNSUPPORTED, Verdict.BROKEN):
            return None
        return self.expectations.of(result.case.name)

    def fails(self, result: Result) -> bool:
        """Whether this result fails the run."""
        if self.known(result) is not None:
            return False
        grave = {Verdict.FAIL, Verdict.BLOCKED, Verdict.BROKEN}
        return result.verdict in grave or (self.strict and result.verdict is Verdict.LENIENT)

    @property
    def outlived(self) -> list[Known]:
        """Known failures that are none any more."""
        return self.expectations.outlived(self.results)

    @property
    def counts(self) -> Counter[Verdict]:
        return Counter(result.verdict for result in self.results)

    def rerun(self, result: Result) -> str:
        """The one command that asks this case again."""
        seed = () if self.seed == "0" else ("--seed", self.seed)
        words = ("conformance", "run", *self.options, *seed, result.case.name)
        return shlex.join(words)

    def well(self, result: Result) -> bool:
        """Passed, or could not be asked: nothing that one would look into."""
        return result.verdict in (Verdict.PASS, Verdict.UNSUPPORTED)


SUBJECTS = {
    "rfc3264": "offer and answer",
    "rfc3550": "RTP",
    "rfc3711": "SRTP",
    "rfc3758": "partial reliability",
    "rfc4571": "media over TCP",
    "rfc4585": "RTCP feedback",
    "rfc4960": "SCTP",
    "rfc5245": "ICE",
    "rfc5246": "TLS 1.2",
    "rfc5389": "STUN",
    "rfc5506": "short RTCP",
    "rfc5746": "renegotiation",
    "rfc5761": "RTP and RTCP on one port",
    "rfc5764": "DTLS-SRTP",
    "rfc5769": "STUN test vectors",
    "rfc6347": "DTLS 1.2",
    "rfc6520": "TLS heartbeats",
    "rfc6525": "resetting streams",
    "rfc7053": "immediate SACK",
    "rfc7525": "the use of TLS",
    "rfc7627": "extended master secret",
    "rfc7675": "consent",
    "rfc7714": "AES-GCM in SRTP",
    "rfc7983": "demultiplexing",
    "rfc8122": "fingerprints in SDP",
    "rfc8261": "SCTP over DTLS",
    "rfc8285": "RTP header extensions",
    "rfc8422": "elliptic curves in TLS",
    "rfc8445": "ICE",
    "rfc8446": "TLS 1.3",
    "rfc8489": "STUN",
    "rfc8827": "security of WebRTC",
    "rfc8829": "JSEP",
    "rfc8831": "data channels",
    "rfc8832": "opening data channels",
    "rfc8838": "trickle ICE",
    "rfc8839": "ICE in SDP",
    "rfc8840": "trickle ICE in SDP",
    "rfc8841": "SCTP in SDP",
    "rfc8842": "DTLS in SDP",
    "rfc8843": "BUNDLE",
    "rfc8866": "SDP",
    "rfc8996": "the end of TLS 1.0",
    "rfc9110": "HTTP",
    "rfc9143": "BUNDLE",
    "rfc9147": "DTLS 1.3",
    "rfc9260": "SCTP",
    "rfc9443": "demultiplexing with QUIC",
    "rfc9725": "WHIP",
}
"""What an RFC is about, for readers who do not know them by number."""


def group(case: Case) -> str:
    """What a case stands with in a report: its RFC, or the part of the project."""
    head, second, *_ = case.name.split("/")
    if not head.startswith("rfc"):
        return f"{head}/{second}"
    subject = SUBJECTS.get(head)
    return f"RFC {head[3:]}" + (f", {subject}" if subject else "")


def said(result: Result) -> str:
    """What was seen and its particulars, as one text; empty where there is neither."""
    seen = str(result.seen.value) if result.seen is not None else ""
    return ": ".join(part for part in (seen, result.detail) if part)


def crossings(result: Result) -> tuple[int, int]:
    """How many datagrams of the trail were sent, and how many received."""
    ways = [entry.sent for entry in result.trail.entries if isinstance(entry, Crossing)]
    return sum(ways), len(ways) - sum(ways)
