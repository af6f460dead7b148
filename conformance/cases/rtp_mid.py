"""The name of a section in packets and reports, told and heard (RFC 8843, sections 9.2 and 15).

The offer calls its section of audio by a name that nobody would guess, as long as the one-byte form
of a header extension can hold, and lets packets bear it. A server that takes the extension has said
that it will do its part: it names the section of what it sends, and goes by what it is told.
"""

import re
from collections.abc import Iterable

from conformance.case import Observed, Unsupported, case
from conformance.probe.look import Shown, shown
from conformance.probe.media import (
    HEARD,
    NOT_HEARD,
    REPORT_PATIENCE,
    Media,
    Shot,
    open_media,
    reports,
)
from conformance.probe.profiles import SRTP
from conformance.stage import Stage
from transceiver.negotiation import MID_EXTENSION
from transceiver.srtp import rtcp

NAME = "voice-of_us.1234"
ELSEWHERE = b"video-of_us.1234"
NUMBER = 11
_TAKEN = re.compile(rf"^a=extmap:{NUMBER}(?:/sendrecv|/sendonly)? {MID_EXTENSION}\r?$", re.M)
FIRST = 10
"""Packets that may be called the first ones."""


def _renamed(offer: str) -> str:
    return offer.replace("a=mid:0\r\n", f"a=mid:{NAME}\r\n").replace("BUNDLE 0", f"BUNDLE {NAME}")


def _open(stage: Stage) -> Media:
    """A call in which the section is named. Raises Unsupported where the server does not want
    to."""
    media = open_media(stage, edit=_renamed, mid_extension=NUMBER)
    if not _TAKEN.search(media.call.answer):
        raise Unsupported("its answer does not take the MID extension")
    return media


def _in_packets(media: Media) -> list[bytes]:
    """The names in the server's first packets. Raises Unsupported where it sends none."""
    heard = media.call.client.audio
    for shot in media.shots(FIRST):
        media.call.send(shot.data)
        media.call.run(0.02)
    media.call.run_until(lambda: len(heard) >= FIRST, media.stage.patience)
    if not heard:
        raise Unsupported("sends no audio")
    named = [packet.extension(NUMBER) for packet in heard[:FIRST]]
    return [value for value in named if value is not None]


def _in_reports(media: Media) -> list[bytes]:
    """The names in the server's first reports. Raises Unsupported where it sends none."""
    call = media.call
    call.run_until(lambda: len(call.client.rtcp) >= 2, 2 * REPORT_PATIENCE)
    found = reports(call)
    if not found:
        raise Unsupported("sends no reports")
    return [
        value
        for packet in found
        if isinstance(packet, rtcp.SourceDescription)
        for chunk in packet.chunks
        for kind, value in chunk.items
        if kind == rtcp.MID
    ]


def _looked(names: Iterable[bytes]) -> Observed:
    told = set(names)
    if not told:
        return Shown.NOTHING
    wrong = sorted(told - {NAME.encode()})
    return shown(f"it names {wrong[0]!r}" if wrong else "")


@case(
    "rfc8843/9.2/mid-is-told",
    "A server that takes the MID extension names the section somewhere, in packets or in reports.",
    sends="an offer whose section has a long name and the extension, then audio, and listens",
    profiles=SRTP,
    good=(Shown.RIGHT,),
    bad=(Shown.WRONG, Shown.NOTHING),
    requirements=("rfc8843/9.2/2",),
    lasts=4.0,
)
def mid_is_told(stage: Stage) -> Observed:
    media = _open(stage)
    return _looked([*_in_packets(media), *_in_reports(media)])


@case(
    "rfc8843/15/mid-in-first-packets",
    "The first packets of the server's audio name the section, by what the offer calls it.",
    sends="an offer whose section has a long name and the extension, then audio, and listens",
    profiles=SRTP,
    good=(Shown.RIGHT,),
    lenient=(Shown.NOTHING,),  # a SHOULD; another section's name is worse than none
    bad=(Shown.WRONG,),
    requirements=("rfc8843/15/2",),
)
def mid_in_first_packets(stage: Stage) -> Observed:
    return _looked(_in_packets(_open(stage)))


@case(
    "rfc8843/15/mid-in-reports",
    "The source descriptions in the server's reports name the section, from the first one on.",
    sends="an offer whose section has a long name and the extension, then audio, and waits for "
    "two reports",
    profiles=SRTP,
    good=(Shown.RIGHT,),
    lenient=(Shown.NOTHING,),  # as above
    bad=(Shown.WRONG,),
    requirements=("rfc8843/15/1",),
    lasts=4.0,
)
def mid_in_reports(stage: Stage) -> Observed:
    return _looked(_in_reports(_open(stage)))


def _named(media: Media, name: bytes, count: int, *, wanted: bool) -> list[Shot]:
    return [media.shot(wanted=wanted, extensions=((NUMBER, name),)) for _ in range(count)]


@case(
    "rfc8843/9.2/mid-of-no-section",
    "Audio of a source that names a section which there is not is not decoded, though its payload "
    "type is known.",
    sends="audio of a second source with the MID of no section, then without one, among good audio",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc8843/9.2/7",),
)
def mid_of_no_section(stage: Stage) -> Observed:
    media = _open(stage)
    other = media.another_source(media.ssrc ^ 0x55555555, 20)
    strange = _named(other, ELSEWHERE, 3, wanted=False)
    strange += [other.shot(wanted=False) for _ in range(3)]
    return media.fire([media.shot(), *strange, *media.shots(3)])


@case(
    "rfc8843/9.2/mid-comes-right",
    "A source that has named a section which there is not is decoded from where it names ours.",
    sends="audio that names no section of the call, then the same source's with the right MID",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc8843/9.2/7",),
)
def mid_comes_right(stage: Stage) -> Observed:
    media = _open(stage)
    strange = [media.shot(wanted=None, extensions=((NUMBER, ELSEWHERE),)) for _ in range(3)]
    return media.fire([*strange, *_named(media, NAME.encode(), 3, wanted=True), *media.shots(3)])
