"""What a target is, and how a table says so.

A table does not import what its targets call: ``make`` does, when a process is about to run that
target alone. So a child is up in a moment and instruments no module that its target does not use.
"""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from attrs import define, field, frozen

from stunroute.errors import DecodeError

T = TypeVar("T")
Run: TypeAlias = Callable[[bytes], object]
"""Takes one input. Returns whatever it likes; raises only for a finding."""
Make: TypeAlias = Callable[[], Run]


class Violation(AssertionError):
    """Nothing was raised, and what came out is wrong all the same. The text says which promise is
    broken."""


@frozen(slots=True)
class Target:
    """``name`` is the function's dotted name, or ``core.`` and the name of a core. ``seeds`` is the
    kind of input that it reads (``seeds.KINDS``), ``length`` the longest input in bytes that makes
    sense, ``weight`` its share of a campaign's time. An input of ``operations`` is a setting and a
    row of them (the module of that name), and mutated as such."""

    name: str
    make: Make = field(repr=False)
    seeds: str = "datagram"
    length: int = 1500
    weight: float = 1.0
    operations: bool = False

    @property
    def is_core(self) -> bool:
        return self.name.startswith("core.")


@frozen(slots=True)
class Covered:
    """``name`` is not a target of its own: ``by`` calls it with every input, or ``reason`` says
    why that is as good. ``traced``: a test watches it being called."""

    name: str
    by: str
    reason: str
    traced: bool = True


@define(slots=True)
class Table:
    """What one module knows of targets."""

    targets: dict[str, Target] = field(factory=dict)
    covered: dict[str, Covered] = field(factory=dict)

    def target(
        self,
        name: str,
        *,
        seeds: str = "datagram",
        length: int = 1500,
        weight: float = 1.0,
        operations: bool = False,
    ) -> Callable[[Make], Make]:
        """Enter the decorated function as the maker of the target ``name``."""

        def enter(make: Make) -> Make:
            self.targets[name] = Target(name, make, seeds, length, weight, operations)
            return make

        return enter

    def cover(self, name: str, by: str, reason: str, *, traced: bool = True) -> None:
        self.covered[name] = Covered(name, by, reason, traced)


def only(function: Run, *errors: type[Exception]) -> Run:
    """``function``, which may raise ``errors`` and nothing else; ``DecodeError`` where none are
    given."""
    expected = errors or (DecodeError,)

    def run(data: bytes) -> None:
        try:
            function(data)
        except expected:
            return

    return run


def again(decode: Callable[..., T], *arguments: Any) -> T:
    """What ``decode`` says of bytes that we have encoded. It may not refuse them, so an error that
    is documented for a stranger's bytes is a violation here."""
    try:
        return decode(*arguments)
    except Exception as error:
        raise Violation(f"what was encoded can be decoded, but {error!r}") from error


def text_of(data: bytes) -> str:
    """Bytes as text that a decoder of UTF-8 could have handed over."""
    return data.decode("utf-8", "replace")


def insist(condition: bool, promise: str) -> None:
    """Raise ``Violation`` unless ``condition``."""
    if not condition:
        raise Violation(promise)
