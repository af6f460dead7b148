"""STUN messages put together byte by byte.

What the project's own builder refuses to say is what a case has to send: lengths that lie, padding
that is not zero, an integrity that stands in the wrong place or is too short. A ``Draft`` says what
it is told and corrects nothing; ``seal`` ends it the way a good message ends.
"""

from attrs import define

from stunroute import stun

from .stun import Asker, credentials

COOKIE = stun.MAGIC_COOKIE.to_bytes(4, "big")
TIE_BREAKER = 0x0123456789ABCDEF


@define(slots=True)
class Draft:
    """A message under construction. Verbs return the draft, so that they can be chained.
    ``message_type`` is the first 16 bits, whatever they are."""

    transaction_id: bytes
    message_type: int = stun.BINDING_REQUEST
    cookie: bytes = COOKIE
    body: bytes = b""

    def add(
        self, kind: int, value: bytes = b"", *, length: int | None = None, padding: int = 0
    ) -> "Draft":
        """An attribute. ``length`` is what its header claims, ``padding`` the byte that fills it
        up to a multiple of four."""
        claimed = len(value) if length is None else length
        fill = bytes([padding]) * (-len(value) % 4)
        self.body += kind.to_bytes(2, "big") + claimed.to_bytes(2, "big") + value + fill
        return self

    def sign(self, password: bytes, *, size: int = 20, flipped: bool = False) -> "Draft":
        """MESSAGE-INTEGRITY of what stands so far. ``size`` cuts it, or lengthens it by zeros;
        ``flipped`` turns its last bit over."""
        digest = stun.IntegrityKey(password).sha1(self._covered(size))
        return self.add(stun.Attribute.MESSAGE_INTEGRITY, _spoiled(digest, size, flipped))

    def sign_sha256(self, password: bytes, *, size: int = 32, flipped: bool = False) -> "Draft":
        """MESSAGE-INTEGRITY-SHA256 likewise."""
        digest = stun.IntegrityKey(password).sha256(self._covered(size))
        return self.add(stun.Attribute.MESSAGE_INTEGRITY_SHA256, _spoiled(digest, size, flipped))

    def close(self, *, flipped: bool = False, size: int = 4) -> "Draft":
        """FINGERPRINT of what stands so far."""
        value = stun.checksum(self._covered(size)).to_bytes(4, "big")
        return self.add(stun.Attribute.FINGERPRINT, _spoiled(value, size, flipped))

    def seal(self, asker: Asker) -> bytes:
        """Sign with the password that the server expects, if it expects one, and close."""
        known = credentials(asker)
        if known is not None:
            self.sign(known[1])
        return self.close().message()

    def message(self, *, length: int | None = None) -> bytes:
        """The datagram; ``length`` is what its header claims."""
        claimed = len(self.body) if length is None else length
        return self._header(claimed) + self.body

    def _covered(self, size: int) -> bytes:
        """What a hash or checksum of ``size`` bytes covers, were it to end the message."""
        return self._header(len(self.body) + 4 + size + -size % 4) + self.body

    def _header(self, length: int) -> bytes:
        first = (self.message_type & 0xFFFF) << 16 | length & 0xFFFF
        return first.to_bytes(4, "big") + self.cookie + self.transaction_id


def _spoiled(value: bytes, size: int, flipped: bool) -> bytes:
    value = value[:size] + bytes(max(0, size - len(value)))
    return value[:-1] + bytes([value[-1] ^ flipped]) if value else value


def draft(
    asker: Asker,
    *,
    username: bytes | None = None,
    priority: bytes = (1853824767).to_bytes(4, "big"),
    controlling: bytes = TIE_BREAKER.to_bytes(8, "big"),
    first: tuple[int, bytes] | None = None,
) -> Draft:
    """A request as good as ``stun.check`` makes it, open at its end. ``first`` stands before all
    others, empty values are left out. A server without credentials gets a bare request."""
    begun = Draft(asker.stage.entropy(12))
    if first is not None:
        begun.add(*first)
    known = credentials(asker)
    if known is None:
        return begun
    for kind, value in (
        (stun.Attribute.USERNAME, known[0] if username is None else username),
        (stun.Attribute.PRIORITY, priority),
        (stun.Attribute.ICE_CONTROLLING, controlling),
    ):
        if value:
            begun.add(kind, value)
    return begun
