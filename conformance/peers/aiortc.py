"""aiortc behind WHIP: it echoes sound and what comes on data channels."""

import asyncio

import aioice.ice
import aiortc
from aiortc import RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack

from . import front


async def answer(offer: str) -> front.Call:
    peer = RTCPeerConnection()

    @peer.on("track")
    def on_track(track: MediaStreamTrack) -> None:
        if track.kind == "audio":
            peer.addTrack(track)

    @peer.on("datachannel")
    def on_channel(channel: RTCDataChannel) -> None:
        channel.on("message", channel.send)

    try:
        await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
    except Exception as error:  # it raises what its parts raise: ValueError, KeyError, IndexError
        await peer.close()
        raise front.Refused(f"{type(error).__name__}: {error}") from error
    return front.Call(peer.localDescription.sdp, peer.close)


def main() -> None:
    # It offers no loopback candidate of its own accord.
    aioice.ice.get_host_addresses = lambda *_, **__: [front.HOST]
    asyncio.run(front.serve(answer, aiortc.__version__))


if __name__ == "__main__":
    main()
