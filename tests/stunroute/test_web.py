"""What the HTTP server leaves to whoever connects to it."""

import asyncio
import contextlib

from starlette.types import Receive, Scope, Send

from stunroute.address import Address
from stunroute.web import SILENT, HttpServer

BOUND = 4
MANY = 40
PATIENCE = 20.0


async def alive(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"alive"})


def test_who_connects_and_says_nothing_does_not_take_every_file_descriptor() -> None:
    """The relay's supervisor needs some to replace a worker."""

    async def story() -> None:
        server = HttpServer(alive, Address.of("127.0.0.1", 0), BOUND)
        listen = await server.start()
        opened = [await asyncio.open_connection(listen.ip, listen.port) for _ in range(MANY)]
        try:
            ends = [asyncio.create_task(reader.read()) for reader, _ in opened]
            async with asyncio.timeout(PATIENCE):
                while sum(end.done() for end in ends) < MANY - SILENT * BOUND:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            assert sum(not end.done() for end in ends) == SILENT * BOUND
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
        finally:
            for _, writer in opened:
                with contextlib.suppress(OSError):
                    writer.transport.abort()
        async with asyncio.timeout(PATIENCE):
            while True:
                reader, writer = await asyncio.open_connection(listen.ip, listen.port)
                writer.write(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
                answer = await reader.read()
                writer.transport.abort()
                if b"alive" in answer:
                    break
                await asyncio.sleep(0.01)  # it has not seen yet that the others have gone
        await server.stop()

    asyncio.run(story())
