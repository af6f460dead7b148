"""What goes wrong with peers."""


class PeerError(Exception):
    """A peer cannot be installed or started. The text says why, in one line where it can."""
