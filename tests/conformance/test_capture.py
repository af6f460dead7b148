"""What is written is read back, what is broken is named, what is foreign is understood."""

import csv
import io
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from conformance import capture
from conformance.capture import CaptureError, Packet, Writer
from corpus import corpus_path
from stunroute.address import Address

A4, B4 = Address.of("192.0.2.1", 5000), Address.of("198.51.100.7", 3478)
A6, B6 = Address.of("2001:db8::1", 5000), Address.of("2001:db8::2", 3478)

addresses = st.one_of(
    st.builds(
        lambda host, port: Address(bytes(10) + b"\xff\xff" + host, port),
        st.binary(min_size=4, max_size=4),
        st.integers(0, 65535),
    ),
    st.builds(Address, st.binary(min_size=16, max_size=16), st.integers(0, 65535)),
)
times = st.integers(0, (1 << 32) * 1_000_000_000 - 1)
datagrams = st.tuples(times, addresses, addresses, st.binary(max_size=1500))


def written(packets: list[tuple[int, Address, Address, bytes]]) -> bytes:
    file = io.BytesIO()
    writer = Writer(file)
    for packet in packets:
        writer.write(*packet)
    assert writer.written == len(file.getvalue())
    assert writer.packets == len(packets)
    return file.getvalue()


def read(tmp_path: Path, data: bytes) -> list[Packet]:
    path = tmp_path / "test.pcap"
    path.write_bytes(data)
    return list(capture.read(path))


def read_some(tmp_path: Path, data: bytes) -> tuple[list[Packet], CaptureError | None]:
    path = tmp_path / "test.pcap"
    path.write_bytes(data)
    packets: list[Packet] = []
    reader = capture.read(path)
    while True:
        try:
            packet = next(reader, None)
        except CaptureError as error:
            return packets, error
        if packet is None:
            return packets, None
        packets.append(packet)


modest = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@modest
@given(st.lists(datagrams, max_size=8))
@example([(0, A4, B4, b""), (1, A6, B6, b"x"), (999_999_999, A4, B6, b"yy")])
def test_what_is_written_is_read_back(
    tmp_path: Path, packets: list[tuple[int, Address, Address, bytes]]
) -> None:
    found = read(tmp_path, written(packets))
    assert [(p.time_ns, p.source, p.destination, p.payload) for p in found] == packets
    assert [p.number for p in found] == list(range(1, len(packets) + 1))
    assert all(p.is_udp and not p.fragment and not p.note for p in found)


@modest
@given(datagrams)
def test_checksums_are_those_that_scapy_computes(
    packet: tuple[int, Address, Address, bytes],
) -> None:
    from scapy.layers.inet import IP, UDP
    from scapy.layers.inet6 import IPv6

    _, source, destination, payload = packet
    data = capture.datagram(source, destination, payload)
    kind = IP if data[0] >> 4 == 4 else IPv6
    parsed = kind(data)
    wanted = (parsed[UDP].chksum, getattr(parsed, "chksum", None))
    del parsed[UDP].chksum
    if kind is IP:
        del parsed.chksum
    again = kind(bytes(parsed))
    assert (again[UDP].chksum, getattr(again, "chksum", None)) == wanted


def test_a_checksum_of_zero_is_sent_as_ones() -> None:
    # The payload that brings the sum of all words to 0xFFFF, found by asking for the checksum
    # of the same datagram with a zero word.
    zero = capture.datagram(A4, B4, bytes(2))
    checksum = zero[26:28]
    assert capture.datagram(A4, B4, checksum)[26:28] == b"\xff\xff"


def test_what_does_not_fit_is_refused() -> None:
    writer = Writer(io.BytesIO())
    with pytest.raises(ValueError, match="do not fit"):
        writer.write(0, A4, B4, bytes(capture.LARGEST_PAYLOAD + 1))
    with pytest.raises(ValueError, match="time stamp"):
        writer.write(-1, A4, B4, b"")
    with pytest.raises(ValueError, match="time stamp"):
        writer.write((1 << 32) * 1_000_000_000, A4, B4, b"")
    assert writer.write(0, A4, B4, bytes(capture.LARGEST_PAYLOAD)) == 1


def test_a_capture_cut_at_any_byte_names_the_packet(tmp_path: Path) -> None:
    packets = [(n, A4, B4, bytes([n]) * (10 * n)) for n in range(1, 4)]
    whole = written(packets)
    borders = [24]
    for *_, payload in packets:
        borders.append(borders[-1] + 16 + 28 + len(payload))
    for cut in range(len(whole)):
        found, error = read_some(tmp_path, whole[:cut])
        if cut in borders:
            assert error is None
            assert len(found) == borders.index(cut)
            continue
        assert error is not None, cut
        assert error.reason
        assert error.number == len(found) + (cut > 24)
        name = f"packet {error.number}" if error.number else "file header"
        assert name in str(error)


# --- pcapng -------------------------------------------------------------------------------------


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + length + body + length


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link: int = 101, options: bytes = b"", order: str = "<", snapshot: int = 0) -> bytes:
    return block(1, struct.pack(order + "HHI", link, 0, snapshot) + options, order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def enhanced(frame: bytes, ticks: int = 0, index: int = 0, order: str = "<") -> bytes:
    head = struct.pack(
        order + "IIIII", index, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame)
    )
    return block(6, head + frame + bytes(-len(frame) % 4), order)


FRAME = capture.datagram(A4, B4, b"hello")


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_in_either_byte_order(tmp_path: Path, order: str) -> None:
    data = section(order) + interface(order=order) + enhanced(FRAME, 1_500_000, order=order)
    (packet,) = read(tmp_path, data)
    assert (packet.payload, packet.source, packet.time_ns) == (b"hello", A4, 1_500_000_000)


@pytest.mark.parametrize(
    ("resolution", "ticks", "time_ns"),
    [(6, 7, 7_000), (9, 7, 7), (3, 7, 7_000_000), (0x80 | 10, 1024, 1_000_000_000), (12, 5500, 5)],
)
def test_pcapng_time_resolutions(tmp_path: Path, resolution: int, ticks: int, time_ns: int) -> None:
    options = option(9, bytes([resolution])) + option(0, b"")
    (packet,) = read(tmp_path, section() + interface(options=options) + enhanced(FRAME, ticks))
    assert packet.time_ns == time_ns


def test_pcapng_time_offset(tmp_path: Path) -> None:
    options = option(14, struct.pack("<q", 100)) + option(0, b"")
    (packet,) = read(tmp_path, section() + interface(options=options) + enhanced(FRAME, 7))
    assert packet.time_ns == 100_000_007_000


def test_pcapng_simple_and_obsolete_blocks(tmp_path: Path) -> None:
    simple = block(3, struct.pack("<I", len(FRAME)) + FRAME)
    obsolete = block(2, struct.pack("<HHIIII", 0, 0, 0, 9, len(FRAME), len(FRAME)) + FRAME)
    other = block(5, bytes(12))
    data = section() + interface() + simple + other + obsolete
    assert [p.payload for p in read(tmp_path, data)] == [b"hello", b"hello"]
    cut = block(3, struct.pack("<I", len(FRAME)) + FRAME[:20])
    (packet,) = read(tmp_path, section() + interface(snapshot=20) + cut)
    assert not packet.is_udp
    assert "20 of 33 bytes captured" in packet.note


def test_each_section_of_a_pcapng_numbers_its_interfaces_anew(tmp_path: Path) -> None:
    framed = bytes(12) + b"\x08\x00" + FRAME
    data = section() + interface(1) + enhanced(framed)
    data += section(">") + interface(101, order=">") + enhanced(FRAME, order=">")
    assert [p.link_type for p in read(tmp_path, data)] == [1, 101]
    assert [p.payload for p in read(tmp_path, data)] == [b"hello", b"hello"]


def test_a_pcapng_cut_at_any_byte_names_the_packet(tmp_path: Path) -> None:
    blocks = [section(), interface(), enhanced(FRAME), enhanced(FRAME, 5)]
    whole = b"".join(blocks)
    borders = [len(b"".join(blocks[:n])) for n in range(1, 5)]
    for cut in range(len(whole)):
        found, error = read_some(tmp_path, whole[:cut])
        if cut in borders:
            assert error is None
            assert len(found) == max(0, borders.index(cut) - 1)
        else:
            assert error is not None, cut
            assert error.number in (0, len(found) + 1)
            assert cut < 4 or f"packet {error.number}" in str(error) or error.number == 0


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"not a capture", "neither pcap nor pcapng"),
        (b"\x1f\x8b" + bytes(30), "neither"),
        (struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 5, 0, 0, 0, 1), "version 2.5"),
        (
            struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 0, 1)
            + bytes(8)
            + struct.pack("<II", 1 << 30, 1 << 30),
            "claims 1073741824 bytes",
        ),
        (section()[:8] + bytes(20), "no byte order"),
        (section() + enhanced(FRAME), "interface 0 was never described"),
        (section() + block(1, b"1234"), "interface description cut short"),
        (section() + interface() + block(6, bytes(8)), "packet block cut short"),
        (
            section() + interface() + block(6, struct.pack("<IIIII", 0, 0, 0, 999, 999)),
            "cut short: 0 of 999",
        ),
        (section() + struct.pack("<II", 6, 13) + bytes(20), "block length 13 makes no sense"),
        (section() + struct.pack("<II", 6, 8) + bytes(20), "block length 8 makes no sense"),
        (section() + struct.pack("<II", 6, 0xFFFFFFFC) + bytes(20), "makes no sense"),
        (section() + struct.pack("<III", 5, 12, 16), "two lengths differ"),
        (block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 9, 0, -1)), "another version"),
        (block(0x0A0D0D0A, struct.pack("<I", 0x1A2B3C4D)), "another version"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, data: bytes, reason: str) -> None:
    _, error = read_some(tmp_path, data)
    assert error is not None
    assert reason in str(error)
    assert "\n" not in str(error)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="No such file"):
        list(capture.read(tmp_path / "absent.pcap"))


@modest
@given(st.data())
def test_hostile_bytes_raise_nothing_else(tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray(
        data.draw(
            st.sampled_from(
                [
                    written([(1, A4, B4, b"one"), (2, A6, B6, b"two")]),
                    section() + interface() + enhanced(FRAME) + enhanced(FRAME),
                    section(">") + interface(1, order=">") + enhanced(bytes(60), order=">"),
                ]
            )
        )
    )
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    found, error = read_some(tmp_path, bytes(whole))
    assert error is None or error.number <= len(found) + 1


@modest
@given(st.binary(max_size=200), st.sampled_from([0, 1, 12, 101, 108, 113, 228, 229, 276, 999]))
def test_hostile_frames_raise_nothing(tmp_path: Path, frame: bytes, link: int) -> None:
    head = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 0, link)
    data = head + struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame
    (packet,) = read(tmp_path, data)
    assert packet.is_udp == (packet.protocol == 17 and not packet.note)


# --- link layers and IP -------------------------------------------------------------------------


def pcap(link: int, *frames: bytes, wire: int = 0) -> bytes:
    data = struct.pack(">IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)
    for frame in frames:
        data += struct.pack(">IIII", 1, 2, len(frame), max(wire, len(frame))) + frame
    return data


FRAME6 = capture.datagram(A6, B6, b"hello")
ETHERNET = bytes(12)


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        (101, FRAME),
        (101, FRAME6),
        (12, FRAME),
        (228, FRAME),
        (229, FRAME6),
        (1, ETHERNET + b"\x08\x00" + FRAME),
        (1, ETHERNET + b"\x86\xdd" + FRAME6),
        (1, ETHERNET + b"\x08\x00" + FRAME + bytes(7)),  # padded to the least length of a frame
        (1, ETHERNET + b"\x81\x00\x00\x05\x08\x00" + FRAME),
        (1, ETHERNET + b"\x88\xa8\x00\x05\x81\x00\x00\x06\x86\xdd" + FRAME6),
        (1, ETHERNET + b"\x88\x64\x11\x00\x00\x01\x00\x23\x00\x21" + FRAME),
        (113, bytes(14) + b"\x08\x00" + FRAME),
        (113, bytes(14) + b"\x81\x00\x00\x05\x86\xdd" + FRAME6),
        (276, b"\x08\x00" + bytes(18) + FRAME),
        (276, b"\x86\xdd" + bytes(18) + FRAME6),
        (0, b"\x02\x00\x00\x00" + FRAME),
        (0, b"\x00\x00\x00\x02" + FRAME),
        (0, b"\x1e\x00\x00\x00" + FRAME6),
        (108, b"\x00\x00\x00\x18" + FRAME6),
    ],
)
def test_link_layers(tmp_path: Path, link: int, frame: bytes) -> None:
    (packet,) = read(tmp_path, pcap(link, frame))
    assert packet.payload == b"hello"
    assert packet.is_udp
    assert packet.time_ns == 1_000_002_000
    assert packet.link_type == link
    assert (packet.source, packet.destination) in ((A4, B4), (A6, B6))


def with_ip(**fields: int) -> bytes:
    data = bytearray(FRAME)
    if "fragment" in fields:
        data[6:8] = fields["fragment"].to_bytes(2, "big")
    if "protocol" in fields:
        data[9] = fields["protocol"]
    if "total" in fields:
        data[2:4] = fields["total"].to_bytes(2, "big")
    if "udp" in fields:
        data[24:26] = fields["udp"].to_bytes(2, "big")
    if "header" in fields:
        data[0] = 0x40 | fields["header"]
    return bytes(data)


def six(next_header: int, *extensions: bytes) -> bytes:
    body = b"".join(extensions) + FRAME6[40:]
    return FRAME6[:4] + len(body).to_bytes(2, "big") + bytes([next_header]) + FRAME6[7:40] + body


@pytest.mark.parametrize(
    ("frame", "note", "fragment"),
    [
        (with_ip(fragment=0x2000), "IP fragment at 0, more follow", True),
        (with_ip(fragment=0x0005), "IP fragment at 40, the last", True),
        (with_ip(protocol=6), "protocol 6", False),
        (with_ip(header=4), "IPv4 header malformed", False),
        (with_ip(total=24), "UDP header cut short", False),
        (with_ip(udp=7), "UDP length 7 does not fit", False),
        (with_ip(udp=500), "UDP length 500 does not fit", False),
        (with_ip(total=60, udp=40), "UDP payload cut short", False),
        (FRAME[:19], "IPv4 header cut short or malformed", False),
        (FRAME6[:39], "IPv6 header cut short or malformed", False),
        (b"\x00" * 40, "no IP", False),
        (b"", "no IP", False),
        (six(44, b"\x11\x00\x00\x01\x00\x00\x00\x07"), "IP fragment at 0, more follow", True),
        (six(44, b"\x11\x00\x00\x10\x00\x00\x00\x07"), "IP fragment at 16, the last", True),
        (FRAME6[:6] + b"\x3c" + FRAME6[7:44], "IPv6 extension header cut short", False),
    ],
)
def test_what_is_no_whole_datagram_says_so(
    tmp_path: Path, frame: bytes, note: str, fragment: bool
) -> None:
    (packet,) = read(tmp_path, pcap(101, frame))
    assert packet.note == note
    assert packet.fragment is fragment
    assert not packet.is_udp
    assert packet.payload == b""


@pytest.mark.parametrize(
    "frame",
    [
        six(0, b"\x11\x00" + bytes(6)),
        six(43, b"\x3c\x00" + bytes(6), b"\x11\x01" + bytes(14)),
        six(51, b"\x11\x01" + bytes(10)),
        six(44, b"\x11\x00\x00\x00\x00\x00\x00\x07"),  # an atomic fragment is whole (RFC 6946)
    ],
)
def test_extension_headers_are_stepped_over(tmp_path: Path, frame: bytes) -> None:
    (packet,) = read(tmp_path, pcap(101, frame))
    assert packet.is_udp
    assert packet.payload == b"hello"


def test_lengths_of_zero_mean_that_segmentation_was_offloaded(tmp_path: Path) -> None:
    (packet,) = read(tmp_path, pcap(101, with_ip(total=0)))
    assert packet.payload == b"hello"


def test_a_frame_cut_by_the_snapshot_length_says_so(tmp_path: Path) -> None:
    (packet,) = read(tmp_path, pcap(101, FRAME[:30], wire=33))
    assert packet.note == "UDP payload cut short (30 of 33 bytes captured)"
    (packet,) = read(tmp_path, pcap(999, FRAME))
    assert packet.note == "link type 999 is not known"


def manifest() -> list[dict[str, str]]:
    with corpus_path("pcaps", "MANIFEST.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.corpus
def test_counts_of_the_corpus() -> None:
    """Each capture has as many packets, UDP datagrams and IPv6 datagrams as its manifest says."""
    for row in manifest():
        packets = list(capture.read(corpus_path("pcaps", row["file"])))
        udp = [packet for packet in packets if packet.is_udp]
        six = [packet for packet in udp if not packet.source.is_ipv4]
        counts = (len(packets), len(udp), len(six))
        assert counts == (int(row["packets"]), int(row["udp"]), int(row["ipv6_udp"])), row["file"]
