"""What the supervisor and a worker say to one another, over a pair of sockets.

The two are one program: the worker was forked from the supervisor, so it has the same classes, and
nobody else can have an end of the pair. That is why pickle will do here, which must never see bytes
from a network: a message is a record of ``stunroute.status`` or of ``worker``, as it is, behind its
length in 4 bytes, big-endian. The end of the stream is news too: the other process is no more,
however it died.
"""

import asyncio
import pickle
import socket
from collections.abc import Callable
from struct import Struct
from typing import Any, Self, cast

from attrs import define, field, frozen

LONGEST = 64 << 20
"""Bytes of a message at most. The settings of a fleet of 100,000 nodes take about a tenth of it."""
OUTSTANDING = 64
"""Questions that may wait for an answer at once."""

_LENGTH = Struct(">I")


class ChannelError(Exception):
    """The other end does not answer: it has gone, or owes too many answers."""


@frozen(slots=True)
class _Ask:
    number: int
    body: object


@frozen(slots=True)
class _Answer:
    number: int
    body: object


@define(slots=False, eq=False)
class Channel(asyncio.Protocol):
    """One end. ``handle`` gets what the other end asks and returns the answer to it, or gets what
    it tells; ``closed`` is called once when the other end has gone or is out of its mind."""

    handle: Callable[[Any], object]
    closed: Callable[[], None]
    _transport: asyncio.Transport = field(init=False)
    _received: bytearray = field(init=False, factory=bytearray)
    _questions: dict[int, asyncio.Future[Any]] = field(init=False, factory=dict)
    _number: int = field(init=False, default=0)

    @classmethod
    async def open(
        cls, sock: socket.socket, handle: Callable[[Any], object], closed: Callable[[], None]
    ) -> Self:
        """On ``sock``, one of a pair, which is closed with the channel."""
        channel = cls(handle, closed)
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: channel, sock=sock)
        return channel

    def ask(self, body: object) -> "asyncio.Future[Any]":
        """The answer to ``body``, in the future; ChannelError there if none can come. Whoever
        waits for it bounds the wait: a process may live and never answer."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._transport.is_closing():
            _fail(future, "the other end has gone")
        elif len(self._questions) >= OUTSTANDING:
            # Cancelled ones count until they are answered: they wait in the other's buffer.
            _fail(future, "too many questions are open")
        else:
            self._number += 1
            try:
                self._send(_Ask(self._number, body))
                self._questions[self._number] = future
            except ChannelError as error:
                _fail(future, str(error))
        return future

    def tell(self, body: object) -> None:
        """Say ``body``, to which there is no answer. Lost if the other end has gone. Raises
        ChannelError if it is too long."""
        if not self._transport.is_closing():
            self._send(body)

    def abort(self) -> None:
        """Hang up. What still waits to be sent is not: who has something to say waits for the
        other end to hang up."""
        self._transport.abort()

    def _send(self, message: object) -> None:
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        if len(data) > LONGEST:
            raise ChannelError(f"a message of {len(data)} bytes is too long")
        self._transport.write(_LENGTH.pack(len(data)) + data)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        while len(received) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(received)
            if length > LONGEST:
                self.abort()
                return
            end = _LENGTH.size + length
            if len(received) < end:
                return
            try:
                message = pickle.loads(received[_LENGTH.size : end])
            except Exception:  # a damaged pickle raises whatever it likes
                self.abort()
                return
            del received[:end]
            self._dispatch(message)

    def connection_lost(self, exc: Exception | None) -> None:
        for future in self._questions.values():
            if not future.done():
                _fail(future, "the other end has gone")
        self._questions.clear()
        self.closed()

    def _dispatch(self, message: object) -> None:
        match message:
            case _Ask(number, body):
                self._send(_Answer(number, self.handle(body)))
            case _Answer(number, body):
                future = self._questions.pop(number, None)
                if future is not None and not future.done():
                    future.set_result(body)
            case told:
                self.handle(told)


def _fail(future: "asyncio.Future[Any]", problem: str) -> None:
    future.set_exception(ChannelError(problem))
    future.exception()  # looked at, so that asyncio has no complaint if nobody waits for it
