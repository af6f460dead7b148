"""What stands in the store: one entry per client address, which only relays can read or make.

A store is a machine that others may read, write, or have replaced. So the name of an entry is a
keyed hash of the client's address, which says nothing about it, and its value is authenticated
together with that address: an entry that was made up, altered, moved to another client's name or
kept from the past is refused. What is left to somebody who can write there is to take entries
away, and then the relay does what it does without a store.

Several relays write the same entry, and not in the order in which things happened: a batch waits,
a connection hangs, a relay that a client has left renews what it still has. Each value therefore
says of which *generation* it is, and the greater one wins wherever two meet. A generation is the
moment at which the flow was made or moved, in microseconds, doubled; that a flow was released is
one more, so it outranks the flow and nothing that came later. A release is written, not deleted:
an empty place could not refuse a late renewal.

::

    0      version, 1
    1..8   generation, 64 bits
    9..16  written, microseconds since 1970-01-01 UTC, 64 bits
    17..34 next hop: host, 16 bytes, and port, 16 bits
    35..50 HMAC-SHA-256, cut to 16 bytes, over "value", the client (18 bytes) and the above

All numbers are in network order. Relays' wall clocks are compared here, so they should agree
better than a client can move from one session to another.
"""

import hmac
from struct import Struct
from typing import TypeAlias

from attrs import frozen

from stunroute.address import Address
from stunroute.errors import DecodeError

Moment: TypeAlias = int
"""Microseconds since 1970-01-01 UTC."""

SECOND: Moment = 1_000_000

VERSION = 1
LENGTH = 51
SKEW = 10 * SECOND
"""How far the clocks of relays may be apart before they refuse each other's entries."""
GENERATION_OFFSET = 1
SHARDS = 16
"""How many groups of names there are, by their first digit. A cluster keeps a group together, so
that entries of one group are written by one command. Few groups make few commands, many spread
evenly over many servers."""

_FIELDS = Struct(">BQQ18s")
_LAST = 1 << 53  # greater numbers are not exact in the store's own arithmetic
_NAME_LENGTH = 16
_MAC_LENGTH = 16


@frozen(slots=True)
class Entry:
    """``made`` is when the flow to ``next_hop`` was made or moved; ``released`` whether its owner
    has let it go since."""

    made: Moment
    next_hop: Address
    released: bool = False

    @property
    def generation(self) -> int:
        return self.made << 1 | self.released


class EntryCodec:
    """Names and values under one key."""

    __slots__ = ("_max_age", "_name", "_prefix", "_value")

    def __init__(self, key: bytes, prefix: str, max_age: Moment) -> None:
        """``max_age``: a value that was written longer ago is refused, although it is authentic.
        It should be what an entry's time to live is."""
        self._prefix = prefix.encode()
        self._max_age = max_age
        self._name = hmac.new(key, b"name", "sha256")
        self._value = hmac.new(key, b"value", "sha256")

    def name(self, client: Address) -> bytes:
        """Where the entry of ``client`` stands: the prefix, one hexadecimal digit in braces, which
        is all that a cluster looks at, and 31 more."""
        mac = self._name.copy()
        mac.update(client)
        digits = mac.digest()[:_NAME_LENGTH].hex().encode()
        return b"%b{%b}%b" % (self._prefix, digits[:1], digits[1:])

    def shard(self, name: bytes) -> bytes:
        """The group of ``name``."""
        return name[len(self._prefix) + 1 : len(self._prefix) + 2]

    def encode(self, client: Address, entry: Entry, now: Moment) -> bytes:
        """The value of the entry of ``client``, written ``now``."""
        body = _FIELDS.pack(VERSION, entry.generation, now, entry.next_hop)
        return body + self._mac(client, body)

    def decode_untrusted(self, client: Address, value: bytes, now: Moment) -> Entry:
        """What a relay with the same key has written about ``client``. Raises DecodeError if none
        has, or too long ago, or if it claims to be of the future."""
        if len(value) != LENGTH:
            raise DecodeError("not of an entry's length")
        body, mac = value[:-_MAC_LENGTH], value[-_MAC_LENGTH:]
        if not hmac.compare_digest(mac, self._mac(client, body)):
            raise DecodeError("not authentic")
        version, generation, written, next_hop = _FIELDS.unpack(body)
        if version != VERSION:
            raise DecodeError("of another version")
        made = generation >> 1
        if max(made, written) > now + SKEW:
            raise DecodeError("from the future")
        if written < now - self._max_age - SKEW:
            raise DecodeError("too old")
        return Entry(made, Address.of_octets(next_hop), bool(generation & 1))

    def latest(self, now: Moment) -> int:
        """The greatest generation that anybody can honestly have written by ``now``; an entry that
        claims a greater one is in nobody's way."""
        return min((now + SKEW) << 1 | 1, _LAST)

    def _mac(self, client: Address, body: bytes) -> bytes:
        mac = self._value.copy()
        mac.update(client)
        mac.update(body)
        return mac.digest()[:_MAC_LENGTH]
