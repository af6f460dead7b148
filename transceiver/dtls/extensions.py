"""Hello extensions (RFC 5246 section 7.4.1.4).

A block of extensions is a dictionary from code to body: their order means nothing, BoringSSL even
shuffles it, and one that stands twice is an error. Bodies stay bytes until somebody asks for what
is in them, so an extension that nobody knows costs a dictionary entry. The last bodies that were
asked for are remembered, because all handshakes of one client's build say the same.
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from functools import lru_cache
from struct import Struct
from typing import Final, TypeAlias

from attrs import frozen

from stunroute.errors import DecodeError
from transceiver.keying import SrtpProfile

from .parameters import Group
from .signatures import SCHEMES
from .wire import Reader, integers, integers_untrusted, vector


class Extension(IntEnum):
    SUPPORTED_GROUPS = 10
    EC_POINT_FORMATS = 11
    SIGNATURE_ALGORITHMS = 13
    USE_SRTP = 14
    EXTENDED_MASTER_SECRET = 23
    SUPPORTED_VERSIONS = 43
    RENEGOTIATION_INFO = 0xFF01


Extensions: TypeAlias = Mapping[int, bytes]

_EXTENSION: Final = Struct("!HH")

NO_RENEGOTIATION: Final = b"\x00"
"""renegotiation_info of a first handshake (RFC 5746 section 3.2)."""
UNCOMPRESSED: Final = b"\x01\x00"
"""ec_point_formats with the only format there is (RFC 8422 section 5.1.2)."""


@frozen(slots=True)
class UseSrtp:
    """The body of use_srtp (RFC 5764 section 4.1.1): profile numbers, best first, and the MKI."""

    profiles: tuple[int, ...]
    mki: bytes


def decode_block_untrusted(reader: Reader) -> dict[int, bytes]:
    """The rest of a hello: nothing, or one block of extensions that ends with it."""
    found: dict[int, bytes] = {}
    if reader.exhausted:
        return found
    block = reader.vector_untrusted(2)
    reader.finish_untrusted()
    offset, end = 0, len(block)
    while offset < end:
        if end - offset < 4:
            raise DecodeError("ends inside an extension")
        code, length = _EXTENSION.unpack_from(block, offset)
        start = offset + 4
        offset = start + length
        if offset > end:
            raise DecodeError("ends inside an extension")
        if code in found:
            raise DecodeError("an extension that stands twice")
        found[code] = block[start:offset]
    return found


def encode_block(extensions: Iterable[tuple[int, bytes]]) -> bytes:
    """A block as it ends a hello; nothing where there are no extensions."""
    block = b"".join(code.to_bytes(2) + vector(body, 2) for code, body in extensions)
    return vector(block, 2) if block else b""


@lru_cache(maxsize=64)
def decode_use_srtp_untrusted(body: bytes) -> UseSrtp:
    reader = Reader(body)
    profiles = integers_untrusted(reader.vector_untrusted(2), 2)
    mki = reader.vector_untrusted(1)
    reader.finish_untrusted()
    return UseSrtp(profiles, mki)


def encode_use_srtp(profiles: Iterable[SrtpProfile]) -> bytes:
    """With an empty MKI, always: an MKI of the peer's is not echoed (RFC 5764 section 4.1.3)."""
    return vector(integers((profile.value for profile in profiles), 2), 2) + b"\x00"


@lru_cache(maxsize=64)
def decode_list_untrusted(body: bytes, width: int = 2) -> tuple[int, ...]:
    """The one list of 16-bit codes that fills supported_groups or signature_algorithms. ``width``
    is that of the list's length: supported_versions has 1 there."""
    reader = Reader(body)
    codes = integers_untrusted(reader.vector_untrusted(width), 2)
    reader.finish_untrusted()
    return codes


def encode_list(codes: Iterable[int]) -> bytes:
    return vector(integers(codes, 2), 2)


@lru_cache(maxsize=32)
def client_block(profiles: tuple[SrtpProfile, ...]) -> bytes:
    """What our ClientHello says. The same for every connection with these profiles."""
    return encode_block(
        (
            (Extension.EXTENDED_MASTER_SECRET, b""),
            (Extension.RENEGOTIATION_INFO, NO_RENEGOTIATION),
            (Extension.SUPPORTED_GROUPS, encode_list(Group)),
            (Extension.EC_POINT_FORMATS, UNCOMPRESSED),
            (Extension.SIGNATURE_ALGORITHMS, encode_list(SCHEMES)),
            (Extension.USE_SRTP, encode_use_srtp(profiles)),
        )
    )


@lru_cache(maxsize=32)
def server_block(profile: SrtpProfile | None, renegotiation: bool, point_formats: bool) -> bytes:
    """What our ServerHello says, to clients that mentioned these or did not."""
    extensions: list[tuple[int, bytes]] = [(Extension.EXTENDED_MASTER_SECRET, b"")]
    if renegotiation:
        extensions.append((Extension.RENEGOTIATION_INFO, NO_RENEGOTIATION))
    if point_formats:
        extensions.append((Extension.EC_POINT_FORMATS, UNCOMPRESSED))
    if profile is not None:
        extensions.append((Extension.USE_SRTP, encode_use_srtp((profile,))))
    return encode_block(extensions)
