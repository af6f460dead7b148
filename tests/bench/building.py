"""Compiles the peers and the generator, once per change of their sources.

What is built lies in ``build/bench`` of the checkout, which git ignores. A compiler that is missing
is a reason to leave rows out, not to fail.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent / "peers"
BUILT = Path(__file__).parent.parent.parent / "build" / "bench"


class Unavailable(Exception):
    """A program cannot be built or run here; the message says why."""


def c_program(name: str, *, shared: bool = False) -> Path:
    """Path of the program, or shared library, built from ``peers/NAME.c``. Raises Unavailable."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise Unavailable("gcc is not installed")
    source = SOURCES / f"{name}.c"
    command = [compiler, "-O2", "-Wall", "-Wextra", "-o", "{}", str(source), "-lm"]
    if shared:
        command[1:1] = ["-shared", "-fPIC"]
        name += ".so"
    return _built(name, [source, SOURCES / "common.h"], command, {})


def go_program(name: str) -> Path:
    """Path of the program built from the folder ``peers/NAME``. Raises Unavailable."""
    compiler = shutil.which("go")
    if compiler is None:
        raise Unavailable("go is not installed")
    folder = SOURCES / name
    sources = [folder / "main.go", folder / "go.mod"]
    with tempfile.TemporaryDirectory() as cache:
        environment = {"GOCACHE": cache, "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}
        return _built(name, sources, [compiler, "build", "-o", "{}", "."], environment)


def _built(name: str, sources: list[Path], command: list[str], environment: dict[str, str]) -> Path:
    target = BUILT / name
    newest = max(source.stat().st_mtime for source in sources)
    if target.exists() and target.stat().st_mtime > newest:
        return target
    BUILT.mkdir(parents=True, exist_ok=True)
    fresh = BUILT / f"{name}.{os.getpid()}"
    done = subprocess.run(
        [str(fresh) if word == "{}" else word for word in command],
        cwd=sources[0].parent,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise Unavailable(f"{name} does not compile: {done.stderr.strip()}")
    fresh.replace(target)
    return target
