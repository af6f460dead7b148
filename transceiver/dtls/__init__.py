"""DTLS 1.2 in both roles, without a socket, a clock or a random device of its own.

Ours and not OpenSSL's, because a session must replay to the byte: that takes a handshake to which
time and entropy are arguments. The primitives are ``cryptography``'s.

``record``, ``reassembly``, ``flight`` and ``connection`` are what every version has in common;
``messages``, ``extensions``, ``keys`` and ``signatures`` are vocabulary; ``handshake12``,
``client12`` and ``server12`` are version 1.2.
"""

from .connection import DtlsConnection, Role, SendQueueFull, Stage
from .events import ApplicationData, Dropped, Event, Failed, HandshakeComplete, PeerClosed
from .identity import Fingerprint, Identity

__all__ = [
    "ApplicationData",
    "Dropped",
    "DtlsConnection",
    "Event",
    "Failed",
    "Fingerprint",
    "HandshakeComplete",
    "Identity",
    "PeerClosed",
    "Role",
    "SendQueueFull",
    "Stage",
]
