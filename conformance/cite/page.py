"""The report as one HTML page."""

from .check import Finding


def render(finding: Finding) -> str:
    """The page."""
    return str(finding)
