"""Log lines on standard error, for people or for programs.

A relay meets as many strange packets as anybody cares to send, so nothing is logged for a packet,
and what is logged is bounded all the same: in the length of a line and in lines per second. What
was left out is said with the next line that is not.
"""

import json
import logging
import sys
import time
from datetime import UTC, datetime
from typing import TextIO

from stunroute.settings import Log

HAPPENINGS = "stunroute.flows"
"""The logger of what happens to flows: news to somebody, noise to most."""

LINE = 4096
"""Characters of a line's message; a traceback has as many again."""
RATE = 10.0
BURST = 100
"""Lines per second that are written in the long run, and at once."""
CUT = "..."


class Bounded(logging.Filter):
    """Lets ``BURST`` lines pass at once and ``RATE`` per second."""

    def __init__(self, rate: float = RATE, burst: int = BURST) -> None:
        super().__init__()
        self._rate = rate
        self._burst = float(burst)
        self._left = float(burst)
        self._at = time.monotonic()
        self._kept_back = 0

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            self._kept_back += 1
            return False
        self._left -= 1
        record.kept_back, self._kept_back = self._kept_back, 0
        return True


def _cut(text: str) -> str:
    return text if len(text) <= LINE else text[: LINE - len(CUT)] + CUT


def _message(record: logging.LogRecord) -> str:
    kept_back = getattr(record, "kept_back", 0)
    # One line each: a line break in a name from somewhere must not make a second line.
    message = " ".join(_cut(record.getMessage()).splitlines())
    return f"{message} ({kept_back} lines before this one were left out)" if kept_back else message


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


class Text(logging.Formatter):
    """``2026-11-01T00:00:00.000+00:00 WARNING stunroute.udp.supervisor: worker 0 died``"""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_moment(record)} {record.levelname} {record.name}: {_message(record)}"
        if record.exc_info:
            line += "\n" + _cut(self.formatException(record.exc_info))
        return line


class Json(logging.Formatter):
    """One object per line: at, level, logger, message, pid, and exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        facts = {
            "at": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
            "pid": record.process,
        }
        if record.exc_info:
            facts["exception"] = _cut(self.formatException(record.exc_info))
        return json.dumps(facts)


def set_up(log: Log, *, verbose: bool = False, stream: TextIO | None = None) -> None:
    """Everything that is logged in this process goes to ``stream`` (standard error): what is ours
    from news on, of ``HAPPENINGS`` only if ``verbose``, what is others' from warnings on."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Json() if log is Log.JSON else Text())
    handler.addFilter(Bounded())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("stunroute").setLevel(logging.INFO)
    logging.getLogger(HAPPENINGS).setLevel(logging.INFO if verbose else logging.WARNING)
