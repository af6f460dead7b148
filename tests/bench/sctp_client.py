"""A client made of our parts that drives an echo server over loopback, one call at a time.

It is the client of the tests in virtual time (``pair``) on a real socket. Toward the transceiver it
is its own relay: datagrams carry the leg's header, so no other process stands in between. aiortc's
server it calls as any client would; that one checks its client in turn, and is answered here.
"""

import random
import select
import socket
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import httpx
import machine
from attrs import define, field
from bench_echo import PUBLIC, SDP, SETTINGS
from bench_setup import CALLS, Server, free_port

from pair import Client, seeded
from stunroute import forward, stun
from stunroute.address import Address
from stunroute.demux import Kind, classify
from stunroute.pump import pump
from stunroute.udp.batch import BatchReader, BatchWriter
from transceiver.datachannel import DataChannels, Message, Opened

HOME = Address.of("198.51.100.7", 40_000)
"""Where the transceiver believes its client to be."""
PATIENCE = 20.0
RELAY_PORT = free_port(socket.SOCK_DGRAM)


@define(eq=False)
class Node(Server):
    """The transceiver program alone; ``leg`` is where it expects its relay's packets."""

    leg: Address | None = None
    file: Path | None = None

    def stop(self) -> None:
        Server.stop(self)
        if self.file is not None:
            self.file.unlink()


def start_node() -> Node:
    leg = Address.of("127.0.0.1", free_port(socket.SOCK_DGRAM))
    http = Address.of("127.0.0.1", free_port(socket.SOCK_STREAM))
    relay = Address.of("127.0.0.1", RELAY_PORT)
    text = SETTINGS.format(leg=leg, public=PUBLIC, relay=relay, adapter="batched", http=http)
    with tempfile.NamedTemporaryFile("w", suffix=".toml", delete=False) as file:
        file.write(text)
    command = [sys.executable, "-m", "transceiver", "serve", "--config", file.name]
    process = machine.start(command, machine.FORWARDER_CORES)
    assert process.stdout is not None
    if not process.stdout.readline():
        raise SystemExit("the transceiver did not start")
    return Node("stunroute", f"http://{http}{CALLS}", process, leg=leg, file=Path(file.name))


def own_address() -> str:
    """An address of this machine that is not its loopback: aiortc offers no other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


def _open_channel(channels: DataChannels, *, now: float) -> int:
    return channels.open("echo", now=now)


@define(eq=False)
class Driver:
    """One call with a channel that is echoed. ``loss`` is the part of datagrams that are lost each
    way; which ones is the same in every call."""

    sock: socket.socket
    client: Client
    leg: Address | None
    loss: float = 0.0
    reader: BatchReader = field(init=False)
    writer: BatchWriter = field(init=False)
    heard: int = field(init=False, default=0)
    sent: int = field(init=False, default=0)
    channel: int = field(init=False, default=0)
    open: bool = field(init=False, default=False)
    up: random.Random = field(init=False, factory=partial(random.Random, "up"))
    down: random.Random = field(init=False, factory=partial(random.Random, "down"))

    def __attrs_post_init__(self) -> None:
        self.reader, self.writer = BatchReader(self.sock), BatchWriter(self.sock)

    @classmethod
    def call(cls, server: Server, loss: float = 0.0) -> "Driver":
        leg = server.leg if isinstance(server, Node) else None
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.setblocking(False)
        here = "127.0.0.1" if leg else own_address()
        sock.bind((here, RELAY_PORT if leg else 0))
        address = HOME if leg else Address.of(*sock.getsockname())
        client = Client(entropy=seeded(time.monotonic_ns()), address=address, contents=("data",))
        driver = cls(sock, client, leg)
        candidate = f"a=candidate:1 1 udp 2130706431 {address.ip} {address.port} typ host\r\n"
        offer = client.offer() + candidate + "a=end-of-candidates\r\n"
        answer = httpx.post(server.url, content=offer, headers=SDP, timeout=PATIENCE)
        answer.raise_for_status()
        lines = answer.text.splitlines()
        wanted = [
            line
            for line in lines
            if not line.startswith("a=candidate:") or leg or f" {here} " in line
        ]
        client.accept("\r\n".join(wanted), time.monotonic())
        driver._open()
        driver.loss = loss
        return driver

    def _open(self) -> None:
        until = time.monotonic() + PATIENCE
        announced = False
        while not self.open:
            self.step(0.005)
            client, now = self.client, time.monotonic()
            if client.secured and not announced:
                announced = True
                self.channel = client.with_channels(partial(_open_channel, now=now), now)
            if now > until:
                raise SystemExit("the call did not come up")

    def close(self) -> None:
        self.loss = 0.0
        self.client.close(time.monotonic())
        self._say()
        self.sock.close()

    # The network

    def step(self, patience: float) -> None:
        """Take what has come, waiting for it no longer than ``patience`` seconds, and answer."""
        arrivals = self.reader.read()
        if not arrivals:
            due = self.client.next_timeout()
            if due is not None:
                patience = max(0.0, min(patience, due - time.monotonic()))
            select.select([self.sock], [], [], patience)
            arrivals = self.reader.read()
        for data, address in arrivals:
            if data is None or (self.loss and self.down.random() < self.loss):
                continue
            if self.leg is not None:
                data, address = data[forward.HEADER_LENGTH :], PUBLIC
            now = time.monotonic()
            if classify(data) is Kind.STUN and self._answered(data, address):
                continue
            self.client.receive_datagram(data, address, now)
        now = time.monotonic()
        due = self.client.next_timeout()
        if due is not None and due <= now:
            self.client.handle_timeout(now)
        self._say()
        self._hear()

    def _answered(self, data: bytes, address: Address) -> bool:
        message = stun.decode_untrusted(data)
        if message.message_class is not stun.MessageClass.REQUEST:
            return False
        key = stun.IntegrityKey(self.client.password.encode())
        self.writer.write([(stun.binding_success(message, address, key), address)])
        return True

    def _say(self) -> None:
        leg = self.leg
        header = b"" if leg is None else forward.encode(self.client.address, PUBLIC)
        found = [
            (header + each.data, leg or each.address)
            for each in pump(self.client).transmits
            if not self.loss or self.up.random() >= self.loss
        ]
        if found:
            self.writer.write(found)

    def _hear(self) -> None:
        heard = self.client.heard
        for event in heard:
            if isinstance(event, Message):
                self.heard += 1
            elif isinstance(event, Opened):
                self.open = True
        heard.clear()

    # The application

    def send(self, message: bytes, count: int) -> None:
        now = time.monotonic()

        def act(channels: DataChannels) -> None:
            for _ in range(count):
                channels.send(self.channel, message, now)

        self.client.with_channels(act, now)
        self.sent += count

    def echo(self, size: int, unanswered: int, seconds: float) -> int:
        """Keep ``unanswered`` bytes on their way for some seconds; how many messages came back.
        What is still under way then is waited for."""
        message, until = bytes(size), time.perf_counter() + seconds
        most, before = min(256, max(1, unanswered // size)), self.heard
        while time.perf_counter() < until:
            # In halves, so that small ones share packets.
            room = most - (self.sent - self.heard)
            if room >= (most + 1) // 2:
                self.send(message, room)
                self._say()
            self.step(min(0.05, max(0.0, until - time.perf_counter())))
        heard = self.heard - before
        limit = time.perf_counter() + PATIENCE
        while self.heard < self.sent:
            self.step(0.05)
            if time.perf_counter() > limit:
                raise SystemExit("messages have not come back")
        return heard

    def round_trip(self, size: int) -> float:
        """Seconds until a lone message is back."""
        begin = time.perf_counter()
        self.send(bytes(size), 1)
        self._say()
        while self.heard < self.sent:
            self.step(0.05)
        return time.perf_counter() - begin
