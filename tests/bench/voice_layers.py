"""Where the transceiver spends its time on a packet that it echoes, part by part.

Each part is called by itself, on real calls in this process, with packets that it has not seen: the
parts below it are known by then and subtracted. All calls have their turn before any has its next,
as on a working day, because what one call's packet finds in the processor's caches is what the
others have left there.
"""

import asyncio
import gc
import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from attrs import define, field
from figures import line, median
from voice_clients import PAYLOAD, PUBLIC, TICKS

from pair import INNER, OWNER, Client, endpoint_config, hints, identity, seeded
from stunroute import forward
from stunroute.address import Address, Transmit
from stunroute.pump import pump
from stunroute.udp.batch import BATCH, BatchReader, BatchWriter
from transceiver.aio import TransceiverServer
from transceiver.backend.echo import Echo, EchoOptions, factory
from transceiver.backend.line import on_line
from transceiver.endpoint import Endpoint
from transceiver.events import AudioReceived
from transceiver.session import Session

FRAMES = 4
"""Packets of each call, for each measurement of each part."""


@define(eq=False)
class Kept:
    """A link that keeps what is sent over it."""

    name: str = "kept"
    sent: list[Transmit] = field(factory=list)

    def send(self, transmits: Sequence[Transmit]) -> None:
        self.sent += transmits

    async def close(self) -> None:
        pass


@define(eq=False)
class Outlet:
    """A call that sends nothing."""

    id: str = ""

    def now(self) -> float:
        return 0.0

    def call_at(self, when: float, callback: Callable[[], None]) -> Callable[[], None]:
        return callback

    def send_audio(self, payload: bytes, timestamp: int, marker: bool = False) -> bool:
        return True

    def send_message(self, channel: int, message: str | bytes) -> bool:
        return True


@define(eq=False)
class Bench:
    """A server without a socket, and its calls."""

    server: TransceiverServer
    link: Kept
    clients: list[Client]
    sessions: list[Session]
    echoes: list[Echo]
    frames: int = 0

    @classmethod
    def build(cls, calls: int) -> "Bench":
        endpoint = Endpoint(
            endpoint_config(sessions=calls),
            keyring=hints(),
            identity=identity(seeded("layers")),
            entropy=os.urandom,
        )
        server = TransceiverServer(endpoint, OWNER, on_line(factory(EchoOptions())))
        server.loop = asyncio.get_running_loop()
        link = server._link = Kept()
        bench = cls(server, link, [], [], [])
        for number in range(calls):
            address = Address.of(f"198.51.{100 + number // 250}.{number % 250}", 10_000)
            client = Client(entropy=os.urandom, address=address, identity=endpoint_identity())
            answered = server.open_call(client.offer())
            client.accept(answered.answer, time.monotonic())
            bench.clients.append(client)
            bench._bring_up(client)
            bench.sessions.append(endpoint._slots[answered.call].session)
            bench.echoes.append(factory(EchoOptions())(Outlet()))
        server.receive_datagrams(bench.datagrams())  # the first packet of a call is not like others
        gc.collect()
        gc.freeze()
        return bench

    def _bring_up(self, client: Client) -> None:
        """Carry packets between one client and the server, until neither has any."""
        while True:
            now = time.monotonic()
            output: Any = pump(client)  # type: ignore[arg-type]
            header = forward.encode(client.address, PUBLIC)
            self.server.receive_datagrams([(header + x.data, INNER) for x in output.transmits])
            answers, self.link.sent = self.link.sent, []
            for answer in answers:
                client.receive_datagram(answer.data[forward.HEADER_LENGTH :], PUBLIC, now)
            if not answers:
                if client.keys is not None:
                    return
                time.sleep(0.01)
                client.handle_timeout(time.monotonic())

    def packets(self) -> list[bytes]:
        """The next frames of all calls, sealed."""
        made = []
        for number in range(self.frames, self.frames + FRAMES):
            for client in self.clients:
                made.append(client.send_audio(PAYLOAD, number * TICKS))
                client.next_transmit()
        self.frames += FRAMES
        return made

    def datagrams(self) -> list[tuple[bytes, Address]]:
        headers = [forward.encode(client.address, PUBLIC) for client in self.clients] * FRAMES
        return [(h + p, INNER) for h, p in zip(headers, self.packets(), strict=True)]


def endpoint_identity() -> Any:
    return identity(seeded("layers client"))


def each(function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> float:
    """Microseconds of a call with each of ``arguments``."""
    wanted = list(arguments)
    begin = time.perf_counter_ns()
    for these in wanted:
        function(*these)
    return (time.perf_counter_ns() - begin) / len(wanted) / 1000


def measure(bench: Bench) -> dict[str, float]:
    """What each layer takes of a packet, in microseconds, once."""
    endpoint, sessions = bench.server.endpoint, bench.sessions * FRAMES
    now = bench.server.now()
    found: dict[str, float] = {}
    clear: list[bytes] = []

    def open_one(session: Any, packet: bytes) -> None:
        clear.append(session._srtp.unprotect_rtp_untrusted(packet))

    found["SRTP open"] = each(open_one, zip(sessions, bench.packets(), strict=True))
    found["RTP header, books"] = each(
        lambda session, packet: session.audio.receive_rtp_untrusted(packet, now),
        zip(sessions, clear, strict=True),
    )
    paths = [slot.addresses for slot in endpoint._slots.values()] * FRAMES
    ways = [next(iter(each.values())) for each in paths]
    events: list[Any] = []

    def receive(session: Session, packet: bytes, path: Any) -> None:
        events.append(session.receive_rtp(packet, path, now))

    whole = each(receive, zip(sessions, bench.packets(), ways, strict=True))
    found["session: liveness, path"] = whole - sum(found.values())
    received = each(endpoint.receive_datagram, ((d, a, now) for d, a in bench.datagrams()))
    while endpoint.next_event():
        pass
    found["leg header, find session, queue"] = received - whole
    assert all(isinstance(event, AudioReceived) for event in events)
    backend = each(
        lambda echo, event: echo.receive(event), zip(bench.echoes * FRAMES, events, strict=True)
    )
    frames = [(session, PAYLOAD, n * TICKS) for n, session in enumerate(sessions)]
    packed: list[bytes] = []

    def pack(session: Session, payload: bytes, stamp: int) -> None:
        packed.append(session.audio.packetise(payload, stamp, False, now))

    packetise = each(pack, frames)

    def seal(session: Any, packet: bytes) -> None:
        session._srtp.protect_rtp(packet)

    sealed = each(seal, zip(sessions, packed, strict=True))
    sent = each(lambda s, p, t: endpoint.send_audio(s.call, p, t, False, now), frames)
    while endpoint.next_transmit():
        pass
    datagrams = bench.datagrams()
    batches = [datagrams[n : n + BATCH] for n in range(0, len(datagrams), BATCH)]
    bench.link.sent.clear()
    everything = each(bench.server.receive_datagrams, ((batch,) for batch in batches))
    everything *= len(batches) / len(datagrams)
    found["event delivery"] = everything - received - backend - sent
    found["backend: echo"] = backend
    found["RTP packetise, books"] = packetise
    found["SRTP seal"] = sealed
    found["leg header, queue"] = sent - packetise - sealed
    found |= sockets(bench.link.sent)
    return found


def sockets(transmits: Sequence[Transmit]) -> dict[str, float]:
    """Sending and receiving full batches over loopback, and what of it is the system calls."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there,
    ):
        for sock in (here, there):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            sock.setblocking(False)
            sock.bind(("127.0.0.1", 0))
        to = Address.of(*there.getsockname())
        reader, writer = BatchReader(there), BatchWriter(here)
        calls = {"send": 0.0, "receive": 0.0}

        def timed(name: str, call: Callable[..., int]) -> Callable[..., int]:
            def timing(*arguments: Any) -> int:
                begin = time.perf_counter_ns()
                outcome = call(*arguments)
                calls[name] += time.perf_counter_ns() - begin
                return outcome

            return timing

        writer._send = timed("send", writer._send)
        reader._receive = timed("receive", reader._receive)
        taken = {"send": 0.0, "receive": 0.0}
        count = 0
        for start in range(0, len(transmits) - BATCH + 1, BATCH):
            begin = time.perf_counter_ns()
            writer.write([(x.data, to) for x in transmits[start : start + BATCH]])
            middle = time.perf_counter_ns()
            count += len(reader.read())
            taken["send"] += middle - begin
            taken["receive"] += time.perf_counter_ns() - middle
    return {
        "batch out": (taken["send"] - calls["send"]) / count / 1000,
        "system call out": calls["send"] / count / 1000,
        "batch in": (taken["receive"] - calls["receive"]) / count / 1000,
        "system call in": calls["receive"] / count / 1000,
    }


ORDER = (
    *("system call in", "batch in", "leg header, find session, queue", "session: liveness, path"),
    *("SRTP open", "RTP header, books", "event delivery", "backend: echo"),
    *("RTP packetise, books", "SRTP seal", "leg header, queue", "batch out", "system call out"),
)


def layers(calls: int = 500, rounds: int = 9) -> None:
    """Print where the time of a packet goes, with so many calls."""

    async def found() -> list[dict[str, float]]:
        bench = Bench.build(calls)
        return [measure(bench) for _ in range(rounds)]

    rows = asyncio.run(found())
    print(f"Where the time of an echoed packet goes, {calls} calls that take turns, full batches")
    values = {name: median(row[name] for row in rows) for name in ORDER}
    for name in ORDER:
        line(name, f"{values[name]:.2f} µs", f"{values[name] / sum(values.values()):.0%}")
    line("all", f"{sum(values.values()):.1f} µs")
