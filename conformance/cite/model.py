"""Requirements as they are written down, and the ids they are called by.

An id is ``rfcNNNN/SECTION/ORDINAL``. It is built like the name of a case on purpose, so that both
sort together; what tells them apart is the ordinal, which is a number and nothing else.
"""

import re
from enum import Enum
from typing import Any

from attrs import frozen

ID = re.compile(r"rfc(?P<rfc>[0-9]{4,5})/(?P<section>[0-9A-Z]+(?:\.[0-9]+)*)/(?P<ordinal>[0-9]+)")
"""A whole id. Sections are numbers with full stops, or begin with the letter of an appendix."""


class Role(Enum):
    """Whom a requirement binds: a ``RELAY`` only reads and forwards datagrams, a ``SERVER`` is an
    ICE-lite endpoint with DTLS-SRTP and data channels."""

    RELAY = "relay"
    SERVER = "server"


class Level(Enum):
    """How much a requirement asks. The absolute ones are counted; the others may be written down
    so that a case can name what it judges."""

    MUST = "MUST"
    MUST_NOT = "MUST NOT"
    SHOULD = "SHOULD"
    SHOULD_NOT = "SHOULD NOT"
    MAY = "MAY"

    @property
    def absolute(self) -> bool:
        return self in (Level.MUST, Level.MUST_NOT)


@frozen(slots=True)
class Requirement:
    """One thing that is asked of a role. ``text`` is one sentence of ours, ``tests`` are unit tests
    that fail when it is broken (``tests/FILE.py::name``), ``excluded`` is the reason why nobody
    here answers it. With neither it is for the cases to answer, or open. ``deviates`` says why our
    own server does not keep it though it is asked about; it counts as answered all the same,
    because the question is whether anybody would notice."""

    id: str
    level: Level
    applies: tuple[Role, ...]
    text: str
    tests: tuple[str, ...] = ()
    excluded: str = ""
    deviates: str = ""

    @property
    def section(self) -> str:
        return self.id.split("/")[1]


@frozen(slots=True)
class Inapplicable:
    """Statements that somebody read and found to bind none of the roles, and why."""

    ids: tuple[str, ...]
    reason: str


@frozen(slots=True)
class Document:
    """One RFC: its number, its title, what it asks of us and what it asks of others."""

    rfc: int
    title: str
    requirements: tuple[Requirement, ...] = ()
    not_applicable: tuple[Inapplicable, ...] = ()

    @property
    def name(self) -> str:
        return f"rfc{self.rfc}"


@frozen(slots=True, order=True)
class Problem:
    """Something that has to be put right. ``place`` is a file with a line, an id or a case."""

    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


@frozen(slots=True)
class Witness:
    """A case or a test that answers a requirement, and for which roles it can speak: what drives
    the transceiver says nothing about the relay. ``fails`` is false of cases that would only note
    or be lenient."""

    name: str
    roles: frozenset[Role] = frozenset(Role)
    fails: bool = True


def is_id(text: str) -> bool:
    return ID.fullmatch(text) is not None


def order(name: str) -> tuple[Any, ...]:
    """A key that sorts ids and names of cases as people read them: 6.3.1/2 before 6.3.1/10 before
    14.1/1, appendices last."""
    return tuple(tuple(map(_rank, part.split("."))) for part in name.split("/"))


def _rank(part: str) -> tuple[bool, int, str]:
    found = re.match(r"[0-9]+", part)
    return found is None, int(found[0]) if found else 0, part
