"""What goes into a negotiation and what comes out of it: values, with nothing to decide."""

from enum import Enum
from hashlib import sha256
from typing import Self

from attrs import evolve, field, frozen, validators

from stunroute.address import Address
from transceiver.dtls import Fingerprint, Role
from transceiver.ice import Credentials
from transceiver.sdp import Description

MID_EXTENSION = "urn:ietf:params:rtp-hdrext:sdes:mid"
"""The one RTP header extension that answers accept (RFC 9143, section 15)."""

SCTP_PORT = 5000
"""Our SCTP port. Any would do: the association is alone on its DTLS connection."""

DEFAULT_MESSAGE_SIZE = 65536
"""What a client that names no ``max-message-size`` takes, in bytes (RFC 8841, 6.1)."""


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

    def under(self, credentials: Credentials) -> Self:
        """The same with other ICE credentials."""
        ufrag, password = credentials.ufrag.decode(), credentials.password.decode()
        return evolve(self, ufrag=ufrag, password=password)

    @property
    def tls_id(self) -> str:
        """A name for a DTLS association that begins with these credentials. It is as random as the
        password is, and takes nothing from the entropy that a recording has to hold."""
        return sha256(b"tls-id" + self.ufrag.encode() + self.password.encode()).hexdigest()


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
    """The section that carries the data channels, on the audio's transport or alone on its own.
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
    ``group`` holds the mids of the answer's BUNDLE group, first the one whose section describes
    the transport for all; ``tls_id`` names our end of the DTLS association for as long as the call
    lasts, ``remote_tls_id`` the client's, None where the offer names none (RFC 8842, 4).
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
    group: tuple[str, ...] = ()
    tls_id: str = ""
    remote_tls_id: str | None = None
    may_send: bool = field(init=False, eq=False, repr=False)
    """Whether our audio may go out. Kept, as every packet asks for it."""

    @may_send.default
    def _may_send(self) -> bool:
        return self.direction in (Direction.SENDRECV, Direction.SENDONLY)

    @property
    def may_receive(self) -> bool:
        """Whether the client's audio may come in."""
        return self.direction in (Direction.SENDRECV, Direction.RECVONLY)

    @property
    def agreed(self) -> dict[int, str | None]:
        """The accepted sections by index, with their mids."""
        found = {} if self.section is None else {self.section: self.mid}
        if self.data is not None:
            found[self.data.section] = self.data.mid
        return found
