"""The forwarder that one writes first in Python: two datagram protocols of asyncio.

    python forward_asyncio.py --listen IP:PORT --inner IP:PORT --next IP:PORT [--loop uvloop]

The same work for media as ``forward_c.c``, whose docstring says what makes the peers' work lighter
than the relay's: a flow is made by any first packet, and nothing is verified, counted or forgotten.
"""

import argparse
import asyncio
import ipaddress
import json
import socket
from struct import Struct
from typing import Any

HEADER = Struct(">H16s16sHH")
MAGIC = 0x56EC
MAPPED = bytes(10) + b"\xff\xff"
BUFFER = 4 << 20

Sockaddr = tuple[str, int]


def header(client: Sockaddr, proxy: Sockaddr) -> bytes:
    hosts = [MAPPED + ipaddress.IPv4Address(host).packed for host in (client[0], proxy[0])]
    return HEADER.pack(MAGIC, *hosts, client[1], proxy[1])


class Public(asyncio.DatagramProtocol):
    def __init__(self, next_hop: Sockaddr) -> None:
        self.next_hop = next_hop
        self.flows: dict[Sockaddr, tuple[bytes, Sockaddr]] = {}
        self.clients: dict[bytes, Sockaddr] = {}
        self.inner: asyncio.DatagramTransport

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.address = transport.get_extra_info("sockname")

    def datagram_received(self, data: bytes, addr: Any) -> None:
        flow = self.flows.get(addr)
        if flow is None:
            flow = self.flows[addr] = header(addr, self.address), self.next_hop
            self.clients[flow[0]] = addr
        self.inner.sendto(flow[0] + data, flow[1])


class Inner(asyncio.DatagramProtocol):
    def __init__(self, public: Public) -> None:
        self.public = public

    def connection_made(self, transport: Any) -> None:
        self.public.inner = self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        client = self.public.clients.get(data[: HEADER.size])
        if client is not None:
            self.public.transport.sendto(data[HEADER.size :], client)


def bound(text: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    sock.bind(sockaddr(text))
    return sock


def sockaddr(text: str) -> Sockaddr:
    host, _, port = text.rpartition(":")
    return host, int(port)


async def run(listen: str, inner: str, next_hop: str) -> None:
    loop = asyncio.get_running_loop()
    sockets = [bound(listen), bound(inner)]
    public = Public(sockaddr(next_hop))
    await loop.create_datagram_endpoint(lambda: public, sock=sockets[0])
    await loop.create_datagram_endpoint(lambda: Inner(public), sock=sockets[1])
    names = ["{}:{}".format(*sock.getsockname()) for sock in sockets]
    print(json.dumps({"event": "started", "listen": names[:1], "inner": names[1]}), flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--inner", default="127.0.0.1:0")
    parser.add_argument("--next", required=True)
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    options = parser.parse_args()
    factory = None
    if options.loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run(options.listen, options.inner, options.next))


if __name__ == "__main__":
    main()
