"""The Realtime protocol of events, as cores without a wire.

Its names and shapes are public: those of OpenAI's Realtime API. Here stands the server's side of
it, twice: for agents that only hear and say (``plain``), and for agents that hold the conversation
themselves and need the edge for the sound alone (``through``).
"""

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

__all__ = [
    "Changed",
    "Exchange",
    "Finish",
    "Flush",
    "Hear",
    "Output",
    "Play",
    "Respond",
    "ToAgent",
    "ToClient",
]
