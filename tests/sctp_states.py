"""Associations in each of their states, and one of every chunk that could come to them."""

from collections.abc import Callable

from sctp_pair import Pair, chunks
from transceiver.sctp import packet
from transceiver.sctp.association import Association
from transceiver.sctp.causes import StaleCookie, UserAbort
from transceiver.sctp.chunks import (
    Abort,
    Chunk,
    CookieAck,
    CookieEcho,
    Data,
    Error,
    ForwardTsn,
    Heartbeat,
    HeartbeatAck,
    Init,
    InitAck,
    ReConfig,
    Sack,
    Shutdown,
    ShutdownAck,
    ShutdownComplete,
    Unknown,
)
from transceiver.sctp.parameters import OutgoingReset, StateCookie
from transceiver.sctp.states import State

ENDED = "ended"
"""The other way of being closed."""


def _lost(data: bytes) -> list[float]:
    return []


def in_state(state: State | str) -> Pair:
    """A pair whose ``a`` is in ``state``, with nothing under way."""
    if state is State.CLOSED:
        return Pair.make()
    if state is State.COOKIE_WAIT:
        pair = Pair.make(_lost)
        pair.a.association.connect(0.0)
        pair.settle()
        return pair
    if state is State.COOKIE_ECHOED:
        pair = Pair.make(lambda data: [] if isinstance(chunks(data)[0], CookieEcho) else [0.01])
        pair.a.association.connect(0.0)
        pair.run(0.1)
        return pair
    pair = Pair.connected(_lost)
    a, b = pair.a.association, pair.b.association
    match state:
        case State.SHUTDOWN_PENDING:
            a.send(1, 51, b"on its way", pair.now)
            a.shutdown(pair.now)
        case State.SHUTDOWN_SENT:
            a.shutdown(pair.now)
        case State.SHUTDOWN_RECEIVED:
            a.send(1, 51, b"on its way", pair.now)
            pair.settle()
            b.shutdown(pair.now)
            deliver(pair, from_b=True)
        case State.SHUTDOWN_ACK_SENT:
            b.shutdown(pair.now)
            deliver(pair, from_b=True)
        case "ended":
            a.abort(pair.now)
    pair.settle()
    return pair


def deliver(pair: Pair, *, from_b: bool) -> None:
    """Take across what one side has to say now, whatever the network does."""
    source, target = (pair.b, pair.a) if from_b else (pair.a, pair.b)
    while (data := source.association.next_transmit()) is not None:
        target.association.receive_packet(data, pair.now)


def tag_of(association: Association) -> int:
    """What packets to it must carry."""
    return association._block.tag


def to(association: Association, *found: Chunk, tag: int | None = None) -> bytes:
    """A packet for it."""
    tag = tag_of(association) if tag is None else tag
    return packet.encode(5000, 5000, tag, found)


def next_tsn(pair: Pair) -> int:
    """The TSN that ``b`` would use next."""
    return pair.b.association._block.outbound.outstanding.next_tsn & 0xFFFF_FFFF


def last_tsn(pair: Pair) -> int:
    """The last TSN that ``a`` has used."""
    return (pair.a.association._block.outbound.outstanding.next_tsn - 1) & 0xFFFF_FFFF


CHUNKS: dict[str, Callable[[Pair], Chunk]] = {
    "DATA": lambda pair: Data(next_tsn(pair), 1, 0, 51, b"hello", True, True),
    "INIT": lambda pair: Init(77, 100_000, 10, 10, 88),
    "INIT ACK": lambda pair: InitAck(77, 100_000, 10, 10, 88, (StateCookie(b"cookie"),)),
    "SACK": lambda pair: Sack((last_tsn(pair) - 1) & 0xFFFF_FFFF, 100_000),
    "HEARTBEAT": lambda pair: Heartbeat(b"are you there"),
    "HEARTBEAT ACK": lambda pair: HeartbeatAck(b"not asked for"),
    "ABORT": lambda pair: Abort((UserAbort("enough"),)),
    "SHUTDOWN": lambda pair: Shutdown((last_tsn(pair) - 1) & 0xFFFF_FFFF),
    "SHUTDOWN ACK": lambda pair: ShutdownAck(),
    "ERROR": lambda pair: Error((StaleCookie(5),)),
    "COOKIE ECHO": lambda pair: CookieEcho(b"made up"),
    "COOKIE ACK": lambda pair: CookieAck(),
    "SHUTDOWN COMPLETE": lambda pair: ShutdownComplete(),
    "RE-CONFIG": lambda pair: ReConfig(
        (OutgoingReset(next_tsn(pair), 0, (next_tsn(pair) - 1) & 0xFFFF_FFFF, (1,)),)
    ),
    "FORWARD-TSN": lambda pair: ForwardTsn(next_tsn(pair), ((1, 0),)),
    "unknown": lambda pair: Unknown(0x3F, 0, b"what"),
    "unknown, reported": lambda pair: Unknown(0xFE, 0, b"what"),
}
"""By name, each as it would make sense somewhere."""


def packet_with(pair: Pair, name: str) -> bytes:
    """The chunk ``name`` for ``a``, in a packet with the right tag."""
    chunk = CHUNKS[name](pair)
    return to(pair.a.association, chunk, tag=0 if isinstance(chunk, Init) else None)
