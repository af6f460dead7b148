"""What a packet of a call costs the transceiver that echoes it: batched and plain, and aiortc.

    python tests/bench/bench_echo.py [--calls N] [--rounds N] [--seconds S]

*Alone*: the transceiver program, fed with valid SRTP by this one, which stands in for relay and
clients. Two of them run side by side, one with each way to read its socket, and rounds alternate.
*Full speed* keeps more packets on their way than a batch holds, so batches are as full as they get;
*paced* spreads what the calls of a working day send evenly over the second, which fills no batch.

*Whole*: relay and transceiver together, called by aiortc clients in real time, beside an echo made
of aiortc: once as its applications do it, which decodes and encodes all audio (G.711 here, the
cheapest there is), and once with its RTP packets sent back as they came, which keeps no books and
has no jitter buffer. Only servers' CPU time counts. Ours are three processes that are woken for
each packet, which on a virtual machine costs more than what they do then; so the transceiver is
shown apart, too.
"""

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import machine
from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.rtp import RtpPacket
from attrs import define, field
from bench_setup import (
    CALLS,
    cpu_seconds,
    free_port,
    ready,
    start_aiortc,
    start_demo,
    straight_to_the_node,
)
from figures import line, median, ratio

from stunroute import forward
from stunroute.address import Address
from stunroute.pump import pump
from stunroute.udp.batch import BatchReader, BatchWriter, is_supported

TESTS = Path(__file__).parents[1]
PUBLIC = Address.of("203.0.113.1", 3478)
WINDOW = 192
"""Packets on their way at full speed: three batches."""
PAYLOAD = bytes(range(160))
FRAMES = 20
"""Packets of each call in a round at full speed."""
AT_PAYLOAD_TYPE = forward.HEADER_LENGTH + 1
OPUS = (b"\x6f", b"\xef")
"""Payload type 111, without the marker and with it."""
SDP = {"content-type": "application/sdp"}

SETTINGS = """\
cluster = 1
node = 7
[udp]
listen = "{leg}"
candidates = ["{public}"]
relays = ["{relay}"]
adapter = "{adapter}"
[http]
listen = "{http}"
[[hint.configurations]]
id = "0"
routing_key = "00112233445566778899aabbccddeeff"
password_key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
"""


@define
class Subject:
    """A transceiver program of its own, and its calls."""

    name: str
    process: subprocess.Popen[str]
    url: str
    leg: Address
    sock: socket.socket
    reader: BatchReader
    writer: BatchWriter
    file: Path
    clients: dict[Address, Any] = field(factory=dict)
    full: list[float] = field(factory=list)
    paced: list[float] = field(factory=list)

    @classmethod
    def start(cls, adapter: str) -> "Subject":
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        leg = Address.of("127.0.0.1", free_port(socket.SOCK_DGRAM))
        http = Address.of("127.0.0.1", free_port(socket.SOCK_STREAM))
        text = SETTINGS.format(
            leg=leg,
            public=PUBLIC,
            relay=Address.of(*sock.getsockname()),
            adapter=adapter,
            http=http,
        )
        with tempfile.NamedTemporaryFile("w", suffix=".toml", delete=False) as file:
            file.write(text)
        command = [sys.executable, "-m", "transceiver", "serve", "--config", file.name]
        process = machine.start(command, machine.FORWARDER_CORES)
        assert process.stdout is not None
        if not process.stdout.readline():
            raise SystemExit(f"the transceiver did not start with adapter {adapter}")
        url = f"http://{http}{CALLS}"
        reader, writer = BatchReader(sock), BatchWriter(sock)
        return cls(adapter, process, url, leg, sock, reader, writer, Path(file.name))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.sock.close()
        self.file.unlink()

    def call(self, count: int) -> None:
        """Bring up so many calls, each from an address of its own."""
        from pair import Client

        with httpx.Client() as web:
            for number in range(count):
                address = Address.of(f"198.51.100.{number % 250}", 10_000 + number)
                client = Client(entropy=os.urandom, address=address)
                answer = web.post(self.url, content=client.offer(), headers=SDP)
                answer.raise_for_status()
                client.accept(answer.text, time.monotonic())
                self.clients[address] = client
        until = time.monotonic() + 30
        while any(client.keys is None for client in self.clients.values()):
            self._serve()
            if time.monotonic() > until:
                raise SystemExit("the calls did not come up")

    def _serve(self) -> None:
        """Be relay and network for the clients."""
        now = time.monotonic()
        for data, _ in self.reader.read():
            if data is not None:
                leg = forward.decode_untrusted(data)
                payload = data[forward.HEADER_LENGTH :]
                self.clients[leg.client].receive_datagram(payload, leg.proxy, now)
        for client in self.clients.values():
            client.handle_timeout(now)
            self._say(client)

    def _say(self, client: Any) -> None:
        header = forward.encode(client.address, PUBLIC)
        output = pump(client)
        self.writer.write([(header + each.data, self.leg) for each in output.transmits])

    def packets(self, frames: int) -> list[tuple[bytes, Address]]:
        """The next packets of all calls, in the order in which they would be sent."""
        made = []
        for _ in range(frames):
            for client in self.clients.values():
                data = client.send_audio(PAYLOAD, client.sequence * 960)
                client.next_transmit()
                made.append((forward.encode(client.address, PUBLIC) + data, self.leg))
        return made

    def at_full_speed(self) -> None:
        packets = self.packets(FRAMES)
        self._settle()
        before, sent, heard = self.cpu(), 0, 0
        until = time.monotonic() + 30
        while heard < len(packets):
            room = min(64, WINDOW - (sent - heard))
            if room > 0 and sent < len(packets):
                sent += self.writer.write(packets[sent : sent + room])
            heard += self._echoes()
            if time.monotonic() > until:
                raise SystemExit(f"{self.name}: {len(packets) - heard} packets did not come back")
        self.full.append((self.cpu() - before) / heard * 1e6)

    def at_a_steady_pace(self, seconds: float) -> None:
        frames = round(seconds * 50)
        packets = self.packets(frames)
        self._settle()
        before, heard, begin = self.cpu(), 0, time.monotonic()
        gap = seconds / len(packets)
        for number, packet in enumerate(packets):
            while time.monotonic() < begin + number * gap:
                heard += self._echoes()
            self.writer.write([packet])
        until = time.monotonic() + 5
        while heard < len(packets) and time.monotonic() < until:
            heard += self._echoes()
        if heard < 0.99 * len(packets):
            raise SystemExit(f"{self.name}: only {heard} of {len(packets)} packets came back")
        self.paced.append((self.cpu() - before) / heard * 1e6)

    def _settle(self) -> None:
        time.sleep(0.05)
        while self.reader.read():
            pass

    def _echoes(self) -> int:
        """How many packets of audio have come back."""
        return sum(
            data is not None and data[AT_PAYLOAD_TYPE : AT_PAYLOAD_TYPE + 1] in OPUS
            for data, _ in self.reader.read()
        )

    def cpu(self) -> float:
        return cpu_seconds(self.process.pid)


def alone(calls: int, rounds: int, seconds: float) -> None:
    adapters = ["batched", "plain"] if is_supported() else ["plain"]
    subjects: list[Subject] = []
    try:
        for adapter in adapters:
            subjects.append(Subject.start(adapter))
            subjects[-1].call(calls)
        for _ in range(rounds):
            for subject in subjects:
                subject.at_full_speed()
            for subject in subjects:
                subject.at_a_steady_pace(seconds)
    finally:
        for subject in subjects:
            subject.stop()
    print(f"The transceiver alone, {calls} calls; CPU per echoed packet")
    for what, figures in (
        ("full speed", [subject.full for subject in subjects]),
        (f"paced, {calls * 50:,} packets/s", [subject.paced for subject in subjects]),
    ):
        for subject, values in zip(subjects, figures, strict=True):
            line(f"{what}: {subject.name}", f"{median(values):.1f} µs")
        if len(figures) == 2:
            line(f"{what}: batched / plain", f"{ratio(*figures):.2f}")


@define(eq=False)
class Talker:
    """A call of an aiortc client that sends RTP as it is told and counts what comes back: past its
    codecs and its jitter buffer, so that it keeps up."""

    peer: RTCPeerConnection = field(factory=RTCPeerConnection)
    sent: int = 0
    heard: int = 0

    async def call(self, web: httpx.AsyncClient, url: str) -> None:
        transceiver = self.peer.addTransceiver("audio", direction="sendrecv")
        codecs = RTCRtpSender.getCapabilities("audio").codecs
        transceiver.setCodecPreferences([each for each in codecs if each.mimeType == "audio/PCMU"])
        transceiver.receiver._handle_rtp_packet = self._hear  # type: ignore[method-assign]
        await self.peer.setLocalDescription(await self.peer.createOffer())
        answer = await web.post(url, content=self.peer.localDescription.sdp, headers=SDP)
        answer.raise_for_status()
        await self.peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))

    async def _hear(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        self.heard += 1

    async def send(self) -> None:
        sender = self.peer.getTransceivers()[0].sender
        packet = RtpPacket(
            payload_type=0,
            sequence_number=self.sent & 0xFFFF,
            timestamp=self.sent * 160,
            ssrc=sender._ssrc,
            payload=PAYLOAD,
        )
        await sender.transport._send_rtp(packet.serialize())
        self.sent += 1


async def talk(
    url: str, seconds: float, count: int, meters: Sequence[Callable[[], float]]
) -> list[float]:
    """Microseconds of CPU per echoed packet of ``count`` calls that talk, by each meter."""
    talkers = [Talker() for _ in range(count)]
    async with httpx.AsyncClient(timeout=20) as web:
        for talker in talkers:
            await talker.call(web, url)
        while any(talker.peer.connectionState != "connected" for talker in talkers):
            await asyncio.sleep(0.05)
        await pace(talkers, 1.0)
        before, heard = [meter() for meter in meters], sum(talker.heard for talker in talkers)
        await pace(talkers, seconds)
        spent = [meter() - start for meter, start in zip(meters, before, strict=True)]
        heard = sum(talker.heard for talker in talkers) - heard
        await asyncio.gather(*(talker.peer.close() for talker in talkers))
    if heard < 0.9 * seconds * 50 * count:
        print(f"  only {heard} packets came back from {url}")
    return [seconds_spent / max(1, heard) * 1e6 for seconds_spent in spent]


async def pace(talkers: list[Talker], seconds: float) -> None:
    """Let every call send 50 packets a second, one call after the other."""
    loop = asyncio.get_running_loop()
    begin, number = loop.time(), 0
    while (due := number / (50 * len(talkers))) < seconds:
        await asyncio.sleep(begin + due - loop.time())
        await talkers[number % len(talkers)].send()
        number += 1


async def whole(calls: int, rounds: int, seconds: float) -> None:
    servers = [start_demo(), start_aiortc()]
    try:
        ours, theirs = servers
        async with httpx.AsyncClient(timeout=20) as web:
            for server in servers:
                await ready(server, web)
            page = ours.url.removesuffix(CALLS)
            (node,) = (await web.get(f"{page}/demo/state")).json()["transceivers"]
            await straight_to_the_node(ours, web)
        figures: dict[str, list[float]] = {}
        for _ in range(rounds):
            for url, meters in (
                (
                    ours.url,
                    {
                        "stunroute, relay and transceiver": ours.cpu,
                        "stunroute, the transceiver of it": partial(cpu_seconds, node["pid"]),
                    },
                ),
                (f"{theirs.url}?raw", {"aiortc, RTP sent back as it came": theirs.cpu}),
                (theirs.url, {"aiortc, decoded and encoded": theirs.cpu}),
            ):
                spent = await talk(url, seconds, calls, list(meters.values()))
                for name, value in zip(meters, spent, strict=True):
                    figures.setdefault(name, []).append(value)
    finally:
        for server in servers:
            server.stop()
    print(f"Whole servers, {calls} calls that send {calls * 50:,} packets/s; CPU per echoed packet")
    first = next(iter(figures.values()))
    for name, values in figures.items():
        line(name, f"{median(values):.1f} µs", f"ours, both: {ratio(first, values):.2f} of it")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--talkers", type=int, default=20, help="calls of aiortc clients")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--alone", action="store_true", help="without aiortc")
    options = parser.parse_args()
    # The folder of tests has one called stunroute, too: the project's own must be found first.
    sys.path[:0] = [str(TESTS.parent), str(TESTS)]
    print(machine.describe())
    alone(options.calls, options.rounds, options.seconds)
    if not options.alone:
        asyncio.run(whole(options.talkers, min(3, options.rounds), options.seconds))


if __name__ == "__main__":
    main()
