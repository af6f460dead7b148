"""SCTP over DTLS (RFC 9260, RFC 8261), without a socket, a clock or a random device of its own.

Ours for the reason that DTLS is: a session must replay to the byte, so the tags, TSNs and timers of
an association have to come of time and entropy that are arguments.

``association`` is what others see. ``packet``, ``chunks``, ``parameters`` and ``causes`` are the
wire format; ``states``, ``handshake``, ``opening``, ``closing`` and ``greeting`` are how an
association begins and ends; ``inbound`` and ``reassembly`` make messages of chunks, ``sendqueue``,
``outbound``, ``outstanding`` and ``congestion`` chunks of messages, ``shortcut`` does for most
packets what the long way does; ``reconfiguration`` resets streams.
"""

from .association import Association, NotConnected
from .events import (
    BufferedAmountLow,
    Closed,
    Connected,
    Dropped,
    Event,
    MessageReceived,
    MessageTooLong,
    ResetDone,
    Restarted,
    StreamsResetByPeer,
)
from .sendqueue import SendQueueFull
from .states import State

__all__ = [
    "Association",
    "BufferedAmountLow",
    "Closed",
    "Connected",
    "Dropped",
    "Event",
    "MessageReceived",
    "MessageTooLong",
    "NotConnected",
    "ResetDone",
    "Restarted",
    "SendQueueFull",
    "State",
    "StreamsResetByPeer",
]
