"""Writing the answer (RFC 3264, RFC 8829 section 5.3).

Every section that was offered has its counterpart, in its place. What is accepted repeats the
transport's credentials in each section, although one would do (RFC 9143, 7.1.3), because aiortc
refuses a section without them. The candidates stand once, in the section whose transport it is.
"""

from collections.abc import Iterable

from stunroute.address import Address
from transceiver.dtls import Role
from transceiver.sdp import (
    Candidate,
    Description,
    Group,
    HeaderExtension,
    Line,
    Media,
    Origin,
    RtpMap,
    SctpMap,
    Source,
    attribute,
)

from .offer import DATA_FORMAT, OLD_DATA_PROTOCOL
from .records import MID_EXTENSION, SCTP_PORT, CodecChoice, Direction, Negotiated

_FORMAT_PARAMETERS = {"opus": "minptime=10;useinbandfec=1"}
"""What we ask of the sender of each codec. In-band FEC pays for itself at the first loss."""

_OLD_STREAMS = 1024
"""What clients of the drafts wrote into ``sctpmap``; the INIT says how many streams there are."""


def answer(offer: Description, agreed: Negotiated, transport: int) -> Description:
    """The answer that says what was ``agreed``; ``transport`` is the index of the section whose
    transport is used."""
    origin = Origin("-", agreed.local.session_id, agreed.version, "IN", "IP4", "0.0.0.0")
    session = [Line("v", "0"), Line("o", str(origin)), Line("s", "-"), Line("t", "0 0")]
    if agreed.group:
        session.append(attribute("group", Group("BUNDLE", agreed.group)))
    session += [attribute("ice-lite"), attribute("ice-options", "ice2")]
    media = []
    for index, offered in enumerate(offer.media):
        if index in agreed.agreed:
            media.append(_accepted(offered, index, agreed, index == transport))
        else:
            media.append(_rejected(offered, agreed))
    return Description(tuple(session), media=tuple(media))


def _rejected(offered: Media, agreed: Negotiated) -> Media:
    """A section that we do not want (RFC 3264, section 6; RFC 8829, 5.3.1).

    Data gets the transport's attributes nevertheless: they mean nothing there, but aiortc refuses
    an answer in which a section lacks them, and with it the audio of every client that offers a
    data channel beside."""
    lines = [Line("c", "IN IP4 0.0.0.0")]
    if offered.mid is not None:
        lines.append(attribute("mid", offered.mid))
    if "RTP/" in offered.protocol:
        lines.append(attribute(Direction.INACTIVE.value))
    if offered.kind == "application":
        lines += _identity_lines(agreed)
    return Media(
        tuple(lines),
        kind=offered.kind,
        port=0,
        protocol=offered.protocol,
        formats=offered.formats,
    )


def _accepted(offered: Media, index: int, agreed: Negotiated, transport: bool) -> Media:
    default = agreed.local.candidates[0]
    family = "IP4" if default.is_ipv4 else "IP6"
    if index == agreed.section:
        formats, lines = _audio(agreed)
    else:
        formats, lines = _data(offered, agreed)
    if transport:
        if agreed.remote_tls_id is not None:
            lines.append(attribute("tls-id", agreed.tls_id))
        lines += [attribute("candidate", made) for made in candidates(agreed.local.candidates)]
        lines.append(attribute("end-of-candidates"))
    return Media(
        (Line("c", f"IN {family} {default.ip}"), *lines),
        kind=offered.kind,
        port=default.port,
        protocol=offered.protocol,
        formats=formats,
    )


def _audio(agreed: Negotiated) -> tuple[tuple[str, ...], list[Line]]:
    """The format and the attributes of the audio section."""
    codec = agreed.codec
    assert codec is not None, "audio is agreed on with its codec"
    lines = [*_transport_lines(agreed), *_codec_lines(codec)]
    if agreed.may_send:
        lines += [
            attribute("msid", f"{agreed.local.cname} audio"),
            attribute("ssrc", Source(agreed.local.ssrc, f"cname:{agreed.local.cname}")),
        ]
    return (str(codec.payload_type),), lines


def _data(offered: Media, agreed: Negotiated) -> tuple[tuple[str, ...], list[Line]]:
    """The format and the attributes of the data section (RFC 8841, 10.3)."""
    lines = _identity_lines(agreed)
    if offered.mid is not None:
        lines.append(attribute("mid", offered.mid))
    formats = DATA_FORMAT
    if offered.protocol == OLD_DATA_PROTOCOL:
        formats = str(SCTP_PORT)
        lines.append(attribute("sctpmap", SctpMap(SCTP_PORT, DATA_FORMAT, _OLD_STREAMS)))
    else:
        lines.append(attribute("sctp-port", SCTP_PORT))
    lines.append(attribute("max-message-size", agreed.local.max_message_size))
    return (formats,), lines


def _identity_lines(agreed: Negotiated) -> list[Line]:
    return [
        attribute("ice-ufrag", agreed.local.ufrag),
        attribute("ice-pwd", agreed.local.password),
        attribute("fingerprint", agreed.local.fingerprint),
        attribute("setup", "active" if agreed.role is Role.CLIENT else "passive"),
    ]


def _transport_lines(agreed: Negotiated) -> list[Line]:
    lines = _identity_lines(agreed)
    if agreed.mid is not None:
        lines.append(attribute("mid", agreed.mid))
    if agreed.mid_extension_id is not None:
        extension = HeaderExtension(agreed.mid_extension_id, MID_EXTENSION)
        lines.append(attribute("extmap", extension))
    lines += [attribute(agreed.direction.value), attribute("rtcp-mux")]
    if agreed.rtcp_rsize:
        lines.append(attribute("rtcp-rsize"))
    return lines


def _codec_lines(codec: CodecChoice) -> list[Line]:
    read = RtpMap(codec.payload_type, codec.name, codec.clock_rate, codec.channels)
    lines = [attribute("rtpmap", read)]
    if parameters := _FORMAT_PARAMETERS.get(codec.name):
        lines.append(attribute("fmtp", f"{codec.payload_type} {parameters}"))
    return lines


def candidates(addresses: Iterable[Address]) -> list[Candidate]:
    """Host candidates for ``addresses``, best first, for RTP and RTCP together (component 1).

    Priorities are RFC 8445's (5.1.2.1) with a local preference that falls by one from address to
    address, so no two are equal; addresses of one IP share a foundation (5.1.1.3).
    """
    foundations: dict[bytes, str] = {}
    made = []
    for index, address in enumerate(addresses):
        foundation = foundations.setdefault(address.host, str(len(foundations) + 1))
        priority = (126 << 24) + ((65535 - index) << 8) + 255
        made.append(Candidate(foundation, 1, "udp", priority, address.ip, address.port, "host"))
    return made
