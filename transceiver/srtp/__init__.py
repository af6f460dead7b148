"""Media: protection (SRTP, SRTCP), the packets inside it (RTP, RTCP) and what is counted of them.

``protection`` needs keys and knows no packet beyond its clear header, ``library`` is libsrtp's part
in it; ``rtp`` and ``rtcp`` turn bytes into records and back; ``statistics`` counts; ``mid`` says
which section of the description a source belongs to. They meet in the session.
"""

from .mid import SectionName
from .protection import ProtectionError, SrtpContext, SrtpError
from .statistics import SenderStatistics, SourceStatistics

__all__ = [
    "ProtectionError",
    "SectionName",
    "SenderStatistics",
    "SourceStatistics",
    "SrtpContext",
    "SrtpError",
]
