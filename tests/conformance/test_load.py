"""Load at a server in the same loop: our endpoint behind one socket, with a door of bare HTTP."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from attrs import define, field

from conformance.drivers.memory import EchoServer, make_endpoint
from conformance.load import SAMPLES, Load, Plan, Sample
from stunroute.address import Address
from transceiver.errors import CallError
from transceiver.events import EndReason

LOCAL = Address.of("127.0.0.1", 0)


@define(slots=True, eq=False)
class Server(asyncio.DatagramProtocol):
    """``status`` is what an offer is answered with where it is no 201."""

    status: int = 201
    echo: EchoServer | None = None
    address: Address = LOCAL
    advertised: Address | None = None
    transport: Any = None
    offered: int = 0
    deleted: list[str] = field(factory=list)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self.echo is not None
        now = asyncio.get_running_loop().time()
        self.echo.receive(data, Address.of(*addr[:2]), self.address, now)
        self.flush()

    def flush(self) -> None:
        assert self.echo is not None
        while (emission := self.echo.next_emission()) is not None:
            destination = emission.destination
            self.transport.sendto(emission.data, (destination.ip, destination.port))

    async def tick(self) -> None:
        assert self.echo is not None
        while True:
            await asyncio.sleep(0.01)
            self.echo.handle_timeout(asyncio.get_running_loop().time())
            self.flush()

    async def http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            (
                int(line[15:])
                for line in head.splitlines()
                if line.lower()[:15] == "content-length:"
            ),
            0,
        )
        body = (await reader.readexactly(length)).decode()
        status, more, text = self.answer(head.split(" ")[0], head.split(" ")[1], body)
        writer.write(
            f"HTTP/1.1 {status} x\r\n{more}Connection: close\r\nContent-Length: {len(text)}\r\n\r\n"
            f"{text}".encode()
        )
        await writer.drain()
        writer.close()

    def answer(self, method: str, path: str, body: str) -> tuple[int, str, str]:
        assert self.echo is not None
        now = asyncio.get_running_loop().time()
        if method == "DELETE":
            call = path.removeprefix("/calls/")
            self.deleted.append(call)
            try:
                self.echo.endpoint.close_call(call, EndReason.HANGUP, now)
            except CallError:
                return 404, "", ""
            self.flush()
            return 200, "", ""
        self.offered += 1
        if self.status != 201:
            return self.status, "", "no"
        opened = self.echo.endpoint.open_call(body, now)
        return 201, f"Location: /calls/{opened.call}\r\n", opened.answer


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[str]:
    """The server's URL."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: server, local_addr=("127.0.0.1", 0), family=socket.AF_INET
    )
    server.address = Address.of(*transport.get_extra_info("sockname")[:2])
    candidates = (server.advertised or server.address,)
    server.echo = EchoServer(make_endpoint("load", candidates=candidates)[0])
    door = await asyncio.start_server(server.http, "127.0.0.1", 0)
    ticking = asyncio.create_task(server.tick())
    try:
        yield f"http://127.0.0.1:{door.sockets[0].getsockname()[1]}/calls"
    finally:
        ticking.cancel()
        door.close()
        await door.wait_closed()
        transport.close()


def load(
    server: Server, stop_when: Callable[[Load], bool] | None = None, **changes: Any
) -> dict[str, Any]:
    """The figures of a short load."""

    async def watch(loading: Load, condition: Callable[[Load], bool]) -> None:
        while not condition(loading):
            await asyncio.sleep(0.005)
        loading.stop()

    async def run() -> dict[str, Any]:
        async with serving(server) as url:
            values = {"sessions": 4, "ramp": 100.0, "seconds": 0.5, "pace": 0.05, **changes}
            loading = Load(Plan(url, (LOCAL,), **values))
            watching = None
            if stop_when is not None:
                watching = asyncio.create_task(watch(loading, stop_when))
            told = await asyncio.wait_for(loading.run(), 60)
            if watching is not None:
                await watching
            await asyncio.sleep(0.05)
            return told

    return asyncio.run(run())


def test_calls_come_up_talk_and_are_hung_up() -> None:
    server = Server()
    told = load(server, data=True)
    assert told["established"] == told["sessions"] == 4
    assert told["failures"] == {}
    assert told["audio"]["sent"] >= 12
    assert told["audio"]["echoed"] == told["audio"]["sent"]
    assert told["audio"]["lost"] == 0
    assert told["messages"]["answered"] == told["messages"]["sent"] >= 4
    for times in (told["establish_ms"], told["answer_ms"], told["audio"]["round_trip_ms"]):
        assert 0 < times["p50"] <= times["p95"] <= times["p99"] <= times["max"]
    assert server.echo is not None
    assert server.echo.endpoint.calls == []
    assert len(server.deleted) == 4
    json.dumps(told)


def test_it_hangs_up_when_it_is_stopped() -> None:
    server = Server()
    told = load(server, lambda load: load.figures.established.seen == 4, seconds=3600.0)
    assert told["stopped_early"]
    assert told["established"] == 4
    assert server.echo is not None
    assert server.echo.endpoint.calls == []


def test_no_more_is_begun_once_it_is_stopped() -> None:
    server = Server()
    told = load(server, lambda _: server.offered >= 3, sessions=1000, ramp=10.0)
    assert 3 <= server.offered <= told["sessions"] < 100


def test_a_refusal_is_told_with_its_status() -> None:
    told = load(Server(status=503))
    assert told["failures"] == {"refused 503": 4}
    assert told["established"] == 0
    assert told["audio"]["round_trip_ms"] is None


def test_it_sends_nowhere_but_where_it_may() -> None:
    told = load(Server(advertised=Address.of("192.0.2.1", 9)))
    assert told["failures"] == {"answer leads where we may not send": 4}


def test_an_unreachable_door_is_told() -> None:
    async def run() -> dict[str, Any]:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            plan = Plan(f"http://127.0.0.1:{port}/x", (LOCAL,), 2, 100.0, 0.1)
            return await Load(plan).run()

    assert asyncio.run(run())["failures"] == {"HTTP to the server failed": 2}


def test_a_sample_is_bounded_and_keeps_its_shape() -> None:
    sample = Sample()
    for number in range(3 * SAMPLES):
        sample.add(number / 1000)
    assert sample.seen == 3 * SAMPLES
    times = sample.quantiles()
    assert times is not None
    assert times["p50"] == pytest.approx(1.5 * SAMPLES, rel=0.01)
    assert times["p99"] == pytest.approx(2.97 * SAMPLES, rel=0.01)
    assert times["max"] == pytest.approx(3 * SAMPLES, rel=0.001)
    assert len(sample._kept) < SAMPLES
    assert Sample().quantiles() is None
