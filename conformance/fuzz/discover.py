"""Finds every function that reads what strangers sent, by its name.

The sources are read, not imported: a parser in a module that nobody imports would be missing
otherwise, and so would one whose module needs an extra that is not installed.
"""

import ast
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from inspect import isgenerator
from pathlib import Path
from typing import Any

from attrs import frozen

from .target import Run, text_of

PACKAGES = ("stunroute", "transceiver", "conformance")
SUFFIX = "_untrusted"
BROKEN = ("conformance.mutants",)
"""Rooms that are not looked at: what is broken there is broken on purpose."""


@frozen(slots=True)
class Found:
    """One definition. ``takes`` is the annotation of what it reads where that is all it needs
    (``bytes``, ``str`` or ``str | bytes``), else None."""

    module: str
    qualified: str
    takes: str | None

    @property
    def name(self) -> str:
        return f"{self.module}.{self.qualified}"


_GENERIC = ("bytes", "str", "str | bytes")


@cache
def functions() -> tuple[Found, ...]:
    """All definitions in our packages, in the order of their names."""
    found: list[Found] = []
    for module, path in modules().items():
        if not any(f"{module}.".startswith(f"{room}.") for room in BROKEN):
            found += _in_module(path, module)
    return tuple(sorted(found, key=lambda one: one.name))


@cache
def modules() -> dict[str, Path]:
    """All modules of our packages by name, and where their sources are."""
    found: dict[str, Path] = {}
    for package in PACKAGES:
        spec = find_spec(package)
        assert spec is not None, package
        for place in spec.submodule_search_locations or ():
            root = Path(place)
            for path in sorted(root.rglob("*.py")):
                found[_module_name(package, path.relative_to(root))] = path
    return found


def _module_name(package: str, path: Path) -> str:
    parts = [package, *path.with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _in_module(path: Path, module: str) -> Iterator[Found]:
    text = path.read_text(encoding="utf-8")
    if f"{SUFFIX}(" in text:
        yield from _within(ast.parse(text), module, ())


def _within(node: ast.AST, module: str, outer: tuple[str, ...]) -> Iterator[Found]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.ClassDef(name=name):
                yield from _within(child, module, (*outer, name))
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                if name.endswith(SUFFIX):
                    takes = None if outer else _takes(child.args)
                    yield Found(module, ".".join((*outer, name)), takes)
                yield from _within(child, module, (*outer, name))
            case _:
                yield from _within(child, module, outer)


def _takes(arguments: ast.arguments) -> str | None:
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    keywords = any(default is None for default in arguments.kw_defaults)
    if required != 1 or keywords or positional[0].annotation is None:
        return None
    annotation = ast.unparse(positional[0].annotation)
    return annotation if annotation in _GENERIC else None


def resolve(name: str) -> Any:
    """The function of that dotted name. Raises LookupError."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            thing: Any = import_module(".".join(parts[:cut]))
        except ModuleNotFoundError as error:
            if error.name != ".".join(parts[:cut]):
                raise  # the module is there, what it needs is not
            continue
        for part in parts[cut:]:
            thing = getattr(thing, part)
        return thing
    raise LookupError(name)


def generic(found: Found) -> Run:
    """Calls the function with the whole input, as the type that it takes."""
    function = resolve(found.name)
    match found.takes:
        case "str":
            return lambda data: _drained(function(text_of(data)))
        case "str | bytes":
            return lambda data: function(data[1:] if data[:1] > b"\x7f" else text_of(data[1:]))
        case _:
            return lambda data: _drained(function(data))


def _drained(result: object) -> object:
    return list(result) if isgenerator(result) else result
