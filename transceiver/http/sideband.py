"""A call's events on the side: a WebSocket of whoever may use the call.

A client converses with its call over a data channel. The application behind the client wants to
hear the same events, and to say something itself, without passing through a page that it does not
trust. It connects here and names the call.

Events are made as they happen and nobody waits for this reader, so what it has not taken yet is
kept, within a bound. A reader that falls further behind is let go: it would rather know that it has
missed something than guess.
"""

import asyncio
from collections import deque
from contextlib import suppress
from itertools import count

from attrs import define, field
from starlette.websockets import WebSocket, WebSocketState

from transceiver.aio import TransceiverServer
from transceiver.backend.interface import Attachment
from transceiver.errors import CallError

from .access import SUBPROTOCOL
from .owners import EVENT_BYTES

EVENTS = "/v1/realtime"
QUEUE_BYTES = 4 * EVENT_BYTES
"""Characters of events that may wait for a reader."""
QUEUE_EVENTS = 4096
TURN = 16
"""Events read in one go, before others have their turn."""
CLOSE_SECONDS = 2.0
"""How long a reader that is let go may take to hear of it."""

OVER = 1000
"""Close code: the call is over (RFC 6455, 7.4.1)."""
TOO_SLOW = 1013
"""Close code: try again later (IANA's registry)."""


@define(slots=True, eq=False)
class Outbox:
    """Events on their way to one reader."""

    code: int = field(init=False, default=OVER)
    """With what the socket is to be closed."""
    _waiting: deque[str] = field(init=False, factory=deque, repr=False)
    _length: int = field(init=False, default=0)
    _ended: bool = field(init=False, default=False)
    _stirred: asyncio.Event = field(init=False, factory=asyncio.Event, repr=False)
    overrun: asyncio.Event = field(init=False, factory=asyncio.Event, repr=False)
    """Set when the reader is too far behind."""
    over: asyncio.Event = field(init=False, factory=asyncio.Event, repr=False)
    """Set when the call is over."""

    def put(self, text: str) -> None:
        """An event. Beyond the bound all that waits is let go, and so is the reader."""
        if self._ended:
            return
        self._length += len(text)
        self._waiting.append(text)
        if self._length > QUEUE_BYTES or len(self._waiting) > QUEUE_EVENTS:
            self._waiting.clear()
            self.code = TOO_SLOW
            self.overrun.set()
            self._ended = True
        self._stirred.set()

    def end(self) -> None:
        """The call is over: what waits still goes out."""
        self._ended = True
        self.over.set()
        self._stirred.set()

    async def next(self) -> str | None:
        """The next event; None after the last one."""
        while not self._waiting:
            if self._ended:
                return None
            self._stirred.clear()
            await self._stirred.wait()
        text = self._waiting.popleft()
        self._length -= len(text)
        return text


async def converse(websocket: WebSocket, server: TransceiverServer, call: str) -> None:
    """Accept the socket and carry the call's events until it ends or the reader leaves. Raises
    CallError, before it is accepted."""
    outbox = Outbox()
    attachment = server.attach(call, outbox.put, outbox.end)
    try:
        offered = websocket.scope.get("subprotocols") or ()
        await websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
        await _carry(websocket, outbox, attachment)
    finally:
        attachment.detach()
    if websocket.client_state is WebSocketState.CONNECTED:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await websocket.close(outbox.code)


async def _carry(websocket: WebSocket, outbox: Outbox, attachment: Attachment) -> None:
    tasks = [
        asyncio.create_task(_read(websocket, attachment)),
        asyncio.create_task(_write(websocket, outbox)),
        asyncio.create_task(outbox.overrun.wait()),
        asyncio.create_task(_run_out_of_patience(outbox)),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(websocket: WebSocket, attachment: Attachment) -> None:
    for number in count(1):
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        with suppress(CallError):  # it has ended; the writer is about to say so
            attachment.receive(message["bytes"] if text is None else text)
        if number % TURN == 0:  # what has arrived is taken without waiting
            await asyncio.sleep(0)


async def _run_out_of_patience(outbox: Outbox) -> None:
    """The call is over, and its last events are not taken."""
    await outbox.over.wait()
    await asyncio.sleep(CLOSE_SECONDS)


async def _write(websocket: WebSocket, outbox: Outbox) -> None:
    while (text := await outbox.next()) is not None:
        await websocket.send_text(text)
