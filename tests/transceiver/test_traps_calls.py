"""What goes wrong between the layers in the field, by the numbers of the list: DTLS before, beside
and without ICE, and media that take another way than the handshake."""

import pytest

from calls import ELSEWHERE, check_for, deliver, drops, of_kind, talk
from pair import HOME, PUBLIC, Client, Rig
from stunroute import demux
from stunroute.address import Address, Transmit
from stunroute.trace import Drop
from transceiver.dtls import Role
from transceiver.dtls.messages import HandshakeType, Message
from transceiver.dtls.record import ContentType, encode
from transceiver.events import AudioReceived, Ended, EndReason, Established, PathSelected
from transceiver.keying import SrtpProfile
from transceiver.srtp.rtp import RtpPacket
from transceiver.srtp.rtp import encode as encode_rtp


def sent_to(rig: Rig, client: Address, kind: demux.Kind) -> list[float]:
    """When datagrams of ``kind`` left the relay for ``client``."""
    return [
        crossing.at
        for crossing in rig.crossings
        if crossing.destination == client and demux.classify(crossing.payload) is kind
    ]


def forged_hello(body: bytes = bytes(60), number: int = 0) -> bytes:
    message = Message.of(HandshakeType.CLIENT_HELLO, 0, body)
    return encode(ContentType.HANDSHAKE, number, message.raw)


# --- DTLS 4: when to begin ------------------------------------------------------------------------


@pytest.mark.parametrize("lost", range(1, 4))
def test_a_client_that_drops_the_first_hellos(lost: int) -> None:
    """DTLS 4, and measured: one client of many drops the hello that comes before its ICE is ready;
    the next one is 50, 100 or 200 ms away, not a second."""
    rig = Rig.build()
    left = lost

    def lose(_: int, transmit: Transmit) -> bool:
        nonlocal left
        hello = transmit.data[38:39] == b"\x16" and left > 0
        left -= hello
        return hello

    rig.lose = lose
    client = rig.client()
    began = rig.now
    rig.establish(client)
    assert left == 0
    assert rig.now - began < (0.1, 0.2, 0.4)[lost - 1]


def test_a_hello_before_any_check() -> None:
    """DTLS 4 and 6: it comes from an address that nobody has vouched for, so it is dropped; the
    next one, after the check, is answered at once."""
    rig = Rig.build()
    client = rig.client(setup="active")
    answered = rig.endpoint.open_call(client.offer(), rig.now)
    client.accept(answered.answer, rig.now)
    first_check = client.next_transmit()
    assert first_check is not None
    assert client.dtls is not None
    client.dtls.start(rig.now)
    client._drain_dtls(rig.now)
    hello = client.next_transmit()
    assert hello is not None
    assert isinstance(rig.relay.route_client(hello.data, HOME, PUBLIC, rig.now), Drop)
    deliver(rig, hello.data)
    assert drops(rig) == {Drop.SESSION_UNKNOWN: 1}
    rig._up(HOME, first_check)
    assert rig.endpoint.next_transmit() is not None
    began = rig.now
    while client.keys is None:
        rig.run(0.01)
        assert rig.now - began < 0.2


# --- DTLS 5: who is the client --------------------------------------------------------------------


@pytest.mark.parametrize("setup", ["actpass", "active", "passive"])
def test_the_two_sides_never_take_the_same_part(setup: str) -> None:
    """DTLS 5: that we are lite says nothing about DTLS. We begin wherever we may."""
    rig = Rig.build()
    client = rig.client(setup=setup)
    call = rig.establish(client)
    ours = rig.endpoint._slots[call].session.negotiated.role
    assert {ours, client.role} == set(Role)
    assert ours is (Role.SERVER if setup == "active" else Role.CLIENT)


# --- DTLS 6 and 7: strangers ----------------------------------------------------------------------


@pytest.mark.parametrize("setup", ["active", "actpass"])
@pytest.mark.parametrize("source", [ELSEWHERE, HOME], ids=["elsewhere", "spoofed"])
def test_hellos_of_strangers_in_every_gap_of_a_handshake(setup: str, source: Address) -> None:
    """DTLS 6: the race for the ClientHello. Broken hellos, alerts and garbage around every packet
    of the set-up, from an address of the stranger's own and, worse, from the client's."""
    rig = Rig.build()
    client = rig.client(setup=setup)
    rig.open(client)
    noise = [
        forged_hello(),
        forged_hello(b"\xfe\xfd" + bytes(32) + b"\x00\x00\x00\x02\xc0\x2b\x01\x00"),
        encode(ContentType.ALERT, 1, b"\x02\x28"),
        encode(ContentType.APPLICATION_DATA, 2, b"hello"),
        encode(ContentType.HANDSHAKE, 1 << 48, bytes(40)),
        b"\x16\xfe\xfd",
    ]
    began = rig.now
    for step in range(400):
        if client.keys is not None:
            break
        deliver(rig, noise[step % len(noise)], source)
        rig.run(0.0005)
    assert client.keys is not None
    assert rig.now - began < 0.1
    talk(rig, client, 2)
    assert len(of_kind(rig, AudioReceived)) == 2
    assert not [c for c in rig.crossings if c.destination == ELSEWHERE], "nothing for strangers"


def test_strangers_make_us_send_nothing() -> None:
    """DTLS 11, amplification: whatever an address sends that no check has validated, it gets not a
    byte, during set-up, in a call and after it."""
    rig = Rig.build()
    client = rig.client(setup="active")
    rig.open(client)
    wrong = check_for(client, wrong=True)
    for _ in range(3):
        for data in (forged_hello(), wrong, b"\x80\x6f" + bytes(60), b"\x80\xc9" + bytes(60)):
            deliver(rig, data, ELSEWHERE)
            rig.relay.route_client(data, ELSEWHERE, PUBLIC, rig.now)
        rig.run(1.0)
    rig.endpoint.close_call(rig.endpoint.calls[0], EndReason.HANGUP, rig.now)
    deliver(rig, forged_hello(), ELSEWHERE)
    rig.run(1.0)
    assert not [c for c in rig.crossings if c.destination == ELSEWHERE]


def test_answers_to_checks_are_no_larger_than_the_checks() -> None:
    """DTLS 11, amplification: of STUN, whose answers go to whoever knows the password."""
    rig = Rig.build()
    client = rig.client()
    rig.establish(client)
    asked = [c.payload for c in rig.crossings if c.destination == PUBLIC and c.payload[0] == 0]
    given = [c.payload for c in rig.crossings if c.destination == HOME and c.payload[0] == 1]
    assert given
    assert max(map(len, given)) <= min(map(len, asked))


def test_alerts_and_data_in_the_clear_do_nothing_to_a_call() -> None:
    """DTLS 7: with the client's own address as their source."""
    rig = Rig.build()
    client = rig.client()
    rig.establish(client)
    before = len(sent_to(rig, HOME, demux.Kind.DTLS))
    for level in b"\x01\x02":
        for description in (0, 40, 90, 100):
            deliver(rig, encode(ContentType.ALERT, 9, bytes([level, description])))
    deliver(rig, encode(ContentType.APPLICATION_DATA, 9, b"in the clear"))
    rig.run(0.01)
    assert drops(rig)[Drop.DTLS_PLAINTEXT] == 9
    assert Drop.DATA_NOT_NEGOTIATED not in drops(rig)
    assert len(sent_to(rig, HOME, demux.Kind.DTLS)) == before
    assert of_kind(rig, Ended) == []


# --- DTLS 10: who it is ---------------------------------------------------------------------------


@pytest.mark.parametrize("setup", ["active", "passive"])
def test_nothing_of_an_impostor_is_used(setup: str) -> None:
    """DTLS 10: a client with another certificate than the one its offer names. It gets no keys, its
    media gets nowhere, and its data nowhere either."""
    rig = Rig.build()
    client, other = rig.client(setup=setup), rig.client("other")
    rig.clients.remove(other)
    offer = client.offer().replace(
        str(client.identity.fingerprint), str(other.identity.fingerprint)
    )
    answered = rig.endpoint.open_call(offer, rig.now)
    client.accept(answered.answer, rig.now)
    assert client.dtls is not None
    client.dtls.send(b"data", rig.now)
    for index in range(10):
        rig.run(0.2)
        packet = RtpPacket(111, False, index, 960 * index, client.ssrc, payload=b"x" * 40)
        client.send_raw(encode_rtp(packet))
    assert client.keys is None
    assert of_kind(rig, Established) == of_kind(rig, AudioReceived) == []
    assert drops(rig)[Drop.DTLS_FINGERPRINT] >= 1
    assert Drop.DATA_NOT_NEGOTIATED not in drops(rig)
    (session,) = (slot.session for slot in rig.endpoint._slots.values())
    assert session.secured is None
    assert session._srtp is None


def test_no_two_calls_share_a_key() -> None:
    """rfc3711/9.1/3, and neither do the two directions of one."""
    rig = Rig.build()
    keys = []
    for index in range(5):
        client = rig.client(index, setup=("active", "passive")[index % 2])
        rig.establish(client)
        assert client.keys is not None
        keys += [client.keys.local, client.keys.remote]
    assert len(set(keys)) == len(keys) == 10


# --- SRTP 3: two ways at once ---------------------------------------------------------------------


def test_media_by_the_new_address_and_dtls_by_the_old() -> None:
    """SRTP 3, and measured: during a path change the client's media comes from one address and its
    DTLS still from the other. Both are the client's."""
    rig = Rig.build()
    client = rig.client()
    rig.establish(client)
    talk(rig, client, 2)
    client.keepalives = False
    client.rebind(ELSEWHERE)
    talk(rig, client, 3, first=2)
    assert len(of_kind(rig, AudioReceived)) == 5
    assert of_kind(rig, PathSelected)[-1].path.client == HOME
    client.rebind(HOME)
    client.close(rig.now)
    rig.settle()
    rig.run(0.05)
    assert of_kind(rig, Ended)[0].reason is EndReason.PEER_CLOSED


def test_dtls_by_the_new_address_once_a_check_has_been_there() -> None:
    """SRTP 3, the other way round: the check came first, media still trickles in by the old way."""
    rig = Rig.build()
    client = rig.client()
    rig.establish(client)
    talk(rig, client, 1)
    client.rebind(ELSEWHERE)
    client.check(rig.now)
    rig.run(0.05)
    sealed = client.send_audio(b"late, by the old way", 5000)
    client.next_transmit()
    deliver(rig, sealed, HOME)
    assert of_kind(rig, AudioReceived)[-1].payload == b"late, by the old way"
    client.close(rig.now)
    rig.run(0.05)
    assert of_kind(rig, Ended)[0].reason is EndReason.PEER_CLOSED


# --- what was measured ----------------------------------------------------------------------------


@pytest.mark.parametrize("profile", SrtpProfile)
@pytest.mark.parametrize("setup", ["active", "passive"])
def test_audio_under_whichever_profile_was_picked(profile: SrtpProfile, setup: str) -> None:
    """Measured: libwebrtc takes AES128_CM_SHA1_80 where it may choose."""
    rig = Rig.build()
    client = rig.client(setup=setup, profiles=(profile,))
    call = rig.establish(client)
    talk(rig, client, 2)
    rig.endpoint.send_audio(call, b"back", 0, False, rig.now)
    rig.run(0.01)
    assert [event.profile for event in of_kind(rig, Established)] == [profile.name]
    assert len(of_kind(rig, AudioReceived)) == 2
    assert [packet.payload for packet in client.audio] == [b"back"]


@pytest.mark.parametrize("named", [0, 3, 10], ids=["never", "first", "always"])
def test_audio_with_and_without_a_mid(named: int) -> None:
    """Measured: libwebrtc sends MID on its first packets only, half of the stacks send no header
    extension at all. What follows belongs to the same section."""
    rig = Rig.build()
    client: Client = rig.client()
    rig.establish(client)
    assert client._context is not None
    for index in range(10):
        extensions = ((4, b"0"),) if index < named else ()
        packet = RtpPacket(
            111, False, 100 + index, 960 * index, client.ssrc, (), extensions, b"%d" % index
        )
        client.send_raw(client._context.protect_rtp(encode_rtp(packet)))
        rig.run(0.02)
    assert [event.payload for event in of_kind(rig, AudioReceived)] == [
        b"%d" % i for i in range(10)
    ]


def test_no_stun_after_nomination() -> None:
    """Measured: two stacks of thirteen. The call lives on its media, in both directions, and ends
    when that ends."""
    rig = Rig.build()
    client = rig.client()
    call = rig.establish(client)
    client.keepalives = False
    began = len([c for c in rig.crossings if c.payload[:1] == b"\x00"])
    for index in range(60):
        talk(rig, client, 1, first=index)
        rig.endpoint.send_audio(call, b"back", 960 * index, False, rig.now)
        rig.run(1.0)
    assert len([c for c in rig.crossings if c.payload[:1] == b"\x00"]) <= began + 1
    assert len(of_kind(rig, AudioReceived)) == len(client.audio) == 60
    rig.run(31.0)
    assert of_kind(rig, Ended)[0].reason is EndReason.CONSENT_EXPIRED
