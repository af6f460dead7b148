"""What an offer asks for, and who speaks for whom in it.

One transport is negotiated for a call, so an offer is read from two sides. What belongs to a
section alone (codecs, a direction, an SCTP port) is read there. What belongs to the transport
(credentials, fingerprints, who is the DTLS client) stands in different places in the offers of
different clients: in the section whose transport it is, in the section that begins the BUNDLE
group (RFC 9143, 7.3), or at session level. They are looked for in this order.
"""

from collections.abc import Callable, Iterable

from attrs import frozen

from stunroute.errors import DecodeError
from transceiver.dtls import Fingerprint, Role
from transceiver.errors import OfferError
from transceiver.ice import Credentials
from transceiver.sdp import (
    Description,
    Group,
    HeaderExtension,
    Line,
    Media,
    RtpMap,
    SctpMap,
    Section,
    read_number,
)

from .records import (
    DEFAULT_MESSAGE_SIZE,
    MID_EXTENSION,
    CodecChoice,
    DataChoice,
    Direction,
    LocalDescription,
)

_CODECS = {"opus": (48000, 2), "PCMU": (8000, 1), "PCMA": (8000, 1)}
"""Clock rate in Hz and channels by the name that ``rtpmap`` writes (RFC 7587, RFC 3551)."""

_STATIC = {"0": RtpMap(0, "PCMU", 8000), "8": RtpMap(8, "PCMA", 8000)}
"""Payload types that need no ``rtpmap`` (RFC 3551, section 6)."""

_RTCP_RANGE = range(64, 96)
"""Payload types that, with the marker bit, read as RTCP once both share a port (RFC 5761, 4)."""

_PROTOCOLS = frozenset(
    f"{transport}RTP/{profile}"
    for transport in ("", "TCP/DTLS/", "UDP/TLS/")
    for profile in ("AVP", "AVPF", "SAVP", "SAVPF")
    if profile.startswith("S") or not transport
)
"""Taken for UDP/TLS/RTP/SAVPF and mirrored (RFC 8829, 5.1.2): what counts is the fingerprint."""

_DATA_PROTOCOLS = frozenset(["UDP/DTLS/SCTP", "TCP/DTLS/SCTP"])
"""SCTP over DTLS (RFC 8841, 4). As with audio, which of the two is written does not matter."""

OLD_DATA_PROTOCOL = "DTLS/SCTP"
"""What drafts called it: the SCTP port stood in the ``m=`` line, and ``sctpmap`` said for what."""

DATA_FORMAT = "webrtc-datachannel"

_DIRECTIONS = {direction.value: direction for direction in Direction}


@frozen(slots=True)
class View:
    """A section, with everything that may speak for its transport."""

    offer: Description
    index: int
    media: Media
    group: tuple[str, ...]
    """The mids of the BUNDLE group that the section is in; empty where it is in none."""

    @classmethod
    def of(cls, offer: Description, index: int) -> "View":
        media = offer.media[index]
        mid = media.mid
        for line in offer.named("group"):
            group = Group.read(line)
            if mid is not None and group.semantics == "BUNDLE" and mid in group.mids:
                return cls(offer, index, media, group.mids)
        return cls(offer, index, media, ())

    @classmethod
    def transport(cls, offer: Description, indexes: Iterable[int]) -> "View":
        """Of the sections at ``indexes``, at least one and all of one BUNDLE group if several, the
        one whose transport goes on to carry them all: the one that the group names first and that
        has a transport of its own to begin with, since that will be the first in the answer
        (RFC 9143, 7.3.1)."""
        return min((cls.of(offer, index) for index in indexes), key=cls._place)

    def _place(self) -> tuple[bool, int]:
        place = self.group.index(self.media.mid or "") if self.group else 0
        return self.media.port == 0, place

    def find(self, name: str) -> tuple[Line, ...]:
        """The attribute's lines from the first place that has any."""
        first = self.group[:1]
        tagged = next((media for media in self.offer.media if (media.mid,) == first), None)
        places: Iterable[Section | None] = (self.media, tagged, self.offer)
        for place in places:
            if place is not None and (lines := place.named(name)):
                return lines
        return ()

    def is_live(self, kind: str) -> bool:
        """Whether the section is one of ``kind`` that the offerer wants. Port zero means no, except
        where bundle-only says that the BUNDLE group's port counts (RFC 9143, section 6). It is
        taken even if the section that begins the group is rejected: RFC 9143 (7.3.3) would have
        the rest rejected with it, but Firefox, which writes such offers, goes on with what is
        left."""
        wanted = self.media.port != 0 or (bool(self.group) and self.media.has("bundle-only"))
        return self.media.kind == kind and wanted

    def is_bundled_with(self, other: "View") -> bool:
        """Whether the two sections are offered for one transport."""
        return bool(self.group) and self.group == other.group


@frozen(slots=True)
class Choice:
    """What of an offer is taken. ``section`` is the index of the audio section."""

    section: int | None
    codec: CodecChoice | None
    data: DataChoice | None

    @property
    def indexes(self) -> list[int]:
        """The sections taken, at least one."""
        data = None if self.data is None else self.data.section
        return [index for index in (self.section, data) if index is not None]


def check_session(offer: Description) -> None:
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


def choose(offer: Description, local: LocalDescription) -> Choice:
    """The first audio section with a codec in common, and the first data section beside it. Raises
    OfferError where there is neither, and where there is audio of which none can be taken: who
    offers that wants to be heard, and would wait for it."""
    section, codec = _choose_audio(offer, local.codecs)
    data = choose_data(offer, section) if local.data else None
    if section is None and data is None:
        raise OfferError("the offer has no audio section, and none for data channels that we take")
    return Choice(section, codec, data)


def _choose_audio(
    offer: Description, names: tuple[str, ...]
) -> tuple[int, CodecChoice] | tuple[None, None]:
    refused: OfferError | None = None
    for index, media in enumerate(offer.media):
        if not View.of(offer, index).is_live("audio"):
            continue
        offered = codecs(media)
        for name in names:
            for choice in offered:
                if choice.name == name:
                    return index, choice
        refused = refused or media.error(f"no codec in common: we speak {', '.join(names)}")
    if refused is not None:
        raise refused
    return None, None


def choose_data(offer: Description, audio: int | None) -> DataChoice | None:
    """The first section for data channels. One that is not BUNDLEd with the audio, where there is
    audio, is passed over and not even read: a call has one transport."""
    beside = None if audio is None else View.of(offer, audio)
    for index in range(len(offer.media)):
        view = View.of(offer, index)
        if not view.is_live("application"):
            continue
        if beside is None or view.is_bundled_with(beside):
            found = data_choice(view)
            if found is not None:
                return found
    return None


def data_choice(view: View) -> DataChoice | None:
    """What the section says of its data channels; None where it is not for them, or names no SCTP
    port or port zero (RFC 8841, 5.1 and 10.5: no association). Raises OfferError."""
    media = view.media
    if media.protocol in _DATA_PROTOCOLS:
        line = media.first("sctp-port")
        if line is None or DATA_FORMAT not in media.formats:
            return None
        port = read_number(line, 65535, "SCTP port")
    elif media.protocol == OLD_DATA_PROTOCOL:
        maps = [SctpMap.read(line) for line in media.named("sctpmap")]
        ports = [m.port for m in maps if m.application == DATA_FORMAT]
        port = next((port for port in ports if str(port) in media.formats), 0)
    else:
        return None
    if port == 0:
        return None
    size = media.first("max-message-size")
    longest = DEFAULT_MESSAGE_SIZE
    if size is not None:
        longest = read_number(size, 2**64 - 1, "longest message's size")
    return DataChoice(media.mid, view.index, port, longest)


def codecs(media: Media) -> list[CodecChoice]:
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


def credentials(view: View) -> Credentials:
    """The client's ufrag and password (RFC 8839, 5.4)."""
    return read_credentials(view.find, view.media.error)


def read_credentials(
    find: Callable[[str], tuple[Line, ...]], missing: Callable[[str], OfferError]
) -> Credentials:
    """Ufrag and password out of the lines that ``find`` has for a name; ``missing`` makes the error
    for a name that has none. The grammar's characters are not insisted on: clients in the field use
    others. What is refused could not stand in a USERNAME or a line of text."""
    values = []
    for name, least in (("ice-ufrag", 4), ("ice-pwd", 22)):
        lines = find(name)
        if not lines:
            raise missing(f"{name} is missing")
        text = lines[0].content
        if not least <= len(text) <= 256:
            raise lines[0].error(f"{name} has {least} to 256 characters")
        if not all("!" <= character <= "~" for character in text):
            raise lines[0].error(f"{name} holds a space, a control or a non-ASCII character")
        values.append(text.encode())
    return Credentials(*values)


def fingerprints(view: View) -> tuple[Fingerprint, ...]:
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


def dtls_role(view: View, agreed: Role | None = None) -> Role:
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


def tls_id(view: View) -> str | None:
    """The client's name for the DTLS association (RFC 8842, 4). It is only ever compared."""
    lines = view.find("tls-id")
    return lines[0].content if lines else None


def direction(view: View) -> Direction:
    """The offer's direction; a section that names none takes the session's, else sendrecv."""
    for place in (view.media, view.offer):
        for line in place.lines:
            if line.name in _DIRECTIONS:
                return _DIRECTIONS[line.name]
    return Direction.SENDRECV


def mid_extension(view: View) -> int | None:
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


def check_audio(media: Media) -> None:
    """Whether we could carry what the section asks for. Raises OfferError."""
    if media.protocol not in _PROTOCOLS:
        raise media.error("the audio section's protocol is not RTP over DTLS")
    if not (media.has("rtcp-mux") or media.has("rtcp-mux-only")):
        raise media.error("rtcp-mux is missing: RTP and RTCP share one port here")


def check_mid(media: Media) -> None:
    """Whether the section's name can stand in an answer. Raises OfferError."""
    mid = media.first("mid")
    if mid is not None and not all("!" <= character <= "~" for character in mid.content or " "):
        raise mid.error("a mid is a token")
