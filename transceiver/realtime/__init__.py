"""The Realtime protocol of events, as cores without a wire.

Its names and shapes are public: those of OpenAI's Realtime API. Here stands the server's side of
it, twice: for agents that only hear and say (``plain``), and for agents that hold the conversation
themselves and need the edge for the sound alone (``through``).
"""

from collections.abc import Callable, Mapping
from typing import Any

from transceiver.config import RealtimeLimits

from .exchange import (
    Changed,
    Exchange,
    Finish,
    Flush,
    Hear,
    Output,
    Play,
    Respond,
    ToAgent,
    ToClient,
)
from .plain import PlainExchange
from .through import ThroughExchange
from .wire import EventError, write

__all__ = [
    "Changed",
    "EventError",
    "Exchange",
    "Finish",
    "Flush",
    "Hear",
    "Output",
    "PlainExchange",
    "Play",
    "Respond",
    "ThroughExchange",
    "ToAgent",
    "ToClient",
    "make_exchange",
    "write",
]


def make_exchange(
    *,
    speaks_realtime: bool,
    entropy: Callable[[int], bytes],
    asked: Mapping[str, Any],
    model: str | None = None,
    limits: RealtimeLimits | None = None,
) -> Exchange:
    """The conversation for an agent of that kind. ``asked`` is a validated session object, possibly
    empty; ``model`` what the call was opened for; ``entropy`` gives random bytes."""
    kind = ThroughExchange if speaks_realtime else PlainExchange
    return kind(entropy, asked, model, limits or RealtimeLimits())
