"""The peer of ``bench_setup``: an echo server made of aiortc, with the smallest signalling.

Run as a program it prints its port and answers ``POST /`` with an SDP answer.
"""

import asyncio
import sys
from contextlib import suppress

import uvicorn
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaRelay
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
        peer.addTrack(relay.subscribe(track))  # type: ignore[arg-type]

    @peer.on("connectionstatechange")
    async def gone() -> None:
        if peer.connectionState in ("closed", "failed"):
            peers.discard(peer)

    await peer.setRemoteDescription(RTCSessionDescription(sdp=offer, type="offer"))
    await peer.setLocalDescription(await peer.createAnswer())
    return Response(peer.localDescription.sdp, status_code=201, media_type="application/sdp")


async def page(_: Request) -> Response:
    """An origin for browsers to call from."""
    return Response("<!doctype html><title>aiortc</title>", media_type="text/html")


async def main() -> None:
    app = Starlette(routes=[Route("/", call, methods=["POST"]), Route("/", page)])
    port = int(sys.argv[1])
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error")
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
