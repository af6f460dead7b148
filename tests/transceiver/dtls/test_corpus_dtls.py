"""What has really been sent: fuzzers' corpora into every state, captures through every layer."""

import ast
import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance import capture
from corpus import corpus_path
from dtls_pair import LIMITS, events, make_connection, transmits
from stunroute.errors import DecodeError
from transceiver.dtls import Dropped, DtlsConnection, Role, Stage
from transceiver.dtls.extensions import Extension, decode_list_untrusted
from transceiver.dtls.keys import Protection, Secrets
from transceiver.dtls.messages import (
    HandshakeType,
    decode_client_hello_untrusted,
    decode_fragment_untrusted,
    decode_server_hello_untrusted,
)
from transceiver.dtls.parameters import SUITE_BY_CODE
from transceiver.dtls.reassembly import Reassembly
from transceiver.dtls.record import ContentType, Record, decode_untrusted

pytestmark = pytest.mark.corpus

COLUMNS = (
    *("dtls_records", "client_hello", "ch_fragments", "server_hello", "hello_verify"),
    "dtls_appdata",
)
NOT_DTLS_AS_WE_KNOW_IT = {
    # Cisco's version 0x0100 of before the RFC: refused by its version.
    "ntop-nDPI/anyconnect-vpn.pcap": 32,
    "ntop-nDPI/dtls_old_version.pcapng": 9,
    "ntop-nDPI-history/0a1f99dc3e_anyconnect-vpn.pcap": 2444,
    # Other protocols that begin with the same octets.
    "ntop-nDPI/zoom_p2p.pcapng": 63,
    "ntop-nDPI-history/73637f890a_teamviewer.pcap": 7,
    "cisco-mercury/emix.pcap": 4,
}


def records(datagram: bytes) -> Iterator[Record]:
    offset = 0
    while offset < len(datagram):
        try:
            one, offset = decode_untrusted(datagram, offset)
        except DecodeError:
            return
        yield one


def boringssl_packets(data: bytes) -> list[bytes]:
    """A file of that corpus: tags with settings, then packets behind 24-bit lengths."""
    start = data.find(b"\x16\xfe")
    if start < 3:
        return []
    packets, offset = [], start - 3
    while offset + 3 <= len(data):
        length = int.from_bytes(data[offset : offset + 3])
        packets.append(data[offset + 3 : offset + 3 + length])
        offset += 3 + length
    return packets


def go_bytes(line: str) -> bytes:
    """The value of ``[]byte("...")``."""
    literal = line.strip().removeprefix("[]byte(").removesuffix(")")
    if literal.isascii() and "\\u" not in literal.lower():
        return bytes(ast.literal_eval("b" + literal))
    return str(ast.literal_eval(literal)).encode()


def samples() -> Iterator[list[bytes]]:
    """Each a row of datagrams."""
    for path in sorted(corpus_path("fuzz", "boringssl-dtls-fuzz").glob("dtls_*/*")):
        data = path.read_bytes()
        yield boringssl_packets(data)
        yield [data]
    for name in ("dtlsclient", "dtlsserver"):
        data = corpus_path("fuzz", "mbedtls-fuzz", "corpuses", name).read_bytes()
        yield [data]
        yield [data[start:] for start in range(0, len(data), 100)]
    for path in sorted(corpus_path("fuzz", "pion-dtls").rglob("*")):
        if not path.is_file():
            continue
        if path.read_bytes().startswith(b"go test fuzz"):
            yield [go_bytes(line) for line in path.read_text().splitlines() if "[]byte" in line]
        elif path.suffix == ".raw":
            yield [path.read_bytes()]


def connections() -> list[DtlsConnection]:
    """Each role with none, one and two flights of an honest peer behind it."""
    made = []
    for role in Role:
        for flights in range(3):
            connection = make_connection(role)
            peer = make_connection(Role.SERVER if role is Role.CLIENT else Role.CLIENT)
            connection.start(0.0)
            peer.start(0.0)
            for _ in range(flights):
                for datagram in transmits(connection):
                    peer.receive_datagram(datagram, 0.0)
                for datagram in transmits(peer):
                    connection.receive_datagram(datagram, 0.0)
            made.append(connection)
    return made


def test_fuzzers_corpora_raise_nothing_and_end_nothing() -> None:
    """DTLS 6, 9, 11: 1,400 files that broke, or nearly broke, other implementations."""
    subjects = connections()
    for connection in subjects:
        events(connection)
    assert [c.stage for c in subjects if c.stage is Stage.ESTABLISHED], "some are past it"
    count = 0
    for packets in samples():
        for connection in [*subjects, make_connection(Role.SERVER)]:
            stage = connection.stage
            for packet in packets:
                assert connection.receive_datagram(packet, 0.5) is False
            transmits(connection)
            while (event := connection.next_event()) is not None:
                assert isinstance(event, Dropped)
            assert connection.stage in (stage, Stage.HANDSHAKING)
        count += 1
    assert count > 1000


def count_of(path: Path) -> Counter[str]:
    counts: Counter[str] = Counter(dict.fromkeys(COLUMNS, 0))
    hellos: dict[object, Reassembly] = {}
    for packet in capture.read(path):
        if not packet.is_udp or not packet.payload or not 20 <= packet.payload[0] <= 25:
            continue
        for one in records(packet.payload):
            counts["dtls_records"] += 1
            counts["dtls_appdata"] += one.content_type == ContentType.APPLICATION_DATA
            if one.content_type != ContentType.HANDSHAKE or one.epoch:
                continue
            try:
                fragment, _ = decode_fragment_untrusted(one.fragment, 0)
            except DecodeError:
                continue
            counts["server_hello"] += fragment.type == HandshakeType.SERVER_HELLO
            counts["hello_verify"] += fragment.type == HandshakeType.HELLO_VERIFY_REQUEST
            if fragment.type == HandshakeType.CLIENT_HELLO:
                counts["ch_fragments"] += not fragment.whole
                flow = packet.source, packet.destination
                reassembly = hellos.setdefault(flow, Reassembly(LIMITS))
                reassembly.add(fragment)
                counts["client_hello"] += reassembly.take(fragment.sequence) is not None
    return counts


def test_records_of_all_captures_are_counted_as_in_the_manifest() -> None:
    root = corpus_path("pcaps")
    seen = 0
    with corpus_path("pcaps", "MANIFEST.csv").open() as file:
        for row in csv.DictReader(file):
            path = root / row["file"]
            if not path.exists() or not int(row["dtls_records"] or 0):
                continue
            wanted = {column: int(row[column] or 0) for column in COLUMNS}
            counts = count_of(path)
            missing = wanted["dtls_records"] - counts["dtls_records"]
            assert missing == NOT_DTLS_AS_WE_KNOW_IT.get(row["file"], 0), row["file"]
            if not missing:
                assert {name: counts[name] for name in COLUMNS} == wanted, row["file"]
            seen += counts["dtls_records"]
    assert seen > 4000


def clients() -> list[Path]:
    return sorted(corpus_path("pcaps", "clients").glob("*.pcap"))


def hello_datagrams(path: Path) -> list[bytes]:
    """The datagrams of the first ClientHello in a capture."""
    found: list[bytes] = []
    source = None
    for packet in capture.read(path):
        if not packet.is_udp:
            continue
        for one in records(packet.payload):
            if one.content_type == ContentType.HANDSHAKE and one.epoch == 0:
                fragment, _ = decode_fragment_untrusted(one.fragment, 0)
                if fragment.type == HandshakeType.CLIENT_HELLO and source in (None, packet.source):
                    source = packet.source
                    if packet.payload not in found:
                        found.append(packet.payload)
                    break
                if found:
                    return found
    return found


def test_real_hellos_are_answered_with_1_2() -> None:
    """DTLS 1: Chromium's and Firefox's among them, post-quantum and in two datagrams, in either
    order, with supported_versions only in the second."""
    answered = Counter[str]()
    for path in clients():
        datagrams = hello_datagrams(path)
        for order in (datagrams, datagrams[::-1]):
            server = make_connection(Role.SERVER)
            for index, datagram in enumerate(order):
                server.receive_datagram(datagram, index * 0.001)
            flights = transmits(server)
            if not flights:
                answered[f"{server.refusal}"] += 1
                continue
            first = next(records(flights[0]))
            fragment, _ = decode_fragment_untrusted(first.fragment, 0)
            hello = decode_server_hello_untrusted(fragment.data)
            assert hello.version == 0xFEFD
            assert Extension.USE_SRTP in hello.extensions
            answered["fragments" if len(datagrams) > 1 else "whole"] += 1
    assert answered["fragments"] >= 8, answered
    assert answered["whole"] >= 8, answered
    assert set(answered) == {"fragments", "whole"}, answered


def test_browsers_say_1_2_in_one_form_or_the_other() -> None:
    forms = set()
    for path in clients():
        reassembly = Reassembly(LIMITS)
        for datagram in hello_datagrams(path):
            for one in records(datagram):
                fragment, _ = decode_fragment_untrusted(one.fragment, 0)
                reassembly.add(fragment)
        message = reassembly.take(0) or reassembly.take(1)
        assert message is not None, path
        hello = decode_client_hello_untrusted(message.body)
        if body := hello.extensions.get(Extension.SUPPORTED_VERSIONS):
            versions = decode_list_untrusted(body, 1)
            forms |= {version for version in versions if version in (0xFEFD, 0x0303)}
    assert forms == {0xFEFD, 0x0303}


def key_log(path: Path) -> dict[bytes, bytes]:
    lines = (line.split() for line in path.read_text().splitlines())
    return {
        bytes.fromhex(words[1]): bytes.fromhex(words[2])
        for words in lines
        if len(words) == 3 and words[0] == "CLIENT_RANDOM"
    }


def test_real_sessions_open_under_the_keys_of_their_logs() -> None:
    """Key block and record protection against what browsers and other stacks have sent."""
    opened = finished = sessions = 0
    for log in sorted(corpus_path("pcaps", "clients").glob("*.keys")):
        masters = key_log(log)
        path = log.with_suffix(".pcap")
        if not path.exists():
            continue
        result = decrypt(path, masters)
        sessions += result is not None
        if result is not None:
            opened += result[0]
            finished += result[1]
    assert sessions >= 5
    assert opened > 100
    assert finished >= sessions


def decrypt(path: Path, masters: dict[bytes, bytes]) -> tuple[int, int] | None:
    """How many records of a DTLS 1.2 session opened, and how many of them were a Finished."""
    hello = client = None
    cipher: dict[object, Protection] = {}
    opened = finished = 0
    for packet in capture.read(path):
        if not packet.is_udp or not packet.payload or not 20 <= packet.payload[0] <= 25:
            continue
        for one in records(packet.payload):
            if one.epoch == 0 and one.content_type == ContentType.HANDSHAKE:
                try:
                    fragment, _ = decode_fragment_untrusted(one.fragment, 0)
                except DecodeError:
                    continue
                if fragment.type == HandshakeType.CLIENT_HELLO and fragment.whole:
                    hello = decode_client_hello_untrusted(fragment.data)
                    client = packet.source
                elif (
                    fragment.type == HandshakeType.SERVER_HELLO
                    and hello is not None
                    and (master := masters.get(hello.random)) is not None
                ):
                    answer = decode_server_hello_untrusted(fragment.data)
                    suite = SUITE_BY_CODE[answer.cipher_suite]
                    secrets = Secrets(suite, master, hello.random, answer.random)
                    from_client, from_server = secrets.protections()
                    cipher = {client: from_client, packet.source: from_server}
            elif one.epoch == 1 and packet.source in cipher:
                content = cipher[packet.source].open_untrusted(
                    one.content_type, one.number, one.fragment
                )
                opened += 1
                if one.content_type == ContentType.HANDSHAKE:
                    fragment, _ = decode_fragment_untrusted(content, 0)
                    assert fragment.type == HandshakeType.FINISHED
                    assert len(fragment.data) == 12
                    finished += 1
    return (opened, finished) if cipher else None
