"""RTP inside SRTP: what comes up and has to be understood, what goes down (RFC 3550, RFC 8285).

Every packet here is authentic. So what does not come through was lost by whoever read it, and what
makes the server stop was said by a client that it had let in.
"""

from itertools import pairwise
from typing import Any

import attrs

from conformance.case import Observed, Unsupported, case
from conformance.probe.audio import STEP
from conformance.probe.look import Checked, checked
from conformance.probe.media import HEARD, NOT_HEARD, Heard, Media, Shot, open_media
from conformance.probe.profiles import SRTP, SRTP_AND_SDP
from conformance.stage import Stage
from transceiver.srtp import rtcp, rtp

# --- headers --------------------------------------------------------------------------------------


@case(
    "rfc3550/5.1/contributing-sources",
    "A list of contributing sources is skipped, whatever it holds.",
    sends="RTP packets with 1, 2 and 15 CSRCs",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
)
def contributing_sources(stage: Stage) -> Observed:
    media = open_media(stage)
    return media.fire([media.shot(csrcs=tuple(range(count))) for count in (1, 2, 15)])


@case(
    "rfc3550/5.1/padding",
    "Padding is taken off: what is left is the payload.",
    sends="RTP packets with 1, 4 and 200 bytes of padding",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
)
def padding(stage: Stage) -> Observed:
    media = open_media(stage)
    return media.fire([media.shot(padding=count) for count in (1, 4, 200)])


def _with_tail(media: Media, tail: bytes) -> Shot:
    """A packet that says it has padding, authenticated, with ``tail`` as its end."""
    shot = media.shot(wanted=False, note="padding that does not fit")
    packet = media.packet(payload=shot.payload + tail)
    clear = rtp.encode(packet)
    data = media.context.protect_rtp(bytes((clear[0] | 0x20,)) + clear[1:])
    return attrs.evolve(shot, data=data)


@case(
    "rfc3550/5.1/padding-longer-than-payload",
    "A packet whose padding count is 0, or larger than what is there, is no packet: it is let go.",
    sends="authenticated RTP packets with padding counts of 0 and 255, and only 21 bytes",
    profiles=SRTP,
    good=(Heard.RIGHT,),
    # The packet makes no sense; a server that takes some bytes of it for audio harms itself.
    lenient=(Heard.ALTERED, Heard.MORE),
    bad=(Heard.LESS, Heard.SILENCE, Heard.DEAD),
)
def padding_longer_than_payload(stage: Stage) -> Observed:
    media = open_media(stage)
    shots = [_with_tail(media, bytes((0, 0, 0, count))) for count in (0, 255)]
    return media.fire([media.shot(), *shots, media.shot()])


@case(
    "rfc3550/5.1/nothing-but-padding",
    "A packet that is all padding, as is sent to measure bandwidth, does no harm.",
    sends="RTP packets with a payload of nothing and 100 bytes of padding",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
)
def nothing_but_padding(stage: Stage) -> Observed:
    media = open_media(stage)
    empty = [media.shot(payload=b"", padding=100, wanted=None) for _ in range(3)]
    return media.fire([media.shot(), *empty, media.shot()])


@case(
    "rfc3550/5.1/empty-payload",
    "A packet without a payload does no harm.",
    sends="RTP packets that end behind their header",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
)
def empty_payload(stage: Stage) -> Observed:
    media = open_media(stage)
    empty = [media.shot(payload=b"", wanted=None) for _ in range(3)]
    return media.fire([media.shot(), *empty, media.shot()])


@case(
    "rfc3550/5.1/version-1",
    "What has not version 2 in its first two bits is no RTP, and does no harm.",
    sends="SRTP packets with their version changed to 0, 1 and 3",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/3.3/4",),
)
def version_1(stage: Stage) -> Observed:
    media = open_media(stage)
    shots = []
    for version in (0, 1, 3):
        shot = media.shot()
        data = bytes((version << 6,)) + shot.data[1:]
        shots.append(shot.refused(data, f"version {version}"))
    return media.fire([media.shot(), *shots, media.shot()])


@case(
    "rfc3550/5.1/payload-type-not-negotiated",
    "Packets with a payload type that nobody agreed on are ignored.",
    sends="RTP packets with payload types 20 and 127",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
)
def payload_type_not_negotiated(stage: Stage) -> Observed:
    media = open_media(stage)
    if not media.by_echo:
        raise Unsupported("sends no audio back, and its reports count what it may ignore")
    strange = [media.shot(payload_type=number, wanted=False) for number in (20, 127)]
    return media.fire([media.shot(), *strange, media.shot()])


@case(
    "rfc3550/5.1/marker",
    "A packet with its marker set, as after silence, is one like any other.",
    sends="RTP packets with and without marker in turn",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
)
def marker(stage: Stage) -> Observed:
    media = open_media(stage)
    return media.fire([media.shot(marker=bool(place % 2)) for place in range(6)])


@case(
    "rfc5761/4/marker-and-payload-type",
    "RTP with its marker set is told from RTCP: only payload types 64 to 95 look alike.",
    sends="RTP packets of PCMU with and without marker, so with a second byte of 0 and of 128",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc5761/4/3",),
    traps=("STUN and ICE 13",),
)
def marker_and_payload_type(stage: Stage) -> Observed:
    media = open_media(stage, codecs=((0, "PCMU/8000"),))
    return media.fire([media.shot(marker=bool(place % 2)) for place in range(6)])


@case(
    "rfc3550/5.1/timestamp-wrap",
    "Timestamps wrap, and nothing is lost by it.",
    sends="RTP packets with timestamps across 2^32",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
)
def timestamp_wrap(stage: Stage) -> Observed:
    # From the beginning near the wrap: a leap back is not what is asked about.
    media = open_media(stage, timestamp=0x1_0000_0000 - 10 * STEP)
    return media.fire(media.shots(12))


@case(
    "rfc3550/5.1/gap-of-silence",
    "After silence that was not sent the timestamp leaps and the sequence number does not: it is "
    "no loss.",
    sends="RTP packets with timestamps that leap by ten seconds and by a minute",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
)
def gap_of_silence(stage: Stage) -> Observed:
    media = open_media(stage)
    shots = media.shots(3)
    for seconds in (10, 60):
        media.timestamp = (media.timestamp + seconds * 48_000) & 0xFFFF_FFFF
        shots += [media.shot(marker=True), *media.shots(2)]
    return media.fire(shots)


@case(
    "rfc3550/5.1/large-packet",
    "A packet as large as a path carries is taken.",
    sends="RTP packets with payloads of 20, 500 and 1,100 bytes",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
)
def large_packet(stage: Stage) -> Observed:
    media = open_media(stage)
    shots = []
    for size in (20, 500, 1100):
        payload = media.payload()
        shots.append(media.shot(payload=payload + bytes(size - len(payload) % size)))
    return media.fire(shots)


# --- header extensions ----------------------------------------------------------------------------


@case(
    "rfc8285/4.2/one-byte-elements",
    "Header extensions in the one-byte form that nobody agreed on are skipped.",
    sends="RTP packets with one-byte elements of identifiers 1, 5 and 14",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    traps=("Facts",),
)
def one_byte_elements(stage: Stage) -> Observed:
    media = open_media(stage)
    elements = ((1, b"\x85"), (5, b"12"), (14, bytes(16)))
    return media.fire([media.shot(extensions=elements[:count]) for count in (1, 2, 3)])


@case(
    "rfc8285/4.3/two-byte-elements",
    "Header extensions in the two-byte form that nobody agreed on are skipped.",
    sends="RTP packets with two-byte elements, an empty one and one of 100 bytes among them",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    traps=("Facts",),
)
def two_byte_elements(stage: Stage) -> Observed:
    media = open_media(stage)
    elements = ((1, b""), (200, bytes(100)))
    return media.fire([media.shot(extensions=elements[:count]) for count in (1, 2)])


@case(
    "traps/rtp/mid-on-the-first-packets-only",
    "A client may name the MID in its first packets and never again, or in none.",
    sends="RTP packets with a MID element, then packets without extensions",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    traps=("Facts",),
)
def mid_first(stage: Stage) -> Observed:
    media = open_media(stage)
    named = [media.shot(extensions=((4, b"0"),)) for _ in range(3)]
    return media.fire([*named, *media.shots(5)])


def _opaque(media: Media, profile: int, value: bytes, wanted: bool | None = True) -> Shot:
    return media.shot(opaque_extension=(profile, value), wanted=wanted)


@case(
    "rfc3550/5.3.1/extension-of-unknown-profile",
    "A header extension of a profile that nobody knows is skipped by its length.",
    sends="RTP packets with extensions of profile 0xabcd, of 0, 4 and 400 bytes",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
)
def extension_of_unknown_profile(stage: Stage) -> Observed:
    media = open_media(stage)
    return media.fire([_opaque(media, 0xABCD, bytes(size)) for size in (0, 4, 400)])


@case(
    "rfc8285/4.2/identifier-15",
    "Identifier 15 of the one-byte form ends the reading of elements, not of the packet.",
    sends="RTP packets with an element of identifier 15 before bytes that make no sense",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
)
def identifier_15(stage: Stage) -> Observed:
    media = open_media(stage)
    return media.fire([_opaque(media, rtp.ONE_BYTE, b"\xf0\xff\xff\xff") for _ in range(3)])


@case(
    "rfc8285/4.2/element-past-its-block",
    "An element that is longer than its block does no harm, whether the payload is taken or not.",
    sends="authenticated RTP packets with elements that claim more bytes than there are",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
)
def element_past_its_block(stage: Stage) -> Observed:
    media = open_media(stage)
    blocks = ((rtp.ONE_BYTE, b"\x1f\0\0\0"), (rtp.TWO_BYTE, b"\x01\xff\0\0"), (0x100F, b"\x01" * 4))
    broken = [_opaque(media, *block, wanted=None) for block in blocks]
    return media.fire([media.shot(), *broken, media.shot()])


# --- sources --------------------------------------------------------------------------------------


@case(
    "rfc3550/8.2/source-changes",
    "A client may go on under another SSRC in the midst of a call.",
    sends="audio under one SSRC, then under another",
    profiles=SRTP,
    good=(Heard.RIGHT,),
    # A server may keep to the source that signalling named.
    lenient=(Heard.LESS, Heard.SILENCE),
    bad=(Heard.MORE, Heard.ALTERED, Heard.DEAD),
)
def source_changes(stage: Stage) -> Observed:
    media = open_media(stage)
    other = media.another_source(media.ssrc ^ 0x77777777, 3)
    return media.fire([*media.shots(2), *other.shots(6)])


@case(
    "rfc3550/8.2/source-of-the-server",
    "A client that happens to choose the server's own SSRC does no harm to the call.",
    sends="audio under the server's SSRC, among audio under ours",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
)
def source_of_the_server(stage: Stage) -> Observed:
    media = open_media(stage)
    heard = media.call.client.audio
    if not heard:
        raise Unsupported("sends no audio")
    same = attrs.evolve(media, ssrc=heard[-1].ssrc, sequence=(heard[-1].sequence + 99) & 0xFFFF)
    colliding = [attrs.evolve(shot, wanted=None) for shot in same.shots(3)]
    media.timestamp = same.timestamp  # else what follows looks like the same sound again
    return media.fire([media.shot(), *colliding, *media.shots(2)])


@case(
    "traps/rtp/many-sources",
    "A client that uses many SSRCs uses nothing up that its first source needs.",
    sends="one authenticated packet under each of 100 SSRCs, among audio under ours",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
)
def many_sources(stage: Stage) -> Observed:
    media = open_media(stage)
    shots = [media.shot()]
    for place in range(100):
        other = attrs.evolve(media, ssrc=0x1000 + place, sequence=7)
        shots.append(other.shot(wanted=None))
    media.timestamp += STEP  # else what follows looks like the same sound again
    return media.fire([*shots, *media.shots(3)])


# --- downlink -------------------------------------------------------------------------------------


def _heard(stage: Stage, **options: Any) -> tuple[Media, list[rtp.RtpPacket]]:
    """At least ten packets of the server's. Raises Unsupported."""
    media = open_media(stage, **options)
    for shot in media.shots(10):
        media.call.send(shot.data)
        media.call.run(0.02)
    media.call.run(0.1)
    heard = media.call.client.audio
    if len(heard) < 10:
        raise Unsupported("sends no audio")
    return media, heard


@case(
    "rfc3711/3.3/downlink-authenticates",
    "Every packet of the server's authenticates under its key, and comes once.",
    sends="audio, and listens",
    profiles=SRTP,
    good=(Checked.RIGHT,),
    bad=(Checked.WRONG,),
    requirements=("rfc3711/3.3/1", "rfc3711/3.1/10"),
)
def downlink_authenticates(stage: Stage) -> Observed:
    media, _ = _heard(stage)
    wrong = [str(drop) for drop in media.call.client.drops if "srtp" in str(drop).lower()]
    return checked("; ".join(wrong[:3]))


@case(
    "rfc3550/5.1/downlink-sequence",
    "The server's sequence numbers go up by one from packet to packet.",
    sends="audio, and listens",
    profiles=SRTP,
    good=(Checked.RIGHT,),
    bad=(Checked.WRONG,),
)
def downlink_sequence(stage: Stage) -> Observed:
    _, heard = _heard(stage)
    numbers = sorted((packet.sequence - heard[0].sequence) & 0xFFFF for packet in heard)
    broken = numbers != list(range(len(numbers)))
    return checked(f"from the first one on: {numbers[:12]}" if broken else "")


@case(
    "rfc3550/5.1/downlink-timestamps",
    "The server's timestamps go up with its packets, by what a frame lasts.",
    sends="audio, and listens",
    profiles=SRTP,
    good=(Checked.RIGHT,),
    bad=(Checked.WRONG,),
)
def downlink_timestamps(stage: Stage) -> Observed:
    _, heard = _heard(stage)
    ordered = sorted(heard, key=lambda packet: (packet.sequence - heard[0].sequence) & 0xFFFF)
    steps = {
        (later.timestamp - earlier.timestamp) & 0xFFFF_FFFF for earlier, later in pairwise(ordered)
    }
    wrong = [step for step in steps if not 0 < step < 48_000]
    return checked(f"steps of {sorted(steps)[:6]}" if wrong else "")


@case(
    "rfc3550/8.1/downlink-source",
    "The server sends audio under one SSRC, which is not ours.",
    sends="audio, and listens",
    profiles=SRTP,
    good=(Checked.RIGHT,),
    bad=(Checked.WRONG,),
    requirements=("rfc3711/9.1/4", "rfc3711/8/3", "rfc5764/3/5"),
)
def downlink_source(stage: Stage) -> Observed:
    media, heard = _heard(stage)
    sources = {packet.ssrc for packet in heard}
    if media.ssrc in sources:
        return checked("it sends under our SSRC")
    return checked(f"{len(sources)} sources" if len(sources) > 1 else "")


@case(
    "rfc3264/6.1/downlink-payload-type",
    "The server sends with the payload type that the offer gave the codec.",
    sends="an offer in which Opus is 96, then audio, and listens",
    profiles=SRTP_AND_SDP,
    good=(Checked.RIGHT,),
    bad=(Checked.WRONG,),
    traps=("SDP 2",),
)
def downlink_payload_type(stage: Stage) -> Observed:
    _, heard = _heard(stage, codecs=((96, "opus/48000/2"),))
    types = {packet.payload_type for packet in heard}
    return checked(f"payload types {sorted(types)}" if types != {96} else "")


@case(
    "rfc3550/5.1/downlink-can-be-read",
    "The server's packets can be read inside their protection, and name no contributing sources.",
    sends="audio, and listens",
    profiles=SRTP,
    good=(Checked.RIGHT,),
    bad=(Checked.WRONG,),
)
def downlink_can_be_read(stage: Stage) -> Observed:
    media, heard = _heard(stage)
    if "malformed RTP" in media.call.client.drops:
        return checked("a packet that is no RTP inside its protection")
    return checked("contributing sources" if any(packet.csrcs for packet in heard) else "")


@case(
    "rfc3264/6.1/downlink-extensions",
    "The server sends no header extensions that nobody agreed on.",
    sends="an offer without header extensions, then audio, and listens",
    profiles=SRTP,
    good=(Checked.RIGHT,),
    bad=(Checked.WRONG,),
    traps=("Facts",),
)
def downlink_extensions(stage: Stage) -> Observed:
    _, heard = _heard(stage)
    extended = [packet for packet in heard if packet.extensions or packet.opaque_extension]
    return checked(f"{len(extended)} packets have some" if extended else "")


@case(
    "rfc3550/6.6/goodbye-then-audio",
    "After a BYE of our source audio under another one goes on.",
    sends="a BYE for our SSRC, then audio under a new one, then under the old one",
    profiles=SRTP,
    good=(Heard.RIGHT,),
    lenient=(Heard.LESS, Heard.SILENCE),  # as above: the source that signalling named is gone
    bad=(Heard.MORE, Heard.ALTERED, Heard.DEAD),
)
def goodbye_then_audio(stage: Stage) -> Observed:
    media = open_media(stage)
    goodbye = rtcp.Bye((media.ssrc,), b"bye")
    media.send_rtcp(media.compound(media.new_mark(), goodbye), "BYE")
    other = media.another_source(media.ssrc ^ 0x33333333, 100)
    return media.fire(other.shots(4))
