"""Hypothesis profiles. Neither has deadlines: the machine may be busy, and a slow example is no
defect. ``campaign`` is for the long command (``tox -e campaign``).

Here, too, what no test may leave behind: the workers run tests in whatever order they come to, and
one that silences the log for all that follow makes others fail that have nothing to do with it.
"""

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "stunroute", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("campaign", settings.get_profile("stunroute"), max_examples=3000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "stunroute"))


@pytest.fixture(autouse=True)
def _the_log_stays_as_it_was() -> Iterator[None]:
    """``logging.disable`` holds for the whole process."""
    yield
    disabled, logging.root.manager.disable = logging.root.manager.disable, logging.NOTSET
    assert disabled == logging.NOTSET, "this test has silenced the log for all after it"
