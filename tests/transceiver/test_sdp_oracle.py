"""What aiortc makes of our answers: a reader that shares nothing with ours."""

import asyncio
import re

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import SessionDescription
from attrs import evolve

import negotiating
from sdp_strategies import OFFERS
from stunroute.address import Address
from transceiver.negotiation import Negotiated, negotiate, renegotiate
from transceiver.sdp import parse_untrusted

LOCAL = evolve(negotiating.LOCAL, candidates=(Address.of("127.0.0.1", 9), Address.of("::1", 9)))


def read_by_aiortc(settled: Negotiated) -> None:
    read = SessionDescription.parse(str(settled.answer))
    assert len(read.media) == settled.sections
    media = read.media[settled.section]
    assert (media.kind, media.port) == ("audio", 9)
    assert media.direction == settled.direction.value
    assert media.rtcp_mux
    assert media.ice_candidates_complete
    assert [(c.component, c.protocol, c.type) for c in media.ice_candidates] == [
        (1, "udp", "host")
    ] * 2
    assert media.ice.usernameFragment == LOCAL.ufrag
    assert media.ice.password == LOCAL.password
    assert media.ice.iceLite
    assert media.dtls.role == settled.role.value
    assert str(LOCAL.fingerprint) == " ".join(
        (media.dtls.fingerprints[0].algorithm, media.dtls.fingerprints[0].value)
    )
    (codec,) = media.rtp.codecs
    assert codec.name == settled.codec.name
    assert codec.payloadType == settled.codec.payload_type
    assert codec.clockRate == settled.codec.clock_rate
    assert codec.channels == settled.codec.channels
    assert codec.parameters == {"minptime": 10, "useinbandfec": 1}
    if settled.mid is not None:
        assert media.rtp.muxId == settled.mid
        assert [group.items for group in read.group] == [[settled.mid]]
    rejected = [other for other in read.media if other is not media]
    assert all(other.port == 0 for other in rejected)


@pytest.mark.parametrize("name", OFFERS)
def test_aiortc_reads_our_answers_as_we_meant_them(name: str) -> None:
    read_by_aiortc(negotiate(parse_untrusted(OFFERS[name]), LOCAL))


@pytest.mark.parametrize("with_data", [False, True])
def test_aiortc_accepts_the_answer_to_its_own_offer(with_data: bool) -> None:
    async def exchange() -> None:
        client = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        try:
            client.addTransceiver("audio", direction="sendrecv")
            if with_data:
                client.createDataChannel("control")
            await client.setLocalDescription(await client.createOffer())
            settled = negotiate(parse_untrusted(client.localDescription.sdp), LOCAL)
            read_by_aiortc(settled)
            await client.setRemoteDescription(RTCSessionDescription(str(settled.answer), "answer"))
            assert client.signalingState == "stable"
            sender = client.getTransceivers()[0]
            assert sender.currentDirection == "sendrecv"

            await client.setLocalDescription(await client.createOffer())
            offer = parse_untrusted(client.localDescription.sdp)
            again = renegotiate(settled, offer, LOCAL)
            assert not again.restarted
            answer = RTCSessionDescription(str(again.answer), "answer")
            await client.setRemoteDescription(answer)
            assert client.signalingState == "stable"
        finally:
            await client.close()

    asyncio.run(exchange())


def test_the_oracle_can_disagree() -> None:
    settled = negotiate(parse_untrusted(OFFERS["aiortc"]), LOCAL)
    spoilt = re.sub("a=setup:active", "a=setup:passive", str(settled.answer))
    with pytest.raises(AssertionError):
        assert SessionDescription.parse(spoilt).media[0].dtls.role == settled.role.value
