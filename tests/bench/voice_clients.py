"""Many clients of voice calls in one process, on one socket.

They are the clients of the tests in virtual time (``pair``). Toward the transceiver this stands in
for their relay, so each datagram bears the leg's header; toward aiortc they are on the socket
itself, where each call is told from the others by the server's port. All that they send in a trial
is made and sealed before it begins, so that the clients are never what is measured.
"""

import os
import select
import socket
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import machine
from attrs import define, field
from bench_echo import PUBLIC, SDP, SETTINGS
from bench_setup import CALLS, Server, free_port

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from pair import Client, identity, seeded  # noqa: E402
from stunroute import forward, stun  # noqa: E402
from stunroute.address import Address  # noqa: E402
from stunroute.demux import Kind, classify  # noqa: E402
from stunroute.pump import pump  # noqa: E402
from stunroute.udp.batch import BatchReader, BatchWriter  # noqa: E402

PATIENCE = 30.0
PAYLOAD = bytes(range(160))
TICKS = 960
"""Of Opus's clock in a frame of 20 ms."""
MANY = "[limits]\nsessions = 100000\n"
_IDENTITY = identity(seeded("voice"))


@define(eq=False)
class Subject(Server):
    """A server under test. ``leg`` is where the transceiver takes its relay's packets, None for
    aiortc; ``relay`` where it sends them."""

    leg: Address | None = None
    relay: Address | None = None
    file: Path | None = None

    def stop(self) -> None:
        Server.stop(self)
        if self.file is not None:
            self.file.unlink()


def start_ours() -> Subject:
    leg, relay = (Address.of("127.0.0.1", free_port(socket.SOCK_DGRAM)) for _ in range(2))
    http = Address.of("127.0.0.1", free_port(socket.SOCK_STREAM))
    text = SETTINGS.format(leg=leg, public=PUBLIC, relay=relay, adapter="batched", http=http)
    with tempfile.NamedTemporaryFile("w", suffix=".toml", delete=False) as file:
        file.write(text + MANY)
    command = [sys.executable, "-m", "transceiver", "serve", "--config", file.name]
    process = machine.start(command, machine.FORWARDER_CORES)
    assert process.stdout is not None
    if not process.stdout.readline():
        raise SystemExit("the transceiver did not start")
    url = f"http://{http}{CALLS}"
    return Subject("stunroute", url, process, leg=leg, relay=relay, file=Path(file.name))


def start_theirs() -> Subject:
    port = free_port(socket.SOCK_STREAM)
    program = Path(__file__).with_name("aiortc_server.py")
    process = machine.start([sys.executable, str(program), str(port)], machine.FORWARDER_CORES)
    url = f"http://127.0.0.1:{port}/"
    for _ in range(200):
        try:
            httpx.get(url)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return Subject("aiortc", f"{url}?raw", process)
    raise SystemExit("aiortc's server did not start")


def own_address() -> str:
    """An address of this machine that is not its loopback: aiortc offers no other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


@define(eq=False)
class Fleet:
    """The clients of ``subject``, each by ``key``: what the datagrams for it have in common."""

    subject: Subject
    contents: tuple[str, ...] = ("audio",)
    sock: socket.socket = field(init=False)
    reader: BatchReader = field(init=False)
    writer: BatchWriter = field(init=False)
    clients: list[Client] = field(init=False, factory=list)
    by_key: dict[bytes, Client] = field(init=False, factory=dict)
    header: int = field(init=False)
    """Bytes in front of what is the clients' in a datagram."""

    def __attrs_post_init__(self) -> None:
        relay = self.subject.relay
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.sock.setblocking(False)
        self.sock.bind((relay.ip, relay.port) if relay else (own_address(), 0))
        self.reader, self.writer = BatchReader(self.sock), BatchWriter(self.sock)
        self.header = forward.HEADER_LENGTH if relay else 0

    def close(self) -> None:
        self.sock.close()

    def key(self, data: bytes, source: Address) -> bytes:
        """Of a datagram that has come. In the leg's header the client's host, the proxy's and the
        client's port are one piece."""
        return data[2:36] if self.header else source

    def datagram(self, client: Client, data: bytes) -> tuple[bytes, Address]:
        assert client.server is not None
        leg = self.subject.leg
        if leg is None:
            return data, client.server
        return forward.encode(client.address, PUBLIC) + data, leg

    def call(self, count: int) -> None:
        """Bring up so many calls more."""
        fresh: list[Client] = []
        with httpx.Client(timeout=PATIENCE) as web:
            for _ in range(count):
                fresh.append(self._offer(web, len(self.clients)))
                self.clients.append(fresh[-1])
                self.tend(fresh[-8:], 0.0)
        until = time.monotonic() + PATIENCE
        while waiting := [client for client in fresh if not self._is_up(client)]:
            self.tend(waiting, 0.01)
            if time.monotonic() > until:
                raise SystemExit(f"{len(waiting)} calls to {self.subject.name} did not come up")
        self.tend(fresh, 0.2)

    def _offer(self, web: httpx.Client, number: int) -> Client:
        if self.header:
            address = Address.of(f"198.51.{100 + number // 250}.{number % 250}", 10_000)
        else:
            address = Address.of(*self.sock.getsockname())
        client = Client(
            entropy=os.urandom, address=address, identity=_IDENTITY, contents=self.contents
        )
        candidate = f"a=candidate:1 1 udp 2130706431 {address.ip} {address.port} typ host\r\n"
        offer = client.offer() + candidate + "a=end-of-candidates\r\n"
        answer = web.post(self.subject.url, content=offer, headers=SDP)
        answer.raise_for_status()
        lines = answer.text.splitlines()
        if not self.header:  # the one candidate that is on the socket's own network
            wanted = f" {address.ip} "
            lines = [x for x in lines if not x.startswith("a=candidate:") or wanted in x]
        client.accept("\r\n".join(lines), time.monotonic())
        self.by_key[self._key_of(client)] = client
        return client

    def _key_of(self, client: Client) -> bytes:
        assert client.server is not None
        return forward.encode(client.address, PUBLIC)[2:36] if self.header else client.server

    def _is_up(self, client: Client) -> bool:
        """Whether it has keys and, where it has channels, one of them is open."""
        if client.keys is None or client.channels is None:
            return client.keys is not None
        if not client.heard and not client.channels.count():
            now = time.monotonic()
            client.with_channels(lambda channels: channels.open("oai-events", now=now), now)
        return bool(client.heard)

    def tend(self, clients: Iterable[Client], seconds: float) -> None:
        """Take and answer what comes for so long, and let ``clients`` do what they have to."""
        until = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            for client in clients:
                client.handle_timeout(now)
                self._say(client)
            select.select([self.sock], [], [], max(0.0, min(0.01, until - now)))
            for data, source in self.reader.read():
                if data is not None:
                    self.take(data, source)
            if now >= until:
                return

    def take(self, data: bytes, source: Address) -> None:
        """A datagram that is more than an echo."""
        client = self.by_key.get(self.key(data, source))
        if client is None or client.server is None:
            return
        payload = data[self.header :]
        if classify(payload) is Kind.STUN and self._answered(client, payload):
            return
        client.receive_datagram(payload, client.server, time.monotonic())
        client.audio.clear()
        client.rtcp.clear()
        self._say(client)

    def _say(self, client: Client) -> None:
        output: Any = pump(client)  # type: ignore[arg-type]
        if output.transmits:
            self.writer.write([self.datagram(client, each.data) for each in output.transmits])

    def _answered(self, client: Client, payload: bytes) -> bool:
        """aiortc's server checks its client in turn."""
        message = stun.decode_untrusted(payload)
        if message.message_class is not stun.MessageClass.REQUEST or client.server is None:
            return False
        key = stun.IntegrityKey(client.password.encode())
        answer = stun.binding_success(message, client.server, key)
        self.writer.write([self.datagram(client, answer)])
        return True
