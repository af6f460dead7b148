"""What goes wrong with STUN and ICE in the field, met by whole calls, by the numbers of the list.

What one agent, one message or the relay can show alone stands with their own tests.
"""

import hmac
import struct

import pytest

from calls import ELSEWHERE, check_for, deliver, drops, of_kind, talk
from checking import KEY, OURS, PRIORITY, A, agent, answered, error, raw
from pair import HOME, OWNER, PUBLIC, Client, Rig
from stunroute import forward, stun
from stunroute.address import Address, Transmit
from stunroute.flow import Flow
from stunroute.trace import Drop
from transceiver.config import IceLimits
from transceiver.events import AudioReceived, Ended, EndReason, PathSelected, Phase
from transceiver.ice import Credentials, IceLite


def established(seed: str = "traps", **options: object) -> tuple[Rig, Client, str]:
    rig = Rig.build(seed)
    client = rig.client(**options)
    call = rig.establish(client)
    rig.endpoint.drops.clear()
    return rig, client, call


def still_alive(rig: Rig, client: Client) -> None:
    """Audio goes through, both ways, along the path that the client began with."""
    before = len(of_kind(rig, AudioReceived))
    talk(rig, client, 2, first=500)
    assert len(of_kind(rig, AudioReceived)) == before + 2
    (call,) = rig.endpoint.calls
    heard = len(client.audio)
    rig.endpoint.send_audio(call, b"here", 0, False, rig.now)
    rig.run(0.01)
    assert len(client.audio) == heard + 1


def said_to(rig: Rig, client: Address) -> list[bytes]:
    return [c.payload for c in rig.crossings if c.destination == client]


# --- 1: malformed ---------------------------------------------------------------------------------


def test_malformed_stun_in_a_call() -> None:
    """STUN and ICE 1: short, of a length that is not the datagram's, an attribute that runs past
    the end, all with the ufrag of a live call where they are long enough to hold it."""
    rig, client, _ = established()
    client.keepalives = False
    good = check_for(client)
    spoilt = [good[:size] for size in range(1, 20)]
    spoilt += [good + bytes(4), good[:-4], good[:2] + b"\xff\xff" + good[4:]]
    spoilt += [good[:at] + b"\xff\xff" + good[at + 2 :] for at in (22, len(good) - 6)]
    before = len(said_to(rig, HOME))
    for data in spoilt:
        for source in (HOME, ELSEWHERE):
            deliver(rig, data, source)
    rig.run(0.01)
    assert len(said_to(rig, HOME)) == before
    assert said_to(rig, ELSEWHERE) == []
    assert set(drops(rig)) <= {Drop.STUN_MALFORMED, Drop.SESSION_UNKNOWN, Drop.UFRAG_UNKNOWN}
    assert drops(rig)[Drop.STUN_MALFORMED] >= 20
    still_alive(rig, client)


# --- 2: names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ufrag", ["abcd", "+/+/", "a_-b", "Zq+9/x", "k3Yt" * 8, "x/" * 16, "a:b:c", "~!@#$%^&"]
)
def test_calls_of_clients_with_ufrags_of_the_field(ufrag: str) -> None:
    """STUN and ICE 2, and measured: 4 to 32 characters, ``+``, ``/``, ``_`` and ``-`` among them.
    With ours before it the name is longer than the 34 bytes at which others have cut it."""
    rig = Rig.build(ufrag)
    client = rig.client(ufrag)
    client.ufrag = ufrag
    rig.establish(client)
    still_alive(rig, client)
    assert client.errors == []


def test_names_of_ours_are_beyond_all_mistakes() -> None:
    """Measured: clients strip or break ufrags that hold ``/`` in candidate lines. Ours hold digits
    and small letters, and our candidate lines name none."""
    rig = Rig.build()
    for index in range(50):
        answer = rig.endpoint.open_call(rig.client(index).offer(), rig.now).answer
        (name,) = [line[12:] for line in answer.split("\r\n") if line.startswith("a=ice-ufrag:")]
        assert len(name) == 26
        assert set(name) <= set("0123456789abcdefghijklmnopqrstuvwxyz")
        lines = [line for line in answer.split("\r\n") if line.startswith("a=candidate:")]
        assert lines
        assert not [line for line in lines if "ufrag" in line or name in line]


# --- 3 and 4: what to answer ----------------------------------------------------------------------


def test_every_attribute_that_some_client_insists_on() -> None:
    """STUN and ICE 3, and measured: WhatsApp sends 0x4000 to 0x4007, which nobody else knows."""
    kinds = range(0x4000, 0x4008)
    ice = agent()
    answer = answered(ice, raw(*((kind, b"1234") for kind in kinds), PRIORITY))
    assert answer.error_code is not None
    assert answer.error_code[0] == 420
    assert answer.unknown_attributes == tuple(kinds)
    for kind in kinds:
        assert error(agent(), raw((kind, b""), PRIORITY)) == 420


def test_a_refused_check_changes_nothing_in_a_call() -> None:
    """STUN and ICE 3, 4 and 6: 420, 400 and 487 from a new address, each signed, and the call goes
    on where it was."""
    rig, client, _ = established()
    key = stun.IntegrityKey(client.remote_password.encode())
    name = (0x0006, f"{client.remote_ufrag}:{client.ufrag}".encode())
    codes = []
    for index, attributes in enumerate(
        (
            [name, (0x0024, bytes(4)), (0x4001, b"")],
            [name],
            [name, (0x0024, bytes(4)), (0x8029, bytes(8))],
        )
    ):
        data = stun.build(
            1, stun.MessageClass.REQUEST, bytes([index] * 12), attributes, integrity=key
        )
        rig._up(ELSEWHERE, Transmit(data, PUBLIC))
        rig.run(0.01)
        answer = stun.decode_untrusted(said_to(rig, ELSEWHERE)[-1])
        assert answer.verify_integrity(key)
        assert answer.error_code is not None
        codes.append(answer.error_code[0])
    assert codes == [420, 400, 487]
    assert of_kind(rig, PathSelected)[-1].path.client == HOME
    still_alive(rig, client)


# --- 5: signs of life -----------------------------------------------------------------------------


INDICATION = stun.build(stun.Method.BINDING, stun.MessageClass.INDICATION, bytes(12), [])


@pytest.mark.parametrize("media", [False, True])
def test_indications_with_nothing_but_a_fingerprint(media: bool) -> None:
    """STUN and ICE 4 and 5, and measured: two stacks send only these once they have nominated. They
    are not answered and keep nothing alive; media does."""
    rig, client, _ = established()
    client.keepalives = False
    rig.run(6.0)
    before = len([data for data in said_to(rig, HOME) if data[0] < 2])
    for index in range(25):
        client.send_raw(INDICATION)
        if media:
            client.send_audio(b"x", index)
        rig.run(2.0)
    assert len([data for data in said_to(rig, HOME) if data[0] < 2]) == before
    assert bool(rig.endpoint.calls) is media
    if not media:
        assert of_kind(rig, Ended)[0].reason is EndReason.CONSENT_EXPIRED
    assert drops(rig)[Drop.ICE_INDICATION] > 5


def test_an_indication_rebuilds_no_route() -> None:
    """Measured: so a check is not a reliable chance to rebuild a route, and neither is this."""
    rig, client, _ = established()
    talk(rig, client, 2)
    client.rebind(ELSEWHERE)
    client.keepalives = False
    client.send_raw(INDICATION)
    rig.run(0.005)
    assert rig.crossings[-1].drop is Drop.NO_FLOW
    deliver(rig, INDICATION, ELSEWHERE)
    assert drops(rig) == {Drop.SESSION_UNKNOWN: 1}
    talk(rig, client, 3, first=2)
    assert len(of_kind(rig, AudioReceived)) == 5, "its media is found by its source"


@pytest.mark.parametrize("source", [HOME, ELSEWHERE], ids=["known", "stranger"])
@pytest.mark.parametrize("message_class", [stun.MessageClass.SUCCESS, stun.MessageClass.ERROR])
def test_a_response_that_holds_a_username(
    source: Address, message_class: stun.MessageClass
) -> None:
    """Measured: a Google server puts USERNAME into success responses. A response names nobody: no
    flow is made of it, no session found by it, nothing moved by it, and nothing answered."""
    rig, client, _ = established()
    client.keepalives = False
    data = stun.build(
        stun.Method.BINDING,
        message_class,
        b"transaction!",
        [(0x0006, f"{client.remote_ufrag}:{client.ufrag}".encode())],
        integrity=stun.IntegrityKey(client.remote_password.encode()),
    )
    assert stun.peek_username_untrusted(data) is None
    before = (rig.relay.flows, len(said_to(rig, source)))
    route = rig.relay.route_client(data, source, PUBLIC, rig.now)
    assert isinstance(route, Flow) if source == HOME else route is Drop.NO_FLOW
    deliver(rig, data, source)
    rig.run(0.01)
    assert (rig.relay.flows, len(said_to(rig, source))) == before
    expected = Drop.ICE_RESPONSE if source == HOME else Drop.SESSION_UNKNOWN
    assert drops(rig) == {expected: 1}
    assert of_kind(rig, PathSelected)[-1].path.client == HOME


# --- 7: nomination --------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [False, True], ids=["libwebrtc", "Firefox"])
def test_set_up_does_not_wait_for_a_nomination(at_once: bool) -> None:
    """STUN and ICE 7, DTLS 4, and measured: libwebrtc sets USE-CANDIDATE only from its second check
    on, Firefox at once. Our hello leaves with the answer to the first either way."""
    rig = Rig.build()
    client = rig.client(nominate_at_once=at_once)
    rig.open(client)
    rig.run(0.0015)
    (first,) = [crossing for crossing in rig.crossings if crossing.destination == PUBLIC]
    assert stun.decode_untrusted(first.payload).use_candidate is at_once
    flying = [transmit for _, _, source, transmit in rig._flying if source == OWNER]
    kinds = [transmit.data[forward.HEADER_LENGTH] for transmit in flying]
    assert kinds == [1, 22], "the answer, then the ClientHello, at the same instant"
    rig.run(0.2)
    assert client.keys is not None


# --- 8 and 9: restarts and twins ------------------------------------------------------------------


@pytest.mark.parametrize("fresh", ["ufrag", "password"])
def test_one_of_two_credentials_alone_restarts(fresh: str) -> None:
    """STUN and ICE 8: browsers have changed the one and kept the other. Ours change both, and the
    checks under what was agreed are served."""
    rig, client, call = established()
    ours = (client.remote_ufrag, client.remote_password)
    theirs = (client.ufrag, client.password)
    client.restart()
    if fresh == "ufrag":
        client.password = theirs[1]
    else:
        client.ufrag = theirs[0]
    client.accept(rig.endpoint.reoffer(call, client.offer(), rig.now), rig.now)
    assert client.remote_ufrag != ours[0]
    assert client.remote_password != ours[1]
    rig.run(0.3)
    assert client.nominated
    assert client.errors == []
    still_alive(rig, client)


def test_checks_before_and_after_a_restart_from_one_address() -> None:
    """STUN and ICE 8: interleaved on one 5-tuple, each finds the agent that it names, and each
    answer is signed with the password that belongs to it."""
    rig, client, call = established()
    old, before = check_for(client), stun.IntegrityKey(client.remote_password.encode())
    client.accept(rig.endpoint.reoffer(call, client.restart(), rig.now), rig.now)
    after = stun.IntegrityKey(client.remote_password.encode())
    rig.run(0.5)
    client.keepalives = False
    rig.crossings.clear()
    deliver(rig, old)
    deliver(rig, check_for(client))
    rig.run(0.01)
    signed = [stun.decode_untrusted(data) for data in said_to(rig, HOME) if data[0] == 1]
    assert [answer.verify_integrity(before) for answer in signed] == [True, False]
    assert [answer.verify_integrity(after) for answer in signed] == [False, True]


@pytest.mark.parametrize("closed", [0, 1])
def test_either_twin_may_end(closed: int) -> None:
    """STUN and ICE 9: two calls from one address and port; the end of either leaves the other its
    entry, at the relay too, and its checks, its media and its signs of life."""
    rig = Rig.build()
    twins = [rig.client("one"), rig.client("two")]
    calls = [rig.establish(twin) for twin in twins]
    for twin in twins:
        talk(rig, twin, 2)
    rig.endpoint.close_call(calls[closed], EndReason.HANGUP, rig.now)
    rig.run(0.1)
    rig.clients.remove(twins[closed])
    left = twins[1 - closed]
    assert rig.endpoint.calls == [calls[1 - closed]]
    assert isinstance(rig.relay.flow(HOME), Flow)
    still_alive(rig, left)
    rig.run(60.0)
    assert rig.endpoint.calls == [calls[1 - closed]]
    assert rig.endpoint.snapshot(rig.endpoint.calls[0], rig.now).phase == Phase.ESTABLISHED.value


# --- 10 and 11 ------------------------------------------------------------------------------------


def test_a_flood_of_names_makes_no_flow_and_no_entry() -> None:
    """STUN and ICE 10: through the relay, as a stranger would, and past it; a live call among it
    feels nothing."""
    rig, client, _ = established()
    before = rig.relay.flows
    sizes = [len(index) for index in (rig.endpoint._by_ufrag, rig.endpoint._by_address)]
    for index in range(300):
        name = f"0{index:025d}:{client.ufrag}".encode()
        data = stun.build(
            1, stun.MessageClass.REQUEST, index.to_bytes(12), [(6, name)], integrity=KEY
        )
        source = Address.of("198.51.100.8", 2000 + index)
        assert isinstance(rig.relay.route_client(data, source, PUBLIC, rig.now), Drop)
        deliver(rig, data, source)
    assert rig.relay.flows == before
    assert [len(i) for i in (rig.endpoint._by_ufrag, rig.endpoint._by_address)] == sizes
    assert drops(rig) == {Drop.UFRAG_UNKNOWN: 300}
    still_alive(rig, client)


def test_one_client_by_two_writings_of_its_address() -> None:
    """STUN and ICE 11: a relay with a dual-stack socket names IPv4 peers in IPv6."""
    rig, client, _ = established()
    mapped = Address.of(f"::ffff:{HOME.ip}", HOME.port)
    paths = len(of_kind(rig, PathSelected))
    sealed = client.send_audio(b"mapped", 960)
    client.next_transmit()
    deliver(rig, sealed, mapped)
    deliver(rig, check_for(client), mapped)
    assert [event.payload for event in of_kind(rig, AudioReceived)] == [b"mapped"]
    assert len(of_kind(rig, PathSelected)) == paths
    answer = stun.decode_untrusted(rig._flying[-1][3].data[forward.HEADER_LENGTH :])
    assert answer.xor_mapped_address == HOME
    still_alive(rig, client)


# --- 13: what a datagram is -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (0, Drop.STUN_MALFORMED),
        (3, Drop.STUN_MALFORMED),
        (4, Drop.NOT_OURS),
        (15, Drop.NOT_OURS),
        (16, Drop.NOT_OURS),
        (19, Drop.NOT_OURS),
        (20, Drop.DTLS_RECORD_MALFORMED),
        (63, Drop.DTLS_RECORD_MALFORMED),
        (64, Drop.NOT_OURS),
        (79, Drop.NOT_OURS),
        (80, Drop.NOT_OURS),
        (127, Drop.NOT_OURS),
        (128, Drop.SRTP_AUTHENTICATION),
        (191, None),
        (192, Drop.NOT_OURS),
        (255, Drop.NOT_OURS),
    ],
)
def test_first_octets_at_the_edges_of_a_call(first: int, expected: Drop | None) -> None:
    """STUN and ICE 13: 64 is no DTLS, 127 and 192 are no RTP, 80 to 127 and 192 on are QUIC's."""
    rig, client, _ = established()
    talk(rig, client, 1)
    rig.endpoint.drops.clear()
    deliver(rig, bytes([first, 0x6F]) + bytes(60))
    (drop,) = drops(rig)
    assert drop is expected if expected else drop.name.startswith("SRTP")
    still_alive(rig, client)


# --- what was measured ----------------------------------------------------------------------------


@pytest.mark.parametrize("pad", [b"\x00", b"\x20", b"\xff", b"\x06"])
@pytest.mark.parametrize("padding", [1, 2, 3])
def test_padding_of_any_content_in_a_signed_check(pad: bytes, padding: int) -> None:
    """Measured: padding is not always zero. It is signed as it stands."""
    peer = Credentials(b"v" * (9 - padding), b"c" * 24)
    name = OURS.ufrag + b":" + peer.ufrag
    assert -len(name) % 4 == padding
    body = struct.pack("!HH", 0x0006, len(name)) + name + pad * padding
    body += struct.pack("!HHI", 0x0024, 4, 7)
    head = struct.pack("!HHI12s", 1, len(body) + 24, 0x2112A442, b"transaction!")
    mac = hmac.digest(OURS.password, head + body, "sha1")
    data = head + body + struct.pack("!HH", 0x0008, 20) + mac
    ice = IceLite(local=OURS, remote=peer, limits=IceLimits())
    assert answered(ice, data).message_class is stun.MessageClass.SUCCESS
    assert ice.is_validated(A)


def test_half_a_hello_in_each_of_the_first_two_checks() -> None:
    """Measured: Chromium with SPED puts 0xC071 and 0xC070 into its first checks even when nobody
    agreed to that, and cuts a post-quantum hello over two of them (900 and 563 bytes). To us they
    are two checks, and what they carry is nobody's handshake."""
    rig = Rig.build()
    client = rig.client()
    answer = rig.endpoint.open_call(
        client.offer().replace("trickle", "trickle sped googspedv1"), rig.now
    ).answer
    assert "sped" not in answer
    client.accept(answer, rig.now)
    client.next_transmit()
    key = stun.IntegrityKey(client.remote_password.encode())
    name = f"{client.remote_ufrag}:{client.ufrag}".encode()
    for index, length in enumerate((900, 563)):
        data = stun.binding_request(
            bytes([index] * 12),
            name,
            1,
            key,
            controlling=1,
            use_candidate=index == 1,
            attributes=[(0xC071, bytes(4)), (0xC070, b"\x16\xfe\xfd" + bytes(length))],
        )
        client.send_raw(data)
        rig.run(0.01)
    answers = [stun.decode_untrusted(data) for data in said_to(rig, HOME) if data[0] == 1]
    assert [message.message_class for message in answers] == [stun.MessageClass.SUCCESS] * 2
    assert all(message.value(0xC070) is None for message in answers)
    rig.run(0.5)
    assert client.keys is not None
    still_alive(rig, client)


def test_downlink_after_a_rebinding_waits_for_no_more_than_a_check() -> None:
    """Measured: media comes first from the new address and holds no name; the next check comes
    within 2.5 s. Until then the uplink goes on, from then on the downlink does too."""
    rig, client, call = established()
    talk(rig, client, 2)
    client.rebind(ELSEWHERE)
    began = rig.now
    heard = len(of_kind(rig, AudioReceived))
    client.send_audio(b"first", 99_000)
    rig.run(0.005)
    assert len(of_kind(rig, AudioReceived)) == heard + 1
    while of_kind(rig, PathSelected)[-1].path.client != ELSEWHERE:
        talk(rig, client, 1, first=200)
        assert rig.now - began < 2.6
    rig.endpoint.send_audio(call, b"found", 0, False, rig.now)
    rig.run(0.01)
    assert client.audio[-1].payload == b"found"
    assert of_kind(rig, Ended) == []
