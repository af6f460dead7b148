"""The leg between relay and transceiver: 38 bytes in front of every payload.

The header is Cloudflare's Simple Proxy Protocol for UDP as published, used in both directions.
Toward the transceiver it says who sent the packet and at which public address it arrived; on the
way back it says to whom to send it and from which public address. The transceiver can so answer a
check with the client's true address, and the relay need remember nothing that the next packet does
not tell it again.

::

    0                   1                   2                   3
    +-------------------------------+
    |        magic 0x56EC           |
    +-------------------------------+-------------------------------+
    |              client address, 16 bytes, IPv4 mapped            |
    +---------------------------------------------------------------+
    |              proxy address, 16 bytes, IPv4 mapped             |
    +-------------------------------+-------------------------------+
    |          client port          |          proxy port           |
    +-------------------------------+-------------------------------+
    |                        payload, to the end of the datagram    |

All numbers are big-endian. One addition is ours: a header with an empty payload from a transceiver
*releases* the client's flow. The transceiver sends it when the last session it had with that
address has ended, after everything else it had to send there, so that the address may serve
another call at once. An empty datagram of a client is never forwarded, so nothing is ambiguous.
"""

from struct import Struct

from attrs import frozen

from .address import Address
from .errors import DecodeError

MAGIC = 0x56EC
HEADER_LENGTH = 38

_MAGIC = MAGIC.to_bytes(2, "big")
_HEADER = Struct(">H16s16sHH")


@frozen(slots=True)
class Leg:
    """``client`` is the peer out in the network, ``proxy`` the relay's public address."""

    client: Address
    proxy: Address


def encode(client: Address, proxy: Address) -> bytes:
    """The 38 bytes to put in front of a payload."""
    return b"".join((_MAGIC, client[:16], proxy[:16], client[16:], proxy[16:]))


def decode_untrusted(data: bytes) -> Leg:
    """The header at the beginning of ``data``; the payload is ``data[HEADER_LENGTH:]``.
    Raises DecodeError."""
    if len(data) < HEADER_LENGTH:
        raise DecodeError("shorter than the header of the leg")
    magic, client, proxy, client_port, proxy_port = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise DecodeError("not the magic of the leg")
    return Leg(Address(client, client_port), Address(proxy, proxy_port))
