"""One target in a process of its own, under atheris.

``python -m conformance.fuzz.child TARGET FINDINGS [libFuzzer's arguments...]``

An exception does not end the process: the input is written down, once for each place that it can
come from, and the run goes on, so a target with a known finding is still fuzzed. What takes the
process with it (a crash in a library, a hang, memory without bound) libFuzzer reports by itself,
under the prefix that it was given.

Only what is tested is instrumented. The target's own code is not, nor is the honest peer of a core:
coverage of an oracle would draw the fuzzer towards inputs that please the oracle.

A module is instrumented as it is imported, so one that is there before is not, and what runs in it
is fuzzed blind: inputs come, and none is kept for where it led. It looks like a very fast target.
Therefore a child whose own imports have brought in something to be tested does not begin
(``too_early``), and one without a single edge has failed (``runner``).
"""

import hashlib
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

from attrs import define, field

from . import catalogue, discover
from .mutate import Dice, mutated_operations
from .target import Run, Target

PACKAGES = ("stunroute", "transceiver", "conformance")
TESTED = (
    *("stunroute", "transceiver", "conformance.story", "conformance.capture"),
    *("conformance.sidecar", "conformance.tables", "conformance.client", "conformance.peers"),
)
"""What is instrumented, with all that is within it."""
PEERS = ("conformance.client",)
"""What stands on the other side of a core, and is not what a core's target tests."""
NEEDED = frozenset({"stunroute", "stunroute.errors"})
"""What a child has imported before it can instrument anything: a package without code, and classes
of errors."""
MOST_FINDINGS = 16
"""Different places of one run that are written down."""
FOUND = "FOUND"
"""What a line about a finding begins with."""


@define(slots=True)
class Keeper:
    """Writes down the first input of each kind of finding."""

    target: str
    folder: Path
    _seen: set[str] = field(init=False, factory=set)

    def keep(self, data: bytes, error: BaseException) -> None:
        where = signature(error)
        if where in self._seen or len(self._seen) >= MOST_FINDINGS:
            return
        self._seen.add(where)
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{self.target}-{hashlib.sha256(where.encode()).hexdigest()[:12]}"
        (self.folder / f"{name}.bin").write_bytes(data)
        text = "".join(traceback.format_exception(error))
        (self.folder / f"{name}.txt").write_text(f"{self.target}\n{where}\n\n{text}")
        print(f"{FOUND} {name}.bin {where}", file=sys.stderr, flush=True)


def signature(error: BaseException) -> str:
    """What tells one finding from another: the exception, and the place in our packages that it
    came from last."""
    place = _last_of_ours(error.__traceback__)
    return f"{type(error).__name__} at {place}"


def _last_of_ours(trace: TracebackType | None) -> str:
    place = "?"
    for frame, line in traceback.walk_tb(trace):
        module = frame.f_globals.get("__name__", "")
        if module.partition(".")[0] in PACKAGES:
            place = f"{module}:{frame.f_code.co_qualname}:{line}"
    return place


def guarded(run: Run, keeper: Keeper) -> Callable[[bytes], None]:
    """``run``, with what escapes it written down."""

    def one(data: bytes) -> None:
        try:
            run(data)
        except Exception as error:
            keeper.keep(data, error)

    return one


def within(module: str, rooms: Iterable[str]) -> bool:
    """Whether ``module`` is one of ``rooms`` or in one."""
    return any(f"{module}.".startswith(f"{room}.") for room in rooms)


def is_instrumented(target: Target, module: str) -> bool:
    """Whether ``module`` is watched while this target runs."""
    return within(module, TESTED) and not (target.is_core and within(module, PEERS))


def left_alone(target: Target) -> list[str]:
    """The modules of our packages that are not instrumented for this target. They are named one by
    one, for atheris takes in the whole of any package of which it is to instrument a part."""
    return [name for name in discover.modules() if not is_instrumented(target, name)]


def too_early(target: Target, modules: Iterable[str]) -> list[str]:
    """Those of ``modules`` that should have been instrumented and have been imported already."""
    return sorted(name for name in modules if is_instrumented(target, name) and name not in NEEDED)


def mutator(target: Target) -> Callable[[bytes, int, int], bytes]:
    """libFuzzer's mutations, within a row of operations or now and then across it."""
    import atheris

    def change(data: bytes, longest: int) -> bytes:
        return bytes(atheris.Mutate(data, longest)) if longest else b""

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        dice = Dice(seed)
        if dice.below(8) == 0:
            return change(data, longest)
        return mutated_operations(data, dice, longest, change)

    return mutate


def instrumented(target: Target) -> Run:
    """The target, what it tests imported and instrumented. Raises SystemExit where that is too
    late."""
    import atheris

    blind = too_early(target, list(sys.modules))
    if blind:
        raise SystemExit(f"imported before it could be instrumented: {', '.join(blind)}")
    with atheris.instrument_imports(
        include=PACKAGES, exclude=left_alone(target), enable_loader_override=False
    ):
        return target.make()


def fuzz(target: Target, run: Run, folder: Path, arguments: list[str]) -> None:
    """Hand over to libFuzzer, which ends the process. Findings go to ``folder``."""
    import atheris

    options = {"custom_mutator": mutator(target)} if target.operations else {}
    one = guarded(run, Keeper(target.name, folder))
    atheris.Setup([f"fuzz-{target.name}", *arguments], one, **options)
    atheris.Fuzz()


def main(arguments: list[str]) -> None:
    name, folder, *rest = arguments
    target = catalogue.targets()[name]
    fuzz(target, instrumented(target), Path(folder), rest)


if __name__ == "__main__":
    main(sys.argv[1:])
