"""Known failures: what somebody has looked at and lives with, for a reason.

A TOML file of entries, each with a glob of case names and the reason::

    [[known]]
    case = "rfc8489/9.1.3/*"
    reason = "Strangers get no answer here: see the README, Security."

A failure that an entry covers does not fail a run. An entry all of whose cases pass does: it has
outlived its reason, and would hide the day they break again.
"""

import tomllib
from collections.abc import Iterable
from fnmatch import fnmatchcase

import cattrs
from attrs import frozen

from stunroute.errors import StunrouteError

from .case import Verdict
from .runner import Result

WRONG = frozenset({Verdict.FAIL, Verdict.BLOCKED, Verdict.LENIENT, Verdict.NOTED})
"""Verdicts that a known failure may have. A broken harness is nobody's known failure."""


class ExpectationError(StunrouteError):
    """The file cannot be read, or an entry has no reason."""


@frozen(slots=True)
class Known:
    """An entry: a glob of names of cases, in which ``*`` takes slashes too, and the reason."""

    case: str
    reason: str


@frozen(slots=True)
class Expectations:
    """All of a file, in order."""

    known: tuple[Known, ...] = ()

    def of(self, name: str) -> Known | None:
        """The first entry that covers a case, by its name; None where none does."""
        for entry in self.known:
            if fnmatchcase(name, entry.case):
                return entry
        return None

    def outlived(self, results: Iterable[Result]) -> list[Known]:
        """Entries whose cases were asked and are all well now."""
        verdicts: dict[Known, set[Verdict]] = {}
        for result in results:
            entry = self.of(result.case.name)
            if entry is not None and result.verdict is not Verdict.UNSUPPORTED:
                verdicts.setdefault(entry, set()).add(result.verdict)
        return [entry for entry in self.known if verdicts.get(entry) == {Verdict.PASS}]


def parse(text: str) -> Expectations:
    """The text of a file, read strictly. Raises ExpectationError."""
    converter = cattrs.Converter(forbid_extra_keys=True)
    try:
        read = converter.structure(tomllib.loads(text), Expectations)
    except tomllib.TOMLDecodeError as error:
        raise ExpectationError(f"not TOML: {error}") from error
    except (cattrs.ClassValidationError, cattrs.errors.BaseValidationError) as error:
        said = "; ".join(cattrs.transform_error(error))
        raise ExpectationError(f"not entries of case and reason: {said}") from error
    for entry in read.known:
        if not entry.case.strip() or not entry.reason.strip():
            raise ExpectationError(f"the entry for {entry.case!r} needs a case and a reason")
    return read
