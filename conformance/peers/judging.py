"""Judgements by hand: whose fault a failure is, and a sentence why.

A failed case says that a peer and the suite are at odds, not which of them is wrong. Somebody has
to look, and what he finds is worth more than the failure; so it is data of its own, that outlives
any run. ``judged/README.md`` documents the files.
"""

import tomllib
from collections.abc import Iterable
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path

import cattrs
from attrs import frozen

from .errors import PeerError

FOLDER = Path(__file__).resolve().parent / "judged"


class Fault(Enum):
    """Who is to blame."""

    PEER = "peer"
    """The implementation breaks what the RFC asks for."""
    FRONT = "front"
    """Our front before it, or how it is started here, does."""
    TASTE = "taste"
    """The RFC leaves room for it, or there is a reason that one can respect."""
    SUITE = "suite"
    """The case cannot be asked of it fairly."""


@frozen(slots=True)
class Judgement:
    """An entry: globs of case names, globs of peers, whose fault, and a sentence."""

    cases: tuple[str, ...]
    peers: tuple[str, ...]
    fault: Fault
    note: str
    read: str = ""
    """Where in its source this was seen. Empty: it rests on what crossed, and on the RFC."""

    def fits(self, peer: str, case: str) -> bool:
        """Whether it says something about this case's failure at this peer."""
        return any(fnmatchcase(peer, glob) for glob in self.peers) and any(
            fnmatchcase(case, glob) for glob in self.cases
        )


@frozen(slots=True)
class _File:
    judgement: tuple[Judgement, ...] = ()


def parse(text: str) -> tuple[Judgement, ...]:
    """The entries of one file. Raises PeerError."""
    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_structure_hook_func(
        lambda kind: kind == tuple[str, ...], lambda value, _: _texts(value)
    )
    try:
        read = converter.structure(tomllib.loads(text), _File).judgement
    except tomllib.TOMLDecodeError as error:
        raise PeerError(f"not TOML: {error}") from error
    except (cattrs.BaseValidationError, ValueError, TypeError) as error:
        raise PeerError(f"no judgements: {'; '.join(cattrs.transform_error(error))}") from error
    for entry in read:
        if not entry.note.strip() or not entry.cases or not entry.peers:
            raise PeerError(f"the judgement on {list(entry.cases)} needs cases, peers and a note")
    return read


def _texts(value: object) -> tuple[str, ...]:
    # A lone string would be taken for a list of its letters.
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise TypeError("not a list of texts")
    return tuple(value)


def load(folder: Path = FOLDER) -> tuple[Judgement, ...]:
    """All entries, files in the order of their names. Raises PeerError, which names the file."""
    found: list[Judgement] = []
    for path in sorted(folder.glob("*.toml")):
        try:
            found += parse(path.read_text(encoding="utf-8"))
        except PeerError as error:
            raise PeerError(f"{path.name}: {error}") from error
    return tuple(found)


def judge(judgements: Iterable[Judgement], peer: str, case: str) -> Judgement | None:
    """The first that fits; None where nobody has looked yet."""
    return next((each for each in judgements if each.fits(peer, case)), None)
