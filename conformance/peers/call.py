"""A plain client that tries a peer's door: does the call come up, and what comes back?

It is aiortc's, so that it tells whether a peer works before any case of ours is trusted to. Run as
a program (a peer may be in a namespace): ``python -m conformance.peers.call URL``; it prints JSON.
"""

import asyncio
import fractions
import json
import socket
import sys
from collections.abc import Callable

import aioice.ice
import httpx
from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, MediaStreamTrack
from attrs import asdict, define
from av import AudioFrame

CONNECT_SECONDS = 10.0
ECHO_SECONDS = 5.0
FRAMES = 10
RATE = 48_000


@define(slots=True)
class Tried:
    """What became of a call. ``audio`` counts frames that were not silent."""

    connected: bool = False
    audio: int = 0
    data: bool = False
    lite: bool = False
    problem: str = ""


class Buzz(AudioStreamTrack):
    """A loud square wave: any codec leaves something of it."""

    _at = 0

    async def recv(self) -> AudioFrame:
        await asyncio.sleep(0.02)
        samples = RATE // 50
        frame = AudioFrame(format="s16", layout="mono", samples=samples)
        loud = b"".join(
            (12_000 if (index // 60) % 2 else -12_000).to_bytes(2, "little", signed=True)
            for index in range(samples)
        )
        frame.planes[0].update(loud)
        frame.pts, frame.sample_rate = self._at, RATE
        frame.time_base = fractions.Fraction(1, RATE)
        self._at += samples
        return frame


async def attempt(url: str, contents: tuple[str, ...] = ("audio", "data")) -> Tried:
    """Call a WHIP door with sound, a data channel or both."""
    host = httpx.URL(url).host
    aioice.ice.get_host_addresses = lambda *_, **__: [_own_address(host)]
    tried, peer = Tried(), RTCPeerConnection(RTCConfiguration(iceServers=[]))
    listeners: list[asyncio.Task[None]] = []
    echoed = asyncio.Event()

    @peer.on("track")
    def on_track(track: MediaStreamTrack) -> None:
        listeners.append(asyncio.create_task(_listen(track, tried)))

    try:
        if "audio" in contents:
            peer.addTrack(Buzz())
        if "data" in contents:
            _say(peer.createDataChannel("echo"), tried, echoed)
        await peer.setLocalDescription(await peer.createOffer())
        async with httpx.AsyncClient(timeout=CONNECT_SECONDS) as web:
            place = await _whip(web, url, peer, tried)
            await _wait(lambda: peer.connectionState != "connected", CONNECT_SECONDS)
            tried.connected = peer.connectionState == "connected"
            if tried.connected:
                await _wait(lambda: _lacks(tried, contents, echoed), ECHO_SECONDS)
            tried.data = echoed.is_set()
            if place:
                await web.delete(httpx.URL(url).join(place))
    except (httpx.HTTPError, ValueError, ConnectionError) as error:
        tried.problem = f"{type(error).__name__}: {error}"
    finally:
        await peer.close()
        for listener in listeners:
            listener.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)
    return tried


def _lacks(tried: Tried, contents: tuple[str, ...], echoed: asyncio.Event) -> bool:
    return ("audio" in contents and tried.audio < FRAMES) or (
        "data" in contents and not echoed.is_set()
    )


async def _whip(web: httpx.AsyncClient, url: str, peer: RTCPeerConnection, tried: Tried) -> str:
    offer = peer.localDescription.sdp
    told = await web.post(url, content=offer, headers={"Content-Type": "application/sdp"})
    if told.status_code != 201:
        raise ValueError(f"{told.status_code} {told.text.strip()[:200]}")
    tried.lite = "a=ice-lite" in told.text
    await peer.setRemoteDescription(RTCSessionDescription(told.text, "answer"))
    return str(told.headers.get("location", ""))


def _say(channel: RTCDataChannel, tried: Tried, echoed: asyncio.Event) -> None:
    words = "is anybody there?"

    @channel.on("open")
    def on_open() -> None:
        channel.send(words)

    @channel.on("message")
    def on_message(message: str | bytes) -> None:
        # Some put words of their own before it.
        text = message if isinstance(message, str) else message.decode(errors="replace")
        if text.endswith(words):
            echoed.set()


async def _listen(track: MediaStreamTrack, tried: Tried) -> None:
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        if isinstance(frame, AudioFrame) and any(bytes(frame.planes[0])):
            tried.audio += 1


async def _wait(lacking: Callable[[], bool], seconds: float) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while lacking() and loop.time() < deadline:
        await asyncio.sleep(0.02)


def _own_address(host: str) -> str:
    """The address from which ``host`` is reached."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))
        address: str = probe.getsockname()[0]
        return address


def main() -> None:
    contents = tuple(sys.argv[2].split(",")) if len(sys.argv) > 2 else ("audio", "data")
    print(json.dumps(asdict(asyncio.run(attempt(sys.argv[1], contents)))))


if __name__ == "__main__":
    main()
