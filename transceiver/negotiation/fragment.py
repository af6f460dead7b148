"""Pieces of SDP that carry ICE alone: ``application/trickle-ice-sdpfrag`` (RFC 8840).

WHIP's clients send them by PATCH: candidates as they are found, and new credentials to restart ICE
without a whole offer. As in offers, the candidates are not read, whoever they are for: the relay's
address is known to the client and the client's is learnt from its checks. What is read is the
credentials, at session level or in the section whose ``mid`` was agreed on.
"""

from collections.abc import Iterable

from attrs import field, frozen

from transceiver.errors import OfferError
from transceiver.ice import Credentials
from transceiver.sdp import (
    Description,
    Group,
    Line,
    Media,
    attribute,
    cut_untrusted,
    lines_untrusted,
)

from .answer import candidates
from .offer import DATA_FORMAT, read_credentials
from .records import Negotiated


@frozen(slots=True)
class Fragment:
    """What was sent, cut into sections."""

    lines: Description = field(repr=False)

    @property
    def mids(self) -> tuple[str, ...]:
        """The sections it names, in its order."""
        return tuple(media.mid for media in self.lines.media if media.mid is not None)

    def credentials(self, agreed: Iterable[str | None]) -> Credentials | None:
        """The client's credentials for the sections with the mids that are ``agreed`` (None for
        one without); None where the fragment brings no credentials. Those of other sections do not
        count. Raises OfferError where no section of the fragment is an agreed one, or where half
        of the credentials is missing, or either cannot be."""
        wanted = set(agreed)
        mine = [media for media in self.lines.media if media.mid in wanted]
        if self.lines.media and not mine:
            raise self.lines.media[0].error("the fragment names no section that was agreed on")
        places = (*mine, self.lines)
        found = {
            name: next((lines for place in places if (lines := place.named(name))), ())
            for name in ("ice-ufrag", "ice-pwd")
        }
        if not any(found.values()):
            return None
        return read_credentials(lambda name: found[name], OfferError)


def parse_untrusted(text: str) -> Fragment:
    """Read a fragment. Lines nobody knows are let go, as in a description. Raises OfferError, with
    the number of the line at fault where one is, when it holds lines of another form, or nothing
    of what a fragment is for."""
    fragment = Fragment(cut_untrusted(lines_untrusted(text)))
    telling = ("ice-ufrag", "ice-pwd", "candidate", "end-of-candidates")
    for place in (fragment.lines, *fragment.lines.media):
        if any(place.has(name) for name in telling):
            return fragment
    raise OfferError("the fragment holds neither credentials nor candidates")


def write_fragment(settled: Negotiated) -> str:
    """Our credentials and candidates, for the section whose transport it is. Lines end in CRLF."""
    local = settled.local
    session = [attribute("ice-lite"), attribute("ice-options", "ice2")]
    if settled.group:
        session.append(attribute("group", Group("BUNDLE", settled.group)))
    section = _section(settled)
    lines: list[Line] = [] if section.mid is None else [attribute("mid", section.mid)]
    lines += [attribute("ice-ufrag", local.ufrag), attribute("ice-pwd", local.password)]
    lines += [attribute("candidate", made) for made in candidates(local.candidates)]
    lines.append(attribute("end-of-candidates"))
    media = Media(
        tuple(lines),
        kind=section.kind,
        port=9,
        protocol=section.protocol,
        formats=(section.format,),
    )
    return str(Description(tuple(session), media=(media,)))


@frozen(slots=True)
class _Section:
    mid: str | None
    kind: str
    protocol: str
    format: str


def _section(settled: Negotiated) -> _Section:
    """The section whose transport it is: the first of the group, where there are two."""
    codec, data = settled.codec, settled.data
    if codec is not None and (data is None or settled.group[:1] != (data.mid,)):
        return _Section(settled.mid, "audio", "UDP/TLS/RTP/SAVPF", str(codec.payload_type))
    assert data is not None, "something was agreed on"
    return _Section(data.mid, "application", "UDP/DTLS/SCTP", DATA_FORMAT)
