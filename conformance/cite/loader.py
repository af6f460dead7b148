"""The files of requirements, read strictly.

They are written by hand by several people, so whatever is wrong in a file is told with the id of
its entry, all of it at once, and nothing that is misspelt is passed over.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import cattrs
from attrs import frozen
from cattrs.v import format_exception

from .model import ID, Document, Inapplicable, Problem, Requirement

T = TypeVar("T")

DIRECTORY = Path(__file__).resolve().parent.parent / "requirements"
"""The requirements this program was delivered with."""
LONGEST_TEXT = 400
"""Characters of a requirement in our words. What takes more is two requirements."""
_KEYS = {"rfc", "title", "requirement", "not_applicable"}


@frozen(slots=True)
class Loaded:
    """The documents that could be read, by number, and what was wrong with them and with others."""

    documents: tuple[Document, ...]
    problems: tuple[Problem, ...]


def load(directory: Path = DIRECTORY) -> Loaded:
    """Read every ``rfcNNNN.toml`` of a directory. A file that cannot be read is a problem; so is
    each entry of it that makes no sense, which is left out."""
    documents = []
    problems = []
    for path in sorted(directory.glob("*.toml")):
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            problems.append(Problem(path.name, f"cannot be read: {error}"))
            continue
        document, wrong = loads(text, path.name)
        problems += wrong
        if document is not None:
            documents.append(document)
    documents.sort(key=lambda document: document.rfc)
    problems += _twice(documents)
    return Loaded(tuple(documents), tuple(problems))


def loads(text: str, name: str) -> tuple[Document | None, list[Problem]]:
    """One file's text under its name ``rfcNNNN.toml``: the document, None where there is none to
    speak of, and all that is wrong with it."""
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        return None, [Problem(name, f"is not TOML: {error}")]
    number, title = table.get("rfc"), table.get("title")
    if type(number) is not int or not isinstance(title, str) or not title:
        return None, [Problem(name, "does not begin with rfc = NUMBER and title = TEXT")]
    problems = [Problem(name, f"{key!r} is no key of such a file") for key in table.keys() - _KEYS]
    if name != f"rfc{number}.toml":
        problems.append(Problem(name, f"holds RFC {number}, whose file is rfc{number}.toml"))
    requirements = _entries(table, "requirement", Requirement, name, problems)
    others = _entries(table, "not_applicable", Inapplicable, name, problems)
    document = Document(number, title, requirements, others)
    for requirement in requirements:
        problems += _wrong_requirement(requirement, document)
    for other in others:
        problems += _wrong_others(other, document)
    return document, problems


def _entries(
    table: Mapping[str, Any], key: str, schema: type[T], name: str, problems: list[Problem]
) -> tuple[T, ...]:
    entries = table.get(key, [])
    if not isinstance(entries, list):
        problems.append(Problem(name, f"{key} is not written [[{key}]]"))
        return ()
    found = []
    for number, entry in enumerate(entries, 1):
        try:
            found.append(_CONVERTER.structure(entry, schema))
        except Exception as error:
            said = entry.get("id") if isinstance(entry, dict) else None
            place = said if isinstance(said, str) else f"{name}, {key} {number}"
            whats = cattrs.transform_error(error, path="", format_exception=_said)
            problems += [Problem(place, what) for what in whats]
    return tuple(found)


def _wrong_requirement(requirement: Requirement, document: Document) -> list[Problem]:
    text, excluded = requirement.text, requirement.excluded
    tests = Counter(requirement.tests)
    wrong = {
        "names no role in applies": not requirement.applies,
        "names a role twice": len(set(requirement.applies)) < len(requirement.applies),
        "has a text that is not one sentence with a full stop": not _is_sentence(text),
        f"has a text of more than {LONGEST_TEXT} characters": len(text) > LONGEST_TEXT,
        "has tests and is excluded: one of the two": bool(requirement.tests and excluded),
        "is excluded without a reason": bool(excluded) and not excluded.strip(),
        "is excluded and deviates: one of the two": bool(requirement.deviates and excluded),
        "names a test twice": any(count > 1 for count in tests.values()),
    }
    found = [Problem(requirement.id, what) for what, is_so in wrong.items() if is_so]
    return found + _wrong_id(requirement.id, document)


def _wrong_others(other: Inapplicable, document: Document) -> list[Problem]:
    problems = [problem for id_ in other.ids for problem in _wrong_id(id_, document)]
    if not other.ids:
        problems.append(Problem(f"{document.name}.toml", "a [[not_applicable]] names no ids"))
    if not other.reason.strip():
        place = other.ids[0] if other.ids else f"{document.name}.toml"
        problems.append(Problem(place, "is not applicable without a reason"))
    return problems


def _wrong_id(id_: str, document: Document) -> list[Problem]:
    found = ID.fullmatch(id_)
    if found is None:
        return [Problem(id_, "is no id: rfcNNNN/SECTION/ORDINAL")]
    if int(found["rfc"]) != document.rfc:
        return [Problem(id_, f"stands in {document.name}.toml")]
    return []


def _is_sentence(text: str) -> bool:
    """Begins somewhere, ends with a full stop, stays on one line and has no second sentence."""
    return (
        bool(text[:1].strip()) and re.fullmatch(r"(?:[^.\n]|\.(?! [A-Z]|$))+\.", text) is not None
    )


def _twice(documents: Iterable[Document]) -> list[Problem]:
    required: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for document in documents:
        required.update(requirement.id for requirement in document.requirements)
        others.update(id_ for other in document.not_applicable for id_ in other.ids)
    problems = [Problem(id_, "is a requirement twice") for id_, n in required.items() if n > 1]
    problems += [Problem(id_, "is not applicable twice") for id_, n in others.items() if n > 1]
    both = required.keys() & others.keys()
    return problems + [Problem(id_, "is a requirement and not applicable") for id_ in sorted(both)]


# Structuring. cattrs would make text of a number; here a value is what it says or is refused.


def _text(value: object, _: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError("is not text")


def _texts(value: object, _: object) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return tuple(value)
    raise ValueError("is not a list of texts")


def _member(value: object, enum: type[Enum]) -> Enum:
    for member in enum:
        if member.value == value:
            return member
    raise ValueError(f"is not one of {', '.join(str(member.value) for member in enum)}")


def _said(error: BaseException, type_: type | None) -> str:
    return str(error) if type(error) is ValueError else format_exception(error, type_)


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=True, forbid_extra_keys=True)
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook_func(lambda t: t == tuple[str, ...], _texts)
    converter.register_structure_hook_func(
        lambda t: isinstance(t, type) and issubclass(t, Enum), _member
    )
    return converter


_CONVERTER = _converter()
