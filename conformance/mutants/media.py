"""Servers that get SRTP, RTP or RTCP wrong."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import attrs

from stunroute.errors import DecodeError
from stunroute.trace import Drop
from transceiver.audio import AudioStream
from transceiver.session import Session
from transceiver.srtp import SectionName, rtcp, rtp
from transceiver.srtp.protection import SrtpContext, SrtpError
from transceiver.srtp.statistics import SourceStatistics

from .model import mutant, swapped

_UNPROTECT = SrtpContext.unprotect_rtp_untrusted
_UNPROTECT_RTCP = SrtpContext.unprotect_rtcp_untrusted


@mutant(
    "media/takes-rtp-in-the-clear",
    "What does not authenticate is taken as if nobody had agreed on keys.",
    killer="rfc5764/5.1.2/plaintext-after-keys",
)
def takes_rtp_in_the_clear() -> Iterator[None]:
    def unprotect(context: SrtpContext, data: bytes) -> bytes:
        try:
            return _UNPROTECT(context, data)
        except SrtpError:
            return data

    with swapped(SrtpContext, "unprotect_rtp_untrusted", unprotect):
        yield


@mutant(
    "media/takes-replays",
    "A packet that comes again is taken again.",
    killer="rfc3711/3.3.2/replayed-at-once",
)
def takes_replays() -> Iterator[None]:
    opened: dict[bytes, bytes] = {}
    receive = SourceStatistics.receive

    def unprotect(context: SrtpContext, data: bytes) -> bytes:
        if data not in opened:
            opened[data] = _UNPROTECT(context, data)
        return opened[data]

    def count(books: SourceStatistics, *packet: Any) -> int | None:
        place = receive(books, *packet)
        return books.highest if place is None else place

    with ExitStack() as stack:
        stack.enter_context(swapped(SrtpContext, "unprotect_rtp_untrusted", unprotect))
        stack.enter_context(swapped(SourceStatistics, "receive", count))
        yield


@mutant(
    "media/window-before-authentication",
    "The replay window moves with whatever comes, authentic or not.",
    killer="traps/srtp/window-not-moved-by-forgery",
)
def window_before_authentication() -> Iterator[None]:
    newest: dict[tuple[int, bytes], int] = {}

    def unprotect(context: SrtpContext, data: bytes) -> bytes:
        place = (id(context), data[8:12])
        sequence = int.from_bytes(data[2:4], "big")
        last = newest.setdefault(place, sequence)
        ahead = (sequence - last + 0x8000 & 0xFFFF) - 0x8000
        if ahead < -64:
            raise SrtpError(Drop.SRTP_TOO_OLD)
        newest[place] = sequence if ahead > 0 else last
        return _UNPROTECT(context, data)

    with swapped(SrtpContext, "unprotect_rtp_untrusted", unprotect):
        yield


@mutant(
    "media/no-rollover",
    "The rollover counter stays zero.",
    killer="rfc3711/3.3.1/rollover",
)
def no_rollover() -> Iterator[None]:
    newest: dict[tuple[int, bytes], int] = {}

    def unprotect(context: SrtpContext, data: bytes) -> bytes:
        clear = _UNPROTECT(context, data)
        place, sequence = (id(context), data[8:12]), int.from_bytes(data[2:4], "big")
        if newest.get(place, 0) - sequence > 0x8000:
            raise SrtpError(Drop.SRTP_AUTHENTICATION)
        newest[place] = max(newest.get(place, 0), sequence)
        return clear

    with swapped(SrtpContext, "unprotect_rtp_untrusted", unprotect):
        yield


@mutant(
    "media/short-packet-breaks-it",
    "After a packet that is too short for its tag nothing is taken any more.",
    killer="traps/srtp/too-short-for-its-tag",
)
def short_packet_breaks_it() -> Iterator[None]:
    broken: set[int] = set()

    def unprotect(context: SrtpContext, data: bytes) -> bytes:
        if id(context) in broken:
            raise SrtpError(Drop.SRTP_REFUSED)
        try:
            return _UNPROTECT(context, data)
        except SrtpError as error:
            if error.drop is Drop.SRTP_TOO_SHORT:
                broken.add(id(context))
            raise

    with swapped(SrtpContext, "unprotect_rtp_untrusted", unprotect):
        yield


@mutant(
    "media/one-srtcp-window",
    "One replay window serves the SRTCP of all sources.",
    killer="traps/srtcp/replay-window-per-source",
)
def one_srtcp_window() -> Iterator[None]:
    newest: dict[int, int] = {}

    def unprotect(context: SrtpContext, data: bytes) -> bytes:
        clear = _UNPROTECT_RTCP(context, data)
        index = int.from_bytes(data[-4:], "big") & 0x7FFFFFFF
        last = newest.get(id(context), 0)
        if index < last - 64:
            raise SrtpError(Drop.SRTP_TOO_OLD)
        newest[id(context)] = max(last, index)
        return clear

    with swapped(SrtpContext, "unprotect_rtcp_untrusted", unprotect):
        yield


@mutant(
    "media/takes-rtcp-in-the-clear",
    "RTCP that does not authenticate is read all the same.",
    killer="rfc3711/3.4/in-the-clear",
)
def takes_rtcp_in_the_clear() -> Iterator[None]:
    def unprotect(context: SrtpContext, data: bytes) -> bytes:
        try:
            return _UNPROTECT_RTCP(context, data)
        except SrtpError:
            rtcp.decode_compound_untrusted(data)
            return data

    with swapped(SrtpContext, "unprotect_rtcp_untrusted", _as_srtp_error(unprotect)):
        yield


def _as_srtp_error(unprotect: Any) -> Any:
    def shielded(context: SrtpContext, data: bytes) -> bytes:
        try:
            return bytes(unprotect(context, data))
        except SrtpError:
            raise
        except DecodeError:
            raise SrtpError(Drop.SRTP_REFUSED) from None

    return shielded


@mutant(
    "media/srtp-bound-to-the-path",
    "SRTP is taken from the address that is nominated and from no other, whatever its tag says.",
    killer="traps/srtp/dtls-here-and-srtp-there",
)
def bound_to_the_path() -> Iterator[None]:
    receive = Session.receive_rtp

    def receive_rtp(session: Session, payload: bytes, path: Any, now: float) -> Any:
        return receive(session, payload, path, now) if path == session.route else None

    with swapped(Session, "receive_rtp", receive_rtp):
        yield


# --- RTP ------------------------------------------------------------------------------------------


@mutant(
    "media/padding-is-payload",
    "Padding is not taken off.",
    killer="rfc3550/5.1/padding",
)
def padding_is_payload() -> Iterator[None]:
    read = rtp.audio_untrusted

    def audio(data: bytes) -> Any:
        return read(bytes((data[0] & ~0x20,)) + data[1:])

    with swapped(rtp, "audio_untrusted", audio):
        yield


@mutant(
    "media/no-contributing-sources",
    "A packet that names contributing sources is let go.",
    killer="rfc3550/5.1/contributing-sources",
)
def no_contributing_sources() -> Iterator[None]:
    read = rtp.audio_untrusted

    def audio(data: bytes) -> Any:
        if data[0] & 0x0F:
            raise DecodeError("contributing sources")
        return read(data)

    with swapped(rtp, "audio_untrusted", audio):
        yield


@mutant(
    "media/two-byte-extensions-refused",
    "Of header extensions only the one-byte form is known.",
    killer="rfc8285/4.3/two-byte-elements",
)
def two_byte_refused() -> Iterator[None]:
    read = rtp.decode_untrusted

    def decode(data: bytes) -> rtp.RtpPacket:
        if data[0] & 0x10 and data[12:14] == b"\x10\x00":
            raise DecodeError("two-byte extensions")
        return read(data)

    with swapped(rtp, "decode_untrusted", decode):
        yield


@mutant(
    "media/takes-any-payload-type",
    "Packets are taken for audio whatever their payload type.",
    killer="rfc3550/5.1/payload-type-not-negotiated",
)
def takes_any_payload_type() -> Iterator[None]:
    receive = AudioStream.receive_rtp_untrusted

    def receive_rtp(stream: AudioStream, data: bytes, now: float) -> Any:
        second = data[1] & 0x80 | stream.payload_type
        return receive(stream, data[:1] + bytes((second,)) + data[2:], now)

    with swapped(AudioStream, "receive_rtp_untrusted", receive_rtp):
        yield


@mutant(
    "media/sends-payload-type-111",
    "Audio goes out as 111, which is what most offers call Opus.",
    killer="rfc3264/6.1/downlink-payload-type",
)
def sends_payload_type_111() -> Iterator[None]:
    encode = rtp.encode_audio

    def encode_audio(payload_type: int, *rest: Any) -> bytes:
        return encode(111, *rest)

    with swapped(rtp, "encode_audio", encode_audio):
        yield


@mutant(
    "media/sends-every-other-number",
    "Sequence numbers go up by two.",
    killer="rfc3550/5.1/downlink-sequence",
)
def sends_every_other_number() -> Iterator[None]:
    make = AudioStream.packetise

    def packetise(stream: AudioStream, *packet: Any) -> bytes:
        made = make(stream, *packet)
        stream._sequence = (stream._sequence + 1) & 0xFFFF
        return made

    with swapped(AudioStream, "packetise", packetise):
        yield


# --- reports --------------------------------------------------------------------------------------


@mutant("media/no-reports", "No RTCP is ever sent.", killer="rfc3550/6.2/reports-come")
def no_reports() -> Iterator[None]:
    never = property(lambda stream: None)
    with ExitStack() as stack:
        stack.enter_context(swapped(AudioStream, "next_report", never))
        stack.enter_context(swapped(AudioStream, "next_probe", never))
        yield


@mutant(
    "media/report-without-a-name",
    "Reports go out without a source description.",
    killer="rfc3550/6.1/compound",
)
def report_without_a_name() -> Iterator[None]:
    with swapped(AudioStream, "_description", lambda stream: rtcp.SourceDescription(())):
        yield


@mutant(
    "media/loses-count-of-losses",
    "Reports never tell of a loss.",
    killer="rfc3550/6.4.1/loss-reported",
)
def loses_count() -> Iterator[None]:
    block = SourceStatistics.report_block

    def report_block(books: SourceStatistics, *what: Any) -> rtcp.ReportBlock:
        return attrs.evolve(block(books, *what), cumulative_lost=0)

    with swapped(SourceStatistics, "report_block", report_block):
        yield


@mutant(
    "media/unknown-rtcp-spoils-the-rest",
    "A compound with a packet of an unknown type is let go as a whole.",
    killer="rfc3550/6.1/unknown-packet-types",
)
def unknown_rtcp() -> Iterator[None]:
    read = rtcp.decode_compound_untrusted

    def decode(data: bytes) -> list[rtcp.Packet]:
        packets = read(data)
        if any(isinstance(packet, rtcp.Unknown) for packet in packets):
            raise DecodeError("an unknown type")
        return packets

    with swapped(rtcp, "decode_compound_untrusted", decode):
        yield


# --- the name of the section ----------------------------------------------------------------------


@mutant(
    "media/never-names-its-section",
    "The MID extension is agreed on, and nothing that is sent ever bears the MID.",
    killer="rfc8843/9.2/mid-is-told",
)
def never_names_its_section() -> Iterator[None]:
    with swapped(AudioStream, "belongs_to", lambda stream, mid, extension: None):
        yield


@mutant(
    "media/packets-name-the-index",
    "Packets name the section by its place in the description, which is what browsers call it.",
    killer="rfc8843/15/mid-in-first-packets",
)
def packets_name_the_index() -> Iterator[None]:
    write = rtp.encode_extensions

    def encode_extensions(extensions: tuple[tuple[int, bytes], ...]) -> bytes:
        return write(tuple((number, b"0") for number, _ in extensions))

    with swapped(rtp, "encode_extensions", encode_extensions):
        yield


@mutant(
    "media/reports-end-the-name-with-zero",
    "In reports the MID is zero-terminated.",
    killer="rfc8843/15/mid-in-reports",
)
def reports_end_the_name_with_zero() -> Iterator[None]:
    def item(section: SectionName) -> tuple[int, bytes]:
        return rtcp.MID, section.mid.encode() + b"\0"

    with swapped(SectionName, "item", property(item)):
        yield


@mutant(
    "media/takes-what-is-meant-for-others",
    "The MID of what comes in is not looked at.",
    killer="rfc8843/9.2/mid-of-no-section",
)
def takes_what_is_meant_for_others() -> Iterator[None]:
    with swapped(SectionName, "heard", lambda section, *packet: False):
        yield


@mutant(
    "media/never-forgives-a-source",
    "A source that has once named another section is never taken again.",
    killer="rfc8843/9.2/mid-comes-right",
)
def never_forgives_a_source() -> Iterator[None]:
    heard = SectionName.heard

    def strictly(section: SectionName, ssrc: int, sequence: int, *packet: Any) -> bool:
        return section.is_elsewhere(ssrc, sequence) or heard(section, ssrc, sequence, *packet)

    with swapped(SectionName, "heard", strictly):
        yield


@mutant(
    "media/two-sources",
    "Every other packet of its audio goes out under another source.",
    killer="rfc3550/8.1/downlink-source",
)
def two_sources() -> Iterator[None]:
    packetise = AudioStream.packetise

    def turned(stream: AudioStream, *what: Any) -> bytes:
        packet = packetise(stream, *what)
        return packet[:8] + bytes((packet[8] ^ packet[3] & 1,)) + packet[9:]

    with swapped(AudioStream, "packetise", turned):
        yield
