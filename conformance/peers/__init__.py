"""Other people's implementations, made startable so that the suite can be pointed at them.

``with start("aiortc") as running:`` starts one and ends it, and ``PEERS`` says what there is. What
has no WHIP of its own gets a small front here that uses its library. A front is a program of its
own, never imported by the suite: a peer may crash, leak and block without harm to who judges it.
"""

from .errors import PeerError
from .installing import VARIABLE, install, missing, prefix, use_prefix
from .running import Running, start
from .table import PEERS, Door, Ice, Peer, by_name

__all__ = [
    "PEERS",
    "VARIABLE",
    "Door",
    "Ice",
    "Peer",
    "PeerError",
    "Running",
    "by_name",
    "install",
    "missing",
    "prefix",
    "start",
    "use_prefix",
]
