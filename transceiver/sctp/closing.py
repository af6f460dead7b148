"""How an association ends (RFC 9260 section 9), in good order or at once."""

from typing import Final

from stunroute.instant import Instant
from stunroute.trace import Drop

from .block import Block
from .causes import Cause, ProtocolViolation, UserAbort
from .chunks import ShutdownComplete
from .packet import Packet
from .states import (
    Closed,
    CookieEchoed,
    CookieWait,
    Established,
    ShutdownAckSent,
    ShutdownPending,
    ShutdownReceived,
    ShutdownSent,
)

REASON_LENGTH: Final = 200
"""Characters of an ABORT's reason, ours and what is told of the peer's."""


def begin(block: Block, now: Instant) -> None:
    """Our side wants to close. What waits is still sent, where there is a peer."""
    match block.state:
        case Closed(ended=False) | CookieWait():
            block.end("closed before it was open", by_peer=False)
        case CookieEchoed():
            text = "closed before it was open"
            block.abort(UserAbort(text), text)
        case Established():
            block.state = ShutdownPending()
            block.outbound.hurry = True
            progress(block, now)


def progress(block: Block, now: Instant) -> None:
    """Go on with closing, if all that was to be sent has come."""
    match block.state:
        case ShutdownPending() if block.outbound.quiet:
            block.state = ShutdownSent(block.timer(now))
        case ShutdownReceived() if block.outbound.quiet:
            block.state = ShutdownAckSent(block.timer(now))


def receive_shutdown(block: Block, cumulative: int, now: Instant) -> Drop | None:
    if block.conversing is None:
        return Drop.SCTP_UNEXPECTED
    drop = block.outbound.receive_cumulative(cumulative, now)
    if drop is not None:
        return drop
    match block.state:
        case Established() | ShutdownPending():
            block.outbound.hurry = True
            block.state = ShutdownReceived()
        case ShutdownSent():
            block.state = ShutdownAckSent(block.timer(now))
        case ShutdownAckSent() as state:
            state.due = True
    return None


def receive_shutdown_ack(block: Block, received: Packet, now: Instant) -> Drop | None:
    match block.state:
        case ShutdownSent() | ShutdownAckSent() if block.transfer is not None:
            tag = block.transfer.peer.tag
            block.packets.append(block.greeter.packet(tag, ShutdownComplete()))
            block.end("closed", by_peer=False)
            return None
        case Closed() | CookieWait() | CookieEchoed():
            # From an association of before: its end is not ours (RFC 9260, 9.2). The rest of the
            # packet is not meant for us either.
            if block.bucket.take(now):
                complete = ShutdownComplete(reflected=True)
                block.packets.append(block.greeter.packet(received.tag, complete))
    return Drop.SCTP_UNEXPECTED


def receive_shutdown_complete(block: Block) -> Drop | None:
    if not isinstance(block.state, ShutdownAckSent):
        return Drop.SCTP_UNEXPECTED
    block.end("closed", by_peer=True)
    return None


def receive_abort(block: Block, causes: tuple[Cause, ...]) -> Drop | None:
    if isinstance(block.state, Closed):
        return Drop.SCTP_UNEXPECTED
    match causes:
        case (UserAbort(text) | ProtocolViolation(text), *_) if text:
            reason = f"the peer gave up: {text[:REASON_LENGTH]}"
        case (cause, *_):
            reason = f"the peer gave up with cause {cause.code}"
        case _:
            reason = "the peer gave up"
    block.end(reason, by_peer=True)
    return None


def answer_out_of_the_blue(block: Block, received: Packet, now: Instant) -> None:
    """Answer what belongs to no association, as often as control chunks are answered."""
    answer = block.greeter.out_of_the_blue(received)
    if answer is not None and block.bucket.take(now):
        block.packets.append(answer)
