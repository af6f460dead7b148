"""rtpengine behind WHIP, in user space: it stands between a caller and a far party of our own.

It is asked over its control protocol (bencode in UDP) for an offer that the far party understands,
plain RTP without ICE, and then for the answer that the caller gets. The far party sends every
packet back, so that sound goes through rtpengine twice and comes out encrypted.
"""

import asyncio
import os
import re
import secrets
import socket
from pathlib import Path

from attrs import define, field

from stunroute.errors import DecodeError

from . import bencode, front

START_SECONDS = 10.0
REPLY_SECONDS = 2.0
TRIES = 3
PORTS = 200
"""How many ports it may take for calls."""


class Echo(asyncio.DatagramProtocol):
    """The far party: what comes goes back."""

    transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data, addr)


@define(slots=True, eq=False)
class Control(asyncio.DatagramProtocol):
    """The control protocol: a cookie, a space, a dictionary; the reply has the same cookie."""

    _transport: asyncio.DatagramTransport = field(init=False)
    _waiting: dict[bytes, "asyncio.Future[bytes]"] = field(init=False, factory=dict)

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        cookie, _, body = data.partition(b" ")
        waiting = self._waiting.get(cookie)
        if waiting is not None and not waiting.done():
            waiting.set_result(body)

    async def ask(self, command: str, **words: bencode.Said) -> dict[str, bencode.Value]:
        """The reply to a command; keys are written with ``_`` for ``-``. Raises Refused."""
        said = {name.replace("_", "-"): value for name, value in words.items()}
        cookie = secrets.token_hex(8).encode()
        request = cookie + b" " + bencode.encode({"command": command, **said})
        reply = self._waiting[cookie] = asyncio.get_running_loop().create_future()
        try:
            body = await self._send(request, reply)
            told = bencode.decode_untrusted(body)
        except DecodeError as error:
            raise front.Refused(str(error)) from error
        finally:
            del self._waiting[cookie]
        if not isinstance(told, dict) or told.get("result") not in (b"ok", b"pong"):
            raise front.Refused(str(told))
        return told

    async def _send(self, request: bytes, reply: "asyncio.Future[bytes]") -> bytes:
        """UDP loses; a command that is repeated with its cookie is answered as before."""
        for _ in range(TRIES):
            self._transport.sendto(request)
            try:
                return await asyncio.wait_for(asyncio.shield(reply), REPLY_SECONDS)
            except TimeoutError:
                continue
        raise front.Refused("rtpengine does not answer")

    async def alive(self) -> bool:
        try:
            return "result" in await asyncio.wait_for(self.ask("ping"), 0.3)
        except (front.Refused, TimeoutError):
            return False


_MIRRORED = {"a=sendonly": "a=recvonly", "a=recvonly": "a=sendonly"}


def far_answer(offer: str, port: int) -> str:
    """The far party's answer to ``offer``: the first section of sound with all its codecs on
    ``port``, any other section refused."""
    lines, heard, taking = [], False, True
    for line in offer.splitlines():
        if line.startswith("m="):
            kind, _, rest = line[2:].partition(" ")
            taking = kind == "audio" and not heard
            heard = heard or taking
            formats = rest.partition(" ")[2]
            lines.append(f"m={kind} {port if taking else 0} {formats}")
        elif line.startswith("c="):
            lines.append(f"c=IN IP4 {front.HOST}")
        elif line.startswith("o="):
            lines.append(f"o=- 1 1 IN IP4 {front.HOST}")
        elif re.match(r"a=(rtcp:|candidate:|ice-|end-of)", line) is None and taking:
            lines.append(_MIRRORED.get(line, line))
    return "".join(f"{line}\r\n" for line in lines)


@define(slots=True, eq=False)
class Engine:
    """Calls through one rtpengine."""

    control: Control

    async def answer(self, offer: str) -> front.Call:
        call, caller, far = (secrets.token_hex(8) for _ in range(3))
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Echo, local_addr=(front.HOST, 0))

        async def close() -> None:
            transport.close()
            # It forgets calls of its own accord too; that it did is no fault.
            await asyncio.gather(
                self.control.ask("delete", call_id=call, from_tag=caller, delete_delay=0),
                return_exceptions=True,
            )

        try:
            offered = await self.control.ask(
                "offer",
                call_id=call,
                from_tag=caller,
                sdp=offer,
                ICE="remove",
                ICE_lite="backward",
                transport_protocol="RTP/AVP",
                rtcp_mux=["demux"],
            )
            port = transport.get_extra_info("sockname")[1]
            answered = await self.control.ask(
                "answer",
                call_id=call,
                from_tag=caller,
                to_tag=far,
                sdp=far_answer(_text(offered), port),
                ICE="force",
                DTLS="passive",
                rtcp_mux=["accept"],
            )
        except BaseException:
            await close()
            raise
        return front.Call(_text(answered), close)


def _text(told: dict[str, bencode.Value]) -> str:
    sdp = told.get("sdp")
    if not isinstance(sdp, bytes):
        raise front.Refused("rtpengine gave no description")
    return sdp.decode()


async def run() -> None:
    scratch = Path(os.environ["PEER_SCRATCH"])
    port, lowest = front.free_port(), front.free_port()
    lowest = min(lowest, 65_535 - PORTS) & ~1
    argv = [
        *("rtpengine", "--foreground", "--log-stderr", "--log-level=5", "--table=-1"),
        *(f"--interface={front.HOST}", f"--listen-ng={front.HOST}:{port}"),
        *(f"--port-min={lowest}", f"--port-max={lowest + PORTS - 1}", "--num-threads=2"),
        *(f"--pidfile={scratch}/rtpengine.pid", "--config-file=none", "--dtls-passive"),
    ]
    loop = asyncio.get_running_loop()
    async with front.child(argv) as process:
        transport, control = await loop.create_datagram_endpoint(
            Control, remote_addr=(front.HOST, port), family=socket.AF_INET
        )
        try:
            await front.until(control.alive, process, START_SECONDS)
            version = (await front.said("rtpengine", "--version")).removeprefix("Version:").strip()
            await front.serve(Engine(control).answer, version, process)
        finally:
            transport.close()


def main() -> None:
    asyncio.run(run())


if __name__ == "__main__":
    main()
