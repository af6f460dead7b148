"""Other programs that some tests need.

On a developer's machine a test whose program is missing skips and says why. Where ``CI=true`` it
fails: a green run there must mean that the browsers were really met.
"""

import os
import shutil
from typing import NoReturn

import pytest


def unavailable(reason: str) -> NoReturn:
    """Skip the calling test; fail it under ``CI=true``."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def require_tool(*names: str) -> str:
    """The path of the first of ``names`` that is installed. Call it inside a test or a fixture."""
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    unavailable(f"{' or '.join(names)} is not installed")


def require_root() -> None:
    """Network namespaces are made by root only."""
    if os.geteuid() != 0:
        unavailable("making a network namespace needs root")
