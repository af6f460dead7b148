"""Whether this machine's loopback speaks IPv6."""

import socket

import pytest

LOOPBACK6 = "::1"


def require_ipv6() -> str:
    """The address. Skips the calling test where there is none: many containers come without."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asking:
            asking.bind((LOOPBACK6, 0))
    except OSError as error:
        pytest.skip(f"no [{LOOPBACK6}] here: {error}")
    return LOOPBACK6
