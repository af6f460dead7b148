"""Seeds for tests of the fuzzing, and targets that are broken on purpose."""

from functools import cache
from typing import TYPE_CHECKING

from conformance.fuzz.target import Run, Target, insist, only
from stunroute.errors import DecodeError

if TYPE_CHECKING:
    from conformance.fuzz.seeds import Seeds


@cache
def seeds() -> "Seeds":
    """Those of the repository, read once."""
    # A child that takes its target from here may not have imported what it is to instrument.
    from conformance.fuzz import corpus

    return corpus.collect()


def _fragile() -> Run:
    def run(data: bytes) -> None:
        if data[:2] == b"AB":
            raise DecodeError("as documented")
        insist(data[:1] != b"K" or len(data) < 3, "no long input begins with K")
        if data[:1] == b"\xff":
            _deep(len(data))

    return only(run)


def _deep(size: int) -> int:
    return 1 // (size - size)


FRAGILE = Target("core.fragile", _fragile, seeds="octets", length=16)
"""Raises what is documented, breaks a promise, or divides by zero, by its first octet."""
