"""One form for every transport address.

Behind a dual-stack socket the same IPv4 peer shows up as ``192.0.2.1`` or ``::ffff:192.0.2.1``.
Both are one address here, because the 16 bytes of the IPv6 form are what is kept and compared;
they are also what the relay leg carries on the wire.
"""

import ipaddress
from functools import lru_cache

from attrs import define

IPV4_PREFIX = b"\x00" * 10 + b"\xff\xff"
"""What an IPv4 address in its mapped form begins with."""
_IPV4_MULTICAST = 224  # and above it what is reserved, broadcast among it (RFC 1112, 4)
_IPV6_MULTICAST = 0xFF  # RFC 4291, 2.7


class Address(bytes):
    """A UDP transport address: ``host``, 16 bytes in network order with IPv4 mapped into IPv6
    (RFC 4291, 2.5.5.2), followed by ``port``, 2 bytes in network order.

    It *is* those 18 bytes, because it is above all a key: bytes are hashed and compared in C, and
    a table of a million flows holds a million of these.
    """

    __slots__ = ()

    def __new__(cls, host: bytes, port: int) -> "Address":
        """``host`` as above, ``port`` 0 to 65535. Raises ValueError if they are not."""
        if len(host) != 16 or not 0 <= port < 65536:
            raise ValueError("an address is 16 bytes of host and a port of 16 bits")
        return bytes.__new__(cls, host + port.to_bytes(2, "big"))

    def __getnewargs__(self) -> tuple[bytes, int]:  # type: ignore[override]
        return self.host, self.port

    @classmethod
    def of_octets(cls, octets: bytes) -> "Address":
        """From 18 bytes that are known to be host and port."""
        return bytes.__new__(cls, octets)

    @property
    def host(self) -> bytes:
        return self[:16]

    @property
    def port(self) -> int:
        return self[16] << 8 | self[17]

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
        return self.startswith(IPV4_PREFIX)

    @property
    def is_sendable(self) -> bool:
        """Whether a datagram to this address can reach one host. Port 0, the unspecified address,
        multicast and broadcast are nobody's; a source port of 0 is legal all the same (RFC 768)."""
        if self.endswith(b"\0\0"):
            return False
        if self.is_ipv4:
            return 0 < self[12] < _IPV4_MULTICAST
        return self[0] != _IPV6_MULTICAST and any(self[:16])

    @property
    def packed(self) -> bytes:
        """4 bytes for IPv4, 16 for IPv6, in network order."""
        return self[12:16] if self.is_ipv4 else self[:16]

    @property
    def ip(self) -> str:
        """The IP address as text; a mapped one reads as IPv4."""
        return str(ipaddress.ip_address(self.packed))

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"

    def __str__(self) -> str:
        return f"{self.ip}:{self.port}" if self.is_ipv4 else f"[{self.ip}]:{self.port}"


@lru_cache(maxsize=65536)
def _of(host: str, port: int) -> Address:
    packed = ipaddress.ip_address(host.partition("%")[0]).packed
    return Address(packed if len(packed) == 16 else IPV4_PREFIX + packed, port)


# One for each packet: made in a third of the time of a frozen one. Nobody changes it.
@define(slots=True)
class Transmit:
    """A datagram that a core wants sent: ``data`` to ``address``."""

    data: bytes
    address: Address
