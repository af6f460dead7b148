"""Runs every benchmark of this folder, one after the other:  python tests/bench [NAME ...]

Each is a program of its own that prints figures beside a peer measured in the same run.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    wanted = sys.argv[1:]
    programs = sorted(HERE.glob("bench_*.py"))
    if wanted:
        programs = [p for p in programs if p.stem.removeprefix("bench_") in wanted]
    for program in programs:
        print(f"== {program.stem.removeprefix('bench_')}", flush=True)
        if code := subprocess.call([sys.executable, str(program)]):
            return code
        print(flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
