"""One target in a process of its own, under atheris.

``python -m conformance.fuzz.child TARGET FINDINGS [libFuzzer's arguments...]``

An exception does not end the process: the input is written down, once for each place that it can
come from, and the run goes on, so a target with a known finding is still fuzzed. What takes the
process with it (a crash in a library, a hang, memory without bound) libFuzzer reports by itself,
under the prefix that it was given.

Only what is tested is instrumented. The target's own code is not: coverage of an oracle would draw
the fuzzer towards inputs that please the oracle.
"""

import hashlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from attrs import define, field

from . import catalogue
from .mutate import Dice, mutated_operations
from .target import Run, Target

INSTRUMENTED = [
    *("stunroute", "transceiver", "conformance.story", "conformance.capture"),
    *("conformance.sidecar", "conformance.tables", "conformance.client"),
]
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
        if module.partition(".")[0] in ("stunroute", "transceiver", "conformance"):
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


def main(arguments: list[str]) -> None:
    name, folder, *rest = arguments
    import atheris

    target = catalogue.targets()[name]
    with atheris.instrument_imports(include=INSTRUMENTED, enable_loader_override=False):
        run = target.make()
    options = {"custom_mutator": mutator(target)} if target.operations else {}
    one = guarded(run, Keeper(name, Path(folder)))
    atheris.Setup([f"fuzz-{name}", *rest], one, **options)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
