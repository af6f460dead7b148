"""Every capture of the corpus, counted once more.

The corpus comes with a manifest that another program made (its own dissector beside tshark) and
with facts about each client's checks. Whatever both of us count has to agree, packet by packet:
that is a check of the demultiplexer and of the STUN codec against 80,000 real datagrams.
"""

import csv
import json
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from scapy.utils import RawPcapReader

from corpus import corpus_path
from stunroute import stun
from stunroute.demux import Kind, classify
from stunroute.errors import DecodeError

pytestmark = pytest.mark.corpus

IPV4, IPV6, PPPOE = 0x0800, 0x86DD, 0x8864
VLAN = {0x8100, 0x88A8}
PPP = {0x0021: IPV4, 0x0057: IPV6}
UDP = 17
CREATE_PERMISSION_ERROR = 0x0118


@frozen(slots=True)
class Datagram:
    """UDP as captured, which may be less than was sent."""

    ipv6: bool
    source: int
    destination: int
    payload: bytes


def datagrams(path: Path, seen: Counter[str]) -> Iterator[Datagram]:
    with RawPcapReader(str(path)) as reader:
        for frame, metadata in reader:
            seen["packets"] += 1
            link = getattr(metadata, "linktype", None) or reader.linktype
            try:
                datagram = udp(*network(link, frame))
            except (struct.error, IndexError):
                continue  # a frame that ends inside its headers
            if datagram is not None:
                yield datagram


def network(link: int, frame: bytes) -> tuple[int, bytes]:
    """Type and bytes of the network layer."""
    match link:
        case 1:  # Ethernet
            (kind,), offset = struct.unpack_from("!H", frame, 12), 14
            while kind in VLAN:
                (kind,) = struct.unpack_from("!H", frame, offset + 2)
                offset += 4
            if kind == PPPOE:
                (protocol,) = struct.unpack_from("!H", frame, offset + 6)
                return PPP.get(protocol, 0), frame[offset + 8 :]
            return kind, frame[offset:]
        case 113:  # Linux's cooked header
            return struct.unpack_from("!H", frame, 14)[0], frame[16:]
        case _:
            raise AssertionError(f"link type {link} is new to this corpus")


def udp(kind: int, packet: bytes) -> Datagram | None:
    """The datagram in an IP packet; None for other protocols and for all fragments but a first."""
    if kind == IPV4 and packet[9] == UDP and not struct.unpack_from("!H", packet, 6)[0] & 0x1FFF:
        total = struct.unpack_from("!H", packet, 2)[0]
        segment = packet[(packet[0] & 15) * 4 : total or None]
    elif kind == IPV6 and packet[6] == UDP:
        segment = packet[40 : 40 + struct.unpack_from("!H", packet, 4)[0]]
    else:
        return None
    source, destination, length = struct.unpack_from("!HHH", segment)
    # A length of zero stands for "as long as the packet"; one synthetic capture has it.
    return Datagram(kind == IPV6, source, destination, segment[8 : length or None])


BY_OCTET = {
    "b_0_3": {Kind.STUN},
    "b_4_15": {Kind.UNKNOWN},
    "b_16_19": {Kind.ZRTP},
    "b_20_63": {Kind.DTLS},
    "b_64_79": {Kind.TURN_CHANNEL},
    "b_128_191": {Kind.RTP, Kind.RTCP},
}
COLUMNS = [
    "packets",
    "udp",
    "ipv6_udp",
    "lt20",
    *BY_OCTET,
    "b_80_127",
    "b_192_255",
    "stun_bind_req_with_username",
    "stun_bind_req",
    "stun_bind_ind",
    "stun_user_no_fingerprint",
    "use_candidate",
    "classic_3489",
    "turn_methods",
]


def count(datagram: Datagram, counts: Counter[str]) -> None:
    payload = datagram.payload
    kind = classify(payload)
    counts["udp"] += 1
    counts["ipv6_udp"] += datagram.ipv6
    counts["lt20"] += len(payload) < 20
    for column, kinds in BY_OCTET.items():
        counts[column] += kind in kinds
    if kind is Kind.QUIC:  # the manifest tells its two ranges apart
        counts["b_80_127" if payload[0] < 128 else "b_192_255"] += 1
    if kind is Kind.STUN:
        count_stun(payload, counts)


def count_stun(payload: bytes, counts: Counter[str]) -> None:
    peeked = stun.peek_username_untrusted(payload)
    try:
        message = stun.decode_untrusted(payload)
    except DecodeError as error:
        assert peeked is None
        counts["classic_3489"] += str(error) == "no magic cookie" and is_classic(payload)
        return
    match message.method, message.message_class:
        case stun.Method.BINDING, stun.MessageClass.REQUEST:
            counts["stun_bind_req"] += 1
            counts["use_candidate"] += message.use_candidate
            assert message.username == peeked
            if peeked is not None:
                counts["stun_bind_req_with_username"] += 1
                counts["stun_user_no_fingerprint"] += message.fingerprint_ok is None
        case stun.Method.BINDING, stun.MessageClass.INDICATION:
            counts["stun_bind_ind"] += 1
        case stun.Method.BINDING, _:
            assert peeked is None
        case _:
            # The manifest's list of TURN's types lacks this one.
            number = int.from_bytes(payload[:2], "big")
            counts["turn_methods"] += number != CREATE_PERMISSION_ERROR


def is_classic(payload: bytes) -> bool:
    """A Binding request or response as RFC 3489 had them, with 128 bits of transaction id."""
    number, length = struct.unpack_from("!HH", payload)
    return number in (0x0001, 0x0101) and length == len(payload) - 20


def manifest(root: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((root / "MANIFEST.csv").read_text().splitlines()))


def test_counts_agree_with_the_manifest() -> None:
    root = corpus_path("pcaps")
    rows = manifest(root)
    assert len(rows) > 200
    for row in rows:
        counts: Counter[str] = Counter()
        for datagram in datagrams(root / row["file"], counts):
            count(datagram, counts)
        expected = {column: int(row[column]) for column in COLUMNS}
        assert {column: counts[column] for column in COLUMNS} == expected, row["file"]


def test_captures_outside_the_manifest_are_read() -> None:
    root = corpus_path("pcaps")
    listed = {row["file"] for row in manifest(root)}
    kinds: Counter[Kind] = Counter()
    for path in sorted(root.glob("*/*.pcap*")):
        if str(path.relative_to(root)) not in listed:
            for datagram in datagrams(path, Counter()):
                count(datagram, Counter())
                kinds[classify(datagram.payload)] += 1
    assert kinds[Kind.STUN] > 0
    assert kinds[Kind.RTP] > kinds[Kind.RTCP] > 0


NAMES = {stun.Attribute.NETWORK_COST: "GOOG-NETWORK-INFO"}


def order(message: stun.Message) -> str:
    names = (
        NAMES.get(stun.Attribute(type)) or stun.attribute_name(type)
        for type, _ in message.attributes
    )
    return f"{message.message_class.name.lower()}: {' '.join(names)}"


def client_side(path: Path, facts: dict[str, Any]) -> list[stun.Message]:
    """What the client sent to the server's port."""
    return [
        stun.decode_untrusted(datagram.payload)
        for datagram in datagrams(path, Counter())
        if datagram.destination == facts["server_port"] and classify(datagram.payload) is Kind.STUN
    ]


def test_checks_agree_with_the_facts_about_each_client() -> None:
    paths = sorted(corpus_path("pcaps", "clients").glob("*.facts.json"))
    assert paths
    for path in paths:
        facts = json.loads(path.read_text())
        client = facts["stun_client"]
        messages = client_side(path.with_name(path.name.replace(".facts.json", ".pcap")), facts)
        requests = [m for m in messages if m.message_class is stun.MessageClass.REQUEST]
        assert Counter(m.message_class.name.lower() for m in messages) == client["counts"]
        assert Counter(map(order, messages)) == client["attribute_orders"], path.name
        assert sorted({len(m.raw) for m in requests}) == client["request_sizes"]
        assert (
            all(m.fingerprint_ok for m in requests) is client["all_requests_have_fingerprint_last"]
        )
        nominating = sum(m.use_candidate for m in requests)
        assert f"{nominating}/{len(requests)}" == client["use_candidate_share"]
        assert {f"{m.priority:x}" for m in requests} == set(client["priorities"])
        for request in requests:
            assert request.username is not None
            assert request.username.partition(b":")[2].decode() == client["own_ufrag"]
            assert request.unknown_comprehension_required() == ()


def test_recorded_passwords_verify() -> None:
    """The answers' ice-pwd verifies every check that was sent to them."""
    verified = 0
    for path in sorted(corpus_path("pcaps", "clients").glob("*.facts.json")):
        answer = path.with_name(path.name.replace(".facts.json", ".answer.sdp")).read_text()
        password = next(
            line.removeprefix("a=ice-pwd:").strip()
            for line in answer.splitlines()
            if line.startswith("a=ice-pwd:")
        )
        key = stun.IntegrityKey(password.encode())
        capture = path.with_name(path.name.replace(".facts.json", ".pcap"))
        for message in client_side(capture, json.loads(path.read_text())):
            if message.message_class is stun.MessageClass.REQUEST:
                assert message.verify_integrity(key), path.name
                verified += 1
    assert verified > 50
