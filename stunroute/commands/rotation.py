"""A change of hint keys, planned and written down. Sans-IO: texts and times in, texts out.

Relays must read under new keys before any transceiver mints under them, and must read under the old
ones until the last call that was minted under them has ended. So a rotation has three dates::

    now            the next configuration may be read          (read_from)
    mint_from      transceivers mint under it                  = now + lead
    read_until     the former ones are read no more            = mint_from + session cap + drain

All of them stand in the settings, the same for relays and transceivers, and nobody has to do
anything on the day; what has to be done by hand is to give both the file before ``mint_from``.

A settings file is its owner's work, with comments that no writer of TOML would keep. So the text is
edited where it must be, line by line, and then read again: if it does not say exactly what was
planned, it is not used.
"""

import re
import tomllib
from collections.abc import Sequence
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import field, frozen

from stunroute.config import load
from stunroute.errors import ConfigError
from stunroute.hint import HintConfiguration
from stunroute.instant import Entropy
from stunroute.settings import Configuration, Hints

IDENTIFIERS = "0123456789abcdefghijklmnopqrstuvwxy"

_HEADER = re.compile(r"\s*\[\[?([^\[\]]+)\]\]?\s*(#.*)?")
_OURS = re.compile(r"\s*\[\[\s*hint\s*\.\s*configurations\s*\]\]\s*(#.*)?")
_READ_UNTIL = re.compile(r"\s*read_until\s*=")
_KEY = re.compile(r"\s*[^#\s]")


@frozen(slots=True)
class _File:
    """Of a file of settings, a relay's or a transceiver's, the part that both have."""

    hint: Hints


@frozen(slots=True)
class Rotation:
    """``former`` are the configurations that the new one follows, with the new ends of those that
    get one; ``removed`` those that nobody can need any more."""

    now: datetime
    fresh: Configuration
    former: tuple[Configuration, ...]
    ends: dict[str, datetime] = field(factory=dict)
    removed: tuple[str, ...] = ()
    gap: tuple[datetime, datetime] | None = None
    """From when to when nothing could be minted: the last of the former configurations ends before
    the fresh one begins."""


def configurations_of(text: str) -> tuple[Configuration, ...]:
    """Those that a file of settings lists. Raises ConfigError."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        raise ConfigError("settings", "are not TOML") from None
    options = {"hint": document["hint"]} if "hint" in document else {}
    found = load(_File, path=None, environ={}, prefix="", options=options)
    found.hint.keyring(wall=0.0, now=0.0)  # refuses an id that is there twice
    return found.hint.configurations


def plan(
    known: Sequence[Configuration],
    *,
    now: datetime,
    lead: timedelta,
    keep: timedelta,
    entropy: Entropy,
    identifier: str | None = None,
    prune: bool = False,
) -> Rotation:
    """The next configuration after ``known``: read from ``now``, minted under ``lead`` later, and
    the others read for ``keep`` more, which is as long as a call may last and a drain after it.
    ``prune`` lets go of those that are read no more. Raises ConfigError where there is no id to be
    had, or a rotation is still under way."""
    now = now.astimezone(UTC).replace(microsecond=0)
    ended = [
        entry.id for entry in known if entry.read_until is not None and entry.read_until <= now
    ]
    removed = tuple(ended) if prune else ()
    former = tuple(entry for entry in known if entry.id not in removed)
    for entry in former:
        begins = _begins(entry)
        if begins is not None and begins > now:
            raise ConfigError(
                "hint.configurations",
                f"{entry.id!r} is not minted under before {iso(begins)}; let that rotation end",
            )
    mint_from = now + lead
    made = HintConfiguration.generate(_next(known, former, identifier), entropy)
    fresh = Configuration(made.identifier, made.routing_key, made.password_key, now, mint_from)
    end = mint_from + keep
    ends = {
        entry.id: end
        for entry in former
        # An end that was set before is kept: an earlier one was the end of an earlier rotation.
        if entry.read_until is None or entry.read_until > end
    }
    return Rotation(now, fresh, former, ends, removed, _gap(former, ends, now, mint_from))


def _begins(entry: Configuration) -> datetime | None:
    """When minting under ``entry`` begins; None if it always could."""
    moments = [moment for moment in (entry.read_from, entry.mint_from) if moment is not None]
    return max(moments) if moments else None


def _gap(
    former: Sequence[Configuration], ends: dict[str, datetime], now: datetime, mint_from: datetime
) -> tuple[datetime, datetime] | None:
    last = max(
        (ends.get(entry.id) or entry.read_until or mint_from for entry in former), default=now
    )
    return (max(last, now), mint_from) if last < mint_from else None


def _next(
    known: Sequence[Configuration], former: Sequence[Configuration], wanted: str | None
) -> str:
    """An id that no configuration has: ``wanted``, or the next one in turn, so that one that was
    let go of comes back as late as may be."""
    taken = {entry.id for entry in former}
    if wanted is not None:
        if len(wanted) != 1 or wanted not in IDENTIFIERS:
            raise ConfigError("id", "is not one character of 0-9 or a-y")
        if wanted in taken:
            raise ConfigError("id", f"{wanted!r} is in use; calls minted under it may still live")
        return wanted
    start = IDENTIFIERS.index(known[-1].id) + 1 if known else 0
    for identifier in IDENTIFIERS[start:] + IDENTIFIERS[:start]:
        if identifier not in taken:
            return identifier
    raise ConfigError("id", "is not to be had: all 35 are in use; --prune lets go of ended ones")


# --- in words -------------------------------------------------------------------------------------


def iso(moment: datetime) -> str:
    """As TOML writes it, in UTC."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def table(configuration: Configuration) -> str:
    """As it stands in a file of settings."""
    lines = [
        "[[hint.configurations]]",
        f'id = "{configuration.id}"',
        f'routing_key = "{configuration.routing_key.hex()}"',
    ]
    if configuration.password_key is not None:
        lines.append(f'password_key = "{configuration.password_key.hex()}"')
    for name in ("read_from", "mint_from", "read_until"):
        moment = getattr(configuration, name)
        if moment is not None:
            lines.append(f"{name} = {iso(moment)}")
    return "\n".join(lines) + "\n"


def instructions(rotation: Rotation) -> list[str]:
    """What there is to do, and by when. Holds no keys."""
    fresh = rotation.fresh
    assert fresh.mint_from is not None
    steps = [
        f"Give configuration {fresh.id} to every relay now (SIGHUP reloads it): all must have it"
        f" before {iso(fresh.mint_from)}, when minting under it begins.",
        "Give it to every transceiver likewise; before that time it mints nothing under it, and one"
        " that never gets it goes on minting under the former one.",
    ]
    for end in sorted(set(rotation.ends.values())):
        names = ", ".join(sorted(name for name, at in rotation.ends.items() if at == end))
        steps.append(
            f"Configuration {names} is read until {iso(end)}: set read_until so at relays and"
            " transceivers. By then every call minted under it has ended."
        )
    if rotation.removed:
        names = ", ".join(rotation.removed)
        steps.append(f"Configuration {names} has ended: take it out of every file.")
    if rotation.gap is not None:
        begin, until = map(iso, rotation.gap)
        steps.append(
            f"Nothing can be minted from {begin} to {until}: new calls fail then. A shorter --lead"
            " or a later read_until of the former configuration closes the gap."
        )
    return steps


# --- in the file ----------------------------------------------------------------------------------


def edited(text: str, rotation: Rotation) -> str:
    """The file of settings after ``rotation``, its comments kept. Raises ConfigError where its form
    does not allow that; then it has to be edited by hand."""
    wanted = _expected(text, rotation)
    known = [entry.id for entry in configurations_of(text)]
    lines = text.splitlines(keepends=True)
    blocks = _blocks(lines)
    if len(blocks) == len(known):
        # From the end, so that the numbers of lines before stay what they are.
        for identifier, (first, last) in reversed(list(zip(known, blocks, strict=True))):
            if identifier in rotation.removed:
                del lines[first : last + 1]
            elif identifier in rotation.ends:
                _end(lines, first, last, rotation.ends[identifier])
    made = "".join(lines)
    if made and not made.endswith("\n"):
        made += "\n"
    made += "\n" + table(rotation.fresh)
    try:
        done = tomllib.loads(made) == wanted
    except tomllib.TOMLDecodeError:
        done = False
    if not done:
        raise ConfigError("settings", "are written in a form that cannot be edited; do it by hand")
    return made


def _expected(text: str, rotation: Rotation) -> dict[str, Any]:
    """What the edited file must say."""
    document = deepcopy(tomllib.loads(text))
    tables = document["hint"]["configurations"]
    tables[:] = [entry for entry in tables if entry["id"] not in rotation.removed]
    for entry in tables:
        if entry["id"] in rotation.ends:
            entry["read_until"] = rotation.ends[entry["id"]]
    fresh = tomllib.loads(table(rotation.fresh))["hint"]["configurations"]
    tables += fresh
    return document


def _blocks(lines: Sequence[str]) -> list[tuple[int, int]]:
    """First and last line of each table of a configuration: from its header to its last key, so
    that a comment above the next table stays with that."""
    blocks = []
    for first, line in enumerate(lines):
        if not _OURS.fullmatch(line.rstrip("\r\n")):
            continue
        last = first
        for number in range(first + 1, len(lines)):
            if _HEADER.fullmatch(lines[number].rstrip("\r\n")):
                break
            if _KEY.match(lines[number]):
                last = number
        blocks.append((first, last))
    return blocks


def _end(lines: list[str], first: int, last: int, end: datetime) -> None:
    """Give the table between these lines a ``read_until``, in place of the one it may have."""
    line = f"read_until = {iso(end)}\n"
    for number in range(first + 1, last + 1):
        if _READ_UNTIL.match(lines[number]):
            lines[number] = line
            return
    if not lines[last].endswith("\n"):
        lines[last] += "\n"
    lines.insert(last + 1, line)
