"""The routing hint: an ICE ufrag that says where its session lives.

A relay in front of a fleet sees a client's first STUN check before anybody has told it of that
client. The one field of the check that the server side chose is the server's ufrag, so the route is
written there. It must not be readable (it would draw a map of the fleet), not linkable between
calls, and not forgeable; and it must be cheap, because every stranger's check pays for it.

One block of AES-128 does all of it. Cluster, node and a nonce are padded with five zero bytes to
one block and enciphered; whoever deciphers the block and does not find the zeros knows that it is
not ours, and a guess passes once in 2**40. There is no separate MAC and no mode of operation.

::

    ufrag = id ‖ body                       26 characters of 0-9a-z
    id    = 0 to y                          which configuration; z is "not routable"
    body  = 25 base-36 digits, most significant first, of one 128-bit block:
            AES-128(routing key, cluster (2) ‖ node (4) ‖ nonce (5) ‖ zero (5)), big-endian

The password of a session needs no storage either. It is derived from the ufrag::

    mac     = HMAC-SHA-256(password key, the 26 bytes of the ufrag), read as a big-endian integer
    ice-pwd = mac mod 62**32, as exactly 32 base-62 digits, most significant first,
              digits 0-9, then A-Z, then a-z

The low digits are taken rather than the high ones because 62 is no power of two: the leading
digits of a 256-bit number are not evenly spread, the low 32 are, to within 2**-65.
"""

import hashlib
import hmac
from collections.abc import Iterable
from struct import Struct

from attrs import Attribute, field, frozen
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from .errors import ConfigError, StunrouteError
from .instant import Entropy, Instant
from .keyed import prekeyed
from .trace import Drop

UFRAG_LENGTH = 26
PASSWORD_LENGTH = 32
ROUTING_KEY_LENGTH = 16
PASSWORD_KEY_MINIMUM = 16
NONCE_LENGTH = 5
UNROUTABLE = "z"
"""The configuration id of a ufrag that was minted without a route."""

_DIGITS36 = b"0123456789abcdefghijklmnopqrstuvwxyz"
_DIGITS62 = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_CHARACTERS = _DIGITS36[:-1].decode()
_PAIRS36 = [_DIGITS36[i : i + 1] + _DIGITS36[j : j + 1] for i in range(36) for j in range(36)]
_PAIRS62 = [first | second << 8 for first in _DIGITS62 for second in _DIGITS62]
_PASSWORD = Struct("<16H")
_PASSWORD_LIMIT = 62**PASSWORD_LENGTH
_BLOCK = Struct(">HI5s5s")
_ZERO = bytes(5)
_BLOCK_LIMIT = 1 << 128
_FOREVER = float("inf")


class HintError(StunrouteError):
    """The caller asked the key ring for what it cannot do: mint without a configuration that may
    be minted under now, or derive a password without the key for it."""


@frozen(slots=True)
class Hint:
    """What a ufrag says: ``cluster`` (16 bits) and ``node`` (32 bits) name the transceiver,
    ``nonce`` (5 bytes) makes the call unique, ``configuration`` is the id it was minted under."""

    configuration: str
    cluster: int
    node: int
    nonce: bytes


def _redacted(_: object) -> str:
    return "<redacted>"


@frozen(slots=True)
class HintConfiguration:
    """One generation of keys.

    ``identifier`` is one character, ``0`` to ``9`` or ``a`` to ``y``. ``routing_key`` is 16 bytes,
    ``password_key`` 16 or more; without the latter a relay routes but cannot verify, and a
    transceiver cannot answer. Hints are read from ``read_from`` until before ``read_until`` (None:
    no end) and minted from ``mint_from``, all Instants of the clock whose readings are given as
    ``now``. Relays must read before transceivers mint, so ``mint_from`` is not before
    ``read_from``; left out, minting begins with reading. ``mint_from=float("inf")`` never mints.
    Raises ConfigError.
    """

    identifier: str = field()
    routing_key: bytes = field(repr=_redacted)
    password_key: bytes | None = field(default=None, repr=_redacted)
    read_from: Instant = -_FOREVER
    mint_from: Instant = field(default=-_FOREVER)
    read_until: Instant | None = field(default=None)

    @identifier.validator
    def _check_identifier(self, _: "Attribute[str]", value: str) -> None:
        if len(value) != 1 or value not in _ID_CHARACTERS:
            raise ConfigError("id", "is not one character of 0-9 or a-y")

    @routing_key.validator
    def _check_routing_key(self, _: "Attribute[bytes]", value: bytes) -> None:
        if len(value) != ROUTING_KEY_LENGTH:
            raise ConfigError("routing_key", f"is not {ROUTING_KEY_LENGTH} bytes long")

    @password_key.validator
    def _check_password_key(self, _: "Attribute[bytes | None]", value: bytes | None) -> None:
        if value is not None and len(value) < PASSWORD_KEY_MINIMUM:
            raise ConfigError("password_key", f"is shorter than {PASSWORD_KEY_MINIMUM} bytes")
        if value is not None and hmac.compare_digest(value, self.routing_key):
            raise ConfigError("password_key", "is the routing key; the two must be independent")

    @mint_from.validator
    def _check_mint_from(self, _: "Attribute[float]", value: Instant) -> None:
        if -_FOREVER < value < self.read_from:
            raise ConfigError("mint_from", "is before read_from: nobody could read such a hint")

    @read_until.validator
    def _check_read_until(self, _: "Attribute[float | None]", value: Instant | None) -> None:
        if value is not None and value <= self.read_from:
            raise ConfigError("read_until", "is not after read_from")

    @classmethod
    def generate(
        cls,
        identifier: str,
        entropy: Entropy,
        *,
        read_from: Instant = -_FOREVER,
        mint_from: Instant = -_FOREVER,
        read_until: Instant | None = None,
    ) -> "HintConfiguration":
        """A configuration with fresh keys: 16 bytes for routing, 32 for passwords, drawn from
        ``entropy`` in that order."""
        return cls(
            identifier,
            entropy(ROUTING_KEY_LENGTH),
            entropy(32),
            read_from,
            mint_from,
            read_until,
        )

    def is_readable(self, now: Instant) -> bool:
        return self.read_from <= now and (self.read_until is None or now < self.read_until)

    @property
    def minting_begins(self) -> Instant:
        return max(self.read_from, self.mint_from)

    def is_mintable(self, now: Instant) -> bool:
        return self.minting_begins <= now and self.is_readable(now)


class _Slot:
    """A configuration with its cipher contexts. ECB keeps no state between blocks, so one context
    per direction serves for the life of the key ring and saves two microseconds a hint."""

    __slots__ = ("configuration", "decipher", "encipher", "mac")

    def __init__(self, configuration: HintConfiguration) -> None:
        self.configuration = configuration
        cipher = Cipher(AES(configuration.routing_key), ECB())  # a single block, always
        self.encipher = cipher.encryptor().update
        self.decipher = cipher.decryptor().update
        key = configuration.password_key
        self.mac = None if key is None else prekeyed(hashlib.sha256, key)


class KeyRing:
    """The configurations that are known here, at most 35. Not for use from several threads."""

    __slots__ = ("_slots",)

    def __init__(self, configurations: Iterable[HintConfiguration]) -> None:
        """Raises ConfigError if two have the same id."""
        self._slots: dict[int, _Slot] = {}
        for index, configuration in enumerate(configurations):
            identifier = ord(configuration.identifier)
            if identifier in self._slots:
                raise ConfigError(
                    f"hint.configurations.{index}.id",
                    f"{configuration.identifier!r} is taken by an earlier one",
                )
            self._slots[identifier] = _Slot(configuration)

    def __repr__(self) -> str:
        return f"KeyRing({''.join(sorted(map(chr, self._slots)))!r})"

    @property
    def configurations(self) -> tuple[HintConfiguration, ...]:
        """In the order they were given."""
        return tuple(slot.configuration for slot in self._slots.values())

    def decode_untrusted(self, ufrag: bytes, now: Instant) -> Hint | Drop:
        """What ``ufrag`` says at ``now``, or the reason why it says nothing here. Never raises."""
        if len(ufrag) != UFRAG_LENGTH or ufrag.translate(None, _DIGITS36):
            return Drop.HINT_MALFORMED
        slot = self._slots.get(ufrag[0])
        if slot is None:
            if ufrag.startswith(UNROUTABLE.encode()):
                return Drop.HINT_UNROUTABLE
            return Drop.HINT_UNKNOWN_CONFIGURATION
        if not slot.configuration.is_readable(now):
            return Drop.HINT_OUTSIDE_WINDOW
        number = int(ufrag[1:], 36)
        if number >= _BLOCK_LIMIT:
            return Drop.HINT_FORGED
        cluster, node, nonce, zero = _BLOCK.unpack(slot.decipher(number.to_bytes(16, "big")))
        if not hmac.compare_digest(zero, _ZERO):
            return Drop.HINT_FORGED
        return Hint(slot.configuration.identifier, cluster, node, nonce)

    def mint(self, cluster: int, node: int, entropy: Entropy, now: Instant) -> str:
        """A new ufrag of 26 characters for a session on ``node`` (32 bits) of ``cluster`` (16).

        Uses the configuration whose minting began last, of two that began together the one given
        later. The nonce is ``entropy(5)``: it must not repeat among the live sessions of a node,
        so who keeps an index of them mints again in the rare case that the ufrag is in it.
        Raises HintError if nothing may be minted under at ``now``, ValueError if ``cluster`` or
        ``node`` is out of range.
        """
        if not (0 <= cluster < 1 << 16 and 0 <= node < 1 << 32):
            raise ValueError("cluster is 16 bits and node is 32")
        chosen: _Slot | None = None
        for slot in self._slots.values():
            configuration = slot.configuration
            if configuration.is_mintable(now) and (
                chosen is None
                or configuration.minting_begins >= chosen.configuration.minting_begins
            ):
                chosen = slot
        if chosen is None:
            raise HintError("no hint configuration may be minted under now")
        block = chosen.encipher(_BLOCK.pack(cluster, node, entropy(NONCE_LENGTH), _ZERO))
        return chosen.configuration.identifier + _base36(int.from_bytes(block, "big"))

    def can_verify(self, identifier: str) -> bool:
        """Whether the password key of configuration ``identifier`` is known here."""
        slot = self._slots.get(ord(identifier))
        return slot is not None and slot.configuration.password_key is not None

    def password(self, ufrag: bytes) -> bytes:
        """The ICE password, 32 characters, of the session that ``ufrag`` names. Says nothing about
        whether there is one. Raises HintError without the password key of its configuration."""
        slot = self._slots.get(ufrag[0]) if ufrag else None
        if slot is None or slot.mac is None:
            raise HintError("no password key for this ufrag")
        return _base62(slot.mac(ufrag))


def _base36(number: int) -> str:
    digits = []
    for _ in range(12):
        number, pair = divmod(number, 1296)
        digits.append(_PAIRS36[pair])
    digits.append(_DIGITS36[number : number + 1])
    return b"".join(reversed(digits)).decode()


def _base62(mac: bytes) -> bytes:
    """By halves, so that most divisions are of small numbers, and written out: every new session's
    first check waits for it, and loops would take twice as long."""
    pair = _PAIRS62
    left, right = divmod(int.from_bytes(mac, "big") % _PASSWORD_LIMIT, 62**16)
    a, c = divmod(left, 62**8)
    e, g = divmod(right, 62**8)
    a, b = divmod(a, 62**4)
    c, d = divmod(c, 62**4)
    e, f = divmod(e, 62**4)
    g, h = divmod(g, 62**4)
    return _PASSWORD.pack(
        pair[a // 3844],
        pair[a % 3844],
        pair[b // 3844],
        pair[b % 3844],
        pair[c // 3844],
        pair[c % 3844],
        pair[d // 3844],
        pair[d % 3844],
        pair[e // 3844],
        pair[e % 3844],
        pair[f // 3844],
        pair[f % 3844],
        pair[g // 3844],
        pair[g % 3844],
        pair[h // 3844],
        pair[h % 3844],
    )
