"""Captures in and out: the one room that knows Scapy.

Scapy reads and writes the files (pcap and pcapng, either byte order, micro- and nanoseconds). It
is lenient where we must not be: a file that ends in the middle of a packet looks to it like a file
that ends. So every file is measured first, record by record, by ``_survey``, which knows nothing
but the framing; Scapy's packets are then held against that measure, and the first one that is cut,
missing or different stops the reading with its number and the reason. What is inside a frame is
taken apart here, by offsets: only the bytes that were on the wire may leave this room, and a
dissector that builds them anew cannot promise that.

Written captures hold raw IP (link type 101) with nanosecond time stamps and right checksums. They
are written packet by packet as they come; nothing is held back.
"""

import struct
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, BinaryIO, cast

from attrs import field, frozen
from scapy.utils import RawPcapNgReader, RawPcapReader, RawPcapWriter

from stunroute.address import Address
from stunroute.errors import StunrouteError

LINK_NULL = 0
LINK_ETHERNET = 1
LINK_LOOP = 108
LINK_RAW = 101
LINK_LINUX_SLL = 113
LINK_IPV4 = 228
LINK_IPV6 = 229
LINK_LINUX_SLL2 = 276

UDP = 17
LARGEST_PACKET = 262144
"""Bytes of one captured frame; the largest snapshot length that capture programs use. A record
that claims more is taken for a broken file, before memory is spent on it."""
LARGEST_PAYLOAD = 65535 - 20 - 8
"""Bytes of UDP payload that one IPv4 packet holds."""

_NO_ADDRESS = Address(bytes(16), 0)


class CaptureError(StunrouteError):
    """A capture that cannot be read, or not to its end.

    ``number`` is the 1-based number of the packet at fault, 0 where it is the file's header;
    ``reason`` a short clause.
    """

    def __init__(self, path: Path | str, number: int, reason: str) -> None:
        where = f"packet {number}" if number else "file header"
        super().__init__(f"{path}: {where}: {reason}")
        self.path = str(path)
        self.number = number
        self.reason = reason


@frozen(slots=True)
class Packet:
    """One packet of a capture.

    ``number`` counts from 1 through all packets of the file, whatever they are; ``time_ns`` is
    nanoseconds since 1970. ``protocol`` is the IP protocol number (17 is UDP), None where the
    frame holds no IP. Only for whole UDP datagrams (``is_udp``) are ``source``, ``destination``
    and ``payload`` the datagram's; otherwise the ports are 0, ``payload`` is empty and ``note``
    says what the frame is: a fragment, a frame cut by the snapshot length, another protocol.
    ``frame`` is what was captured, link layer included, of ``wire_length`` bytes that there were.
    """

    number: int
    time_ns: int
    source: Address
    destination: Address
    payload: bytes = field(repr=False)
    protocol: int | None = UDP
    fragment: bool = False
    note: str = ""
    link_type: int = LINK_RAW
    frame: bytes = field(default=b"", repr=False, eq=False)
    wire_length: int = field(default=0, eq=False)

    @property
    def is_udp(self) -> bool:
        """A UDP datagram that is all there."""
        return self.protocol == UDP and not self.note


def read(path: Path | str) -> Iterator[Packet]:
    """Every packet of a pcap or pcapng file, in order, one at a time.

    Raises CaptureError as soon as the file turns out to be broken; what came before has been
    handed out by then.
    """
    path = Path(path)
    try:
        with path.open("rb") as measured, path.open("rb") as file:
            yield from _read(path, measured, file)
    except OSError as error:
        raise CaptureError(path, 0, error.strerror or str(error)) from error


def _read(path: Path, measured: BinaryIO, file: BinaryIO) -> Iterator[Packet]:
    records = _survey(measured, path)
    first = next(records)  # raises for a file that is no capture, before Scapy sees it
    frames = _scapy(file, first)
    for number, (record, raw) in enumerate(zip_longest(records, frames), start=1):
        if record is None or raw is None:
            raise CaptureError(path, number, "the readers disagree on the number of packets")
        data, link_type, time_ns = raw
        if len(data) != record.captured or link_type != record.link_type:
            raise CaptureError(path, number, "the readers disagree on the packet")
        yield _packet(number, time_ns + record.shift_ns, link_type, data, record.original)


def _scapy(file: BinaryIO, first: "_Record") -> Iterator[tuple[bytes, int, int]]:
    """Frames as Scapy reads them: bytes, link type, nanoseconds. Ends where Scapy does not go on;
    whether that is the file's end the survey knows."""
    if first.is_ng:
        # Scapy's annotations know file names only; file objects are documented all the same.
        reader: Any = cast(Any, _Sections)(file)
        while True:
            try:
                data, meta = reader._read_packet(LARGEST_PACKET)
            except EOFError:
                return
            ticks = ((meta.tshigh or 0) << 32) | (meta.tslow or 0)
            yield data, meta.linktype, ticks * 1_000_000_000 // meta.tsresol
    reader = cast(Any, RawPcapReader)(file)
    while True:
        try:
            data, meta = reader._read_packet(LARGEST_PACKET)
        except EOFError:
            return
        fraction = meta.usec if reader.nano else meta.usec * 1000
        yield data, reader.linktype, meta.sec * 1_000_000_000 + fraction


class _Sections(RawPcapNgReader):
    """Interface numbers begin anew with each section of a pcapng file, a snapshot length of zero is
    none, and keys that a capture brings are not for us: nothing is decrypted here."""

    def _read_block_shb(self) -> None:
        self.interfaces = []
        super()._read_block_shb()

    def _read_block_idb(self, block: bytes, size: int) -> None:
        super()._read_block_idb(block, size)
        link_type, snapshot, options = self.interfaces[-1]
        self.interfaces[-1] = (link_type, snapshot or LARGEST_PACKET, options)

    def _read_block_dsb(self, block: bytes, size: int) -> None:
        pass


# --- the measure of a file ----------------------------------------------------------------------


@frozen(slots=True)
class _Record:
    """What the framing says of one packet. The first of a survey stands for the file's header."""

    captured: int
    original: int
    link_type: int
    shift_ns: int = 0
    is_ng: bool = False


_MAGICS = {
    b"\xd4\xc3\xb2\xa1": "<",
    b"\xa1\xb2\xc3\xd4": ">",
    b"\x4d\x3c\xb2\xa1": "<",
    b"\xa1\xb2\x3c\x4d": ">",
}
_SECTION = b"\x0a\x0d\x0d\x0a"
_INTERFACE_BLOCK, _OBSOLETE_BLOCK, _SIMPLE_BLOCK, _ENHANCED_BLOCK = 1, 2, 3, 6
_LARGEST_BLOCK = LARGEST_PACKET + 65536


def _survey(file: BinaryIO, path: Path) -> Iterator[_Record]:
    """The header's record, then one for every packet. Raises CaptureError where a record is not
    whole."""
    magic = file.read(4)
    if magic == _SECTION:
        return _survey_blocks(file, path)
    if magic in _MAGICS:
        return _survey_pcap(file, path, _MAGICS[magic])
    problem = "the file is empty" if not magic else "neither pcap nor pcapng"
    raise CaptureError(path, 0, problem)


def _survey_pcap(file: BinaryIO, path: Path, order: str) -> Iterator[_Record]:
    header = file.read(20)
    if len(header) < 20:
        raise CaptureError(path, 0, f"cut short: {4 + len(header)} of 24 bytes")
    major, minor, _, _, _, link_type = struct.unpack(order + "HHIIII", header)
    if (major, minor) != (2, 4):
        raise CaptureError(path, 0, f"pcap version {major}.{minor} is not 2.4")
    yield _Record(0, 0, link_type)
    number = 0
    while head := file.read(16):
        number += 1
        if len(head) < 16:
            raise CaptureError(path, number, f"header cut short: {len(head)} of 16 bytes")
        _, _, captured, original = struct.unpack(order + "IIII", head)
        if captured > LARGEST_PACKET:
            raise CaptureError(path, number, f"claims {captured} bytes")
        if (there := len(file.read(captured))) < captured:
            raise CaptureError(path, number, f"cut short: {there} of {captured} bytes")
        yield _Record(captured, original, link_type)


def _survey_blocks(file: BinaryIO, path: Path) -> Iterator[_Record]:
    """pcapng: blocks of type, length, body, length again. A packet block that is not whole counts
    as the next packet; another block is named by the packet it stands before."""
    yield _Record(0, 0, 0, is_ng=True)
    order, number = "<", 0
    interfaces: list[tuple[int, int, int]] = []
    file.seek(0)
    while kind_bytes := file.read(4):
        if kind_bytes == _SECTION:
            order = _byte_order(file, path, number)
            interfaces = []
        kind, body = _block(file, path, number + 1, kind_bytes, order)
        if kind_bytes == _SECTION and (
            len(body) < 16 or body[4:6] not in (b"\x00\x01", b"\x01\x00")
        ):
            raise CaptureError(path, number, "a section header of another version")
        if kind == _INTERFACE_BLOCK:
            interfaces.append(_interface(body, order, path, number + 1))
        elif kind in (_OBSOLETE_BLOCK, _SIMPLE_BLOCK, _ENHANCED_BLOCK):
            number += 1
            yield _packet_record(kind, body, order, interfaces, path, number)


def _byte_order(file: BinaryIO, path: Path, number: int) -> str:
    head = file.read(8)
    file.seek(-len(head), 1)
    match head[4:]:
        case b"\x1a\x2b\x3c\x4d":
            return ">"
        case b"\x4d\x3c\x2b\x1a":
            return "<"
    raise CaptureError(path, number and number + 1, "no byte order in the section header")


def _block(file: BinaryIO, path: Path, number: int, kind: bytes, order: str) -> tuple[int, bytes]:
    """The rest of a block whose type has been read: its type and its body."""
    head = file.read(4)
    if len(kind) < 4 or len(head) < 4:
        raise CaptureError(path, number, "block header cut short")
    (length,) = struct.unpack(order + "I", head)
    if length < 12 or length % 4 or length > _LARGEST_BLOCK:
        raise CaptureError(path, number, f"block length {length} makes no sense")
    rest = file.read(length - 8)
    if len(rest) < length - 8:
        raise CaptureError(path, number, f"block cut short: {8 + len(rest)} of {length} bytes")
    if rest[-4:] != head:
        raise CaptureError(path, number, "the block's two lengths differ")
    (number_of_kind,) = struct.unpack(order + "I", kind)
    return number_of_kind, rest[:-4]


def _interface(body: bytes, order: str, path: Path, number: int) -> tuple[int, int, int]:
    """Link type, snapshot length and the shift of time stamps in nanoseconds."""
    if len(body) < 8:
        raise CaptureError(path, number, "interface description cut short")
    link_type, snapshot = struct.unpack_from(order + "HxxI", body)
    at, shift = 8, 0
    while at + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, at)
        if code == 0:
            break
        if code == 14 and length == 8 and at + 12 <= len(body):
            (shift,) = struct.unpack_from(order + "q", body, at + 4)
        at += 4 + length + -length % 4
    return link_type, snapshot, shift * 1_000_000_000


def _packet_record(
    kind: int,
    body: bytes,
    order: str,
    interfaces: list[tuple[int, int, int]],
    path: Path,
    number: int,
) -> _Record:
    fixed = 4 if kind == _SIMPLE_BLOCK else 20
    if len(body) < fixed:
        raise CaptureError(path, number, "packet block cut short")
    if kind == _SIMPLE_BLOCK:
        index = 0
        (original,) = struct.unpack_from(order + "I", body)
        captured = original
    elif kind == _ENHANCED_BLOCK:
        index, captured, original = struct.unpack_from(order + "I8xII", body)
    else:
        index, captured, original = struct.unpack_from(order + "H10xII", body)
    if index >= len(interfaces):
        raise CaptureError(path, number, f"interface {index} was never described")
    link_type, snapshot, shift = interfaces[index]
    if kind == _SIMPLE_BLOCK and snapshot:
        captured = min(original, snapshot)
    if captured > len(body) - fixed:
        raise CaptureError(path, number, f"cut short: {len(body) - fixed} of {captured} bytes")
    return _Record(captured, original, link_type, shift)


# --- what is in a frame -------------------------------------------------------------------------


def _packet(number: int, time_ns: int, link_type: int, frame: bytes, original: int) -> Packet:
    """Take a frame apart. Never raises: what is odd becomes the packet's ``note``."""
    strip = _LINKS.get(link_type)
    ether_type, at = strip(frame) if strip else (None, 0)
    if ether_type == 0x0800:
        parsed = _ipv4(frame, at)
    elif ether_type == 0x86DD:
        parsed = _ipv6(frame, at)
    else:
        note = "no IP" if strip else f"link type {link_type} is not known"
        parsed = _Ip(note=note)
    source, destination, payload, note = parsed.source, parsed.destination, b"", parsed.note
    if parsed.protocol == UDP and not note:
        source, destination, payload, note = _udp(frame, parsed)
    elif not note:
        note = f"protocol {parsed.protocol}"
    if note and len(frame) < original:
        note += f" ({len(frame)} of {original} bytes captured)"
    return Packet(
        number,
        time_ns,
        source,
        destination,
        payload,
        parsed.protocol,
        parsed.fragment,
        note,
        link_type,
        frame,
        original,
    )


@frozen(slots=True)
class _Ip:
    """An IP header read: where its payload begins and how long it is."""

    source: Address = _NO_ADDRESS
    destination: Address = _NO_ADDRESS
    protocol: int | None = None
    begin: int = 0
    end: int = 0
    fragment: bool = False
    note: str = ""


def _udp(frame: bytes, ip: _Ip) -> tuple[Address, Address, bytes, str]:
    if ip.end - ip.begin < 8 or len(frame) < ip.begin + 8:
        return ip.source, ip.destination, b"", "UDP header cut short"
    source_port, destination_port, length = struct.unpack_from(">HHH", frame, ip.begin)
    source = Address(ip.source.host, source_port)
    destination = Address(ip.destination.host, destination_port)
    length = length or ip.end - ip.begin  # zero in an IPv6 jumbogram, and where it was offloaded
    end = ip.begin + length
    if length < 8 or end > ip.end:
        return source, destination, b"", f"UDP length {length} does not fit"
    if end > len(frame):
        return source, destination, b"", "UDP payload cut short"
    return source, destination, frame[ip.begin + 8 : end], ""


def _ipv4(frame: bytes, at: int) -> _Ip:
    if len(frame) < at + 20 or frame[at] >> 4 != 4:
        return _Ip(note="IPv4 header cut short or malformed")
    total, fragment_word = struct.unpack_from(">H2xH", frame, at + 2)
    header = (frame[at] & 15) * 4
    total = total or len(frame) - at  # zero where segmentation was offloaded
    source = Address(_mapped(frame[at + 12 : at + 16]), 0)
    destination = Address(_mapped(frame[at + 16 : at + 20]), 0)
    fragment = bool(fragment_word & 0x3FFF)
    note = ""
    if header < 20 or total < header:
        note = "IPv4 header malformed"
    elif fragment:
        more = "more follow" if fragment_word & 0x2000 else "the last"
        note = f"IP fragment at {(fragment_word & 0x1FFF) * 8}, {more}"
    protocol = frame[at + 9]
    return _Ip(source, destination, protocol, at + header, at + total, fragment, note)


_IPV6_OPTIONS = frozenset({0, 43, 60, 135})
"""Extension headers of the common form: hop-by-hop, routing, destination, mobility."""
_IPV6_FRAGMENT, _IPV6_AUTHENTICATION = 44, 51


def _ipv6(frame: bytes, at: int) -> _Ip:
    if len(frame) < at + 40 or frame[at] >> 4 != 6:
        return _Ip(note="IPv6 header cut short or malformed")
    length, protocol = struct.unpack_from(">HB", frame, at + 4)
    source = Address(frame[at + 8 : at + 24], 0)
    destination = Address(frame[at + 24 : at + 40], 0)
    begin = at + 40
    end = begin + length if length else len(frame)
    fragment, note = False, ""
    while protocol in _IPV6_OPTIONS or protocol in (_IPV6_FRAGMENT, _IPV6_AUTHENTICATION):
        if begin + 8 > min(end, len(frame)):
            note = "IPv6 extension header cut short"
            break
        following, size = frame[begin], frame[begin + 1]
        if protocol == _IPV6_FRAGMENT:
            (word,) = struct.unpack_from(">H", frame, begin + 2)
            if word & 0xFFF9:
                fragment = True
                more = "more follow" if word & 1 else "the last"
                note = f"IP fragment at {word & 0xFFF8}, {more}"
            begin += 8
        else:
            begin += (size + 2) * 4 if protocol == _IPV6_AUTHENTICATION else (size + 1) * 8
        protocol = following
        if fragment:
            break
    return _Ip(source, destination, protocol, begin, end, fragment, note)


def _mapped(host: bytes) -> bytes:
    return bytes(10) + b"\xff\xff" + host


def _strip_ethernet(frame: bytes) -> tuple[int | None, int]:
    """The ether type behind any VLAN tags (802.1Q, 802.1ad) and PPPoE, and where its payload
    begins."""
    at = 12
    while len(frame) >= at + 2:
        (ether_type,) = struct.unpack_from(">H", frame, at)
        if ether_type == 0x8864 and len(frame) >= at + 10:  # PPPoE: 6 bytes, then PPP's protocol
            (ppp,) = struct.unpack_from(">H", frame, at + 8)
            return {0x0021: 0x0800, 0x0057: 0x86DD}.get(ppp), at + 10
        if ether_type not in (0x8100, 0x88A8, 0x9100):
            return ether_type, at + 2
        at += 4
    return None, len(frame)


def _strip_sll(frame: bytes) -> tuple[int | None, int]:
    return _tagged(frame, 14, 16)


def _strip_sll2(frame: bytes) -> tuple[int | None, int]:
    return _tagged(frame, 0, 20)


def _tagged(frame: bytes, kind_at: int, begin: int) -> tuple[int | None, int]:
    """A Linux cooked header; a VLAN tag that stands behind it is stepped over."""
    if len(frame) < begin:
        return None, len(frame)
    (ether_type,) = struct.unpack_from(">H", frame, kind_at)
    while ether_type in (0x8100, 0x88A8) and len(frame) >= begin + 4:
        (ether_type,) = struct.unpack_from(">H", frame, begin + 2)
        begin += 4
    return ether_type, begin


def _strip_null(frame: bytes) -> tuple[int | None, int]:
    """BSD loopback: the address family in the capturing host's byte order. IPv6 has a different
    number on each system."""
    if len(frame) < 4:
        return None, len(frame)
    family = min(int.from_bytes(frame[:4], "little"), int.from_bytes(frame[:4], "big"))
    return {2: 0x0800, 10: 0x86DD, 24: 0x86DD, 28: 0x86DD, 30: 0x86DD}.get(family), 4


def _strip_raw(frame: bytes) -> tuple[int | None, int]:
    if not frame:
        return None, 0
    return {4: 0x0800, 6: 0x86DD}.get(frame[0] >> 4), 0


_LINKS: dict[int, Callable[[bytes], tuple[int | None, int]]] = {
    LINK_NULL: _strip_null,
    LINK_LOOP: _strip_null,
    LINK_ETHERNET: _strip_ethernet,
    LINK_RAW: _strip_raw,
    12: _strip_raw,  # DLT_RAW as some systems number it
    14: _strip_raw,
    LINK_IPV4: _strip_raw,
    LINK_IPV6: _strip_raw,
    LINK_LINUX_SLL: _strip_sll,
    LINK_LINUX_SLL2: _strip_sll2,
}


# --- writing ------------------------------------------------------------------------------------


class Writer:
    """A nanosecond pcap of raw IP packets, written to ``file`` as they come.

    ``written`` counts the bytes so far. The file stays the caller's to close.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._pcap = RawPcapWriter(
            file, linktype=LINK_RAW, nano=True, endianness="<", snaplen=LARGEST_PACKET
        )
        self._pcap._write_header(None)
        self.written = 24
        self.packets = 0

    def write(self, time_ns: int, source: Address, destination: Address, payload: bytes) -> int:
        """Append one UDP datagram; returns its number. Raises ValueError for a payload that does
        not fit a packet, for addresses of two families, or for a time before 1970 or after
        2106."""
        data = datagram(source, destination, payload)
        seconds, fraction = divmod(time_ns, 1_000_000_000)
        if not 0 <= seconds < 1 << 32:
            raise ValueError(f"{time_ns} ns does not fit a pcap time stamp")
        self._pcap._write_packet(data, LINK_RAW, sec=seconds, usec=fraction)
        self.packets += 1
        self.written += 16 + len(data)
        return self.packets


def datagram(source: Address, destination: Address, payload: bytes) -> bytes:
    """The IP packet that carries ``payload``, checksums included (RFC 791, 8200, 768). IPv4 when
    both addresses are IPv4, else IPv6. Raises ValueError if the payload is too long."""
    if len(payload) > LARGEST_PAYLOAD:
        raise ValueError(f"{len(payload)} bytes do not fit a UDP datagram")
    length = 8 + len(payload)
    ports = struct.pack(">HHHH", source.port, destination.port, length, 0)
    if source.is_ipv4 and destination.is_ipv4:
        addresses = source.packed + destination.packed
        pseudo = addresses + struct.pack(">HH", UDP, length)
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + length, 0, 0x4000, 64, UDP, 0) + addresses
        head = head[:10] + _checksum(head).to_bytes(2, "big") + head[12:]
    else:
        addresses = source.host + destination.host
        pseudo = addresses + struct.pack(">II", length, UDP)
        head = struct.pack(">IHBB", 6 << 28, length, UDP, 64) + addresses
    # A sum of zero is sent as all ones: zero means that there is none (RFC 768).
    checksum = _checksum(pseudo + ports + payload) or 0xFFFF
    return head + ports[:6] + checksum.to_bytes(2, "big") + payload


def _checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071): 2^16 is one in arithmetic modulo 2^16 - 1, so the sum of
    the words is the whole number's remainder."""
    if len(data) % 2:
        data += b"\x00"
    remainder = int.from_bytes(data, "big") % 0xFFFF
    # The remainder names zero in only one of its two forms; all-zero data sums to 0 itself.
    if remainder == 0 and any(data):
        remainder = 0xFFFF
    return 0xFFFF - remainder
