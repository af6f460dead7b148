"""Reading this project's own source: which modules there are and what each imports.

For the tests that hold the code to its architecture. They parse, they never import: a module that
cannot be imported here (for want of an extra, say) is read all the same.
"""

import ast
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("stunroute", "transceiver", "conformance")


@frozen
class Import:
    """``module`` is the whole dotted name. ``lazy`` says that importing the importer does not
    import it: it stands within a function, or is for type checkers only."""

    module: str
    line: int
    lazy: bool


@frozen
class Module:
    """One module of ours: its dotted name, its text, whether it is a package's ``__init__``."""

    name: str
    text: str
    is_package: bool = False

    @property
    def package(self) -> str:
        return self.name if self.is_package else self.name.rpartition(".")[0]


def modules() -> dict[str, Module]:
    """All modules of the three packages by name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            found[name] = Module(name, path.read_text("utf-8"), is_package)
    return found


def imports(module: Module, known: set[str]) -> list[Import]:
    """Every import in ``module``. ``from x import y`` names ``x.y`` where that is a module of
    ``known``, else ``x``."""
    found = []
    for node, lazy in _walk(ast.parse(module.text), False):
        match node:
            case ast.Import():
                names = [alias.name for alias in node.names]
            case ast.ImportFrom():
                base = _base(module, node)
                names = [
                    whole if (whole := f"{base}.{alias.name}") in known else base
                    for alias in node.names
                ]
            case _:
                continue
        found += [Import(name, node.lineno, lazy) for name in dict.fromkeys(names)]
    return found


def _walk(node: ast.AST, lazy: bool) -> Iterator[tuple[ast.AST, bool]]:
    yield node, lazy
    for child in ast.iter_child_nodes(node):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                inside = True
            case ast.If(test=ast.Name("TYPE_CHECKING"), body=body):
                inside = lazy or child in body
            case _:
                inside = lazy
        yield from _walk(child, inside)


def _base(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    above = module.package.split(".")
    above = above[: len(above) - node.level + 1]
    return ".".join(above + ([node.module] if node.module else []))


def tracked(*patterns: str) -> list[Path]:
    """The files under version control, relative to the root. Skips where there is no checkout."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        [git, "-C", str(ROOT), "ls-files", "-z", "--", *patterns], capture_output=True, check=True
    )
    paths = [Path(name) for name in listed.stdout.decode().split("\x00") if name]
    return [path for path in paths if (ROOT / path).is_file()]
