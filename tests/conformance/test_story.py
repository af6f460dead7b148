"""The story of a packet: one line whatever it is, and no address unless asked for."""

import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance import capture
from conformance.capture import Packet
from conformance.story import Line, Teller, describe
from corpus import corpus_path
from stunroute import stun
from stunroute.address import Address

CLIENT, SERVER = Address.of("192.0.2.1", 5000), Address.of("198.51.100.7", 3478)
KEY = stun.IntegrityKey(b"password")


def packet(payload: bytes, *, back: bool = False, number: int = 1, time_ns: int = 0) -> Packet:
    source, destination = (SERVER, CLIENT) if back else (CLIENT, SERVER)
    return Packet(number, time_ns, source, destination, payload)


def record(content: int, body: bytes, epoch: int = 0, sequence: int = 0) -> bytes:
    head = struct.pack("!BHHHIH", content, 0xFEFD, epoch, 0, sequence, len(body))
    return head + body


def handshake(kind: int, body: bytes, sequence: int = 0, split: int | None = None) -> bytes:
    length = len(body)
    part = body if split is None else body[:split]
    head = bytes([kind]) + length.to_bytes(3, "big") + sequence.to_bytes(2, "big")
    return head + bytes(3) + len(part).to_bytes(3, "big") + part


HELLO = (
    b"\xfe\xfd"
    + bytes(32)
    + b"\x00\x00"
    + b"\x00\x02\xc0\x2b"
    + b"\x01\x00"
    + b"\x00\x14"
    + b"\x00\x0e\x00\x07\x00\x04\x00\x07\x00\x01\x00"
    + b"\x00\x2b\x00\x05\x04\xfe\xfc\xfe\xfd"
)
SERVER_HELLO = b"\xfe\xfd" + bytes(32) + b"\x00" + b"\xc0\x2b" + b"\x00"


def request() -> bytes:
    attributes = [
        (0x0006, b"theirs:ours"),
        (0x0024, (1).to_bytes(4, "big")),
        (0x0025, b""),
        (0x802A, bytes(8)),
        (0xC123, b""),
    ]
    return stun.build(1, stun.MessageClass.REQUEST, bytes(12), attributes, integrity=KEY)


def test_a_check() -> None:
    line = Teller().tell(packet(request()))
    assert line.text.startswith(
        "STUN Binding request theirs:ours PRIORITY USE-CANDIDATE ICE-CONTROLLING 0xc123 ("
    )
    assert line.detail["username"] == "theirs:ours"
    assert (line.source, line.destination) == ("A", "B")
    assert str(line).startswith("    1     0.000000  A → B  STUN")


def test_an_answer_redacts_the_address_it_maps() -> None:
    message = stun.decode_untrusted(request())
    answer = stun.binding_success(message, CLIENT, KEY)
    teller = Teller()
    teller.tell(packet(request()))
    line = teller.tell(packet(answer, back=True))
    assert "success mapped A" in line.text
    assert "192.0.2.1" not in json.dumps(line.as_dict())
    open_line = Teller(show_addresses=True).tell(packet(answer, back=True))
    assert "mapped 192.0.2.1:5000" in open_line.text
    assert open_line.source == "198.51.100.7:3478"


def test_an_error_and_an_unsigned_message() -> None:
    error = [(0x0009, b"\x00\x00\x04\x01no")]
    line = Teller().tell(packet(stun.build(1, stun.MessageClass.ERROR, bytes(12), error)))
    assert "STUN Binding error 401" in line.text
    assert "unsigned" in line.text
    spoiled = bytearray(request())
    spoiled[-1] ^= 1
    assert "wrong FINGERPRINT" in describe(bytes(spoiled))
    username = [(0x0006, b"a b\x1b[2J:c")]
    text = describe(stun.build(0x023, stun.MessageClass.INDICATION, bytes(12), username))
    assert "method 0x023 indication a\\x20b\\x1b[2J:c" in text


def test_the_flights_of_a_handshake() -> None:
    teller = Teller()
    first = record(22, handshake(1, HELLO))
    line = teller.tell(packet(first))
    assert line.text.startswith("DTLS flight 1: ClientHello (versions 0xfefc/0xfefd, use_srtp ")
    assert "AEAD_AES_128_GCM/AES128_CM_SHA1_80" in line.text
    assert "ClientHello again" in teller.tell(packet(first)).text
    verify = record(22, handshake(3, b"\xfe\xfd\x04abcd"))
    assert "flight 2: HelloVerifyRequest" in teller.tell(packet(verify, back=True)).text
    second = record(22, handshake(1, HELLO, sequence=1))
    assert "flight 3: ClientHello" in teller.tell(packet(second)).text
    answer = record(22, handshake(2, SERVER_HELLO)) + record(22, handshake(11, bytes(9), 1))
    line = teller.tell(packet(answer, back=True))
    assert "flight 4: ServerHello (suite 0xc02b), Certificate" in line.text
    assert line.detail["records"][1]["messages"][0]["flight"] == 4
    own = record(22, handshake(11, bytes(9), 2)) + record(22, handshake(16, bytes(33), 3))
    finished = own + record(20, b"\x01") + record(22, bytes(40), epoch=1)
    line = teller.tell(packet(finished))
    expected = "flight 5: Certificate, ClientKeyExchange, ChangeCipherSpec, encrypted handshake"
    assert expected in line.text
    last = record(20, b"\x01") + record(22, bytes(40), epoch=1)
    assert "flight 6: ChangeCipherSpec, encrypted" in teller.tell(packet(last, back=True)).text
    media = b"\x80\x6f" + bytes(20)
    assert teller.tell(packet(media)).text.startswith("SRTP ssrc=0x00000000 seq=0 pt=111")
    assert teller.tell(packet(b"\x80\xc8\x00\x06" + bytes(60))).text.startswith("SRTCP SENDER_")


def fragment(body: bytes, begin: int, end: int) -> bytes:
    head = b"\x01" + len(body).to_bytes(3, "big") + b"\x00\x00" + begin.to_bytes(3, "big")
    return record(22, head + (end - begin).to_bytes(3, "big") + body[begin:end])


def test_a_hello_in_fragments_is_gathered_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = len(HELLO) // 2
    first, second = fragment(HELLO, 0, cut), fragment(HELLO, cut, len(HELLO))
    for pieces in ((first, second), (second, first)):
        teller = Teller()
        assert "versions" not in teller.tell(packet(pieces[0])).text
        assert "versions 0xfefc/0xfefd" in teller.tell(packet(pieces[1])).text
    monkeypatch.setattr("conformance.story.LARGEST_HELLO", len(HELLO))
    teller = Teller()
    teller.tell(packet(fragment(HELLO, 5, len(HELLO))))
    teller.tell(packet(first))
    assert "versions" in teller.tell(packet(second)).text


def test_fragments_alerts_and_the_rest_of_dtls() -> None:
    assert "ClientHello 0-10/" in describe(record(22, handshake(1, HELLO, split=10)))
    assert "fatal alert handshake_failure" in describe(record(21, b"\x02\x28"))
    assert "warning alert close_notify" in describe(record(21, b"\x01\x00"))
    assert "malformed alert" in describe(record(21, b"\x01"))
    assert "encrypted alert, epoch 1" in describe(record(21, bytes(26), epoch=1))
    assert "application data, epoch 1" in describe(record(23, bytes(30), epoch=1))
    assert "application data in the clear" in describe(record(23, bytes(30)))
    assert "content type 25" in describe(record(25, bytes(30), epoch=1))
    assert "DTLS 1.3 encrypted, epoch 2" in describe(b"\x2e" + bytes(40))
    assert "that are no record" in describe(record(21, b"\x01\x00") + b"\x16")
    assert "not DTLS: shorter" in describe(b"\x16\xfe")
    assert "handshake cut" in describe(record(22, b"\x01\x00"))
    assert "empty handshake record" in describe(record(22, b""))
    assert "handshake type 99" in describe(record(22, handshake(99, b"")))
    assert "malformed" in describe(record(22, handshake(1, b"\xfe\xfd")))


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"", "empty datagram"),
        (b"\x40\x01\x00\x00", "TURN channel 0x4001 (4 bytes)"),
        (b"\x40", "TURN_CHANNEL, first octet 64 (1 bytes)"),
        (b"\xc3" + bytes(9), "QUIC, first octet 195 (10 bytes)"),
        (b"\x10" + bytes(9), "ZRTP, first octet 16 (10 bytes)"),
        (b"\x05", "UNKNOWN, first octet 5 (1 bytes)"),
        (b"\x00\x01", "not STUN: "),
        (b"\x80", "not RTP: "),
        (b"\x80\xef" + bytes(10), "RTP ssrc=0x00000000 seq=0 pt=111 marker (12 bytes)"),
        (b"\x80\xc9\x00\x01" + bytes(4), "RTCP RECEIVER_REPORT ssrc=0x00000000"),
        (b"\x80\xc9\x00\x01" + bytes(3), "not RTCP: "),
        (b"\x80\xc8\x00\x01" + bytes(30), "SRTCP SENDER_REPORT ssrc="),
        (b"\x81\xd2\x00\x01" + bytes(4), "RTCP 210 "),
    ],
)
def test_the_rest_is_shown_with_its_reason(payload: bytes, text: str) -> None:
    assert describe(payload).startswith(text)


def test_packets_that_are_not_udp_are_told_by_their_note() -> None:
    fragment = Packet(3, 5, CLIENT, SERVER, b"", 17, True, "IP fragment at 0, more follow")
    line = Teller().tell(fragment)
    assert (line.kind, line.text) == ("fragment", "IP fragment at 0, more follow")
    nothing = Packet(4, 5, CLIENT, SERVER, b"", None, note="no IP")
    assert str(Teller().tell(nothing)) == "    4     0.000000  ·  no IP"
    assert str(Line(None, 1.5, "", "", "keys", "keys agreed")).startswith("    -     1.500000")


def test_letters_go_on_after_z() -> None:
    teller = Teller()
    names = [teller.name(Address.of("192.0.2.1", port)) for port in range(1, 60)]
    assert names[0] == "A"
    assert names[25:27] == ["Z", "A1"]
    assert len(set(names)) == 59


def test_conversations_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conformance.story.CONVERSATIONS", 3)
    teller = Teller()
    for port in range(10):
        source = Address.of("192.0.2.9", port)
        teller.tell(Packet(1, 0, source, SERVER, b"\x16"))
    assert len(teller._conversations) == 3


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(0, 255))
def test_hostile_bytes_are_told(payloads: list[bytes], first: int) -> None:
    teller = Teller()
    for payload in payloads:
        for data in (payload, bytes([first]) + payload):
            line = teller.tell(packet(data))
            assert "\n" not in str(line)
            assert str(line).isprintable()
            json.dumps(line.as_dict())


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_hostile_dtls_is_told(data: st.DataObject) -> None:
    body = data.draw(st.binary(max_size=100))
    kind = data.draw(st.sampled_from([1, 2, 3, 11, 12, 13, 14, 15, 16, 20]))
    line = Teller().tell(packet(record(22, handshake(kind, body))))
    assert line.kind == "dtls"


@pytest.mark.corpus
def test_the_whole_corpus_is_told() -> None:
    for path in sorted(corpus_path("pcaps").rglob("*.pcap*")):
        teller = Teller()
        for found in capture.read(path):
            line = teller.tell(found)
            assert str(line).isprintable(), path
            json.dumps(line.as_dict())
