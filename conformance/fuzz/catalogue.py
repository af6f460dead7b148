"""All targets: those that the sources name, and those that the tables add.

A parser that nobody has written a target for is fuzzed as well, if bytes or text are all it takes;
one that takes more and stands in no table is told, and fails a test.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache

from . import (
    cores,
    parsers_dtls,
    parsers_media,
    parsers_own,
    parsers_relay,
    parsers_sctp,
    parsers_text,
)
from .discover import Found, functions, generic
from .target import Covered, Run, Table, Target, only

TABLES: tuple[Table, ...] = (
    parsers_relay.TABLE,
    parsers_dtls.TABLE,
    parsers_sctp.TABLE,
    parsers_media.TABLE,
    parsers_text.TABLE,
    parsers_own.TABLE,
    cores.TABLE,
)

_GENERIC = (
    ("stunroute.stun.attributes.", "value", 80),
    ("stunroute.relay.", "leg", 64),
    ("transceiver.backend.realtime.", "json", 600),
    ("transceiver.datachannel.", "channel", 300),
    ("transceiver.dtls.extensions.", "value", 80),
    ("transceiver.dtls.messages.", "body", 700),
    ("transceiver.dtls.record.", "dtls", 200),
    ("transceiver.dtls.signatures.", "certificate", 900),
    ("transceiver.ice.", "stun", 600),
    ("transceiver.sctp.chunks.", "value", 120),
    ("transceiver.sctp.parameters.", "value", 60),
    ("transceiver.sctp.", "parameters", 200),
    ("transceiver.srtp.rtcp.", "rtcp", 200),
    ("transceiver.srtp.rtp.", "rtp", 120),
    ("conformance.story.", "rtcp", 200),
    ("", "datagram", 600),
)
"""Seeds and length for functions that are called as they are, by the beginning of their names."""


@cache
def targets() -> dict[str, Target]:
    """By name, in the order of their names."""
    found: dict[str, Target] = {}
    for table in TABLES:
        found |= table.targets
    known = {*found, *covered()}
    for one in functions():
        if one.name not in known and one.takes is not None:
            found[one.name] = _generic(one)
    return dict(sorted(found.items()))


def _generic(one: Found) -> Target:
    seeds, length = next(
        (seeds, length) for start, seeds, length in _GENERIC if one.name.startswith(start)
    )

    def make() -> Run:
        return only(generic(one))

    return Target(one.name, make, seeds, length)


@cache
def covered() -> dict[str, Covered]:
    """The functions that another target stands for, by name."""
    found: dict[str, Covered] = {}
    for table in TABLES:
        found |= table.covered
    return found


def missing() -> list[str]:
    """Functions that are neither a target nor covered. None may be."""
    known = {*targets(), *covered()}
    return [one.name for one in functions() if one.name not in known]


def matching(patterns: Iterable[str]) -> list[Target]:
    """The targets whose names fit one of ``patterns``, as a shell reads them; all where there are
    none. A pattern may leave out how the name begins."""
    wanted = tuple(patterns)
    return [
        target
        for name, target in targets().items()
        if not wanted
        or any(fnmatchcase(name, one) or fnmatchcase(name, f"*.{one}") for one in wanted)
    ]
