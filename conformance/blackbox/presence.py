"""Whether anybody is at the door.

A suite that asks nobody would judge silence: many cases take it for an answer, some for a crash,
and a mistyped URL would come out as a bad server. So one trial is made before the first case, and
where nobody answers it nothing is asked at all. A server can go away in mid-run, too. Then the
case that ended it is judged, for a server that dies of a question has failed it; those after it
meet nobody, and are blocked until somebody answers a trial again.

Signalling may be there without the rest: calls are opened, and nothing comes by UDP. That is judged
as far as it goes; a case is blocked where it begins to send datagrams.
"""

import threading
import time
from collections.abc import Callable
from typing import TypeAlias

from attrs import define, field, frozen

from conformance.case import Blocked
from conformance.runner import Result
from stunroute.address import Address

RETURNING = 10.0
"""Seconds that a run waits in its midst for a server that somebody may be starting again."""
LOOK_AGAIN = 20.0
"""Seconds after which a server that opens calls and says nothing by UDP is tried again."""
BETWEEN = 0.25
"""Seconds between two trials."""


@frozen(slots=True)
class Finding:
    """What a trial found. ``nobody`` says in one sentence what was tried and what came back, None
    where somebody is there. ``silent`` says so of a server that opens calls and is not heard of
    by UDP. ``remark`` is what else the reader should know. ``server`` is where the answer leads."""

    nobody: str | None = None
    silent: str | None = None
    remark: str | None = None
    server: Address | None = None


Trial: TypeAlias = Callable[[], Finding]


@define(slots=True)
class Presence:
    """``trial`` asks once whether anybody is there. ``before_each``: a trial is cheap, so there is
    one before every case; otherwise only where there is ``doubt``. ``wait`` is for how many seconds
    a run waits for a server that is not up yet, or longer than usual for one that has gone.
    ``stopped`` ends all waiting. May be used by several threads."""

    trial: Trial
    before_each: bool = False
    wait: float = 0.0
    stopped: threading.Event = field(factory=threading.Event)
    gone: str | None = None
    """Why the rest is not asked any more."""
    silent: str | None = None
    """Why nothing is sent by UDP at present."""
    _doubtful: bool = False
    _again: float = 0.0
    _lock: threading.Lock = field(factory=threading.Lock)

    def at_start(self) -> Finding:
        """Before the first case."""
        finding = self._await(self.wait)
        self._take(finding)
        return finding

    def need(self) -> None:
        """Before a case. Raises Blocked where nobody is there, after having waited a while. Once
        that was in vain nobody is waited for again."""
        with self._lock:
            if self.gone is not None:
                raise Blocked(self.gone)
            hushed = self.silent is not None and time.monotonic() >= self._again
            if not (self.before_each or self._doubtful or hushed):
                return
            finding = self._await(max(self.wait, RETURNING))
            if finding.nobody is not None:
                self.gone = f"nobody is there any more: {finding.nobody}"
                raise Blocked(self.gone)
            self._take(finding)

    def doubt(self) -> None:
        """A request got no response: the next case asks first whether anybody is there."""
        self._doubtful = True

    def weigh(self, result: Result) -> None:
        """After a case. Where a server has died of it as far as UDP can tell, others are not to be
        judged by its silence."""
        grave = result.seen is not None and result.seen.is_grave
        if grave and result.trail.sent_bytes and not result.trail.received_bytes:
            with self._lock:
                self._take(self.trial())

    def _take(self, finding: Finding) -> None:
        self.silent = finding.silent
        self._doubtful = finding.nobody is not None
        self._again = time.monotonic() + LOOK_AGAIN

    def _await(self, seconds: float) -> Finding:
        until = time.monotonic() + seconds
        while True:
            finding = self.trial()
            if finding.nobody is None or time.monotonic() >= until:
                return finding
            if self.stopped.wait(BETWEEN):
                return finding
