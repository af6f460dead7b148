"""Data channels over SCTP (RFC 8831, RFC 8832), without a socket or a clock of their own.

``channels`` opens and closes them, ``messages`` is what they say on their streams, ``association``
what they need of SCTP, and ``events`` what their owner is told.
"""

from .channels import (
    ChannelError,
    DataChannels,
    MessageTooLong,
    NotOpen,
    SendBufferFull,
    TooManyChannels,
)
from .events import Closed, Drained, Dropped, Ended, Event, Message, Opened

__all__ = [
    "ChannelError",
    "Closed",
    "DataChannels",
    "Drained",
    "Dropped",
    "Ended",
    "Event",
    "Message",
    "MessageTooLong",
    "NotOpen",
    "Opened",
    "SendBufferFull",
    "TooManyChannels",
]
