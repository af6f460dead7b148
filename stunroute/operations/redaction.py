"""Clients' addresses as they may end up in a ticket or under somebody's eyes."""

from stunroute.address import Address

KEPT_GROUPS = 3
"""Of the eight of an IPv6 address: its first 48 bits, one customer's network. Of IPv4 three octets
stay, 24 bits. Both tell networks apart, and not people."""


def redacted(client: Address) -> str:
    """``198.51.100.7:50000`` as ``198.51.100.x:50000``, ``[2001:db8:1:2::3]:50000`` as
    ``[2001:db8:1:x]:50000``."""
    packed = client.packed
    if client.is_ipv4:
        return f"{'.'.join(map(str, packed[:3]))}.x:{client.port}"
    groups = [f"{int.from_bytes(packed[i : i + 2], 'big'):x}" for i in range(0, 16, 2)]
    return f"[{':'.join(groups[:KEPT_GROUPS])}:x]:{client.port}"
