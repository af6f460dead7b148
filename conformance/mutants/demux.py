"""Servers that take a datagram for something else than its first bytes say."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stunroute import demux
from stunroute.demux import Kind
from stunroute.instant import Instant
from transceiver.path import Path
from transceiver.session import Session
from transceiver.srtp import rtp

from .model import mutant, swapped


def _sorted_otherwise(table: str, octet: int, kind: Kind) -> Any:
    kinds = list(getattr(demux, table))
    kinds[octet] = kind
    return swapped(demux, table, tuple(kinds))


@contextmanager
def _heard_as_rtp(octet: int) -> Iterator[None]:
    """As RTP, and nobody looks at its version."""

    def header_length(data: bytes) -> int:
        return honest(bytes([0x80 | data[0] & 0x3F]) + data[1:])

    honest = rtp.header_length_untrusted
    with (
        _sorted_otherwise("_BY_FIRST_OCTET", octet, Kind.RTP),
        swapped(rtp, "header_length_untrusted", header_length),
    ):
        yield


@mutant(
    "demux/127-is-rtp",
    "It takes datagrams that begin with 127 for RTP.",
    killer="rfc9443/3/audio-that-begins-with-127",
)
def octet_127_is_rtp() -> Iterator[None]:
    with _heard_as_rtp(127):
        yield


@mutant(
    "demux/192-is-rtp",
    "It takes datagrams that begin with 192 for RTP.",
    killer="rfc9443/3/audio-that-begins-with-192",
)
def octet_192_is_rtp() -> Iterator[None]:
    with _heard_as_rtp(192):
        yield


@mutant(
    "demux/191-is-not-rtp",
    "It takes datagrams that begin with 191 for nothing.",
    killer="rfc9443/3/audio-that-begins-with-191",
)
def octet_191_is_not_rtp() -> Iterator[None]:
    with _sorted_otherwise("_BY_FIRST_OCTET", 191, Kind.UNKNOWN):
        yield


@mutant(
    "demux/224-is-rtcp",
    "It takes packets whose second byte is 224 for RTCP.",
    killer="rfc5761/4/second-octet-224-is-rtp",
)
def second_octet_224_is_rtcp() -> Iterator[None]:
    with _sorted_otherwise("_BY_SECOND_OCTET", 224, Kind.RTCP):
        yield


@mutant(
    "demux/64-is-dtls",
    "It takes datagrams that begin with 64 for DTLS, and their records for a handshake.",
    killer="rfc9443/3/hello-that-begins-with-64",
)
def octet_64_is_dtls() -> Iterator[None]:
    def receive(self: Session, payload: bytes, path: Path, now: Instant) -> None:
        honest(self, b"\x16" + payload[1:] if payload[0] == 64 else payload, path, now)

    honest = Session._receive_dtls
    with (
        _sorted_otherwise("_BY_FIRST_OCTET", 64, Kind.DTLS),
        swapped(Session, "_receive_dtls", receive),
    ):
        yield
