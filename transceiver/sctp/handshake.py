"""What an INIT and a COOKIE ECHO mean (RFC 9260 sections 5.1 and 5.2).

Either may be the beginning, a repetition, half of two beginnings that met, the mark of a peer that
has lost its memory, or a leftover. Which it is depends on what is known here and on nothing else,
so it is decided first, in functions that change nothing, and acted upon afterwards. The rows of the
RFC's table stand beside the names.
"""

from enum import Enum
from typing import Final

from stunroute.instant import Instant
from transceiver.config import SctpLimits

from .causes import Cause, InvalidMandatoryParameter, UnresolvableAddress
from .chunks import ForwardTsn, Init, InitAck, ReConfig
from .cookie import NO_TIE, Cookie
from .parameters import (
    HOST_NAME,
    ForwardTsnSupported,
    OverIp,
    Parameter,
    StateCookie,
    SupportedExtensions,
    UnknownParameter,
    UnrecognizedParameter,
    ZeroChecksumAcceptable,
)
from .states import State

_OPENING: Final = (State.COOKIE_WAIT, State.COOKIE_ECHOED)
LEAST_WINDOW: Final = 1500
"""Bytes that either side must have room for (RFC 9260, 3.3.2)."""
_UNRECOGNIZED_BYTES: Final = 512
"""Of a peer's parameters that an INIT ACK gives back at most; what is beyond goes unreported."""


class InitMeans(Enum):
    BEGIN = "begin"  # nothing there yet, or both begin at once: answered with our one tag
    PERHAPS_RESTART = "perhaps-restart"  # an association stands: answered with a new tag
    CLOSING = "closing"  # the peer has forgotten us: it needs SHUTDOWN ACK first
    INVALID = "invalid"  # a tag of zero: nothing that could be answered
    IMPOSSIBLE = "impossible"  # no streams, no room, an address: to be refused


class CookieMeans(Enum):
    BEGIN = "begin"  # there is no association: it begins
    RESTART = "restart"  # A: the peer has begun anew
    COLLISION = "collision"  # B: both began at once, and this is what the peer settled on
    LATE = "late"  # C: from before we began ourselves; let go
    REPETITION = "repetition"  # D: what stands already; our COOKIE ACK may be lost
    CLOSING = "closing"  # A, but we await SHUTDOWN COMPLETE
    STALE = "stale"  # too old
    STRANGE = "strange"  # in no row of the table


def objection(chunk: Init | InitAck) -> Cause | None:
    """What makes it impossible to go on with an INIT or INIT ACK, if anything does."""
    if not (chunk.outbound and chunk.inbound) or chunk.window < LEAST_WINDOW:
        return InvalidMandatoryParameter()
    for parameter in chunk.parameters:
        if isinstance(parameter, OverIp) and parameter.type == HOST_NAME:
            return UnresolvableAddress(parameter.encode()[:_UNRECOGNIZED_BYTES])
    return None


def classify_init(chunk: Init, state: State) -> InitMeans:
    if not chunk.tag:
        return InitMeans.INVALID
    if objection(chunk) is not None:
        return InitMeans.IMPOSSIBLE
    if state is State.CLOSED or state in _OPENING:
        return InitMeans.BEGIN
    if state is State.SHUTDOWN_ACK_SENT:
        return InitMeans.CLOSING
    return InitMeans.PERHAPS_RESTART


def classify_cookie(
    cookie: Cookie,
    *,
    state: State,
    own_tag: int,
    peer_tag: int | None,
    tie: bytes,
    lifetime: float,
    now: Instant,
) -> CookieMeans:
    """``peer_tag`` is None where the peer has not told one yet; ``tie`` is that of the association
    that stands, ``NO_TIE`` if none does. A cookie lives for ``lifetime`` seconds."""
    stale = now - cookie.created > lifetime
    if state is State.CLOSED:
        return CookieMeans.STALE if stale else CookieMeans.BEGIN
    ours = cookie.own_tag == own_tag
    theirs = peer_tag is not None and cookie.peer.tag == peer_tag
    if ours and theirs:
        return CookieMeans.REPETITION
    if stale:
        return CookieMeans.STALE
    if ours and state in _OPENING:
        return CookieMeans.COLLISION
    if theirs:
        return CookieMeans.LATE if cookie.tie == NO_TIE else CookieMeans.STRANGE
    # Our tag with a new one of the peer, after all is settled, can only come from a peer that
    # began, was answered, and then began again before it heard that we had opened.
    if ours or (cookie.tie != NO_TIE and cookie.tie == tie):
        closing = state is State.SHUTDOWN_ACK_SENT
        return CookieMeans.CLOSING if closing else CookieMeans.RESTART
    return CookieMeans.STRANGE


def _abilities(zero_checksum: bool) -> tuple[Parameter, ...]:
    told: tuple[Parameter, ...] = (
        SupportedExtensions((ReConfig.type, ForwardTsn.type)),
        ForwardTsnSupported(),
    )
    return (*told, ZeroChecksumAcceptable()) if zero_checksum else told


def make_init(tag: int, tsn: int, limits: SctpLimits, *, zero_checksum: bool) -> Init:
    """Our INIT. ``zero_checksum``: say that we take packets without one."""
    streams = limits.streams
    abilities = _abilities(zero_checksum)
    return Init(tag, limits.receive_window, streams, streams, tsn, abilities)


def make_init_ack(
    received: Init, cookie: Cookie, sealed: bytes, limits: SctpLimits, *, zero_checksum: bool
) -> InitAck:
    """The answer to the INIT ``received``; ``sealed`` is ``cookie`` as bytes."""
    reports: list[Parameter] = []
    room = _UNRECOGNIZED_BYTES
    for parameter in received.parameters:
        if isinstance(parameter, UnknownParameter) and parameter.reports:
            report = UnrecognizedParameter(parameter.encode())
            room -= len(report.encode())
            if room < 0:
                break
            reports.append(report)
    streams = limits.streams
    return InitAck(
        cookie.own_tag,
        limits.receive_window,
        min(streams, received.inbound),
        streams,
        cookie.own_tsn,
        (StateCookie(sealed), *_abilities(zero_checksum), *reports),
    )


def state_cookie(chunk: InitAck) -> bytes | None:
    """The cookie of an INIT ACK, None where there is none."""
    for parameter in chunk.parameters:
        if isinstance(parameter, StateCookie):
            return parameter.cookie
    return None
