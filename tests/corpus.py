"""The capture corpus, where there is one.

It is too large and too mixed in its licences to live in this repository, so the tests that read
it take its place from the environment and skip, with the reason, where it is not set.
"""

import os
from pathlib import Path

import pytest

VARIABLE = "STUNROUTE_CORPUS"


def corpus_path(*parts: str) -> Path:
    """The path of one file or directory of the corpus. Skips the calling test when the corpus,
    or that part of it, is not there. Call it inside a test or a fixture, never on import."""
    root = os.environ.get(VARIABLE)
    if not root:
        pytest.skip(f"{VARIABLE} does not name the corpus directory")
    path = Path(root).joinpath(*parts)
    if not path.exists():
        pytest.skip(f"the corpus at {VARIABLE} has no {'/'.join(parts)}")
    return path
