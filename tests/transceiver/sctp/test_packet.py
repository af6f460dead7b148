"""Whole packets: borders, checksums, and any bytes at all."""

import struct

import google_crc32c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sctp_strategies import a_chunk, a_packet, a_stopping_chunk, packet_bytes
from stunroute.errors import DecodeError
from transceiver.sctp.chunks import (
    Chunk,
    CookieAck,
    Data,
    InitAck,
    Sack,
    Shutdown,
    ShutdownAck,
    Unknown,
)
from transceiver.sctp.packet import (
    HEADER_LENGTH,
    ChecksumError,
    Packet,
    assemble,
    decode_untrusted,
    encode,
)
from transceiver.sctp.parameters import ForwardTsnSupported, StateCookie


def encoded(packet: Packet, *, checksum: bool = True) -> bytes:
    return encode(
        packet.source_port, packet.destination_port, packet.tag, packet.chunks, checksum=checksum
    )


@given(packet=a_packet)
@settings(max_examples=100)
def test_round_trip(packet: Packet) -> None:
    data = encoded(packet)
    assert len(data) % 4 == 0
    assert decode_untrusted(data, accept_zero_checksum=False) == packet
    assert decode_untrusted(data, accept_zero_checksum=True) == packet


@given(packet=a_packet)
@settings(max_examples=50)
def test_round_trip_without_a_checksum(packet: Packet) -> None:
    """SCTP 3: a packet without a checksum is taken where that was agreed, and nowhere else."""
    data = encoded(packet, checksum=False)
    assert data[8:12] == bytes(4)
    assert decode_untrusted(data, accept_zero_checksum=True) == packet
    with pytest.raises(ChecksumError):
        decode_untrusted(data, accept_zero_checksum=False)


def test_a_packet_on_the_wire() -> None:
    """Big-endian throughout, but for the checksum."""
    data = encode(5000, 5001, 0x01020304, [ShutdownAck()])
    head = bytes.fromhex("1388 1389 01020304")
    body = bytes.fromhex("08 00 0004")
    crc = google_crc32c.value(head + bytes(4) + body)
    assert data == head + struct.pack("<I", crc) + body


def test_the_checksum_is_the_one_of_the_standard() -> None:
    """The check value of CRC32c over nine digits, so that both directions cannot be wrong alike."""
    assert google_crc32c.value(b"123456789") == 0xE3069283


@given(packet=a_packet, bit=st.integers(0, 31))
@settings(max_examples=50)
def test_a_wrong_checksum_is_refused(packet: Packet, bit: int) -> None:
    data = bytearray(encoded(packet))
    data[8 + bit // 8] ^= 1 << bit % 8
    for accept in (False, True):
        if accept and not any(data[8:12]):
            continue  # it has become one that is left out
        with pytest.raises(ChecksumError):
            decode_untrusted(bytes(data), accept_zero_checksum=accept)


@given(
    before=st.lists(a_chunk, max_size=2),
    stop=a_stopping_chunk,
    after=st.lists(a_chunk, max_size=2),
)
@settings(max_examples=50)
def test_nothing_behind_a_chunk_that_says_to_stop(
    before: list[Chunk], stop: Unknown, after: list[Chunk]
) -> None:
    data = encode(1, 2, 3, [*before, stop, *after])
    found = decode_untrusted(data, accept_zero_checksum=False)
    assert found.chunks == (*before, stop)
    assert stop.stops


@pytest.mark.parametrize(
    ("kind", "stops", "reports"),
    [(0x0C, True, False), (0x4C, True, True), (0x84, False, False), (0xC8, False, True)],
)
def test_what_the_type_of_an_unknown_chunk_says(kind: int, stops: bool, reports: bool) -> None:
    data = encode(1, 2, 3, [Unknown(kind, 7, b"abc"), CookieAck()])
    found = decode_untrusted(data, accept_zero_checksum=False).chunks
    first = found[0]
    assert first == Unknown(kind, 7, b"abc")
    assert isinstance(first, Unknown)
    assert (first.stops, first.reports) == (stops, reports)
    assert found[1:] == (() if stops else (CookieAck(),))


@given(data=st.one_of(st.binary(max_size=80), packet_bytes()))
@settings(max_examples=100)
def test_any_bytes_decode_or_raise_decode_error(data: bytes) -> None:
    for accept in (False, True):
        try:
            packet = decode_untrusted(data, accept_zero_checksum=accept)
        except DecodeError:
            continue
        assert packet.chunks
        for chunk in packet.chunks:
            assert len(chunk.encode()) % 4 == 0


@given(body=st.binary(max_size=60))
@settings(max_examples=100)
def test_any_bytes_behind_a_right_checksum(body: bytes) -> None:
    data = assemble(1, 2, 3, [body])
    try:
        packet = decode_untrusted(data, accept_zero_checksum=False)
    except ChecksumError:
        pytest.fail("it was right")
    except DecodeError:
        return
    assert packet.chunks


def test_refusals() -> None:
    good = encode(1, 2, 3, [Data(1, 2, 3, 4, b"abcd", True, True), Sack(5, 6)])
    for length in range(HEADER_LENGTH):
        with pytest.raises(DecodeError):
            decode_untrusted(good[:length], accept_zero_checksum=True)
    with pytest.raises(DecodeError, match="without a chunk"):
        decode_untrusted(assemble(1, 2, 3, []), accept_zero_checksum=False)
    for body in ("00", "08 00 00", "08 00 0003", "08 00 0000", "08 00 0008 0000"):
        with pytest.raises(DecodeError):
            decode_untrusted(assemble(1, 2, 3, [bytes.fromhex(body)]), accept_zero_checksum=False)


def test_a_chunk_that_cannot_be_read_spoils_its_packet() -> None:
    """What comes with it is not believed either."""
    bad = bytes.fromhex("07 00 0006 0102 0000")  # SHUTDOWN of half a TSN
    data = assemble(1, 2, 3, [Data(1, 2, 3, 4, b"abcd", True, True).encode(), bad])
    with pytest.raises(DecodeError):
        decode_untrusted(data, accept_zero_checksum=False)


@pytest.mark.parametrize("filling", [b"\xff\xff\xff", b"\x00\x00\x01", b"\x06\x00\x00"])
def test_what_padding_contains_means_nothing(filling: bytes) -> None:
    """rfc9260/3.2/4 and rfc9260/3.2.1/3: of chunks, of parameters and of causes."""
    data, ack = Data(1, 2, 3, 4, b"a", True, True), ShutdownAck()
    plain = data.encode()
    spoilt = assemble(1, 2, 3, [plain[:-3] + filling, ack.encode()])
    assert decode_untrusted(spoilt, accept_zero_checksum=False).chunks == (data, ack)
    cookie, other = StateCookie(b"c"), ForwardTsnSupported()
    init = InitAck(1, 2, 3, 4, 5, (cookie, other))
    whole = init.encode()
    spoilt = whole[:-7] + filling + whole[-4:]
    assert spoilt != whole
    packet = decode_untrusted(assemble(1, 2, 3, [spoilt]), accept_zero_checksum=False)
    assert packet.chunks == (init,)


def test_the_last_padding_may_be_missing() -> None:
    data = Data(1, 2, 3, 4, b"a", True, True)
    for body in (data.encode(), data.encode()[:-3]):
        packet = decode_untrusted(assemble(1, 2, 3, [body]), accept_zero_checksum=False)
        assert packet.chunks == (data,)
    both = [Shutdown(9), data]
    assert decode_untrusted(encode(1, 2, 3, both), accept_zero_checksum=False).chunks == (*both,)
