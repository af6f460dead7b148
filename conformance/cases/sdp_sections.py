"""What an answer has to look like, and which sections it takes: JSEP, BUNDLE, data sections.

An answer has a section for each of the offer's, in their order, whatever it thinks of them: most of
what servers get wrong is in those that they reject.
"""

import re

from conformance.case import Case, Observed, case
from conformance.probe.profiles import DATACHANNEL_AND_SDP, SDP
from conformance.probe.sdp import ANSWERED, FAULTS, NOT_ANSWERED, Offered, need_data, pose
from conformance.probe.sdp_changes import with_section, without
from conformance.stage import Stage

_VIDEO = (
    "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:v\r\na=sendrecv\r\n"
    "a=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n"
)


@case(
    "rfc8829/5.3.1/plain-answer",
    "A plain offer of audio gets an answer that keeps every rule of answers.",
    sends="an offer of one audio section with Opus and PCMU",
    profiles=SDP,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    traps=("SDP 2",),
)
def plain_answer(stage: Stage) -> Observed:
    return pose(stage).observed


@case(
    "rfc8829/5.3.1/audio-and-data",
    "An offer of audio and data gets an answer with both sections in their order.",
    sends="an offer of audio and a data channel in one group",
    profiles=SDP,
    good=ANSWERED,
    bad=NOT_ANSWERED,
)
def audio_and_data(stage: Stage) -> Observed:
    return pose(stage, contents=("audio", "data")).observed


@case(
    "rfc8829/5.3.1/data-first",
    "The data section may come first.",
    sends="an offer of a data channel and audio, in that order",
    profiles=SDP,
    good=ANSWERED,
    bad=NOT_ANSWERED,
)
def data_first(stage: Stage) -> Observed:
    return pose(stage, contents=("data", "audio")).observed


@case(
    "rfc8843/7.3.3/rejected-section-leaves-the-group",
    "A section that is rejected has port 0 and is in no group of the answer.",
    sends="an offer of audio and of a kind of media that no server takes, in one group",
    profiles=SDP,
    good=(Offered.ANSWERED,),
    lenient=(Offered.REFUSED,),
    bad=FAULTS,
    traps=("SDP 1",),
)
def rejected_leaves_the_group(stage: Stage) -> Observed:
    odd = "m=text 9 UDP/TLS/RTP/SAVPF 98\r\nc=IN IP4 0.0.0.0\r\na=mid:odd\r\na=rtcp-mux\r\n"
    posed = pose(stage, with_section(odd + "a=rtpmap:98 t140/1000\r\n", "odd"))
    if posed.text is not None and not posed.text.sections[-1:]:
        return Offered.UNSOUND, "no section for the one it rejects"
    return posed.observed


@case(
    "rfc8829/5.3.1/video-beside-audio",
    "A section of another kind does not keep the audio from being answered.",
    sends="an offer of audio and video in one group",
    profiles=SDP,
    good=(Offered.ANSWERED,),
    lenient=(Offered.REFUSED,),
    bad=FAULTS,
    traps=("SDP 1",),
)
def video_beside_audio(stage: Stage) -> Observed:
    posed = pose(stage, with_section(_VIDEO, "v"))
    if posed.is_rejected(0):
        return Offered.UNSOUND, "the audio is rejected"
    return posed.observed


@case(
    "rfc8829/5.3.1/mid-is-mirrored",
    "The answer's sections bear the mids of the offer, whatever these look like.",
    sends="an offer whose only mid is a long token",
    profiles=SDP,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    traps=("SDP 1",),
)
def mid_is_mirrored(stage: Stage) -> Observed:
    def change(offer: str) -> str:
        named = offer.replace("a=mid:0", "a=mid:sound-1.of_1")
        return named.replace("BUNDLE 0", "BUNDLE sound-1.of_1")

    return pose(stage, change).observed


@case(
    "rfc8866/9/unbundled",
    "An offer without a group is answered, and the answer has none.",
    sends="an offer of one audio section without a=group",
    profiles=SDP,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    traps=("Facts",),
)
def unbundled(stage: Stage) -> Observed:
    return pose(stage, without("a=group")).observed


@case(
    "rfc8829/5.10/no-mid",
    "An offer whose section has no mid is answered.",
    sends="an offer of one audio section without a=mid and a=group",
    profiles=SDP,
    good=(Offered.ANSWERED,),
    lenient=(Offered.REFUSED,),
    bad=FAULTS,
    traps=("Facts",),
)
def no_mid(stage: Stage) -> Observed:
    return pose(stage, without("a=mid|a=group")).observed


@case(
    "rfc8843/7.2.1/bundle-only",
    "A section with port 0 and a=bundle-only is offered, not rejected.",
    sends="an offer whose data section has port 0 and a=bundle-only",
    profiles=SDP,
    good=ANSWERED,
    bad=NOT_ANSWERED,
    traps=("Facts",),
)
def bundle_only(stage: Stage) -> Observed:
    need_data(stage)
    posed = pose(
        stage,
        lambda offer: offer.replace("m=application 9", "m=application 0").replace(
            "a=sctp-port", "a=bundle-only\r\na=sctp-port"
        ),
        contents=("audio", "data"),
    )
    if posed.is_rejected(1):
        return Offered.UNSOUND, "the data section is rejected"
    return posed.observed


@case(
    "rfc8841/9/data-alone",
    "An offer of data channels alone is answered.",
    sends="an offer of one data section",
    profiles=DATACHANNEL_AND_SDP,
    good=ANSWERED,
    bad=NOT_ANSWERED,
)
def data_alone(stage: Stage) -> Observed:
    need_data(stage)
    return pose(stage, contents=("data",)).observed


def _sized(name: str, value: str | None, says: str) -> Case:
    def change(offer: str) -> str:
        line = "" if value is None else f"a=max-message-size:{value}\r\n"
        return re.sub(r"a=max-message-size[^\n]*\n", line, offer)

    @case(
        f"rfc8841/6.1/{name}",
        f"A data section {says} is taken.",
        sends=f"an offer of a data channel {says}",
        profiles=DATACHANNEL_AND_SDP,
        good=ANSWERED,
        bad=NOT_ANSWERED,
        traps=("SCTP and data channels 2", "Facts"),
    )
    def steps(stage: Stage) -> Observed:
        need_data(stage)
        return pose(stage, change, contents=("data",)).observed

    return steps


MESSAGE_SIZES = (
    _sized("message-size-left-out", None, "without a=max-message-size"),
    _sized("message-size-0", "0", "that takes messages of any size"),
    _sized("message-size-large", "1073741823", "that takes messages of 1,073,741,823 bytes"),
)


@case(
    "rfc8866/5.14/a-second-data-section",
    "A second data section is rejected or taken, but breaks nothing.",
    sends="an offer of two data sections",
    profiles=DATACHANNEL_AND_SDP,
    good=(Offered.ANSWERED,),
    lenient=(Offered.REFUSED,),
    bad=FAULTS,
)
def two_data_sections(stage: Stage) -> Observed:
    need_data(stage)
    second = (
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n"
        "a=mid:second\r\na=sctp-port:5000\r\n"
    )
    return pose(stage, with_section(second, "second"), contents=("data",)).observed
