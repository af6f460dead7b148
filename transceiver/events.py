"""What an endpoint tells whoever embeds it.

Every event carries ``call``, the id of its session (``rtc_<ufrag>``).
"""

from enum import Enum
from typing import TypeAlias

from attrs import define, field, frozen

from .path import Path

EVENTS_CHANNEL = "oai-events"
"""The label of the data channel that carries a call's Realtime events, as clients of that API name
it; a negotiated one gets it from us."""


class Phase(Enum):
    """The life of a session; ``session.TRANSITIONS`` is the table of what may follow what."""

    __hash__ = object.__hash__  # looked up for every packet: identity hashes in C

    NEW = "new"  # answered, nothing heard yet
    CHECKING = "checking"  # a check has authenticated
    HANDSHAKING = "handshaking"  # DTLS has been answered
    ESTABLISHED = "established"  # keys agreed, media flows
    DISCONNECTED = "disconnected"  # established, but silent for a while
    CLOSED = "closed"


class EndReason(Enum):
    """Why a session ended."""

    HANGUP = "hangup"  # the application or signalling closed it
    PEER_CLOSED = "peer-closed"  # close_notify under the session's keys
    ESTABLISH_TIMEOUT = "establish-timeout"
    CONSENT_EXPIRED = "consent-expired"  # no authenticated packet for the consent time
    MAXIMUM_LENGTH = "maximum-length"
    HANDSHAKE_FAILED = "handshake-failed"
    DRAINED = "drained"
    BACKEND_FAILED = "backend-failed"  # the application raised


@frozen(slots=True)
class PhaseChanged:
    call: str
    phase: Phase


@frozen(slots=True)
class PathSelected:
    """The session's packets to the client go over ``path`` from now on."""

    call: str
    path: Path


@frozen(slots=True)
class Established:
    """Keys are agreed and audio may flow. ``profile`` is the SRTP profile's name, None in a call
    of data channels alone whose client does without SRTP."""

    call: str
    profile: str | None


# One for each packet: made in a third of the time of a frozen one. Nobody changes it.
@define(slots=True)
class AudioReceived:
    """One authenticated RTP packet of the client's audio, in order of arrival (not of sequence).

    ``codec`` is ``opus``, ``PCMU`` or ``PCMA``; ``payload`` its bytes; ``sequence`` the extended
    sequence number (rollovers counted); ``timestamp`` the RTP timestamp (32 bits, media clock);
    ``clock_rate`` that clock in Hz.
    """

    call: str
    codec: str
    payload: bytes
    sequence: int
    timestamp: int
    clock_rate: int
    marker: bool


@frozen(slots=True)
class ChannelOpened:
    """A data channel can be used. ``channel`` is its SCTP stream (RFC 8831, 6.4), ``label`` and
    ``protocol`` as its opener named them; ``ordered`` says whether its messages keep their order;
    ``negotiated`` that its number came from signalling and nobody announced it."""

    call: str
    channel: int
    label: str
    protocol: str
    ordered: bool
    negotiated: bool


@frozen(slots=True)
class MessageReceived:
    """A whole message of a data channel: ``str`` for text, ``bytes`` for binary, both possibly
    empty."""

    call: str
    channel: int
    message: str | bytes = field(repr=False)


@frozen(slots=True)
class ChannelDrained:
    """A channel's ``buffered_amount`` has fallen to its threshold or below: there is room again."""

    call: str
    channel: int


@frozen(slots=True)
class ChannelClosed:
    """A channel is gone, and its number may be used again."""

    call: str
    channel: int


@frozen(slots=True)
class DataEnded:
    """The SCTP association is over, and all channels with it (each had its ``ChannelClosed``
    before); audio goes on. ``detail`` says why."""

    call: str
    detail: str


@frozen(slots=True)
class LengthWarning:
    """The session will end for its maximum length in ``seconds_left``."""

    call: str
    seconds_left: float


@frozen(slots=True)
class Ended:
    """The session is gone; the last event of its id."""

    call: str
    reason: EndReason
    detail: str


Event: TypeAlias = (
    PhaseChanged
    | PathSelected
    | Established
    | AudioReceived
    | ChannelOpened
    | MessageReceived
    | ChannelDrained
    | ChannelClosed
    | DataEnded
    | LengthWarning
    | Ended
)
