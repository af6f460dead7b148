"""What a case is, and how what it saw becomes a verdict.

A case asks one question about somebody's implementation. It is a ``Rule``, what is right and where
that is written, and how the rule is asked after. Its *steps* play against a stage and say what was
seen, as a member of a closed vocabulary (a ``Seen``); its *oracle* says for each member whether
that is right. Every outcome is named, silence among them: an oracle that forgets one, or names one
twice, cannot be written down, because it is refused when the module is imported. So steps never
judge, and what nobody has thought of cannot pass.

How bad a wrong outcome is, is the requirement's level: breaking a MUST fails, ignoring a SHOULD is
lenient, and what a MAY says is only noted.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, TypeAlias

from attrs import asdict, field, frozen

from .traps import TRAPS


class Level(Enum):
    """RFC 2119's three, each with its contrary."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    MAY = "MAY"


class Profile(Enum):
    """What an implementation does, so that it is asked nothing else."""

    STUN = "stun"
    ICE_LITE = "ice-lite"
    RELAY = "relay"
    DTLS = "dtls"
    SRTP = "srtp"
    DATACHANNEL = "datachannel"
    SDP = "sdp"
    SIGNALING = "signaling"


class Verdict(Enum):
    """``LENIENT``: a SHOULD was not followed, or a MUST in a way that harms nobody. ``NOTED``: a
    MAY was not taken up. ``BLOCKED``: what must come before the question did not work.
    ``UNSUPPORTED``: the question cannot be asked here, and the result says why. ``BROKEN``: the
    harness itself failed."""

    PASS = "pass"  # noqa: S105
    LENIENT = "lenient"
    NOTED = "noted"
    FAIL = "fail"
    BLOCKED = "blocked"
    UNSUPPORTED = "unsupported"
    BROKEN = "broken"


class Seen(Enum):
    """The base of all vocabularies. A member's value is how a report says it."""

    @property
    def is_grave(self) -> bool:
        """Whether this, where it is bad, is so at any level: a server that has died of a question,
        or that has given somebody's packet to somebody else, has broken more than a SHOULD."""
        return False


class Unsupported(Exception):
    """The case cannot be asked here; ``str`` is the reason."""


class Blocked(Exception):
    """What has to work before the question did not; ``str`` says what."""


@frozen(slots=True)
class Oracle:
    """What is right, what is wrong and what is put up with, where several cases share it."""

    good: tuple[Seen, ...]
    bad: tuple[Seen, ...]
    lenient: tuple[Seen, ...] = ()

    def lenient_about(self, *wrong: Seen) -> "Oracle":
        """The same, but that some of what is wrong is put up with."""
        bad = tuple(each for each in self.bad if each not in wrong)
        return Oracle(self.good, bad, (*self.lenient, *wrong))


Observed: TypeAlias = Seen | tuple[Seen, str]
"""What steps return: what was seen, and if need be the particulars in a few words."""
Steps: TypeAlias = Callable[[Any], Observed]


@frozen(slots=True)
class Rule:
    """What a case asserts, however it is asked. ``name`` is permanent. ``requirement`` says in one
    sentence what is right. ``requirements`` are ids of ``conformance/requirements``, ``traps`` keys
    of ``conformance.traps.TRAPS``. Raises ValueError unless the name has three parts, and the traps
    are known."""

    name: str
    requirement: str
    level: Level = field(default=Level.MUST, kw_only=True)
    requirements: tuple[str, ...] = field(default=(), kw_only=True)
    traps: tuple[str, ...] = field(default=(), kw_only=True)

    def __attrs_post_init__(self) -> None:
        name, traps = self.name, self.traps
        if len(name.split("/")) < 3 or name != name.lower() or " " in name:
            raise ValueError(f"{name!r} is not SOURCE/SECTION/WHAT")
        if len(set(traps)) != len(traps) or not TRAPS.keys() >= set(traps):
            raise ValueError(f"{name}: {traps} are no traps, or one is named twice")

    @property
    def source(self) -> str:
        """Where it is written: ``RFC 8489, section 6.3.1``, or the part of the project that the
        name begins with."""
        head, *rest = self.name.split("/")
        if head.startswith("rfc"):
            return f"RFC {head[3:]}, section {rest[0]}"
        return "/".join([head, *rest[:-1]])

    @property
    def link(self) -> str | None:
        """The section at the RFC editor's; None where no RFC says it."""
        head, *rest = self.name.split("/")
        if not head.startswith("rfc"):
            return None
        return f"https://www.rfc-editor.org/rfc/{head}.html#section-{rest[0]}"

    def asked(
        self,
        *,
        sends: str,
        profiles: tuple[Profile, ...],
        good: tuple[Seen, ...],
        bad: tuple[Seen, ...],
        lenient: tuple[Seen, ...] = (),
        without: Mapping[str, str] | None = None,
        lasts: float = 0.0,
    ) -> Callable[[Steps], "Case"]:
        """Make a case of the steps that follow; ``Case`` says what the arguments are. Raises
        ValueError unless ``good``, ``bad`` and ``lenient`` together name every member of one
        vocabulary once, and there is something good and something bad."""
        named = [*good, *bad, *lenient]
        vocabulary = type(named[0])
        if not good or not bad:
            raise ValueError(f"{self.name}: something has to be right, and something wrong")
        if len(set(named)) != len(named) or set(named) != set(vocabulary):
            missing = [str(seen) for seen in vocabulary if seen not in named]
            raise ValueError(f"{self.name}: the oracle is no partition; missing {missing}")

        def make(steps: Steps) -> Case:
            return Case(
                **asdict(self, recurse=False),
                sends=sends,
                profiles=profiles,
                good=good,
                bad=bad,
                lenient=lenient,
                steps=steps,
                without=dict(without or {}),
                lasts=lasts,
            )

        return make


@frozen(slots=True, kw_only=True)
class Case(Rule):
    """A rule, and how it is asked after. ``sends`` says what is sent, and goes on from "it sends".
    ``good``, ``bad`` and ``lenient`` are the oracle. ``without`` names the drivers that cannot ask
    it, each with the reason. ``lasts`` is how many seconds the steps take when all is well, beyond
    round trips."""

    sends: str
    profiles: tuple[Profile, ...]
    good: tuple[Seen, ...]
    bad: tuple[Seen, ...]
    lenient: tuple[Seen, ...]
    steps: Steps = field(repr=False, eq=False)
    without: Mapping[str, str] = field(factory=dict, repr=False)
    lasts: float = 0.0

    def judge(self, seen: Seen) -> Verdict:
        """What it is worth that this was seen, by the oracle and the rule's level. Raises KeyError
        for what is in none of the three: the steps' vocabulary is another one than the oracle's."""
        if seen in self.good:
            return Verdict.PASS
        if seen in self.lenient:
            return Verdict.LENIENT
        if seen not in self.bad:
            raise KeyError(f"{self.name} saw {seen}, which its oracle does not know")
        match self.level:
            case _ if seen.is_grave:
                return Verdict.FAIL
            case Level.MUST:
                return Verdict.FAIL
            case Level.SHOULD:
                return Verdict.LENIENT
            case Level.MAY:
                return Verdict.NOTED


def case(
    name: str,
    requirement: str,
    *,
    sends: str,
    profiles: tuple[Profile, ...],
    good: tuple[Seen, ...],
    bad: tuple[Seen, ...],
    lenient: tuple[Seen, ...] = (),
    level: Level = Level.MUST,
    requirements: tuple[str, ...] = (),
    traps: tuple[str, ...] = (),
    without: Mapping[str, str] | None = None,
    lasts: float = 0.0,
) -> Callable[[Steps], Case]:
    """``Rule`` and ``asked`` in one, for a case that stands alone. Raises what they raise."""
    rule = Rule(name, requirement, level=level, requirements=requirements, traps=traps)
    return rule.asked(
        sends=sends,
        profiles=profiles,
        good=good,
        bad=bad,
        lenient=lenient,
        without=without,
        lasts=lasts,
    )
