"""One Hypothesis profile for all: no deadlines, because the machine may be busy and a slow example
is no defect."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "stunroute", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("stunroute")
