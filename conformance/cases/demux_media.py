"""RTP among the rest (RFC 7983, RFC 9443), and RTCP among RTP (RFC 5761), in a call with keys.

SRTP proves the whole header, its first byte too. So a packet may be made that is authentic and has
any version that one likes: a server which takes 127 or 192 for RTP gives itself away by the sound
that it lets in.
"""

from collections.abc import Callable
from functools import partial

from conformance.case import (
    Blocked,
    Case,
    Level,
    Observed,
    Rule,
    Seen,
    Unsupported,
    case,
)
from conformance.probe.call import open_call
from conformance.probe.demux import garbage
from conformance.probe.media import Heard, Media, Shot, open_media
from conformance.probe.profiles import ICE_AND_SDP, ICE_AND_SRTP
from conformance.stage import Stage
from transceiver.srtp import rtp


def _case(
    rule: Rule, sends: str, make: Callable[[Media], list[Shot]], *, payload_type: int = 0
) -> Case:
    """``payload_type`` is what Opus is offered as, where that matters."""

    @rule.asked(
        sends=f"{sends}, among good audio",
        profiles=ICE_AND_SRTP,
        good=(Heard.RIGHT,),
        bad=tuple(each for each in Heard if each is not Heard.RIGHT),
    )
    def steps(stage: Stage) -> Observed:
        codecs = ((payload_type, "opus/48000/2"), (0, "PCMU/8000"))
        media = open_media(stage, codecs=codecs) if payload_type else open_media(stage)
        if payload_type and media.call.client.payload_type != payload_type:
            raise Unsupported(f"the server does not take Opus as payload type {payload_type}")
        return media.fire(make(media))

    return steps


def _headed(media: Media, octet: int, *, wanted: bool) -> list[Shot]:
    """Authentic packets whose first byte is this one, with all the CSRCs, the extension and the
    padding that its lower bits promise."""
    shots = []
    for _ in range(3):
        packet = media.packet()
        clear = rtp.encode(packet)
        header = bytes([octet]) + clear[1:12] + media.stage.entropy(4 * (octet & 0x0F))
        if octet & 0x10:
            header += b"\xbe\xde\0\x01\0\0\0\0"
        body = packet.payload + (b"\0\0\0\x04" if octet & 0x20 else b"")
        data = media.context.protect_rtp(header + body)
        shots.append(Shot(data, packet.payload, wanted, f"first byte {octet}", ssrc=packet.ssrc))
    return shots


def _typed(media: Media, second: int, *, wanted: bool) -> list[Shot]:
    """Authentic RTP whose second byte, the marker and the payload type, is this one."""
    return [
        media.shot(
            wanted=wanted,
            note=f"second byte {second}",
            marker=second >= 0x80,
            payload_type=second & 0x7F,
        )
        for _ in range(3)
    ]


STRANGE = tuple(
    _case(
        Rule(
            f"rfc9443/3/audio-that-begins-with-{octet}",
            f"First byte {octet} belongs to {owner}: audio that begins so is not heard, though its "
            "tag is right.",
            requirements=("rfc7983/6/1", required),
            traps=("STUN and ICE 13",),
        ),
        f"packets that SRTP would vouch for and that begin with {octet}",
        partial(_headed, octet=octet, wanted=False),
    )
    for octet, owner, required in (
        (63, "DTLS", "rfc9443/3/1"),
        (64, "TURN channels", "rfc9443/3/4"),
        (127, "QUIC", "rfc9443/3/2"),
        (192, "QUIC", "rfc9443/3/2"),
        (255, "QUIC", "rfc9443/3/2"),
    )
)

OWN = tuple(
    _case(
        Rule(
            f"rfc9443/3/audio-that-begins-with-{octet}",
            f"First bytes 128 to 191 are RTP's: {octet} is heard.",
            requirements=("rfc9443/3/1",),
            traps=("STUN and ICE 13",),
        ),
        f"packets that begin with {octet}{what}",
        partial(_headed, octet=octet, wanted=True),
    )
    for octet, what in (
        (128, ""),
        (143, ", with fifteen contributing sources"),
        (144, ", with an extension"),
        (160, ", with padding"),
        (191, ", with all of these"),
    )
)

RTCP = tuple(
    _case(
        Rule(
            f"rfc5761/4/second-octet-{octet}-is-rtcp",
            f"Second byte {octet} belongs to RTCP: no audio has a payload type that reads so.",
            requirements=("rfc5761/4/3", "rfc5761/7/1"),
            traps=("STUN and ICE 13",),
        ),
        f"authentic audio with the marker and payload type {octet & 0x7F}",
        partial(_typed, second=octet, wanted=False),
    )
    for octet in (192, 200, 223)
)

RTP = tuple(
    _case(
        Rule(
            f"rfc5761/4/second-octet-{octet}-is-rtp",
            f"Second byte {octet} belongs to RTP: audio of payload type {octet & 0x7F} with the "
            "marker is heard.",
            requirements=("rfc5761/5.1.1/3", "rfc5761/7/1"),
            traps=("STUN and ICE 13",),
        ),
        f"authentic audio with the marker, where Opus was offered as {octet & 0x7F}",
        partial(_typed, second=octet, wanted=True),
        payload_type=octet & 0x7F,
    )
    for octet in (224, 255)
)

below = _case(
    Rule(
        "rfc5761/4/second-octet-191-is-rtp",
        "Payload types below 64 may be given to streams as well: 63 with the marker is the last "
        "that is not read as RTCP.",
        level=Level.SHOULD,
        requirements=("rfc5761/5.1.1/3",),
        traps=("STUN and ICE 13",),
    ),
    "authentic audio with the marker, where Opus was offered as 63",
    partial(_typed, second=191, wanted=True),
    payload_type=63,
)


def _noise(media: Media) -> list[Shot]:
    call = media.call
    return [Shot(garbage(call, octet), b"", None, f"noise {octet}") for octet in range(256)]


def _lone(media: Media) -> list[Shot]:
    return [Shot(bytes([octet]), b"", None, "a lone byte") for octet in range(256)]


LIVES_ON = (
    _case(
        Rule(
            "traps/demux/noise-in-a-call",
            "A call goes on through noise, whatever that begins with.",
            requirements=("rfc7983/6/1",),
            traps=("STUN and ICE 13",),
        ),
        "forty random bytes behind each first byte there is",
        lambda media: [*_noise(media), *media.shots(2)],
    ),
    _case(
        Rule(
            "traps/demux/lone-octets-in-a-call",
            "A call goes on through datagrams of a single byte, and through empty ones.",
            requirements=("rfc7983/6/1",),
            traps=("STUN and ICE 1", "STUN and ICE 13"),
        ),
        "each byte alone in a datagram, and an empty one",
        lambda media: [*_lone(media), Shot(b"", b"", None, "empty"), *media.shots(2)],
    ),
)


class Chosen(Seen):
    """What the answer to a codec with a bad number says."""

    OTHER = "it takes another codec, or refuses"
    TAKEN = "it takes the number that reads as RTCP"


@case(
    "rfc5761/5.1.1/number-that-reads-as-rtcp",
    "An answer that puts RTCP on RTP's port takes no payload type from 64 to 95.",
    sends="an offer of Opus as 72 and of PCMU as 0",
    profiles=ICE_AND_SDP,
    good=(Chosen.OTHER,),
    bad=(Chosen.TAKEN,),
    requirements=("rfc5761/5.1.1/3", "rfc5761/4/3"),
)
def number_that_reads_as_rtcp(stage: Stage) -> Observed:
    try:
        call = open_call(stage, codecs=((72, "opus/48000/2"), (0, "PCMU/8000")))
    except Blocked as blocked:
        open_call(stage)  # whoever refuses everything has not refused this
        return Chosen.OTHER, str(blocked)
    if "a=rtcp-mux" not in call.answer.splitlines():
        raise Unsupported("the server does not put RTCP on RTP's port")
    audio = next((line for line in call.answer.splitlines() if line.startswith("m=audio")), "")
    return Chosen.TAKEN if "72" in audio.split()[3:] else Chosen.OTHER
