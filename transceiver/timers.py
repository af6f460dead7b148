"""Deadlines that say what they are for.

A core never starts a timer. It owns its deadlines as data and answers ``next_timeout``; whoever
drives it comes back at that instant. Because a deadline carries its reason, a trace can say why
we woke, and because it lives in the state that wants it, it dies with that state.
"""

from enum import Enum, unique

from attrs import frozen

from stunroute.instant import Instant


@unique
class Wake(Enum):
    """What a session's deadline is for."""

    ESTABLISH = "establish"
    ICE = "ice"
    DTLS = "dtls"
    DATA = "data"
    REPORT = "report"
    PROBE = "probe"
    SILENCE = "silence"
    CONSENT = "consent"
    WARNING = "warning"
    LENGTH = "length"
    DRAIN = "drain"


@frozen(slots=True)
class Deadline:
    """``reason`` is due at ``at``."""

    at: Instant
    reason: Wake
