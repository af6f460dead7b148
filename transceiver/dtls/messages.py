"""The messages of the DTLS 1.2 handshake (RFC 6347 section 4.2.2, 4.3.2; RFC 8422 section 5).

::

     0      1             4             6                9                12
     +------+-------------+-------------+----------------+----------------+-----
     | type | length      | message_seq | fragment_offset| fragment_length| body
     +------+-------------+-------------+----------------+----------------+-----

All integers are big-endian. What travels is a ``Fragment``; what the handshake sees is a
``Message``, whole. Signatures and hashes go over the message as if it had never been fragmented,
which is what ``Message.raw`` gives.

Decoders take a message's body and read all of it: a byte too many is as malformed as one too few.
"""

from enum import IntEnum
from functools import lru_cache
from struct import Struct
from typing import Final, Self

from attrs import field, frozen

from stunroute.errors import DecodeError

from .extensions import Extensions, decode_block_untrusted
from .parameters import Authentication
from .record import DTLS_1_2
from .signatures import SCHEMES
from .wire import Reader, integers, integers_untrusted, vector

HEADER_LENGTH: Final = 12
RANDOM_LENGTH: Final = 32
_HEADER: Final = Struct("!IHHBHB")
"""Type with length, message_seq, and fragment_offset and fragment_length in two parts each."""
_NAMED_CURVE: Final = 3


class HandshakeType(IntEnum):
    HELLO_REQUEST = 0
    CLIENT_HELLO = 1
    SERVER_HELLO = 2
    HELLO_VERIFY_REQUEST = 3
    CERTIFICATE = 11
    SERVER_KEY_EXCHANGE = 12
    CERTIFICATE_REQUEST = 13
    SERVER_HELLO_DONE = 14
    CERTIFICATE_VERIFY = 15
    CLIENT_KEY_EXCHANGE = 16
    FINISHED = 20


def _header(type_: int, length: int, sequence: int, offset: int, size: int) -> bytes:
    return _HEADER.pack(
        type_ << 24 | length, sequence, offset >> 8, offset & 0xFF, size >> 8, size & 0xFF
    )


@frozen(slots=True)
class Message:
    """One handshake message. ``raw`` is header and body in one fragment: what is hashed, signed
    and, where it fits, sent."""

    type: int
    sequence: int
    raw: bytes = field(repr=False)

    @classmethod
    def of(cls, type_: int, sequence: int, body: bytes) -> Self:
        length = len(body)
        return cls(type_, sequence, _header(type_, length, sequence, 0, length) + body)

    @property
    def body(self) -> bytes:
        return self.raw[HEADER_LENGTH:]

    def fragment(self, offset: int, size: int) -> bytes:
        """``size`` bytes of the body from ``offset`` behind their own header."""
        length = len(self.raw) - HEADER_LENGTH
        if size == length:
            return self.raw
        start = HEADER_LENGTH + offset
        header = _header(self.type, length, self.sequence, offset, size)
        return header + self.raw[start : start + size]


@frozen(slots=True)
class Fragment:
    """A part of a message: ``data`` stands at ``offset`` of a body of ``length`` bytes."""

    type: int
    length: int
    sequence: int
    offset: int
    raw: bytes = field(repr=False)
    """Its header and ``data``: if it is whole, the message's ``raw``."""

    @classmethod
    def of(cls, type_: int, length: int, sequence: int, offset: int, data: bytes) -> Self:
        header = _header(type_, length, sequence, offset, len(data))
        return cls(type_, length, sequence, offset, header + data)

    @property
    def data(self) -> bytes:
        return self.raw[HEADER_LENGTH:]

    @property
    def final(self) -> bool:
        """Whether the message ends with it."""
        return self.offset + len(self.raw) - HEADER_LENGTH == self.length

    @property
    def whole(self) -> bool:
        """Whether it is all of the message."""
        return len(self.raw) - HEADER_LENGTH == self.length


def decode_fragment_untrusted(data: bytes, offset: int) -> tuple[Fragment, int]:
    """The fragment that starts at ``offset`` of a record's content, and where it ends. A record
    may hold several; none crosses a record's end (RFC 6347 section 4.2.3)."""
    if len(data) - offset < HEADER_LENGTH:
        raise DecodeError("shorter than a handshake header")
    head, sequence, high_offset, low_offset, high_size, low_size = _HEADER.unpack_from(data, offset)
    length = head & 0xFFFFFF
    begin, size = high_offset << 8 | low_offset, high_size << 8 | low_size
    if begin + size > length:
        raise DecodeError("a fragment beyond its message")
    end = offset + HEADER_LENGTH + size
    if end > len(data):
        raise DecodeError("a fragment beyond its record")
    return Fragment(head >> 24, length, sequence, begin, data[offset:end]), end


@frozen(slots=True)
class ClientHello:
    """``version`` is the legacy field: a client of DTLS 1.3 says 1.2 there."""

    version: int
    random: bytes
    session_id: bytes
    cookie: bytes
    cipher_suites: tuple[int, ...]
    compression: bytes
    extensions: Extensions


def decode_client_hello_untrusted(body: bytes) -> ClientHello:
    reader = Reader(body)
    version = reader.integer_untrusted(2)
    random = reader.take_untrusted(RANDOM_LENGTH)
    session_id = reader.vector_untrusted(1)
    if len(session_id) > 32:
        raise DecodeError("a session id longer than 32 bytes")
    cookie = reader.vector_untrusted(1)
    suites = integers_untrusted(reader.vector_untrusted(2), 2)
    compression = reader.vector_untrusted(1)
    extensions = decode_block_untrusted(reader)
    return ClientHello(version, random, session_id, cookie, suites, compression, extensions)


def encode_client_hello(
    random: bytes, cookie: bytes, cipher_suites: tuple[int, ...], extensions: bytes
) -> bytes:
    """Without a session to resume and without compression. ``extensions`` is an encoded block."""
    return b"".join(
        (
            DTLS_1_2.to_bytes(2),
            random,
            b"\x00",
            vector(cookie, 1),
            vector(integers(cipher_suites, 2), 2),
            b"\x01\x00",
            extensions,
        )
    )


@frozen(slots=True)
class ServerHello:
    version: int
    random: bytes
    session_id: bytes
    cipher_suite: int
    compression: int
    extensions: Extensions


def decode_server_hello_untrusted(body: bytes) -> ServerHello:
    reader = Reader(body)
    version = reader.integer_untrusted(2)
    random = reader.take_untrusted(RANDOM_LENGTH)
    session_id = reader.vector_untrusted(1)
    if len(session_id) > 32:
        raise DecodeError("a session id longer than 32 bytes")
    suite = reader.integer_untrusted(2)
    compression = reader.integer_untrusted(1)
    extensions = decode_block_untrusted(reader)
    return ServerHello(version, random, session_id, suite, compression, extensions)


def encode_server_hello(random: bytes, cipher_suite: int, extensions: bytes) -> bytes:
    """Without a session id: nothing is resumed here. ``extensions`` is an encoded block."""
    return b"".join(
        (DTLS_1_2.to_bytes(2), random, b"\x00", cipher_suite.to_bytes(2), b"\x00", extensions)
    )


def decode_hello_verify_request_untrusted(body: bytes) -> bytes:
    """The cookie. The version beside it means nothing (RFC 6347 section 4.2.1)."""
    reader = Reader(body)
    reader.take_untrusted(2)
    cookie = reader.vector_untrusted(1)
    reader.finish_untrusted()
    return cookie


def encode_hello_verify_request(cookie: bytes) -> bytes:
    return DTLS_1_2.to_bytes(2) + vector(cookie, 1)


def decode_certificate_untrusted(body: bytes) -> bytes:
    """The peer's own certificate, DER, empty where it sent none. The chain behind it is not
    looked at: nobody in it is trusted."""
    reader = Reader(body)
    chain = Reader(reader.vector_untrusted(3))
    reader.finish_untrusted()
    return b"" if chain.exhausted else chain.vector_untrusted(3)


@frozen(slots=True)
class ServerKeyExchange:
    """``parameters`` is what the signature covers, behind the two randoms."""

    group: int
    public: bytes
    parameters: bytes
    scheme: int
    signature: bytes


def key_exchange_parameters(group: int, public: bytes) -> bytes:
    """ServerECDHParams of RFC 8422 section 5.4 for a named group."""
    return b"%c%b%b" % (_NAMED_CURVE, group.to_bytes(2), vector(public, 1))


def decode_server_key_exchange_untrusted(body: bytes) -> ServerKeyExchange:
    reader = Reader(body)
    if reader.integer_untrusted(1) != _NAMED_CURVE:
        raise DecodeError("a key exchange without a named group")
    group = reader.integer_untrusted(2)
    public = reader.vector_untrusted(1)
    parameters = body[: reader.offset]
    scheme = reader.integer_untrusted(2)
    signature = reader.vector_untrusted(2)
    reader.finish_untrusted()
    return ServerKeyExchange(group, public, parameters, scheme, signature)


def encode_signed(scheme: int, signature: bytes) -> bytes:
    """A scheme and a signature: all of CertificateVerify, the end of ServerKeyExchange."""
    return scheme.to_bytes(2) + vector(signature, 2)


def decode_certificate_verify_untrusted(body: bytes) -> tuple[int, bytes]:
    """Scheme and signature."""
    reader = Reader(body)
    scheme = reader.integer_untrusted(2)
    signature = reader.vector_untrusted(2)
    reader.finish_untrusted()
    return scheme, signature


@frozen(slots=True)
class CertificateRequest:
    types: tuple[int, ...]
    schemes: tuple[int, ...]


@lru_cache(maxsize=64)
def decode_certificate_request_untrusted(body: bytes) -> CertificateRequest:
    """Without the names of authorities, which have no meaning between self-signed peers. The last
    bodies are remembered, for all handshakes of one stack send the same."""
    reader = Reader(body)
    types = tuple(reader.vector_untrusted(1))
    schemes = integers_untrusted(reader.vector_untrusted(2), 2)
    reader.vector_untrusted(2)
    reader.finish_untrusted()
    return CertificateRequest(types, schemes)


CERTIFICATE_REQUEST: Final = (
    vector(bytes((Authentication.ECDSA, Authentication.RSA)), 1)
    + vector(integers(SCHEMES, 2), 2)
    + vector(b"", 2)
)
"""The body of every CertificateRequest of ours."""


def decode_client_key_exchange_untrusted(body: bytes) -> bytes:
    """The client's public value."""
    reader = Reader(body)
    public = reader.vector_untrusted(1)
    reader.finish_untrusted()
    return public


def encode_client_key_exchange(public: bytes) -> bytes:
    return vector(public, 1)
