"""Log lines."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from stunroute.operations import log
from stunroute.settings import Log


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    ours = [logging.getLogger(name) for name in ("stunroute", log.HAPPENINGS)]
    before = root.handlers[:], root.level, [logger.level for logger in ours]
    yield
    root.handlers[:], level, levels = before
    root.setLevel(level)
    for logger, its in zip(ours, levels, strict=True):
        logger.setLevel(its)


def lines(kind: Log, *, verbose: bool = False) -> tuple[io.StringIO, logging.Logger]:
    stream = io.StringIO()
    log.set_up(kind, verbose=verbose, stream=stream)
    return stream, logging.getLogger("stunroute.somewhere")


def test_a_line_for_people() -> None:
    stream, logger = lines(Log.TEXT)
    logger.warning("worker %d died", 3)
    moment, rest = stream.getvalue().split(" ", 1)
    assert rest == "WARNING stunroute.somewhere: worker 3 died\n"
    assert moment.endswith("+00:00")


def test_a_line_for_programs() -> None:
    stream, logger = lines(Log.JSON)
    logger.info("one\ntwo")
    try:
        raise OSError("gone")
    except OSError:
        logger.exception("three")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first["message"] == "one two"
    assert (first["level"], first["logger"]) == ("info", "stunroute.somewhere")
    assert "exception" not in first
    assert "OSError: gone" in second["exception"]


def test_what_happens_to_flows_is_for_those_who_asked() -> None:
    for verbose in (False, True):
        stream, _ = lines(Log.TEXT, verbose=verbose)
        logging.getLogger(log.HAPPENINGS).info("5 flows made again")
        logging.getLogger("elsewhere").info("news of others")
        assert ("made again" in stream.getvalue()) is verbose
        assert "others" not in stream.getvalue()


@pytest.mark.parametrize("kind", Log)
def test_lines_are_bounded_in_length_and_number(kind: Log) -> None:
    stream, logger = lines(kind)
    for _ in range(1_000):
        logger.warning("%s", "x" * 100_000)
    written = stream.getvalue().splitlines()
    assert log.BURST <= len(written) < log.BURST + 100
    assert max(map(len, written)) < log.LINE + 300


def test_what_was_left_out_is_said_later(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(log.time, "monotonic", lambda: now)
    stream, logger = lines(Log.TEXT)
    for _ in range(log.BURST + 7):
        logger.warning("again")
    now = 1.0
    logger.warning("later")
    written = stream.getvalue().splitlines()
    assert len(written) == log.BURST + 1
    assert written[-1].endswith("later (7 lines before this one were left out)")
    logger.warning("last")
    assert stream.getvalue().endswith(": last\n")
