"""The far side of a call as a core: a client with neither socket nor clock.

A browser's part, made of this project's own codecs: a full, controlling ICE agent with one
candidate, DTLS in either role, SRTP, data channels. It behaves; what misbehaves is in
``conformance.probe``. The same core is the client of the simulator, of the load generator and of
every case that needs a call to be up before its own question can be asked.
"""

from .answer import Answer, AnswerError, Candidate, is_number, read_answer_untrusted
from .core import KEEPALIVE, Client, Told
from .offer import write_offer
from .seeds import fixed_identity, ice_text, seeded

__all__ = [
    "KEEPALIVE",
    "Answer",
    "AnswerError",
    "Candidate",
    "Client",
    "Told",
    "fixed_identity",
    "ice_text",
    "is_number",
    "read_answer_untrusted",
    "seeded",
    "write_offer",
]
