"""From an offer and what we bring to an answer and a session's settings: one pure function.

Nothing is gathered, resolved or waited for. Our candidates are the relay's public addresses and
known beforehand; the client's are of no use to a lite agent, which learns where the client is from
its checks, so its candidate lines are not even read. That is why an offer without candidates, or
with only ``.local`` names, is as good as any.

One audio section is accepted, with exactly one codec. Everything else that the offer holds is
rejected the way JSEP says (RFC 8829, 5.3.1): port zero, in its place, out of the BUNDLE group.
Where the transport's attributes stand differs between clients: in the section, in the section
that stands for the BUNDLE group (RFC 9143, 7.3), or at session level. They are looked for in
this order.

A later offer in the same call (``renegotiate``) may restart ICE, change the direction of audio,
and add sections, which are rejected. It may not touch what DTLS has already agreed on: the
certificates and who is the client.
"""

import hmac
from collections.abc import Iterable
from enum import Enum

from attrs import evolve, field, frozen, validators

from stunroute.address import Address
from stunroute.errors import DecodeError

from .dtls import Fingerprint, Role
from .errors import OfferError
from .ice import Credentials
from .sdp import (
    Candidate,
    Description,
    Group,
    HeaderExtension,
    Line,
    Media,
    Origin,
    RtpMap,
    Section,
    Source,
    attribute,
    read_all,
)

MID_EXTENSION = "urn:ietf:params:rtp-hdrext:sdes:mid"
"""The one RTP header extension that answers accept (RFC 9143, section 15)."""

_CODECS = {"opus": (48000, 2), "PCMU": (8000, 1), "PCMA": (8000, 1)}
"""Clock rate in Hz and channels by the name that ``rtpmap`` writes (RFC 7587, RFC 3551)."""

_STATIC = {"0": RtpMap(0, "PCMU", 8000), "8": RtpMap(8, "PCMA", 8000)}
"""Payload types that need no ``rtpmap`` (RFC 3551, section 6)."""

_FORMAT_PARAMETERS = {"opus": "minptime=10;useinbandfec=1"}
"""What we ask of the sender of each codec. In-band FEC pays for itself at the first loss."""

_RTCP_RANGE = range(64, 96)
"""Payload types that, with the marker bit, read as RTCP once both share a port (RFC 5761, 4)."""

_PROTOCOLS = frozenset(
    f"{transport}RTP/{profile}"
    for transport in ("", "TCP/DTLS/", "UDP/TLS/")
    for profile in ("AVP", "AVPF", "SAVP", "SAVPF")
    if profile.startswith("S") or not transport
)
"""Taken for UDP/TLS/RTP/SAVPF and mirrored (RFC 8829, 5.1.2): what counts is the fingerprint."""


class Direction(Enum):
    """Who sends, seen from whoever wrote the description (RFC 8866, 6.7)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @property
    def mirrored(self) -> "Direction":
        """The same seen from the other side."""
        match self:
            case Direction.SENDONLY:
                return Direction.RECVONLY
            case Direction.RECVONLY:
                return Direction.SENDONLY
            case _:
                return self


_DIRECTIONS = {direction.value: direction for direction in Direction}


@frozen(slots=True)
class LocalDescription:
    """What we bring to a negotiation.

    ``candidates`` are the public addresses to advertise, best first, at least one. ``codecs`` are
    names out of ``opus``, ``PCMU`` and ``PCMA``, best first. ``session_id`` is below 2^63
    (RFC 8829, 5.2.1), ``ssrc`` below 2^32, ``cname`` a token; it also names the media stream.
    ``max_message_size`` is the longest data channel message that we take, in bytes, as announced;
    ``data`` whether a section for data channels is accepted at all.
    """

    ufrag: str
    password: str = field(repr=False)
    fingerprint: Fingerprint
    candidates: tuple[Address, ...] = field(validator=validators.min_len(1))
    session_id: int = field(validator=validators.lt(2**63))
    ssrc: int
    cname: str
    codecs: tuple[str, ...] = ("opus", "PCMU", "PCMA")
    max_message_size: int = 262144
    data: bool = True


@frozen(slots=True)
class CodecChoice:
    """The one codec of a call. ``name`` is ``opus``, ``PCMU`` or ``PCMA``; ``payload_type`` the
    offer's number for it, used in both directions; ``clock_rate`` Hz; ``fmtp`` what the client
    asks of us, as it wrote it."""

    name: str
    payload_type: int
    clock_rate: int
    channels: int
    fmtp: str = ""


@frozen(slots=True)
class DataChoice:
    """The section that carries the data channels, beside the audio's transport or alone on it.
    ``section`` is its index, ``mid`` its name; ``port`` the client's SCTP port (RFC 8841, 5);
    ``max_message_size`` the longest message that the client takes, in bytes, 0 for any (RFC 8841,
    6)."""

    mid: str | None
    section: int
    port: int
    max_message_size: int


@frozen(slots=True)
class Negotiated:
    """An answer, and what the session needs to know.

    ``local`` is what the answer was made of, ``remote`` the client's ICE credentials;
    ``fingerprints`` the digests of which the client's certificate must match one; ``role`` the
    DTLS role that we take; ``direction`` is ours; ``mid_extension_id`` the RTP header extension
    that carries ``mid``, None where the offer has none. ``section`` is the index of the accepted
    audio among ``sections``. Where data is all that was agreed on, ``codec``, ``mid`` and
    ``section`` are None and nothing may be sent or received; where no data was, ``data`` is.
    ``version`` counts our answers, ``restarted`` says that this one restarts ICE.
    """

    answer: Description = field(repr=False)
    local: LocalDescription
    remote: Credentials
    fingerprints: tuple[Fingerprint, ...]
    role: Role
    mid: str | None
    codec: CodecChoice | None
    direction: Direction
    rtcp_mux: bool
    rtcp_rsize: bool
    mid_extension_id: int | None
    remote_ssrcs: tuple[int, ...]
    section: int | None
    sections: int
    version: int
    restarted: bool = False
    data: DataChoice | None = None

    @property
    def may_send(self) -> bool:
        """Whether our audio may go out."""
        return self.direction in (Direction.SENDRECV, Direction.SENDONLY)

    @property
    def may_receive(self) -> bool:
        """Whether the client's audio may come in."""
        return self.direction in (Direction.SENDRECV, Direction.RECVONLY)


def negotiate(offer: Description, local: LocalDescription) -> Negotiated:
    """Answer a call's first offer. Raises OfferError."""
    _check_session(offer)
    index, codec = _choose(offer, local.codecs)
    view = _View.of(offer, index)
    return _settle(view, codec, local, _role(view), version=1)


def renegotiate(previous: Negotiated, offer: Description, local: LocalDescription) -> Negotiated:
    """Answer a later offer of the same call. ``local`` brings fresh ICE credentials; they are used
    only when the offer restarts ICE, otherwise the answer repeats the previous ones. What was used
    is the result's ``local``. Raises OfferError."""
    _check_session(offer)
    if len(offer.media) < previous.sections:
        raise OfferError(f"the offer has fewer than the {previous.sections} media sections agreed")
    view = _View.of(offer, previous.section)
    if not _is_live(view) or view.media.mid != previous.mid:
        raise view.media.error("the audio section agreed on is no longer here")
    agreed = (previous.codec.name, previous.codec.payload_type)
    offered = {(codec.name, codec.payload_type): codec for codec in _codecs(view.media)}
    if agreed not in offered:
        raise view.media.error("the codec agreed on is no longer offered under its number")
    if set(_fingerprints(view)) != set(previous.fingerprints):
        raise view.media.error("the certificate's fingerprint changed: open a new call for that")
    restarted = is_restart(previous, offer)
    if not restarted:
        kept = previous.local
        local = evolve(local, ufrag=kept.ufrag, password=kept.password)
    role = _role(view, previous.role)
    return _settle(view, offered[agreed], local, role, previous.version + 1, restarted)


def is_restart(previous: Negotiated, offer: Description) -> bool:
    """Whether a later offer restarts ICE: its ufrag or its password is new (RFC 8839, 4.4.1; one
    of the two is enough). Raises OfferError where they cannot be read."""
    if previous.section >= len(offer.media):
        raise OfferError("the audio section agreed on is no longer here")
    remote = _credentials(_View.of(offer, previous.section))
    return not (
        hmac.compare_digest(remote.ufrag, previous.remote.ufrag)
        and hmac.compare_digest(remote.password, previous.remote.password)
    )


# --- reading the offer ------------------------------------------------------------------------


@frozen(slots=True)
class _View:
    """The section under negotiation, with everything that may speak for it."""

    offer: Description
    index: int
    media: Media
    bundled: bool
    tagged: Media | None
    """The first section of the BUNDLE group, which carries the transport's attributes for all."""

    @classmethod
    def of(cls, offer: Description, index: int) -> "_View":
        media = offer.media[index]
        mid = media.mid
        for line in offer.named("group"):
            group = Group.read(line)
            if mid is not None and group.semantics == "BUNDLE" and mid in group.mids:
                tagged = next((m for m in offer.media if m.mid == group.mids[0]), None)
                return cls(offer, index, media, True, tagged)
        return cls(offer, index, media, False, None)

    def find(self, name: str) -> tuple[Line, ...]:
        """The attribute's lines from the first place that has any."""
        places: Iterable[Section | None] = (self.media, self.tagged, self.offer)
        for place in places:
            if place is not None and (lines := place.named(name)):
                return lines
        return ()


def _check_session(offer: Description) -> None:
    if (lite := offer.first("ice-lite")) is not None:
        raise lite.error("both sides are ice-lite: nobody would send a check")
    seen: set[str] = set()
    for media in offer.media:
        line = media.first("mid")
        if line is None:
            continue
        if line.content in seen:
            raise line.error("two media sections have the same mid")
        seen.add(line.content)


def _is_live(view: _View) -> bool:
    """Whether the section is audio that the offerer wants. Port zero means no, except where
    bundle-only says that the BUNDLE group's port counts (RFC 9143, section 6). It is taken even if
    the section that begins the group is rejected: RFC 9143 (7.3.3) would have audio rejected with
    it, but Firefox, which writes such offers, goes on with what is left."""
    media = view.media
    wanted = media.port != 0 or (view.bundled and media.has("bundle-only"))
    return media.kind == "audio" and wanted


def _choose(offer: Description, codecs: tuple[str, ...]) -> tuple[int, CodecChoice]:
    """The first audio section with a codec in common."""
    refused: OfferError | None = None
    for index, media in enumerate(offer.media):
        if not _is_live(_View.of(offer, index)):
            continue
        offered = _codecs(media)
        for name in codecs:
            for choice in offered:
                if choice.name == name:
                    return index, choice
        refused = refused or media.error(f"no codec in common: we speak {', '.join(codecs)}")
    raise refused or OfferError("the offer has no audio section")


def _codecs(media: Media) -> list[CodecChoice]:
    """The section's formats that are codecs of ours, in the offer's order."""
    maps: dict[str, RtpMap] = dict(_STATIC)
    for line in reversed(media.named("rtpmap")):
        own = RtpMap.read(line)
        maps[str(own.payload_type)] = own
    for payload_type in media.formats:
        if not (payload_type.isascii() and payload_type.isdigit() and len(payload_type) <= 3):
            raise media.error("a payload type is a number from 0 to 127")
    choices = []
    for payload_type in media.formats:
        read = maps.get(payload_type)
        if read is None or read.payload_type in _RTCP_RANGE:
            continue
        for name, (clock_rate, channels) in _CODECS.items():
            wanted = (name.lower(), clock_rate, channels)
            if (read.name.lower(), read.clock_rate, read.channels) == wanted:
                fmtp = _fmtp(media, payload_type)
                choices.append(CodecChoice(name, read.payload_type, clock_rate, channels, fmtp))
    return choices


def _fmtp(media: Media, payload_type: str) -> str:
    for line in media.named("fmtp"):
        number, _, parameters = line.content.partition(" ")
        if number == payload_type:
            return parameters.strip(" ")
    return ""


def _credentials(view: _View) -> Credentials:
    """The client's ufrag and password (RFC 8839, 5.4). The grammar's characters are not insisted
    on: clients in the field use others. What is refused could not stand in a USERNAME or a line of
    text."""
    values = []
    for name, least in (("ice-ufrag", 4), ("ice-pwd", 22)):
        lines = view.find(name)
        if not lines:
            raise view.media.error(f"{name} is missing")
        text = lines[0].content
        if not least <= len(text) <= 256:
            raise lines[0].error(f"{name} has {least} to 256 characters")
        if not all("!" <= character <= "~" for character in text):
            raise lines[0].error(f"{name} holds a space, a control or a non-ASCII character")
        values.append(text.encode())
    return Credentials(*values)


def _fingerprints(view: _View) -> tuple[Fingerprint, ...]:
    """The digests that the client's certificate is recognised by (RFC 8122). Those of a broken
    hash function, which some clients send beside, do not count."""
    found: dict[Fingerprint, None] = {}
    at: Line | Media = view.media
    for line in view.find("fingerprint"):
        at = line
        try:
            fingerprint = Fingerprint.parse_untrusted(line.content)
        except DecodeError as error:
            raise line.error(str(error)) from None
        if fingerprint.supported:
            found[fingerprint] = None
    if not found:
        raise at.error("a fingerprint by sha-256, sha-384 or sha-512 is missing")
    return tuple(found)


def _role(view: _View, agreed: Role | None = None) -> Role:
    """The DTLS role that we take (RFC 8842, 5.3): the client's part whenever the offer lets us
    choose and nothing is agreed yet. An offer without ``setup`` means ``active`` (RFC 4145, 4)."""
    lines = view.find("setup")
    match lines[0].content.lower() if lines else "active":
        case "actpass":
            role = agreed or Role.CLIENT
        case "active":
            role = Role.SERVER
        case "passive":
            role = Role.CLIENT
        case "holdconn":
            raise lines[0].error("setup:holdconn is not possible: there is nothing to hold")
        case _:
            raise lines[0].error("setup is active, passive or actpass")
    if agreed is not None and role is not agreed:
        at = lines[0] if lines else view.media
        raise at.error("the DTLS roles changed: open a new call for that")
    return role


def _direction(view: _View) -> Direction:
    """The offer's direction; a section that names none takes the session's, else sendrecv."""
    for place in (view.media, view.offer):
        for line in place.lines:
            if line.name in _DIRECTIONS:
                return _DIRECTIONS[line.name]
    return Direction.SENDRECV


def _mid_extension(view: _View) -> int | None:
    """The id of the MID header extension. Only what the one-byte form can carry (RFC 8285, 4.2:
    ids 1 to 14, 16 bytes), and only where both sides may send it."""
    mid = view.media.mid
    if mid is None or len(mid) > 16:
        return None
    for line in view.media.named("extmap") or view.offer.named("extmap"):
        extension = HeaderExtension.read(line)
        plain = extension.direction in ("", "sendrecv")
        if extension.uri == MID_EXTENSION and plain and 1 <= extension.id <= 14:
            return extension.id
    return None


def _check_media(view: _View) -> None:
    if view.media.protocol not in _PROTOCOLS:
        raise view.media.error("the audio section's protocol is not RTP over DTLS")
    if not (view.media.has("rtcp-mux") or view.media.has("rtcp-mux-only")):
        raise view.media.error("rtcp-mux is missing: RTP and RTCP share one port here")
    mid = view.media.first("mid")
    if mid is not None and not all("!" <= character <= "~" for character in mid.content or " "):
        raise mid.error("a mid is a token")


# --- writing the answer -----------------------------------------------------------------------


def _settle(
    view: _View,
    codec: CodecChoice,
    local: LocalDescription,
    role: Role,
    version: int,
    restarted: bool = False,
) -> Negotiated:
    _check_media(view)
    sources = read_all(view.media.named("ssrc"), Source.read)
    agreed = Negotiated(
        answer=Description(),
        local=local,
        remote=_credentials(view),
        fingerprints=_fingerprints(view),
        role=role,
        mid=view.media.mid,
        codec=codec,
        direction=_direction(view).mirrored,
        rtcp_mux=True,
        rtcp_rsize=view.media.has("rtcp-rsize"),
        mid_extension_id=_mid_extension(view),
        remote_ssrcs=tuple(dict.fromkeys(source.ssrc for source in sources)),
        section=view.index,
        sections=len(view.offer.media),
        version=version,
        restarted=restarted,
    )
    return evolve(agreed, answer=_answer(view, agreed))


def _answer(view: _View, agreed: Negotiated) -> Description:
    origin = Origin("-", agreed.local.session_id, agreed.version, "IN", "IP4", "0.0.0.0")
    session = [Line("v", "0"), Line("o", str(origin)), Line("s", "-"), Line("t", "0 0")]
    if view.bundled and agreed.mid is not None:
        session.append(attribute("group", Group("BUNDLE", (agreed.mid,))))
    session.append(attribute("ice-lite"))
    options = (line.content.replace(",", " ").split(" ") for line in view.find("ice-options"))
    if any("ice2" in named for named in options):
        session.append(attribute("ice-options", "ice2"))
    media = [
        _accepted(media, agreed) if index == view.index else _rejected(media, agreed)
        for index, media in enumerate(view.offer.media)
    ]
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


def _accepted(offered: Media, agreed: Negotiated) -> Media:
    default = agreed.local.candidates[0]
    family = "IP4" if default.is_ipv4 else "IP6"
    lines = [
        Line("c", f"IN {family} {default.ip}"),
        attribute("rtcp", "9 IN IP4 0.0.0.0"),
        *_transport_lines(agreed),
        *_codec_lines(agreed.codec),
    ]
    if agreed.may_send:
        lines += [
            attribute("msid", f"{agreed.local.cname} audio"),
            attribute("ssrc", Source(agreed.local.ssrc, f"cname:{agreed.local.cname}")),
        ]
    lines += [attribute("candidate", made) for made in candidates(agreed.local.candidates)]
    lines.append(attribute("end-of-candidates"))
    return Media(
        tuple(lines),
        kind=offered.kind,
        port=default.port,
        protocol=offered.protocol,
        formats=(str(agreed.codec.payload_type),),
    )


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
