"""Runs every benchmark of this folder, one after the other:  python tests/bench [NAME ...]

Each is a program of its own that prints figures beside a peer measured in the same run. Options go
to the benchmarks named before them:  python tests/bench forwarding --plot forwarding.svg
"""

import subprocess
import sys
from pathlib import Path

import machine

HERE = Path(machine.__file__).parent


def main() -> int:
    words = sys.argv[1:]
    first = next((n for n, word in enumerate(words) if word.startswith("-")), len(words))
    wanted, options = words[:first], words[first:]
    programs = sorted(HERE.glob("bench_*.py"))
    if wanted:
        programs = [p for p in programs if p.stem.removeprefix("bench_") in wanted]
    for program in programs:
        print(f"== {program.stem.removeprefix('bench_')}", flush=True)
        if code := subprocess.call([sys.executable, str(program), *options]):
            return code
        print(flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
