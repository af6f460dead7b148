"""Each reason for which the endpoint or a session lets go of a packet, and what bounds it."""

import pytest

from calls import ELSEWHERE, deliver, deliver_only, drops, of_kind, talk
from pair import HOME, INNER, OWNER, PUBLIC, Client, Rig, endpoint_config, seeded
from stunroute import forward, stun
from stunroute.address import Address
from stunroute.trace import Drop
from transceiver import journal
from transceiver.events import (
    AudioReceived,
    EndReason,
    Established,
)
from transceiver.srtp.rtp import RtpPacket
from transceiver.srtp.rtp import encode as encode_rtp


class TestDrops:
    """Each reason for which the endpoint or a session lets go of a packet."""

    def established(self) -> tuple[Rig, Client]:
        rig = Rig.build()
        client = rig.client()
        rig.establish(client)
        rig.endpoint.drops.clear()
        return rig, client

    def test_from_the_leg(self) -> None:
        rig = Rig.build()
        rig.endpoint.receive_datagram(b"", INNER, rig.now)
        rig.endpoint.receive_datagram(forward.encode(HOME, PUBLIC), ELSEWHERE, rig.now)
        assert drops(rig) == {Drop.LEG_MALFORMED: 1, Drop.LEG_STRANGER: 1}

    @pytest.mark.parametrize(
        ("payload", "reason"),
        [
            (b"", Drop.EMPTY),
            (b"\x16\xfe\xfd" + bytes(40), Drop.SESSION_UNKNOWN),
            (b"\x80\x6f" + bytes(60), Drop.SESSION_UNKNOWN),
            (b"\x80\x6f", Drop.SRTP_TOO_SHORT),
            (b"\x00\x01\x00\x00", Drop.SESSION_UNKNOWN),
            (b"\x10" + bytes(40), Drop.SESSION_UNKNOWN),
        ],
        ids=str,
    )
    def test_of_strangers(self, payload: bytes, reason: Drop) -> None:
        """DTLS 6: nobody whom no check has vouched for reaches a handshake."""
        rig, _ = self.established()
        deliver(rig, payload, ELSEWHERE)
        assert drops(rig) == {reason: 1}
        assert rig.endpoint.next_transmit() is None

    def test_a_flood_of_unknown_ufrags_allocates_nothing(self) -> None:
        """STUN and ICE 10."""
        rig = Rig.build()
        for index in range(1000):
            payload = stun.build(
                stun.Method.BINDING,
                stun.MessageClass.REQUEST,
                index.to_bytes(12, "big"),
                [(0x0006, b"0%025d:them" % index)],
                integrity=stun.IntegrityKey(b"whatever"),
            )
            deliver(rig, payload, Address.of("198.51.100.7", 1024 + index))
        assert drops(rig) == {Drop.UFRAG_UNKNOWN: 1000}
        assert rig.endpoint.next_transmit() is None
        assert rig.endpoint.next_timeout() is None

    def test_a_known_clients_other_protocols(self) -> None:
        rig, client = self.established()
        deliver(rig, b"\x14" * 3 + bytes(40))  # 20 begins the DTLS range: its record is nonsense
        deliver(rig, b"\x10" + bytes(40))  # ZRTP
        assert drops(rig)[Drop.NOT_OURS] == 1
        assert client.errors == []

    def test_a_handshake_from_an_address_no_check_has_validated(self) -> None:
        rig, _ = self.established()
        session = next(iter(rig.endpoint._slots.values())).session
        path = session.route
        session.receive_datagram(
            b"\x16\xfe\xfd" + bytes(40), type(path)(ELSEWHERE, PUBLIC, INNER), rig.now
        )
        assert session.drops[Drop.DTLS_UNVALIDATED_ADDRESS] == 1

    def test_media_before_keys(self) -> None:
        rig = Rig.build()
        client = rig.client()
        rig.open(client)
        # Nothing of the handshake arrives, so keys stay away while media pile up.
        rig.lose = lambda _, transmit: transmit.data[:1] == b"\x16"
        rig.run(0.2)
        session = next(iter(rig.endpoint._slots.values())).session
        packet = encode_rtp(RtpPacket(111, False, 9, 9, 9, payload=b"x" * 40))
        stranger = type(session.route)(ELSEWHERE, PUBLIC, INNER)
        session.receive_datagram(packet, stranger, rig.now)
        assert session.drops[Drop.SRTP_UNVALIDATED_ADDRESS] == 1
        for _ in range(20):
            deliver(rig, packet)
        assert session.drops[Drop.SRTP_NO_KEYS] == 4

    def test_authentic_media_that_are_no_use(self) -> None:
        rig, client = self.established()
        assert client._context is not None
        protect = client._context.protect_rtp
        for packet in (
            RtpPacket(96, False, 100, 9, client.ssrc, payload=b"another codec"),
            RtpPacket(111, False, 101, 9, client.ssrc, payload=b""),
        ):
            client.send_raw(protect(encode_rtp(packet)))
            rig.run(0.01)
        assert drops(rig) == {Drop.RTP_PAYLOAD_TYPE: 1, Drop.RTP_NO_PAYLOAD: 1}
        # A padding count that cannot be is authentic all the same.
        client.send_raw(
            protect(
                encode_rtp(RtpPacket(111, False, 102, 9, client.ssrc))[:1].replace(b"\x80", b"\xa0")
                + encode_rtp(RtpPacket(111, False, 102, 9, client.ssrc, payload=b"\xff"))[1:]
            )
        )
        client.send_rtcp(b"\x81\xc9\x00\x01" + client.ssrc.to_bytes(4, "big"))
        rig.run(0.01)
        assert drops(rig)[Drop.RTP_MALFORMED] == 1
        assert drops(rig)[Drop.RTCP_MALFORMED] == 1

    def test_a_jump_in_sequence_is_not_believed_at_once(self) -> None:
        rig, client = self.established()
        client.sequence = 1000
        talk(rig, client, 1)
        client.sequence = 20000
        talk(rig, client, 1)
        assert drops(rig)[Drop.RTP_DISCONTINUITY] == 1

    def test_application_data_without_a_section_for_it(self) -> None:
        rig, client = self.established()
        assert client.dtls is not None
        client.dtls.send(b"hello", rig.now)
        client._drain_dtls(rig.now)
        rig.run(0.05)
        assert drops(rig)[Drop.DATA_NOT_NEGOTIATED] == 1

    def test_after_the_end(self) -> None:
        rig, _ = self.established()
        slot = next(iter(rig.endpoint._slots.values()))
        slot.session.close(EndReason.HANGUP, rig.now)
        slot.session.receive_datagram(b"\x80\x6f" + bytes(60), slot.session.route, rig.now)
        assert slot.session.drops[Drop.SESSION_CLOSED] == 1


def test_garbage_never_raises_nor_gets_an_answer() -> None:
    rig = Rig.build()
    client = rig.client()
    rig.establish(client)
    draw = seeded("garbage")
    for first in range(256):
        for size in (0, 1, 3, 11, 12, 13, 19, 20, 40, 200, 1500):
            deliver(rig, bytes([first])[:size] + draw(max(size - 1, 0)))
            deliver(rig, bytes([first])[:size] + draw(max(size - 1, 0)), ELSEWHERE)
    talk(rig, client, 3)
    assert len(of_kind(rig, AudioReceived)) == 3
    assert {crossing.destination for crossing in rig.crossings if crossing.source == PUBLIC} == {
        HOME
    }
    assert OWNER not in {crossing.destination for crossing in rig.crossings}


def test_the_journal_says_all_that_crossed_the_border() -> None:
    entries: list[journal.Entry] = []
    rig = Rig.build(journal=entries.append)
    client = rig.client()
    call = rig.establish(client)
    talk(rig, client, 2)
    rig.endpoint.send_audio(call, b"reply", 0, True, rig.now)
    rig.endpoint.close_call(call, EndReason.HANGUP, rig.now)
    rig.settle()
    kinds = [type(entry) for entry in entries]
    assert kinds[:2] == [journal.Opened, journal.Settled]
    assert kinds.count(journal.Settled) == sum(
        kinds.count(kind)
        for kind in (journal.Opened, journal.Received, journal.Fired, journal.Acted)
    )
    acted = [entry for entry in entries if isinstance(entry, journal.Acted)]
    assert [entry.verb for entry in acted] == ["send_audio", "close_call"]
    assert acted[0].arguments == {"payload": b"reply", "timestamp": 0, "marker": True}
    last = [entry for entry in entries if isinstance(entry, journal.Settled)][-1]
    assert last.timeout is None


def test_undelivered_audio_is_bounded_and_the_oldest_goes() -> None:
    rig = Rig.build(config=endpoint_config(events=20))
    client = rig.client()
    rig.establish(client)
    rig.settle()
    for index in range(40):
        sealed = client.send_audio(b"%d" % index, 960 * index)
        deliver_only(rig, sealed)
    kept = []
    while (event := rig.endpoint.next_event()) is not None:
        kept.append(event)
    assert len(kept) == 20
    assert kept[-1].payload == b"39"
    assert kept[0].payload == b"20"


def test_established_says_which_profile() -> None:
    rig = Rig.build()
    rig.establish(rig.client())
    assert [event.profile for event in of_kind(rig, Established)] == ["AEAD_AES_128_GCM"]
