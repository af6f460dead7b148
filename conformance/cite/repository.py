"""The repository as text: what there is to scan, and how one knows that it is one.

Nothing else in this room opens a Python file, so that all else can be tried on texts made up for
it.
"""

from pathlib import Path

PACKAGES = ("stunroute", "transceiver", "conformance")
SCANNED = (*PACKAGES, "tests")
INVENTED = "tests/conformance/cite/"
"""The tests of this room name ids that they make up."""


def is_repository(root: Path) -> bool:
    """Whether ``root`` is a checkout of this project: an installed package has no tests."""
    here = ("pyproject.toml", "tests", "conformance/requirements", "stunroute")
    return all((root / name).exists() for name in here)


def python_files(root: Path) -> dict[str, str]:
    """The text of all Python files of a checkout by path. Raises OSError and UnicodeDecodeError."""
    return {
        path.relative_to(root).as_posix(): path.read_text("utf-8")
        for package in SCANNED
        for path in sorted((root / package).rglob("*.py"))
    }
