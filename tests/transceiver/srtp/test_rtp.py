"""RTP packets: round trips, aiortc as a second opinion, and hostile bytes."""

import aiortc.rtp
import pytest
from aiortc.rtp import HeaderExtensionsMap
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from corpus import corpus_path
from stunroute.errors import DecodeError
from transceiver.srtp import rtp
from transceiver.srtp.rtp import RtpPacket

PLAIN = RtpPacket(111, True, 4660, 0xDEADBEEF, 0x01020304, payload=b"opus")

elements = st.one_of(
    st.lists(st.tuples(st.integers(1, 14), st.binary(min_size=1, max_size=16)), max_size=6),
    st.lists(st.tuples(st.integers(1, 255), st.binary(max_size=60)), max_size=6),
).map(tuple)

packets = st.builds(
    RtpPacket,
    payload_type=st.integers(0, 127),
    marker=st.booleans(),
    sequence=st.integers(0, 65535),
    timestamp=st.integers(0, 2**32 - 1),
    ssrc=st.integers(0, 2**32 - 1),
    csrcs=st.lists(st.integers(0, 2**32 - 1), max_size=15).map(tuple),
    extensions=elements,
    payload=st.binary(max_size=100),
    padding=st.integers(0, 255),
)

opaque_packets = st.builds(
    lambda packet, profile, words: evolve(
        packet, extensions=(), opaque_extension=(profile, b"".join(words))
    ),
    packets,
    st.integers(0, 65535).filter(lambda p: p != rtp.ONE_BYTE and p & 0xFFF0 != rtp.TWO_BYTE),
    st.lists(st.binary(min_size=4, max_size=4), max_size=5),
)


@given(packet=packets | opaque_packets)
def test_round_trip(packet: RtpPacket) -> None:
    wire = rtp.encode(packet)
    assert rtp.decode_untrusted(wire) == packet
    assert rtp.peek_ssrc_untrusted(wire) == packet.ssrc
    trailing = len(packet.payload) + packet.padding
    assert rtp.header_length_untrusted(wire) == len(wire) - trailing


def test_the_fixed_header_octet_by_octet() -> None:
    """RFC 3550 section 5.1."""
    assert rtp.encode(PLAIN) == bytes.fromhex("80ef1234deadbeef01020304") + b"opus"


def test_one_byte_extensions() -> None:
    """RFC 8285 section 4.2: the length is one less, and zero octets pad to a word."""
    wire = bytes.fromhex("906f0001000000020000000310aabede")[:12] + bytes.fromhex(
        "bede000310aa00003201020300000000"
    )
    packet = rtp.decode_untrusted(wire + b"x")
    assert packet.extensions == ((1, b"\xaa"), (3, b"\x01\x02\x03"))
    assert packet.extension(3) == b"\x01\x02\x03"
    assert packet.extension(9) is None
    assert packet.payload == b"x"
    assert rtp.encode(packet)[12:16] == bytes.fromhex("bede0002")


def test_two_byte_extensions() -> None:
    """RFC 8285 section 4.3: empty values, identifiers past 14, and application bits."""
    for profile in ("1000", "100f"):
        wire = bytes.fromhex(
            "906f00010000000200000003" + profile + "00030100" + "00ff04" + 4 * "77"
        )
        wire += bytes.fromhex("000000")
        packet = rtp.decode_untrusted(wire)
        assert packet.extensions == ((1, b""), (255, b"\x77" * 4))
    assert rtp.encode(packet)[12:14] == bytes.fromhex("1000")


@pytest.mark.parametrize("stop", ["f0", "f3", "03"])
def test_identifiers_that_end_a_one_byte_block(stop: str) -> None:
    """RFC 8285 section 4.2: 15, and 0 with a length. What came before is kept."""
    wire = bytes.fromhex("906f00010000000200000003bede0002" + "10aa" + stop + "ff" + 4 * "ff")
    assert rtp.decode_untrusted(wire).extensions == ((1, b"\xaa"),)


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        ("", "shorter"),
        ("806f000100000002000000", "shorter"),
        ("406f00010000000200000003", "version"),
        ("c06f00010000000200000003", "version"),
        ("006f00010000000200000003", "version"),
        ("816f00010000000200000003ffffff", "inside its header"),
        ("906f00010000000200000003", "extension header"),
        ("906f00010000000200000003bede00", "extension header"),
        ("906f00010000000200000003bede0001ffffff", "inside its header"),
        ("906f00010000000200000003bedeffff00000000", "inside its header"),
        ("906f00010000000200000003bede000112aabb00", None),
        ("906f00010000000200000003bede000113aabb00", "past its block"),
        ("906f00010000000200000003100000010105aabb", "past its block"),
        ("906f000100000002000000031000000100000001", "past its block"),
        ("a06f00010000000200000003", "padding"),
        ("a06f0001000000020000000300", "padding"),
        ("a06f0001000000020000000302", "padding"),
        ("a06f0001000000020000000301", None),
        ("b06f00010000000200000003bede000010", "padding"),
    ],
)
def test_malformed(wire: str, reason: str | None) -> None:
    if reason is None:
        rtp.decode_untrusted(bytes.fromhex(wire))
        return
    with pytest.raises(DecodeError, match=reason):
        rtp.decode_untrusted(bytes.fromhex(wire))


def test_peek_refuses_what_is_too_short() -> None:
    with pytest.raises(DecodeError):
        rtp.peek_ssrc_untrusted(bytes(11))
    assert rtp.peek_ssrc_untrusted(bytes(8) + b"\x00\x00\x01\x00") == 256


@pytest.mark.parametrize(
    "changes",
    [
        {"payload_type": 128},
        {"payload_type": -1},
        {"sequence": 65536},
        {"timestamp": 1 << 32},
        {"ssrc": -1},
        {"csrcs": (0,) * 16},
        {"padding": 256},
        {"extensions": ((0, b"x"),)},
        {"extensions": ((256, b"x"),)},
        {"extensions": ((1, bytes(256)),)},
        {"opaque_extension": (0x0101, b"abc")},
        {"opaque_extension": (65536, b"")},
        {"opaque_extension": (0x0101, b""), "extensions": ((1, b"x"),)},
    ],
)
def test_fields_out_of_range_raise(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        rtp.encode(evolve(PLAIN, **changes))


def test_first_sequence_numbers_leave_room_before_the_wrap() -> None:
    """SRTP 1: a receiver that misses our first packets must not miss a wrap with them."""
    assert rtp.initial_sequence(lambda n: b"\xff" * n) == 0x7FFF
    assert rtp.initial_sequence(lambda n: b"\x80\x01"[:n]) == 1


@given(data=st.binary(max_size=200), head=st.sampled_from([b"", b"\x80", b"\xb3o", b"\x90o"]))
def test_noise_raises_only_decode_errors(data: bytes, head: bytes) -> None:
    try:
        packet = rtp.decode_untrusted(head + data)
    except DecodeError:
        return
    assert rtp.decode_untrusted(rtp.encode(packet)) == packet


# --- aiortc as a second opinion -------------------------------------------------------------------


def same(ours: RtpPacket, theirs: aiortc.rtp.RtpPacket) -> bool:
    return (
        ours.payload_type,
        ours.marker,
        ours.sequence,
        ours.timestamp,
        ours.ssrc,
        list(ours.csrcs),
        ours.payload,
        ours.padding,
    ) == (
        theirs.payload_type,
        bool(theirs.marker),
        theirs.sequence_number,
        theirs.timestamp,
        theirs.ssrc,
        theirs.csrc,
        theirs.payload,
        theirs.padding_size,
    )


@given(packet=packets)
def test_aiortc_reads_what_we_write(packet: RtpPacket) -> None:
    wire = rtp.encode(packet)
    assert same(packet, aiortc.rtp.RtpPacket.parse(wire))
    if packet.extensions:
        start = 12 + 4 * len(packet.csrcs)
        profile = int.from_bytes(wire[start : start + 2], "big")
        block = wire[start + 4 : rtp.header_length_untrusted(wire)]
        assert tuple(aiortc.rtp.unpack_header_extensions(profile, block)) == packet.extensions


@given(packet=packets)
def test_we_read_what_aiortc_writes(packet: RtpPacket) -> None:
    theirs = aiortc.rtp.RtpPacket(
        packet.payload_type,
        int(packet.marker),
        packet.sequence,
        packet.timestamp,
        packet.ssrc,
        packet.payload,
    )
    theirs.csrc = list(packet.csrcs)
    theirs.padding_size = packet.padding
    assert rtp.decode_untrusted(theirs.serialize()) == evolve(packet, extensions=())
    profile, block = aiortc.rtp.pack_header_extensions(list(packet.extensions))
    if block:
        start = 12 + 4 * len(packet.csrcs)
        wire = rtp.encode(packet)
        assert wire[start + 4 : start + 4 + len(block)] == block
        assert int.from_bytes(wire[start : start + 2], "big") == profile


@pytest.mark.corpus
@pytest.mark.parametrize(
    "folder",
    [
        "libsrtp-fuzz/corpus",
        "libwebrtc-fuzz/rtp-corpus",
        "libwebrtc-fuzz/rtpdump-corpus",
        "aiortc-bins",
        "werift-rtp",
        "mediasoup-fuzz",
    ],
)
def test_fuzz_corpora_raise_only_decode_errors_and_agree_with_aiortc(folder: str) -> None:
    seen = 0
    for path in sorted(corpus_path("fuzz", *folder.split("/")).rglob("*")):
        if not path.is_file():
            continue
        data = path.read_bytes()
        seen += 1
        try:
            packet = rtp.decode_untrusted(data)
        except DecodeError:
            continue
        assert rtp.decode_untrusted(rtp.encode(packet)) == packet
        try:
            theirs = aiortc.rtp.RtpPacket.parse(data, HeaderExtensionsMap())
        except ValueError:
            continue  # its one-byte form knows no end of block
        assert same(packet, theirs)
    assert seen


@pytest.mark.corpus
def test_aiortc_samples_decode_to_what_they_are() -> None:
    folder = corpus_path("fuzz", "aiortc-bins")
    packet = rtp.decode_untrusted((folder / "rtp_with_sdes_mid.bin").read_bytes())
    assert [value for _, value in packet.extensions] == [b"0"]
    padded = rtp.decode_untrusted((folder / "rtp_only_padding.bin").read_bytes())
    assert not padded.payload
    assert padded.padding == 224
    assert len(rtp.decode_untrusted((folder / "rtp_with_csrc.bin").read_bytes()).csrcs) == 2
