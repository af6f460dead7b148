"""One form for every transport address.

Behind a dual-stack socket the same IPv4 peer shows up as ``192.0.2.1`` or ``::ffff:192.0.2.1``.
Both are one address here, because the 16 bytes of the IPv6 form are what is kept and compared;
they are also what the relay leg carries on the wire.
"""

import ipaddress
from functools import lru_cache

from attrs import frozen

_MAPPED = b"\x00" * 10 + b"\xff\xff"


@frozen(slots=True, order=True)
class Address:
    """A UDP transport address.

    ``host`` is 16 bytes in network order, IPv4 mapped into IPv6 (RFC 4291, 2.5.5.2);
    ``port`` is 0 to 65535.
    """

    host: bytes
    port: int

    @classmethod
    def of(cls, host: str, port: int) -> "Address":
        """From a textual IP address, as the socket layer gives it. Raises ValueError if it is
        none (a host name, say: nothing here resolves names)."""
        return _of(host, port)

    @classmethod
    def parse(cls, text: str) -> "Address":
        """From ``192.0.2.1:3478`` or ``[2001:db8::1]:3478``. Raises ValueError."""
        host, separator, port = text.rpartition(":")
        if not separator or not port.isdecimal() or not int(port) < 65536:
            raise ValueError(f"{text!r} is not HOST:PORT")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise ValueError(f"{text!r}: an IPv6 address stands in brackets, [HOST]:PORT")
        return cls.of(host, int(port))

    @property
    def is_ipv4(self) -> bool:
        return self.host.startswith(_MAPPED)

    @property
    def packed(self) -> bytes:
        """4 bytes for IPv4, 16 for IPv6, in network order."""
        return self.host[12:] if self.is_ipv4 else self.host

    @property
    def ip(self) -> str:
        """The IP address as text; a mapped one reads as IPv4."""
        return str(ipaddress.ip_address(self.packed))

    def __str__(self) -> str:
        return f"{self.ip}:{self.port}" if self.is_ipv4 else f"[{self.ip}]:{self.port}"


@lru_cache(maxsize=65536)
def _of(host: str, port: int) -> Address:
    packed = ipaddress.ip_address(host.partition("%")[0]).packed
    return Address(packed if len(packed) == 16 else _MAPPED + packed, port)


@frozen(slots=True)
class Transmit:
    """A datagram that a core wants sent: ``data`` to ``address``."""

    data: bytes
    address: Address
