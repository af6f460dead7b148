"""Reports, up and down, and what protects them (RFC 3550, section 6; RFC 3711, section 3.4).

That a report of ours was taken in shows in theirs: they name the last sender report that they have
had. What a server sends by itself is decrypted and read.
"""

from conformance.case import Observed, Unsupported, case
from conformance.probe.call import Call
from conformance.probe.look import Shown, shown
from conformance.probe.media import (
    HEARD,
    NOT_HEARD,
    REPORT_PATIENCE,
    Media,
    Noted,
    flip,
    open_media,
    received,
    reports,
)
from conformance.probe.profiles import SRTP
from conformance.stage import Stage
from stunroute.demux import Kind
from stunroute.errors import DecodeError
from transceiver.keying import SrtpProfile
from transceiver.srtp import rtcp

# --- what we report -------------------------------------------------------------------------------


def _ask(media: Media, *more: rtcp.Packet) -> Observed:
    """Whether a report with ``more`` behind it is taken in."""
    mark = media.new_mark()
    return media.ask_rtcp([media.context.protect_rtcp(media.compound(mark, *more))], mark)


@case(
    "rfc3550/6.4.1/sender-report-taken-in",
    "A sender report is taken in: the server's next report about us refers to it.",
    sends="a compound of SR and SDES",
    profiles=SRTP,
    good=(Noted.TAKEN,),
    bad=(Noted.IGNORED, Noted.DEAD),
    lasts=3.0,
)
def sender_report_taken_in(stage: Stage) -> Observed:
    return _ask(open_media(stage))


@case(
    "rfc3550/6.1/unknown-packet-types",
    "Packets of types that nobody knows are skipped, and what stands before them counts.",
    sends="a compound with APP, XR and types 192, 210 and 223 behind the SR",
    profiles=SRTP,
    good=(Noted.TAKEN,),
    bad=(Noted.IGNORED, Noted.DEAD),
    lasts=3.0,
)
def unknown_packet_types(stage: Stage) -> Observed:
    media = open_media(stage)
    ssrc = media.ssrc.to_bytes(4, "big")
    types = ((204, ssrc + b"name" + bytes(8)), (207, ssrc), (192, ssrc), (210, b""), (223, ssrc))
    return _ask(media, *(rtcp.Unknown(kind, 0, body) for kind, body in types))


@case(
    "rfc3550/6.4.3/profile-extension",
    "What a profile has appended to a report is skipped.",
    sends="an SR with twelve bytes behind its report blocks",
    profiles=SRTP,
    good=(Noted.TAKEN,),
    bad=(Noted.IGNORED, Noted.DEAD),
    lasts=3.0,
)
def profile_extension(stage: Stage) -> Observed:
    media = open_media(stage)
    mark = media.new_mark()
    report = rtcp.SenderReport(media.ssrc, mark << 16, 0, 1, 1, (), bytes(12))
    clear = rtcp.encode_compound([report, media.description()])
    return media.ask_rtcp([media.context.protect_rtcp(clear)], mark)


@case(
    "rfc4585/6.1/feedback",
    "Feedback that audio has no use for is let pass, and the report before it counts.",
    sends="a compound with NACK, transport-wide feedback, PLI and an unknown kind behind the SR",
    profiles=SRTP,
    good=(Noted.TAKEN,),
    bad=(Noted.IGNORED, Noted.DEAD),
    lasts=3.0,
)
def feedback(stage: Stage) -> Observed:
    media = open_media(stage)
    kinds = ((205, 1, b"\0\1\0\0"), (205, 15, bytes(12)), (206, 1, b""), (206, 31, bytes(4)))
    packets = (
        rtcp.Feedback(kind, form, media.ssrc, 0x01020304, control) for kind, form, control in kinds
    )
    return _ask(media, *packets)


@case(
    "rfc5506/4.1/reduced-size",
    "A report without a source description is taken in.",
    sends="an SR alone",
    profiles=SRTP,
    good=(Noted.TAKEN,),
    # Nobody has negotiated it.
    lenient=(Noted.IGNORED,),
    bad=(Noted.DEAD,),
    lasts=3.0,
)
def reduced_size(stage: Stage) -> Observed:
    media = open_media(stage)
    mark = media.new_mark()
    clear = rtcp.encode_compound([media.sender_report(mark)])
    return media.ask_rtcp([media.context.protect_rtcp(clear)], mark)


@case(
    "rfc3550/6.5/description-of-many-items",
    "A source description may have items of all kinds, empty ones and unknown ones among them.",
    sends="a compound whose SDES has eleven items",
    profiles=SRTP,
    good=(Noted.TAKEN,),
    bad=(Noted.IGNORED, Noted.DEAD),
    lasts=3.0,
)
def description_of_many_items(stage: Stage) -> Observed:
    media = open_media(stage)
    items = ((rtcp.CNAME, b"client"), *((kind, b"x" * (kind % 5)) for kind in range(2, 12)))
    return _ask(media, rtcp.SourceDescription((rtcp.Chunk(media.ssrc, items),)))


@case(
    "rfc3711/3.4/tampered",
    "An SRTCP packet whose tag does not verify is discarded.",
    sends="a report with a bit of its tag, of its body, and of its index turned over",
    profiles=SRTP,
    good=(Noted.IGNORED,),
    bad=(Noted.TAKEN, Noted.DEAD),
    requirements=("rfc3711/3.4/15", "rfc7714/9/1"),
    traps=("SRTP, RTP, RTCP 2",),
    lasts=3.0,
)
def tampered(stage: Stage) -> Observed:
    media = open_media(stage)
    mark = media.new_mark()
    data = media.context.protect_rtcp(media.compound(mark))
    return media.ask_rtcp([flip(data, place) for place in (-1, -3, 10, 20)], mark)


@case(
    "rfc3711/3.4/replayed",
    "An SRTCP packet that comes again is discarded: an old report does not replace a newer one.",
    sends="a report, a newer one, then the first again",
    profiles=SRTP,
    good=(Noted.TAKEN,),
    bad=(Noted.IGNORED, Noted.DEAD),
    requirements=("rfc3711/3.3/3", "rfc3711/3.2.1/9"),
    traps=("SRTP, RTP, RTCP 2",),
    lasts=3.0,
)
def replayed(stage: Stage) -> Observed:
    media = open_media(stage)
    mark = media.new_mark()
    old = media.context.protect_rtcp(media.compound(media.new_mark()))
    new = media.context.protect_rtcp(media.compound(mark))
    return media.ask_rtcp([old, new, old], mark)


@case(
    "traps/srtcp/replay-window-per-source",
    "Each source has its own SRTCP index and its own window: what one sends does not make the "
    "reports of another look old.",
    sends="200 reports of a second source, then one of ours",
    profiles=SRTP,
    good=(Noted.TAKEN,),
    bad=(Noted.IGNORED, Noted.DEAD),
    requirements=("rfc3711/3.2.1/9", "rfc3711/3.2.3/1"),
    traps=("SRTP, RTP, RTCP 2",),
    lasts=3.0,
)
def window_per_source(stage: Stage) -> Observed:
    media = open_media(stage)
    mark = media.new_mark()
    ssrc = media.ssrc ^ 0x0F0F0F0F
    other = rtcp.encode_compound(
        [rtcp.ReceiverReport(ssrc), rtcp.SourceDescription((rtcp.Chunk(ssrc, ((1, b"b"),)),))]
    )
    others = [media.context.protect_rtcp(other) for _ in range(200)]
    data = media.context.protect_rtcp(media.compound(mark))
    return media.ask_rtcp([*others, data], mark)


@case(
    "traps/srtcp/window-not-moved-by-forgery",
    "An SRTCP packet that does not authenticate does not move the replay window.",
    sends="reports with indices far ahead and wrong tags, then a good one",
    profiles=SRTP,
    good=(Noted.TAKEN,),
    bad=(Noted.IGNORED, Noted.DEAD),
    requirements=("rfc3711/3.3.2/4",),
    traps=("SRTP, RTP, RTCP 2",),
    lasts=3.0,
)
def srtcp_window_not_moved(stage: Stage) -> Observed:
    media = open_media(stage)
    mark = media.new_mark()
    good = media.context.protect_rtcp(media.compound(mark))
    # The index stands last under GCM, before the tag of ten bytes under AES-CM.
    last = 4 if media.keys.profile is not SrtpProfile.AES128_CM_SHA1_80 else 14
    place = len(good) - last
    forged = [
        good[:place] + (0x80000000 | index).to_bytes(4, "big") + good[place + 4 :]
        for index in (500, 100_000, 0x7FFFFFFF)
    ]
    return media.ask_rtcp([*forged, good], mark)


@case(
    "rfc3711/3.4/in-the-clear",
    "RTCP in the clear is not taken in once there are keys.",
    sends="a report without protection, with and without bytes where index and tag would stand",
    profiles=SRTP,
    good=(Noted.IGNORED,),
    bad=(Noted.TAKEN, Noted.DEAD),
    requirements=("rfc3711/3.4/15", "rfc3711/9.5/3"),
    lasts=3.0,
)
def in_the_clear(stage: Stage) -> Observed:
    media = open_media(stage)
    mark = media.new_mark()
    clear = media.compound(mark)
    return media.ask_rtcp([clear, clear + bytes(14), clear + bytes(20)], mark)


@case(
    "rfc3711/3.4/goodbye-in-the-clear",
    "A BYE that anybody could have sent ends nothing.",
    sends="a BYE for our source without protection, then audio",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc3711/3.4/15",),
)
def goodbye_in_the_clear(stage: Stage) -> Observed:
    media = open_media(stage)
    clear = media.compound(media.new_mark(), rtcp.Bye((media.ssrc,)))
    for data in (clear, clear + b"\x80\0\0\1" + bytes(10)):
        media.call.send(data, note="BYE in the clear")
    return media.fire(media.shots(5))


@case(
    "traps/srtcp/too-short-for-its-tag",
    "An SRTCP packet that has no room for index and tag is discarded, and nothing breaks.",
    sends="RTCP headers with 4 to 30 bytes in all, then audio",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    traps=("SRTP, RTP, RTCP 2",),
)
def srtcp_too_short(stage: Stage) -> Observed:
    media = open_media(stage)
    data = media.context.protect_rtcp(media.compound(media.new_mark()))
    for length in range(1, 31):
        media.call.send(data[:length], note=f"{length} bytes of SRTCP")
    return media.fire(media.shots(3))


@case(
    "rfc3550/6.1/malformed",
    "RTCP that is no RTCP inside its protection is let go, and nothing breaks.",
    sends="authenticated RTCP: lengths past the end, report blocks and items that are not there, "
    "padding that does not fit, version 1",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
)
def malformed(stage: Stage) -> Observed:
    media = open_media(stage)
    ssrc = media.ssrc.to_bytes(4, "big")
    bodies = (
        b"\x80\xc9\xff\xff" + ssrc,
        b"\x9f\xc8\x00\x01" + ssrc,
        b"\x80\xc8\x00\x01" + ssrc,
        b"\x9f\xc9\x00\x01" + ssrc,
        b"\x81\xca\x00\x02" + ssrc + b"\x01\xffab",
        b"\x9f\xca\x00\x01" + ssrc,
        b"\x9f\xcb\x00\x01" + ssrc,
        b"\x81\xcb\x00\x02" + ssrc + b"\xffabc",
        b"\xa0\xc9\x00\x01" + ssrc[:3] + b"\xff",
        b"\xa0\xc9\x00\x01" + ssrc[:3] + b"\x00",
        b"\x40\xc9\x00\x01" + ssrc,
        b"\x81\xcd\x00\x01" + ssrc,
    )
    for body in bodies:
        media.send_rtcp(body, "no RTCP, authenticated")
    return media.fire(media.shots(3))


@case(
    "rfc5761/4/demultiplexing",
    "RTP and RTCP on one port are told apart by the payload type, however they alternate.",
    sends="audio and reports in turn",
    profiles=SRTP,
    good=HEARD,
    bad=NOT_HEARD,
    requirements=("rfc5761/5.1.1/5", "rfc5761/7/1"),
)
def demultiplexing(stage: Stage) -> Observed:
    media = open_media(stage)
    shots = []
    for _ in range(10):
        shots.append(media.shot(marker=True))
        data = media.context.protect_rtcp(media.compound(media.new_mark()))
        shots.append(shots[-1].refused(data, "a report"))
    return media.fire(shots)


# --- what the server reports ----------------------------------------------------------------------


def _wait(call: Call, least: int = 1) -> list[rtcp.Packet]:
    """The server's RTCP, as soon as so many of its datagrams have come."""
    call.run_until(lambda: len(call.client.rtcp) >= least, REPORT_PATIENCE * least)
    return reports(call)


@case(
    "rfc3550/6.2/reports-come",
    "The server sends RTCP, of its own accord and at its pace.",
    sends="audio, and waits",
    profiles=SRTP,
    good=(Shown.RIGHT,),
    bad=(Shown.WRONG, Shown.NOTHING),
    lasts=3.0,
)
def reports_come(stage: Stage) -> Observed:
    media = open_media(stage)
    if not _wait(media.call):
        return Shown.NOTHING
    wrong = [str(drop) for drop in media.call.client.drops if "srtp" in str(drop).lower()]
    return shown("; ".join(wrong[:3]))


@case(
    "rfc3550/6.1/compound",
    "Each RTCP packet of the server's begins with a report and has a CNAME, for nobody has agreed "
    "to less.",
    sends="audio, and waits for two reports",
    profiles=SRTP,
    good=(Shown.RIGHT,),
    bad=(Shown.WRONG, Shown.NOTHING),
    requirements=("rfc3711/3.4/3", "rfc3711/3.4/2"),
    lasts=4.0,
)
def compound(stage: Stage) -> Observed:
    media = open_media(stage)
    if not _wait(media.call, 2):
        return Shown.NOTHING
    for clear in media.call.client.rtcp:
        try:
            whole = rtcp.is_compound(rtcp.decode_compound_untrusted(clear))
        except DecodeError as error:
            return shown(str(error))
        if not whole:
            return shown("no report first, or no CNAME")
    return shown("")


@case(
    "rfc3550/6.5.1/cname-stays",
    "The server's CNAME is the same in all its reports, and belongs to the source that it sends "
    "under.",
    sends="audio, and waits for two reports",
    profiles=SRTP,
    good=(Shown.RIGHT,),
    bad=(Shown.WRONG, Shown.NOTHING),
    lasts=4.0,
)
def cname_stays(stage: Stage) -> Observed:
    media = open_media(stage)
    found = _wait(media.call, 2)
    names = {
        (chunk.ssrc, value)
        for packet in found
        if isinstance(packet, rtcp.SourceDescription)
        for chunk in packet.chunks
        for kind, value in chunk.items
        if kind == rtcp.CNAME
    }
    if not names:
        return Shown.NOTHING
    senders = {packet.ssrc for packet in found if isinstance(packet, rtcp.SenderReport)}
    if senders - {ssrc for ssrc, _ in names}:
        return shown("a sender report of a source without a name")
    return shown("several names" if len({value for _, value in names}) > 1 else "")


@case(
    "rfc3550/6.4.1/report-on-us",
    "The server reports on our source: the highest sequence number that came, and nothing lost "
    "where nothing was.",
    sends="audio without a loss, and waits for reports",
    profiles=SRTP,
    good=(Shown.RIGHT,),
    bad=(Shown.WRONG, Shown.NOTHING),
    lasts=3.0,
)
def report_on_us(stage: Stage) -> Observed:
    media = open_media(stage)
    for shot in media.shots(20):
        media.call.send(shot.data)
        media.call.run(0.02)
    last = (media.sequence - 1) & 0xFFFF
    media.call.run_until(
        lambda: any(block.highest_sequence & 0xFFFF == last for block in media.blocks()),
        2 * REPORT_PATIENCE,
    )
    blocks = media.blocks()
    if not blocks:
        return Shown.NOTHING
    block = blocks[-1]
    if block.highest_sequence & 0xFFFF != last:
        return shown(f"highest {block.highest_sequence & 0xFFFF}, where {last} was sent")
    return shown(f"{block.cumulative_lost} lost" if block.cumulative_lost else "")


@case(
    "rfc3550/6.4.1/loss-reported",
    "The server counts what is missing.",
    sends="audio of which seven packets in thirty do not leave, and waits for a report",
    profiles=SRTP,
    good=(Shown.RIGHT,),
    bad=(Shown.WRONG, Shown.NOTHING),
    lasts=3.0,
)
def loss_reported(stage: Stage) -> Observed:
    media = open_media(stage)
    for place in range(30):
        shot = media.shot()
        if place not in (3, 4, 9, 10, 11, 20, 27):
            media.call.send(shot.data)
        media.call.run(0.02)
    last = (media.sequence - 1) & 0xFFFF
    media.call.run_until(
        lambda: any(block.highest_sequence & 0xFFFF == last for block in media.blocks()),
        2 * REPORT_PATIENCE,
    )
    blocks = media.blocks()
    if not blocks:
        return Shown.NOTHING
    lost = blocks[-1].cumulative_lost
    return shown(f"{lost} lost, where 7 were" if lost != 7 else "")


@case(
    "rfc3550/6.4.1/sender-report-counts",
    "A server that sends audio sends sender reports, and their count is that of its packets.",
    sends="audio, and waits for a sender report",
    profiles=SRTP,
    good=(Shown.RIGHT,),
    bad=(Shown.WRONG, Shown.NOTHING),
    lasts=3.0,
)
def sender_report_counts(stage: Stage) -> Observed:
    media = open_media(stage)
    call = media.call
    if not call.client.audio:
        raise Unsupported("sends no audio")
    ssrc = call.client.audio[-1].ssrc

    def found() -> list[rtcp.SenderReport]:
        return [each for each in reports(call) if isinstance(each, rtcp.SenderReport)]

    # One that came before has counted fewer than have come by now.
    known = len(found())
    if not call.run_until(lambda: len(found()) > known, REPORT_PATIENCE):
        return Shown.NOTHING
    report = found()[-1]
    heard = sum(1 for packet in call.client.audio if packet.ssrc == ssrc)
    if report.ssrc != ssrc:
        return shown("a report of another source than the one that sends")
    if not heard - 2 <= report.packet_count <= heard:
        return shown(f"{report.packet_count} packets, where {heard} came")
    return shown("" if report.octet_count else "no bytes")


@case(
    "rfc3550/6.4.1/delay-since-our-report",
    "Where the server refers to our report, it says how long it has had it.",
    sends="an SR, and waits for a report that refers to it",
    profiles=SRTP,
    good=(Shown.RIGHT,),
    bad=(Shown.WRONG, Shown.NOTHING),
    lasts=3.0,
)
def delay_since_our_report(stage: Stage) -> Observed:
    media = open_media(stage)
    mark, sent = media.new_mark(), stage.now
    media.send_rtcp(media.compound(mark), "SR")
    if not media.noted(mark):
        raise Unsupported("its reports do not refer to ours")
    delay = media.blocks()[-1].delay_since_last / 65536
    passed = stage.now - sent
    return shown(f"{delay:.2f} s, of {passed:.2f} s" if not 0 < delay <= passed + 0.01 else "")


@case(
    "rfc3711/3.4/index-and-flag",
    "The server's SRTCP packets are encrypted, and their index goes up by one.",
    sends="audio, and waits for three reports",
    profiles=SRTP,
    good=(Shown.RIGHT,),
    bad=(Shown.WRONG, Shown.NOTHING),
    requirements=("rfc3711/3.4/1", "rfc3711/3.4/6", "rfc3711/3.4/7"),
    lasts=6.0,
)
def index_and_flag(stage: Stage) -> Observed:
    media = open_media(stage)
    _wait(media.call, 3)
    last = 4 if media.keys.profile is not SrtpProfile.AES128_CM_SHA1_80 else 14
    words: list[int] = []
    of_sources: dict[bytes, list[int]] = {}  # each has indices of its own
    for data in received(media.call, Kind.RTCP):
        words.append(int.from_bytes(data[len(data) - last :][:4], "big"))
        of_sources.setdefault(data[4:8], []).append(words[-1] & 0x7FFFFFFF)
    if not words:
        return Shown.NOTHING
    if not all(word >> 31 for word in words):
        return shown("not encrypted")
    for indices in of_sources.values():
        first = indices[0]
        if first > 1 or indices != list(range(first, first + len(indices))):
            return shown(f"indices {indices[:6]}")
    return shown("")
