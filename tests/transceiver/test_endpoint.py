"""Whole calls through relay and endpoint, in one process and in virtual time.

The far side is ``pair.Client``; nothing here opens a socket.
"""

import itertools

import pytest

from calls import ELSEWHERE, OTHER_INNER, check_for, deliver, drops, of_kind, phases, talk
from pair import HOME, INNER, PUBLIC, Rig, endpoint_config
from stunroute import forward, stun
from stunroute.address import Address
from stunroute.trace import Drop
from transceiver.config import SessionLimits
from transceiver.errors import AtCapacity, OfferError, UnknownCall
from transceiver.events import (
    AudioReceived,
    Ended,
    EndReason,
    LengthWarning,
    PathSelected,
    Phase,
)
from transceiver.session import LONGEST_PAYLOAD
from transceiver.srtp import rtcp
from transceiver.srtp.rtp import RtpPacket
from transceiver.srtp.rtp import encode as encode_rtp


@pytest.mark.parametrize("setup", ["actpass", "active", "passive"])
def test_a_call_from_offer_to_hang_up(setup: str) -> None:
    rig = Rig.build()
    client = rig.client(setup=setup)
    call = rig.establish(client)
    talk(rig, client)
    heard = of_kind(rig, AudioReceived)
    assert [event.payload for event in heard] == [b"voice %d" % i for i in range(5)]
    assert {event.codec for event in heard} == {"opus"}
    for index in range(3):
        assert rig.endpoint.send_audio(call, b"reply %d" % index, 960 * index, False, rig.now)
    rig.run(0.1)
    assert [packet.payload for packet in client.audio] == [b"reply 0", b"reply 1", b"reply 2"]
    stamps = [packet.timestamp for packet in client.audio]
    assert [(b - a) % 2**32 for a, b in itertools.pairwise(stamps)] == [960, 960]
    rig.endpoint.close_call(call, EndReason.HANGUP, rig.now)
    rig.run(0.1)
    assert client.closed, "close_notify tells the client"
    assert any(packet[-7:-6] == b"\xcb" or 203 in packet for packet in client.rtcp), "and so BYE"
    assert rig.endpoint.calls == []
    assert rig.endpoint.next_timeout() is None or rig.endpoint.next_timeout() >= rig.now
    assert phases(rig)[0] is Phase.CHECKING
    assert phases(rig)[-2:] == [Phase.ESTABLISHED, Phase.CLOSED]
    assert of_kind(rig, Ended)[0].reason is EndReason.HANGUP


def test_the_call_id_names_the_hint_and_the_snapshot_tells_the_owner() -> None:
    rig = Rig.build()
    client = rig.client()
    call = rig.establish(client)
    picture = rig.endpoint.snapshot(call, rig.now)
    assert call == f"rtc_{client.remote_ufrag}"
    assert (picture.cluster, picture.node) == (1, 7)
    assert picture.phase == "established"
    assert picture.timings.first_check is not None
    assert picture.timings.established is not None
    assert picture.timings.first_check <= picture.timings.established
    assert picture.srtp_profile == "AEAD_AES_128_GCM"


def test_the_client_learns_its_own_address_from_the_check() -> None:
    rig = Rig.build()
    client = rig.client()
    rig.establish(client)
    assert client.mapped == HOME


def test_a_peer_that_closes_ends_its_session() -> None:
    rig = Rig.build()
    client = rig.client()
    rig.establish(client)
    client.close(rig.now)
    rig.run(0.1)
    assert of_kind(rig, Ended)[0].reason is EndReason.PEER_CLOSED
    assert rig.endpoint.calls == []


def test_a_released_flow_lets_another_call_have_the_address() -> None:
    """STUN and ICE 9: a client that reuses its port for a new call."""
    rig = Rig.build()
    first = rig.client(1)
    call = rig.establish(first)
    rig.endpoint.close_call(call, EndReason.HANGUP, rig.now)
    rig.run(0.1)
    rig.clients.remove(first)
    second = rig.client(2)
    rig.establish(second)
    talk(rig, second)
    assert {event.call for event in of_kind(rig, AudioReceived)} == {f"rtc_{second.remote_ufrag}"}


def test_a_twin_at_the_same_address_survives_the_others_end() -> None:
    """STUN and ICE 9: closing one of two sessions must not remove its twin's entry."""
    rig = Rig.build()
    first, second = rig.client(1), rig.client(2)
    call = rig.establish(first)
    rig.establish(second)
    rig.endpoint.close_call(call, EndReason.HANGUP, rig.now)
    rig.run(0.1)
    rig.clients.remove(first)
    talk(rig, second)
    assert [event.payload for event in of_kind(rig, AudioReceived)] == [
        b"voice %d" % i for i in range(5)
    ]


def test_of_two_twins_media_reaches_the_one_that_knows_its_source() -> None:
    """STUN and ICE 9: two sessions from one remote address and port."""
    rig = Rig.build()
    first, second = rig.client(1), rig.client(2)
    one = rig.establish(first)
    talk(rig, first, 2)
    two = rig.establish(second)
    talk(rig, second, 2)
    talk(rig, first, 2, first=2)
    assert [event.call for event in of_kind(rig, AudioReceived)] == [one, one, two, two, one, one]


def test_a_session_forged_onto_an_address_does_not_get_its_handshake() -> None:
    """DTLS 6, STUN and ICE 9: a caller of ours who can forge a source address has a check
    of its own validated there, while the victim's handshake is under way."""
    rig = Rig.build()
    victim, intruder = rig.client(1), rig.client(2, address=ELSEWHERE)
    rig.lose = lambda _, transmit: b"\x16" in (transmit.data[:1], transmit.data[38:39])
    rig.open(victim)
    rig.run(0.02)
    call = rig.endpoint.open_call(intruder.offer(), rig.now)
    intruder.accept(call.answer, rig.now)
    deliver(rig, check_for(intruder), HOME)
    rig.lose = None
    rig.run(1.0)
    assert victim.keys is not None
    talk(rig, victim)
    assert len(of_kind(rig, AudioReceived)) == 5


class TestRebinding:
    def test_uplink_goes_on_at_once_and_downlink_with_the_next_check(self) -> None:
        """SRTP, RTP, RTCP 3: media arrive from an address that no check has validated."""
        rig = Rig.build()
        client = rig.client()
        call = rig.establish(client)
        talk(rig, client)
        client.rebind(ELSEWHERE)
        client.keepalives = False
        heard = len(of_kind(rig, AudioReceived))
        talk(rig, client, 5, first=5)
        assert len(of_kind(rig, AudioReceived)) == heard + 5
        selected = of_kind(rig, PathSelected)[-1]
        assert selected.path.client == HOME, "media alone do not move the downlink"
        client.keepalives = True
        client.check(rig.now)
        rig.run(0.05)
        assert of_kind(rig, PathSelected)[-1].path.client == ELSEWHERE
        rig.endpoint.send_audio(call, b"found you", 0, False, rig.now)
        rig.run(0.05)
        assert client.audio[-1].payload == b"found you"

    def test_a_stranger_with_a_known_source_gets_nowhere(self) -> None:
        rig = Rig.build()
        client = rig.client()
        call = rig.establish(client)
        talk(rig, client)
        forged = encode_rtp(
            RtpPacket(111, False, client.sequence, 9, client.ssrc, payload=bytes(40))
        )
        deliver(rig, forged, ELSEWHERE)
        assert drops(rig)[Drop.SRTP_AUTHENTICATION] == 1
        rig.endpoint.send_audio(call, b"still yours", 0, False, rig.now)
        rig.run(0.05)
        assert client.audio[-1].payload == b"still yours"


class TestRelays:
    def test_packets_go_back_by_the_relay_that_delivered_last(self) -> None:
        rig = Rig.build(config=endpoint_config(relays=frozenset({INNER, OTHER_INNER})))
        client = rig.client()
        call = rig.establish(client)
        talk(rig, client, 1)
        header = forward.encode(HOME, PUBLIC)
        sealed = client.send_audio(b"by another way", 960)
        client.next_transmit()
        rig.endpoint.receive_datagram(header + sealed, OTHER_INNER, rig.now)
        rig.endpoint.send_audio(call, b"reply", 0, False, rig.now)
        assert rig.endpoint.next_transmit().address == OTHER_INNER

    def test_a_check_on_a_candidate_not_in_use_moves_nothing(self) -> None:
        rig = Rig.build(config=endpoint_config())
        client = rig.client()
        call = rig.establish(client)
        talk(rig, client, 1)
        other = Address.of("203.0.113.2", 3478)
        rig.endpoint.receive_datagram(
            forward.encode(HOME, other) + check_for(client), INNER, rig.now
        )
        while rig.endpoint.next_transmit():
            pass
        rig.endpoint.send_audio(call, b"reply", 0, False, rig.now)
        sent = rig.endpoint.next_transmit().data
        assert forward.decode_untrusted(sent).proxy == PUBLIC

    def test_every_candidate_of_the_answer_takes_checks(self) -> None:
        """RFC 8445, 5.3: from the answer on."""
        places = (PUBLIC, Address.of("203.0.113.2", 3478), Address.of("2001:db8::2", 3478))
        for place in places:
            rig = Rig.build(config=endpoint_config(candidates=places))
            client = rig.client(setup="active")
            rig.open(client)
            rig.endpoint.receive_datagram(
                forward.encode(HOME, place) + check_for(client), INNER, rig.now
            )
            sent = rig.endpoint.next_transmit()
            assert sent is not None
            assert forward.decode_untrusted(sent.data).proxy == place
            answer = stun.decode_untrusted(sent.data[forward.HEADER_LENGTH :])
            assert answer.message_class is stun.MessageClass.SUCCESS

    def test_audio_comes_back_through_a_relay_that_has_lost_its_flows(self) -> None:
        """The client sends no check any more, and we send nothing that it did not send first."""
        rig = Rig.build()
        client = rig.client()
        rig.establish(client)
        client.keepalives = False
        talk(rig, client)
        rig.relay = Rig.build().relay
        lost_at = rig.now
        heard = len(of_kind(rig, AudioReceived))
        while len(of_kind(rig, AudioReceived)) == heard:
            talk(rig, client, 1, first=100)
        assert rig.now - lost_at < SessionLimits().probe_interval + 0.1
        assert any(crossing.drop is Drop.NO_FLOW for crossing in rig.crossings)
        assert rig.relay.counters.healed == 1


class TestRestart:
    def test_ice_restarts_on_the_same_five_tuple_while_audio_goes_on(self) -> None:
        """STUN and ICE 8: muxes that look up the address first lose the new agent's checks."""
        rig = Rig.build()
        client = rig.client()
        call = rig.establish(client)
        before = client.remote_ufrag
        answer = rig.endpoint.reoffer(call, client.restart(), rig.now)
        talk(rig, client, 2)
        client.accept(answer, rig.now)
        rig.run(0.3)
        assert client.remote_ufrag != before
        assert client.nominated
        assert client.errors == []
        talk(rig, client, 2, first=2)
        assert len(of_kind(rig, AudioReceived)) == 4

    def test_every_call_and_every_restart_draws_its_own_credentials(self) -> None:
        rig = Rig.build()
        ufrags, passwords = set(), set()
        for index in range(10):
            client = rig.client(index)
            call = rig.establish(client)
            answers = [rig.endpoint.reoffer(call, client.restart(), rig.now) for _ in range(3)]
            for answer in answers:
                lines = answer.split("\r\n")
                ufrags |= {line for line in lines if line.startswith("a=ice-ufrag:")}
                passwords |= {line for line in lines if line.startswith("a=ice-pwd:")}
            assert f"a=ice-ufrag:{client.remote_ufrag}" not in ufrags
        assert len(ufrags) == len(passwords) == 30

    def test_the_old_ufrag_is_honoured_for_a_while_and_no_longer(self) -> None:
        rig = Rig.build()
        client = rig.client()
        call = rig.establish(client)
        old = client.remote_ufrag.encode()
        old_check = check_for(client)
        answer = rig.endpoint.reoffer(call, client.restart(), rig.now)
        client.accept(answer, rig.now)
        rig.run(1.0)
        unknown = drops(rig).get(Drop.UFRAG_UNKNOWN, 0)
        deliver(rig, old_check)
        assert drops(rig).get(Drop.UFRAG_UNKNOWN, 0) == unknown
        rig.run(rig.endpoint.config.ice.restart_overlap + 1)
        deliver(rig, old_check)
        assert drops(rig)[Drop.UFRAG_UNKNOWN] == unknown + 1, old

    def test_an_offer_that_restarts_nothing_keeps_the_credentials(self) -> None:
        rig = Rig.build()
        client = rig.client()
        call = rig.establish(client)
        answer = rig.endpoint.reoffer(call, client.offer(), rig.now)
        assert f"a=ice-ufrag:{client.remote_ufrag}\r\n" in answer


class TestLifecycle:
    def test_an_offer_nobody_follows_up_ends_by_itself(self) -> None:
        rig = Rig.build()
        rig.endpoint.open_call(rig.client().offer(), rig.now)
        rig.clients.clear()
        rig.run(29.9)
        assert len(rig.endpoint.calls) == 1
        rig.run(0.2)
        ended = of_kind(rig, Ended)[0]
        assert (ended.reason, ended.detail) == (EndReason.ESTABLISH_TIMEOUT, "no check arrived")
        assert rig.endpoint.next_timeout() is None

    def test_silence_disconnects_then_ends_and_a_sign_of_life_brings_it_back(self) -> None:
        rig = Rig.build()
        client = rig.client()
        rig.establish(client)
        client.keepalives = False
        rig.run(10)
        assert phases(rig)[-1] is Phase.DISCONNECTED
        talk(rig, client, 1)
        assert phases(rig)[-1] is Phase.ESTABLISHED
        rig.run(40)
        assert of_kind(rig, Ended)[0].reason is EndReason.CONSENT_EXPIRED

    def test_a_call_that_lost_consent_is_not_found_again(self) -> None:
        """RFC 7675, 5.1: not by its credentials, and not a byte is sent to where it was."""
        rig = Rig.build()
        client = rig.client()
        call = rig.establish(client)
        late = check_for(client)
        client.keepalives = False
        rig.run(31)
        assert of_kind(rig, Ended)[0].reason is EndReason.CONSENT_EXPIRED
        sent = len([crossing for crossing in rig.crossings if crossing.destination == HOME])
        deliver(rig, late)
        rig.run(5)
        assert drops(rig)[Drop.UFRAG_UNKNOWN] == 1
        with pytest.raises(UnknownCall):
            rig.endpoint.send_audio(call, b"anybody", 0, False, rig.now)
        assert len([c for c in rig.crossings if c.destination == HOME]) == sent

    def test_a_call_in_which_we_say_nothing_sends_all_the_same(self) -> None:
        """RFC 8445, 11: no longer than Tr, 15 s, without a packet, though a lite agent sends no
        keepalives of STUN and the client asks for no answers: reports go out."""
        rig = Rig.build()
        client = rig.client()
        rig.establish(client)
        client.keepalives = False
        for index in range(60):
            talk(rig, client, 1, first=index)
            rig.run(1.0)
        sent = [c.at for c in rig.crossings if c.destination == HOME]
        assert max(b - a for a, b in itertools.pairwise([*sent, rig.now])) < 15.0

    def test_media_alone_keep_a_session_alive(self) -> None:
        """STUN and ICE 5: some clients never send a check again once they have nominated."""
        rig = Rig.build()
        client = rig.client()
        rig.establish(client)
        client.keepalives = False
        for index in range(20):
            talk(rig, client, 1, first=index)
            rig.run(4.0)
        assert of_kind(rig, Ended) == []

    def test_forged_packets_keep_nothing_alive(self) -> None:
        """STUN and ICE 5: only what authenticates renews consent."""
        rig = Rig.build()
        client = rig.client()
        rig.establish(client)
        client.keepalives = False
        for _ in range(20):
            deliver(rig, check_for(client, wrong=True))
            deliver(rig, encode_rtp(RtpPacket(111, False, 9, 9, 9, payload=b"x" * 40)))
            deliver(rig, b"\x17\xfe\xfd\x00\x01" + bytes(6) + b"\x00\x20" + bytes(32))
            rig.run(2.0)
        assert of_kind(rig, Ended)[0].reason is EndReason.CONSENT_EXPIRED

    def test_the_longest_call_is_warned_and_ended(self) -> None:
        limits = SessionLimits(maximum_length=100, warning_before=20)
        rig = Rig.build(config=endpoint_config(session=limits))
        client = rig.client()
        rig.establish(client)
        rig.run(85)
        assert 19 < of_kind(rig, LengthWarning)[0].seconds_left <= 20
        rig.run(20)
        assert of_kind(rig, Ended)[0].reason is EndReason.MAXIMUM_LENGTH
        assert len(of_kind(rig, LengthWarning)) == 1

    def test_draining_lets_calls_end_and_takes_no_more(self) -> None:
        rig = Rig.build()
        client = rig.client()
        rig.establish(client)
        rig.endpoint.drain(5.0, rig.now)
        with pytest.raises(AtCapacity):
            rig.endpoint.open_call(rig.client(2).offer(), rig.now)
        rig.run(4.9)
        assert len(rig.endpoint.calls) == 1
        rig.run(0.2)
        assert of_kind(rig, Ended)[0].reason is EndReason.DRAINED

    def test_one_more_than_the_cap_is_refused(self) -> None:
        rig = Rig.build(config=endpoint_config(sessions=2))
        for index in range(2):
            rig.endpoint.open_call(rig.client(index).offer(), rig.now)
        with pytest.raises(AtCapacity) as caught:
            rig.endpoint.open_call(rig.client(3).offer(), rig.now)
        assert caught.value.retry_after == 5.0

    def test_a_malformed_offer_leaves_nothing_behind(self) -> None:
        rig = Rig.build()
        with pytest.raises(OfferError):
            rig.endpoint.open_call("v=0\r\nnonsense\r\n", rig.now)
        assert rig.endpoint.calls == []
        assert rig.endpoint.next_timeout() is None

    def test_verbs_for_no_call_say_so(self) -> None:
        endpoint = Rig.build().endpoint
        for verb in (
            lambda: endpoint.send_audio("rtc_x", b"", 0, False, 0.0),
            lambda: endpoint.close_call("rtc_x", EndReason.HANGUP, 0.0),
            lambda: endpoint.reoffer("rtc_x", "", 0.0),
            lambda: endpoint.end_within("rtc_x", 1.0, 0.0),
            lambda: endpoint.snapshot("rtc_x", 0.0),
        ):
            with pytest.raises(UnknownCall):
                verb()

    def test_a_handshake_that_never_succeeds_says_why(self) -> None:
        rig = Rig.build()
        client, stranger = rig.client(), rig.client(2)
        client.identity, stranger.identity = stranger.identity, client.identity
        offer = client.offer()
        client.identity = stranger.identity
        answered = rig.endpoint.open_call(offer, rig.now)
        client.accept(answered.answer, rig.now)
        rig.run(31.0)
        ended = of_kind(rig, Ended)[0]
        assert ended.reason is EndReason.ESTABLISH_TIMEOUT
        assert "certificate" in ended.detail


class TestReports:
    def test_both_sides_hear_how_they_are_received(self) -> None:
        rig = Rig.build()
        client = rig.client()
        call = rig.establish(client)
        for index in range(400):
            talk(rig, client, 1, first=index)
            rig.endpoint.send_audio(call, b"reply", 960 * index, False, rig.now)
        reports = [p for data in client.rtcp for p in rtcp.decode_compound_untrusted(data)]
        sender = [p for p in reports if isinstance(p, rtcp.SenderReport)]
        assert sender
        assert sender[-1].packet_count > 0
        assert sender[-1].reports[0].ssrc == client.ssrc
        assert sender[-1].reports[0].cumulative_lost == 0
        block = rtcp.ReportBlock(
            ssrc=sender[-1].ssrc,
            fraction_lost=0,
            cumulative_lost=3,
            highest_sequence=0,
            jitter=96,
            last_sender_report=rtcp.compact_ntp(sender[-1].ntp),
            delay_since_last=0,
        )
        client.send_rtcp(rtcp.encode_compound([rtcp.ReceiverReport(client.ssrc, (block,))]))
        rig.run(0.05)
        audio = rig.endpoint.snapshot(call, rig.now).audio
        assert audio.round_trip is not None
        assert audio.remote_lost == 3
        assert audio.remote_jitter == pytest.approx(96 / 48000)
        assert (audio.packets_in, audio.packets_out, audio.lost) == (400, 400, 0)

    def test_the_section_is_named_until_the_client_has_heard_of_it(self) -> None:
        rig = Rig.build()
        client = rig.client(mid_extension=9)
        call = rig.establish(client)
        longest = bytes(LONGEST_PAYLOAD)
        for index in range(3):
            assert rig.endpoint.send_audio(call, longest, 960 * index, False, rig.now)
            rig.run(0.02)
        assert [packet.extensions for packet in client.audio] == [((9, b"0"),)] * 3
        assert {packet.payload for packet in client.audio} == {longest}
        last = client.audio[-1]
        block = rtcp.ReportBlock(last.ssrc, 0, 0, last.sequence, 0, 0, 0)
        client.send_rtcp(rtcp.encode_compound([rtcp.ReceiverReport(client.ssrc, (block,))]))
        rig.run(0.02)
        rig.endpoint.send_audio(call, b"later", 9600, False, rig.now)
        rig.run(10.0)
        assert client.audio[-1].payload == b"later"
        assert client.audio[-1].extensions == ()
        packets = [p for data in client.rtcp for p in rtcp.decode_compound_untrusted(data)]
        described = [p.chunks for p in packets if isinstance(p, rtcp.SourceDescription)]
        assert described
        for (chunk,) in described:
            assert (chunk.ssrc, chunk.items[-1]) == (last.ssrc, (rtcp.MID, b"0"))

    def test_a_later_offer_without_the_extension_ends_it(self) -> None:
        rig = Rig.build()
        client = rig.client(mid_extension=9)
        call = rig.establish(client)
        rig.endpoint.send_audio(call, b"named", 0, False, rig.now)
        rig.run(0.02)
        client.mid_extension = None
        rig.endpoint.reoffer(call, client.offer(), rig.now)
        rig.endpoint.send_audio(call, b"plain", 960, False, rig.now)
        rig.run(0.02)
        assert [packet.extensions for packet in client.audio] == [((9, b"0"),), ()]

    def test_loss_is_counted(self) -> None:
        rig = Rig.build()
        client = rig.client()
        call = rig.establish(client)
        talk(rig, client, 5)
        client.sequence += 3
        talk(rig, client, 5, first=8)
        assert rig.endpoint.snapshot(call, rig.now).audio.lost == 3


def test_audio_that_is_taken_at_once_waits_in_no_queue() -> None:
    """A datagram that is taken says what one that is received says, and leaves nothing behind."""
    rig = Rig.build()
    client = rig.client()
    call = rig.establish(client)
    talk(rig, client, 2)
    header = forward.encode(HOME, PUBLIC)
    events = []
    for index in (2, 3):
        sealed = client.send_audio(b"voice %d" % index, 960 * index)
        client.next_transmit()
        if index == 2:
            events.append(rig.endpoint.take_datagram(header + sealed, INNER, rig.now))
        else:
            rig.endpoint.receive_datagram(header + sealed, INNER, rig.now)
            events.append(rig.endpoint.next_event())
        assert rig.endpoint.next_event() is None
    first, second = events
    assert isinstance(first, AudioReceived)
    assert isinstance(second, AudioReceived)
    assert (first.payload, second.payload) == (b"voice 2", b"voice 3")
    assert (first.call, second.sequence, first.marker) == (call, first.sequence + 1, second.marker)
    for answer in (b"one", b"two"):
        assert rig.endpoint.send_audio(call, answer, 0, False, rig.now)
    sent = rig.endpoint.take_transmits()
    assert [transmit.address for transmit in sent] == [INNER, INNER]
    assert all(transmit.data.startswith(header) for transmit in sent)
    assert rig.endpoint.next_transmit() is None
    assert rig.endpoint.take_transmits() == []
