"""What aiortc makes of our answers: a reader that shares nothing with ours."""

import asyncio
import re

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import MediaDescription, SessionDescription
from attrs import evolve

import negotiating
from sdp_strategies import OFFERS
from stunroute.address import Address
from transceiver.errors import OfferError
from transceiver.negotiation import Negotiated, negotiate, renegotiate
from transceiver.sdp import parse_untrusted

LOCAL = evolve(negotiating.LOCAL, candidates=(Address.of("127.0.0.1", 9), Address.of("::1", 9)))


def read_by_aiortc(settled: Negotiated) -> None:
    read = SessionDescription.parse(str(settled.answer))
    assert len(read.media) == settled.sections
    groups = [group.items for group in read.group]
    assert groups == ([list(settled.group)] if settled.group else [])
    described = [media for media in read.media if media.ice_candidates]
    assert len(described) == 1
    assert described[0].ice_candidates_complete
    assert [(c.component, c.protocol, c.type) for c in described[0].ice_candidates] == [
        (1, "udp", "host")
    ] * 2
    for index, mid in settled.agreed.items():
        media = read.media[index]
        assert media.port == 9
        assert media.ice.usernameFragment == LOCAL.ufrag
        assert media.ice.password == LOCAL.password
        assert media.ice.iceLite
        assert media.dtls.role == settled.role.value
        assert str(LOCAL.fingerprint) == " ".join(
            (media.dtls.fingerprints[0].algorithm, media.dtls.fingerprints[0].value)
        )
        assert media.rtp.muxId == (mid or "")
    if settled.section is not None:
        audio_read_by_aiortc(read.media[settled.section], settled)
    if settled.data is not None:
        media = read.media[settled.data.section]
        assert media.kind == "application"
        assert media.fmt == ["webrtc-datachannel"]
        assert media.sctp_port == 5000
        assert media.sctpCapabilities.maxMessageSize == LOCAL.max_message_size
    rejected = [media for index, media in enumerate(read.media) if index not in settled.agreed]
    assert all(media.port == 0 for media in rejected)


def audio_read_by_aiortc(media: MediaDescription, settled: Negotiated) -> None:
    assert media.kind == "audio"
    assert media.direction == settled.direction.value
    assert media.rtcp_mux
    (codec,) = media.rtp.codecs
    assert settled.codec is not None
    assert codec.name == settled.codec.name
    assert codec.payloadType == settled.codec.payload_type
    assert codec.clockRate == settled.codec.clock_rate
    assert codec.channels == settled.codec.channels
    assert codec.parameters == {"minptime": 10, "useinbandfec": 1}


@pytest.mark.parametrize("data", [True, False])
@pytest.mark.parametrize("name", OFFERS)
def test_aiortc_reads_our_answers_as_we_meant_them(name: str, data: bool) -> None:
    try:
        settled = negotiate(parse_untrusted(OFFERS[name]), evolve(LOCAL, data=data))
    except OfferError:
        assert not data, "a call of data alone is refused by who takes no data"
        return
    read_by_aiortc(settled)


@pytest.mark.parametrize(
    ("contents", "data"),
    [
        ("audio", True),
        ("audio, data", True),
        ("audio, data", False),
        ("data, audio", True),
        ("data, audio", False),
        ("data", True),
    ],
)
def test_aiortc_accepts_the_answer_to_its_own_offer(contents: str, data: bool) -> None:
    local = evolve(LOCAL, data=data)

    async def exchange() -> None:
        client = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        try:
            for kind in contents.split(", "):
                if kind == "audio":
                    client.addTransceiver("audio", direction="sendrecv")
                else:
                    client.createDataChannel("control")
            await client.setLocalDescription(await client.createOffer())
            settled = negotiate(parse_untrusted(client.localDescription.sdp), local)
            assert (settled.data is not None) == (data and "data" in contents)
            read_by_aiortc(settled)
            await client.setRemoteDescription(RTCSessionDescription(str(settled.answer), "answer"))
            assert client.signalingState == "stable"
            for transceiver in client.getTransceivers():
                assert transceiver.currentDirection == "sendrecv"
            if settled.data is not None:
                assert client.sctp.mid == settled.data.mid

            await client.setLocalDescription(await client.createOffer())
            offer = parse_untrusted(client.localDescription.sdp)
            again = renegotiate(settled, offer, local)
            assert not again.restarted
            assert again.data == settled.data
            answer = RTCSessionDescription(str(again.answer), "answer")
            await client.setRemoteDescription(answer)
            assert client.signalingState == "stable"
        finally:
            await client.close()

    asyncio.run(exchange())


def test_aiortc_adds_a_channel_to_a_call_of_audio() -> None:
    async def exchange() -> None:
        client = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        try:
            client.addTransceiver("audio", direction="sendrecv")
            await client.setLocalDescription(await client.createOffer())
            settled = negotiate(parse_untrusted(client.localDescription.sdp), LOCAL)
            await client.setRemoteDescription(RTCSessionDescription(str(settled.answer), "answer"))
            client.createDataChannel("control")
            await client.setLocalDescription(await client.createOffer())
            offer = parse_untrusted(client.localDescription.sdp)
            again = renegotiate(settled, offer, LOCAL)
            assert again.data is not None
            assert again.group == (settled.mid, again.data.mid)
            read_by_aiortc(again)
            await client.setRemoteDescription(RTCSessionDescription(str(again.answer), "answer"))
            assert client.signalingState == "stable"
        finally:
            await client.close()

    asyncio.run(exchange())


def test_the_oracle_can_disagree() -> None:
    settled = negotiate(parse_untrusted(OFFERS["aiortc"]), LOCAL)
    spoilt = re.sub("a=setup:active", "a=setup:passive", str(settled.answer))
    with pytest.raises(AssertionError):
        assert SessionDescription.parse(spoilt).media[0].dtls.role == settled.role.value
