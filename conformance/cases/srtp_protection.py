"""What SRTP protects: profiles, keys, tags (RFC 3711, RFC 7714, RFC 5764).

A packet that is wrong in one bit is sent between good ones: it must not come through, and they have
to.
"""

import attrs

from conformance.case import Blocked, Observed, Seen, Unsupported, case
from conformance.probe.call import open_call
from conformance.probe.media import (
    HEARD,
    NOT_HEARD,
    Media,
    flip,
    open_media,
    prepare,
    received,
)
from conformance.probe.profiles import SRTP
from conformance.stage import Stage
from stunroute.demux import Kind
from transceiver.keying import SrtpKeys, SrtpProfile
from transceiver.srtp import SrtpContext, rtp


class Agreed(Seen):
    """What became of an offer of protection profiles."""

    USED = "a profile was picked from those offered, and audio goes by it"
    ANOTHER = "a profile was picked that was not offered"
    NONE = "DTLS did not end"
    SILENT = "a profile was picked from those offered, and no audio goes by it"


def _offer(stage: Stage, *profiles: SrtpProfile) -> tuple[Agreed, str]:
    """Offer ``profiles`` in this order. Raises Unsupported where the server does not show
    what audio it takes."""
    open_media(stage)  # a server that shows nothing at all is found out here
    try:
        media = prepare(stage, profiles=profiles)
    except Blocked as error:
        return Agreed.NONE, str(error)
    if media.keys.profile not in profiles:
        return Agreed.ANOTHER, media.keys.profile.name
    try:
        media.warm()
    except Unsupported as error:
        return Agreed.SILENT, str(error)
    return Agreed.USED, media.keys.profile.name


def _offer_optional(stage: Stage, profile: SrtpProfile) -> tuple[Agreed, str]:
    seen, detail = _offer(stage, profile)
    if seen is Agreed.NONE:
        raise Unsupported(f"does not agree to {profile.name}, and need not")
    return seen, detail


@case(
    "rfc5764/4.1.2/aes128-cm-sha1-80-alone",
    "AES128_CM_HMAC_SHA1_80, which everybody has to speak, is agreed to where nothing else is "
    "offered, and audio goes by it.",
    sends="a ClientHello with this one profile, then audio",
    profiles=SRTP,
    good=(Agreed.USED,),
    bad=(Agreed.ANOTHER, Agreed.NONE, Agreed.SILENT),
    requirements=("rfc5764/4.1.1/2",),
)
def aes_cm_alone(stage: Stage) -> Observed:
    return _offer(stage, SrtpProfile.AES128_CM_SHA1_80)


@case(
    "rfc7714/14.2/aead-aes-128-gcm-alone",
    "Where AEAD_AES_128_GCM is agreed to, audio goes by it.",
    sends="a ClientHello with this one profile, then audio",
    profiles=SRTP,
    good=(Agreed.USED,),
    bad=(Agreed.ANOTHER, Agreed.NONE, Agreed.SILENT),
    requirements=("rfc7714/8.2/1",),
)
def gcm_128_alone(stage: Stage) -> Observed:
    return _offer_optional(stage, SrtpProfile.AEAD_AES_128_GCM)


@case(
    "rfc7714/14.2/aead-aes-256-gcm-alone",
    "Where AEAD_AES_256_GCM is agreed to, audio goes by it.",
    sends="a ClientHello with this one profile, then audio",
    profiles=SRTP,
    good=(Agreed.USED,),
    bad=(Agreed.ANOTHER, Agreed.NONE, Agreed.SILENT),
    requirements=("rfc7714/8.2/1",),
)
def gcm_256_alone(stage: Stage) -> Observed:
    return _offer_optional(stage, SrtpProfile.AEAD_AES_256_GCM)


@case(
    "rfc5764/4.1.1/one-of-those-offered",
    "Of several profiles the server picks one that was offered, whatever it would like best.",
    sends="a ClientHello with AES128_CM_HMAC_SHA1_80 before AEAD_AES_256_GCM, then audio",
    profiles=SRTP,
    good=(Agreed.USED,),
    bad=(Agreed.ANOTHER, Agreed.NONE, Agreed.SILENT),
    requirements=("rfc5764/4.1.1/2",),
    traps=("Facts",),
)
def one_of_those_offered(stage: Stage) -> Observed:
    return _offer(stage, SrtpProfile.AES128_CM_SHA1_80, SrtpProfile.AEAD_AES_256_GCM)


def _spoil(media: Media, position: int, bits: int = 1) -> Observed:
    """One packet among good ones with some bits turned over."""
    before, spoilt, after = media.shots(3)
    return media.fire([before, spoilt.refused(flip(spoilt.data, position, bits), "spoilt"), after])


@case(
    "rfc3711/3.3/tag-tampered",
    "A packet whose authentication tag does not verify is discarded.",
    sends="an SRTP packet with a bit of its tag turned over, between good ones",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/3.3/2", "rfc3711/3.3/4", "rfc3711/4.2/3", "rfc7714/5.3/1"),
)
def tag_tampered(stage: Stage) -> Observed:
    return _spoil(open_media(stage), -1)


@case(
    "rfc3711/3.3/payload-tampered",
    "A packet whose encrypted portion was changed on the way is discarded.",
    sends="an SRTP packet with a bit of its payload turned over, between good ones",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/3.3/4", "rfc7714/5.3/2"),
)
def payload_tampered(stage: Stage) -> Observed:
    return _spoil(open_media(stage), 14)


@case(
    "rfc3711/4.2/timestamp-tampered",
    "The header is authenticated too: a packet with another timestamp than it was sent with is "
    "discarded.",
    sends="an SRTP packet with a bit of its timestamp turned over, between good ones",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/4.2/1",),
)
def timestamp_tampered(stage: Stage) -> Observed:
    return _spoil(open_media(stage), 7)


@case(
    "rfc3711/4.2/marker-tampered",
    "The header is authenticated too: a packet whose marker was changed is discarded.",
    sends="an SRTP packet with its marker bit turned over, between good ones",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/4.2/1",),
)
def marker_tampered(stage: Stage) -> Observed:
    return _spoil(open_media(stage), 1, 0x80)


@case(
    "rfc3711/3.3/trailing-octets",
    "The tag is the end of the packet: what is longer than it was sent is discarded.",
    sends="an SRTP packet with four bytes appended, between good ones",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/3.3/4",),
)
def trailing_bytes(stage: Stage) -> Observed:
    media = open_media(stage)
    before, longer, after = media.shots(3)
    return media.fire([before, longer.refused(longer.data + bytes(4), "longer"), after])


@case(
    "rfc3711/3.3/cut-short",
    "A packet that lost its end on the way is discarded.",
    sends="SRTP packets that lack one byte, half their tag and all of it, between good ones",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/3.3/4",),
)
def cut_short(stage: Stage) -> Observed:
    media = open_media(stage)
    tag = 10 if media.keys.profile is SrtpProfile.AES128_CM_SHA1_80 else 16
    before, after = media.shots(2)
    cut = []
    for missing in (1, tag // 2, tag):
        shot = media.shot()
        cut.append(shot.refused(shot.data[:-missing], f"{missing} bytes missing"))
    return media.fire([before, *cut, after, media.shot()])


@case(
    "traps/srtp/too-short-for-its-tag",
    "A packet that has no room for a tag behind its header is discarded, and nothing breaks.",
    sends="RTP headers with 0 to 16 bytes behind them, and headers that announce CSRCs and "
    "extensions which are not there",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/3.3/4",),
    traps=("SRTP, RTP, RTCP 2",),
)
def too_short_for_its_tag(stage: Stage) -> Observed:
    media = open_media(stage)
    good = media.shot()
    shots = [good]
    for length in (*range(12, 29), 1, 2, 4, 8, 11):
        short = media.shot()
        shots.append(short.refused(short.data[:length].ljust(length, b"\0"), f"{length} bytes"))
    for first in (0x8F, 0x90, 0x9F, 0xB0):
        short = media.shot()
        data = bytes((first,)) + short.data[1:12] + bytes(8)
        shots.append(short.refused(data, f"first byte {first:#04x}"))
    return media.fire([*shots, media.shot()])


@case(
    "rfc3711/3.2.3/under-another-key",
    "A packet that was sealed under a key that nobody agreed on is discarded.",
    sends="SRTP packets under a random key, one of our source and one of another, between good "
    "ones",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/3.2.3/2", "rfc3711/3.3/4"),
)
def under_another_key(stage: Stage) -> Observed:
    media = open_media(stage)
    keys = media.keys
    strange = SrtpKeys(keys.profile, stage.entropy(len(keys.local)), keys.remote)
    stranger = attrs.evolve(media, context=SrtpContext(strange))
    before, after = media.shots(2)
    one = stranger.shot(wanted=False, note="under another key")
    other = stranger.shot(wanted=False, note="under another key", ssrc=media.ssrc ^ 0x5A5A)
    return media.fire([before, one, other, after])


@case(
    "rfc5764/4.2/reflected",
    "Each direction has keys of its own: what the server has sent is not taken from us.",
    sends="the server's own SRTP packets, sent back to it",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/9.1/1",),
)
def reflected(stage: Stage) -> Observed:
    media = open_media(stage)
    theirs = received(media.call, Kind.RTP)
    if not theirs:
        raise Unsupported("sends no audio")
    before, after = media.shots(2)
    payload = media.call.client.audio[-1].payload
    echo = attrs.evolve(before, data=theirs[-1], payload=payload, wanted=False, note="reflected")
    return media.fire([before, echo, after])


@case(
    "rfc5764/5.1.2/plaintext-after-keys",
    "RTP in the clear is not taken once there are keys.",
    sends="RTP packets without protection, with and without room for a tag, between good ones",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc7714/8.2/1",),
)
def plaintext_after_keys(stage: Stage) -> Observed:
    media = open_media(stage)
    before, after = media.shots(2)
    plain = []
    for tail in (b"", bytes(10), bytes(16)):
        shot = media.shot()
        clear = rtp.encode(media.packet(payload=shot.payload + tail))
        plain.append(shot.refused(clear, "in the clear"))
    return media.fire([before, *plain, after])


@case(
    "rfc5764/3/before-dtls",
    "What looks like media before there are keys is let go, and the call comes up all the same.",
    sends="SRTP and SRTCP of nobody before the handshake, then the handshake, then audio",
    profiles=SRTP,
    good=(Agreed.USED,),
    bad=(Agreed.ANOTHER, Agreed.NONE, Agreed.SILENT),
)
def before_dtls(stage: Stage) -> Observed:
    open_media(stage)
    early = prepare(stage)  # for the shape of its packets
    call = open_call(stage)
    for _ in range(40):
        call.send(early.shot().data, note="before DTLS")
        call.send(early.context.protect_rtcp(early.compound(1)), note="before DTLS")
    try:
        call.establish()
    except Blocked as error:
        return Agreed.NONE, str(error)
    if call.client.keys is None:
        return Agreed.NONE, "no SRTP profile"
    keys = call.client.keys
    media = Media(call, 2000, SrtpContext(keys), keys, call.client.ssrc)
    try:
        media.warm()
    except Unsupported as error:
        return Agreed.SILENT, str(error)
    return Agreed.USED
