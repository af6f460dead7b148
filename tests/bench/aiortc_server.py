"""The peer of ``bench_setup``, ``bench_echo`` and ``bench_sctp``: an echo server made of aiortc,
with the smallest signalling.

Run as a program it answers ``POST /`` at the port it is given with an SDP answer. The echo is what
aiortc's applications do: audio is decoded, and encoded again. With ``?raw`` the call's RTP packets
are sent back as they came, past jitter buffer and codec, which is the least that aiortc can do.
Messages on data channels are sent back as they are.
"""

import asyncio
import sys
from contextlib import suppress

import uvicorn
from aiortc import (
    MediaStreamTrack,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.contrib.media import MediaRelay
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtpPacket
from av.frame import Frame
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

peers: set[RTCPeerConnection] = set()
relay = MediaRelay()


async def call(request: Request) -> Response:
    offer = (await request.body()).decode()
    peer = RTCPeerConnection()
    peers.add(peer)

    @peer.on("track")
    def echo(track: object) -> None:
        if "raw" in request.query_params:
            send_back(peer)
        else:
            peer.addTrack(relay.subscribe(track))  # type: ignore[arg-type]

    @peer.on("datachannel")
    def answer(channel: RTCDataChannel) -> None:
        channel.on("message", channel.send)

    @peer.on("connectionstatechange")
    async def gone() -> None:
        if peer.connectionState in ("closed", "failed"):
            peers.discard(peer)

    await peer.setRemoteDescription(RTCSessionDescription(sdp=offer, type="offer"))
    await peer.setLocalDescription(await peer.createAnswer())
    return Response(peer.localDescription.sdp, status_code=201, media_type="application/sdp")


class Silence(MediaStreamTrack):
    """A track that makes the answer say that something is sent, and never has anything."""

    kind = "audio"

    async def recv(self) -> Frame:
        await asyncio.Event().wait()
        raise MediaStreamError


def send_back(peer: RTCPeerConnection) -> None:
    sender = peer.addTrack(Silence())
    (transceiver,) = peer.getTransceivers()

    async def back(packet: RtpPacket, arrival_time_ms: int) -> None:
        packet.ssrc = sender._ssrc
        await sender.transport._send_rtp(packet.serialize())

    transceiver.receiver._handle_rtp_packet = back  # type: ignore[method-assign]


async def page(_: Request) -> Response:
    """An origin for browsers to call from."""
    return Response("<!doctype html><title>aiortc</title>", media_type="text/html")


def report(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """What the loop has to say, but for one thing: connections whose client is gone leave tasks
    behind, hundreds in a benchmark, that are collected as they stand."""
    if context.get("message") != "Task was destroyed but it is pending!":
        loop.default_exception_handler(context)


async def main() -> None:
    asyncio.get_running_loop().set_exception_handler(report)
    app = Starlette(routes=[Route("/", call, methods=["POST"]), Route("/", page)])
    port = int(sys.argv[1])
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error")
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
