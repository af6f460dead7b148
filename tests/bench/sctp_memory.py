"""Both ends of data channels in this process, with nothing but a queue between them.

One end sends, the other takes, as fast as both go. The clock is the real one, but what is counted
is this process's CPU time until the last message has arrived: nothing is lost and nothing waits,
so on a machine of its own that is the time that passes.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from aiortc import RTCDataChannel, RTCDataChannelParameters, RTCSctpCapabilities, RTCSctpTransport

from aiortc_channels import Wire
from channel_pair import channels
from dtls_pair import LIMITS as DTLS_LIMITS
from dtls_pair import identity_of
from sctp_pair import entropy_of
from transceiver.config import ChannelLimits, SctpLimits
from transceiver.datachannel import DataChannels, Message, Opened
from transceiver.dtls import ApplicationData, DtlsConnection, Role

MEGABYTE = 1_000_000
BUFFERED = 262_144
"""Bytes that a sender lets wait before it is told to go on."""


class Bare:
    """An end of ours without DTLS."""

    def __init__(self, *, client: bool) -> None:
        name = "client" if client else "server"
        self.messages = 0
        self.open = False
        self.data: DataChannels = channels(
            name,
            client=client,
            limits=ChannelLimits(),
            sctp=SctpLimits(),
            negotiated=((0, "echo"),),
        )

    def take(self, packet: bytes) -> None:
        self.data.receive_packet(packet, time.monotonic())

    def say(self) -> list[bytes]:
        """Hear what has happened; the datagrams for the other end."""
        data = self.data
        while (event := data.next_event()) is not None:
            if event.__class__ is Message:
                self.messages += 1
            elif event.__class__ is Opened:
                self.open = True
        packets = []
        while (packet := data.next_transmit()) is not None:
            packets.append(packet)
        return packets


class Sealed(Bare):
    """An end of ours inside our DTLS."""

    def __init__(self, *, client: bool) -> None:
        super().__init__(client=client)
        name, peer = ("client", "server") if client else ("server", "client")
        self.connection = DtlsConnection(
            role=Role.CLIENT if client else Role.SERVER,
            identity=identity_of(name),
            fingerprints=(identity_of(peer).fingerprint,),
            entropy=entropy_of(name),
            limits=DTLS_LIMITS,
        )
        self.connection.start(0.0)

    def take(self, packet: bytes) -> None:
        now = time.monotonic()
        self.connection.receive_datagram(packet, now)
        while (event := self.connection.next_event()) is not None:
            if event.__class__ is ApplicationData:
                self.data.receive_packet(event.data, now)

    def say(self) -> list[bytes]:
        now, connection = time.monotonic(), self.connection
        for packet in super().say():
            connection.send(packet, now)
        datagrams = []
        while (datagram := connection.next_transmit()) is not None:
            datagrams.append(datagram)
        return datagrams


def our_pair(size: int, total: int, *, sealed: bool = False) -> float:
    """MB per second of CPU, of messages of ``size`` bytes, ``total`` bytes of them."""
    kind = Sealed if sealed else Bare
    a, b = kind(client=True), kind(client=False)
    a.data.connect(time.monotonic())
    _exchange(a, b, lambda: None)
    if not a.open:
        raise SystemExit("our two ends do not find each other")
    message, count, sent = bytes(size), max(1, total // size), 0

    def feed() -> None:
        nonlocal sent
        while sent < count and a.data.buffered_amount(0) < BUFFERED:
            a.data.send(0, message, time.monotonic())
            sent += 1

    begin = time.process_time()
    while b.messages < count:
        _exchange(a, b, feed)
        # Whoever acknowledges late does so when it is time.
        for end in (a, b):
            due = end.data.next_timeout()
            if b.messages < count and due is not None:
                time.sleep(max(0.0, min(due - time.monotonic(), 0.001)))
                if due <= time.monotonic():
                    end.data.handle_timeout(time.monotonic())
    return count * size / (time.process_time() - begin) / MEGABYTE


def _exchange(a: Bare, b: Bare, feed: Callable[[], None]) -> None:
    """Carry packets until neither has any."""
    feed()
    waiting = [(b, packet) for packet in a.say()] + [(a, packet) for packet in b.say()]
    while waiting:
        later = []
        for end, packet in waiting:
            end.take(packet)
            if end is a:
                feed()
            other = b if end is a else a
            later += [(other, answer) for answer in end.say()]
        waiting = later


def aiortc_pair(size: int, total: int) -> float:
    """The same of aiortc, without DTLS."""
    return asyncio.run(_aiortc_pair(size, total))


async def _aiortc_pair(size: int, total: int) -> float:
    queues: tuple[asyncio.Queue[bytes], asyncio.Queue[bytes]] = asyncio.Queue(), asyncio.Queue()
    wires: list[Any] = [
        Wire("client", queues[1].put_nowait),
        Wire("server", queues[0].put_nowait),
    ]
    a, b = (RTCSctpTransport(wire, 5000) for wire in wires)
    count, heard, done = max(1, total // size), 0, asyncio.Event()

    def hear(_: str | bytes) -> None:
        nonlocal heard
        heard += 1
        if heard == count:
            done.set()

    b.on("datachannel", lambda channel: channel.on("message", hear))

    async def carry(queue: asyncio.Queue[bytes], end: RTCSctpTransport) -> None:
        while True:
            await end._handle_data(await queue.get())

    tasks = [
        asyncio.create_task(carry(queue, end)) for queue, end in zip(queues, (a, b), strict=True)
    ]
    for end in (a, b):
        await end.start(RTCSctpCapabilities(65536), 5000)
    channel = RTCDataChannel(a, RTCDataChannelParameters(label="echo"))
    opened, low = asyncio.Event(), asyncio.Event()
    channel.on("open", opened.set)
    channel.on("bufferedamountlow", low.set)
    channel.bufferedAmountLowThreshold = BUFFERED // 2
    await opened.wait()
    message, begin = bytes(size), time.process_time()
    for _ in range(count):
        if channel.bufferedAmount > BUFFERED:
            low.clear()
            await low.wait()
        channel.send(message)
    await done.wait()
    took = time.process_time() - begin
    for task in tasks:
        task.cancel()
    for end in (a, b):
        await end.stop()
    return count * size / took / MEGABYTE
