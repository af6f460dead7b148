"""STUN servers from Debian, each on a loopback port, ready once it answers a Binding request."""

import asyncio
import os
import socket

from . import front

# A Binding request of RFC 8489 with nothing in it; its transaction ID matters to nobody.
_REQUEST = bytes.fromhex("000100002112a442") + bytes(range(12))
_RESPONSE = b"\x01\x01"


def _coturn(port: int) -> list[str]:
    scratch = os.environ.get("PEER_SCRATCH", ".")
    return [
        *("turnserver", "-n", "--stun-only", "--no-cli", "--no-tls", "--no-dtls", "--no-tcp"),
        *("--allow-loopback-peers", "--no-multicast-peers", "--log-file", "stdout"),
        *("--pidfile", f"{scratch}/turnserver.pid", "--userdb", f"{scratch}/turndb"),
        *("--listening-ip", front.HOST, "--listening-port", str(port)),
        *("--relay-threads", "1"),
    ]


def _stund(port: int) -> list[str]:
    other = front.free_port(host="127.0.0.2")
    return ["stund", "-h", "127.0.0.1", "-a", "127.0.0.2", "-p", str(port), "-o", str(other)]


def _p1_stun(port: int) -> list[str]:
    address = front.HOST.replace(".", ",")
    start = (
        "{ok, _} = application:ensure_all_started(stun), "
        f"ok = stun_listener:add_listener({{{address}}}, {port}, udp, [])."
    )
    return ["erl", "-noshell", "-noinput", "-eval", start]


_PROGRAMS = {
    "coturn": (_coturn, "coturn"),
    "p1_stun": (_p1_stun, "erlang-p1-stun"),
    "stund": (_stund, "stun-server"),
}


async def answers(port: int) -> bool:
    """Whether a Binding request is answered with a Binding success response."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.setblocking(False)
        try:
            asking.connect((front.HOST, port))
            await loop.sock_sendall(asking, _REQUEST)
            told = await asyncio.wait_for(loop.sock_recv(asking, 2048), 0.2)
        except (OSError, TimeoutError):
            return False
    return told[:2] == _RESPONSE


async def run(name: str) -> None:
    make, package = _PROGRAMS[name]
    port = front.PORT or front.free_port()
    async with front.child(make(port)) as process:
        await front.until(lambda: answers(port), process, 10.0)
        front.ready(f"{front.HOST}:{port}", await front.debian_version(package))
        await front.told_to_leave(process)


def main() -> None:
    asyncio.run(run(os.environ["PEER_PROGRAM"]))


if __name__ == "__main__":
    main()
