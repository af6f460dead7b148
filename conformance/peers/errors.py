"""What goes wrong with peers: one error for the whole room, apart from all that raises it."""


class PeerError(Exception):
    """A peer cannot be installed or started. The text says why, in one line where it can."""
