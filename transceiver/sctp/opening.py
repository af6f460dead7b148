"""How an association comes to be, or begins anew (RFC 9260 section 5).

What a chunk means has been decided in ``handshake``; here it is done. Each function takes one chunk
that came, and says why it was let go if it was.
"""

from stunroute.errors import DecodeError
from stunroute.instant import Instant
from stunroute.trace import Drop

from . import events
from .block import Block
from .causes import (
    Cause,
    CookieWhileShuttingDown,
    InvalidMandatoryParameter,
    MissingParameters,
    ProtocolViolation,
    StaleCookie,
)
from .chunks import HEADER_LENGTH, Abort, Init, InitAck
from .cookie import NO_TIE, Cookie, Peer
from .handshake import (
    LEAST_WINDOW,
    CookieMeans,
    InitMeans,
    classify_cookie,
    classify_init,
    objection,
    state_cookie,
)
from .outbound import Outbound
from .packet import room
from .parameters import StateCookie
from .states import STATES, CookieEchoed, CookieWait, Established, ShutdownAckSent


def begin(block: Block, now: Instant) -> None:
    """Send INIT."""
    init = block.greeter.init(block.tag, block.outbound.tsn)
    block.state = CookieWait(init, block.timer(now))
    block.packets.append(init)


def receive_init(block: Block, chunk: Init, now: Instant) -> Drop | None:
    if not block.bucket.take(now):
        return Drop.SCTP_RATE
    greeter, state = block.greeter, block.state
    match classify_init(chunk, STATES[state.__class__]):
        case InitMeans.INVALID:
            return Drop.SCTP_MALFORMED
        case InitMeans.IMPOSSIBLE:
            cause = objection(chunk) or InvalidMandatoryParameter()
            block.packets.append(greeter.refusal(chunk.tag, cause))
            return Drop.SCTP_MALFORMED
        case InitMeans.BEGIN:
            tie = block.tie if isinstance(state, CookieEchoed) else NO_TIE
            answer = greeter.answer(chunk, block.tag, block.outbound.tsn, tie, now)
            block.packets.append(answer)
        case InitMeans.PERHAPS_RESTART:
            tag, tsn = greeter.new_tag(), greeter.new_tsn()
            block.packets.append(greeter.answer(chunk, tag, tsn, block.tie, now))
        case InitMeans.CLOSING:
            _say_again(block)
    return None


def _say_again(block: Block) -> None:
    """The peer has not got our SHUTDOWN ACK, or has forgotten that it wanted one."""
    if isinstance(block.state, ShutdownAckSent):
        block.state.due = True


def receive_init_ack(block: Block, chunk: InitAck, now: Instant) -> Drop | None:
    if not isinstance(block.state, CookieWait):
        return Drop.SCTP_UNEXPECTED
    cookie, cause = state_cookie(chunk), objection(chunk)
    if chunk.tag and chunk.window < LEAST_WINDOW:
        # This alone is to change nothing (rfc9260/3.3.3/9): INIT goes again.
        block.packets.append(block.greeter.refusal(chunk.tag, InvalidMandatoryParameter()))
        return Drop.SCTP_MALFORMED
    if not chunk.tag:
        return _refuse(block, chunk, InvalidMandatoryParameter())
    if cause is not None:
        return _refuse(block, chunk, cause)
    if cookie is None:
        return _refuse(block, chunk, MissingParameters((StateCookie.type,)))
    if len(cookie) > room(block.limits.packet) - HEADER_LENGTH:
        return _refuse(block, chunk, ProtocolViolation("a cookie that fits into no packet"))
    block.meet(Peer.of(chunk), now)
    block.state = CookieEchoed(cookie, block.timer(now))
    return None


def _refuse(block: Block, chunk: InitAck, cause: Cause) -> Drop:
    # Where it told no tag, the peer gets its own word back (rfc9260/3.3.3/6).
    tag, reflected = (chunk.tag, False) if chunk.tag else (block.tag, True)
    block.packets.append(block.greeter.packet(tag, Abort((cause,), reflected)))
    block.end("the peer's INIT ACK makes no sense", by_peer=False)
    return Drop.SCTP_MALFORMED


def receive_cookie(block: Block, sealed: bytes, tag: int, now: Instant) -> Drop | None:
    """``tag`` is that of the packet."""
    if not block.bucket.take(now):
        return Drop.SCTP_RATE
    try:
        cookie = block.greeter.read_untrusted(sealed)
    except DecodeError:
        return Drop.SCTP_COOKIE
    if tag != cookie.own_tag:
        return Drop.SCTP_TAG
    transfer = block.transfer
    means = classify_cookie(
        cookie,
        state=STATES[block.state.__class__],
        own_tag=block.tag,
        peer_tag=None if transfer is None else transfer.peer.tag,
        tie=block.tie,
        lifetime=block.limits.cookie_lifetime,
        now=now,
    )
    match means:
        case CookieMeans.BEGIN | CookieMeans.COLLISION:
            block.meet(cookie.peer, now)
            _establish(block, now)
        case CookieMeans.RESTART:
            _restart(block, cookie, now)
        case CookieMeans.REPETITION:
            if isinstance(block.state, CookieEchoed):
                _establish(block, now)
        case CookieMeans.CLOSING:
            _say_again(block)
            if transfer is not None:
                transfer.complain(CookieWhileShuttingDown())
            return Drop.SCTP_COOKIE
        case CookieMeans.STALE:
            block.packets.append(block.greeter.stale(cookie, now))
            return Drop.SCTP_COOKIE
        case CookieMeans.LATE | CookieMeans.STRANGE:
            return Drop.SCTP_COOKIE
    block.cookie_ack = True
    return None


def receive_cookie_ack(block: Block, now: Instant) -> Drop | None:
    if not isinstance(block.state, CookieEchoed):
        return Drop.SCTP_UNEXPECTED
    _establish(block, now)
    return None


def receive_error(block: Block, causes: tuple[Cause, ...], now: Instant) -> Drop | None:
    """Of all that a peer can complain about, one thing can be helped: that our answer took so long
    that its cookie had become stale."""
    if not isinstance(block.state, CookieEchoed):
        return Drop.SCTP_UNEXPECTED if block.transfer is None else None
    if not any(isinstance(cause, StaleCookie) for cause in causes):
        return Drop.SCTP_UNEXPECTED
    if not block.bucket.take(now):
        return Drop.SCTP_RATE
    block.transfer = None
    begin(block, now)
    return None


def _establish(block: Block, now: Instant) -> None:
    block.state = Established()
    block.happen(events.Connected(block.outbound_streams, block.inbound_streams))
    early = tuple(stream for stream in block.early_resets if stream < block.outbound_streams)
    block.early_resets.clear()
    if early and block.transfer is not None:
        block.transfer.reset(early, now)
        block.note_resets()


def _restart(block: Block, cookie: Cookie, now: Instant) -> None:
    """The peer knows nothing any more of what there was."""
    block.happen(events.Restarted())
    block.tag = cookie.own_tag
    block.outbound = Outbound(block.limits, cookie.own_tsn)
    block.outbound.awaken()
    block.meet(cookie.peer, now)
    block.state = Established()


def may_try_again(block: Block, state: CookieWait | CookieEchoed) -> bool:
    """Whether what ``state`` repeats may be sent once more. Else that is the end."""
    most = block.limits.init_retransmissions
    if most and state.sendings > most:
        block.end("the peer does not answer", by_peer=False)
        return False
    state.sendings += 1
    return True
