"""Rows of operations by Hypothesis, which knows how to make a failing one short.

Where atheris looks for new code, this looks for new orders of known things: each operation is one
of the seeds', as it was or altered, and each row may hold the same one twice, late, or not at all.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import operations
from .operations import Operation
from .smoke import Escape
from .target import Target

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


def run(target: Target, seeds: Sequence[bytes], count: int) -> tuple[int, Escape | None]:
    """Give the target ``count`` rows; how many it was given, and the shortest that it did not
    bear."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st

    known = sorted({one for data in seeds for one in operations.decode(data)[1]})
    one = target.make()
    tried = 0
    escape: Escape | None = None

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(altered(known), max_size=16), st.integers(0, 255))
    def attempt(row: list[Operation], setting: int) -> None:
        nonlocal tried, escape
        tried += 1
        data = operations.encode(setting, row)[: target.length]
        try:
            one(data)
        except Exception as error:
            escape = Escape(data, error)  # the last of these is the shortest
            raise

    try:
        attempt()
    except Exception:
        if escape is None:
            raise
    return tried, escape


def altered(known: Sequence[Operation]) -> "SearchStrategy[Operation]":
    """One operation: of the known ones, with its kind or a few octets changed, or any."""
    from hypothesis import strategies as st

    kinds = st.integers(0, 255)
    fresh = st.tuples(kinds, st.binary(max_size=40))
    if not known:
        return fresh
    old = st.sampled_from(known)
    other_kind = st.tuples(kinds, old.map(lambda one: one[1]))
    return st.one_of(old, old, other_kind, fresh, st.builds(_patched, old, kinds, kinds))


def _patched(one: Operation, at: int, octet: int) -> Operation:
    kind, argument = one
    if not argument:
        return one
    at %= len(argument)
    return kind, argument[:at] + bytes((octet,)) + argument[at + 1 :]
