"""From a key exchange to keys (RFC 5246 sections 5, 6.3, 8; RFC 7627; RFC 5705; RFC 7905).

The record nonce is made of epoch and sequence number and of nothing else. A random one would have
to be drawn, would spoil replay, and repeats sooner than a counter does.

``Exchange`` is our half of an ephemeral key exchange, ``Secrets`` the master secret and what is
derived from it, ``Protection`` one direction's cipher.
"""

from struct import Struct
from typing import Final, Protocol, Self

from attrs import field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from stunroute.errors import DecodeError
from stunroute.instant import Entropy
from transceiver.keying import SrtpKeys, SrtpProfile

from .identity import p256_key
from .parameters import CipherSuite, Group, HashFunction
from .record import DTLS_1_2, MAXIMUM_PLAINTEXT

MASTER_SECRET_LENGTH: Final = 48
VERIFY_DATA_LENGTH: Final = 12
TAG_LENGTH: Final = 16

_P256: Final = ec.SECP256R1()
_ECDH: Final = ec.ECDH()
_INNER_PAD: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD: Final = bytes(byte ^ 0x5C for byte in range(256))
_EXTRA: Final = Struct("!QBHH")
"""What is authenticated beside a plaintext: number, content type, version and length."""


class Exchange(Protocol):
    """An ephemeral key. ``public`` is as it stands in the key exchange messages."""

    @property
    def group(self) -> Group: ...
    @property
    def public(self) -> bytes: ...
    def shared_untrusted(self, public: bytes) -> bytes:
        """The premaster secret with the peer's public value. Raises ``DecodeError`` where that is
        no point of the group, or one that would make the secret known."""
        ...


@frozen(slots=True)
class X25519Exchange:
    _key: x25519.X25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls, entropy: Entropy) -> Self:
        return cls(x25519.X25519PrivateKey.from_private_bytes(entropy(32)))

    @property
    def group(self) -> Group:
        return Group.X25519

    @property
    def public(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def shared_untrusted(self, public: bytes) -> bytes:
        try:
            # Raises for an all-zero result too (RFC 8422 section 5.11).
            return self._key.exchange(x25519.X25519PublicKey.from_public_bytes(public))
        except ValueError as error:
            raise DecodeError("not a usable X25519 value") from error


@frozen(slots=True)
class P256Exchange:
    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def generate(cls, entropy: Entropy) -> Self:
        return cls(p256_key(entropy))

    @property
    def group(self) -> Group:
        return Group.SECP256R1

    @property
    def public(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def shared_untrusted(self, public: bytes) -> bytes:
        if public[:1] != b"\x04":
            raise DecodeError("not an uncompressed point")
        try:
            point = ec.EllipticCurvePublicKey.from_encoded_point(_P256, public)
            return self._key.exchange(_ECDH, point)
        except ValueError as error:
            raise DecodeError("not a point of P-256") from error


def new_exchange(group: Group, entropy: Entropy) -> Exchange:
    """An ephemeral key of that group."""
    if group is Group.X25519:
        return X25519Exchange.generate(entropy)
    return P256Exchange.generate(entropy)


class Prf:
    """The pseudo-random function of RFC 5246 section 5 under one secret.

    HMAC (RFC 2104) is spelt out over two hashes that have taken in the secret already: every
    handshake derives four things from one master secret, at four HMACs each, and this way they
    cost less than half."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, function: HashFunction, secret: bytes) -> None:
        inner = function()
        if len(secret) > inner.block_size:
            secret = function(secret).digest()
        padded = secret.ljust(inner.block_size, b"\x00")
        inner.update(padded.translate(_INNER_PAD))
        self._inner = inner
        self._outer = function(padded.translate(_OUTER_PAD))

    def hmac(self, data: bytes) -> bytes:
        """HMAC of ``data`` under the secret."""
        inner = self._inner.copy()
        inner.update(data)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()

    def expand(self, label: bytes, seed: bytes, length: int) -> bytes:
        """``length`` bytes of output."""
        seed = label + seed
        block = self.hmac(seed)
        output = self.hmac(block + seed)
        while len(output) < length:
            block = self.hmac(block)
            output += self.hmac(block + seed)
        return output[:length]


@frozen(slots=True)
class Secrets:
    """The master secret of one handshake, with what derivations need beside it."""

    suite: CipherSuite
    master: bytes = field(repr=False)
    client_random: bytes
    server_random: bytes
    _prf: Prf = field(init=False, repr=False, eq=False)

    @_prf.default
    def _keyed(self) -> Prf:
        return Prf(self.suite.hash, self.master)

    @classmethod
    def extended(
        cls,
        suite: CipherSuite,
        premaster: bytes,
        transcript: bytes,
        client_random: bytes,
        server_random: bytes,
    ) -> Self:
        """By RFC 7627 section 4. ``transcript`` ends with the ClientKeyExchange."""
        session_hash = suite.hash(transcript).digest()
        master = Prf(suite.hash, premaster).expand(
            b"extended master secret", session_hash, MASTER_SECRET_LENGTH
        )
        return cls(suite, master, client_random, server_random)

    def verify_data(self, label: bytes, transcript: bytes) -> bytes:
        """What a Finished holds (RFC 5246 section 7.4.9)."""
        digest = self.suite.hash(transcript).digest()
        return self._prf.expand(label, digest, VERIFY_DATA_LENGTH)

    def client_finished(self, transcript: bytes) -> bytes:
        return self.verify_data(b"client finished", transcript)

    def server_finished(self, transcript: bytes) -> bytes:
        return self.verify_data(b"server finished", transcript)

    def protections(self) -> tuple["Protection", "Protection"]:
        """The client's direction, then the server's."""
        suite = self.suite
        key, fixed = suite.key_length, suite.fixed_nonce
        block = self._prf.expand(
            b"key expansion", self.server_random + self.client_random, 2 * (key + fixed)
        )
        nonces = block[2 * key :]
        return (
            protection(suite, block[:key], nonces[:fixed]),
            protection(suite, block[key : 2 * key], nonces[fixed:]),
        )

    def export(self, label: bytes, length: int) -> bytes:
        """Keying material for another protocol, without a context (RFC 5705)."""
        seed = self.client_random + self.server_random
        return self._prf.expand(label, seed, length)

    def srtp_keys(self, profile: SrtpProfile, *, client: bool) -> SrtpKeys:
        """RFC 5764 section 4.2, as seen from the client or from the server."""
        key, salt = profile.key_length, profile.salt_length
        material = self.export(b"EXTRACTOR-dtls_srtp", 2 * (key + salt))
        salts = material[2 * key :]
        from_client = material[:key] + salts[:salt]
        from_server = material[key : 2 * key] + salts[salt:]
        if client:
            return SrtpKeys(profile, from_client, from_server)
        return SrtpKeys(profile, from_server, from_client)

    @property
    def key_log_line(self) -> str:
        """The line that lets a recording be decrypted, in the format of NSS key logs."""
        return f"CLIENT_RANDOM {self.client_random.hex()} {self.master.hex()}"


class Protection(Protocol):
    """Seals or opens the fragments of one direction. ``number`` is as in ``Record``."""

    @property
    def overhead(self) -> int:
        """Bytes that sealing adds to a plaintext."""
        ...

    def seal(self, content_type: int, number: int, plaintext: bytes) -> bytes: ...
    def open_untrusted(self, content_type: int, number: int, fragment: bytes) -> bytes:
        """The plaintext. Raises ``DecodeError`` where the fragment does not authenticate."""
        ...


@frozen(slots=True)
class GcmProtection:
    """AES-GCM (RFC 5288): the nonce's last eight bytes travel in front of each fragment. Ours are
    the record's number; the peer's may be anything."""

    _aead: AESGCM = field(repr=False)
    _salt: bytes = field(repr=False)

    @property
    def overhead(self) -> int:
        return 8 + TAG_LENGTH

    def seal(self, content_type: int, number: int, plaintext: bytes) -> bytes:
        extra = _EXTRA.pack(number, content_type, DTLS_1_2, len(plaintext))
        explicit = extra[:8]
        return explicit + self._aead.encrypt(self._salt + explicit, plaintext, extra)

    def open_untrusted(self, content_type: int, number: int, fragment: bytes) -> bytes:
        length = len(fragment) - 8 - TAG_LENGTH
        if not 0 <= length <= MAXIMUM_PLAINTEXT:
            raise DecodeError("too short or too long to be protected")
        extra = _EXTRA.pack(number, content_type, DTLS_1_2, length)
        try:
            return self._aead.decrypt(self._salt + fragment[:8], fragment[8:], extra)
        except InvalidTag as error:
            raise DecodeError("does not authenticate") from error


@frozen(slots=True)
class ChaChaProtection:
    """ChaCha20-Poly1305 (RFC 7905): the whole nonce is implied by the record's number."""

    _aead: ChaCha20Poly1305 = field(repr=False)
    _mask: int = field(repr=False)

    @property
    def overhead(self) -> int:
        return TAG_LENGTH

    def seal(self, content_type: int, number: int, plaintext: bytes) -> bytes:
        extra = _EXTRA.pack(number, content_type, DTLS_1_2, len(plaintext))
        return self._aead.encrypt((self._mask ^ number).to_bytes(12), plaintext, extra)

    def open_untrusted(self, content_type: int, number: int, fragment: bytes) -> bytes:
        length = len(fragment) - TAG_LENGTH
        if not 0 <= length <= MAXIMUM_PLAINTEXT:
            raise DecodeError("too short or too long to be protected")
        extra = _EXTRA.pack(number, content_type, DTLS_1_2, length)
        try:
            return self._aead.decrypt((self._mask ^ number).to_bytes(12), fragment, extra)
        except InvalidTag as error:
            raise DecodeError("does not authenticate") from error


def protection(suite: CipherSuite, key: bytes, nonce: bytes) -> Protection:
    """One direction's cipher. ``nonce`` is the fixed part that the key block gave."""
    aead = suite.aead(key)
    if isinstance(aead, AESGCM):
        return GcmProtection(aead, nonce)
    return ChaChaProtection(aead, int.from_bytes(nonce))
