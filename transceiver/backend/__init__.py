"""What a call is handed to: the applications, and what stands between them and a call.

``interface`` is the border: a ``Backend`` takes packets and messages. ``agent`` is the same for
those who want sound and Realtime events, and ``line`` makes a backend of such an agent. The agents
here are ``echo``, ``python`` (a class of one's own), ``audiosocket`` and ``realtime`` (a program or
a server elsewhere, reached by ``uplink``) and ``talk``; ``registry`` knows them by the names that
settings give them. ``playout`` and ``task`` help to write a backend by hand.
"""

from .interface import (
    Attachable,
    Attachment,
    Backend,
    BackendFactory,
    Call,
    CallRequest,
    Listening,
)

__all__ = [
    "Attachable",
    "Attachment",
    "Backend",
    "BackendFactory",
    "Call",
    "CallRequest",
    "Listening",
]
