"""Hypothesis profiles. Neither has deadlines: the machine may be busy, and a slow example is no
defect. ``campaign`` is for the long command (``tox -e campaign``)."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "stunroute", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("campaign", settings.get_profile("stunroute"), max_examples=3000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "stunroute"))
