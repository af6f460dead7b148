"""Everything that can be wrong between the requirements and the repository, found in one go.

Whoever mends the list wants to see all that is wrong with it at once. So nothing here stops at the
first fault, and whether faults fail anything is for the command to say.
"""

from collections.abc import Mapping, Sequence

from attrs import frozen

from . import coverage, repository, scanner
from .coverage import Coverage
from .loader import Loaded
from .model import Problem, Witness


@frozen(slots=True)
class Finding:
    """The coverage, and what has to be put right before it means anything."""

    coverage: Coverage
    problems: tuple[Problem, ...]


def check(
    loaded: Loaded, files: Mapping[str, str], cases: Mapping[str, Sequence[Witness]]
) -> Finding:
    """Hold requirements against the text of the repository's Python files (by path) and against
    the cases (by the id that they name). The same input gives the same finding."""
    suite = scanner.Suite(files)
    found = coverage.cover(loaded.documents, cases, lambda reference: not suite.wrong(reference))
    known = coverage.known_ids(loaded.documents)
    said = [
        mention
        for path, text in files.items()
        if not path.startswith(repository.INVENTED)
        for mention in scanner.mentions(path, text)
    ]
    requirements = [entry.requirement for entry in found.entries]
    problems = [
        *loaded.problems,
        *scanner.wrong_references(requirements, suite),
        *coverage.wrong_tests(found),
        *coverage.wrong_cases(loaded.documents, cases),
        *scanner.unknown_mentions(said, known),
    ]
    return Finding(found, tuple(dict.fromkeys(problems)))
