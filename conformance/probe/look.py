"""Looks at what a server does or writes by itself, without anything being done to it.

Where a case only has to look, it is right or wrong, and the fault says in what. That is one
vocabulary for all layers; what a server need not show at all has a word for that besides.
"""

from conformance.case import Observed, Seen


class Checked(Seen):
    """A look at something that the server did or wrote."""

    RIGHT = "as it should be"
    WRONG = "not as it should be"


class Shown(Seen):
    """The same, where it may be that there is nothing to look at."""

    RIGHT = "as it should be"
    WRONG = "not as it should be"
    NOTHING = "there was nothing to look at, though the server lives"


def checked(fault: str | None) -> Observed:
    """By a fault in a few words, which is None or empty where there is none."""
    return (Checked.WRONG, fault) if fault else Checked.RIGHT


def shown(fault: str | None) -> Observed:
    """Likewise."""
    return (Shown.WRONG, fault) if fault else Shown.RIGHT
