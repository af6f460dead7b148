"""Who answers what, how much of it, and whether it became less.

The two roles are judged apart, because one answer is not always good for both: a case that talks to
a transceiver leaves the relay's half of a requirement open. What is excluded leaves the share that
is the headline, and is counted beside it, so that nobody can exclude his way to a hundred unseen.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum

from attrs import frozen

from . import scanner
from .model import Document, Problem, Requirement, Role, Witness, is_id, order


class Answer(Enum):
    """How a requirement is answered for one role."""

    BOTH = "case+test"
    CASE = "case"
    TEST = "test"
    EXCLUDED = "excluded"
    OPEN = "open"

    @property
    def answered(self) -> bool:
        """Whether something fails when the requirement is broken."""
        return self in (Answer.BOTH, Answer.CASE, Answer.TEST)


@frozen(slots=True)
class Entry:
    """A requirement with those who answer it."""

    requirement: Requirement
    cases: tuple[Witness, ...]
    tests: tuple[Witness, ...]

    def answer(self, role: Role) -> Answer:
        """How it is answered for a role that it binds. A case that would be lenient touches an
        absolute requirement and does not answer it."""
        absolute = self.requirement.level.absolute
        by_case = any(role in case.roles and case.fails >= absolute for case in self.cases)
        by_test = any(role in test.roles for test in self.tests)
        if by_case or by_test:
            return (Answer.BOTH if by_test else Answer.CASE) if by_case else Answer.TEST
        return Answer.EXCLUDED if self.requirement.excluded else Answer.OPEN


@frozen(slots=True)
class Figures:
    """Counts of absolute requirements. ``by_case`` and ``by_test`` both count what both answer."""

    total: int = 0
    by_case: int = 0
    by_test: int = 0
    answered: int = 0
    excluded: int = 0
    open: int = 0

    @property
    def share(self) -> float:
        """The headline: answered by a case or a test, of all that are not excluded; 0 to 1."""
        return _share(self.answered, self.total - self.excluded)

    @property
    def share_of_all(self) -> float:
        """The same of all, excluded ones too."""
        return _share(self.answered, self.total)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


@frozen(slots=True)
class Coverage:
    """All requirements with their answers, in the order of the documents and of the ids in them."""

    documents: tuple[Document, ...]
    entries: tuple[Entry, ...]

    def of(self, document: Document) -> list[Entry]:
        return [entry for entry in self.entries if entry.requirement.id in _ids(document)]

    @property
    def deviations(self) -> list[Requirement]:
        """What our own server does not keep, with its reasons."""
        found = [entry.requirement for entry in self.entries]
        return [requirement for requirement in found if requirement.deviates]

    def figures(self, role: Role, document: Document | None = None) -> Figures:
        """The counts of one role, of one document or of all."""
        entries = self.entries if document is None else self.of(document)
        return count(
            entry.answer(role)
            for entry in entries
            if role in entry.requirement.applies and entry.requirement.level.absolute
        )


def _ids(document: Document) -> frozenset[str]:
    return frozenset(requirement.id for requirement in document.requirements)


def count(answers: Iterable[Answer]) -> Figures:
    """The figures of some answers."""
    found = list(answers)
    return Figures(
        total=len(found),
        by_case=sum(answer in (Answer.CASE, Answer.BOTH) for answer in found),
        by_test=sum(answer in (Answer.TEST, Answer.BOTH) for answer in found),
        answered=sum(answer.answered for answer in found),
        excluded=found.count(Answer.EXCLUDED),
        open=found.count(Answer.OPEN),
    )


def cover(
    documents: Sequence[Document],
    cases: Mapping[str, Sequence[Witness]],
    exists: Callable[[str], bool] = bool,
) -> Coverage:
    """Put requirements and answers together. ``cases`` are the cases by the id they answer;
    ``exists`` says whether a reference to a test leads to one, else it answers nothing."""
    entries = []
    for document in documents:
        for requirement in sorted(document.requirements, key=lambda one: order(one.id)):
            tests = [
                Witness(name, scanner.roles_of(name)) for name in requirement.tests if exists(name)
            ]
            named = sorted(cases.get(requirement.id, ()), key=lambda case: order(case.name))
            entries.append(Entry(requirement, tuple(named), tuple(tests)))
    return Coverage(tuple(documents), tuple(entries))


# --- what cannot be so ----------------------------------------------------------------------------


def known_ids(documents: Iterable[Document]) -> frozenset[str]:
    """Every id that is written down, as a requirement or as not applicable."""
    return frozenset(
        id_
        for document in documents
        for ids in (_ids(document), *(other.ids for other in document.not_applicable))
        for id_ in ids
    )


def wrong_cases(
    documents: Sequence[Document], cases: Mapping[str, Sequence[Witness]]
) -> list[Problem]:
    """Cases that name what is no id, what nobody wrote down, or what is said to need no answer."""
    required = {one.id: one for document in documents for one in document.requirements}
    known = known_ids(documents)
    problems: list[Problem] = []
    for id_, named in cases.items():
        match required.get(id_):
            case None if not is_id(id_):
                what = f"names {id_!r}, which is no id"
            case None if id_ not in known:
                what = f"names {id_}, which is in no file of requirements"
            case None:
                what = f"answers {id_}, which is said to be not applicable"
            case Requirement(excluded=reason) if reason:
                what = f"answers {id_}, which is said to be excluded"
            case Requirement() as requirement:
                problems += _unfit(requirement, named)
                continue
        problems += [Problem(f"case {one.name}", what) for one in named]
    return problems


def _unfit(requirement: Requirement, named: Sequence[Witness]) -> Iterator[Problem]:
    roles = " or ".join(role.value for role in requirement.applies)
    for one in named:
        if one.roles.isdisjoint(requirement.applies):
            what = f"answers {requirement.id}, which binds a {roles} alone"
            yield Problem(f"case {one.name}", what)


def wrong_tests(coverage: Coverage) -> list[Problem]:
    """Tests that can speak for none of the roles that a requirement binds."""
    return [
        Problem(entry.requirement.id, f"{test.name} drives neither role that it binds")
        for entry in coverage.entries
        for test in entry.tests
        if test.roles.isdisjoint(entry.requirement.applies)
    ]


# --- the snapshot ---------------------------------------------------------------------------------

HEADING = """\
# Who answers which requirement: written by `conformance cite --snapshot`, compared by `--check`.
# One line per requirement: its id, each role with the kind of its answer, and by what.
"""


def snapshot(coverage: Coverage) -> str:
    """The coverage as text with one line per requirement, sorted, ready for a diff."""
    lines = [_line(entry) for entry in sorted(coverage.entries, key=_place)]
    return HEADING + "".join(f"{line}\n" for line in lines)


def _place(entry: Entry) -> tuple[object, ...]:
    return order(entry.requirement.id)


def _line(entry: Entry) -> str:
    requirement = entry.requirement
    roles = [
        f"{role.value}={entry.answer(role).value}" for role in Role if role in requirement.applies
    ]
    words = [requirement.id, *roles]
    if requirement.deviates:
        words.append("deviates")
    by = [witness.name for witness in (*entry.cases, *entry.tests)]
    return " ".join([*words, "<-", ", ".join(by)] if by else words)


def changes(committed: str, current: str) -> list[str]:
    """How two snapshots differ, one line per requirement and side, the committed one first."""
    before, after = committed.splitlines(), current.splitlines()
    gone, new = set(before) - set(after), set(after) - set(before)
    marked = [f"- {line}" for line in gone] + [f"+ {line}" for line in new]
    return sorted(marked, key=lambda line: (order(line[2:].split(" ")[0]), line[0] == "+"))
