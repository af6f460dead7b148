"""What goes wrong with DTLS in the field and is met nowhere else, by the numbers of the list."""

import hmac
import random
from collections import Counter
from itertools import product

import pytest

from dtls_pair import LIMITS, Pair, drops, established, events, make_connection, transmits
from dtls_states import advance_to, forge, joined, split
from stunroute.trace import Drop
from transceiver.config import DtlsLimits
from transceiver.dtls import HandshakeComplete, Role, Stage, client12, record, server12
from transceiver.dtls.extensions import (
    Extension,
    client_block,
    decode_block_untrusted,
    encode_block,
    encode_list,
)
from transceiver.dtls.messages import HandshakeType, Message, encode_client_hello
from transceiver.dtls.record import ContentType
from transceiver.dtls.wire import Reader
from transceiver.keying import SrtpProfile

KEY_SHARE = 51
X25519MLKEM768 = 0x11EC
CHROMIUM, FIREFOX = bytes.fromhex("04fefcfefd"), bytes.fromhex("04fefc0303")


def browsers_block(versions: bytes, shuffle: int | None = None) -> bytes:
    """The extensions of a browser's hello of DTLS 1.3: too many for one datagram, and what they
    say of versions comes last, unless ``shuffle`` puts them in an order of its own."""
    ours = decode_block_untrusted(Reader(client_block(tuple(SrtpProfile))))
    share = X25519MLKEM768.to_bytes(2) + (1216).to_bytes(2) + bytes(1216)
    ours[Extension.SUPPORTED_GROUPS] = encode_list((X25519MLKEM768, 29, 23))
    block = [
        (KEY_SHARE, len(share).to_bytes(2) + share),
        (0x1A1A, b""),
        *ours.items(),
        (Extension.SUPPORTED_VERSIONS, versions),
    ]
    if shuffle is not None:
        random.Random(shuffle).shuffle(block)
    return encode_block(block)


def speak(monkeypatch: pytest.MonkeyPatch, block: bytes) -> None:
    """Let our client say ``block`` in its hellos."""
    monkeypatch.setattr(client12, "client_block", lambda _: block)


# --- 1 and 2: hellos in pieces, and cookies -----------------------------------------------------


@pytest.mark.parametrize("versions", [CHROMIUM, FIREFOX], ids=["Chromium", "Firefox"])
@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 1, 0, 0), (0, 0, 1)], ids=str)
def test_a_post_quantum_hello_in_two_datagrams(
    monkeypatch: pytest.MonkeyPatch, versions: bytes, order: tuple[int, ...]
) -> None:
    """DTLS 1: nothing is said of versions before the second has come, in whatever order."""
    speak(monkeypatch, browsers_block(versions))
    pair = Pair.make()
    pair.client.start(0.0)
    datagrams = transmits(pair.client)
    assert len(datagrams) == 2
    assert versions not in datagrams[0]
    answered_at = []
    for place, index in enumerate(order):
        pair.server.receive_datagram(datagrams[index], 0.0)
        answered_at += [place] * len(transmits(pair.server))
    assert answered_at == [max(order.index(0), order.index(1))]
    assert drops(pair.server) == []
    pair.now = 0.4
    pair.server.handle_timeout(0.4)
    pair.run()
    assert pair.settled


def test_fragments_of_two_hellos_interleaved(monkeypatch: pytest.MonkeyPatch) -> None:
    """DTLS 1: a stranger's among the peer's, each in pieces of 230 bytes."""
    pair = Pair.make(limits=DtlsLimits(mtu=230))
    stranger = make_connection(Role.CLIENT, name="stranger", limits=DtlsLimits(mtu=230))
    speak(monkeypatch, browsers_block(FIREFOX))
    stranger.start(0.0)
    speak(monkeypatch, browsers_block(CHROMIUM, shuffle=3))
    pair.client.start(0.0)
    mine, theirs = transmits(pair.client), transmits(stranger)
    assert len(mine) == len(theirs) >= 7
    for ours, other in zip(mine, theirs, strict=True):
        pair.server.receive_datagram(other, 0.0)
        pair.server.receive_datagram(ours, 0.0)
    pair.now = 0.05
    pair.client.handle_timeout(0.05)
    pair.run()
    assert pair.settled
    assert pair.now < 1.0


@pytest.mark.parametrize("shuffle", range(6))
def test_extensions_in_any_order(monkeypatch: pytest.MonkeyPatch, shuffle: int) -> None:
    """Measured: BoringSSL shuffles its extensions."""
    speak(monkeypatch, browsers_block(CHROMIUM, shuffle))
    pair = Pair.make().run()
    assert pair.settled
    assert pair.drops(Role.SERVER) == []


@pytest.mark.parametrize("mtu", [230, 1200])
@pytest.mark.parametrize("lost", range(6))
def test_a_cookie_with_a_hello_in_fragments(
    monkeypatch: pytest.MonkeyPatch, mtu: int, lost: int
) -> None:
    """DTLS 2: cookie and fragments together, and whichever of the first datagrams is lost, the
    HelloVerifyRequest among them."""
    speak(monkeypatch, browsers_block(FIREFOX))
    sent = 0

    def fate(datagram: bytes) -> list[float]:
        nonlocal sent
        sent += 1
        return [] if sent == lost else [0.001]

    limits = DtlsLimits(mtu=mtu)
    pair = Pair(
        make_connection(Role.CLIENT, limits=limits),
        make_connection(Role.SERVER, limits=limits, verify_hello=True),
        fate,
    )
    pair.run()
    assert pair.settled
    assert pair.now < 1.0
    kinds = [one.fragment[0] for _, _, data in pair.sent for one in split(data) if not one.epoch]
    assert HandshakeType.HELLO_VERIFY_REQUEST in kinds


# --- 3: the last flight -------------------------------------------------------------------------


@pytest.mark.parametrize("losses", [1, 2, 3])
def test_a_last_flight_that_is_lost_again_and_again(losses: int) -> None:
    """DTLS 3: the server is done, has no timer any more, and still repeats its Finished whenever
    the client repeats its own."""
    left = losses

    def fate(datagram: bytes) -> list[float]:
        nonlocal left
        first = split(datagram)[0]
        if left and first.content_type == ContentType.CHANGE_CIPHER_SPEC:
            left -= 1
            return []
        return [0.001]

    pair = Pair.make(fate).run()
    assert left == 0
    assert pair.settled
    flights = [at for role, at, _ in pair.sent if role is Role.SERVER]
    assert len(flights) == 2 + losses


def test_the_last_flight_is_said_again_however_late() -> None:
    """rfc6347/4.2.4/1: twice the life of a segment is four minutes; it is kept beyond that."""
    pair = established()
    for now in (240.0, 3600.0):
        again = pair.client._sender.sealed(ContentType.HANDSHAKE, finished_of(pair))
        assert pair.server.receive_datagram(again, now) is True
        (flight,) = transmits(pair.server)
        assert [one.content_type for one in split(flight)] == [20, 22]


# --- 7 and 8: records ---------------------------------------------------------------------------


def test_no_number_is_used_twice_under_one_key() -> None:
    """DTLS 8: neither by resent flights nor by what follows them; GCM's nonce is the number."""
    for seed in range(8):
        chance = random.Random(seed)
        pair = Pair.make(lambda _, chance=chance: [0.01] if chance.random() > 0.4 else [])
        pair.run(until=200.0)
        assert pair.settled
        for index in range(5):
            pair.client.send(b"%d" % index, pair.now)
            pair.server.send(b"%d" % index, pair.now)
        pair.client.close(pair.now)
        pair.collect()
        numbers: Counter[tuple[Role, int]] = Counter()
        for role, _, datagram in pair.sent:
            for one in split(datagram):
                numbers[role, one.number] += 1
                if one.epoch:
                    assert one.fragment[:8] == one.number.to_bytes(8)
        assert set(numbers.values()) == {1}


@pytest.mark.parametrize("role", Role)
def test_data_in_the_clear_is_never_delivered(role: Role) -> None:
    """DTLS 7: application data of epoch 0, before, between and after the flights."""
    pair = Pair.make()
    subject = pair.side(role)
    pair.client.start(0.0)
    seen = []
    for _ in range(40):
        forged = record.encode(ContentType.APPLICATION_DATA, 70, b"not sealed")
        assert subject.receive_datagram(forged, pair.now) is False
        if not pair.step():
            break
        seen += pair.events[role]
    assert pair.settled
    assert pair.data(role) == []
    assert Drop.DTLS_PLAINTEXT in pair.drops(role)


# --- 9: fragments -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "forged",
    [
        # length, offset, data: another length, a far one, one that reaches beyond, one at odds
        (40, 0, bytes(40)),
        (16384, 16000, bytes(100)),
        (1 << 23, 0, bytes(10)),
        (50, 45, bytes(10)),
        (None, 3, b"\xee" * 20),
    ],
    ids=["shorter", "longer", "far-beyond", "outside", "contradicting"],
)
@pytest.mark.parametrize("before", [True, False])
def test_fragments_at_odds_with_the_peers(
    forged: tuple[int | None, int, bytes], before: bool
) -> None:
    """DTLS 9: whatever a fragment claims beside those of the peer, they still make a message."""
    pair = Pair.make(limits=DtlsLimits(mtu=120))
    pair.client.start(0.0)
    pieces = transmits(pair.client)
    assert len(pieces) > 1
    whole = int.from_bytes(split(pieces[0])[0].fragment[1:4])
    length, offset, data = forged
    head = bytes([HandshakeType.CLIENT_HELLO]) + (length or whole).to_bytes(3) + bytes(2)
    fragment = head + offset.to_bytes(3) + len(data).to_bytes(3) + data
    spoilt = record.encode(ContentType.HANDSHAKE, 77, fragment)
    for piece in [spoilt, *pieces] if before else [pieces[0], spoilt, *pieces[1:]]:
        assert pair.server.receive_datagram(piece, 0.0) is False
    assert pair.server._reassembly._room >= 0
    pair.now = 0.05
    pair.client.handle_timeout(0.05)
    pair.run()
    assert pair.settled
    assert pair.now < 1.0


# --- 10: who it is ------------------------------------------------------------------------------


@pytest.mark.parametrize("closing", ["sealed", "plain"])
def test_a_client_that_leaves_out_its_proof(closing: str) -> None:
    """DTLS 10: the right certificate, a Finished, and no CertificateVerify between."""
    pair, server, _ = advance_to(Role.SERVER, server12.AwaitCertificate)
    for datagram in transmits(server):
        pair.client.receive_datagram(datagram, 0.0)
    (flight,) = transmits(pair.client)
    certificate, key_exchange, proof, _, finished = split(flight)
    assert proof.fragment[0] == HandshakeType.CERTIFICATE_VERIFY
    number = int.from_bytes(proof.fragment[4:6])
    server.receive_datagram(joined([certificate, key_exchange]), 0.0)
    if closing == "plain":
        # Where the proof should stand, the Finished does.
        server.receive_datagram(forge(HandshakeType.FINISHED, number, bytes(12)), 0.0)
    else:
        server.receive_datagram(joined([finished]), 0.0)
    assert server.stage is Stage.HANDSHAKING
    assert not [event for event in events(server) if isinstance(event, HandshakeComplete)]
    assert server._receiver is None
    pair.now = 0.5
    pair.client.handle_timeout(0.5)
    pair.run()
    assert pair.settled, "with its proof it is taken"


# --- 11: the shape of things --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "drop"),
    [
        (encode_block([(9, b"a"), (9, b"a")]), Drop.DTLS_MESSAGE_MALFORMED),
        (encode_block([(23, b""), (23, b"")]), Drop.DTLS_MESSAGE_MALFORMED),
        (b"\xff\xff" + bytes(20), Drop.DTLS_MESSAGE_MALFORMED),
        (b"\x00\x04\x00\x09\x00\xff", Drop.DTLS_MESSAGE_MALFORMED),
        (encode_block([(9, bytes(DtlsLimits().message_length))]), Drop.DTLS_FRAGMENT_OVERSIZED),
    ],
    ids=["twice", "known-twice", "block-too-long", "extension-too-long", "oversized"],
)
def test_extensions_that_cannot_be(block: bytes, drop: Drop) -> None:
    """DTLS 11: dropped, not answered, and the peer that comes after is served."""
    pair = Pair.make()
    body = encode_client_hello(bytes(32), b"", (0xC02B,), block)
    raw = Message.of(HandshakeType.CLIENT_HELLO, 0, body)
    if len(body) > 1200:
        forged = record.encode(22, 80, raw.fragment(0, 1000))
    else:
        forged = forge(HandshakeType.CLIENT_HELLO, 0, body)
    pair.server.receive_datagram(forged, 0.0)
    assert drops(pair.server) == [drop]
    assert transmits(pair.server) == []
    pair.run()
    assert pair.settled


def test_a_large_extension_nobody_knows_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """DTLS 11: long is not too long."""
    ours = decode_block_untrusted(Reader(client_block(tuple(SrtpProfile))))
    speak(monkeypatch, encode_block([(0x4469, bytes(12000)), *ours.items()]))
    pair = Pair.make().run()
    assert pair.settled


@pytest.mark.parametrize("place", ["gone", "first", "twice", "last"])
@pytest.mark.parametrize("role", Role)
def test_change_cipher_spec_means_nothing(role: Role, place: str) -> None:
    """DTLS 11: late, early, repeated or lost (the epoch of a record says it all); and never does it
    switch keys (as CVE-2014-0224 had it)."""
    pair = Pair.make()
    spec = record.encode(ContentType.CHANGE_CIPHER_SPEC, 50, b"\x01")

    def moved(datagram: bytes) -> bytes:
        kept = [one for one in split(datagram) if one.content_type != 20]
        rest = joined(kept)
        return {"gone": rest, "first": spec + rest, "twice": spec + spec + rest}.get(
            place, rest + spec
        )

    pair.client.start(0.0)
    for _ in range(4):
        for sender, receiver in ((pair.client, pair.server), (pair.server, pair.client)):
            for datagram in transmits(sender):
                receiver.receive_datagram(moved(datagram), 0.0)
    assert pair.side(role).stage is Stage.ESTABLISHED


def test_what_comes_again_after_completion() -> None:
    """DTLS 11: every datagram of the handshake once more, to both. Only the client's last flight
    has an answer, and not twice in quick succession."""
    pair = established()
    said = [(role, datagram) for role, _, datagram in pair.sent]
    answers: Counter[Role] = Counter()
    for _, (role, datagram) in product(range(3), said):
        receiver = pair.server if role is Role.CLIENT else pair.client
        assert receiver.receive_datagram(datagram, 5.0) is False, "a replay is no sign of life"
        answers[receiver.role] += len(transmits(receiver))
    assert answers[Role.CLIENT] == 0
    assert answers[Role.SERVER] == 0, "a replayed record does not open, so nothing is repeated"
    again = pair.client._sender.sealed(ContentType.HANDSHAKE, finished_of(pair))
    assert pair.server.receive_datagram(again, 5.0) is True
    assert len(transmits(pair.server)) == 1
    again = pair.client._sender.sealed(ContentType.HANDSHAKE, finished_of(pair))
    assert pair.server.receive_datagram(again, 5.01) is True
    assert transmits(pair.server) == []
    assert pair.client.stage is pair.server.stage is Stage.ESTABLISHED


def finished_of(pair: Pair) -> bytes:
    """A Finished with the client's number; what it says is not looked at a second time."""
    sequence = pair.server._reassembly.expected - 1
    return Message.of(HandshakeType.FINISHED, sequence, bytes(12)).raw


@pytest.mark.parametrize(("module", "role"), [(client12, Role.CLIENT), (server12, Role.SERVER)])
def test_a_finished_is_compared_in_constant_time(
    monkeypatch: pytest.MonkeyPatch, module: object, role: Role
) -> None:
    """DTLS 11: and the comparison's word counts."""
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return False

    state = module.AwaitFinished  # type: ignore[attr-defined]
    pair, subject, waiting = advance_to(role, state)
    monkeypatch.setattr(hmac, "compare_digest", compare)
    peer = pair.server if role is Role.CLIENT else pair.client
    for datagram in [joined(waiting), *transmits(peer)]:
        subject.receive_datagram(datagram, 0.0)
    assert [len(one) for one, _ in compared] == [12]
    assert compared[0][0] == compared[0][1]
    assert subject.stage is Stage.CLOSED


def test_one_hello_again_and_again_is_not_answered_as_often() -> None:
    """DTLS 11, amplification: what is repeated within a resend's time gets one flight."""
    pair = Pair.make()
    pair.client.start(0.0)
    (hello,) = transmits(pair.client)
    heard = said = 0
    for index in range(100):
        pair.server.receive_datagram(hello, index * LIMITS.first_resend / 100)
        heard += len(hello)
        said += sum(map(len, transmits(pair.server)))
    assert 0 < said < 3 * heard / 10


def test_nothing_unauthenticated_is_answered_but_a_hello() -> None:
    """DTLS 7 and 11: alerts, data, fragments and half a hello amplify nothing at all."""
    pair = Pair.make()
    pair.client.start(0.0)
    hello = Message.of(HandshakeType.CLIENT_HELLO, 0, bytes(900))
    for content_type, content in (
        (ContentType.HANDSHAKE, hello.fragment(0, 100)),
        (ContentType.HANDSHAKE, hello.raw),
        (ContentType.ALERT, b"\x02\x28"),
        (ContentType.APPLICATION_DATA, b"x"),
        (ContentType.CHANGE_CIPHER_SPEC, b"\x01"),
    ):
        pair.server.receive_datagram(record.encode(content_type, 8, content), 0.0)
        assert transmits(pair.server) == []
    assert pair.server.next_timeout() is None


# --- what was measured --------------------------------------------------------------------------


@pytest.mark.parametrize("chosen", SrtpProfile)
def test_who_offers_gcm_first_checks_what_was_picked(chosen: SrtpProfile) -> None:
    """Measured: libwebrtc takes AES128_CM_SHA1_80 where it may choose. We offer GCM first, and use
    what the server picked, not what we would have."""
    pair = Pair(
        make_connection(Role.CLIENT), make_connection(Role.SERVER, profiles=(chosen,))
    ).run()
    offered = decode_block_untrusted(Reader(client_block(tuple(SrtpProfile))))
    assert offered[Extension.USE_SRTP][2:4] == SrtpProfile.AEAD_AES_128_GCM.value.to_bytes(2)
    for role in Role:
        complete = pair.completion(role)
        assert complete is not None
        assert complete.keys.profile is chosen
