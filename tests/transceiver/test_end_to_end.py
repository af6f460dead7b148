"""A whole call between programs that do not know one another: aiortc as the client, a relay and a
transceiver on loopback sockets, signalling over HTTP, and a tone that must come back."""

import asyncio
import math
from array import array

import pytest
from aiortc import RTCRtpReceiver, RTCSessionDescription

from aiortc_calls import SDP, caller, fleet, until
from tone import RATE, TONE, listen, share_of_tone
from transceiver.http import CALLS


def test_the_measure_tells_tones_apart():
    tone = array("h", [int(9000 * math.sin(2 * math.pi * TONE * n / RATE)) for n in range(9600)])
    assert share_of_tone(tone, TONE) > 0.99
    assert share_of_tone(tone, 1000.0) < 0.01
    assert share_of_tone(array("h", bytes(200)), TONE) == 0.0


async def hear_the_tone(track) -> None:
    """Several tries: on a busy machine the client's own clock stutters."""
    shares = []
    for _ in range(10):
        heard = await listen(track, 0.4)
        shares.append(share_of_tone(heard, TONE))
        if shares[-1] > 0.9:
            assert share_of_tone(heard, TONE * 1.5) < 0.05
            return
    raise AssertionError(f"no clean tone: {shares}")


def test_a_tone_comes_back_and_the_cap_holds(monkeypatch):
    async def main():
        async with (
            asyncio.timeout(60),
            fleet(**{"limits.sessions": 1}) as edge,
            caller(monkeypatch) as client,
        ):
            tracks = asyncio.Queue()
            client.on("track", tracks.put_nowait)
            offer = client.localDescription.sdp
            made = await edge.web.post(CALLS, content=offer, headers=SDP)
            assert made.status_code == 201, made.text
            call = made.headers["location"]
            assert made.text.endswith("\r\n")
            await client.setRemoteDescription(RTCSessionDescription(made.text, "answer"))
            track = await tracks.get()

            await listen(track, 0.5)  # the codec and the jitter buffer settle
            await hear_the_tone(track)

            refused = await edge.web.post(CALLS, content=offer, headers=SDP)
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) >= 1

            state = (await edge.web.get(call)).json()
            assert state["phase"] == "established"
            assert (state["cluster"], state["node"]) == (1, 7)
            assert state["audio"]["codec"] == "opus"
            assert state["audio"]["packets_out"] > 20
            assert state["audio"]["lost"] == 0
            assert 0 < state["timings"]["established"] < 10
            assert edge.relay.relay.flows == 1

            assert (await edge.web.delete(call)).status_code == 200
            await until(lambda: client.connectionState == "closed")
            assert (await edge.web.get(call)).status_code == 404
            await until(lambda: edge.relay.relay.flows == 0)

            again = await edge.web.post(CALLS, content=offer, headers=SDP)
            assert again.status_code == 201

    asyncio.run(main())


def test_aiortc_is_told_the_section_until_it_reports(monkeypatch):
    names = []
    handle = RTCRtpReceiver._handle_rtp_packet

    async def handle_rtp_packet(receiver, packet, *rest, **more):
        names.append(packet.extensions.mid)
        await handle(receiver, packet, *rest, **more)

    monkeypatch.setattr(RTCRtpReceiver, "_handle_rtp_packet", handle_rtp_packet)

    async def main():
        async with asyncio.timeout(60), fleet() as edge, caller(monkeypatch) as client:
            offer = client.localDescription.sdp
            made = await edge.web.post(CALLS, content=offer, headers=SDP)
            await client.setRemoteDescription(RTCSessionDescription(made.text, "answer"))
            await until(lambda: names and names[-1] is None)
            (transceiver,) = client.getTransceivers()
            assert names[0] == transceiver.mid
            assert set(names) == {transceiver.mid, None}

    asyncio.run(main())


@pytest.mark.parametrize("delay", [1.0])
def test_a_delayed_echo_comes_back_later(monkeypatch, delay):
    async def main():
        options = {"backend.options.delay": str(delay)}
        async with asyncio.timeout(60), fleet(**options) as edge, caller(monkeypatch) as client:
            tracks = asyncio.Queue()
            client.on("track", tracks.put_nowait)
            made = await edge.web.post(CALLS, content=client.localDescription.sdp, headers=SDP)
            await client.setRemoteDescription(RTCSessionDescription(made.text, "answer"))
            await hear_the_tone(await tracks.get())
            timings = (await edge.web.get(made.headers["location"])).json()["timings"]
            waited = timings["first_audio_out"] - timings["first_audio_in"]
            assert delay <= waited < delay + 1.0

    asyncio.run(main())


def test_the_clients_end_ends_the_call(monkeypatch):
    async def main():
        async with asyncio.timeout(60), fleet() as edge:
            async with caller(monkeypatch) as client:
                offer = client.localDescription.sdp
                made = await edge.web.post(CALLS, content=offer, headers=SDP)
                await client.setRemoteDescription(RTCSessionDescription(made.text, "answer"))
                call = edge.server.calls[0]
                await until(lambda: edge.server.snapshot(call).phase == "established")
            await until(lambda: not edge.server.calls)

    asyncio.run(main())


def test_a_recorded_call_lies_there_whole(monkeypatch, tmp_path):
    sidecar = pytest.importorskip("conformance.sidecar")

    async def main():
        async with asyncio.timeout(60), fleet(tmp_path / "calls") as edge:
            async with caller(monkeypatch) as client:
                tracks = asyncio.Queue()
                client.on("track", tracks.put_nowait)
                offer = client.localDescription.sdp
                made = await edge.web.post(CALLS, content=offer, headers=SDP)
                await client.setRemoteDescription(RTCSessionDescription(made.text, "answer"))
                await listen(await tracks.get(), 0.2)
                await edge.web.delete(made.headers["location"])
            await until(lambda: not edge.server.calls)
            return offer, made.text, made.headers["location"].rpartition("/")[2]

    offer, answer, call = asyncio.run(main())
    names = sorted(path.name for path in (tmp_path / "calls").iterdir())
    assert names == [f"{call}.pcap", f"{call}.toml"]
    found = sidecar.load(tmp_path / "calls" / f"{call}.toml")
    assert (found.call, found.offer, found.answer) == (call, offer, answer)
    assert found.truncated == ""
    assert any(step.drew for step in found.steps)
    assert any(isinstance(step.input, sidecar.Acted) for step in found.steps)
