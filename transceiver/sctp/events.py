"""What an association tells its owner, in the order in which it happened."""

from typing import TypeAlias

from attrs import define, field, frozen

from stunroute.trace import Drop


@frozen(slots=True)
class Connected:
    """The association is up. How many streams there are each way, as both sides agreed."""

    outbound: int
    inbound: int


@frozen(slots=True)
class Restarted:
    """The peer has begun afresh (RFC 9260, 5.2.4.1): whatever was not delivered is lost, all
    streams begin again, and whatever was agreed on them with it."""


# One for each message: the only event in great numbers, and twice as fast to make as a frozen one.
@define(slots=True)
class MessageReceived:
    """A whole message. ``ppid`` is its payload protocol identifier (RFC 8831, 8)."""

    stream: int
    ppid: int
    payload: bytes = field(repr=False)


@frozen(slots=True)
class MessageTooLong:
    """A message on ``stream`` was longer than announced. It has been let go, and the stream's
    later messages follow as if it had never been sent."""

    stream: int


@frozen(slots=True)
class StreamsResetByPeer:
    """The peer has reset its outgoing streams: no message of before follows on them. No stream
    named means all."""

    streams: tuple[int, ...]


@frozen(slots=True)
class ResetDone:
    """The peer has answered our wish to reset our outgoing ``streams``, or cannot reset any; then
    it was not ``performed``."""

    streams: tuple[int, ...]
    performed: bool


@frozen(slots=True)
class BufferedAmountLow:
    """What waits on ``stream`` has fallen to its threshold or below."""

    stream: int


@frozen(slots=True)
class Closed:
    """The association is over; its last event. ``by_peer``: the peer ended it."""

    reason: str
    by_peer: bool


@frozen(slots=True)
class Dropped:
    """A packet, or a chunk of it, was let go."""

    drop: Drop


Event: TypeAlias = (
    Connected
    | Restarted
    | MessageReceived
    | MessageTooLong
    | StreamsResetByPeer
    | ResetDone
    | BufferedAmountLow
    | Closed
    | Dropped
)
