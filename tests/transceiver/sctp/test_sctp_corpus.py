"""Packets that once upset other implementations, through everything that reads here."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from corpus import corpus_path
from stunroute.errors import DecodeError
from transceiver.config import SctpLimits
from transceiver.sctp import causes, parameters
from transceiver.sctp.chunks import Data, ForwardTsn
from transceiver.sctp.inbound import Inbound
from transceiver.sctp.packet import HEADER_LENGTH, Packet, assemble, decode_untrusted

pytestmark = pytest.mark.corpus


def samples(root: Path) -> Iterator[bytes]:
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.suffix not in (".txt", ".md"):
            yield path.read_bytes()


def read(data: bytes) -> Packet | None:
    try:
        return decode_untrusted(data, accept_zero_checksum=True)
    except DecodeError:
        return None


def read_everything(data: bytes) -> list[Packet]:
    """The sample as a packet, and as the chunks of one whose checksum is right: the fuzzers that
    these come from have no header, or one byte in its place, or a checksum nobody looks at."""
    for decode in (parameters.decode_untrusted, causes.decode_untrusted):
        with suppress(DecodeError):
            decode(data)
    as_packet = read(data)
    bodies = (data, data[1:], data[HEADER_LENGTH:])
    found = [as_packet, *(read(assemble(5000, 5000, 1, [body])) for body in bodies)]
    return [packet for packet in found if packet is not None]


@pytest.mark.parametrize(
    ("parts", "readable"),
    [(("usrsctp-fuzz",), 100), (("libwebrtc-fuzz", "sctp-packet-corpus"), 8)],
    ids=["usrsctp", "libwebrtc"],
)
def test_only_decode_errors(parts: tuple[str, ...], readable: int) -> None:
    """At least ``readable`` of the samples are packets, or the chunks of some, and their DATA and
    FORWARD-TSN go through the receiving side in bounds."""
    limits = SctpLimits()
    seen = 0
    for data in samples(corpus_path("fuzz", *parts)):
        packets = read_everything(data)
        seen += bool(packets)
        for packet in packets:
            first = next((c.tsn for c in packet.chunks if isinstance(c, Data)), 0)
            inbound = Inbound(first, limits)
            for chunk in packet.chunks:
                assert len(chunk.encode()) % 4 == 0
                if isinstance(chunk, Data):
                    inbound.receive(chunk)
                elif isinstance(chunk, ForwardTsn):
                    inbound.receive_forward(chunk)
            assert len(inbound.sack().encode()) <= limits.packet - HEADER_LENGTH
    assert seen >= readable
